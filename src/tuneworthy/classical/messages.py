"""Every sentence of this folder that a person reads at run time."""

from collections.abc import Mapping
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        "no_example": "A classical baseline needs at least one example.",
        "add_examples": "Add rows to [examples].",
        "no_object": "None of the answers of {n} examples is a JSON object.",
        "fix_answers": "Use another kind of classical baseline, or fix the answers of [examples].",
        "sizes": "Sizes of a learning curve must be from 1 to {n}, the number of examples, not {sizes}.",
    }
).say


# Name of each method at the head of a sentence.
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
