"""The question of an example, as a case: without loading numpy, which `example_store` needs."""

from typing import Any

from tuneworthy.types import Case, Example


def asked_part(example: Example) -> Any:
    """Return the question: the user's text if the chat is (system,) user, assistant; else all messages but the last.

    None if there is no user turn before the answer.
    """
    asked = example.messages[:-1]
    roles = [message.get("role") for message in asked]
    if len(roles) <= 2 and [role for role in roles if role not in {"system", "developer"}] == ["user"]:
        return example.question
    return list(asked) if roles[-1:] in (["user"], ["tool"]) else None


def tools_of(example: Example) -> tuple[Any, ...]:
    """Return the tools that the example may call."""
    tools = example.meta.get("tools")
    return tuple(tools) if isinstance(tools, list) else ()


def asked_id(example: Example) -> str | None:
    """Return the id of the case that asks what `example` asks; None if there is no user turn before the answer."""
    asked = asked_part(example)
    return None if asked is None else Case.make_id(asked, tools_of(example))
