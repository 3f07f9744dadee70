"""From a variant and a case to the chat that is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tuneworthy.errors import UserError
from tuneworthy.prompts.prompt_child import fill
from tuneworthy.prompts.templates import chat, own_system, question, render, split_answer
from tuneworthy.types import Case, Example, Passage, Retrieval, Variant

VARIANT = Variant(name="v", model="m", model_identity={}, system="Be brief.", user="Q: {{ input }}")
SHOT = Example(id="s", messages=({"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}))


def test_a_chat_is_system_shots_and_question() -> None:
    turns = chat(VARIANT, Case(id="c", input="2+2?"), [SHOT])
    assert [(turn["role"], turn["content"]) for turn in turns] == [
        ("system", "Be brief."), ("user", "Q: 1+1?"), ("assistant", "2"), ("user", "Q: 2+2?"),
    ]  # fmt: skip


def test_a_case_with_a_system_turn_of_its_own_gets_no_other() -> None:
    own = Case(id="c", messages=({"role": "system", "content": "Mine."}, {"role": "user", "content": "Why?"}))
    assert own_system(own)
    assert chat(VARIANT, own, []) == own.messages


def test_passages_stand_before_the_last_question() -> None:
    turns = chat(VARIANT, Case(id="c", input="Why?"), [], [Passage(document="a.md", text="Because.")])
    assert turns[-1]["content"].endswith("</documents>\n\nQ: Why?")


def test_all_documents_come_first_in_the_prompt_so_that_prompts_share_their_start() -> None:
    whole = [Passage(document="b.md", text="Second."), Passage(document="a.md", text="First.")]
    for system, end in (("Be brief.", "</documents>\n\nBe brief."), (None, "</documents>\n\n")):
        variant = replace(VARIANT, system=system, retrieval=Retrieval(mode="all", documents="d", k=2))
        chats = [chat(variant, Case(id="c", input=asked), [SHOT], whole) for asked in ("Why?", "How?")]
        first, second = chats
        assert first[:-1] == second[:-1] and first[-1]["content"] == "Q: Why?"
        assert first[0]["role"] == "system" and str(first[0]["content"]).endswith(end)
        assert str(first[0]["content"]).index("First.") < str(first[0]["content"]).index("Second.")
    search = replace(variant, retrieval=Retrieval(documents="d", k=2))
    assert "</documents>" in chat(search, Case(id="c", input="Why?"), [SHOT], whole)[-1]["content"]


def test_the_template_of_a_shot_that_thinks_aloud_shows_the_marker() -> None:
    turns = chat(replace(VARIANT, answer_after="Answer:"), Case(id="c", input="2+2?"), [SHOT])
    assert turns[2]["content"] == "Answer: 2"
    assert split_answer("Two and two. Answer: 4", "Answer:") == ("Two and two. ", "4")
    assert split_answer("4", "Answer:") == ("", "4")


def test_a_template_that_is_filled_already_is_not_filled_again() -> None:
    template = "Text: {{ text }}\nLanguage: {{ language }}"
    assert question(template, "Text: Why\nLanguage: Latin") == "Text: Why\nLanguage: Latin"


@pytest.mark.parametrize("user", ["{{ line }} of {{ service }}", "Line: {{ line }}"])
def test_a_text_of_variables_is_asked_as_the_variables_whichever_template_names_them(user: str) -> None:
    variant = replace(VARIANT, system="Severity for {{ service }}?", user=user)
    text = "service: billing\nline: crash\nat 3: no memory"
    by_name = Case(id="c", input={"service": "billing", "line": "crash\nat 3: no memory"})
    turns = chat(variant, by_name, [])
    assert turns[0]["content"] == "Severity for billing?"
    assert chat(variant, Case(id="c", input=text), []) == turns
    shot = Example(id="s", messages=({"role": "user", "content": text}, {"role": "assistant", "content": "ERROR"}))
    assert chat(variant, by_name, [shot])[1] == turns[-1]


def test_an_unknown_variable_names_the_ones_that_there_are() -> None:
    with pytest.raises(UserError, match=r"city.*The case has these variables: input, town"):
        render("In {{ city }}", {"town": "Oslo"})


def test_a_template_cannot_run_code() -> None:
    with pytest.raises(UserError, match="cannot be rendered"):
        render("{{ input.__class__.__mro__[1].__subclasses__() }}", "x")


def test_a_broken_template_is_named_with_its_line() -> None:
    with pytest.raises(UserError, match="Jinja syntax error on line 2"):
        render("first\n{{ input", "x")


PLAIN = [
    "Q: {{ question }}", "{{question}}{{ input }}\n", "{{ question }}\n\n", "} { {{ input }} }}", "none", "{{ none }}",
    "{{- question }}", "{{ question }\n{{ input }}", "a\r\n{{ input }}", "{# {{ input }} #}",
    "{{ range | string | length }}", "", "{{{ input }}}",
]  # fmt: skip


@pytest.mark.parametrize("source", PLAIN)
def test_a_template_that_only_writes_variables_is_filled_as_jinja_fills_it(source: str) -> None:
    variables = {"question": "Why {{ x }}?\n", "input": {"a": [1, None]}}
    answer = fill(source, variables)
    if "value" in answer:
        assert render(source, variables) == answer["value"]
    else:
        with pytest.raises(UserError):
            render(source, variables)
