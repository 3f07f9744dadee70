"""The whole way on a tiny model: train, merge, export, parity; and each fault, planted for real, is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="pip install 'tuneworthy[train]'")
pytest.importorskip("peft", reason="pip install 'tuneworthy[train]'")
pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
pytest.importorskip("xllamacpp", reason="pip install 'tuneworthy[local]'")

import tiny_circle as tiny
from tiny_models import TEMPLATE, tokenizer_of

from tuneworthy.providers.model_safety import tensors_of
from tuneworthy.providers.weights import from_float32, write_tensors
from tuneworthy.ship.gguf import export_gguf
from tuneworthy.ship.merge import merge
from tuneworthy.ship.merged_weights import merge_folder
from tuneworthy.ship.parity.run import check_parity
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact

pytestmark = pytest.mark.slow
BOS_TEMPLATE = "{{ bos_token }}" + TEMPLATE


@dataclass
class Circle:
    store: Folder
    base: Artifact
    adapter: Artifact
    merged: Artifact
    gguf: Artifact

    def parity(self, **more: Any) -> dict[str, Any]:
        forms = {"merged": self.merged, **more}
        forms["ggufs"] = [forms.pop("gguf")] if "gguf" in forms else []
        base, adapter = forms.pop("base", self.base), forms.pop("adapter", self.adapter)
        return check_parity(self.store, tiny.asked(base, adapter, **forms))


@pytest.fixture(scope="module")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Circle:
    store = Folder(tmp_path_factory.mktemp("circle"))
    store.create()
    base = tiny.make_base(store)
    adapter = tiny.train(base, store)
    merged = merge(store, adapter.id)
    return Circle(store, base, adapter, merged, export_gguf(store, merged, "f16"))


def said(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in document["checks"] if one["name"] == name)


def test_every_form_is_the_model_that_was_trained(circle: Circle) -> None:
    document = circle.parity(gguf=circle.gguf)
    assert document["status"] == "pass", document
    assert document["cause"] is None
    assert [said(document, name)["status"] for name in ("weights", "acts", "fact", "greedy", "score")] == ["pass"] * 5
    assert said(document, "fact")["numbers"]["n"] >= 3
    assert said(document, "distributions")["numbers"]["gguf_mean_kl"] < 0.01
    assert json.loads((circle.store.path / "parity.json").read_text()) == document


def test_an_8_bit_file_is_near_enough_and_its_figures_are_told(circle: Circle) -> None:
    document = circle.parity(gguf=export_gguf(circle.store, circle.merged, "q8_0"))
    assert document["status"] == "pass", document


def test_a_changed_template_is_named(circle: Circle) -> None:
    other = TEMPLATE.replace("user", "user").replace("<|end|>\n", "<|end|>")
    merged = tiny.copied(circle.store, circle.merged, lambda folder: tiny.set_template(folder, other))
    document = circle.parity(merged=merged, gguf=export_gguf(circle.store, merged, "f16"))
    assert document["cause"] == "template_changed"
    assert said(document, "template")["forms"] == ["merged", "gguf"]


def test_an_end_of_turn_outside_the_mask_is_named(circle: Circle) -> None:
    adapter = tiny.train(circle.base, circle.store, mask_end=True)
    document = circle.parity(adapter=adapter, merged=merge(circle.store, adapter.id))
    assert document["cause"] == "end_of_turn_masked"
    assert said(document, "end_of_turn")["numbers"]["median_probability"] < 0.3


def test_a_begin_token_that_stands_twice_is_named(circle: Circle, tmp_path: Path) -> None:
    store = Folder(tmp_path)
    base = tiny.make_base(store, template=BOS_TEMPLATE)
    adapter = tiny.train(base, store)
    merged = merge(store, adapter.id)
    whole = Circle(store, base, adapter, merged, merged)
    assert whole.parity(gguf=export_gguf(store, merged, "f16"))["status"] == "pass"
    doubled = tiny.copied(store, adapter, lambda folder: tiny.set_template(folder, "{{ bos_token }}" + BOS_TEMPLATE))
    document = whole.parity(adapter=doubled, merged=None)
    assert document["cause"] in {"bos_doubled", "template_changed"}
    assert said(document, "prompt_ids")["cause"] == "bos_doubled"


def test_an_adapter_that_was_not_applied_is_named(circle: Circle) -> None:
    def forget(folder: Path) -> None:
        shutil.copyfile(circle.base.folder / "model.safetensors", folder / "model.safetensors")

    document = circle.parity(merged=tiny.copied(circle.store, circle.merged, forget))
    assert document["cause"] == "adapter_not_applied"
    assert [said(document, name)["status"] for name in ("weights", "acts", "score")] == ["fail"] * 3


def test_a_base_served_in_the_place_of_the_adapter_is_named(circle: Circle) -> None:
    from tuneworthy.ship.parity.transformers_form import TransformersForm, load, renderer_of

    model = load(circle.base.folder, "bfloat16")
    form = TransformersForm(model, renderer_of(circle.base.folder), [1])
    document = circle.parity(served=form)
    assert document["cause"] == "adapter_not_applied"
    assert said(document, "acts")["forms"] == ["served"]


def test_the_wrong_base_is_refused_and_named(circle: Circle) -> None:
    other = tiny.make_base(circle.store, seed=7)

    def elsewhere(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        merge_folder(circle.adapter.folder, other.folder, folder)

    document = circle.parity(merged=tiny.copied(circle.store, circle.merged, elsewhere))
    assert document["cause"] == "wrong_base"
    assert said(document, "weights")["cause"] == "wrong_base"
    assert circle.parity(base=other, merged=None)["cause"] == "wrong_base"


def test_a_merge_into_4_bit_is_named(circle: Circle) -> None:
    import numpy as np

    def quantised(folder: Path) -> None:
        tensors = tensors_of(circle.merged.folder)

        def content(name: str) -> bytes:
            place = tensors[name]
            if "proj" not in name:
                return place.raw()
            blocks = place.read().reshape(-1, 64)
            scale = np.abs(blocks).max(axis=1, keepdims=True) / 7
            return from_float32((np.round(blocks / scale).clip(-8, 7) * scale).reshape(place.shape), place.dtype)

        write_tensors(folder / "model.safetensors", [(n, p.dtype, p.shape) for n, p in tensors.items()], content)

    document = circle.parity(merged=tiny.copied(circle.store, circle.merged, quantised))
    assert document["cause"] == "merged_in_4bit"


def test_a_lost_token_is_named(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    store.create()
    tokenizer = tokenizer_of("smollm")
    tokenizer.add_tokens(["<|order|>"], special_tokens=True)
    base = tiny.make_base(store, tokenizer=tokenizer)
    adapter = tiny.train(base, store)
    merged = merge(store, adapter.id)
    whole = Circle(store, base, adapter, merged, merged)
    kept = whole.parity(gguf=export_gguf(store, merged, "f16"))
    assert kept["status"] == "pass", kept

    def lose(folder: Path) -> None:
        tokenizer_of("smollm").save_pretrained(folder)

    document = whole.parity(merged=tiny.copied(store, merged, lose))
    assert document["cause"] == "added_token_lost"
    assert "<|order|>" in said(document, "added_tokens")["detail"]
