"""Feedback in logs: the model's own bad answers are not trained in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneworthy.dataset.messages import REASONS
from tuneworthy.people.feedback import Scales, read_feedback, settle

CHAT = ({"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "5"})

BAD: list[dict[str, Any]] = [
    {"feedback": "thumbs_down"},
    {"feedback": "Thumbs-Down"},
    {"feedback": "👎"},
    {"feedback": False},
    {"feedback": 0},
    {"feedback": -1},
    {"feedback": "-1"},
    {"feedback": {"thumbs": "down", "comment": "wrong"}},
    {"feedback": {"type": "negative"}},
    {"feedback": {"rating": {"value": "bad"}}},
    {"feedback": ["thumbs_up", "thumbs_down"]},
    {"feedback": [{"thumbs": "up"}, {"thumbs": "down"}]},
    {"user_feedback": "dislike"},
    {"thumbs_up": False},
    {"thumbs_down": True},
    {"thumbs_down": 2, "thumbs_up": 7},
    {"disliked": True},
    {"helpful": "no"},
    {"liked": False, "other": 3},
    {"metadata": {"feedback": "bad"}},
    {"scores": [{"name": "latency", "value": 0}, {"name": "user-feedback", "value": 0}]},
    {"resolved": False},
    {"score": 0},
    {"score": -1},
    {"label": "bad"},
    {"label": False},
    {"scores": {"user-feedback": 0}},
    {"scores": [{"name": "hallucination", "value": 1}]},
    {"scores": [{"name": "topic", "value": "thumbs_down"}]},
    {"annotations": [{"name": "correctness", "result": {"label": "incorrect", "score": 0}}]},
    {"stars": 1},
    {"feedback": {"stars": "2"}},
]
GOOD: list[dict[str, Any]] = [
    {},
    {"feedback": None},
    {"feedback": ""},
    {"feedback": {}},
    {"feedback": "thumbs_up"},
    {"feedback": True},
    {"feedback": 1},
    {"feedback": {"score": 1}},
    {"feedback": {"thumbs": None, "comment": ""}},
    {"thumbs_up": 0, "thumbs_down": 0},
    {"thumbs_up": False, "thumbs_down": False},
    {"thumbs_down": "no"},
    {"thumbs_up": True, "thumbs_down": False},
    {"rating": "neutral"},
    {"scores": [{"name": "latency", "value": 0}]},
    {"score": 0.3},
    {"score": 7},
    {"label": "negative"},
    {"scores": [{"name": "toxicity", "value": 0}, {"name": "correctness", "value": 1}]},
    {"escalated": False},
    {"escalated": "no"},
    {"escalation": None},
    {"correction": ""},
    {"correction": None, "corrected": False},
    {"outcome": "solved"},
    {"model": "bad", "finish_reason": "stop", "customer": {"rated": "down"}},
]
ESCALATED: list[dict[str, Any]] = [
    {"escalated": True},
    {"escalated": 1},
    {"escalation": {"to": "agent 7"}},
    {"handed_off": "yes"},
    {"feedback": "escalated"},
    {"outcome": "Escalated to human"},
    {"escalated_to": "tier 2", "feedback": "thumbs_down"},
    {"metadata": {"transferred-to-human": True}},
]


@pytest.mark.parametrize("meta", BAD, ids=str)
def test_a_bad_answer_is_dropped(meta: dict[str, Any]) -> None:
    assert settle(CHAT, meta, Scales()).drops == "thumbs_down"


@pytest.mark.parametrize("meta", GOOD, ids=str)
def test_a_row_without_complaint_stays_as_it_is(meta: dict[str, Any]) -> None:
    settled = settle(CHAT, meta, Scales())
    assert (settled.drops, settled.repaired, settled.messages) == ("", False, CHAT)
    assert {key: value for key, value in settled.meta.items() if key != "feedback_settled"} == meta


@pytest.mark.parametrize("meta", ESCALATED, ids=str)
def test_an_escalated_conversation_is_dropped(meta: dict[str, Any]) -> None:
    assert settle(CHAT, meta, Scales()).drops == "escalated"


@pytest.mark.parametrize("meta", [{"feedback": "hm, so so"}, {"feedback": {"comment": "it lied"}}, {"vote": ["x"]}])
def test_feedback_that_is_not_understood_drops_the_row(meta: dict[str, Any]) -> None:
    assert settle(CHAT, meta, Scales()).drops == "unclear_feedback"


@pytest.mark.parametrize(
    "meta",
    [
        {"correction": "4"},
        {"corrected_answer": "4", "feedback": "thumbs_down"},
        {"feedback": {"thumbs": "down", "correction": "4"}},
        {"feedback": {"correction": {"role": "assistant", "content": "4"}}},
        {"correction": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]},
        {"correction": {"content": [{"type": "text", "text": "4"}]}},
        {"edited_response": "4", "escalated": True},
        {"scores": [{"name": "correction", "value": "4"}]},
    ],
    ids=str,
)
def test_a_correction_takes_the_place_of_the_answer(meta: dict[str, Any]) -> None:
    settled = settle(CHAT, {**meta, "finish_reason": "length", "model": "m"}, Scales())
    assert settled.repaired and not settled.drops
    assert settled.messages == (CHAT[0], {"role": "assistant", "content": "4"})
    assert settled.meta["repaired"] == "correction"
    assert "finish_reason" not in settled.meta
    assert settled.meta["model"] == "m"


def test_a_correction_that_is_the_answer_changes_nothing() -> None:
    assert not settle(CHAT, {"correction": "5"}, Scales()).repaired


def test_a_correction_that_the_log_does_not_hold_drops_the_row() -> None:
    assert settle(CHAT, {"corrected": True}, Scales()).drops == "corrected"


@pytest.mark.parametrize(
    ("ratings", "bad", "good", "unclear"),
    [
        ([0, 1], [0, 0.2], [1, 0.5], [4]),
        ([1, 1], [0], [1], [2]),
        ([1, 5], [1, 2], [3, 4, 5], [7]),
        ([2, 4], [1, 2], [3, 5], [9]),
        ([-1, 1], [-1], [1, 0], []),
        ([0.1, 0.9], [0.1], [0.9], [3]),
        ([3, 9], [3, 5], [6, 10], [50]),
    ],
)
def test_what_a_number_means_depends_on_the_scale(
    ratings: list[float], bad: list[float], good: list[float], unclear: list[float]
) -> None:
    scales = Scales()
    for value in ratings:
        scales.add({"feedback": {"rating": value}})
    for values, reason in ((bad, "thumbs_down"), (good, ""), (unclear, "unclear_feedback")):
        assert [settle(CHAT, {"feedback": {"rating": value}}, scales).drops for value in values] == [reason] * len(
            values
        )


def test_a_bad_turn_in_the_middle_drops_the_row_and_a_corrected_one_ends_it() -> None:
    bad = {**CHAT[1], "feedback": "thumbs_down"}
    assert settle((CHAT[0], bad, *CHAT), {}, Scales()).drops == "thumbs_down"
    corrected = {**CHAT[1], "feedback": "thumbs_down", "correction": "4"}
    settled = settle((CHAT[0], corrected, *CHAT), {}, Scales())
    assert settled.messages == (CHAT[0], {"role": "assistant", "content": "4"})


def test_feedback_that_was_applied_is_not_applied_again() -> None:
    scales = Scales()
    for value in (-1, 0, 1):
        scales.add({"vote": value})
    assert settle(CHAT, {"vote": 0}, scales).drops == ""
    rest = Scales()
    rest.add({"vote": 0})  # the rows that people disliked are gone, so 0 looks like the lower end
    assert settle(CHAT, {"vote": 0}, rest).drops == "thumbs_down"
    assert settle(CHAT, settle(CHAT, {"vote": 0}, scales).meta, rest).drops == ""
    assert settle(CHAT, {"model": "m"}, scales).meta == {"model": "m"}


def test_a_rating_whose_scale_is_unknown_is_left_to_the_build() -> None:
    rated = ({"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "5", "rating": 1})
    assert settle(CHAT, {"rating": 1}, Scales()).meta == {"rating": 1}
    deferred = settle(rated, {}, Scales()).meta
    assert deferred == {"feedback_of_turns": [{"rating": 1.0}]}
    whole = Scales()
    for value in (1, 5):
        whole.add_row((), {"feedback_of_turns": [{"rating": value}]})
    assert settle(CHAT, deferred, whole).drops == "thumbs_down"
    assert settle((rated[0], {**rated[1], "rating": 5}), {}, whole).meta == {}


def test_a_corrected_call_of_a_tool_becomes_the_text_of_the_correction() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "function": {"name": "f"}}]}
    assert settle((CHAT[0], call), {"correction": "4"}, Scales()).messages[-1] == {"role": "assistant", "content": "4"}


KEYS = ["feedback", "rating", "thumbs", "correction", "escalated", "score", "value", "name", "metadata", "scores"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["thumbs_down", "escalated", "up", "4"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*KEYS, "comment", "content"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(value=anything)
def test_any_feedback_keeps_drops_or_repairs_the_row(value: Any) -> None:
    for meta in ({"feedback": value}, value if isinstance(value, dict) else {"correction": value}):
        scales = Scales()
        scales.add(meta)
        settled = settle(CHAT, meta, scales)
        assert settled.drops == "" or settled.drops in REASONS["feedback"]
        assert settled.messages[0] == CHAT[0]
        assert not (settled.drops and settled.repaired)
        assert read_feedback(meta, scales).drops == settled.drops
