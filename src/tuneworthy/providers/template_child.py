"""The child process that renders chat templates; see `chat_template`. It imports nothing of ours.

One JSON line comes on standard input: ``template``, ``tokens``, ``max_chars``, ``max_all_chars``, ``cpu_s``,
``memory``; then one a chat: ``messages``, ``tools``, ``generation_prompt``. One goes out a chat: ``{"text"}``, or
``{"refused"}`` where the template takes no such chat; or ``{"fault"}``, which ends the work: no template at all, or one
that met a limit.
"""

import json
import resource
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NoReturn


class MetLimitError(Exception):
    """The template says too much."""


def limit(task: dict[str, Any]) -> None:
    """Set the limits that the kernel keeps: processor time, memory, no files."""
    for what, most in (
        (resource.RLIMIT_CPU, task["cpu_s"]),
        (resource.RLIMIT_AS, task["memory"]),
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

    def tojson(value: Any, ensure_ascii: bool = False, **form: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **form)

    sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    sandbox.filters["tojson"] = tojson
    sandbox.globals["raise_exception"] = refuse
    sandbox.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return sandbox


def joined(parts: Iterable[str], most: int) -> str:
    """Join what a template yields.

    Raises:
        MetLimitError: It is longer than `most` characters.
    """
    texts, n = [], 0
    for part in parts:
        n += len(part)
        if n > most:
            raise MetLimitError(f"more than {most} characters")
        texts.append(part)
    return "".join(texts)


def text_of(template: Any, chat: dict[str, Any], tokens: dict[str, str], most: int) -> str:
    """Render one chat, up to the cap."""
    parts = template.generate(
        messages=chat["messages"],
        add_generation_prompt=chat["generation_prompt"],
        tools=chat["tools"],
        documents=None,
        **tokens,
    )
    return joined(parts, most)


def tell(answer: dict[str, str]) -> None:
    """Write one answer."""
    sys.stdout.write(json.dumps(answer) + "\n")


def main() -> None:
    """Read, render, answer, a chat at a time: no more than one is in memory."""
    task = json.loads(sys.stdin.buffer.readline())
    import jinja2.sandbox  # noqa: F401  before the limits: loading it is no part of the template's work

    limit(task)
    room = task["max_all_chars"]
    try:
        template = environment().from_string(task["template"])
        for line in sys.stdin.buffer:
            try:
                text = text_of(template, json.loads(line), task["tokens"], min(room, task["max_chars"]))
            except (MemoryError, MetLimitError):
                raise
            except Exception as error:  # whatever a stranger's template raises, it refuses this chat
                tell({"refused": f"{type(error).__name__}: {error}"[:500]})
                continue
            room -= len(text)
            tell({"text": text})
    except MemoryError:
        tell({"fault": "it fills the memory"})
    except MetLimitError as error:
        tell({"fault": str(error)})
    except Exception as error:
        tell({"fault": f"{type(error).__name__}: {error}"[:500]})


if __name__ == "__main__":
    main()
