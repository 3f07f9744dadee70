"""Every sentence of this folder that a person reads at run time."""

from collections.abc import Mapping
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        "no_example": "A classical baseline needs at least one example.",
        "add_examples": "Add rows to [examples].",
        "no_object": "None of the {n} examples has a JSON object as its answer.",
        "fix_answers": "Choose a different classical baseline, or fix the answers in [examples].",
        "not_exported": "The classical baseline {name!r} cannot be exported.",
        "export_kinds": "Only built-in classical baselines can be exported.",
        "sizes": "Learning-curve sizes must be between 1 and {n}, the number of examples. Sizes out of range: {sizes}.",
    },
).say


# Name of each method, as the subject of a sentence.
METHODS: Final[Mapping[str, str]] = {
    "majority": "The majority class",
    "constant": "A fixed answer",
    "nearest": "The nearest neighbour",
    "nearest_copy": "The nearest neighbour",
    "linear": "A linear classifier",
    "field_tagger": "A sequence tagger",
    "answer_tagger": "A sequence tagger",
    "copy_rules": "A set of copy rules",
    "decision": "A zero-shot decision model",
    "encoder": "A fine-tuned encoder",
}
