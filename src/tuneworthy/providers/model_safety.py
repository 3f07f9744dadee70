"""What may be loaded as a model: weights in safetensors or GGUF, settings in plain JSON; nothing that is a program.

A pickle (`.bin`, `.pt`) runs code when it is opened, a config with `auto_map` imports code that lies beside it, and a
`trust_remote_code` inside a config has switched off the reader's own refusal (CVE-2026-5241). All of these are refused
before any library that would act on them sees the folder. Chat templates are programs as well: see `chat_template`.

Source: facts.md E, "Unsafe weights" and "trust_remote_code".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from tuneworthy.errors import ModelError
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.weights import Place, read_tensors

MAX_JSON_BYTES: Final = 4 * 2**20
"""Of a config; real ones stay below 100 kB."""
MAX_TOKENIZER_BYTES: Final = 128 * 2**20
"""Of a tokenizer.json; the largest in use has 35 MB."""
MAX_TEMPLATE_CHARS: Final = 2**20
PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".pt2"})
CODE_KEYS: Final = ("auto_map", "trust_remote_code", "custom_pipelines")
"""Keys of a config that make a library run code of the model's own."""
INDEX: Final = "model.safetensors.index.json"
LOADABLE: Final = frozenset({".json", ".jinja", ".txt", ".model", ".safetensors"})
"""Endings of the files that are taken out of a model folder."""
_TABLES: Final = frozenset({"tokenizer.json", "vocab.json", "added_tokens.json", INDEX})
"""JSON that maps words or tensors to numbers: it may be long, and any word may be a key of it."""
_CONFIGS: Final = ("config.json", "generation_config.json", "tokenizer_config.json", "adapter_config.json",
                   "special_tokens_map.json", "processor_config.json", "preprocessor_config.json")  # fmt: skip


def check_model(path: Path) -> None:
    """Refuse the model file or folder `path` unless it may be loaded.

    A folder: its configs are plain JSON without keys that run code, and its weights are safetensors with true headers.

    Raises:
        ModelError: It may not be loaded, with the reason.
    """
    if path.is_file():
        _check_file(path)
        return
    for name in _CONFIGS:
        if (path / name).is_file():
            read_config(path / name)
    if (path / "tokenizer.json").is_file():
        _read_json(path / "tokenizer.json", MAX_TOKENIZER_BYTES)
    tensors_of(path)


def files_of(folder: Path) -> list[Path]:
    """Return the files of a model folder that may be loaded or copied.

    Raises:
        ModelError: `check_model` refuses the folder, it has no config.json, a link leads out of it, or a further JSON
            file holds a key that runs code.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"expected a model's folder at {folder}, got one without config.json",
                         hint="name the folder that holds its config.json")  # fmt: skip
    inside = folder.resolve()
    for path in folder.iterdir():
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise ModelError(f"expected files of its own in {folder}, got the link {path.name}", hint="copy the file")
    check_model(folder)
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in LOADABLE)
    for path in found:
        if path.suffix == ".json":
            document = _read_json(path, MAX_TOKENIZER_BYTES)
            if path.name not in _TABLES:
                _refuse_code(path, document)
        elif path.suffix == ".safetensors":
            read_tensors(path)
    return found


def _check_file(path: Path) -> None:
    if path.suffix.lower() in PICKLES:
        raise _pickled(path)
    if path.suffix.lower() == ".safetensors":
        read_tensors(path)
    else:
        read_header(path)


def read_config(path: Path) -> dict[str, Any]:
    """Return a config of a model, read as plain JSON.

    Raises:
        ModelError: It is too long, no JSON object, or holds a key that would run code.
    """
    config = _read_json(path, MAX_JSON_BYTES)
    if not isinstance(config, dict):
        raise ModelError(f"{path}: expected a JSON object, got {type(config).__name__}")
    _refuse_code(path, config)
    mapping = config.get("auto_mapping")
    library = mapping.get("parent_library", "transformers.") if isinstance(mapping, dict) else mapping
    if library is not None and not str(library).startswith(("transformers.", "peft.")):
        raise ModelError(f"{path}: expected auto_mapping.parent_library of transformers or peft, got {library!r}")
    return config


def number_of(value: object, what: str) -> float:
    """Return a number of an adapter's config.

    Raises:
        ModelError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelError(f"expected a number as {what} of the adapter, got {value!r:.60}")
    return float(value)


