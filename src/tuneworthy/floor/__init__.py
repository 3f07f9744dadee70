"""The reference track "no language model": what a fair, strong, boring baseline gets from the examples alone.

A floor is fitted on examples and answers questions as text. It never sees a case's expected answer,
sends nothing anywhere and is deterministic. scikit-learn is imported when a floor is fitted, not before.
"""

from tuneworthy.floor.base import (
    FLOORS,
    Floor,
    ProbabilisticFloor,
    Row,
    TaskKind,
    candidates,
    fit,
)
from tuneworthy.floor.curve import CurvePoint, learning_curve

__all__ = [
    "FLOORS",
    "CurvePoint",
    "Floor",
    "ProbabilisticFloor",
    "Row",
    "TaskKind",
    "candidates",
    "fit",
    "learning_curve",
]
