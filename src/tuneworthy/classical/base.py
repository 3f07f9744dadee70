"""What a classical baseline is, and the door through which one is fitted.

Rules that hold for every classical:

1. The same examples (in the same order), name and seed give the same predictions.
2. Any text is answered with a text: empty, unseen, very long and non-Latin questions too.
3. Only the examples are learnt from; what cannot be used is counted in the identity, never dropped silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

from tuneworthy.errors import Undecided
from tuneworthy.registry import Registry
from tuneworthy.types import Example, content_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TaskKind = Literal["label", "json", "short_answer", "free_text"]
"""What the answers of a task are: one of few labels, a JSON object, a few words, prose."""

WORDS: Mapping[str, str] = {
    "majority": "A fixed answer (the most frequent one)",
    "constant": "A fixed answer",
    "nearest": "A look-up of the most similar example",
    "nearest_copy": "A look-up of the most similar example",
    "linear": "A classifier",
    "field_tagger": "A word tagger",
    "answer_tagger": "A word tagger",
    "copy_rules": "A set of copying rules",
}
"""What a classical baseline is, at the head of a sentence."""

LIBRARIES = ("numpy", "scikit-learn", "scipy")


class Row(NamedTuple):
    """What a classical baseline learns from: a question and its answer, both text."""

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
        """What makes this classical baseline the classical baseline it is."""
        ...

    def predict(self, questions: Sequence[str]) -> list[str]:
        """Answer each question as text (JSON text where the task is JSON)."""
        ...


@runtime_checkable
class ProbabilisticModel(ClassicalModel, Protocol):
    """A classical baseline that also says how sure it is of each label.

    Attributes:
        labels: The labels, in the order of the columns of `probabilities`.
    """

    @property
    def labels(self) -> Sequence[str]:
        """The labels that occur in the training rows, sorted."""
        ...

    def probabilities(self, questions: Sequence[str]) -> NDArray[np.float64]:
        """Return the probability of each label, shape ``(n_questions, n_labels)``; rows sum to 1."""
        ...


class ClassicalFactory(Protocol):
    """What is registered: a callable that fits, and the kinds of task that it suits.

    Attributes:
        kinds: The kinds for which `candidates` offers it.
    """

    kinds: tuple[TaskKind, ...]

    def __call__(self, rows: Sequence[Row], seed: int) -> ClassicalModel:
        """Fit on at least one row."""
        ...


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
"""Name to module, from boring to strong."""

CLASSICAL_MODELS: Registry[ClassicalFactory] = Registry("classical_models", BUILTINS)
"""Name to factory ``(rows, seed) -> ClassicalModel``; register with ``@suits(kinds)`` and ``@CLASSICAL_MODELS.register(name)``."""


def suits(*kinds: TaskKind) -> Callable[[Callable[[Sequence[Row], int], ClassicalModel]], ClassicalFactory]:
    """Return a decorator that marks a fitting function as made for `kinds` of task."""

    def mark(function: Callable[[Sequence[Row], int], ClassicalModel]) -> ClassicalFactory:
        function.kinds = kinds  # type: ignore[attr-defined]
        return function  # type: ignore[return-value]

    return mark


def candidates(kind: TaskKind) -> list[str]:
    """Return the names of the classical baselines for a `kind` of task, from boring to strong, strangers' last.

    Raises:
        ValueError: `kind` is none of the four.
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
        NotEnough: There is no example (or, for JSON classical baselines, none whose answer is a JSON object).
        UserError: No classical baseline has that name.
    """
    factory = CLASSICAL_MODELS.get(name)
    rows = [Row(e.question, e.answer) for e in examples]
    if not rows:
        raise Undecided(
            "expected at least one example to fit a classical baseline on, got none", hint="add rows to [examples]"
        )
    return factory(rows, seed)


def make_identity(name: str, rows: Sequence[Row], seed: int, **parameters: Any) -> dict[str, Any]:
    """Return the identity of a classical: all that its predictions depend on."""
    return {
        "name": name,
        "seed": seed,
        "parameters": parameters,
        "rows": content_hash([[r.question, r.answer] for r in rows]),
        "n_rows": len(rows),
        "libraries": {library: version(library) for library in LIBRARIES},
    }
