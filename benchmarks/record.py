"""The time that `tuneworthy.record` adds to a call, and the CPU time of its thread.

    python benchmarks/record.py [--calls 150] [--save]

One process has two OpenAI clients, one of them recorded; a server in another process answers after a fixed time. Blocks
of calls alternate, in random order within a pair, so that both meet the same machine. A block has calls of one kind for
over a second, begins with one that is not timed, and ends once its calls are written: the thread works during later
calls, so single calls in turn would charge the recording to the plain calls. The ratio is that of the medians, and
`mean_ratio` that of the totals, each with a 95% bootstrap interval over pairs of blocks. Half of each prompt is a
template, and half is new. The thread's CPU time is per recorded call.

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
import time
from pathlib import Path

import numpy as np
import openai

import tuneworthy
from tuneworthy.calls.recorder import Recorder, recorder_of

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


def cpu_of_thread(recorder: Recorder) -> float:
    """Return the CPU time of the recorder's thread so far, seconds."""
    thread = recorder._thread
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident)) if thread and thread.ident else 0.0


def measure(address: str, wait_s: float, size: int, n: int, path: Path) -> dict[str, float]:
    def client() -> openai.OpenAI:
        return openai.OpenAI(
            api_key="sk-of-the-benchmark", base_url=address, max_retries=0, default_headers={"x-wait": str(wait_s)}
        )

    clients = (client(), tuneworthy.record(client(), to=path))
    recorder, rng, pool = recorder_of(path), random.Random(7), paragraphs()
    size_of_block = max(20, round(1.2 / wait_s))
    n_blocks = max(2, n // size_of_block)
    times, thread_s, n_before, last_s = np.zeros((n_blocks, size_of_block, 2)), 0.0, 0, 0.0
    for block in range(-1, n_blocks):
        if block == 0:
            thread_s, n_before = cpu_of_thread(recorder), recorder.counts["recorded"]
        for side in rng.sample((0, 1), 2):
            for call in range(-1, size_of_block):
                messages = [{"role": "user", "content": prompt(pool, size, rng)}]
                started = time.perf_counter()
                clients[side].chat.completions.create(model="m", messages=messages)
                if block >= 0 and call >= 0:
                    times[block, call, side] = 1000 * (time.perf_counter() - started)
            started = time.perf_counter()
            recorder.flush(600)
            last_s = max(last_s, time.perf_counter() - started)
    for one in clients:
        one.close()
    draws = times[np.random.default_rng(7).integers(0, n_blocks, (2000, n_blocks))].reshape(2000, -1, 2)
    middle, means = np.median(draws, axis=1), draws.mean(axis=1)
    low, high = np.quantile(middle[:, 1] / middle[:, 0], (0.025, 0.975))
    mean_low, mean_high = np.quantile(means[:, 1] / means[:, 0], (0.025, 0.975))
    plain, recorded = np.median(times, axis=(0, 1))
    n_recorded = recorder.counts["recorded"] - n_before
    return {
        "wait_ms": 1000 * wait_s, "prompt_kb": size / 1000, "plain_ms": plain, "recorded_ms": recorded,
        "ratio": recorded / plain, "low": low, "high": high, "mean_ratio": times[..., 1].sum() / times[..., 0].sum(),
        "mean_low": mean_low, "mean_high": mean_high, "last_s": last_s, "recorded": n_recorded,
        "thread_ms": 1000 * (cpu_of_thread(recorder) - thread_s) / n_recorded,
        "skipped": recorder.counts.total() - recorder.counts["recorded"],
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
                    print(" ".join(f"{name}={value:.4g}" for name, value in rows[-1].items()), flush=True)
    finally:
        server.terminate()
    print(f"load {os.getloadavg()[0]:.1f}")
    if arguments.save:
        (HERE / "results" / "record.json").write_text(json.dumps({"rows": rows, "load": os.getloadavg()}, indent=2))


if __name__ == "__main__":
    main()
