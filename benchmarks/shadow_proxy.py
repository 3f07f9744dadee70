"""What `shadow proxy` costs: against a bare uvicorn + aiohttp proxy, with a mock that answers at once.

    python benchmarks/shadow_proxy.py [--requests 3000] [--rounds 3] [--streams 1000] [--minutes 0.5]
    python benchmarks/shadow_proxy.py --soak 30
        [--litellm PYTHON] [--save]

Each proxy runs alone on core 0, its child too; the mock (`mock/`, C) and the client share core 1. In each round they
take turns; a figure is the median over the rounds, and ratios compare within a round. Ten percent of the sessions are
copied to a scripted candidate. Streaming's first byte and the open streams use a slow server of our own: it sends a
first event, and the last one when the client is done. `--litellm` names the Python of an environment with
`litellm[proxy]`, whose proxy (one worker, the mock as its only model) is then asked in each round too.

Goals: at most 2x the latency and at least half the throughput of the bare proxy; a first byte delayed by less than
1 ms; 1,000 open streams; memory flat; 30 times the throughput of LiteLLM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tests.shadow.traffic import write_traffic_project  # noqa: E402

from tuneworthy.providers.address import free_port  # noqa: E402

CORE, OTHER = "0", "1"
PATH = "/v1/chat/completions"
BARE = """
import sys, aiohttp, uvicorn
UPSTREAM, PORT = sys.argv[1], int(sys.argv[2])

async def app(scope, receive, send):
    global client
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            if event.endswith("startup"):
                client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False,
                                               timeout=aiohttp.ClientTimeout(total=None))
            else:
                await client.close()
            await send({"type": event + ".complete"})
            if event.endswith("shutdown"):
                return
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    headers = {k.decode(): v.decode() for k, v in scope["headers"] if k not in (b"host", b"content-length")}
    async with client.request(scope["method"], UPSTREAM + scope["path"], headers=headers, data=body) as answer:
        headers = [(k.lower(), v) for k, v in answer.raw_headers if k.lower() != b"transfer-encoding"]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        async for part in answer.content.iter_any():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

uvicorn.run(app, port=PORT, log_level="critical", ws="none", server_header=False, date_header=False)
"""


@contextlib.contextmanager
def process(*command: str, core: str = CORE) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["taskset", "-c", core, *command], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.terminate()
        child.wait()


@contextlib.contextmanager
def mock() -> Iterator[str]:
    """The server of `engine.py`, which answers at once."""
    binary, port = Path(tempfile.gettempdir()) / "tuneworthy-mock", free_port()
    subprocess.run(["gcc", "-O2", "-o", binary, HERE / "mock" / "mock_openai.c"], check=True, stderr=subprocess.DEVNULL)
    with process(str(binary), str(port), "0", "0", core=OTHER):
        wait(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def bare(upstream: str) -> Iterator[str]:
    port = free_port()
    with process(sys.executable, "-c", BARE, upstream, str(port)):
        wait(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def ours(upstream: str, root: Path, *more: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    place = ["--bind", f"127.0.0.1:{port}", "--project", str(root)]
    words = ["shadow", "proxy", upstream, "--candidate", "current", *place, *more]
    with process(sys.executable, "-m", "tuneworthy", *words) as child:
        address = f"http://127.0.0.1:{port}"
        wait(address, path="/-/health", until=b'"ready"')
        yield address, child


@contextlib.contextmanager
def litellm(upstream: str, python: str, folder: Path) -> Iterator[str]:
    """LiteLLM's proxy, its log off."""
    port, config = free_port(), folder / "litellm.json"
    model = {"model": "openai/m", "api_base": f"{upstream}/v1", "api_key": "none"}
    config.write_text(json.dumps({"model_list": [{"model_name": "m", "litellm_params": model}]}))
    os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="ERROR")
    os.environ["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"  # as a bare proxy: no keys
    with process(str(Path(python).with_name("litellm")), "--config", str(config), "--port", str(port)):
        wait(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


def wait(address: str, path: str = "/v1/models", until: bytes = b"") -> None:
    for _ in range(2400):
        with contextlib.suppress(OSError):
            if until in urllib.request.urlopen(address + path).read():
                return
        time.sleep(0.05)
    raise SystemExit(f"{address} does not start")


async def load(address: str, requests: int, wide: int) -> tuple[float, float]:
    """Return requests a second, and the median latency in ms."""
    times: list[float] = []
    names = iter(range(requests))

    async def client(session: aiohttp.ClientSession) -> None:
        for n in names:
            turns = [{"role": "user", "content": f"item {n} of the list, which colour is it?"}]
            started = time.perf_counter()
            async with session.post(address + PATH, json={"model": "m", "messages": turns}) as answer:
                assert answer.status == 200
                await answer.read()
            times.append(time.perf_counter() - started)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        started = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(wide)))
        return requests / (time.perf_counter() - started), 1000 * statistics.median(times)


