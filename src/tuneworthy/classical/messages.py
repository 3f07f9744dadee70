"""Every sentence of this folder that a person reads at run time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

METHODS: Final[Mapping[str, str]] = {
    "majority": "The majority class",
    "constant": "A fixed answer",
    "nearest": "The nearest neighbour",
    "nearest_copy": "The nearest neighbour",
    "linear": "A linear classifier",
    "field_tagger": "A sequence tagger",
    "answer_tagger": "A sequence tagger",
    "copy_rules": "A set of copying rules",
}
"""Name of each method at the head of a sentence."""

NO_EXAMPLE: Final = "A classical baseline needs at least one example."
ADD_EXAMPLES: Final = "Add rows to [examples]."
NO_OBJECT: Final = "None of the answers of {n} examples is a JSON object."
FIX_ANSWERS: Final = "Use another kind of classical baseline, or fix the answers of [examples]."
SIZES: Final = "Sizes of a learning curve must be from 1 to {n}, the number of examples, not {sizes}."
