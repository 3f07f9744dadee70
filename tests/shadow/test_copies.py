"""The way of a copy to the child: never waited for, each with one outcome, whatever the child does."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tuneworthy.shadow import copies as module
from tuneworthy.shadow.copies import LOST, Copies, CopyHead, packed, read_copy

READY = "import os, sys, time\nos.write(1, b'{\"ready\": true}\\n')\n"
READ = "while head := sys.stdin.buffer.read(8):\n    sys.stdin.buffer.read(int(head, 16))\n"
ANSWER = f"""usd = 0
{READ}    usd += 0.5
    os.write(1, b'{{"outcome": "paired", "usd": %f}}\\n' % usd)
"""
LAZY = "time.sleep(60)\n"


@asynccontextmanager
async def child(tmp_path: Path, script: str, most: int = 4, max_usd: float | None = None) -> AsyncIterator[Copies]:
    rests: list[float | None] = []

    def command(rest: float | None) -> list[str]:
        rests.append(rest)
        return [sys.executable, "-S", "-c", READY + script]

    found = Copies(command, most=most, log=tmp_path / "log", max_usd=max_usd)
    found.rests = rests  # type: ignore[attr-defined]
    found.start()
    try:
        await until(lambda: found.ready)
        yield found
    finally:
        await found.close()


async def until(done: object, wait_s: float = 10.0) -> None:
    end = time.monotonic() + wait_s
    while not done():  # type: ignore[operator]
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_a_copy_goes_through_the_pipe_as_it_is() -> None:
    async def work() -> None:
        pipe = asyncio.StreamReader()
        pipe.feed_data(packed(CopyHead(session="s"), b"a\nb", b"") + packed(CopyHead(), b"", b"\x00\n") + b"000000")
        pipe.feed_eof()
        assert await read_copy(pipe) == (CopyHead(session="s", n=3), b"a\nb", b"")
        assert await read_copy(pipe) == (CopyHead(), b"", b"\x00\n")
        assert await read_copy(pipe) is None, "a copy that was cut off is none"

    asyncio.run(work())


def test_each_copy_has_an_outcome_and_what_it_cost_is_added_up(tmp_path: Path) -> None:
    async def work() -> None:
        async with child(tmp_path, ANSWER) as copies:
            for _ in range(3):
                copies.offer(CopyHead(), b"a", b"b")
            await until(lambda: copies.counts["paired"] == 3)
            assert copies.in_flight == 0 and copies.usd == 1.5
        copies.offer(CopyHead(), b"a", b"b")
        assert copies.counts.total() == 3, "nothing is copied once it is closed"

    asyncio.run(work())


def test_a_child_that_does_not_answer_costs_copies_and_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE_S", 0.1)

    async def work() -> None:
        async with child(tmp_path, LAZY) as copies:
            started = time.perf_counter()
            for _ in range(1000):
                copies.offer(CopyHead(), b"a" * 1000, b"b")
            assert time.perf_counter() - started < 0.5
            assert (copies.in_flight, copies.counts["busy"]) == (4, 996)
        async with child(tmp_path, LAZY, most=10**6) as copies:
            for _ in range(200):
                copies.offer(CopyHead(), b"a" * 10**5, b"b")
            assert copies.counts["busy"] > 100, "what the pipe has not taken is bounded"

    asyncio.run(work())


def test_the_first_copy_of_each_kind_that_is_not_compared_and_each_verdict_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = Copies(lambda _: [], most=0, log=tmp_path / "log")
    for _ in range(3):
        copies.offer(CopyHead(), b"a", b"b")
        for outcome in ("paired", "failed"):
            copies._note(module.WorkerReport(outcome=outcome))
        copies._note(module.WorkerReport(verdict="unknown"))
        copies._note(module.WorkerReport(verdict="pass"))
    copies._note(module.WorkerReport(verdict="pass"))
    lines = capsys.readouterr().err.splitlines()
    assert [("starting" in one, "failed" in one, "passed" in one) for one in lines] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
        (False, False, True),
        (False, False, True),
    ], "a verdict that comes again after another"


def test_a_terminal_that_is_gone_disturbs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "closed").touch()
    with (tmp_path / "closed").open() as closed:
        pass
    monkeypatch.setattr("sys.stderr", closed)
    copies = Copies(lambda _: [], most=0, log=tmp_path / "log")
    copies.offer(CopyHead(), b"a", b"b")
    assert copies.counts == {"starting": 1}


def test_a_child_that_dies_is_started_again_with_what_is_left_of_the_money(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_DELAY_S", 0.05)
    script = 'sys.stdin.buffer.read(8)\nos.write(1, b\'{"outcome": "paired", "usd": 0.5}\\n\')\nos._exit(1)\n'

    async def work() -> None:
        async with child(tmp_path, script, max_usd=2.0) as copies:
            for _ in range(2):
                copies.offer(CopyHead(), b"a", b"b")
            await until(lambda: not copies.ready)
            copies.offer(CopyHead(), b"a", b"b")
            await until(lambda: copies.ready)
            assert copies.counts == {"paired": 1, "lost": 1, "starting": 1} and copies.in_flight == 0
            assert copies.rests == [2.0, 1.5]  # type: ignore[attr-defined]
            copies.offer(CopyHead(), b"a", b"b")
            await until(lambda: copies.counts["paired"] == 2)
            assert copies.usd == 1.0, "what all children spent"

    asyncio.run(work())


def test_users_whose_child_dies_learn_it_at_once_and_it_is_not_the_candidate_s_fault(tmp_path: Path) -> None:
    async def work() -> None:
        async with child(tmp_path, "sys.stdin.buffer.read(8)\n") as found:
            reports = await asyncio.gather(*(found.ask(CopyHead(), b"{}", 10.0) for _ in range(3)))
            assert [report.outcome for report in reports] == [LOST] * 3

    asyncio.run(asyncio.wait_for(work(), 20))


def test_no_more_copies_are_made_once_there_are_enough(tmp_path: Path) -> None:
    enough = 'os.write(1, b\'{"verdict": "fail", "enough": "enough"}\\n\')\n' + READ + "    pass\n"

    async def work() -> None:
        async with child(tmp_path, enough) as copies:
            await until(lambda: copies.enough)
            copies.offer(CopyHead(), b"a", b"b")
            assert copies.verdict == "fail" and not copies.counts and not copies.in_flight

    asyncio.run(work())
