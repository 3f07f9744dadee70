"""The questions that a teacher is asked: read, then sifted by the data checks, so that none is paid for in vain.

In this order: rows that are no chat, and those whose answer people disliked; questions that would give dev or test
away; personal data, masked or a reason to drop; exact, near and semantic duplicates, of the questions alone. Each that
leaves keeps its reason. What stays may be limited: a seeded draw, of which a smaller limit is always a part.

Invariant: what `sift` lets through holds no personal data that the engine knows, unless the project says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from tuneworthy.cases.normalize import variables_text
from tuneworthy.cases.sampling import bare_questions, is_text
from tuneworthy.cases.stratified import rank
from tuneworthy.cases.task_kind import Kind, answer_text, parse_object
from tuneworthy.config.project import Project
from tuneworthy.config.teacher import PersonalData as Treatment
from tuneworthy.dataset.base import Check, Context, Finding
from tuneworthy.dataset.build import chosen_checks
from tuneworthy.dataset.checks.personal_data import PersonalData
from tuneworthy.dataset.importing.folder import write_import
from tuneworthy.dataset.importing.importer import (
    Asked,
    Import,
    digest_of,
    finished_import,
    import_files,
    latest_import,
    names_of,
)
from tuneworthy.dataset.sources import Say
from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.types import UNLABELLED, Case, Example, Message, content_hash

SIFTING: Final = ("feedback", "chat", "contamination", "exact", "near", "semantic")
"""Checks that look at questions; personal data is masked behind `contamination`, whose cases are not masked."""
_ANSWER: Final = {"role": "assistant", "content": "-"}
"""Stands where a row's own answer was: only questions are compared."""
_ASKED_KEYS: Final[frozenset[str]] = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})
_KEPT_META: Final = ("tools", "licence", "license")


@dataclass(frozen=True, slots=True)
class Left:
    """A question that is not asked: the row, the check, the reason, and what it repeats."""

    row: Example
    check: str
    reason: str
    words: str
    detail: str = ""
    other: Example | None = None


# --- where they come from -----------------------------------------------------------------------------------------


def open_queries(project: Project, store: Folder, paths: Sequence[Path], asked: Asked, say: Say) -> Import:
    """Return the rows whose questions are asked: of `paths`, else of the latest import, else of the examples file.

    Of an import that a teacher made, it is the import that it was made from.

    Raises:
        UserError: There are none.
    """
    if paths:
        return _from_files(store, paths, asked, say)
    found = latest_import(store)
    while found is not None and (made := found.document.get("distilled")):
        found = finished_import(store, made["queries"])
    if found is not None:
        return found
    if project.examples is None:
        hint = "name a file: `tuneworthy data distill FILE`"
        raise UserError("expected questions to ask, got neither an import nor an examples file", hint=hint)
    return import_files(store, [project.root / project.examples.path], say=say, latest=False)


def _from_files(store: Folder, paths: Sequence[Path], asked: Asked, say: Say) -> Import:
    """Read files of answered rows; if none of their rows has an answer, read them as bare questions."""
    if not all(map(is_text, paths)):
        try:
            return import_files(store, paths, asked, say, latest=False)
        except UserError as error:
            if asked.format or asked.expected or not _unanswered(paths, asked):
                raise error from None
    names = names_of(paths)
    read = [(name, *bare_questions(path, asked.inputs)) for name, path in zip(names, paths, strict=True)]
    rows = [_question_row(case, f"{name}:{n}") for name, cases, _ in read for n, case in enumerate(cases, 1)]
    sources = []
    for name, path in zip(names, paths, strict=True):
        sha256, n_bytes = digest_of(path)
        sources.append({"name": name, "sha256": sha256, "n_bytes": n_bytes, "format": "questions"})
    notes = [f"{name}: {note}" for name, _, told in read for note in told]
    about = {"sources": sources, "asked": {"questions": True}, "notes": notes}
    return write_import(store, "questions", rows, (), about, words={})


def _unanswered(paths: Sequence[Path], asked: Asked) -> bool:
    """Whether all files can be read as questions without answers."""
    try:
        read = [bare_questions(path, asked.inputs)[0] for path in paths]
    except UserError:
        return False
    ends = (case.messages[-1].get("role") for cases in read for case in cases if case.messages)
    return all(role != "assistant" for role in ends)


def _question_row(case: Case, source: str) -> dict[str, Any]:
    """Return a case as a row; without an answer its last turn is empty."""
    turns: list[Message] = list(case.messages)
    if isinstance(case.input, dict):
        turns = [{"role": "user", "content": variables_text(case.input), "input": case.input}]
    elif case.input is not None:
        turns = [{"role": "user", "content": case.input}]
    known = case.labelled and case.expected is not None
    turns.append({"role": "assistant", "content": answer_text(case.expected) if known else ""})
    row = {"id": content_hash(turns), "source": source, "messages": turns}
    meta = {"tools": list(case.tools)} if case.tools else {}
    rest = {"group": case.group, "tags": list(case.tags), "meta": {**meta, **({"labelled": True} if known else {})}}
    return row | {name: value for name, value in rest.items() if value}


