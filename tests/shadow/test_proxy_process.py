"""The proxy as a process: pairs are judged as those of a replay; no fault of a candidate or a disk reaches a user."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("uvicorn")

from tests.shadow.servers import CHAT, Call, Script, parts, post, raw, said, upstream
from tests.shadow.traffic import conversations, write_traffic_project
from tuneworthy.cases.stratified import is_drawn
from tuneworthy.cli import invoke
from tuneworthy.providers.address import free_port
from tuneworthy.shadow.http_server import exposed, listen
from tuneworthy.shadow.protocols import session_name
from tuneworthy.shadow.recording import TRAFFIC
from tuneworthy.shadow.replay import ShadowRecord, read_shadow
from tuneworthy.store import Folder, ResponseStore

SECRET = "secret-9cba5a2e"
ENDED = "[shadow]\nidle_minutes = 0.01\nturns = 3\nsession_header = 'X-Chat'\n"


class Proxy:
    """A running `tuneworthy shadow proxy`."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self.process, self.address = process, address

    async def get(self, path: str) -> str:
        answer = await said(self.address, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return parts(answer)[2].decode()

    async def health(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(await self.get("/-/health"))
        return found

    async def outcomes(self) -> Counter[str]:
        lines = [line for line in (await self.get("/-/metrics")).splitlines() if "shadow_copies_total{" in line]
        return Counter({line.split('"')[1]: int(line.split()[-1]) for line in lines})

    async def until(self, done: Callable[[], Awaitable[bool]], *, wait_s: float = 40) -> None:
        end = time.monotonic() + wait_s
        while not await done():
            assert time.monotonic() < end, (await self.health(), await self.outcomes())
            await asyncio.sleep(0.05)

    async def ready(self) -> bool:
        return (await self.health())["copies"] == "ready"

    async def counted(self, n: int, **least: int) -> Counter[str]:
        """Wait until `n` copies have an outcome."""

        async def done() -> bool:
            return (await self.outcomes()).total() >= n

        await self.until(done)
        found = await self.outcomes()
        assert all(found[name] >= count for name, count in least.items()), found
        return found

    def worker(self) -> int:
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@asynccontextmanager
async def proxy_of(root: Path, address: str, *options: str, judge_s: float = 60) -> AsyncIterator[Proxy]:
    port = free_port()
    enabled = f"import tuneworthy.start as t, tuneworthy.cli.shadow_proxy as p; p.JUDGE_S = {judge_s}; t.main()"
    command = [sys.executable, "-c", enabled, "shadow", "proxy", address, "--candidate", "current",
               "--bind", f"127.0.0.1:{port}", "--project", str(root), *options]  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    proxy = Proxy(process, f"http://127.0.0.1:{port}")
    try:
        end = time.monotonic() + 40
        while True:
            assert process.returncode is None and time.monotonic() < end, process.returncode
            try:
                if await proxy.ready():
                    break
            except (OSError, orjson.JSONDecodeError, IndexError):
                pass
            await asyncio.sleep(0.05)
        yield proxy
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 40)


def production(n: int, start: int = 0) -> tuple[list[tuple[str, bytes]], Callable[[Call], Script]]:
    """Return session and request of `n` conversations, and the API that answers as production did."""
    requests, answers = [], {}
    for row in conversations(n, start=start):
        *before, answer = row["messages"]
        requests.append(
            (row["session_id"], orjson.dumps({"model": "m", "messages": before, "metadata": row["metadata"]}))
        )
        answers[before[-1]["content"]] = answer

    def script(call: Call) -> Script:
        answer = answers[orjson.loads(call.body)["messages"][-1]["content"]]
        body = orjson.dumps({"choices": [{"message": answer, "finish_reason": "stop"}]})
        return [raw(body, "Content-Type: application/json", "Connection: close")]  # as it does

    return requests, script


async def send(proxy: Proxy, requests: list[tuple[str, bytes]], wide: int = 8) -> float:
    """Send requests, some at once; return the longest time of one, seconds. Each must be answered."""
    gate, longest = asyncio.Semaphore(wide), 0.0

    async def one(session: str, body: bytes) -> None:
        nonlocal longest
        async with gate:
            started = time.monotonic()
            headers = (f"X-Chat: {session}", f"Authorization: Bearer {SECRET}", f"X-Api-Key: {SECRET}")
            answer = await said(proxy.address, post(body, CHAT, *headers), wait_s=20)
            assert answer.startswith(b"HTTP/1.1 200") and b'"content"' in answer, answer[:200]
            longest = max(longest, time.monotonic() - started)

    await asyncio.gather(*(one(*request) for request in requests))
    return longest


def record_of(root: Path) -> ShadowRecord:
    record = read_shadow(Folder(root))
    assert record is not None
    return record


@pytest.mark.moved
def test_pairs_of_the_proxy_are_judged_and_reported_as_those_of_a_replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra=ENDED)
    requests, script = production(40)
    requests = [(f"{session} ada@example.org", body) for session, body in requests]

    async def work() -> None:
        async with upstream(script) as (address, _), proxy_of(root, address, "--share", "1") as proxy:
            await send(proxy, requests)
            await proxy.counted(len(requests), paired=len(requests))
            await asyncio.sleep(0.7)  # the last sessions end

    asyncio.run(work())
    live = record_of(root)
    assert live.n_pairs == len(requests) and live.n_sessions == 40 and live.candidate == "baseline/equal"
    assert live.verdict.status == "unknown" and "human labels" in live.verdict.detail
    agreement = next(one for one in live.verdict.results if one.metric == "agreement")
    assert agreement.n == 40
    for path in Folder(root).path.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes() and b"ada@" not in path.read_bytes(), path
    store = ResponseStore(Folder(root).responses)
    n = len(store)
    store.close()
    capsys.readouterr()
    assert invoke(["shadow", "report", "--project", str(root)]) == 4
    assert "40" in capsys.readouterr().out
    assert invoke(["shadow", "replay", "--candidate", "current", "--project", str(root)]) == 4
    again = record_of(root)
    assert again.verdict == live.verdict and again.n_pairs == live.n_pairs
    store = ResponseStore(Folder(root).responses)
    assert len(store) == n, "a replay of what the proxy recorded asks nothing"
    store.close()


