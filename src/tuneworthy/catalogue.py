"""A catalogue of sentences: what a folder tells people, in one place, by name."""

from typing import Any


class Catalogue(dict[str, str]):
    """Sentences by name, with named fields; tests hold every use to the names and fields that are there.

    >>> Catalogue({"too_few": "{n} cases are too few."}).say("too_few", n=3)
    '3 cases are too few.'
    """

    def say(self, name: str, /, **fields: Any) -> str:
        """Return the sentence `name` with its fields filled in; without fields, as it is written."""
        return self[name].format(**fields) if fields else self[name]
