"""Merging: base plus adapter and nothing else, in the base's own type; what does not fit is refused with its cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuneworthy.errors import UserError
from tuneworthy.providers.model_safety import tensors_of
from tuneworthy.providers.weights import from_float32, to_float32, write_tensors
from tuneworthy.ship.merge import merge
from tuneworthy.ship.merged_weights import merge_folder, read_adapter
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, write_artifact

RNG = np.random.default_rng(0)
Q = "model.layers.0.self_attn.q_proj.weight"
SHAPES = {"model.embed_tokens.weight": (6, 4), Q: (8, 4), "model.norm.weight": (4,)}
BASE = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
A, B = RNG.normal(size=(2, 4)).astype(np.float32), RNG.normal(size=(8, 2)).astype(np.float32)
PAIR = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": A,
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": B}  # fmt: skip


def write(folder: Path, tensors: dict[str, Any], dtype: str, **documents: Any) -> None:
    name = "adapter_model.safetensors" if "adapter_config" in documents else "model.safetensors"
    write_tensors(folder / name, [(key, dtype, value.shape) for key, value in tensors.items()],
                  lambda key: from_float32(tensors[key], dtype))  # fmt: skip
    for key, value in documents.items():
        (folder / f"{key}.json").write_text(json.dumps(value))


def base_of(store: Folder, dtype: str = "BF16", weights: dict[str, Any] = BASE, **config: Any) -> Artifact:
    def fill(folder: Path) -> None:
        write(folder, weights, dtype, config={"tie_word_embeddings": True, "vocab_size": 6, **config},
              generation_config={"eos_token_id": 1}, tokenizer={"model": {}}, tokenizer_config={})  # fmt: skip
        (folder / "chat_template.jinja").write_text("{{ messages }}")

    return write_artifact(store, "base", fill, parent=None, about={"dequantised_from": None, **config})


def adapter_of(store: Folder, parent: str, tensors: dict[str, Any] = PAIR, **config: Any) -> Artifact:
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, **config}
    return write_artifact(store, "adapter", lambda folder: write(folder, tensors, "F32", adapter_config=settings),
                          parent=parent, about={"settings": {"method": "lora"}, **config})  # fmt: skip


def merged(tmp_path: Path, tensors: dict[str, Any] = PAIR, dtype: str = "F32", **config: Any) -> dict[str, Any]:
    store = Folder(tmp_path)
    base = base_of(store, dtype)
    made = merge(store, adapter_of(store, base.id, tensors, **config).id)
    return {name: place.read() for name, place in tensors_of(made.folder).items()}


@pytest.mark.parametrize(
    ("config", "scale"),
    [({}, 2.0), ({"lora_alpha": 1}, 0.5)],
)
def test_the_scaled_product_is_added(tmp_path: Path, config: dict[str, Any], scale: float) -> None:
    found = merged(tmp_path, **config)
    np.testing.assert_allclose(found[Q], BASE[Q] + scale * B @ A, rtol=1e-6)
    np.testing.assert_array_equal(found["model.norm.weight"], BASE["model.norm.weight"])


def test_the_sum_is_rounded_once_to_the_type_of_the_base(tmp_path: Path) -> None:
    base = to_float32(from_float32(BASE[Q], "BF16"), "BF16").reshape(8, 4)
    expected = to_float32(from_float32(base + 2.0 * B @ A, "BF16"), "BF16").reshape(8, 4)
    np.testing.assert_array_equal(merged(tmp_path, dtype="BF16")[Q], expected)


def test_the_artifact_tells_where_it_comes_from_and_carries_what_serving_needs(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    base = base_of(store)
    adapter = adapter_of(store, base.id)
    made = merge(store)
    assert (made.kind, made.parent) == ("merged", adapter.id)
    assert made.manifest["dtype"] == "BF16"
    assert made.manifest["route"] == {"name": "original"}
    assert made.manifest["n_changed"] == 1
    assert len(made.manifest["template_sha256"]) == 64
    assert {"tokenizer.json", "chat_template.jinja", "generation_config.json"} <= set(made.manifest["files"])
    assert merge(store).id == made.id


def test_a_base_in_several_files_stays_in_several_files(tmp_path: Path) -> None:
    base, adapter, target = (tmp_path / name for name in ("base", "adapter", "merged"))
    for folder in (base, adapter, target):
        folder.mkdir()
    write(adapter, PAIR, "F32", adapter_config={"peft_type": "LORA", "r": 2, "lora_alpha": 4})
    (base / "config.json").write_text("{}")
    (base / "tokenizer.json").write_text("{}")
    places = {}
    for number, name in enumerate(BASE):
        file = f"model-{number}.safetensors"
        write_tensors(base / file, [(name, "F32", BASE[name].shape)], lambda key: from_float32(BASE[key], "F32"))
        places[name] = file
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    merge_folder(adapter, base, target)
    found = tensors_of(target)
    assert {name: place.path.name for name, place in found.items()} == places
    np.testing.assert_allclose(found[Q].read(), BASE[Q] + 2.0 * B @ A, rtol=1e-6)
    index = json.loads((target / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == places


def test_a_base_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    base = base_of(store)
    adapter_of(store, base.id)
    write(base.folder, {name: value + 1 for name, value in BASE.items()}, "BF16")
    with pytest.raises(UserError, match="has been added, modified or deleted since"):
        merge(store)


def test_a_base_in_4_bit_is_refused(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    base = base_of(store, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    adapter_of(store, base.id)
    with pytest.raises(UserError, match="are quantised"):
        merge(store)


def test_weights_of_4_bit_in_a_config_that_does_not_say_so_are_refused(tmp_path: Path) -> None:
    store = Folder(tmp_path)

    def fill(folder: Path) -> None:
        write_tensors(folder / "model.safetensors", [(Q, "U8", (16, 1))], lambda name: bytes(16))
        (folder / "config.json").write_text("{}")

    base = write_artifact(store, "base", fill, parent=None, about={})
    adapter_of(store, base.id)
    with pytest.raises(UserError, match="is stored as"):
        merge(store)


@pytest.mark.parametrize("quantised", ["config", "weights"])
def test_no_way_to_a_merged_model_takes_a_base_in_4_bit(tmp_path: Path, quantised: str) -> None:
    store = Folder(tmp_path)
    said = {"quantization_config": {"quant_method": "bitsandbytes"}} if quantised == "config" else {}
    base = base_of(store, **said)
    if quantised == "weights":
        write_tensors(base.folder / "model.safetensors", [(Q, "U8", (16, 1))], lambda name: bytes(16))
    target = tmp_path / "merged"
    target.mkdir()
    with pytest.raises(UserError, match=r"are quantised|is stored as"):
        merge_folder(adapter_of(store, base.id).folder, base.folder, target)
    assert not any(target.iterdir())


FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "other names": ({name.replace("layers", "blocks"): v for name, v in PAIR.items()}, {}, "would not apply it"),
    "other shape": ({**PAIR, next(iter(PAIR)): A[:, :3].copy()}, {}, "belongs to a different base model"),
    "half a pair": ({next(iter(PAIR)): A}, {}, "LoRA matrices"),
    "other rank": (PAIR, {"r": 4}, "of rank 4"),
    "not understood": ({**PAIR, "base_model.model.model.norm.trainable_tokens_delta": A}, {}, "not a LoRA tensor"),
    "unknown kind": (PAIR, {"target_parameters": ["experts"]}, "expert parameters"),
    "rank is a word": (PAIR, {"r": "many"}, "adapter setting r is 'many', not a number"),
    "scale is a list": (PAIR, {"lora_alpha": [16]}, r"setting lora_alpha is \[16\], not a number"),
    "patterns": (PAIR, {"rank_pattern": {"q_proj": 3}}, "rank_pattern"),
    "DoRA": (PAIR, {"use_dora": True}, "DoRA"),
    "rsLoRA": (PAIR, {"use_rslora": True}, "rsLoRA"),
    "whole modules": (PAIR, {"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "embeddings": ({**PAIR, "base_model.model.model.embed_tokens.weight": A}, {}, "not a LoRA tensor"),
    "no LoRA": (PAIR, {"peft_type": "IA3"}, "LORA"),
    "empty": ({}, {}, "does not change any"),
}


@pytest.mark.parametrize(("tensors", "config", "reason"), FAULTS.values(), ids=FAULTS)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, tensors: dict[str, Any], config: dict[str, Any], reason: str
) -> None:
    store = Folder(tmp_path)
    base = base_of(store)
    adapter = adapter_of(store, base.id, tensors or {"x": A} if reason != "does not change any" else {}, **config)
    with pytest.raises(UserError, match=reason):
        merge(store)
    assert {path.name for path in (store.path / "models").iterdir() if path.is_dir()} == {base.id, adapter.id}


def test_weights_that_the_type_cannot_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot represent"):
        merged(tmp_path, dtype="F16", lora_alpha=1e6)


def test_the_rank_is_the_highest_of_all(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    adapter = adapter_of(store, "base")
    assert read_adapter(adapter.folder).rank == 2


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"lora_alpha": 3}])
def test_the_result_is_what_peft_makes_in_32_bit(tmp_path: Path, more: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="pip install 'tuneworthy[train]'")
    peft = pytest.importorskip("peft", reason="pip install 'tuneworthy[train]'")
    from tiny_models import model_of, save, tokenizer_of

    tokenizer = tokenizer_of()
    base = save(model_of("Llama", len(tokenizer)), tokenizer, tmp_path / "base")
    config = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False, **more)
    trained = peft.get_peft_model(model_of("Llama", len(tokenizer)), config)
    trained.save_pretrained(tmp_path / "adapter")
    (tmp_path / "merged").mkdir()
    merge_folder(tmp_path / "adapter", base, tmp_path / "merged")
    theirs = trained.merge_and_unload().state_dict()
    for name, place in tensors_of(tmp_path / "merged").items():
        torch.testing.assert_close(torch.from_numpy(place.read().copy()), theirs[name], rtol=1e-4, atol=1e-5)
