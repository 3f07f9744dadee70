"""Blind audit of test: people label a random sample, which gives the share of wrong labels and the ceiling of a score.

Test cases form two strata: those that one of the best options fails (the best, and all whose score is within its
interval), and all others. Each session draws as many of
each as `SESSION` says, in a random order that mixes them, so that no order, count or sheet tells an answer of a model.
Invariants: a case never changes its stratum, and the sample of a stratum is random, so that weights of the inverse
inclusion probability give the share in all of test, whatever the failures have in common.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import sqrt
from typing import Final

import numpy as np

from tuneworthy.cases.stratified import rank
from tuneworthy.ladder.commands.case_answers import StoredAnswers
from tuneworthy.ladder.record import RunRecord, read_record
from tuneworthy.ladder.session import Session
from tuneworthy.stats.intervals import clopper_pearson, lower_bound, upper_bound
from tuneworthy.types import Case, JsonMapping
from tuneworthy.verdict.base import LabelCeiling
from tuneworthy.verdict.evidence import LEVER_ALPHA, Evidence, with_eligible_best
from tuneworthy.verdict.suspects import DRAW_SEED, RELABELLED, SESSION, contradicts, read_relabelled

# Test case to whether one of the best options failed it when its stratum was stored.
FILE: Final = "label_audit"
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
    [0.1, 0.068, 0.168]
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


def cases_to_audit(answers: StoredAnswers) -> list[Case]:
    """Return the test cases of a session, earlier ones included; store the stratum of cases that have no stratum."""
    session, project = answers.session, answers.session.project
    strata, labels = session.folder.read(FILE, dict[str, bool]) or {}, read_relabelled(project)
    if fresh := [case for case in session.split.test if case.id not in strata]:
        failed = answers.failing(_best(with_eligible_best(answers.record, project)), fresh)
        strata |= {case.id: case.id in failed for case in fresh}
        session.folder.write(FILE, strata)
    drawn: set[str] = set()
    for stratum, n in SESSION.items():
        order = sorted((name for name, value in strata.items() if value is stratum), key=partial(rank, DRAW_SEED))
        drawn |= {*order[: (len(labels.keys() & {*order}) // n + 1) * n]}
    return [case for case in session.split.test if case.id in drawn]


def _best(record: RunRecord) -> list[str]:
    best = record.rung(record.best.rung) if record.best else None
    least = best.ci95[0] if best and best.ci95 else 0.0
    return [row.rung for row in record.rungs if row.variant and row.score is not None and row.score >= least]


async def with_audit(evidence: Evidence, session: Session) -> Evidence:
    """Return the evidence with the findings of people about the labels of test; the same if they labelled no case."""
    strata, labels = session.folder.read(FILE, dict[str, bool]) or {}, read_relabelled(session.project)
    test = [case for case in session.split.test if case.id in strata]
    cases = [case for case in test if case.id in labels]
    record, is_label = read_record(session.folder), session.task.kind == "label"
    if not cases or record is None:
        return evidence
    was, still = contradicts(session.data, labels)
    sizes, seen, wrong = (
        Counter(strata[case.id] for case in some) for some in (test, cases, [case for case in cases if case.id in was])
    )
    n_wrong = len(still & {case.id for case in cases})
    effective = min(1.0, session.split.effective_groups / len(session.split.test))
    share_at = partial(audited_share, [(sizes[one], seen[one], wrong[one]) for one in SESSION], n_wrong, effective)
    unseen = np.array([sizes[strata[case.id]] / seen[strata[case.id]] - 1 for case in cases])
    corrected = np.array([case.id in was - still for case in cases])
    scores, excused, n_failed = {}, 0, 0
    for row in record.rungs if is_label and not evidence.stale else ():  # else shots may have changed
        if (variant := record.variant_of(row)) is None or row.score is None:
            continue
        traces, relabelled = session.stored(variant, cases, repeats=row.repeats), _relabelled(cases, labels)
        now, true = [num / den for num, den, _ in [await session.score(traces, some) for some in (cases, relabelled)]]
        gain = np.where(corrected, true, true - now)  # over the labels as they were
        more = np.nansum(true - now + unseen * gain) / len(test)
        scores[row.name or row.rung] = float(np.clip(row.score + more, 0, 1))
        if evidence.top is not None and row.rung == evidence.top.rung:
            n_failed, excused = int(((now < 1) | (gain > 0)).sum()), int((gain > 0).sum())
    (share, *ci95), (_, least, most) = share_at(), share_at(alpha=2 * LEVER_ALPHA)
    target, decides = evidence.target or 0.0, None
    enough = seen[True] >= min(RELABELLED, sizes[True])
    excused = excused if n_wrong or seen[True] < sizes[True] else 0  # else no failure is left that may be the label's
    if 1 - least < target or (enough and excused and lower_bound(excused, n_failed, LEVER_ALPHA) > 0.5):
        decides = True
    elif enough and (1 - most >= target or (len(cases) == len(test) and not n_wrong)):
        is_few = not excused or upper_bound(excused, n_failed, LEVER_ALPHA) <= 0.5
        decides = False if is_few and (not excused or max(scores.values()) < target) else None
    ceiling = LabelCeiling(
        share=share,
        ci95=(ci95[0], ci95[1]),
        ceiling=1 - share,
        n=len(cases),
        scores=scores,
        decides=decides,
        uncorrected=bool(still),
        to_label=sum(min(n, sizes[one] - seen[one]) for one, n in SESSION.items()),
    )
    return replace(evidence, label_ceiling=ceiling)


def _relabelled(cases: Sequence[Case], labels: JsonMapping) -> list[Case]:
    return [replace(case, expected=labels[case.id]) for case in cases]
