"""Grader `numeric`: the last number of the answer equals the expected number within the tolerance."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from tuneworthy.config.graders import Numeric
from tuneworthy.graders.base import GRADERS, RIGHT, AnswerGrader
from tuneworthy.types import Case, Score, Trace

# The number is looked for in the last so many characters of an answer.
MAX_CHARS = 20_000

_SPACES = "\u00a0\u2009\u202f'’_"
_NUMBER = r"""
    (?<!\d)(?:(?<![\w)])(?P<sign>[-−+]))?
    (?:[$€£¥]\s?(?P<sign2>[-−]?))?
    (?={decimal}?\d)
    (?P<whole>\d{{1,3}}(?:[{thousands}{spaces}]\d{{3}})+(?!\d)|\d+)?
    (?P<fraction>{decimal}\d+)?
    (?:[eE](?P<exponent>[-+]?\d{{1,4}})\b|\s?[x×*]\s?10(?:\^|\*\*)\{{?(?P<power>[-−+]?\d{{1,4}})\}}?)?
    (?P<percent>\s?(?:%|％|٪|percent\b|per\ cent\b))?
"""


def _compile(thousands: str, decimal: str) -> re.Pattern[str]:
    return re.compile(_NUMBER.format(thousands=thousands, spaces=_SPACES, decimal=decimal), re.VERBOSE)


_POINT = _compile(",", r"\.")
_COMMA = _compile(r"\.", ",")


# Difference that is always allowed, as a share of the expected number.
RELATIVE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written: `value` as the digits say, and whether a percent sign followed."""

    value: float
    percent: bool = False

    def equals(self, other: Number, tolerance: float) -> bool:
        """Compare with the expected number `other`.

        If only one side has a percent sign, both its digits (45) and its fraction (0.45) may be meant.
        """
        candidates = [(self.value, other.value)]
        if self.percent != other.percent:
            candidates.append((self.value / 100, other.value) if self.percent else (self.value, other.value / 100))
        return any(
            a == b or (math.isfinite(a) and abs(a - b) <= max(tolerance, RELATIVE_TOLERANCE * abs(b)))
            for a, b in candidates
        )


def last_number(text: str, *, decimal_comma: bool = False) -> Number | None:
    """Return the last number of `text`, or None.

    >>> last_number("between 3 and 1,234.5 %"), last_number("1.234,5", decimal_comma=True)
    (Number(value=1234.5, percent=True), Number(value=1234.5, percent=False))
    """
    numbers = [*(_COMMA if decimal_comma else _POINT).finditer(text[-MAX_CHARS:])]
    if not numbers:
        return None
    sign, sign_after, whole, fraction, exponent, power, percent = numbers[-1].groups()  # in the order of the pattern
    digits = re.sub(r"\D", "", whole or "0")
    value = float(f"{digits}.{(fraction or '.0')[1:]}e{(exponent or power or '0').replace('−', '-')}")
    negative = (sign in {"-", "−"}) != (sign_after in {"-", "−"})
    return Number(-value if negative else value, bool(percent))


@GRADERS.register("numeric")
class NumericGrader(AnswerGrader[Numeric]):
    """Reads thousands separators, percent signs, currency signs and scientific notation."""

    def _expected(self, expected: Any) -> list[Number] | None:
        values = expected if isinstance(expected, list | tuple) else [expected]
        plain = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
        texts = [last_number(one, decimal_comma=self.config.decimal_comma) for one in values if isinstance(one, str)]
        numbers = [Number(float(one)) for one in plain] + [number for number in texts if number is not None]
        return numbers if numbers and len(numbers) == len(values) else None

    def label_fault(self, expected: Any) -> str:
        return "" if self._expected(expected) else f"{str(expected)[:80]!r} is not a number"

    def __call__(self, trace: Trace, case: Case) -> Score:
        expected = self._expected(case.expected)
        if expected is None:
            return Score.failed(self.label_fault(case.expected))
        answer = last_number(trace.text, decimal_comma=self.config.decimal_comma)
        if answer is None:
            return Score(reason="format")
        if any(answer.equals(one, self.config.tolerance) for one in expected):
            return RIGHT
        return Score(reason="wrong", detail={"number": answer.value} if math.isfinite(answer.value) else {})
