"""`tuneworthy data export --format pairs`: one question and one answer a line."""

from tuneworthy.dataset.writers import CannotHold, Writer
from tuneworthy.types import Example, JsonObject


def pair(row: Example) -> JsonObject:
    """Return the row in this format, or refuse it with the reason."""
    if len(row.messages) != 2:
        raise CannotHold("more than one turn")
    return {"question": row.question, "answer": row.answer}


PAIRS = Writer(name="pairs", tool_calls="Tools are left out.", convert=pair)
