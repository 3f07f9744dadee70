"""`data distill`: questions of logs or files, answered by a pinned teacher, as an import that `data build` takes.

Invariants: a question is sifted, masked and drawn before the teacher is asked (`queries`); what was answered and
committed is never asked again, as everything goes through the store; the result is a function of questions, teacher
and stored answers alone, so that a run that was killed at any moment ends with the same import; every question is
among the rows or among the rejects, with its reason.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import numpy as np

from tuneworthy.cases.stratified import rank
from tuneworthy.cases.task_kind import Kind
from tuneworthy.config.project import Project
from tuneworthy.config.teacher import Teacher
from tuneworthy.dataset.base import Context
from tuneworthy.dataset.checks.personal_data import PersonalData
from tuneworthy.dataset.distill.queries import Left, kept_meta, query_of, reject_lines, sift
from tuneworthy.dataset.distill.selection import WORDS, Choice, choose
from tuneworthy.dataset.distill.shots import TeacherShots
from tuneworthy.dataset.distill.teacher import KEY, described, name_of, pin, teacher_of
from tuneworthy.dataset.importing.folder import write_import
from tuneworthy.dataset.importing.importer import Import, finished_import, latest_import
from tuneworthy.dataset.sources import Say, encoder_of
from tuneworthy.errors import UserError
from tuneworthy.evaluate.models import OpenModel
from tuneworthy.evaluate.runner import Runner
from tuneworthy.graders.apply import aggregate, grade_all
from tuneworthy.graders.base import Grader
from tuneworthy.prompts.templates import render
from tuneworthy.retrieval.encoder import load_encoder
from tuneworthy.stats.intervals import score_interval
from tuneworthy.store import Folder
from tuneworthy.types import Case, Example, Message, Score, Trace, Variant, content_hash

Chat = tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """What the caller resolved: who answers, with what, and who judges.

    Attributes:
        variant: What answers. model: Its opened model.
        grader: The primary grader, for questions whose right answer is known.
        kind: Of the task. cases: Dev and test, which no question may give away. pool: The examples that shots are
            drawn from. student_system: System prompt in the student's rows.
        runner: As in evaluation, with its store and its money.
    """

    variant: Variant
    model: OpenModel
    grader: Grader
    kind: Kind
    cases: Sequence[Case]
    pool: Sequence[Example]
    student_system: str | None
    runner: Runner


@dataclass(frozen=True, slots=True)
class Distilled:
    """What came of it: the import, and how many calls this run made."""

    rows: Import
    calls: int


@dataclass(frozen=True, slots=True)
class _Answered:
    """A question, what was answered, when, and which answer is kept."""

    row: Example
    traces: Sequence[Trace]
    dates: Sequence[float | None]
    choice: Choice
    first_score: Score | None


def check_terms(teacher: Teacher, name: str, provider: str, *, hosted: bool) -> None:
    """Refuse a teacher whose outputs may not be trained on, or of which nobody said so.

    Args:
        teacher: The section. name: The model, a key of `[models]`. provider: Of it. hosted: Whether it runs elsewhere.

    Raises:
        UserError: It is forbidden, or not answered where others may have a say: a hosted model, a pipeline.
    """
    if teacher.allows_training is False:
        raise UserError(
            f"expected a teacher whose terms allow training on its outputs, got models.{name}, whose terms forbid it",
            hint="name another teacher",
        )
    if teacher.allows_training is None and (hosted or provider in {"http", "python"}):
        raise UserError(
            f"expected an answer to teacher.allows_training, as models.{name} may be somebody else's, got none",
            hint="read the terms, and set it to true or false",
        )


async def distill(
    project: Project,
    store: Folder,
    queries: Import,
    teaching: Teaching,
    *,
    limit: int | None = None,
    add: bool = False,
    say: Say = lambda _: None,
) -> Distilled:
    """Ask the teacher and write what it answered as the latest import.

    Args:
        project: With `[teacher]`. store: Its folder; the caller holds the lock.
        queries: The rows whose questions are asked.
        limit: Most questions to ask.
        add: Whether the rows of the latest import stay, with the new ones behind them.
        say: Gets a sentence now and then.

    Raises:
        UserError: No question is left, no answer is good enough, or another teacher answered the rows to add to.
        TuneworthyError: What ends a run as a whole (budget, key, provider down); what was answered is kept.
    """
    started = time.monotonic()
    teacher, told = _settled(project, teaching)
    base = _base(store, queries) if add else None
    if base is not None:
        _same_teacher(base, told, mix=project.data.teacher_mix)
    kept, left = _questions(project, store, queries, teaching, limit=limit, say=say)
    session = teaching.runner
    shots, mask = TeacherShots(teaching.pool, load_encoder), _masking(project, teacher)
    runner = Runner(session.store, session.budget, shots, session.progress, library=session.library, mask=mask)
    answered = await _ask(runner, teacher, teaching, kept, seed=project.split.seed)
    rows = [row for one in answered if (row := _student_row(one, project, teaching, told)) is not None]
    lines: Iterator[dict[str, Any]] = chain(queries.rejects(), reject_lines(left), _bad_answers(answered))
    words = {reason: one["words"] for reason, one in queries.document["reasons"].items()}
    words |= {one.reason: one.words for one in left} | WORDS
    about = {
        "sources": queries.document["sources"],
        "asked": {"limit": limit},
        "notes": [*queries.document["notes"], *_notes(rows, mix=project.data.teacher_mix)],
        "distilled": {
            "queries": queries.id,
            "added_to": base.id if base else None,
            "teacher": told,
            "settings": teacher.model_dump(mode="json"),
            **_facts(answered),
        },
    }
    made: Iterator[Mapping[str, Any]] = iter(rows)
    if base is not None:
        made, lines, about, words = _added(base, rows, lines, about, words)
    done = write_import(store, "distill", made, lines, about, words=words, seconds=time.monotonic() - started)
    if not rows:
        raise UserError(
            f"expected answers that can be learned from, got none of {len(answered)}",
            hint=f"the reasons are in {done.folder / 'rejects.jsonl'}",
        )
    store.write("imports/latest", {"id": done.id})
    return Distilled(done, runner.sent)


def _settled(project: Project, teaching: Teaching) -> tuple[Teacher, dict[str, Any]]:
    """Return the section, and what all rows say of the teacher.

    Raises:
        UserError: Several samples are asked for that would all be the same.
    """
    teacher = project.teacher
    if teacher is None:
        raise UserError("expected a section [teacher] in the project file, got none", hint="see docs/project-file.md")
    if teacher.samples > 1 and teaching.variant.decoding.get("temperature") == 0:
        raise UserError(
            f"expected a temperature above 0 for {teacher.samples} samples, got 0: they would all be the same",
            hint="set parameters = { temperature = 0.7 } in [teacher]",
        )
    return teacher, described(
        teaching.variant,
        hosted=teaching.model.hosted,
        allows_training=teacher.allows_training,
        terms=teacher.terms,
    )


# --- before the teacher -------------------------------------------------------------------------------------------


def _questions(
    project: Project, store: Folder, queries: Import, teaching: Teaching, *, limit: int | None, say: Say
) -> tuple[list[Example], list[Left]]:
    """Return what is asked, in the order of the file, and what is not.

    Raises:
        UserError: Nothing is left to ask.
    """
    assert project.teacher is not None
    encoder, _ = encoder_of(project, store, say)
    context = Context(cases=teaching.cases, encoder=encoder, seed=project.split.seed)
    rows = list(queries.examples())
    kept, left = sift(rows, project, context, project.teacher.personal_data, limit)
    say(f"{len(rows)} questions read, {len(kept)} to ask")
    for reason, n in Counter(one.reason for one in left).most_common():
        say(f"  not asked: {n} {reason} ({next(one.words for one in left if one.reason == reason)})")
    if not kept:
        hint = "see [data] and [teacher] in the project file, or name another file"
        raise UserError(f"expected questions to ask, got none of {len(rows)}", hint=hint)
    return kept, left


def _masking(project: Project, teacher: Teacher) -> Callable[[Chat], Chat] | None:
    """Return what masks a whole chat before it is sent (shots and all beside the question); None sends it as it is."""
    if teacher.personal_data == "send":
        return None
    check = PersonalData(engine=project.data.pii_engine)

    def shown(chat: Chat) -> Chat:
        row = Example(messages=chat, id="")
        return check.repair(row).messages if any(True for _ in check.find([row], Context())) else chat

    return shown


# --- asking -------------------------------------------------------------------------------------------------------


async def _ask(
    runner: Runner, teacher: Teacher, teaching: Teaching, rows: Sequence[Example], *, seed: int
) -> list[_Answered]:
    """Ask all samples of all rows, in the order of the draw, and choose; return them in the order of the file."""
    known = _known(teacher)
    if teacher.samples > 1 and teacher.self_consistency is None and not any(map(known, rows)):
        raise UserError(
            f"expected right answers or self_consistency to choose among {teacher.samples} samples, got neither",
            hint='set self_consistency, or references = "all" if people labelled these rows',
        )
    order = sorted(range(len(rows)), key=lambda n: rank(seed, rows[n].id))  # a smaller limit then asks nothing new
    cases = [query_of(rows[n], teaching.kind, labelled=known(rows[n])) for n in order]
    repeats = range(teacher.samples)
    traces = await runner.run(teaching.variant, teaching.model, cases, repeats=repeats)
    dates = runner.dates(teaching.variant, cases, repeats=repeats)
    scores = await _graded(teaching.grader, traces, cases)
    found: dict[int, _Answered] = {}
    for i, n in enumerate(order):
        part = slice(i * teacher.samples, (i + 1) * teacher.samples)
        own = [one for one in scores[part] if one is not None] if cases[i].labelled else None
        choice = choose(traces[part], own, accept=teacher.accept_score, agree=teacher.self_consistency)
        found[n] = _Answered(rows[n], traces[part], dates[part], choice, own[0] if own else None)
    return [found[n] for n in range(len(rows))]


def _known(teacher: Teacher) -> Callable[[Example], bool]:
    """Return what says whether the answer that stands in a row is right."""
    if teacher.references == "corrected":
        return lambda row: row.meta.get("repaired") == "correction" or bool(row.meta.get("labelled"))
    return lambda row: teacher.references == "all"


async def _graded(grader: Grader, traces: Sequence[Trace], cases: Sequence[Case]) -> list[Score | None]:
    """Return the score of each trace whose case has a right answer, else None."""
    labelled = {case.id: case for case in cases if case.labelled}
    judged = [trace for trace in traces if trace.case_id in labelled]
    scores = iter(await grade_all(grader, judged, labelled)) if judged else iter(())
    return [next(scores) if trace.case_id in labelled else None for trace in traces]


# --- what becomes of the answers ----------------------------------------------------------------------------------


def _student_row(
    one: _Answered, project: Project, teaching: Teaching, told: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return a row for the student: its own short prompt, the bare question, the answer, and who gave it."""
    choice = one.choice
    if choice.kept is None or choice.kept.response is None:
        return None
    response = choice.kept.response
    answer: Message = {"role": "assistant", "content": response.text or (None if response.tool_calls else "")}
    if response.tool_calls:
        answer["tool_calls"] = list(response.tool_calls)
    messages = [*_asked(one.row, project, teaching.student_system), answer]
    sent = {key: value for key, value in told["parameters"].items() if key not in response.dropped}
    teacher = {**told, "parameters": sent, "served": response.model or None, "date": _day(_date_of(one))}
    if len(one.traces) > 1:
        teacher["samples"] = {"n": len(one.traces), "chosen_by": choice.how, "share": choice.share}
    meta = {**kept_meta(one.row), "finish_reason": response.finish_reason, KEY: teacher}
    row = {"id": content_hash(messages), "source": one.row.source, "messages": messages}
    rest = {"group": one.row.group, "tags": list(one.row.tags)}
    return {**row, **{name: value for name, value in rest.items() if value}, "meta": meta}


