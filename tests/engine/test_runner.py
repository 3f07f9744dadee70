"""The runner: retries by code, stops when it must, loses nothing, asks nothing twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from asking import DOLLAR_A_CALL, VARIANT, World, fault, play, questions

from tuneworthy.engine import runner
from tuneworthy.engine.latency import Latency, measure_latency, measure_together, time_calls
from tuneworthy.engine.runner import DOWN_AFTER, RATE_LIMIT_RETRIES
from tuneworthy.errors import AuthError, BudgetSpent, OutsideFault, UserError
from tuneworthy.providers.drain import AT_ONCE
from tuneworthy.providers.prices import Price, TokenRates
from tuneworthy.types import Case, OutputFormat, Response


def test_traces_come_in_the_order_of_the_cases_with_each_cases_repeats_together(tmp_path: Path) -> None:
    async def script(text: str, nth: int) -> str:
        await asyncio.sleep(10 - int(text[1:]))  # the last one asked answers first
        return f"{text} {nth}"

    world = World(tmp_path, script)
    traces = play(world.ask(questions(9), repeats=range(3)))
    assert [(trace.case_id, trace.repeat) for trace in traces] == [(f"c{i}", r) for i in range(9) for r in range(3)]
    assert [trace.text for trace in traces] == [f"q{i} {r + 1}" for i in range(9) for r in range(3)]
    assert all(trace.variant_id == VARIANT.id and not trace.stored for trace in traces)


@pytest.mark.parametrize("price", [None, DOLLAR_A_CALL])
def test_no_call_is_sent_whose_answer_could_not_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, price: Price | None
) -> None:
    play(World(tmp_path, price=price).ask(questions(2)))
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    world = World(tmp_path, price=price)
    with pytest.raises(UserError, match="key"):
        play(world.ask(questions(3, first=2)))
    assert not world.provider.calls and world.budget.spent_usd == world.store.spending().usd


def test_repeats_of_a_case_are_asked_one_after_the_other(tmp_path: Path) -> None:
    running: set[str] = set()

    async def script(text: str, nth: int) -> str:
        assert text not in running
        running.add(text)
        await asyncio.sleep(1)
        running.remove(text)
        return text

    play(World(tmp_path, script, concurrency=50).ask(questions(10), repeats=range(4)))


def test_a_second_run_asks_nothing_and_gives_the_same_traces(tmp_path: Path) -> None:
    world = World(tmp_path, price=DOLLAR_A_CALL)
    first = play(world.ask(questions(20), repeats=range(2)))
    again = World(tmp_path, price=DOLLAR_A_CALL)
    second = play(again.ask(questions(20), repeats=range(2)))
    assert not again.provider.calls
    assert [(t.case_id, t.repeat, t.response, t.cost_usd) for t in first] == [
        (t.case_id, t.repeat, t.response, t.cost_usd) for t in second
    ]
    assert all(trace.stored for trace in second)
    assert again.budget.spent_usd == pytest.approx(world.budget.spent_usd)


@pytest.mark.parametrize("old", [None, Price(rates=TokenRates(input=0.0, output=1.0))])
def test_a_price_that_is_set_later_applies_to_stored_answers(tmp_path: Path, old: Price | None) -> None:
    play(World(tmp_path, price=old).ask(questions(3)))
    spent = World(tmp_path).budget.spent_usd
    priced = World(tmp_path, price=DOLLAR_A_CALL)
    traces = play(priced.ask(questions(3)))
    assert not priced.provider.calls
    assert [trace.cost_usd for trace in traces] == pytest.approx([0.1] * 3)
    assert [trace.cost_usd for trace in priced.runner.stored(VARIANT, questions(3))] == pytest.approx([0.1] * 3)
    assert priced.runner.spending.usd == pytest.approx(0.3)
    assert priced.budget.spent_usd == pytest.approx(spent)


def test_a_price_that_is_set_later_applies_in_full_to_answers_without_usage(tmp_path: Path) -> None:
    answer = Response(text="a")
    play(World(tmp_path, lambda text, nth: answer).ask(questions(1)))
    priced = World(tmp_path, price=DOLLAR_A_CALL)
    (trace,) = play(priced.ask(questions(1)))
    assert trace.cost_usd == pytest.approx(1.0)
    assert priced.runner.doubtful["m"] == 1


def test_what_is_stored_can_be_read_without_a_model(tmp_path: Path) -> None:
    world = World(tmp_path)
    play(world.ask(questions(5)))
    found = world.runner.stored(VARIANT, questions(8))
    assert [trace.text for trace in found] == [f"answer to q{i}" for i in range(5)]
    assert world.runner.sent == 5


def test_a_stored_answer_is_served_to_no_other_question_variant_or_model(tmp_path: Path) -> None:
    world = World(tmp_path, lambda text, nth: f"{world.provider.calls.total()}")
    (case,) = questions(1)
    variants = [
        VARIANT,
        replace(VARIANT, system="Be short."),
        replace(VARIANT, user="{{ input }}?"),
        replace(VARIANT, max_tokens=11),
        replace(VARIANT, decoding={"temperature": 0}),
        replace(VARIANT, decoding={"temperature": 0.0, "top_p": 1}),
        replace(VARIANT, stop=("x",)),
        replace(VARIANT, output=OutputFormat(kind="choice", choices=("a",))),
        replace(VARIANT, output=OutputFormat(kind="choice", choices=("a", "b"))),
        replace(VARIANT, output=OutputFormat(kind="json_schema", schema={"type": "object"})),
    ]
    tools = ({"type": "function", "function": {"name": "f"}},)
    cases = [case, replace(case, input="other"), replace(case, tools=tools), replace(case, input={"input": "q0"}),
             replace(case, input=None, messages=({"role": "user", "content": "q0"},))]  # fmt: skip
    pairs = [(variant, one) for variant in variants for one in cases
             if not one.messages or variant.user == VARIANT.user]  # messages need no template  # fmt: skip

    async def main() -> list[str]:
        traces = []
        for variant, one in pairs:
            traces += await world.runner.run(variant, world.model, [one], repeats=range(2))
            traces += await world.runner.run(variant, world.model, [one], logprobs=3)
        return [trace.text for trace in traces]

    texts = play(main())
    assert len(texts) == len(set(texts)) == world.provider.calls.total() == 3 * len(pairs) == 3 * 49


def test_cases_that_ask_the_same_are_asked_once_and_get_one_answer(tmp_path: Path) -> None:
    world = World(tmp_path, lambda text, nth: f"{nth}")
    twins = [Case(id=name, input="the same", expected="x") for name in "abc"]
    traces = play(world.ask(twins))
    assert world.provider.calls["the same"] == 1
    assert [(trace.case_id, trace.text) for trace in traces] == [("a", "1"), ("b", "1"), ("c", "1")]


def test_two_runs_at_once_over_the_same_questions_see_the_same_answers(tmp_path: Path) -> None:
    world = World(tmp_path, lambda text, nth: f"{nth}", price=DOLLAR_A_CALL)

    async def main() -> list[list[str]]:
        pair = await asyncio.gather(world.ask(questions(6)), world.ask(questions(6)))
        return [[trace.text for trace in traces] for traces in pair]

    left, right = play(main())
    assert left == right
    # what was asked twice was paid twice, and counts twice: here and for the next process
    assert world.store.spending().usd == pytest.approx(0.1 * world.provider.calls.total())
    assert world.budget.spent_usd == pytest.approx(world.store.spending().usd)


@pytest.mark.parametrize("code", ["server", "timeout", "connection", "incomplete", "crash"])
def test_a_failure_that_may_pass_is_tried_again(tmp_path: Path, code: str) -> None:
    world = World(tmp_path, lambda text, nth: fault(code) if nth <= 2 else "late")
    traces = play(world.ask(questions(12)))
    assert {trace.text for trace in traces} == {"late"}
    assert set(world.provider.calls.values()) == {3}


@pytest.mark.parametrize("failures", [1, 9])
def test_an_answer_that_cannot_be_read_is_asked_for_once_more(tmp_path: Path, failures: int) -> None:
    world = World(tmp_path, lambda text, nth: fault("malformed") if text == "q9" and nth <= failures else "ok")
    traces = play(world.ask(questions(12)))
    assert world.provider.calls["q9"] == 2
    assert [trace.case_id for trace in traces if trace.error] == ([] if failures == 1 else [traces[9].case_id])


def test_a_retry_waits_as_long_as_the_provider_says_but_not_for_a_day(tmp_path: Path) -> None:
    waits = {"q0": 7.0, "q1": 86_400.0}
    world = World(tmp_path, lambda text, nth: fault("rate_limit", after=waits[text]) if nth == 1 else "ok", seconds=0)

    async def main(name: int) -> float:
        before = asyncio.get_running_loop().time()
        await world.ask(questions(1, first=name))
        return asyncio.get_running_loop().time() - before

    assert 7.0 <= play(main(0)) <= 7.7
    assert 60.0 <= play(main(1)) <= 66.0


def test_pushbacks_do_not_use_up_the_retries(tmp_path: Path) -> None:
    world = World(tmp_path, lambda text, nth: fault("rate_limit", after=1) if nth <= 20 else "ok", retries=1)
    assert play(world.ask(questions(3)))[0].text == "ok"


def test_a_provider_that_only_pushes_back_is_given_up_in_the_end(tmp_path: Path) -> None:
    world = World(tmp_path, lambda text, nth: fault("rate_limit", after=1))
    with pytest.raises(OutsideFault, match="played rate_limit"):
        play(world.ask(questions(3)))
    assert max(world.provider.calls.values()) <= RATE_LIMIT_RETRIES + 1


def test_a_spent_quota_stops_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, lambda text, nth: fault("rate_limit", retryable=False), concurrency=2)
    with pytest.raises(OutsideFault, match="quota"):
        play(world.ask(questions(100)))
    assert world.provider.calls.total() <= 2


def test_a_refused_key_stops_at_once(tmp_path: Path) -> None:
    async def main() -> float:
        with pytest.raises(AuthError, match="Check the API key") as caught:
            await world.ask(questions(100))
        assert caught.value.exit_status == 2
        return asyncio.get_running_loop().time()

    async def script(text: str, nth: int) -> object:
        await asyncio.sleep(1000 if text == "q1" else 0.1)  # one of the others hangs
        return fault("auth", retryable=False)

    world = World(tmp_path, script, concurrency=4)
    assert play(main()) < 6
    assert world.provider.calls.total() <= 4


def test_calls_in_flight_when_a_run_stops_come_to_their_end_and_are_kept(tmp_path: Path) -> None:
    async def script(text: str, nth: int) -> object:
        await asyncio.sleep(1 if text == "q0" else 3)
        return fault("auth", retryable=False) if text == "q0" else "ok"

    world = World(tmp_path, script, price=DOLLAR_A_CALL, concurrency=4)
    with pytest.raises(AuthError):
        play(world.ask(questions(100)))
    assert len(world.store) == 3
    assert world.provider.calls.total() == 4
    assert world.store.spending().usd == pytest.approx(0.3)


def test_a_server_that_is_not_there_is_reported_within_seconds(tmp_path: Path) -> None:
    async def main() -> float:
        with pytest.raises(OutsideFault, match="played connection") as caught:
            await world.ask(questions(100))
        assert caught.value.exit_status == 5
        return asyncio.get_running_loop().time()

    world = World(tmp_path, lambda text, nth: fault("connection"), seconds=0.01)
    assert play(main()) < 3


def test_a_server_that_goes_away_for_ten_seconds_is_waited_for(tmp_path: Path) -> None:
    def script(text: str, nth: int) -> object:
        return fault("connection") if 3 < asyncio.get_running_loop().time() < 13 else "ok"

    traces = play(World(tmp_path, script).ask(questions(100)))
    assert {trace.text for trace in traces} == {"ok"}


def test_a_server_that_goes_away_for_good_stops_the_run_and_what_came_is_kept(tmp_path: Path) -> None:
    def script(text: str, nth: int) -> object:
        return fault("connection") if asyncio.get_running_loop().time() > 3 else "ok"

    world = World(tmp_path, script)
    with pytest.raises(OutsideFault):
        play(world.ask(questions(100)))
    kept = len(world.store)
    assert kept >= 16
    again = World(tmp_path)
    play(again.ask(questions(100)))
    assert again.provider.calls.total() == 100 - kept


def test_a_server_that_only_fails_is_down(tmp_path: Path) -> None:
    with pytest.raises(OutsideFault, match="played server"):
        play(World(tmp_path, lambda text, nth: fault("server")).ask(questions(100)))
    with pytest.raises(OutsideFault, match="no case got an answer"):
        play(World(tmp_path, lambda text, nth: fault("server")).ask(questions(1)))


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("code", ["server", "timeout", "malformed", "crash"])
def test_a_case_that_always_fails_becomes_a_trace_with_an_error_and_its_siblings_finish(
    tmp_path: Path, code: str, concurrency: int
) -> None:
    world = World(tmp_path, lambda text, nth: fault(code) if text == "q9" else "ok", concurrency=concurrency)
    traces = play(world.ask(questions(10), repeats=range(2)))
    assert [trace.text for trace in traces[:-2]] == ["ok"] * 18
    assert [trace.error.code for trace in traces[-2:] if trace.error] == [code] * 2
    # the next run is about nothing but the bad case: it must not be taken for a provider that is down
    again = World(tmp_path, lambda text, nth: fault(code), retries=1)
    assert play(again.ask(questions(10)))[-1].error is not None
    assert set(again.provider.calls) == {"q9"}


def test_a_refused_question_is_stored_and_not_asked_again(tmp_path: Path) -> None:
    def script(text: str, nth: int) -> object:
        return fault("bad_request", retryable=False) if text == "q3" else "ok"

    world = World(tmp_path, script)
    first = play(world.ask(questions(6)))
    assert world.provider.calls["q3"] == 1
    again = World(tmp_path, script)
    second = play(again.ask(questions(6)))
    assert not again.provider.calls
    assert first[3].error == second[3].error
    assert first[3].error is not None
    assert first[3].error.code == "bad_request"


@pytest.mark.parametrize("code", ["refused", "pipeline"])
def test_a_case_that_fails_until_something_is_mended_is_asked_again_by_the_next_run(tmp_path: Path, code: str) -> None:
    def script(text: str, nth: int) -> object:
        return fault(code, retryable=False) if text in {"q3", "q4"} else "ok"

    world = World(tmp_path, script, concurrency=2)
    traces = play(world.ask(questions(6)))
    assert [trace.error.code for trace in traces if trace.error] == [code, code]
    # nothing but these is left to ask, but the model did answer once: it is neither its name nor its address
    still = World(tmp_path, script)
    assert play(still.ask(questions(6)))[3].error is not None
    assert set(still.provider.calls) == {"q3", "q4"}
    mended = World(tmp_path)
    assert play(mended.ask(questions(6)))[3].text == "answer to q3"


def test_a_wrong_address_or_model_stops_the_run_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, lambda text, nth: fault("refused", retryable=False), concurrency=4)
    with pytest.raises(
        UserError,
        match=r"m rejects every call: played refused\. Check that the base URL and the model name of models\.m",
    ) as caught:
        play(world.ask(questions(300)))
    assert caught.value.exit_status == 2
    assert "\n" not in str(caught.value)
    assert world.provider.calls.total() < DOWN_AFTER + 4  # those in flight
    assert len(world.store) == 0


@pytest.mark.parametrize("n", [3, 300])
def test_a_pipeline_that_only_raises_ends_the_run(tmp_path: Path, n: int) -> None:
    world = World(tmp_path, lambda text, nth: fault("pipeline", retryable=False), concurrency=4)
    with pytest.raises(UserError, match=r"played pipeline\. Fix the function or service behind models\.m"):
        play(world.ask(questions(n)))
    assert world.provider.calls.total() <= DOWN_AFTER + 4


def test_a_pipeline_that_fails_often_is_asked_everything(tmp_path: Path) -> None:
    world = World(tmp_path, lambda text, nth: "ok" if text == "q0" else fault("pipeline", retryable=False))
    traces = play(world.ask(questions(60)))
    assert sum(trace.error is not None for trace in traces) == 59


def test_what_a_model_refuses_that_never_answered_is_not_kept(tmp_path: Path) -> None:
    world = World(tmp_path, lambda text, nth: fault("bad_request", retryable=False))
    assert all(trace.error for trace in play(world.ask(questions(20))))
    assert len(world.store) == 0
    assert {trace.text for trace in play(World(tmp_path, lambda text, nth: "ok").ask(questions(20)))} == {"ok"}


def test_a_following_repeat_is_asked_though_the_one_before_failed(tmp_path: Path) -> None:
    world = World(tmp_path, lambda text, nth: fault("bad_request", retryable=False) if nth == 1 else "ok")
    traces = play(world.ask(questions(4), repeats=range(3)))
    assert [trace.text for trace in traces] == ["", "ok", "ok"] * 4


def test_calls_in_flight_never_exceed_what_was_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path, concurrency=7)
    play(world.ask(questions(50)))
    assert world.provider.most == 7
    other = World(tmp_path / "other", concurrency=7)
    play(other.ask(questions(50), concurrency=3))
    assert other.provider.most == 3


def test_runs_of_one_model_share_its_limit(tmp_path: Path) -> None:
    world = World(tmp_path, concurrency=5)

    async def main() -> None:
        await asyncio.gather(world.ask(questions(40)), world.ask(questions(40, first=40)))

    play(main())
    assert world.provider.most == 5


def test_a_slow_server_gets_fewer_calls_until_it_answers_in_time(tmp_path: Path) -> None:
    provider_most: list[int] = []

    async def script(text: str, nth: int) -> object:
        busy = world.provider.in_flight
        provider_most.append(busy)
        await asyncio.sleep(min(60, busy * 5))
        return fault("timeout") if busy * 5 > 60 else "ok"

    world = World(tmp_path, script, concurrency=64)
    traces = play(world.ask(questions(300)))
    assert {trace.text for trace in traces} == {"ok"}


def test_a_spent_budget_lets_calls_in_flight_end_and_keeps_their_answers(tmp_path: Path) -> None:
    world = World(tmp_path, price=DOLLAR_A_CALL, limit_usd=3.05, concurrency=8)
    with pytest.raises(BudgetSpent):
        play(world.ask(questions(100)))
    # each call may cost a dollar and costs ten cents: the ceilings bind, not the costs
    assert len(world.store) == world.provider.calls.total() == 21
    assert world.store.spending().usd == pytest.approx(2.1)
    more = World(tmp_path, price=DOLLAR_A_CALL, limit_usd=100)
    play(more.ask(questions(100)))
    assert more.provider.calls.total() == 79


def test_a_spent_budget_does_not_bar_a_model_that_costs_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, limit_usd=1.0)
    world.budget.spent_usd = 2.0
    assert len(play(world.ask(questions(3)))) == 3


@pytest.mark.parametrize(("code", "billed"), [("timeout", True), ("malformed", True), ("connection", True),
                                              ("crash", True), ("server", False), ("rate_limit", False)])  # fmt: skip
def test_a_failed_attempt_that_may_have_been_billed_counts_at_what_the_same_request_costs(
    tmp_path: Path, code: str, billed: bool
) -> None:
    world = World(tmp_path, lambda text, nth: fault(code) if nth == 1 else "ok", price=DOLLAR_A_CALL)
    play(world.ask(questions(4)))
    expected = 4 * 0.1 * (2 if billed else 1)
    assert world.budget.spent_usd == pytest.approx(expected)
    assert world.store.spending().usd == pytest.approx(expected)


@pytest.mark.parametrize(("cancels", "answered"), [([None], 32), ([None, None], 32), ([None, AT_ONCE], 24)])
def test_a_cancelled_run_stores_its_calls_in_flight_unless_it_has_to_end_at_once(
    tmp_path: Path, cancels: list[str | None], answered: int
) -> None:
    world = World(tmp_path, price=DOLLAR_A_CALL, concurrency=8)

    async def main() -> None:
        task = asyncio.create_task(world.ask(questions(100)))
        await asyncio.sleep(3.5)
        for message in cancels:
            task.cancel(message)
            await asyncio.sleep(0.1)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    play(main())
    assert len(world.store) == answered
    assert world.budget.reserved_usd == 0
    cut_off = 32 - answered
    assert world.budget.spent_usd == pytest.approx(0.1 * answered + cut_off)
    assert world.budget.unanswered_usd == pytest.approx(cut_off)
    again = World(tmp_path, price=DOLLAR_A_CALL)
    assert again.budget.spent_usd == pytest.approx(world.budget.spent_usd)
    play(again.ask(questions(100)))
    assert again.provider.calls.total() == 100 - answered
    # what was cut off counts at what the same request cost when it was answered, here and for the next process
    assert again.budget.spent_usd == pytest.approx(0.1 * (100 + cut_off))
    assert again.store.spending().usd == pytest.approx(again.budget.spent_usd)


def test_without_the_drain_a_cancelled_run_loses_its_calls_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(*_: object) -> None:
        return

    monkeypatch.setattr(runner, "drain", at_once)
    world = World(tmp_path, concurrency=8)

    async def main() -> None:
        task = asyncio.create_task(world.ask(questions(100)))
        await asyncio.sleep(3.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    play(main())
    assert len(world.store) == 24  # 32 with it


def test_a_case_that_fails_while_others_are_answered_is_given_up_early_and_tried_once_by_the_next_run(
    tmp_path: Path,
) -> None:
    def script(text: str, nth: int) -> object:
        return fault("server") if text in {"q3", "q50"} else "ok"

    world = World(tmp_path, script)
    traces = play(world.ask(questions(200)))
    assert [trace.case_id for trace in traces if trace.error] == ["c3", "c50"]
    assert max(world.provider.calls.values()) <= 5  # not seven
    before = world.provider.calls.copy()
    play(world.ask(questions(200)))
    assert world.provider.calls == before  # remembered
    again = World(tmp_path, script)
    play(again.ask(questions(200)))
    assert again.provider.calls == {"q3": 1, "q50": 1}
    fixed = World(tmp_path)
    assert play(fixed.ask(questions(200)))[3].text == "answer to q3"


def test_a_provider_is_blamed_only_after_a_call_that_it_answered_before_fails_too(tmp_path: Path) -> None:
    down = False

    def script(text: str, nth: int) -> object:
        return fault("server") if down or text == "q9" else "ok"

    world = World(tmp_path, script)
    play(world.ask(questions(9)))
    assert play(world.ask(questions(1, first=9)))[0].error is not None  # alone, and the provider is fine
    down = True
    with pytest.raises(OutsideFault, match="a call that previously succeeded now fails too"):
        play(world.ask(questions(1, first=10)))


def test_without_the_known_call_a_case_that_fails_alone_is_taken_for_a_provider_that_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> bool:
        return False

    monkeypatch.setattr(runner.Runner, "_healthy", never)
    world = World(tmp_path, lambda text, nth: fault("server") if text == "q9" else "ok")
    play(world.ask(questions(9)))
    with pytest.raises(OutsideFault):
        play(world.ask(questions(1, first=9)))


def test_a_cancelled_run_waits_no_longer_than_the_grace_time(tmp_path: Path) -> None:
    world = World(tmp_path, seconds=100.0)
    world.runner.grace_s = 7.0

    async def main() -> float:
        task = asyncio.create_task(world.ask(questions(10)))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return asyncio.get_running_loop().time()

    assert play(main()) == pytest.approx(8.0)


def test_a_retry_that_is_due_after_the_run_was_stopped_is_not_sent(tmp_path: Path) -> None:
    def script(text: str, nth: int) -> object:
        if text == "q0":
            return fault("server")
        return fault("auth", retryable=False) if text == "q5" else "ok"

    world = World(tmp_path, script, concurrency=1)

    async def main() -> int:
        with pytest.raises(AuthError):
            await world.ask(questions(10))
        asked = world.provider.calls.total()
        await world.ask(questions(3, first=20))
        await asyncio.sleep(100)
        return asked

    assert play(main()) == world.provider.calls.total() - 3


def test_a_provider_that_cancels_itself_does_not_hang_the_run(tmp_path: Path) -> None:
    async def script(text: str, nth: int) -> str:
        if nth == 1:
            raise asyncio.CancelledError
        return "ok"

    assert {trace.text for trace in play(World(tmp_path, script).ask(questions(20)))} == {"ok"}


def test_a_provider_that_never_answers_is_held_to_its_time(tmp_path: Path) -> None:
    async def script(text: str, nth: int) -> str:
        await asyncio.sleep(0.1 if nth > 1 else 1e9)
        return "ok"

    async def main() -> float:
        traces = await World(tmp_path, script, timeout_s=10, concurrency=20).ask(questions(20))
        assert {trace.text for trace in traces} == {"ok"}
        return asyncio.get_running_loop().time()

    # the second attempts follow at once, in two halves: the first took longer than any pause between attempts
    assert play(main()) == pytest.approx(10.25)


def test_a_bug_in_a_provider_keeps_its_traceback_and_what_was_answered(tmp_path: Path) -> None:
    async def script(text: str, nth: int) -> str:
        await asyncio.sleep(int(text[1:]))
        if text == "q5":
            raise ZeroDivisionError("a plugin's bug")
        return "ok"

    world = World(tmp_path, script)
    with pytest.raises(ZeroDivisionError, match="a plugin's bug") as caught:
        play(world.ask(questions(20)))
    assert any(entry.name == "script" for entry in caught.traceback)
    assert len(world.store) >= 5


def test_a_fault_of_the_store_gives_the_reservation_back(tmp_path: Path) -> None:
    world = World(tmp_path, price=DOLLAR_A_CALL)
    world.store.close()
    with pytest.raises(UserError):
        play(world.runner._ask(world.model, _batch(world), {}))
    assert world.budget.reserved_usd == 0
    assert world.budget.spent_usd == 0
    assert not world.provider.calls


def _batch(world: World) -> object:
    from tuneworthy.engine.batch import Batch

    return Batch(world.runner._jobs(VARIANT, questions(3), (0,)), 8)


def test_an_answer_that_json_cannot_hold_is_an_error_of_its_case_alone(tmp_path: Path) -> None:
    def script(text: str, nth: int) -> Response:
        return Response(text="\ud800" if text == "q1" else "ok", input_tokens=0, output_tokens=1)

    world = World(tmp_path, script, price=DOLLAR_A_CALL)
    traces = play(world.ask(questions(4)))
    assert [trace.text for trace in traces] == ["ok", "", "ok", "ok"]
    assert traces[1].error is not None
    assert traces[1].error.code == "malformed"
    assert world.budget.spent_usd >= 0.4


def test_latency_is_measured_on_fresh_calls_one_at_a_time(tmp_path: Path) -> None:
    world = World(tmp_path, concurrency=8)
    play(world.ask(questions(40)))
    world.provider.most = 0
    latency = play(measure_latency(partial(time_calls, world.runner, VARIANT, world.model), questions(40)))
    assert world.provider.most == 1
    assert len(latency.seconds) == 32
    assert "c0" not in latency.seconds  # it warms up
    asked = world.provider.calls.total()
    play(measure_latency(partial(time_calls, world.runner, VARIANT, world.model), questions(40)))
    assert world.provider.calls.total() == asked


def test_latency_of_two_variants_is_measured_in_turn(tmp_path: Path) -> None:
    asked: list[str] = []

    def script(text: str, nth: int) -> str:
        asked.append(text)
        return "ok"

    world = World(tmp_path, script)
    other = replace(VARIANT, name="other", user="other {{ input }}")
    sides = [(VARIANT, world.model), (other, world.model)]
    first, second = play(measure_together(world.runner, sides, questions(40)))
    assert len(first.seconds) == len(second.seconds) == 32
    assert asked[:4] == ["q0", "other q0", "other q1", "q1"]
    once = len(asked)
    play(measure_together(world.runner, sides, questions(40)))
    assert len(asked) == once


def test_less_than_a_millisecond_is_no_difference() -> None:
    def latency(seconds: float) -> Latency:
        return Latency({f"c{i}": seconds for i in range(20)})

    assert latency(0.0002).ratio_to(latency(0.0008)) is None
    ratio = latency(0.002).ratio_to(latency(0.008))
    assert ratio is not None
    assert ratio[0] == pytest.approx(0.25)
