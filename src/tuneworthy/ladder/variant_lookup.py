"""Variants by the words that people use for them: a rung, an id, `current`, or an exported file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from tuneworthy.errors import UserError
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rungs.baseline import baseline_variant
from tuneworthy.ladder.session import Session
from tuneworthy.types import Variant

_VARIANT = TypeAdapter(Variant)
_FIELDS = {field.name for field in fields(Variant)}


def describe(variant: Variant) -> dict[str, Any]:
    """Return the resolved content of a variant, JSON-able; `restore` reads it."""
    content = asdict(replace(variant, model_identity={}))
    return content | {"model_identity": dict(variant.model_identity), "id": variant.id}


def restore(content: Any, where: str) -> Variant:
    """Return the variant that `describe` described.

    Args:
        content: The description. where: What holds it, for the message.

    Raises:
        UserError: It is not such a description.
    """
    wrong = _fault(content)
    if not wrong:
        try:
            return _VARIANT.validate_python({name: value for name, value in content.items() if name != "id"})
        except ValidationError as error:
            first = error.errors()[0]
            wrong = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    raise UserError(f"{where}: expected a described variant, got {wrong}", hint="write it with `export variant`")


def _fault(content: Any) -> str:
    """Say what is wrong with a description at first sight; "" if nothing is."""
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    unknown = sorted(map(str, set(content) - _FIELDS - {"id"}))
    return f"one with {unknown[0]!r}, which no variant has" if unknown else ""


def current(session: Session) -> Variant:
    """Return prompt and model as the project file has them now."""
    return baseline_variant(session.project, session.models)


def resolve(session: Session, word: str) -> Variant:
    """Return the variant that `word` means.

    Args:
        session: The opened project.
        word: `current`, a rung of the last run, `best`, an id (or its beginning), or an exported `.json` file.

    Raises:
        UserError: Nothing of that name, or several.
    """
    if word == "current":
        return current(session)
    if word.endswith(".json"):
        return _from_file(Path(word))
    last = read_record(session.folder)
    if last is None:
        raise UserError(f"expected a run that tried {word!r}, got none", hint="run `tuneworthy run` first")
    if word == "best" and last.partial:
        raise UserError(
            f"expected a whole run to name the best variant, got one that stopped early ({last.partial})",
            hint="run `tuneworthy run` again, or name a rung",
        )
    if word == "best" and last.best:
        word = last.best.variant
    by_rung = {record.rung: record.variant for record in last.rungs if record.variant}
    word = by_rung.get(word, word)
    hits = [variant for identity, variant in last.variants.items() if identity.startswith(word)]
    if len(hits) != 1:
        known = ", ".join(["current", "best", *by_rung])
        raise UserError(f"expected one of {known}, or an id of the last run, got {word!r} ({len(hits)} found)")
    return hits[0]


def _from_file(path: Path) -> Variant:
    try:
        return restore(orjson.loads(path.read_bytes()), str(path))
    except OSError as error:
        got = "nothing there" if isinstance(error, FileNotFoundError) else str(error.strerror)
        raise UserError(f"expected an exported variant at {path}, got {got}", hint="mend the path") from None
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}: expected JSON, got: {error}") from None
