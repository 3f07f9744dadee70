"""The grader protocol, and the rules of all graders.

1. A trace with an error is *unscored*, never 0.
2. Where `expected` is None, declining is right and any other answer is wrong.
3. An answer that cannot be read is scored 0 with reason `format`.

`apply.grade_all` applies the first two; a grader sees only answers to cases that it can judge. A grader
that judges only form (`needs_expected` is False: style, JSON schema) also sees cases without a label and
cases where declining is right.
"""

from collections.abc import Awaitable
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson
from pydantic import BaseModel

from tuneworthy.errors import UserError
from tuneworthy.registry import Registry
from tuneworthy.types import Case, Examples, JsonMapping, NamedInts, Score, Texts, TextTuple, Trace, frozen

if TYPE_CHECKING:
    from tuneworthy.engine.request_batcher import RequestBatcher

C = TypeVar("C", bound=BaseModel)

RIGHT = Score(num=1.0)
WRONG = Score(reason="wrong")
FORMAT = Score(reason="format")

# Reasons that a stricter output format removes.
FORM_REASONS = frozenset({"format", "truncated", "schema"})

# Raised whenever the semantics of a grader change: part of every identity, so all answers are scored again.
GRADING_VERSION = 1


class Grader:
    """Judges one answer against one case; unset attributes have defaults.

    Attributes:
        identity: Type, arguments and content hashes of files: when it changes, all answers are scored again.
        needs_expected: Whether it judges only cases whose expected answer is known; a grader of form needs no expected
            answer.
        unit: The `den` of one right answer.
        declined_reasons: Reasons that `refused` may replace where an answer declines; all if None.
        takes_calls: Whether it judges tool calls itself.
    """

    identity: JsonMapping
    needs_expected: bool = True
    unit: float = 1.0
    declined_reasons: frozenset[str] | None = None
    takes_calls: bool = False

    def label_fault(self, expected: Any) -> str:
        return ""

    def case_fault(self, case: Case) -> str:
        """Return why the label of a case cannot be used; "" if it can."""
        return self.label_fault(case.expected)

    def __call__(self, trace: Trace, case: Case) -> Score | Awaitable[Score]:
        """Judge a trace that has a response, of a case whose `expected` is known and not None."""
        raise NotImplementedError


class AnswerGrader(Grader, Generic[C]):
    """Common part of the graders of a section of `[[graders]]`.

    Args:
        config: The section of the project file.
        context: Inputs for building graders; unused by default.
        facts: What else determines a score: content hashes of files, resolved labels, library versions.
    """

    def __init__(self, config: C, context: object = None, **facts: Any) -> None:
        self.config = config
        self.identity = {"version": GRADING_VERSION, **config.model_dump(mode="json"), **facts}


@frozen
class GradingContext:
    """What graders may be built from: the project folder, the examples, the labels with their counts, models to call.

    Without `asker` a judge can be built (for checks) but not called.
    """

    root: Path = field(default_factory=Path)
    examples: Examples = ()
    labels: Texts = ()
    label_counts: NamedInts = field(default_factory=dict)
    asker: "RequestBatcher | None" = None
    seed: int = 0

    def file(self, name: str, what: str) -> Path:
        """Return the path of a file below the project.

        Args:
            name: As it appears in the project file.
            what: The expected kind, as a noun with its article.

        Raises:
            UserError: It lies outside the project or does not exist.
        """
        try:
            path = (self.root / name).resolve()
            there = path.is_file()
        except (OSError, ValueError):  # a name too long, a null byte
            path, there = self.root.resolve() / name[:100], False
        if not path.is_relative_to(self.root.resolve()):
            raise UserError(
                f"{name!r} is outside the project folder. The grader needs {what} inside it.",
                hint="Move the file into the project folder.",
            )
        if not there:
            raise UserError(
                f"The file {path} does not exist. It should contain {what}.",
                hint="Create the file, or fix its name in [[graders]].",
            )
        return path


def partial(num: float, detail: JsonMapping | None = None) -> Score:
    """Return the score of an answer that is right by `num` in 0..1, with the reason that goes with it."""
    if not detail and num in (0.0, 1.0):
        return RIGHT if num else WRONG
    reason = "" if num >= 1 else "partial" if num > 0 else "wrong"
    return Score(num=min(num, 1.0), reason=reason, detail=detail or {})


def accepted(expected: Any) -> TextTuple:
    """Return the accepted answers as texts: a list is a choice of answers, other JSON its compact text.

    >>> accepted("yes"), accepted(["yes", 1]), accepted(True)
    (('yes',), ('yes', '1'), ('true',))
    """
    if isinstance(expected, str):
        return (expected,)
    if isinstance(expected, list | tuple):
        return tuple(one if isinstance(one, str) else _compact(one) for one in expected)
    return (_compact(expected),)


def _compact(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return str(value)


# Name to factory ``(config section, GradingContext) -> Grader``; register with ``@GRADERS.register(name)``.
GRADERS: Registry[Any] = Registry(
    "graders",
    {
        "exact": "tuneworthy.graders.text",
        "normalised_exact": "tuneworthy.graders.text",
        "includes": "tuneworthy.graders.text",
        "regex": "tuneworthy.graders.pattern",
        "numeric": "tuneworthy.graders.numeric",
        "squad_em": "tuneworthy.graders.squad",
        "squad_f1": "tuneworthy.graders.squad",
        "json_fields": "tuneworthy.graders.json_fields",
        "json_schema": "tuneworthy.graders.json_schema",
        "choice": "tuneworthy.graders.choice",
        "balanced_accuracy": "tuneworthy.graders.choice",
        "tool_call": "tuneworthy.graders.tool_call",
        "rouge_l": "tuneworthy.graders.overlap",
        "chrf": "tuneworthy.graders.overlap",
        "abstention": "tuneworthy.graders.abstention",
        "style": "tuneworthy.graders.style",
        "python": "tuneworthy.graders.python",
        "judge": "tuneworthy.graders.judge",
    },
    chosen=True,
)