@contextlib.asynccontextmanager
async def slow_server() -> AsyncIterator[str]:
    """A stream whose second event comes when the client has left, or after a minute."""
    first = b"data: {}\n\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split()[0]) if b"ontent-" in head else 0
                body = await reader.readexactly(length)
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                writer.write(b"%x\r\n%s\r\n" % (len(first), first))
                await writer.drain()
                if b"hold" in body:
                    await asyncio.wait_for(reader.read(1), 120)
                    return
                writer.write(b"0\r\n\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def first_byte_ms(address: str, n: int = 400) -> float:
    """Return the median time to the first byte of a stream, ms."""
    times = []
    async with aiohttp.ClientSession() as session:
        for i in range(n):
            turns = [{"role": "user", "content": f"q{i}"}]
            started = time.perf_counter()
            async with session.post(address + PATH, json={"messages": turns, "stream": True}) as answer:
                await answer.content.readany()
                times.append(time.perf_counter() - started)
                await answer.read()
    return 1000 * statistics.median(times)


async def open_streams(address: str, n: int) -> tuple[int, float]:
    """Return how many of `n` streams are open at once, each with its first event, and the time that took, seconds."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        started = time.perf_counter()

        async def one(i: int) -> aiohttp.ClientResponse:
            turns = [{"role": "user", "content": f"hold {i}"}]
            answer = await session.post(address + PATH, json={"messages": turns, "stream": True})
            await answer.content.readany()
            return answer

        answers = await asyncio.gather(*(one(i) for i in range(n)), return_exceptions=True)
        took = time.perf_counter() - started
        streams = [one for one in answers if isinstance(one, aiohttp.ClientResponse) and one.status == 200]
        for stream in streams:
            stream.close()
        return len(streams), took


def memory_mib(pid: int) -> float:
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def streams(options: argparse.Namespace, folder: Path, note: Callable[[str, float], None]) -> None:
    async with slow_server() as upstream:
        loop = asyncio.get_running_loop()
        note("direct first byte ms", await first_byte_ms(upstream))
        for name in ("bare", "ours"):
            server = bare(upstream) if name == "bare" else ours(upstream, write_traffic_project(folder / "s", "equal"))
            found: Any = await loop.run_in_executor(None, server.__enter__)
            address = found if name == "bare" else found[0]
            await first_byte_ms(address, 50)
            note(f"{name} first byte ms", await first_byte_ms(address))
            if name == "ours":
                n, took = await open_streams(address, options.streams)
                note("open streams", n)
                note("seconds to open them", took)
            await loop.run_in_executor(None, server.__exit__, None, None, None)


async def paced(address: str, seconds: float, rate: float, watch: Callable[[], None]) -> int:
    """Send `rate` requests a second, each of a session of its own; return how many were answered."""
    done = 0
    async with aiohttp.ClientSession() as session:
        end, started = time.monotonic() + seconds, time.time()
        while time.monotonic() < end:
            turns = [{"role": "user", "content": f"item {done} of {started}, which colour is it?"}]
            async with session.post(address + PATH, json={"model": "m", "messages": turns}) as answer:
                assert answer.status == 200
                await answer.read()
            done += 1
            watch()
            await asyncio.sleep(1 / rate)
    return done


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def soak(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the memory of the proxy and of its child after a sixth of the time and at the end, MiB.

    Goal: at most 1.1 times that after the sixth. Sessions end after a minute, and are judged every minute.
    """
    extra = "[shadow]\nidle_minutes = 1\nsessions = 100000\n"
    root = write_traffic_project(folder / "soak", "equal", extra=extra)
    samples: list[tuple[float, float, float]] = []
    with mock() as upstream, ours(upstream, root) as (address, process_):
        child, seconds, started = child_of(process_.pid), 60 * options.soak, time.monotonic()

        def watch() -> None:
            now = time.monotonic() - started
            if not samples or now - samples[-1][0] > seconds / 60:
                samples.append((now, memory_mib(process_.pid), memory_mib(child)))
                print(" ".join(f"{value:9.1f}" for value in samples[-1]), flush=True)

        done = asyncio.run(paced(address, seconds, options.rate, watch))
    early = next(one for one in samples if one[0] >= seconds / 6)
    names = ("proxy", "child")
    figures = {f"{name} MiB, after a sixth": early[1 + n] for n, name in enumerate(names)}
    figures |= {f"{name} MiB, at the end": samples[-1][1 + n] for n, name in enumerate(names)}
    return figures | {
        "requests": done,
        **{f"{name} ratio": samples[-1][n + 1] / early[n + 1] for n, name in enumerate(names)},
    }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    rows: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        rows.setdefault(name, []).append(value)

    memory: list[float] = []
    with mock() as upstream:
        for round_ in range(options.rounds):
            for wide in (1, 64):
                n = options.requests if wide > 1 else options.requests // 4
                note(f"direct rps c={wide}", asyncio.run(load(upstream, n, wide))[0])
                with bare(upstream) as address:
                    asyncio.run(load(address, n // 5, wide))
                    base = asyncio.run(load(address, n, wide))
                with ours(upstream, write_traffic_project(folder / f"{round_}-{wide}", "equal")) as (address, _):
                    asyncio.run(load(address, n // 5, wide))
                    own = asyncio.run(load(address, n, wide))
                    text = urllib.request.urlopen(address + "/-/metrics").read().decode()
                if options.litellm:
                    with litellm(upstream, options.litellm, folder) as address:
                        asyncio.run(load(address, 50, wide))
                        other = asyncio.run(load(address, n // 10, wide))
                    note(f"litellm rps c={wide}", other[0])
                    note(f"litellm ms c={wide}", other[1])
                    note(f"throughput over litellm c={wide}", own[0] / other[0])
                copies = {x.split('"')[1]: float(x.split()[-1]) for x in text.splitlines() if "copies_total{" in x}
                for name, value in (("bare", base), ("ours", own)):
                    note(f"{name} rps c={wide}", value[0])
                    note(f"{name} ms c={wide}", value[1])
                note(f"throughput ratio c={wide}", own[0] / base[0])
                note(f"latency ratio c={wide}", own[1] / base[1])
                note(f"copies handed over c={wide}", copies["paired"])
                note(f"copies dropped c={wide}", copies["busy"])
        with ours(upstream, write_traffic_project(folder / "memory", "equal")) as (address, child):
            pid = child.pid
            end = time.monotonic() + 60 * options.minutes
            asyncio.run(load(address, options.requests, 64))
            while time.monotonic() < end:
                memory.append(memory_mib(pid))
                started = time.monotonic()
                asyncio.run(load(address, options.requests, 64))
                time.sleep(4 * (time.monotonic() - started))  # thirty minutes of it leave the machine usable
            memory.append(memory_mib(pid))

    asyncio.run(streams(options, folder, note))
    figures = {name: round(statistics.median(values), 3) for name, values in rows.items()}
    figures["first byte delay of ours over bare, ms"] = round(
        figures["ours first byte ms"] - figures["bare first byte ms"], 3
    )
    figures["first byte delay of ours over direct, ms"] = round(
        figures["ours first byte ms"] - figures["direct first byte ms"], 3
    )
    figures["memory MiB, first"], figures["memory MiB, last"] = round(memory[0], 1), round(memory[-1], 1)
    figures["requests while memory was watched"] = (len(memory) - 1) * options.requests
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the proxy costs.")
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="only watch memory, for so long")
    parser.add_argument("--rate", type=float, default=8.0, help="requests a second of --soak")
    parser.add_argument("--litellm", metavar="PYTHON")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    os.sched_setaffinity(0, {int(OTHER)})
    load_before = os.getloadavg()[0]
    folder = Path(tempfile.mkdtemp())
    os.environ["TUNEWORTHY_TRUST"] = str(folder)
    try:
        figures = soak(options, folder) if options.soak else measure(options, folder)
    finally:
        shutil.rmtree(folder)
    for name, value in figures.items():
        print(f"{name:42} {value:>10,.3f}")
    print(f"load before: {load_before:.2f}; rounds: {options.rounds}; requests: {options.requests}")
    if options.save:
        document = {"figures": figures, "load": load_before, "options": vars(options)}
        (HERE / "results" / "shadow_proxy.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
