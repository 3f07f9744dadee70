"""The questions that a teacher is asked: read, then filtered by the data checks, so that none is paid for in vain.

In this order: rows that are no valid chat, and those whose answer people disliked; questions that overlap with dev or
test; personal data, masked or a reason to drop; exact and near duplicates, of the questions alone. Each that
leaves keeps its reason. What stays may be limited: a seeded draw, of which a smaller limit is always a part.

Invariant: what `sift` lets through holds no personal data that the engine recognises, unless the project allows it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tuneworthy.cases.normalize import variables_text
from tuneworthy.cases.sampling import bare_questions, is_text
from tuneworthy.cases.stratified import rank
from tuneworthy.cases.task_kind import Kind, answer_text, parse_object
from tuneworthy.config.project import Project
from tuneworthy.config.teacher import PersonalData as Treatment
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import CheckContext, data_checks
from tuneworthy.dataset.build import configured_checks
from tuneworthy.dataset.check_runner import run_checks
from tuneworthy.dataset.importing.folder import Import, finished_import, latest_import, write_import
from tuneworthy.dataset.importing.importer import import_files, source_files
from tuneworthy.dataset.records import ImportRecord, ImportRequest, RowLine
from tuneworthy.dataset.rows import ROWS
from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.types import (
    UNLABELLED,
    Case,
    Example,
    Examples,
    JsonObject,
    NamedTexts,
    Paths,
    Say,
    content_hash,
    positional,
    role_of,
)

# Checks that look at questions; personal data is masked behind `contamination`, whose cases are not masked.
SIFTING = ("feedback", "chat", "contamination", "exact", "near")
# Replaces a row's own answer: only questions are compared.
_ANSWER = {"role": "assistant", "content": "-"}
_SENT_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})
_QUESTION_META = ("tools", "licence", "license")


@positional
class Sifted:
    """Questions after the checks.

    Attributes:
        rows: Those that are asked, masked, in their order.
        rejects: Lines of `rejects.jsonl` for the others.
        descriptions: Of all reasons.
    """

    rows: Examples
    rejects: Sequence[RowLine]
    descriptions: NamedTexts


# --- where they come from -----------------------------------------------------------------------------------------


def open_queries(project: Project, store: Folder, paths: Paths, request: ImportRequest, say: Say) -> Import:
    """Return the rows whose questions are asked: of `paths`, else of the latest import, else of the examples file.

    Of an import that a teacher made, it is the import that it was made from.

    Raises:
        UserError: There is nothing to ask.
    """
    if paths:
        return _from_files(store, paths, request, say)
    latest = latest_import(store)
    while latest is not None and latest.record.distilled:
        latest = finished_import(store, latest.record.distilled.queries)
    if latest is not None:
        return latest
    if project.examples is None:
        raise UserError(
            "There are no questions for the teacher. Nothing has been imported, and [examples] specifies no file.",
            hint="Run `tuneworthy data distill FILE` with a file of questions.",
        )
    return import_files(store, [project.path(project.examples.path)], say=say, latest=False)


def _from_files(store: Folder, paths: Paths, request: ImportRequest, say: Say) -> Import:
    if not all(map(is_text, paths)):
        try:
            return import_files(store, paths, request, say, latest=False)
        except UserError:
            if not _unanswered(paths, request):
                raise
    about, rows = ImportRecord(made_by="questions", sources=[], notes=[]), list[Example]()
    for path, source in zip(paths, source_files(store, paths), strict=True):
        cases, notes = bare_questions(path, request.inputs)
        about.sources.append(replace(source, format="questions", path="", read=None))
        about.notes.extend(f"{source.name}: {note}" for note in notes)
        rows += [_question_row(case, f"{source.name}:{n}") for n, case in enumerate(cases, 1)]
    return write_import(store, about, rows, (), descriptions={})


def _unanswered(paths: Paths, request: ImportRequest) -> bool:
    try:
        read = [bare_questions(path, request.inputs)[0] for path in paths]
    except UserError:
        return False
    ends = (role_of(case.messages[-1]) for cases in read for case in cases if case.messages)
    return all(role != "assistant" for role in ends)


def _question_row(case: Case, source: str) -> Example:
    turns = list(case.messages)
    if isinstance(case.input, dict):
        turns = [{"role": "user", "content": variables_text(case.input), "input": case.input}]
    elif case.input is not None:
        turns = [{"role": "user", "content": case.input}]
    turns.append({"role": "assistant", "content": answer_text(case.expected) if case.has_answer else ""})
    meta: JsonObject = {"tools": list(case.tools)} if case.tools else {}
    if case.has_answer:
        meta["labelled"] = True
    return Example(
        id=content_hash(turns), source=source, messages=tuple(turns), group=case.group, tags=case.tags, meta=meta
    )


# --- which of them are asked --------------------------------------------------------------------------------------


def sift(queries: Import, project: Project, context: CheckContext, treatment: Treatment, limit: int | None) -> Sifted:
    """Run the checks over questions, as `data build` does over rows.

    Args:
        queries: As imported.
        project: Its `[data]` says which checks run, and how.
        context: The cases that no question may overlap with, an encoder, the seed.
        treatment: What becomes of personal data, whatever the policy of `[data]` is.
        limit: Most questions to ask.
    """
    contamination = data_checks()["contamination"]  # whatever [data] says
    configured = {check.name: check for check in [*configured_checks(project.data), contamination]}
    checks = [configured[name] for name in SIFTING if name in configured]
    personal_data = data_checks()["personal_data"]
    if treatment != "send":
        place = 1 + max((n for n, check in enumerate(checks) if check.name in SIFTING[:3]), default=-1)
        checks.insert(
            place,
            personal_data.configured(action=treatment, secrets=treatment, engine=project.data.pii_engine),
        )
    fixed = {name for check in (personal_data, contamination) for name in (check.name, *check.codes)}
    policy = {name: action for name, action in project.data.policy.items() if name not in fixed}
    checked = run_checks(queries.folder / ROWS, checks, context, policy=policy, view=_view)
    descriptions = {code: text for check in checks for code, text in check.codes.items()} | messages.BEYOND_LIMIT
    rejects = [replace(line, detail=line.detail or descriptions[line.reason]) for line in checked.rejects()]
    rows = list(checked.rows)
    if limit is not None and len(rows) > limit:
        order = sorted(range(len(rows)), key=lambda n: rank(context.seed, rows[n].id))
        for row in (rows[n] for n in sorted(order[limit:])):
            rejects.append(
                RowLine(
                    source=row.source,
                    check="limit",
                    reason="beyond_limit",
                    detail=f"not drawn because --limit is {limit}",
                    row={"messages": list(row.messages), "meta": dict(row.meta)},
                )
            )
        rows = [rows[n] for n in sorted(order[:limit])]
    return Sifted(rows, rejects, descriptions)


def _view(check: str, row: Example) -> Example:
    """Return what a check sees of a row: an answer that says nothing, and of personal data only what is sent."""
    if check == "personal_data":
        return replace(row, meta=question_meta(row))
    return row if check == "feedback" else replace(row, messages=(*row.messages[:-1], _ANSWER))


# --- what is asked ------------------------------------------------------------------------------------------------


def query_of(row: Example, kind: Kind, *, labelled: bool) -> Case:
    """Return what the teacher is asked: the bare question, or the turns up to the last answer, no system message.

    Args:
        row: A row after `sift`.
        kind: Of the task: how a right answer is read.
        labelled: Whether the row's own answer is right; it is then what the grader expects.
    """
    turns = [message for message in row.messages[:-1] if role_of(message) not in {"system", "developer"}]
    answer = row.answer.strip()
    expected: Any = UNLABELLED
    if labelled and answer:
        expected = parse_object(answer) if kind.name == "json" else answer
    case = Case(
        id=row.id,
        expected=expected,
        group=row.group,
        tags=row.tags,
        tools=tuple(row.meta.get("tools") or ()),
    )
    if len(turns) == 1 and role_of(turns[0]) == "user":
        return replace(case, input=turns[0].get("input", turns[0].get("content") or ""))
    return replace(
        case, messages=tuple({key: item for key, item in turn.items() if key in _SENT_KEYS} for turn in turns)
    )


def question_meta(row: Example) -> JsonObject:
    return {key: row.meta[key] for key in _QUESTION_META if row.meta.get(key)}
