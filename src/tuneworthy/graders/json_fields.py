"""Grader `json_fields`: micro F1 over the (field, value) pairs of a JSON object."""

from collections.abc import Mapping
from typing import Any

from tuneworthy.config.graders import JsonFields
from tuneworthy.graders.base import GRADERS, AnswerGrader
from tuneworthy.graders.json_pairs import compare
from tuneworthy.graders.json_text import find_object
from tuneworthy.types import Case, Score, Trace


@GRADERS.register("json_fields")
class JsonFieldsGrader(AnswerGrader[JsonFields]):
    """``num = 2 tp`` and ``den = 2 tp + fp + fn`` over the pairs of a case.

    Nothing expected and nothing answered is one right pair (2 of 2). An answer without a JSON object has
    reason `format` and the `den` of an empty answer. `detail` has the object that was read and, for
    each field, ``[tp, fp, fn]``.
    """

    unit = 2.0

    def label_fault(self, expected: Any) -> str:
        """The expected value must be an object, or a text with one."""
        return f"{str(expected)[:80]!r} is not a JSON object" if expected_object(expected) is None else ""

    def __call__(self, trace: Trace, case: Case) -> Score:
        """Read the object in the answer and count its pairs."""
        expected = expected_object(case.expected)
        if expected is None:
            return Score.failed(self.label_fault(case.expected))
        answered = find_object(trace.text, strict=self.config.strict)
        counts = compare(expected, answered or {}, ignore_case=self.config.ignore_case, fields=self.config.fields)
        fields = {path: [one.tp, one.fp, one.fn] for path, one in counts.items()}
        tp = sum(one[0] for one in fields.values())
        den = float(2 * tp + sum(one[1] + one[2] for one in fields.values()))
        if answered is None:
            return Score(den=den or self.unit, reason="format", detail={"answer": None, "fields": fields})
        detail = {"answer": answered, "fields": fields}
        if not den:
            return Score(num=self.unit, den=self.unit, detail=detail)
        reason = "" if 2 * tp == den else "partial" if tp else "wrong"
        return Score(num=2.0 * tp, den=den, reason=reason, detail=detail)


def expected_object(expected: Any) -> Mapping[str, Any] | None:
    """Return the expected object; a text that is JSON is read (data files often have it so)."""
    if isinstance(expected, Mapping):
        return expected
    return find_object(expected, strict=True) if isinstance(expected, str) else None
