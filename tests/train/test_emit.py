"""What is written for other trainers: their own parsers take it, our lints find nothing in it."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuneworthy.errors import UserError
from tuneworthy.train.emit import FORMATS, FSDP2, emit
from tuneworthy.train.lints import LINTS
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.train.settings_table import SettingsTable

SETTINGS = TrainingSettings(rank=16, alpha=32, micro_batch_size=2, batch_size=16, max_length=1024, seed=3)
EVIL_BASE, EVIL_ROWS = 'a\'; import os #\n"""', "x\ny'\".jsonl"


def keywords(text: str) -> dict[str, Any]:
    """The literal keyword arguments of all calls of a script."""
    words = [word for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) for word in node.keywords]
    return {word.arg: word.value.value for word in words if word.arg and isinstance(word.value, ast.Constant)}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_our_own_lints_find_nothing_in_it(form: str, method: Any) -> None:
    text = emit(form, replace(SETTINGS, method=method), "org/model").main
    table = yaml.safe_load(text) if form == "axolotl" else keywords(text)
    assert LINTS.run(SettingsTable.of(table)) == [] or form == "unsloth"
    assert LINTS.run(SettingsTable.of_run(replace(SETTINGS, method=method), "org/model")) == []


@pytest.mark.parametrize("form", FORMATS)
def test_odd_names_stay_literals(form: str) -> None:
    text = emit(form, SETTINGS, EVIL_BASE, EVIL_ROWS).main
    if form == "axolotl":
        document = yaml.safe_load(text)
        assert (document["base_model"], document["datasets"][0]["path"]) == (EVIL_BASE, EVIL_ROWS)
        return
    tree = ast.parse(text)
    assert not any(isinstance(one, ast.Import) and one.names[0].name == "os" for one in ast.walk(tree))
    assert {EVIL_BASE, EVIL_ROWS} <= {one.value for one in ast.walk(tree) if isinstance(one, ast.Constant)}


@pytest.mark.parametrize("rate", [1e-05, 2e-4, 1.0])
def test_numbers_of_a_yaml_file_are_numbers(rate: float) -> None:
    assert yaml.safe_load(emit("axolotl", replace(SETTINGS, learning_rate=rate), "m").main)["learning_rate"] == rate


@pytest.mark.slow
def test_the_script_for_trl_builds_its_config_with_trl_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl")
    pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    cpu = replace(SETTINGS, dtype="float32")
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(emit("trl", cpu, "org/model").main, "train_trl.py", "exec"), names)
    made, adapter = names["CONFIG"], names["ADAPTER"]
    assert (made.max_length, made.learning_rate) == (1024, 2e-4)
    assert made.per_device_train_batch_size * made.gradient_accumulation_steps == 16
    assert (adapter.r, adapter.lora_alpha, adapter.target_modules) == (16, 32, "all-linear")


def test_the_config_for_axolotl_has_only_keys_of_its_schema() -> None:
    known = set((Path(__file__).parent / "axolotl_keys.txt").read_text().split())
    for method in ("lora", "qlora", "full"):
        document = yaml.safe_load(emit("axolotl", replace(SETTINGS, method=method), "org/model").main)
        assert set(document) <= known
        assert {f"datasets.{key}" for key in document["datasets"][0]} <= known
    assert "lora_rr" not in known


def test_the_script_for_unsloth_has_only_arguments_of_its_functions() -> None:
    known = {
        "from_pretrained": {"model_name", "max_seq_length", "dtype", "load_in_4bit", "load_in_8bit", "load_in_16bit",
                            "full_finetuning", "random_state"},
        "get_peft_model": {"r", "target_modules", "lora_alpha", "lora_dropout", "bias", "use_gradient_checkpointing",
                           "random_state", "init_lora_weights"},
    }  # fmt: skip
    tree = ast.parse(emit("unsloth", SETTINGS, "org/model").main)
    calls = {getattr(one.func, "attr", ""): one for one in ast.walk(tree) if isinstance(one, ast.Call)}
    for name, arguments in known.items():
        assert {word.arg for word in calls[name].keywords} <= arguments
    assert next(one.module for one in tree.body if isinstance(one, ast.ImportFrom)) == "unsloth"


def test_unsloth_refuses_all_weights_and_an_unknown_format_is_refused() -> None:
    with pytest.raises(UserError, match="trains adapters"):
        emit("unsloth", replace(SETTINGS, method="full"), "org/model")
    with pytest.raises(UserError, match="Unknown format: 'slurm'"):
        emit("slurm", SETTINGS, "org/model")


@pytest.mark.parametrize("method", ["lora", "full"])
def test_accelerate_loads_the_launch_file_of_fsdp2_and_parses_its_command(tmp_path: Path, method: Any) -> None:
    launch = pytest.importorskip("accelerate.commands.launch")
    from accelerate.commands.config.config_args import load_config_from_file

    made = emit("trl", replace(SETTINGS, method=method, batch_size=12), "org/model")
    (tmp_path / FSDP2).write_text(made.files[FSDP2])
    config = load_config_from_file(str(tmp_path / FSDP2))
    assert config.distributed_type == "FSDP" and config.num_processes == 2 and config.mixed_precision == "bf16"
    note = next(note for note in made.notes if "accelerate launch" in note)
    command = note.split("`")[1].replace(FSDP2, str(tmp_path / FSDP2)).replace(" N ", " 4 ").split()
    assert command[:2] == ["accelerate", "launch"] and note.endswith("one of 2, 3, 4, 6, 12.")
    parsed, *_ = launch._validate_launch_command(launch.launch_command_parser().parse_args(command[2:]))
    assert (parsed.use_fsdp, parsed.fsdp_version, parsed.num_processes) == (True, 2, 4)
    assert parsed.training_script == "train_trl.py" and parsed.fsdp_state_dict_type == "FULL_STATE_DICT"
    (tmp_path / FSDP2).write_text(made.files[FSDP2] + "sharded: true\n")
    with pytest.raises(ValueError, match="unknown keys"):
        load_config_from_file(str(tmp_path / FSDP2))
    assert FSDP2 not in emit("trl", replace(SETTINGS, method="qlora"), "org/model").files


def test_the_script_for_trl_divides_a_step_among_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    trl = pytest.importorskip("trl")
    pytest.importorskip("peft")
    text = emit("trl", replace(SETTINGS, dtype="float32", batch_size=12, micro_batch_size=4), "org/model").main
    for n, expected in {1: (4, 3), 2: (2, 3), 3: (4, 1), 6: (2, 1)}.items():
        monkeypatch.setattr(trl.SFTConfig, "world_size", n)
        names: dict[str, Any] = {"__name__": "script"}
        exec(compile(text, "train_trl.py", "exec"), names)
        config = names["CONFIG"]
        assert (config.per_device_train_batch_size, config.gradient_accumulation_steps) == expected
