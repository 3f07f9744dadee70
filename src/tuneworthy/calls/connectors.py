"""Calls of a Langfuse or MLflow server in a file next to the project, fetched with the vendor's own client.

Invariants: requests only read, and go to the address of the environment; each filter is sent to the server or refused.
A call is in the file once, masked, in the form of the vendor's export. The progress names a page only after the pages
before it are on disk, so that a run killed anywhere repeats at most one page and loses nothing.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

from tuneworthy.calls.rows import RowMasker
from tuneworthy.cases.formats.values import at, dicts_at, first_at
from tuneworthy.errors import AuthError, OutsideFault, TuneworthyError, UserError
from tuneworthy.extras import require
from tuneworthy.redaction import remember
from tuneworthy.store import write_atomic
from tuneworthy.store.lines import end_line, exclusive, read_lines, sync
from tuneworthy.types import JsonObject, NamedTexts, Texts, content_hash, grouped

# Finished calls by identifier, which return their line, masked; and the cursor of the next page, "" on the last one.
Page = tuple[dict[str, Callable[[], JsonObject]], str]
# Variables that must be set, the address first; those of secrets; an example of the filters.
_SERVERS: dict[str, tuple[Texts, Texts, str]] = {
    "langfuse": (
        ("LANGFUSE_BASE_URL", "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"),
        ("LANGFUSE_SECRET_KEY",),
        "langfuse:name=tickets&tag=prod&from=2026-11-01&to=2026-12-01&score=helpful>=0.8",
    ),
    "mlflow": (
        ("MLFLOW_TRACKING_URI",),
        ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
        "mlflow:experiment=support&name=tickets&tag=env=prod&from=2026-11-01&to=2026-12-01&score=helpful>=0.8",
    ),
}
# The error of an HTTP status, else of its hundreds; 0 is a request without an answer, 200 an unreadable answer.
_AGAIN = "Wait a minute, then run the same command again: it continues."
_OTHER = (UserError, "answered, but not as such a server", "Check the address.")
_FAULTS: dict[int, tuple[type[TuneworthyError], str, str]] = {
    0: (OutsideFault, "did not answer", f"Check the address. {_AGAIN}"),
    200: _OTHER,
    300: _OTHER,
    400: (
        UserError,
        "refused the request",
        "Check address and filters. Langfuse 4 or MLflow 3 is needed.",
    ),
    401: (AuthError, "refused the keys", "Check the variables of the keys."),
    403: (AuthError, "refused the keys", "Check the variables of the keys."),
    429: (OutsideFault, "limits the rate of requests", _AGAIN),
    500: (OutsideFault, "failed", _AGAIN),
}
_SCORE = re.compile(r"(?P<name>[^<>=,]+)(?:(?P<sign>[<>]=)(?P<bound>-?\d+(?:\.\d+)?)|=(?P<value>[^<>=,]+))")
_STATUS = re.compile(r"status_code: (\d{3})|too many (\d{3}) error|error code (\d{3}) ")  # in errors of the clients
# A call can reach the server this long after it began: a later run searches so far back again.
LATE = timedelta(hours=1)
# Pages in a row without another call, from which a server is taken to repeat itself.
MAX_REPEATED = 100
# Of a request to Langfuse, seconds (MLflow's client has a limit of its own); then entries of a page.
TIMEOUT_S, SIZES = 60.0, {"calls": 200, "scores": 50, "traces": 100}
# Fields of an observation that are stored as they are, and those that are masked; fields of a span.
_PLAIN = ("id", "traceId", "parentObservationId", "type", "level", "startTime", "endTime", "usageDetails", "latency")
_TEXTS = ("name", "traceName", "sessionId", "tags", "model", "providedModelName", "modelParameters", "input", "output")
_SPAN = ("span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano", "status")


def parse_source(text: str) -> tuple[str, JsonObject] | None:
    """Return the server and the filters that a text names; None for a path.

    >>> parse_source("langfuse:name=tickets&tag=prod&tag=new"), parse_source("calls.jsonl")
    (('langfuse', {'name': 'tickets', 'tag': ['prod', 'new']}), None)

    Raises:
        UserError: A filter is unknown, set twice or malformed. The error quotes no value: it could be a key.
    """
    kind, is_source, query = text.partition(":")
    if not is_source or kind not in _SERVERS:
        return None
    filters, needed = dict[str, Any](), {"experiment"} if kind == "mlflow" else set[str]()
    try:
        given = grouped(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        filters = {name: values if name == "tag" else "".join(values) for name, values in given.items()}
        for name in {"from", "to"} & filters.keys():
            moment = datetime.fromisoformat(filters[name])
            filters[name] = moment.replace(tzinfo=moment.tzinfo or UTC)
        allowed, tags = {"name", "tag", "from", "to", "score", *needed}, given.get("tag", [])
        fits = needed <= filters.keys() <= allowed and "" not in [*filters.values(), *tags]
        fits &= all(len(values) == 1 or name == "tag" for name, values in given.items())
        fits &= bool(_SCORE.fullmatch(filters.get("score", "a=a")))
        if needed:  # the filters of MLflow are one text, and its tags have values
            fits &= all("=" in tag for tag in tags) and not re.search('["`]', unquote(query))
    except ValueError:
        fits = False
    if not fits:
        raise UserError(
            f"A filter of `{kind}:` is unknown, missing, set twice or malformed.",
            hint=f"Write, for example, `{_SERVERS[kind][2]}`.",
        )
    return kind, filters


def local_calls(text: str, folder: Path) -> tuple[Path, list[str]]:
    """Return the file of the calls that `text` names, and notes; new calls of a server are fetched into `folder` first.

    Raises:
        UserError: A filter is wrong, the client is not installed, or the server refused the request.
        OutsideFault: The server does not work; the next run continues.
    """
    source = parse_source(text)
    if source is None:
        return Path(text), []
    kind, filters = source
    variables, secrets, _ = _SERVERS[kind]
    require(kind)
    url, *_ = values = [os.environ.get(name, "") for name in variables]
    if "" in values or not url.startswith(("http://", "https://")):
        raise UserError(f"{', '.join(variables)} must be set, the address with http:// or https://.")
    for name in secrets:
        remember(os.environ.get(name, ""))
    path = folder / f"{kind}-{content_hash(text, 8)}.jsonl"
    with _OPENERS[kind](filters) as page_at, exclusive(path, mode=0o600) as file:
        end_line(file)
        ids = {str(first_at(row, "id", "info/trace_id")) for row in read_lines(path, JsonObject)}
        progress, n_before = path.with_suffix(".progress"), len(ids)
        since, until, cursor = _period(filters, progress if ids else None)
        for page, after in _pages(kind, partial(page_at, since, until), cursor):
            new = page.keys() - ids
            file.writelines(orjson.dumps(page[name](), option=orjson.OPT_APPEND_NEWLINE) for name in new)
            file.flush()
            sync(path)
            ids |= new
            write_atomic(progress, orjson.dumps((since, until, after)))
    return path, [f"{path}: {len(ids):,} calls or traces, {len(ids) - n_before:,} of them new."]


def _period(filters: JsonObject, progress: Path | None) -> tuple[datetime | None, datetime, str]:
    """Return the period to fetch and the cursor: the rest of a stopped run, else the time since the last one."""
    now, since = datetime.now(UTC), filters.get("from")
    if progress and progress.exists():
        begun, ended, cursor = orjson.loads(progress.read_bytes())
        until = datetime.fromisoformat(ended)
        if cursor:
            return datetime.fromisoformat(begun) if begun else None, until, cursor
        if "score" not in filters:  # a call is scored at any time, so its whole period is searched again
            since = max(until - LATE, since or until - LATE)
    return since, min(filters.get("to", now), now), ""


def _pages(kind: str, page_at: Callable[[str], Page], cursor: str = "") -> Iterator[Page]:
    """Yield the pages from `cursor` to the last one.

    A fault of the client becomes one of ours, without its text, which can quote keys and answers.

    Raises:
        OutsideFault: The server does not work, or repeats pages, so that there is no last one.
        UserError: It refused the request, or is another server.
    """
    seen, repeated, status = set[str](), 0, -1
    while status < 0:
        try:
            calls, cursor = page_at(cursor)
        except TuneworthyError:
            raise
        except Exception as error:
            status = _status(error)
            break
        yield calls, cursor
        if not cursor:
            return
        repeated = 0 if calls.keys() - seen else repeated + 1
        if repeated >= MAX_REPEATED:
            raise OutsideFault("The server sends the same pages again and again.", hint="Report it to its operator.")
        seen |= calls.keys()
    fault, why, hint = _FAULTS.get(status) or _FAULTS[min(status // 100 * 100, 500)]
    raise fault(f"The server at the address in {_SERVERS[kind][0][0]} {why} (status {status}).", hint=hint)


def _status(error: Any) -> int:
    """Return the HTTP status of a failed request: 0 without an answer, 200 if the answer is unreadable."""
    if found := _STATUS.search(str(error)):
        return int(found[found.lastindex or 0])
    causes = (error, error.__cause__ or error.__context__)
    if {type(one).__module__.partition(".")[0] for one in causes} & {"httpx", "requests"}:
        return 0
    return int(getattr(error, "get_http_status_code", lambda: 200)())


@contextmanager
def _langfuse(filters: JsonObject) -> Iterator[Callable[..., Page]]:
    """Open the log of a Langfuse server: its generations, as observations of the API."""
    from httpx import Client
    from langfuse.api import LangfuseAPI

    score = _SCORE.fullmatch(filters.get("score", ""))

    def observations(conditions: list[JsonObject], cursor: str) -> Page:
        found = api.observations.get_many(
            fields="core,basic,io,model,usage,metrics,trace_context",
            filter=orjson.dumps(conditions).decode(),
            limit=SIZES["calls"],
            cursor=cursor or None,
        )
        rows = [one.model_dump(mode="json") for one in found.data if one.end_time]
        return {row["id"]: partial(_observation, row) for row in rows}, found.meta.cursor or ""

    def page(since: datetime | None, until: datetime, cursor: str) -> Page:
        wanted: list[tuple[str, str, str, Any]] = [
            ("string", "type", "=", "GENERATION"),
            ("datetime", "startTime", "<", until),
            ("datetime", "startTime", ">=", since),
            ("string", "traceName", "=", filters.get("name")),
            ("arrayOptions", "tags", "all of", filters.get("tag")),
        ]
        conditions = [dict(zip(("type", "column", "operator", "value"), one, strict=True)) for one in wanted if one[3]]
        if not score:
            return observations(conditions, cursor)
        found = api.scores.get_many(**_wanted(score), fields="subject", limit=SIZES["scores"], cursor=cursor or None)
        calls: dict[str, Callable[[], JsonObject]] = {}
        for kind, column in {"trace": "traceId", "observation": "id", "session": "sessionId"}.items():
            ids = sorted({one.subject.id for one in found.data if one.subject and one.subject.kind == kind})
            chosen = {"type": "stringOptions", "column": column, "operator": "any of", "value": ids}
            for some, _ in _pages("langfuse", partial(observations, [*conditions, chosen])) if ids else ():
                calls |= some
        return calls, found.meta.cursor or ""

    with Client(timeout=TIMEOUT_S) as client:  # it follows no redirect
        url, public, secret = (os.environ[name] for name in _SERVERS["langfuse"][0])
        api = LangfuseAPI(base_url=url, username=public, password=secret, httpx_client=client)
        yield page


def _wanted(score: re.Match[str]) -> JsonObject:
    """Return the parameters of Langfuse's request for scores."""
    value, bound = score["value"], score["bound"]
    if bound:
        edge = "value_min" if score["sign"] == ">=" else "value_max"
        return {"name": score["name"], "data_type": "NUMERIC", edge: float(bound)}
    is_number, is_bool = re.fullmatch(r"-?\d+(\.\d+)?", value), value in {"true", "false"}
    kind = "NUMERIC" if is_number else "BOOLEAN" if is_bool else "CATEGORICAL"
    return {"name": score["name"], "data_type": kind, "value": value}


