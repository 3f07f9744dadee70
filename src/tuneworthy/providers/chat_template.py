"""Renders chat templates, which are programs of strangers: in a sandbox, in a child that can be killed.

jinja2's `ImmutableSandboxedEnvironment` keeps a template from what it has no business with, but not from running for
ever or filling the memory. So it runs in a child process with a limit of processor time, memory, wall time and output.

Source: transformers.utils.chat_template_utils (the names that a template may use);
https://nvd.nist.gov/vuln/detail/CVE-2024-34359.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from tuneworthy.errors import ModelError
from tuneworthy.providers import messages
from tuneworthy.providers.model_safety import MAX_TEMPLATE_CHARS
from tuneworthy.trust import child_environment
from tuneworthy.types import Message

# Processor time of one child, to which each chat adds `EACH_S`; `MOST_S` at most, however many chats there are.
TIMEOUT_S: Final = 5.0
# Wall time over processor time, at most: a machine may be busy, and a template cannot sleep.
WALL: Final = 20.0
EACH_S: Final = 0.05
MOST_S: Final = 300.0
# Of one rendered chat.
MAX_CHARS: Final = 2**22
# Of all chats that one child renders: they come back into this process.
MAX_ALL_CHARS: Final = 2**30
MAX_MEMORY: Final = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A chat that is to be rendered.

    Attributes:
        messages: The turns so far.
        tools: JSON schemas of the tools.
        generation_prompt: Whether the text ends where the assistant's answer begins.
    """

    messages: Sequence[Message]
    generation_prompt: bool
    tools: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplate:
    """The template of a model.

    Attributes:
        source: Its text, Jinja.
        special_tokens: What `bos_token`, `eos_token` and the like stand for.
    """

    source: str
    special_tokens: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Hash of its text: what was trained and what is served must have the same."""
        return template_sha256(self.source)

    def render(
        self, chats: Sequence[Chat], *, timeout_s: float = TIMEOUT_S, max_chars: int = MAX_CHARS
    ) -> list[str | None]:
        """Return the text of each chat; None where the template refuses it.

        Args:
            chats: All that is to be rendered: a child is started once.
            timeout_s: Limit of all of them, seconds of processor time; `EACH_S` a chat is added, up to `MOST_S`.
            max_chars: Limit of one text.

        Raises:
            ModelError: The template is no Jinja, or meets a limit.
        """
        return [answer.get("text") for answer in _answers(self, chats, timeout_s, max_chars)]


def template_sha256(template: str) -> str:
    """Return the SHA-256 by which a chat template is known."""
    return sha256(template.encode()).hexdigest()


def render(
    template: str,
    chats: Sequence[Sequence[Message]],
    *,
    tokens: Mapping[str, str] | None = None,
    generation_prompt: bool = True,
    timeout_s: float = TIMEOUT_S,
    max_chars: int = MAX_CHARS,
) -> list[str]:
    """Return each chat as the text that the model reads, where the template must take every one.

    Args:
        template: Jinja text.
        chats: Lists of messages.
        tokens: What `bos_token`, `eos_token` and the like stand for.
        generation_prompt: Whether the text ends where the assistant's answer begins.
        timeout_s: Limit of the call, seconds of processor time; `EACH_S` a chat is added, up to `MOST_S`.
        max_chars: Limit of one text.

    Raises:
        ModelError: The template is no Jinja, refuses a chat, reaches for what it must not, or meets a limit.
    """
    answers = _answers(
        ChatTemplate(source=template, special_tokens=tokens or {}),
        [Chat(messages=chat, generation_prompt=generation_prompt) for chat in chats],
        timeout_s,
        max_chars,
    )
    if refused := next((answer["refused"] for answer in answers if "refused" in answer), None):
        raise _fault(messages.say("template_refuses", reason=refused[:300]))
    return [answer["text"] for answer in answers]


def _answers(template: ChatTemplate, chats: Sequence[Chat], timeout_s: float, max_chars: int) -> list[dict[str, str]]:
    """Return what the child says of each chat: its `text`, or why it is `refused`."""
    if len(template.source) > MAX_TEMPLATE_CHARS:
        raise _fault(messages.say("template_too_long", found=len(template.source), most=MAX_TEMPLATE_CHARS))
    limit = min(timeout_s + EACH_S * len(chats), MOST_S)
    task = {
        "template": template.source, "tokens": dict(template.special_tokens), "max_chars": max_chars,
        "max_all_chars": MAX_ALL_CHARS, "cpu_s": int(limit) + 1, "memory": MAX_MEMORY,
    }  # fmt: skip
    lines = [
        {"messages": list(chat.messages), "tools": list(chat.tools) or None,
         "generation_prompt": chat.generation_prompt}
        for chat in chats
    ]  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _start()],
            input="".join(f"{json.dumps(line)}\n" for line in (task, *lines)).encode(),
            capture_output=True, timeout=WALL * limit, check=False, env=child_environment(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _endless(limit) from None
    if done.returncode in {-signal.SIGXCPU, -signal.SIGKILL}:
        raise _endless(limit)
    return _lines(done, len(chats))


def _start() -> str:
    """Return the child's program: its own file, without the packages of the current folder."""
    from tuneworthy.providers import template_child

    return f"import runpy; runpy.run_path({template_child.__file__!r}, run_name='__main__')"


def _lines(done: subprocess.CompletedProcess[bytes], n_chats: int) -> list[dict[str, str]]:
    answers = [json.loads(line) for line in done.stdout.split(b"\n")[:-1]]
    if answers and "fault" in answers[-1]:
        raise _fault(messages.say("template_refuses", reason=answers[-1]["fault"][:300]))
    if len(answers) != n_chats:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise _fault(messages.say("template_crashed", reason=last[0][:200]))
    return answers


def _endless(limit: float) -> ModelError:
    return _fault(messages.say("template_endless", limit_s=limit))


def _fault(reason: str) -> ModelError:
    return ModelError(messages.say("template_fault", reason=reason), hint=messages.say("other_template"))
