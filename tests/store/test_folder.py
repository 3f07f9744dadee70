"""The folder: whole files or none, and one process at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tuneworthy.errors import UserError
from tuneworthy.store import Folder, write_atomic

HOLDER = """
import sys, time
from pathlib import Path
from tuneworthy.store import Folder
with Folder(Path(sys.argv[1])).lock(print):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_atomic(path, b"old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["run.json"]


def test_parts_are_written_one_after_the_other_and_permissions_stay(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    write_atomic(path, b"old")
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o600)
    write_atomic(path, (part for part in (b"one\n", b"two\n")))
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_file_is_as_private_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomic(tmp_path / "report.html", b"wrong answers")
    finally:
        os.umask(before)
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o600


def test_documents_come_back_and_missing_ones_are_none(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.read("split", dict) is None
    folder.write("split", {"dev": [1, 2.5, None, "ü"]})
    assert folder.read("split", dict) == {"dev": [1, 2.5, None, "ü"]}
    assert (folder.path / ".gitignore").read_text() == "*\n"


def test_a_broken_document_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("split", {}).write_text("{broken")
    with pytest.raises(UserError, match=r"split\.json.*tuneworthy doctor"):
        folder.read("split", dict)


def test_the_second_process_waits_and_is_told_for_whom_and_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        told: list[str] = []

        def waiting(message: str) -> None:
            told.append(message)
            os.kill(holder.pid, signal.SIGKILL)

        with Folder(tmp_path).lock(waiting):
            (told_once,) = told
            assert told_once.startswith(f"Process {holder.pid} (-c {tmp_path}) has used this project since ")
            assert "(0 min)" in told_once
    with Folder(tmp_path).lock(told.append):
        assert len(told) == 1


def test_the_text_of_a_killed_holder_is_never_taken_for_that_of_the_next(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with folder.lock(print), (folder.path / "lock").open("r+") as file:
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        for text in (f"{dead.pid} tuneworthy run", "", "x y", "-1 y", f"{10**30} y"):  # killed before it wrote its own
            file.seek(0)
            file.truncate()
            file.write(text)
            file.flush()
            holder = folder.holder()
            assert holder and (holder[0], holder[2]) == ("", "Another process is using this project."), text
    assert folder.holder() is None


WAITER = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # also where the tests run under `nohup`
    signal.signal(number, signal.SIG_DFL)
from pathlib import Path
from tuneworthy import signals
from tuneworthy.cli.interruption import run_async
from tuneworthy.store import Folder

async def main() -> None:
    with Folder(Path(sys.argv[1])).lock(lambda message: print(message, flush=True)):
        pass

signals.stop_at_once()
signals.listen()
run_async(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_waits_for_another_ends_at_the_first_signal(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-c", WAITER, str(tmp_path)]
    with Folder(tmp_path).lock(print), subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        assert one.stdout is not None
        assert one.stdout.readline()
        one.send_signal(number)
        try:
            assert one.wait(20) != 0
        finally:
            one.kill()
        assert one.stderr is not None
        assert b"KeyboardInterrupt" in one.stderr.read()
