"""Evidence is gathered from a project that was really run; all that changed since is named and never mixed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.ladder.simulations import write_simulation

import tuneworthy
from tuneworthy.cases.splits import example_case
from tuneworthy.config import Project, load
from tuneworthy.errors import Undecided, UserError
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.session import open_session
from tuneworthy.store import Folder
from tuneworthy.types import Example
from tuneworthy.verdict.base import Verdict
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.error_analysis import best_language_model
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.gather import gather, overlaps_left
from tuneworthy.verdict.probes import analyse_errors
from tuneworthy.verdict.run import decide_project

MODELS = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.7, 'strong')"}


@pytest.fixture(scope="module")
def run_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scripted project that was run."""
    root = write_simulation(
        tmp_path_factory.mktemp("gather") / "world", MODELS, rungs=["classical", "baseline", "model"]
    )
    tuneworthy.open(root).run()
    return root


@pytest.fixture
def world(run_record: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(run_record, tmp_path / "world"))


def evidence(root: Path) -> Evidence:
    async def read() -> Evidence:
        async with open_session(load(root)) as session:
            return gather(session)

    return asyncio.run(read())


def verdict(root: Path, **options: Any) -> Verdict:
    return asyncio.run(decide_project(load(root), **options))


def edit(root: Path, old: str, new: str, name: str = "tuneworthy.toml") -> None:
    path = root / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def rewrite(root: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the stored record of the run."""
    folder = Folder(root)
    record = folder.read("run", dict)
    change(record)
    folder.write("run", record)


def of(record: dict[str, Any], rung: str) -> dict[str, Any]:
    return next(row for row in record["rungs"] if row["rung"] == rung)


def test_what_was_measured_is_what_the_gates_see(world: Path) -> None:
    found = evidence(world)
    record = Folder(world).read("run", dict)
    assert found.stale == [] and found.overlaps == {} and found.errors is None and found.errors_stale == []
    assert set(found.rungs) == {"classical", "baseline", "model"}
    base = of(record, "baseline")
    seen = found.rungs["baseline"]
    assert (seen.score, list(seen.ci95 or ())) == (base["score"], base["ci95"])
    assert seen.n_effective == 200 and found.balance is not None and found.differences
    assert found.n_test == 200 and found.other_models == 1 and found.has_examples
    assert found.top is not None and found.top.rung == record["best"]["rung"]


def test_nothing_is_decided_before_a_run(tmp_path: Path) -> None:
    root = write_simulation(tmp_path / "world", MODELS)
    with pytest.raises(Undecided, match="no run"):
        verdict(root)


def _labels(root: Path) -> None:
    edit(root, '"red"', '"green"', "cases.jsonl")


def _groups(root: Path) -> None:
    edit(root, '{"', '{"group": "one source", "', "cases.jsonl")


def _examples(root: Path) -> None:
    path = root / "examples.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[0].replace("item 10000", "item 77777") + "\n")


def _new_model(root: Path) -> None:
    edit(root, "[ladder]", '[models.new]\nprovider = "scripted"\nfunction = "world.py:weak"\n[ladder]')


def _judge(root: Path) -> None:
    rewrite(root, lambda record: record["provenance"]["graders"].update({"judge": "of another"}))
    edit(root, "[[graders]]", '[[graders]]\ntype = "judge"\nmodel = "strong"\nrubric = "It is right."\n[[graders]]')


CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "labels": (_labels, "labels of cases have changed"),
    "groups": (_groups, "the groups of the cases have changed"),
    "examples": (_examples, "the examples have changed"),
    "prompt": (lambda root: edit(root, "Name the colour.", "Say the colour."), "the prompt has changed"),
    "sampling": (lambda root: edit(root, "[prompt]", "[prompt]\nparameters = {top_p = 0.9}"), "the prompt has changed"),
    "answer_limit": (lambda root: edit(root, "[prompt]", "[prompt]\nmax_tokens = 9"), "the prompt has changed"),
    "grader": (lambda root: edit(root, 'type = "exact"', 'type = "includes"'), "the primary grader has changed"),
    "grader_settings": (
        lambda root: rewrite(root, lambda record: record["provenance"]["graders"].update({"exact": "another"})),
        "the grader exact has changed",
    ),
    "model_of_the_baseline": (lambda root: edit(root, "0.4", "0.5", "world.py"), "the model weak has changed"),
    "model_of_another_rung": (
        lambda root: edit(root, "world.py:strong", "world.py:weak"),
        "the model strong has changed",
    ),
    "model_gone": (
        lambda root: edit(root, "[models.strong]", "[models.other]"),
        "the model strong has been removed",
    ),
    "model_added": (_new_model, "the model new has been added"),
    "target": (lambda root: edit(root, "target = 0.9", "target = 0.8"), "task.target was 0.9 and is now 0.8"),
    "margin": (
        lambda root: edit(root, "target = 0.9", "target = 0.9\nmargin = 0.1"),
        "task.margin was 0.05 and is now 0.1",
    ),
    "constraint": (
        lambda root: edit(root, "[ladder]", "[constraints]\np95_ms = 500\n[ladder]"),
        "constraints.p95_ms was not set and is now 500.0",
    ),
    "reflection": (
        lambda root: edit(root, "[ladder]", '[reflection]\nmodel = "strong"\nmax_tokens = 99\n[ladder]'),
        "reflection.max_tokens was not set and is now 99",
    ),
    "half_run_rung": (
        lambda root: rewrite(root, lambda record: of(record, "model").update(n=120)),
        "the rung model is incomplete (120 of 200 cases)",
    ),
    "partial": (
        lambda root: rewrite(root, lambda record: record.update(partial="stopped at the rung model: budget spent")),
        "the run is incomplete: stopped at the rung model: budget spent",
    ),
    "split": (
        lambda root: rewrite(
            root,
            lambda record: record["provenance"].update(split="other cases", labels="other labels", groups="other"),
        ),
        "the cases or the dev set have changed",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_since_the_run_is_named_and_never_mixed(name: str, world: Path) -> None:
    change, words = CHANGES[name]
    change(world)
    found = evidence(world)
    assert words in found.stale and (name != "split" or found.stale == [words])
    told = decide(found)
    assert (told.outcome, told.reason_code) == ("undecided", "gate_baseline")
    assert words in told.reasons[0] and words in told.stale


def test_a_judge_that_changed_is_named(world: Path) -> None:
    _judge(world)
    assert "the judge has changed" in evidence(world).stale


def test_cases_that_were_edited_since_are_another_test_set(world: Path) -> None:
    edit(world, "item 7 ", "item 7777 ", "cases.jsonl")
    with pytest.raises(UserError, match="edited or removed"):
        verdict(world)


def test_what_does_not_bear_on_the_measurements_leaves_them_fresh(world: Path) -> None:
    edit(world, "[ladder]", "[economics]\nrequests_per_month = 10\n[ladder]\nbudget_usd = 3\n")
    edit(world, 'name = "world"', 'name = "world"\nmotivation = "cost"')
    assert evidence(world).stale == []


def test_running_again_makes_it_fresh_from_the_store(world: Path) -> None:
    _labels(world)
    assert evidence(world).stale
    tuneworthy.open(world).run()
    assert evidence(world).stale == []


def test_a_slow_or_hosted_baseline_never_meets_the_target(world: Path) -> None:
    def met(record: dict[str, Any]) -> None:
        base = of(record, "baseline")
        base.update(score=0.97, latency_p95_ms=900.0, latency_p95_ci=None)
        record["best"] = {"rung": "baseline", "variant": base["variant"]}

    rewrite(world, met)
    assert evidence(world).target_of(evidence(world).rungs["baseline"]) == "met"
    edit(world, "[ladder]", "[constraints]\np95_ms = 500\n[ladder]")
    rewrite(world, lambda record: record["provenance"].update(settings={}))  # as if it had been run so
    found = evidence(world)
    assert found.rungs["baseline"].violated == "the p95 latency is 900 ms, above the limit of 500 ms"
    assert found.top is not None and found.top.rung == "model"
    assert decide(found).recommendation != found.rungs["baseline"].name


def test_a_hosted_baseline_is_not_eligible_on_the_device(world: Path) -> None:
    edit(world, "[ladder]", "[constraints]\non_device = true\n[ladder]")
    hosted = '[models.weak]\nprovider = "openai"\nmodel = "m"\nbase_url = "https://x.invalid/v1"\n'
    hosted += "input_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0\n"
    edit(world, '[models.weak]\nprovider = "scripted"\nfunction = "world.py:weak"\n', hosted)
    found = evidence(world)
    assert "hosted" in found.rungs["baseline"].violated
    assert found.top is not None and found.top.rung == "model"


def test_stale_error_analysis_is_named_and_dropped(world: Path) -> None:
    async def probe() -> None:
        async with open_session(load(world)) as session:
            record = read_record(session.folder)
            assert record is not None
            variant = best_language_model(record)
            assert variant is not None
            await analyse_errors(session, variant)

    asyncio.run(probe())
    fresh = evidence(world)
    assert fresh.errors and fresh.errors_stale == []
    folder = Folder(world)
    content = folder.read("errors", dict)
    content["of"]["documents"] = "of others"
    folder.write("errors", content)
    found = evidence(world)
    assert found.errors is None and found.errors_stale == ["the documents"]
    assert "the documents" in verdict(world).stale


def test_overlaps_that_are_left_are_counted_and_those_that_left_are_not(world: Path) -> None:
    rows = (world / "cases.jsonl").read_bytes().splitlines()
    overlapping_rows = orjson.loads(rows[0])
    row = {
        "messages": [{"role": "user", "content": overlapping_rows["input"]}, {"role": "assistant", "content": "red"}]
    }
    with (world / "examples.jsonl").open("ab") as file:
        file.write(orjson.dumps(row) + b"\n")
    assert evidence(world).overlaps == {}  # it leaves the examples when they are read

    async def planted() -> tuple[dict[str, int], dict[str, int]]:
        async with open_session(load(world)) as session:
            data = session.data
            messages = tuple(row["messages"])
            shot = Example(id="contamination", messages=messages)  # type: ignore[arg-type]
            into_shots = replace(data.split, shots=(*data.split.shots, shot))
            case = example_case(shot)
            assert case is not None
            into_dev = replace(data.split, dev=(*data.split.dev, case))
            return overlaps_left(replace(data, split=into_shots)), overlaps_left(replace(data, split=into_dev))

    shots, dev = asyncio.run(planted())
    assert shots == {"examples near test cases": 1}
    assert dev == {"development cases in test": 1}


def test_a_source_that_dev_and_test_come_to_share_is_a_overlap(world: Path) -> None:
    stored = Folder(world).read("split", dict)
    dev, test = stored["dev"][0]["id"], stored["test"][0]["id"]

    async def grouped() -> dict[str, int]:
        async with open_session(load(world)) as session:
            split = session.split

            def group(cases: Any) -> tuple[Any, ...]:
                return tuple(replace(case, group="same") if case.id in {dev, test} else case for case in cases)

            return overlaps_left(
                replace(session.data, split=replace(split, dev=group(split.dev), test=group(split.test)))
            )

    assert asyncio.run(grouped()) == {"development cases in test": 1}


def test_the_public_function_takes_a_project_or_a_path_and_keeps_the_verdict(world: Path) -> None:
    by_path = tuneworthy.open(world).decide()
    project = load(world)
    assert isinstance(project, Project)
    assert tuneworthy.open(project).decide() == by_path
    kept = Folder(world).read("verdict", dict)
    assert kept["outcome"] == by_path.outcome and set(kept["of"]) >= {"run", "errors", "judge", "project"}


def test_the_probes_look_at_the_best_that_may_be_used(world: Path) -> None:
    rewrite(world, lambda record: of(record, record["best"]["rung"]).update(violated="it is too slow"))
    record = Folder(world).read("run", dict)
    verdict(world, probe=True)
    looked_at = Folder(world).read("errors", dict)["of"]["variant"]
    assert looked_at != record["best"]["variant"]
