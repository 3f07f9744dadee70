"""A model whose weights were all trained: rounded instead of merged, then exported and proven like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="pip install 'tuneworthy[train]'")
pytest.importorskip("peft", reason="pip install 'tuneworthy[train]'")

import tiny_circle as tiny
import torch
from safetensors.torch import load_file, save_file

from tuneworthy.errors import UserError
from tuneworthy.ship.gguf import export_gguf
from tuneworthy.ship.merge import merge
from tuneworthy.ship.parity.run import check_parity
from tuneworthy.ship.served import choose
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact

Q = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def made(tmp_path: Path) -> tuple[Folder, Artifact, Artifact]:
    store = Folder(tmp_path)
    store.create()
    base = tiny.make_base(store)
    return store, base, tiny.fully_tuned(store, base)


def statuses(store: Folder, base: Artifact, trained: Artifact, **forms: Any) -> dict[str, tuple[str, str | None]]:
    document = check_parity(store, tiny.asked(base, trained, **forms))
    return {one["name"]: (one["status"], one["cause"]) for one in document["checks"]}


def test_there_is_nothing_to_merge_and_every_form_is_proven(made: tuple[Folder, Artifact, Artifact]) -> None:
    pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
    pytest.importorskip("xllamacpp", reason="pip install 'tuneworthy[local]'")
    store, base, trained = made
    lines: list[str] = []
    merged = merge(store, say=lines.append)
    assert "all weights were trained" in lines[-1] and merged.manifest["dtype"] == "BF16"
    before, after = (load_file(one.folder / "model.safetensors") for one in (trained, merged))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name].bfloat16(), after[name]) for name in before)
    found = statuses(store, base, trained, merged=merged, ggufs=[export_gguf(store, merged, "f16")])
    passed = {"lineage", "template", "added_tokens", "prompt_ids", "weights", "acts", "distributions"}
    assert {name for name, (status, _) in found.items() if status == "pass"} >= passed


def changed(store: Folder, source: Artifact, **tensors: torch.Tensor | None) -> Artifact:
    """The same artifact with other weights; without those that are None."""

    def write(folder: Path) -> None:
        kept = {
            **load_file(folder / "model.safetensors"),
            **{name.replace("__", "."): t for name, t in tensors.items()},
        }
        save_file({name: tensor for name, tensor in kept.items() if tensor is not None}, folder / "model.safetensors")

    return tiny.copied(store, source, write)


def test_a_module_that_the_merged_model_has_from_the_base_is_named(made: tuple[Folder, Artifact, Artifact]) -> None:
    store, base, trained = made
    old = load_file(base.folder / "model.safetensors")[Q]
    merged = changed(store, merge(store), **{Q.replace(".", "__"): old})
    assert statuses(store, base, trained, merged=merged)["weights"] == ("fail", "module_dropped")


def test_a_weight_that_was_not_trained_is_refused(made: tuple[Folder, Artifact, Artifact]) -> None:
    store, _, trained = made
    part = changed(store, trained, **{Q.replace(".", "__"): None})
    with pytest.raises(UserError, match=f"lacks {Q}"):
        merge(store, part.id)


def test_no_server_is_given_all_weights_as_an_adapter(made: tuple[Folder, Artifact, Artifact]) -> None:
    store, _, _ = made
    with pytest.raises(UserError, match="no adapter to serve"):
        choose(store, "adapter", port=8000)
