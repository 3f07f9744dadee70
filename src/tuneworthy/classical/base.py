"""Protocol and registry of classical baselines.

Every classical baseline keeps three rules:

1. The same examples (in the same order), name and seed give the same predictions.
2. Any text gets a text as answer: empty, new, very long and non-Latin questions too.
3. It learns from the examples only; rows that it cannot use are counted in its identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

from tuneworthy.errors import Undecided
from tuneworthy.registry import Registry
from tuneworthy.types import Example, content_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Kind of a task's answers: one of few labels, a JSON object, a few words, prose.
TaskKind = Literal["label", "json", "short_answer", "free_text"]

LIBRARIES = ("numpy", "scikit-learn", "scipy")


class QuestionAnswer(NamedTuple):
    """A training row: a question and its answer, both text."""

    question: str
    answer: str


@runtime_checkable
class ClassicalModel(Protocol):
    """A fitted baseline.

    Attributes:
        identity: Name, hyper-parameters, seed, content hash of the training rows and library versions:
            equal identities give equal predictions.
    """

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that the predictions depend on."""

    def predict(self, questions: Sequence[str]) -> list[str]:
        """Answer each question as text (JSON text where the task is JSON)."""


@runtime_checkable
class ProbabilisticModel(ClassicalModel, Protocol):
    """A classical baseline that also gives label probabilities.

    Attributes:
        labels: The labels, in the order of the columns of `probabilities`.
    """

    @property
    def labels(self) -> Sequence[str]:
        """The labels that occur in the training rows, sorted."""

    def probabilities(self, questions: Sequence[str]) -> NDArray[np.float64]:
        """Return label probabilities, shape ``(n_questions, n_labels)``; rows sum to 1."""


class ClassicalFactory(Protocol):
    """A registered method: a callable that fits a model, with the kinds of task that it suits.

    Attributes:
        kinds: The kinds for which `candidates` offers it.
    """

    kinds: tuple[TaskKind, ...]

    def __call__(self, rows: Sequence[QuestionAnswer], seed: int) -> ClassicalModel:
        """Fit on at least one row."""


# Name to module, from simple to strong.
BUILTINS: dict[str, str] = {
    "majority": "tuneworthy.classical.labels",
    "nearest": "tuneworthy.classical.labels",
    "linear": "tuneworthy.classical.linear",
    "constant": "tuneworthy.classical.objects",
    "nearest_copy": "tuneworthy.classical.objects",
    "field_tagger": "tuneworthy.classical.objects",
    "copy_rules": "tuneworthy.classical.answers",
    "answer_tagger": "tuneworthy.classical.answers",
}

# Name to factory ``(rows, seed) -> ClassicalModel``, e.g. a class with `kinds`; register it by name.
CLASSICAL_MODELS: Registry[ClassicalFactory] = Registry("classical_models", BUILTINS)


def candidates(kind: TaskKind) -> list[str]:
    """Return the names of the classical baselines for a `kind` of task, from simple to strong.

    Raises:
        ValueError: `kind` is not one of the four.
    """
    if kind not in get_args(TaskKind):
        raise ValueError(f"expected one of {', '.join(get_args(TaskKind))}, got {kind!r}")
    order = [*BUILTINS, *sorted(CLASSICAL_MODELS.names() - set(BUILTINS))]
    return [name for name in order if kind in CLASSICAL_MODELS.get(name).kinds]


def fit(name: str, examples: Sequence[Example], seed: int) -> ClassicalModel:
    """Fit the classical baseline called `name` on `examples`.

    Args:
        name: One of `CLASSICAL_MODELS`.
        examples: Training records; the last user turn is the question, so the questions given to
            `predict` must be rendered by the same template.
        seed: Seed of every random choice (folds of the cross-validation, subsamples).

    Raises:
        Undecided: There is no example (or, for JSON baselines, no JSON object among the answers).
        UserError: No classical baseline has that name.
    """
    factory = CLASSICAL_MODELS.get(name)
    rows = [QuestionAnswer(e.question, e.answer) for e in examples]
    if not rows:
        raise Undecided("A classical baseline needs at least one example.", hint="Add rows to [examples].")
    return factory(rows, seed)


def make_identity(name: str, rows: Sequence[QuestionAnswer], seed: int, **parameters: Any) -> dict[str, Any]:
    """Return the identity of a classical baseline: all that its predictions depend on."""
    return {
        "name": name,
        "seed": seed,
        "parameters": parameters,
        "rows": content_hash([[r.question, r.answer] for r in rows]),
        "n_rows": len(rows),
        "libraries": {library: version(library) for library in LIBRARIES},
    }
