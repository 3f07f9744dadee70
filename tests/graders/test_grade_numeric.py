"""Grader `numeric`: which number is read, and when two are equal."""

from __future__ import annotations

from typing import Any

import pytest
from grade_samples import build, judge

from tuneworthy.graders.numeric import Number, last_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("between 3-5", 5), ("1,2,3", 3), ("costs -$5", -5), ("$-5", -5), ("$1,234.50 in all.", 1234.5),
        ("- 3 apples", 3), ("x=-5.", -5), ("6.02×10^23", 6.02e23), ("3 * 10**-2", 0.03), ("1.5e-3", 0.0015),
        ("答案是42", 42), ("USD1,000", 1000), ("1\u202f234\u202f567", 1234567), ("1'234", 1234), ("٤٢", 42),
        (".5", 0.5), ("−7", -7), ("#### 18", 18), ("10 - 3 = 7", 7), ("007", 7), ("5 e", 5), ("\\boxed{12}", 12),
    ],
)  # fmt: skip
def test_the_last_number_is_read(text: str, number: float) -> None:
    got = last_number(text)
    assert got is not None
    assert got.value == pytest.approx(number, rel=1e-12)


def test_a_decimal_comma_is_read_where_told() -> None:
    assert last_number("1.234,56 EUR", decimal_comma=True) == Number(1234.56)
    assert last_number("no number") is None


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("45%", 0.45, 1), ("45 percent", 45, 1), ("45%", "45%", 1), ("0.45", "45%", 1), ("0.45%", "45%", 0),
        ("4.5%", 0.45, 0), ("42 or 43", 42, 0), ("42", [41, 42], 1), ("1000000.5", 1_000_000, 1),
        ("1000002", 1_000_000, 0), ("0.0000001", 0, 0), ("9" * 400, 1, 0), ("42", "42 apples", 1),
    ],
)  # fmt: skip
def test_numbers_are_compared_within_the_tolerance(answer: str, expected: Any, right: int) -> None:
    assert judge(build("numeric"), answer, expected).value == right


def test_an_absolute_tolerance_counts_as_well() -> None:
    grader = build("numeric", tolerance=0.5)
    assert judge(grader, "10.5", 10).value == 1
    assert judge(grader, "10.51", 10).value == 0


def test_no_number_is_unreadable_and_a_label_without_one_is_a_fault() -> None:
    assert judge(build("numeric"), "many", 3).reason == "format"
    for label in ("many", True, None, [], [1, "x"]):
        assert build("numeric").label_fault(label)  # type: ignore[attr-defined]
        assert judge(build("numeric"), "3", label).unscored
