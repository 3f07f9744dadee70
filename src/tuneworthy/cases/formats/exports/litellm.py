"""LiteLLM: the `StandardLoggingPayload` that its callbacks get and its logs hold, a line a call.

Where traffic is mirrored (`silent_model`), each request has a second line: the answer of a model that no user saw. It
is no example. What it says is told to whoever reads the line of the answer that the user got: `mirrored_key` names it.

Source: `StandardLoggingPayload` of litellm 1.110.2 (litellm/types/utils.py);
https://docs.litellm.ai/docs/proxy/logging_spec and https://docs.litellm.ai/docs/traffic_mirroring.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tuneworthy.cases import messages
from tuneworthy.cases.formats.logs import answered, exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Convert, Fields, Format
from tuneworthy.cases.readers.faults import Dropped, Journal, RowFault

# What `export mirror` adds to a line: which request it is of (an example keeps it), and which variant answered.
PAIR: Final = "tuneworthy_pair"
VARIANT: Final = "tuneworthy_variant"
# Stands in the place of texts that LiteLLM was told not to log.
_REDACTED: Final = "redacted-by-litellm"


def mirrored_key(pair: str) -> str:
    """Return the key of the facts about a request: what mirrored models answered."""
    return f"litellm:{pair}"


def _example(row: dict[str, Any]) -> Fields:
    about = _mapping(row, "metadata")
    if about.get("is_silent_experiment"):
        raise Dropped(messages.MIRRORED)
    if row.get("status") != "success":
        raise Dropped(messages.FAILED_REQUEST)
    if _REDACTED in (_text(row.get("messages")), _text(row.get("response"))):
        raise Dropped(messages.NO_CONTENT)
    sent = _mapping(about, "requester_metadata")  # the headers are in it too
    request = {**_mapping(row, "model_parameters"), "messages": row.get("messages")}
    facts = {
        "model": row.get("model"),
        "group": row.get("session_id") or row.get("end_user") or None,
        "metadata": {k: v for k, v in sent.items() if isinstance(v, str | int | float)} or None,
        "ended": row.get("endTime"),
        PAIR: row.get(PAIR) or None,
    }
    return exchange(request, row.get("response"), facts, api=True)


def _facts(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what a mirrored model answered to a request."""
    if _mapping(row, "metadata").get("is_silent_experiment") and row.get(PAIR):
        about = {
            "variant": row.get(VARIANT),
            "error": "" if row.get("status") == "success" else str(row.get("error_str") or row.get("status")),
            "seconds": _number(row, "endTime") - _number(row, "startTime"),
            "input_tokens": int(_number(row, "prompt_tokens")) or None,
            "output_tokens": int(_number(row, "completion_tokens")) or None,
        }
        yield mirrored_key(row[PAIR]), {**_answer(row.get("response")), **about}


def _answer(response: Any) -> dict[str, Any]:
    """Return what a response says; no text where it says nothing, since that is an answer too."""
    try:
        turns, ending = answered(response, api=True)
    except (RowFault, Dropped):
        return {"text": "", "tool_calls": [], "finish_reason": "stop"}
    said, calls = turns[-1].get("content") or "", turns[-1].get("tool_calls") or []
    return {"text": said, "tool_calls": calls, "finish_reason": ending or "stop"}


def _mapping(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = row.get(key)
    return value if isinstance(value, dict) else {}


def _number(row: Mapping[str, Any], key: str) -> float:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _text(value: Any) -> str:
    """Return the text of the last message of a request, or of a response that is no object."""
    last = value[-1] if isinstance(value, list) and value else value
    if isinstance(last, dict):
        choices = last.get("choices")
        last = choices[0].get("message", {}) if isinstance(choices, list) and choices else last
        last = last.get("content", last.get("text"))
    return last if isinstance(last, str) else ""


def _converter(_: Journal) -> Convert:
    return _example


EXAMPLE_FORMATS.register("litellm")(
    Format(
        name="litellm",
        title="LiteLLM log",
        unit="call",
        shape='{"model_group": ..., "messages": [...], "response": {...}, "startTime": ...}',
        detect=lambda keys, first: {"model_group", "messages", "response", "startTime"} <= keys,
        converter=_converter,
        facts=_facts,
        priority=-12,
    )
)
