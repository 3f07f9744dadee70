"""Langfuse: traces, observations, and the scores that belong to them, from its API, its SDK or its exports."""

from collections.abc import Iterator
from typing import Any, Final

from tuneworthy.cases import messages
from tuneworthy.cases.formats.columns import parsed
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Convert, Fields, Format, bare
from tuneworthy.cases.readers.faults import Dropped, Journal

_OF_A_TRACE: Final = frozenset(
    {"htmlpath", "observations", "scores", "sessionid", "userid", "public", "release", "environment", "bookmarked"}
)
# Identity, time and cost: nothing to learn from, or a person's.
_LEFT_OUT: Final = _OF_A_TRACE | {
    *("id", "input", "output", "timestamp", "traceid", "starttime", "endtime", "completionstarttime", "unit", "usage"),
    *(
        "parentobservationid",
        "type",
        "level",
        "statusmessage",
        "latency",
        "totalcost",
        "projectid",
        "createdat",
        "tags",
    ),
    *("updatedat", "externalid", "usagedetails", "costdetails", "modelid", "internalmodelid", "inputprice", "version"),
    *("outputprice", "totalprice", "modelparameters", "timetofirsttoken", "promptid", "prompttokens", "tracename"),
    *("completiontokens", "totaltokens", "calculatedinputcost", "calculatedoutputcost", "calculatedtotalcost"),
    "isrootobservation",
}


def _example(row: dict[str, Any], journal: Journal) -> Fields:
    own = {bare(key): value for key, value in row.items()}
    if (kind := own.get("type")) is not None and str(kind).upper() != "GENERATION":
        raise Dropped(messages.NO_GENERATION)
    if str(own.get("level")).upper() == "ERROR":
        raise Dropped(messages.FAILED_REQUEST)
    observations: Any = parsed(own.get("observations"))
    calls: list[Any] = observations if isinstance(observations, list) else []
    generations = [call for call in reversed(calls)
                   if isinstance(call, dict) and str(call.get("type")).upper() == "GENERATION"]  # fmt: skip
    whole = next((one for one in (own, *generations) if one.get("input") and one.get("output")), own)
    places = [key for key in (own.get("id"), own.get("traceid")) if key]
    scores = [score for place in places for score in journal.facts.get(f"langfuse:{place}", ())]
    about = {key: value for key, value in row.items() if bare(key) not in _LEFT_OUT}
    about |= {"group": own.get("sessionid") or own.get("traceid"), "tags": parsed(own.get("tags")) or None}
    about |= {"scores": [score for score in scores if "correction" not in score] or None}
    about |= {"correction": next((score["correction"] for score in scores if "correction" in score), None)}
    if whole is not own:
        about["model"] = whole.get("model")
    return exchange(whole.get("input"), whole.get("output"), about)


def _scores(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the scores that a row holds or is, each with what it is about."""
    own = {bare(key): value for key, value in row.items()}
    inner = parsed(own.get("scores"))
    rows = inner if isinstance(inner, list) else [row] if _is_score(own.keys()) else []
    for score in rows:
        if not isinstance(score, dict):
            continue
        its = {bare(key): value for key, value in score.items()}
        subject = its.get("subject")
        about = subject.get("id") if isinstance(subject, dict) else None
        place = its.get("observationid") or its.get("traceid") or about or own.get("id")
        kind = str(its.get("datatype")).upper()
        value = its.get("stringvalue") if kind in {"CATEGORICAL", "CORRECTION", "TEXT"} else its.get("value")
        value = its.get("value") if value is None else bool(value) if kind == "BOOLEAN" else value
        named = {"correction": value} if kind == "CORRECTION" else {"name": its.get("name"), "value": value}
        yield f"langfuse:{place}", named


def _is_score(keys: Any) -> bool:
    return {"name", "value", "datatype"} <= set(keys) and not {"traceid", "subject"}.isdisjoint(keys)


def _are_observations(keys: Any, first: dict[str, Any]) -> bool:
    return {"input", "output", "traceid", "type", "starttime"} <= {bare(key) for key in keys}


def _are_traces(keys: Any, first: dict[str, Any]) -> bool:
    names = {bare(key) for key in keys}
    of_trace = "timestamp" in names and len(names & _OF_A_TRACE) > 1
    in_full = "id" in names and isinstance(parsed(first.get("observations")), list)
    return in_full or ({"input", "output"} <= names and of_trace)


def _converter(journal: Journal) -> Convert:
    return lambda row: _example(row, journal)


for _format in (
    Format(
        name="langfuse_observations",
        title="Langfuse export",
        unit="observation",
        shape='{"id": ..., "traceId": ..., "type": "GENERATION", "input": ..., "output": ...}',
        detect=_are_observations,
        converter=_converter,
        facts=_scores,
        priority=-9,
    ),
    Format(
        name="langfuse",
        title="Langfuse export",
        unit="trace",
        shape='{"id": ..., "timestamp": ..., "input": ..., "output": ..., "scores": [...]}',
        detect=_are_traces,
        converter=_converter,
        facts=_scores,
        priority=-8,
    ),
    Format(
        name="langfuse_scores",
        title="Langfuse scores",
        unit="score",
        shape='{"traceId": ..., "name": ..., "value": ..., "dataType": ...}',
        detect=lambda keys, first: "input" not in keys and _is_score({bare(key) for key in keys}),
        converter=_converter,
        facts=_scores,
        companion="Import the file with the traces or observations together with it.",
        priority=-7,
    ),
):
    EXAMPLE_FORMATS.register(_format.name)(_format)
