"""The next step: what is named settles the question, or says what more it takes, and costs what it says."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from tests.verdict.planted import RUNGS, failures, project, ready, rung, with_rungs, worth_it

from tuneworthy.config.ladder import Constraints, Economics
from tuneworthy.ladder.record import CandidateResult, LabelBalance
from tuneworthy.money.economics import SPREADING, cost_is_a_reason
from tuneworthy.money.serving import Bill
from tuneworthy.verdict import messages
from tuneworthy.verdict import next_action as module
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.base import Cost, Forecast, LabelCeiling, NextAction
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import BASE, RIGHTS, ROWS, Evidence, JudgeEvidence, SearchEvidence
from tuneworthy.verdict.gates import run_gates
from tuneworthy.verdict.options import options_of
from tuneworthy.verdict.outcome import RUNG_OF, DecisionFacts, Ruling, facts_of

LARGE = rung("baseline", "baseline/large", 0.9, status="reference", usd_per_1k=1.0)
REST = [replace(one, score=0.6, status="no_gain", usd_per_1k=1.0) for one in RUNGS if one.rung not in {"classical"}][1:]
SMALL = rung("model", "model/small", 0.6, usd_per_1k=0.05)


def large_today(**more: Any) -> Evidence:
    """A large model that may meet the target, beside a small one that misses it."""
    rungs = [LARGE, *(SMALL if one.rung == "model" else one for one in REST)]
    return project(*rungs, **({"has_examples": False, "target": 0.9} | more))


def test_steps_that_settle_nothing_alone_are_named_together_with_their_cost_in_all() -> None:
    verdict = decide(large_today())
    step = verdict.next_action
    assert "requests_per_month" in step.why and "test cases" in step.why
    assert step.person_minutes is not None and step.person_minutes > module.MINUTES_TO_EDIT
    assert step.chance_to_settle is not None and step.chance_to_settle >= 0.5


def test_without_steps_together_the_first_one_settles_nothing(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_together", lambda _: iter(()))
    step = decide(large_today()).next_action
    assert not ("requests_per_month" in step.why and "test cases" in step.why)


def test_steps_together_cost_no_more_than_knowing_is_worth() -> None:
    for hours in (1.0, 3.0, 6.9, 7.2, 20.0):
        costs = Economics(hours_data=hours, hours_engineering=0, train_hours=0)
        step = decide(large_today(economics=costs)).next_action
        assert module.USD_PER_STEP + (step.person_minutes or 0.0) * module.USD_PER_MINUTE <= hours * costs.usd_per_hour


def test_the_cost_of_steps_together_is_unknown_where_a_part_is() -> None:
    chances = {("could_meet", "model"): (0.5, 0.5)}, {("lever", "unanalysed"): (0.5, 0.5)}
    paid = NextAction(command="tuneworthy run --rung model", why="Compare.", calls=500, usd=3.0, person_minutes=0.0)
    for other, usd, calls in ((0.0, 3.0, 500), (None, None, None)):
        probe = NextAction(
            command="tuneworthy decide --probe", why="Probe.", calls=other, usd=other, person_minutes=1.0
        )  # type: ignore[arg-type]
        (plan,) = module._together([module.Offer(one, its) for one, its in zip((paid, probe), chances, strict=True)])
        assert (plan.action.usd, plan.action.calls, plan.action.person_minutes) == (usd, calls, 1.0)
        assert plan.price == module.USD_PER_STEP + 3.0 + module.USD_PER_MINUTE  # steps are compared by the known part
    unprobed = with_rungs(without="model", errors=None)
    both = "tuneworthy decide --probe && tuneworthy run --rung model"
    step = decide(unprobed, lambda: {"model": Cost(calls=500, usd=3.0)}).next_action
    assert (step.command, step.usd, step.calls) == (both, None, None)
    assert decide(unprobed, tried=both.split(" && ")[1:]).next_action.command == "tuneworthy decide --probe"


def test_where_further_cases_hardly_settle_it_the_step_is_to_choose_another_target() -> None:
    near = [replace(one, score=0.82 if one.rung == "baseline" else 0.5, n_effective=20.0) for one in RUNGS]
    step = decide(project(*near, target=0.85)).next_action
    assert step.command == "" and "`task.target`" in step.why


def unfound(oracle_upper: float, **more: Any) -> Verdict:
    search = SearchEvidence(
        failed=60, not_retrieved=50, lower=0.7, oracle=oracle_upper - 0.05, oracle_upper=oracle_upper
    )
    rungs = [*RUNGS, rung("retrieval", "retrieval/search", 0.6)]
    errors = (failures("knowledge", more.pop("n", 50)), failures("unexplained", 5))
    return decide(project(*rungs, documents=True, search=search, errors=errors, **more))


def test_where_the_search_fails_and_the_oracle_reaches_the_target_the_documents_are_the_lever() -> None:
    assert unfound(0.95).reason_code == "errors_knowledge"
    assert unfound(0.95).outcome == "do_not_fine_tune"


def test_what_later_rungs_gained_counts_for_the_oracle() -> None:
    assert unfound(0.81).reason_code == "errors_knowledge"  # 0.81, and 10 points from 0.60 to 0.70
    assert unfound(0.75).reason_code != "errors_knowledge"


def test_a_search_that_was_measured_is_repaired_and_not_run_again() -> None:
    step = unfound(0.95, n=32).next_action
    assert "[retrieval]" in step.why and "--rung retrieval" not in step.command


def test_a_judge_that_people_overrule_is_replaced_before_documents_are_asked_for() -> None:
    judge = JudgeEvidence(valid=True, detail="Validated.", fix="")
    search = SearchEvidence(failed=60, not_retrieved=5, lower=0.03, oracle=0.9, oracle_upper=0.95)
    rungs = [*RUNGS, rung("retrieval", "retrieval/search", 0.6)]
    unread = (failures("unexplained", 60),)
    for errors, grader, why in (
        (unread, judge, messages.OTHER_JUDGE),
        (unread, None, messages.NAME_DOCUMENTS),
        ((), judge, messages.NAME_DOCUMENTS),
        ((failures("unexplained", 50), failures("format", 10)), judge, messages.NAME_DOCUMENTS),
    ):
        found = decide(project(*rungs, kind="free_text", documents=True, search=search, errors=errors, judge=grader))
        assert why in found.next_action.why


def test_a_grader_that_accepts_copies_is_repaired_and_no_cases_are_added() -> None:
    copies = rung("classical", "classical/nearest", 0.95, status="reference")
    verdict = decide(with_rungs(copies, kind="free_text"))
    assert "Copying the answer" in verdict.reasons[0]
    step = verdict.next_action
    assert step.command == "" and "put a grader first" in step.why and "test cases" not in step.why
    (option,) = [one for one in verdict.options if one.kind == "classical"]
    assert option.target == "unresolved" and verdict.recommendation != option.option
    waived = decide(with_rungs(copies, kind="free_text", waivers={"classical": "form is all that counts"}))
    assert next(one for one in waived.options if one.kind == "classical").target == "met"


def test_a_style_grader_proves_no_answer_without_a_language_model() -> None:
    tagger = rung("classical", "classical/answer_tagger", 0.95, status="reference")
    verdict = decide(with_rungs(tagger, kind="json", style_grader=True))
    assert verdict.outcome == "undecided" and "does not check whether an answer fits" in verdict.reasons[0]
    assert next(one for one in verdict.options if one.kind == "classical").target == "unresolved"
    assert decide(with_rungs(tagger, kind="json")).outcome == "do_not_fine_tune"


def test_own_costs_narrow_the_range_and_the_chance_of_success_is_never_asked_for() -> None:
    own: dict[str, Any] = {name: getattr(Economics(), name) for name in SPREADING} | {"serve_capacity_per_month": 1e6}
    usd = 5.0
    bill = Bill(name="large", usd_per_1k=usd)
    sure = {"ranges": {"success": (1.0, 1.0)}}

    def value(traffic: int, **known: Any) -> bool | None:
        return cost_is_a_reason(bill, usd, Economics(requests_per_month=traffic, **known), 0.1)

    def step(traffic: int, **known: Any) -> NextAction:
        dear = rung("baseline", "baseline/large", 0.97, status="reference", usd_per_1k=usd)
        evidence = large_today(economics=Economics(requests_per_month=traffic, **known))
        rungs = {name: dear if name == "baseline" else one for name, one in evidence.rungs.items()}
        bills = {**evidence.bills, "baseline": replace(evidence.bills["baseline"], usd_per_1k=usd)}
        return decide(replace(evidence, rungs=rungs, bills=bills)).next_action

    traffic = next(n for n in range(100_000, 2_000_000, 5_000) if value(n, **own) is None and value(n, **own, **sure))
    assert value(traffic) is None
    assert step(traffic).why == messages.SET_COSTS
    both = step(3 * traffic, **own, ranges={"traffic": (0.1, 2.0)})
    assert "traffic = [0.1, 2]" in both.why and "success" not in both.why


def test_where_only_the_chance_of_success_is_open_the_answer_is_the_recommendation_with_its_regret() -> None:
    own: dict[str, Any] = {name: getattr(Economics(), name) for name in SPREADING} | {"serve_capacity_per_month": 1e6}
    bill = Bill(name="large", usd_per_1k=5.0)

    def verdict(traffic: int, **known: Any) -> Verdict:
        dear = rung("baseline", "baseline/large", 0.97, status="reference", usd_per_1k=5.0)
        evidence = large_today(economics=Economics(requests_per_month=traffic, **own, **known))
        rungs = {name: dear if name == "baseline" else one for name, one in evidence.rungs.items()}
        return decide(replace(evidence, rungs=rungs, bills={**evidence.bills, "baseline": bill}))

    sure = {"ranges": {"success": (1.0, 1.0)}}
    open_costs = (
        n
        for n in range(100_000, 2_000_000, 5_000)
        if cost_is_a_reason(bill, 5.0, Economics(requests_per_month=n, **own), 0.1) is None
        and cost_is_a_reason(bill, 5.0, Economics(requests_per_month=n, **own, **sure), 0.1)
    )
    traffic = next(open_costs)
    found = verdict(traffic)
    assert (found.outcome, found.reason_code) == ("do_not_fine_tune", "not_worth_knowing")
    assert found.recommendation == "baseline/large" and "may save up to $" in found.reasons[0]
    assert verdict(traffic, **sure).outcome == "fine_tune"
    busiest = verdict([traffic, *open_costs][-1])  # training pays in the middle of its range
    assert (busiest.outcome, busiest.reason_code) == ("fine_tune", "cost")


def test_a_missing_price_of_today_is_named_before_any_range() -> None:
    free = rung("baseline", "baseline/large", 0.97, status="reference", usd_per_1k=None)
    paid = rung("few_shot", "few_shot/fixed-4", 0.97, usd_per_1k=5.0)
    rungs = [{"baseline": free, "few_shot": paid}.get(one.rung, replace(one, usd_per_1k=1.0)) for one in REST]
    busy = Economics(requests_per_month=20_000_000)
    evidence = project(free, *(one for one in rungs if one.rung != "baseline"), economics=busy, smaller_usd=0.1)
    verdict = decide(evidence)
    assert (
        verdict.reason_code == "cost_unknown" and "price of the model behind baseline/large" in verdict.next_action.why
    )


def test_no_step_is_sure_to_settle_the_cost_while_a_range_stays_open() -> None:
    own: dict[str, Any] = {name: getattr(Economics(), name) for name in SPREADING} | {"serve_capacity_per_month": 1e6}
    for known in ({}, own):
        step = decide(large_today(target=0.85, economics=Economics(**known))).next_action
        assert "requests_per_month" in step.why and step.chance_to_settle == module.MAX_MONEY
    sure = {"ranges": {"success": (1.0, 1.0)}}
    assert (
        decide(large_today(target=0.85, economics=Economics(**own, **sure))).next_action.chance_to_settle == module.SURE
    )


def test_an_option_that_may_do_at_an_unknown_price_is_named_and_its_price_asked_for() -> None:
    dear = rung("baseline", "baseline/large", 0.97, status="reference", usd_per_1k=1.0)
    tiny = rung("few_shot", "few_shot/tiny", 0.6, status="no_gain", usd_per_1k=0.05)

    def verdict(usd: float | None) -> Verdict:
        small = rung("model", "model/small", 0.95, status="no_gain", usd_per_1k=usd)
        others = [one for one in REST if one.rung not in {"model", "few_shot"}]
        busy = Economics(requests_per_month=20_000_000)
        return decide(project(dear, small, tiny, *others, has_examples=False, target=0.9, economics=busy))

    assert verdict(0.9).outcome == "fine_tune" and verdict(0.1).outcome == "do_not_fine_tune"
    found = verdict(None)
    assert found.outcome == "undecided" and found.recommendation == "baseline/large"
    assert found.reason_code == "cost_unknown" and found.reasons[0].startswith("model/small")
    assert messages.set_price("model/small") in found.next_action.why


def test_every_cheap_lever_tried_still_leads_to_training() -> None:
    assert decide(worth_it()).outcome == "fine_tune"


def test_what_people_say_of_labels_counts_where_no_models_could_be_asked_and_before_what_models_say() -> None:
    unprobed = worth_it(errors=(failures("unexplained", 60),))
    assert decide(unprobed).outcome == "fine_tune"
    confirmed = replace(unprobed, relabelled=15, labels_confirmed=True)
    assert decide(confirmed).outcome == "do_not_fine_tune"
    assert decide(replace(confirmed, labels_confirmed=False)).outcome == "fine_tune"
    open_still = decide(replace(confirmed, labels_confirmed=None, suspects=15))
    assert open_still.outcome == "undecided" and "suspects" in open_still.next_action.command
    for found in (decide(confirmed), open_still):
        assert found.reasons[0].startswith("People relabelled 15 wrong answers")
    assert decide(confirmed).next_action.why.startswith("Correct the expected answers")
    few = worth_it(errors=(failures("unexplained", 58), failures("label_or_grader", 2)))
    assert decide(few).outcome == "fine_tune"
    assert decide(replace(few, relabelled=15, labels_confirmed=None, suspects=15)).outcome == "undecided"


@pytest.mark.slow
def test_six_options_that_may_all_be_too_slow_and_may_all_meet_the_target_are_soon_looked_through(
    monkeypatch: Any,
) -> None:
    futures = count()
    whole = module.decided

    def counted(facts: DecisionFacts) -> Ruling | None:
        assert next(futures) < 10_000
        return whole(facts)

    monkeypatch.setattr(module, "decided", counted)
    between: dict[str, Any] = {"latency_p95_ms": 800.0, "latency_p95_ci": (700.0, 900.0)}
    rungs = [replace(one, score=0.84, usd_per_1k=1.0 + n, **between) for n, one in enumerate(RUNGS)]
    verdict = decide(project(*rungs, target=0.85, limits=Constraints(p95_ms=800)))
    assert verdict.outcome == "undecided" and verdict.next_action.chance_to_settle is not None


def test_where_a_price_leaves_open_whether_training_pays_the_price_is_asked_for_and_not_the_traffic() -> None:
    rungs = [replace(one, usd_per_1k=None) for one in RUNGS]
    numbers = Economics(requests_per_month=100, usd_per_wrong_answer=0.01)
    verdict = decide(project(*rungs, economics=numbers))
    assert (verdict.outcome, verdict.reason_code) == ("undecided", "pays_unknown")
    assert verdict.reasons[0].startswith("Whether training pays off depends on the price of ")
    assert "Set the price of the model behind " in verdict.next_action.why
    assert "requests_per_month" not in verdict.next_action.why


def skipped(name: str, reason: str, status: str = "skipped") -> Any:
    return rung(name, "", None, status=status, reason=reason)


NO_PACKAGE = 'The search index needs the package LanceDB. Run `pip install "tuneworthy[rag]"`.'


def test_a_rung_that_a_missing_package_skipped_is_run_once_the_package_is_installed() -> None:
    named: dict[str, Any] = {"documents": True, "documents_named": True}
    step = decide(with_rungs(skipped("retrieval", NO_PACKAGE), **named)).next_action
    assert step.command == 'pip install "tuneworthy[rag]" && tuneworthy run --rung retrieval'
    assert decide(worth_it(**named)).next_action.command == "tuneworthy run --rung retrieval"


def test_a_rung_that_failed_is_not_just_run_again() -> None:
    step = decide(with_rungs(skipped("model", "the key is refused", "failed"))).next_action
    assert step.why.startswith("Fix the cause") and "`other_models`" in step.why


def test_a_rung_that_the_project_leaves_out_is_added_before_it_is_run() -> None:
    step = decide(with_rungs(without="model", left_out=["model"])).next_action
    assert step.why.startswith("Add `model` to `ladder.rungs`") and step.command == "tuneworthy run --rung model"
    assert decide(with_rungs(without="model")).next_action.why.startswith("Compare these rungs")


def test_a_command_that_changed_nothing_is_not_named_again() -> None:
    evidence = with_rungs(skipped("model", "the key is refused", "failed"))
    first = decide(evidence).next_action
    again = decide(evidence, tried=[first.command]).next_action
    assert first.command and again.command != first.command and str(again) != str(first)
    judge = JudgeEvidence(valid=False, detail="It passed a canary.", fix=messages.OTHER_JUDGE)
    assert decide(worth_it(judge=judge)).next_action.command == "tuneworthy run"
    assert decide(worth_it(judge=judge), tried=["tuneworthy run"]).next_action.command == ""


@pytest.mark.parametrize(
    ("lacking", "command"),
    [
        ({}, "tuneworthy data build"),
        ({ROWS: messages.IMPORT_ROWS}, "tuneworthy data build FILE"),
        ({ROWS: messages.DISTILL_ROWS}, "tuneworthy data distill FILE"),
        ({ROWS: messages.DISTILL_ROWS, RIGHTS: messages.OTHER_TEACHER}, "tuneworthy data distill"),
    ],
)
def test_training_without_rows_or_rights_names_them_and_begins_with_getting_them(lacking: Any, command: str) -> None:
    verdict = decide(worth_it(lacking=lacking))
    assert verdict.outcome == "fine_tune" and verdict.next_action.command == command
    assert verdict.options[-1].needs == ", ".join([*lacking, "dataset and pilot"])


def test_training_without_a_base_begins_with_a_base_once_the_data_is_ready() -> None:
    assert decide(ready(forecast=Forecast(status="unknown"))).next_action.command == "tuneworthy train --pilot"
    step = decide(ready(forecast=Forecast(status="unknown"), lacking={BASE: "Set [train] base."})).next_action
    assert step.why.startswith("Set [train] base.") and step.command == ""


def small_open(requests: int, n: int) -> Verdict:
    """Today meets the target of 90%; a model at a tenth of the price scores 89.85% of `n` cases."""
    own: dict[str, Any] = {name: getattr(Economics(), name) for name in SPREADING} | {"serve_capacity_per_month": 1e9}
    size: dict[str, Any] = {"n": n, "n_effective": float(n)}
    today = rung("baseline", "baseline/large", 0.905, status="reference", usd_per_1k=1.0, **size)
    small = rung("model", "model/small", 0.8985, usd_per_1k=0.1, **size)
    rest = [replace(one, score=0.6) for one in REST if one.rung not in {"baseline", "model"}]
    economics = Economics(requests_per_month=requests, **own, ranges={"success": (1.0, 1.0)})
    return decide(project(today, small, *rest, has_examples=False, n_test=n, economics=economics))


def test_a_step_that_costs_more_than_it_saves_in_a_year_is_not_offered() -> None:
    for requests, n in ((2_000_000, 2_000), (200_000_000, 20_000)):
        found = small_open(requests, n)
        assert found.outcome == "undecided" and found.next_action.command == "tuneworthy cases add"
        assert found.next_action.person_minutes and found.next_action.chance_to_settle
    dear = small_open(2_000_000, 20_000)
    assert (dear.outcome, dear.reason_code) == ("do_not_fine_tune", "not_worth_knowing")
    assert dear.recommendation == "baseline/large" and dear.next_action.command == ""
    regret = "model/small scores 0.7 points lower and costs $200.00 a month instead of $2,000.00 a month"
    assert regret in dear.reasons[0]
    little = small_open(100_000, 2_000)  # training never pays
    assert little.reason_code == "target_met"
    assert "model/small scores 0.7 points lower and costs $10.00 a month" in little.reasons[0]


def test_without_the_worth_of_knowing_the_step_is_offered(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_worth", lambda *_: float("inf"))
    assert small_open(2_000_000, 20_000).outcome == "undecided"


BUSY: Any = {"economics": Economics(requests_per_month=20_000_000), "target": 0.8}


def good_enough(*changed: Any, **more: Any) -> Evidence:
    """Today's large model meets the target; a smaller one may be trained."""
    rungs = [LARGE, *({one.rung: one for one in REST} | {one.rung: one for one in changed}).values()]
    rungs = [*{one.rung: one for one in rungs[:1] + rungs[2:]}.values()]
    return project(*rungs, **(BUSY | {"has_examples": False, "smaller_usd": 1.0} | more))