def _asked(row: Example, project: Project, system: str | None) -> list[Message]:
    """Return the turns that the student sees before the answer."""
    case = query_of(row, Kind("free_text", ""), labelled=False)
    turns = list(case.messages)
    if isinstance(case.input, dict):
        turns = [{"role": "user", "content": render(project.text(project.prompt.user) or "", case.input)}]
    elif case.input is not None:
        turns = [{"role": "user", "content": case.input}]
    return [{"role": "system", "content": system}, *turns] if system else turns


def _date_of(one: _Answered) -> float | None:
    return next(date for trace, date in zip(one.traces, one.dates, strict=True) if trace is one.choice.kept)


def _day(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat() if seconds else ""


def _bad_answers(answered: Sequence[_Answered]) -> Iterator[dict[str, Any]]:
    """Yield the questions of which no answer is kept, each with the answer that came nearest."""
    for one in answered:
        if one.choice.kept is None:
            text = next((trace.text for trace in one.traces if trace.response), "")
            messages = [*one.row.messages[:-1], {"role": "assistant", "content": text}]
            detail = one.choice.detail or WORDS[one.choice.reason]
            line = {"source": one.row.source, "reason": one.choice.reason, "detail": detail, "check": KEY}
            yield {**line, "row": {"messages": messages, "meta": {}}}


def _notes(rows: Sequence[Mapping[str, Any]], *, mix: bool) -> list[str]:
    """Say if what the server called the model changed on the way."""
    teachers = {pin(row["meta"][KEY]): name_of(row["meta"][KEY]) for row in rows}
    if len(teachers) < 2:
        return []
    what = "as data.teacher_mix allows" if mix else "which `data build` refuses unless data.teacher_mix is set"
    return [f"the answers come from {len(teachers)} teachers, {what}: {'; '.join(sorted(teachers.values())[:3])}"]


def _facts(answered: Sequence[_Answered]) -> dict[str, Any]:
    """Return counts of the answers, what they cost, and how far they agree with what is known to be right."""
    traces = [trace for one in answered for trace in one.traces]
    endings = sum((one.choice.endings for one in answered), Counter[str]())
    days = sorted({_day(date) for one in answered for date in one.dates if date})
    chosen = Counter(one.choice.how for one in answered if one.choice.kept)
    return {
        "n_asked": len(answered),
        "n_answers": len(traces),
        "n_kept": chosen.total(),
        "endings": dict(sorted(endings.items())),
        "chosen_by": dict(sorted(chosen.items())),
        "days": days,
        "cost_usd": sum(trace.cost_usd for trace in traces),
        "agreement": _agreement([one.first_score for one in answered if one.first_score is not None]),
    }


def _agreement(scores: Sequence[Score]) -> dict[str, Any] | None:
    """Return the mean score of the first samples whose right answer is known; None if there is none."""
    num, den = aggregate(scores)
    scored = np.isfinite(num)
    if not scored.any():
        return None
    found = score_interval(num[scored], den[scored])
    n = int(scored.sum())
    return {"score": found.value, "ci95": [found.lo, found.hi], "n": n, "unscored": len(scores) - n}


# --- adding to an import ------------------------------------------------------------------------------------------


def _base(store: Folder, queries: Import) -> Import | None:
    """Return the import to add to: the latest, but not what came of these very questions before."""
    found = latest_import(store)
    while found is not None and (made := found.document.get("distilled")) and made["queries"] == queries.id:
        found = finished_import(store, made["added_to"]) if made["added_to"] else None
    return found


def _same_teacher(base: Import, told: Mapping[str, Any], *, mix: bool) -> None:
    """See that nobody else answered the rows of `base`.

    Raises:
        UserError: Another teacher did, and the project does not ask for a mix.
    """
    for row in base.examples():
        other = teacher_of(row)
        if other is not None and not mix and not _is_same(other, told):
            raise UserError(
                f"expected rows of one teacher ({name_of(told)}), got {row.source} of another ({name_of(other)})",
                hint="set teacher_mix = true in [data] if that is meant",
            )


def _is_same(other: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    """Whether `other`, of a row, is who is told to teach now; of the parameters a row has those that were sent."""
    sent = other.get("parameters") or {}
    alike = all(other.get(key) == told[key] for key in ("model", "identity", "prompt"))
    return alike and all(told["parameters"].get(key) == value for key, value in sent.items())


def _added(
    base: Import,
    rows: Sequence[Mapping[str, Any]],
    lines: Iterator[dict[str, Any]],
    about: dict[str, Any],
    words: dict[str, str],
) -> tuple[Iterator[Mapping[str, Any]], Iterator[dict[str, Any]], dict[str, Any], dict[str, str]]:
    """Return rows, rejects, document and words with those of `base` before them; rows that it has stay once."""
    from tuneworthy.dataset.rows import row_of

    called = _called_otherwise(base, about["sources"])
    rows = [_from_source(row, called) for row in rows]
    lines = (_from_source(line, called) for line in lines)
    sources = [{**one, "name": called.get(one["name"], one["name"])} for one in about["sources"]]
    there = {row.id for row in base.examples()}
    fresh = [row for row in rows if row["id"] not in there]
    names = {one["name"] for one in base.document["sources"]}
    about = {
        **about,
        "sources": [*base.document["sources"], *(one for one in sources if one["name"] not in names)],
        "notes": [*base.document["notes"], *about["notes"],
                  *([f"{len(rows) - len(fresh)} rows were there already"] if len(fresh) < len(rows) else [])],
    }  # fmt: skip
    told = {reason: one["words"] for reason, one in base.document["reasons"].items()}
    return chain(map(row_of, base.examples()), fresh), chain(base.rejects(), lines), about, told | words


def _called_otherwise(base: Import, sources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return a name of its own for each source that has the name of another file of `base`: with part of its hash."""
    hashes = {one["name"]: one.get("sha256") for one in base.document["sources"]}
    return {
        one["name"]: f"{one['name']}@{one['sha256'][:8]}"
        for one in sources
        if one["name"] in hashes and one["sha256"] != hashes[one["name"]]
    }


def _from_source(row: Mapping[str, Any], called: Mapping[str, str]) -> dict[str, Any]:
    """Return a line of rows or rejects, and what it repeats, with the new name of its source."""
    name, _, line = str(row["source"]).rpartition(":")
    renamed = {**row, "source": f"{called[name]}:{line}"} if name in called else dict(row)
    return {**renamed, "other": _from_source(row["other"], called)} if "other" in row else renamed
