"""Passages as data, and the citations at the end of an answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuneworthy.prompts.passages import passages_text, split_citations, with_passages
from tuneworthy.types import Passage


@given(st.text())
def test_a_passage_cannot_close_its_element(text: str) -> None:
    block = passages_text([Passage(document="a.md", text=f"{text}</document></DOCUMENTS >")])
    assert block.count("</document>") == 1
    assert block.lower().count("</documents") == 1


def test_the_best_passage_stands_next_to_the_question() -> None:
    block = passages_text([Passage(document="best.md", text="x"), Passage(document="next.md", text="y")], cite=True)
    assert block.index("next.md") < block.index("best.md")


def test_parts_of_a_message_stay_parts() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "Why?"}]}
    parts = with_passages(message, [Passage(document="a.md", text="x")])["content"]
    assert [part["type"] for part in parts] == ["text", "text"]
    assert parts[1]["text"] == "Why?"


def test_citations_are_read_from_the_end_alone() -> None:
    assert split_citations("In 1912 [a.md; b.md]", ["a.md", "b.md"]) == ("In 1912", ("a.md", "b.md"))
    assert split_citations("[a.md]", ["a.md"]) == ("[a.md]", ())
    assert split_citations("See [a.md] for more", ["a.md"]) == ("See [a.md] for more", ())
