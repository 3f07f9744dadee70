"""The queues of `tuneworthy label`: for each kind its rows, its answers, and the next command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from tuneworthy.cases import read_cases, read_dataset, read_examples
from tuneworthy.cases.dataset import SAMPLE
from tuneworthy.cases.drafts import FILE_NAME as DRAFTS
from tuneworthy.cases.drafts import DraftDecision, read_drafts, with_question
from tuneworthy.cases.labelling import (
    CANNOT_DECIDE,
    Applied,
    Label,
    LabelSession,
    Remark,
    RowSession,
    disagreements,
    known_labeller,
    label_path,
    match_labels,
    read_labels,
)
from tuneworthy.cases.readers.reader import canonical_or_none
from tuneworthy.cases.task_kind import answer_text, guess_kind, parse_object
from tuneworthy.cli.label_terminal import ask_label_list, ask_line
from tuneworthy.cli.options import note, person
from tuneworthy.config import FILE_NAME, Project, load
from tuneworthy.config.graders import Choice, Grader, JsonSchema
from tuneworthy.dataset.corrections import FILE_NAME as CORRECTIONS
from tuneworthy.dataset.corrections import (
    Correction,
    Decision,
    SuspectRow,
    read_corrections,
    suspect_rows,
    write_correction,
)
from tuneworthy.dataset.freeze import Version, open_version
from tuneworthy.dataset.rows import ROWS, StoredRows
from tuneworthy.errors import TuneworthyError, UserError
from tuneworthy.graders.judging import verdicts_path
from tuneworthy.input_files import read_input_text
from tuneworthy.ladder.commands.case_answers import open_answers
from tuneworthy.ladder.task_data import read_data
from tuneworthy.people.queue import FREE_TEXT, KINDS, Guideline, LabelForm, LabelList, Queue
from tuneworthy.people.review import Review, chance_to_pass
from tuneworthy.people.review_log import FILE_NAME as REVIEWS
from tuneworthy.people.review_log import ReviewPlan, content_of
from tuneworthy.report.text import clean
from tuneworthy.retrieval.documents import Corpus, read_documents
from tuneworthy.retrieval.library import documents_path
from tuneworthy.shadow.recording import TRAFFIC
from tuneworthy.shadow.replay import label_queue, labels_path, read_shadow
from tuneworthy.store import Folder
from tuneworthy.trust import own_path
from tuneworthy.types import (
    SECOND_SHARE,
    Case,
    Cases,
    Example,
    JsonMapping,
    NamedTexts,
    Texts,
    are_calls,
    calls_of,
    canonical,
    grouped,
    positional,
    role_of,
    text_of,
)
from tuneworthy.verdict.label_audit import (
    DRAW_SEED,
    RELABELLED,
    cases_to_audit,
    contradicts,
    drawn_suspects,
    found_so_far,
    read_relabelled,
    suspects_path,
)

JSON_GRADERS = frozenset({"json_fields", "json_schema", "tool_call"})
# Graders of a task that may be one of labels.
LABEL_GRADERS = frozenset({"exact", "normalised_exact", "choice", "balanced_accuracy", "includes"})
# Answers of a version that show its labels.
MAX_ANSWERS = 2_000
# Known answers that show whether the task is one of labels.
ENOUGH_ANSWERS = 10
DECLINE = "/decline"
_JSON_TYPES = {str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}
# The plus of a new label; that of a number is part of the answer.
_PLUS = re.compile(r"^\+(?=[^\W\d_])")
# Of the order of an audit, which mixes both strata and is not that of the draw.
AUDIT_SEED = DRAW_SEED + 1
# Documents of a case that a page shows.
MAX_DOCUMENTS = 5
# Test cases whose answers people rate first; 60 more once these are rated.
N_JUDGED = 60
# Characters a second: 600 words a minute of 6 characters, at which people scan for a word (Carver 1992, Reading Rate;
# adults read 238, Brysbaert 2019). No one judges an answer faster.
READ_PER_S = 60
GOOD_OR_BAD = "Type g (good) or b (bad)."
REVIEW_GUIDELINE = (
    "Good: the model should give exactly this answer to this question. Bad: anything in it is wrong, or you are unsure."
)
DRAFT_DECISIONS: Final[Mapping[str, DraftDecision]] = {"a": "accept", "e": "answer", "q": "question", "d": "drop"}
DECISIONS: Final[Mapping[str, Decision]] = {"a": "answer", "e": "answer", "k": "keep", "d": "drop"}


@positional
class LabelRequest:
    """Whose queue to open.

    Attributes:
        root: The project folder.
        labeller: Who judges; the user of this machine if None.
        every: Also cases that have an answer.
        version: The frozen version to review; the latest if None.
        whole: Whether a second labeller may answer every case, as the answers of a page do.
        peek: Whether to open it only to count its rows: nothing is asked, stored or revealed.
    """

    root: Path
    labeller: str | None = None
    every: bool = False
    version: str | None = None
    peek: bool = False
    whole: bool = False

    @property
    def name(self) -> str:
        return person(self.labeller, "--labeller")


def label_files(root: Path) -> tuple[Project | None, Path, Path]:
    """Return the project of a folder, if there is one, the file of its cases, and the label file next to it."""
    project = load(root) if (root / FILE_NAME).exists() else None
    cases = project.path(project.cases.path) if project else own_path(root, "cases.jsonl")
    return project, cases, label_path(cases)


def known_name(root: Path, *, first: bool = False, unknown: str = "") -> str:
    """Return whose queue is meant: "" for this user, if they labelled, else the first labeller, who gets every case.

    Args:
        root: The project folder.
        first: Whether it is that of the first labeller in any case.
        unknown: Returned if no one has labelled.
    """
    labels = read_labels(label_files(root)[2])
    names = [one.labeller for one in labels]
    try:
        user = known_labeller(person(None, ""), labels)
    except UserError:
        user = ""
    return unknown if not names else "" if user in (names[:1] if first else names) else names[0]


def _note_share(name: str, pool: Sequence[Texts], first: str, n_assigned: int, log: Path) -> None:
    other, n_first = clean(first), sum(first in names for names in pool)
    note(
        f"You are {clean(name)}, a second labeller: you get {n_assigned} of the {len(pool)} cases, without seeing the "
        f"labels of {other}.",
        *[
            f"{other} has {n_first} of {len(pool)}. To label all cases, continue with --labeller {other}; or, if these "
            f"labels were only a trial, delete {log.name} and start again."
        ]
        * (n_first < len(pool)),
    )


def all_answered(root: Path) -> bool:
    """Whether every case has an answer, so that a second person may label them all."""
    return not unlabelled(root, read_cases(label_files(root)[1]).cases)


def unlabelled(root: Path, cases: Cases) -> set[str]:
    """Return the ids of the cases that wait for a label: of a sample only, once a run has drawn one."""
    waiting = {case.id for case in cases if not case.labelled}
    sample = Folder(root).read(SAMPLE, dict[str, float]) if waiting else None
    return waiting & sample.keys() if sample else waiting


def open_cases(request: LabelRequest) -> Queue:
    """Open the cases without an answer, and then those on which labellers disagree.

    Raises:
        UserError: No case waits for a label.
    """
    project, path, labels = label_files(request.root)
    cases, given = read_cases(path).cases, read_labels(labels)
    by_case, name = grouped((label.case, label.labeller) for label in given), known_labeller(request.name, given)
    wanted = {case.id for case in cases} if request.every else unlabelled(request.root, cases)
    is_new = bool(given) and all(one.labeller != name for one in given)
    # A second labeller is welcome, but not needed.
    is_idle = request.peek and is_new and wanted <= by_case.keys()
    pool = [] if is_idle else [case for case in cases if case.id in wanted | by_case.keys()]
    disputed = _disputed(cases, given, name, every=request.every)
    if not (pool or wanted or disputed):
        raise UserError(
            f"All {len(cases)} cases in {path} are already labelled.",
            hint="Use --all to label them a second time, blind: the agreement shows how reliable the labels are.",
        )
    seed, share = project.split.seed if project else 7, 1.0 if request.whole else SECOND_SHARE
    session = LabelSession(pool, labels, name, seed=seed, share=share, disputed=disputed)
    if is_new and not (request.peek or disputed):
        _note_share(name, [by_case.get(case.id, ()) for case in pool], given[0].labeller, len(session.assigned), labels)
    form, guideline = answer_form(project, labels, cases, peek=request.peek)
    return Queue(
        "cases",
        session,
        form,
        guideline.text,
        labels,
        partial(_after_cases, request.root, cases, labels),
        blind=session.is_second,
        documents=_documents(project),
    )


def _after_cases(root: Path, cases: Cases, log: Path) -> str:
    found, new = match_labels(cases, read_labels(log))
    if found.disagreements or new or found.conflicts:
        return f"tuneworthy label cases{'' if found.disagreements else ' --apply'}"
    return after_labels(root, found, len(unlabelled(root, cases)))


def _disputed(cases: Cases, given: Sequence[Label], name: str, *, every: bool) -> list[Case]:
    """Return the cases on which labellers disagree, with all labels.

    Until someone decides; and, for the person who decided, until the answer is applied, or always with `every`.
    """
    differ, settled = disagreements(given), {one.case: one for one in given if one.decided}
    return [
        replace(case, input=f"{case.text}\n\nLabellers disagree. You decide: {said(differ[case.id])}")
        for case in cases
        if case.id in differ
        and (
            (one := settled.get(case.id)) is None
            or (one.labeller == name and (every or canonical(one.label) != canonical_or_none(case.expected)))
        )
    ]


def after_labels(root: Path, found: Applied, n_open: int) -> str:
    """Return the command after labels were applied; `n_open` cases have no label."""
    project, file, _ = label_files(root)
    if n_open or found.disagreements:
        return "tuneworthy label cases" + (
            f" --labeller {shlex.quote(first)}" if (first := known_name(root, first=True)) else ""
        )
    return "tuneworthy run" if project else f"tuneworthy init my-task --data {file}"


def _documents(project: Project | None) -> Callable[[Case], NamedTexts]:
    """Return what shows the documents that a case names; they are read when the first case needs them."""
    corpus: list[Corpus] = []

    def show(case: Case) -> NamedTexts:
        path = documents_path(project) if project and case.documents else None
        if path and path.exists() and not corpus:
            corpus.append(read_documents(path))
        return {name: one.by_id[name].text for one in corpus for name in one.ids(case.documents)[:MAX_DOCUMENTS]}

    return show


def said(labels: Mapping[str, Any]) -> str:
    """Return who gave which label, on one line."""
    return " · ".join(
        f"{clean(name)}: {DECLINE if label is None else clean(answer_text(label))}" for name, label in labels.items()
    )


def open_drafts(request: LabelRequest) -> Queue:
    """Open the drafted cases with their suggested answers.

    Raises:
        UserError: There are no drafts.
    """
    drafts = {case.id: case for case in read_drafts(request.root)}
    project, _, labels = label_files(request.root)
    log = label_path(own_path(request.root, DRAFTS))
    form, guideline = answer_form(project, labels, [*drafts.values()], peek=True)

    def decided(line: str, parse: Callable[[str], Any]) -> tuple[DraftDecision, Any]:
        word, _, text = line.partition(" ")
        decision, text = DRAFT_DECISIONS.get(word.lower()), text.strip()
        if decision is None or bool(text) is not (decision in {"answer", "question"}):
            raise UserError(f"Type a, d, e and the right answer, or q and the question, not {line[:40]!r}.")
        return decision, parse(text) if decision == "answer" else text or None

    def shown(case: Case) -> str:
        draft = drafts[case.id]
        answer = DECLINE if draft.expected is None else clean(answer_text(draft.expected), 0)
        return f"{clean(case.text, 0)}\n\nSituation: {clean(' '.join(draft.tags))}\nSuggested answer: {answer}"

    return Queue(
        "drafts",
        _DraftSession([*drafts.values()], log, request.name, seed=project.split.seed if project else 7, share=1.0),
        LabelForm(
            f"Type a to accept the draft, d to drop it, e and the right answer (e {DECLINE} if the model should "
            "decline), or q and another question with the same answer.",
            lambda line: decided(line, form.parse),
            "choice",
            {"a": "Accept the draft", "e": "Correct the answer", "q": "Edit the question", "d": "Drop the draft"},
            ("e", "q"),
            labels=form.labels,
            numbered=form.numbered,
            undone=form.undone,
            check=lambda line: decided(line, form.check or form.parse),
        ),
        guideline.text,
        log,
        lambda: "tuneworthy label drafts --apply",
        shown,
        documents=_documents(project),
    )


class _DraftSession(LabelSession):
    def check(self, row: str, answer: tuple[DraftDecision, Any]) -> None:
        if answer[0] == "question":
            with_question(self.row(row), answer[1])

    def write(self, row: str, answer: Any, remark: Remark) -> None:
        if answer is not CANNOT_DECIDE:
            self.check(row, answer)
        super().write(row, answer, remark)


def open_judge(request: LabelRequest) -> Queue:
    """Open stored answers to rate, good or bad, blind to the variant.

    Raises:
        UserError: No run yet, or its primary grader is no judge.
    """
    project = load(request.root)
    path = verdicts_path(project)
    with open_answers(project) as answers:
        rubric = answers.judge.rubric
        for n in range(N_JUDGED, len(answers.session.split.test) + N_JUDGED, N_JUDGED):
            shown = [
                Case(
                    id=one.id,
                    input=f"{_sheet(one.case)}\nanswer: {clean(one.answer, 0)}",
                    documents=one.case.documents,
                )
                for one in answers.to_judge(n=n, reveal=not request.peek)
            ]
            session = LabelSession(shown, path, request.name, seed=project.split.seed)
            if session.next() or request.peek:
                break
    return Queue(
        "judge",
        session,
        rating_form(),
        rubric,
        path,
        lambda: "tuneworthy run",
        documents=_documents(project),
    )


def open_suspects(request: LabelRequest) -> Queue:
    """Open failed dev cases of the last error analysis, to label again, blind.

    Raises:
        UserError: No stored error analysis marks an expected answer as probably wrong.
    """
    project = load(request.root)
    data, names, path = read_data(project), drawn_suspects(project), suspects_path(project)
    session = _SuspectSession(project, [case for case in data.split.dev if case.id in names], request.name)
    if not session.assigned:
        raise UserError(
            "No stored error analysis marks an expected answer as probably wrong.",
            hint="Run `tuneworthy decide --probe` to look for such answers.",
        )
    form, guideline = answer_form(project, path, data.cases, peek=request.peek)
    return Queue(
        "suspects",
        session,
        form,
        guideline.text,
        path,
        lambda: "tuneworthy decide",
        documents=_documents(project),
    )


def open_audit(request: LabelRequest) -> Queue:
    """Open a random sample of test, to label again, blind.

    Tasks without labels show the expected answers of test, and the person says whether these are right.

    Raises:
        UserError: There is no run.
    """
    project = load(request.root)
    data, path = read_data(project), suspects_path(project)
    with open_answers(project) as answers:
        cases = cases_to_audit(answers, store=not request.peek)
    form, guideline = answer_form(project, path, data.cases, peek=request.peek)
    if data.task.kind != "label":
        cases = [Case(id=case.id, input=_sheet(case), documents=case.documents) for case in cases]
        form, guideline = rating_form("Is the reference right? "), Guideline(path, "", {})
    session = LabelSession(cases, path, request.name, seed=AUDIT_SEED, share=1.0)

    def done() -> str:
        return (
            "tuneworthy label audit --apply"
            if contradicts(data, read_relabelled(project, data))[1]
            else "tuneworthy decide"
        )

    return Queue("audit", session, form, guideline.text, path, done, documents=_documents(project))


def _sheet(case: Case) -> str:
    reference = "(a refusal is expected)" if case.expected is None else clean(case.expected, 0)
    return f"question: {clean(case.text, 0)}" + (f"\nreference: {reference}" if case.labelled else "")


class _SuspectSession(LabelSession):
    """Ends once its labels settle whether most failures are the label's; it looks after every fifteen."""

    def __init__(self, project: Project, cases: Cases, labeller: str) -> None:
        super().__init__(cases, suspects_path(project), labeller, seed=DRAW_SEED, share=1.0)
        self._project = project

    def next(self) -> Case | None:
        """Return the next case to label; None if all are done, or if the question is settled."""
        found = found_so_far(self._project) if self.n_done % RELABELLED == 0 else None
        return super().next() if found is None or found.wrong is None else None


