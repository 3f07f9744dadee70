"""Settings that a judge of answers (`[[graders]]`) and a judge of rows (`[data.judge]`) share."""

from tuneworthy.config.base import Count, ModelUser


class JudgeSettings(ModelUser):
    """A model that rates one text at a time: best of another family than the models that are judged, and able to be
    held to a choice."""

    rubric: str = ""
    """The criteria for a good answer: a text, or a `.md` or `.txt` file below the project. A grader needs one; for
    rows there is a general one."""
    mask: bool = True
    """Mask e-mail addresses, phone numbers, IBANs, cards, IP addresses and keys before the judge sees them."""
    max_tokens: Count = 256
    """Limit of the judge's answer, tokens; a model that thinks first needs more."""
