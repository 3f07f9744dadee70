"""Calls of a Langfuse or MLflow server in a file next to the project, fetched with the vendor's own client.

Invariants: requests only read, and go to the address of the environment; each filter is sent to the server or refused.
A call is in the file once, masked, in the form of the vendor's export. The progress names a page only after the pages
before it are on disk, so that a run killed anywhere repeats at most one page and loses nothing.
"""

import logging
import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import orjson

from tuneworthy.calls.rows import RowMasker
from tuneworthy.cases.formats.values import at, first_at
from tuneworthy.errors import AuthError, OutsideFault, TuneworthyError, UserError
from tuneworthy.extras import require
from tuneworthy.redaction import remember
from tuneworthy.store import write_atomic
from tuneworthy.store.lines import end_line, exclusive, read_lines
from tuneworthy.text import count
from tuneworthy.types import JsonObject, NamedTexts, Texts, content_hash, grouped

T = TypeVar("T")
# Finished calls by identifier, and the cursor of the next page; None after the last one.
Page = tuple[dict[str, JsonObject], Any]
# Returns the page at a cursor, "" for the first one.
PageReader = Callable[[Any], Page]
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
        "Check address and filters. Langfuse has to be version 4, MLflow version 3.",
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
# Fields of an observation that are stored as they are, and those that are masked; then those of a span.
_PLAIN = ("id", "traceId", "parentObservationId", "type", "level", "startTime", "endTime", "usageDetails", "latency")
_TEXTS = ("name", "traceName", "sessionId", "tags", "model", "providedModelName", "modelParameters", "input", "output")
_SPAN = ("span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano", "status")
_FIELDS = "core,basic,io,model,usage,metrics,trace_context"


class FetchedCalls(NamedTuple):
    """A log on disk: its file, rows in it, and those that this run added."""

    path: Path
    n_rows: int
    n_new: int


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
    filters, needed = JsonObject(), {"experiment"} if kind == "mlflow" else set[str]()
    try:
        query = query.strip("&")
        given = grouped(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        filters = {name: values if name == "tag" else values[-1] for name, values in given.items()}
        for name in {"from", "to"} & filters.keys():
            moment = datetime.fromisoformat(filters[name])
            filters[name] = moment.replace(tzinfo=moment.tzinfo or UTC)
        fits = needed <= filters.keys() <= {"name", "tag", "from", "to", "score"} | needed
        fits = fits and all(map(all, given.values())) and not any(given[name][1:] for name in given if name != "tag")
        fits = fits and bool(_SCORE.fullmatch(filters.get("score", "a=a")))
        if needed:  # MLflow's filters are one text, whose tags have values
            fits = fits and not re.search('[`"]', "".join(map("".join, given.values())))
            fits = fits and all("=" in tag for tag in filters.get("tag", ()))
    except ValueError:
        fits = False
    if not fits:
        raise UserError(
            f"A filter of `{kind}:` is unknown, missing, set twice or malformed.",
            hint=f"Write, for example, `{_SERVERS[kind][2]}`.",
        )
    return kind, filters


def local_calls(source: str, folder: Path) -> tuple[Path, Texts]:
    """Return the file with the calls of a source, and notes; the log of a server is first fetched into `folder`.

    Raises:
        UserError: The source is malformed, or its server refuses the request.
        OutsideFault: The server does not work; another run continues.
    """
    if (parsed := parse_source(source)) is None:
        return Path(source), ()
    found = fetch_calls(*parsed, folder)
    return found.path, (f"{found.path}: {count(found.n_rows, 'row')}, {found.n_new} new.",)


def fetch_calls(kind: str, filters: JsonObject, folder: Path) -> FetchedCalls:
    """Fetch the calls of a server that are not in its file yet. See `local_calls` for the errors."""
    settings = _environment(kind)
    path = folder / f"{kind}-{content_hash([settings, filters], 8)}.jsonl"
    progress, said = path.with_suffix(".progress"), JsonObject()
    if path.exists() and progress.exists():
        said = orjson.loads(progress.read_bytes())
    since, until, cursor = filters.get("from"), datetime.now(UTC), said.get("cursor", "")
    if said:
        before = datetime.fromisoformat(said["until"])
        since = datetime.fromisoformat(said["since"]) if said["since"] else since
        since, until, cursor = (before - LATE, until, "") if cursor is None else (since, before, cursor)
    until = min(until, filters.get("to", until))
    n_new = repeated = 0
    with exclusive(path, mode=0o600) as file, ExitStack() as stack:
        page = _READERS[kind](stack, settings, filters, since, until)
        end_line(file)
        known = {str(first_at(row, "id", "info/trace_id")) for row in read_lines(path, JsonObject)}
        while cursor is not None:
            rows, cursor = page(cursor)
            new = {name: row for name, row in rows.items() if name not in known}
            file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in new.values())
            file.flush()
            os.fsync(file.fileno())
            n_new, repeated = n_new + len(new), 0 if new else repeated + 1
            known |= new.keys()
            if repeated > MAX_REPEATED:
                raise OutsideFault("The server sends the same calls again and again.", hint=_AGAIN)
            write_atomic(progress, orjson.dumps({"since": since, "until": until, "cursor": cursor}))
    return FetchedCalls(path, len(known), n_new)


