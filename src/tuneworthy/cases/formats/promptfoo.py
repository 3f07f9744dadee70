"""A test of a promptfoo configuration: its variables are the input, its assertions tell what is expected."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, Final

from tuneworthy.cases.readers.faults import Journal, RowFault, show
from tuneworthy.cases.readers.files import Row

# Of the values of the lists of one test: a few lines could name more cases than any machine holds.
MAX_COMBINATIONS: Final = 10_000
# In this order: what says most about the right answer comes first.
_ANSWERS = ("equals", "contains-all", "contains-any", "contains", "icontains", "icontains-all", "icontains-any")
_REFERENCES = ("contains-json", "similar", "rouge-n", "bleu", "factuality", "answer-relevance", "regex", "starts-with")
GRADERS = {
    "equals": "exact",
    "contains": "includes",
    "icontains": "includes",
    "contains-all": "includes",
    "icontains-all": "includes",
    "is-json": "json_schema",
    "regex": "regex",
    "is-refusal": "abstention",
}


def test_fields(test: dict[str, Any], journal: Journal) -> dict[str, Any]:
    """Convert one test (see `expand` for variables that hold a list).

    Raises:
        RowFault: No variables, a variable that is read from elsewhere, or assertions that are no list.
    """
    variables = test.get("vars")
    if not isinstance(variables, dict) or not variables:
        raise RowFault("an object of variables for `vars`", variables)
    if not 0 < (n := _n_combinations(variables)) <= MAX_COMBINATIONS:
        raise RowFault(
            f"1 to {MAX_COMBINATIONS} combinations of the values of list variables",
            got="too many combinations" if n else "none",
            hint="Split the test, or shorten its lists.",
        )
    for name, value in variables.items():
        if isinstance(value, str) and value.startswith("file://"):
            raise RowFault(
                f"a literal value for the variable `{name}`",
                got=f"a reference to {show(value)}",
                hint="Write the value into the file.",
            )
    fields: dict[str, Any] = {"input": variables}
    asserts = test.get("assert") or []
    if not isinstance(asserts, list) or not all(isinstance(item, dict) for item in asserts):
        raise RowFault("a list of assertions for `assert`", asserts)
    _add_expected(fields, asserts, journal)
    if isinstance(metadata := test.get("metadata"), dict) and isinstance(metadata.get("group"), str):
        fields["group"] = metadata["group"]
    return fields


def _add_expected(fields: dict[str, Any], asserts: list[dict[str, Any]], journal: Journal) -> None:
    by_type: dict[str, Any] = {}
    for item in asserts:
        by_type.setdefault(str(item.get("type")), item.get("value"))
    chosen = next((kind for kind in (*_ANSWERS, *_REFERENCES) if by_type.get(kind) is not None), None)
    if chosen is not None:
        fields["expected"] = by_type[chosen]
    elif "is-refusal" in by_type:
        fields["expected"], chosen = None, "is-refusal"
    for kind in by_type:
        grader = f'; the equivalent grader is {{ type = "{GRADERS[kind]}" }}' if kind in GRADERS else ""
        note = (
            "the assertion `{kind}` is used as the expected answer{grader}"
            if kind == chosen
            else "the assertion `{kind}` is ignored{grader}"
        )
        journal.note(note.format(kind=kind, grader=grader))


def _n_combinations(variables: dict[str, Any]) -> int:
    return math.prod(len(value) for value in variables.values() if isinstance(value, list))


def expanded(rows: Iterator[Row], journal: Journal) -> Iterator[Row]:
    """Yield each test as often as `expand` says."""
    return ((line, test) for line, row in rows for test in (expand(row) if row is not None else (None,)))


def expand(test: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a test for each combination of the values of its list variables, as promptfoo does.

    One with too many combinations, or with none, stays as it is, and `test_fields` refuses it.
    """
    variables = test.get("vars")
    if not isinstance(variables, dict) or not 0 < _n_combinations(variables) <= MAX_COMBINATIONS:
        return [test]
    options = [value if isinstance(value, list) else [value] for value in variables.values()]
    return [{**test, "vars": dict(zip(variables, values, strict=True))} for values in product(*options)]
