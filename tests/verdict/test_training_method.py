"""Each method of training is advised under its own condition, and not without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from tests.verdict.planted import TRAINED, worth_it

from tuneworthy.types import Example
from tuneworthy.verdict.base import Method, Outcome
from tuneworthy.verdict.evidence import ContinuedPilot, Evidence, JudgeEvidence, PilotEvidence
from tuneworthy.verdict.outcome import Ruling
from tuneworthy.verdict.training_method import FEWEST_PREFERENCES, METHODS, advice_of, has_preferences, method_of

TRAIN = Ruling(Outcome.FINE_TUNE, "levers_exhausted")
HELPS = ContinuedPilot(helps=True, detail="Raw text changed the dev score by +4.0 points.")
PILOT, NO_GAIN, NO_PILOT = (
    {"documents": True, "training": replace(TRAINED, pilot=one)}
    for one in (
        PilotEvidence(n=10, continued=HELPS),
        PilotEvidence(n=10, continued=replace(HELPS, helps=False)),
        None,
    )
)
LEARNABLE: dict[str, Any] = {"has_examples": False, "pass_rate": 0.4, "kind": "short_answer"}


def row(n: int, meta: dict[str, Any] | None = None, **turn: Any) -> Example:
    chat = ({"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a", **turn})
    return Example(messages=chat, id=str(n), meta=meta or {})


@pytest.mark.parametrize(
    ("evidence", "ruling", "method"),
    [
        (worth_it(), TRAIN, "sft"),
        (worth_it(preferences=True), TRAIN, "preference"),
        (worth_it(preferences=True), replace(TRAIN, code="cost"), "distil"),
        (worth_it(**LEARNABLE), TRAIN, "rl"),
        (worth_it(**LEARNABLE | {"pass_rate": 0.05}), TRAIN, "sft"),
        (worth_it(**LEARNABLE | {"pass_rate": 0.8}), TRAIN, "sft"),
        (worth_it(**LEARNABLE | {"pass_rate": None}), TRAIN, "sft"),
        (worth_it(**LEARNABLE | {"has_examples": True}), TRAIN, "sft"),
        (worth_it(**LEARNABLE | {"kind": "free_text"}), TRAIN, "sft"),  # nothing says right or wrong
        (worth_it(**LEARNABLE | {"kind": "free_text", "judge": JudgeEvidence(valid=True, detail="")}), TRAIN, "rl"),
        (worth_it(**LEARNABLE | {"kind": "free_text", "judge": JudgeEvidence(valid=False, detail="")}), TRAIN, "sft"),
        (worth_it(best="classical"), TRAIN, "classifier"),
        (worth_it(**PILOT), TRAIN, "continued"),
        (worth_it(**NO_GAIN), TRAIN, "sft"),
        (worth_it(**NO_PILOT), TRAIN, "sft"),
        (worth_it(**PILOT, preferences=True), TRAIN, "preference"),
        (worth_it(**PILOT, best="classical"), TRAIN, "classifier"),
        (worth_it(**PILOT), replace(TRAIN, code="cost"), "distil"),
    ],
)
def test_the_method_that_fits(evidence: Evidence, ruling: Ruling, method: str) -> None:
    assert method_of(evidence, ruling) == method


@pytest.mark.parametrize(
    ("evidence", "ruling", "words"),
    [
        (worth_it(), TRAIN, "nothing measured speaks for another method"),
        (worth_it(preferences=True), TRAIN, "At least 50 rows"),
        (worth_it(preferences=True), replace(TRAIN, code="constraint"), "meets the target"),
        (worth_it(**LEARNABLE), TRAIN, "40.0% of the answers sampled on dev pass"),
        (worth_it(best="classical"), TRAIN, "the classical baseline is as good"),
        (worth_it(**PILOT), TRAIN, "by +4.0 points"),
        (worth_it(**NO_GAIN), TRAIN, "by +4.0 points"),
    ],
)
def test_a_method_has_its_reason_and_a_source_that_can_be_opened(
    evidence: Evidence, ruling: Ruling, words: str
) -> None:
    advice = advice_of(evidence, ruling, ())
    assert advice.method is not None and advice.method == method_of(evidence, ruling) and words in advice.why
    assert advice.source.startswith("https://") and "tuneworthy" in METHODS[advice.method].step
    assert {*METHODS} == {*get_args(Method)}


def test_pairs_are_rows_with_a_rejected_answer() -> None:
    pairs = [row(n, {"rejected": "b"}) for n in range(FEWEST_PREFERENCES)]
    assert has_preferences(pairs) and not has_preferences(pairs[1:])
    assert not has_preferences([row(n, {"rejected": ""}) for n in range(FEWEST_PREFERENCES)])


def test_ratings_are_of_the_row_or_of_the_answer_and_must_differ() -> None:
    rated = [row(n, {"feedback": "good" if n % 3 else "bad"}) for n in range(FEWEST_PREFERENCES)]
    assert has_preferences(rated) and not has_preferences(rated[1:])
    assert has_preferences([row(n, rating=n % 2) for n in range(FEWEST_PREFERENCES)])
    assert not has_preferences([row(n, rating=5) for n in range(FEWEST_PREFERENCES)])