def open_shadow(request: LabelRequest) -> Queue:
    """Open sampled sessions of the last replay, without the model that answered.

    Raises:
        UserError: Nothing waits for labels.
    """
    project = load(request.root)
    rows, judges = label_queue(Folder(project.root)), project.graders[0].type == "judge"
    path = verdicts_path(project) if judges else labels_path(project)
    session = LabelSession(rows, path, request.name, seed=project.split.seed)
    form, guideline = (
        (rating_form(), Guideline(path, "", {})) if judges else answer_form(project, path, (), peek=request.peek)
    )

    def done() -> str:
        record = read_shadow(Folder(project.root))
        if record and any(source.endswith(TRAFFIC) for source in record.sources):
            note("If `shadow proxy` runs, it counts the labels after midnight UTC. More sessions may need labels then.")
        return record.command if record else "tuneworthy shadow replay FILES"

    return Queue("shadow", session, form, guideline.text, path, done)


def open_review(request: LabelRequest) -> Queue:
    """Open the random sample of a frozen version under its plan, which is fixed first.

    Raises:
        UserError: There is no such version, or no sample can show that enough rows are good.
    """
    version, review = review_of(request.root, request.version)
    state, plan = review.state(), review.plan(fix=not request.peek)
    session = review.reviewing(request.name, plan)
    if not request.peek and state.status in {"no_plan", "open"}:
        note(
            f"Version {plan.version}, attempt {plan.attempt}: rate {len(session.assigned)} rows; at most "
            f"{plan.max_bad} may be bad. This is the smallest plan that a version with 1% bad rows passes with a "
            f"probability of {chance_to_pass(plan.n, plan.max_bad):.0%}. It is fixed, and counts as an attempt."
        )
    guideline = Guideline.read(label_files(request.root)[2])
    return Queue(
        "review",
        session,
        LabelForm(
            "Type g if the row is good to train on as it is. Otherwise type b and the reason.",
            _parse_rating,
            "choice",
            {"g": "Good", "b": "Bad"},
            ("b",),
            labels=_labels_of(version),
            check=_check_rating,
        ),
        f"{REVIEW_GUIDELINE}\n\n{guideline.text}",
        review.path,
        lambda: "tuneworthy decide",
        sheet,
        _findings_of(version, plan),
        _reading_s,
    )


