"""Renders chat templates, which are programs of strangers: in a sandbox, in a child that can be killed.

jinja2's `ImmutableSandboxedEnvironment` blocks unsafe attributes and calls, but not endless loops or memory use. So
the template runs in the limited child (see `limited`), and its text has a limit too.

Source: transformers.utils.chat_template_utils (the names that a template may use);
https://nvd.nist.gov/vuln/detail/CVE-2024-34359.
"""

from collections.abc import Sequence
from hashlib import sha256

from tuneworthy import limited
from tuneworthy.errors import ModelError
from tuneworthy.providers.model_safety import MAX_TEMPLATE_CHARS
from tuneworthy.providers.template_child import render_chat
from tuneworthy.types import JsonMapping, Messages, NamedTexts, frozen

# Processor time of one child, to which each chat adds `EACH_S`; `MOST_S` at most, however many chats there are.
TIMEOUT_S = 5.0
EACH_S = 0.05
MOST_S = 300.0
# Of one rendered chat.
MAX_CHARS = 2**22


@frozen
class Chat:
    """A chat that is to be rendered.

    Attributes:
        messages: The turns so far.
        tools: JSON schemas of the tools.
        generation_prompt: Whether the text ends where the assistant's answer begins.
    """

    messages: Messages
    generation_prompt: bool
    tools: Sequence[JsonMapping] = ()


@frozen
class ChatTemplate:
    """The template of a model.

    Attributes:
        source: Its text, Jinja.
        special_tokens: Texts of `bos_token`, `eos_token` and the like.
    """

    source: str
    special_tokens: NamedTexts

    @property
    def sha256(self) -> str:
        return template_sha256(self.source)

    def render(self, chats: Sequence[Chat]) -> list[str | None]:
        """Return one text per chat; None where the template refuses it.

        Raises:
            ModelError: The template is no Jinja, or meets a limit.
        """
        return [answer.get("text") for answer in _answers(self, chats)]


def template_sha256(template: str) -> str:
    return sha256(template.encode()).hexdigest()


def render(
    template: str,
    chats: Sequence[Messages],
    *,
    tokens: NamedTexts | None = None,
    generation_prompt: bool = True,
) -> list[str]:
    """Return each chat as the text that the model reads, where the template must take every one.

    Args:
        template: Jinja text.
        chats: Lists of messages.
        tokens: Texts of `bos_token`, `eos_token` and the like.
        generation_prompt: Whether the text ends where the assistant's answer begins.

    Raises:
        ModelError: The template is no Jinja, refuses a chat, makes an unsafe access, or meets a limit.
    """
    answers = _answers(
        ChatTemplate(source=template, special_tokens=tokens or {}),
        [Chat(messages=chat, generation_prompt=generation_prompt) for chat in chats],
    )
    if refused := next((answer["refused"] for answer in answers if "refused" in answer), None):
        raise _fault(f"it cannot render the chat ({refused[:300]})")
    return [answer["text"] for answer in answers]


def _answers(template: ChatTemplate, chats: Sequence[Chat]) -> list[dict[str, str]]:
    if len(template.source) > MAX_TEMPLATE_CHARS:
        raise _fault(f"it has {len(template.source)} characters, more than the limit of {MAX_TEMPLATE_CHARS}")
    tokens = dict(template.special_tokens)
    tasks = (
        (template.source, tokens, {"messages": list(chat.messages), "tools": list(chat.tools) or None,
                                   "add_generation_prompt": chat.generation_prompt}, MAX_CHARS)
        for chat in chats
    )  # fmt: skip
    try:
        return limited.each(render_chat, tasks, limit_s=min(TIMEOUT_S + EACH_S * len(chats), MOST_S))
    except limited.OverLimit as error:
        raise _fault(f"it cannot render the chat ({error.reason[:300]})") from None


def _fault(reason: str) -> ModelError:
    return ModelError(
        f"The chat template failed: {reason}.",
        hint="Give the model a different chat template, or use a different model.",
    )
