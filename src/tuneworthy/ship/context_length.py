"""How many tokens a tuned model keeps room for: one number for every engine, from what its run recorded."""

from __future__ import annotations

from typing import Any, Final

from tuneworthy.providers.model_safety import read_config
from tuneworthy.store.artifacts import Artifact, find_artifact
from tuneworthy.store.folder import Folder

LEAST: Final = 4096
"""Tokens that a chat has room for at least, if the model can read as many."""
ROUND: Final = 1024
"""Longer ones are rounded up to a multiple of it."""


def context_of(store: Folder, made: Artifact, least: int = LEAST) -> int:
    """Return how many tokens there is room for: the longest row that the run took and an answer, `least` at least.

    What the model could read would be too much: room for 131,072 tokens of Llama 3.1 8B takes 16 GiB.

    Args:
        store: The project's folder. made: An adapter, or what was made from one.
    """
    chain = [made]
    while len(chain) < 4 and (parent := chain[-1].parent) and (found := find_artifact(store, parent)) is not None:
        chain.append(found)  # gguf, merged, adapter, base
    about: Any = next((one.manifest for one in chain if one.kind == "adapter"), {})
    asked = int((about.get("prompt") or {}).get("max_tokens", 0))
    needed = max(least, -(-(longest_row(about) + asked) // ROUND) * ROUND)
    config = next((path for one in chain if (path := one.folder / "config.json").is_file()), None)
    return min(needed, int(read_config(config).get("max_position_embeddings") or needed)) if config else needed


def longest_row(about: Any) -> int:
    """Return the tokens of the longest row that a run took, by its adapter's manifest; 0 if it does not say."""
    return int((about.get("settings") or {}).get("max_length") or (about.get("rows") or {}).get("longest") or 0)
