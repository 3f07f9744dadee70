"""Killed at any moment, a run goes on where it was: the same record, and nothing committed is asked again."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tuneworthy.store import ResponseStore

from .resume_project import committed, openai, record, run_ladder, start, stop, words, write_project
from .resume_server import INPUT_TOKENS, OUTPUT_TOKENS, Running

CONCURRENCY = 8


def killed_runs(folder: Path, kills: int, seed: int, rungs: str, latency_ms: float) -> None:
    """Compare a run that is never disturbed with one that is killed `kills` times."""
    rng = random.Random(seed)
    with Running(latency_ms) as server:
        whole = write_project(folder / "whole", openai(server.base_url), rungs=rungs)
        assert run_ladder(whole) == 0, words(whole)
        undisturbed: dict[str, str] = server.stats()["calls"]
        needed = Counter(undisturbed.values())
        cut = write_project(folder / "cut", openai(server.base_url), rungs=rungs)
        killed = 0
        while killed < kills:
            process = start(cut)
            moment = len(server.stats()["calls"]) + rng.randrange(1, 2 * needed.total() // (kills + 1))
            if not server.wait(moment, process):
                assert process.wait() == 0, words(cut)
                break  # all is answered
            time.sleep(rng.random() * 0.02)
            killed += stop(process, signal.SIGKILL) == -signal.SIGKILL
        assert run_ladder(cut) == 0, words(cut)
        calls = {call: digest for call, digest in server.stats()["calls"].items() if call not in undisturbed}
    assert killed > kills / 2
    kept = committed(cut)
    # every answer that is stored came from a call of its own, and each question has as many as it needs
    assert len(kept) == len(set(kept)) == needed.total()
    assert Counter(calls[call] for call in kept) == needed
    # all other calls were on their way at a kill
    assert len(calls) - needed.total() <= killed * CONCURRENCY
    assert record(cut) == record(whole)


@pytest.mark.slow
def test_a_run_that_was_killed_three_times_ends_with_the_record_of_one_that_was_not(tmp_path: Path) -> None:
    killed_runs(tmp_path, kills=3, seed=11, rungs="baseline few_shot", latency_ms=5)


@pytest.mark.slow
def test_a_run_that_was_killed_twenty_times_ends_with_the_record_of_one_that_was_not(tmp_path: Path) -> None:
    killed_runs(tmp_path, kills=20, seed=12, rungs="baseline prompt few_shot", latency_ms=30)


TOOLS = """
import time
from pathlib import Path

LOG = Path(__file__).with_name("tool_calls")


def noted(name: str, value: int) -> None:
    time.sleep(0.003)
    with LOG.open("a") as log:
        log.write(f"{name} {value} {time.time()}\\n")


def look_up(case: int) -> int:
    \"\"\"Return the number of a case.\"\"\"
    noted("look_up", case)
    return case


def colour_of(number: int) -> str:
    \"\"\"Return the colour of a number.\"\"\"
    noted("colour_of", number)
    return ("red", "green", "blue")[number % 3]