def test_a_step_that_failed_leaves_the_question_open_and_says_why() -> None:
    down = good_enough(skipped("model", "small is not available: 503", "failed"))
    spent = good_enough(SMALL, incomplete="The run is incomplete: stopped at the rung few_shot: The budget of $1.9 is")
    for evidence, cause in ((down, "small is not available: 503"), (spent, "Raise `ladder.budget_usd`")):
        first = decide(evidence)
        assert first.outcome == "undecided" and first.next_action.command and cause in first.next_action.why
        again = decide(evidence, tried=[first.next_action.command])
        assert (again.outcome, again.next_action.command) == ("undecided", "") and cause in again.next_action.why
    changed = decide(good_enough(SMALL, stale=("the prompt has changed",))).next_action
    assert changed.why.startswith(messages.RUN)
    free = decide(good_enough(SMALL, stale=("task.target was not set",), economics=Economics())).next_action
    assert (free.why, free.command) == (messages.RUN, "tuneworthy run")  # the traffic is asked for only afterwards
    assert decide(good_enough(SMALL, smaller_usd=0.05)).outcome == "fine_tune"


def test_an_open_gate_is_never_not_worth_knowing(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MIN_CHANCE", 2.0)
    assert decide(good_enough(SMALL, stale=("the prompt has changed",))).outcome == "undecided"
    assert decide(good_enough(skipped("model", "not run"))).reason_code == "not_worth_knowing"


def test_rungs_that_a_run_did_not_reach_are_run_and_no_model_is_asked_for() -> None:
    late = replace(skipped("model", "not run, as the target was already met"), reason_code="target_met")
    step = decide(good_enough(late)).next_action
    assert step.command == "tuneworthy run --rung model" and step.why.startswith("Compare these rungs")
    assert "smaller model" not in step.why
    failed = decide(good_enough(skipped("model", "the key is refused"))).next_action
    assert failed.why.startswith("Fix the cause") and "smaller model" not in failed.why
    alike = replace(SMALL, usd_per_1k=1.0)
    named = decide(good_enough(alike)).next_action
    assert "Add a smaller model" in named.why and "`other_models`" in named.why
    ended = decide(good_enough(alike, waivers={"other_models": "the contract allows one model"}))
    assert (ended.outcome, ended.reason_code) == ("do_not_fine_tune", "not_worth_knowing")
    assert "may save up to $" in ended.reasons[0]


def test_options_of_one_model_are_one_draw_of_whether_they_meet_the_target() -> None:
    def chance(*models: str, each: tuple[float, float] = (0.5, 0.2)) -> float:
        names = ("baseline", "prompt", "model", "few_shot")
        rungs = [
            rung(name, f"{name}/x", 0.9, status="no_gain", model=model)
            for name, model in zip(names, models, strict=False)
        ]
        evidence = project(*rungs, target=0.91, waivers=dict.fromkeys(("classical", *RUNG_OF), "tried"))
        options = options_of(evidence)
        facts = facts_of(evidence, run_gates(evidence), options)
        step = {("meets", one.option): each for one in options if one.kind != "tuned"}
        return module._Futures(replace(facts, values=facts.values | {("pays", ""): True})).chance(step)  # type: ignore[arg-type]

    one = chance("a")
    assert 0.5 <= one <= 0.7
    assert chance("a", "a", "a", "a") == pytest.approx(one)
    assert chance("a", "b", "c", "d") > chance("a", "b", "a", "b") > one


def test_while_a_critical_recall_is_open_only_cases_of_that_label_are_added() -> None:
    found = {"ok": 1.0, "critical": 0.9}
    compared = [replace(one, recall_n={"critical": 10}) for one in RUNGS if one.rung in {"baseline", "model"}]
    rungs = [replace(one, score=0.97, recall=found) for one in compared]
    more: dict[str, Any] = {"label_cases": {"ok": 190, "critical": 10}, "economics": BUSY["economics"]}
    step = decide(project(*rungs, critical={"critical": 0.8}, **more)).next_action
    assert "label `critical`" in step.why and "to the file of [cases]" not in step.why
    unresolved = [replace(one, score=0.87, recall=found) for one in rungs]
    assert "to the file of [cases]" in decide(project(*unresolved, **more)).next_action.why


def test_a_critical_label_that_is_nowhere_is_corrected() -> None:
    rungs = [replace(one, score=0.97) for one in RUNGS if one.rung in {"baseline", "model"}]
    more: dict[str, Any] = {"economics": BUSY["economics"], "critical": {"purple": 0.8}}
    step = decide(project(*rungs, **more, label_cases={"ok": 190, "no": 9})).next_action
    assert "Correct `task.critical`" in step.why and not step.command
    step = decide(project(*rungs, **more, label_cases={"ok": 190, "no": 9, "purple": 0})).next_action
    assert "test cases with" in step.why


def test_a_score_that_is_not_shown_to_beat_the_frequent_answer_says_so() -> None:
    counts = {"ok": 180, "fraud": 60}
    rungs = [
        replace(one, score=0.99, beats_majority=False, recall={"ok": 1.0, "fraud": 0.9}, recall_n=counts)
        for one in RUNGS
        if one.rung in {"baseline", "model"}
    ]

    def told(target: float, share: float, **more: Any) -> Verdict:
        balance = LabelBalance(label="ok", share=share, n=100, score=share, rarest=1 - share)
        return decide(
            project(*rungs, target=target, balance=balance, label_cases=counts, economics=BUSY["economics"], **more)
        )

    easy, near = told(0.9, 0.97), told(0.985, 0.98)
    assert "`task.critical`" in easy.next_action.why and "cases add" not in easy.next_action.why
    assert "most frequent answer" in easy.reasons[0] and "may or may not" not in easy.reasons[0]
    assert "cases add" in near.next_action.why and near.next_action.chance_to_settle < module.SURE
    assert easy.options[0].target == "unresolved" == near.options[0].target
    named = [told(0.9, 0.97, critical={label: 0.5}).options[0].target for label in ("ok", "fraud")]
    assert named == ["unresolved", "met"]


def test_the_traffic_comes_first_of_steps_together() -> None:
    alone = [one for one in REST if one.rung not in {"baseline", "model"}]
    step = decide(project(LARGE, *alone, target=0.8, has_examples=False, other_models=0, smaller_usd=1.0)).next_action
    assert step.why.startswith("Set `economics.requests_per_month`.") and "Add a model to [models]" in step.why


def test_once_people_found_the_labels_right_the_waiver_settles_why_dev_differs() -> None:
    dev = CandidateResult(variant="v", name="baseline/small", n=200, score=0.05, ci95=(0.02, 0.09))
    today = replace(RUNGS[1], candidates=(dev,))
    audit = LabelCeiling(share=0.0, ci95=(0.0, 0.02), ceiling=1.0, n=100, decides=False)

    def step(suspects: int, **more: Any) -> Verdict:
        return decide(with_rungs(today, label_ceiling=audit, suspects=suspects, **more))

    assert step(12).next_action.command == "tuneworthy label suspects"
    assert step(0).next_action.why == messages.WAIVE_DEV and step(0).outcome == "undecided"
    assert step(0, waivers={"dev": "as people found"}).outcome == "fine_tune"
