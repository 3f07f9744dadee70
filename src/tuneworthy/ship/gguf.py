"""Writes a 16-bit model folder as GGUF: f16, q8_0, q5_0 or q4_0 here, K-quants with `llama-quantize`.

Where the base came from a GGUF file, that file's keys (name, licence, tokenizer) are taken over; else they are made
from the Hugging Face files. The chat template is the folder's own in both cases: training used it.

Source: ggml docs/gguf.md; llama.cpp convert_hf_to_gguf.py.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tuneworthy import processes
from tuneworthy.errors import ModelError, TuneworthyError, UserError
from tuneworthy.providers.chat_template import template_sha256
from tuneworthy.providers.gguf import Scalar, read_header
from tuneworthy.providers.gguf_writer import USE_Q8, WRITTEN, copy_keys, library, write_tensors
from tuneworthy.providers.model_safety import optional_config, template_of
from tuneworthy.providers.models import find, sha256_of
from tuneworthy.ship.gguf_model import (
    USE_CONVERTER,
    GgufModel,
    TokenizerStep,
    end_ids,
    read_tokenizer,
    read_vocabulary,
    token_text,
)
from tuneworthy.store.artifacts import Artifact, find_artifact, write_artifact
from tuneworthy.store.folder import Folder
from tuneworthy.types import JsonObject, Say

FILE = "model.gguf"
QUANTIZE = "llama-quantize"
K_QUANTS = ("q2_k", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k")


def export_gguf(store: Folder, made: Artifact, file_type: str, *, say: Say = lambda _: None) -> Artifact:
    """Write a merged model (or a base) of the project as GGUF and return the artifact.

    The file of a base is compared with a tuned file; it is never the latest, which is served unless told.

    Args:
        store: The project's folder; the caller has the lock.
        made: The model to write.
        file_type: One of `WRITTEN` or `K_QUANTS`.
        say: Gets a sentence now and then.

    Raises:
        UserError: The architecture or tokenizer is unknown, the source file is gone, or the quantiser is missing.
    """
    if file_type not in (*WRITTEN, *K_QUANTS):
        raise UserError(
            f"Unknown GGUF type {file_type}.",
            hint=f"Choose from {', '.join((*WRITTEN, *K_QUANTS))}.",
        )
    quantise = None if file_type in WRITTEN else quantiser(store.root)
    source = source_of(store, made)
    say(f"Writing {made.folder} as {file_type}" + (f", with the metadata of {source}." if source else "."))

    def fill(folder: Path) -> None:
        if quantise is None:
            write_gguf(made.folder, folder / FILE, file_type, source)
            return
        wide = folder / "first.gguf"
        write_gguf(made.folder, wide, "f16", source)
        _quantise(quantise, wide, folder / FILE, file_type)
        wide.unlink()

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
    if base is None or not base.about.dequantised_from:
        return None
    origin = base.about.source
    path, pull = find(origin.spec, store.root), f"Run `tuneworthy models pull {origin.spec}`."
    if path is None:
        raise UserError(
            (
                f"The GGUF export copies the tokenizer from the GGUF file of {origin.spec}, which is not on this "
                "machine."
            ),
            hint=pull,
        )
    if origin.sha256 and sha256_of(path) != origin.sha256:
        raise ModelError(f"{path} is not the file that the base model was converted from.", hint=pull)
    return path


def source_header(store: Folder, made: Artifact) -> Mapping[str, Scalar]:
    """Return the metadata of the base's GGUF file; empty if the base came from elsewhere or the file is gone."""
    with suppress(TuneworthyError):
        if path := source_of(store, made):
            return read_header(path).values
    return {}


def quantiser(root: Path) -> str:
    """Return the path of `llama-quantize`.

    Raises:
        UserError: It is not on the PATH, or in the project folder `root`.
    """
    program = processes.program(QUANTIZE, root)
    if program is None:
        raise UserError(
            f"{QUANTIZE} is not on the PATH, and K-quants need it.", hint="Install llama.cpp, or pass --type q5_0."
        )
    return program


def _quantise(program: str, source: Path, target: Path, file_type: str) -> None:
    done = processes.run([program, str(source.resolve()), str(target.resolve()), file_type.upper()])
    if done.returncode or not target.is_file():
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise UserError(
            f"{QUANTIZE} failed: {last[:200].rstrip('.')}.",
            hint=USE_Q8,
        )
    read_header(target)


