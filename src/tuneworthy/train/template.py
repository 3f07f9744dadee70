"""Chat templates: what a chat looks like to the model, rendered in a child that can be killed.

Invariant: no template ever runs in this process, and none runs longer, or says more, than its limits.

Source: CVE-2024-34359, CVE-2026-115911: a template is a program; a sandbox stops code, not loops.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneworthy.errors import ModelError
from tuneworthy.train.template_child import Chat, Task
from tuneworthy.types import Message

START_S, CHAT_S = 10, 0.02
"""CPU seconds that a child may take: to start, and for each chat."""
PATIENCE = 6
"""The clock may run this many times as long as the CPU: other work runs on this machine too."""
MAX_CHARS = 2**20
_HINT = "do not trust this model, or give it another chat template"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplate:
    """The template of a model.

    Attributes:
        source: Its text, Jinja.
        special_tokens: What the names in it stand for: `bos_token`, `eos_token` and so on.
    """

    source: str
    special_tokens: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Hash of its text: what was trained and what is served must have the same."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def render(
        self, chats: Sequence[Chat], *, cpu_s: int | None = None, max_chars: int = MAX_CHARS
    ) -> list[str | None]:
        """Return the text of each chat; None where the template refuses it.

        Args:
            chats: All that is to be rendered: a child is started once.
            cpu_s: CPU seconds for all of them; by their number if None.
            max_chars: Of one chat.

        Raises:
            ModelError: It is no template, or it takes too long, too much memory, or says too much.
        """
        limit = cpu_s or int(START_S + CHAT_S * len(chats))
        task: Task = {
            "template": self.source,
            "special_tokens": dict(self.special_tokens),
            "chats": list(chats),
            "cpu_s": limit,
            "max_chars": max_chars,
        }
        lines = _run(task)
        if len(lines) == 1 and "fatal" in lines[0]:
            raise ModelError(f"expected a chat template in Jinja, got {lines[0]['fatal'][:200]}", hint=_HINT)
        if len(lines) != len(chats):
            raise ModelError(
                f"expected the chat template to render {len(chats)} chats in {limit} s, got {len(lines)} of them",
                hint=_HINT,
            )
        if any("more than" in line.get("error", "") for line in lines):
            raise ModelError(f"expected at most {max_chars} characters of a rendered chat, got more", hint=_HINT)
        return [line.get("text") for line in lines]


def chat_of(messages: Sequence[Message], *, generation: bool, tools: Sequence[dict[str, Any]] = ()) -> Chat:
    """Return what `ChatTemplate.render` takes.

    Args:
        messages: The turns so far.
        generation: Whether the assistant's turn is opened at the end.
        tools: JSON schemas of the tools.
    """
    return {"messages": [dict(message) for message in messages], "tools": list(tools) or None, "generation": generation}


def _run(task: Task) -> list[dict[str, str]]:
    """Give the task to a child and return the whole lines that came back before it ended, or was ended."""
    command = [sys.executable, "-P", "-m", "tuneworthy.train.template_child"]
    sent = json.dumps(task).encode() + b"\n"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        try:
            told, _ = child.communicate(sent, timeout=PATIENCE * task["cpu_s"])
        except subprocess.TimeoutExpired:
            child.kill()
            told, _ = child.communicate()
        except BaseException:
            child.kill()
            raise
    return [json.loads(line) for line in told.split(b"\n")[:-1]]
