"""A build in stages is equal to a build in one process to the byte, whatever its engine, and whatever dies."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests import forked
from tests.ray_cluster import heads, ray_cluster, workers
from tests.test_executors import sbatch
from tuneworthy import executors
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.dataset.base import CheckContext, data_checks
from tuneworthy.dataset.build import build_version
from tuneworthy.dataset.check_runner import run_checks
from tuneworthy.dataset.dedup.near import band_pairs
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.dataset.stages import StagedBatches
from tuneworthy.errors import Undecided, UserError
from tuneworthy.executors import Engine
from tuneworthy.store import Folder
from tuneworthy.types import Example

PROJECT = f"""{forked.PROJECT}[data]
encoder = "off"
policy = {{ contamination = "report" }}
"""
N = 2_000
# Tasks of a build with batches of 150 rows, and how often it is killed.
N_TASKS, KILLS = 177, 10
WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("nde", "lter", "sk", "rm", "ving")]
# Runs a build in stages with small batches, whose files stay. Arguments: project, folder, engine, workers.
CHILD = """
import sys
from pathlib import Path
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.dataset.build import build_version
from tuneworthy.dataset.stages import StagedBatches
from tuneworthy.store import Folder
root, folder, engine, workers = sys.argv[1:]
StagedBatches.clear = lambda self: None
staged = StagedBatches(Path(folder), engine, int(workers), batch=150)
build_version(load(Path(root)), Folder(Path(root)), unsafe=True, staged=staged)
"""


def write_project(root: Path, n: int = N) -> None:
    """Write a project whose rows have faults of many checks, and a third of which share a long template."""
    rng = random.Random(5)
    template = " ".join(rng.choices(WORDS, k=120))
    rows: list[tuple[str, str]] = []
    for number in range(n):
        question, answer = (" ".join(rng.choices(WORDS, k=k)) for k in (12, 40))
        if rng.random() < 0.3:
            answer = f"{template} {answer}"
        if rows and rng.random() < 0.3:
            question, answer = rng.choice(rows)
            kind = rng.randrange(4)
            answer += [
                "",
                " please",
                " Where is M\u00c3\u00bcller&#39;s card?",
                f" write to {WORDS[number % 90]}@example.org",
            ][kind]
            if kind == 1:
                answer = answer.replace("nder", "nedr", 1)
        rows.append((question, answer + (" and" if number % 61 == 0 else "")))
    lines = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in rows]
    root.mkdir()
    (root / "tuneworthy.toml").write_text(PROJECT)
    (root / "rows.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    cases = dict(rows[:: n // 60])
    (root / "cases.jsonl").write_bytes(
        b"".join(orjson.dumps({"input": q, "expected": a}) + b"\n" for q, a in cases.items())
    )
    import_files(Folder(root), [root / "rows.jsonl"])


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.glob(".tuneworthy/datasets/*/*.jsonl")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A project, and the version that one process builds of it."""
    root = tmp_path_factory.mktemp("stages") / "project"
    write_project(root)
    version, _ = build_version(load(root), Folder(root), unsafe=True)
    assert version is not None
    return root, content(root)


@pytest.fixture
def fresh(built: tuple[Path, dict[str, bytes]], tmp_path: Path) -> Path:
    """The project without a version."""
    shutil.copytree(built[0], tmp_path / "project", ignore=shutil.ignore_patterns("datasets"))
    return tmp_path / "project"


def build(root: Path, folder: Path, engine: Engine = "local", workers: int = 2, batch: int = 150) -> None:
    staged = StagedBatches(folder, engine, workers, batch=batch)
    build_version(load(root), Folder(root), unsafe=True, staged=staged)


def test_the_rows_have_what_the_stages_find(built: tuple[Path, dict[str, bytes]]) -> None:
    (rejects,) = (text for name, text in built[1].items() if name.endswith("rejects.jsonl"))
    (findings,) = (text for name, text in built[1].items() if name.endswith("findings.jsonl"))
    for code in (b"exact_duplicate", b"near_duplicate", b"cut_off"):
        assert code in rejects
    for code in (b"escaped_text", b"personal_data", b"overlap_"):
        assert code in findings


