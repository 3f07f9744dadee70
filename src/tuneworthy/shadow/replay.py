"""`shadow replay`: recorded traffic is asked again of a candidate, judged on the way, and stopped where it harms.

Invariants: answers are stored and never asked twice, at whatever moment a replay is killed; the verdict
depends on the recording, the answers and the labels, not on the number of looks; nothing reaches users.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from heapq import nsmallest
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.cases.labelling import read_labels
from tuneworthy.cases.writer import write_rows
from tuneworthy.config.project import Project
from tuneworthy.errors import TuneworthyError, UserError
from tuneworthy.graders.judging import DOCUMENT as JUDGE
from tuneworthy.ladder.session import Session
from tuneworthy.shadow import messages
from tuneworthy.shadow.canary import RESTARTED, STATE, CanaryState
from tuneworthy.shadow.confidence import (
    CONFIDENCE,
    ConfidenceVerdict,
    ConfidenceWatch,
    ask_watched,
    certificate_for,
    judged_confidence,
    watch_of,
    with_certificate,
    with_confidence,
)
from tuneworthy.shadow.pairs import AnswerPair, AnswerPairs, PairJudge, failed, recorded
from tuneworthy.shadow.recording import MOST_STRATA, RecordedTurn, Recording, TrafficSession, masker_of
from tuneworthy.shadow.verdict import COMPARED, LIMITED, ShadowRules, ShadowVerdict, judged
from tuneworthy.store import Folder
from tuneworthy.store.lines import exclusive, read_lines, write_line
from tuneworthy.store.shapes import OpenRecord
from tuneworthy.text import plural
from tuneworthy.types import Case, JsonObject, Texts, TextTuple, Trace, Variant, calls_of, content_hash, frozen, role_of

# `.tuneworthy/shadow.json`: the last replay, for the gate and the report; next to it, the pairs, the worst first.
DOCUMENT = "shadow"
# Stands for the project folder in the stored record, as a project can be moved.
HERE = "{project}/"
PAIRS = "shadow/pairs.jsonl"
QUEUE = "shadow/labels.jsonl"
# Turns that are asked before the rules are applied again.
TURNS = 400
# Changes by which a pair got worse; where the truth is not known, other answers only differ.
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
DECISIVE = frozenset({*COMPARED, "judge"})
Asked = tuple[TrafficSession, RecordedTurn]


class StoredTurn(OpenRecord):
    """What waits for labels: a turn, or an answer to one where a judge grades."""

    id: str
    text: str


@frozen
class ShadowRecord:
    """Result of a replay.

    Attributes:
        verdict: Result of the rules.
        variant: Id of the candidate, for the gate.
        candidate: Its name.
        production: `recorded`, or the name of the variant that answered again.
        date: Of the replay.
        n_sessions: Sessions with answers.
        n_drawn: Sessions that were drawn.
        n_pairs: Pairs.
        cost_usd: Of the candidate's answers.
        length_ratio: Mean length of the candidate's answers over production's, characters.
        notes: For the reader.
        partial: Why not all sessions were asked; "" if they were.
        command: The command line that runs it again.
        masked: Whether personal data is masked in the pairs.
        production_id: Id of the variant that answered again; "" for recorded answers.
        grader: Hash of the primary grader, as in the provenance of a run.
        sources: Files of the recording.
        confidence: Whether low confidence is more frequent than on dev; None if it is not watched.
        days: First and last day of the traffic; empty if it has no dates.
    """

    verdict: ShadowVerdict
    variant: str
    candidate: str
    production: str
    date: str
    n_sessions: int
    n_drawn: int
    n_pairs: int
    cost_usd: float
    length_ratio: float | None = None
    notes: Texts = ()
    partial: str = ""
    command: str = ""
    masked: bool = True
    production_id: str = ""
    grader: str = ""
    sources: Texts = ()
    confidence: ConfidenceVerdict | None = None
    days: TextTuple = ()


def labels_path(project: Project) -> Path:
    """Return where people's answers to recorded turns are: next to the cases, because they are work, not output."""
    return project.path(project.cases.path).with_name("shadow.labels.jsonl")


