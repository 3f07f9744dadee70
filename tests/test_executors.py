"""Engines that run tasks: all give the same files, whatever dies."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.ray_cluster import ray_cluster
from tuneworthy import executors
from tuneworthy.errors import OutsideFault, TuneworthyError, Undecided, UnknownName, UserError
from tuneworthy.executors import MAX_TRIES, Engine, PooledTask, TaskPool, run_tasks

# A task that counts its tries, has a fault, and writes a file.
TASK = """
import errno, os, signal
from pathlib import Path
from tuneworthy.errors import UnknownName
print("working")
tries, fault = Path({out!r} + ".tries"), {fault!r}
with tries.open("ab") as file:
    file.write(b"x")
if fault == "die" or fault == "die once" and tries.stat().st_size == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if fault == "name":
    raise UnknownName("model", "a", ["ab"])
if fault in {{"ENOSPC", "ENOENT"}}:
    raise OSError(getattr(errno, fault), os.strerror(getattr(errno, fault)))
if fault == "bug":
    1 / 0
Path({out!r}).write_text(os.environ.get("SHOWN", "") + os.environ.get("MY_API_KEY", ""))
"""


def tasks_in(folder: Path, faults: Mapping[int, str], n: int = 6) -> list[PooledTask]:
    return [
        PooledTask(
            "timeit:timeit",
            {"stmt": TASK.format(out=str(folder / f"out{k}"), fault=faults.get(k, "")), "number": 1},
            folder / f"done{k}",
        )
        for k in range(n)
    ]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster() as some:
        yield some


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    name: Engine = request.param
    return name


def tries(folder: Path) -> list[int]:
    return [path.stat().st_size for path in sorted(folder.glob("*.tries"))]


def test_tasks_run_once_and_those_with_a_marker_are_skipped(engine: Engine, tmp_path: Path) -> None:
    tasks = tasks_in(tmp_path, {})
    tasks[1].marker.write_text('"as before"')
    heard: list[str] = []
    results = run_tasks(tasks, engine, tmp_path / "w", workers=2, say=heard.append)
    assert results[1] == "as before" and all(isinstance(one, float) for one in results[:1] + results[2:])
    assert tries(tmp_path) == [1] * 5 and not (tmp_path / "out1").exists()
    assert heard == [f"Running 5 of 6 tasks ({engine})"]
    assert run_tasks(tasks, engine, tmp_path / "w", say=heard.append) == results and len(heard) == 1


def test_the_marker_of_a_task_that_another_process_did_meanwhile_stays(tmp_path: Path) -> None:
    marker = tmp_path / "done"
    stmt = f"from pathlib import Path\nPath({str(marker)!r}).write_text('\"of the other\"')"
    assert run_tasks([PooledTask("timeit:timeit", {"stmt": stmt, "number": 1}, marker)], "local", tmp_path) == [
        "of the other"
    ]


def test_the_processes_of_an_open_pool_stay_for_further_tasks(tmp_path: Path) -> None:
    tasks = [PooledTask("os:getpid", {}, tmp_path / f"{k}.done") for k in range(4)]
    with TaskPool("local", tmp_path / "tasks.log", 1) as pool:
        first = run_tasks(tasks[:2], "local", tmp_path, pool=pool)
        assert run_tasks(tasks[2:3], "local", tmp_path, pool=pool) == first[:1] == first[1:]
    assert run_tasks(tasks[3:], "local", tmp_path) != first[:1]


def test_a_task_whose_process_died_is_repeated(engine: Engine, tmp_path: Path) -> None:
    run_tasks(tasks_in(tmp_path, {0: "die once", 3: "die once"}), engine, tmp_path, workers=2)
    assert tries(tmp_path) == [2, 1, 1, 2, 1, 1]


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("die", OutsideFault, r"done2 died 3 times\. .*tasks\.log"),
        ("name", UnknownName, r"Unknown model: 'a'\. Did you mean 'ab'\?"),
        ("ENOSPC", UserError, r"{folder}: No space left on device\. Free some space"),
        ("ENOENT", FileNotFoundError, r"No such file or directory: '{folder}'"),
        ("bug", TuneworthyError, r"done2 failed: ZeroDivisionError: division by zero\. .*tasks\.log"),
    ],
)
def test_an_error_of_a_task_comes_back_after_the_other_tasks_are_done(
    fault: str, kind: type[Exception], words: str, engine: Engine, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=words.format(folder=re.escape(str(tmp_path)))) as raised:
        run_tasks(tasks_in(tmp_path, {2: fault}), engine, tmp_path, workers=2)
    assert type(raised.value) is kind
    assert [k for k in range(6) if (tmp_path / f"done{k}").exists()] == [0, 1, 3, 4, 5]
    assert tries(tmp_path) == [1, 1, MAX_TRIES if fault == "die" else 1, 1, 1, 1]
    assert ("ZeroDivisionError" in (tmp_path / "tasks.log").read_text()) or fault != "bug" or engine == "ray"


@pytest.mark.parametrize("given", [None, {"SHOWN": "shown"}])
def test_a_task_has_no_secret_of_the_user_unless_its_caller_passes_it(
    given: dict[str, str] | None, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOWN", "")
    monkeypatch.setenv("MY_API_KEY", "secret")
    run_tasks(tasks_in(tmp_path, {}, n=1), engine, tmp_path, variables=given)
    assert (tmp_path / "out0").read_text() == ("shown" if given and engine == "local" else "")  # a cluster has its own


def test_a_cluster_that_does_not_answer_is_given_up_after_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    assert executors.CONNECT_S == 60
    monkeypatch.setattr(executors, "CONNECT_S", 3)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    begun = time.monotonic()
    with pytest.raises(OutsideFault, match=r"cannot be reached\. .*tasks\.log has the reason\. Start the cl"):
        run_tasks(tasks_in(tmp_path, {}), "ray", tmp_path)
    assert time.monotonic() - begun < 30
    assert "Waiting 3 s at most for Ray (127.0.0.1:1)" in (tmp_path / "tasks.log").read_text()


def sbatch(folder: Path) -> Path:
    """Write a program that plays `sbatch`: it runs each index at once, and says what it ran."""
    program = folder / "bin" / "sbatch"
    program.parent.mkdir()
    program.write_text(
        """#!/bin/bash
