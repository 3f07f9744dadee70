"""Renders chat templates in the limited child; see `chat_template`."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from tuneworthy.limited import OverLimit


def render_chat(source: str, tokens: Mapping[str, str], chat: Mapping[str, Any], most: int) -> dict[str, str]:
    """Return the `text` of one chat, or why the template has `refused` it.

    Raises:
        OverLimit: The text has more than `most` characters.
    """
    template = compile_chat(source)
    try:
        return {"text": joined(template.generate(**chat, documents=None, **tokens), most)}
    except (MemoryError, OverLimit):
        raise
    except Exception as error:  # whatever a stranger's template raises, it refuses this chat
        return {"refused": f"{type(error).__name__}: {error}"[:500]}


@lru_cache(maxsize=1)
def compile_chat(source: str) -> Any:
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """Reads `{% generation %}`, the marks around supervised text; they render nothing."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            return nodes.Scope(parser.parse_statements(["name:endgeneration"], drop_needle=True)).set_lineno(line)

    def tojson(value: Any, ensure_ascii: bool = False, **form: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **form)

    sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    sandbox.filters["tojson"] = tojson
    sandbox.globals["raise_exception"] = refuse
    sandbox.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return sandbox.from_string(source)


def refuse(message: str) -> NoReturn:
    raise ValueError(message)


def joined(parts: Iterable[str], most: int) -> str:
    """Join the output of a template.

    Raises:
        OverLimit: It is longer than `most` characters.
    """
    texts, n = [], 0
    for part in parts:
        n += len(part)
        if n > most:
            raise OverLimit(f"its result has more than {most} characters")
        texts.append(part)
    return "".join(texts)
