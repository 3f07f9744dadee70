"""The gates before training and before shipping: each has a world that needs it, and is missed when switched off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.verdict.planted import (
    DATASET,
    EFFECT,
    GUARD,
    PROMISING,
    PROVEN,
    RUNGS,
    TRAINED,
    TUNED,
    TUNED_DETAIL,
    ready,
    trained,
    with_rungs,
    worth_it,
)

from tuneworthy.cli.decide import EXIT
from tuneworthy.dataset.records import Difference
from tuneworthy.ladder.record import DistinctScore, RungDifference
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.rules import Finding
from tuneworthy.verdict.answer import answer_of
from tuneworthy.verdict.base import Forecast, Outcome, Stage
from tuneworthy.verdict.decide import decide, take_home
from tuneworthy.verdict.evidence import Evidence, PilotEvidence, TrainingEvidence
from tuneworthy.verdict.gates import GATES, run_gates, stage_gates
from tuneworthy.verdict.options import Option
from tuneworthy.verdict.playbook import ProjectState, checklist

SHIP, DO_NOT_SHIP, UNDECIDED = Outcome.SHIP, Outcome.DO_NOT_SHIP, Outcome.UNDECIDED


TUNED_MEETS = replace(TUNED, score=0.95)


def data(**changed: Any) -> TrainingEvidence:
    return replace(TRAINED, dataset=replace(DATASET, **changed))


def gain(low: float, high: float) -> Forecast:
    return replace(PROMISING, gain=(low + high) / 2, ci95=(low, high))


def against(delta: float, low: float, high: float, *, no_worse: bool, **more: Any) -> Evidence:
    """A tuned model with this difference to the best without training."""
    evidence = trained(**more)
    rest = [row for row in evidence.differences if {row.a, row.b} != {"model", "fine_tune"}]
    row = RungDifference(a="model", b="fine_tune", delta=delta, ci95=(low, high), no_worse=no_worse)
    return replace(evidence, differences=(*rest, row))


BEFORE: dict[str, list[Evidence]] = {
    "dataset_frozen": [
        ready(data(failed=("personal_data: still present: 3 email",))),
        ready(data(broken="rows.jsonl: expected the file as it was frozen, got another")),
    ],
    "dataset_review": [ready(data(review=status)) for status in ("no_plan", "open", "rejected")],
    "dataset_contamination": [
        ready(data(overlaps="still present: 2 exact")),
        ready(data(changed=("the cases of dev or test changed",))),
    ],
    "dataset_effect": [
        ready(data(effect=replace(EFFECT, dev=Difference(-0.02, (-0.03, -0.01), 900)))),
        ready(data(effect=replace(EFFECT, status="unmeasured", dev=None))),
        ready(data(lost=["card_arrival"])),
    ],
    "teacher_terms": [
        ready(data(terms="fail", terms_words="its terms forbid it")),
        ready(data(terms="unknown", terms_words="nobody said")),
    ],
    "pilot": [
        ready(replace(TRAINED, pilot=None), forecast=Forecast(status="unknown", cost="a pilot of 10 trainings")),
        ready(replace(TRAINED, pilot=PilotEvidence(n=8, changed=("it was on the dataset x",)))),
        ready(forecast=gain(-0.1, 0.02)),
        ready(forecast=gain(-0.1, 0.2)),
    ],
}
"""Gate to simulations in which it is the only one before training that is closed."""
SHIPPING: dict[str, list[Evidence]] = {
    "parity": [
        trained(training=replace(TRAINED, parity=None)),
        trained(training=replace(TRAINED, parity=replace(PROVEN, status="fail", detail="template changed"))),
        trained(training=replace(TRAINED, parity=replace(PROVEN, changed=("parity was shown for the adapter b",)))),
        trained(training=replace(TRAINED, parity=replace(PROVEN, status="unknown", detail="4 answers are too few"))),
    ],
    "improvement": [
        against(0.05, -0.02, 0.12, no_worse=False),
        against(0.01, -0.02, 0.04, no_worse=True),
        trained(replace(TUNED, status="inconclusive", reason_code="unresolved")),  # not better at its alpha
        trained(replace(TUNED, violated="p95 is 900 ms, the limit is 500 ms")),
        trained(training=data(overlaps="still present: 2 exact")),
        trained(training=replace(TRAINED, dataset=None)),
    ],
    "regressions": [
        trained(training=replace(TRAINED, regressions=(replace(GUARD, status="fail", detail="worse"),))),
        trained(training=replace(TRAINED, regressions=(replace(GUARD, status="unknown", detail="about 200 cases"),))),
        trained(training=replace(TRAINED, regressions=(), sets_missing=("general",))),
        trained(training=replace(TRAINED, regressions=(GUARD,), sets_missing=("house style",))),
        trained(training=replace(TRAINED, regressions=())),
        trained(training=replace(TRAINED, tuned=replace(TUNED_DETAIL, compared_base=None))),
        trained(training=replace(TRAINED, tuned=replace(TUNED_DETAIL, compared_base="c" * 16))),
    ],
    "serving": [
        trained(training=replace(TRAINED, serving=None)),
        trained(training=replace(TRAINED, serving=replace(PROVEN, status="fail"))),
        trained(training=replace(TRAINED, serving=replace(PROVEN, changed=("what was served is another",)))),
    ],
    "shadow": [trained(waivers={})],
}
"""Gate to simulations that only it keeps from being shipped."""
BEFORE_SIMULATIONS = [(name, world) for name, simulations in BEFORE.items() for world in simulations]
SHIP_SIMULATIONS = [(name, world) for name, simulations in SHIPPING.items() for world in simulations]


def closed(evidence: Evidence, stage: Stage) -> list[str]:
    return [one.gate for one in run_gates(evidence, stage) if one.status in {"fail", "unknown"}]


def switch_off(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a gate see nothing any more."""
    real = GATES.get

    def get(wanted: str) -> Any:
        found = real(wanted)
        silent = Finding(status="pass", message="Switched off.")
        return replace(found, examine=lambda _: silent) if wanted == name else found

    monkeypatch.setattr(GATES, "get", get)


