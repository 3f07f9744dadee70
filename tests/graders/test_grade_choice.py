"""Grader `choice`: which labels an answer names."""

from __future__ import annotations

import pytest
from grade_samples import build, judge

from tuneworthy.errors import UserError
from tuneworthy.graders.base import GradingContext
from tuneworthy.graders.choice import LabelFinder

FIND = LabelFinder(["card_arrival", "card_arrival_delay", "refund", "A", "C++", "退款"])


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("card_arrival", ["card_arrival"]),
        ("Card arrival.", ["card_arrival"]),
        ("It is: **Card-Arrival Delay**.", ["card_arrival_delay"]),
        ('{"intent": "refund"}', ["refund"]),
        ("refund, refund!", ["refund"]),
        ("refund or card_arrival", ["refund", "card_arrival"]),
        ("refunded", []),
        ("I would like a cup", []),
        ("Answer: A", ["A"]),
        ("a", ["A"]),
        ("C++ it is", ["C++"]),
        ("我要退款了", ["退款"]),
        ("", []),
    ],
)
def test_labels_are_found_as_whole_phrases(answer: str, named: list[str]) -> None:
    assert FIND(answer) == named


@pytest.mark.parametrize(
    ("labels", "answers"),
    [
        (
            "-1 0 1",
            {
                "-1.": "-1",
                "Sentiment: -1": "-1",
                "−1": "-1",
                "**–1**": "-1",
                "-1 (negative)": "-1",
                '{"label": -1}': "-1",
            },
        ),
        (
            "-1 0 1",
            {"Sentiment: 1": "1", "result--1": "1", "1.0": "1", "level-1": "1", "1.5": "", "-2": "", "1,000": ""},
        ),
        ("+1 -1", {"Label: +1": "+1", "Label: -1": "-1"}),
        (
            "A A+ A- B",
            {"Grade: A-": "A-", "A-.": "A-", "Grade: A+": "A+", "Grade: A": "A", "B- then": "B", "It is B-": ""},
        ),
        ("C C++ C#", {"It is C++17": "C++", "It is C#.": "C#", "Language: C": "C"}),
        ("C Go", {"It is C++": "", "It is C#": "", "It is C+.": "", "It is C.": "C"}),
        ("$ $$ $$$", {"Price: $$": "$$", "Price: $": "$"}),
        ("0.5 5 1-2 12", {"Answer: 0.5": "0.5", "Answer: 5.": "5", "Answer: 1-2": "1-2", "Answer: 12": "12"}),
        ("es es-MX", {"Locale: es_mx": "es-MX", "Locale: es": "es"}),
        ("toxic non-toxic", {"It is non-toxic": "non-toxic", "It is toxic": "toxic", "It is not toxic": ""}),
        ("- +", {"-": "-", "It is -.": "-", "It is +": "+", "": "", "non-spam": ""}),
        ("2 4", {"It is 2²": "", "10⁴": "", "It is 2": "2"}),
        (
            "spam ham",
            {"spam###": "spam", "not spam": "", "not spam but ham": "ham", "non-spam": "", "No, spam": "spam"},
        ),
    ],
)
def test_signs_and_decimals_belong_to_a_label(labels: str, answers: dict[str, str]) -> None:
    find = LabelFinder(labels.split())
    assert {answer: find(answer) for answer in answers} == {
        answer: [name] if name else [] for answer, name in answers.items()
    }


@pytest.mark.parametrize(
    "answer", ["Ru\u0308cksendung", "**RU\u0308CKSENDUNG**", "It is Ru\u0308ck\u00adsendung.", "Ｒücksendung"]
)
@pytest.mark.parametrize("label", ["Rücksendung", "Ru\u0308cksendung"])
def test_the_unicode_form_of_an_answer_does_not_matter(answer: str, label: str) -> None:
    grader = build("choice", labels=[label, "Zahlung"])
    assert judge(grader, answer, label).value == 1
    assert judge(grader, answer, "Zahlung").value == 0


def test_labels_that_only_a_compatible_form_makes_equal_are_told_apart() -> None:
    labels = ("m2", "m²", "m₂", "Fläche")
    grader = build("choice", labels=[*labels])
    for label in labels:
        assert [judge(grader, f"It is {label}.", other).value for other in labels] == [
            float(other == label) for other in labels
        ]
    assert judge(grader, "It is Fla\u0308che.", "Fläche").value == 1


def test_a_square_is_no_other_label() -> None:
    grader = build("choice", labels=["22", "4"])
    assert [judge(grader, answer, "22").value for answer in ("It is 2²", "2²", "２２")] == [0, 0, 1]


def test_the_exact_label_wins_over_labels_inside_it() -> None:
    grader = build("choice", labels=["refund", "refund or exchange", "exchange"])
    assert judge(grader, "refund or exchange", "refund or exchange").value == 1
    assert judge(grader, "I say: refund or exchange.", "refund or exchange").value == 1


def test_labels_that_differ_in_case_alone_are_told_apart() -> None:
    grader = build("choice", labels=["US", "us"])
    assert judge(grader, "us", "us").value == 1
    assert judge(grader, "I say US.", "us").value == 0


def test_none_and_several_are_unreadable() -> None:
    grader = build("choice", labels=["yes", "no"])
    for answer, named in (("perhaps", []), ("yes and no", ["yes", "no"])):
        score = judge(grader, answer, "yes")
        assert (score.value, score.reason, score.detail["named"]) == (0, "format", named)


def test_labels_come_from_the_data_if_not_set_and_are_part_of_the_identity() -> None:
    grader = build("choice", GradingContext(labels=["x", "y", "x"]), labels=None)
    assert grader.identity["labels"] == ["x", "y"]
    with pytest.raises(UserError, match="at least 2 labels, but it has 1"):
        build("choice", GradingContext(labels=["x"]), labels=None)


def test_a_label_that_is_not_known_is_a_fault() -> None:
    grader = build("choice", labels=["yes", "no"])
    assert "'maybe' is not one" in judge(grader, "yes", "maybe").unscored
    assert "'maybe' is not one" in judge(grader, "maybe", "maybe").unscored


def test_balanced_accuracy_counts_every_label_alike() -> None:
    from tuneworthy.config.graders import BalancedAccuracy
    from tuneworthy.graders.base import GradingContext
    from tuneworthy.graders.choice import BalancedAccuracyGrader
    from tuneworthy.types import Case, Response, Trace

    context = GradingContext(labels=("ok", "fraud"), label_counts={"ok": 95, "fraud": 5})
    grader = BalancedAccuracyGrader(BalancedAccuracy(type="balanced_accuracy"), context)
    answers = [("ok", "ok")] * 95 + [("fraud", "ok")] * 5
    scores = [
        grader(
            Trace(case_id="a", variant_id="v", repeat=0, messages=(), response=Response(text=answer)),
            Case(id="a", expected=expected),
        )
        for expected, answer in answers
    ]
    assert sum(score.num for score in scores) / sum(score.den for score in scores) == pytest.approx(0.5)
