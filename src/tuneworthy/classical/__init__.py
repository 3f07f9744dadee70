"""Classical baselines: simple methods without a language model that learn from the examples only.

A classical baseline is fitted on examples and answers questions as text. It never sees a case's expected answer,
sends nothing over the network and is deterministic. scikit-learn is imported when one is fitted, not before.
"""

from tuneworthy.classical.base import (
    CLASSICAL_MODELS,
    ClassicalModel,
    ProbabilisticModel,
    QuestionAnswer,
    TaskKind,
    candidates,
    fit,
)

__all__ = [
    "CLASSICAL_MODELS",
    "ClassicalModel",
    "ProbabilisticModel",
    "QuestionAnswer",
    "TaskKind",
    "candidates",
    "fit",
]