def _environment(kind: str) -> NamedTexts:
    """Return the variables of the vendor's client; secrets are kept out of messages and files from now on."""
    require(kind)
    needed, secrets, _ = _SERVERS[kind]
    for name in secrets:
        remember(os.environ.get(name, ""))
    settings = {name: os.environ.get(name, "") for name in needed}
    if missing := [name for name, value in settings.items() if not value]:
        raise UserError(f"{missing[0]} is not set.", hint=f"Set {', '.join(needed)} as for the client of {kind}.")
    if not settings[needed[0]].startswith(("http://", "https://")):
        raise UserError(f"{needed[0]} is no http address.", hint="Set it to the address of the server.")
    return settings


def _asked(kind: str, ask: Callable[[], T]) -> T:
    """Return the answer of a client; its error, which can contain a key, is replaced and dropped."""
    try:
        return ask()
    except Exception as error:
        text = str(error)
        silent = "failed with" in text or type(error).__module__.partition(".")[0] in {"httpx", "httpcore", "requests"}
        status = next(
            map(int, filter(None, ((found := _STATUS.search(text)) and found.groups()) or ())), 200 - 200 * silent
        )
    fault, said, hint = _FAULTS.get(status) or _FAULTS.get(status - status % 100, _OTHER)
    raise fault(f"The server in {_SERVERS[kind][0][0]} {said}.", hint=hint)


def _langfuse(
    stack: ExitStack, settings: NamedTexts, filters: JsonObject, since: datetime | None, until: datetime
) -> PageReader:
    """Return the reader of observations; with a score, of those that belong to the subjects of each page of scores."""
    from httpx import Client
    from langfuse.api.client import LangfuseAPI

    address, public, secret = settings.values()
    web = stack.enter_context(Client(timeout=TIMEOUT_S, follow_redirects=False))
    api = LangfuseAPI(
        base_url=address, username=public, password=secret, x_langfuse_public_key=public, httpx_client=web
    )
    conditions = [("string", "type", "=", "GENERATION"), ("datetime", "startTime", "<", until.isoformat())]
    conditions += [("datetime", "startTime", ">=", since.isoformat())] if since else []
    conditions += [("string", "traceName", "=", filters["name"])] if "name" in filters else []
    conditions += [("arrayOptions", "tags", "all of", filters["tag"])] if "tag" in filters else []

    @lru_cache(1)
    def scored(cursor: str) -> tuple[list[Any], str]:
        """Return the conditions of the subjects of a page of scores, and the cursor of the next page."""
        found = _SCORE.fullmatch(filters["score"])
        assert found
        name, sign, bound, value = found.groups()
        kind = "BOOLEAN" if value in {"true", "false"} else "CATEGORICAL"
        wanted: JsonObject = {"data_type": kind, "value": value}
        if bound or _is_number(value):
            wanted = {
                "data_type": "NUMERIC",
                {">=": "value_min", "<=": "value_max", None: "value"}[sign]: bound or value,
            }
        answer = _asked(
            "langfuse",
            lambda: api.scores.get_many(
                limit=SIZES["scores"], cursor=cursor or None, fields="subject", name=name, **wanted
            ),
        )
        subjects = grouped((one.subject.kind, one.subject.id) for one in answer.data if one.subject)
        columns = {"observation": "id", "trace": "traceId", "session": "sessionId"}
        of = [("stringOptions", columns[key], "any of", ids) for key, ids in subjects.items() if key in columns]
        return of, answer.meta.cursor or ""

    def page(cursor: Any) -> Page:
        # of scores, subjects of one kind, and observations
        scores, part, inner = cursor or ("", 0, "")
        parts, more = scored(scores) if "score" in filters else ([None], "")
        rows, following = dict[str, JsonObject](), ""
        if part < len(parts):
            keys = ("type", "column", "operator", "value")
            wanted = [dict(zip(keys, one, strict=True)) for one in (*conditions, parts[part]) if one]
            text = orjson.dumps(wanted).decode()
            answer = _asked(
                "langfuse",
                lambda: api.observations.get_many(
                    fields=_FIELDS, filter=text, limit=SIZES["calls"], cursor=inner or None
                ),
            )
            following = answer.meta.cursor or ""
            found = [orjson.loads(one.json()) for one in answer.data]
            rows = {one["id"]: _observation(one) for one in found if one.get("endTime")}
        if following:
            return rows, (scores, part, following)
        if part + 1 < len(parts):
            return rows, (scores, part + 1, "")
        return rows, (more, 0, "") if more else None

    return page


