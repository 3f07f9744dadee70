"""Suspected labels: a random part of the suspected failures is labelled again, blind, before they may decide."""

import random
from pathlib import Path
from typing import Final

from tuneworthy.cases.labelling import read_labels
from tuneworthy.cases.task_kind import answer_text
from tuneworthy.config.project import Project
from tuneworthy.graders.text import normalise
from tuneworthy.store import Folder
from tuneworthy.verdict.error_analysis import FILE, ErrorAnalysis

# Failures that people label again.
RELABELLED: Final = 15
FILE_SUFFIX: Final = ".suspects.jsonl"


def suspects_path(project: Project) -> Path:
    """Return where the labels of suspected cases are: beside the cases, because they are work, not output."""
    cases = project.root / project.cases.path
    return cases.with_name(f"{cases.stem}{FILE_SUFFIX}")


def drawn(report: ErrorAnalysis) -> list[str]:
    """Return the ids of the suspected cases that people label again: a seeded draw of at most fifteen."""
    names = sorted(report.suspects)
    return names if len(names) <= RELABELLED else sorted(random.Random(len(names)).sample(names, RELABELLED))


def drawn_suspects(project: Project) -> list[str]:
    """Return the ids of the cases that people label again, by the last error analysis; none without one."""
    report = Folder(project.root).read(FILE, ErrorAnalysis)
    return drawn(report) if report else []


def relabelled(project: Project, report: ErrorAnalysis) -> bool | None:
    """Return whether people find most failures to be errors of the label; None before they labelled the draw.

    What they confirm of the draw is taken of all suspected failures.
    """
    path, wanted = suspects_path(project), drawn(report)
    if not wanted or not path.is_file():
        return None
    last = {row.case: row.label for row in read_labels(path) if row.case in report.suspects}
    answered = [name for name in wanted if name in last]
    if len(answered) < len(wanted):
        return None
    wrong = sum(normalise(answer_text(last[name])) != normalise(report.expected.get(name, "")) for name in answered)
    return wrong / len(answered) * len(report.suspects) > 0.5 * len(report.classes)
