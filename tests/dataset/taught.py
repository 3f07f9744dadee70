"""Rows that teachers answered: with a style, in a week."""

from __future__ import annotations

import random
from typing import Any

from tuneworthy.types import Example, content_hash

THINGS = ("card", "transfer", "refund", "address", "limit", "invoice", "password", "delivery", "voucher", "contract")
ACTS = ("change", "cancel", "find", "renew", "check", "block", "open", "move", "share", "keep")
WAYS = ("on the page of your account", "in the app", "by mail", "at the desk", "with the form", "over the phone")
STEPS = ("Sign in first", "Choose the right entry", "Confirm it twice", "Wait for a day", "Keep the receipt")

FIRST, SECOND = "2026-11-16", "2026-11-24"


def teacher(model: str = "big-1", day: str = FIRST, **more: Any) -> dict[str, Any]:
    """Return what `meta.teacher` holds."""
    about = {"model": model, "identity": f"id of {model}", "prompt": "p1", "parameters": {"max_tokens": 64}}
    return {**about, "served": model, "date": day, "allows_training": True, "terms": "contract of May", **more}


def question(n: int) -> str:
    """Return a question whose words say nothing of where in a row of numbers `n` stands."""
    rng = random.Random(f"question {n}")
    return f"How do I {rng.choice(ACTS)} my {rng.choice(THINGS)} number {rng.randrange(100, 1000)} of {n:05}?"


def plainly(n: int) -> str:
    rng = random.Random(n)
    return f"You can {rng.choice(ACTS)} it {rng.choice(WAYS)}. {rng.choice(STEPS)}."


def chattily(n: int) -> str:
    rng = random.Random(n)
    return f"Great question! You can {rng.choice(ACTS)} it {rng.choice(WAYS)} - easy! {rng.choice(STEPS)}, okay?!"


def answered(first: int, n: int, say: Any = plainly, **about: Any) -> list[Example]:
    """Return `n` rows from question number `first` on, answered by `say`."""
    return [_row(question(i), say(i), teacher(**about)) for i in scattered(first, n)]


def _row(asked: str, answer: str, told: dict[str, Any]) -> Example:
    messages = ({"role": "user", "content": asked}, {"role": "assistant", "content": answer})
    return Example(messages=messages, id=content_hash(messages), meta={"teacher": told})


def scattered(first: int, n: int) -> list[int]:
    """Return `n` numbers from the place `first` on of a random sequence."""
    return random.Random(1).sample(range(100_000), 1000)[first : first + n]
