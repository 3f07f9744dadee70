"""Variants by name: a rung, an id, `current`, `best`, or an exported file."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from tuneworthy.config.project import FILE_NAME, Project, load
from tuneworthy.engine.change import faults_of
from tuneworthy.engine.models import open_model
from tuneworthy.errors import GateFailed, UserError, did_you_mean
from tuneworthy.input_files import read_input
from tuneworthy.ladder import messages
from tuneworthy.ladder.rungs.baseline import baseline_variant
from tuneworthy.ladder.session import Session, required_run
from tuneworthy.types import JsonObject, Variant

_VARIANT = TypeAdapter(Variant)
_FIELDS = {field.name for field in fields(Variant)}


def describe(variant: Variant) -> JsonObject:
    return asdict(replace(variant, model_identity={})) | {
        "model_identity": dict(variant.model_identity),
        "id": variant.id,
    }


def restore(content: Any, where: str) -> Variant:
    """Return the variant that `describe` described.

    Args:
        content: The description.
        where: Its container, for the message.

    Raises:
        UserError: It is not such a description.
    """
    fault = "it is no JSON object"
    if isinstance(content, Mapping):
        unknown = sorted(map(str, set(content) - _FIELDS - {"id"}))
        fault = f"unknown key {unknown[0]!r}" if unknown else ""
    if not fault:
        try:
            return _VARIANT.validate_python({name: value for name, value in content.items() if name != "id"})
        except ValidationError as error:
            first = error.errors()[0]
            fault = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    raise UserError(
        messages.say("variant_unreadable", where=where, fault=fault), hint=messages.say("variant_unreadable_hint")
    )


def current(session: Session) -> Variant:
    return baseline_variant(session.project, session.models)


def locate(project: Project, name: str) -> str:
    """Return `name` as an absolute path if it is an exported file or a folder, else unchanged."""
    is_folder = (
        Path(name).is_dir()
        and name != "current"
        and (Path(name, FILE_NAME).is_file() or name.partition("/")[0] not in {"best", *project.ladder.rungs})
    )
    return str(Path(name).absolute()) if is_folder or name.endswith(".json") else name


def resolve(session: Session, name: str) -> Variant:
    """Return the variant that `name` means.

    Args:
        session: The opened project.
        name: `current`, a rung of the last run, `best`, a name, an id (or its beginning), an exported
            `.json` file, or the folder of a changed project.

    Raises:
        UserError: Nothing of that name, or several.
        GateFailed: The changed project cannot be judged by the session's.
    """
    name = locate(session.project, name)
    if name == "current":
        return current(session)
    if name.endswith(".json"):
        return _from_file(Path(name))
    if Path(name).is_absolute():
        return _proposed(session, Path(name))
    last = required_run(session.project)
    by_rung = {record.rung: record.variant for record in last.rungs if record.variant}
    identity = last.best.variant if name == "best" and last.best else by_rung.get(name, name)
    hits = [variant for key, variant in last.variants.items() if key.startswith(identity) or variant.name == identity]
    if len(hits) != 1:
        names = ["current", "best", *by_rung]
        hint = f"{did_you_mean(name, names)} Use one of {', '.join(names)}, or a variant ID."
        if not hits:
            raise UserError(f"The last run has no variant {name!r}.", hint=hint.strip())
        raise UserError(f"{name!r} matches {len(hits)} variants of the last run.", hint=hint.strip())
    return hits[0]


def _proposed(session: Session, folder: Path) -> Variant:
    """Return today's variant of the project in `folder`, which is a change of the session's project."""
    base, change = session.project, load(folder)
    if faults := faults_of(change, base, session.split.shots, session.data.cases, session.split.dev):
        raise GateFailed(
            "\n".join(["The base revision cannot judge this change:", *faults]),
            hint="Have a maintainer review and merge these edits first, or remove them. Then compare again.",
        )
    name = change.ladder.baseline
    if change.models[name] != base.models.get(name):
        section = change.models[name]
        name = f"change/{getattr(section, 'model', name)}"
        session.models.add(open_model(name, section, base.root))
    return change.variant(f"baseline/{name}", name, session.models[name].provider.identity)


def _from_file(path: Path) -> Variant:
    try:
        return restore(orjson.loads(read_input(path)), str(path))
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}.",
            hint="Check the path to the exported variant.",
        ) from None
    except orjson.JSONDecodeError as error:
        raise UserError(
            messages.say("variant_unreadable", where=path, fault=error), hint=messages.say("variant_unreadable_hint")
        ) from None
