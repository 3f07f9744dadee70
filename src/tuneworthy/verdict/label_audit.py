"""Errors of labels: people label failures again, blind, before labels may decide, and audit a random sample of test.

A random part of all failures, not only of those that models suspect: what they do not see would count as right, and a
share of all failures is what the outcome hangs on. The audit gives the share of wrong labels and the ceiling of a
score.

Test cases form two strata: those that one of the best options fails (the best, and all whose score is within its
interval), and all others. Each session draws as many of each as `SESSION` says, in a random order that mixes them, so
that no order, count or sheet tells an answer of a model.
Invariants: a case never changes its stratum, and the sample of a stratum is random, so that weights of the inverse
inclusion probability give the share in all of test, whatever the failures have in common.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from tuneworthy.arrays import Bools, Floats
from tuneworthy.cases.labelling import read_labels
from tuneworthy.cases.stratified import rank
from tuneworthy.cases.task_kind import answer_text
from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.graders.text import normalise
from tuneworthy.ladder.commands.case_answers import StoredAnswers
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.ladder.session import Session, shown_run
from tuneworthy.ladder.task_data import TaskData
from tuneworthy.stats.intervals import clopper_pearson, lower_bound, upper_bound
from tuneworthy.store import Folder
from tuneworthy.types import Bounds, Case, Cases, JsonMapping, JsonObject, NamedFloats, Texts, frozen
from tuneworthy.verdict.base import LabelCeiling
from tuneworthy.verdict.error_analysis import FILE, ErrorAnalysis
from tuneworthy.verdict.evidence import LEVER_ALPHA, Evidence, with_eligible_best

# Order of the draw, which is that of the labelling session: who stops early leaves a random part labelled.
DRAW_SEED = 0
# Failures that people label again at least before these decide; after every fifteen a session looks whether they do.
RELABELLED = 15
# Failures of a session that is never settled: where 70% are the label's, four looks show it in 95% of the sessions,
# after 31 labels on average; where 90% are (or 10%), after 16.
AT_MOST = 60
# Test cases of a session of the audit: of those that one of the best options fails, and of all others.
SESSION = {True: AT_MOST, False: 40}
# Level of each look. Where exactly half are the label's, one of four looks says most in 9% of the sessions, few in 9%.
LOOK_ALPHA = 0.05
# Parameter of the beta distribution of the share of failures that are the label's, before people labelled any: mostly
# one kind of failure.
ONE_KIND = 0.5
FILE_SUFFIX = ".suspects.jsonl"


def suspects_path(project: Project) -> Path:
    """Return where the labels of failed cases are: next to the cases, because they are work, not output."""
    cases = project.path(project.cases.path)
    return cases.with_name(f"{cases.stem}{FILE_SUFFIX}")


def drawn(report: ErrorAnalysis, labels: JsonMapping | None = None) -> list[str]:
    """Return the ids of the cases that people label again: the first of a seeded order, sixty more after each sixty.

    Args:
        report: The error analysis.
        labels: What people gave as labels so far.
    """
    order = _order(report)
    return order[: (_unbroken(order, labels or {}) // AT_MOST + 1) * AT_MOST]


def drawn_suspects(project: Project) -> list[str]:
    """Return the ids of the cases that people label again, by the last error analysis; none without one."""
    report = Folder(project.root).read(FILE, ErrorAnalysis)
    return drawn(report, read_relabelled(project)) if report else []


@frozen
class Relabelling:
    """What people found who labelled failed cases again.

    Attributes:
        n: Failures that they labelled.
        wrong: Whether most failures are errors of the label; None where their labels do not settle it.
        to_label: Failures that they are to label next, at most.
        chances: That labels of these show most failures to be the label's, and most not to be.
    """

    n: int
    wrong: bool | None
    to_label: int
    chances: Bounds


def relabelling(report: ErrorAnalysis, labels: JsonMapping) -> Relabelling:
    """Return what people's labels say of the failures of an error analysis.

    A failure is the label's if people give the answer of the variant instead.
    """
    order = _order(report)
    m = _unbroken(order, labels)
    k = sum(_text(labels[case]) == normalise(report.answers[case]) for case in order[:m])
    alpha = LOOK_ALPHA if len(order) > RELABELLED else LEVER_ALPHA  # the only look
    wrong = None
    if order and m >= min(RELABELLED, len(order)) and not lower_bound(k, m, alpha) <= 0.5 <= upper_bound(k, m, alpha):
        wrong = 2 * k > m
    names = set(drawn(report, labels))
    return Relabelling(
        n=len(labels.keys() & report.answers.keys()),
        wrong=wrong,
        to_label=len(names - labels.keys()),
        chances=chance_to_show(k, m, max(0, len(names) - m)),
    )


def found_so_far(project: Project) -> Relabelling | None:
    """Return what people's labels say of the failures of the last error analysis; None without one."""
    report = Folder(project.root).read(FILE, ErrorAnalysis)
    return relabelling(report, read_relabelled(project)) if report else None


