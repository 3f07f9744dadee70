"""The reference track "no language model": what a fair, strong, boring baseline gets from the examples alone.

A classical baseline is fitted on examples and answers questions as text. It never sees a case's expected answer,
sends nothing anywhere and is deterministic. scikit-learn is imported when a classical baseline is fitted, not before.
"""

from tuneworthy.classical.base import (
    CLASSICAL_MODELS,
    ClassicalModel,
    ProbabilisticModel,
    Row,
    TaskKind,
    candidates,
    fit,
)
from tuneworthy.classical.curve import CurvePoint, learning_curve

__all__ = [
    "CLASSICAL_MODELS",
    "ClassicalModel",
    "CurvePoint",
    "ProbabilisticModel",
    "Row",
    "TaskKind",
    "candidates",
    "fit",
    "learning_curve",
]
