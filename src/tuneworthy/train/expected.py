"""How long a project's training is expected to take, at once: rows are sampled and no tokenizer is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tuneworthy.config.project import Project
from tuneworthy.errors import TuneworthyError
from tuneworthy.providers.models import find
from tuneworthy.train.base_model import base_spec
from tuneworthy.train.duration import Duration
from tuneworthy.train.memory import Device
from tuneworthy.train.plan import advised, material_of
from tuneworthy.train.row_lengths import RowLengths, estimate
from tuneworthy.train.shape import read_shape

SAMPLED: Final = 200
"""Rows that are measured."""


@dataclass(frozen=True, slots=True)
class Expected:
    """How long training takes.

    Attributes:
        base: What is trained, as the project names it.
        device: Where.
        duration: Of all epochs.
    """

    base: str
    device: Device
    duration: Duration


def expect(project: Project, n_rows: int) -> Expected | None:
    """Return how long training on `n_rows` rows of the project takes; None where that is unknown.

    It is unknown where the base or the rows are missing, the run does not fit, or the machine cannot be timed. The
    slowest GPU counts where several have the memory that is planned for.
    """
    try:
        base = base_spec(project)
        path = find(base, project.root)
        if path is None:
            return None
        shape, rows = read_shape(path), _sampled(project, n_rows)
    except TuneworthyError:
        return None  # `plan` and `train` say what is wrong
    device, advice, times = advised(project, shape, rows)
    if not times:
        return None
    slowest = max(times, key=lambda duration: duration.high)
    return Expected(base, device, slowest.times(advice.settings.epochs))


def _sampled(project: Project, n_rows: int) -> RowLengths:
    """Return the numbers of `n_rows` rows like those of the project, with its prompt; estimated from bytes."""
    material = material_of(project)
    sample = material.train[:: max(1, len(material.train) // SAMPLED)]
    rows = estimate(material.student.row(row) for row in sample)
    return replace(rows, n_rows=n_rows, n_tokens=rows.n_tokens * n_rows // rows.n_rows)
