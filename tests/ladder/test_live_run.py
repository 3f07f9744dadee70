"""The unfinished run: every finished rung is on disk at once, readers never wait, and the whole record stays."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

import tuneworthy
from tests.e2e.resume_project import record as record_of
from tests.killing import killed_at
from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.cli.progress import RunProgress
from tuneworthy.config import load
from tuneworthy.errors import TuneworthyError
from tuneworthy.ladder import run as ladder_run
from tuneworthy.ladder.record import RungRecord, RunRecord, read_record
from tuneworthy.ladder.run import RungWatcher, run_ladder
from tuneworthy.ladder.session import run_note, shown_run
from tuneworthy.signals import stop_at_once
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.store import folder as folder_module
from tuneworthy.verdict.answer import load_verdict

RUNGS = ["classical", "baseline", "prompt", "few_shot"]
MODELS = {"m": 'answer(request, 0.9 if has_shots(request) else 0.6, "a")'}
STEPS = [(ResponseStore, "put"), (RunProgress, "start"), (RunProgress, "finish"), (ladder_run, "write_record")]
READER_S = 5.0


class Stop(BaseException):
    """Ends a run as a signal does."""


class Stopper(RungWatcher):
    """Stops the run once `rung` is finished, or when it starts."""

    def __init__(self, rung: str, *, at_start: bool = False) -> None:
        self.rung, self.at_start = rung, at_start

    def start(self, rung: str) -> None:
        if self.at_start and rung == self.rung:
            raise Stop

    def finish(self, record: RungRecord) -> None:
        if not self.at_start and record.rung == self.rung:
            raise Stop


def world(root: Path, **options: Any) -> Path:
    return write_simulation(root, MODELS, n_cases=120, n_examples=60, rungs=RUNGS, **options)


def walk(root: Path, watcher: RungWatcher | None = None, *, quick: bool = False) -> RunRecord | None:
    try:
        return asyncio.run(run_ladder(load(root), quick=quick, watcher=watcher))
    except Stop:
        return None


def edit(root: Path, old: str, new: str) -> None:
    path = root / "tuneworthy.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def rungs_of(record: RunRecord | None) -> list[str]:
    return [row.rung for row in record.rungs] if record else []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a whole run."""
    root = world(tmp_path_factory.mktemp("whole") / "p")
    assert walk(root)
    return root


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(copytree(whole, tmp_path / "p"))


def test_a_finished_rung_is_read_at_once_and_the_rest_is_not_yet_compared(tmp_path: Path) -> None:
    root = world(tmp_path)
    seen: list[tuple[str, list[str], str]] = []
    told: list[str] = []

    class Reader(RungWatcher):
        def start(self, rung: str) -> None:
            if not seen:
                words = [sys.executable, "-m", "tuneworthy", "decide", "--project", str(root)]
                told.append(subprocess.run(words, capture_output=True, text=True, check=False).stderr)
            seen.append((rung, rungs_of(shown_run(load(root))), run_note(Folder(root))))

    walk(root, Reader())
    assert [(rung, finished) for rung, finished, _ in seen] == [(name, RUNGS[:n]) for n, name in enumerate(RUNGS)]
    assert "the rung classical has been running since" in seen[0][2]
    assert "Wait until a rung is finished." in told[0]
    assert seen[0][2].endswith("Finished: no rung yet.")
    assert seen[2][2].endswith("Finished: classical, baseline.")
    record = read_record(Folder(root))
    assert record and not record.partial and not record.at and run_note(Folder(root)) == "There is no run yet."
    assert not (root / ".tuneworthy" / "run-unfinished.json").exists()


def test_a_run_that_was_stopped_is_decided_by_the_rules_of_rungs_not_yet_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = world(tmp_path)
    walk(root, Stopper("classical", at_start=True))
    for command, status in {"decide": 4, "report": 2, "cases show": 2}.items():
        assert invoke([*command.split(), "--project", str(root)]) == status
        assert "stopped at the rung classical. Finished: no rung yet." in capsys.readouterr().err
    walk(root, Stopper("baseline"))
    told = tuneworthy.open(root).decide()
    assert (told.outcome, told.next_action.command) == ("undecided", "tuneworthy run")
    assert {"classical/embedding", "baseline/m"} & {option.option for option in told.options}
    assert told.reasons[-1] == "The run is incomplete: stopped at the rung baseline. Finished: classical, baseline."
    gates = {gate.gate: gate.status for gate in told.gates}
    assert gates["baseline"] == "pass" and gates["few_shot"] == "unknown"
    stored = load_verdict(load(root))
    assert stored and stored.holds
    walk(root, Stopper("prompt"))
    stored = load_verdict(load(root))
    assert stored and not stored.holds  # a rung more
    assert invoke(["status", "--json", "--project", str(root)]) == 0
    assert "Finished: classical, baseline, prompt." in json.loads(capsys.readouterr().out)["notes"][0]


