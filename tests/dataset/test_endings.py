"""Which answers were cut off, by their text alone: a certain sign drops the row."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dataset.check_rows import row
from tuneworthy.dataset import CheckContext
from tuneworthy.dataset.checks import endings
from tuneworthy.dataset.checks.endings import truncation

PROSE = [row("How?", f"Go to page {number} of the account first. Then press the green button.") for number in range(40)]
START = "We are sorry to hear about it. "
CERTAIN = (
    f"{START}Now go to the page of your account and open the", f"{START}You can pay with a card or",
    f"{START}Please send us your name, your address,", f"{START}Bitte nennen Sie uns Ihren Namen und",
    f"{START}Veuillez indiquer votre nom et", f"{START}Escriba su nombre y", f"{START}Indichi il nome e",
    "```python\nprint(1)", '{"name": "Ada", "age',
)  # fmt: skip
WHOLE = (
    "Tell me the name of the account you want to log in",
    "Tell us which of these cards you are looking for",
    "I will write to you as soon as I can", "Bitte rufen Sie uns unter der Nummer oben morgen früh an",
    "I am so sorry that your card was lost last week :(", "I'm sorry :( we will send you a new card right away today",
    f"{START}We will send a new one.\n\nKind regards,\nYour Example Bank Support Team",
    f"{START}We will send a new one to you.\nBest wishes,", "Ce n'est pas le vôtre, alors posez-le là et prenez-les",
)  # fmt: skip

PIECES = (
    "the ",
    "because",
    "della ",
    "-the",
    "das ",
    "word ",
    ", ",
    "( ",
    ":( ",
    "; ",
    "– ",
    "\n\n",
    ". ",
    "?",
    "”",
    "é",
)


def actions(answer: str) -> list[str]:
    found = truncation([*PROSE, row("How?", answer)], CheckContext())
    return [finding.action or "drop" for finding in found if finding.row == len(PROSE)]


@pytest.mark.parametrize("answer", CERTAIN)
def test_a_certain_sign_drops_the_row(answer: str) -> None:
    assert actions(answer) == ["drop"]


@pytest.mark.parametrize("answer", WHOLE)
def test_a_whole_answer_is_never_dropped(answer: str) -> None:
    assert "drop" not in actions(answer)


@pytest.mark.parametrize("answer", [WHOLE[0], *WHOLE[2:5], *WHOLE[6:]])
def test_stranded_prepositions_emoticons_and_signatures_are_no_sign(answer: str) -> None:
    assert actions(answer) == []


def test_without_the_pattern_of_emoticons_a_sad_answer_would_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "_EMOTICON", endings.re.compile("(?!)"))
    assert actions(WHOLE[4]) == ["drop"]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
def test_the_end_of_a_text_says_as_much_as_all_of_it(answer: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        signs = endings.cut_off(answer)
        patch.setattr(endings, "_TAIL", len(answer) + 1)
        patch.setattr(endings, "_without_emoticons", lambda text: endings._EMOTICON.sub("", text))
        assert signs == endings.cut_off(answer)
