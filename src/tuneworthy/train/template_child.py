"""The child process that renders chat templates: programs of strangers, with a limit of time, memory and output.

Started by `template.render_chats` as ``python -P -m tuneworthy.train.template_child``. One JSON line comes on standard
input (`Task`), one goes out a chat: ``{"text"}``, or ``{"error"}`` where the template refuses the chat. The sandbox
keeps a template from running code; the limits of the kernel keep it from running for ever.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypedDict

MEMORY_BYTES = 2**30


class Chat(TypedDict):
    """One rendering: the messages, the tools, and whether the assistant's turn is opened at the end."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    generation: bool


class Task(TypedDict):
    """What the parent sends."""

    template: str
    special_tokens: dict[str, Any]
    chats: list[Chat]
    cpu_s: int
    max_chars: int


def compile_template(source: str) -> Any:
    """Compile a template in the sandbox that transformers uses, with the same functions and filters.

    Source: transformers 5.24, utils/chat_template_utils.py.
    """
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """``{% generation %}`` marks what the assistant says; here it only passes its body on."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **form: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **form)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(source)


def joined(parts: Iterable[str], max_chars: int) -> str:
    """Join what a template yields; ValueError once it is longer than `max_chars`."""
    found, size = [], 0
    for part in parts:
        size += len(part)
        if size > max_chars:
            raise ValueError(f"more than {max_chars} characters")
        found.append(part)
    return "".join(found)


def main() -> None:
    """Render all chats of one task."""
    task: Task = json.loads(sys.stdin.buffer.readline())
    resource.setrlimit(resource.RLIMIT_CPU, (task["cpu_s"], task["cpu_s"]))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        template = compile_template(task["template"])
    except Exception as error:
        print(json.dumps({"fatal": f"{type(error).__name__}: {error}"}))
        return
    for chat in task["chats"]:
        try:
            parts = template.generate(
                messages=chat["messages"],
                tools=chat["tools"],
                documents=None,
                add_generation_prompt=chat["generation"],
                **task["special_tokens"],
            )
            line = {"text": joined(parts, task["max_chars"])}
        except Exception as error:  # whatever a stranger's template raises, it refuses this chat
            line = {"error": f"{type(error).__name__}: {error}"[:300]}
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
