"""[reflection]: which model rewrites the prompt from what went wrong on dev."""

from typing import Literal

from pydantic import Field

from tuneworthy.config.base import ModelUser


class Reflection(ModelUser):
    """A model that reads answers to dev cases and their faults, and writes a better system prompt (GEPA); it
    never sees a test case.

    Without this section no prompt is optimised. Needs `pip install 'tuneworthy[optimise]'`.
    """

    calls: int = Field(default=500, ge=50)
    """Calls that the search takes, at most: answers to dev cases and rewritten prompts together. Today's prompt answers
    the searched half of dev first, mostly stored by then; these do not count."""
    personal_data: Literal["mask", "send"] = "mask"
    """What becomes of personal data in cases and answers before this model sees it: masked, or sent as it is."""
