"""What declines and what does not; grader `abstention`."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from grade_samples import build, judge

from tuneworthy.graders.declining import built_in, phrase_lists
from tuneworthy.types import Response

DECLINING = [
    "I don't know.", "I’m sorry, but I can’t help with that.", "Unknown", "**N/A**", "null", '{"answer": null}',
    '```json\n{"answer": null}\n```', '{"answer": "I don\'t know"}', "Unfortunately, I do not know the answer.",
    "The context does not mention the year.", "Sorry, I am unable to find it.", "As an AI, I cannot say.",
    "Based on the provided context, there is no information about it.", "Es tut mir leid, aber ich kann nicht helfen.",
    "Je ne sais pas.", "No lo sé.", "我不知道。", "抱歉，我无法回答。", "Я не знаю", "لا أعرف",
]  # fmt: skip
ANSWERING = [
    "Paris", "I'm sorry to hear that, Anna. Your card comes tomorrow.", "No, you can't use it abroad.", "{}", "",
    '{"time": null}', '{"answer": "Paris"}', "Nobody knows why, but in 1912.", "The unknown soldier", "Not before May.",
    "Unfortunately, the shop closed in 1912.", "0", "nullify", "[]", "He said that he could not come.",
    "Paris. " * 60 + "I don't know more.",
]  # fmt: skip


@pytest.mark.parametrize("text", DECLINING)
def test_declining_is_seen(text: str) -> None:
    assert built_in()(Response(text=text))


@pytest.mark.parametrize("text", ANSWERING)
def test_answering_is_not_taken_for_declining(text: str) -> None:
    assert not built_in()(Response(text=text))


def test_the_finish_reason_tells_as_well() -> None:
    assert built_in()(Response(text="", finish_reason="refusal"))
    assert built_in()(Response(text="", finish_reason="content_filter"))
    assert not built_in()(Response(text="", tool_calls=({"function": {"name": "x"}},)))


def test_the_list_is_free_of_duplicates_and_each_phrase_is_seen() -> None:
    for name, phrases in asdict(phrase_lists()).items():
        assert len(set(phrases)) == len(phrases), name
    for phrase in (*phrase_lists().whole, *phrase_lists().starts):
        assert built_in()(Response(text=f"{phrase.capitalize()}.")), phrase
    for phrase in phrase_lists().parts:
        assert built_in()(Response(text=f"The text {phrase} that.")), phrase


def test_abstention_asks_only_whether_an_answer_is_given() -> None:
    grader = build("abstention")
    assert judge(grader, "Rome", "Paris").value == 1
    assert judge(grader, "I don't know", "Paris").reason == "refused"
    assert judge(grader, " ", "Paris").reason == "format"
    assert judge(grader, "None", ["None", "no one"]).value == 1
    assert judge(grader, "None", "Paris").reason == "refused"
    assert judge(grader, "", "Paris", tool_calls=({"function": {"name": "x"}},)).value == 1