def _reading_s(row: Example, rating: tuple[bool, str]) -> float:
    """Return the least time before a row is rated good; its system messages are known."""
    n_characters = sum(len(text_of(turn)) for turn in row.messages if role_of(turn) != "system")
    return n_characters / READ_PER_S if rating[0] else 0.0


def review_of(root: Path, version_id: str | None) -> tuple[Version, Review]:
    """Return a frozen version and its review.

    Raises:
        UserError: There is no such version.
    """
    version = open_version(Folder(root), version_id)
    return version, Review(root / REVIEWS, version.id, StoredRows(version.folder / ROWS))


def _findings_of(version: Version, plan: ReviewPlan) -> dict[str, list[str]]:
    lines = grouped(
        (one.id, f"A check reported on that row: {one.check}/{one.reason}: {clean(one.detail)}".removesuffix(": "))
        for one in version.findings()
        if one.id
    )
    rows = frozenset(plan.rows)
    named = ((content_of(row), row.id) for row in version.examples() if row.id in lines)
    return {name: lines[row_id] for name, row_id in named if name in rows}


def _parse_rating(line: str) -> tuple[bool, str]:
    word, _, reason = line.partition(" ")
    return (good := parse_verdict(word)), reason.strip() or ("" if good else ask_line("Why is it bad? "))


