"""`data export`: the split of a frozen version in every format, grouped, seeded, with a manifest."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.dataset.check_rows import ASKED, TOPICS, clean, row
from tests.dataset.test_build import pair, project
from tuneworthy.cases import read_examples
from tuneworthy.cases.normalize import normalise
from tuneworthy.cli import invoke
from tuneworthy.dataset.export import split_rows
from tuneworthy.dataset.freeze import open_version
from tuneworthy.dataset.writers import WRITERS
from tuneworthy.errors import UserError
from tuneworthy.store import Folder

NAMES = sorted(set(WRITERS) - {"preference"})  # which leaves out rows that are no pairs


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = project(tmp_path_factory.mktemp("frozen") / "p")
    assert invoke(["data", "build", "--project", str(root)]) == 0
    return root


def export(root: Path, name: str, out: Path, *arguments: str, status: int = 0) -> dict[str, object]:
    words = ["data", "export", "--format", name, "--out", str(out), "--project", str(root), *arguments]
    assert invoke(words) == status
    found: dict[str, object] = json.loads((out / "manifest.json").read_text())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gets_the_same_split_and_our_readers_read_it_again(
    frozen: Path, tmp_path: Path, name: str
) -> None:
    version = open_version(Folder(frozen))
    told = export(frozen, name, tmp_path)
    assert told["version"] == version.id and told["written_as"] == name
    train, validation = split_rows(list(version.examples()), seed=7)
    rows = [one.question for one in version.examples()]
    suffix = "parquet" if name == "parquet" else "jsonl"
    for split, numbers in (("train", train), ("validation", validation)):
        back = read_examples(tmp_path / f"{split}.{suffix}").examples
        assert [one.question for one in back] == [rows[n] for n in numbers]
    assert told["n_rows"] == {"train": len(train), "validation": len(validation)}
    for file, about in told["files"].items():  # type: ignore[attr-defined]
        assert hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() == about["sha256"]


def test_the_split_is_seeded_and_keeps_groups_and_equal_questions_together() -> None:
    rows = [replace(one, group=f"g{n // 3}") for n, one in enumerate(clean())]
    rows += [row(clean()[0].question.upper(), "Another answer.")]
    train, validation = split_rows(rows, seed=1)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(len(rows)))
    assert 4 <= len(validation) <= 7
    assert not {rows[n].group for n in train if n < 60} & {rows[n].group for n in validation if n < 60}
    assert not {normalise(rows[n].question) for n in train} & {normalise(rows[n].question) for n in validation}
    assert split_rows(rows, seed=1)[1].tolist() == validation.tolist()
    assert split_rows(rows, seed=2)[1].tolist() != validation.tolist()


def test_labels_are_represented_alike() -> None:
    rows = [
        row(asked.format(topic) + f" {n}", f"about_{topic}")
        for n in range(10)
        for topic in TOPICS[:3]
        for asked in ASKED
    ]
    _, validation = split_rows(rows, seed=3)
    assert Counter(rows[n].answer for n in validation) == {f"about_{topic}": 6 for topic in TOPICS[:3]}


def test_rows_of_one_group_are_not_split() -> None:
    train, validation = split_rows([replace(one, group="g") for one in clean()], seed=1)
    assert (len(train), len(validation)) == (60, 0)


def test_an_export_leaves_no_file_of_an_earlier_one_in_its_folder(frozen: Path, tmp_path: Path) -> None:
    export(frozen, "axolotl", tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    export(frozen, "trl", tmp_path)
    files = ["manifest.json", "notes.txt", "train.jsonl", "validation.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_an_export_killed_while_it_takes_its_place_is_made_good_by_the_next(
    frozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def stopped(path: Path, target: Path) -> Path:
        if Path(target).parent == tmp_path and path.name == "manifest.json":
            raise KeyboardInterrupt
        return real(path, target)

    export(frozen, "axolotl", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stopped)
        words = ["data", "export", "--format", "trl", "--out", str(tmp_path), "--project", str(frozen)]
        assert invoke(words) == 130
    assert (tmp_path / "validation.jsonl").exists() and not (tmp_path / "manifest.json").exists()
    export(frozen, "openai", tmp_path)
    files = ["manifest.json", "train.jsonl", "validation.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_only_files_that_a_manifest_of_ours_names_are_removed(frozen: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("")
    (tmp_path / "manifest.json").write_text('{"files": {"mine.jsonl": {}}}')
    export(frozen, "trl", tmp_path)
    assert (tmp_path / "mine.jsonl").exists()


def test_a_version_that_is_unsafe_or_not_reviewed_leaves_with_a_note(
    frozen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = export(frozen, "trl", tmp_path / "a")
    assert told["unsafe"] is False and told["review"] == "no_plan"
    assert "Nobody has reviewed these rows yet" in capsys.readouterr().err
    rows = [pair(f"Write to ada{i}@example.org about part {i * 7}?") for i in range(30)]
    root = project(tmp_path / "p", 'policy = { personal_data = "report" }\n', rows)
    assert invoke(["data", "build", "--unsafe", "--project", str(root)]) == 0
    told = export(root, "trl", tmp_path / "b")
    assert told["unsafe"] is True
    assert "was frozen with failed gates: personal_data" in capsys.readouterr().err


def test_what_a_format_cannot_hold_is_counted_and_a_format_that_is_none_is_refused(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "t", "arguments": "{}"}}
    calling = {"messages": [{"role": "user", "content": "Find me the thing?"},
                            {"role": "assistant", "content": None, "tool_calls": [call]}]}  # fmt: skip
    root = project(tmp_path / "p", rows=[*[pair(one.question, one.answer) for one in clean()], calling])
    assert invoke(["data", "build", "--project", str(root)]) == 0
    told = export(root, "alpaca", tmp_path / "a")
    assert told["left_out"] == {"tools or tool calls": 1} and len(told["left_out_ids"]) == 1  # type: ignore[arg-type]
    assert invoke(["data", "export", "--format", "xml", "--project", str(root)]) == 2


def test_a_version_that_does_not_exist_is_refused_with_what_to_do(frozen: Path) -> None:
    with pytest.raises(UserError, match=r"'none' does not match exactly one version.* Use the latest version"):
        open_version(Folder(frozen), "none")
