"""LiteLLM: the `StandardLoggingPayload` of its callbacks and logs, one line per call.

With mirrored traffic (`silent_model`), the answer of a model that no user saw is no example.

Source: `StandardLoggingPayload` of litellm 1.110.2 (litellm/types/utils.py);
https://docs.litellm.ai/docs/proxy/logging_spec and https://docs.litellm.ai/docs/traffic_mirroring.
"""

from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format, has, register
from tuneworthy.cases.formats.values import at, dict_at, first_at
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.types import JsonObject

# Replaces texts that LiteLLM was configured not to log.
_REDACTED = "redacted-by-litellm"


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
    }
    return exchange({**dict_at(row, "model_parameters"), "messages": question}, response, facts, api=True)


def _text(message: Any) -> Any:
    return message.get("content", at(message, "text")) if isinstance(message, dict) else message


register(
    EXAMPLE_FORMATS,
    Format(
        name="litellm",
        title="LiteLLM log",
        unit="call",
        detect=has("model_group messages response startTime"),
        convert=_example,
    ),
)
