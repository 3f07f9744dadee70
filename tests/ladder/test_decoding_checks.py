"""`check` and the rung run the decoding lints on the settings of the project file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.ladder.simulations import LABELS, write_simulation
from tuneworthy.config import load
from tuneworthy.ladder.checks import CHECKS
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.rung import Rung, view_of
from tuneworthy.ladder.rungs.decoding import DecodingRung
from tuneworthy.ladder.rungs.few_shot import FewShotRung
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.providers.capabilities import capabilities_of
from tuneworthy.providers.scripted import ScriptedProvider
from tuneworthy.types import OutputFormat, Retrieval, Variant

CHECK = CHECKS.get("decoding_settings")


def told(root: Path, decoding: str) -> list[tuple[str, str]]:
    """Level and message of what the check finds with a section `[decoding]`."""
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text() + f"\n[decoding]\n{decoding}\n")
    return [(one.severity, one.message) for one in CHECK.run(Facts(load(root), contact=False))]


def test_each_setting_is_told_with_its_number_and_the_lint(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": "answer(request, 0.4)"}, rungs=["baseline", "decoding"])
    grid = "grid = [{temperature = 0.0}, {temperature = 0.0, repetition_penalty = 1.3}]"
    found = told(root, grid)
    assert {message.partition(":")[0] for _, message in found} == {"decoding.grid[1]"}
    assert any("(repetition_penalty_high)" in message for _, message in found)
    assert any("(penalty_when_greedy)" in message for _, message in found)


def test_the_parameters_of_todays_prompt_are_told(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": "answer(request, 0.4)"}, rungs=["baseline", "decoding"])
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace("[prompt]", "[prompt]\nparameters = {repetition_penalty = 1.3}"))
    found = [one.message for one in CHECK.run(Facts(load(root), contact=False))]
    assert found and all(one.startswith("prompt.parameters: ") for one in found)


def test_good_settings_are_silent(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": "answer(request, 0.4)"}, rungs=["baseline", "decoding"])
    assert told(root, "grid = [{temperature = 0.0}, {temperature = 0.7, min_p = 0.1}]") == []


MODELS = {"weak": "answer(request, 0.4)"}
LADDER = ["baseline", "few_shot", "decoding"]


@pytest.fixture
def penalised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripted models take what llama.cpp takes, a repetition penalty too."""
    monkeypatch.setattr(ScriptedProvider, "capabilities", capabilities_of("llama_cpp", "x"))


