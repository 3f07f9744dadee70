"""OpenAI: stored completions and responses, files of the Batch API, and the items of a hosted evaluation's run.

The results of a batch, and those of Anthropic's, hold no questions: the file of the requests is imported with them.
"""

from collections.abc import Iterator
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.chats import word_at
from tuneworthy.cases.formats.dialects import is_chat
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Convert, Fields, Format
from tuneworthy.cases.readers.faults import Dropped, Journal, RowFault, kind_of


def _stored(row: dict[str, Any]) -> Fields:
    """Convert a completion or response that is stored, beside which stands what was asked."""
    question = next((row[key] for key in ("messages", "input", "input_messages", "input_items") if row.get(key)), None)
    if isinstance(question, dict) and isinstance(question.get("data"), list):  # a page of the API
        question = question["data"]
    if question is None:
        raise Dropped(messages.NO_STORED_MESSAGES)
    request = {"messages": question, **{key: row[key] for key in ("instructions", "tools") if row.get(key)}}
    about = {key: row.get(key) for key in ("metadata", "feedback", "rating", "scores", "correction")}
    return exchange(request, row, about, api=True)


def _result(journal: Journal) -> Convert:
    def convert(row: dict[str, Any]) -> Fields:
        request = next(iter(journal.facts.get(f"batch:{row.get('custom_id')}", ())), None)
        response = row.get("response", row.get("result"))
        if not isinstance(response, dict) or row.get("error"):
            raise Dropped(messages.FAILED_REQUEST)
        body = response.get("body", response.get("message"))
        if not isinstance(body, dict) or response.get("status_code", 200) not in range(400):
            raise Dropped(messages.FAILED_REQUEST)
        if request is None:
            raise Dropped(messages.NO_BATCH_REQUEST)
        return exchange(request, body, {"custom_id": row.get("custom_id")}, api=True)

    return convert


def _requests(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    request = row.get("body", row.get("params"))
    if isinstance(request, dict):
        yield f"batch:{row.get('custom_id')}", request


def _evaluated(row: dict[str, Any]) -> Fields:
    """Convert an item of a run: what the model was shown and said, and what the graders say of it."""
    sample, item = row.get("sample"), row.get("datasource_item", row.get("item"))
    if not isinstance(sample, dict):
        raise RowFault(messages.LOG_OBJECT.at(name="sample"), kind_of(sample))
    if isinstance(sample.get("error"), dict) and sample["error"].get("code"):
        raise Dropped(messages.FAILED_REQUEST)
    answer = next((sample[key] for key in ("output", "output_text", "choices") if sample.get(key)), None)
    if isinstance(answer, list) and not is_chat(answer):
        answer = {"choices": answer}
    results = row.get("results")
    scores = [{"name": "passed", "value": result.get("passed")} for result in results if isinstance(result, dict)] \
        if isinstance(results, list) else []  # fmt: skip
    about = {"model": sample.get("model"), "finish_reason": sample.get("finish_reason"), "scores": scores or None}
    return exchange(sample.get("input") or item, answer, about)


def _is_stored(keys: Any, first: dict[str, Any]) -> bool:
    return word_at(first, "object") in {"chat.completion", "response"} and bool({"choices", "output"} & set(keys))


for _format in (
    Format(
        name="openai_stored",
        title="OpenAI stored completions",
        unit="completion",
        shape='{"object": "chat.completion", "choices": [...], "messages": [...]}',
        detect=_is_stored,
        converter=lambda journal: _stored,
        priority=-7,
    ),
    Format(
        name="batch_results",
        title="batch results",
        unit="result",
        shape='{"custom_id": ..., "response": {"body": {...}}}',
        detect=lambda keys, first: "custom_id" in keys and bool({"response", "result"} & keys),
        converter=_result,
        priority=-7,
    ),
    Format(
        name="batch_requests",
        title="batch requests",
        unit="request",
        shape='{"custom_id": ..., "method": "POST", "url": ..., "body": {...}}',
        detect=lambda keys, first: "custom_id" in keys and bool({"body", "params"} & keys),
        converter=_result,
        facts=_requests,
        companion="Import the file with the results together with it.",
        priority=-6,
    ),
    Format(
        name="openai_evals_run",
        title="OpenAI Evals run",
        unit="item",
        shape='{"datasource_item": {...}, "sample": {"input": [...], "output": [...]}, "results": [...]}',
        detect=lambda keys, first: "sample" in keys and bool({"datasource_item", "item"} & keys),
        converter=lambda journal: _evaluated,
        priority=-7,
    ),
):
    EXAMPLE_FORMATS.register(_format.name)(_format)
