"""Files as other tools export and log them, with what must be read of them.

The shapes come from the tools' own types and published schemas:

- OpenTelemetry: docs/gen-ai/*.json of open-telemetry/semantic-conventions (input, output and system messages), the
  attributes of opentelemetry-semantic-conventions 0.66b2, OTLP's JSON of opentelemetry-proto 1.45.2; the numbered
  attributes of opentelemetry-semantic-conventions-ai 0.5.1 and openinference-semantic-conventions 0.1.42.
- Langfuse: `TraceWithFullDetails`, `ObservationsView` and `ScoreV1` of langfuse 3.15.0, `ObservationV2` and `ScoreV3`
  of 5.0.4.
- LangSmith: `Run` and `Feedback` of langsmith 0.15.1; messages as `dumpd` of langchain-core 1.8.4 writes them.
- OpenAI: `ChatCompletion`, `ChatCompletionStoreMessage`, `OutputItemListResponse` of openai 3.57.0, and the lines of
  its Batch API.
- Anthropic: `Message`, `MessageParam`, `MessageBatchIndividualResponse` of anthropic 2.14.0.
- LiteLLM: `StandardLoggingPayload` of litellm 1.110.2.
- Inspect: what `write_eval_log` of inspect_ai 0.3.285 writes. promptfoo: `EvaluateResult` of promptfoo 0.123.1.
  lm-evaluation-harness: what `save_results_samples` writes. MLflow: `Trace.to_json` and
  `Trace.to_pandas_dataframe_row` of mlflow 3.17.2. Braintrust: `ProjectLogsEvent` and `ExperimentEvent` of braintrust
  0.48.1. Weave: `CallSchema` of weave. Opik: `TracePublic` of its API. Phoenix: `Span` of arize-phoenix-client 3.5.0
  and the columns of its data frames. Gemini: rows of Vertex AI's tuning. Helicone: the columns of its exports.
- Preference pairs: the dataset formats of trl 1.16.0, of OpenAI's preference fine-tuning, and of HH-RLHF.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
# Question, answer; the third of every file is disliked where a tool knows feedback.
CHATS = (
    ("Where is my card?", "It is on its way."),
    ("Close my account", "Done."),
    ("What is my PIN?", "1234, I think."),
)


@dataclass(frozen=True)
class Export:
    """A file and what must be read of it.

    Attributes:
        name: Of the test.
        format: Name of the format.
        title: What a person is told that it is.
        rows: Of the file.
        answers: What is imported, in order; a call of a tool is the name of the tool.
        n_rated: Rows with feedback.
        dropped: Why the other rows are left out.
        beside: Rows of a second file that is imported with it.
        suffix: Of the file's name.
    """

    name: str
    format: str
    title: str
    rows: list[Any]
    answers: list[str]
    n_rated: int = 0
    dropped: list[str] = field(default_factory=list)
    beside: list[Any] = field(default_factory=list)
    suffix: str = ".jsonl"

    def content(self) -> bytes:
        """Return the file as bytes: a line a row, or one document."""
        if self.suffix == ".json":
            return json.dumps(self.rows[0] if len(self.rows) == 1 else self.rows, indent=1).encode()
        return b"".join(json.dumps(row).encode() + b"\n" for row in self.rows)


def chat(question: str, system: str = "") -> list[dict[str, Any]]:
    """Return what was asked, as OpenAI's messages."""
    head = [{"role": "system", "content": system}] if system else []
    return [*head, {"role": "user", "content": question}]


