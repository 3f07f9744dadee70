"""The time that `tuneworthy.record` adds to a call, and the CPU time of its thread.

    python benchmarks/record.py [--calls 150] [--save]

One process has two OpenAI clients, one of them recorded; a server in another process answers after a fixed time. The
calls alternate, in random order within a pair, so that both meet the same machine. The ratio is that of the total times;
its interval is a bootstrap over pairs, 95%. In each call the last paragraphs of the prompt are new, and as many are
those of a template.

Goal: at most 5%, at 20 ms and 200 ms, with prompts of 2 kB and 20 kB.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import openai

import tuneworthy
from tuneworthy.calls.recorder import recorder_of

HERE = Path(__file__).parent
SERVER = """
import asyncio, json, sys
BODY = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": {"prompt_tokens": 500,
    "completion_tokens": 60, "total_tokens": 560}, "choices": [{"index": 0, "finish_reason": "stop",
    "message": {"role": "assistant", "content": "The order has left our warehouse, and arrives on Monday. " * 5}}]})
RAW = f"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: {len(BODY)}\\r\\n\\r\\n{BODY}".encode()

async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            lower = head.lower()
            length = int(lower.split(b"content-length:")[1].split(b"\\r\\n")[0])
            await reader.readexactly(length)
            await asyncio.sleep(float(lower.split(b"x-wait:")[1].split(b"\\r\\n")[0]))
            writer.write(RAW)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def paragraphs() -> list[str]:
    pages = sorted((HERE.parent / "docs").glob("*/*.md"))
    return [part for page in pages for part in page.read_text().split("\n\n") if 80 < len(part) < 800]


def prompt(pool: list[str], size: int, rng: random.Random) -> str:
    """Return a text of about `size` characters: half of it is the same in each call."""
    parts: list[str] = []
    while sum(map(len, parts)) < size // 2:
        parts.append(pool[len(parts)])
    while sum(map(len, parts)) < size:
        part = rng.choice(pool)
        parts.append(f"{part} {rng.getrandbits(64):x}")  # no paragraph is known
    return "\n\n".join(parts)[:size]


def cpu_of_thread() -> float:
    """Return the CPU time of the recorder's thread so far, seconds."""
    thread = next((one for one in threading.enumerate() if one.name == "tuneworthy-recorder"), None)
    if thread is None:
        return 0.0
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def measure(address: str, wait_s: float, size: int, n: int, path: Path) -> dict[str, float]:
    def client() -> openai.OpenAI:
        return openai.OpenAI(
            api_key="sk-of-the-benchmark", base_url=address, max_retries=0, default_headers={"x-wait": str(wait_s)}
        )

    clients = (client(), tuneworthy.record(client(), to=path))
    rng, pool = random.Random(7), paragraphs()
    times = np.zeros((n, 2))
    for pair in range(-5, n):
        for side in rng.sample((0, 1), 2):
            messages = [{"role": "user", "content": prompt(pool, size, rng)}]
            if pair == 0:
                recorder_of(path).flush(60)
                before = cpu_of_thread(), dict(recorder_of(path).counts)
            started = time.perf_counter()
            clients[side].chat.completions.create(model="m", messages=messages)
            if pair >= 0:
                times[pair, side] = time.perf_counter() - started
    waited = time.perf_counter()
    recorder_of(path).flush(600)
    waited = time.perf_counter() - waited
    counts = recorder_of(path).counts
    draws = np.random.default_rng(7).integers(0, n, (4000, n))
    ratios = times[draws, 1].sum(1) / times[draws, 0].sum(1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return {
        "wait_ms": wait_s * 1000, "prompt_kb": size / 1000, "plain_ms": float(np.median(times[:, 0]) * 1000),
        "recorded_ms": float(np.median(times[:, 1]) * 1000), "ratio": float(times[:, 1].sum() / times[:, 0].sum()),
        "low": float(low), "high": float(high), "median_ratio": float(np.median(times[:, 1]) / np.median(times[:, 0])),
        "thread_ms": (cpu_of_thread() - before[0]) / n * 1000, "last_s": waited,
        "recorded": counts["recorded"] - before[1].get("recorded", 0),
        "skipped": sum(counts.values()) - counts["recorded"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=150)
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    address = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for wait_s in (0.02, 0.2):
                for size in (2_000, 20_000):
                    path = Path(folder) / f"{wait_s}-{size}.jsonl"
                    rows.append(measure(address, wait_s, size, arguments.calls, path))
                    print(" ".join(f"{name}={value:.3f}" for name, value in rows[-1].items()), flush=True)
    finally:
        server.terminate()
    print(f"load {os.getloadavg()[0]:.1f}")
    if arguments.save:
        (HERE / "results" / "record.json").write_text(json.dumps({"rows": rows, "load": os.getloadavg()}, indent=2))


if __name__ == "__main__":
    main()
