"""What is written for other trainers: their own parsers take it, our lints find nothing in it."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuneworthy.errors import UserError
from tuneworthy.train.emit import accelerate, axolotl, trl, unsloth
from tuneworthy.train.emit.base import FORMATS, EmitPlan, emit
from tuneworthy.train.lints import lint_config
from tuneworthy.train.lints.trainer_config import parse
from tuneworthy.train.reward import asked_rows, grader_reward
from tuneworthy.train.settings import TrainingSettings

SETTINGS = TrainingSettings(rank=16, alpha=32, micro_batch_size=2, batch_size=16, max_length=1024, seed=3)
PLAN = EmitPlan(SETTINGS, "org/model", "rows.jsonl")
EVIL = EmitPlan(SETTINGS, 'a\'; import os #\n"""', "x\ny'\".jsonl")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_our_own_lints_find_nothing_in_it(form: str, method: Any) -> None:
    made = emit(form, replace(PLAN, settings=replace(SETTINGS, method=method)))
    for name, text in made.files.items():
        if name.endswith(".py") or name == "axolotl.yaml":
            assert lint_config(parse(text, name)) == []


@pytest.mark.parametrize("form", FORMATS)
def test_odd_names_stay_literals(form: str) -> None:
    made = emit(form, EVIL)
    for name, text in made.files.items():
        if name.endswith(".py"):
            tree = ast.parse(text)
            assert not any(isinstance(one, ast.Import) and one.names[0].name == "os" for one in ast.walk(tree))
            assert EVIL.rows in {one.value for one in ast.walk(tree) if isinstance(one, ast.Constant)}
        if name == "axolotl.yaml":
            assert yaml.safe_load(text)["base_model"] == EVIL.base


@pytest.mark.slow
def test_the_script_for_trl_builds_its_config_with_trl_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl")
    pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    cpu = replace(PLAN, settings=replace(SETTINGS, dtype="float32"))
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(trl.emit(cpu).main, "train_trl.py", "exec"), names)
    made, adapter = names["CONFIG"], names["ADAPTER"]
    assert (made.max_length, made.learning_rate) == (1024, 2e-4)
    assert made.per_device_train_batch_size * made.gradient_accumulation_steps == 16
    assert (adapter.r, adapter.lora_alpha, adapter.target_modules) == (16, 32, "all-linear")


@pytest.mark.slow
def test_grpo_makes_ten_steps_that_the_projects_grader_rewards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trl")
    pytest.importorskip("peft")
    from tests.train.test_train_project import tiny_project
    from tuneworthy.cli import invoke

    tiny_project(tmp_path, n=40)
    path, out = tmp_path / "tuneworthy.toml", tmp_path / "run"
    path.write_text(path.read_text().replace("batch_size = 8", "batch_size = 2"))
    assert invoke(["plan", "--project", str(tmp_path), "--emit", "grpo", "--out", str(out)]) == 0
    assert "40 prompts" in capsys.readouterr().err
    monkeypatch.chdir(out)
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile((out / "train_grpo.py").read_text(), "train_grpo.py", "exec"), names)
    seen: list[float | None] = []

    def counted(root: str) -> Any:
        reward = grader_reward(root)

        def first_grader(**columns: Any) -> list[float | None]:
            scores = reward(**columns)
            seen.extend(scores)
            return scores

        return first_grader

    names["grader_reward"] = counted
    names["CONFIG"].max_steps = 10
    names["main"]()
    assert len(seen) == 10 * 2 * 8 and {*seen} <= {0.0, 1.0}, "ten steps of two prompts with eight answers each"
    assert (out / "adapter" / "adapter_model.safetensors").is_file()


def test_the_reward_is_the_score_of_the_projects_first_grader(tmp_path: Path) -> None:
    from tests.train.test_rows import frozen, gathered, project

    frozen(project(tmp_path), n=40)
    rows = dict(asked_rows(gathered(tmp_path, unsafe=False)))
    name, case = next(iter(rows.items()))
    answers = [[{"role": "assistant", "content": text}] for text in (str(case.expected), "none of them")]
    assert grader_reward(tmp_path)(completions=answers, row=[name, name], prompts=[], trainer_state=None) == [1.0, 0.0]
    assert len(rows) == 40


def test_the_config_for_axolotl_has_only_keys_of_its_schema() -> None:
    known = set((Path(__file__).parent / "axolotl_keys.txt").read_text().split())
    for method in ("lora", "qlora", "full"):
        document = axolotl.config(replace(PLAN, settings=replace(SETTINGS, method=method)))
        assert set(document) <= known
        assert {f"datasets.{key}" for key in document["datasets"][0]} <= known
    assert "lora_rr" not in known


def test_the_script_for_unsloth_has_only_arguments_of_its_functions() -> None:
    told = {
        unsloth.loading: {"model_name", "max_seq_length", "dtype", "load_in_4bit", "load_in_8bit", "load_in_16bit",
                          "full_finetuning", "random_state"},
        unsloth.adapter: {"r", "target_modules", "lora_alpha", "lora_dropout", "bias", "use_gradient_checkpointing",
                          "random_state", "use_rslora", "init_lora_weights"},
    }  # fmt: skip
    for write, known in told.items():
        assert set(write(PLAN)) <= known
    tree = ast.parse(unsloth.emit(PLAN).main)
    imports = [one.module for one in tree.body if isinstance(one, ast.ImportFrom)]
    assert imports[0] == "unsloth"


def test_unsloth_and_accelerate_refuse_what_they_cannot_do() -> None:
    with pytest.raises(UserError, match="trains adapters"):
        emit("unsloth", replace(PLAN, settings=replace(SETTINGS, method="full")))
    with pytest.raises(
        UserError, match=r"3 GPUs cannot split a batch of 16 rows.*\[train\] batch_size to a multiple of 3"
    ):
        emit("accelerate", replace(PLAN, n_devices=3))
    with pytest.raises(UserError, match="Unknown format: 'slurm'"):
        emit("slurm", PLAN)


def test_several_cards_share_a_step() -> None:
    made = accelerate.emit(replace(PLAN, n_devices=4))
    assert "gradient_accumulation_steps=2" in made.main
    assert yaml.safe_load(made.files["accelerate.yaml"])["num_processes"] == 4
    assert made.command[:2] == ("accelerate", "launch")


@pytest.mark.parametrize(
    ("batch", "at_once", "expected"), [(16, 16, (8, 1)), (8, 8, (4, 1)), (12, 4, (3, 2)), (2, 1, (1, 1))]
)
def test_what_fits_at_once_is_shared_out_as_well(batch: int, at_once: int, expected: tuple[int, int]) -> None:
    made = accelerate.emit(replace(PLAN, settings=replace(SETTINGS, batch_size=batch, micro_batch_size=at_once)))
    n, times = expected
    assert f"per_device_train_batch_size={n},\n" in made.main
    assert f"gradient_accumulation_steps={times},\n" in made.main
