"""The child process that renders chat templates; see `chat_template`. It imports nothing of ours.

One JSON document comes on standard input: ``template``, ``chats``, ``tokens``, ``generation_prompt``, ``max_chars``,
``cpu_s``, ``memory``; one goes out: ``{"texts"}`` or ``{"error"}``.
"""

from __future__ import annotations

import json
import resource
import sys
from datetime import datetime
from typing import Any, NoReturn


def limit(asked: dict[str, Any]) -> None:
    """Set the limits that the kernel keeps: processor time, memory, no files, no further processes."""
    for what, most in (
        (resource.RLIMIT_CPU, asked["cpu_s"]),
        (resource.RLIMIT_AS, asked["memory"]),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(what, (most, most))


def refuse(message: str) -> NoReturn:
    """Let a template refuse a chat (`raise_exception`)."""
    raise ValueError(message)


def environment() -> Any:
    """Return the sandbox, with the names that templates of the hub use."""
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """Reads `{% generation %}`, the marks around what is trained on; they render nothing."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    def tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)

    sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    sandbox.filters["tojson"] = tojson
    sandbox.globals["raise_exception"] = refuse
    sandbox.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return sandbox


def texts_of(asked: dict[str, Any]) -> list[str]:
    """Render every chat, each up to the cap."""
    template = environment().from_string(asked["template"])
    texts = []
    for chat in asked["chats"]:
        parts, n = [], 0
        for part in template.generate(
            messages=chat,
            add_generation_prompt=asked["generation_prompt"],
            tools=None,
            documents=None,
            **asked["tokens"],
        ):
            parts.append(part)
            n += len(part)
            if n > asked["max_chars"]:
                raise ValueError(f"a text of more than {asked['max_chars']} characters")
        texts.append("".join(parts))
    return texts


def main() -> None:
    """Read, render, answer."""
    asked = json.load(sys.stdin)
    import jinja2.sandbox  # before the limits: loading it is no part of the template's work

    limit(asked)
    try:
        told: dict[str, Any] = {"texts": texts_of(asked)}
    except MemoryError:
        told = {"error": "a template that fills the memory"}
    except (jinja2.TemplateError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
        told = {"error": f"{type(error).__name__}: {error}"[:500]}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