@pytest.mark.slow
def test_copies_stop_once_harm_is_shown(tmp_path: Path) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra=ENDED)
    with (root / "world.py").open("a") as file:
        file.write("\n\ndef equal(request):\n    return ''\n")
    requests, script = production(60)

    async def work() -> None:
        options = ("--share", "1")
        async with upstream(script) as (address, _), proxy_of(root, address, *options, judge_s=0.6) as proxy:
            await send(proxy, requests)

            async def stopped() -> bool:
                return (await proxy.health())["verdict"] == "fail"

            async def idle() -> bool:
                return "copies_in_flight 0" in await proxy.get("/-/metrics")

            await proxy.until(stopped)
            await proxy.until(idle)
            before = await proxy.outcomes()
            await send(proxy, requests[:10])
            assert await proxy.outcomes() == before and (await proxy.health())["copies"] == "enough"

    asyncio.run(work())
    assert record_of(root).verdict.status == "fail"


def served_by(root: Path, address: str) -> None:
    """Let a server at `address` be the candidate."""
    path = root / "tuneworthy.toml"
    model = (
        f'provider = "openai"\nmodel = "m"\nbase_url = "{address}/v1"\ntimeout_s = 0.3\nretries = 0\napi_key_env = ""'
    )
    text = path.read_text().replace('provider = "scripted"\nfunction = "world.py:equal"', model, 1)
    assert model in text
    path.write_text(text)


FAULTS: dict[str, Script] = {
    "hangs": [60.0],
    "floods": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        *[b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 2000,
    ],
    "lies": [raw(b'{"choices": [{"message": {"con', "Content-Type: application/json")],
    "is down": [],
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_of_the_candidate_reaches_a_user(tmp_path: Path, fault: str) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra=ENDED)
    requests, script = production(30)

    async def work() -> None:
        async with upstream(lambda call: FAULTS[fault]) as (bad, calls), upstream(script) as (address, _):
            served_by(root, bad)
            async with proxy_of(root, address, "--share", "1") as proxy:
                longest = await send(proxy, requests)
                assert longest < 2, longest
                found = await proxy.counted(len(requests))
                assert found["failed"] + found["paired"] + found["busy"] == len(requests) and await proxy.ready()
                assert all(("x-tuneworthy-shadow", "1") in call.headers for call in calls) and calls
                assert SECRET not in str(calls)

    asyncio.run(work())


