"""Rewrites of a prompt."""

from __future__ import annotations

import pytest

from tuneworthy.prompts.transforms import COT_MARKER, TRANSFORMS, AnswerForm, applicable
from tuneworthy.types import Variant

LONG = " ".join(f"Rule {n} of the house is here." for n in range(12)) + " Say card_arrival if a card is late."
BASE = Variant(name="v", model="m", model_identity={}, system=LONG, user="{{ input }}", max_tokens=20)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("kind", ["label", "json", "short_answer", "free_text"])
def test_a_transform_is_pure_and_changes_the_prompt(name: str, kind: str) -> None:
    schema = {"properties": {"city": {"type": "string"}}}
    first, again = (TRANSFORMS[name](BASE, AnswerForm(kind, ["card_arrival", "other"], schema)) for _ in range(2))
    assert first == again
    assert (first.system, first.user) != (BASE.system, BASE.user)
    assert BASE.system == LONG


def test_half_a_prompt_keeps_every_sentence_that_names_a_label() -> None:
    half = TRANSFORMS["half"](BASE, AnswerForm("label", ["card_arrival"], None)).system or ""
    assert len(half) < len(LONG)
    assert "card_arrival" in half


def test_thinking_aloud_gets_room_and_a_marker() -> None:
    thinking = TRANSFORMS["chain_of_thought"](BASE, AnswerForm("label", [], None))
    assert thinking.max_tokens > BASE.max_tokens
    assert thinking.answer_after == COT_MARKER


def test_short_prompts_are_not_halved_and_prose_is_not_thought_about() -> None:
    short = Variant(name="v", model="m", model_identity={}, system="Be brief.", user="{{ input }}")
    assert "half" not in applicable(short, "label")
    assert "chain_of_thought" not in applicable(BASE, "free_text")
