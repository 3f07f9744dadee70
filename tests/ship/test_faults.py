"""Merge and export that are killed, or whose disk is full, before any of their writes: no half is left for a model."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

for name in ("torch", "transformers", "peft", "gguf"):
    pytest.importorskip(name, reason=f"{name} is not installed")

import tiny_circle as tiny  # noqa: E402
from tests.killing import killed_at  # noqa: E402

from tuneworthy.providers import gguf_writer  # noqa: E402
from tuneworthy.ship import gguf, merge, merged_weights  # noqa: E402
from tuneworthy.store import Folder, frozen  # noqa: E402
from tuneworthy.store.artifacts import Artifact, artifacts, latest_artifact  # noqa: E402

# Everything that these commands write goes through one of these.
WRITES = [
    (shutil, "copyfile"), (merged_weights, "_merge_file"), (merged_weights, "write_atomic"),
    (gguf_writer, "_converted"), (frozen, "sync"), (frozen, "write_atomic"), (Path, "rename"), (Folder, "write"),
]  # fmt: skip


def merged(store: Folder) -> Artifact:
    return merge.merge(store)


def exported(store: Folder) -> Artifact:
    source = latest_artifact(store, "merged")
    assert source is not None
    return gguf.export_gguf(store, source, "q8_0")


def full_at(moment: int, make: Callable[[Folder], Artifact], store: Folder) -> bool:
    """Run `make` on a disk that is full from its `moment`-th write on; say whether it came that far."""
    n = 0

    def full(function: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **named: Any) -> Any:
            nonlocal n
            n += 1
            if n >= moment:
                raise OSError(errno.ENOSPC, "No space left on device")
            return function(*arguments, **named)

        return write

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in WRITES:
            patch.setattr(owner, name, full(getattr(owner, name)))
        with suppress(OSError):
            make(store)
            return False
    return True


@pytest.mark.parametrize(("kind", "make", "least"), [("merged", merged, 12), ("gguf", exported, 15)])
def test_a_fault_before_any_write_leaves_no_model_or_the_whole_one(
    tmp_path: Path, kind: Any, make: Callable[[Folder], Artifact], least: int
) -> None:
    (tmp_path / "p").mkdir()
    store = Folder(tmp_path / "p")
    tiny.random_adapter(store, tiny.make_base(store))
    if kind == "gguf":
        merged(store)
    shutil.copytree(tmp_path / "p", tmp_path / "whole")
    expected = make(Folder(tmp_path / "whole")).id
    moment, going = 0, True
    while going:
        moment += 1
        for killed in (True, False):
            going = killed_at(moment, WRITES, lambda: make(store)) if killed else full_at(moment, make, store)
            for model in artifacts(store, kind) if going else []:  # it was renamed, and only its pointer is missing
                assert model.id == expected and model.whole and latest_artifact(store, kind) is None
                shutil.rmtree(model.folder)
    assert moment > least
    made = latest_artifact(store, kind)
    assert made is not None and made.id == expected and made.whole
    assert not [path.name for path in (store.path / "models").iterdir() if path.name.startswith(".part")]
