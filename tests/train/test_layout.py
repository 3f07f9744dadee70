"""Rows lie one after the other, their common beginning once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuneworthy.train.batch_layout import IGNORED, lay_out

ROWS = st.lists(
    st.tuples(st.integers(2, 6), st.lists(st.integers(0, 9), min_size=1, max_size=5)), min_size=1, max_size=6
)


def rows_of(drawn: list[tuple[int, list[int]]]) -> tuple[list[list[int]], list[list[int]]]:
    """Rows that begin with 1 2 3 ... and end with what is supervised."""
    ids = [[*range(1, n + 1), *said] for n, said in drawn]
    labels = [[*([IGNORED] * n), *said] for n, said in drawn]
    return ids, labels


@given(ROWS)
def test_every_supervised_token_is_predicted_by_the_one_before_it_in_its_row(
    drawn: list[tuple[int, list[int]]],
) -> None:
    ids, labels = rows_of(drawn)
    made = lay_out(ids, labels)
    prefix, filled, *lengths = made["lengths"]
    start = prefix
    at = 0
    for row, labelled, length in zip(ids, labels, lengths, strict=True):
        own = slice(start, start + length)
        assert made["input_ids"][:prefix] + made["input_ids"][own] == row
        assert made["position_ids"][own] == list(range(prefix, len(row)))
        for place, label in enumerate(labelled):
            if label != IGNORED:
                assert made["predict_at"][at] == start + place - 1 - prefix
                assert made["targets"][at] == label
                at += 1
        start += length
    assert start + filled == len(made["input_ids"]) == len(made["position_ids"])
    assert made["targets"][at:] == [IGNORED] * (len(made["targets"]) - at)
    assert sum(label != IGNORED for label in made["labels"]) == at


@given(ROWS)
def test_nothing_that_is_supervised_lies_in_the_common_beginning(drawn: list[tuple[int, list[int]]]) -> None:
    ids, labels = rows_of(drawn)
    prefix = lay_out(ids, labels)["lengths"][0]
    assert all(row[: prefix + 1] == [IGNORED] * (prefix + 1) for row in labels)


def test_a_single_row_shares_nothing() -> None:
    ids, labels = rows_of([(4, [7]), (4, [8])])
    assert lay_out(ids[:1], labels[:1])["lengths"][0] == 0
    assert lay_out(ids, labels)["lengths"][0] == 3
