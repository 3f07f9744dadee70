"""A catalogue of sentences: what a folder tells people, in one place, by name."""

from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any


class Sentence(str):
    """A sentence that remembers where it is written: an error takes its code from there.

    Attributes:
        key: Folder and name in its catalogue, e.g. `config.unknown_key`; "" for text of another kind.
    """

    __slots__ = ("key",)
    key: str

    def __new__(cls, text: str, key: str = "") -> "Sentence":
        """Create a sentence from its text."""
        sentence = super().__new__(cls, text)
        sentence.key = key
        return sentence

    def format(self, *values: object, **fields: object) -> "Sentence":
        """Fill in the fields."""
        return Sentence(super().format(*values, **fields), self.key)


def precede(where: object, text: str) -> str:
    """Return `text` after the place that it is about, with the code of `text`."""
    return Sentence(f"{where}: {text}", getattr(text, "key", ""))


@cache
def codes() -> dict[str, str]:
    """Return the code of each sentence that an error can begin with, e.g. `E-CONFIG-03`, by the sentence's key."""
    lines = Path(__file__).with_name("error_codes.txt").read_text(encoding="utf-8").splitlines()
    return {key: code for code, key in map(str.split, lines)}


def code_of(text: str) -> str:
    """Return the code of an error that begins with `text`; "" if `text` is from no catalogue."""
    return codes().get(getattr(text, "key", ""), "")


class _CountFormatter(Formatter):
    """Formats `{n:case|cases}` as its first word where `n` is 1, and else as its second."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        one, bar, many = format_spec.partition("|")
        if not bar:
            return super().format_field(value, format_spec)
        return one if value == 1 else many


class Catalogue(dict[str, str]):
    """Sentences by name, with named fields; tests hold every use to the names and fields that are there.

    Args:
        module: The `__name__` of the messages module: its folder is in the codes of errors.
        sentences: Name to sentence.

    >>> sentences = Catalogue(__name__, {"too_few": "{n} {n:case is|cases are} too few."})
    >>> sentences.say("too_few", n=1), sentences.say("too_few", n=3)
    ('1 case is too few.', '3 cases are too few.')
    """

    def __init__(self, module: str, sentences: dict[str, str]) -> None:
        super().__init__(sentences)
        self.folder = (["general", *module.split(".")[1:-1]])[-1]

    def say(self, name: str, /, **fields: Any) -> str:
        """Return the sentence `name` with its fields filled in; without fields, as it is written."""
        text = _CountFormatter().vformat(self[name], (), fields) if fields else self[name]
        return Sentence(text, f"{self.folder}.{name}")
