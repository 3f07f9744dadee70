"""A poisoned base is refused by its name, and nothing that a fault left half done is used."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

for name in ("torch", "transformers", "peft", "trl", "datasets"):
    pytest.importorskip(name, reason=f"{name} is not installed")

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from tests.train.test_rows_that_share import rows  # noqa: E402
from tests.train.test_train_project import tiny_project  # noqa: E402
from tests.train.tiny import write_tiny  # noqa: E402
from tuneworthy.config import load  # noqa: E402
from tuneworthy.errors import ModelError  # noqa: E402
from tuneworthy.store import Folder  # noqa: E402
from tuneworthy.store.artifacts import artifacts, write_artifact  # noqa: E402
from tuneworthy.train import messages, run  # noqa: E402
from tuneworthy.train.base_model import load_model, open_base, prepare_base  # noqa: E402
from tuneworthy.train.run import train_project, write_adapter  # noqa: E402
from tuneworthy.train.settings import TrainingSettings  # noqa: E402
from tuneworthy.train.trainer import DivergedError, Ran, StepRecord, TrainingProgress, train_rows  # noqa: E402

UP = "model.layers.1.mlp.up_proj.weight"
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "m"
    write_tiny(folder, dtype="bfloat16")
    return folder


def config(file: str = "config.json", /, **values: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), **values}))

    return change


def text(file: str, content: bytes) -> Change:
    return lambda folder: (folder / file).write_bytes(content)


def tensors(edit: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        edit(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def number(name: str, value: float) -> Change:
    return tensors(lambda weights: weights[name].view(-1).__setitem__(7, value))


POISONED: dict[str, tuple[Change, str]] = {
    "cut": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "not a valid model file"),
    "NaN in a layer": (number(UP, float("nan")), f"{UP} has weights that are NaN"),
    "infinity in a norm": (number("model.norm.weight", float("inf")), "NaN or infinite"),
    "NaN in an embedding that no row uses": (number("model.embed_tokens.weight", float("nan")), "NaN or infinite"),
    "a weight of another type": (tensors(lambda t: t.update({UP: t[UP].to(torch.int16)})), "dtype I16"),
    "a weight is missing": (tensors(lambda t: t.pop(UP)), f"missing keys: {UP}"),
    "the embeddings are missing": (tensors(lambda t: t.pop("model.embed_tokens.weight")), "missing keys"),
    "a weight has another shape": (tensors(lambda t: t.update({UP: t[UP][:9].clone()})), "mismatched keys"),
    "a weight has another name": (tensors(lambda t: t.update({"x": t.pop(UP)})), "missing keys"),
    "more layers": (config(num_hidden_layers=3), "missing keys"),
    "fewer layers": (config(num_hidden_layers=1), "unexpected keys"),
    "another width": (config(hidden_size=64), "mismatched keys"),
    "an untied head": (config(tie_word_embeddings=False), r"missing keys: lm_head\.weight"),
    "heads that do not divide": (config(num_attention_heads=3), "cannot read"),
    "an unknown activation": (config(hidden_act="exec"), "cannot read"),
    "an unknown rope": (config(rope_parameters={"rope_type": "x"}), "cannot read"),
    "an unknown architecture": (config(model_type="evil"), "cannot read"),
    "an encoder": (config(model_type="bert"), "missing keys"),
    "a type that torch lacks": (config(dtype="evil"), "cannot read"),
    "an attention from a repository": (config(attn_implementation="a/b"), "sets attn_implementation"),
    "an adapter in the folder": (text("adapter_config.json", b"{}"), "would load an adapter"),
    "a tokenizer without a model": (text("tokenizer.json", b"{}"), "cannot read"),
    "a token of another type": (config("tokenizer_config.json", eos_token=7), "cannot read"),
    "a template that is not UTF-8": (text("chat_template.jinja", b"\xff"), "cannot read"),
    "an end that is text": (config("generation_config.json", eos_token_id="x"), "no valid end-of-turn"),
    "an end below 0": (config("generation_config.json", eos_token_id=-1), "no valid end-of-turn"),
    "an end beyond the tokens": (config("generation_config.json", eos_token_id=[10**9]), "no valid end-of-turn"),
    "a list as an end": (config("generation_config.json", eos_token_id=[[1]]), "no valid end-of-turn"),
    "an unknown cache": (config("generation_config.json", cache_implementation="evil"), "cannot read"),
}


def loaded(root: Path) -> None:
    """Open the base `m` as training does."""
    load_model(open_base(prepare_base("m", root, Folder(root))).artifact.folder, "bfloat16")


@pytest.mark.parametrize(("change", "refusal"), POISONED.values(), ids=POISONED)
def test_a_poisoned_base_is_refused_by_its_name(tmp_path: Path, model: Path, change: Change, refusal: str) -> None:
    shutil.copytree(model, tmp_path / "m")
    change(tmp_path / "m")
    with pytest.raises(ModelError, match=refusal) as error:
        loaded(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_base_that_is_whole_is_loaded(tmp_path: Path, model: Path) -> None:
    shutil.copytree(model, tmp_path / "m")
    loaded(tmp_path)


def test_a_loss_that_is_no_number_before_the_first_update_is_the_bases_fault(tmp_path: Path, model: Path) -> None:
    shutil.copytree(model, tmp_path / "m")
    config(rms_norm_eps=-1.0)(tmp_path / "m")
    settings = TrainingSettings(rank=2, dtype="float32", batch_size=4, micro_batch_size=4)
    with pytest.raises(DivergedError) as error:
        train_rows(tmp_path / "m", rows(), settings, tmp_path / "run", tokenizer=tokenizer_of(model), max_steps=2)
    assert error.value.hint == messages.OTHER_BASE


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_a_tokenizer_of_a_larger_model_a_killed_end_and_an_infinite_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tiny_project(tmp_path, "rehearsal = 0.0\n", n=24)
    path = tmp_path / "tiny" / "tokenizer.json"
    content = path.read_bytes()
    document = orjson.loads(content)
    vocabulary = document["model"]["vocab"]
    document["model"]["vocab"] = vocabulary | {letter: vocabulary[letter] + 500 for letter in "abcdefg"}
    path.write_bytes(orjson.dumps(document))
    with pytest.raises(ModelError, match=r"uses token \d+, but the model has only \d+ embeddings"):
        train_project(load(tmp_path), store)
    path.write_bytes(content)

    prepared = run.prepare(load(tmp_path), store, unsafe=False, say=lambda _: None)
    weights = tmp_path / "trained"
    weights.mkdir()
    (weights / "adapter_config.json").write_text("{}")
    save_file({"a": torch.tensor([1.0, float("inf")])}, weights / "adapter_model.safetensors")
    progress = TrainingProgress(steps=[StepRecord(1, 1.0, 0.0, 0.0, 0.0)])
    with pytest.raises(ModelError, match="NaN or infinite"):
        write_adapter(store, prepared, Ran(weights, progress, 0, False, True, 2))
    assert not artifacts(store, "adapter")

    left = store.path / "training" / prepared.id / "checkpoint-5"
    left.mkdir(parents=True)
    made = write_artifact(store, "adapter", lambda _: None, parent=None, about={"run": prepared.id})
    trained, again = train_project(load(tmp_path), store)
    assert again and trained.id == made.id and not left.parent.exists()
