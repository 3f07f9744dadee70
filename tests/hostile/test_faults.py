"""Whatever a server does to some cases, the run goes on: siblings are scored, money stays within, nothing is a bug."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path

import pytest

from tests.e2e.resume_project import record, run_ladder, words
from tests.hostile.fault_project import ask, make_project
from tests.hostile.fault_server import BEHAVIOURS, USAGE, Running
from tests.hostile.table import tried
from tuneworthy.engine import runner
from tuneworthy.errors import TuneworthyError
from tuneworthy.providers import http_client
from tuneworthy.store import ResponseStore

KEY = "sk-fault-0123456789-secret"
# These never end by themselves.
ENDLESS = {"chunk-huge", "drip", "drip-headers", "flood-1xx", "hang", "length-huge"}
# These take their time: a pause of a minute, thirty attempts at a busy server.
SLOW = {"retry-after-1e308", "status-529"}
FAULTS = sorted(BEHAVIOURS.keys() - USAGE.keys())
# Three of each family ("body-...", "status-..."); `make test-extras` runs all.
QUICK = {name for _, family in groupby(FAULTS, lambda name: name.partition("-")[0]) for name in list(family)[:3]}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with Running() as running:
        yield running


def test_there_are_enough_behaviours() -> None:
    assert len(BEHAVIOURS) - len(USAGE) >= 60 and len(USAGE) >= 30


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK - SLOW else [pytest.mark.slow]) for name in FAULTS],
)
def test_a_case_that_meets_a_fault_leaves_its_siblings_alone(
    tmp_path: Path, server: Running, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULT_KEY", KEY)
    limit_s = 0.5 if name in ENDLESS else 30.0
    root = make_project(tmp_path / "p", server.base_url, name, bad=2, n=60, timeout_s=limit_s, api_key_env="FAULT_KEY")
    outcome = ask(root)
    failures = [trace.error for trace in outcome.bad if trace.error]
    survived = (
        outcome.scored == len(outcome.good) == 58
        and all(failure.message and KEY not in failure.message for failure in failures)
        and 0 <= outcome.expenses.usd <= 5.0
        and outcome.runner.budget.reserved_usd == 0
        and KEY.encode() not in (root / ".tuneworthy" / "responses.sqlite").read_bytes()
    )
    tried("fault of a server", name, survived, outcome)


LARGE = ["too-large", "gzip-bomb", "deflate-bomb", "endless", "endless-chunks", "many-lists", "many-keys", "large-text",
         "calls-many", "echo-question"]  # fmt: skip
MOST_MB = 400


def peak_mb(root: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.peak_memory", root], cwd=Path(__file__).parents[2], capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.parametrize(
    "name", [LARGE[0], LARGE[1], *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE[2:])]
)
@pytest.mark.parametrize("max_tokens", [8, pytest.param(200_000, marks=pytest.mark.slow)])
def test_no_server_makes_the_client_take_much_memory(
    tmp_path: Path, server: Running, name: str, max_tokens: int
) -> None:
    root = make_project(tmp_path / "p", server.base_url, name, bad=200, n=400, budget=None, timeout_s=20.0,
                        input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)  # fmt: skip
    config = root / "tuneworthy.toml"
    config.write_text(config.read_text().replace("max_tokens = 8", f"max_tokens = {max_tokens}"))
    peak = peak_mb(root)
    print(f"{name}, max_tokens {max_tokens}: {peak} MB")
    tried("memory at concurrency 64", f"{name}, {max_tokens} tokens", peak < MOST_MB, f"{peak} MB")


def test_without_the_limit_a_large_answer_is_read_whole(
    tmp_path: Path, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(tmp_path / "p", server.base_url, "too-large", bad=1, n=60, timeout_s=20.0)
    assert ask(root).bad[0].error is not None
    monkeypatch.setattr(http_client, "most_bytes", lambda request: 2**30)
    monkeypatch.setattr(http_client, "cut", lambda text, max_tokens: text)
    shutil.rmtree(root / ".tuneworthy")
    assert len(ask(root).bad[0].text) == 8 * 2**20


def poisoned(folder: Path, server: Running, bad: int, n: int, rungs: str) -> tuple[Path, float, int]:
    """Run the ladder on `n` cases of which `bad` always fail; return the project, seconds and the calls."""
    root = make_project(folder / f"bad{bad}", server.base_url, "status-500@20", bad=bad, n=n, rungs=rungs, budget=500.0,
                        timeout_s=30.0, retries=6)  # fmt: skip
    before = sum(server.stats()["calls"].values())
    started = time.monotonic()
    assert run_ladder(root) == 0, words(root)
    return root, time.monotonic() - started, sum(server.stats()["calls"].values()) - before


@pytest.mark.parametrize(
    ("bad", "n", "rungs"), [(4, 240, "baseline"), pytest.param(19, 1000, "baseline prompt", marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_under_two_percent_of_poisoned_cases_do_not_stop_the_ladder(
    tmp_path: Path, server: Running, bad: int, n: int, rungs: str
) -> None:
    _, usual_s, usual_calls = poisoned(tmp_path, server, 0, n, rungs)
    root, took_s, calls = poisoned(tmp_path, server, bad, n, rungs)
    first = record(root)
    unscored = [rung["unscored"] for rung in first["rungs"] if rung["n"]]
    with closing(ResponseStore(root / ".tuneworthy" / "responses.sqlite")) as store:
        n_stored, usd = len(store), store.spending().usd
    again = time.monotonic()
    before = sum(server.stats()["calls"].values())
    assert run_ladder(root) == 0, words(root)
    again_s, more = time.monotonic() - again, sum(server.stats()["calls"].values()) - before
    print(f"{bad} of {n} poisoned: {took_s:.1f} s and {calls} calls, without {usual_s:.1f} s and {usual_calls}; "
          f"second run {again_s:.1f} s and {more} calls; unscored {unscored}")  # fmt: skip
    assert 0 < max(unscored) <= bad
    assert any("could not be scored" in note for rung in first["rungs"] for note in rung["notes"])
    # seven attempts each in each phase would be many more; probes of the provider are counted too
    assert calls <= usual_calls + 8 * bad * max(1, len(first["rungs"]))
    with closing(ResponseStore(root / ".tuneworthy" / "responses.sqlite")) as store:
        assert (len(store), store.spending().usd) == (n_stored, pytest.approx(usd))
    assert record(root) == first
    if n == 1000:
        assert took_s <= 2 * usual_s


def test_without_the_known_call_poisoned_cases_end_the_run(
    tmp_path: Path, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unhealthy(*_: object) -> bool:
        return False

    root = make_project(tmp_path / "p", server.base_url, "status-500@20", bad=2, n=60, budget=500.0, timeout_s=30.0)
    monkeypatch.setattr(runner.Runner, "_healthy", unhealthy)
    monkeypatch.setattr(runner.Batch, "last_answer", property(lambda _: 0.0, lambda *_: None))
    with pytest.raises(TuneworthyError, match="fails too"):
        ask(root)


@pytest.mark.slow
def test_lost_repeats_are_counted_and_shown(tmp_path: Path, server: Running) -> None:
    root = make_project(tmp_path / "p", server.base_url, "second-time-lucky", bad=50, n=100, retries=0, budget=50.0)
    config = root / "tuneworthy.toml"
    config.write_text(config.read_text().replace("[ladder]", "[ladder]\nrepeats = 3"))
    assert run_ladder(root) == 0, words(root)
    (rung,) = [rung for rung in record(root)["rungs"] if rung["rung"] == "baseline"]
    assert rung["n"] == 50 and rung["unscored"] > 0
    assert any("answers to test cases could not be scored" in note for note in rung["notes"])


@pytest.mark.slow
def test_a_long_wait_is_shown(tmp_path: Path, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(runner.Progress, "note", lambda _, line: lines.append(line))
    monkeypatch.setattr(runner, "LONGEST_PAUSE_S", 0.2)
    root = make_project(tmp_path / "p", server.base_url, "retry-after-1e308", bad=1, n=60)
    ask(root)
    assert lines and all("m requests a wait of 1,440 min or more" in line for line in lines)