def _check_rating(line: str) -> tuple[bool, str]:
    word, _, reason = line.partition(" ")
    if not (good := parse_verdict(word)) and not reason.strip():
        raise UserError("A bad row needs a reason.")
    return good, reason.strip()


def sheet(row: Example) -> str:
    """Return a row as it is shown: its messages in order, safe for a terminal."""
    parts = []
    if tools := row.meta.get("tools"):
        parts.append(f"tools: {clean(_json(tools), 0)}")
    for message in row.messages:
        content = message.get("content")
        text = content if isinstance(content, str) else "" if content is None else _json(content)
        lines = text.splitlines() or [""]
        head = clean(message.get("role", "?"))
        parts += [f"{head}: {clean(lines[0], 0)}", *(f"    {clean(line, 0)}" for line in lines[1:])]
        parts += [f"    calls {clean(_json(call), 0)}" for call in calls_of(message)]
    return "\n".join(parts)


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()


def open_findings(request: LabelRequest) -> Queue:
    """Open the rows of a frozen version that the checks reported, the likeliest wrong labels first.

    Raises:
        UserError: There is no such version.
    """
    version, path = open_version(Folder(request.root), request.version), request.root / CORRECTIONS
    project, _, labels_file = label_files(request.root)
    cases = read_dataset(project, examples=False).cases if project else ()
    corrections = read_corrections(path)
    mine = [one for one in corrections.values() if (one.reviewer, one.version) == (request.name, version.id)]
    own = {one.row: (one.decision, one.answer) for one in mine}
    suspects = {one.id: one for one in suspect_rows(version, corrections, cases, own=own)}
    guideline = Guideline.read(labels_file)
    labels = LabelList(_labels_of(version), False, guideline)

    def parse(line: str) -> tuple[Decision, str]:
        decision, answer = parse_decision(f"e {line}" if labels.names and line.isdecimal() else line)
        return decision, labels.choose(answer) if answer and labels.names else answer

    def check(line: str) -> tuple[Decision, str]:
        decision, answer = parse_decision(line)
        return decision, labels.check(answer) if answer and labels.names else answer

    keys = (
        "Type k to keep the row as it is, d to drop it, a to accept the suggested label, or e and the right answer"
        f"{', or its number' * bool(labels.names)}."
    )
    return Queue(
        "findings",
        _FindingSession(path, version.id, suspects, request.name, own),
        LabelForm(
            keys,
            parse,
            "choice",
            {"a": "Accept the suggestion", "k": "Keep the row", "d": "Drop the row", "e": "Correct the answer"},
            ("e",),
            labels=labels.names,
            numbered=True,
            check=check,
        ),
        guideline.text,
        path,
        lambda: "tuneworthy data build",
        finding_sheet,
    )


