"""A catalogue of sentences that several places of a folder print, by name."""

from string import Formatter
from typing import Any


class _CountFormatter(Formatter):
    """Formats `{n:case|cases}` as its first word if `n` is 1, otherwise as its second."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        singular, bar, plural = format_spec.partition("|")
        if not bar:
            return super().format_field(value, format_spec)
        return singular if value == 1 else plural


class Catalogue(dict[str, str]):
    """Sentences by name, with named fields.

    >>> sentences = Catalogue({"too_few": "{n} {n:case is|cases are} too few."})
    >>> sentences.say("too_few", n=1), sentences.say("too_few", n=3)
    ('1 case is too few.', '3 cases are too few.')
    """

    def say(self, name: str, /, **fields: Any) -> str:
        """Return the sentence `name` with its fields filled in."""
        return _CountFormatter().vformat(self[name], (), fields) if fields else self[name]
