"""What training on pairs starts from: an adapter of the project on the same base, or the base."""

from collections.abc import Mapping
from typing import Any, Final

from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, artifacts, open_artifact

BASE: Final = "base"
# Methods whose adapters belong to the 16-bit base.
ON_16_BIT: Final = frozenset({"lora", "preference"})


def start_of(project: Project, store: Folder, base: str | None, prompt: Mapping[str, Any]) -> Artifact | None:
    """Return the adapter that a run on pairs starts from; None for the base, and for any other method.

    Args:
        project: Its `[train] start` names the adapter, if it is not the latest of the method `lora`.
        store: The project's folder.
        base: Id of the base's artifact; None if `train` made none yet.
        prompt: What is served with the adapter: only an adapter with the same prompt is taken unless named.

    Raises:
        UserError: The adapter that is named is not there, or was not trained on this base in 16 bits.
    """
    named = project.train.start
    if project.train.method != "preference" or named == BASE:
        return None
    if named is None:
        fitting = [
            one for one in artifacts(store, "adapter")
            if one.parent == base and one.about.method == "lora" and one.about.prompt == prompt
        ]  # fmt: skip
        return next((one for one in reversed(fitting) if one.whole), None)
    adapter = open_artifact(store, "adapter", named)
    if adapter.parent != base or adapter.about.method not in ON_16_BIT:
        raise UserError(
            f"The adapter {adapter.id} was not trained on this base model in 16 bits.",
            hint='Name another adapter in [train] start, or "base".',
        )
    return adapter
