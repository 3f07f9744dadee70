"""Chat templates are programs: rendered in a child that is killed when it takes too long or says too much."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tuneworthy import limited
from tuneworthy.errors import ModelError
from tuneworthy.providers import chat_template
from tuneworthy.providers.chat_template import Chat, ChatTemplate, render
from tuneworthy.types import Message

BOUND_S = 120.0
"""Far above what a refusal takes on a busy machine, far below what a loop that never ends would."""

CHAT = [{"role": "user", "content": "Grüße <b>"}]
ENDLESS = "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}"
BAD_TEMPLATES: dict[str, tuple[str, str]] = {
    "loops for ever": (ENDLESS, "takes longer than"),
    "writes for ever": ("{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}", "more than"),
    "reaches out": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
    "changes the chat": ("{{ messages.append(1) }}", "SecurityError"),
    "opens a file": ("{% include '/etc/passwd' %}", "no loader"),
    "refuses the chat": ("{{ raise_exception('no system turn') }}", "no system turn"),
    "no Jinja": ("{% if %}", "TemplateSyntaxError"),
    "too long": ("x" * (2**20 + 1), "characters"),
}


@pytest.mark.parametrize(("template", "reason"), BAD_TEMPLATES.values(), ids=BAD_TEMPLATES)
def test_a_bad_template_is_refused_in_bounded_time(template: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "TIMEOUT_S", 1.0 if template == ENDLESS else 20.0)
    started = time.monotonic()
    with pytest.raises(ModelError, match=reason):
        render(template, [CHAT])
    assert time.monotonic() - started < BOUND_S


def test_a_template_that_fills_the_memory_is_refused() -> None:
    with pytest.raises(ModelError, match=r"needs too much memory|exited without a result"):
        render("{% set x = namespace(v='a') %}{% for i in range(60) %}{% set x.v = x.v ~ x.v %}{% endfor %}", [CHAT])


def test_a_good_template_sees_what_the_hubs_templates_use() -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}{% generation %}[{{ m.role }}]{{ m.content }}{% endgeneration %}"
        "{% if loop.last %}{% break %}{% endif %}{% endfor %}{{ {'a': 'ü'}|tojson }}"
        "{% if add_generation_prompt %}>{% endif %}"
    )
    tokens = {"bos_token": "<s>"}
    assert render(template, [CHAT], tokens=tokens) == ['<s>[user]Grüße <b>{"a": "ü"}>']
    assert render(template, [CHAT], tokens=tokens, generation_prompt=False) == ['<s>[user]Grüße <b>{"a": "ü"}']


# --- a template and many chats, of which it may refuse some ---------------------------------------------------------

TURNS = (
    "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
ASK = Chat(messages=[{"role": "user", "content": "hi"}], generation_prompt=True)


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source=source, special_tokens={"eos_token": "<end>"})


def test_a_plain_template_is_rendered_once_for_each_chat() -> None:
    turns: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    other = Chat(messages=turns, generation_prompt=False)
    assert template(TURNS).render([ASK, other]) == ["<user>hi<end><assistant>", "<user>a<end><assistant>b<end>"]
    assert template(TURNS).render([]) == []


def test_a_chat_that_the_template_refuses_stops_no_other() -> None:
    source = "{% if messages | length > 1 %}{{ raise_exception('one turn') }}{% endif %}ok"
    two = Chat(messages=[*ASK.messages, *ASK.messages], generation_prompt=False)
    assert template(source).render([two, ASK]) == [None, "ok"]


def test_a_template_that_reaches_for_code_gets_nothing() -> None:
    assert template("{{ ''.__class__.__mro__[1].__subclasses__() }}").render([ASK]) == [None]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (ENDLESS, "takes longer than"),
        ("{% for a in range(9999) %}word {% endfor %}", "more than 1000 characters"),
        ("{% for %}", "TemplateSyntaxError"),
    ],
)
def test_a_template_that_no_chat_can_be_rendered_with_stops_them_all(
    source: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_template, "TIMEOUT_S", 1.0 if source == ENDLESS else 20.0)
    monkeypatch.setattr(chat_template, "MAX_CHARS", 1000)
    with pytest.raises(ModelError, match=reason):
        template(source).render([ASK, ASK])


def test_many_chats_do_not_buy_a_slow_template_more_than_the_most_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "MOST_S", 1.0)
    with pytest.raises(ModelError, match="takes longer than 1 s"):
        template(ENDLESS).render([ASK] * 1000)


def test_all_chats_together_may_say_no_more_than_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited, "MAX_ANSWERS", 60)
    assert template("ok").render([ASK, ASK]) == ["ok", "ok"]
    with pytest.raises(ModelError, match="too many bytes"):
        template("ok").render([ASK, ASK, ASK])


def test_the_hash_is_that_of_the_text() -> None:
    assert template(TURNS).sha256 == chat_template.template_sha256(TURNS) != template("ok").sha256


def test_a_chat_looks_as_transformers_renders_it() -> None:
    tools = pytest.importorskip("transformers.utils.chat_template_utils", reason="transformers is not installed")
    source = (
        "{%- for m in messages %}\n    {{- '<' + m.role + '>' }}\n{% generation %}{{ m.content | trim }}"
        "{% endgeneration %}{{ eos_token }}\n{%- endfor %}"
        "{% if tools %}{{ tools | tojson(indent=2, sort_keys=true) }}{% endif %}"
    )
    messages: list[Message] = [{"role": "user", "content": " Grüße <b> "}, {"role": "assistant", "content": "b"}]
    wanted: list[dict[str, Any]] = [{"type": "function", "function": {"name": "f", "description": "ü"}}]
    whole, _ = tools.render_jinja_template(
        conversations=[messages], tools=wanted, chat_template=source, add_generation_prompt=False, eos_token="<end>"
    )
    assert template(source).render([Chat(messages=messages, generation_prompt=False, tools=wanted)]) == whole