def codes(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Where each finding is, and the lint."""
    return [(words.partition(":")[0], words.rpartition("(")[2].rstrip(")")) for _, words in found]


def json_simulation(root: Path, rungs: list[str], prompt: str = "Name colour and number.") -> Path:
    """A project whose answers are JSON objects."""
    write_simulation(root, MODELS, rungs=rungs)
    values = [{"colour": LABELS[i % 3], "n": i} for i in range(620)]
    cases = [{"input": f"item {i}", "expected": values[i]} for i in range(200)]
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"item {i}"},
                {"role": "assistant", "content": json.dumps(values[i])},
            ]
        }
        for i in range(200, 620)
    ]
    for name, each in (("cases.jsonl", cases), ("examples.jsonl", rows)):
        (root / name).write_text("".join(f"{json.dumps(one)}\n" for one in each))
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace("Name the colour.", prompt))
    return root


def test_a_seed_that_acts_makes_all_repeats_one_draw(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, MODELS, rungs=["baseline", "decoding"])
    found = told(root, "grid = [{temperature = 0.7, seed = 1}, {temperature = 0.0, seed = 1}, {temperature = 0.7}]")
    assert codes(found) == [("decoding.grid[0]", "one_draw")]


@pytest.mark.parametrize(("preset", "n"), [("brainstorm", 1), ("chat", 0)])
def test_a_temperature_above_1_is_noted_where_the_preset_is_for_variety(tmp_path: Path, preset: str, n: int) -> None:
    root = write_simulation(tmp_path, MODELS, rungs=["baseline", "decoding"])
    found = told(root, f'preset = "{preset}"\ngrid = [{{temperature = 1.4, min_p = 0.1}}]')
    assert codes(found) == [("decoding.grid[0]", "temperature_for_creativity")] * n
    assert [level for level, _ in found] == ["note"] * n


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("guided_json = {type = 'object'}", "dead_structure_field"),
        ("response_format = {type = 'json_schema', json_schema = {type = 'object'}}", "response_format_shape"),
    ],
)
def test_a_field_of_the_request_that_constrains_nothing_is_an_error(tmp_path: Path, field: str, code: str) -> None:
    root = write_simulation(tmp_path, MODELS, rungs=["baseline", "decoding"])
    found = told(root, f"grid = [{{temperature = 0.0, {field}}}]")
    assert ("decoding.grid[0]", code) in codes(found)
    assert {level for level, words in found if code in words} == {"error"}
    assert {level for level, words in found if "ignored_parameter" in words} <= {"warning"}


@pytest.mark.usefixtures("penalised")
def test_settings_are_told_that_the_answers_of_the_ladder_are_constrained(tmp_path: Path) -> None:
    grid = "grid = [{temperature = 0.7}, {temperature = 0.0, repetition_penalty = 1.05}]"
    expected = [("decoding.grid[0]", "sampled_structure"), ("decoding.grid[1]", "repetition_penalty_quotes")]
    found = codes(told(json_simulation(tmp_path / "a", LADDER), grid))
    assert [one for one in found if one[1] != "penalty_when_greedy"] == expected
    free = codes(told(json_simulation(tmp_path / "b", ["baseline", "decoding"]), grid))
    assert free == [("decoding.grid[1]", "penalty_when_greedy")]


def test_a_prompt_that_asks_to_think_leaves_a_constraint_no_room(tmp_path: Path) -> None:
    root = json_simulation(tmp_path, LADDER, prompt="Think about it step by step, then name colour and number.")
    assert codes(told(root, "")) == [("few_shot", "thinking_constrained")]


def noted(root: Path, grid: str = "", **changes: Any) -> list[str]:
    """What the rung notes of its candidates above today's variant with `changes`; without a grid of its own ones."""
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text() + (f"\n[decoding]\ngrid = {grid}\n" if grid else ""))

    async def run() -> list[str]:
        async with open_session(load(root)) as session:
            best: Variant = replace(current(session), **changes)
            notes = (await DecodingRung().propose(view_of(session, best=best, n_dev=80))).notes
            return [note.rpartition("(")[2].rstrip(")") for note in notes]

    return asyncio.run(run())


PASSAGES = Retrieval(documents="hash", k=3)
CHOICE = OutputFormat(kind="choice", choices=LABELS)
THINK = "Think step by step."


@pytest.mark.usefixtures("penalised")
@pytest.mark.parametrize(
    ("setting", "changes", "code"),
    [
        ("{temperature = 0.7, seed = 1}", {}, "one_draw"),
        ("{temperature = 0.7, repetition_penalty = 1.05}", {"retrieval": PASSAGES}, "repetition_penalty_quotes"),
        ("{temperature = 0.0}", {"output": CHOICE, "system": THINK}, "thinking_constrained"),
    ],
)
def test_the_rung_notes_what_the_lints_say_of_a_candidate(
    tmp_path: Path, setting: str, changes: dict[str, Any], code: str
) -> None:
    root = write_simulation(tmp_path, MODELS, rungs=["baseline", "decoding"])
    assert noted(root, f"[{setting}]", **changes) == [code]


def test_structured_candidates_of_a_model_that_takes_a_temperature_of_1_only_are_not_set_to_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_simulation(tmp_path, MODELS, rungs=["baseline", "few_shot"])
    settings = {}
    for model in ("gpt-5", "gpt-4.1"):
        monkeypatch.setattr(ScriptedProvider, "capabilities", capabilities_of("openai", model, "api.openai.com"))
        found = proposed(root, FewShotRung())
        settings[model] = [one.decoding for one in found if one.output.kind != "free"]
    assert settings == {"gpt-5": [{}, {}], "gpt-4.1": [{"temperature": 0.0}] * 2}


def proposed(root: Path, rung: Rung) -> Sequence[Variant]:
    """What a rung proposes above today's variant."""

    async def run() -> Sequence[Variant]:
        async with open_session(load(root)) as session:
            return (await rung.propose(view_of(session, best=current(session), n_dev=80))).candidates

    return asyncio.run(run())