def test_every_gate_of_both_stages_is_planted() -> None:
    assert list(BEFORE) == [one.gate for one in run_gates(ready(), "to_train")] == stage_gates("to_train")
    assert list(SHIPPING) == [one.gate for one in run_gates(ready(), "to_ship")] == stage_gates("to_ship")


def test_without_a_fault_every_gate_before_training_holds_and_training_is_next() -> None:
    found = decide(ready())
    assert closed(ready(), "to_train") == [] and found.outcome is Outcome.FINE_TUNE
    assert found.next_action.command == "tuneworthy train"
    assert [one.gate for one in found.gates if one.stage == "to_train"] == stage_gates("to_train")


def test_the_overlap_gate_tells_the_rows_that_were_only_reported() -> None:
    told = {one.gate: one for one in run_gates(ready(data(n_near=7)), "to_train")}["dataset_contamination"]
    assert told.status == "pass" and "or are short: 7." in told.detail


@pytest.mark.parametrize(("name", "world"), BEFORE_SIMULATIONS)
def test_a_gate_before_training_trips_alone_and_is_the_next_step_until_it_is_switched_off(
    name: str, world: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert closed(world, "to_train") == [name]
    gate = next(one for one in decide(world).gates if one.gate == name)
    assert (gate.fix or gate.message) in str(decide(world).next_action)
    switch_off(name, monkeypatch)
    assert decide(world).next_action.command == "tuneworthy train"


def test_the_gates_before_training_are_not_asked_where_training_is_no_answer() -> None:
    assert [one for one in decide(worth_it(errors=None)).gates if one.stage != "to_decide"] == []


def test_an_adapter_that_was_not_put_to_test_is_the_next_step() -> None:
    made = replace(ready().training, adapter="b" * 16)
    assert decide(replace(ready(), training=made)).next_action.command == "tuneworthy train"


def test_a_tuned_variant_without_a_fault_is_shipped() -> None:
    found = decide(trained())
    assert (found.outcome, found.stage, found.reason_code) == (SHIP, "to_ship", "tuned_improves")
    assert EXIT[found.outcome] == 0 and closed(trained(), "to_ship") == []
    assert {one.stage for one in found.gates} == {"to_decide", "to_train", "to_ship"}
    assert (
        found.recommendation == TUNED.name and found.next_action.command == "tuneworthy export card && tuneworthy serve"
    )
    assert "pass or are waived. Waived by the project file: `shadow`." in found.reasons[0]
    assert found.reasons[-1] == "Open, though shipping does not require them: economics."
    unreviewed = replace(DATASET, review="open")
    found = decide(trained(training=replace(trained().training, dataset=unreviewed)))
    assert found.outcome is SHIP and "dataset_review" in found.reasons[-1]


@pytest.mark.parametrize(
    ("release", "command"),
    [(None, "export card && tuneworthy serve"), (0, "export card"), (2, "serve --release 2")],
)
def test_the_next_step_of_a_model_that_ships_is_its_release_and_then_its_start(
    release: int | None, command: str
) -> None:
    world = trained(training=replace(trained().training, release=release))
    assert decide(world).next_action.command == f"tuneworthy {command}"
    state = ProjectState(evidence=world, verdict=decide(trained()))
    assert f"`tuneworthy {command}`" in checklist(state).action, "of today, not of the stored verdict"
    other = replace(world, training=replace(world.training, started=7))
    assert decide(other).next_action.command == f"tuneworthy {command}", "another release is current"
    live = decide(replace(world, training=replace(world.training, started=release))).next_action
    assert (live.command == "") is bool(release)


@pytest.mark.parametrize(("name", "world"), SHIP_SIMULATIONS)
def test_a_gate_before_shipping_trips_alone_and_keeps_it_from_shipping_until_it_is_switched_off(
    name: str, world: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert closed(world, "to_ship") == [name]
    found = decide(world)
    gate = next(one for one in found.gates if one.gate == name)
    wanted = DO_NOT_SHIP if gate.status == "fail" else UNDECIDED
    assert (found.outcome, found.reason_code) == (wanted, f"gate_{name}")
    assert EXIT[found.outcome] == {"fail": 3, "unknown": 4}[gate.status] and name in found.reasons[0]
    assert (found.recommendation == TUNED.name) is (gate.status == "unknown" and name != "improvement")
    assert list(found.after_gates) == [name] * (found.recommendation == TUNED.name)
    switch_off(name, monkeypatch)
    assert decide(world).outcome is SHIP


@pytest.mark.parametrize(("name", "world"), SHIP_SIMULATIONS)
def test_every_gate_before_shipping_but_parity_can_be_waived_with_a_reason(name: str, world: Evidence) -> None:
    waived = replace(world, waivers={**world.waivers, name: "it is known beforehand"})
    found = decide(waived)
    if name == "parity":
        assert found.outcome in {DO_NOT_SHIP, UNDECIDED} and found.reason_code == "gate_parity"
        assert "waive" not in str(found.next_action).lower()
    else:
        assert found.outcome is SHIP
        told = next(one for one in found.gates if one.gate == name)
        assert told.status == "waived" and "it is known beforehand" in told.detail
        assert f"`{name}`" in found.reasons[0], "what is waived has not passed, and the answer says so"


def test_the_embedded_engine_that_answered_test_serves_the_file_that_parity_compared() -> None:
    embedded = replace(TUNED_DETAIL, engine="llama_cpp")
    assert decide(trained(training=replace(TRAINED, serving=None, tuned=embedded))).outcome is SHIP
    other = replace(PROVEN, changed=("what was served is another",))
    assert decide(trained(training=replace(TRAINED, serving=other, tuned=embedded))).outcome is SHIP
    failed = replace(TRAINED, serving=replace(PROVEN, status="fail"), tuned=embedded)
    assert closed(trained(training=failed), "to_ship") == ["serving"]
    unproven = replace(TRAINED, serving=None, tuned=embedded, parity=replace(PROVEN, status="fail"))
    assert closed(trained(training=unproven), "to_ship") == ["parity", "serving"]
    of_another = replace(PROVEN, changed=("parity was shown for the adapter b",))
    for training in (
        replace(TRAINED, serving=None, tuned=embedded, parity=of_another),
        replace(TRAINED, serving=None, tuned=replace(embedded, gguf=None)),
    ):
        assert "serving" in closed(trained(training=training), "to_ship")
    server = replace(TUNED_DETAIL, engine="vllm")
    assert closed(trained(training=replace(TRAINED, serving=None, tuned=server)), "to_ship") == ["serving"]


def test_a_classifier_needs_neither_parity_nor_regression_sets_but_its_export() -> None:
    tuned = TunedDetail(engine="numpy", classifier="c" * 16, dataset=DATASET.version)
    training = replace(TRAINED, tuned=tuned, parity=None, regressions=(), sets_missing=("general",))
    found = decide(trained(training=training))
    status = {one.gate: one.status for one in found.gates}
    assert found.outcome is SHIP and (status["parity"], status["regressions"]) == ("not_applicable",) * 2
    assert found.next_action.command == "tuneworthy serve --what classifier"
    for serving in (None, replace(PROVEN, status="fail"), replace(PROVEN, changed=("it was another classifier",))):
        unproven = trained(training=replace(training, serving=serving))
        assert closed(unproven, "to_ship") == ["serving"] and decide(unproven).outcome is not SHIP
    unproven = decide(trained(training=replace(training, serving=None)))
    assert unproven.next_action.command == "tuneworthy export classifier fine_tune"


def test_where_a_tuned_classifier_is_not_shipped_the_command_names_the_classical_one() -> None:
    option = Option(option="classical/linear", rung="classical", kind="classical")
    assert take_home(option, beside=True).command == "tuneworthy export classifier classical"


def test_a_regression_set_asked_of_another_model_than_the_base_that_was_trained_shows_nothing() -> None:
    today = replace(TUNED_DETAIL, compared_with="the model in use today, models.small", compared_base=None)
    for status in ("pass", "fail"):
        found = decide(trained(training=replace(TRAINED, tuned=today, regressions=(replace(GUARD, status=status),))))
        told = next(one for one in found.gates if one.gate == "regressions")
        assert told.status == "unknown" and found.reason_code == "gate_regressions"
        assert "models.small" in told.detail and "export gguf --base" in told.detail


def test_what_failed_is_named_before_what_is_not_known() -> None:
    world = trained(
        training=replace(TRAINED, parity=None, regressions=(replace(GUARD, status="fail", detail="worse"),)), waivers={}
    )
    found = decide(world)
    assert found.reason_code == "gate_regressions"
    assert found.reasons[-1] == "Other gates that have not passed: parity, shadow."


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"overlaps": {"development cases in test": 1}}, "gate_contamination"),
        ({"n_test": 40}, "gate_test_set"),
    ],
)
def test_a_test_that_is_none_ships_nothing(changed: dict[str, Any], code: str) -> None:
    found = decide(trained(**changed))
    assert (found.outcome, found.reason_code) == (DO_NOT_SHIP, code)


