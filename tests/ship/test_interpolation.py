"""A share of an adapter: the weights lie between those of the base and of the tuned model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_merge import BASE, PAIR, A, B, Q, adapter_of, base_of

from tuneworthy.errors import UserError
from tuneworthy.providers.model_safety import tensors_of
from tuneworthy.ship.merge import merge
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import open_artifact


@pytest.mark.parametrize(
    ("config", "scale"), [({}, 2.0), ({"use_rslora": True}, 4 / 2**0.5), ({"alpha_pattern": {"q_proj": 8}}, 4.0)]
)
def test_a_share_of_what_was_learned_is_added(tmp_path: Path, config: dict[str, Any], scale: float) -> None:
    store = Folder(tmp_path)
    adapter = adapter_of(store, base_of(store, "F32").id, **config)
    made = merge(store, adapter.id, share=0.25)
    found = tensors_of(made.folder)[Q].read()
    np.testing.assert_allclose(found, BASE[Q] + 0.25 * scale * B @ A, atol=1e-6)


def test_the_weaker_adapter_is_the_latest_and_names_the_one_that_was_trained(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    adapter = adapter_of(store, base_of(store, "F32").id)
    merged = merge(store, adapter.id, share=0.5)
    weaker = open_artifact(store, "adapter")
    assert merged.parent == weaker.id != adapter.id and weaker.manifest["share"] == {"of": adapter.id, "share": 0.5}
    assert weaker.manifest["run"] != adapter.manifest.get("run"), "`train` does not take it for the trained one"
    assert merge(store, adapter.id, share=0.5).id == merged.id
    assert merge(store, adapter.id).parent == adapter.id


def test_what_is_not_proportional_to_alpha_is_refused(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    base = base_of(store, "F32")
    whole = {**PAIR, "base_model.model.model.norm.weight": np.ones(4, np.float32)}
    magnitude = {"base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector": np.ones(8, np.float32)}
    for tensors in (whole, PAIR | magnitude):
        with pytest.raises(UserError, match="Only a share of adapter"):
            merge(store, adapter_of(store, base.id, tensors).id, share=0.5)
