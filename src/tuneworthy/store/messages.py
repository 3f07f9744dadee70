"""Sentences about stored files."""

from collections.abc import Mapping
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        "remove_link": "Remove the link, then run the command again.",
        "make_artifact": "Run `tuneworthy {verb}`.",
    },
).say

# Kinds of stored models, as nouns
KINDS: Final[Mapping[str, str]] = {
    "base": "base model",
    "adapter": "adapter",
    "merged": "merged model",
    "gguf": "GGUF file",
    "classifier": "classifier",
}