def patterns_of(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return what a config says by patterns of layers' names; empty if nothing.

    Raises:
        ModelError: It is no table.
    """
    told = config.get(key) or {}
    if not isinstance(told, Mapping):
        raise ModelError(f"expected a table as {key} of the adapter, got {told!r:.60}")
    return told


def _refuse_code(path: Path, document: Any) -> None:
    for where, key, value in _keys(document):
        if key in CODE_KEYS and value not in (None, False):
            raise ModelError(f"{path}: expected no {where} (it makes a library run code of the model's own), got one",
                             hint="take the key out if the library knows the model without it")  # fmt: skip


def _keys(node: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield every key of a nested value with its path and its value."""
    stack = [("", node)]
    while stack:
        where, node = stack.pop()
        if isinstance(node, dict):
            for key, value in node.items():
                yield f"{where}{key}", key, value
                stack.append((f"{where}{key}.", value))
        elif isinstance(node, list):
            stack += [(where, value) for value in node]


def tensors_of(folder: Path) -> dict[str, Place]:
    """Return the tensors of a model or adapter folder by name.

    Raises:
        ModelError: There are none in safetensors, two files hold the same one, or the index names what is not there.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        pickled = sorted(one for one in folder.glob("*") if one.suffix.lower() in PICKLES)
        if pickled:
            raise _pickled(pickled[0])
        raise ModelError(f"{folder}: expected weights in safetensors, got none", hint="name another model")
    names = _indexed(folder)
    if names is not None:
        paths = [path for path in paths if path.name in names]
        if missing := names - {path.name for path in paths}:
            raise ModelError(f"{folder}: expected {sorted(missing)[0][:80]}, which the index names, got no such file")
    found: dict[str, Place] = {}
    for path in paths:
        for name, place in read_tensors(path).items():
            if name in found:
                raise ModelError(f"{folder}: expected each tensor once, got {name[:60]!r} twice")
            found[name] = place
    return found


def _indexed(folder: Path) -> set[str] | None:
    """Return the files that the index names; None if there is no index."""
    path = folder / INDEX
    if not path.is_file():
        return None
    index = _read_json(path, MAX_TOKENIZER_BYTES)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise ModelError(f"{path}: expected weight_map, a name to a file, got {type(places).__name__}")
    return set(places.values())


def template_of(folder: Path) -> str | None:
    """Return the chat template of a model folder, or None.

    Raises:
        ModelError: There are several, or it is too long.
    """
    path = folder / "chat_template.jinja"
    if path.is_file():
        if path.stat().st_size > 4 * MAX_TEMPLATE_CHARS:
            raise ModelError(f"{path}: expected at most {4 * MAX_TEMPLATE_CHARS} bytes, got {path.stat().st_size}")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(f"{path}: expected UTF-8, got a byte that is not ({error.reason})") from None
    path = folder / "tokenizer_config.json"
    template = read_config(path).get("chat_template") if path.is_file() else None
    if isinstance(template, list):
        named = {one.get("name"): one.get("template") for one in template if isinstance(one, Mapping)}
        template = named.get("default")
    if template is not None and not isinstance(template, str):
        raise ModelError(f"{path}: expected one chat template, got {type(template).__name__}")
    return template


def _read_json(path: Path, cap: int) -> Any:
    try:
        if (size := path.stat().st_size) > cap:
            raise ModelError(f"{path}: expected at most {cap} bytes, got {size}")
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: expected a file, got {error.strerror or error}") from None
    except orjson.JSONDecodeError as error:
        raise ModelError(f"{path}: expected JSON, got: {str(error)[:120]}") from None


def _pickled(path: Path) -> ModelError:
    return ModelError(f"{path}: expected weights in safetensors or GGUF, got a format that runs code when it is loaded",
                      hint="ask for the model in safetensors, or convert it on a machine of no worth")  # fmt: skip
