"""Chat templates are programs: rendered in a child that is killed when it takes too long or says too much."""

from __future__ import annotations

import time

import pytest

from tests.train.tiny import TEMPLATE
from tuneworthy.errors import ModelError
from tuneworthy.train.template import ChatTemplate, chat_of

ASK = chat_of([{"role": "user", "content": "hi"}], generation=True)


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source=source, special_tokens={"eos_token": "<end>"})


def test_a_plain_template_is_rendered_once_for_each_chat() -> None:
    other = chat_of([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], generation=False)
    assert template(TEMPLATE).render([ASK, other]) == ["<user>hi<end><assistant>", "<user>a<end><assistant>b<end>"]


def test_a_template_that_loops_for_ever_is_stopped_in_bounded_time() -> None:
    loop = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
    began = time.monotonic()
    with pytest.raises(ModelError, match="expected the chat template to render 1 chats in 1 s"):
        template(loop).render([ASK], cpu_s=1)
    assert time.monotonic() - began < 60


def test_a_template_that_says_too_much_is_stopped() -> None:
    with pytest.raises(ModelError, match="at most 1000 characters"):
        template("{% for a in range(9999) %}word {% endfor %}").render([ASK], max_chars=1000)


def test_a_template_that_reaches_for_code_gets_nothing() -> None:
    assert template("{{ ''.__class__.__mro__[1].__subclasses__() }}").render([ASK]) == [None]


def test_a_chat_that_the_template_refuses_stops_no_other() -> None:
    source = "{% if messages | length > 1 %}{{ raise_exception('one turn') }}{% endif %}ok"
    two = chat_of([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], generation=False)
    assert template(source).render([two, ASK]) == [None, "ok"]


def test_what_is_no_template_is_refused() -> None:
    with pytest.raises(ModelError, match="chat template in Jinja"):
        template("{% for %}").render([ASK])


def test_a_chat_looks_as_transformers_renders_it() -> None:
    tools = pytest.importorskip("transformers.utils.chat_template_utils", reason="transformers is not installed")
    source = (
        "{%- for m in messages %}\n    {{- '<' + m.role + '>' }}\n{% generation %}{{ m.content | trim }}"
        "{% endgeneration %}{{ eos_token }}\n{%- endfor %}{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}"
    )
    messages = [{"role": "user", "content": " Grüße <b> "}, {"role": "assistant", "content": "b"}]
    wanted = [{"type": "function", "function": {"name": "f", "description": "ü"}}]
    whole, _ = tools.render_jinja_template(
        conversations=[messages], tools=wanted, chat_template=source, add_generation_prompt=False, eos_token="<end>"
    )
    assert template(source).render([chat_of(messages, generation=False, tools=wanted)]) == whole