def check_candidate(candidate: Variant) -> None:
    """Refuse a candidate that traffic cannot ask.

    Raises:
        UserError: It has settings by tag, and traffic has no tags.
    """
    if candidate.by_tag:
        raise UserError(
            f"{candidate.name} has settings by tag. Recorded and live traffic has no tags, so it would be asked with "
            "the default settings only.",
            hint="Choose a candidate with the same settings for all requests.",
        )


async def replay(
    session: Session,
    recording: Recording,
    candidate: Variant,
    production: Variant | None = None,
    *,
    command: str = "",
    earlier: list[AnswerPair] | None = None,
) -> ShadowRecord:
    """Ask the candidate the recorded turns, and store the pairs.

    Args:
        session: The opened project, with its budget.
        recording: Sessions in their order.
        candidate: Who is asked.
        production: Who is asked as well; None takes the recorded answers.
        command: The command line that runs it again.
        earlier: Pairs of sessions whose turns the recording has forgotten; gets the new pairs, without their questions.

    Raises:
        UserError: Candidate and production are one variant, or the candidate has settings by tag.
        TuneworthyError: Budget spent, key refused, provider down; every answer is stored, and whole batches are judged.
    """
    if production is not None and production.id == candidate.id:
        raise UserError(
            f"Candidate and production are the same variant, {candidate.name}.",
            hint="Name another variant with --candidate.",
        )
    check_candidate(candidate)
    rules, watch = rules_of(session, recording), watch_of(session, candidate)
    judge = PairJudge(session, {label.case: label.label for label in read_labels(labels_path(session.project))})
    known = {one.name: one for one in recording.sessions}
    before = [replace(pair, session=known[pair.session.name]) for pair in earlier or ()]
    pairs, fault = [*before], None
    try:
        await _ask(recording, candidate, production, judge, rules=rules, watch=watch, pairs=pairs)
    except TuneworthyError as error:
        fault = error
    verdict = with_certificate(judged(pairs, rules), certificate_for(session.folder, candidate), pairs)
    canary = session.folder.read(STATE.format(candidate.id), CanaryState)
    if canary and canary.rolled_back:
        detail = messages.say("rolled_back", why=canary.rolled_back, by=canary.production)
        verdict = replace(
            verdict,
            status="fail",
            detail=detail,
            fix=verdict.fix if verdict.status == "fail" else messages.say("restart", command=command),
        )
    record = _record(
        recording,
        pairs,
        verdict=verdict,
        variant=candidate.id,
        candidate=candidate.name,
        production=production.name if production else "recorded",
        command=command,
        sources=[str(path) for path in recording.paths],
        masked=masker_of(session.project) is not None,
        production_id=production.id if production else "",
        grader=content_hash(dict(session.primary.identity)),
        confidence=_confidence(session, recording, pairs, rules, watch),
        partial=f"The replay stopped early: {fault.message}" if fault else "",
    )
    _store(session, record, [] if before and fault else pairs[len(before) :], rules, more=bool(before))
    if fault is not None:
        raise fault
    if earlier is not None:
        earlier += [_without_question(pair) for pair in pairs[len(before) :]]
    return record


async def _ask(
    recording: Recording,
    candidate: Variant,
    production: Variant | None,
    judge: PairJudge,
    *,
    rules: ShadowRules,
    watch: ConfidenceWatch | None,
    pairs: list[AnswerPair],
) -> None:
    """Add to `pairs` until the candidate is shown to be worse."""
    session = judge.session
    for batch in _batches(recording):
        turns = [turn for _, turn in batch]
        given, signals = await ask_watched(
            session, candidate, [turn.case for turn in turns if turn.failed_by != candidate.id], watch
        )
        answers = {trace.case_id: trace for trace in given}
        b = [answers.get(turn.case.id) or failed(turn) for turn in turns]
        a = (
            await session.ask(production, [turn.case for turn in turns])
            if production
            else [recorded(turn) for turn in turns]
        )
        pairs += with_confidence(await judge.pairs(batch, a, b), signals, watch)
        if judged(pairs, rules).status == "fail":
            break


