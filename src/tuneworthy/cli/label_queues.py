"""The queues of `tuneworthy label`: for each kind its rows, its answers, and the next command."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from tuneworthy.cases import read_cases, read_dataset, read_examples
from tuneworthy.cases.labelling import LabelSession, read_labels
from tuneworthy.cases.task_kind import guess_kind
from tuneworthy.cli.label_terminal import ask_label_list, ask_line
from tuneworthy.cli.options import note, person
from tuneworthy.config import FILE_NAME, Project, load
from tuneworthy.config.graders import Choice
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
from tuneworthy.ladder.commands.case_answers import open_answers
from tuneworthy.ladder.task_data import read_data
from tuneworthy.people.queue import FREE_TEXT, GUIDELINE, Guideline, LabelForm, LabelList, Queue
from tuneworthy.people.review import Review, Reviewing, chance_to_pass
from tuneworthy.people.review_log import FILE_NAME as REVIEWS
from tuneworthy.people.review_log import ReviewPlan, content_of
from tuneworthy.report.text import clean
from tuneworthy.shadow.recording import TRAFFIC
from tuneworthy.shadow.replay import label_queue, labels_path, read_shadow
from tuneworthy.store import Folder
from tuneworthy.trust import own_path
from tuneworthy.types import Case, Cases, Example, Texts, calls_of, grouped, role_of, text_of
from tuneworthy.verdict.label_audit import cases_to_audit
from tuneworthy.verdict.suspects import (
    DRAW_SEED,
    RELABELLED,
    contradicts,
    drawn_suspects,
    found_so_far,
    read_relabelled,
    suspects_path,
)

JSON_GRADERS = frozenset({"json_fields", "json_schema", "tool_call"})
# Graders of a task that may be one of labels.
LABEL_GRADERS = frozenset({"exact", "normalised_exact", "choice", "balanced_accuracy", "includes"})
# Known answers that show whether the task is one of labels.
ENOUGH_ANSWERS = 10
DECLINE = "/decline"
# Of the order of an audit, which mixes both strata and is not that of the draw.
AUDIT_SEED = DRAW_SEED + 1
# Test cases whose answers people rate first; 60 more once these are rated.
N_JUDGED = 60
# Characters a second: 600 words a minute of 6 characters, at which people scan for a word (Carver 1992, Reading Rate;
# adults read 238, Brysbaert 2019). No one judges an answer faster.
READ_PER_S = 60
GOOD_OR_BAD = "Type g (good) or b (bad)."
REVIEW_GUIDELINE = (
    "Good: the model should give exactly this answer to this question. Bad: anything in it is wrong, or you are unsure."
)
DECISIONS: Final[Mapping[str, Decision]] = {"k": "keep", "d": "drop"}


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """Whose queue to open.

    Attributes:
        root: The project folder.
        labeller: Who judges; the user of this machine if None.
        every: Also cases that have an answer.
        rungs: Whose answers to rate; those of all compared rungs if empty.
        version: The frozen version to review; the latest if None.
        peek: Whether to open it only to count its rows: nothing is asked, stored or revealed.
    """

    root: Path
    labeller: str | None = None
    every: bool = False
    rungs: Texts = ()
    version: str | None = None
    peek: bool = False

    @property
    def name(self) -> str:
        return person(self.labeller, "--labeller")


@dataclass(frozen=True, slots=True)
class LabelFiles:
    """The files to label.

    Attributes:
        cases: The file of the cases.
        labels: The label file, next to it.
        project: The project, if there is one.
    """

    cases: Path
    labels: Path
    project: Project | None

    @classmethod
    def of(cls, root: Path) -> LabelFiles:
        """Find the files of the folder `root`; a project file need not be there yet."""
        project = load(root) if (root / FILE_NAME).exists() else None
        cases = project.path(project.cases.path) if project else own_path(root, "cases.jsonl")
        return cls(cases, cases.with_name(f"{cases.stem}.labels.jsonl"), project)


def open_cases(request: LabelRequest) -> Queue:
    """Open the cases without an answer.

    Raises:
        UserError: No case waits for a label.
    """
    files = LabelFiles.of(request.root)
    cases = read_cases(files.cases).cases
    labelled = {label.case for label in read_labels(files.labels)}
    pool = [case for case in cases if request.every or not case.labelled or case.id in labelled]
    if not pool:
        raise UserError(
            f"All {len(cases)} cases in {files.cases} are already labelled.",
            hint="Use --all to label them a second time, blind: the agreement shows how reliable the labels are.",
        )
    session = LabelSession(pool, files.labels, request.name, seed=files.project.split.seed if files.project else 7)
    form, guideline = answer_form(files.project, files.labels, cases, peek=request.peek)

    def next_step() -> str:
        return "tuneworthy label cases" if session.next() else "tuneworthy label cases --apply"

    return Queue(
        "cases", "Cases without a label cannot be tested.", session, form, guideline, files.labels, 15, next_step
    )


def open_judge(request: LabelRequest) -> Queue:
    """Open stored answers to rate, good or bad, blind to the variant.

    Raises:
        UserError: No run yet, or its primary grader is no judge.
    """
    project, n = load(request.root), N_JUDGED
    path = verdicts_path(project)
    with open_answers(project) as answers:
        rubric = answers.judge.rubric
        while True:
            items = answers.to_judge(request.rungs, n=n, reveal=not request.peek)
            shown = [Case(id=one.id, input=f"{_sheet(one.case)}\nanswer: {clean(one.answer, 0)}") for one in items]
            session = LabelSession(shown, path, request.name, seed=project.split.seed)
            if session.next() or request.peek or n >= len(answers.session.split.test):
                break
            n += N_JUDGED

    def next_step() -> str:
        return "tuneworthy label judge" if session.next() else "tuneworthy run"

    why = "Ratings correct the judge: it decides only where people rated 50 answers per variant."
    return Queue("judge", why, session, LabelForm(GOOD_OR_BAD, parse_verdict), rubric, path, 15, next_step)


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

    def next_step() -> str:
        if (found := found_so_far(project)) and found.wrong is not None:
            note(f"These {found.n} labels settle the question.")
        return "tuneworthy decide"

    why = "Failed cases may have wrong labels."
    return Queue("suspects", why, session, form, guideline, path, 20, next_step)


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
        cases = [Case(id=case.id, input=_sheet(case)) for case in cases]
        form, guideline = LabelForm(f"Is the reference right? {GOOD_OR_BAD}", parse_verdict), ""
    session = LabelSession(cases, path, request.name, seed=AUDIT_SEED, share=1.0)

    def next_step() -> str:
        wrong = contradicts(data, read_relabelled(project, data))[1]
        return "tuneworthy label audit --apply" if wrong else "tuneworthy decide"

    why = "The share of wrong test labels limits every score."
    return Queue("audit", why, session, form, guideline, path, 20, next_step)


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
    form, guideline = LabelForm(GOOD_OR_BAD, parse_verdict), ""
    if not judges:
        form, guideline = answer_form(project, path, (), peek=request.peek)

    def next_step() -> str:
        record = read_shadow(Folder(project.root))
        if session.next():
            return "tuneworthy label shadow"
        if record and any(source.endswith(TRAFFIC) for source in record.sources):
            note("If `shadow proxy` runs, it counts the labels after midnight UTC. More sessions may need labels then.")
        return record.command if record else "tuneworthy shadow replay FILES"

    why = "Traffic without labels can never pass."
    return Queue("shadow", why, session, form, guideline, path, 30, next_step)


def open_review(request: LabelRequest) -> Queue:
    """Open the random sample of a frozen version under its plan, which is fixed first.

    Raises:
        UserError: There is no such version, or no sample can show that enough rows are good.
    """
    version, review = review_of(request.root, request.version)
    state, plan = review.state(), review.plan(fix=not request.peek)
    way = review.reviewing(request.name, plan)
    session = ReviewSession(way, _findings_of(version, plan))
    if not request.peek and state.status in {"no_plan", "open"}:
        note(
            f"Version {plan.version}, attempt {plan.attempt}: rate {len(way.assigned())} rows; at most {plan.max_bad} "
            f"may be bad. A version with 1% bad rows passes with a probability of "
            f"{chance_to_pass(plan.n, plan.max_bad):.0%}."
        )
    if not request.peek and state.plan is None:
        note("The plan is fixed now and counts as an attempt, even if you rate no row.")
    form = LabelForm("Type g if the row is good to train on as it is. Otherwise type b and the reason.", _parse_rating)
    if (request.root / FILE_NAME).is_file():
        project = load(request.root)
        form = replace(form, labels=_known_labels(project, LabelFiles.of(request.root).labels, ())[0])

    def next_step() -> str:
        steps = {"accepted": "tuneworthy plan", "rejected": "tuneworthy data build"}
        return steps.get(review.state().status, "tuneworthy label review")

    why = "The gate `dataset_review` needs a random sample rated by people."
    return Queue("review", why, session, form, REVIEW_GUIDELINE, review.path, 10, next_step)


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
    if good := parse_verdict(word):
        return good, reason.strip()
    return good, reason.strip() or ask_line("Why is it bad? ").strip()


class ReviewSession:
    """A reviewer's way through a sample, in the form of a queue.

    `findings` of a row (reports of the checks) are shown after its rating, so that they cannot bend it.
    """

    def __init__(self, way: Reviewing, findings: Mapping[str, Sequence[str]]) -> None:
        self.way, self.findings = way, findings
        self._clock = clock()
        self._shown: tuple[str, int, float] = ("", 0, 0.0)

    @property
    def assigned(self) -> Texts:
        return self.way.assigned()

    @property
    def n_done(self) -> int:
        return self.way.n_given()

    def next(self) -> Case | None:
        row = self.way.next()
        if row is None:
            return None
        if self._clock is not None and self._shown[0] != row.id:
            # System messages are the same in every row, so that no one has to read them again.
            n_characters = sum(len(text_of(message)) for message in row.messages if role_of(message) != "system")
            self._shown = row.id, n_characters, self._clock()
        return Case(id=row.id, input=sheet(row))

    def submit(self, case_id: str, label: tuple[bool, str]) -> None:
        """Bring a rating to disk.

        Raises:
            UserError: No one reads that fast, or the reason is missing.
        """
        good, reason = label
        if good and self._clock is not None:
            _, n_shown, since = self._shown
            if (seconds := self._clock() - since) < n_shown / READ_PER_S:
                raise UserError(
                    f"This row cannot be read in {seconds:.1f} seconds, so the rating was not saved. Read the row, "
                    "then rate it again."
                )
        self.way.give(case_id, good=good, reason=reason)
        note(*self.findings.get(case_id, ()))

    def skip(self, case_id: str) -> None:
        self.way.skip(case_id)

    def undo(self) -> None:
        self.way.undo()


def clock() -> Callable[[], float] | None:
    """Return the clock of reading times; only people read, and only on a terminal."""
    return time.monotonic if sys.stdin.isatty() else None


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
    project = load(request.root) if (request.root / FILE_NAME).is_file() else None
    cases = read_dataset(project, examples=False).cases if project else ()
    session = FindingSession(path, version.id, suspect_rows(version, read_corrections(path), cases), request.name)
    labels = _known_labels(project, LabelFiles.of(request.root).labels, ())[0]
    form = LabelForm(
        "Type k to keep the row as it is, d to drop it, a to accept the suggested label, or e and the right answer.",
        parse_decision,
        labels,
    )
    why = "Checks reported rows that may be wrong. The next build applies your decisions."
    return Queue("findings", why, session, form, "", path, 15, lambda: "tuneworthy data build")


def parse_decision(line: str) -> tuple[str, str]:
    """Return the decision of a line, and the new answer.

    >>> parse_decision("a"), parse_decision("e card_arrival")
    (('accept', ''), ('answer', 'card_arrival'))

    Raises:
        UserError: It decides nothing.
    """
    word, _, answer = line.strip().partition(" ")
    if word.lower() == "e" and answer.strip():
        return "answer", answer.strip()
    if not answer.strip() and (decision := {"a": "accept", **DECISIONS}.get(word.lower())):
        return decision, ""
    raise UserError(f"Type a, k, d, or e and the right answer, not {line[:40]!r}.")


class FindingSession:
    """One person's way through rows with findings, in the form of a queue."""

    def __init__(self, path: Path, version: str, suspects: Sequence[SuspectRow], reviewer: str) -> None:
        self.path, self.version, self.reviewer = path, version, reviewer
        self._queue = {suspect.row.id: suspect for suspect in suspects}
        self.assigned: Texts = tuple(self._queue)
        self._done: list[SuspectRow] = []

    @property
    def n_done(self) -> int:
        return len(self._done)

    def next(self) -> Case | None:
        suspect = next(iter(self._queue.values()), None)
        if suspect is None:
            return None
        parts = [sheet(suspect.row), *(f"finding: {clean(text)}" for text in suspect.reasons)]
        if suspect.rival is not None:
            parts.append(f"another row has the same question with the answer: {clean(suspect.rival.answer)}")
        if suspect.suggested:
            parts.append(f"suggested label: {clean(suspect.suggested)} (type a to accept it)")
        return Case(id=suspect.row.id, input="\n".join(parts))

    def submit(self, case_id: str, label: tuple[str, str]) -> None:
        """Bring a decision to disk.

        Raises:
            UserError: It accepts a label that no check suggests.
        """
        suspect, (word, answer) = self._queue[case_id], label
        if word == "accept" and not suspect.suggested:
            raise UserError("No label is suggested for this row. Type k, d, or e and the right answer.")
        accepted: Decision = "answer" if word in {"accept", "answer"} else "keep" if word == "keep" else "drop"
        self._write(case_id, accepted, suspect.suggested if word == "accept" else answer)
        self._done.append(self._queue.pop(case_id))

    def skip(self, case_id: str) -> None:
        self._queue[case_id] = self._queue.pop(case_id)

    def undo(self) -> None:
        """Take the last decision of this session back.

        Raises:
            UserError: There is no such decision.
        """
        if not self._done:
            raise UserError("This session has made no decision yet.")
        suspect = self._done.pop()
        self._write(suspect.row.id, "open")
        self._queue = {suspect.row.id: suspect, **self._queue}

    def _write(self, row: str, decision: Decision, answer: str = "") -> None:
        write_correction(
            self.path,
            Correction(row=row, version=self.version, reviewer=self.reviewer, decision=decision, answer=answer),
        )


