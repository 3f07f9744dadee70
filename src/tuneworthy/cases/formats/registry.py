"""Registries of row formats: detection, and conversion to the arguments of a `Case` or an `Example`.

A converter returns keyword arguments (`id` only if the row has one) and raises `RowFault` or `Dropped`. Built-ins are
tried in their order, then formats of installed packages (entry points ``tuneworthy.case_formats`` and
``tuneworthy.example_formats``).
"""

import re
from collections.abc import Callable, Iterable, Set
from functools import lru_cache
from typing import Any

from tuneworthy.cases.readers.faults import Journal
from tuneworthy.cases.readers.files import Rows
from tuneworthy.registry import Registry
from tuneworthy.types import JsonObject, frozen

Fields = JsonObject
Convert = Callable[[JsonObject, Journal], Fields]
Detect = Callable[[Set[str], JsonObject], bool]


@frozen
class Format:
    """One format of rows.

    Attributes:
        name: As shown to people.
        detect: Decides from the union of the keys of the first rows, and the first row.
        convert: Converts a row.
        title: The file's name for people, e.g. "Langfuse export"; "" for a format of no tool.
        unit: A row's name for people.
        records: Groups or splits the rows of a file before conversion; lines never decrease.
        facts: Yields values about rows that may be elsewhere, as key and value; the journal has them for `convert`.
        companion: For a format with only such facts: which file must be imported with it.
    """

    name: str
    detect: Detect
    convert: Convert
    title: str = ""
    unit: str = "row"
    records: Callable[[Rows, Journal], Rows] | None = None
    facts: Callable[[JsonObject], Iterable[tuple[str, Any]]] | None = None
    companion: str = ""


def has(every: str = "", some: str = "", without: str = "") -> Detect:
    """Return a detector for rows with every key, some of the keys, and without the others.

    >>> has("input", some="ideal target", without="expected")({"input", "target"}, {})
    True
    """
    needed, any_of, barred = (frozenset(names.split()) for names in (every, some, without))
    return lambda keys, first: needed <= keys and not barred & keys and (not any_of or bool(any_of & keys))


# Formats and their modules, in the order in which they are tried.
_CASE_MODULES = dict.fromkeys(
    ("promptfoo", "openai_evals", "langfuse", "inspect", "native", "columns"), "tuneworthy.cases.formats.case_rows"
)
_EXPORTS = {
    "litellm": "traces",
    "promptfoo_results": "traces",
    "inspect_log": "traces",
    "lm_eval": "traces",
    "mlflow": "traces",
    "weave": "traces",
    "braintrust": "traces",
    "opik": "traces",
    "otel": "otel",
    "langfuse_observations": "langfuse",
    "langsmith": "traces",
    "langfuse": "langfuse",
    "langsmith_feedback": "traces",
    "langfuse_scores": "langfuse",
    "openai_stored": "vendors",
    "batch_results": "vendors",
    "openai_evals_run": "traces",
    "preference": "preferences",
    "kto": "preferences",
    "batch_requests": "vendors",
    "anthropic": "vendors",
}
_OWN = ("openai_log", "gemini", "messages", "sharegpt", "alpaca", "prompt_completion", "input_expected", "columns")
_EXAMPLE_MODULES = (
    {"recorded": "tuneworthy.cases.formats.example_rows"}
    | {name: f"tuneworthy.cases.formats.exports.{module}" for name, module in _EXPORTS.items()}
    | dict.fromkeys(_OWN, "tuneworthy.cases.formats.example_rows")
)
CASE_FORMATS: Registry[Format] = Registry("case_formats", _CASE_MODULES)
EXAMPLE_FORMATS: Registry[Format] = Registry("example_formats", _EXAMPLE_MODULES)


def register(formats: Registry[Format], *entries: Format) -> None:
    for entry in entries:
        formats.register(entry.name)(entry)


def detect(formats: Registry[Format], keys: Set[str], first: JsonObject) -> Format | None:
    return next((entry for entry in map(formats.get, formats) if entry.detect(keys, first)), None)


@lru_cache(maxsize=4096)
def bare(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()


# Keys of spans.
_SPANS = frozenset({"span_id", "spanId", "ml_app", "evaluator_logs"})
# One tool per line, and keys that together appear in no other format's rows.
_TABLE = """
Humanloop logs: evaluator_logs
PromptLayer requests: request_response
Datadog LLM spans: ml_app
AWS Bedrock invocation logs: schemaType modelId
OpenTelemetry metrics: resourceMetrics
OpenTelemetry profiles: resourceProfiles
Jaeger traces: traceID processes
Zipkin spans: traceId localEndpoint
OpenAI stream chunks without their requests: object=chat.completion.chunk
OpenAI Responses events without their requests: type=response.created
Anthropic stream events without their requests: type=message_start
Intercom conversations: conversation_parts
OpenAI Assistants messages: thread_id assistant_id
OpenAI Realtime events: event_id item_id response_id
ChatGPT data export: mapping current_node
Claude.ai data export: chat_messages
OpenAI Agents traces: object workflow_name group_id
Pydantic AI events: event_kind
CrewAI events: crew_name agent_role task_name
SWE-agent trajectory: agent message_type
OpenHands events: kind source system_prompt
Goose log: message_id content_json
opencode log: aggregate_id data
Codex exec events: type thread_id item
Codex log: timestamp type payload
Claude Code log: parentUuid sessionId
pi session log: modelId thinkingLevel
Continue session: workspaceDirectory history
Cursor log: role message
Aider events: event properties
GitHub Copilot log: type data parentId
GitHub Copilot log: kind v
Gemini CLI log: sessionId messages
GitHub Copilot chat export: requesterUsername requests
Cline log: ts say
Open WebUI export: chat user_id share_id
Slack export: ts user text team
Discord export: guild channel messages
Rasa tracker: sender_id events
Dialogflow log: queryResult
Label Studio export: annotations data
Argilla records: fields responses
OpenAssistant trees: message_tree_id
UltraFeedback rows: instruction completions
Chatbot Arena rows: conversation_a conversation_b
SHP rows: human_ref_A human_ref_B
traces of an unknown tool: trace_id span_id
traces of an unknown tool: traceId spanId
"""
_UNREAD = [(title, frozenset(marks.split())) for title, marks in re.findall(r"(.+): (.+)", _TABLE)]


def unread(keys: Set[str], first: JsonObject, *, in_words: bool) -> str | None:
    """Return the title of a tool whose rows are not read, by their keys and, as `key=value`, by the first row's texts.

    Rows `in_words`, with a question and an answer in columns of their own, are those of a tool only if they are spans:
    of these, several tell of one call, each with an `input` and an `output`.
    """
    marked = keys | {f"{key}={value}" for key, value in first.items() if isinstance(value, str)}
    spans = _SPANS if {"input", "output"} <= keys else frozenset[str]()
    return next((title for title, marks in _UNREAD if marks <= marked and (not in_words or marks & spans)), None)
