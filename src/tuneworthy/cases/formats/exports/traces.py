"""Logs, traces and evaluations of LangSmith, LiteLLM, MLflow, Weave, Braintrust, Opik, Inspect, promptfoo and others.

Each row is brought to spans: of these, calls of models are read or, without any, the outermost spans. Scores of a span
are those of its trace. The answer to learn is the target, where there is one; then the outermost spans are read.

Sources: `Trace.to_json` and `Trace.to_pandas_dataframe_row` of mlflow 3.17.2, `ProjectLogsEvent` and `ExperimentEvent`
of braintrust 0.48.1, `CallSchema` of weave, `TracePublic` and `SpanPublic` of Opik's API, `EvalSample` of inspect-ai
0.3.285, `EvaluateResult` of promptfoo 0.123.1, `save_results_samples` of lm-eval, `StandardLoggingPayload` of litellm
1.110.2. With LiteLLM's mirrored traffic (`silent_model`), the answer of a model that no user saw is no example.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from tuneworthy.cases import messages
from tuneworthy.cases.formats.case_rows import inspect_fields
from tuneworthy.cases.formats.chats import is_chat
from tuneworthy.cases.formats.columns import parsed
from tuneworthy.cases.formats.example_rows import SAMPLING
from tuneworthy.cases.formats.logs import exchange, feedback
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS, Detect, Fields, Format, has, register
from tuneworthy.cases.formats.values import at, dict_at, dicts_at, first_at, list_at, seconds_between
from tuneworthy.cases.messages import DropReason
from tuneworthy.cases.readers.faults import Dropped, Journal
from tuneworthy.cases.readers.files import Rows
from tuneworthy.types import JsonObject

# Kinds and names of the calls of models.
_MODEL = re.compile(
    r"\W*(?:llm|chat_model|completion)\W*|.*\b(?:completions|responses|messages|chat)\.(?:create|parse|stream|complete)\b"
    r".*|.*generate_content.*",
    re.IGNORECASE,
)
# Inspect's marks of an answer (correct, incorrect, partly correct, no answer), and the score of a right one.
_MARKS = {"C": True, "I": False, "P": False, "N": False}
_PASSED = 0.5
_MAX_DEPTH = 50
# Replaces texts that LiteLLM was configured not to log.
_REDACTED = "redacted-by-litellm"


def passed(scores: Iterable[Any]) -> list[JsonObject]:
    """Return one score for marks, truth values and numbers from 0 to 1 (more is better); other scores say nothing.

    >>> passed(["C", 0.9]), passed([True, "I"]), passed([37.2])
    ([{'name': 'passed', 'value': True}], [{'name': 'passed', 'value': False}], [])
    """
    values = [_MARKS.get(str(score), score) for score in scores]
    known = [value >= _PASSED for value in values if isinstance(value, int | float) and 0 <= value <= 1]
    return [{"name": "passed", "value": all(known)}] if known else []


def _picked(row: Any, places: str) -> JsonObject:
    """Return the values at places of a row, by name.

    >>> _picked({"type": "llm", "start": {"at": 4}}, "kind=type time=start/at")
    {'kind': 'llm', 'time': 4}
    """
    return {name: at(row, path) for name, path in (place.split("=") for place in places.split())}


def _of_inspect(row: JsonObject) -> Iterator[JsonObject]:
    yield {
        "case": {key: row[key] for key in ("input", "choices", "target") if key in row},
        "output": at(row, "output"),
        "scores": passed(at(score, "value") for score in dict_at(row, "scores").values()),
    }


def _of_promptfoo(row: JsonObject) -> Iterator[JsonObject]:
    asserted = [at(one, "value") for one in dicts_at(row, "testCase/assert") if at(one, "type") == "equals"]
    yield {
        "input": first_at(row, "prompt/raw", "prompt"),
        "output": at(row, "response/output"),
        "target": next((value for value in asserted if "{{" not in str(value)), None),
        "scores": passed([at(row, "success")]),
    }


def _of_lm_eval(row: JsonObject) -> Iterator[JsonObject]:
    named, target = dict_at(row, "arguments"), str(at(row, "target") or "").strip()
    requests = [list(one.values()) for one in named.values() if isinstance(one, dict)] or list_at(row, "arguments")
    if target.isdecimal() and len(requests) > 1:  # the number of the right choice
        target = str(at(requests, f"{target}/1") or "").strip()
    elif target.isdecimal() and target not in map(str, dict_at(row, "doc").values()):
        target = ""  # tasks without a target have a number
    answers = [answer for answer in (at(row, "filtered_resps/0"), at(row, "resps/0/0")) if isinstance(answer, str)]
    yield {
        "input": at(requests, "0/0"),
        "output": answers[:1] or None,
        "target": target or None,
        "scores": passed(row.get(str(name)) for name in list_at(row, "metrics")),
    }


def _of_mlflow(row: JsonObject) -> Iterator[JsonObject]:
    whole = parsed(at(row, "trace")) if "trace" in row else row
    said = dicts_at(whole, "info/assessments") or dicts_at(whole, "assessments")
    targets = [at(one, "expectation/value") for one in said if "expectation" in one]
    scores = [{"name": at(one, "assessment_name"), "value": at(one, "feedback/value")} for one in said]
    meta = dict_at(whole, "info/trace_metadata") or dict_at(whole, "trace_metadata")
    session = at(meta, "mlflow.trace.session")
    for span in dicts_at(whole, "data/spans") or dicts_at(whole, "spans"):
        outer, status = first_at(span, "parent_span_id", "parent_id"), first_at(span, "status/code", "status_code")
        # any JSON as text
        cells = dict_at(span, "attributes").items()
        own = {key: at(parsed(f"[{cell}]"), "0") if isinstance(cell, str) else cell for key, cell in cells}
        asked, answer = at(own, "mlflow.spanInputs"), at(own, "mlflow.spanOutputs")
        yield {
            "kind": at(own, "mlflow.spanType"),
            "outer": outer,
            "input": asked,
            "output": answer,
            "error": "ERROR" in str(status),
            "target": targets[0] if targets and not outer else None,
            "trace": first_at(whole, "info/trace_id", "info/request_id", "trace_id"),
            "scores": scores,
            "about": _span_facts(span, own, asked, answer) | ({"group": session} if session else {}),
        }


def _span_facts(span: JsonObject, own: JsonObject, asked: Any, answer: Any) -> JsonObject:
    """Return model, usage, settings and time of a span of MLflow, whose attributes are `own`."""
    tokens = dict_at(own, "mlflow.chat.tokenUsage")
    begun, ended = at(span, "start_time_unix_nano"), at(span, "end_time_unix_nano")
    facts = {
        "model": at(own, "mlflow.llm.model"),
        "provider": at(own, "mlflow.llm.provider"),
        "tools": at(own, "mlflow.chat.tools"),
        "usage": at(answer, "usage")
        or {key: tokens[key] for key in ("input_tokens", "output_tokens") if key in tokens},
        "settings": {key: asked[key] for key in SAMPLING if key in asked} if isinstance(asked, dict) else None,
        "timestamp": begun / 1e9 if isinstance(begun, int) else None,
        "seconds": seconds_between(begun, ended),
    }
    return {key: value for key, value in facts.items() if value}


def _of_weave(row: JsonObject) -> Iterator[JsonObject]:
    said = [at(one, "payload/emoji") for one in dicts_at(row, "summary/weave/feedback") or dicts_at(row, "feedback")]
    unknown = ["?"] if "Evaluation." in str(at(row, "op_name")) else []
    yield {
        **_picked(row, "kind=op_name outer=parent_id output=output error=exception trace=trace_id"),
        "input": {key: value for key, value in dict_at(row, "inputs").items() if key != "self"},
        "scores": [{"name": "feedback", "value": one} for one in said + unknown if one in ("👍", "👎", "?")],
    }


def _of_braintrust(row: JsonObject) -> Iterator[JsonObject]:
    cells = {key: parsed(cell) for key, cell in row.items()}
    places = "kind=span_attributes/type input=input output=output target=expected error=error trace=root_span_id"
    yield {
        **_picked(cells, places),
        "outer": at(row, "span_id") != at(row, "root_span_id"),
        "scores": passed(dict_at(cells, "scores").values()),
    }


def _of_opik(row: JsonObject) -> Iterator[JsonObject]:
    yield {
        **_picked(row, "kind=type outer=trace_id input=input output=output error=error_info"),
        "trace": first_at(row, "trace_id", "id"),
        "scores": dicts_at(row, "feedback_scores"),
    }


def _of_langsmith(row: JsonObject, depth: int = 0) -> Iterator[JsonObject]:
    extra, stats, answer = (parsed(at(row, key)) for key in ("extra", "feedback_stats", "outputs"))
    metadata, asked = dict_at(extra, "metadata"), dict_at(extra, "invocation_params")
    columns = {key: at(row, key) for key in ("prompt_tokens", "completion_tokens") if at(row, key)}
    means = [(name, at(figures, "avg")) for name, figures in (stats.items() if isinstance(stats, dict) else ())]
    yield {
        **_picked(row, "kind=run_type outer=parent_run_id error=error id=id trace=trace_id"),
        "input": parsed(at(row, "inputs")),
        "output": answer,
        "scores": [{"name": name, "value": mean} for name, mean in means if mean is not None],
        "about": {
            **_picked(row, "name=name start_time=start_time"),
            "model": at(metadata, "ls_model_name"),
            "seconds": seconds_between(at(row, "start_time"), at(row, "end_time")),
            "usage": columns or first_at(answer, "llm_output/token_usage", "usage_metadata", "usage"),
            "settings": {key: asked[key] for key in SAMPLING if key in asked} or None,
            "group": first_at(metadata, "session_id", "thread_id", "conversation_id") or at(row, "trace_id"),
            "tags": parsed(at(row, "tags")) or None,
        },
    }
    for child in dicts_at(row, "child_runs") if depth < _MAX_DEPTH else ():
        yield from _of_langsmith(child, depth + 1)


def _of_litellm(row: JsonObject) -> Iterator[JsonObject]:
    question, response = at(row, "messages"), at(row, "response")
    texts = [
        *(question if isinstance(question, list) else [question])[-1:],
        first_at(response, "choices/0/message") or response,
    ]
    redacted = any(_REDACTED in (one, at(one, "content"), at(one, "text")) for one in texts)
    mirrored = at(row, "metadata/is_silent_experiment")
    yield {
        "kind": "llm",
        "input": {**dict_at(row, "model_parameters"), "messages": question},
        "output": response,
        "error": _MIRRORED if mirrored else messages.NO_CONTENT if redacted else at(row, "status") != "success",
        "about": {
            "model": at(row, "model"),
            "seconds": at(row, "response_time"),
            "usage": at(response, "usage"),
            "group": first_at(row, "session_id", "end_user"),
            # without the headers
            "metadata": {
                key: value
                for key, value in dict_at(row, "metadata/requester_metadata").items()
                if isinstance(value, str | int | float)
            }
            or None,
            "ended": at(row, "endTime"),
        },
    }


def _of_openai_evals(row: JsonObject) -> Iterator[JsonObject]:
    sample = dict_at(row, "sample")
    answer = first_at(sample, "output", "output_text", "choices")
    yield {
        "input": first_at(sample, "input") or first_at(row, "datasource_item", "item"),
        "output": {"choices": answer} if isinstance(answer, list) and not is_chat(answer) else answer,
        "error": at(sample, "error/code"),
        "scores": [{"name": "passed", "value": at(result, "passed")} for result in dicts_at(row, "results")],
        "about": _picked(sample, "model=model finish_reason=finish_reason"),
    }


def _langsmith_feedback(row: JsonObject) -> Iterator[tuple[str, Any]]:
    place, score = f"langsmith:{at(row, 'run_id')}", at(row, "score")
    yield place, {"name": at(row, "key"), "value": at(row, "value") if score is None else score}
    if (correction := parsed(at(row, "correction"))) is not None:
        yield place, {"correction": correction}


Spans = Callable[[JsonObject], Iterator[JsonObject]]


def _records(spans: Spans, rows: Rows, journal: Journal) -> Rows:
    return ((line, span) for line, row in rows for span in ([*spans(row)] or [{}] if row is not None else [None]))


def _facts(name: str, spans: Spans, row: JsonObject) -> Iterator[tuple[str, Any]]:
    for span in filter(lambda span: "trace" in span, spans(row)):
        yield f"{name}: {'target' if at(span, 'target') is not None else _is_model(span)}", True
        yield from ((f"{name}:{first_at(span, 'id', 'trace')}", score) for score in list_at(span, "scores"))


def _is_model(span: JsonObject) -> bool:
    return _MODEL.fullmatch(str(at(span, "kind"))) is not None


def _example(name: str, span: JsonObject, journal: Journal) -> Fields:
    by_kind = f"{name}: True" in journal.facts and f"{name}: target" not in journal.facts
    if not _is_model(span) if by_kind else at(span, "outer"):
        raise Dropped("the span is not a call of a model", "no_model_call")
    question, target, trace = at(span, "input"), at(span, "target"), at(span, "trace")
    about = {"group": trace, **dict_at(span, "about")}
    if "case" in span:
        case = inspect_fields(dict_at(span, "case"), journal)
        question, target = list(case.get("messages", ())) or at(case, "input"), at(case, "expected")
    target = target[0] if isinstance(target, list) and target else target
    if target not in (None, "", [], {}):
        journal.note("the target is the answer to learn, not the answer of the model")
        return exchange(
            question, [{"role": "assistant", "content": target}] if isinstance(target, str) else target, about
        )
    if error := at(span, "error"):
        raise Dropped(error if isinstance(error, DropReason) else messages.FAILED_REQUEST)
    said = feedback(journal, name, at(span, "id"), trace)
    about |= {**said, "scores": at(said, "scores") or at(span, "scores") or None}
    return exchange(question, at(span, "output"), about, api=name == "litellm")


_MIRRORED = DropReason("the answer is that of a mirrored model, which no user saw", "mirrored")
_TOOLS: list[tuple[str, str, str, Detect, Spans]] = [
    ("litellm", "LiteLLM log", "call", has("model_group messages response startTime"), _of_litellm),
    ("inspect_log", "Inspect log", "sample", has("input target scores output"), _of_inspect),
    ("promptfoo_results", "promptfoo results", "result", has("vars success prompt"), _of_promptfoo),
    ("lm_eval", "lm-evaluation-harness samples", "sample", has("doc_id resps target arguments"), _of_lm_eval),
    (
        "mlflow",
        "MLflow traces",
        "span",
        lambda keys, first: {"info", "data"} <= keys or {"trace_id", "trace_metadata", "spans"} <= keys,
        _of_mlflow,
    ),
    ("weave", "W&B Weave calls", "call", has("op_name started_at", some="inputs output"), _of_weave),
    ("braintrust", "Braintrust logs", "span", has("root_span_id span_id", some="input output"), _of_braintrust),
    ("langsmith", "LangSmith runs", "run", has("run_type", some="inputs outputs"), _of_langsmith),
    ("openai_evals_run", "OpenAI Evals run", "item", has("sample", some="datasource_item item"), _of_openai_evals),
    ("opik", "Opik traces", "span", has("feedback_scores start_time", some="input output"), _of_opik),
]
register(
    EXAMPLE_FORMATS,
    Format(
        name="langsmith_feedback",
        title="LangSmith feedback",
        unit="rating",
        detect=has("run_id key score"),
        convert=partial(_example, "langsmith"),
        facts=_langsmith_feedback,
        companion="Import the file with the runs together with it.",
    ),
    *(
        Format(
            name=name,
            title=title,
            unit=unit,
            detect=detect,
            convert=partial(_example, name),
            records=partial(_records, spans),
            facts=partial(_facts, name, spans),
        )
        for name, title, unit, detect, spans in _TOOLS
    ),
)