def _labels_of(version: Version) -> list[str]:
    return list(guess_kind(row.answer for row in islice(version.examples(), MAX_ANSWERS)).labels)


def parse_decision(line: str) -> tuple[Decision, str]:
    """Return the decision of a line, and the new answer; without one, the suggested label is accepted.

    >>> parse_decision("a"), parse_decision("e card_arrival")
    (('answer', ''), ('answer', 'card_arrival'))

    Raises:
        UserError: It decides nothing.
    """
    word, _, answer = line.partition(" ")
    decision = DECISIONS.get(word.lower())
    if decision is None or bool(answer.strip()) is not (word.lower() == "e"):
        raise UserError(f"Type a, k, d, or e and the right answer, not {line[:40]!r}.")
    return decision, answer.strip()


def finding_sheet(suspect: SuspectRow) -> str:
    parts = [sheet(suspect.row), *(f"finding: {clean(text)}" for text in suspect.reasons)]
    if suspect.rival is not None:
        parts.append(f"another row has the same question with the answer: {clean(suspect.rival.answer)}")
    if suspect.suggested:
        parts.append(f"suggested label: {clean(suspect.suggested)} (type a to accept it)")
    return "\n".join(parts)


class _FindingSession(RowSession):
    def __init__(
        self, path: Path, version: str, rows: Mapping[str, SuspectRow], reviewer: str, done: JsonMapping
    ) -> None:
        super().__init__(rows, done)
        self._path, self._by = path, Correction(row="", version=version, reviewer=reviewer, decision="open")

    def check(self, row: str, answer: tuple[Decision, str]) -> None:
        if answer[0] == "answer" and not (answer[1] or self._rows[row].suggested):
            raise UserError("No label is suggested for this row. Type k, d, or e and the right answer.")

    def write(self, row: str, answer: tuple[Decision, str], remark: Remark) -> None:
        self.check(row, answer)
        decision, text = answer
        text = text or (self._rows[row].suggested if decision == "answer" else "")
        write_correction(self._path, replace(self._by, row=row, decision=decision, answer=text, time=remark.time))

    def take_back(self, row: str) -> None:
        write_correction(self._path, replace(self._by, row=row))