echo "$1" >> "$(dirname "$0")/ran"
last=$(sed -n 's/#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
for index in $(seq 0 "${last:-0}"); do SLURM_ARRAY_TASK_ID=$index bash "$1"; done
true
"""
    )
    program.chmod(0o755)
    return program


def test_slurm_gets_scripts_that_run_each_task_once_and_the_command_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, folder = tasks_in(tmp_path, {2: "name"}), tmp_path / "a b"
    program = sbatch(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tuneworthy", "it's me"])
    monkeypatch.setattr("tuneworthy.executors.MAX_ARRAY", 4)
    with pytest.raises(Undecided, match="Slurm has to run 6 tasks first") as raised:
        run_tasks(tasks, "slurm", folder, workers=2)
    assert raised.value.exit_status == 4
    command = re.search("`(sbatch .*)`", str(raised.value))
    assert command and "#SBATCH --array=0-3%2\n" in (folder / "array.sh").read_text()
    again = folder / "again.sh"
    assert "-m tuneworthy 'it'\"'\"'s me'\n" in again.read_text() and "dependency=singleton" in again.read_text()
    listed = folder / "tasks.jsonl"
    # the command that runs again: the third task is left, and then the same one
    code = (
        "from pathlib import Path; from tuneworthy.executors import *; import orjson; "
        f"rows = map(orjson.loads, Path({str(listed)!r}).read_bytes().splitlines()); "
        "tasks = [PooledTask(row['function'], row['arguments'], Path(row['marker'])) for row in rows]; "
        f"run_tasks(tasks, 'slurm', Path({str(folder)!r}))"
    )
    repeat = f"{shlex.join([sys.executable, '-c', code])}; cp {str(again)!r}.kept {str(again)!r}; (exit 4)"
    again.write_text(re.sub(r".* -m tuneworthy .*", lambda _: repeat, again.read_text()))
    shutil.copy(again, f"{again}.kept")
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", command[1]], env=environment, capture_output=True, text=True, check=False)
    assert tries(tmp_path) == [1, 1, 2, 1, 1, 1], done  # the task that failed ran in both arrays
    assert (program.parent / "ran").read_text().split("\n")[:-1] == [str(folder / "array.sh"), str(again)] * 2
    assert "Unknown model: 'a'. Did you mean 'ab'?" in done.stderr
    with pytest.raises(UnknownName):
        run_tasks(tasks, "local", folder)


def test_children_end_with_a_command_that_was_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    stmt = f"import time\nfile = open({str(tmp_path / 'alive')!r}, 'w', 1)\nprint('x', file=file)\ntime.sleep(600)"
    code = (
        "from pathlib import Path; from tuneworthy.executors import *; "
        f"run_tasks([PooledTask('timeit:timeit', dict(stmt={stmt!r}, number=1), Path('{tmp_path}/done'))], 'local', "
        f"Path('{tmp_path}'))"
    )
    owner = subprocess.Popen([sys.executable, "-c", code])
    with (tmp_path / "alive").open() as pipe:
        assert pipe.readline() == "x\n"
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        watchdog = threading.Timer(30, os._exit, [1])
        watchdog.start()
        assert pipe.read() == ""  # the child is gone
        watchdog.cancel()
