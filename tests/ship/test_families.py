"""The whole way for each family of models: our trainer, merge, GGUF, parity through transformers and llama.cpp."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="pip install 'tuneworthy[train]'")
pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
pytest.importorskip("xllamacpp", reason="pip install 'tuneworthy[local]'")

import tiny_circle as tiny
from test_gguf_export import EXPERTS, GEMMA3
from tiny_models import tokenizer_of

from tuneworthy.errors import UserError
from tuneworthy.ship.gguf import export_gguf
from tuneworthy.ship.merge import merge
from tuneworthy.ship.parity.run import check_parity
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, write_artifact
from tuneworthy.train.base_model import open_base
from tuneworthy.train.render import Renderer, RowChat
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.train.trainer import train_rows

pytestmark = pytest.mark.slow
SETTINGS = TrainingSettings(rank=8, alpha=8, learning_rate=1e-2, batch_size=4, micro_batch_size=4, epochs=80)
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("Llama", "smollm", {}),
    "qwen 3": ("Qwen3", "qwen2", {"head_dim": 32}),
    "gemma 3": ("Gemma3", "llama", {**GEMMA3, "sliding_window": 256, "embedding": 8.0}),
    "qwen 3 with experts": ("Qwen3Moe", "qwen2", EXPERTS),
}


def taught(store: Folder, artifact: Artifact) -> Artifact:
    """The adapter that our trainer makes of the four rows."""
    base = open_base(artifact)
    chats = [RowChat(row.id, row.messages) for row in tiny.ROWS]
    rows = Renderer(base.template, base.tokenizer, base.ends).rows(chats, 1000).rows
    ran = train_rows(artifact.folder, rows, SETTINGS, store.path / "training" / "run", tokenizer=base.tokenizer)
    assert ran.progress.steps[-1].loss < 0.2, "the rows were not learnt"

    def fill(folder: Path) -> None:
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(ran.adapter / name, folder / name)

    about = {"dataset": "none", "settings": SETTINGS.to_dict(), "template_sha256": base.template.sha256}
    return write_artifact(store, "adapter", fill, parent=artifact.id, about=about)


@pytest.mark.parametrize(("architecture", "kind", "more"), FAMILIES.values(), ids=FAMILIES)
def test_what_is_exported_is_what_was_trained(
    tmp_path: Path, architecture: str, kind: str, more: dict[str, Any]
) -> None:
    store = Folder(tmp_path)
    store.create()
    base = tiny.make_base(store, architecture, tokenizer=tokenizer_of(kind), **more)
    adapter = taught(store, base)
    merged = merge(store, adapter.id)
    gguf = export_gguf(store, merged, "f16")
    document = check_parity(store, tiny.asked(base, adapter, merged=merged, ggufs=[gguf]))
    assert document["status"] == "pass", document


def test_a_mixtral_is_trained_and_merged_and_its_gguf_is_refused_by_name(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    store.create()
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}
    base = tiny.make_base(store, "Mixtral", tokenizer=tokenizer_of("gpt2"), **experts)
    adapter = taught(store, base)
    merged = merge(store, adapter.id)
    assert check_parity(store, tiny.asked(base, adapter, merged=merged))["status"] == "pass"
    with pytest.raises(UserError, match="MixtralForCausalLM"):
        export_gguf(store, merged, "f16")
