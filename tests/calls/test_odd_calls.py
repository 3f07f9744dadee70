"""Odd calls are recorded or skipped with a reason; none raises into the caller or changes what it gets."""

from __future__ import annotations

import asyncio
import ctypes
import datetime
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict, namedtuple
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import openai
import pytest

import tuneworthy
from tests.calls.servers import Api, api, reasons, written
from tuneworthy.calls import recorder as recorder_module
from tuneworthy.calls.recorder import Recorder, recorder_of

RECORDED = "recorded"
QUESTION = [{"role": "user", "content": "a"}]


@pytest.fixture
def server() -> Iterator[Api]:
    with api() as found:
        yield found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


def recursive() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def deep(n: int = 100_000) -> list[Any]:
    found: list[Any] = []
    for _ in range(n):
        found = [found]
    return found


class Hostile:
    """All that is asked of it raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("hostile")

    def __repr__(self) -> str:
        raise RuntimeError("hostile")

    def __bool__(self) -> bool:
        raise RuntimeError("hostile")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("hostile")

    __hash__ = None  # type: ignore[assignment]


class HostileModel:
    def model_dump(self, mode: str) -> Any:
        raise ValueError("a secret-4711")


class SlowText(str):
    __slots__ = ()

    def __len__(self) -> int:
        raise RuntimeError("hostile")


Pair = namedtuple("Pair", "a b")
# Arguments and output of a function, and the outcome.
VALUES: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: None, RECORDED),
    "an empty text": (lambda: "", RECORDED),
    "a text of 900 kB": (lambda: "ab cd " * 75_000, RECORDED),
    "a text of 3 MB": (lambda: "x" * 3_000_000, "too large"),
    "a list of ten million": (lambda: [0] * 10_000_000, "too large"),
    "bytes": (lambda: b"\x00\xff", "no JSON"),
    "all planes of Unicode": (lambda: "é漢😀\u202e\x00\x7f\u2028", RECORDED),
    "half of a surrogate pair": (lambda: "\ud83d", "no JSON"),
    "not a number": (lambda: math.nan, "no JSON"),
    "infinity": (lambda: -math.inf, "no JSON"),
    "a number of 400 digits": (lambda: 10**400, "no JSON"),
    "a number of 5,000 digits": (lambda: 10**5000, "no JSON"),
    "a date": (lambda: datetime.datetime(2026, 1, 2), RECORDED),
    "a decimal": (lambda: Decimal("1.10"), RECORDED),
    "a named tuple": (lambda: Pair(1, "b"), RECORDED),
    "a dictionary with tuples as keys": (lambda: {(1, 2): 3}, "no JSON"),
    "a default dictionary": (lambda: defaultdict(list, a=[1]), RECORDED),
    "a list in itself": (recursive, "too large"),
    "a nested list, 100,000 deep": (deep, "too large"),
    "a nested list, 5,000 deep": (lambda: deep(5_000), "no JSON"),
    "a lock": (threading.Lock, "no JSON"),
    "a mock": (MagicMock, "no JSON"),
    "a namespace": (lambda: SimpleNamespace(a=1), "no JSON"),
    "a generator": (lambda: (n for n in range(3)), "no JSON"),
    "a class": (lambda: Recorder, "no JSON"),
    "an exception": (lambda: ValueError("secret-4711"), "no JSON"),
    "a function": (lambda: print, "no JSON"),
    "an object that raises": (Hostile, "no JSON"),
    "a model that raises": (HostileModel, "no JSON"),
    "a text that raises": (lambda: SlowText("a"), "not read: RuntimeError"),
}


@pytest.mark.parametrize("name", VALUES)
def test_any_value_is_recorded_or_skipped(name: str, path: Path) -> None:
    make, outcome = VALUES[name]
    value = make()

    @tuneworthy.record("odd", to=path)
    def work(argument: Any) -> Any:
        return argument

    assert work(value) is value
    (row,) = written(path)
    assert row.get("skipped", RECORDED) == outcome
    assert "4711" not in path.read_text()


def crash(path: Path, code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program that records in `path`."""
    head = "import os, sys, time, threading, signal, multiprocessing, tuneworthy\n"
    head += f"record = tuneworthy.record('odd', to={str(path)!r})\n@record\ndef work(a): return a\n"
    return subprocess.run(
        [sys.executable, "-c", head + code], capture_output=True, text=True, timeout=60, check=False, **options
    )


