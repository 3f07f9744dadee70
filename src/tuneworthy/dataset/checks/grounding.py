"""Values that the task copies from its input, and that do not appear in the input of this row."""

from array import array
from collections import defaultdict
from functools import partial

from tuneworthy.cases.agreement import padded_words
from tuneworthy.cases.task_kind import parse_object
from tuneworthy.dataset.base import MANY, CheckContext, RowFinding, RowFindings, are_many, as_rows, data_check
from tuneworthy.types import Examples, text_of

# Share of the values of a key that appear in the input from which the key is copied: among the cases, or among the rows
# where the cases have few. From the lower share of the rows it may be.
COPIED, MAY_BE_COPIED = 0.85, 0.4
# Values needed to say so, of cases and of rows.
MIN_EXPECTED, MIN_VALUES = 20, 50


@data_check("grounding", whole=True, version=2, asks={"ungrounded": MANY})
def grounding(rows: Examples, context: CheckContext) -> RowFindings:
    """Rows of an extraction task with a value that is not in their input.

    The values of a JSON answer are looked up in the turns before it, whatever their case and punctuation. A key is
    copied from the input if at least 85% of its values occur there, in the cases or, where they have few, in the rows;
    another value is then a mistake, or the answer of another row. If 40 to 85% of the rows' values occur there, such
    rows are reported, or the build asks. Keys whose values are inferred or rewritten, and numbers, are not judged.

    Bad: "A table for two at the Anchor" with the answer `{"place": "Bellini"}`.
    """
    expected = _by_key(as_rows(context.cases))
    missing = defaultdict(list)
    unsure = set()
    for key, values in _by_key(rows).items():
        known = expected.get(key, array("q"))
        of_cases = len(known) >= MIN_EXPECTED
        known = known if of_cases else values
        share = sum(value & 1 for value in known) / max(1, len(known))
        if share < (COPIED if of_cases else MAY_BE_COPIED) or not (of_cases or len(values) >= MIN_VALUES):
            continue
        absent = {value >> 1 for value in values if not value & 1}
        if share < COPIED and not are_many(len(absent), len(rows)):
            unsure.add(key)
        for number in absent:
            missing[number].append(key)
    for number, keys in sorted(missing.items()):
        names = ", ".join(sorted(keys))
        yield RowFinding(
            row=number, code="ungrounded", message=f"keys: {names}", action="report" if unsure >= {*keys} else "drop"
        )


def _by_key(rows: Examples) -> dict[str, "array[int]"]:
    """Return for each key of JSON answers twice the row of each value, plus one if the input contains the value."""
    found: dict[str, array[int]] = defaultdict(partial(array, "q"))
    for number, row in enumerate(rows):
        answer = parse_object(row.answer)
        if isinstance(answer, dict):
            text = padded_words("\n".join(map(text_of, row.messages[:-1])))
            for key, value in answer.items():
                found[key].extend(2 * number + (padded_words(part) in text) for part in _texts(value))
    return found


def _texts(value: object) -> list[str]:
    if isinstance(value, list):
        return [part for one in value for part in _texts(one)]
    return [value] if isinstance(value, str) and any(map(str.isalpha, value)) else []
