"""The checklist is computed by evidence: what was measured is done, and the cheapest open step has its cost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from tests.ladder.simulations import write_simulation
from tests.verdict.planted import PROMISING, TRAINED, TUNED, differences

from tuneworthy.cases.labelling import labelling_time
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.config.ladder import Economics
from tuneworthy.ladder.record import CandidateResult, read_record
from tuneworthy.money.sources import EconomicsResult
from tuneworthy.store import Folder
from tuneworthy.store.signatures import signed_document
from tuneworthy.verdict.answer import Verdict, store_verdict, tried_commands
from tuneworthy.verdict.base import Cost, Forecast, NextAction, Outcome
from tuneworthy.verdict.evidence import Evidence, RungEvidence, TrainingEvidence
from tuneworthy.verdict.gather import read_state, stale_since
from tuneworthy.verdict.label_audit import suspects_path
from tuneworthy.verdict.playbook import STEPS as STEP_ROWS
from tuneworthy.verdict.playbook import Checklist, ProjectState, checklist

STEPS = [
    "cases", "baseline", "prompt", "model", "retrieval", "decoding", "decision", "dataset", "training", "parity",
    "shadow",
]  # fmt: skip
LATER = frozenset({"dataset", "training", "parity", "shadow"})
PAID = Cost(calls=400, usd=1.0, minutes=2)
FREE = Cost(calls=800, minutes=4)


def rung(name: str, *names: str, score: float = 0.6, **more: Any) -> RungEvidence:
    """A rung that was put to test, and missed the target."""
    first = names[0] if names else f"{name}/x"
    tried = [CandidateResult(variant="v", name=one, n=50, score=score, ci95=(0.0, 1.0)) for one in names]
    fields = {"rung": name, "status": "inconclusive", "name": first, "candidates": tried, "score": score}
    return RungEvidence(**(fields | {"n": 200, "n_effective": 200.0} | more))


def seen(rungs: Iterable[RungEvidence] = (), **more: Any) -> ProjectState:
    """A project of 200 cases with these rungs."""
    fields = {name: more.pop(name) for name in list(more) if name in Evidence.__dataclass_fields__}
    found = {one.rung: one for one in rungs}
    base = {"target": 0.9, "margin": 0.05, "n_test": 200, "other_models": 1, "rungs": found}
    base["differences"] = differences(found.values())
    evidence = Evidence(**(base | {"best": next(iter(found), None)} | fields))
    if outcome := more.pop("outcome", None):
        more["verdict"] = verdict(outcome, more.pop("reason", ""), more.pop("next_action", ""))
    costs = {"baseline": FREE, "prompt": FREE, "few_shot": FREE, "model": PAID, "decoding": FREE}
    return ProjectState(**({"evidence": evidence, "n_cases": 200, "costs": costs} | more))


def verdict(outcome: str, reason: str = "", next_action: str = "") -> Verdict:
    """A verdict that was stored."""
    return Verdict(
        outcome=Outcome(outcome),
        stage="to_decide",
        reason_code="",
        reasons=[reason],
        gates=(),
        errors=(),
        forecast=Forecast(status="unknown"),
        economics=EconomicsResult(status="unknown"),
        next_action=NextAction(command="", why=next_action),
        valid_until="",
    )


def run_record() -> list[RungEvidence]:
    """All rungs, walked."""
    return [
        rung("baseline"),
        rung("prompt", "prompt/xml_contract"),
        rung("model"),
        rung("few_shot", "few_shot/per_case-8"),
        rung("decoding"),
    ]


def statuses(found: Checklist) -> dict[str, str]:
    return {step.step: step.status for step in found.steps}


def next_of(found: Checklist) -> str:
    return found.next.step if found.next else ""


def test_of_a_step_of_several_commands_only_its_run_counts_as_tried(tmp_path: Path) -> None:
    project = load(write_simulation(tmp_path, {"m": "'red'"}, n_cases=3, n_examples=0))
    folder, named = Folder(project.root), "tuneworthy run --rung model && tuneworthy label suspects"
    folder.write("run", {"rungs": []})
    stored = replace(verdict("undecided"), next_action=NextAction(command=named, why=""))
    store_verdict(project, stored, ["tuneworthy run"])
    tried = []
    for seconds in (-1, 1):  # before the verdict, and after it
        at = (folder.path / "verdict.json").stat().st_mtime_ns + seconds * 10**9
        os.utime(folder.path / "run.json", ns=(at, at))
        tried.append(tried_commands(project))
    assert tried == [["tuneworthy run"], ["tuneworthy run", "tuneworthy run --rung model"]]


def test_the_steps_follow_two_weeks_in_order() -> None:
    found = checklist(seen())
    assert [step.step for step in found.steps] == STEPS
    assert [step.day for step in found.steps] == ["1", "1-2", "1-2", "3", "4-5", "6", "7", "8-10", "11-12", "13", "14"]
    assert not found.notes


def test_too_few_cases_come_first_and_cost_a_persons_time() -> None:
    found = checklist(seen(n_test=20, n_cases=20))
    assert found.next is not None
    assert (found.next.step, found.next.cost) == ("cases", Cost(person_minutes=60))
    assert "20 of them in the test set" in found.next.evidence
    unlabelled = checklist(seen(n_unlabelled=7))
    assert next_of(unlabelled) == "cases"
    assert "7 without" in unlabelled.steps[0].evidence
    broken = checklist(seen(fault="cases.jsonl:3: expected JSON, got {"))
    assert (next_of(broken), broken.steps[0].do) == ("cases", "tuneworthy check")


def times(*seconds: int, name: str = "ada") -> list[tuple[str, str]]:
    """Answers of a person, each so many seconds after the one before."""
    start = datetime(2026, 12, 1, tzinfo=UTC)
    return [(name, (start + timedelta(seconds=at)).isoformat()) for at in accumulate(seconds, initial=0)]


def test_the_time_of_a_row_is_measured_without_breaks_and_imports() -> None:
    assert labelling_time(times(20, 30, 40, 30, 20)) == (5, 30)
    assert labelling_time(times(20, 30, 40, 30, 20, 9000, 0, 0, 0, 1)) == (5, 30), "imported rows took no time"
    assert labelling_time([*times(20, 30, 40), *times(30, 20, name="bob")]) == (5, 30), (
        "people may label at the same time"
    )
    for too_few in ([], times(20, 30, 40, 30), times(0, 0, 0, 0, 0, 0), times(900, 900, 900, 900, 900, 900)):
        assert labelling_time(too_few) is None
    unreadable = [("ada", time) for time in ("yesterday", "1701430000", "0001-01-01T00:00:00+14:00")]
    assert labelling_time([*unreadable, *times(20, 30, 40, 30, 20)]) == (5, 30)


def test_labelling_counts_at_the_measured_time_of_a_row() -> None:
    measured = {"cases": (40, 30.0)}
    assert checklist(seen(n_unlabelled=10)).steps[0].cost == Cost(person_minutes=20)
    assert checklist(seen(n_unlabelled=10, labelling=measured)).steps[0].cost == Cost(person_minutes=5)
    assert checklist(seen(labelling=measured)).steps[0].spent == Cost(person_minutes=20)
    assert checklist(seen()).steps[0].spent is None
    review = checklist(seen(labelling={"review": (60, 10.0)})).steps[7]
    assert (review.step, review.spent) == ("dataset", Cost(person_minutes=10))


def test_each_step_has_its_measured_cost_or_an_estimate() -> None:
    paid = checklist(seen([rung("baseline", cost_usd=0.25)], training_s=120.0))
    step = {one.step: one for one in paid.steps}
    assert (step["baseline"].spent, step["prompt"].spent, step["training"].spent) == (
        Cost(usd=0.25), None, Cost(minutes=2),
    )  # fmt: skip
    own = Economics(hours_data=10, hours_engineering=6, train_hours=2, gpu_usd_per_hour=3)
    later = {one.step: one.cost for one in checklist(seen(economics=own)).steps if one.step in LATER}
    assert later == {
        "dataset": Cost(person_minutes=600), "training": Cost(usd=6, minutes=120, person_minutes=120),
        "parity": Cost(person_minutes=120), "shadow": Cost(person_minutes=120),
    }  # fmt: skip


def test_the_remaining_cost_is_that_of_open_steps() -> None:
    found = checklist(seen([rung("baseline")], economics=Economics(hours_data=1, hours_engineering=3, train_hours=0)))
    assert found.remaining["to_decide"] == FREE + FREE + PAID + FREE
    assert found.remaining["to_ship"] == Cost(person_minutes=240)
    no = checklist(seen(run_record(), outcome="do_not_fine_tune"))
    assert set(no.remaining.values()) == {Cost()}


def test_the_remaining_cost_has_rungs_without_a_step_and_counts_a_rung_once() -> None:
    costs = {"prompt": FREE, "model": PAID, "tools": PAID}
    whole = checklist(seen([rung("baseline")], costs=costs)).remaining["to_decide"]
    assert whole == FREE + PAID + PAID
    action = NextAction(command="tuneworthy run --rung model", why="", calls=PAID.calls, usd=PAID.usd)
    asked = replace(verdict("undecided"), next_action=action)
    assert checklist(seen([rung("baseline")], costs=costs, verdict=asked)).remaining["to_decide"] == whole


def test_a_baseline_comes_before_the_levers_and_a_quick_one_does_not_count() -> None:
    found = checklist(seen(quick={"baseline": (0.35, 40)}))
    assert next_of(found) == "baseline"
    assert "35.0% on 40 dev cases in a quick run" in found.steps[1].evidence
    assert next_of(checklist(seen([rung("baseline")], stale=["the examples changed"]))) == "baseline"


def test_the_next_lever_is_the_cheapest_one() -> None:
    found = checklist(seen([rung("baseline")]))
    assert next_of(found) == "decoding"  # 800 free calls; the prompt needs two rungs, the model costs money
    walked = [rung("baseline"), rung("decoding")]
    assert next_of(checklist(seen(walked))) == "prompt"
    dear = seen(walked)
    dear = replace(dear, costs={**dear.costs, "model": replace(PAID, usd=0.0, minutes=1)})
    assert next_of(checklist(dear)) == "model"


def test_prompting_needs_structure_and_three_shots() -> None:
    poor = [rung("baseline"), rung("prompt", "prompt/role"), rung("few_shot", "few_shot/fixed-2")]
    for rungs, status in (
        (poor, "open"),
        ([*poor[:1], rung("prompt", "prompt/xml"), rung("few_shot", "few_shot/fixed-2")], "open"),
        ([*poor[:1], rung("prompt", "prompt/xml"), rung("few_shot", "few_shot/fixed-4")], "done"),
        ([*poor[:1], rung("prompt", "prompt/xml")], "open"),
    ):
        assert statuses(checklist(seen(rungs)))["prompt"] == status
    half_done = checklist(seen([rung("baseline"), rung("prompt", "prompt/xml")]))
    assert half_done.steps[2].do == "tuneworthy run --rung few_shot"
    assert half_done.steps[2].cost == FREE


def test_an_unfinished_run_is_finished_before_any_lever() -> None:
    rungs = [rung("baseline"), rung("prompt", "prompt/x")]
    assert checklist(seen(rungs)).next.do != "tuneworthy run"  # type: ignore[union-attr]
    found = checklist(seen(rungs, incomplete="The run stopped after `prompt`.")).next
    assert found is not None and found.do == "tuneworthy run" and found.cost is not None
    assert found.cost.calls == PAID.calls + 2 * FREE.calls  # few_shot, model, decoding


def test_a_run_that_cannot_be_used_is_repeated_whole_at_the_price_of_all_rungs() -> None:
    """`run --rung baseline` repeats all rungs of the last run, so that its own price would be too low."""
    state = seen([rung("baseline"), rung("prompt", "prompt/x")], stale=["the tools have changed"])
    found = checklist(state).next
    assert found is not None and (found.do, found.title) == ("tuneworthy run", "Repeat the run")
    assert found.cost == sum(state.costs.values(), Cost())


def test_retrieval_is_a_step_of_knowledge_tasks() -> None:
    assert statuses(checklist(seen(run_record())))["retrieval"] == "not_applicable"
    built = seen(run_record(), documents=True, answers_open=True)
    assert (statuses(checklist(built))["retrieval"], next_of(checklist(built))) == ("open", "retrieval")
    assert statuses(checklist(replace(built, evidence=replace(built.evidence, rungs={
        **built.evidence.rungs, "retrieval": rung("retrieval"),
    }))))["retrieval"] == "done"  # fmt: skip


def test_what_is_waived_or_cannot_be_is_not_needed() -> None:
    rungs = [one for one in run_record() if one.rung != "model"]
    alone = checklist(seen(rungs, other_models=0))
    assert (statuses(alone)["model"], next_of(alone)) == ("open", "model")
    assert "[models]" in alone.steps[3].do
    waived = checklist(seen(rungs, other_models=0, waivers={"other_models": "nobody may see it"}))
    assert statuses(waived)["model"] == "not_applicable"
    assert "nobody may see it" in waived.steps[3].evidence
    without = [one for one in run_record() if one.rung != "decoding"]
    for code in ("no_parameters", "greedy", "stable", "other"):
        status = "open" if code == "other" else "not_applicable"
        fixed = rung("decoding", score=0.6, status="skipped", reason_code=code, reason="takes none")
        assert statuses(checklist(seen([*without, replace(fixed, score=None)])))["decoding"] == status


def test_the_decision_is_next_when_all_is_tried_or_the_target_is_met() -> None:
    found = checklist(seen(run_record()))
    assert found.next is not None
    assert (found.next.step, found.next.do, str(found.next.cost)) == (
        "decision",
        "tuneworthy decide",
        "no calls, no cost, a few seconds",
    )
    met = checklist(seen([rung("baseline", score=0.95)]))
    assert (next_of(met), statuses(met)["decoding"]) == ("decision", "open")


def test_a_verdict_closes_the_decision_until_the_next_run() -> None:
    said = {"outcome": "do_not_fine_tune", "reason": "The target is met."}
    found = checklist(seen(run_record(), **said))
    assert (statuses(found)["decision"], next_of(found)) == ("done", "")
    assert {statuses(found)[name] for name in LATER} == {"not_applicable"}
    advised = checklist(seen(run_record(), **said, next_action="Deploy the prompt."))
    assert (advised.next, advised.action) == (None, "Deploy the prompt.")
    assert not advised.notes, "the order of levers says nothing where none is next"
    dates = [("2027-04-01", "the provider retires the model small"), ("2027-02-01", "prices are due for a check")]
    (note,) = checklist(seen(run_record(), **said, expires=dates)).notes
    assert note.index("On 2027-02-01: prices") < note.index("On 2027-04-01: the provider retires")
    assert not any("2027" in one for one in checklist(seen(run_record(), expires=dates)).notes), "nothing is decided"
    compared = replace(
        rung("model", score=0.7), compared_to="first", delta=0.1, delta_ci=(0.05, 0.15), status="no_gain"
    )
    shown = checklist(seen([replace(rung("baseline"), variant="first"), compared, *run_record()[3:]], **said))
    told = " ".join(step.evidence for step in shown.steps)
    assert "difference from today's setup (x) is +10.0 points (95% interval [+5.0, +15.0])" in told
    assert "no_gain" not in told and "do_not_fine_tune" not in told and "Do not fine-tune." in told
    stale = checklist(seen(run_record(), **said, verdict_stale=["the project file changed"]))
    assert (statuses(stale)["decision"], next_of(stale)) == ("open", "decision")
    short = checklist(seen(run_record(), outcome="undecided", reason="Too few.", next_action="Add cases."))
    assert (next_of(short), short.steps[6].do) == ("decision", "Add cases. Then run `tuneworthy decide`.")


def test_after_the_decision_the_steps_follow_one_by_one() -> None:
    said = {"outcome": "fine_tune", "reason": "All was tried."}
    training, rungs, waivers = TrainingEvidence(), run_record(), {"shadow": "there is no traffic yet"}
    data = replace(TRAINED, tuned={}, parity=None, serving=None, regressions=(), adapter=None)
    tuned = [*run_record(), TUNED]
    for name, now in (
        ("dataset", seen(rungs, **said, training=training)),
        ("training", seen(rungs, **said, training=data, forecast=PROMISING)),
        ("parity", seen(tuned, **said, best="fine_tune", training=replace(TRAINED, parity=None))),
        ("shadow", seen(tuned, **said, best="fine_tune", training=TRAINED)),
    ):
        found = checklist(now)
        assert (next_of(found), statuses(found)[name]) == (name, "open")
        assert found.next is not None and found.next.do
    unread = seen(rungs, **said, training=training)
    step = NextAction(command="tuneworthy data import FILE", why="")
    unread = replace(unread, verdict=replace(unread.verdict, next_action=step))  # type: ignore[type-var]
    assert checklist(unread).next.do == step.command  # type: ignore[union-attr]
    last = seen(tuned, **said, best="fine_tune", training=TRAINED, waivers=waivers)
    assert next_of(checklist(last)) == "" and statuses(checklist(last))["shadow"] == "not_applicable"
    shipped = seen(tuned, outcome="ship", next_action="Serve it.", best="fine_tune", training=TrainingEvidence())
    shipped = replace(shipped, verdict=replace(shipped.verdict, stage="to_ship"))  # type: ignore[type-var]
    assert (next_of(checklist(shipped)), checklist(shipped).action) == ("", "Serve it.")


def test_training_shows_its_pilot_and_an_adapter_that_was_not_put_to_test() -> None:
    said = {"outcome": "fine_tune", "reason": "All was tried."}
    made = replace(TRAINED, tuned={}, parity=None, serving=None, regressions=())
    step = next(one for one in checklist(seen(run_record(), **said, training=made, forecast=PROMISING)).steps
                if one.step == "training")  # fmt: skip
    assert "has not been compared on the test set; pilot: pass" in step.evidence and step.do == "tuneworthy train"


def test_a_cost_reads_as_a_sentence() -> None:
    assert str(PAID) == "at most 400 calls, less those already answered, $1.00, 2 min"
    assert str(FREE + FREE) == "at most 1,600 calls, less those already answered, no cost, 8 min"
    assert str(Cost(calls=10, minutes=0.2)).endswith("calls, less those already answered, no cost, less than a minute")
    assert str(Cost(person_minutes=60)) == "about 60 min of manual work"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    models = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.7)"}
    return write_simulation(tmp_path / "world", models, rungs=["classical", "baseline", "prompt", "model"])


def test_the_command_follows_a_project(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--project", str(world)]

    def status() -> dict[str, Any]:
        assert invoke(["status", "--json", *where]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    assert status()["next"] == "baseline"
    assert invoke(["run", "--rung", "baseline", *where]) == 0
    capsys.readouterr()
    document = status()
    step = {row["step"]: row for row in document["steps"]}
    assert step["baseline"]["status"] == "done"
    assert "Test cases: 200." in step["baseline"]["evidence"]
    assert step["model"]["cost"]["calls"] > 200
    assert document["next"] in {"prompt", "model"} and "retrieval before" in document["notes"][0]
    assert invoke(["run", *where]) == 0
    assert invoke(["decide", *where]) in {3, 4}
    capsys.readouterr()
    assert invoke(["status", *where]) == 0
    told = capsys.readouterr().out
    assert "Next: " in told
    plan = told.partition("\n\n")[0].splitlines()
    assert len(plan) <= 30 and max(map(len, plan)) <= 80
    assert all(any(row.title in line for line in plan) for row in STEP_ROWS.values())
    assert document["remaining"]["to_ship"]["minutes"] == 14 * 60 and document["seconds_per_row"] == {}
    gaps = [{"case": str(n), "labeller": name, "label": "red", "time": at}
            for n, (name, at) in enumerate(times(20, 30, 40, 30, 20))]  # fmt: skip
    (world / "cases.labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gaps))
    assert status()["seconds_per_row"] == {"cases": 30.0}
    (world / "cases.labels.jsonl").write_text("no label\n")
    assert status()["seconds_per_row"] == {}
    assert not (world / ".tuneworthy" / "lock").read_text()


def test_a_verdict_holds_as_long_as_what_it_was_computed_from_whatever_the_times_of_the_files(world: Path) -> None:
    assert invoke(["run", "--project", str(world)]) == 0
    assert invoke(["decide", "--project", str(world)]) in {3, 4}
    folder = Folder(world)
    assert read_state(load(world)).verdict_stale == []
    os.utime(folder.path / "verdict.json", (1, 1))
    assert read_state(load(world)).verdict_stale == []
    relabelled = suspects_path(load(world))
    relabelled.write_text('{"case": "a", "label": "red", "labeller": "ada"}\n')
    assert read_state(load(world)).verdict_stale == ["failed cases were relabelled"]
    relabelled.unlink()
    run_ladder = folder.read("run", dict)
    assert run_ladder is not None and run_ladder.pop("mark")
    folder.write("run", signed_document(run_ladder | {"cost_usd": 7.0}))
    os.utime(folder.path / "run.json", (0, 0))
    assert read_state(load(world)).verdict_stale == ["the ladder was run again"]
    folder.write("run", signed_document(run_ladder))
    file = world / "tuneworthy.toml"
    file.write_text(file.read_text() + "[economics]\nrequests_per_month = 5\n")
    assert read_state(load(world)).verdict_stale == ["the project file has changed"]
    verdict = folder.read("verdict", dict)
    folder.write("verdict", verdict | {"valid_until": "2020-01-01"})
    assert "the verdict expired on 2020-01-01" in read_state(load(world)).verdict_stale


def test_a_verdict_is_stale_when_the_labels_are_corrected(world: Path) -> None:
    assert invoke(["run", "--project", str(world)]) == 0
    assert invoke(["decide", "--project", str(world)]) in {3, 4}
    rows = (world / "cases.jsonl").read_text()
    (world / "cases.jsonl").write_text(rows.replace('"red"', '"green"', 1))
    found = read_state(load(world))
    assert found.verdict_stale == ["labels of cases have changed"] and not found.decided


def test_a_changed_prompt_or_changed_examples_open_the_baseline_again(world: Path) -> None:
    assert invoke(["run", "--rung", "baseline", "--project", str(world)]) == 0
    assert read_state(load(world)).evidence.stale == []
    file = world / "tuneworthy.toml"
    file.write_text(file.read_text().replace("Name the colour.", "Say the colour."))
    assert read_state(load(world)).evidence.stale == ["the prompt has changed"]
    rows = (world / "examples.jsonl").read_text()
    (world / "examples.jsonl").write_text(rows + rows.splitlines()[0].replace("item 10000", "item 77777"))
    assert "the examples have changed" in read_state(load(world)).evidence.stale
    assert next_of(checklist(read_state(load(world)))) == "baseline"


def test_cases_that_were_edited_since_the_run_are_told_first(world: Path) -> None:
    assert invoke(["run", "--rung", "baseline", "--project", str(world)]) == 0
    rows = (world / "cases.jsonl").read_text()
    (world / "cases.jsonl").write_text(rows.replace("item 7 ", "item 77777 ", 1))
    found = checklist(read_state(load(world)))
    assert (next_of(found), found.steps[0].do) == ("cases", "tuneworthy check")
    assert "from the first run" in found.steps[0].evidence


@pytest.mark.parametrize("name", ["cases.jsonl", "examples.jsonl", ".tuneworthy/comparisons.json"])
def test_a_run_of_a_project_whose_data_is_not_usable_is_not_current(name: str, world: Path) -> None:
    assert invoke(["run", "--rung", "baseline", "--project", str(world)]) == 0
    record = read_record(Folder(world))
    assert record is not None and stale_since(load(world), record) == []
    (world / name).unlink()
    assert len(stale_since(load(world), record)) == 1


def test_a_run_of_another_project_is_not_current(world: Path, tmp_path: Path, capsys: Any) -> None:
    other = write_simulation(tmp_path / "other", {"small": "answer(request, 1.0)"}, n_cases=60, rungs=["baseline"])
    rows = (other / "cases.jsonl").read_text()
    (other / "cases.jsonl").write_text(rows.replace("item", "thing"))
    for root in (world, other):
        assert invoke(["run", "--rung", "baseline", "--project", str(root)]) == 0
    for name in ("run.json", "comparisons.json", "split.json"):
        (Folder(world).path / name).write_bytes((Folder(other).path / name).read_bytes())
        record = read_record(Folder(world))
        assert record is not None and stale_since(load(world), record)


def test_a_record_that_is_none_is_the_users_to_mend(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Folder(world).write("run", [1])
    assert invoke(["status", "--project", str(world)]) == 2
    err = capsys.readouterr().err
    assert "run.json is damaged (" in err and f"`tuneworthy doctor --project {world}`" in err
    (Folder(world).path / "run.json").unlink()
    Folder(world).write("verdict", [1])
    assert invoke(["status", "--project", str(world)]) == 2
    err = capsys.readouterr().err
    assert "verdict.json is damaged (" in err and f"`tuneworthy doctor --project {world}`" in err
