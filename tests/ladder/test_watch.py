"""Watching: a threshold only where a signal tells wrong answers, and never where confidence is random."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import numpy as np
import pytest

from tests.ladder.worlds import write_world
from tuneworthy.config import load
from tuneworthy.decoding.confidence import Token, disagreement, entropy, signals, tokens_of
from tuneworthy.errors import NotEnough
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variants import current
from tuneworthy.ladder.watching import Watched, WatchReport, calibrate, hot_spots, on_bound, watch
from tuneworthy.report.heat import page, shown, terminal, verdict
from tuneworthy.stats.auroc import auroc
from tuneworthy.store import Folder


def token(text: str, spread: float) -> Token:
    """A token with two alternatives, of the entropy `spread` about."""
    share = min(0.5, spread)
    top = ((text, 1 - share), ("other", share))
    return Token(
        text=text, surprise=-math.log(1 - share), entropy=entropy([1 - share, share]), margin=1 - 2 * share, top=top
    )


def answers(seed: int, n: int, effect: float) -> list[Watched]:
    """Graded answers: half are wrong, and these are less sure by `effect` standard deviations."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        wrong = bool(rng.random() < 0.5)
        level = 1 / (1 + math.exp(-(rng.normal() + effect * wrong - 1)))
        tokens = [token("Card", 0.02), token(" arrival", level / 2), token("<b>", 0.01)]
        found.append(
            Watched(case=f"case-{number}", question="q?", text="Card arrival", tokens=tokens, signals=signals(tokens),
                    wrong=wrong, reason="wrong" if wrong else "")
        )  # fmt: skip
    return found


def report(found: list[Watched]) -> WatchReport:
    return WatchReport(
        variant="today", answers=found, calibration=calibrate(found), spots=hot_spots(found), samples=0, unscored=0
    )


def test_a_signal_that_tells_wrong_answers_gets_a_threshold_with_what_it_catches() -> None:
    found = calibrate(answers(1, 300, 1.5))
    area = found.areas["mean_surprise"]
    assert 0.8 < area.area < 0.92 and area.lo > 0.7
    assert found.threshold is not None and found.refused == ""
    assert found.threshold.caught > 0.6 and found.threshold.right_held < 0.4
    shares = [share for _, share, _ in found.reliability]
    assert shares[0] < 0.3 and shares[-1] > 0.7
    assert sum(n for *_, n in found.reliability) == 300


def test_random_confidence_gets_no_threshold() -> None:
    found = calibrate(answers(2, 300, 0.0))
    assert found.threshold is None
    assert "does not tell wrong answers" in found.refused and "AUROC" in found.refused


def test_of_sets_with_random_confidence_one_in_forty_gets_a_threshold() -> None:
    given = sum(calibrate(answers(1000 + seed, 120, 0.0)).threshold is not None for seed in range(300))
    assert given <= 16  # 7.5 expected


def test_confidence_that_points_the_wrong_way_gets_no_threshold() -> None:
    assert calibrate(answers(3, 300, -1.5)).threshold is None


def test_few_wrong_answers_get_no_threshold() -> None:
    few = [one for one in answers(4, 300, 1.5) if not one.wrong]
    found = calibrate(few)
    assert found.threshold is None and "0 wrong of" in found.refused and found.areas == {}


@pytest.mark.parametrize("n", [30, 100])
def test_the_interval_of_an_area_covers_the_truth(n: int) -> None:
    """Normal scores one standard deviation apart: the area is Phi(1 / sqrt 2) = 0.760."""
    rng = np.random.default_rng(9)
    yes = np.arange(2 * n) < n
    inside = 0
    for _ in range(600):
        found = auroc(rng.normal(size=2 * n) + yes, yes)
        inside += found.lo <= 0.7602 <= found.hi
    assert 0.925 <= inside / 600 <= 0.98


def test_an_area_counts_ties_half_and_stays_inside_0_and_1() -> None:
    yes = np.array([True, True, False, False])
    assert auroc(np.array([1.0, 1.0, 1.0, 1.0]), yes).area == 0.5
    whole = auroc(np.array([4.0, 3.0, 2.0, 1.0]), yes)
    assert whole.area == 1.0 and 0.5 > whole.lo > 0 and whole.hi == 1.0
    with pytest.raises(ValueError, match="both kinds"):
        auroc(np.array([1.0]), np.array([True]))


def test_signals_come_from_log_probabilities_and_lump_what_is_missing() -> None:
    logprobs = [{"token": "a", "logprob": math.log(0.5), "top": [["a", math.log(0.5)], ["b", math.log(0.25)]]}]
    (one,) = tokens_of(logprobs)
    assert one.surprise == pytest.approx(math.log(2)) and one.margin == pytest.approx(0.25)
    assert one.entropy == pytest.approx(1.0397, abs=1e-3)
    assert signals([]) == dict.fromkeys(signals([one]), 0.0)


def test_answers_that_differ_disagree() -> None:
    assert disagreement(["a", "A ", "a"]) == 0.0
    assert disagreement(["a", "b", "c"]) == pytest.approx(1.0)
    assert 0 < disagreement(["a", "a", "b"]) < 1


def test_hot_spots_are_joined_to_the_cases_that_failed() -> None:
    found = answers(5, 100, 2.0)
    spot = hot_spots(found)[0]
    assert spot.text == "arrival" and spot.in_wrong > spot.in_right
    failed = {one.case for one in found if one.wrong}
    assert spot.cases and set(spot.cases) <= failed
    assert spot.instead[0] == "other"


def test_the_page_is_a_heat_map_that_escapes_what_a_model_said() -> None:
    found = report(answers(6, 120, 1.5))
    text = page(found)
    assert "<b>" not in text.replace("<body>", "") and "&lt;b&gt;" in text
    assert 'class="h5"' in text or 'class="h1"' in text
    assert "entropy" in text and "Hold back" in text and "<script" not in text
    assert "Hold back" in verdict(found)
    assert terminal(found.answers[0]).plain == "Card arrival<b>"
    assert shown("\x1b[31mred\n") == "red "


def test_a_stored_watch_can_be_explained(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from tuneworthy.cli.decode_explain import command

    Folder(tmp_path).write("watch", report(answers(7, 40, 1.0)).to_dict())
    done = CliRunner().invoke(
        command, ["--case", "case-3", "--at", "1", "--temperature", "0.5", "--project", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert '" arrival"' in done.output
    missing = CliRunner().invoke(command, ["--case", "nobody", "--project", str(tmp_path)])
    assert missing.exit_code != 0


def test_a_model_without_log_probabilities_is_told(tmp_path: Path) -> None:
    async def watched() -> None:
        async with open_session(load(write_world(tmp_path, {"weak": "answer(request, 0.5)"}))) as session:
            await watch(session, current(session))

    with pytest.raises(NotEnough, match="log-probabilities"):
        asyncio.run(watched())


@pytest.mark.parametrize(("effect", "supported"), [(2.0, True), (0.0, False)])
def test_a_threshold_that_somebody_uses_is_judged_by_graded_answers(effect: float, supported: bool) -> None:
    holds, words = on_bound(report(answers(8, 200, effect)), -0.3)
    assert holds is supported
    assert "of the wrong answers" in words and "of the right ones" in words
