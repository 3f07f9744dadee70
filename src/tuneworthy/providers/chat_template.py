"""Renders chat templates, which are programs of strangers: in a sandbox, in a child that can be killed.

jinja2's `ImmutableSandboxedEnvironment` keeps a template from what it has no business with, but not from running for
ever or filling the memory. So it runs in a child process with a limit of processor time, memory, wall time and output.

Source: facts.md E, "Chat templates are programs"; transformers.utils.chat_template_utils (the names a template knows).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import orjson

from tuneworthy.errors import ModelError
from tuneworthy.providers.safe import MAX_TEMPLATE_CHARS
from tuneworthy.types import Message

TIMEOUT_S: Final = 5.0
"""Processor time of one call of `render`, to which each chat adds `EACH_S`."""
WALL: Final = 20.0
"""Wall time over processor time, at most: a machine may be busy, and a template cannot sleep."""
EACH_S: Final = 0.05
MAX_CHARS: Final = 2**22
"""Of one rendered chat."""
MAX_MEMORY: Final = 2**30


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
    """Return each chat as the text that the model reads.

    Args:
        template: Jinja text.
        chats: Lists of messages.
        tokens: What `bos_token`, `eos_token` and the like stand for.
        generation_prompt: Whether the text ends where the assistant's answer begins.
        timeout_s: Limit of the call, seconds of processor time; `EACH_S` a chat is added.
        max_chars: Limit of one text.

    Raises:
        ModelError: The template is no Jinja, refuses a chat, reaches for what it must not, or meets a limit.
    """
    if len(template) > MAX_TEMPLATE_CHARS:
        raise ModelError(f"expected a chat template of at most {MAX_TEMPLATE_CHARS} characters, got {len(template)}")
    limit = timeout_s + EACH_S * len(chats)
    asked = {
        "template": template, "chats": [list(chat) for chat in chats], "tokens": dict(tokens or {}),
        "generation_prompt": generation_prompt, "max_chars": max_chars, "cpu_s": int(limit) + 1, "memory": MAX_MEMORY,
    }  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _start()], input=orjson.dumps(asked), capture_output=True,
            timeout=WALL * limit,
            check=False, env={"PATH": os.environ.get("PATH", "")},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _endless(limit) from None
    if done.returncode in {-signal.SIGXCPU, -signal.SIGKILL}:
        raise _endless(limit)
    told = _told(done)
    if "error" in told:
        raise _fault("one that renders the chat", str(told["error"])[:300])
    texts: list[str] = told["texts"]
    return texts


def _start() -> str:
    """Return the child's program: its own file, without the packages of the current folder."""
    from tuneworthy.providers import template_child

    return f"import runpy; runpy.run_path({template_child.__file__!r}, run_name='__main__')"


def _told(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    try:
        told = orjson.loads(done.stdout)
    except orjson.JSONDecodeError:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise _fault("one that renders the chat", f"a child that ended without an answer ({last[0][:200]})") from None
    assert isinstance(told, dict)
    return told


def _endless(limit: float) -> ModelError:
    return _fault(f"one that ends within {limit:.3g} s", "one that was still running")


def _fault(expected: str, got: str) -> ModelError:
    return ModelError(f"chat template: expected {expected}, got {got}", hint="use a model with another template")