def test_a_run_that_no_longer_holds_says_nothing_of_the_tuned_variant() -> None:
    found = decide(trained(stale=["the examples changed"]))
    assert (found.outcome, found.stage, found.reason_code) == (
        Outcome.UNDECIDED,
        "to_decide",
        "gate_baseline",
    )


def test_no_worse_is_enough_if_it_saves_or_is_the_only_one_that_meets_the_target() -> None:
    same = against(0.0, -0.04, 0.06, no_worse=True)
    assert decide(same).outcome is UNDECIDED
    dear = {**same.rungs, "model": replace(RUNGS[3], usd_per_1k=1.0)}
    bills = {**same.bills, "model": replace(same.bills["model"], usd_per_1k=1.0)}
    assert decide(replace(same, rungs=dear, bills=bills)).outcome is SHIP
    met = {**same.rungs, "fine_tune": replace(TUNED, score=0.97)}
    assert decide(replace(same, rungs=met)).outcome is SHIP
    worse = against(0.0, -0.09, 0.06, no_worse=False)
    assert decide(replace(worse, rungs=met)).outcome is UNDECIDED


@pytest.mark.parametrize("high", [0.04, 0.06])
def test_an_unknown_price_is_no_saving_and_is_asked_for(high: float) -> None:
    same = against(0.0, -0.04, high, no_worse=True)
    rungs = {**same.rungs, "model": replace(same.rungs["model"], usd_per_1k=None)}
    bills = {**same.bills, "model": replace(same.bills["model"], usd_per_1k=None)}
    found = decide(replace(same, rungs=rungs, bills=bills))
    assert found.outcome is UNDECIDED
    assert found.next_action.why.startswith("Set the price of the model behind model/strong")