def answer_form(project: Project | None, path: Path, cases: Cases, *, peek: bool) -> tuple[LabelForm, str]:
    """Return the form of the expected answers and the guideline; ask for the label list where nothing is known yet."""
    guideline = guideline_of(project, path)
    grader = project.graders[0].type if project else "exact"
    if grader in JSON_GRADERS:
        return _expected("Type the expected answer as JSON on one line.", parse_json), guideline.text
    names, closed = _known_labels(project, path, cases)
    n_known = len(_answers(project, path, cases))
    if not (names or guideline.text or peek or grader not in LABEL_GRADERS or n_known >= ENOUGH_ANSWERS):
        names = ask_label_list(guideline.path.name)
        guideline.add(names, FREE_TEXT if not names else "Choose the label of the main request.")
        guideline = Guideline.read(guideline.path)
    if not names:
        # The plus of a number is part of the answer.
        parse = lambda line: line[1:] if line[:1] == "+" and line[1:2].isalpha() else line  # noqa: E731
        return _expected("Type the expected answer.", parse), guideline.text
    keys = f"Type a label or its number.{'' if closed else ' +NAME adds a label.'}"
    form = _expected(keys, LabelList(names, closed, guideline).choose)
    return replace(form, labels=names, numbered=True), guideline.text


def _expected(keys: str, parse: Callable[[str], Any]) -> LabelForm:
    return LabelForm(
        f"{keys} {DECLINE} if the model should decline.",
        lambda line: None if line == DECLINE else parse(line),
        commands=(DECLINE,),
    )


