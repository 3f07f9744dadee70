"""Exports of vendors: OpenAI's stored completions and responses, Batch API files, and Anthropic's conversations.

Batch results have no questions: the file of the requests is imported with them.
"""

from collections.abc import Iterator, Set
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.example_rows import log_example, messages_example
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Fields, Format, has, register
from tuneworthy.cases.formats.values import at, dicts_at, first_at, word_at
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.types import JsonObject


def _stored(row: JsonObject, journal: Journal) -> Fields:
    question = first_at(row, "messages", "input", "input_messages", "input_items")
    if isinstance(page := at(question, "data"), list):  # a page of the API
        question = page
    if question is None:
        raise Dropped(
            "the stored answer has no question; add those that the API lists for its id as `messages`",
            "no_messages",
        )
    request = {"messages": question, "instructions": at(row, "instructions"), "tools": at(row, "tools")}
    about = {
        key: at(row, key) for key in ("metadata", "feedback", "rating", "scores", "correction", "created", "created_at")
    }
    return exchange(request, row, about, api=True)


def _result(row: JsonObject, journal: Journal) -> Fields:
    response = row.get("response", at(row, "result"))
    body = response.get("body", at(response, "message")) if isinstance(response, dict) else None
    if not isinstance(body, dict) or at(row, "error") or response.get("status_code", 200) not in range(400):
        raise Dropped(messages.FAILED_REQUEST)
    requests = journal.facts.get(f"batch:{at(row, 'custom_id')}")
    if not requests:
        raise Dropped("the request of this result is in another file; import both together", "no_request")
    return exchange(requests[0], body, {"custom_id": at(row, "custom_id")}, api=True)


def _requests(row: JsonObject) -> Iterator[tuple[str, Any]]:
    request = row.get("body", at(row, "params"))
    if isinstance(request, dict):
        yield f"batch:{at(row, 'custom_id')}", request


_BLOCKS = frozenset({"tool_use", "tool_result", "thinking", "redacted_thinking"})


def _is_anthropic(keys: Set[str], first: JsonObject) -> bool:
    response = first.get("response", first.get("response_body"))
    if isinstance(response, dict):
        return response.get("type") == "message" or {"stop_reason", "content"} <= response.keys()
    turns = dicts_at(first, "messages")
    kinds = {word_at(block, "type") for turn in turns for block in dicts_at(turn, "content")}
    return not _BLOCKS.isdisjoint(kinds) or (isinstance(first.get("system"), str) and bool(turns))


register(
    EXAMPLE_FORMATS,
    Format(
        name="openai_stored",
        title="OpenAI stored completions",
        unit="completion",
        detect=lambda keys, first: (
            word_at(first, "object") in {"chat.completion", "response"} and not keys.isdisjoint({"choices", "output"})
        ),
        convert=_stored,
    ),
    Format(
        name="batch_results",
        title="batch results",
        unit="result",
        detect=has("custom_id", some="response result"),
        convert=_result,
    ),
    Format(
        name="batch_requests",
        title="batch requests",
        unit="request",
        detect=has("custom_id", some="body params"),
        convert=_result,
        facts=_requests,
        companion="Import the file with the results together with it.",
    ),
    Format(
        name="anthropic",
        title="Anthropic messages",
        unit="conversation",
        detect=_is_anthropic,
        convert=lambda row, journal: (
            messages_example if {"response", "response_body"}.isdisjoint(row) else log_example
        )(row, journal),
    ),
)
