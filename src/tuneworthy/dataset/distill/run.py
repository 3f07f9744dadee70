"""`data distill`: questions of logs or files, answered by a pinned teacher, as an import that `data build` takes.

Invariants:

1. A question is checked, masked and drawn before the teacher gets it (`queries`).
2. A committed answer is never asked again, as every call goes through the store of answers.
3. The result depends on questions, teacher and stored answers only: a run that was killed ends with the same import.
4. Every question is among the rows or among the rejects, with its reason.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import numpy as np

from tuneworthy.cases.normalize import normalise, question_of
from tuneworthy.cases.pairs import with_rejected
from tuneworthy.cases.stratified import rank
from tuneworthy.cases.task_kind import Kind
from tuneworthy.config.models import ModelSection
from tuneworthy.config.project import Project
from tuneworthy.config.teacher import PersonalData as Treatment
from tuneworthy.config.teacher import Teacher
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import CheckContext
from tuneworthy.dataset.checks.personal_data import masking
from tuneworthy.dataset.distill.queries import Sifted, query_of, question_meta, sift
from tuneworthy.dataset.distill.selection import Selection, select
from tuneworthy.dataset.distill.teacher import KEY, describe_teacher, name_of, pin, teacher_of
from tuneworthy.dataset.importing.folder import Import, write_import
from tuneworthy.dataset.records import DistillRecord, RowLine, TeacherPin, TeacherScore
from tuneworthy.dataset.sources import encoder_of
from tuneworthy.engine.models import OpenModel
from tuneworthy.engine.runner import Runner
from tuneworthy.errors import UserError
from tuneworthy.graders.apply import aggregate, grade_all
from tuneworthy.graders.base import Grader
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.prompts.templates import render
from tuneworthy.stats.intervals import score_interval
from tuneworthy.store import Folder
from tuneworthy.types import (
    Cases,
    Example,
    Examples,
    Message,
    Say,
    Score,
    Shots,
    Traces,
    Turns,
    Variant,
    content_hash,
    positional,
)


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """Who answers, with what, and who grades, as resolved by the caller.

    Attributes:
        variant: What answers.
        model: Its opened model.
        grader: The primary grader, for questions whose right answer is known.
        kind: Of the task.
        cases: Dev and test, which no question may overlap with.
        pool: The examples that shots are drawn from.
        student_system: System prompt in the student's rows.
        runner: As in evaluation, with its store and its money.
    """

    variant: Variant
    model: OpenModel
    grader: Grader
    kind: Kind
    cases: Cases
    pool: ShotPool
    student_system: str | None
    runner: Runner


@positional
class _AnsweredQuestion:
    row: Example
    traces: Traces
    dates: Sequence[float | None]
    selection: Selection
    first_score: Score | None


def check_terms(teacher: Teacher, name: str, config: ModelSection) -> None:
    """Refuse a teacher whose outputs may not be trained on, or whose terms are unknown.

    Args:
        teacher: The section.
        name: The model, a key of `[models]`.
        config: Section of the model.

    Raises:
        UserError: It is forbidden, or not answered where others may have a say: a hosted model, a pipeline.
    """
    if teacher.allows_training is False:
        raise UserError(
            f"The terms of use of models.{name} forbid training on its outputs.", hint="Choose a different teacher."
        )
    if teacher.allows_training is None and (config.hosted or config.own_pipeline):
        raise UserError(
            f"models.{name} may be a third-party model, and teacher.allows_training is not set.",
            hint="Read the model's terms of use, then set teacher.allows_training to true or false.",
        )


async def distill(
    project: Project,
    store: Folder,
    queries: Import,
    teaching: Teaching,
    *,
    limit: int | None,
    say: Say,
) -> tuple[Import, int]:
    """Ask the teacher, write its answers as the latest import, and return it with the number of calls that were made.

    Args:
        project: With `[teacher]`.
        store: Its folder; the caller has the lock.
        queries: The rows whose questions are asked.
        teaching: As the caller resolved it.
        limit: Most questions to ask.
        say: Gets a sentence now and then.

    Raises:
        UserError: There is no section [teacher], it asks for several samples that would all be the same, no question
            remains, or no answer is good enough.
        TuneworthyError: What ends a run as a whole (budget, key, provider down); the answers so far are stored.
    """
    started = time.monotonic()
    teacher = project.teacher
    if teacher is None:
        raise UserError(
            "The project file has no [teacher] section.",
            hint='Add [teacher] with model = "NAME", where NAME is a model in [models].',
        )
    if teacher.samples > 1 and teaching.variant.decoding.get("temperature") == 0:
        raise UserError(
            f"At temperature 0, all {teacher.samples} samples for a question would be identical.",
            hint="Set parameters = { temperature = 0.7 } in [teacher].",
        )
    description = describe_teacher(
        teaching.variant, hosted=teaching.model.hosted, allows_training=teacher.allows_training, terms=teacher.terms
    )
    sifted = _questions(project, store, queries, teaching, teacher.personal_data, limit=limit, say=say)
    session = teaching.runner
    shots, mask_row = (
        TeacherShots(teaching.pool.examples, teaching.pool.encode, teaching.pool.encoder),
        masking(project.data.pii_engine),
    )

    def masked(chat: Turns) -> Turns:
        return mask_row(Example(messages=chat, id="")).messages

    mask = None if teacher.personal_data == "send" else masked
    runner = Runner(
        session.store, session.budget, shots, session.progress, library=session.library, toolbox=session.toolbox,
        mask=mask, compares=False,
    )  # fmt: skip
    runner.rounds, runner.elsewhere = session.rounds, session.elsewhere
    answered = await _ask(runner, teacher, teaching, sifted.rows, seed=project.split.seed)
    rows = [row for one in answered if (row := _student_row(one, project, teaching, description)) is not None]
    names = {pin(one): name_of(one) for one in map(teacher_of, rows) if one}
    notes = [*queries.record.notes]
    if len(names) > 1:
        notes.append(messages.several_teachers(sorted(names.values()), allowed=project.data.teacher_mix))
    about = replace(
        queries.record,
        made_by="distill",
        notes=notes,
        limit=limit,
        distilled=_facts(answered, queries=queries, teacher=description, settings=teacher),
        id="",
        seconds=0.0,
    )
    read = {code: reason.words for code, reason in queries.record.reasons.items()}
    descriptions = {**read, **sifted.descriptions, **messages.TEACHER_REASONS}
    done = write_import(
        store,
        about,
        rows,
        [*queries.rejects(), *sifted.rejects, *_bad_answers(answered)],
        descriptions=descriptions,
        seconds=time.monotonic() - started,
    )
    if not rows:
        raise UserError(
            f"The teacher gave no usable answer to any of the {len(answered)} questions.",
            hint=messages.say("reasons_in", path=done.folder / "rejects.jsonl"),
        )
    store.write("imports/latest", {"id": done.id})
    return done, max(runner.sent, sum(not trace.stored for one in answered for trace in one.traces))


# --- before the teacher -------------------------------------------------------------------------------------------


def _questions(
    project: Project,
    store: Folder,
    queries: Import,
    teaching: Teaching,
    treatment: Treatment,
    *,
    limit: int | None,
    say: Say,
) -> Sifted:
    """Return the questions that are asked, in the order of the file, and the others.

    Raises:
        UserError: No question remains.
    """
    encoder, _ = encoder_of(project, store, say)
    sifted = sift(
        queries, project, CheckContext(cases=teaching.cases, encoder=encoder, seed=project.split.seed), treatment, limit
    )
    n_read = queries.record.n_kept
    say(f"Questions read: {n_read}. The teacher answers {len(sifted.rows)} of them.")
    for reason, n in Counter(line.reason for line in sifted.rejects).most_common():
        say(f"  questions skipped: {n} ({reason}: {sifted.descriptions[reason]})")
    if not sifted.rows:
        raise UserError(
            f"No question passed the checks (questions read: {n_read}).",
            hint="Change [data] or [teacher] in the project file, or specify a different file.",
        )
    return sifted


# --- asking -------------------------------------------------------------------------------------------------------


async def _ask(
    runner: Runner, teacher: Teacher, teaching: Teaching, rows: Examples, *, seed: int
) -> list[_AnsweredQuestion]:
    """Ask all samples of all rows, in the order of the draw, and select; return them in the order of the file."""
    labelled = [teacher.references == "all" for _ in rows]
    if teacher.references == "corrected":
        labelled = [row.meta.get("repaired") == "correction" or bool(row.meta.get("labelled")) for row in rows]
    if teacher.samples > 1 and teacher.self_consistency is None and not any(labelled):
        raise UserError(
            (
                f"The teacher generates {teacher.samples} samples per question, but there is no way to choose among "
                "them. No question has an expected answer, and self_consistency is not set."
            ),
            hint='Set self_consistency in [teacher], or references = "all" if people labelled these rows.',
        )
    order = sorted(range(len(rows)), key=lambda n: rank(seed, rows[n].id))  # a smaller limit then asks nothing new
    cases = [query_of(rows[n], teaching.kind, labelled=labelled[n]) for n in order]
    repeats = range(teacher.samples)
    traces = await runner.run(teaching.variant, teaching.model, cases, repeats=repeats)
    dates = runner.dates(teaching.variant, cases, repeats=repeats)
    scores = await _graded(teaching.grader, traces, cases)
    answered = {}
    for i, n in enumerate(order):
        part = slice(i * teacher.samples, (i + 1) * teacher.samples)
        own = [one for one in scores[part] if one is not None] if cases[i].labelled else None
        answered[n] = _AnsweredQuestion(
            rows[n],
            traces[part],
            dates[part],
            select(traces[part], own, agree=teacher.self_consistency),
            own[0] if own else None,
        )
    return [answered[n] for n in range(len(rows))]


async def _graded(grader: Grader, traces: Traces, cases: Cases) -> list[Score | None]:
    labelled = {case.id: case for case in cases if case.labelled}
    judged = [trace for trace in traces if trace.case_id in labelled]
    scores = iter(await grade_all(grader, judged, labelled)) if judged else iter(())
    return [next(scores) if trace.case_id in labelled else None for trace in traces]


# --- selection of answers -----------------------------------------------------------------------------------------


def _student_row(
    one: _AnsweredQuestion, project: Project, teaching: Teaching, description: TeacherPin
) -> Example | None:
    """Return a row for the student: its own short prompt, the bare question, the answer, and who gave it."""
    selection = one.selection
    if selection.trace is None or selection.trace.response is None:
        return None
    response = selection.trace.response
    answer: Message = {"role": "assistant", "content": response.text or (None if response.tool_calls else "")}
    if response.tool_calls:
        answer["tool_calls"] = list(response.tool_calls)
    turns = (*_prompt_turns(one.row, project, teaching.student_system), answer)
    date = next(date for trace, date in zip(one.traces, one.dates, strict=True) if trace is selection.trace)
    teacher = replace(
        description,
        parameters={key: value for key, value in (description.parameters or {}).items() if key not in response.dropped},
        served=response.model or None,
        date=_day(date),
    )
    if len(one.traces) > 1:
        teacher = replace(teacher, samples={"n": len(one.traces), "chosen_by": selection.how, "share": selection.share})
    meta = {**question_meta(one.row), "finish_reason": response.finish_reason, KEY: asdict(teacher)}
    if selection.worst is not None and selection.worst.response is not None and not response.tool_calls:
        meta = with_rejected(
            meta, {"content": selection.worst.text, "tool_calls": list(selection.worst.response.tool_calls)}
        )
    return replace(one.row, id=content_hash(turns), messages=turns, meta=meta)


def _prompt_turns(row: Example, project: Project, system: str | None) -> list[Message]:
    case = query_of(row, Kind("free_text", ""), labelled=False)
    turns = list(case.messages)
    if isinstance(case.input, dict):
        turns = [{"role": "user", "content": render(project.text(project.prompt.user) or "", case.input)}]
    elif case.input is not None:
        turns = [{"role": "user", "content": case.input}]
    return [{"role": "system", "content": system}, *turns] if system else turns


def _day(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat() if seconds else ""


def _bad_answers(answered: Sequence[_AnsweredQuestion]) -> Iterator[RowLine]:
    for one in answered:
        selection = one.selection
        if selection.trace is None:
            answer = next((trace.text for trace in one.traces if trace.response), "")
            yield RowLine(
                source=one.row.source,
                reason=selection.reason,
                detail=selection.detail or messages.TEACHER_REASONS[selection.reason],
                check=KEY,
                row={"messages": [*one.row.messages[:-1], {"role": "assistant", "content": answer}], "meta": {}},
            )


def _facts(
    answered: Sequence[_AnsweredQuestion],
    *,
    queries: Import,
    teacher: TeacherPin,
    settings: Teacher,
) -> DistillRecord:
    traces = [trace for one in answered for trace in one.traces]
    endings = sum((one.selection.endings for one in answered), Counter[str]())
    chosen = Counter(one.selection.how for one in answered if one.selection.trace)
    return DistillRecord(
        queries=queries.id,
        teacher=teacher,
        settings=settings.model_dump(mode="json"),
        n_asked=len(answered),
        n_answers=len(traces),
        n_kept=chosen.total(),
        endings=dict(sorted(endings.items())),
        chosen_by=dict(sorted(chosen.items())),
        days=sorted({_day(date) for one in answered for date in one.dates if date}),
        cost_usd=sum(trace.cost_usd for trace in traces),
        agreement=_agreement([one.first_score for one in answered if one.first_score is not None]),
    )


def _agreement(scores: Sequence[Score]) -> TeacherScore | None:
    num, den = aggregate(scores)
    scored = np.isfinite(num)
    if not scored.any():
        return None
    interval = score_interval(num[scored], den[scored])
    n = int(scored.sum())
    return TeacherScore(interval.value, (interval.lo, interval.hi), n, len(scores) - n)


# Shots drawn beyond those needed, as those that ask the same question are removed.
SPARE = 8


class TeacherShots(ShotPool):
    """The pool of the ladder, for questions that may be among its own examples.

    A shot with the question's own words would make the teacher repeat the old answer.
    """

    def select(self, shots: Shots | None, cases: Cases) -> dict[str, tuple[Example, ...]]:
        if shots is None:
            return {}
        more = replace(shots, k=shots.k + SPARE) if shots.mode != "fixed" else shots
        questions = {case.id: normalise(question_of(case)) for case in cases}
        return {
            case: tuple([row for row in rows if normalise(row.question) != questions[case]][-shots.k :])
            for case, rows in super().select(more, cases).items()
        }
