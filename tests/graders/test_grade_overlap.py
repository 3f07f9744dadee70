"""ROUGE-L and chrF against the libraries: equal to 1e-9 on ASCII texts, chrF on all."""

from __future__ import annotations

import pytest
from grade_samples import build, judge
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import sentence_chrf

from tuneworthy.graders.overlap import rouge_l

REFERENCE = RougeScorer(["rougeL"], use_stemmer=False)
TOKENS = ["a", "b", "c", "the", "The", "x-y", "U_s", "3.5", "don't", ",", "!"]
ASCII_TEXTS = st.lists(st.sampled_from(TOKENS), max_size=25).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(ASCII_TEXTS, ASCII_TEXTS)
def test_rouge_l_equals_the_library_on_ascii(answer: str, expected: str) -> None:
    assert rouge_l(answer, expected) == pytest.approx(REFERENCE.score(expected, answer)["rougeL"].fmeasure, abs=1e-9)


def test_rouge_l_worked_by_hand() -> None:
    # "the cat sat" in "the cat on the mat sat": common 3, P = 3/6, R = 3/3
    assert rouge_l("the cat on the mat sat", "the cat sat") == pytest.approx(2 / 3)


@pytest.mark.parametrize("text", ["東京タワーへ", "الجواب هو نعم", "Привет, мир", "ไปไหน"])
def test_rouge_l_counts_the_words_of_all_scripts_where_the_library_counts_none(text: str) -> None:
    assert REFERENCE.score(text, text)["rougeL"].fmeasure == 0
    assert judge(build("rouge_l"), text, text).value == 1


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_chrf_equals_the_library(answer: str, expected: str) -> None:
    if not answer.strip():
        return
    got = judge(build("chrf"), answer, expected).value
    assert got == pytest.approx(sentence_chrf(answer.strip(), [expected.strip()]).score / 100, abs=1e-9)


def test_the_closest_accepted_answer_counts() -> None:
    for name in ("rouge_l", "chrf"):
        assert judge(build(name), "the cat sat", ["a dog", "the cat sat"]).value == 1
        assert judge(build(name), "the cat", "the cat sat").reason == "partial"