def test_a_target_that_is_met_settles_an_unfinished_run(tmp_path: Path) -> None:
    root = world(tmp_path)
    edit(root, "target = 0.9", "target = 0.1\n")
    walk(root, Stopper("prompt"))
    assert tuneworthy.open(root).decide().outcome == "do_not_fine_tune"


def test_the_whole_record_is_shown_until_a_run_of_the_same_state_has_more(copied: Path) -> None:
    project = load(copied)
    walk(copied, Stopper("baseline"))
    assert rungs_of(shown_run(project)) == RUNGS and "Finished: classical, baseline." in run_note(Folder(copied))
    edit(copied, "few_shot'", "few_shot', 'decoding'")
    walk(copied, Stopper("decoding", at_start=True))
    assert rungs_of(shown_run(load(copied))) == RUNGS
    walk(copied, Stopper("decoding"))
    assert rungs_of(shown_run(load(copied))) == [*RUNGS, "decoding"]


def test_after_an_edit_the_new_run_counts_and_once_it_is_undone_the_whole_one_does(copied: Path) -> None:
    before = (copied / "tuneworthy.toml").read_text()
    edit(copied, "Name the colour.", "Other.")
    old = tuneworthy.open(copied).decide()
    assert "the prompt has changed" in old.stale and old.outcome == "undecided"  # old numbers are shown as old
    walk(copied, Stopper("baseline"))
    assert rungs_of(shown_run(load(copied))) == RUNGS[:2]
    assert not tuneworthy.open(copied).decide().stale
    (copied / "tuneworthy.toml").write_text(before)
    assert rungs_of(shown_run(load(copied))) == RUNGS
    assert not tuneworthy.open(copied).decide().stale


def test_a_resumed_run_never_shows_less_than_the_one_before(tmp_path: Path) -> None:
    root = world(tmp_path)
    walk(root, Stopper("prompt"))
    walk(root, Stopper("classical"))
    assert rungs_of(shown_run(load(root))) == RUNGS[:3]
    edit(root, "Name the colour.", "Other.")
    walk(root, Stopper("classical"))
    assert rungs_of(shown_run(load(root))) == RUNGS[:1]


def test_an_unfinished_quick_run_is_shown_and_gives_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = world(tmp_path)
    walk(root, Stopper("classical"), quick=True)
    assert rungs_of(shown_run(load(root), "quick")) == ["baseline", "classical"]
    assert invoke(["decide", "--project", str(root)]) == 4 and "There is no run yet." in capsys.readouterr().err
    assert invoke(["report", "--project", str(root)]) == 0
    assert "no verdict" in capsys.readouterr().out
    assert invoke(["run", "--quick", "--project", str(root)]) == 4
    lines = capsys.readouterr().out.splitlines()
    assert {"score", "n", "Δ", "today", "$"} <= set(next(line for line in lines if "score" in line).split())


# ---- locks -----------------------------------------------------------------------------------------------------------
READERS: dict[str, Callable[[Path], Any]] = {
    **{
        words: lambda root, words=words: invoke([*words.split(), "--project", str(root)])  # type: ignore[misc]
        for words in ("decide", "report", "status --json", "cases show", "check --offline",
                      "compare baseline few_shot")
    },
    "open().decide": lambda root: tuneworthy.open(root).decide(),
    "open().report": lambda root: tuneworthy.open(root).report(),
    "open().compare": lambda root: tuneworthy.open(root).compare("baseline", "few_shot"),
}  # fmt: skip


