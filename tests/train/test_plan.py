"""`plan` measures the rows that `train` trains on, and what it writes for other trainers trains on the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

for name in ("torch", "transformers"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from tests.train.test_rows import TOML, frozen, project, turns  # noqa: E402
from tests.train.tiny import write_tiny  # noqa: E402
from tuneworthy.cases import read_cases  # noqa: E402
from tuneworthy.cli import invoke  # noqa: E402
from tuneworthy.config import load  # noqa: E402
from tuneworthy.errors import ModelError, UserError  # noqa: E402
from tuneworthy.store import Folder  # noqa: E402
from tuneworthy.train.emit import FORMATS, emit, emit_planned, row_lines  # noqa: E402
from tuneworthy.train.plan import plan_project  # noqa: E402
from tuneworthy.train.render import TokenRow  # noqa: E402
from tuneworthy.train.run import prepare  # noqa: E402
from tuneworthy.train.settings import TrainingSettings  # noqa: E402


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    """A project with a version of 210 rows, whose base is a tiny random model."""
    made = project(tmp_path)
    write_tiny(tmp_path / "tiny", dtype="bfloat16")
    configure(tmp_path)
    frozen(made, 210)
    return made


def configure(root: Path, settings: str = "", toml: str = TOML) -> None:
    (root / "tuneworthy.toml").write_text(f'{toml}[train]\nbase = "tiny"\nbatch_size = 8\n{settings}')


@pytest.mark.parametrize("settings", ["", "max_length = 100\n"])
def test_a_plan_is_of_the_rows_that_train_renders(store: Folder, settings: str) -> None:
    configure(store.root, settings)
    planned = plan_project(load(store.root))
    prepared = prepare(load(store.root), store, unsafe=False, say=lambda _: None)
    assert planned.rendered is not None and planned.rows.counted
    assert planned.rendered.rows == prepared.rendered.rows
    assert planned.rows.longest == prepared.rendered.longest
    assert planned.left_out == prepared.rendered.reasons
    assert planned.advice.settings.max_length == prepared.settings.max_length
    assert bool(planned.left_out) == bool(settings)
    ids = [row.ids for row in planned.rendered.rows]
    shared = next(at for at, column in enumerate(zip(*ids, strict=False)) if len(set(column)) > 1)
    assert planned.rows.shared == shared > 30


def test_a_longer_prompt_makes_the_rows_of_a_plan_longer(store: Folder) -> None:
    def longest() -> int:
        return plan_project(load(store.root)).rows.longest

    prompt = 'system = "Name the colour of {{ input }}."'
    counted = longest()
    configure(store.root, toml=TOML.replace(prompt, prompt[:-1] + 60 * "x" + '"'))
    assert longest() == counted + 60
    (store.root / "tiny" / "tokenizer.json").unlink()
    estimated = longest()
    configure(store.root)
    assert longest() == estimated - 20


def test_a_base_that_would_run_code_is_refused_before_its_tokenizer_is_loaded(store: Folder) -> None:
    path = store.root / "tiny" / "tokenizer_config.json"
    path.write_text(path.read_text().replace("{", '{"auto_map": {"AutoTokenizer": "x.py"},', 1))
    with pytest.raises(ModelError, match="auto_map"):
        plan_project(load(store.root))


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("form", FORMATS)
def test_the_rows_beside_a_script_are_those_that_train_trains_on(
    store: Folder, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(store.root, "max_length = 100\n")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / f"train-{form}"
    assert invoke(["plan", "--project", str(store.root), "--emit", form]) == 0
    told = capsys.readouterr()
    prepared = prepare(load(store.root), store, unsafe=False, say=lambda _: None)
    assert set(prepared.rendered.reasons) == {"too_long"}
    rows = lines(out / "rows.jsonl")
    assert [row["input_ids"] for row in rows] == [row.ids for row in prepared.rendered.rows]
    masks = [[int(label != -100) for label in row["labels"]] for row in rows]
    assert masks == [row.mask for row in prepared.rendered.rows]
    assert all(len(row["attention_mask"]) == len(row["input_ids"]) for row in rows)
    assert "rows.jsonl" in told.out and f"The {len(rows)} rows are the same as" in told.err
    assert "rows.jsonl" in "".join(path.read_text() for path in out.iterdir() if path.suffix in {".py", ".yaml"})


def test_every_answer_of_a_chat_is_supervised_and_the_end_of_each() -> None:
    row = TokenRow("0", [5, 6, 7, 8, 9], [0, 1, 1, 0, 1])
    assert orjson.loads(next(row_lines([row])))["labels"] == [-100, 6, 7, -100, 9]


def test_before_a_version_is_frozen_neither_dev_nor_overlaps_are_written(tmp_path: Path) -> None:
    project(tmp_path)
    write_tiny(tmp_path / "tiny", dtype="bfloat16")
    configure(tmp_path)
    overlapping = read_cases(tmp_path / "cases.jsonl").cases[0].text
    with (tmp_path / "examples.jsonl").open("ab") as file:
        file.write(orjson.dumps({"messages": [{"role": "user", "content": overlapping}, turns(0)[1]]}) + b"\n")
    planned = plan_project(load(tmp_path))
    assert overlapping not in {row.question for row in planned.material.train}
    assert 0 < planned.rows.n_rows < 200
    assert any("No dataset is frozen yet" in one for one in emit_planned(planned, "trl").notes)


def test_a_version_with_failed_gates_is_said_so(store: Folder) -> None:
    version = frozen(store, 200, unsafe=True)
    made = emit_planned(plan_project(load(store.root)), "axolotl")
    assert f"Version {version} of the dataset was frozen with failed gates." in made.notes


def test_a_gguf_file_is_not_written_for_trainers_that_cannot_load_it(store: Folder) -> None:
    planned = plan_project(load(store.root))
    with pytest.raises(UserError, match=r"tiny is a GGUF file.* Run `tuneworthy train` once"):
        emit_planned(replace(planned, folder=None), "trl")


def test_trl_trains_on_the_ids_and_labels_that_stand_in_the_file(
    store: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers = pytest.importorskip("trl")
    pytest.importorskip("peft")
    rendered = plan_project(load(store.root)).rendered
    assert rendered is not None
    (tmp_path / "rows.jsonl").write_bytes(b"".join(row_lines(rendered.rows[:6])))
    batches: list[Any] = []

    def train(self: Any) -> None:
        batches.extend(self.get_train_dataloader())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainers.SFTTrainer, "train", train)
    settings = TrainingSettings(
        micro_batch_size=3, batch_size=6, max_length=max(len(row.ids) for row in rendered.rows), dtype="float32"
    )
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(emit("trl", settings, str(store.root / "tiny")).main, "train_trl.py", "exec"), names)
    names["main"]()
    seen = {
        (tuple(ids[mask == 1].tolist()), tuple(labels[mask == 1].tolist()))
        for batch in batches
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True)
    }
    expected = map(orjson.loads, row_lines(rendered.rows[:6]))
    assert seen == {(tuple(row["input_ids"]), tuple(row["labels"])) for row in expected}


def test_a_plan_has_the_memory_of_each_device_by_number_of_processes(
    store: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["plan", "--project", str(store.root), "--gpu-memory", "8GiB", "--json"]) == 0
    told = orjson.loads(capsys.readouterr().out)
    own = told["processes"]
    assert [one["processes"] for one in own] == [1, 2, 4, 8]
    assert [one["rows"] for one in own] == [8, 4, 2, 1], "a batch of 8 rows is divided"
    assert own[0]["gib"] == told["memory"]["gib"] and {one["available_gib"] for one in own} == {8.0}
    exchange = {part["part"]: part for part in own[1]["parts"]}["exchange"]
    gradients = {part["part"]: part for part in own[1]["parts"]}["gradients"]
    assert exchange["gib"] == gradients["gib"] and "exchange" not in {part["part"] for part in own[0]["parts"]}
    assert invoke(["plan", "--project", str(store.root)]) == 0
    assert "Memory of each device by number of processes" in capsys.readouterr().out
    on_cpu = [one.available for one in plan_project(load(store.root)).advice.processes]
    assert on_cpu[1] < on_cpu[0] / 2, "processes without a GPU share the memory"
