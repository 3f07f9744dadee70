"""LangSmith: runs with their feedback, from its API, its SDK or a bulk export.

If a file holds runs of models, these are read, and the chains around them are left out; else the outermost runs are.
"""

from collections.abc import Iterator
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.columns import parsed
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Convert, Fields, Format
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.cases.readers.files import Row

_MODELS = "langsmith: runs of models"


def _example(row: dict[str, Any], journal: Journal) -> Fields:
    is_model = row.get("run_type") == "llm"
    if not is_model and (_MODELS in journal.facts or row.get("parent_run_id")):
        raise Dropped(messages.NO_MODEL_RUN)
    if row.get("error"):
        raise Dropped(messages.FAILED_REQUEST)
    places = dict.fromkeys(str(row[key]) for key in ("id", "trace_id") if row.get(key))
    scores = [score for place in places for score in journal.facts.get(f"langsmith:{place}", ())]
    extra = parsed(row.get("extra"))
    metadata = extra.get("metadata") if isinstance(extra, dict) else None
    named = metadata if isinstance(metadata, dict) else {}
    threads = (named.get(key) for key in ("session_id", "thread_id", "conversation_id"))
    about = {
        "name": row.get("name"),
        "model": named.get("ls_model_name"),
        "group": next(filter(None, threads), None) or row.get("trace_id"),
        "tags": parsed(row.get("tags")) or None,
        "scores": [score for score in scores if "correction" not in score] or None,
        "correction": next((score["correction"] for score in scores if score.get("correction")), None),
    }
    return exchange(parsed(row.get("inputs")), parsed(row.get("outputs")), about)


def _facts(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield that there is a run of a model, and the feedback that a row holds or is."""
    if row.get("run_type") == "llm":
        yield _MODELS, True
    stats = parsed(row.get("feedback_stats"))
    for name, figures in stats.items() if isinstance(stats, dict) else ():
        if isinstance(figures, dict) and figures.get("avg") is not None:
            yield f"langsmith:{row.get('id')}", {"name": name, "value": figures["avg"]}
    if "key" in row and "run_id" in row:
        value = row.get("score") if row.get("score") is not None else row.get("value")
        yield f"langsmith:{row['run_id']}", {"name": row["key"], "value": value}
        if (correction := parsed(row.get("correction"))) is not None:
            yield f"langsmith:{row['run_id']}", {"correction": correction}


def _runs(rows: Iterator[Row], journal: Journal) -> Iterator[Row]:
    """Yield each run and, after it, the runs within it."""
    for line, row in rows:
        yield from ((line, run) for run in _with_children(row)) if row is not None else [(line, None)]


def _with_children(row: dict[str, Any], depth: int = 0) -> Iterator[dict[str, Any]]:
    yield row
    children = row.get("child_runs")
    for child in children if isinstance(children, list) and depth < 50 else ():
        if isinstance(child, dict):
            yield from _with_children(child, depth + 1)


def _all_facts(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return (fact for run in _with_children(row) for fact in _facts(run))


def _converter(journal: Journal) -> Convert:
    return lambda row: _example(row, journal)


EXAMPLE_FORMATS.register("langsmith")(
    Format(
        name="langsmith",
        title="LangSmith runs",
        unit="run",
        shape='{"run_type": "llm", "inputs": {...}, "outputs": {...}}',
        detect=lambda keys, first: "run_type" in keys and bool({"inputs", "outputs"} & keys),
        converter=_converter,
        records=_runs,
        facts=_all_facts,
        priority=-9,
    )
)
EXAMPLE_FORMATS.register("langsmith_feedback")(
    Format(
        name="langsmith_feedback",
        title="LangSmith feedback",
        unit="rating",
        shape='{"run_id": ..., "key": ..., "score": ...}',
        detect=lambda keys, first: {"run_id", "key", "score"} <= keys,
        converter=_converter,
        facts=_facts,
        companion="Import the file with the runs together with it.",
        priority=-8,
    )
)