@pytest.fixture
def held(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project whose lock another command has: whoever waits fails."""

    def wait(_: float) -> None:
        raise AssertionError("waits for the lock")

    with Folder(copied).lock(print):
        monkeypatch.setattr(folder_module.time, "sleep", wait)
        yield copied


@pytest.mark.parametrize("name", READERS)
def test_a_reader_takes_no_lock(name: str, held: Path) -> None:
    split = (held / ".tuneworthy" / "split.json").read_bytes()
    result = READERS[name](held)
    assert not isinstance(result, int) or result in {0, 3, 4}
    assert (held / ".tuneworthy" / "split.json").read_bytes() == split


def test_a_writer_takes_the_lock_and_so_does_a_comparison_that_needs_calls(held: Path) -> None:
    for words in ("decide --probe", "run", "compare baseline few_shot --test"):
        assert invoke([*words.split(), "--project", str(held)]) == 1  # it waits
    edit(held, "Name the colour.", "Other.")
    assert invoke(["compare", "baseline", "current", "--project", str(held)]) == 1


def test_a_verdict_of_another_state_than_the_stored_one_is_not_stored(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuneworthy.verdict import run as verdict_run

    tuneworthy.open(copied).decide()
    before = (copied / ".tuneworthy" / "verdict.json").read_bytes()
    decide = verdict_run.decide

    def slow(*arguments: Any) -> Any:  # the run goes on meanwhile
        Folder(copied).write("errors", {"other": 1})
        return decide(*arguments)

    monkeypatch.setattr(verdict_run, "decide", slow)
    tuneworthy.open(copied).decide()
    assert (copied / ".tuneworthy" / "verdict.json").read_bytes() == before


def test_a_signal_that_comes_before_the_wait_ends_it(tmp_path: Path) -> None:
    root = world(tmp_path)

    async def stopped() -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()  # as the handler of a signal does
        await run_ladder(load(root))

    with Folder(root).lock(print), pytest.raises(KeyboardInterrupt):
        asyncio.run(stopped())


# ---- kills -----------------------------------------------------------------------------------------------------------
def run_logged(root: Path) -> None:
    """Run the ladder in this process, a child; all that it says goes to a file."""
    log = os.open(root.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(log, number)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_DFL)
    stop_at_once()
    assert invoke(["run", "--project", str(root)]) in {0, 130}


def finished_in(root: Path) -> set[str]:
    """Return the rungs that the watcher reported."""
    log = root.with_suffix(".log")
    return set(re.findall(r"^(\w+) \(", log.read_text(), re.MULTILINE)) if log.exists() else set()


def check_stopped(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that each reader shows each rung that had finished."""
    finished, shown = finished_in(root), shown_run(load(root))
    assert finished <= set(rungs_of(shown)), (finished, rungs_of(shown))
    names = {row.name for row in (shown.rungs if shown else ()) if row.score is not None}
    for words in ("decide --json", f"report --out {root / 'r.json'}", "status --json"):
        status = invoke([*words.split(), "--project", str(root)])
        out = capsys.readouterr().out
        if finished:
            assert status in {0, 3, 4}, (words, status, out)
            text = (root / "r.json").read_text() if "report" in words else out
            want = finished if words == "status --json" and run_note(Folder(root), otherwise="") else names
            assert all(str(one) in text for one in want if one), (words, want)


def stopped_at(root: Path, moments: list[int], number: int, capsys: pytest.CaptureFixture[str]) -> None:
    for moment in moments:
        killed_at(moment, STEPS, lambda: run_logged(root), number)
        check_stopped(root, capsys)


def same(root: Path, other: Path) -> bool:
    """Whether two projects have the same record; the project is named by its folder in nothing."""
    return record_of(root) | {"mark": ""} == record_of(other) | {"mark": ""}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_each_finished_rung_of_a_stopped_run_is_shown_before_it_is_resumed(
    number: signal.Signals, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = world(tmp_path / "p")
    stopped_at(root, [70, 160], number, capsys)
    assert walk(root) and same(root, whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_each_finished_rung_is_shown_after_a_stop_at_twenty_moments(
    number: signal.Signals, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    n_steps = 2 * len(RUNGS) * 2 + len(read_answers(whole))
    for moment in range(20):
        root = world(tmp_path / f"p{moment}")
        stopped_at(root, [1 + moment * n_steps // 20], number, capsys)
        assert walk(root) and same(root, whole), moment


@pytest.mark.slow
def test_no_reader_waits_beside_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = world(tmp_path / "p")
    script = root / "world.py"
    script.write_text(
        script.read_text().replace("def m(request):", "def m(request):\n    import time; time.sleep(0.02)")
    )
    child = os.fork()
    if child == 0:
        try:
            run_logged(root)
        finally:
            os._exit(0)
    slowest: dict[str, float] = {}
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        for name, read in READERS.items():
            started = time.monotonic()
            with suppress(TuneworthyError):  # before the first rung is finished
                read(root)
            slowest[name] = max(slowest.get(name, 0.0), time.monotonic() - started)
    os.waitpid(child, 0)
    capsys.readouterr()
    with capsys.disabled():
        print({name: round(took, 2) for name, took in slowest.items()})
    crowd = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # of other work on this machine
    assert max(slowest.values()) < READER_S * crowd


def read_answers(root: Path) -> range:
    store = ResponseStore(Folder(root).responses)
    try:
        return range(len(store))
    finally:
        store.close()