def test_where_nothing_else_may_serve_the_tuned_model_needs_no_rival() -> None:
    barred = {name: replace(one, violated="it is too slow") for name, one in trained().rungs.items()}
    assert decide(replace(trained(), rungs={**barred, "fine_tune": TUNED})).outcome is SHIP


def test_what_is_the_best_without_training_does_not_become_the_tuned_variant() -> None:
    assert trained().top is not None and trained().top.rung == "model"  # type: ignore[union-attr]
    met = replace(TUNED, score=0.97)
    assert next(one for one in decide(trained(met)).options if one.kind == "tuned").target == "met"
    assert decide(with_rungs(met, stale=["the judge changed"])).reason_code == "gate_baseline"


def test_what_was_made_since_or_is_about_something_else_is_named() -> None:
    training = replace(
        TRAINED,
        parity=replace(PROVEN, changed=("parity was shown for the adapter b",)),
        changed=("the adapter b was trained since",),
    )
    found = decide(trained(training=training))
    assert list(found.stale) == ["the adapter b was trained since", "parity was shown for the adapter b"]


def test_the_review_shows_its_bound_and_the_pilot_its_gain() -> None:
    gates = {one.gate: one for one in decide(trained()).gates}
    assert gates["dataset_review"].evidence["bound"] == 0.95 and "0.95" in gates["dataset_review"].detail
    assert "at least +10.0 points" in gates["pilot"].detail and gates["pilot"].evidence["ci95"] == (0.1, 0.3)