def chance_to_show(k: int, m: int, more: int) -> Bounds:
    """Return the chances that `more` labels show most failures to be the label's, and most not to be.

    Before any was labelled, failures are taken to be mostly of one kind. That the question may be settled earlier is
    left out: it adds up to 4 points.

    Args:
        k: Failures found to be the label's.
        m: Failures that were labelled.
        more: Failures that are to be labelled.

    >>> [[round(chance, 2) for chance in chance_to_show(*counts)] for counts in ((0, 0, 15), (9, 15, 30))]
    [[0.33, 0.33], [0.37, 0.01]]
    """
    total = m + more
    if total == 0:
        return 0.0, 0.0
    weights = scipy.stats.betabinom(more, ONE_KIND + k, ONE_KIND + m - k).pmf(range(more + 1))
    most = sum(weight for n, weight in enumerate(weights) if lower_bound(k + n, total, LOOK_ALPHA) > 0.5)
    few = sum(weight for n, weight in enumerate(weights) if upper_bound(k + n, total, LOOK_ALPHA) < 0.5)
    return float(most), float(few)


def _order(report: ErrorAnalysis) -> list[str]:
    return sorted(report.answers, key=partial(rank, DRAW_SEED))


def _unbroken(order: Texts, labelled: Collection[str]) -> int:
    """Return how many of the first cases are labelled without a gap, so that they stay a random draw."""
    return next((index for index, case in enumerate(order) if case not in labelled), len(order))


def contradicts(data: TaskData, labels: JsonMapping) -> tuple[set[str], set[str]]:
    """Return the cases whose label people contradict: as it was at the first run, and as it is now.

    Args:
        data: Cases, and what was corrected since the first run.
        labels: Case to what people gave: a label, or for other tasks whether the expected answer is right.
    """
    was, still, changed = set(), set(), {*data.dataset.changes.relabelled}
    for case in (*data.split.dev, *data.split.test):
        label = labels.get(case.id, case.expected)
        corrected, is_rating = case.id in changed, is_rated(data, label)
        differs = not _accepts(data, case, label)
        if differs or (corrected and case.id in labels and not is_rating):
            was.add(case.id)
        if differs and not (corrected and is_rating):
            still.add(case.id)
    return was, still


def _accepts(data: TaskData, case: Case, label: Any) -> bool:
    """Return whether what a person gave says that the expected answer of a case is right."""
    return (
        bool(label)
        if is_rated(data, label)
        else _text(label) in map(_text, [case.expected, *(case.expected if isinstance(case.expected, list) else ())])
    )


def is_rated(data: TaskData, label: Any) -> bool:
    """Return whether what a person gave says that the expected answer is right or wrong, and is no label."""
    return isinstance(label, bool) and data.task.kind != "label"


def _text(label: Any) -> str:
    return normalise(answer_text(label))


def read_relabelled(project: Project, data: TaskData | None = None) -> JsonObject:
    """Return the last label that people gave each case.

    With the cases in `data`, where people differ, it is the label of the person who finds the expected answer right:
    people who disagree show no error.
    """
    rows = read_labels(suspects_path(project))
    cases = {case.id: case for case in (*data.split.dev, *data.split.test)} if data else {}
    right = {
        case: label
        for (case, _), label in {(row.case, row.labeller): row.label for row in rows}.items()
        if data and case in cases and _accepts(data, cases[case], label)
    }
    return {row.case: row.label for row in rows} | right


# Test case to whether one of the best options failed it when its stratum was stored.
STRATA = "label_audit"
# A stratum: its cases, those that people labelled, and those whose label they found to be wrong.
Stratum = tuple[int, int, int]


