"""Langfuse: traces, observations, and their scores, from its API, its SDK or its exports."""

from collections.abc import Iterator, Set
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.columns import parsed
from tuneworthy.cases.formats.logs import exchange, feedback
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format, bare, register
from tuneworthy.cases.formats.values import at, first_at, names, seconds_between, word_at
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.types import JsonMapping, JsonObject

_OF_A_TRACE = names("htmlpath observations scores sessionid userid public release environment bookmarked")
# Identity, time and cost: nothing to learn from, or personal.
_LEFT_OUT = _OF_A_TRACE | names(
    "id input output timestamp traceid starttime endtime completionstarttime unit usage parentobservationid type "
    "level statusmessage latency totalcost projectid createdat tags updatedat externalid usagedetails costdetails "
    "modelid internalmodelid inputprice version outputprice totalprice modelparameters timetofirsttoken promptid "
    "prompttokens tracename completiontokens totaltokens calculatedinputcost calculatedoutputcost "
    "calculatedtotalcost isrootobservation"
)


def _bare(row: JsonMapping) -> JsonObject:
    return {bare(key): value for key, value in row.items()}


def _is_generation(row: Any) -> bool:
    return str(at(row, "type")).upper() == "GENERATION"


def _example(row: JsonObject, journal: Journal) -> Fields:
    own = _bare(row)
    if at(own, "type") is not None and not _is_generation(own):
        raise Dropped("the observation is not a generation", "no_model_call")
    if str(at(own, "level")).upper() == "ERROR":
        raise Dropped(messages.FAILED_REQUEST)
    whole = own
    if not (at(own, "input") and at(own, "output")):
        observations = parsed(at(own, "observations"))
        for call in observations if isinstance(observations, list) else ():
            if isinstance(call, dict) and _is_generation(call) and at(call, "input") and at(call, "output"):
                whole = call  # the last one
    about = {
        **{key: value for key, value in row.items() if bare(key) not in _LEFT_OUT},
        "group": first_at(own, "sessionid", "traceid"),
        "tags": parsed(at(own, "tags")) or None,
        "timestamp": first_at(own, "timestamp", "starttime"),
        **feedback(journal, "langfuse", at(own, "id"), at(own, "traceid")),
    }
    if whole is not own:
        whole = _bare(whole)
    about |= {
        "model": first_at(whole, "model", "providedmodelname"),
        "settings": parsed(at(whole, "modelparameters")) or None,
        "seconds": at(whole, "latency") or seconds_between(at(whole, "starttime"), at(whole, "endtime")),
        "usage": _usage(whole),
        "tools": first_at(parsed(at(whole, "input")), "tools", "functions"),
    }
    return exchange(at(whole, "input"), at(whole, "output"), about)


def _usage(call: JsonMapping) -> Any:
    """Return the tokens of a call: Langfuse counts those of a cache apart from the other tokens of the input."""
    details = parsed(at(call, "usagedetails"))
    tokens = {key: n for key, n in details.items() if isinstance(n, int)} if isinstance(details, dict) else {}
    sent = {key: n for key, n in tokens.items() if "input" in key}
    if not sent:
        columns = {"input_tokens": at(call, "prompttokens"), "output_tokens": at(call, "completiontokens")}
        return at(call, "usage") or (columns if any(columns.values()) else None)
    return {
        "input_tokens": sum(sent.values()),
        "output_tokens": sum(n for key, n in tokens.items() if "output" in key),
        "input_tokens_details": {
            "cached_tokens": sum(n for key, n in sent.items() if "cache" in key and "creat" not in key)
        },
    }


def _scores(row: JsonObject) -> Iterator[tuple[str, Any]]:
    own = _bare(row)
    inner = parsed(at(own, "scores"))
    rows = inner if isinstance(inner, list) else [row] if _is_score(own.keys(), row) else []
    for score in map(_bare, filter(lambda score: isinstance(score, dict), rows)):
        place = first_at(score, "observationid", "traceid", "subject/id") or at(own, "id")
        kind = word_at(score, "datatype").upper()
        value = at(score, "stringvalue") if kind in {"CATEGORICAL", "CORRECTION", "TEXT"} else at(score, "value")
        if value is None:
            value = at(score, "value")
        elif kind == "BOOLEAN":
            value = bool(value)
        yield (
            f"langfuse:{place}",
            {"correction": value} if kind == "CORRECTION" else {"name": at(score, "name"), "value": value},
        )


def _is_score(keys: Set[str], first: JsonObject) -> bool:
    bare_keys = {bare(key) for key in keys}
    return {"name", "value", "datatype"} <= bare_keys and not {"traceid", "subject"}.isdisjoint(bare_keys)


def _are_traces(keys: Set[str], first: JsonObject) -> bool:
    bare_keys = {bare(key) for key in keys}
    in_full = "id" in bare_keys and isinstance(parsed(at(first, "observations")), list)
    return in_full or ({"input", "output", "timestamp"} <= bare_keys and len(bare_keys & _OF_A_TRACE) > 1)


register(
    EXAMPLE_FORMATS,
    Format(
        name="langfuse_observations",
        title="Langfuse export",
        unit="observation",
        # the table of generations, as CSV, has no types
        detect=lambda keys, first: (
            {"input", "output", "traceid", "starttime"} <= (own := set(map(bare, keys)))
            and not own.isdisjoint({"type", "timetofirsttoken"})
        ),
        convert=_example,
        facts=_scores,
    ),
    Format(
        name="langfuse",
        title="Langfuse export",
        unit="trace",
        detect=_are_traces,
        convert=_example,
        facts=_scores,
    ),
    Format(
        name="langfuse_scores",
        title="Langfuse scores",
        unit="score",
        detect=lambda keys, first: "input" not in keys and _is_score(keys, first),
        convert=_example,
        facts=_scores,
        companion="Import the file with the traces or observations together with it.",
    ),
)
