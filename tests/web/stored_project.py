"""Projects with a run record and stored answers, made without a run: what the views of `ui` are tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from tests.report import report_records as records
from tuneworthy.config import load
from tuneworthy.ladder.comparison_plan import write_comparisons
from tuneworthy.ladder.record import BestVariant, write_record
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.providers.http_client import blocking
from tuneworthy.stats.comparisons import ComparisonPlan
from tuneworthy.types import JsonObject, Retrieval

# The models answer from a file, by the question. The grader is apart, so that a server does not read that file.
MODELS = """
import json
from pathlib import Path

ANSWERS = json.loads(Path(__file__).with_name("answers.json").read_bytes())


"""
GRADER = """
from tuneworthy.types import Score

MANY = 1_000_000  # an answer that long has much detail


def grade(answer, expected, case):
    text, _, reason = answer.partition("|")
    right = text == expected
    detail = {"answer": text[:100]} | (DETAIL if len(answer) > MANY else {})
    return Score(num=float(right), reason="" if right else reason or "wrong", detail=detail)
"""


def write_project(
    root: Path,
    cases: Sequence[JsonObject],
    answers: Mapping[str, Mapping[str, str]],
    *,
    grader: str = 'type = "python"\nfunction = "grader.py:grade"',
    detail: JsonObject | None = None,
    documents: Sequence[str] = (),
) -> Path:
    """Write a project and its answers.

    Args:
        root: The folder.
        cases: Rows of the file of cases.
        answers: Rung to input to answer; the first rung is the baseline. `text|reason` gives a wrong answer a reason.
        grader: Section of `[[graders]]`.
        detail: More of the grader's detail, for answers above a million characters.
        documents: Documents that every variant is shown, all of them.
    """
    root.mkdir(parents=True, exist_ok=True)
    functions = [f"def {rung}(request):\n    return ANSWERS[{rung!r}].get(request.payload, '')\n" for rung in answers]
    (root / "models.py").write_text(MODELS + "\n\n".join(functions))
    (root / "grader.py").write_text(f"DETAIL = {detail or {}!r}\n{GRADER}")
    (root / "answers.json").write_bytes(orjson.dumps(answers))
    (root / "cases.jsonl").write_bytes(b"".join(orjson.dumps(case) + b"\n" for case in cases))
    sections = [f'[models.{rung}]\nprovider = "scripted"\nfunction = "models.py:{rung}"' for rung in answers]
    if documents:
        (root / "documents").mkdir()
        for n, text in enumerate(documents):
            (root / "documents" / f"page{n:03}.md").write_text(text)
        sections.append('[documents]\npath = "documents"')
    (root / "tuneworthy.toml").write_text(
        "\n".join(
            [
                '[task]\nname = "answers"\ntarget = 0.9',
                f"[[graders]]\n{grader}",
                *sections,
                f'[ladder]\nbaseline = "{next(iter(answers))}"',
            ]
        )
    )
    blocking(_measure(root, list(answers)))  # tests of pages run inside a loop
    return root


async def _measure(root: Path, rungs: Sequence[str]) -> None:
    async with open_session(load(root)) as session:
        variants, cases = {}, [*session.split.dev, *session.split.asked]
        for rung in rungs:
            more: dict[str, Any] = {}
            if session.library is not None:
                corpus = session.library.corpus
                more = {"retrieval": Retrieval(mode="all", documents=corpus.hash, k=len(corpus.documents))}
            identity = session.models[rung].provider.identity
            base = replace(current(session), name=f"{rung}/scripted", model=rung, model_identity=identity)
            variants[rung] = replace(base, **more)
            await session.ask(variants[rung], cases)
        rows = [replace(records.rung(rung, one.name, 100), variant=one.id) for rung, one in variants.items()]
        record = records.record(*rows, best=rungs[-1], n_dev=len(session.split.dev), n_test=len(session.split.test))
        best = BestVariant(rungs[-1], variants[rungs[-1]].id)
        write_comparisons(session.folder, ComparisonPlan().plan(list(rungs)))
        write_record(session.folder, replace(record, best=best, variants={one.id: one for one in variants.values()}))
