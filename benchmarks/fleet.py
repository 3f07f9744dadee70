"""One model at eight endpoints, of which one is slow, one serves another model, and one dies and comes back.

    python benchmarks/fleet.py [--cases 100000] [--rounds 1] [--sizes 1000 10000 100000 1000000] [--save]

Throughput: the mock servers run on core 1, each in a process of its own; the client runs on core 0.
A server answers after a fixed time, so its capacity is its calls in flight over that time. The ideal is the sum of the
capacities of the honest servers while they live. Goal: at least 0.9 of the ideal, each case answered once, no answer
from the server of the other model.

Overhead: the runner alone, with a provider that answers at once at eight endpoints, in a fresh process for each number
of cases. Goal: microseconds a case do not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from engine import CORE, HERE, Mock

N_ENDPOINTS, CONCURRENCY = 8, 32
LATENCY_MS, SLOW_MS = 500, 2500
SLOW, LIAR, DYING = 1, 3, 5
# When the dying server dies, as a share of the cases, and for how long, seconds.
DIES_AT, DEAD_S = 0.25, 15.0


class MortalServer:
    """A mock server that can be killed and started again at the same port."""

    def __init__(self, settings: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.mock = Mock(free.getsockname()[1])
        self.settings = settings
        self.answered = 0
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, HERE / "mock" / "mock_openai.py", str(self.mock.port), str(LATENCY_MS), "0"]
        self.process = subprocess.Popen(command)
        for _ in range(200):
            with suppress(OSError):
                self.mock.get(f"_set?{self.settings}")
                return
            time.sleep(0.05)
        raise RuntimeError("The mock server does not start.")

    def count(self) -> int:
        """Return the number of calls that it answered."""
        return self.answered + int(self.mock.get("_stats")["ok200"])

    def kill(self) -> None:
        """Kill it; calls in flight are lost."""
        self.answered = self.count()
        self.process.kill()
        self.process.wait()


def throughput(folder: Path, n: int) -> dict[str, Any]:
    """Run `n` cases once, and compare with the ideal."""
    settings = {SLOW: f"latency={SLOW_MS}", LIAR: f"latency={LATENCY_MS}&model=another"}
    servers = [MortalServer(settings.get(number, f"latency={LATENCY_MS}")) for number in range(N_ENDPOINTS)]
    try:
        urls = [server.mock.base_url for server in servers]
        command = ["taskset", "-c", CORE, sys.executable, __file__, "--child", str(n), "--at", str(folder), *urls]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        while sum(server.count() for server in servers) < DIES_AT * n and client.poll() is None:
            time.sleep(0.1)
        servers[DYING].kill()
        dead = time.perf_counter()
        time.sleep(DEAD_S)
        servers[DYING].start()
        dead_s = time.perf_counter() - dead
        output = json.loads(client.communicate()[0])
        answered = sum(server.count() for number, server in enumerate(servers) if number != LIAR)
        by_liar = servers[LIAR].count()
    finally:
        for server in servers:
            server.process.kill()
    database = sqlite3.connect(folder / "responses.sqlite")
    bodies = (body.partition(b"\n")[0] for (body,) in database.execute("SELECT body FROM responses"))
    stored = Counter(json.loads(body)[-1] for body in bodies)
    seconds = output["wall_us"] * n / 1e6
    fast = CONCURRENCY / LATENCY_MS * 1000
    ideal = seconds * (fast * (N_ENDPOINTS - 3) + CONCURRENCY / SLOW_MS * 1000) + (seconds - dead_s) * fast
    return {
        "cases": n, "seconds": round(seconds, 1), "per_s": round(n / seconds), "of_ideal": round(n / ideal, 3),
        "cpu_us": output["cpu_us"], "rss_mb": output["rss_mb"], "calls": output["calls"],
        "answered_by_servers": answered,
        "calls_of_the_liar": by_liar, "stored_of_the_liar": stored[urls[LIAR]],
        "stored": [stored[url] for url in urls], "dead_s": round(dead_s, 1),
    }  # fmt: skip


async def _ask(folder: Path, n: int, urls: list[str]) -> dict[str, Any]:
    from tuneworthy.config.models import OpenAI
    from tuneworthy.engine.budget import Budget
    from tuneworthy.engine.models import OpenModel, open_model
    from tuneworthy.engine.runner import Runner
    from tuneworthy.prompts.shots import ShotPool
    from tuneworthy.store import ResponseStore
    from tuneworthy.types import Case, Request, Response, Variant

    class Instant:
        identity: ClassVar = {"provider": "instant"}
        supports: frozenset[str] = frozenset()

        async def complete(self, request: Request) -> Response:
            return Response(text="42", input_tokens=12, output_tokens=1, model="m", seconds=0.001)

        async def close(self) -> None: ...

    endpoints = {f"http://{number}/v1": Instant() for number in range(N_ENDPOINTS)}
    model = OpenModel(
        name="m", provider=next(iter(endpoints.values())), price=None, hosted=False, timeout_s=60.0, retries=6,
        concurrency=CONCURRENCY * N_ENDPOINTS, endpoints=endpoints,
    )  # fmt: skip
    if urls:
        config = OpenAI(provider="openai", model="mock", endpoints=urls, concurrency=CONCURRENCY)
        model = open_model("m", config, folder)
    variant = Variant(name="v", model="m", model_identity=model.provider.identity, system=None, user="{{ input }}",
                      max_tokens=8)  # fmt: skip
    runner = Runner(ResponseStore(folder / "responses.sqlite"), Budget(None), ShotPool([]))
    cases = [Case(id=f"c{number}", input=f"#ID{number} which river?", expected="42") for number in range(n)]
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    traces = await runner.run(variant, model, cases)
    wall_s = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    assert all(trace.response for trace in traces) and len(traces) == n
    for provider in model.endpoints.values():
        await provider.close()
    cpu_s = usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime
    return {"cases": n, "wall_us": round(1e6 * wall_s / n, 1), "cpu_us": round(1e6 * cpu_s / n, 1),
            "calls": runner.sent, "rss_mb": round(usage.ru_maxrss / 1024)}  # fmt: skip


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--at", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("urls", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/fleet.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.child:
            print(json.dumps(asyncio.run(_ask(options.at or Path(folder), options.child, options.urls))))
            return
    saved: dict[str, Any] = {"load_before": os.getloadavg(), "throughput": [], "overhead": []}
    print(f"{os.cpu_count()} cores, load average before: {saved['load_before'][0]:.1f}")
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            saved["throughput"].append(throughput(Path(folder), options.cases))
        print(saved["throughput"][-1], flush=True)
    for n in options.sizes:
        command = ["taskset", "-c", CORE, sys.executable, __file__, "--child", str(n)]
        saved["overhead"].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
        print(saved["overhead"][-1], flush=True)
    saved["load_after"] = os.getloadavg()
    print(f"load average after: {saved['load_after'][0]:.1f}")
    if options.save:
        (HERE / "results" / "fleet.json").write_text(json.dumps(saved, indent=1))


if __name__ == "__main__":
    main()