def _confidence(
    session: Session,
    recording: Recording,
    pairs: AnswerPairs,
    rules: ShadowRules,
    watch: ConfidenceWatch | None,
) -> ConfidenceVerdict | None:
    """Return whether low confidence is more frequent than on dev, and whether sampling has ended."""
    live, n_most = recording.live, session.project.shadow.sessions
    confidence = judged_confidence(pairs, rules, watch, live=live, file=PAIRS)
    if not confidence or not live or len(recording.sessions) < n_most:
        return confidence
    over = f"Sampling has ended: {n_most:,} {plural(n_most, 'session was', 'sessions were')} judged"
    return replace(confidence, detail=f"{confidence.detail} {over} (`shadow.sessions`).")


def rules_of(session: Session, recording: Recording) -> ShadowRules:
    project = session.project
    limits = {"cost": project.constraints.usd_per_1k}
    no_labels = session.judging is None and not session.primary.needs_expected
    found = (session.folder.read(JUDGE, dict) if session.judging else None) or {}
    is_validated = (found.get("status"), found.get("judge")) == ("pass", content_hash(dict(session.primary.identity)))
    longest = max((len(one.turns) for one in recording.sessions), default=1)
    return ShadowRules(
        margin=project.task.margin,
        turns=project.shadow.turns if recording.live else longest,
        strata=recording.strata,
        limits={name: limit for name, limit in limits.items() if limit},
        label_share=project.shadow.label_share,
        complete=no_labels or (session.judging is None and recording.labelled),
        judge=session.judging is not None and is_validated,
        seed=project.split.seed,
        most_strata=MOST_STRATA if recording.live and project.shadow.by else 0,
        days=Counter(one.day for one in recording.sessions if one.day),
    )


def _batches(recording: Recording) -> list[list[Asked]]:
    batches: list[list[Asked]] = [[]]
    for session in recording.sessions:
        if batches[-1] and len(batches[-1]) + len(session.turns) > TURNS:
            batches.append([])
        batches[-1] += [(session, turn) for turn in session.turns]
    return batches


def _record(recording: Recording, pairs: AnswerPairs, **facts: Any) -> ShadowRecord:
    answered = [pair for pair in pairs if pair.answered]
    length = sum(len(pair.production.text) for pair in answered)
    days = sorted(one.day for one in recording.sessions if _DAY.fullmatch(one.day))
    return ShadowRecord(
        date=datetime.now(UTC).date().isoformat(),
        n_sessions=len({pair.session.name for pair in pairs}),
        n_drawn=len(recording.sessions),
        n_pairs=len(pairs),
        cost_usd=sum(pair.candidate.cost_usd for pair in pairs),
        length_ratio=sum(len(pair.candidate.text) for pair in answered) / length if length else None,
        notes=[*recording.notes],
        days=(days[0], days[-1]) if days else (),
        **facts,
    )


def read_shadow(folder: Folder) -> ShadowRecord | None:
    """Return the last replay, or None.

    Raises:
        DamagedRecord: The file has another content.
    """
    record = folder.read(DOCUMENT, ShadowRecord)
    return record and _moved(record, HERE, f"{folder.root}/")


def _moved(record: ShadowRecord, old: str, new: str) -> ShadowRecord:
    names = [name.replace(old, new) for name in (record.command, *record.sources)]
    return replace(record, command=names[0], sources=names[1:])


def worst_pairs(folder: Folder, most: int) -> list[JsonObject]:
    path = folder.path / PAIRS
    rows = nsmallest(most, read_lines(path, JsonObject), key=itemgetter("worst")) if path.is_file() else ()
    return [row for row in rows if row["worst"] < 0]


