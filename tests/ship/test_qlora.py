"""An adapter of 4-bit training is held against the weights that it was trained on, and merged where it is nearest."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="pip install 'tuneworthy[train]'")
pytest.importorskip("peft", reason="pip install 'tuneworthy[train]'")

import tiny_circle as tiny

from tuneworthy.providers.model_safety import tensors_of
from tuneworthy.ship import merged_weights
from tuneworthy.ship.merge import merge
from tuneworthy.ship.merged_weights import base_in_training, merge_folder
from tuneworthy.ship.parity import run
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, write_artifact

Q = "model.layers.0.self_attn.q_proj.weight"


def quantize_4bit(weight: Any, **_: Any) -> tuple[Any, Any]:
    """Round to 15 steps a block of 64: coarse, as NF4 is."""
    blocks = weight.float().reshape(-1, 64)
    scale = blocks.abs().amax(1, keepdim=True) / 7
    return (blocks / scale).round(), SimpleNamespace(scale=scale, shape=weight.shape)


def dequantize_4bit(packed: Any, state: Any) -> Any:
    return (packed * state.scale).reshape(state.shape)


@pytest.fixture(autouse=True, params=["stand-in", "bitsandbytes"])
def bitsandbytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package, and what stands in for it where it is not installed."""
    if request.param == "bitsandbytes":
        pytest.importorskip("bitsandbytes", reason="pip install 'tuneworthy[train]'")
        return
    functional = SimpleNamespace(quantize_4bit=quantize_4bit, dequantize_4bit=dequantize_4bit)
    dequantise = merged_weights.dequantise

    def stand_in(base: Path, target: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:  # no longer, as transformers and PEFT look for the package
            patch.setattr(merged_weights, "require", lambda _: None)
            patch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(functional=functional))
            dequantise(base, target)

    monkeypatch.setattr(merged_weights, "dequantise", stand_in)


def scratch_merge(store: Folder, adapter: Artifact, base: Path, route: str) -> Artifact:
    """Merge an adapter into any base and say that it was done by `route`."""
    about = {"route": {"name": route}}
    return write_artifact(
        store,
        "merged",
        lambda folder: merge_folder(adapter.folder, base, folder) and None,
        parent=adapter.id,
        about=about,
    )


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    found = Folder(tmp_path)
    found.create()
    return found


def test_the_reference_is_the_adapter_on_the_weights_that_it_was_trained_on(
    store: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny.make_base(store)
    loaded: list[Any] = []
    load = run.load

    def noted(folder: Path, dtype: str) -> Any:
        loaded.append(tensors_of(folder)[Q].read())
        return load(folder, dtype)

    monkeypatch.setattr(run, "load", noted)
    own = tensors_of(base.folder)[Q].read()
    for method, same in (("lora", True), ("qlora", False)):
        loaded.clear()
        run.check_parity(store, tiny.asked(base, tiny.random_adapter(store, base, method)))
        assert bool((loaded[0] == own).all()) is same
    with base_in_training(store, tiny.random_adapter(store, base, "qlora"), base, lambda _: None) as seen:
        assert (tensors_of(seen)[Q].read() == loaded[0]).all()
        embeddings = [tensors_of(folder)["model.embed_tokens.weight"].raw() for folder in (seen, base.folder)]
        assert embeddings[0] == embeddings[1]
    assert not seen.exists()


def test_the_merged_model_is_the_adapter_on_the_dequantised_base(store: Folder) -> None:
    base = tiny.make_base(store)
    adapter = tiny.random_adapter(store, base, "qlora")
    made = merge(store, adapter.id)
    assert made.manifest["route"] == {"name": "dequantised"}
    document = run.check_parity(store, replace(tiny.asked(base, adapter), merged=made))
    told = {one["name"]: one["status"] for one in document["checks"]}
    assert told["weights"] == told["distributions"] == "pass"


def test_a_merge_into_one_base_that_is_taken_for_one_into_the_other_is_named(
    store: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny.make_base(store)
    adapter = tiny.random_adapter(store, base, "qlora")
    merged = scratch_merge(store, adapter, base.folder, "dequantised")
    document = run.check_parity(store, replace(tiny.asked(base, adapter), merged=merged))
    assert {one["name"]: one["cause"] for one in document["checks"]}["weights"] == "wrong_base"
