"""What a verdict says of itself is true and complete: headline, limits, next step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.report.report_records import plain
from tests.verdict.planted import failures, project, rung, with_rungs, worth_it

from tuneworthy.config.ladder import Constraints
from tuneworthy.ladder.record import LabelBalance
from tuneworthy.money.serving import RunningCost, Way
from tuneworthy.report.first_screen import answer_and_reasons
from tuneworthy.stats.intervals import quantile_interval
from tuneworthy.verdict.answer import StoredVerdict
from tuneworthy.verdict.base import NextAction
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import RungEvidence
from tuneworthy.verdict.next_action import MAX_DOCUMENTS, MAX_RUN, SURE
from tuneworthy.verdict.options import FEWEST_TIMED, Option, cost_note, legend


def test_without_a_target_the_report_needs_a_target_and_no_more_evidence() -> None:
    verdict = StoredVerdict(verdict=decide(worth_it(target=None)), changed=[])
    _, answer, reasons = answer_and_reasons(plain(), verdict)
    assert answer == "Undecided" and "sets no target" in reasons[0]


def straddling(name: str, variant: str, score: float, upper: float | None = 180.0) -> RungEvidence:
    """A rung whose latency leaves a limit of 150 ms open."""
    return rung(name, variant, score, status="adopted", latency_p95_ms=160.0, latency_p95_ci=(140.0, upper))


def test_an_open_limit_names_the_option_and_its_interval_and_marks_every_other() -> None:
    rungs = [straddling("baseline", "baseline/small", 0.6), straddling("model", "model/strong", 0.97)]
    found = decide(project(*rungs, limits=Constraints(p95_ms=150.0)))
    assert found.outcome == "undecided" and found.reasons[0].startswith("Whether model/strong meets the latency limit")
    assert "([140, 180] ms) contains the limit of 150 ms" in found.reasons[0]
    assert all("contains the limit" in option.notes[0] for option in found.options if option.kind != "fine_tune")


def test_too_few_timed_calls_are_named() -> None:
    assert quantile_interval(range(FEWEST_TIMED - 1), 0.95)[1] is None
    assert quantile_interval(range(FEWEST_TIMED), 0.95)[1] is not None
    open_above = straddling("model", "model/strong", 0.97, None)
    found = decide(with_rungs(open_above, limits=Constraints(p95_ms=150.0)))
    assert f"fewer than {FEWEST_TIMED} timed calls cannot show" in found.reasons[0]


def test_an_open_limit_of_an_option_that_misses_the_target_opens_nothing() -> None:
    slow = rung("model", "model/strong", 0.97, violated="too slow", status="violates_constraint")
    more: dict[str, Any] = {"limits": Constraints(p95_ms=150.0), "errors": None}
    found = decide(with_rungs(straddling("baseline", "baseline/small", 0.3), slow, **more))
    assert found.reason_code == "distil_unknown" and "Whether baseline/small meets the latency" in found.reasons[0]


def test_a_command_is_an_instruction_and_several_actions_name_each_of_theirs() -> None:
    assert str(NextAction(command="tuneworthy run", why="Measure it")) == "Measure it. Run `tuneworthy run`."
    action = decide(with_rungs(without="prompt", best="model", errors=None)).next_action
    assert "Run `tuneworthy decide --probe`." in str(action) and "Run `tuneworthy run --rung prompt`." in str(action)


def test_what_stands_for_a_number_in_the_table_is_explained_only_where_it_is_there() -> None:
    open_target = Option(option="a", rung="model", kind="variant", target="unresolved")
    server = Way(usd_per_month=500.0, capacity=1e6)
    served = replace(open_target, target="missed", running=RunningCost(usd_per_1k=0.0, ways=(server,)))
    assert [line.partition(":")[0] for line in legend([open_target])] == ["unresolved"]
    assert [line.partition(":")[0] for line in legend([served])] == ["server"]
    crossed = (("met", (0.79, 0.9), True), ("met", (0.81, 0.9), False), ("missed", (0.7, 0.81), True))
    for target, ci95, explained in (*crossed, ("missed", (0.7, 0.79), False)):
        one = replace(open_target, target=target, ci95=ci95)
        assert [line.partition(":")[0] for line in legend([one], 0.8)] == [target] * explained
    assert legend([replace(served, usd_per_month=500.0)]) == []
    silent = replace(open_target, target="met", unreported=0.5)
    assert [line.partition(":")[0] for line in legend([silent, silent])] == ["upper limit"]


def test_labels_beyond_the_first_three_that_are_hardly_found_are_counted() -> None:
    balance = LabelBalance(label="a", share=0.5, n=100, score=0.5, rarest=0.02)
    few = with_rungs(rung("baseline", "baseline/small", 0.6, recall=dict.fromkeys("bcd", 0.0)), balance=balance)
    many = with_rungs(rung("baseline", "baseline/small", 0.6, recall=dict.fromkeys("bcdefg", 0.0)), balance=balance)
    notes = [next(one for one in decide(some).options if one.kind == "today").notes for some in (few, many)]
    assert len(notes[0]) == 3 and "recall of `d`: 0.0%" in notes[0]
    assert notes[1][3:] == ["and 3 more labels with a recall of at most 10.0%"]


def test_steps_that_are_named_together_begin_with_the_cheapest() -> None:
    step = decide(with_rungs(without="prompt", best="model", errors=None, other_models=0)).next_action
    why = step.why
    assert why.index("--probe") < why.index("[models]"), why


def test_no_chance_is_called_certain() -> None:
    steps = [decide(some).next_action for some in (with_rungs(without="prompt"), with_rungs(without="few_shot"))]
    assert all(0 < (step.chance_to_settle or 0.0) <= MAX_RUN < SURE < 1 for step in steps)
    documents = decide(
        with_rungs(kind="free_text", answers_open=True, errors=(failures("unexplained", 60),))
    ).next_action
    assert "[documents]" in documents.why and documents.chance_to_settle == MAX_DOCUMENTS


def test_a_month_says_what_it_is_made_of_where_answers_are_not_all_of_it() -> None:
    running = RunningCost(usd_per_1k=2.0, upkeep_usd=300.0)  # 10,000 requests: $20, servers $80
    option = Option(option="a", rung="fine_tune", kind="tuned", usd_per_1k=40.0, usd_per_month=400.0, running=running)
    assert cost_note(option) == "Monthly cost: $20 for answers, $80 for servers, $300 for upkeep and retraining."
    assert not cost_note(replace(option, usd_per_1k=2.0, usd_per_month=20.0, running=RunningCost(usd_per_1k=2.0)))
    assert not cost_note(replace(option, usd_per_month=None)) and not cost_note(replace(option, running=None))
    assert "Monthly cost: $20" in cost_note(replace(option, unreported=0.5)) and "upper limit" in cost_note(
        replace(option, unreported=0.5)
    )
    server = replace(option, usd_per_1k=58.4, usd_per_month=584.0, running=RunningCost(usd_per_1k=0.0))
    assert not cost_note(server)  # the legend says what a server costs