# --- which of them are asked --------------------------------------------------------------------------------------


def sift(
    rows: Sequence[Example], project: Project, context: Context, treatment: Treatment, limit: int | None = None
) -> tuple[list[Example], list[Left]]:
    """Return the rows whose questions are asked, masked, in their order, and those that leave.

    Args:
        rows: As imported.
        project: Its `[data]` says which checks run, and how.
        context: The cases that must not be given away, an encoder, the seed.
        treatment: What becomes of personal data.
        limit: Most questions to ask.
    """
    chosen = {one.code: one for one in chosen_checks(project.data)}
    checks: list[Check] = [chosen[name] for name in SIFTING if name in chosen]
    place = 1 + max((n for n, one in enumerate(checks) if one.code in SIFTING[:3]), default=-1)
    if treatment != "send":
        engine = project.data.pii_engine
        checks.insert(place, cast("Check", PersonalData(action=treatment, secrets=treatment, engine=engine)))
    kept, left = list(rows), []
    for check in checks:
        kept, gone = _pass(check, kept, context)
        left += gone
    if limit is not None and len(kept) > limit:
        order = sorted(kept, key=lambda row: rank(context.seed, row.id))
        drawn = {id(row) for row in order[:limit]}
        words = f"not drawn: {limit} questions were asked for"
        left += [Left(row, "limit", "beyond_limit", words) for row in kept if id(row) not in drawn]
        kept = [row for row in kept if id(row) in drawn]
    return kept, left


def _pass(check: Check, rows: list[Example], context: Context) -> tuple[list[Example], list[Left]]:
    """Apply one check: what it drops leaves, what it masks is repaired, what it only reports stays."""
    looked = [_as_looked_at(row, check.code) for row in rows]
    gone: dict[int, Finding] = {}
    repaired: set[int] = set()
    for one in check.find(looked, context):
        if one.row >= 0 and one.action == "drop":
            gone.setdefault(one.row, one)
        elif one.row >= 0 and one.action == "mask":
            repaired.add(one.row)
    kept = [
        check.repair(row) if n in repaired else row  # type: ignore[attr-defined]
        for n, row in enumerate(rows)
        if n not in gone
    ]
    left = [
        Left(rows[n], check.code, one.reason, check.reasons[one.reason], one.detail,
             None if one.other is None else rows[one.other])
        for n, one in sorted(gone.items())
    ]  # fmt: skip
    return kept, left


def _as_looked_at(row: Example, code: str) -> Example:
    """Return what a check sees of a row: an answer that says nothing, and of personal data only what goes along."""
    if code == "personal_data":
        return replace(row, meta=kept_meta(row))
    return row if code == "feedback" else replace(row, messages=(*row.messages[:-1], _ANSWER))


# --- what is asked ------------------------------------------------------------------------------------------------


def query_of(row: Example, kind: Kind, *, labelled: bool) -> Case:
    """Return what the teacher is asked: the bare question, or the turns up to the last answer, no system message.

    Args:
        row: A row after `sift`.
        kind: Of the task: how a right answer is read.
        labelled: Whether the row's own answer is right; the grader then knows it.
    """
    turns = [message for message in row.messages[:-1] if message.get("role") not in {"system", "developer"}]
    case = Case(
        id=row.id,
        expected=_expected(row, kind) if labelled else UNLABELLED,
        group=row.group,
        tags=row.tags,
        tools=tuple(row.meta.get("tools") or ()),
    )
    if len(turns) == 1 and turns[0].get("role") == "user":
        return replace(case, input=turns[0].get("input", turns[0].get("content") or ""))
    asked = [{key: item for key, item in message.items() if key in _ASKED_KEYS} for message in turns]
    return replace(case, messages=tuple(asked))


def _expected(row: Example, kind: Kind) -> Any:
    """Return the row's answer as graders take it; UNLABELLED if it cannot be read."""
    text = row.answer.strip()
    if not text:
        return UNLABELLED
    return parse_object(text) if kind.name == "json" else text


def kept_meta(row: Example) -> dict[str, Any]:
    """Return what of a row's `meta` is about the question and not about the old answer or its user."""
    return {key: row.meta[key] for key in _KEPT_META if row.meta.get(key)}


def reject_lines(left: Sequence[Left]) -> Iterator[dict[str, Any]]:
    """Yield the questions that are not asked as lines of `rejects.jsonl`."""
    for one in left:
        line: dict[str, Any] = {"source": one.row.source, "reason": one.reason, "detail": one.detail or one.words}
        line["check"] = one.check
        if one.other is not None:
            line["other"] = {"id": one.other.id, "source": one.other.source}
        yield {**line, "row": {"messages": list(one.row.messages), "meta": dict(one.row.meta)}}