def guideline_of(project: Project | None, path: Path) -> Guideline:
    """Return the guideline next to the cases, or without a project next to the label file `path`."""
    return Guideline.read((project.path(project.cases.path) if project else path).with_name(GUIDELINE))


def _known_labels(project: Project | None, path: Path, cases: Cases) -> tuple[list[str], bool]:
    """Return the labels of the task, and whether the project lists all of them.

    A guideline without labels says that answers are free text.
    """
    closed = [one.labels for one in (project.graders if project else ()) if isinstance(one, Choice) and one.labels]
    if closed:
        return list(closed[0]), True
    guideline, kind = guideline_of(project, path), guess_kind(_answers(project, path, cases))
    known = kind.labels if kind.name == "label" and FREE_TEXT not in guideline.text else ()
    return list(dict.fromkeys([*guideline.labels, *known])), False


def _answers(project: Project | None, path: Path, cases: Cases) -> list[Any]:
    """Return the known answers: of the examples, of the cases, and of labellers."""
    try:
        rows = read_examples(project.path(project.examples.path)).examples if project and project.examples else ()
    except TuneworthyError:
        rows = ()  # `check` reports their faults; labelling continues without their labels
    labels = [label.label for label in read_labels(path)]
    return [*(row.answer for row in rows if row.answer), *(case.expected for case in cases if case.labelled), *labels]


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
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UserError(f"{line[:60]!r} is not valid JSON ({error}). Type the whole value on one line.") from None


# In the order in which a person's time helps most.
QUEUES: Mapping[str, Callable[[LabelRequest], Queue]] = {
    "cases": open_cases,
    "judge": open_judge,
    "suspects": open_suspects,
    "shadow": open_shadow,
    "review": open_review,
    "findings": open_findings,
    "audit": open_audit,
}


def counted(request: LabelRequest) -> dict[str, Queue | str]:
    """Return each queue by name, or why it is closed; nothing is stored."""
    found: dict[str, Queue | str] = {}
    for kind, opener in QUEUES.items():
        try:
            found[kind] = opener(replace(request, peek=True))
        except TuneworthyError as error:
            found[kind] = str(error)
    return found
