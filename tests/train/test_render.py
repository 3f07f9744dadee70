"""Rows as ids and mask: only what the assistant says is supervised, its end too; rows are whole or left out."""

from __future__ import annotations

import pytest

from tests.train.tiny import END, TEMPLATE, Letters
from tuneworthy.errors import UserError
from tuneworthy.providers.chat_template import ChatTemplate
from tuneworthy.train.render import CLOSE, OPEN, Renderer, RowChat, TokenRow


def renderer(source: str = TEMPLATE) -> Renderer:
    return Renderer(ChatTemplate(source=source, special_tokens={}), Letters(), [END])


def chat(*turns: str, name: str = "row") -> RowChat:
    roles = ["user", "assistant"] * len(turns)
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    return RowChat(name, ({"role": "system", "content": "Be brief."}, *messages))


def bracketed(made: Renderer, row: TokenRow) -> str:
    """Return the text of a row with brackets around what is supervised."""
    return "".join(f"{OPEN}{text}{CLOSE}" if supervised else text for text, supervised in made.shown(row))


def shown(source: str, *chats: RowChat) -> list[str]:
    made = renderer(source)
    return [bracketed(made, row) for row in made.rows(chats, 10**6).rows]


def test_the_answer_and_its_end_are_supervised_and_nothing_else() -> None:
    assert shown(TEMPLATE, chat("Hi?", "Yes.")) == ["<system>Be brief.<end><user>Hi?<end><assistant>⟦Yes.<end>⟧"]


def test_every_answer_of_a_chat_is_supervised() -> None:
    (text,) = shown(TEMPLATE, chat("a", "b", "c", "d"))
    assert text.endswith("<user>a<end><assistant>⟦b<end>⟧<user>c<end><assistant>⟦d<end>⟧")


def test_the_prompt_of_a_row_has_the_ids_that_are_served() -> None:
    made = renderer()
    row = made.rows([chat("Hi?", "Yes.")], 1000).rows[0]
    asked = RowChat("case", chat("Hi?").messages)
    assert made.prompts([asked]) == [row.ids[: row.mask.index(1)]]


def test_what_follows_the_end_of_the_last_answer_is_not_in_the_row() -> None:
    source = TEMPLATE.replace("<end>{% endfor %}", "<end> {% endfor %}")
    (text,) = shown(source, chat("a", "b"))
    assert text.endswith("<assistant>⟦b<end>⟧")


def test_only_the_last_answer_counts_where_history_is_rendered_in_another_way() -> None:
    source = TEMPLATE.replace(
        "{{ turn.content }}", "{{ turn.content if loop.last or turn.role != 'assistant' else '-' }}"
    )
    made = renderer(source)
    found = made.rows([chat("a", "think b", "c", "d")], 1000)
    assert found.last_only == 1
    assert bracketed(made, found.rows[0]).endswith("<assistant>-<end><user>c<end><assistant>⟦d<end>⟧")


@pytest.mark.parametrize(
    ("source", "row", "reason"),
    [
        (TEMPLATE, chat("a", "b" * 90), "too_long"),
        (TEMPLATE, RowChat("row", ({"role": "user", "content": "a"},)), "no_answer"),
        (TEMPLATE, chat("a", "b<end>c"), "control_tokens"),
        (TEMPLATE.replace("<end>", ""), chat("a", "b"), "no_end"),
        ("{{ raise_exception('no') if messages[-1].content == 'b' }}" + TEMPLATE, chat("a", "b"), "refused"),
        ("{% if add_generation_prompt %}x{% endif %}" + TEMPLATE, chat("a", "b"), "prompt_differs"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_left_out_with_its_reason(source: str, row: RowChat, reason: str) -> None:
    if reason in {"no_end", "prompt_differs"}:
        with pytest.raises(UserError, match=r"No row can be trained on .* Dropped: 1 "):
            renderer(source).rows([row], 60)
        return
    good = chat("a", "c", name="good")
    found = renderer(source).rows([row, good], 60)
    assert [one.id for one in found.rows] == ["good"]
    assert found.left_out == {"row": reason} and found.reasons == {reason: 1}


def test_a_mask_without_the_end_of_the_turn_never_comes_out() -> None:
    for row in renderer().rows([chat("a", "b"), chat("a", "b", "c", "d")], 1000).rows:
        ends = [
            at for at, (bit, after) in enumerate(zip(row.mask, [*row.mask[1:], 0], strict=True)) if bit and not after
        ]
        assert ends and all(row.ids[at] == END for at in ends)


def test_the_share_of_supervised_tokens_is_counted() -> None:
    found = renderer().rows([chat("a", "b")], 1000)
    assert found.n_supervised == 2
    assert found.share == 2 / found.n_tokens