"""
TABLES = '[[tools]]\nfunction = "mine.py:look_up"\n[[tools]]\nfunction = "mine.py:colour_of"\n'


@pytest.mark.slow
def test_a_run_with_tools_that_was_killed_repeats_no_paid_call_and_no_finished_call_of_a_tool(tmp_path: Path) -> None:
    rng = random.Random(13)
    with Running(latency_ms=5) as server:

        def project(name: str) -> Path:
            root = write_project(tmp_path / name, openai(server.base_url), rungs="baseline tools", ladder=TABLES)
            (root / "mine.py").write_text(TOOLS)
            return root

        whole = project("whole")
        assert run_ladder(whole) == 0, words(whole)
        undisturbed: dict[str, str] = server.stats()["calls"]
        needed = Counter(undisturbed.values())
        cut, killed = project("cut"), list[float]()
        while len(killed) < 8:
            process = start(cut)
            moment = len(server.stats()["calls"]) + rng.randrange(10, needed.total() // 7)
            if not server.wait(moment, process):
                break
            time.sleep(rng.random() * 0.03)
            if stop(process, signal.SIGKILL) == -signal.SIGKILL:
                killed.append(time.time())
        assert run_ladder(cut) == 0, words(cut)
        calls = {call: digest for call, digest in server.stats()["calls"].items() if call not in undisturbed}
    kept = committed(cut)
    assert len(killed) >= 5
    assert len(kept) == len(set(kept)) == needed.total()
    assert Counter(calls[call] for call in kept) == needed
    assert len(calls) - needed.total() <= len(killed) * CONCURRENCY  # these were on their way at a kill
    rung = record(cut)["rungs"][1]
    assert record(cut) == record(whole) and rung["status"] == "adopted" and rung["score"] == 1.0
    ran: dict[str, list[float]] = {}
    for line in (cut / "tool_calls").read_text().splitlines():
        name, value, at = line.split()
        ran.setdefault(f"{name} {value}", []).append(float(at))
    assert len(ran) == 2 * 120
    # a call that had finished 50 ms before a kill is never repeated
    again = [at[0] for at in ran.values() if len(at) > 1]
    assert all(any(0 <= end - at < 0.05 for end in killed) for at in again), (again, killed)


@pytest.mark.slow
def test_a_run_that_was_killed_while_gepa_rewrote_the_prompt_repeats_no_committed_call(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    with Running(latency_ms=5) as server:
        model, writer = openai(server.base_url), openai(server.base_url, model="writer")
        more = f'[models.writer]\n{writer}\n[reflection]\nmodel = "writer"\ncalls = 200\n'
        baseline = write_project(tmp_path / "baseline", model)
        assert run_ladder(baseline) == 0, words(baseline)
        first = server.stats()["calls"]
        whole = write_project(tmp_path / "whole", model, rungs="baseline prompt", ladder=more)
        assert run_ladder(whole) == 0, words(whole)
        undisturbed: dict[str, str] = server.stats()["calls"]
        needed = Counter(digest for call, digest in undisturbed.items() if call not in first)
        cut = write_project(tmp_path / "cut", model, rungs="baseline prompt", ladder=more)
        for kill in (1, 2, 3):  # after the baseline GEPA asks, up to 200 times, before anything else is
            process = start(cut)
            assert server.wait(len(undisturbed) + len(first) + 30 * kill, process), words(cut)
            assert stop(process, signal.SIGKILL) == -signal.SIGKILL
            assert not (cut / ".tuneworthy" / "prompts").exists()
        assert run_ladder(cut) == 0, words(cut)
        calls = {call: digest for call, digest in server.stats()["calls"].items() if call not in undisturbed}
    kept = committed(cut)
    assert len(kept) == len(set(kept)) == needed.total()
    assert Counter(calls[call] for call in kept) == needed
    assert len(calls) - needed.total() <= 3 * CONCURRENCY
    assert record(cut) == record(whole)
    found = record(cut)["rungs"][1]["detail"]["gepa"]
    assert found["score"] > found["before"] and found["calls"] + found["reflections"] <= 200
    assert (cut / found["file"]).read_text() == found["search"]["prompts"][found["search"]["best"]]["text"]


@pytest.mark.slow
def test_after_a_kill_what_counts_as_spent_is_never_below_what_the_server_billed(tmp_path: Path) -> None:
    with Running(latency_ms=20) as server:
        model = openai(server.base_url, input_usd_per_mtok=1000.0, output_usd_per_mtok=1000.0)
        root = write_project(tmp_path / "paid", model, ladder="budget_usd = 100.0")
        for kill in range(2):
            process = start(root)
            assert server.wait(40 + 60 * kill, process), words(root)
            stop(process, signal.SIGKILL)
            billed = server_bill(server)
            assert spent(root) >= billed - 1e-9
        assert run_ladder(root) == 0, words(root)
        billed = server_bill(server)
        # at most the calls in flight at the two kills count at their ceiling (a few hundred tokens) instead
        assert billed - 1e-9 <= spent(root) <= billed + 2 * CONCURRENCY * 0.5


def test_a_budget_holds_through_the_command_line_and_the_rest_is_asked_when_it_is_raised(tmp_path: Path) -> None:
    with Running(latency_ms=1) as server:
        model = openai(server.base_url, input_usd_per_mtok=1000.0, output_usd_per_mtok=1000.0)
        root = write_project(tmp_path / "paid", model, ladder="budget_usd = 2.0")
        assert run_ladder(root) == 4, words(root)
        assert "The budget of $" in words(root)
        first = server.stats()["calls"]
        assert server_bill(server) - 1e-9 <= spent(root) <= 2.0
        assert len(committed(root)) == len(first)  # those in flight came to their end and are kept
        assert len(first) >= 80  # the ceilings of the calls in flight did not end it early
        text = (root / "tuneworthy.toml").read_text()
        (root / "tuneworthy.toml").write_text(text.replace("budget_usd = 2.0", "budget_usd = 50.0"))
        assert run_ladder(root) == 0, words(root)
        assert len(set(committed(root))) == len(server.stats()["calls"])


@pytest.mark.slow
def test_an_interrupted_run_says_so_and_goes_on_where_it_was(tmp_path: Path) -> None:
    with Running(latency_ms=20) as server:
        root = write_project(tmp_path / "cut", openai(server.base_url))
        process = start(root)
        assert server.wait(50, process), words(root)
        assert stop(process, signal.SIGINT) == 130, words(root)
        assert "Run the same command again" in words(root)
        assert "Traceback" not in words(root)
        kept = len(committed(root))
        assert kept >= 50 - CONCURRENCY
        assert run_ladder(root) == 0, words(root)
        assert len(server.stats()["calls"]) - len(committed(root)) <= CONCURRENCY


@pytest.mark.slow
def test_a_server_that_is_not_there_ends_the_run_with_status_5_and_does_not_wait(tmp_path: Path) -> None:
    root = write_project(tmp_path / "none", openai("http://127.0.0.1:9/v1"))
    started = time.monotonic()
    assert run_ladder(root) == 5, words(root)
    assert time.monotonic() - started < 60  # most of it is a busy machine's start of Python
    assert "]: m " in words(root)


@pytest.mark.slow
def test_a_wrong_address_ends_the_run_with_one_line_and_status_2(tmp_path: Path) -> None:
    with Running() as server:
        root = write_project(tmp_path / "wrong", openai(f"{server.base_url}/v2"))
        assert run_ladder(root) == 2, words(root)
        assert "]: m rejects every call: 127.0.0.1: 404" in words(root)
        assert "Traceback" not in words(root)
        text = (root / "tuneworthy.toml").read_text()
        (root / "tuneworthy.toml").write_text(text.replace("/v1/v2", "/v1"))
        assert run_ladder(root) == 0, words(root)
        assert len(committed(root)) == len(server.stats()["calls"])


@pytest.mark.slow
def test_a_server_with_faults_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    faults = {"rate_limit": 0.1, "server": 0.05, "hang": 0.01, "truncated": 0.01, "retry_after_s": 0.2, "hang_s": 20}
    with Running(latency_ms=2, **faults) as server:
        root = write_project(tmp_path / "faulty", openai(server.base_url, timeout_s=1.0), n_examples=0)
        started = time.monotonic()
        assert run_ladder(root) == 0, words(root)
        took = time.monotonic() - started
        stats = server.stats()
    answers = Counter(stats["calls"][call] for call in committed(root))
    baseline = record(root)["rungs"][0]
    assert baseline["unscored"] == 0
    assert answers.total() == len(set(committed(root)))
    assert all(stats["answered"][digest] >= n for digest, n in answers.items())
    assert took < 30


def server_bill(server: Running) -> float:
    """US dollars at a thousand a million tokens: the server bills what arrives, answered or not."""
    return len(server.stats()["calls"]) * (INPUT_TOKENS + OUTPUT_TOKENS) / 1000


def spent(root: Path) -> float:
    store = ResponseStore(root / ".tuneworthy" / "responses.sqlite")
    try:
        return store.spending().usd
    finally:
        store.close()
