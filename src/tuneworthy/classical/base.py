"""Protocol and registry of classical baselines.

Every classical baseline keeps three rules:

1. The same examples (in the same order), name and seed give the same predictions.
2. Any text gets a text as answer: empty, new, very long and non-Latin questions too.
3. It learns from the examples only; rows that it cannot use are counted in its identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeVar, get_args, runtime_checkable

from tuneworthy.errors import Undecided
from tuneworthy.registry import Registry
from tuneworthy.types import Examples, JsonMapping, NamedTexts, Texts, content_hash

if TYPE_CHECKING:
    from tuneworthy.arrays import Floats
    from tuneworthy.classical.encoder import LabelChooser
    from tuneworthy.classical.runtime import Answerer

# Kind of a task's answers: one of few labels, a JSON object, a few words, prose.
TaskKind = Literal["label", "json", "short_answer", "free_text"]

LIBRARIES = ("numpy", "scikit-learn", "scipy")
Model = TypeVar("Model", bound="Answerer | LabelChooser")


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
    def identity(self) -> JsonMapping:
        """All that the predictions depend on."""

    def predict(self, questions: Texts) -> list[str]:
        """Answer each question as text (JSON text where the task is JSON)."""


@runtime_checkable
class ProbabilisticModel(ClassicalModel, Protocol):
    """A classical baseline that also gives label probabilities.

    Attributes:
        labels: The labels, in the order of the columns of `probabilities`.
    """

    @property
    def labels(self) -> Texts:
        """The labels that occur in the training rows, sorted."""

    def probabilities(self, questions: Texts) -> Floats:
        """Return label probabilities, shape ``(n_questions, n_labels)``; rows sum to 1."""


# Fits on at least one row.
Factory = Callable[[Sequence[QuestionAnswer], int], ClassicalModel]
# Name to module and kinds of task, from simple to strong.
BUILTINS: Final[Mapping[str, tuple[str, tuple[TaskKind, ...]]]] = {
    "majority": ("answers", ("label", "short_answer")),
    "nearest": ("answers", ("label", "short_answer", "free_text")),
    "linear": ("linear", ("label",)),
    "embedding": ("embedding", ("label",)),
    "constant": ("objects", ("json",)),
    "nearest_object": ("objects", ("json",)),
    "field_tagger": ("objects", ("json",)),
    "embedding_tagger": ("objects", ("json",)),
    "copy_rules": ("answers", ("short_answer",)),
    "answer_tagger": ("answers", ("short_answer",)),
}

# Name per method, as the subject of a sentence.
METHODS: Final[NamedTexts] = {
    "majority": "The majority class",
    "constant": "A fixed answer",
    "nearest": "The nearest neighbour",
    "nearest_object": "The nearest neighbour",
    "linear": "A linear classifier",
    "embedding": "An embedding classifier",
    "field_tagger": "A sequence tagger",
    "embedding_tagger": "A sequence tagger with word embeddings",
    "answer_tagger": "A sequence tagger",
    "copy_rules": "A set of copy rules",
    "decision": "A zero-shot decision model",
    "encoder": "A fine-tuned encoder",
}

# Name to factory ``(rows, seed) -> ClassicalModel``; one that is not built in has the attribute `kinds`.
CLASSICAL_MODELS: Registry[Factory] = Registry(
    "classical_models", {name: f"tuneworthy.classical.{module}" for name, (module, _) in BUILTINS.items()}
)


def candidates(kind: TaskKind) -> list[str]:
    """Return the names of the classical baselines for a `kind` of task, from simple to strong.

    Raises:
        ValueError: `kind` is not one of the four.
    """
    if kind not in get_args(TaskKind):
        raise ValueError(f"expected one of {', '.join(get_args(TaskKind))}, got {kind!r}")
    return [
        *(name for name, (_, kinds) in BUILTINS.items() if kind in kinds),
        *(
            name
            for name in sorted(CLASSICAL_MODELS.names() - set(BUILTINS))
            if kind in getattr(CLASSICAL_MODELS.get(name), "kinds", ())
        ),
    ]


def fit(name: str, examples: Examples, seed: int) -> ClassicalModel:
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


def fitted(
    kind: type[Model], state: JsonMapping, name: str, rows: Sequence[QuestionAnswer], seed: int, **parameters: Any
) -> Model:
    model = kind(**state)
    model.state = state
    model.identity = {
        "name": name,
        "seed": seed,
        "parameters": parameters,
        "rows": content_hash([[r.question, r.answer] for r in rows]),
        "n_rows": len(rows),
        "libraries": {library: version(library) for library in LIBRARIES},
    }
    return model
