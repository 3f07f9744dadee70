"""Choice grammars: they accept the choices and nothing else, whatever the characters."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneworthy.errors import UserError
from tuneworthy.providers.constraints import choice_grammar

TOKEN = re.compile(r'"(?:\\U[0-9A-F]{8}|\\.|[^"\\])*"|[()|?]')
UNESCAPE = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def as_regex(grammar: str) -> re.Pattern[str]:
    """Read our part of GBNF back: literals, groups, alternatives, optional."""

    def literal(match: re.Match[str]) -> str:
        return chr(int(match[1], 16)) if match[1] else UNESCAPE[match[2]]

    parts = []
    for token in TOKEN.findall(grammar.removeprefix("root ::= ")):
        if token[0] == '"':
            parts.append(re.escape(re.sub(r"\\U([0-9A-F]{8})|\\(.)", literal, token[1:-1], flags=re.DOTALL)))
        else:
            parts.append("(?:" if token == "(" else token)
    return re.compile("".join(parts), re.DOTALL)


CHOICE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(choices=st.lists(CHOICE, min_size=1, max_size=12), other=CHOICE)
def test_a_grammar_accepts_its_choices_and_nothing_else(choices: list[str], other: str) -> None:
    pattern = as_regex(choice_grammar(choices))
    assert all(pattern.fullmatch(choice) for choice in choices)
    assert bool(pattern.fullmatch(other)) == (other in choices)
    assert not any(pattern.fullmatch(choice + "\x01!") for choice in choices)


@given(choices=st.lists(st.text("ab_", min_size=1, max_size=6), min_size=1, max_size=20), other=st.text("ab_"))
def test_common_beginnings_are_shared_without_changing_the_language(choices: list[str], other: str) -> None:
    assert bool(as_regex(choice_grammar(choices)).fullmatch(other)) == (other in choices)


def test_a_grammar_is_one_line_whatever_the_choices_hold() -> None:
    assert "\n" not in choice_grammar(["a\nb", "c\u2028d", "tab\t", "\x07"])


@pytest.mark.parametrize("choices", [[], [""], ["a", ""], ["a\0b"]])
def test_choices_that_cannot_be_written_are_refused(choices: list[str]) -> None:
    with pytest.raises(UserError, match="label"):
        choice_grammar(choices)
