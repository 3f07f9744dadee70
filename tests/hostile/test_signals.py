"""Ctrl-C, SIGTERM and SIGHUP at any moment: calls in flight are stored, none is sent twice, and the budget is right."""

from __future__ import annotations

import random
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.resume_project import run_ladder, start, words
from tests.hostile.fault_project import PRICE, make_project
from tests.hostile.fault_server import INPUT_TOKENS, OUTPUT_TOKENS, Running
from tests.hostile.table import tried
from tuneworthy.store import ResponseStore

CONCURRENCY = 64
COST = (INPUT_TOKENS + OUTPUT_TOKENS) * PRICE / 1e6
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SENTENCE = "Stopped. Stored answers are safe"


def interrupted_runs(
    folder: Path, signals: list[signal.Signals], *, seed: int, n: int, budget: float = 50.0, latency_ms: int = 300,
    status: int = 130, cut_off: bool = False,
) -> tuple[int, Path]:  # fmt: skip
    """Interrupt a run once for each of `signals`, let it end, and compare it with one that was not interrupted.

    Args:
        folder: For both projects.
        signals: One a run.
        seed: Of the moments.
        n: Cases.
        budget: Of the project, US dollars.
        latency_ms: Of the server.
        status: Exit status of a run that was interrupted.
        cut_off: Whether the signal is sent twice.

    Returns:
        Calls that were sent twice, and the project.
    """
    rng = random.Random(seed)
    sent = []
    for name in ("whole", "cut"):
        with Running() as server:
            model = {"timeout_s": 30.0, "retries": 6, "concurrency": CONCURRENCY}
            root = make_project(
                folder / name, server.base_url, f"good@{latency_ms}", bad=0, n=n, budget=budget, **model
            )
            for number in signals if name == "cut" else []:
                before = server.stats()["calls"]
                process = start(root)
                while sum(server.stats()["calls"].values()) == sum(before.values()) and process.poll() is None:
                    time.sleep(0.01)
                time.sleep(rng.random() * 1.5 * latency_ms / 1000)
                process.send_signal(number)
                if cut_off:
                    time.sleep(0.03)
                    process.send_signal(number)
                ended = process.wait(60)
                said = words(root)
                good = ended in ({status, 0} if status < 0 else {status}) and (status < 0 or said.count(SENTENCE) >= 1)
                tried(f"{number.name} with {CONCURRENCY} in flight", f"seed {seed}", good, (ended, said[-500:]))
            assert run_ladder(root) == 0, words(root)
            sent.append(sum(server.stats()["calls"].values()))
    return sent[1] - sent[0], root


def spent(root: Path) -> float:
    with closing(ResponseStore(root / ".tuneworthy" / "responses.sqlite")) as store:
        return store.spending().usd


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_run_that_is_stopped_sends_no_call_twice(tmp_path: Path, number: signal.Signals) -> None:
    twice, root = interrupted_runs(tmp_path, [number] * 2, seed=number, n=500)
    assert twice == 0
    assert spent(root) == pytest.approx(spent(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_twenty_random_moments_send_no_call_twice(tmp_path: Path, number: signal.Signals) -> None:
    twice, root = interrupted_runs(tmp_path, [number] * 20, seed=100 + number, n=4000)
    print(f"{number.name}: calls sent twice: {twice}")
    assert twice == 0
    assert spent(root) == pytest.approx(spent(tmp_path / "whole"))


@pytest.mark.slow
def test_twenty_kills_repeat_at_most_the_calls_in_flight(tmp_path: Path) -> None:
    twice, root = interrupted_runs(tmp_path, [signal.SIGKILL] * 20, seed=7, n=4000, status=-9)
    print(f"kill -9: calls sent twice: {twice}, at most {20 * CONCURRENCY}")
    assert 0 <= twice <= 20 * CONCURRENCY
    # what was cut off was billed once more, and counts so: a note is written before its call is sent
    assert spent(tmp_path / "whole") + twice * COST <= spent(root) + 1e-9
    assert spent(root) <= spent(tmp_path / "whole") + 20 * CONCURRENCY * COST + 1e-9


@pytest.mark.slow
def test_nine_interruptions_leave_of_a_budget_what_was_not_spent(tmp_path: Path) -> None:
    numbers = [SIGNALS[i % 3] for i in range(9)]
    twice, root = interrupted_runs(tmp_path, numbers, seed=9, n=1000, budget=5.0)
    whole = spent(tmp_path / "whole")
    print(f"nine interruptions: ${5 - spent(root):.4f} left of $5, undisturbed ${5 - whole:.4f}")
    assert twice == 0 and spent(root) == pytest.approx(whole, abs=1e-9)


def test_a_second_signal_ends_at_once_and_what_was_cut_off_counts_at_what_it_costs(tmp_path: Path) -> None:
    started = time.monotonic()
    twice, root = interrupted_runs(tmp_path, [signal.SIGTERM] * 2, seed=3, n=200, latency_ms=3000, cut_off=True)
    assert time.monotonic() - started < 200
    assert 0 < twice <= 2 * CONCURRENCY
    assert spent(root) == pytest.approx(spent(tmp_path / "whole") + twice * COST, abs=0.05)
    assert spent(root) < 5  # at their ceilings these calls would count twice that
