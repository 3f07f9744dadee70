"""Variants by the words that people use for them: a rung, an id, `current`, or an exported file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.errors import UserError
from tuneworthy.ladder.base import RUNGS, View
from tuneworthy.ladder.session import Session
from tuneworthy.types import OutputFormat, Shots, Variant


def describe(variant: Variant) -> dict[str, Any]:
    """Return the resolved content of a variant, JSON-able; `restore` reads it."""
    content = asdict(replace(variant, model_identity={}))
    return content | {"model_identity": dict(variant.model_identity), "id": variant.id}


def restore(content: Mapping[str, Any]) -> Variant:
    """Return the variant that `describe` described.

    Raises:
        UserError: It is not such a description.
    """
    fields = {name: value for name, value in content.items() if name != "id"}
    try:
        output = fields.pop("output")
        shots = fields.pop("shots")
        return Variant(
            output=OutputFormat(**(output | {"choices": tuple(output["choices"])})),
            shots=Shots(**(shots | {"ids": tuple(shots["ids"])})) if shots else None,
            **(fields | {"notes": tuple(fields["notes"]), "stop": tuple(fields["stop"])}),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"expected a described variant, got one without {error}") from None


def current(session: Session) -> Variant:
    """Return prompt and model as the project file has them now."""
    view = View(
        project=session.project,
        task=session.task,
        pool=session.pool,
        models=session.models,
        best=None,
        seed=session.project.split.seed,
        n_dev=len(session.split.dev),
    )
    found: Variant = RUNGS.get("baseline")().propose(view).candidates[0]
    return found


def resolve(session: Session, word: str) -> Variant:
    """Return the variant that `word` means.

    Args:
        session: The opened project.
        word: `current`, a rung of the last climb, `best`, an id (or its beginning), or an exported `.json` file.

    Raises:
        UserError: Nothing of that name, or several.
    """
    if word == "current":
        return current(session)
    if word.endswith(".json"):
        return _from_file(Path(word))
    last = session.folder.read("climb")
    if last is None:
        raise UserError(f"expected a climb that tried {word!r}, got none", hint="run `tuneworthy climb` first")
    if word == "best" and last["best"]:
        word = last["best"]["variant"]
    by_rung = {record["rung"]: record["variant"] for record in last["rungs"] if record["variant"]}
    word = by_rung.get(word, word)
    hits = [content for identity, content in last["variants"].items() if identity.startswith(word)]
    if len(hits) != 1:
        known = ", ".join(["current", "best", *by_rung])
        raise UserError(f"expected one of {known}, or an id of the last climb, got {word!r} ({len(hits)} found)")
    return restore(hits[0])


def _from_file(path: Path) -> Variant:
    try:
        return restore(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        raise UserError(f"expected an exported variant at {path}, got nothing there") from None
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}: expected JSON, got: {error}") from None
