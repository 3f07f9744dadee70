"""What a grader is, and the rules that hold for all of them.

1. A trace with an error is *unscored*, never 0.
2. Where `expected` is None, declining is right and any other answer is wrong.
3. An answer that cannot be read is scored 0 with reason `format`.

`apply.grade_all` applies the first two; a grader sees only answers to cases that it can judge. A grader
that judges form alone (`needs_expected` is False: style, JSON schema) also sees cases without a label and
cases where declining is right.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

import orjson
from pydantic import BaseModel

from tuneworthy.errors import UserError
from tuneworthy.registry import Registry
from tuneworthy.types import Case, Example, Score, Trace, Variant

RIGHT: Final = Score(num=1.0)
WRONG: Final = Score(reason="wrong")
FORMAT: Final = Score(reason="format")

REASONS: Final = {
    "wrong": "readable, and wrong",
    "partial": "partly right",
    "format": "the answer cannot be read",
    "truncated": "the answer cannot be read because it hit the token limit",
    "schema": "valid JSON that breaks the schema",
    "refused": "declined, but an answer exists",
    "answered_unanswerable": "answered, but declining was right",
    "no_call": "no tool was called",
    "wrong_tool": "another tool, or another number of calls",
    "wrong_arguments": "the right tool with other arguments",
}
"""Every reason that a built-in grader gives, in words for the report."""

FORM_REASONS: Final = frozenset({"format", "truncated", "schema"})
"""Reasons that a stricter output format mends."""

GRADING_VERSION: Final = 1
"""Raised whenever the semantics of a grader change: part of every identity, so scores are made anew."""


class Grader(Protocol):
    """Judges one answer against one case.

    Optional attributes, read with a default: `needs_expected` (True), `unit` (1.0, the `den` of one right
    answer), `declines` (the detector of declining), `declined_reasons` (the reasons that declining may
    replace; all if None), `label_fault(expected) -> str` ("" if it can be graded).

    Attributes:
        identity: Type, arguments and content hashes of files: when it changes, scores are made anew.
    """

    identity: Mapping[str, Any]

    def __call__(self, trace: Trace, case: Case) -> Score | Awaitable[Score]:
        """Judge a trace that has a response, of a case whose `expected` is known and not None."""
        ...


class AnswerGrader:
    """What the built-in graders share.

    Args:
        config: The section of the project file.
        found: What else determines a score: content hashes of files, resolved labels, library versions.
    """

    needs_expected: bool = True
    unit: ClassVar[float] = 1.0
    declined_reasons: ClassVar[frozenset[str] | None] = None

    def __init__(self, config: BaseModel, **found: Any) -> None:
        self.identity: Mapping[str, Any] = {"version": GRADING_VERSION, **config.model_dump(mode="json"), **found}

    def label_fault(self, expected: Any) -> str:
        """Say what is wrong with `expected` for this grader; "" if nothing is."""
        return ""


class ModelCaller(Protocol):
    """How a grader asks a model of the project: through the store and the budget of the session."""

    def identity(self, model: str) -> Mapping[str, Any]:
        """Return what the model `model` of `[models]` resolves to."""
        ...

    def supports(self, model: str) -> frozenset[str]:
        """Return the features that the model accepts (see `Provider.supports`)."""
        ...

    async def __call__(self, variant: Variant, case: Case) -> Trace:
        """Ask; what is asked at the same time goes out together."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GradingContext:
    """What graders may be built from: the project folder, the examples, all labels that occur, models to ask.

    Without `asker` a judge can be built (for checks) but not asked.
    """

    root: Path = field(default_factory=Path)
    examples: Sequence[Example] = ()
    labels: Sequence[str] = ()
    asker: ModelCaller | None = None
    seed: int = 0

    def file(self, name: str, what: str) -> Path:
        """Return the path of a file below the project.

        Args:
            name: As it stands in the project file.
            what: What it should be, for the message.

        Raises:
            UserError: It lies outside the project or does not exist.
        """
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise UserError(f"expected {what} below the project folder, got {name!r}", hint="move it into the project")
        if not path.is_file():
            raise UserError(f"expected {what} at {path}, got nothing there", hint="write it or mend [[graders]]")
        return path


def partial(num: float, detail: Mapping[str, Any] | None = None) -> Score:
    """Return the score of an answer that is right by `num` in 0..1, with the reason that goes with it."""
    if not detail and num in (0.0, 1.0):
        return RIGHT if num else WRONG
    reason = "" if num >= 1 else "partial" if num > 0 else "wrong"
    return Score(num=min(num, 1.0), reason=reason, detail=detail or {})


def accepted(expected: Any) -> tuple[str, ...]:
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
        "tool_call": "tuneworthy.graders.tool_call",
        "rouge_l": "tuneworthy.graders.overlap",
        "chrf": "tuneworthy.graders.overlap",
        "abstention": "tuneworthy.graders.abstention",
        "style": "tuneworthy.graders.style",
        "python": "tuneworthy.graders.python",
        "judge": "tuneworthy.graders.judge",
    },
)
"""Name to factory ``(config section, GradingContext) -> Grader``; register with ``@GRADERS.register(name)``."""
