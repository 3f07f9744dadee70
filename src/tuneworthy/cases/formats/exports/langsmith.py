"""LangSmith: runs with their feedback, from its API, its SDK or a bulk export.

If a file has model runs, these are read and the chains around them are left out; otherwise the outermost runs are read.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.columns import parsed
from tuneworthy.cases.formats.logs import exchange, feedback
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format, has, register
from tuneworthy.cases.formats.values import at, dict_at, dicts_at, first_at
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.cases.readers.files import Rows
from tuneworthy.types import JsonObject

_MODELS = "langsmith: runs of models"


def _example(row: JsonObject, journal: Journal) -> Fields:
    if at(row, "run_type") != "llm" and (_MODELS in journal.facts or at(row, "parent_run_id")):
        raise Dropped("the run is not a call of a model", "no_model_call")
    if at(row, "error"):
        raise Dropped(messages.FAILED_REQUEST)
    metadata = dict_at(parsed(at(row, "extra")), "metadata")
    about = {
        "name": at(row, "name"),
        "model": at(metadata, "ls_model_name"),
        "group": first_at(metadata, "session_id", "thread_id", "conversation_id") or at(row, "trace_id"),
        "tags": parsed(at(row, "tags")) or None,
        "start_time": at(row, "start_time"),
        **feedback(journal, "langsmith", at(row, "id"), at(row, "trace_id")),
    }
    return exchange(parsed(at(row, "inputs")), parsed(at(row, "outputs")), about)


def _facts(row: JsonObject) -> Iterator[tuple[str, Any]]:
    if at(row, "run_type") == "llm":
        yield _MODELS, True
    stats = parsed(at(row, "feedback_stats"))
    for name, figures in stats.items() if isinstance(stats, dict) else ():
        if (mean := at(figures, "avg")) is not None:
            yield f"langsmith:{at(row, 'id')}", {"name": name, "value": mean}
    if "key" in row and "run_id" in row:
        place = f"langsmith:{at(row, 'run_id')}"
        score = at(row, "score")
        yield place, {"name": at(row, "key"), "value": at(row, "value") if score is None else score}
        if (correction := parsed(at(row, "correction"))) is not None:
            yield place, {"correction": correction}


def _runs(rows: Rows, journal: Journal) -> Rows:
    for line, row in rows:
        yield from ((line, run) for run in (_with_children(row) if row is not None else [None]))


def _with_children(row: JsonObject, depth: int = 0) -> Iterator[JsonObject]:
    yield row
    for child in dicts_at(row, "child_runs") if depth < 50 else ():
        yield from _with_children(child, depth + 1)


register(
    EXAMPLE_FORMATS,
    Format(
        name="langsmith",
        title="LangSmith runs",
        unit="run",
        detect=has("run_type", some="inputs outputs"),
        convert=_example,
        records=_runs,
        facts=lambda row: chain.from_iterable(map(_facts, _with_children(row))),
    ),
    Format(
        name="langsmith_feedback",
        title="LangSmith feedback",
        unit="rating",
        detect=has("run_id key score"),
        convert=_example,
        facts=_facts,
        companion="Import the file with the runs together with it.",
    ),
)
