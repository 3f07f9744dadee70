"""Writes a 16-bit model folder as GGUF: f16 or q8_0 here, K-quants where `llama-quantize` is found.

Where the base came from a GGUF file, that file's keys (name, licence, tokenizer) are taken over; else they are made
from the Hugging Face files. The chat template is the folder's own in both cases: it is what was trained with. A tensor
at a time is in memory.

Source: ggml docs/gguf.md; llama.cpp convert_hf_to_gguf.py.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tuneworthy.errors import ModelError, UserError
from tuneworthy.providers.chat_template import template_sha256
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.model_safety import read_config, template_of
from tuneworthy.providers.models import find, sha256_of
from tuneworthy.ship.gguf_model import GgufModel, Tensor
from tuneworthy.ship.gguf_tokens import (
    CONTROL,
    USER_DEFINED,
    end_ids,
    read_tokenizer,
    read_vocabulary,
    token_text,
)
from tuneworthy.store.artifacts import Artifact, find_artifact, write_artifact
from tuneworthy.store.folder import Folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE: Final = "model.gguf"
WRITTEN: Final = ("f16", "q8_0")
QUANTIZE: Final = "llama-quantize"
K_QUANTS: Final = ("q2_k", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k")
_FILE_TYPE: Final = {"f16": 1, "q8_0": 7}
_LEFT_OUT: Final = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version",
                    "tokenizer.chat_template")  # fmt: skip
_TOKENS, _TYPES, _SCORES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.scores"


def export_gguf(
    store: Folder, made: Artifact, file_type: str, *, say: Callable[[str], None] = lambda _: None
) -> Artifact:
    """Write a merged model (or a base) of the project as GGUF and return the artifact.

    The file of a base is what a tuned one is held against; it is never the latest, which is served unless told.

    Args:
        store: The project's folder; the caller holds the lock. made: What is written.
        file_type: `f16`, `q8_0` or one of `K_QUANTS`.

    Raises:
        UserError: The architecture or tokenizer is not known, the source file is gone, or the quantiser is not there.
    """
    if file_type not in (*WRITTEN, *K_QUANTS):
        raise UserError(f"expected one of {', '.join((*WRITTEN, *K_QUANTS))}, got {file_type}")
    quantise = None if file_type in WRITTEN else quantiser()
    source = source_of(store, made)
    say(f"writes {made.folder} as {file_type}" + (f", with the keys of {source}" if source else ""))

    def fill(folder: Path) -> None:
        first = "f16" if quantise else file_type
        written = folder / ("first.gguf" if quantise else FILE)
        write_gguf(made.folder, written, first, source)
        if quantise:
            _quantise(quantise, written, folder / FILE, file_type)
            written.unlink()

    template = template_of(made.folder)
    about = {
        "file_type": file_type,
        "keys_of": source.name if source else None,
        "template_sha256": template_sha256(template) if template is not None else None,
    }
    return write_artifact(store, "gguf", fill, parent=made.id, about=about, latest=made.kind != "base")


def source_of(store: Folder, made: Artifact) -> Path | None:
    """Return the GGUF file that the base of `made` was dequantised from; None if it came from elsewhere.

    Raises:
        UserError: It is not on this machine any more, or was changed.
    """
    base: Artifact | None = made
    while base is not None and base.kind != "base":
        base = find_artifact(store, base.parent) if base.parent else None
    if base is None or not base.manifest.get("dequantised_from"):
        return None
    told = base.manifest["source"]
    path = find(told["spec"], store.root)
    if path is None:
        raise UserError(f"expected the file of {told['spec']}, whose tokenizer is taken over, got nothing",
                        hint=f"tuneworthy models pull {told['spec']}")  # fmt: skip
    if told.get("sha256") and sha256_of(path) != told["sha256"]:
        raise ModelError(f"{path}: expected the file that the base was made from, got another", hint="pull it again")
    return path


def quantiser() -> str:
    """Return the path of `llama-quantize`.

    Raises:
        UserError: It is not there.
    """
    found = shutil.which(QUANTIZE)
    if found is None:
        raise UserError(f"expected {QUANTIZE} on the PATH for K-quants, got none",
                        hint="install llama.cpp, or take q8_0")  # fmt: skip
    return found


def _quantise(program: str, source: Path, target: Path, file_type: str) -> None:
    done = subprocess.run(
        [program, str(source), str(target), file_type.upper()], capture_output=True, text=True, check=False
    )
    if done.returncode or not target.is_file():
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise UserError(f"expected {QUANTIZE} to write {file_type}, got: {last[:200]}")
    read_header(target)


def write_gguf(folder: Path, target: Path, file_type: str, source: Path | None = None) -> None:
    """Write the model folder as the GGUF file `target`.

    Args:
        folder: Holds config.json, safetensors, tokenizer.json. file_type: `f16` or `q8_0`.
        source: A GGUF file whose keys are taken over.

    Raises:
        UserError: Something of the model has no place in the file.
    """
    gguf = _library()
    model = GgufModel(folder)
    writer = gguf.GGUFWriter(None, model.architecture.name)
    if source is None:
        _write_keys(writer, model)
    else:
        _take_keys(writer, model, source)
    writer.add_file_type(_FILE_TYPE[file_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    template = template_of(folder)
    if template is not None:
        writer.add_chat_template(template)
    tensors = list(model.tensors())
    for one in tensors:
        kind = _type_of(one, file_type)
        shape = gguf.quant_shape_to_byte_shape(one.shape, kind) if kind == _q8() else one.shape
        dtype, width = _numpy_of(kind)
        n_bytes = width
        for length in shape:
            n_bytes *= length
        writer.add_tensor_info(one.name, shape, dtype, n_bytes, raw_dtype=kind)
    writer.write_header_to_file(target)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for one in tensors:
        writer.write_tensor_data(_converted(one, _type_of(one, file_type)))
    writer.close()
    read_header(target)


def _library() -> Any:
    try:
        import gguf
    except ImportError:
        raise UserError("expected the package gguf, got none", hint="pip install 'tuneworthy[train]'") from None
    return gguf


def _q8() -> Any:
    return _library().GGMLQuantizationType.Q8_0


def _type_of(one: Tensor, file_type: str) -> Any:
    """Return the type that a tensor is written in: vectors in 32 bit, matrices as asked for where blocks of 32 fit."""
    kinds = _library().GGMLQuantizationType
    if len(one.shape) < 2:
        return kinds.F32
    return kinds.Q8_0 if file_type == "q8_0" and one.shape[-1] % 32 == 0 else kinds.F16


def _numpy_of(kind: Any) -> tuple[np.dtype[Any], int]:
    import numpy as np

    kinds = _library().GGMLQuantizationType
    dtype = np.dtype({kinds.F32: np.float32, kinds.F16: np.float16, kinds.Q8_0: np.uint8}[kind])
    return dtype, dtype.itemsize


def _converted(one: Tensor, kind: Any) -> NDArray[Any]:
    import numpy as np

    kinds = _library().GGMLQuantizationType
    weights = one.read()
    if kind == kinds.Q8_0:
        quantised: NDArray[Any] = _library().quants.quantize(weights, kind)
        return quantised
    stored = weights.astype(np.float16 if kind == kinds.F16 else np.float32)
    if not np.isfinite(stored).all():
        raise UserError(f"{one.name}: expected weights that 16 bit can hold, got larger ones", hint="take q8_0")
    return np.ascontiguousarray(stored)


def _write_keys(writer: Any, model: GgufModel) -> None:
    """Write the keys of a model that came from Hugging Face files."""
    vocabulary = read_vocabulary(model.folder, model.n_rows)
    writer.add_name(str(model.config.get("_name_or_path") or model.folder.name))
    for key, value in model.values():
        _add(writer, key, value)
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores is not None:
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(vocabulary.add_space)
    if vocabulary.merges is not None:
        writer.add_token_merges(vocabulary.merges)
    special = _library().SpecialVocab(model.folder)
    for kind, number in special.special_token_ids.items():
        if kind != "eos":
            getattr(writer, f"add_{kind}_token_id")(number)
    _write_ends(writer, end_ids(model.folder))
    writer.add_add_bos_token(adds_bos(model.folder))


def _take_keys(writer: Any, model: GgufModel, source: Path) -> None:
    """Write the keys of the GGUF file that the base came from, and the tokens that were added since."""
    gguf = _library()
    read_header(source)
    reader = gguf.GGUFReader(source)
    own = dict(model.values())
    _check_source(reader, own, model, source)
    added = _added(reader, model)
    ends = end_ids(model.folder)
    for field in reader.fields.values():
        if field.name.startswith(_LEFT_OUT) or (ends and field.name == "tokenizer.ggml.eos_token_id"):
            continue
        kind = field.types[0]
        part = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        value = [*field.contents(), *added[field.name]] if field.name in added else field.contents()
        value = own[field.name] if field.name.endswith(".vocab_size") else value
        writer.add_key_value(field.name, value, kind, sub_type=part)
    if ends:
        _write_ends(writer, ends, known=reader.get_field("tokenizer.ggml.eot_token_id") is not None)


def _check_source(reader: Any, own: Mapping[str, Any], model: GgufModel, source: Path) -> None:
    """Refuse a source whose numbers are not those of the model."""
    told = reader.get_field("general.architecture").contents()
    if told != model.architecture.name:
        raise UserError(f"{source}: expected a model of {model.architecture.name}, got {told} (cause: wrong_base)")
    for key, value in own.items():
        field = reader.get_field(key)
        if field is None or key.endswith((".vocab_size", ".context_length")):
            continue
        if abs(float(field.contents()) - float(value)) > 1e-6 * abs(float(value)):
            raise UserError(f"{source}: expected {key} = {value}, as in the model, got {field.contents()}"
                            " (cause: wrong_base)")  # fmt: skip


def _added(reader: Any, model: GgufModel) -> dict[str, list[Any]]:
    """Return what the arrays of the tokenizer get in addition, by key.

    Raises:
        UserError: A token of the source has another text in the folder's tokenizer, or has no row.
    """
    tokens = reader.get_field(_TOKENS).contents()
    vocabulary = read_tokenizer(model.folder)
    named = {number: token for token, number in vocabulary["model"]["vocab"].items() if isinstance(number, int)}
    special: dict[int, bool] = {}
    for one in vocabulary.get("added_tokens", []):
        named[one["id"]], special[one["id"]] = one["content"], one["special"]
    for number, token in enumerate(tokens):
        if named.get(number, token) != token:
            raise UserError(
                f"expected the tokenizer of the base, got {named[number]!r} as token {number}, not {token!r}"
            )
    if max([*named, len(tokens) - 1]) >= model.n_rows:
        raise UserError(f"expected embeddings for {max(named) + 1} tokens, got {model.n_rows} rows"
                        " (cause: added_token_lost)")  # fmt: skip
    numbers = range(len(tokens), model.n_rows)
    found: dict[str, list[Any]] = {
        _TOKENS: [named.get(number, f"[PAD{number}]") for number in numbers],
        _TYPES: [(CONTROL if special[n] else USER_DEFINED) if n in special else 5 for n in numbers],
        _SCORES: [0.0 for _ in numbers],
    }
    return found


def _write_ends(writer: Any, ends: list[int], *, known: bool = False) -> None:
    """Write the tokens that end an answer: the tokenizer's own, and the first other one."""
    if ends:
        writer.add_eos_token_id(ends[0])
    if len(ends) > 1 and not known:
        writer.add_eot_token_id(ends[1])


def adds_bos(folder: Path) -> bool:
    """Say whether the folder's tokenizer puts the begin token before a text."""
    config = read_config(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    bos = token_text(config.get("bos_token"))
    for step in _processors(read_tokenizer(folder)):
        first = (step.get("single") or [{}])[0].get("SpecialToken", {}).get("id")
        if first is not None and first == bos:
            return True
    return config.get("add_bos_token") is True


def _processors(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    root = document.get("post_processor") or {}
    yield from root.get("processors", [root])


def _add(writer: Any, key: str, value: int | float | str) -> None:
    """Write one key in the type that llama.cpp expects."""
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_uint32(key, value)