def rating_form(question: str = "") -> LabelForm:
    return LabelForm(f"{question}{GOOD_OR_BAD}", parse_verdict, "choice", {"g": "Good", "b": "Bad"})


def answer_form(project: Project | None, path: Path, cases: Cases, *, peek: bool) -> tuple[LabelForm, Guideline]:
    """Return the form of the expected answers and the guideline; ask for the label list where nothing is known yet."""
    guideline, graders = Guideline.read(path), project.graders if project else []
    if graders and graders[0].type in JSON_GRADERS:
        return replace(
            _expected("Type the expected answer as JSON on one line.", parse_json),
            kind="json",
            schema=_schema(graders[0], project, _answers(project, path, cases)),
        ), guideline
    closed = next((one.labels for one in graders if isinstance(one, Choice) and one.labels), None)
    known = _answers(project, path, cases)
    # A guideline without labels says that answers are free text.
    likely = () if FREE_TEXT in guideline.text else guess_kind(known).labels
    names = closed or list(dict.fromkeys([*guideline.labels, *likely]))
    may_be_labels = not graders or graders[0].type in LABEL_GRADERS
    if may_be_labels and not (names or guideline.text or peek or len(known) >= ENOUGH_ANSWERS):
        names = ask_label_list(guideline.path.name)
        guideline.add(names, FREE_TEXT if not names else "Choose the label of the main request.")
        guideline = Guideline.read(guideline.path)
    if not names:
        return _expected("Type the expected answer.", _free_text), guideline
    keys = f"Type a label or its number.{'' if closed else ' +NAME adds a label.'}"
    labels = LabelList([*names], bool(closed), guideline)
    undone = lambda: labels.forget([row.label for row in read_labels(path)])  # noqa: E731
    return replace(
        _expected(keys, labels.choose),
        kind="label",
        closed=bool(closed),
        labels=labels.names,
        numbered=True,
        undone=undone,
        check=lambda line: None if line == DECLINE else labels.check(line),
    ), guideline


