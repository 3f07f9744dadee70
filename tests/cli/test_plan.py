"""`tuneworthy plan`: settings, memory, lints and what is written, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.ladder.tuned_simulations import make_artifact
from tests.report.report_records import record
from tests.train.shapes import LLAMA_70B, SMOLLM2_135M
from tuneworthy.cli import invoke
from tuneworthy.config import Project, load
from tuneworthy.ladder.record import RungRecord, write_record
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.store import Folder
from tuneworthy.train import plan
from tuneworthy.train.plan import plan_project
from tuneworthy.train.shape import read_shape
from tuneworthy.verdict.base import TrainingAdvice

PROJECT = """
[task]
name = "t"
problem = "strict_format"
[examples]
path = "examples.jsonl"
[prompt]
user = "{{ input }}"
[[graders]]
type = "exact"
[models.small]
provider = "llama_cpp"
model = "model"
[ladder]
baseline = "small"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    turn = [{"role": "user", "content": "where is it?"}, {"role": "assistant", "content": "here"}]
    (tmp_path / "examples.jsonl").write_text("".join(
        json.dumps({"messages": [{**turn[0], "content": f"where is {i}?"}, turn[1]]}) + "\n" for i in range(300)
    ))  # fmt: skip
    (tmp_path / "cases.jsonl").write_text('{"input": "a", "expected": "b"}\n')
    (tmp_path / "tuneworthy.toml").write_text(PROJECT)
    for name, shape in (("model", SMOLLM2_135M), ("large", LLAMA_70B)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(shape))
    return tmp_path


