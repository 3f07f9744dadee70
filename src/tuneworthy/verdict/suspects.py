"""Errors of labels: a random part of all failures is labelled again, blind, before labels may decide.

Not only of those that models suspect: what they do not see would count as right, and a share of all failures is what
the outcome hangs on.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tuneworthy.cases.labelling import read_labels
from tuneworthy.cases.task_kind import answer_text
from tuneworthy.config.project import Project
from tuneworthy.graders.text import normalise
from tuneworthy.stats import lower_bound, upper_bound
from tuneworthy.store import Folder
from tuneworthy.verdict.error_analysis import FILE, ErrorAnalysis
from tuneworthy.verdict.evidence import LEVER_ALPHA

# Failures that people label again.
RELABELLED: Final = 15
FILE_SUFFIX: Final = ".suspects.jsonl"


def suspects_path(project: Project) -> Path:
    """Return where the labels of failed cases are: beside the cases, because they are work, not output."""
    cases = project.path(project.cases.path)
    return cases.with_name(f"{cases.stem}{FILE_SUFFIX}")


def drawn(report: ErrorAnalysis, labelled: Collection[str] = ()) -> list[str]:
    """Return the ids of the cases that people label again: the first fifteen of a seeded order, then fifteen more.

    Args:
        report: The error analysis.
        labelled: Cases that people labelled again already.
    """
    order = _order(report)
    n = RELABELLED * (1 + _unbroken(order, labelled) // RELABELLED)
    return sorted(order[:n])


def drawn_suspects(project: Project) -> list[str]:
    """Return the ids of the cases that people label again, by the last error analysis; none without one."""
    report = Folder(project.root).read(FILE, ErrorAnalysis)
    return drawn(report, _labels(project)) if report else []


def n_to_label(project: Project, report: ErrorAnalysis) -> int:
    """Return how many of the drawn cases nobody has labelled again yet."""
    labelled = _labels(project)
    return len(set(drawn(report, labelled)) - labelled.keys())


def n_relabelled(project: Project, report: ErrorAnalysis) -> int:
    """Return how many failures people labelled again."""
    return len(_labels(project).keys() & report.answers.keys())


def label_errors(project: Project, report: ErrorAnalysis) -> bool | None:
    """Return whether people find most failures to be errors of the label, by the labels in the project's file."""
    return settled_by(report, _labels(project))


def settled_by(report: ErrorAnalysis, labels: Mapping[str, Any]) -> bool | None:
    """Return whether people find most failures to be errors of the label; None where their labels do not settle it.

    A failure is the label's if people give the answer of the variant instead.
    """
    order = _order(report)
    m = _unbroken(order, labels)
    if m < min(RELABELLED, len(order)) or not order:
        return None
    k = sum(normalise(answer_text(labels[case])) == normalise(report.answers[case]) for case in order[:m])
    if lower_bound(k, m, LEVER_ALPHA) > 0.5:
        return True
    return False if upper_bound(k, m, LEVER_ALPHA) < 0.5 else None


def _order(report: ErrorAnalysis) -> list[str]:
    """Return the failed cases in the order in which people label them again."""
    names = sorted(report.answers)
    random.Random(len(names)).shuffle(names)
    return names


def _unbroken(order: Sequence[str], labelled: Collection[str]) -> int:
    """Return how many of the first cases are labelled without a gap, so that they stay a random draw."""
    return next((index for index, case in enumerate(order) if case not in labelled), len(order))


def _labels(project: Project) -> dict[str, Any]:
    """Return the last label that people gave each case."""
    path = suspects_path(project)
    return {row.case: row.label for row in read_labels(path)} if path.is_file() else {}
