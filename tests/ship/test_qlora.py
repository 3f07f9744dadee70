"""An adapter of 4-bit training is held against the weights that it was trained on, and merged where it is nearest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="pip install 'tuneworthy[train]'")
pytest.importorskip("peft", reason="pip install 'tuneworthy[train]'")

import tiny_circle as tiny

from tuneworthy.providers.model_safety import tensors_of
from tuneworthy.ship import nf4, qlora
from tuneworthy.ship.merge import merge
from tuneworthy.ship.nf4 import base_in_training
from tuneworthy.ship.parity import run
from tuneworthy.store import Folder

Q = "model.layers.0.self_attn.q_proj.weight"


def quantize_4bit(weight: Any, **_: Any) -> tuple[Any, Any]:
    """Round to 15 steps a block of 64: coarse, as NF4 is."""
    blocks = weight.float().reshape(-1, 64)
    scale = blocks.abs().amax(1, keepdim=True) / 7
    return (blocks / scale).round(), SimpleNamespace(scale=scale, shape=weight.shape)


def dequantize_4bit(packed: Any, state: Any) -> Any:
    return (packed * state.scale).reshape(state.shape)


@pytest.fixture(autouse=True)
def bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the package, which is not installed everywhere."""
    functional = SimpleNamespace(quantize_4bit=quantize_4bit, dequantize_4bit=dequantize_4bit)
    monkeypatch.setattr(nf4, "_functional", lambda: functional)


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


def test_both_routes_are_measured_and_the_nearer_one_is_kept(store: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny.make_base(store)
    adapter = tiny.random_adapter(store, base, "qlora")
    monkeypatch.setattr(qlora, "rows_of", lambda *_: tiny.ROWS)
    made = merge(store, adapter.id)
    route = made.manifest["route"]
    assert set(route["mean_kl"]) == {"original", "dequantised"}
    assert route["name"] == "dequantised" == min(route["mean_kl"], key=route["mean_kl"].get)
    document = run.check_parity(store, replace(tiny.asked(base, adapter), merged=made))
    told = {one["name"]: one["status"] for one in document["checks"]}
    assert told["weights"] == told["distributions"] == "pass"