@pytest.mark.slow
def test_a_full_disk_loses_pairs_and_nothing_else(tmp_path: Path) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra=ENDED)
    requests, script = production(30)

    async def work() -> None:
        async with upstream(script) as (address, _), proxy_of(root, address, "--share", "1") as proxy:
            await send(proxy, requests[:20])
            await proxy.counted(20, paired=20)
            before = resource.prlimit(proxy.worker(), resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            assert await send(proxy, requests[20:40]) < 2
            await proxy.counted(40, unstored=20)
            resource.prlimit(proxy.worker(), resource.RLIMIT_FSIZE, before)
            await send(proxy, requests[40:])
            await proxy.counted(len(requests), paired=len(requests) - 20, unstored=20)

    asyncio.run(work())
    assert record_of(root).n_pairs == len(requests) - 20


@pytest.mark.slow
def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra=ENDED)
    requests, script = production(20)

    async def work() -> None:
        async with upstream(script) as (address, _), proxy_of(root, address, "--share", "1") as proxy:
            os.kill(proxy.worker(), signal.SIGKILL)
            await send(proxy, requests[:10])
            await proxy.counted(10)
            await proxy.until(proxy.ready)
            await send(proxy, requests[10:])
            found = await proxy.counted(len(requests))
            assert found["starting"] + found["lost"] == 10 and found["paired"] == len(requests) - 10

    asyncio.run(work())


@pytest.mark.slow
def test_killed_20_times_under_load_no_user_loses_more_than_a_connection_and_no_pair_counts_twice(
    tmp_path: Path,
) -> None:
    kills, wide, share = 20, 64, 0.1
    root = write_traffic_project(tmp_path / "p", "equal", extra=ENDED + "sessions = 100000\n")
    requests, script = production(40_000)
    queue = iter(requests)
    copied: set[bytes] = set()
    cut: list[int] = []

    async def load(proxy: Proxy, stop: asyncio.Event) -> int:
        """Send until it is stopped; return how many requests were cut off."""
        n_cut = 0
        while not stop.is_set():
            session, body = next(queue)
            try:
                answer = await said(proxy.address, post(body, CHAT, f"X-Chat: {session}"), wait_s=20)
            except OSError:
                answer = b""
            if answer.endswith(b"}"):
                if is_drawn(7, f"copy {session_name(session, b'')}", share):
                    copied.add(body)
            else:
                assert stop.is_set() or proxy.process.returncode is not None or not await alive(proxy), answer
                n_cut += 1
                return n_cut
        return n_cut

    async def alive(proxy: Proxy) -> bool:
        await asyncio.sleep(0.2)
        return proxy.process.returncode is None

    async def work() -> None:
        bound = 0
        async with upstream(script) as (address, _):
            for _ in range(kills):
                async with proxy_of(root, address, "--share", str(share)) as proxy:
                    stop = asyncio.Event()
                    clients = [asyncio.create_task(load(proxy, stop)) for _ in range(wide)]
                    await asyncio.sleep(1.0)
                    figures = (await proxy.get("/-/metrics")).splitlines()
                    bound += wide + next(int(x.split()[1]) for x in figures if "copies_in_flight " in x and x[0] != "#")
                    proxy.process.send_signal(signal.SIGKILL)
                    await proxy.process.wait()
                    stop.set()
                    cut.append(sum(await asyncio.gather(*clients)))
            await asyncio.sleep(5)  # the last worker finishes what it has
        rows = [orjson.loads(line) for line in (Folder(root).path / TRAFFIC).read_bytes().splitlines()]
        questions = Counter(row["messages"][-2]["content"] for row in rows)
        assert max(questions.values()) == 1, "nothing is recorded twice"
        lost = len(copied) - len(rows)
        print(f"{len(copied)} copied, {len(rows)} recorded, {lost} lost (at most {bound}), {sum(cut)} cut")
        assert all(n <= wide for n in cut) and lost <= bound

    asyncio.run(work())
    assert invoke(["shadow", "replay", "--candidate", "current", "--project", str(root)]) == 4
    n_rows = (Folder(root).path / TRAFFIC).read_bytes().count(b"\n")
    assert 0 < record_of(root).n_pairs <= n_rows, "turns behind the end of a session do not count"


@pytest.mark.parametrize(("host", "warns"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_proxy_that_other_machines_reach_warns_that_it_checks_no_key(host, warns):
    with listen(host, 0) as door:
        assert ["checks no key" in line for line in exposed(door)] == [True] * warns
