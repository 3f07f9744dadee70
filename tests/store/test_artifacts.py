"""Model folders: whole or not there, named by content, checked when they are opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import artifacts, latest_artifact, open_artifact, write_artifact


def fill(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "tokenizer").mkdir()
        (folder / "tokenizer" / "vocab.txt").write_text("a b")
        (folder / "model.safetensors").write_text(text)

    return write


def test_the_same_content_is_the_same_artifact_and_the_last_made_is_the_latest(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    first = write_artifact(store, "adapter", fill("one"), parent="base", about={"rank": 8})
    other = write_artifact(store, "adapter", fill("two"), parent="base", about={"rank": 8})
    again = write_artifact(store, "adapter", fill("one"), parent="base", about={"rank": 8})
    assert first.id == again.id != other.id
    assert {one.id for one in artifacts(store, "adapter")} == {first.id, other.id}
    assert artifacts(store, "merged") == []
    latest = latest_artifact(store, "adapter")
    assert latest is not None and latest.id == first.id
    assert open_artifact(store, "adapter", other.id[:6]).parent == "base"
    with pytest.raises(UserError, match=r"'zz' does not match exactly one adapter\. If you passed an ID, check it"):
        open_artifact(store, "adapter", "zz")


def test_a_fill_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "model.safetensors").write_text("half")
        raise OSError("the disk is full")

    store = Folder(tmp_path)
    with pytest.raises(OSError, match="full"):
        write_artifact(store, "merged", fail, parent=None, about={})
    assert list((store.path / "models").iterdir()) == []
    assert latest_artifact(store, "merged") is None


def test_a_folder_without_a_manifest_is_no_artifact(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    made = write_artifact(store, "gguf", fill("one"), parent=None, about={})
    (made.folder / "manifest.json").unlink()
    assert artifacts(store, "gguf") == []
    with pytest.raises(UserError, match="Run `tuneworthy export gguf`"):
        open_artifact(store, "gguf")


@pytest.mark.parametrize("manifest", ["[]", "{}", "{"])
def test_a_folder_whose_manifest_is_damaged_is_named(tmp_path: Path, manifest: str) -> None:
    store = Folder(tmp_path)
    (write_artifact(store, "gguf", fill("one"), parent=None, about={}).folder / "manifest.json").write_text(manifest)
    for read in (artifacts, latest_artifact):
        with pytest.raises(UserError, match=r"manifest\.json.*tuneworthy doctor"):
            read(store, "gguf")


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer/added_tokens.json"])
def test_a_file_that_was_put_there_since_is_refused(tmp_path: Path, name: str) -> None:
    store = Folder(tmp_path)
    made = write_artifact(store, "merged", fill("one"), parent=None, about={})
    (made.folder / ".DS_Store").write_text("of a file manager")
    assert open_artifact(store, "merged").whole
    (made.folder / name).write_text("{{ 'another template' }}")
    with pytest.raises(UserError, match=name):
        open_artifact(store, "merged")
    again = write_artifact(store, "merged", fill("one"), parent=None, about={})
    assert again.id == made.id and again.whole


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer/vocab.txt"])
def test_a_changed_file_is_refused(tmp_path: Path, name: str) -> None:
    store = Folder(tmp_path)
    made = write_artifact(store, "merged", fill("one"), parent=None, about={})
    (made.folder / name).write_text("changed")
    with pytest.raises(UserError, match="has been added, modified or deleted since"):
        open_artifact(store, "merged")


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    made = write_artifact(store, "adapter", fill("one"), parent="base", about={"gated": False})
    path = made.folder / "manifest.json"
    path.write_text(path.read_text().replace("false", "true"))
    with pytest.raises(UserError, match=r"manifest\.json has been added, modified or deleted since"):
        open_artifact(store, "adapter")
