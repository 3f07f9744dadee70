"""The time left of a run, on the recorded timings of a demo (`demo_timings.json`).

The recording has, for each batch of calls, its rung, variant, number of answers, those stored, whether calls were
timed, the seconds before it, and those at which each answer came: scaled to the processor time of two cores, as the
machine was busy with other work. `takes` is what the estimate assumed: calls and seconds, together and alone, by rung.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tuneworthy.cli.progress import TimeLeft
from tuneworthy.ladder.estimate import Work

RECORDED = json.loads((Path(__file__).parent / "demo_timings.json").read_text())


@dataclass
class Moment:
    """An answer: when it came, and how long the rest was said to take."""

    now: float
    shown: float


def played(slower: float, slow_start_s: float) -> tuple[list[Moment], float]:
    """Return what is shown at each answer from a language model, and when the run ended."""
    takes = {
        rung: Work(together[0] + alone[0], seconds=together[1] + alone[1])
        for rung, (together, alone) in RECORDED["takes"].items()
    }
    rest, now, before, moments = TimeLeft(takes), 0.0, "", list[Moment]()
    for rung, label, total, stored, alone, gap, answers in RECORDED["batches"]:
        if before and rung != before:
            rest.finish(before)
        before, now = rung, now + gap * slower
        rest.begin(rung, label, total, stored, alone=alone, now=now)
        began = now + (0.0 if moments or rung == "classical" else slow_start_s)
        for seconds in answers:
            now = began + seconds * slower
            rest.answer(now)
            if rung != "classical":
                moments.append(Moment(now, rest.seconds()))
    return moments, now


@pytest.mark.parametrize("slower", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("slow_start_s", [0.0, 15.0, 60.0])
def test_after_20_seconds_the_time_left_is_right_within_a_factor_of_2(slower: float, slow_start_s: float) -> None:
    """Once a model has answered for ten seconds, and until the last ten."""
    moments, end = played(slower, slow_start_s)
    shown = [one for one in moments if one.now >= max(20.0, moments[0].now + 10.0) and end - one.now > 10.0]
    assert len(shown) > 500
    for one in shown:
        assert 0.5 <= one.shown / (end - one.now) <= 2.0


def answering(rest: TimeLeft, rung: str, n: int, each_s: float, now: float = 0.0) -> float:
    """Let `n` of 1,000 answers come, and return the time after them."""
    rest.begin(rung, rung, 1000, 0, alone=False, now=now)
    for _ in range(n):
        now += each_s
        rest.answer(now)
    return now


def thousand(*rungs: str) -> TimeLeft:
    """A run in which each call is assumed to take a second."""
    return TimeLeft(dict.fromkeys(rungs, Work(1000, seconds=1000.0)))


def test_a_machine_that_is_busy_now_counts_as_busy() -> None:
    rest = thousand("a", "b")
    answering(rest, "b", 100, 4.0, answering(rest, "a", 500, 1.0))
    rest.finish("a")
    assert rest.seconds() == pytest.approx(900 * 4.0, rel=0.1)


def test_a_rung_whose_calls_take_longer_than_assumed_says_little_of_the_others() -> None:
    rest = thousand("a", "b")
    now = answering(rest, "a", 200, 1.0)
    rest.finish("a")
    answering(rest, "b", 40, 4.0, now)
    assert rest.seconds() > 0.7 * 960 * 4.0


def test_the_first_answers_which_come_together_are_no_speed() -> None:
    rest = thousand("a")
    answering(rest, "a", 8, 0.01)
    assert rest.seconds() > 0.3 * 992


def test_calls_of_a_run_that_is_resumed_are_made_already() -> None:
    rest = TimeLeft({"baseline": Work(200, seconds=100.0)})
    for total, stored in ((50, 50), (50, 50), (150, 100)):  # dev twice, then test
        rest.begin("baseline", "baseline/small", total, stored, alone=False, now=0.0)
    assert rest.made["baseline"] == 100 and rest.calls("baseline") == 100


def test_a_rung_that_is_not_estimated_counts_while_it_runs() -> None:
    rest = TimeLeft({})
    rest.begin("baseline", "baseline/small", 40, 0, alone=False, now=0.0)
    for second in range(1, 11):
        rest.answer(float(second))
    assert (rest.calls("baseline"), rest.seconds(), rest.rate) == (30, pytest.approx(30.0), pytest.approx(1.0))
    rest.finish("baseline")
    assert rest.seconds() == 0.0
