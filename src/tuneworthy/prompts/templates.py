"""From a variant and a case to the chat that is sent. Templates are Jinja in an immutable sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from tuneworthy.errors import UserError
from tuneworthy.prompts.passages import with_passages
from tuneworthy.types import Case, Example, Message, Passage, Variant


@lru_cache(maxsize=256)
def _compile(source: str) -> Any:
    from jinja2 import StrictUndefined, TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False)
    try:
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        raise UserError(
            f"expected a Jinja template, got {source[:60]!r} ({error.message}, line {error.lineno})",
            hint="mend [prompt]",
        ) from None


def render(source: str, case_input: str | Mapping[str, Any]) -> str:
    """Fill the template `source` with a case's input: `{{ input }}`, or its own variables.

    Raises:
        UserError: Bad template, or a variable that the case does not have.
    """
    from jinja2 import TemplateError

    if source == "{{ input }}" and isinstance(case_input, str):
        return case_input
    variables = {"input": case_input, **(case_input if isinstance(case_input, Mapping) else {})}
    try:
        return str(_compile(source).render(variables))
    except TemplateError as error:
        raise UserError(
            f"expected the variables of {source[:60]!r} in the case, got {sorted(variables)} ({error})",
            hint="mend [prompt] or the cases",
        ) from None


def own_system(case: Case) -> bool:
    """Whether a case brings a system turn of its own, so that the prompt of no variant is sent."""
    return bool(case.messages) and case.messages[0].get("role") == "system"


def chat(
    variant: Variant, case: Case, shots: Sequence[Example], passages: Sequence[Passage] = ()
) -> tuple[Message, ...]:
    """Return the messages that ask `case` of `variant`, with `shots` as earlier turns and `passages` in the last."""
    messages: list[Message] = []
    if variant.system:
        system = render(variant.system, case.input if case.input is not None else "")
        messages.append({"role": "system", "content": system})
    for shot in shots:
        messages += shot_turns(shot, variant)
    if case.messages:
        messages = list(case.messages) if own_system(case) else [*messages, *case.messages]
    else:
        asked = render(variant.user, case.input if case.input is not None else "")
        messages.append({"role": "user", "content": asked})
    if passages:
        cite = variant.retrieval is not None and variant.retrieval.cite
        messages[-1] = with_passages(messages[-1], passages, cite=cite)
    return tuple(messages)


def shot_turns(shot: Example, variant: Variant) -> list[Message]:
    """Return an example as turns; its own system message is left out, and a plain question gets the user template.

    Where the variant thinks aloud, the shown answer carries the marker, so that its form is shown too.
    """
    turns = [dict(message) for message in shot.messages if message.get("role") != "system"]
    if len(turns) == 2 and isinstance(turns[0].get("content"), str) and "{{ input }}" in variant.user:
        turns[0]["content"] = render(variant.user, turns[0]["content"])
    if variant.answer_after and turns and turns[-1].get("role") == "assistant":
        turns[-1]["content"] = f"{variant.answer_after} {turns[-1].get('content') or ''}"
    return turns


def split_answer(text: str, marker: str | None) -> tuple[str, str]:
    """Return (thinking, answer): the answer is what follows the last `marker`, or all of `text`."""
    if not marker or marker not in text:
        return "", text
    thinking, _, answer = text.rpartition(marker)
    return thinking, answer.strip()
