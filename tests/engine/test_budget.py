"""The budget: never exceeded, never leaking, and not spent while only calls in flight stand in the way."""

from __future__ import annotations

import asyncio
import random

import pytest
from asking import play
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneworthy.engine.budget import Budget
from tuneworthy.errors import BudgetSpent


@settings(max_examples=80, deadline=None)
@given(st.floats(0, 20), st.lists(st.floats(0.01, 5), min_size=1, max_size=60), st.integers(0, 2**32))
def test_spent_and_reserved_never_exceed_the_limit(limit: float, ceilings: list[float], seed: int) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        budget = Budget(limit)

        async def call(ceiling: float) -> None:
            await budget.reserve(ceiling)
            assert budget.spent_usd + budget.reserved_usd <= limit + 1e-9
            cost = ceiling  # if it is cancelled on its way
            try:
                await asyncio.sleep(rng.random())
                cost = ceiling * rng.random()
            finally:
                budget.settle(ceiling, cost)
                assert budget.spent_usd + budget.reserved_usd <= limit + 1e-9

        tasks = [asyncio.create_task(call(ceiling)) for ceiling in ceilings]
        await asyncio.sleep(rng.random())
        for task in tasks:
            if rng.random() < 0.1:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(one is None or isinstance(one, BudgetSpent | asyncio.CancelledError) for one in results)
        assert budget.in_flight == 0
        assert budget.reserved_usd == 0.0
        assert budget.spent_usd <= limit + 1e-9

    play(main())


def test_a_call_waits_for_those_in_flight_before_the_budget_is_called_spent() -> None:
    async def main() -> None:
        budget = Budget(1.0)
        await budget.reserve(0.9)
        second = asyncio.create_task(budget.reserve(0.9))
        await asyncio.sleep(1)
        assert not second.done()
        budget.settle(0.9, 0.05)  # it cost far less than it could have
        await second
        budget.settle(0.9, 0.9)
        with pytest.raises(BudgetSpent):
            await budget.reserve(0.9)

    play(main())


def test_all_who_wait_are_told_when_the_money_is_gone() -> None:
    async def main() -> None:
        budget = Budget(1.0)
        await budget.reserve(1.0)
        waiting = [asyncio.create_task(budget.reserve(0.5)) for _ in range(5)]
        await asyncio.sleep(1)
        budget.settle(1.0, 0.8)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(one, BudgetSpent) for one in results)

    play(main())


def test_a_cancelled_waiter_gives_back_what_it_was_just_granted() -> None:
    async def main() -> None:
        budget = Budget(1.0)
        await budget.reserve(1.0)
        waiter = asyncio.create_task(budget.reserve(1.0))
        await asyncio.sleep(0)
        budget.settle(1.0, 0.0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        await budget.reserve(1.0)

    play(main())


def test_a_refund_leaves_both_sums() -> None:
    budget = Budget(1.0, 0.4, 0.1)
    budget.refund(0.1)
    assert (budget.spent_usd, budget.unanswered_usd) == (pytest.approx(0.3), 0.0)


def test_without_a_limit_nothing_waits() -> None:
    async def main() -> None:
        budget = Budget(None)
        for _ in range(100):
            await budget.reserve(1e9)
        assert asyncio.get_running_loop().time() == 0

    play(main())


def test_the_message_says_what_is_left_and_what_to_do() -> None:
    spent = (
        r"\$0\.5000.*\$0\.3000 for answered calls and \$0\.1000 for calls without an answer\. "
        r"Reserved for calls in flight: \$0\.0000\. .*\$0\.2000"
    )
    with pytest.raises(BudgetSpent, match=f"{spent}.*Raise budget_usd.*tuneworthy doctor --release"):
        play(Budget(0.5, 0.4, 0.1).reserve(0.2))
    with pytest.raises(BudgetSpent) as caught:
        play(Budget(0.5, 0.4).reserve(0.2))
    assert "--release" not in str(caught.value)  # there is nothing to release


@pytest.mark.parametrize(("command_usd", "limit"), [(None, "budget of $7.5911"), (5.0, "limit of $5.00 for this com")])
def test_the_limit_that_is_used_up_is_the_one_that_the_user_gave(command_usd: float | None, limit: str) -> None:
    with pytest.raises(BudgetSpent) as spent:
        Budget(7.5911, 7.59, command_usd=command_usd).take(1.0)
    assert spent.value.message.startswith(f"The {limit}")