def audited_share(
    strata: Sequence[Stratum], still: int, effective: float = 1.0, *, alpha: float = 0.05
) -> tuple[float, float, float]:
    """Return the share of wrong labels in all strata, with its interval at `1 - alpha`.

    The interval is that of the process which gave the labels, so that it covers the share of these cases as well: the
    exact interval of as many cases as test has, widened by the sampling errors of the strata.

    Args:
        strata: At least one labelled case in all.
        still: Labelled cases whose label is wrong now: corrected labels no longer count.
        effective: Independent cases in a case of test, as a share.
        alpha: Two-sided error.

    Source: Cochran 1977, sections 5.3 and 5.6 (stratified sampling); Zou and Donner 2008 (Statistics in Medicine
    27:1693) for the sum of asymmetric intervals.

    >>> [round(x, 3) for x in audited_share([(40, 40, 30), (260, 40, 0)], 30)]
    [0.1, 0.068, 0.181]
    """
    n, labelled, wrong = (sum(column) for column in zip(*strata, strict=True))
    gaps, expected = [0.0, 0.0], float(still)
    for size, seen, k in strata:
        share, bounds = (k / seen, clopper_pearson(k, seen, alpha)) if seen else (wrong / labelled, (0.0, 1.0))
        expected += (size - seen) * share
        for side, bound in enumerate(bounds):
            gaps[side] += (size / n * (share - bound)) ** 2 * (1 - seen / size if size else 0.0)
    p = min(1.0, expected / n)
    low, high = clopper_pearson(p * n * effective, n * effective, alpha)
    return p, max(0.0, p - sqrt((p - low) ** 2 + gaps[0])), min(1.0, p + sqrt((high - p) ** 2 + gaps[1]))


