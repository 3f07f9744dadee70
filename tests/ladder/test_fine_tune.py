"""The rung `fine_tune`: tuned models with their own prompt enter on dev, one goes to test, regression sets are run."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.ladder.simulations import write_simulation
from tests.ladder.tuned_simulations import STUDENT, WEAK, make_artifact, make_models, write_tuned_simulation
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.decoding import presets as decoding_presets
from tuneworthy.errors import ConfigError
from tuneworthy.ladder.commands.sweep import DecodingSweep
from tuneworthy.ladder.comparison_plan import read_comparisons
from tuneworthy.ladder.measurement import repeats_of
from tuneworthy.ladder.own_models import TunedModel, _is_base, config_of, tuned_models
from tuneworthy.ladder.record import RungRecord, read_record
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.ladder.rungs.decoding import store_sweep, swept_setting
from tuneworthy.ladder.rungs.fine_tune import presets
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.report.tables import regressions_table
from tuneworthy.search.sweep import Sweep
from tuneworthy.store import Folder
from tuneworthy.types import OutputFormat, RungStatus, Variant


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_tuned_simulation(tmp_path / "world", monkeypatch)


def run_record(root: Path, *rungs: str) -> RungRecord:
    """Walk and return the record of the rung."""
    asked = [word for name in rungs for word in ("--rung", name)]
    assert invoke(["run", *asked, "--project", str(root)]) == 0
    record = read_record(Folder(root))
    assert record is not None
    found = record.rung("fine_tune")
    assert found is not None
    return found


def test_without_a_tuned_model_the_rung_is_skipped_and_says_what_is_to_be_done(world: Path) -> None:
    assert "no model has been trained" in run_record(world).reason
    base = make_artifact(world, "base")
    make_artifact(world, "gguf", base.id, file_type="q8_0")
    assert "no model has been trained" in run_record(world).reason
    adapter = make_artifact(world, "adapter", base.id)
    assert "tuneworthy train" in run_record(world).reason
    make_artifact(world, "merged", adapter.id)
    found = run_record(world)
    assert "tuneworthy train" in found.reason and (found.status, found.reason_code) == (
        RungStatus.SKIPPED,
        "no_tuned_model",
    )
    assert "fine_tune" in read_comparisons(Folder(world)).open_slots  # it keeps its part


def test_a_tuned_model_is_put_to_test_with_the_prompt_that_it_was_trained_with(world: Path) -> None:
    assert run_record(world).status is RungStatus.SKIPPED
    made = make_models(world, dataset="d1")
    found = run_record(world, "fine_tune")
    assert (found.status, found.name) == (RungStatus.ADOPTED, "fine_tune/greedy")
    assert found.score is not None and found.score > 0.9 and found.n == 200
    assert [row.name for row in found.candidates] == ["fine_tune/greedy", "fine_tune/greedy+choice"]
    told = {name: getattr(found.detail, name) for name in ("adapter", "merged", "gguf", "base", "dataset")}
    assert told == {**{name: made[name].id for name in ("adapter", "merged", "gguf", "base")}, "dataset": "d1"}
    record = read_record(Folder(world))
    assert record is not None and record.variants[found.variant].system == STUDENT
    assert record.best.rung == "fine_tune"


def test_another_prompt_than_the_one_it_was_trained_with_loses_the_gain(world: Path) -> None:
    make_models(world, prompt={})
    assert run_record(world).status is not RungStatus.ADOPTED


def test_its_alpha_is_planned_before_there_is_something_to_test_and_waits_for_it(world: Path) -> None:
    run_record(world)
    before = read_comparisons(Folder(world))
    assert before.planned == ("classical", "prompt", "fine_tune") and "fine_tune" not in before.passed
    make_models(world)
    assert run_record(world, "fine_tune").alpha == pytest.approx(before.slots["fine_tune"])
    after = read_comparisons(Folder(world)).slots
    assert {name: after[name] for name in before.slots} == before.slots


def test_the_regression_sets_of_the_tuned_model_are_shown(world: Path) -> None:
    make_models(world)
    assert run_record(world).detail.compared_base is not None
    record = read_record(Folder(world))
    assert record is not None
    regressions = regressions_table(record)
    assert [row[:3] for row in regressions.rows] == [["general", "pass", "64"]]


@pytest.mark.slow
def test_regression_sets_are_asked_of_the_base_that_was_trained_or_it_is_said_that_they_were_not(world: Path) -> None:
    base = make_artifact(world, "base", source={"spec": "elsewhere"})
    adapter = make_artifact(world, "adapter", base.id, prompt={"system": STUDENT, "user": "{{ input }}"})
    merged = make_artifact(world, "merged", adapter.id)
    make_artifact(world, "gguf", merged.id, file_type="f16")
    found = run_record(world).detail
    assert (found.compared_base, found.compared_with) == (None, "today's model, models.weak")
    exported = [make_artifact(world, "gguf", base.id, file_type=kind) for kind in ("f16", "q8_0")]
    found = run_record(world, "fine_tune").detail
    assert (found.compared_base, found.base) == (base.id, base.id)
    assert found.compared_with == f"its base model, exported as {exported[0].id[:8]}", "in the format of the tuned file"


def test_a_model_of_the_project_file_is_the_base_if_its_weights_are(tmp_path: Path) -> None:
    root = write_simulation(tmp_path / "world", {"weak": '"red"'}, extra="".join(
        f'[models.{name}]\nprovider = "{provider}"\nmodel = "{path}"\n'
        for name, provider, path in (
            ("same", "llama_cpp", "base"), ("served", "vllm", "base"), ("other", "llama_cpp", "elsewhere"),
        )
    ))  # fmt: skip
    base, project = make_artifact(root, "base", source={"spec": "base"}), load(root)
    models: Any = dict.fromkeys(
        project.models, SimpleNamespace(provider=SimpleNamespace(identity={}), capabilities=None)
    )
    found = {name: _is_base(models, project, name, base) for name in project.models}
    assert found == {"weak": False, "same": True, "served": False, "other": False}


def test_a_model_that_forgot_fails_the_general_regression_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tuned_simulation(tmp_path / "world", monkeypatch, answers="forgetful")
    make_models(root)
    (general,) = run_record(root).detail.regressions
    assert (general.status, general.base, general.tuned) == ("fail", 14 / 64, 0.0)


def test_the_regression_sets_of_the_project_are_asked_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = '[[regressions]]\nname = "policy"\npath = "policy.jsonl"\n[[regressions.graders]]\ntype = "includes"\n'
    root = write_tuned_simulation(tmp_path / "world", monkeypatch, extra=guard)
    cases = [{"input": f"What is number {i}?", "expected": "know"} for i in range(12)]
    (root / "policy.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    make_models(root)
    policy, general = run_record(root).detail.regressions
    assert (policy.name, policy.status, policy.base, policy.tuned) == ("policy", "unknown", 1.0, 1.0)
    assert policy.needs > 12 and f"{policy.needs:,} cases would be needed" in policy.detail
    assert general.name == "general"


def test_only_the_newest_tuned_models_enter_and_each_names_its_file(world: Path) -> None:
    first = make_models(world)
    for size in ("1", "2", "3", "4"):
        make_artifact(world, "gguf", first["merged"].id, file_type=size)
    assert len(tuned_models(load(world))) == 4
    names = [row.name for row in run_record(world).candidates]
    assert len(names) == 8 and all(name.startswith("fine_tune/") for name in names)


def test_sampled_answers_of_a_tuned_model_are_repeated_on_test_and_those_of_a_classical_baseline_are_not(
    world: Path,
) -> None:
    project = load(world)
    tuned = Variant(name="t", model="tuned:1", model_identity={}, system=None, user="", decoding={"temperature": 0.7})
    assert repeats_of(project, tuned) == 3
    assert repeats_of(project, replace(tuned, decoding={"temperature": 0.0})) == 1
    assert repeats_of(project, replace(tuned, model="classical:linear")) == 1


@pytest.mark.slow
def test_a_server_of_the_tuned_model_enters_this_rung_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = '[models.server]\nprovider = "scripted"\nfunction = "world.py:tuned"\n[serve]\nmodel = "server"\n'
    root = write_tuned_simulation(
        tmp_path / "world", monkeypatch, extra=server, rungs=["classical", "baseline", "model", "fine_tune"]
    )
    assert run_record(root).status is RungStatus.SKIPPED
    made = make_models(root)
    found = run_record(root)
    assert (found.status, found.detail.engine) == (RungStatus.ADOPTED, "scripted")
    assert (found.detail.merged, found.detail.gguf) == (made["merged"].id, None)
    record = read_record(Folder(root))
    assert record is not None
    assert record.rung("model").reason_code == "no_other_model"
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace('model = "server"', 'model = "weak"'))
    with pytest.raises(ConfigError, match=r"serve\.model"):
        load(root)


COOL = """