PROGRAMS: dict[str, tuple[str, int, int]] = {
    # code, exit status, lines
    "ends at once": ("work(1)", 0, 1),
    "ends with an error": ("work(1); 1 / 0", 1, 1),
    "exits": ("work(1); sys.exit(3)", 3, 1),
    "exits from a thread": ("threading.Thread(target=lambda: (work(1), sys.exit(3))).start()", 0, 1),
    "has no streams": ("sys.stdout.close(); sys.stderr.close(); sys.stdin.close(); os.closerange(0, 3); work(1)", 0, 1),
    "forks": ("work(1)\nif pid := os.fork(): os.waitpid(pid, 0)\nelse: work(2)\nwork(3)", 0, 4),
    "forks a child that ends at once": (
        "work(1)\nfrom tuneworthy.calls.recorder import recorder_of\nif pid := os.fork(): os.waitpid(pid, 0)\n"
        "else: work(2); [r.flush() for r in tuneworthy.calls.recorder._RECORDERS.values()]; os._exit(0)", 0, 2),
    "has a pool": (
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "        pool.map(work, range(20)); pool.close(); pool.join()", 0, 20),
    "leaves its folder": ("os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); work(1)", 0, 1),
    "stops the clock": ("time.time = time.perf_counter = lambda: 1 / 0; work(1)", 0, 1),
    "has few threads": ("import resource; threading.Thread.start = lambda self: 1 / 0; work(1)", 0, 0),
    "is interrupted": ("work(1)\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)", -signal.SIGINT, 1),
    "records from a signal": (
        "signal.signal(signal.SIGALRM, lambda *_: work(0)); signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n"
        "for _ in range(300): work(1); time.sleep(0.0005)\nsignal.setitimer(signal.ITIMER_REAL, 0)", 0, -300),
    "records while it ends": ("import atexit; atexit.register(work, 2); work(1)", 0, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_any_program_ends_as_without_a_recording(name: str, path: Path) -> None:
    code, status, n = PROGRAMS[name]
    done = crash(path, code, cwd=path.parent)
    assert done.returncode == status, done.stderr
    if "1 / 0" not in code:
        assert "tuneworthy" not in done.stderr.replace("import tuneworthy", "")
    lines = path.read_bytes().splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    assert len(rows) == n if n >= 0 else len(rows) >= -n
    assert [row for row in rows if row.get("skipped")] == []


def test_a_folder_that_cannot_be_written_skips_the_calls_until_it_can(path: Path) -> None:
    blocked = path.parent / "file"
    blocked.write_text("in the way")
    target = blocked / "calls.jsonl"
    work = tuneworthy.record("a", to=target)(lambda a: a)
    assert [work(1), work(2)] == [1, 2]
    recorder = recorder_of(target)
    assert recorder.flush() and recorder.counts["not written: File exists"] == 2
    blocked.unlink()
    assert work(3) == 3
    assert sorted(reasons(target)) == ["not written: File exists"] * 2 and len(written(target)) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_skips_the_calls_and_leaves_whole_lines(path: Path) -> None:
    code = (
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from tuneworthy.calls.recorder import recorder_of\n"
        f"book = recorder_of({str(path)!r})\n"
        "work('before'); book.flush()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))\n"
        "for n in range(5): assert work('x' * 100) == 'x' * 100; book.flush()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "work('after'); book.flush()\n"
    )
    done = crash(path, code)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len(rows) == 7 and {row.get("skipped") for row in rows} == {None, "not written: File too large"}
    assert {"before", "after"} <= {row.get("output") for row in rows}
    assert done.stderr.count("Calls are not recorded") == 1


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_path_that_is_no_file_is_not_written_to(kind: str, path: Path) -> None:
    other = path.with_name("other")
    if kind == "link":
        other.write_text("")
        path.symlink_to(other)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert tuneworthy.record("a", to=path)(lambda a: a)(1) == 1
    recorder = recorder_of(path)
    assert recorder.flush() and sum(recorder.counts.values()) == 1 and not recorder.counts[RECORDED]
    assert kind != "link" or other.read_text() == ""


def test_a_full_queue_skips_calls_and_never_blocks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "MAX_WAITING", 10_000)
    started, release = threading.Event(), threading.Event()
    recorder = recorder_of(path)

    def make() -> dict[str, Any]:
        started.set()
        release.wait(20)
        return {}

    recorder.put("a", 1, make)
    assert started.wait(10)
    before = time.perf_counter()
    for _ in range(50):
        recorder.put("a", 1_000, dict)
    assert time.perf_counter() - before < 1
    release.set()
    assert reasons(path) == ["queue full"] * 41 and len(written(path)) == 51


def test_a_deep_stack_fails_as_without_a_recording(path: Path) -> None:
    @tuneworthy.record("a", to=path)
    def work(n: int) -> int:
        return work(n + 1)

    with pytest.raises(RecursionError):
        work(0)
    assert all(row.get("skipped") for row in written(path))


def test_an_exception_that_another_thread_raises_in_a_call_passes(path: Path) -> None:
    running, result = threading.Event(), []

    @tuneworthy.record("a", to=path)
    def work() -> None:
        running.set()
        for _ in range(10_000):
            time.sleep(0.001)

    def call() -> None:
        try:
            work()
        except SystemError as error:
            result.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    running.wait(10)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemError))
    thread.join(20)
    assert len(result) == 1 and reasons(path) == ["failed: SystemError"]