def completion(answer: str | None, n: int = 0, **message: Any) -> dict[str, Any]:
    """Return a `ChatCompletion`."""
    choice = {
        "index": 0,
        "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
        "logprobs": None,
        "message": {"role": "assistant", "content": answer, "refusal": None, **message},
    }
    return {
        "id": f"chatcmpl-{n}",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-6",
        "choices": [choice],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


# --- OpenTelemetry ------------------------------------------------------------------------------------------------


def otlp_value(value: Any) -> dict[str, Any]:
    """Return a value as OTLP writes it."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [otlp_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": otlp_pairs(value)}}
    return {"stringValue": value}


def otlp_pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP writes them."""
    return [{"key": key, "value": otlp_value(value)} for key, value in attributes.items()]


def span(n: int, attributes: dict[str, Any], events: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a span of OTLP."""
    times = {"startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    return {
        "traceId": "5b8e",
        "spanId": f"{n:016x}",
        "name": "chat gpt-6",
        "kind": 3,
        **times,
        "attributes": otlp_pairs(attributes),
        "events": events or [],
        "status": {},
    }


def event(name: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return an event of a span."""
    return {"timeUnixNano": "1", "name": name, "attributes": otlp_pairs(attributes)}


def spans(*inner: dict[str, Any]) -> dict[str, Any]:
    """Return an export of spans, one of an HTTP client among them."""
    other = span(99, {"http.request.method": "POST", "url.full": "https://api"})
    scope = {"scope": {"name": "opentelemetry.instrumentation.openai"}, "spans": [other, *inner]}
    return {"resourceSpans": [{"resource": {"attributes": otlp_pairs({"service.name": "app"})}, "scopeSpans": [scope]}]}


def parts(role: str, *inner: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a message of the present conventions."""
    return {"role": role, "parts": list(inner), **more}


def text(content: str) -> dict[str, Any]:
    """Return a part of text."""
    return {"type": "text", "content": content}


JUDGED = event(
    "gen_ai.evaluation.result",
    {
        "gen_ai.evaluation.name": "user feedback",
        "gen_ai.evaluation.score.label": "bad",
        "gen_ai.evaluation.score.value": 0.0,
    },
)


def current_spans() -> list[dict[str, Any]]:
    """Return spans with the present attributes: as JSON text, structured, with calls, and without content."""
    head = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-6",
        "gen_ai.response.finish_reasons": ["stop"],
    }
    system = json.dumps([text("Be brief.")])
    made = []
    for n, (question, answer) in enumerate(CHATS):
        asked = [parts("user", text(question))]
        said = [parts("assistant", {"type": "reasoning", "content": "hm"}, text(answer), finish_reason="stop")]
        both = {"gen_ai.input.messages": asked, "gen_ai.output.messages": said}
        as_text = {key: json.dumps(value) for key, value in both.items()} if n else both
        about = {**head, "gen_ai.system_instructions": system, "gen_ai.conversation.id": f"c{n}", **as_text}
        made.append(span(n, about, [JUDGED] if n == 2 else []))
    call = {"type": "tool_call", "id": "c1", "name": "get_weather", "arguments": {"city": "Paris"}}
    weather = [
        parts("user", text("Rain in Paris?")),
        parts("assistant", call),
        parts("tool", {"type": "tool_call_response", "id": "c1", "response": "rainy"}),
    ]
    both = {
        "gen_ai.input.messages": json.dumps(weather),
        "gen_ai.output.messages": json.dumps([parts("assistant", text("Yes."), finish_reason="stop")]),
    }
    made += [span(5, {**head, **both}), span(6, head), span(7, {"gen_ai.operation.name": "execute_tool"})]
    return [spans(*made[:2]), spans(*made[2:])]


def numbered_spans() -> list[dict[str, Any]]:
    """Return spans as OpenLLMetry and OpenInference write them."""
    made = [
        span(
            n,
            {
                "gen_ai.prompt.0.role": "user",
                "gen_ai.prompt.0.content": question,
                "llm.request.type": "chat",
                "gen_ai.completion.0.role": "assistant",
                "gen_ai.completion.0.content": answer,
                "gen_ai.completion.0.finish_reason": "stop",
            },
        )
        for n, (question, answer) in enumerate(CHATS[:2])
    ]
    listed = json.dumps([{"type": "text", "text": "Rain in Paris?"}])
    called = {
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": listed,
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.finish_reason": "tool_calls",
        "gen_ai.completion.0.tool_calls.0.id": "c1",
        "gen_ai.completion.0.tool_calls.0.name": "get_weather",
        "gen_ai.completion.0.tool_calls.0.arguments": '{"city": "Paris"}',
    }
    inference = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-6",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.contents.0.message_content.type": "text",
        "llm.input_messages.0.message.contents.0.message_content.text": CHATS[2][0],
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": CHATS[2][1],
    }
    return [spans(*made, span(8, called), span(9, inference, [JUDGED]))]


def span_events() -> list[dict[str, Any]]:
    """Return spans whose messages are events, as conventions up to 1.36 have them, and as those before."""
    made = [
        span(
            n,
            {"gen_ai.operation.name": "chat", "gen_ai.system": "openai"},
            [
                event("gen_ai.system.message", {"content": "Be brief."}),
                event("gen_ai.user.message", {"content": question}),
                event(
                    "gen_ai.choice",
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": json.dumps({"role": "assistant", "content": answer}),
                    },
                ),
            ],
        )
        for n, (question, answer) in enumerate(CHATS[:2])
    ]
    question, answer = CHATS[2]
    older = [
        event("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps(chat(question))}),
        event(
            "gen_ai.content.completion", {"gen_ai.completion": json.dumps([{"role": "assistant", "content": answer}])}
        ),
    ]
    return [spans(*made, span(3, {"gen_ai.operation.name": "chat"}, [*older, JUDGED]))]


def log_records() -> list[dict[str, Any]]:
    """Return log records: an event a message, and the event that holds all of a call."""
    records = []
    for n, (question, answer) in enumerate(CHATS[:2]):
        for name, body in (
            ("gen_ai.user.message", {"content": question}),
            (
                "gen_ai.choice",
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}},
            ),
        ):
            records.append(
                {
                    "traceId": "a",
                    "spanId": f"b{n}",
                    "body": otlp_value(body),
                    "attributes": otlp_pairs({"event.name": name, "gen_ai.system": "openai"}),
                }
            )
    question, answer = CHATS[2]
    details = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": [parts("user", text(question))],
        "gen_ai.output.messages": [parts("assistant", text(answer), finish_reason="stop")],
    }
    records.append(
        {"spanId": "b2", "eventName": "gen_ai.client.inference.operation.details", "attributes": otlp_pairs(details)}
    )
    records.append({"spanId": "b2", "eventName": "gen_ai.evaluation.result", "attributes": JUDGED["attributes"]})
    return [{"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}]


# --- Langfuse -----------------------------------------------------------------------------------------------------


def score(n: int, value: Any, kind: str = "BOOLEAN", name: str = "user-feedback", **more: Any) -> dict[str, Any]:
    """Return a score of Langfuse's first version of the API."""
    return {
        "id": f"s{n}",
        "traceId": f"t{n}",
        "name": name,
        "source": "API",
        "observationId": None,
        "timestamp": "2026",
        "createdAt": "2026",
        "updatedAt": "2026",
        "value": value,
        "dataType": kind,
        **more,
    }


def trace(n: int, question: Any, answer: Any, *scores: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a trace of Langfuse in full."""
    return {
        "id": f"t{n}",
        "timestamp": "2026-01-01T00:00:00Z",
        "name": "chat",
        "input": question,
        "output": answer,
        "sessionId": f"s{n}",
        "release": None,
        "version": None,
        "userId": "u@example.com",
        "metadata": {"a": 1},
        "tags": ["prod"],
        "public": False,
        "environment": "default",
        "htmlPath": "/t",
        "latency": 1.0,
        "totalCost": 0.1,
        "observations": [],
        "scores": list(scores),
        **more,
    }


def langfuse_traces() -> list[dict[str, Any]]:
    """Return traces whose input and output have the shapes that the integrations write."""
    (card, way), (close, done), (pin, guess) = CHATS
    said = {"role": "assistant", "content": done}
    generation = {
        "id": "o5",
        "traceId": "t5",
        "type": "GENERATION",
        "startTime": "2026",
        "model": "gpt-6",
        "input": chat(card),
        "output": {"role": "assistant", "content": way},
    }
    human = {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", "HumanMessage"],
        "kwargs": {"content": card, "type": "human"},
    }
    ai = {"type": "ai", "content": way, "additional_kwargs": {}, "response_metadata": {"finish_reason": "stop"}}
    return [
        trace(0, card, way, score(0, 1, stringValue="True"), score(0, 812.0, "NUMERIC", "latency")),
        trace(1, chat(close, "Be brief."), said),
        trace(2, {"messages": chat(pin)}, {"role": "assistant", "content": guess}, score(2, 0, stringValue="False")),
        trace(3, json.dumps(chat(close)), json.dumps(said)),
        trace(
            4,
            {"args": [], "kwargs": {"question": card}},
            {"messages": [*chat(card), {"role": "assistant", "content": way}]},
        ),
        trace(5, None, None, observations=[generation]),
        trace(6, [[human]], {"generations": [[{"text": way, "message": ai}]]}),
        trace(7, {"question": card, "context": "Cards take a day."}, {"status": "sent", "days": 1}),
        trace(8, chat(pin), guess, score(8, 0, "CORRECTION", "output", stringValue="I can't see your PIN.")),
        trace(9, chat(pin), guess, score(9, 0, "CATEGORICAL", "review", stringValue="bad", source="ANNOTATION")),
        trace(10, chat(close), [said]),
        trace(11, chat(close), completion(done)),
    ]


def observation(n: int, question: Any, answer: Any, **more: Any) -> dict[str, Any]:
    """Return an observation of Langfuse."""
    return {
        "id": f"o{n}",
        "traceId": f"t{n}",
        "type": "GENERATION",
        "name": "llm",
        "startTime": "2026",
        "endTime": "2026",
        "model": "gpt-6",
        "modelParameters": {},
        "input": question,
        "output": answer,
        "metadata": {},
        "level": "DEFAULT",
        "statusMessage": None,
        "parentObservationId": None,
        "usageDetails": {"input": 1},
        **more,
    }


def langfuse_observations() -> list[dict[str, Any]]:
    """Return observations: generations, a span, and a call that failed."""
    rows = [
        observation(n, chat(question), {"role": "assistant", "content": answer})
        for n, (question, answer) in enumerate(CHATS)
    ]
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
        ],
    }
    return [
        *rows,
        observation(3, {"messages": chat("Rain?"), "tools": [TOOL]}, called),
        observation(4, "a", "b", type="SPAN"),
        observation(5, chat("a"), None, level="ERROR"),
    ]


# --- LangSmith ----------------------------------------------------------------------------------------------------


def run(n: int, kind: str, inputs: Any, outputs: Any, **more: Any) -> dict[str, Any]:
    """Return a run of LangSmith."""
    extra = {"metadata": {"ls_model_name": "gpt-6", "thread_id": f"th{n}"}}
    return {
        "id": f"r{n}",
        "name": "ChatOpenAI",
        "start_time": "2026",
        "run_type": kind,
        "end_time": "2026",
        "extra": extra,
        "error": None,
        "inputs": inputs,
        "outputs": outputs,
        "parent_run_id": None,
        "tags": [],
        "trace_id": f"r{n}",
        "dotted_order": "",
        "feedback_stats": None,
        "status": "success",
        "session_id": "p",
        **more,
    }


def lc(kind: str, content: Any, **more: Any) -> dict[str, Any]:
    """Return a message as LangChain serialises it."""
    return {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", kind],
        "kwargs": {"content": content, "type": kind[:-7].lower(), **more},
    }


def langsmith_runs() -> list[dict[str, Any]]:
    """Return runs of models within chains: of LangChain, and of the wrapped clients of OpenAI and Anthropic."""
    rows: list[dict[str, Any]] = []
    for n, (question, answer) in enumerate(CHATS):
        stats = {"user_score": {"n": 1, "avg": float(n != 2), "comments": []}} if n else None
        rows.append(run(10 + n, "chain", {"question": question}, {"output": answer}, feedback_stats=stats))
        generation = {
            "text": answer,
            "type": "ChatGeneration",
            "generation_info": {"finish_reason": "stop"},
            "message": lc("AIMessage", answer),
        }
        inputs = {"messages": [[lc("SystemMessage", "Be brief."), lc("HumanMessage", question)]]}
        inner = {"parent_run_id": f"r{10 + n}", "trace_id": f"r{10 + n}"}
        rows.append(run(20 + n, "llm", inputs, {"generations": [[generation]], "llm_output": {}, "run": None}, **inner))
    calls = [{"name": "get_weather", "args": {"city": "Paris"}, "id": "c1", "type": "tool_call"}]
    agent = [
        [
            lc("HumanMessage", "Rain?"),
            lc("AIMessage", "", tool_calls=calls),
            lc("ToolMessage", "rainy", tool_call_id="c1"),
        ]
    ]
    rows.append(
        run(30, "llm", {"messages": agent}, {"generations": [[{"text": "Yes.", "message": lc("AIMessage", "Yes.")}]]})
    )
    wrapped = {"messages": chat("Hi"), "model": "gpt-6", "temperature": 0}
    rows.append(run(31, "llm", wrapped, {**completion("Hello."), "usage_metadata": {}}))
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello you."}],
        "stop_reason": "end_turn",
    }
    rows.append(run(32, "llm", {"messages": chat("Hi you", "Be kind."), "max_tokens": 9}, message))
    rows.append(run(33, "llm", wrapped, None, error="RateLimitError()"))
    return rows


# --- OpenAI and Anthropic -----------------------------------------------------------------------------------------


def stored() -> list[dict[str, Any]]:
    """Return stored completions with their messages; the last was fetched without them."""
    rows = [
        {
            **completion(answer, n),
            "messages": [{"id": f"m{n}", **chat(question)[0], "content_parts": None}],
            "metadata": {"feedback": "thumbs_down"} if n == 2 else {},
        }
        for n, (question, answer) in enumerate(CHATS)
    ]
    return [*rows, completion("x", 9)]


def batch() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the results of a batch, in another order than its requests, and the requests."""
    requests = [
        {
            "custom_id": f"q{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gpt-6", "messages": chat(question)},
        }
        for n, (question, _) in enumerate(CHATS)
    ]
    results = [
        {
            "id": f"b{n}",
            "custom_id": f"q{n}",
            "error": None,
            "response": {"status_code": 200, "request_id": "r", "body": completion(answer)},
        }
        for n, (_, answer) in reversed([*enumerate(CHATS)])
    ]
    failed = {
        "id": "b9",
        "custom_id": "q0",
        "response": {"status_code": 429, "body": {"error": {"message": "slow"}}},
        "error": None,
    }
    return [*results, failed], requests


def anthropic_batch() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the results of a batch of Anthropic, and its requests."""
    requests = [
        {
            "custom_id": f"q{n}",
            "params": {"model": "claude", "max_tokens": 9, "system": "Be brief.", "messages": chat(question)},
        }
        for n, (question, _) in enumerate(CHATS)
    ]
    results: list[dict[str, Any]] = [
        {"custom_id": f"q{n}", "result": {"type": "succeeded", "message": anthropic_message(answer)}}
        for n, (_, answer) in enumerate(CHATS)
    ]
    return [*results, {"custom_id": "q1", "result": {"type": "errored", "error": {"type": "error"}}}], requests


def anthropic_message(answer: str) -> dict[str, Any]:
    """Return a response of Anthropic."""
    return {
        "id": "msg",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1},
        "content": [{"type": "text", "text": answer}],
    }


def evals() -> list[dict[str, Any]]:
    """Return the items of a run of the hosted evaluations."""
    return [
        {
            "object": "eval.run.output_item",
            "id": f"o{n}",
            "created_at": 1,
            "run_id": "r",
            "eval_id": "e",
            "status": "pass",
            "datasource_item_id": n,
            "datasource_item": {"question": question, "label": answer},
            "results": [{"name": "match", "type": "string-check-grader", "passed": n != 2, "score": float(n != 2)}],
            "sample": {
                "input": chat(question, "Be brief."),
                "output": [{"role": "assistant", "content": answer}],
                "finish_reason": "stop",
                "model": "gpt-6",
                "error": None,
                "usage": {},
                "seed": 1,
            },
        }
        for n, (question, answer) in enumerate(CHATS)
    ]


def anthropic_logs() -> list[dict[str, Any]]:
    """Return requests and responses of Anthropic, with calls of tools."""
    tools = [{"name": "get_weather", "description": "d", "input_schema": {"type": "object", "properties": {}}}]
    use = {"type": "tool_use", "id": "tu1", "name": "get_weather", "input": {"city": "Paris"}}
    back = {"type": "tool_result", "tool_use_id": "tu1", "content": [{"type": "text", "text": "rainy"}]}
    asked = [{"role": "user", "content": [{"type": "text", "text": "Rain?"}]}]
    called = {
        **anthropic_message(""),
        "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, use],
        "stop_reason": "tool_use",
    }
    after = [*asked, {"role": "assistant", "content": [use]}, {"role": "user", "content": [back]}]
    head = {"model": "claude", "max_tokens": 9, "system": [{"type": "text", "text": "Be brief."}], "tools": tools}
    return [
        {"request": {**head, "messages": asked}, "response": called},
        {"request": {**head, "messages": after}, "response": anthropic_message("Yes."), "feedback": {"thumbs": "up"}},
        {"request": {**head, "messages": asked}, "response": anthropic_message("No."), "feedback": {"score": 0}},
    ]


def anthropic_conversations() -> list[dict[str, Any]]:
    """Return conversations with the calls of tools within, the system prompt beside them."""
    use = {"type": "tool_use", "id": "tu1", "name": "get_weather", "input": {"city": "Paris"}}
    back = {"type": "tool_result", "tool_use_id": "tu1", "content": "rainy"}
    turns = [
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [back]},
        {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
    ]
    return [
        {"system": "Be brief.", "messages": turns},
        {"messages": [*chat("Hi"), {"role": "assistant", "content": "Hello."}]},
    ]


# --- preferences --------------------------------------------------------------------------------------------------


def preferences() -> list[dict[str, Any]]:
    """Return pairs in the forms of TRL, OpenAI, LLaMA-Factory and HH-RLHF, and one without a preference."""
    (card, way), (close, done), _ = CHATS

    def said(words: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": words}]

    return [
        {"prompt": card, "chosen": way, "rejected": "No idea."},
        {"prompt": chat(close), "chosen": said(done), "rejected": said("No.")},
        {"chosen": [*chat(card), *said(way)], "rejected": [*chat(card), *said("No.")]},
        {
            "input": {"messages": chat(close), "tools": [], "parallel_tool_calls": True},
            "preferred_output": said(done),
            "non_preferred_output": said("No."),
        },
        {
            "conversations": [{"from": "human", "value": card}],
            "chosen": {"from": "gpt", "value": way},
            "rejected": {"from": "gpt", "value": "No."},
        },
        {"chosen": f"\n\nHuman: {close}\n\nAssistant: {done}", "rejected": f"\n\nHuman: {close}\n\nAssistant: No."},
        {"prompt": card, "chosen": way, "rejected": way},
    ]


_QUESTIONS = [answer for _, answer in CHATS]
_WAY, _DONE = _QUESTIONS[:2]


def litellm_payloads() -> list[dict[str, Any]]:
    """Return calls through LiteLLM: answered, mirrored beside, failed, and logged without their texts."""
    rows = []
    for n, (question, answer) in enumerate(CHATS):
        for silent in (False, True) if n == 0 else (False,):
            rows.append({
                "id": f"chatcmpl-{n}", "trace_id": f"t{n}", "session_id": f"s{n}", "call_type": "acompletion",
                "status": "success", "startTime": 1.0, "endTime": 2.0, "model": "gpt-6", "model_group": "production",
                "messages": chat(question, "Be brief."), "response": completion("other" if silent else answer, n),
                "metadata": {"is_silent_experiment": silent, "requester_metadata": {"tenant": "t", "headers": {}}},
                "model_parameters": {"temperature": 0.1},
            })  # fmt: skip
    hidden = "redacted-by-litellm"
    rows.append({**rows[0], "messages": chat(hidden), "response": completion(hidden)})
    return [*rows, {**rows[0], "status": "failure", "response": None, "error_str": "Timeout"}]


_BATCH, _ANTHROPIC_BATCH = batch(), anthropic_batch()


def inspect_samples() -> list[dict[str, Any]]:
    """Samples of an Inspect log: marked C and I with a target, and marked C, I and 1.0 without one."""
    return [
        {"id": n, "epoch": 1, "input": question if n % 2 else chat(question), "target": target, "messages": [],
         "output": {"model": "m", "choices": [{"message": {"role": "assistant", "content": answer},
                                               "stop_reason": "stop"}], "completion": answer},
         "scores": {"match": {"value": mark, "answer": answer}}, "metadata": {}}
        for n, (question, target, answer, mark) in enumerate([
            ("2+2?", "4", "4", "C"), ("Capital of France?", "Paris", "It is Rome.", "I"),
            ("3+3?", ["6", "six"], "7", "I"), (CHATS[0][0], "", CHATS[0][1], "C"),
            (CHATS[1][0], "", CHATS[1][1], 1.0), (CHATS[2][0], "", CHATS[2][1], "I")])
    ]  # fmt: skip


def promptfoo_results() -> list[dict[str, Any]]:
    """Results of promptfoo: passed, failed, failed with the right answer, and without an answer."""
    rows = [
        (_WAY, True, []),
        ("No.", False, []),
        ("No.", False, [{"type": "equals", "value": _DONE}]),
        (None, False, []),
    ]
    return [
        {"id": str(n), "promptIdx": 0, "testIdx": n, "testCase": {"vars": {"q": str(n)}, "assert": asserted},
         "provider": {"id": "openai:gpt-6"}, "prompt": {"raw": json.dumps(chat(f"Answer {n}")), "label": "p"},
         "vars": {"q": str(n)}, "response": {"output": answer} if answer else {"error": "timeout"}, "success": passed,
         "score": float(passed), "gradingResult": {"pass": passed}, "failureReason": 0}
        for n, (answer, passed, asserted) in enumerate(rows)
    ]  # fmt: skip


def lm_eval_samples() -> list[dict[str, Any]]:
    """Samples of the harness: written answers right and wrong, a choice, and without a target passed and failed."""

    def sample(n: int, doc: Any, target: str, requests: list[Any], answers: list[Any], **metric: Any) -> dict[str, Any]:
        arguments = {f"gen_args_{i}": {"arg_0": a, "arg_1": b} for i, (a, b) in enumerate(requests)}
        return {"doc_id": n, "doc": doc, "target": target, "arguments": arguments, "resps": [[one] for one in answers],
                "filtered_resps": answers, "filter": "none", "metrics": list(metric), **metric}  # fmt: skip

    until, scored = {"until": ["Q:"]}, [["-1.2", "False"], ["-0.2", "True"]]
    return [
        sample(0, {"answer": "4"}, "4", [("Q: 2+2?\nA:", until)], [" 4"], exact_match=1.0),
        sample(1, {"answer": "0"}, "0", [("Q: 2-2?\nA:", until)], [" 5"], exact_match=0.0),
        sample(2, {"label": 1}, "1", [("Q: 2+2?\nA:", " 3"), ("Q: 2+2?\nA:", " four")], scored, acc=0.0),
        sample(3, {"prompt": "w"}, "0", [("Write.", {})], ["A text."], prompt_level_strict_acc=True),
        sample(4, {"prompt": "w"}, "0", [("Write more.", {})], ["Bad."], prompt_level_strict_acc=False),
    ]


def mlflow_traces(*, expected: bool = False) -> list[dict[str, Any]]:
    """Traces of MLflow 3: a chain around a call of a model; the last is disliked, or has the right answer."""

    def one(n: int, question: str, answer: str) -> dict[str, Any]:
        said = [{"assessment_name": "helpful", "feedback": {"value": n != 2}, "source": {"source_type": "HUMAN"}}]
        if expected and n == 2:
            said.append({"assessment_name": "expected_response", "expectation": {"value": "I may not say."}})

        def part(name: str, kind: str, outer: str | None, asked: Any, said: Any) -> dict[str, Any]:
            return {"trace_id": "x", "span_id": name, "parent_span_id": outer, "name": name,
                    "start_time_unix_nano": 1, "end_time_unix_nano": 2, "events": [],
                    "status": {"code": "STATUS_CODE_OK", "message": ""},
                    "attributes": {"mlflow.spanType": json.dumps(kind), "mlflow.spanInputs": json.dumps(asked),
                                   "mlflow.spanOutputs": json.dumps(said)}}  # fmt: skip

        request = {"model": "gpt-6", "messages": chat(question, "Be brief.")}
        return {"info": {"trace_id": f"tr-{n}", "state": "OK", "trace_metadata": {}, "tags": {}, "assessments": said},
                "data": {"spans": [part("a", "CHAIN", None, {"question": question}, answer),
                                   part("b", "CHAT_MODEL", "a", request, completion(answer))]}}  # fmt: skip

    return [one(n, *pair) for n, pair in enumerate(CHATS)]


def mlflow_table() -> list[dict[str, Any]]:
    """Rows of MLflow's data frame, whose other cells are Python's own text."""
    return [{"trace_id": one["info"]["trace_id"], "trace": json.dumps(one), "state": "OK", "request": "{}",
             "trace_metadata": "{}", "spans": "[{'a': 1}]"} for one in mlflow_traces()]  # fmt: skip


def braintrust(n: int, kind: str, asked: Any, said: Any, root: str = "", **more: Any) -> dict[str, Any]:
    return {"id": f"e{n}", "_xact_id": "1", "created": "2026-01-01", "project_id": "p", "span_id": f"s{n}",
            "root_span_id": root or f"s{n}", "span_attributes": {"name": "n", "type": kind}, "is_root": not root,
            "input": asked, "output": said, "expected": None, "scores": None, "error": None, **more}  # fmt: skip


def weave(n: int, name: str, asked: Any, said: Any, trace: str = "", **more: Any) -> dict[str, Any]:
    return {"id": f"c{n}", "op_name": f"weave:///e/p/op/{name}:abc", "trace_id": trace or f"c{n}",
            "parent_id": trace or None, "started_at": "2026-01-01", "ended_at": "2026-01-01", "exception": None,
            "inputs": asked, "output": said, "summary": {"weave": {"feedback": []}}, **more}  # fmt: skip


def weave_calls() -> list[dict[str, Any]]:
    """Functions around calls of OpenAI; the last is disliked, and one is part of an evaluation."""
    rows = []
    for n, (question, answer) in enumerate(CHATS):
        reaction = [{"feedback_type": "wandb.reaction.1", "payload": {"emoji": "👎"}}] if n == 2 else []
        request = {"self": {"_type": "x"}, "model": "gpt-6", "messages": chat(question)}
        rows += [weave(n, "predict", {"q": question}, answer, summary={"weave": {"feedback": reaction}}),
                 weave(n + 10, "openai.chat.completions.create", request, completion(answer), f"c{n}")]  # fmt: skip
    evaluation = [
        weave(20, "Evaluation.evaluate", {"self": {}}, {}),
        weave(21, "openai.chat.completions.create", {"messages": chat("q")}, completion("a"), "c20"),
    ]
    return rows + evaluation


def phoenix(*, flat: bool) -> list[dict[str, Any]]:
    """Spans of Phoenix: a chain, calls of a model, and a failed one; nested as by the client, or as columns."""
    rows: list[dict[str, Any]] = []
    for n, (question, answer) in enumerate((("q", "chained"), *CHATS)):
        kind, status = "LLM" if n else "CHAIN", "ERROR" if n == 3 else "OK"
        asked, said = chat(question, "Be brief."), [{"role": "assistant", "content": answer}]
        about = {"name": "x", "span_kind": kind, "status_code": status, "start_time": "2026-01-01T00:00:00+00:00"}
        if flat:
            flat_turns = [
                [{f"message.{key}": item for key, item in turn.items()} for turn in turns] for turns in (asked, said)
            ]
            rows.append({**about, "context.span_id": f"s{n}", "context.trace_id": "t", "attributes.input.value": "{}",
                         "attributes.llm.input_messages": flat_turns[0] if n else None,
                         "attributes.llm.output_messages": flat_turns[1] if n else None,
                         "attributes.openinference.span.kind": kind})  # fmt: skip
        else:
            llm = {"model_name": "gpt-6", "input_messages": [{"message": turn} for turn in asked],
                   "output_messages": [{"message": turn} for turn in said]}  # fmt: skip
            own = {"input": {"value": question}, "output": {"value": answer}, **({"llm": llm} if n else {})}
            rows.append({**about, "context": {"span_id": f"s{n}", "trace_id": "t"}, "attributes": own, "events": []})
    return rows


def helicone() -> list[dict[str, Any]]:
    return [
        {"request_id": str(n), "request_body": {"model": "gpt-6", "messages": chat(question)},
         "response_body": completion(answer), "feedback_rating": None if n == 0 else n != 2}
        for n, (question, answer) in enumerate(CHATS)
    ]  # fmt: skip


EXPORTS = [
    Export(
        "inspect",
        "inspect_log",
        "Inspect log",
        [{"version": 2, "eval": {}, "samples": inspect_samples()}],
        ["4", "Paris", "6", _WAY, _DONE],
        3,
        ["thumbs_down"],
        suffix=".json",
    ),
    Export(
        "promptfoo",
        "promptfoo_results",
        "promptfoo results",
        [{"evalId": "e", "results": {"version": 3, "prompts": [], "results": promptfoo_results()}}],
        [_WAY, _DONE],
        2,
        ["thumbs_down", "no_response"],
        suffix=".json",
    ),
    Export(
        "lm_eval",
        "lm_eval",
        "lm-evaluation-harness samples",
        lm_eval_samples(),
        ["4", "0", "four", "A text."],
        2,
        ["thumbs_down"],
    ),
    Export(
        "mlflow", "mlflow", "MLflow traces", mlflow_traces(), [_WAY, _DONE], 3, ["no_model_call"] * 3 + ["thumbs_down"]
    ),
    Export(
        "mlflow_expected",
        "mlflow",
        "MLflow traces",
        mlflow_traces(expected=True),
        [_WAY, _DONE, "I may not say."],
        2,
        ["no_model_call"] * 3,
    ),
    Export(
        "mlflow_table",
        "mlflow",
        "MLflow traces",
        mlflow_table(),
        [_WAY, _DONE],
        3,
        ["no_model_call"] * 3 + ["thumbs_down"],
    ),
    Export(
        "braintrust",
        "braintrust",
        "Braintrust logs",
        [
            row
            for n, (q, a) in enumerate(CHATS)
            for row in (
                braintrust(n, "task", q, a, scores={"rated": n != 2}),
                braintrust(n + 10, "llm", chat(q), [completion(a)["choices"][0]], f"s{n}"),
            )
        ],
        [_WAY, _DONE],
        3,
        ["no_model_call"] * 3 + ["thumbs_down"],
    ),
    Export(
        "braintrust_experiment",
        "braintrust",
        "Braintrust logs",
        [
            braintrust(0, "eval", "2+2?", "5", expected="4", scores={"Exact": 0}),
            braintrust(1, "llm", chat("2+2?"), "5", "s0"),
            braintrust(2, "eval", "1+1?", "3", scores={"Exact": 0}),
        ],
        ["4"],
        1,
        ["no_model_call", "thumbs_down"],
    ),
    Export(
        "weave",
        "weave",
        "W&B Weave calls",
        weave_calls(),
        [_WAY, _DONE],
        2,
        ["no_model_call"] * 4 + ["thumbs_down", "unclear_feedback"],
    ),
    Export(
        "opik",
        "opik",
        "Opik traces",
        [
            {
                "id": str(n),
                "name": "n",
                "start_time": "2026",
                "input": {"messages": chat(q)},
                "output": completion(a),
                "feedback_scores": [{"name": "helpful", "value": float(n != 2)}],
            }
            for n, (q, a) in enumerate(CHATS)
        ],
        [_WAY, _DONE],
        3,
        ["thumbs_down"],
    ),
    Export("phoenix_nested", "otel", "OpenTelemetry export", phoenix(flat=False), [_WAY, _DONE], 0, ["failed_request"]),
    Export("phoenix_flat", "otel", "OpenTelemetry export", phoenix(flat=True), [_WAY, _DONE], 0, ["failed_request"]),
    Export(
        "otel_current",
        "otel",
        "OpenTelemetry export",
        current_spans(),
        [_WAY, _DONE, "Yes."],
        1,
        ["thumbs_down", "no_messages"],
    ),
    Export(
        "otel_numbered",
        "otel",
        "OpenTelemetry export",
        numbered_spans(),
        [_WAY, _DONE, "get_weather"],
        1,
        ["thumbs_down"],
        suffix=".json",
    ),
    Export("otel_events", "otel", "OpenTelemetry export", span_events(), [_WAY, _DONE], 1, ["thumbs_down"]),
    Export(
        "otel_logs", "otel", "OpenTelemetry export", log_records(), [_WAY, _DONE], 1, ["thumbs_down"], suffix=".json"
    ),
    Export(
        "langfuse_traces",
        "langfuse",
        "Langfuse export",
        langfuse_traces(),
        [_WAY, _DONE, _DONE, _WAY, _WAY, _WAY, '{"status":"sent","days":1}', "I can't see your PIN.", _DONE, _DONE],
        4,
        ["thumbs_down", "thumbs_down"],
    ),
    Export(
        "langfuse_page",
        "langfuse",
        "Langfuse export",
        [{"data": langfuse_traces()[:3], "meta": {"page": 1}}],
        [_WAY, _DONE],
        2,
        ["thumbs_down"],
        suffix=".json",
    ),
    Export(
        "langfuse_observations",
        "langfuse_observations",
        "Langfuse export",
        langfuse_observations(),
        [_WAY, _DONE, "get_weather"],
        1,
        ["thumbs_down", "no_model_call", "failed_request"],
        [score(2, 0, stringValue="False"), score(1, 5, "NUMERIC", "cost")],
    ),
    Export(
        "langsmith",
        "langsmith",
        "LangSmith runs",
        langsmith_runs(),
        [_WAY, _DONE, "Yes.", "Hello.", "Hello you."],
        2,
        ["no_model_call", "no_model_call", "no_model_call", "thumbs_down", "failed_request"],
    ),
    Export(
        "langsmith_feedback",
        "langsmith",
        "LangSmith runs",
        langsmith_runs()[-3:-1],
        ["Hello."],
        1,
        ["thumbs_down"],
        [
            {
                "id": "f",
                "run_id": "r32",
                "trace_id": "r32",
                "key": "user_score",
                "score": 0,
                "value": None,
                "comment": "no",
                "correction": None,
            }
        ],
    ),
    Export(
        "litellm",
        "litellm",
        "LiteLLM log",
        litellm_payloads(),
        [answer for _, answer in CHATS],
        0,
        ["mirrored", "no_messages", "failed_request"],
    ),
    Export(
        "openai_stored",
        "openai_stored",
        "OpenAI stored completions",
        stored(),
        [_WAY, _DONE],
        1,
        ["thumbs_down", "no_messages"],
    ),
    Export(
        "openai_batch", "batch_results", "batch results", _BATCH[0], _QUESTIONS[::-1], 0, ["failed_request"], _BATCH[1]
    ),
    Export(
        "anthropic_batch",
        "batch_results",
        "batch results",
        _ANTHROPIC_BATCH[0],
        _QUESTIONS,
        0,
        ["failed_request"],
        _ANTHROPIC_BATCH[1],
    ),
    Export("openai_evals", "openai_evals_run", "OpenAI Evals run", evals(), [_WAY, _DONE], 3, ["thumbs_down"]),
    Export(
        "anthropic_log",
        "anthropic",
        "Anthropic messages",
        anthropic_logs(),
        ["get_weather", "Yes."],
        2,
        ["thumbs_down"],
    ),
    Export("anthropic_messages", "anthropic", "Anthropic messages", anthropic_conversations(), ["Yes.", "Hello."]),
    Export(
        "preferences",
        "preference",
        "preference pairs",
        preferences(),
        [_WAY, _DONE, _WAY, _DONE, _WAY, _DONE],
        0,
        ["no_preference"],
    ),
    Export(
        "kto",
        "kto",
        "KTO rows",
        [{"prompt": q, "completion": a, "label": n != 2} for n, (q, a) in enumerate(CHATS)],
        [_WAY, _DONE],
        3,
        ["thumbs_down"],
    ),
]
