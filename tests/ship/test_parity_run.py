"""Every form is really asked: the adapter on its base, the merged model, and each GGUF file in llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="pip install 'tuneworthy[train]'")
pytest.importorskip("peft", reason="pip install 'tuneworthy[train]'")
pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
pytest.importorskip("xllamacpp", reason="pip install 'tuneworthy[local]'")

import tiny_circle as tiny

from tuneworthy.providers.gguf_writer import WRITTEN
from tuneworthy.ship.gguf import export_gguf
from tuneworthy.ship.merge import merge
from tuneworthy.ship.parity.run import check_parity
from tuneworthy.store import Folder


def test_all_files_are_asked_the_same_and_each_has_its_outcome(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    store.create()
    base = tiny.make_base(store)
    adapter = tiny.random_adapter(store, base)
    merged = merge(store, adapter.id)
    files = [export_gguf(store, merged, kind) for kind in WRITTEN]
    document = check_parity(store, tiny.asked(base, adapter, merged=merged, ggufs=files))
    assert store.read("parity", dict) == document
    told = {one["name"]: one for one in document["checks"]}
    assert {told[name]["status"] for name in ("lineage", "template", "added_tokens", "prompt_ids", "weights")} == {
        "pass"
    }
    assert told["distributions"]["numbers"]["gguf-f16_mean_kl"] < 0.02
    assert told["fact"]["status"] == "skipped", "the adapter was taught nothing"
    assert set(document["models"]) == {merged.id, *(one.id for one in files)}
    alone = next(one for one in document["models"][files[0].id]["checks"] if one["name"] == "distributions")
    assert not any("q8_0" in name for name in alone["numbers"])
