"""Folders that are named by their content: whole or not there, and made again where they were changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from tuneworthy.store.frozen import changed, freeze_folder, scratch

RECORD = "about.json"


def frozen(parent: Path, text: str = "one", *, read_only: bool = False, **times: Any) -> Path:
    def fill(folder: Path) -> dict[str, dict[str, Any]]:
        (folder / "inner").mkdir()
        (folder / "inner" / "file.txt").write_text(text)
        return {"inner/file.txt": {"n": len(text)}}

    return freeze_folder(parent, RECORD, fill, {"kind": "test"}, times=times, read_only=read_only)


def test_the_name_is_a_hash_of_all_but_the_times(tmp_path: Path) -> None:
    first = frozen(tmp_path, created=1)
    assert frozen(tmp_path, created=2) == first != frozen(tmp_path, "two")
    record = orjson.loads((first / RECORD).read_bytes())
    assert record["times"] == {"created": 1} and record["kind"] == "test"
    assert record["files"]["inner/file.txt"] == {
        "n": 3, "n_bytes": 3, "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["inner/file.txt", RECORD])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_what_was_changed_is_found_and_made_again(tmp_path: Path, name: str, how: str) -> None:
    folder = frozen(tmp_path)
    assert changed(folder, RECORD) is None
    if how == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes((folder / name).read_bytes().replace(b"one", b"eno").replace(b"test", b"tset"))
    assert changed(folder, RECORD) == folder / name
    assert frozen(tmp_path) == folder
    assert changed(folder, RECORD) is None


def test_a_folder_that_is_there_and_whole_is_left_alone(tmp_path: Path) -> None:
    before = frozen(tmp_path).stat().st_ino
    assert frozen(tmp_path).stat().st_ino == before


def test_a_record_that_is_no_record_is_a_change(tmp_path: Path) -> None:
    folder = frozen(tmp_path)
    for content in (b"", b"[]", b"{}", b"{"):
        (folder / RECORD).write_bytes(content)
        assert changed(folder, RECORD) == folder / RECORD


def test_what_a_killed_process_left_goes_when_the_next_one_writes(tmp_path: Path) -> None:
    (tmp_path / ".part").mkdir()
    (tmp_path / ".part" / "half.safetensors").write_text("half")
    folder = frozen(tmp_path)
    assert list(tmp_path.iterdir()) == [folder]
    assert sorted(path.name for path in folder.iterdir()) == [RECORD, "inner"]


def test_scratch_is_empty_and_gone_afterwards_whatever_happens(tmp_path: Path) -> None:
    def fail() -> None:
        with scratch(tmp_path, ".work") as folder:
            assert list(folder.iterdir()) == []
            (folder / "file").write_text("x")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_files_can_be_made_read_only(tmp_path: Path) -> None:
    assert (frozen(tmp_path, read_only=True) / RECORD).stat().st_mode & 0o222 == 0
    assert (frozen(tmp_path, "two") / RECORD).stat().st_mode & 0o200