@pytest.mark.parametrize("made", [trained, lambda **more: ready(forecast=Forecast(status="unknown"), **more)])
def test_the_forecast_names_the_finding_of_the_learning_curve_and_decides_as_before(
    made: Callable[..., Evidence],
) -> None:
    learned = replace(TRAINED, dataset=replace(DATASET, curve="The baseline learns more from reviewed rows"))
    found, before = (
        {one.gate: one for one in run_gates(made(training=training), "to_train")}["pilot"]
        for training in (learned, TRAINED)
    )
    assert " The baseline learns more from reviewed rows." in found.detail and found.status == before.status
    assert "reviewed" not in before.detail


def test_the_forecast_is_the_score_of_the_untrained_model_and_its_gain_not_that_of_the_best_option() -> None:
    # 30% before training, 10 to 30 points more with it; the best option scores 70%
    found = decide(ready(forecast=replace(PROMISING, baseline=0.3)))
    tuned = next(one for one in found.options if one.kind == "fine_tune")
    assert tuned.score == pytest.approx(0.4)
    assert found.economics.assumptions["gain"].value == pytest.approx(-0.3)
    statuses = {gate.gate: gate.status for gate in found.gates}
    assert statuses["pilot"] == "fail"
    # the same gain of a model that is as good as the best option
    assert {gate.gate: gate.status for gate in decide(ready()).gates}["pilot"] == "pass"
    # where an option meets the target, a smaller model may lose the margin
    met = ready(forecast=replace(PROMISING, baseline=0.58), target=0.6)
    assert {gate.gate: gate.status for gate in run_gates(met, "to_train")}["pilot"] == "pass"
    short = replace(met, forecast=replace(PROMISING, baseline=0.54))
    assert {gate.gate: gate.status for gate in run_gates(short, "to_train")}["pilot"] == "unknown"
    # the upper bound is a gain of 3 points, below the margin of 5, or of 6 points
    for baseline, wanted in ((0.43, "fail"), (0.46, "unknown")):
        gates = run_gates(ready(forecast=replace(PROMISING, baseline=baseline)), "to_train")
        assert {gate.gate: gate.status for gate in gates}["pilot"] == wanted


