"""The file of a recording: private, whole lines, several writers."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import tuneworthy
from tests.calls.servers import written
from tuneworthy.calls.recorder import recorder_of

LINES = 300


def test_the_file_is_private_and_its_place_is_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNEWORTHY_CALLS", raising=False)
    tuneworthy.record("a")(repr)(1)
    monkeypatch.setenv("TUNEWORTHY_CALLS", str(tmp_path / "new" / "other.jsonl"))
    tuneworthy.record("a")(repr)(2)
    tuneworthy.record("a", to="third.jsonl")(repr)(3)
    monkeypatch.chdir("/")  # the place is that of the beginning
    for name in ("calls.jsonl", "new/other.jsonl", "third.jsonl"):
        path = tmp_path / name
        assert len(written(path)) == 1
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_programs_that_write_to_one_file_tear_no_line(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    code = (
        "import os, sys, tuneworthy\n"
        f"work = tuneworthy.record(sys.argv[1], to={str(path)!r})(lambda n, text: n)\n"
        "child = os.fork() if sys.argv[1] == 'forked' else 0\n"
        f"for n in range({LINES}): work(n, 'long ' * (2000 if n % 50 == 0 else 20))\n"
        "if child: os.waitpid(child, 0)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("a", "b", "forked")]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    numbers = {name: sorted(row["output"] for row in rows if row["name"] == name) for name in ("a", "b", "forked")}
    assert numbers["a"] == numbers["b"] == [*range(LINES)]
    assert numbers["forked"] == sorted([*range(LINES)] * 2)


def test_a_line_that_a_crash_cut_off_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_bytes(b'{"name": "a"}\n{"name": "b", "outp')
    tuneworthy.record("c", to=path)(repr)(1)
    assert [row["name"] for row in written(path)] == ["a", "c"]


def test_a_fork_during_a_write_keeps_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    code = (
        "import os, time, threading, tuneworthy\n"
        "from tuneworthy.calls.recorder import recorder_of\n"
        "from tuneworthy.store import lines\n"
        "held, forked, end = threading.Event(), threading.Event(), lines.end_line\n"
        "def waits(file): held.set(); forked.wait(10); end(file)\n"
        "import tuneworthy.calls.recorder as r\n"
        "r.end_line = waits\n"
        f"work = tuneworthy.record('a', to={str(path)!r})(repr)\n"
        "work(1); held.wait(10)\n"
        "pid = os.fork()\n"
        "if not pid: time.sleep(60); os._exit(0)\n"
        "r.end_line = end; forked.set()\n"
        f"ok = recorder_of({str(path)!r}).flush(10); work(2); ok = ok and recorder_of({str(path)!r}).flush(10)\n"
        "os.kill(pid, 9); os.waitpid(pid, 0); os._exit(0 if ok else 1)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
    assert len(path.read_bytes().splitlines()) == 2


def test_a_recorder_is_one_per_file(tmp_path: Path) -> None:
    assert recorder_of(tmp_path / "a") is recorder_of(str(tmp_path / "a")) is not recorder_of(tmp_path / "b")