def cool(request):
    temperature = request.decoding.get("temperature", 1)
    return answer(request, 0.97 if 0 < temperature < 0.5 else 0.3, "t")
"""


def test_what_a_sweep_of_a_tuned_model_adopted_is_the_first_candidate_with_the_cuts_of_the_engine_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    root = write_tuned_simulation(tmp_path / "world", monkeypatch, answers="cool", rungs=["baseline", "fine_tune"])
    with (root / "world.py").open("a") as file:
        file.write(COOL)
    monkeypatch.setitem(cast("dict[str, str]", decoding_presets._ENGINES), "scripted", "llama_cpp")
    make_models(root)
    before = run_record(root)

    async def swept() -> Sweep:
        async with open_session(load(root)) as session:
            return (await DecodingSweep(session, resolve(session, "fine_tune")).run(600)).found

    found = asyncio.run(swept())
    assert found.adopted and 0 < found.setting["temperature"] < 0.5
    sampled = [one.setting for one in found.tried if one.setting["temperature"] > 0]
    assert all({"top_k", "top_p", "min_p"} <= set(one) for one in [found.setting, *sampled])
    after = run_record(root, "fine_tune")
    assert (before.name, after.variant) == ("fine_tune/greedy", found.winner.id)
    assert after.score is not None and after.score > 0.9


def test_the_provider_of_a_tuned_model_is_that_which_answers_for_its_file(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": WEAK})
    make_models(root)
    (tuned,) = tuned_models(load(root))
    assert config_of(load(root), tuned.name).provider == "llama_cpp"
    assert config_of(load(root), "weak").provider == "scripted"


def test_the_decoding_of_a_hosted_best_runs_without_the_cuts_of_the_tuned_models_engine(tmp_path: Path) -> None:
    project = load(write_simulation(tmp_path, {"weak": WEAK}))
    best = Variant(name="b", model="weak", model_identity={}, system=None, user="", decoding={"temperature": 0.7})
    view: Any = SimpleNamespace(project=project, best=best, task=SimpleNamespace(structured=OutputFormat()))
    tuned = TunedModel(name="tuned:1", config=project.models["weak"])
    _, (_, sent, _) = presets(view, tuned)
    assert sent == {"temperature": 0.7, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    _, (_, sent, _) = presets(view, replace(tuned, detail=TunedDetail(engine="scripted")))
    assert sent == best.decoding


def test_sweeps_of_two_prompts_are_both_kept(tmp_path: Path) -> None:
    one = Variant(name="one", model="m", model_identity={}, system="Be short.", user="{{ input }}")
    other = replace(one, system="Be long.")
    for variant, temperature in ((one, 0.2), (other, 0.7)):
        told = {"adopted": True, "winner": {"setting": {"temperature": temperature}}}
        store_sweep(Folder(tmp_path), variant, told)
    found = [swept_setting(Folder(tmp_path), replace(each, decoding={"temperature": 0.0})) for each in (one, other)]
    assert found == [{"temperature": 0.2}, {"temperature": 0.7}]
