"""A small project whose model is the fault server, for a session and for the real command line."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.resume_project import write_lines, write_project
from tests.hostile.fault_server import LABELS
from tuneworthy.config import load
from tuneworthy.engine.runner import Runner
from tuneworthy.ladder.session import open_session
from tuneworthy.store import Expenses
from tuneworthy.types import Trace, Variant

PRICE = 100.0  # US dollars a million tokens, of input and of output


def make_project(
    root: Path, base_url: str, behaviour: str, *, bad: int = 4, n: int = 100, budget: float | None = 5.0,
    rungs: str = "baseline", examples: int = 0, **model: Any,
) -> Path:  # fmt: skip
    """Write a project of `n` cases, `bad` of which meet the behaviour, spread evenly."""
    settings = {"concurrency": 64, "timeout_s": 1.0, "retries": 1,
                "input_usd_per_mtok": PRICE, "output_usd_per_mtok": PRICE, **model}  # fmt: skip
    lines = {"provider": "openai", "model": behaviour, "base_url": base_url, **settings}
    toml = "\n".join(f"{name} = {json.dumps(value)}" for name, value in lines.items())
    write_project(root, toml, n_cases=3, n_examples=examples, rungs=rungs,
                  ladder="" if budget is None else f"budget_usd = {budget}")  # fmt: skip
    at = {i * n // bad for i in range(bad)} if bad else set()
    rows = [{"id": f"c{i}", "input": f"Case number {i}{' #BAD' if i in at else ''}: the {LABELS[i % 3]} one.",
             "expected": LABELS[i % 3]} for i in range(n)]  # fmt: skip
    write_lines(root / "cases.jsonl", rows)
    return root


@dataclass(frozen=True)
class Outcome:
    """What came of a session."""

    bad: list[Trace]
    good: list[Trace]
    scored: int
    runner: Runner
    expenses: Expenses


def ask(root: Path, *, repeats: int = 1) -> Outcome:
    """Ask all cases of the project once in a session, and score the answers."""

    async def main() -> Outcome:
        project = load(root)
        async with open_session(project) as session:
            model = session.models["m"]
            variant = Variant(name="v", model="m", model_identity=model.provider.identity, system=None,
                              user=project.prompt.user, max_tokens=project.prompt.max_tokens)  # fmt: skip
            cases = session.data.cases
            traces = await session.ask(variant, cases, repeats=repeats)
            _, _, scores = await session.score(traces, cases)
            bad = {case.id for case in cases if "#BAD" in case.text}
            good = [trace for trace in traces if trace.case_id not in bad]
            scored = sum(
                not score.unscored for trace, score in zip(traces, scores, strict=True) if trace.case_id not in bad
            )
            return Outcome([trace for trace in traces if trace.case_id in bad], good, scored, session.runner,
                           session.runner.store.spending())  # fmt: skip

    return asyncio.run(main())
