"""LiteLLM: the `StandardLoggingPayload` of its callbacks and logs, one line per call.

With mirrored traffic (`silent_model`), each request has a second line: the answer of a model that no user saw. It is
no example. Its facts go to the reader of the line with the user's answer, under `mirrored_key`.

Source: `StandardLoggingPayload` of litellm 1.110.2 (litellm/types/utils.py);
https://docs.litellm.ai/docs/proxy/logging_spec and https://docs.litellm.ai/docs/traffic_mirroring.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from tuneworthy.cases import messages
from tuneworthy.cases.formats.logs import answered, exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format, has, register
from tuneworthy.cases.formats.values import at, dict_at, first_at
from tuneworthy.cases.readers.faults import Dropped, Journal, RowFault
from tuneworthy.types import JsonObject

# Added to a line by `export mirror`: its request (an example keeps it), and the variant that answered.
PAIR: Final = "tuneworthy_pair"
VARIANT: Final = "tuneworthy_variant"
# Replaces texts that LiteLLM was configured not to log.
_REDACTED: Final = "redacted-by-litellm"


def mirrored_key(pair: str) -> str:
    """Return the key of the facts about a request: the answers of mirrored models."""
    return f"litellm:{pair}"


def _example(row: JsonObject, journal: Journal) -> Fields:
    if at(row, "metadata/is_silent_experiment"):
        raise Dropped("the answer is that of a mirrored model, which no user saw", "mirrored")
    if at(row, "status") != "success":
        raise Dropped(messages.FAILED_REQUEST)
    question, response = at(row, "messages"), at(row, "response")
    last = question[-1] if isinstance(question, list) and question else question
    if _REDACTED in (_text(last), _text(at(response, "choices/0/message") or response)):
        raise Dropped(messages.NO_CONTENT)
    sent = dict_at(row, "metadata/requester_metadata")  # it also has the headers
    facts = {
        "model": at(row, "model"),
        "group": first_at(row, "session_id", "end_user"),
        "metadata": {k: v for k, v in sent.items() if isinstance(v, str | int | float)} or None,
        "ended": at(row, "endTime"),
        PAIR: at(row, PAIR) or None,
    }
    return exchange({**dict_at(row, "model_parameters"), "messages": question}, response, facts, api=True)


def _facts(row: JsonObject) -> Iterator[tuple[str, Any]]:
    """Yield a mirrored model's answer to a request."""
    if at(row, "metadata/is_silent_experiment") and (pair := at(row, PAIR)):
        about = {
            "variant": at(row, VARIANT),
            "error": "" if at(row, "status") == "success" else str(first_at(row, "error_str", "status")),
            "seconds": _number(row, "endTime") - _number(row, "startTime"),
            "input_tokens": int(_number(row, "prompt_tokens")) or None,
            "output_tokens": int(_number(row, "completion_tokens")) or None,
        }
        yield mirrored_key(pair), {**_answer(at(row, "response")), **about}


def _answer(response: Any) -> JsonObject:
    """Return a response's text and calls; an empty response is an answer too."""
    turn, ending = None, None
    with suppress(RowFault, Dropped):
        (*_, turn), ending = answered(response, api=True)
    calls = at(turn, "tool_calls") or []
    return {"text": at(turn, "content") or "", "tool_calls": calls, "finish_reason": ending or "stop"}


def _number(row: JsonObject, key: str) -> float:
    value = at(row, key)
    return float(value) if isinstance(value, int | float) else 0.0


def _text(message: Any) -> Any:
    return message.get("content", at(message, "text")) if isinstance(message, dict) else message


register(
    EXAMPLE_FORMATS,
    Format(
        name="litellm",
        title="LiteLLM log",
        unit="call",
        shape='{"model_group": ..., "messages": [...], "response": {...}, "startTime": ...}',
        detect=has("model_group messages response startTime"),
        convert=_example,
        facts=_facts,
        priority=-12,
    ),
)
