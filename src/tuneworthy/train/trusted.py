"""What may be loaded: safetensors whose header is true, a configuration that asks for no code, no links, no pickle.

Invariant: everything here reads JSON and headers as bytes; nothing of a model is imported, built or run.

Source: CVE-2025-32434 and CVE-2026-24747 (pickle), CVE-2026-5241 (a configuration that turns remote code on).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson

from tuneworthy.errors import ModelError

PICKLED: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".pt2"})
TAKEN: Final = frozenset({".json", ".jinja", ".txt", ".model", ".safetensors"})
"""Endings of files that are taken out of a folder of a model."""
MAX_HEADER: Final = 100 * 2**20
MAX_JSON: Final = 200 * 2**20
_WIDTHS: Final = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
_HINT = "do not trust this model; take one in safetensors that needs no code of its own"


def check_model_folder(folder: Path) -> list[Path]:
    """Return the files of a model's folder that may be loaded.

    Raises:
        ModelError: A link, weights in pickle only, a configuration that asks for code, or a file that is not what it
            must be.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"expected a model's folder at {folder}, got one without config.json", hint="mend [train] base"
        )
    files = sorted(path for path in folder.iterdir() if path.is_file() or path.is_symlink())
    for path in files:
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"expected files of its own in {folder}, got the link {path.name}", hint=_HINT)
    if not any(path.suffix == ".safetensors" for path in files):
        pickled = [path.name for path in files if path.suffix in PICKLED]
        got = f"{pickled[0]}, which can run code when it is read" if pickled else "no weights"
        raise ModelError(f"expected weights in safetensors in {folder}, got {got}", hint=_HINT)
    taken = [path for path in files if path.suffix in TAKEN]
    for path in taken:
        if path.suffix == ".json":
            check_asks_for_no_code(path)
        if path.suffix == ".safetensors":
            tensor_types(path)
    return taken


def check_asks_for_no_code(path: Path) -> Any:
    """Return the JSON document `path`.

    Raises:
        ModelError: It is not JSON, or names code to be loaded (`auto_map`, `trust_remote_code`), however deep.
    """
    if path.stat().st_size > MAX_JSON:
        raise ModelError(f"{path}: expected at most {MAX_JSON} bytes of JSON, got {path.stat().st_size}", hint=_HINT)
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ModelError(f"{path}: expected JSON, got: {error}", hint=_HINT) from None
    if (key := _asks_for_code(document)) is not None:
        raise ModelError(f"{path}: expected a configuration that needs no code of its own, got {key!r}", hint=_HINT)
    return document


def tensor_types(path: Path) -> set[str]:
    """Return the types of the weights in a safetensors file, as its header names them (`BF16`, `F32`).

    Raises:
        ModelError: Its header lies about its length, a shape or a place.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(MAX_HEADER, size - 8):
            raise ModelError(f"{path}: expected a header inside the file, got one of {length} bytes", hint=_HINT)
        raw = file.read(length)
    try:
        header = orjson.loads(raw)
        kinds = {_checked(name, entry, size - 8 - length) for name, entry in header.items() if name != "__metadata__"}
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: expected a safetensors header, got: {str(error)[:200]}", hint=_HINT) from None
    return kinds


def _checked(name: str, entry: Any, room: int) -> str:
    """Return the type of a tensor whose shape and place fit; ValueError if they do not."""
    start, end = entry["data_offsets"]
    count = 1
    for dimension in entry["shape"]:
        if not 0 <= dimension <= 2**40:
            raise ValueError(f"{name[:80]}: a dimension of {dimension}")
        count *= dimension
    kind = str(entry["dtype"])
    if not 0 <= start <= end <= room or (kind in _WIDTHS and end - start != count * _WIDTHS[kind]):
        raise ValueError(f"{name[:80]}: bytes {start} to {end} of {room} for {count} values of {kind}")
    return kind


def _asks_for_code(value: Any) -> str | None:
    """Return the key that asks for code, or None."""
    if isinstance(value, dict):
        if "auto_map" in value:
            return "auto_map"
        if value.get("trust_remote_code"):
            return "trust_remote_code"
        return next((key for inner in value.values() if (key := _asks_for_code(inner))), None)
    if isinstance(value, list):
        return next((key for inner in value if (key := _asks_for_code(inner))), None)
    return None