def _schema(grader: Grader, project: Project | None, known: Iterable[Any]) -> JsonMapping:
    """Return the schema of the answers: the grader's, or an object with the fields of the known answers."""
    if isinstance(grader, JsonSchema) and project:
        found = parse_json(read_input_text(project.path(grader.path)))
        return found if isinstance(found, dict) else {}
    rows = [row for row in (known_json(one) for one in known) if isinstance(row, dict)]
    fields = {key: _JSON_TYPES.get(type(value), "") for row in rows for key, value in row.items() if value is not None}
    return {"type": "object", "properties": {key: {"type": kind} for key, kind in fields.items()}} if fields else {}


def known_json(answer: Any) -> Any:
    """Return an answer of the data as JSON: examples have it as text."""
    try:
        return orjson.loads(answer) if isinstance(answer, str) else answer
    except orjson.JSONDecodeError:
        return None


def _free_text(line: str) -> Any:
    if not (text := _PLUS.sub("", line).strip()):
        raise UserError("The answer is empty.")
    return value if are_calls(value := parse_object(text)) else text


def _expected(keys: str, parse: Callable[[str], Any]) -> LabelForm:
    return LabelForm(
        f"{keys} {DECLINE} if the model should decline.",
        lambda line: None if line == DECLINE else parse(line),
        commands=(DECLINE,),
    )


