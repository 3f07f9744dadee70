"""Values that most rows copy from their input, and that do not appear in the input of this one."""

from collections import defaultdict

from tuneworthy.cases.agreement import padded_words
from tuneworthy.cases.task_kind import parse_object
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.types import Examples, text_of

# Share of the values of a key that appear in the input from which the key is copied, and values needed to say so.
COPIED = 0.85
MIN_VALUES = 50


@data_check("grounding", whole=True)
def grounding(rows: Examples, context: CheckContext) -> RowFindings:
    """Rows of an extraction task with a value that is not in their input.

    The values of a JSON answer are looked up in the turns before it, whatever their case and punctuation. A key is
    copied from the input if at least 85% of its values occur there; another value is then a mistake, or the
    answer of another row. Keys whose values are inferred or rewritten, and numbers, are not judged.

    Bad: "A table for two at the Anchor" with the answer `{"place": "Bellini"}`.
    """
    copied = defaultdict(list)
    missing: dict[int, list[str]] = {}
    for number, row in enumerate(rows):
        answer = parse_object(row.answer)
        if not isinstance(answer, dict):
            continue
        text = padded_words("\n".join(map(text_of, row.messages[:-1])))
        for key, value in answer.items():
            for part in _texts(value):
                there = padded_words(part) in text
                copied[key].append(there)
                if not there:
                    missing.setdefault(number, []).append(key)
    judged = {key for key, there in copied.items() if len(there) >= MIN_VALUES and sum(there) >= COPIED * len(there)}
    for number, keys in missing.items():
        if names := sorted(judged.intersection(keys)):
            yield RowFinding(row=number, code="ungrounded", message=f"keys: {', '.join(names)}")


def _texts(value: object) -> list[str]:
    if isinstance(value, list):
        return [part for one in value for part in _texts(one)]
    return [value] if isinstance(value, str) and any(map(str.isalpha, value)) else []