def test_local_processes_build_what_one_process_builds_and_leave_nothing(
    built: tuple[Path, dict[str, bytes]], fresh: Path, tmp_path: Path
) -> None:
    build(fresh, tmp_path / "stages")
    assert content(fresh) == built[1]
    assert not [*tmp_path.glob("stages*")]


def test_stages_that_were_removed_in_part_are_made_again(
    built: tuple[Path, dict[str, bytes]], fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path, **_: object) -> None:
        for path in Path(folder).glob("truncation-*/*.jsonl"):
            path.unlink()

    monkeypatch.setattr("tuneworthy.dataset.stages.shutil.rmtree", killed)
    build(fresh, tmp_path / "stages")
    monkeypatch.undo()
    shutil.rmtree(fresh / ".tuneworthy/datasets")
    build(fresh, tmp_path / "stages")
    assert content(fresh) == built[1]
    assert not [*tmp_path.glob("stages*")]


def test_projects_can_share_a_folder_of_stages(
    built: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    for name in ("one", "two"):
        shutil.copytree(built[0], tmp_path / name, ignore=shutil.ignore_patterns("datasets"))
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setattr(StagedBatches, "clear", lambda staged: kept.append(staged.folder))
        assert invoke(["data", "build", "--unsafe", "--stages", str(tmp_path / "stages")]) == 0
    monkeypatch.undo()
    one, two = kept
    StagedBatches(one, "local").clear()
    assert not one.exists() and [*two.glob("*-*/stage.json")]


def test_files_of_another_version_are_not_used_and_a_view_is_kept(
    built: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = built[0].glob(".tuneworthy/imports/*/rows.jsonl")
    staged, check = StagedBatches(tmp_path, "local", 1, batch=N), data_checks()["truncation"]

    def found(**options: Any) -> int:
        checked = run_checks(path, [check], CheckContext(cases=()), policy={"truncation": "report"}, **options)
        return len(checked.stages[0].decisions)

    for version in ("1", "2"):
        monkeypatch.setattr("tuneworthy.dataset.stages.__version__", version)
        assert found(staged=staged) == found() > found(view=whole, staged=staged)
    assert len([*tmp_path.glob("truncation-*")]) == 2


def whole(_: str, row: Example) -> Example:
    """Return a row whose answer ends with a full sentence."""
    return replace(row, messages=(*row.messages[:-1], {"role": "assistant", "content": "It is the best."}))


def test_ray_builds_what_one_process_builds(built: tuple[Path, dict[str, bytes]], fresh: Path, tmp_path: Path) -> None:
    with ray_cluster(4):
        build(fresh, tmp_path / "stages", "ray")
    assert content(fresh) == built[1]


def test_slurm_builds_what_one_process_builds(
    built: tuple[Path, dict[str, bytes]], fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = sbatch(tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(sys, "argv", ["tuneworthy", "--version"])
    monkeypatch.setattr(executors, "MAX_ARRAY", 2)  # a process for each task would take minutes
    for _ in range(40):
        try:
            build(fresh, tmp_path / "stages", "slurm", batch=1000)
            break
        except Undecided as error:
            command = re.search("`(sbatch .*) && sbatch", str(error))
            assert command
            subprocess.run(["bash", "-c", command[1]], check=True)
    assert content(fresh) == built[1]
    assert len((program.parent / "ran").read_text().split("\n")) > 10


def test_a_build_goes_on_from_its_markers_with_another_number_of_workers(
    built: tuple[Path, dict[str, bytes]], fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, ran = executors.run_tasks, 0

    def stopped(tasks: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal ran
        ran += 1
        if ran == 8:
            run(tasks[:3], *arguments, **named)
            raise KeyboardInterrupt
        return run(tasks, *arguments, **named)

    monkeypatch.setattr("tuneworthy.dataset.stages.run_tasks", stopped)
    with pytest.raises(KeyboardInterrupt):
        build(fresh, tmp_path / "stages", workers=2)
    build(fresh, tmp_path / "stages", workers=3)
    assert content(fresh) == built[1]


def test_a_full_disk_names_the_folder_and_the_build_goes_on_later(
    built: tuple[Path, dict[str, bytes]], fresh: Path, tmp_path: Path
) -> None:
    small = tmp_path / "stages"
    small.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "x", small], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        with pytest.raises(UserError, match=rf"{small}[^:]*: No space left on device\. Free some space"):
            build(fresh, small / "own")
        subprocess.run(["mount", "-o", "remount,size=500m", small], check=True)
        build(fresh, small / "own")
    finally:
        subprocess.run(["umount", small], check=True)
    assert content(fresh) == built[1]


def test_a_band_with_a_third_of_all_rows_takes_little_time_and_memory() -> None:
    """30,000 of 100,000 rows have one key: each is compared with the latest `LIMIT` rows at most."""
    rng = np.random.default_rng(3)
    n, size = 100_000, 8
    keys = rng.integers(2**63, size=n, dtype=np.uint64)
    keys[rng.random(n) < 0.3] = 7
    sets = np.sort(rng.integers(2**32, size=(n, size), dtype=np.uint32)).ravel()
    sets.reshape(n, size)[1000:1010] = sets[:size]
    keys[[0, *range(1000, 1010)]] = 7
    found = band_pairs(keys, np.ones(n, bool), sets, np.arange(0, size * n + 1, size), 0.7)
    assert found.cut > 0.25 * n
    assert found.pairs.tolist() == [[row, 1000] for row in range(1001, 1010)]  # row 0 is too far from row 1000


def markers(folder: Path) -> dict[Path, int]:
    """Return when each marker was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/*.done")}


@pytest.mark.slow
@pytest.mark.parametrize(("who", "engine"), [("driver", "local"), ("worker", "local"), ("driver", "ray"),
                                             ("worker", "ray"), ("head", "ray")])  # fmt: skip
def test_a_build_that_was_killed_ten_times_ends_with_the_version_of_one_that_was_not(
    who: str, engine: Engine, built: tuple[Path, dict[str, bytes]], fresh: Path, tmp_path: Path
) -> None:
    rng, folder, before, killed, repeated = random.Random(11), tmp_path / "stages", dict[Path, int](), 0, 0

    def kill(build: subprocess.Popen[bytes]) -> bool:
        found = [build.pid]
        if who != "driver":
            found = workers(build.pid if engine == "local" else os.getpid())
        if who == "head" and found:  # at work
            found = heads()
        if found:
            os.kill(rng.choice(found), signal.SIGKILL)
        return bool(found)

    with ExitStack() as stack:
        status = -1
        while status or killed < KILLS:
            if not status:  # it ended before the last kill: once more
                shutil.rmtree(folder)
                shutil.rmtree(fresh / ".tuneworthy/datasets")
                before = {}
            if engine == "ray" and not heads():
                stack.close()
                stack.enter_context(ray_cluster(4, RAY_gcs_rpc_server_reconnect_timeout_s="2"))
            workers_now = str(rng.choice([2, 3, 4]))
            child = subprocess.Popen([sys.executable, "-c", CHILD, str(fresh), str(folder), engine, workers_now])
            while killed < KILLS and child.poll() is None:
                moment = len(markers(folder)) + rng.randrange(1, N_TASKS // KILLS // 2)
                while child.poll() is None and len(markers(folder)) < moment:
                    time.sleep(0.01)
                time.sleep(rng.random() * 0.1)
                now = markers(folder)
                repeated += sum(now[path] != written for path, written in before.items())
                before = now
                if child.poll() is None and kill(child):
                    killed += 1
                    if who != "worker":
                        break
            status = child.wait(300)
            # a task whose process dies three times ends the build, and the next one resumes
            assert status in {0, -signal.SIGKILL if who == "driver" else 1}, killed
    now = markers(folder)
    repeated += sum(now[path] != written for path, written in before.items())
    print(f"{who} ({engine}): killed {killed} times, {repeated} of {len(now)} tasks done again")
    assert content(fresh) == built[1]
    assert killed == KILLS and len(now) == N_TASKS
    assert repeated <= killed * 4  # those in flight
