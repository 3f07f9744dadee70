"""What may be loaded as a model: weights in safetensors or GGUF, settings in plain JSON; nothing that is a program.

A pickle (`.bin`, `.pt`) runs code when it is opened, a config with `auto_map` imports code that lies next to it, and a
`trust_remote_code` inside a config has switched off the reader's own refusal (CVE-2026-5241). All of these are refused
before any library that would act on them sees the folder. Chat templates are programs as well: see `chat_template`.

Source: https://huggingface.co/docs/hub/security-pickle; https://nvd.nist.gov/vuln/detail/CVE-2026-5241.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.errors import ModelError
from tuneworthy.input_files import read_input, read_input_text
from tuneworthy.providers.gguf import DOWNLOAD_AGAIN, model_fault, read_header, unreadable
from tuneworthy.providers.weights import Place, read_tensors
from tuneworthy.types import JsonObject

# Of a config; real configs stay below 100 kB.
MAX_JSON_BYTES = 4 * 2**20
# Of a tokenizer.json; the largest in use has 35 MB.
MAX_TOKENIZER_BYTES = 128 * 2**20
MAX_TEMPLATE_CHARS = 2**20
PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".pt2"})
# Keys of a config that make a library run code of the model's own.
CODE_KEYS = ("auto_map", "trust_remote_code", "custom_pipelines")
# Keys that name an attention; with a slash, it is a repository whose code the package kernels downloads and runs.
ATTENTION_KEYS = ("attn_implementation", "_attn_implementation")
INDEX = "model.safetensors.index.json"
# Types of tensors that are no weights.
COUNTS = frozenset({"I64", "I32", "BOOL"})
# Endings of the files that are taken out of a model folder.
LOADABLE = frozenset({".json", ".jinja", ".txt", ".model", ".safetensors"})
# JSON that maps words or tensors to numbers: it may be long, and any word may be a key.
_TABLES = frozenset({"tokenizer.json", "vocab.json", "added_tokens.json", INDEX})
_CONFIGS = ("config.json", "generation_config.json", "tokenizer_config.json", "adapter_config.json",
                   "special_tokens_map.json", "processor_config.json", "preprocessor_config.json")  # fmt: skip


def check_model(path: Path) -> None:
    """Refuse the model file or folder `path` unless it may be loaded.

    A folder: its configs are plain JSON without keys that run code, and its weights are safetensors with true headers.

    Raises:
        ModelError: It may not be loaded, with the reason.
    """
    if path.is_file():
        if path.suffix.lower() in PICKLES:
            raise _pickled(path)
        if path.suffix.lower() == ".safetensors":
            read_tensors(path)
        else:
            read_header(path)
        return
    for name in _CONFIGS:
        optional_config(path, name)
    if (path / "tokenizer.json").is_file():
        _read_json(path / "tokenizer.json", MAX_TOKENIZER_BYTES)
    tensors_of(path)


def files_of(folder: Path) -> list[Path]:
    """Return the files of a model folder that may be loaded or copied.

    Raises:
        ModelError: `check_model` refuses the folder, it has no config.json, a link leads outside, or a further JSON
            file holds a key that runs code.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} has no config.json, so it is not a model folder.",
            hint="Specify the folder that contains config.json.",
        )
    inside = folder.resolve()
    for path in folder.iterdir():
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise ModelError(
                f"{folder} contains the link {path.name}, which points outside the folder.",
                hint="Copy the file into the folder.",
            )
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{folder} contains adapter_config.json, so libraries would load an adapter with the model.",
            hint="Merge the adapter into the model, or remove its files.",
        )
    check_model(folder)
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in LOADABLE)
    for path in paths:
        if path.suffix == ".json":
            document = _read_json(path, MAX_TOKENIZER_BYTES)
            if path.name not in _TABLES:
                _refuse_code(path, document)
        elif path.suffix == ".safetensors":
            read_tensors(path)
    return paths


def read_config(path: Path) -> JsonObject:
    """Return a config of a model, read as plain JSON.

    Raises:
        ModelError: It is too long, not a JSON object, or holds a key that would run code.
    """
    config = _read_json(path, MAX_JSON_BYTES)
    if not isinstance(config, dict):
        raise model_fault(f"{path} must contain a JSON object.")
    _refuse_code(path, config)
    mapping = config.get("auto_mapping")
    library = mapping.get("parent_library", "transformers.") if isinstance(mapping, dict) else mapping
    if library is not None and not str(library).startswith(("transformers.", "peft.")):
        raise model_fault(
            f"{path}: auto_mapping.parent_library is {library!r}, but only transformers and peft are allowed."
        )
    return config


