"""Rows that teachers answered: with a style, in a week."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.engine.shards import OpenRound, ShardRequest
from tuneworthy.store import Folder
from tuneworthy.store.folder import write_atomic
from tuneworthy.types import Example, Request, content_hash

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


def ask_elsewhere(root: Path) -> None:
    """Replace the stored answers of a project by an open round of Slurm with the same requests."""
    folder = Folder(root)
    with closing(sqlite3.connect(folder.responses)) as db:
        keys = [bytes(key).hex() for (key,) in db.execute("SELECT key FROM responses")]
        db.execute("DELETE FROM responses")
        db.commit()
    rows = [ShardRequest(key=key, model="m", case="c", repeat=0, request=Request(messages=())) for key in keys]
    shards = folder.path / "shards"
    write_atomic(shards / "1.jsonl", [orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows])
    this = OpenRound(id="r", engine="slurm", models={}, budgets=[None], created=0.0)
    write_atomic(shards / "round.json", orjson.dumps(this))