def _without_question(pair: AnswerPair) -> AnswerPair:
    turn, candidate = (
        replace(pair.turn, case=Case(id=pair.turn.case.id, input="")),
        replace(pair.candidate, messages=()),
    )
    return replace(pair, session=replace(pair.session, turns=()), turn=turn, candidate=candidate)


def _store(session: Session, record: ShadowRecord, pairs: AnswerPairs, rules: ShadowRules, *, more: bool) -> None:
    """Store the record, the pairs, masked, and the turns or answers to label; `more` adds to those of earlier looks."""
    folder = session.folder
    masker = masker_of(session.project)
    rows = sorted((_row(pair) for pair in pairs), key=itemgetter("worst"))
    _write(folder, PAIRS, [masker.mask_json(row) for row in rows] if masker else rows, more=more)
    items = [
        one
        for pair in pairs
        if not rules.complete and rules.is_due(pair.session.name) and pair.answered
        for one in _to_label(session, pair)
    ]
    items = [{**one, "text": masker.mask(one["text"])} for one in items] if masker else items
    _write(folder, QUEUE, items, more=more)
    folder.write(DOCUMENT, asdict(_moved(record, f"{folder.root}/", HERE)))
    if record.verdict.status == "pass":
        (folder.path / f"{RESTARTED.format(record.variant)}.json").unlink(missing_ok=True)


def _write(folder: Folder, name: str, rows: Sequence[JsonObject], *, more: bool) -> None:
    if not more:
        write_rows(folder.path / name, rows)
        return
    with exclusive(folder.path / name) as file:
        for row in rows:
            write_line(file, row)


def _row(pair: AnswerPair) -> JsonObject:
    changes = {
        name: found[1] - found[0]
        for name, found in {**pair.scores, "judge": pair.judged, "quality": pair.truth}.items()
        if found is not None
    }
    known = "judge" in changes or "quality" in changes
    # without a label it is not known which of two answers is right: such a pair comes last
    worse = [
        change if name in DECISIVE else change / 2
        for name, change in changes.items()
        if name in DECISIVE or not (known or name in {*LIMITED, CONFIDENCE})
    ]
    return {
        "session": pair.session.name,
        "stratum": pair.session.stratum,
        "source": pair.turn.source,
        "worst": min([0.0, *worse]),
        "changes": changes,
        "question": pair.turn.case.text,
        "production": _said(pair.production),
        "candidate": _said(pair.candidate),
    }


def _said(trace: Trace) -> str:
    return trace.text or _calls_text(trace.response.tool_calls if trace.response else ())


def _calls_text(calls: Any) -> str:
    return orjson.dumps(calls).decode() if calls else ""


def _to_label(session: Session, pair: AnswerPair) -> list[dict[str, str]]:
    """Return what people are shown: the turn, or where a judge grades each of its answers, without who gave it."""
    case = pair.turn.case
    if session.judging is None:
        return [{"id": case.id, "text": _shown(case)}]
    items = [session.judging.item(case, trace.text) for trace in (pair.production, pair.candidate)]
    return [{"id": item.id, "text": f"question: {_shown(case)}\nanswer: {item.answer}"} for item in items]


def _shown(case: Case) -> str:
    return (
        "\n".join([f"{role_of(turn)}: {turn.get('content') or _calls_text(calls_of(turn))}" for turn in case.messages])
        or case.text
    )


def label_queue(folder: Folder) -> list[Case]:
    """Return what people label of the last replay.

    Raises:
        UserError: Nothing waits for labels.
    """
    path = folder.path / QUEUE
    rows = list(read_lines(path, StoredTurn)) if path.is_file() else []
    if not rows:
        raise UserError("No stored replay waits for labels.", hint="Run `tuneworthy shadow replay FILES` first.")
    return [Case(id=name, input=text) for name, text in {row["id"]: row["text"] for row in rows}.items()]
