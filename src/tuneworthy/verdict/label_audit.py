"""Blind audit of test: people label a random sample, which gives the share of wrong labels and the ceiling of a score.

Test cases form two strata: those that one of the best options fails (the best, and all whose score is within its
interval), and all others. Each session draws as many of
each as `SESSION` says, in a random order that mixes them, so that no order, count or sheet tells an answer of a model.
Invariants: a case never changes its stratum, and the sample of a stratum is random, so that weights of the inverse
inclusion probability give the share in all of test, whatever the failures have in common.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from math import sqrt

import numpy as np

from tuneworthy.arrays import Bools, Floats
from tuneworthy.cases.stratified import rank
from tuneworthy.errors import UserError
from tuneworthy.ladder.commands.case_answers import StoredAnswers
from tuneworthy.ladder.provenance import shown_run
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.ladder.session import Session
from tuneworthy.stats.intervals import clopper_pearson, lower_bound, upper_bound
from tuneworthy.types import Bounds, Case, Cases, JsonMapping, NamedFloats, frozen
from tuneworthy.verdict.base import LabelCeiling
from tuneworthy.verdict.evidence import LEVER_ALPHA, Evidence, with_eligible_best
from tuneworthy.verdict.suspects import DRAW_SEED, RELABELLED, SESSION, contradicts, read_relabelled

# Test case to whether one of the best options failed it when its stratum was stored.
FILE = "label_audit"
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
    strata, labels = session.folder.read(FILE, dict[str, bool]) or {}, read_relabelled(project)
    if fresh := [case for case in session.split.test if case.id not in strata]:
        record = with_eligible_best(answers.record, project)
        best = record.rung(record.best.rung) if record.best else None
        least = best.ci95[0] if best and best.ci95 else 0.0
        rungs = [row.rung for row in record.rungs if row.variant and row.score is not None and row.score >= least]
        failed = answers.failing(rungs, fresh)
        strata |= {case.id: case.id in failed for case in fresh}
        if store:
            session.folder.write(FILE, strata)
    drawn = set()
    for stratum, n in SESSION.items():
        order = sorted((name for name, value in strata.items() if value is stratum), key=partial(rank, DRAW_SEED))
        drawn |= {*order[: (len(labels.keys() & {*order}) // n + 1) * n]}
    return [case for case in session.split.test if case.id in drawn]


async def with_audit(evidence: Evidence, session: Session) -> Evidence:
    """Return the evidence with the findings of people about the labels of test; the same if they labelled no case."""
    strata, labels = session.folder.read(FILE, dict[str, bool]) or {}, read_relabelled(session.project, session.data)
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