def _answers(project: Project | None, path: Path, cases: Cases) -> list[Any]:
    """Return the known answers: of the examples, of the cases, and of labellers."""
    try:
        rows = read_examples(project.path(project.examples.path)).examples if project and project.examples else ()
    except TuneworthyError:
        rows = ()  # `check` reports their faults; labelling continues without their labels
    return [
        *(row.answer for row in rows if row.answer),
        *(case.expected for case in cases if case.labelled),
        *[label.label for label in read_labels(path)],
    ]


def parse_verdict(line: str) -> bool:
    """Return whether a line says good.

    >>> parse_verdict("G"), parse_verdict("bad")
    (True, False)

    Raises:
        UserError: It says neither.
    """
    good = {"g": True, "good": True, "b": False, "bad": False}.get(line.lower())
    if good is None:
        raise UserError(f"Type g (good) or b (bad), not {line[:40]!r}.")
    return good


def parse_json(line: str) -> Any:
    """Return the JSON that `line` is.

    Raises:
        UserError: It is not JSON.
    """
    try:
        orjson.dumps(value := orjson.loads(line))  # what is read may be too deep to be written
    except (orjson.JSONDecodeError, TypeError) as error:
        raise UserError(f"{line[:60]!r} is not valid JSON ({error}). Type the whole value on one line.") from None
    return value


QUEUES: Mapping[str, Callable[[LabelRequest], Queue]] = dict(
    zip(
        KINDS,
        (open_cases, open_drafts, open_judge, open_suspects, open_shadow, open_review, open_findings, open_audit),
        strict=True,
    )
)


def waiting(found: Mapping[str, Queue | str]) -> dict[str, int]:
    """Return the queues with rows, and how many."""
    return {kind: n for kind, queue in found.items() if isinstance(queue, Queue) and (n := queue.waiting)}


def counted(request: LabelRequest, *kinds: str) -> dict[str, Queue | str]:
    """Return these queues by name, or why they are closed; nothing is stored.

    Without names, all but the audit: it always has rows, and to draw them it scores the answers of the best options.
    """
    found: dict[str, Queue | str] = {}
    for kind in kinds or [kind for kind in QUEUES if kind != "audit"]:
        try:
            found[kind] = QUEUES[kind](replace(request, peek=True))
        except TuneworthyError as error:
            found[kind] = str(error)
    return found
