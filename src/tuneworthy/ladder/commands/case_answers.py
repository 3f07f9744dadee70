"""Why did this case fail? Stored answers to a case by rung of the last run.

Invariants: no model is called, no lock is held; answers to a test case are shown only if they are revealed,
which is recorded first.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from tuneworthy.config.project import FILE_NAME, Project
from tuneworthy.engine.budget import Budget
from tuneworthy.errors import UnknownName, UserError
from tuneworthy.graders.apply import make_grader
from tuneworthy.graders.base import GradingContext
from tuneworthy.graders.judge import JudgeGrader
from tuneworthy.graders.judging import Item, Judging
from tuneworthy.ladder import messages
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.ladder.session import Session, required_run, shown_run
from tuneworthy.ladder.task_data import read_data, record_reveal
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.text import listed
from tuneworthy.types import Case, Cases, JsonMapping, NamedInts, RungStatus, Say, Texts, Variant, frozen

COMMAND = "cases show"


@frozen
class StoredAnswer:
    """One stored answer of one rung's variant, judged by the primary grader.

    Attributes:
        score: 0..1; None if unscored.
        reason: Why it is not right, or not scored.
        thinking: The text before the answer.
        detail: The grader's detail.
    """

    case: str
    rung: str
    name: str
    repeat: int
    expected: Any
    text: str
    score: float | None
    reason: str
    thinking: str = ""
    detail: JsonMapping = field(default_factory=dict)


@frozen
class CaseAnswers:
    """A case and the answers by rung.

    Attributes:
        side: `dev`, `test` or `unused`.
        hidden: Why no answers are shown; "" if they are.
    """

    case: str
    side: str
    question: str
    expected: Any
    answers: Sequence[StoredAnswer] = ()
    hidden: str = ""


@frozen
class Failures:
    """The failed cases of one variant.

    Attributes:
        on: `dev`, or `dev and test`.
        n: Cases with a stored answer that is scored.
        failed: Answers that are not fully right, worst first; of a case that was asked several times, the worst.
        reasons: How often each occurs.
    """

    rung: str
    name: str
    grader: str
    on: str
    n: int
    failed: Sequence[StoredAnswer]
    reasons: NamedInts


class StoredAnswers:
    """The stored answers of the last run; open it with `open_answers`.

    Args:
        session: The project, opened without a lock.
        record: The last run (or quick run); None without one.

    Attributes:
        sides: Case to `dev`, `test` or `unused`.
    """

    def __init__(self, session: Session, record: RunRecord | None) -> None:
        self.session = session
        self._record = record
        sides = {"unused": session.data.cases, "test": session.split.asked, "dev": session.split.dev}
        self.sides = {case.id: side for side, cases in sides.items() for case in cases}
        self._cases = {case.id: case for case in (*session.data.cases, *session.split.dev)}

    @property
    def record(self) -> RunRecord:
        """The last run.

        Raises:
            UserError: Nothing was run yet.
        """
        return self._record or required_run(self.session.project)

    def of_case(self, word: str, rung: str | None = None, *, reveal_test: bool = False) -> CaseAnswers:
        """Return the answers to a case by rung (or only of `rung`).

        Args:
            word: Its id, or the start of its id.
            rung: A rung of the run, `best`, `current` or the folder of a changed project (see `compare`).
            reveal_test: Show it even if it is a test case.

        Raises:
            UserError: No such case or rung.
        """
        case = self._case(word)
        side = self.sides[case.id]
        rungs = [
            self.rung(name) for name in ([rung] if rung else [row.rung for row in self.record.rungs if row.variant])
        ]
        shown = CaseAnswers(case=case.id, side=side, question=case.text, expected=expected_of(case))
        if side == "test" and not reveal_test:
            return replace(
                shown,
                hidden=(
                    "This is a test case, so its answers are hidden to prevent tuning on the test set. To see them, "
                    "pass --reveal-test."
                ),
            )
        if side == "test":
            record_reveal(self.session.folder, [case.id], COMMAND)
        return replace(shown, answers=[answer for one in rungs for answer in self.answers(*one, [case])])

    def failed(self, rung: str | None = None, *, reveal_test: bool = False) -> Failures:
        """Return the failed dev cases of the best variant (or of `rung`'s); those of test too if they are revealed.

        Raises:
            UserError: No such rung.
        """
        row, variant = self.rung(rung or "best")
        split = self.session.split
        cases = [*split.dev, *split.test] if reveal_test else list(split.dev)
        answers = [answer for answer in self.answers(row, variant, cases) if answer.score is not None]
        if reveal_test:
            record_reveal(self.session.folder, (a.case for a in answers if self.sides[a.case] == "test"), COMMAND)
        worst = worst_answers(answers)
        failed = sorted((a for a in worst.values() if (a.score or 0.0) < 1), key=lambda a: (a.score or 0.0, a.case))
        return Failures(
            rung=row.rung,
            name=variant.name,
            grader=self.session.project.graders[0].type,
            on="dev and test" if reveal_test else "dev",
            n=len(worst),
            failed=failed,
            reasons=dict(Counter(answer.reason or "wrong" for answer in failed).most_common()),
        )

    def failing(self, rungs: Texts, cases: Cases) -> set[str]:
        """Return the ids of the cases that one of these rungs does not answer fully right; shows no answer."""
        answers = [one for rung in rungs for one in self.answers(*self.rung(rung), cases)]
        return {answer.case for answer in answers if answer.score is not None and answer.score < 1}

    def to_judge(self, *, n: int, reveal: bool = True) -> list[Item]:
        """Return answers of all rungs that were compared on test for people to judge, blind to the variant.

        Args:
            n: Cases, the first of a seeded order.
            reveal: Whether to record the cases as revealed.

        Raises:
            UserError: The primary grader is no judge, or nothing was compared on test.
        """
        project, split = self.session.project, self.session.split
        traces = [
            trace
            for row in self.record.rungs
            if row.variant and row.score is not None
            for trace in self.session.stored(self.record.variants[row.variant], split.test)
        ]
        items = Judging(project, split, self.judge).items(traces, n)
        if not items:
            raise UserError("There are no stored answers to test cases.", hint="Run `tuneworthy run` without --quick.")
        if reveal:
            record_reveal(self.session.folder, (item.case.id for item in items), "label judge")
        return items

    @cached_property
    def judge(self) -> JudgeGrader:
        """The primary grader, without its model.

        Raises:
            UserError: The primary grader is no judge.
        """
        config = self.session.project.graders[0]
        if config.type != "judge":
            raise UserError(
                f"No answer waits for your rating: no judge scores this task, but the grader {config.type!r}.",
                hint="`tuneworthy label audit` opens test cases of the last run.",
            )
        return cast(JudgeGrader, make_grader(config, GradingContext(root=self.session.project.root)))

    def _case(self, word: str) -> Case:
        if word in self._cases:
            return self._cases[word]
        hits = [case for identity, case in self._cases.items() if identity.startswith(word)]
        if len(hits) != 1:
            raise UserError(
                f"{word!r} must match exactly one case. Matches: {listed([c.id for c in hits]) or 'none'}.",
                hint="Run `tuneworthy cases show` to list the IDs of failed dev cases.",
            )
        return hits[0]

    def rung(self, word: str) -> tuple[RungRecord, Variant]:
        """Return the rung that `word` means (see `of_case`), and its variant.

        Raises:
            UserError: The run has no rung of that name with a variant.
        """
        if word == "current" or Path(word, FILE_NAME).is_file():
            return RungRecord(rung=word, status=RungStatus.REFERENCE), resolve(self.session, word)
        rungs = {row.rung: (row, self.record.variants[row.variant]) for row in self.record.rungs if row.variant}
        if not rungs:
            raise UserError("The last run has no variants.", hint=messages.say("run_ladder_again"))
        if word == "best":
            rows = [row for row, _ in rungs.values()]
            candidates = [row for row in rows if row.rung != "classical"] or rows
            first = max(candidates, key=lambda row: row.candidates[0].score if row.candidates else 0)
            return rungs[(self.record.best or first).rung]
        if word not in rungs:
            raise UnknownName("rung in the last run", word, ["best", *rungs])
        return rungs[word]

    def answers(self, row: RungRecord, variant: Variant, cases: Cases) -> list[StoredAnswer]:
        """Return the answers that are stored, those to test cases too: the caller hides them."""
        traces = self.session.stored(variant, cases, repeats=row.repeats)
        _, _, scores = asyncio.run(self.session.score(traces, cases))
        return [
            StoredAnswer(
                case=trace.case_id,
                rung=row.rung,
                name=variant.name,
                repeat=trace.repeat,
                expected=expected_of(self._cases[trace.case_id]),
                text=trace.text,
                score=score.value,
                reason=score.reason or score.unscored,
                thinking=trace.thinking,
                detail=dict(score.detail),
            )
            for trace, score in zip(traces, scores, strict=True)
        ]


@contextmanager
def open_answers(project: Project, *, say: Say = lambda _: None, any_thread: bool = False) -> Iterator[StoredAnswers]:
    """Open the stored answers of `project`.

    Args:
        project: The project.
        say: Told if only a quick run is there.
        any_thread: Whether other threads may read them, one at a time.

    Raises:
        UserError: The data is wrong.
    """
    folder = Folder(project.root)
    record = shown_run(project)
    if record is None and (record := shown_run(project, "quick")) is not None:
        say("There is no full run yet. These answers come from a quick run.")
    if record and record.partial:
        say(messages.say("partial_answers", reason=record.partial))
    data = read_data(project)
    store = ResponseStore(folder.responses, any_thread=any_thread)
    session = Session(project, data, store, None, Budget(None), identities=record.judges if record else {})
    try:
        yield StoredAnswers(session, record)
    finally:
        store.close()
        if session.library:
            session.library.close()


def worst_answers(answers: Iterable[StoredAnswer]) -> dict[str, StoredAnswer]:
    """Return the worst of the repeats by case; one that is not scored only without others."""
    return {a.case: a for a in sorted(answers, key=lambda a: (a.score is not None, -(a.score or 0.0), -a.repeat))}


def expected_of(case: Case) -> Any:
    return ("(decline)" if case.expected is None else case.expected) if case.labelled else "(no label)"
