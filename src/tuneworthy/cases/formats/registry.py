"""The registries of row formats: how a row is recognised, and how it becomes a `Case` or an `Example`.

A converter returns the keyword arguments of the noun (`id` only if the row gives one) and raises
`RowFault` or `Dropped`. Built-ins are tried by `priority`, then those of installed packages (entry points
``tuneworthy.case_formats`` and ``tuneworthy.example_formats``).
"""

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tuneworthy.cases.readers.faults import Journal
from tuneworthy.cases.readers.files import Row
from tuneworthy.registry import Registry

Fields = dict[str, Any]
Convert = Callable[[dict[str, Any]], Fields]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format of rows.

    Attributes:
        name: As shown to people.
        shape: What a right row looks like, for messages.
        detect: Takes the union of the keys of the first rows, and the first row; returns whether this is the format.
        converter: Takes the journal; returns the function that converts a row.
        priority: Lower is tried first.
        title: What a person calls the file, e.g. "Langfuse export"; "" for a format that is no tool's.
        unit: What a row is called.
        records: Turns the rows of a file into those that are converted, where they are not the same: a line goes along
            with each, and never back.
        facts: Told a row, yields what it says about rows that may stand elsewhere, as key and value; the converter
            finds them in the journal.
        companion: Of a format that holds such facts alone: which file must be imported with it.
    """

    name: str
    shape: str
    detect: Callable[[Set[str], dict[str, Any]], bool]
    converter: Callable[[Journal], Convert]
    priority: int
    title: str = ""
    unit: str = "row"
    records: Callable[[Iterator[Row], Journal], Iterator[Row]] | None = None
    facts: Callable[[dict[str, Any]], Iterable[tuple[str, Any]]] | None = None
    companion: str = ""


# Formats of examples that are a tool's, by the module that registers them.
_EXPORTS = {
    "otel": ("otel",),
    "claude_code": ("claude_code",),
    "codex": ("codex",),
    "langfuse": ("langfuse", "langfuse_observations", "langfuse_scores"),
    "langsmith": ("langsmith", "langsmith_feedback"),
    "litellm": ("litellm",),
    "openai_exports": ("openai_stored", "batch_results", "batch_requests", "openai_evals_run"),
    "preferences": ("preference", "kto"),
    "anthropic": ("anthropic",),
}
BUILTIN = {
    "case_formats": ("native", "promptfoo", "inspect", "openai_evals", "langfuse", "columns"),
    "example_formats": (
        *(name for names in _EXPORTS.values() for name in names),
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
    "example_formats",
    dict.fromkeys(BUILTIN["example_formats"], "tuneworthy.cases.formats.example_rows")
    | {name: f"tuneworthy.cases.formats.exports.{module}" for module, names in _EXPORTS.items() for name in names},
)


def detect(formats: Registry[Format], keys: Set[str], first: dict[str, Any]) -> Format | None:
    """Return the first format that recognises rows with `keys`, or None."""
    builtin = sorted((formats.get(name) for name in BUILTIN[formats.kind]), key=lambda entry: entry.priority)
    for entry in builtin:
        if entry.detect(keys, first):
            return entry
    strangers = (formats.get(name) for name in formats if name not in BUILTIN[formats.kind])
    return next((entry for entry in strangers if entry.detect(keys, first)), None)


@lru_cache(maxsize=4096)
def bare(key: str) -> str:
    """Return a key without dashes and underscores, in lower case: `traceId` and `trace_id` are one."""
    return key.replace("_", "").replace("-", "").lower()
