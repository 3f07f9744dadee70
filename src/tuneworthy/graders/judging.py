"""When a judge is the primary grader: people's verdicts on a random part of the answers, and their corrections.

Invariants: no comparison is decided only by a judge; people judge the first cases of one seeded order, the same for
all variants, and only an unbroken beginning of that order counts, so that it stays a random sample whoever stops
where. A verdict belongs to rubric, question, reference and answer: if one changes, it counts no longer; where
two variants give the same answer, it counts for both. The variant of an answer is hidden.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuneworthy.cases.labelling import read_labels
from tuneworthy.cases.readers.faults import show
from tuneworthy.cases.splits import Split
from tuneworthy.cases.stratified import rank
from tuneworthy.config.graders import Judge
from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.graders.family import same_family
from tuneworthy.graders.judge import JudgeGrader
from tuneworthy.graders.validate import MIN_HUMAN, JudgedAnswer, JudgeValidation, validate_judge
from tuneworthy.stats.paired import NonInferiority, PairedResult
from tuneworthy.stats.ppi import Corrected, correct_judge
from tuneworthy.store import Folder
from tuneworthy.text import Shown, Summary, count
from tuneworthy.types import Case, Cases, NamedFloats, Trace, Traces, content_hash, frozen

# `.tuneworthy/judge.json`: the last validation, for the gate and the report.
DOCUMENT = "judge"


@dataclass(frozen=True, kw_only=True, repr=False)
class ScoredAnswers(Shown):
    """The answers of a variant, with the primary grader's `num` and `den`: `(n_cases,)`, NaN where unscored."""

    traces: Traces
    num: np.ndarray
    den: np.ndarray

    def summary(self) -> Summary:
        scored = np.isfinite(self.num)
        score = self.num[scored].sum() / (self.den[scored].sum() or np.nan)
        return [f"{score:.1%} of {count(int(scored.sum()), 'case')}, {int((~scored).sum())} without a score"], []

    @property
    def scores(self) -> np.ndarray:
        return np.asarray(self.num / self.den)


@frozen
class JudgeErrors:
    """How people's verdicts on the answers of one variant differ from the judge's.

    Attributes:
        n: Answers that people judged.
        missed: Share of the answers that pass by the judge and are bad by people.
        false_alarms: Share of the answers that fail by the judge and are good by people.
    """

    n: int
    missed: float
    false_alarms: float


@dataclass(frozen=True, slots=True)
class Item:
    """An answer for a person to judge.

    Attributes:
        id: Key of a stored verdict.
    """

    id: str
    case: Case
    answer: str


def verdicts_path(project: Project) -> Path:
    """Return where people's verdicts on answers are: next to the cases, because they are work, not output."""
    cases = project.path(project.cases.path)
    return cases.with_name(f"{cases.stem}.verdicts.jsonl")


def read_verdicts(path: Path) -> NamedFloats:
    """Return item id to the mean of what its labellers say, 0..1; the last rating per labeller counts.

    Raises:
        UserError: A verdict is neither true nor false.
    """
    verdicts: dict[str, dict[str, bool]] = defaultdict(dict)
    for row in read_labels(path):
        if not isinstance(row.label, bool):
            raise UserError(
                f"A rating in {path} must be true or false, not {show(row.label)}.",
                hint="Fix this rating.",
            )
        verdicts[row.case][row.labeller] = row.label
    return {item: sum(by.values()) / len(by) for item, by in verdicts.items()}


