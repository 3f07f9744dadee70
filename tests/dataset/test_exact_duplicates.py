"""Exact duplicates: the same letters and digits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuneworthy.cases.normalize import normalise, normalised_bytes
from tuneworthy.dataset.checks.duplicates import digests
from tuneworthy.dataset.columns import first_equal

TEXTS = st.text(
    st.characters(codec=None) | st.sampled_from("aA bB.!’'éÉe\u0301ßﬁ \u00a0\u200b가ᄀ\u1161한\ud800"), max_size=12
)


def test_case_punctuation_spaces_and_unicode_forms_do_not_tell_rows_apart() -> None:
    rows = [
        "Where is my card?",
        "x",
        "where  is\u00a0MY card",
        "Wo ist die Straße",
        "WO IST DIE STRASSE!",
        "cafe\u0301",
        "Café",
    ]
    assert first_equal(digests(rows)).tolist() == [-1, -1, 0, -1, 3, -1, 5]


def test_a_row_of_other_words_or_other_signs_only_is_no_copy() -> None:
    assert first_equal(digests(["card 1", "card 2", "?", "!", "", "?"])).tolist() == [-1, -1, -1, -1, -1, 2]


def test_each_copy_names_the_first_row() -> None:
    assert first_equal(digests(iter(["a", "b", "A", "a", "B"]))).tolist() == [-1, -1, 0, 0, 1]


def test_no_rows_have_no_copies() -> None:
    assert first_equal(digests([])).shape == (0,)


@given(st.lists(TEXTS, max_size=30))
def test_rows_are_copies_if_and_only_if_their_normalised_texts_are_equal(rows: list[str]) -> None:
    seen: dict[str, int] = {}
    expected = [seen.setdefault(normalise(row), number) for number, row in enumerate(rows)]
    assert first_equal(digests(rows)).tolist() == [-1 if at == number else at for number, at in enumerate(expected)]


@given(TEXTS)
def test_the_fast_way_for_ascii_changes_nothing(text: str) -> None:
    beside = "é"  # one letter that is not ASCII takes the other way; by itself, as "a*b" is a formula and "a*bé" is not
    assert normalised_bytes(f"a{text}b") + beside.encode() == normalised_bytes(f"a{text}b {beside}")
