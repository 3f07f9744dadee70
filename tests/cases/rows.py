"""Small cases and examples for the tests of this folder."""

from __future__ import annotations

from typing import Any

from tuneworthy.types import UNLABELLED, Case, Example, content_hash


def case(question: str, expected: Any = UNLABELLED, *, id: str | None = None, group: str | None = None) -> Case:
    return Case(id=id or Case.make_id(question), input=question, expected=expected, group=group)


def example(question: str, answer: str = "x", *, group: str | None = None, system: str | None = None) -> Example:
    head = ({"role": "system", "content": system},) if system else ()
    messages = (*head, {"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(id=content_hash(messages), messages=messages, group=group)