class Judging:
    """The standing of the judge of a project, as far as answers have been seen.

    Args:
        project: Its configuration.
        split: Its cases.
        judge: The primary grader.

    Attributes:
        validation: The last one; None before `learn`.
    """

    def __init__(self, project: Project, split: Split, judge: JudgeGrader) -> None:
        self.project, self.split, self.judge = project, split, judge
        self.validation: JudgeValidation | None = None
        self._verdicts = read_verdicts(verdicts_path(project))
        self._answers: dict[str, Item] = {}

    def item(self, case: Case, answer: str) -> Item:
        reference = case.expected if self.judge.needs_expected and case.labelled else None
        return Item(content_hash([self.judge.rubric, case.text, reference, answer]), case, answer)

    def items(self, traces: Iterable[Trace], n: int) -> list[Item]:
        """Return what people are asked about these answers: first repeats to the first `n` cases, each answer once.

        Args:
            traces: Of any number of variants, on test.
            n: Cases.
        """
        wanted = {case.id: case for case in self._order(self.split.test)[:n]}
        found = [self.item(wanted[trace.case_id], trace.text) for trace in _first(traces) if trace.case_id in wanted]
        return list({one.id: one for one in found if one.answer.strip()}.values())

    async def learn(self, cases: Cases, traces: Iterable[Trace]) -> JudgeValidation:
        """Take note of answers, validate the judge on people's verdicts, and store the result.

        Raises:
            TuneworthyError: Budget spent, key refused, provider down.
        """
        by_id = {case.id: case for case in cases}
        items = (self.item(by_id[trace.case_id], trace.text) for trace in _first(traces))
        self._answers |= {item.id: item for item in items}
        answers = [
            JudgedAnswer(case=one.case, answer=one.answer, good=value > 0.5)
            for key, value in self._verdicts.items()
            if value != 0.5
            and (one := self._answers.get(key)) is not None
            and not (self.judge.needs_expected and one.case.expected is None)
        ]
        self.validation = await validate_judge(
            self.judge, self.split.dev, answers, warnings=family_warnings(self.project)
        )
        Folder(self.project.root).write(
            DOCUMENT, self.validation.to_dict() | {"judge": content_hash(dict(self.judge.identity))}
        )
        return self.validation

    def correct(
        self,
        cases: Cases,
        a: ScoredAnswers,
        b: ScoredAnswers,
        gain: PairedResult,
        bound: NonInferiority,
        *,
        groups: np.ndarray,
    ) -> tuple[PairedResult, NonInferiority, str]:
        """Correct a comparison by people's verdicts.

        Args:
            cases: `(n_cases,)`.
            a: The candidate.
            b: Its rival.
            gain: The comparison by judge scores only, at the current alpha.
            bound: Its non-inferiority, at the current margin.
            groups: `(n_cases,)` labels of cases that share a source.

        Returns:
            Both corrected, and ""; or as they were, and why they may not decide.
        """
        if self.validation is None or self.validation.status == "fail":
            reasons = self.validation.reasons if self.validation else ["it has not been validated"]
            return gain, bound, f"the judge cannot be used: {' '.join(reasons).removesuffix('.')}"
        scored, (human_a, human_b), n = self._people_on(cases, a, b)
        if n < MIN_HUMAN:
            return (
                gain,
                bound,
                f"people have rated both variants on only {n} of the first {MIN_HUMAN} sampled cases (to add ratings, "
                "run `tuneworthy label judge`)",
            )
        found = correct_judge(a.scores[scored], b.scores[scored], human_a, human_b, groups[scored])
        return found.paired(gain.alpha), found.non_inferior(bound.margin, bound.alpha), ""

    def level(self, cases: Cases, one: ScoredAnswers, *, groups: np.ndarray) -> Corrected | None:
        scored, (human,), n = self._people_on(cases, one)
        if n < MIN_HUMAN:
            return None
        scores = one.scores[scored]
        return correct_judge(np.zeros(len(scores)), scores, human * 0, human, groups[scored])

    def errors(self, cases: Cases, one: ScoredAnswers, threshold: float) -> JudgeErrors | None:
        """Return where people overrule the judge on the answers of a variant; None with too few verdicts.

        Args:
            cases: `(n_cases,)`.
            one: The answers to them.
            threshold: Score from which an answer passes.
        """
        scored, (human,), n = self._people_on(cases, one)
        if n < MIN_HUMAN:
            return None
        rated = ~np.isnan(human)
        good, passes = human[rated] > 0.5, one.scores[scored][rated] >= threshold
        return JudgeErrors(
            n=n,
            missed=float((~good & passes).sum() / max(1, passes.sum())),
            false_alarms=float((good & ~passes).sum() / max(1, (~passes).sum())),
        )

    def verdict(self, case: Case, answer: str) -> float | None:
        found = self._verdict(case, answer)
        return None if np.isnan(found) else found

    def _order(self, cases: Cases) -> list[Case]:
        return sorted(cases, key=lambda case: rank(self.project.split.seed, f"verdict {case.id}"))

    def _people_on(self, cases: Cases, *variants: ScoredAnswers) -> tuple[np.ndarray, list[np.ndarray], int]:
        """Return which cases all variants have scored, people's verdicts on these by variant, and how many count."""
        scored = ~np.isnan(np.sum([one.scores for one in variants], axis=0))
        people = [self._people(cases, one.traces) for one in variants]
        usable = self._unbroken(cases, scored, ~np.isnan(np.sum(people, axis=0)))
        return scored, [np.where(usable, one, np.nan)[scored] for one in people], int(usable.sum())

    def _people(self, cases: Cases, traces: Iterable[Trace]) -> np.ndarray:
        by_id = {trace.case_id: trace.text for trace in _first(traces)}
        return np.array([self._verdict(case, by_id.get(case.id)) for case in cases])

    def _verdict(self, case: Case, answer: str | None) -> float:
        if answer is None:
            return float("nan")
        return self._verdicts.get(self.item(case, answer).id, float("nan")) if answer.strip() else 0.0

    def _unbroken(self, cases: Cases, scored: np.ndarray, has_verdict: np.ndarray) -> np.ndarray:
        """Mark the cases in the order of the draw up to the first without verdicts; unscored cases are skipped."""
        place = {case.id: i for i, case in enumerate(cases)}
        usable = np.zeros(len(cases), dtype=bool)
        for case in self._order(cases):
            i = place[case.id]
            if scored[i] and not has_verdict[i]:
                break
            usable[i] = scored[i]
        return usable


def _first(traces: Iterable[Trace]) -> list[Trace]:
    return [trace for trace in traces if trace.repeat == 0 and trace.response is not None]


def family_warnings(project: Project) -> list[str]:
    names = {name: str(getattr(model, "model", name)) for name, model in project.models.items()}
    judges = [grader.model for grader in project.graders if isinstance(grader, Judge)]
    return [
        f"models.{judge} judges answers from models.{name}, although {shared}."
        for judge in judges
        for name in project.answering
        if (shared := same_family(names[judge], names[name]))
    ]
