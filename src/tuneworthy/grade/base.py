"""What a grader is, and the rules that hold for all of them.

1. A trace with an error is *unscored*, never 0.
2. Where `expected` is None, declining is right and any other answer is wrong.
3. An answer that cannot be read is scored 0 with reason `format`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tuneworthy.registry import Registry
from tuneworthy.types import Case, Example, Score, Trace


class Grader(Protocol):
    """Judges one answer against one case.

    Attributes:
        identity: Type, arguments and content hashes of files: when it changes, scores are made anew.
    """

    identity: Mapping[str, Any]

    def __call__(self, trace: Trace, case: Case) -> Score:
        """Judge a trace that has a response, of a case whose `expected` is known and not None."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GradingContext:
    """What graders may be built from: the project folder, the examples, all labels that occur."""

    root: Path = field(default_factory=Path)
    examples: Sequence[Example] = ()
    labels: Sequence[str] = ()


GRADERS: Registry[Any] = Registry(
    "graders",
    {
        "exact": "tuneworthy.grade.text",
        "normalised_exact": "tuneworthy.grade.text",
        "includes": "tuneworthy.grade.text",
        "regex": "tuneworthy.grade.text",
        "numeric": "tuneworthy.grade.text",
        "squad_em": "tuneworthy.grade.squad",
        "squad_f1": "tuneworthy.grade.squad",
        "json_fields": "tuneworthy.grade.json_fields",
        "json_schema": "tuneworthy.grade.json_schema",
        "choice": "tuneworthy.grade.choice",
        "tool_call": "tuneworthy.grade.tool_call",
        "rouge_l": "tuneworthy.grade.overlap",
        "chrf": "tuneworthy.grade.overlap",
        "abstention": "tuneworthy.grade.abstention",
        "style": "tuneworthy.grade.style",
        "python": "tuneworthy.grade.python",
    },
)
"""Name to factory ``(config section, GradingContext) -> Grader``; register with ``@GRADERS.register(name)``."""