def write_gguf(folder: Path, target: Path, file_type: str, source: Path | None = None) -> None:
    """Write the model folder as the GGUF file `target`.

    Args:
        folder: Holds config.json, safetensors, tokenizer.json.
        target: The file.
        file_type: One of `WRITTEN`.
        source: A GGUF file whose keys are taken over.

    Raises:
        UserError: Something of the model has no place in the file.
    """
    model = GgufModel(folder)
    writer = library().GGUFWriter(None, model.architecture.name)
    if source is None:
        _write_keys(writer, model)
    else:
        _take_keys(writer, model, source)
    template = template_of(folder)
    if template is not None:
        writer.add_chat_template(template)
    write_tensors(writer, target, list(model.tensors()), file_type)


def _write_keys(writer: Any, model: GgufModel) -> None:
    vocabulary = read_vocabulary(model.folder, model.n_rows)
    writer.add_name(model.config.name_or_path or model.folder.name)
    for key, value in model.values().items():
        kind = {str: "string", float: "float32", int: "uint32"}[type(value)]
        getattr(writer, f"add_{kind}")(key, value)
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores is not None:
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(vocabulary.add_space)
    if vocabulary.merges is not None:
        writer.add_token_merges(vocabulary.merges)
    try:
        special = library().SpecialVocab(model.folder)
    except ValueError as error:
        raise UserError(f"{model.folder}: {error}.", hint=USE_CONVERTER) from None
    for kind, number in special.special_token_ids.items():
        if kind != "eos":
            getattr(writer, f"add_{kind}_token_id")(number)
    _write_ends(writer, end_ids(model.folder))
    writer.add_add_bos_token(adds_bos(model.folder))


def _take_keys(writer: Any, model: GgufModel, source: Path) -> None:
    read_header(source)
    reader = library().GGUFReader(source)
    _check_source(reader, model, source)
    ends = end_ids(model.folder)
    copy_keys(writer, reader, ("tokenizer.chat_template", *["tokenizer.ggml.eos_token_id"] * bool(ends)))
    if ends:
        _write_ends(writer, ends, has_eot=reader.get_field("tokenizer.ggml.eot_token_id") is not None)


def _check_source(reader: Any, model: GgufModel, source: Path) -> None:
    wanted: JsonObject = {"general.architecture": model.architecture.name}
    wanted |= {
        key: value for key, value in model.values().items() if not key.endswith((".vocab_size", ".context_length"))
    }
    for key, value in wanted.items():
        field = reader.get_field(key)
        stored = value if field is None else field.contents()
        close = abs(stored - value) <= 1e-6 * abs(value) if isinstance(value, int | float) else stored == value
        if not close:
            raise UserError(
                f"{source} has {key} = {stored}, but the model has {value}. The file belongs to a different base "
                "model.",
                hint=USE_CONVERTER,
            )
    tokens, vocabulary = reader.get_field("tokenizer.ggml.tokens").contents(), read_tokenizer(model.folder)
    named = {number: token for token, number in vocabulary.model.vocab.items()}
    named |= {added.id: added.content for added in vocabulary.added_tokens}
    texts = [named.get(number, token) for number, token in enumerate(tokens)]
    if texts != tokens or not len(tokens) == model.n_rows > max(named):
        raise UserError(
            f"The model's tokenizer or number of embeddings differs from that of {source}.",
            hint=USE_CONVERTER,
        )


def _write_ends(writer: Any, ends: list[int], *, has_eot: bool = False) -> None:
    if ends:
        writer.add_eos_token_id(ends[0])
    if len(ends) > 1 and not has_eot:
        writer.add_eot_token_id(ends[1])


def adds_bos(folder: Path) -> bool:
    """Say whether the folder's tokenizer puts the begin token before a text."""
    config = optional_config(folder, "tokenizer_config.json")
    bos = token_text(config.get("bos_token"))
    root = read_tokenizer(folder).post_processor or TokenizerStep()
    starts = [step.single[0] for step in root.steps if step.single]
    first = [(start.get("SpecialToken") or {}).get("id") for start in starts]
    return (bos is not None and bos in first) or config.get("add_bos_token") is True