def optional_config(folder: Path, name: str) -> JsonObject:
    """Return a config as `read_config` does; empty if the folder does not have it."""
    path = folder / name
    return read_config(path) if path.is_file() else {}


def number_of(value: object, what: str) -> float:
    """Return a number of an adapter's config.

    Raises:
        ModelError: It is not a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelError(f"The adapter setting {what} is {value!r:.60}, not a number.")
    return float(value)


def _refuse_code(path: Path, document: Any) -> None:
    for where, key, value in _keys(document):
        if (key in CODE_KEYS and value not in (None, False)) or (key in ATTENTION_KEYS and "/" in str(value)):
            raise ModelError(
                f"{path} sets {where}, which makes a library run code from the model.",
                hint="If the library supports the model without this key, remove the key.",
            )


def _keys(node: Any) -> Iterator[tuple[str, str, Any]]:
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
        ModelError: There are no safetensors, two files contain the same tensor, or a file of the index is missing.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        pickled = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICKLES)
        if pickled:
            raise _pickled(pickled[0])
        raise ModelError(f"{folder} contains no safetensors weights.", hint="Specify a different model.")
    names = _indexed(folder)
    if names is not None:
        paths = [path for path in paths if path.name in names]
        if missing := names - {path.name for path in paths}:
            raise model_fault(f"{folder}: the index lists {min(missing)[:80]}, but the file is missing.")
    tensors = {}
    for path in paths:
        for name, place in read_tensors(path).items():
            if name in tensors:
                raise model_fault(f"{folder} contains the tensor {name[:60]!r} twice.")
            tensors[name] = place
    return tensors


def check_numbers(folder: Path, where: object = None, hint: str = "") -> None:
    """Refuse a model or adapter whose weights are not all finite; one tensor at a time is in memory.

    Args:
        folder: Its safetensors.
        where: Its name for a person [the folder].
        hint: The next step [to get the model again].

    Raises:
        ModelError: A weight is NaN or infinite, or its type is neither a float of 16 or 32 bits nor a count.
    """
    import numpy as np

    for name, place in tensors_of(folder).items():
        if place.dtype not in COUNTS and not np.isfinite(place.read()).all():
            raise ModelError(
                f"{where or folder}: {name[:100]} has weights that are NaN or infinite.",
                hint=hint or DOWNLOAD_AGAIN,
            )


def _indexed(folder: Path) -> set[str] | None:
    """Return the files that the index names; None without an index."""
    path = folder / INDEX
    if not path.is_file():
        return None
    index = _read_json(path, MAX_TOKENIZER_BYTES)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise model_fault(f"{path} has no weight_map that maps tensor names to files.")
    return set(places.values())


def template_of(folder: Path) -> str | None:
    """Return the chat template of a model folder, or None.

    Raises:
        ModelError: There are several, or it is too long.
    """
    path = folder / "chat_template.jinja"
    if path.is_file():
        _check_size(path, 4 * MAX_TEMPLATE_CHARS)
        try:
            return read_input_text(path)
        except UnicodeDecodeError as error:
            raise model_fault(f"{path} is not valid UTF-8 ({error.reason}).") from None
    template = optional_config(folder, "tokenizer_config.json").get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, Mapping)}
        template = named.get("default")
    if template is not None and not isinstance(template, str):
        raise model_fault(
            f"In {folder / 'tokenizer_config.json'}, the chat template is neither text nor a list of named templates."
        )
    return template


def _read_json(path: Path, cap: int) -> Any:
    try:
        _check_size(path, cap)
        return orjson.loads(read_input(path))
    except OSError as error:
        raise unreadable(path, error) from None
    except orjson.JSONDecodeError as error:
        raise model_fault(f"{path} is not valid JSON: {str(error)[:120]}.") from None


def _check_size(path: Path, most: int) -> None:
    if (size := path.stat().st_size) > most:
        raise model_fault(f"{path} has {size} bytes, more than the limit of {most}.")


def _pickled(path: Path) -> ModelError:
    return ModelError(
        f"{path} is in a format that can run code when it is loaded.",
        hint="Find a safetensors version, or convert the model on a machine without sensitive data.",
    )