def cases_to_audit(answers: StoredAnswers, *, store: bool = True) -> list[Case]:
    """Return the test cases of a session, earlier cases included; `store` the stratum of cases that have no stratum.

    Raises:
        UserError: People have not labelled the test cases.
    """
    session, project = answers.session, answers.session.project
    if session.agreement:
        raise UserError(
            f"The test cases have answers of {session.agreement} and no labels to audit.",
            hint="Label a sample with `tuneworthy label`.",
        )
    strata, labels = session.folder.read(STRATA, dict[str, bool]) or {}, read_relabelled(project)
    if fresh := [case for case in session.split.test if case.id not in strata]:
        record = with_eligible_best(answers.record, project)
        best = record.rung(record.best.rung) if record.best else None
        least = best.ci95[0] if best and best.ci95 else 0.0
        rungs = [row.rung for row in record.rungs if row.variant and row.score is not None and row.score >= least]
        failed = answers.failing(rungs, fresh)
        strata |= {case.id: case.id in failed for case in fresh}
        if store:
            session.folder.write(STRATA, strata)
    drawn = set()
    for stratum, n in SESSION.items():
        order = sorted((name for name, value in strata.items() if value is stratum), key=partial(rank, DRAW_SEED))
        drawn |= {*order[: (len(labels.keys() & {*order}) // n + 1) * n]}
    return [case for case in session.split.test if case.id in drawn]


async def with_audit(evidence: Evidence, session: Session) -> Evidence:
    """Return the evidence with the findings of people about the labels of test; the same if they labelled no case."""
    strata, labels = session.folder.read(STRATA, dict[str, bool]) or {}, read_relabelled(session.project, session.data)
    test = [case for case in session.split.test if case.id in strata]
    cases, record = [case for case in test if case.id in labels], shown_run(session.project)
    if not cases or not record:
        return evidence
    was, still = contradicts(session.data, labels)
    counts = {one: _count(test, strata, labels, was, stratum=one) for one in SESSION}
    n_wrong = len(still & {case.id for case in cases})
    share_at = partial(
        audited_share,
        list(counts.values()),
        n_wrong,
        min(1.0, session.split.effective_groups / len(session.split.test)),
    )
    (share, *ci95), (_, *ends) = share_at(), share_at(alpha=2 * LEVER_ALPHA)
    audited = _Audited(
        cases=cases,
        labels=labels,
        unseen=np.array([counts[strata[case.id]][0] / counts[strata[case.id]][1] - 1 for case in cases]),
        corrected=np.array([case.id in was - still for case in cases]),
        n_test=len(test),
    )
    # Once labels changed, shots may have changed too.
    rungs = record.rungs if session.task.kind == "label" and not evidence.stale else ()
    gains = {row.rung: await audited.gain(session, record, row) for row in rungs if row.score is not None}
    scores = {row.name or row.rung: audited.score(row, found) for row in rungs if (found := gains.get(row.rung))}
    top = gains.get(evidence.top.rung) if evidence.top else None
    ceiling = LabelCeiling(
        share=share,
        ci95=(ci95[0], ci95[1]),
        ceiling=1 - share,
        n=len(cases),
        scores=scores,
        uncorrected=bool(still),
        to_label=sum(min(n, counts[one][0] - counts[one][1]) for one, n in SESSION.items()),
    )
    size, seen, _ = counts[True]
    # If all failures are labelled and no label is wrong, none of them is the label's.
    n_failed, excused = audited.failures(top) if top and (n_wrong or seen < size) else (0, 0)
    enough, all_right = seen >= min(RELABELLED, size), len(cases) == len(test) and not n_wrong
    decides = _decides(
        (1 - ends[1], 1 - ends[0]),
        evidence.target or 0.0,
        (excused, n_failed),
        scores,
        enough=enough,
        all_right=all_right,
    )
    return replace(evidence, label_ceiling=replace(ceiling, decides=decides))


def _count(
    test: Cases, strata: Mapping[str, bool], labelled: Collection[str], wrong: Set[str], *, stratum: bool
) -> Stratum:
    cases = [case.id for case in test if strata[case.id] is stratum]
    seen = [name for name in cases if name in labelled]
    return len(cases), len(seen), len(wrong & {*seen})


def _decides(
    ceiling: Bounds,
    target: float,
    failures: tuple[int, int],
    scores: NamedFloats,
    *,
    enough: bool,
    all_right: bool,
) -> bool | None:
    """Say whether wrong labels keep options from the target; None where the audit does not settle it.

    Args:
        ceiling: Bounds of the score that a model which is always right gets.
        target: The target.
        failures: Failures of the best option that are the label's, and all.
        scores: Of the options if all labels were right.
        enough: Whether enough failures are audited.
        all_right: Whether all of test is audited, and no label is wrong.
    """
    excused, n_failed = failures
    if ceiling[1] < target or (enough and excused and lower_bound(excused, n_failed, LEVER_ALPHA) > 0.5):
        return True
    if not enough or (ceiling[0] < target and not all_right):
        return None
    is_few = not excused or (upper_bound(excused, n_failed, LEVER_ALPHA) <= 0.5 and max(scores.values()) < target)
    return False if is_few else None


# Per audited case: whether it was failed, what right labels change now, and what they changed since the first audit.
_Gains = tuple[Bools, Floats, Floats]


@frozen
class _Audited:
    """Audited cases with people's labels.

    Attributes:
        cases: Test cases that people labelled.
        labels: Their labels, by case.
        unseen: Cases that a case stands for besides itself, by its stratum.
        corrected: Whether its label was wrong and is corrected.
        n_test: Cases in all strata.
    """

    cases: Cases
    labels: JsonMapping
    unseen: Floats
    corrected: Bools
    n_test: int

    async def gain(self, session: Session, record: RunRecord, row: RungRecord) -> _Gains | None:
        """Score the stored answers of a rung by both labels; None without its variant."""
        if (variant := record.variant_of(row)) is None:
            return None
        traces = session.stored(variant, self.cases, repeats=row.repeats)
        relabelled = [replace(case, expected=self.labels[case.id]) for case in self.cases]
        now, true = [
            num / den for num, den, _ in [await session.score(traces, one) for one in (self.cases, relabelled)]
        ]
        return now < 1, true - now, np.where(self.corrected, true, true - now)

    def score(self, row: RungRecord, gains: _Gains) -> float:
        """Return the score of a rung if all labels were right."""
        _, now, since = gains
        return float(np.clip((row.score or 0.0) + np.nansum(now + self.unseen * since) / self.n_test, 0, 1))

    def failures(self, gains: _Gains) -> tuple[int, int]:
        """Return the failed cases, and those that are right by people's labels."""
        failed, _, since = gains
        return int((failed | (since > 0)).sum()), int((since > 0).sum())