def _observation(row: JsonObject) -> JsonObject:
    """Return the stored fields of an observation, masked."""
    mask = RowMasker().mask
    texts = {key: mask(row[key], key) for key in _TEXTS if row.get(key) is not None}
    return {key: row[key] for key in _PLAIN if key in row} | texts


@contextmanager
def _mlflow(filters: JsonObject) -> Iterator[Callable[..., Page]]:
    """Open the log of an MLflow tracking server: its traces, as `Trace.to_dict` of its client."""
    # its usage statistics would go to another address, its seven tries take four minutes, and it logs answers
    os.environ |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3"),
    }
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    from mlflow.tracing.client import TracingClient

    client, score = TracingClient(os.environ["MLFLOW_TRACKING_URI"]), _SCORE.fullmatch(filters.get("score", ""))

    def page(since: datetime | None, until: datetime, cursor: str) -> Page:
        clauses = [
            f"timestamp_ms < {round(until.timestamp() * 1000)}",
            *([f"timestamp_ms >= {round(since.timestamp() * 1000)}"] if since else []),
            *([f'trace.name = "{filters["name"]}"'] if "name" in filters else []),
            *(f'tags.`{key}` = "{value}"' for key, _, value in (tag.partition("=") for tag in filters.get("tag", ()))),
        ]
        if score:
            compared = f"{score['sign']} {score['bound']}" if score["sign"] else f'= "{score["value"]}"'
            clauses.append(f"feedback.`{score['name']}` {compared}")
        experiment = client.store.get_experiment_by_name(filters["experiment"])
        if experiment is None:
            raise UserError("MLflow has no such experiment.", hint="Check its name and MLFLOW_TRACKING_URI.")
        infos, token = client.store.search_traces(
            locations=[experiment.experiment_id],
            filter_string=" AND ".join(clauses),
            max_results=SIZES["traces"],
            order_by=["timestamp_ms ASC"],
            page_token=cursor or None,
        )
        if outside := [info.trace_id for info in infos if not _is_on_server(info.tags)]:
            raise UserError(
                f"The spans of trace {outside[0]} are not on the tracking server.",
                hint="Export these traces to a file with `Trace.to_json`, or leave them out with `from`.",
            )
        finished = {info.trace_id: info.to_dict() for info in infos if info.state != "IN_PROGRESS"}
        whole = {one.info.trace_id: one.to_dict() for one in client.batch_get_traces([*finished])}
        # a trace that lost its spans is left out where the file is read, and counted there
        rows = {name: whole.get(name, {"info": info}) for name, info in finished.items()}
        return {name: partial(_trace, row) for name, row in rows.items()}, token or ""

    yield page


def _is_on_server(tags: NamedTexts) -> bool:
    """Whether the tracking server has the spans of a trace with these tags, and not a store with its own address."""
    return tags.get("mlflow.trace.spansLocation") in {"TRACKING_STORE", "ARCHIVE_REPO"} or bool(
        re.match("mlflow-artifacts:/(?!/)", tags.get("mlflow.artifactLocation", ""))
    )


def _trace(row: JsonObject) -> JsonObject:
    """Return the stored fields of a trace, masked."""
    mask = RowMasker().mask
    info = {key: at(row, f"info/{key}") for key in ("trace_id", "request_time", "state")} | {
        "trace_metadata": {"mlflow.trace.session": mask(at(row, "info/trace_metadata/mlflow.trace.session"))},
        "assessments": mask(at(row, "info/assessments")),
    }
    spans = [
        {key: at(span, key) for key in _SPAN} | {key: mask(at(span, key), key) for key in ("name", "attributes")}
        for span in dicts_at(row, "data/spans")
    ]
    return {"info": info, "data": {"spans": spans}}


_OPENERS = {"langfuse": _langfuse, "mlflow": _mlflow}
