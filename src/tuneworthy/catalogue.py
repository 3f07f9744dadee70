"""A catalogue of sentences: what a folder tells people, in one place, by name."""

from collections.abc import Mapping
from typing import Any


class Catalogue(dict[str, str]):
    """Sentences by name, with named fields; tests hold every use to the names and fields that are there.

    Args:
        sentences: Name to sentence, e.g. ``{"too_few": "{n} cases are too few."}``.
    """

    def __init__(self, sentences: Mapping[str, str]) -> None:
        super().__init__(sentences)

    def say(self, name: str, /, **fields: Any) -> str:
        """Return the sentence `name` with its fields filled in; without fields, as it is written.

        >>> Catalogue({"too_few": "{n} cases are too few."}).say("too_few", n=3)
        '3 cases are too few.'
        """
        return self[name].format(**fields) if fields else self[name]
