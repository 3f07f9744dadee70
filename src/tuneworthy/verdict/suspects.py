"""Errors of labels: a random part of all failures is labelled again, blind, before labels may decide.

Not only of those that models suspect: what they do not see would count as right, and a share of all failures is what
the outcome hangs on.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import scipy

from tuneworthy.cases.labelling import read_labels
from tuneworthy.cases.stratified import rank
from tuneworthy.cases.task_kind import answer_text
from tuneworthy.config.project import Project
from tuneworthy.graders.text import normalise
from tuneworthy.ladder.task_data import TaskData
from tuneworthy.stats.intervals import lower_bound, upper_bound
from tuneworthy.store import Folder
from tuneworthy.types import Bounds, Case, JsonMapping, JsonObject, Texts, frozen
from tuneworthy.verdict.error_analysis import FILE, ErrorAnalysis
from tuneworthy.verdict.evidence import LEVER_ALPHA

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