@pytest.mark.moved
def test_a_plan_has_settings_memory_and_time(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["plan", "--project", str(project), "--gpu-memory", "24GiB", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["memory"]["fit"] == "fits"
    assert told["settings"]["rank"] == 16
    assert all(knob["source"] and knob["reason"] for knob in told["knobs"])
    assert {one["machine"] for one in told["epoch"]} >= {"RTX 4090"}
    assert {"RTX 4060, 8 GB", "Apple M4, 16 GB", "CPU only, 16 GB"} <= {one["machine"] for one in told["machines"]}


def test_the_plan_is_a_table_for_people(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["plan", "--project", str(project), "--gpu-memory", "24GiB"]) == 0
    out = capsys.readouterr().out
    assert "learning_rate" in out and "the article" not in out and "fits: " in out
    table = out.partition("Machines that people own\n")[2].partition("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 80 and any("RTX 4060, 8 GB" in line and "f16" in line for line in table)


def offer(project: Path, capsys: pytest.CaptureFixture[str], memory: str = "24GiB") -> str | None:
    invoke(["plan", "--project", str(project), "--gpu-memory", memory, "--json"])
    told: str | None = json.loads(capsys.readouterr().out)["offer"]
    return told


@pytest.mark.parametrize(
    ("method", "score", "spec", "memory", "offered"),
    [
        ("lora", 0.7, "model", "24GiB", True),
        ("qlora", 0.7, "model", "24GiB", True),
        ("full", 0.7, "model", "24GiB", False),
        ("lora", 0.8, "model", "24GiB", False),
        ("lora", 0.7, "other", "24GiB", False),
        ("lora", 0.7, "model", "2GiB", False),
        (None, 0.7, "model", "24GiB", False),
    ],
)
def test_full_fine_tuning_is_offered_where_an_adapter_was_measured_and_fell_short(  # noqa: PLR0917
    project: Path, capsys: pytest.CaptureFixture[str], method: str | None, score: float, spec: str, memory: str,
    offered: bool,
) -> None:  # fmt: skip
    path = project / "tuneworthy.toml"
    path.write_text(path.read_text().replace("problem = ", "target = 0.8\nproblem = "))
    if method is not None:
        base = make_artifact(project, "base", source={"spec": spec})
        adapter = make_artifact(project, "adapter", base.id, settings={"method": method})
        detail = TunedDetail(engine="llama_cpp", adapter=adapter.id, base=base.id)
        tuned = RungRecord(rung="fine_tune", status="no_gain", score=score, ci95=(0.6, 0.75), n=200, detail=detail)
        write_record(Folder(project), record(tuned, best=None))
    told = offer(project, capsys, memory)
    assert (told is not None) is offered
    if told:
        assert f"{method} scores 70.0% [60.0%, 75.0%] on test (n = 200), below the target of 80.0%" in told


@pytest.mark.parametrize(
    ("training", "stage", "words"),
    [
        (None, "to_decide", "so the plan follows `[train] method`. Run `tuneworthy run"),
        (TrainingAdvice(), "to_decide", "The last verdict does not advise training"),
        (TrainingAdvice(), "to_ship", ""),
        (TrainingAdvice(method="rl", why="Because.", source="https://a.example"), "to_decide",
         "Method: rl. Because. Run `tuneworthy plan --emit trl`,"),
    ],
)  # fmt: skip
def test_a_plan_names_the_method_of_the_last_verdict(  # noqa: PLR0917
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    training: TrainingAdvice | None, stage: Any, words: str,
) -> None:  # fmt: skip
    def stored(_: Project) -> Any:
        return training and SimpleNamespace(
            verdict=SimpleNamespace(training=training, stage=stage), holds=True, changed=[]
        )

    monkeypatch.setattr("tuneworthy.verdict.training_method.load_verdict", stored)
    assert invoke(["plan", "--project", str(project), "--gpu-memory", "24GiB"]) == 0
    out = " ".join(capsys.readouterr().out.split()).replace(f" --project {project}", "")
    assert words in out
    assert invoke(["plan", "--project", str(project), "--gpu-memory", "24GiB", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["advised_method"]["method"] == (training and training.method)


def test_70b_on_24_gib_is_refused_with_numbers_and_exit_status_3(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "tuneworthy.toml").write_text(PROJECT + '[train]\nbase = "large"\n')
    assert invoke(["plan", "--project", str(project), "--gpu-memory", "24GiB", "--emit", "trl"]) == 3
    told = capsys.readouterr()
    assert "does not fit" in told.out and "weights_nf4" in told.out
    assert "SFTTrainer(" not in told.out and "No file was written" in told.err


def test_nothing_is_emitted_for_a_base_whose_tokenizer_is_not_here(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    assert invoke(["plan", "--gpu-memory", "24GiB", "--emit", "trl"]) == 2
    assert f"the file {project}/model/tokenizer.json." in capsys.readouterr().err
    assert not (project / "train-trl").exists()


def test_what_is_emitted_names_a_base_that_other_trainers_can_load(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "one.gguf").write_bytes(b"GGUF")
    opened, shape = load(project), read_shape(project / "model")
    gguf = opened.model_copy(update={"train": opened.train.model_copy(update={"base": "one.gguf"})})
    monkeypatch.setattr(plan, "read_shape", lambda path: shape)
    assert plan_project(gguf).folder is None
    assert plan_project(opened).folder == project / "model"
    made = make_artifact(project, "base", source={"spec": "one.gguf", "sha256": "0" * 64})
    make_artifact(project, "base", source={"spec": "other.gguf", "sha256": "1" * 64})
    assert plan_project(gguf).folder == made.folder


def test_a_config_is_linted_without_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "adapter_config.json"
    path.write_text('{"peft_type": "LORA", "r": 16, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}')
    assert invoke(["plan", "--lint", str(path), "--json"]) == 3
    assert [one["code"] for one in json.loads(capsys.readouterr().out)["findings"]] == ["attention_only"]
    path.write_text('{"peft_type": "LORA", "r": 16, "lora_alpha": 16, "target_modules": "all-linear"}')
    assert invoke(["plan", "--lint", str(path)]) == 0
    assert "Findings: 0." in capsys.readouterr().out


@pytest.mark.parametrize("size", ["0", "a lot", "-3GiB", "24TiB"])
def test_a_size_that_is_none_is_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["plan", "--gpu-memory", size]) == 2
    assert "is not a valid size. Use a form such as 24GiB" in capsys.readouterr().err
