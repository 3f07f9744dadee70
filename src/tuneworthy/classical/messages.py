"""Every sentence of this folder that a person reads at run time."""

from collections.abc import Mapping
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {},
).say


# Name per method, as the subject of a sentence.
METHODS: Final[Mapping[str, str]] = {
    "majority": "The majority class",
    "constant": "A fixed answer",
    "nearest": "The nearest neighbour",
    "nearest_object": "The nearest neighbour",
    "linear": "A linear classifier",
    "field_tagger": "A sequence tagger",
    "answer_tagger": "A sequence tagger",
    "copy_rules": "A set of copy rules",
    "decision": "A zero-shot decision model",
    "encoder": "A fine-tuned encoder",
}
