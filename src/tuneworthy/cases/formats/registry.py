"""The registries of row formats: how a row is recognised, and how it becomes a `Case` or an `Example`.

A converter returns the keyword arguments of the noun (`id` only if the row gives one) and raises
`RowFault` or `Dropped`. Built-ins are tried by `priority`, then those of installed packages (entry points
``tuneworthy.case_formats`` and ``tuneworthy.example_formats``).
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from tuneworthy.cases.readers.faults import Journal
from tuneworthy.registry import Registry

Fields = dict[str, Any]
Convert = Callable[[dict[str, Any]], Fields]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format of rows.

    Attributes:
        name: As shown to people.
        shape: What a right row looks like, for messages.
        detect: Told the union of the keys of the first rows and the first row, says whether this is it.
        converter: Told the journal, returns the function that converts a row.
        priority: Lower is tried first.
    """

    name: str
    shape: str
    detect: Callable[[Set[str], dict[str, Any]], bool]
    converter: Callable[[Journal], Convert]
    priority: int


BUILTIN = {
    "case_formats": ("native", "promptfoo", "inspect", "openai_evals", "langfuse", "columns"),
    "example_formats": (
        "messages",
        "openai_log",
        "sharegpt",
        "alpaca",
        "prompt_completion",
        "input_expected",
        "columns",
    ),
}
CASE_FORMATS: Registry[Format] = Registry(
    "case_formats", dict.fromkeys(BUILTIN["case_formats"], "tuneworthy.cases.formats.case_rows")
)
EXAMPLE_FORMATS: Registry[Format] = Registry(
    "example_formats", dict.fromkeys(BUILTIN["example_formats"], "tuneworthy.cases.formats.example_rows")
)


def detect(formats: Registry[Format], keys: Set[str], first: dict[str, Any]) -> Format | None:
    """Return the first format that recognises rows with `keys`, or None."""
    builtin = sorted((formats.get(name) for name in BUILTIN[formats.kind]), key=lambda entry: entry.priority)
    for entry in builtin:
        if entry.detect(keys, first):
            return entry
    strangers = (formats.get(name) for name in formats if name not in BUILTIN[formats.kind])
    return next((entry for entry in strangers if entry.detect(keys, first)), None)