@pytest.mark.parametrize(("model", "outcome"), [
    ("no-json", "unreadable answer"), ("surrogate", "unreadable answer"), ("status-204", "status 204"),
    ("status-302", "status 302"), ("huge", "too large"), ("pictures", RECORDED),
])  # fmt: skip
def test_any_answer_of_a_server_is_recorded_or_skipped(model: str, outcome: str, server: Api, path: Path) -> None:
    question: list[Any] = QUESTION
    if model == "huge":
        server.text = "word " * 400_000
    if model == "pictures":
        url = {"url": "data:image/png;base64," + "iVBORw0KGgo" * 1_000}
        question = [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]

    def answer(*, recorded: bool) -> Any:
        with openai.OpenAI(api_key="k", base_url=f"{server.address}/v1", max_retries=0) as client:
            if recorded:
                tuneworthy.record(client, to=path)
            try:
                found = client.chat.completions.create(model=model, messages=question)
                return found if isinstance(found, str) else found.model_dump()
            except Exception as error:
                return type(error)

    assert answer(recorded=True) == answer(recorded=False)
    (row,) = written(path)
    assert row.get("skipped", RECORDED) == outcome


def test_a_fault_of_the_recorder_reaches_no_caller(server: Api, path: Path) -> None:
    work = tuneworthy.record("a", to=path)(lambda a: a)
    with openai.OpenAI(api_key="k", base_url=f"{server.address}/v1", max_retries=0) as client:
        tuneworthy.record(client, to=path)
        with (
            patch.object(Recorder, "put", side_effect=MemoryError),
            patch.object(Recorder, "skip", side_effect=OSError),
        ):
            assert work(1) == 1
            client.chat.completions.create(model="m", messages=QUESTION)
            list(client.chat.completions.create(model="m", messages=QUESTION, stream=True))
            with pytest.raises(openai.AuthenticationError):
                client.chat.completions.create(model="status-401", messages=QUESTION)
        with patch("tuneworthy.calls.clients.exchange_row", side_effect=ZeroDivisionError):
            client.chat.completions.create(model="m", messages=QUESTION)
            assert reasons(path) == ["not read: ZeroDivisionError"]


def test_many_tasks_and_streams_at_once_are_recorded(server: Api, path: Path) -> None:
    async def one(client: Any, n: int) -> None:
        text = [{"role": "user", "content": f"question {n}"}]
        stream = await client.chat.completions.create(model="m", messages=text, stream=True)
        _ = [chunk async for chunk in stream]

    async def main() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=f"{server.address}/v1", max_retries=0) as client:
            tuneworthy.record(client, to=path)
            await asyncio.gather(*(one(client, n) for n in range(40)))

    asyncio.run(main())
    rows = written(path)
    questions = [row["request"]["messages"][0]["content"] for row in rows]
    assert sorted(questions) == sorted(f"question {n}" for n in range(40))