def _observation(row: JsonObject) -> JsonObject:
    masker = RowMasker()
    return {key: row[key] for key in _PLAIN if key in row} | {
        key: masker.mask(row[key], key) for key in _TEXTS if row.get(key) is not None
    }


def _mlflow(
    stack: ExitStack, settings: NamedTexts, filters: JsonObject, since: datetime | None, until: datetime
) -> PageReader:
    """Return the reader of traces, the oldest first."""
    # before the import: the client must ask no other address
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_HTTP_REDIRECTS": "false"}
    from mlflow.tracing.client import TracingClient

    logger = logging.getLogger("mlflow")  # it quotes answers
    stack.callback(logger.setLevel, logger.level)
    logger.setLevel(logging.CRITICAL)
    client = _asked("mlflow", lambda: TracingClient(*settings.values()))
    experiment = _asked("mlflow", lambda: client.store.get_experiment_by_name(filters["experiment"]))
    if experiment is None:
        raise UserError("The server has no such experiment.", hint="Check `experiment` of the source.")
    clauses = [f"timestamp_ms < {round(until.timestamp() * 1000)}"]
    clauses += [f"timestamp_ms >= {round(since.timestamp() * 1000)}"] if since else []
    clauses += [f'trace.name = "{filters["name"]}"'] if "name" in filters else []
    clauses += ['tags.`{}` = "{}"'.format(*one.split("=", 1)) for one in filters.get("tag", ())]
    if found := _SCORE.fullmatch(filters.get("score", "")):
        name, sign, bound, value = found.groups()
        clauses.append(f"feedback.`{name}` {sign} {bound}" if sign else f'feedback.`{name}` = "{value}"')

    def page(cursor: Any) -> Page:
        infos = _asked(
            "mlflow",
            lambda: client.search_traces(
                locations=[experiment.experiment_id], filter_string=" AND ".join(clauses),
                order_by=["timestamp_ms ASC"], max_results=SIZES["traces"], page_token=cursor or None,
                include_spans=False,
            ),
        )  # fmt: skip
        ended = {one.info.trace_id: one.info for one in infos if str(one.info.state.value) != "IN_PROGRESS"}
        for name, info in ended.items():
            if info.tags.get("mlflow.trace.spansLocation") != "TRACKING_STORE":
                raise UserError(
                    f"The spans of trace {name} are not on the tracking server.", hint="Leave it out with a filter."
                )
        traces = _asked("mlflow", lambda: client.batch_get_traces([*ended])) if ended else []
        spans = {one.info.trace_id: one.to_dict()["data"]["spans"] for one in traces}
        rows = {name: _trace(info.to_dict(), spans.get(name, [])) for name, info in ended.items()}
        return rows, infos.token or None

    return page


def _trace(info: JsonObject, spans: list[JsonObject]) -> JsonObject:
    masker = RowMasker()
    said = [{"assessment_name": at(one, "assessment_name"), "feedback": {"value": at(one, "feedback/value")}}
            for one in info.get("assessments") or ()]  # fmt: skip
    session = at(info, "trace_metadata/mlflow.trace.session")
    return {
        "info": {
            "trace_id": info["trace_id"],
            "assessments": masker.mask(said),
            "trace_metadata": {"mlflow.trace.session": masker.mask(session)} if session else {},
        },
        "data": {
            "spans": [
                {key: span[key] for key in _SPAN if key in span} | {"attributes": masker.mask(span["attributes"])}
                for span in spans
            ]
        },
    }


def _is_number(text: str | None) -> bool:
    return bool(text and re.fullmatch(r"-?\d+(?:\.\d+)?", text))


_READERS: dict[str, Callable[..., PageReader]] = {"langfuse": _langfuse, "mlflow": _mlflow}
