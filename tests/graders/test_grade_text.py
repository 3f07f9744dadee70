"""Text graders: exact, normalised_exact, includes, regex, squad; SQuAD's values were worked by hand."""

from __future__ import annotations

import time
from typing import Any

import pytest
from grade_samples import build, judge

from tuneworthy.errors import UserError
from tuneworthy.graders import squad
from tuneworthy.graders.text import differs_in_form, normalise, readable_by


def value(name: str, answer: str, expected: Any, **arguments: Any) -> float | None:
    got: float | None = judge(build(name, **arguments), answer, expected).value
    return got


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("yes", "yes", 1), (" yes\n", "yes", 1), ("Yes", "yes", 0), ("yes", ["no", "yes"], 1), ("5", 5, 1),
        ("true", True, 1), ("True", True, 0), ('{"a":1}', {"a": 1}, 1), ("", [], 0),
    ],
)  # fmt: skip
def test_exact_compares_stripped_texts(answer: str, expected: Any, right: int) -> None:
    assert value("exact", answer, expected) == right


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("It’s fine!", "its FINE", True), ("well-known", "well known", True), ("ﬁne", "fine", True),
        ("Straße", "STRASSE", True), ("3.5", "35", False), ("-5", "5", False), ("?", "!", False),
        ("\u200fنعم", "نعم", True), ("10:30", "1030", False), ("a.b", "a b", True), ("«oui»", "oui", True),
        ("x²", "x2", False), ("2²", "22", False), ("x²", "x^2", True), ("CO₂", "co2", True),
    ],
)  # fmt: skip
def test_normalised_exact_folds_only_what_people_do_not_mean(left: str, right: str, same: bool) -> None:
    assert (normalise(left) == normalise(right)) is same
    assert value("normalised_exact", left, right) == same


LABELS = ["Rücksendung", "typical case", "credit", "debit", "order 12", "públic", "public", "Київ", "が"]


@pytest.mark.parametrize(
    ("expected", "answer", "reader"),
    [
        ("Rücksendung", "RU\u0308CKSENDUNG", "choice"),
        ("Rücksendung", "**Rucksendung**", "python"),
        ("Rücksendung", "Rücksendng", ""),  # constrained output shows whether a misspelt label is right
        ("credit", "credits", ""),
        ("credit", "Credit.", ""),  # punctuation is a matter of format
        ("credit", "not credit", ""),
        ("debit", "credits", ""),
        ("order 12", "order 13", ""),
        ("typical case", "atypical case", ""),
        ("typical case", "typical base", ""),
        ("públic", "Públic", "choice"),
        ("públic", "publik", ""),  # may be two labels
        ("Київ", "Киів", ""),
        ("が", "か", ""),
        (None, "credit", ""),
    ],
)
def test_the_lenient_reader_tells_a_wrong_answer_from_one_that_a_grader_cannot_read(
    expected: str | None, answer: str, reader: str
) -> None:
    assert readable_by(answer, expected, LABELS, "exact") == reader
    assert readable_by(answer, expected, LABELS, "choice") == (reader and "python")


@pytest.mark.parametrize(
    ("answer", "expected"), [("alkene", "alkane"), ("payer", "payee"), ("employer", "employee"), ("lessor", "lesser")]
)
def test_another_word_is_no_misspelt_label(answer: str, expected: str) -> None:
    assert readable_by(answer, expected, [expected, "other"], "choice") == ""


def test_accents_are_ignored_in_labels_only() -> None:
    assert readable_by("publico", "público", ["público", "privado"], "exact") == "python"
    assert [readable_by(one, "año", [], "exact") for one in ("ano", "Año")] == ["", "normalised_exact"]
    assert readable_by("PARIS", ["Paris", "Paname"], [], "exact") == "normalised_exact"


@pytest.mark.parametrize(
    ("question", "reader"),
    [
        ("in paris we met anna", ""),
        ("Restore the capitals: in paris we met anna", ""),
        ("Where did we meet Anna?", "normalised_exact"),
        ("Read the letter, which says so much: in paris we met anna. " * 5, "normalised_exact"),
    ],
)
def test_the_form_is_the_task_where_the_question_is_the_answer_in_another_form(question: str, reader: str) -> None:
    assert readable_by("in Paris we met anna", "In Paris we met Anna", [], "exact", question) == reader


@pytest.mark.parametrize(
    ("answer", "found"), [("Ru\u0308ck", True), ("Rück", False), ("rück", False), ("Ruck", False), ("R\nck", False)]
)
def test_only_a_canonical_form_makes_an_answer_the_same_text(answer: str, found: bool) -> None:
    assert differs_in_form(answer, "Rück") is found


def test_includes_needs_all_texts_and_folds_case() -> None:
    assert value("includes", "PARIS and rome", ["paris", "Rome"]) == 1
    assert value("includes", "PARIS", ["paris", "Rome"]) == 0
    assert judge(build("includes"), "x", " ").unscored


def test_regex_takes_the_configured_pattern_or_the_expected_one() -> None:
    assert value("regex", "no 42", "ignored", pattern=r"\b\d{2}\b") == 1
    assert value("regex", "no 4", "ignored", pattern=r"\b\d{2}\b") == 0


def test_regex_from_labels() -> None:
    grader = build("regex", pattern=None)
    assert judge(grader, "Order A-12", r"A-\d+").value == 1
    assert judge(grader, "Order", [r"A-\d+", "^Order$"]).value == 1
    assert "'('" in judge(grader, "x", "(").unscored
    assert "'('" in grader.label_fault("(")  # type: ignore[attr-defined]


def test_a_bad_pattern_is_named_before_anything_is_asked() -> None:
    with pytest.raises(UserError, match=r"'\(a' is not a usable regular expression"):
        build("regex", pattern="(a")


def test_a_catastrophic_pattern_is_stopped_and_the_trace_left_unscored() -> None:
    start = time.perf_counter()
    score = judge(build("regex", pattern=r"^(a|a?)+$"), "a" * 5000 + "b", "x")
    assert time.perf_counter() - start < 60
    assert "took more than" in score.unscored


def test_squad_normalisation_is_the_official_one() -> None:
    assert squad.normalise("The U.S.A.") == "usa"
    assert squad.normalise("a-b  An\tthe theme") == "ab theme"
    assert squad.normalise("“the”") == "“ ”"  # only ASCII punctuation is removed


@pytest.mark.parametrize(
    ("answer", "expected", "exact", "f1"),
    [
        ("Denver Broncos", ["Denver Broncos", "The Broncos"], 1, 1.0),
        ("the broncos.", ["Denver Broncos", "The Broncos"], 1, 1.0),
        # {broncos, won} and {denver, broncos}: 1 word in common, P = 1/2, R = 1/2
        ("Broncos won", ["Denver Broncos"], 0, 0.5),
        # {it, was, denver, broncos} and {denver, broncos}: P = 2/4, R = 1
        ("It was the Denver Broncos", ["Denver Broncos"], 0, 2 / 3),
        # {no, no, no} and {no, no, yes}: 2 in common, P = R = 2/3
        ("no no no", "no no yes", 0, 2 / 3),
        ("Carolina", ["Denver Broncos"], 0, 0.0),
        # v1.1 gives no F1 to a text of articles alone, but an exact match
        ("the", "a", 1, 0.0),
        ("308", 308, 1, 1.0),
    ],
)
def test_squad_values_worked_by_hand(answer: str, expected: Any, exact: float, f1: float) -> None:
    assert value("squad_em", answer, expected) == exact
    assert value("squad_f1", answer, expected) == pytest.approx(f1, abs=1e-12)