def test_training_is_advised_outright_only_once_a_pilot_forecasts_a_gain() -> None:
    before, after = decide(ready(replace(TRAINED, pilot=None), forecast=Forecast(status="unknown"))), decide(ready())
    assert before.outcome == after.outcome == Outcome.FINE_TUNE
    assert answer_of(before) == "A fine-tuning pilot is worthwhile" and "untested" in before.reasons[0]
    assert answer_of(after) == "Fine-tune" and "untested" not in after.reasons[0]
    assert "at least +10.0 points" in after.reasons[0]
    for outdated in (PilotEvidence(n=8, changed=("it was on the dataset x",)), None):
        assert answer_of(decide(ready(replace(TRAINED, pilot=outdated)))) == answer_of(before)


def test_a_model_that_ships_below_the_target_says_so() -> None:
    for score, words in ((0.75, "The target of 90.0% is still missed."), (0.97, "")):
        found = decide(trained(replace(TUNED, score=score)))
        assert found.outcome == SHIP and ("still missed" in found.reasons[0]) == bool(words)
        assert words in found.reasons[0] and "still open" not in found.reasons[0]
    assert "Whether the target of 90.0% is met is still open." in decide(trained(replace(TUNED, score=0.87))).reasons[0]


def test_an_inconclusive_regression_set_names_what_to_do() -> None:
    found = decide(trained(training=replace(TRAINED, regressions=(replace(GUARD, status="unknown"),))))
    gate = next(one for one in found.gates if one.gate == "regressions")
    assert gate.status == "unknown" and gate.fix.startswith("Increase `rehearsal`")


@pytest.mark.parametrize("rung", ["classical", "prompt", "few_shot"])
def test_cheaper_rungs_that_were_not_run_are_named_where_the_answer_is_ship(rung: str) -> None:
    part = replace(trained(), rungs={name: one for name, one in trained().rungs.items() if name != rung})
    found = decide(part)
    assert found.outcome is SHIP and "Not run, and may do as well: " in found.reasons[0]
    assert rung in found.reasons[0].partition("may do as well: ")[2]
    waived = decide(replace(part, waivers=dict.fromkeys(("classical", "prompt", "few_shot"), "tried elsewhere")))
    assert "may do as well" not in waived.reasons[0]


@pytest.mark.parametrize(("found", "wanted"), [(0.0, DO_NOT_SHIP), (0.9, UNDECIDED), (1.0, SHIP)])
def test_a_tuned_model_must_find_a_critical_label_that_another_option_finds(found: float, wanted: Outcome) -> None:
    def recalls(**by_rung: float) -> Evidence:
        rungs = {
            name: replace(one, recall={"x": by_rung.get(name, 0.0)}, recall_n={"x": 60})
            for name, one in trained(target=0.6).rungs.items()
        }
        return replace(trained(target=0.6), rungs=rungs, critical={"x": 0.85}, label_cases={"x": 60, "y": 140})

    assert decide(recalls(model=1.0, fine_tune=found)).outcome is wanted
    assert decide(recalls(fine_tune=found)).outcome is SHIP  # nothing else finds it either


def test_a_tuned_model_that_only_repeats_what_it_was_trained_on_does_not_ship() -> None:
    def on_distinct(score: float, n: float = 100.0) -> Outcome:
        part = DistinctScore(n=100, score=score, ci95=(score - 0.1, score + 0.1), n_effective=n)
        rungs = {**trained(TUNED_MEETS).rungs, "fine_tune": replace(TUNED_MEETS, on_distinct_cases=part)}
        return decide(replace(trained(TUNED_MEETS), rungs=rungs)).outcome

    assert on_distinct(0.4) is DO_NOT_SHIP
    assert on_distinct(0.95) is on_distinct(0.4, n=29.0) is SHIP
