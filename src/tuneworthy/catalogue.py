"""A catalogue of sentences: what a folder tells people, in one place, by name."""

from string import Formatter
from typing import Any


class _CountFormatter(Formatter):
    """Formats `{n:case|cases}` as its first word where `n` is 1, and else as its second."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        one, bar, many = format_spec.partition("|")
        if not bar:
            return super().format_field(value, format_spec)
        return one if value == 1 else many


class Catalogue(dict[str, str]):
    """Sentences by name, with named fields; tests hold every use to the names and fields that are there.

    >>> sentences = Catalogue({"too_few": "{n} {n:case is|cases are} too few."})
    >>> sentences.say("too_few", n=1), sentences.say("too_few", n=3)
    ('1 case is too few.', '3 cases are too few.')
    """

    def say(self, name: str, /, **fields: Any) -> str:
        """Return the sentence `name` with its fields filled in; without fields, as it is written."""
        return _CountFormatter().vformat(self[name], (), fields) if fields else self[name]
