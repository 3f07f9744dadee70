"""A test of a promptfoo configuration: its variables are the input, its assertions give the expected answer."""

import math
from itertools import product

from tuneworthy.cases.formats.values import at
from tuneworthy.cases.readers.faults import Journal, RowFault, show
from tuneworthy.cases.readers.files import Rows
from tuneworthy.types import JsonObject

# Of the values of the lists of one test: a few lines could name more cases than fit in memory.
MAX_COMBINATIONS = 10_000
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


def test_fields(test: JsonObject, journal: Journal) -> JsonObject:
    """Convert one test (see `expand` for list variables).

    Raises:
        RowFault: No variables, a variable that is read from elsewhere, or assertions that are no list.
    """
    variables = at(test, "vars")
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
    fields: JsonObject = {"input": variables}
    asserts = at(test, "assert") or []
    if not isinstance(asserts, list) or not all(isinstance(item, dict) for item in asserts):
        raise RowFault("a list of assertions for `assert`", asserts)
    by_type: JsonObject = {}
    for item in asserts:
        by_type.setdefault(str(at(item, "type")), at(item, "value"))
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
    if isinstance(group := at(test, "metadata/group"), str):
        fields["group"] = group
    return fields


def _n_combinations(variables: JsonObject) -> int:
    return math.prod(len(value) for value in variables.values() if isinstance(value, list))


def expanded(rows: Rows, journal: Journal) -> Rows:
    return ((line, test) for line, row in rows for test in (expand(row) if row is not None else (None,)))


def expand(test: JsonObject) -> list[JsonObject]:
    """Return a test for each combination of the values of its list variables, as promptfoo does.

    A test with too many combinations, or without any, stays as it is, and `test_fields` refuses it.
    """
    variables = at(test, "vars")
    if not isinstance(variables, dict) or not 0 < _n_combinations(variables) <= MAX_COMBINATIONS:
        return [test]
    options = [value if isinstance(value, list) else [value] for value in variables.values()]
    return [{**test, "vars": dict(zip(variables, values, strict=True))} for values in product(*options)]
