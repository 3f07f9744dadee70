"""Which rows repeat an earlier one: those that differ in filler and typing errors only."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dataset.check_rows import row
from tuneworthy.cases import normalize
from tuneworthy.cases.normalize import folded
from tuneworthy.dataset import CheckContext
from tuneworthy.dataset.checks import duplicates
from tuneworthy.dataset.checks.duplicates import ExactCheck, NearCheck
from tuneworthy.types import Example

LONG = ("Go to the page of the order, choose the item that you wish to send back and print the label; then hand the "
        "parcel in at any post office within thirty days after the delivery and keep the receipt{}")  # fmt: skip
STATES = ("delivered", "lost", "refused", "returned", "delayed", "packed", "paid", "cancelled", "sorted", "weighed")
PASSAGE = ("The museum has a hall, a garden and a tower. The hall holds the statues that were found in the harbour, "
           "the garden holds the fountains, and the tower holds the clock, the bells and the archive of the town. "
           )  # fmt: skip
OTHERS = {
    "negation": [row("Jacket?", LONG.format(f", since you {can} return the jacket.")) for can in ("can", "cannot")],
    "number in words": [row("When?", LONG.format(f", within {n} days.")) for n in ("three", "nine")],
    "currency": [row("What is the fee for a transfer?", LONG.format(f", it is {fee}.")) for fee in ("$50", "€50")],
    "sign": [row(f"My balance is {n} after the last transfer, what now?", "fee") for n in ("-5", "5")],
    "order of numbers": [row(f"Move {pair} in the list of my saved payees", "ok") for pair in ("3 to 5", "5 to 3")],
    "status": [row(f"Where is it? Case {i % 2}", LONG.format(f", it was {one}.")) for i, one in enumerate(STATES)],
    "small letters": [row(LONG.format(f"; flights from {a} to {b}"), "ok")
                      for a, b in (("alpha", "beta"), ("beta", "alpha"), ("gamma", "beta"))],
    "passage": [row(PASSAGE + asked, "four") for asked in ("How many bells?", "How many statues?", "Who built it?")],
    "label": [row("I cannot see it", one) for one in ("card_lost", "card_list", "card lost now")],
    "endings": [row(LONG.format(f" of the {one} item"), "ok") for one in ("locked", "unlocked", "lock", "locker")]
               + [row("The locked one", "ok")],
    "known words": [row(LONG.format(f", it was {one}."), "ok") for one in ("lost", "last")]
                   + [row("It is lost", "ok"), row("It came last", "ok")],
    "short word for short word": [row("Do it now", "No."), row("Do it now", "Now.")],
}  # fmt: skip
COPIES = {
    "so": [row("Where is my card?", "It is on its way."), row("So where is my card?", "It is on its way.")],
    **{word: [row("Where is my card?", "lost"), row(text, "lost")] for word, text in {
        "please": "Please, where is my card", "now": "Where is my card now?", "really": "Where really is my card?",
        "just": "Just where is my card?", "kindly": "Kindly, where is my card?", "again": "Where is my card again?",
        "actually": "Where actually is my card?", "thank you": "Hello, where is my card? Thank you!",
    }.items()},
    "de": [row("Wo ist meine Karte?", "lost"), row("Hallo, wo ist denn jetzt meine Karte bitte?", "lost")],
    "fr": [row("Où est ma carte ?", "lost"), row("Bonjour, où est donc ma carte, s'il vous plaît ?", "lost")],
    "es": [row("¿Dónde está mi tarjeta?", "lost"), row("Hola, ¿dónde está mi tarjeta, por favor?", "lost")],
    "it": [row("Dov'è la mia carta?", "lost"), row("Ciao, dov'è la mia carta adesso, per favore?", "lost")],
    "article": [row("I lost the card", "lost"), row("I lost a card", "lost")],
    "repeat": [row("It is very late", "late"), row("It is very very late!", "late")],
    "long answer": [row("How?", LONG.format(".")), row("How?", "Please " + LONG.format(". Thank you!"))],
    "typing": [row("How?", LONG.format(".")), row("How?", LONG.format(".").replace("receipt", "reciept")),
               row("The receipt?", "Keep it.")],
}  # fmt: skip


def near(rows: Sequence[Example]) -> dict[int, int]:
    return {finding.row: finding.other for finding in NearCheck()(rows, CheckContext()) if finding.other is not None}


@pytest.mark.parametrize("kind", OTHERS)
def test_rows_that_say_something_else_repeat_nothing(kind: str) -> None:
    assert near(OTHERS[kind]) == {}


@pytest.mark.parametrize("kind", COPIES)
def test_rows_that_differ_in_filler_or_a_typing_error_are_copies(kind: str) -> None:
    assert near(COPIES[kind]) == {1: 0}


def test_a_copy_of_a_mistyped_row_names_the_row_that_stays() -> None:
    first, second, third = COPIES["typing"]
    assert near([first, second, third, second]) == {1: 0, 3: 0}


@pytest.mark.parametrize("kind", ["negation", "number in words", "status", "small letters", "passage"])
def test_without_the_test_of_words_similar_rows_would_go(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "mistyped", lambda text, other: [("one", "other")])
    monkeypatch.setattr(duplicates, "rows_with", lambda texts, wanted: {"one": 1, "other": 2})
    assert near(OTHERS[kind])


def test_without_the_count_of_rows_a_word_that_is_known_would_be_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "rows_with", lambda texts, wanted: dict.fromkeys(wanted, 1) | {"lost": 2})
    assert near(OTHERS["known words"]) == {1: 0}


FORMULAS = ("12-3*4", "123*4", "12-34", "1.5 > 1", "15 > 1", "C#", "C", "C++", "-5", "5", "5 %", "(3+4)*5", "3+4*5",
            "x-3", "x3", "x*3", "3/4", "34", "$50", "€50")  # fmt: skip


def copies(texts: Sequence[str]) -> set[int]:
    return {finding.row for finding in ExactCheck()([row(f"Is it {text}?", "yes") for text in texts], CheckContext())}


def test_operators_points_and_signs_tell_rows_apart() -> None:
    assert copies(FORMULAS) == set()
    assert copies(["12-3*4", "12 − 3 * 4", "c#", "C#!", "1,000.5", "1000.5", "1,5", "15"]) == {1, 3, 5}


def test_without_signs_formulas_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalize, "signed", folded)
    assert copies(FORMULAS) == {1, 2, 4, 6, 9, 10, 12, 14, 15, 17}


def test_punctuation_of_sentences_tells_nothing_apart() -> None:
    assert copies(["well-known, and/or 3", "Well known and / or: 3.", "well known; andor 3!"]) == {1, 2}


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="09٣a bz_é-‐–−*/·×.,:%#()\x0b\x1c\x85\xa0\u2003\n\ud800", max_size=9))
def test_no_text_whose_signs_count_is_passed_over(text: str) -> None:
    def every(text: str) -> str:
        text = folded(text)
        return normalize._SIGNED.sub(lambda sign: sign[0].translate(normalize._SYMBOLS), text)

    assert not normalize._MAY_SIGN.search(folded(text)) or normalize.signed(text) == every(text)
