"""What the report tells people: headings, answers, warnings, how to read its tables and charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# The verdict
ANSWERS: Final[Mapping[str, str]] = {
    "fine_tune": "Fine-tuning is worth a try",
    "do_not_fine_tune": "Do not fine-tune",
    "undecided": "Undecided: evidence is missing",
    "ship": "Ship the fine-tuned model",
    "do_not_ship": "Do not ship the fine-tuned model",
}
VERDICT_STALE: Final = "The last verdict no longer holds"
VERDICT_WAS: Final = "It was: {answer}."
SINCE_THEN: Final = "Since then: {changes}."
DECIDE_AGAIN: Final = "Run `tuneworthy decide` again."
BEGIN_TRAINING: Final = (
    "Build a training set that passes its checks, and run a pilot: a few short trainings that show what training gains "
    "before all of it is paid for."
)
MONEY: Final = "Money"
NEXT: Final = "Next"
WOULD_CHANGE: Final = "This would change it"
VALID_UNTIL: Final = "Valid until"
SAVED: Final = "Measured on test: {saved}"
TRAINING_COSTS: Final = "Training is assumed to cost ${once} once, and serving and upkeep ${month} a month."
VERDICT_LINE: Final = "Verdict{valid}: {answer}. {reason}"
UNTIL: Final = " (valid until {date})"
