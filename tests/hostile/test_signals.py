"""Ctrl-C, SIGTERM and SIGHUP at any moment: calls in flight are stored, none is sent twice, and the budget is right."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.resume_project import words
from tests.hostile.fault_project import PRICE, make_project
from tests.hostile.fault_server import INPUT_TOKENS, OUTPUT_TOKENS, Running
from tests.hostile.table import tried
from tuneworthy.cli import invoke
from tuneworthy.cli.run import run_ladder
from tuneworthy.signals import stop_at_once
from tuneworthy.store import ResponseStore

CONCURRENCY = 64
COST = (INPUT_TOKENS + OUTPUT_TOKENS) * PRICE / 1e6
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SENTENCE = "Stopped. Finished calls are cached"


def start(root: Path) -> int:
    """Start `tuneworthy run` in a process that has imported all it needs; return its number."""
    assert run_ladder  # imported
    child = os.fork()
    if child:
        return child
    try:
        log = os.open(root.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(log, number)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        for name in SIGNALS:
            signal.signal(name, signal.SIG_DFL)
        stop_at_once()
        status = invoke(["run", "--project", str(root)])
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        status = 99
    os._exit(status)


def status_of(child: int) -> int:
    """Wait for the end of a process, and return its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


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
                before = sum(server.stats()["calls"].values())
                child = start(root)
                while sum(server.stats()["calls"].values()) == before and not ended(child):
                    time.sleep(0.02)
                time.sleep(rng.random() * 1.5 * latency_ms / 1000)
                os.kill(child, number)
                if cut_off:
                    time.sleep(0.03)
                    os.kill(child, number)
                end, said = status_of(child), words(root)
                good = end == status and (status < 0 or SENTENCE in said)
                tried(f"{number.name} with {CONCURRENCY} in flight", f"seed {seed}", good, (end, said[-500:]))
            assert status_of(start(root)) == 0, words(root)
            sent.append(sum(server.stats()["calls"].values()))
    return sent[1] - sent[0], root


def spent(root: Path) -> float:
    with closing(ResponseStore(root / ".tuneworthy" / "responses.sqlite")) as store:
        return store.spending().usd


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.slow
def test_a_run_that_is_stopped_sends_no_call_twice(tmp_path: Path, number: signal.Signals) -> None:
    twice, root = interrupted_runs(tmp_path, [number] * 2, seed=number, n=300)
    assert twice == 0
    assert spent(root) == pytest.approx(spent(tmp_path / "whole"))


def test_without_the_drain_calls_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.hostile.test_signals.stop_at_once", lambda: None)  # the child is a copy of this process
    with Running() as server:
        root = make_project(tmp_path / "p", server.base_url, "good@1000", bad=0, n=100, timeout_s=30.0)
        child = start(root)
        while not sum(server.stats()["calls"].values()) and not ended(child):
            time.sleep(0.02)
        os.kill(child, signal.SIGTERM)
        assert status_of(child) == -signal.SIGTERM
    with closing(ResponseStore(root / ".tuneworthy" / "responses.sqlite")) as store:
        assert store.spending().n_unanswered > 0


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_twenty_random_moments_send_no_call_twice(tmp_path: Path, number: signal.Signals) -> None:
    twice, root = interrupted_runs(tmp_path, [number] * 20, seed=100 + number, n=2600)
    print(f"{number.name}: calls sent twice: {twice}")
    assert twice == 0
    assert spent(root) == pytest.approx(spent(tmp_path / "whole"))


@pytest.mark.slow
def test_twenty_kills_repeat_at_most_the_calls_in_flight(tmp_path: Path) -> None:
    twice, root = interrupted_runs(tmp_path, [signal.SIGKILL] * 20, seed=7, n=2600, status=-9)
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


@pytest.mark.slow
def test_a_second_signal_ends_at_once_and_what_was_cut_off_counts_at_what_it_costs(tmp_path: Path) -> None:
    twice, root = interrupted_runs(tmp_path, [signal.SIGTERM] * 2, seed=3, n=200, latency_ms=1000, cut_off=True)
    assert 0 < twice <= 2 * CONCURRENCY
    assert spent(root) == pytest.approx(spent(tmp_path / "whole") + twice * COST, abs=0.05)
    assert spent(root) < 5  # at their ceilings these calls would count twice that
