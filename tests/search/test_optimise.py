"""The searches themselves, on made-up prompts: budget, faults and cancelling."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from tuneworthy.errors import BudgetSpent
from tuneworthy.search.optimise import Optimised, ScoredAnswer, optimise, part, sides, why_no_sides
from tuneworthy.types import Case

CASES = [Case(id=f"c{number:02d}", input=str(number), expected="x") for number in range(40)]


class Game:
    """A prompt is worth a tenth of its number of `+`; the rewriting model adds one."""

    def __init__(self) -> None:
        self.rewrites = 0
        self.seen: list[tuple[str, str]] = []

    async def evaluate(self, text: str, cases: Sequence[Case]) -> list[ScoredAnswer]:
        self.seen += [(text, case.id) for case in cases]
        return [ScoredAnswer(min(0.9, text.count("+") / 10), case.text, "a", "b") for case in cases]

    async def reflect(self, prompt: str) -> str | None:
        self.rewrites += 1
        return f"```\n{prompt.split('```')[1].strip()} +\n```"


def run(game: Game, budget: int = 300, seed: int = 3) -> Optimised:
    pytest.importorskip("gepa")
    return asyncio.run(optimise("do", CASES, evaluate=game.evaluate, reflect=game.reflect, budget=budget, seed=seed))


@pytest.mark.parametrize("budget", [50, 120, 300, 500])
def test_a_search_stays_within_its_calls_and_counts_them_all(budget: int) -> None:
    game = Game()
    found = run(game, budget)
    assert (found.calls, found.reflections) == (len(set(game.seen)), game.rewrites)
    assert found.calls + found.reflections <= budget
    assert found.prompts[found.best].text.count("+") > 0 and found.prompts[0].text == "do"


def test_the_same_seed_gives_the_same_search_and_another_one_another() -> None:
    games = [Game(), Game(), Game()]
    found = [run(game, seed=seed) for game, seed in zip(games, (3, 3, 4), strict=True)]
    assert found[0] == found[1] and games[0].seen == games[1].seen
    assert games[0].seen != games[2].seen


def test_cases_that_choose_are_none_that_rewrites_are_made_from() -> None:
    train, val = sides(CASES, 500)
    assert not {case.id for case in train} & {case.id for case in val}
    assert len(train) + len(val) == len(CASES)


def test_a_group_or_a_question_that_is_asked_twice_is_on_one_side() -> None:
    cases = [Case(id=str(i), input=str(i % 30), group=f"g{i // 4}" if i % 30 > 3 else None) for i in range(40)]
    for n in range(41):
        head, rest = part(cases, n)
        assert len(head) <= n and sorted([*head, *rest], key=lambda case: int(case.id)) == cases
        for key in ("group", "input"):
            names = [{getattr(case, key) for case in side} - {None} for side in (head, rest)]
            assert not names[0] & names[1]
    assert [case.id for case in part(CASES, 7)[0]] == [case.id for case in CASES[:7]]
    large = [Case(id=str(i), input=str(i), group="one") for i in range(40)]
    assert "splitting 40 cases by group gives only 40 and 0" in why_no_sides(large, 500)


def test_a_perfect_prompt_ends_the_search() -> None:
    class Easy(Game):
        async def evaluate(self, text: str, cases: Sequence[Case]) -> list[ScoredAnswer]:
            await super().evaluate(text, cases)
            return [ScoredAnswer(1.0, "", "", "") for _ in cases]

    game = Easy()
    found = run(game)
    assert (found.best, found.reflections, found.calls) == (0, 0, found.n_val)


@pytest.mark.parametrize("where", ["evaluate", "reflect"])
def test_a_spent_budget_ends_the_search_at_once_wherever_it_is_met(where: str) -> None:
    class Poor(Game):
        async def evaluate(self, text: str, cases: Sequence[Case]) -> list[ScoredAnswer]:
            if where == "evaluate" and self.rewrites:
                raise BudgetSpent("spent")
            return await super().evaluate(text, cases)

        async def reflect(self, prompt: str) -> str | None:
            answer = await super().reflect(prompt)
            if where == "reflect":
                raise BudgetSpent("spent")
            return answer

    game = Poor()
    with pytest.raises(BudgetSpent):
        run(game)
    assert game.rewrites == 1  # GEPA itself would have asked again


def test_a_model_that_says_nothing_ends_nothing_and_is_counted() -> None:
    class Mute(Game):
        async def reflect(self, prompt: str) -> str | None:
            await super().reflect(prompt)
            return None

    found = run(Mute())
    assert found.best == 0 and found.failed == found.reflections > 2
    assert found.calls + found.reflections <= 300


@pytest.mark.parametrize("budget", range(50, 81))
def test_a_model_that_says_nothing_at_first_is_asked_again_within_the_calls(budget: int) -> None:
    class Slow(Game):
        async def reflect(self, prompt: str) -> str | None:
            answer = await super().reflect(prompt)
            return None if self.rewrites % 2 else answer

    found = run(Slow(), budget)
    assert found.calls + found.reflections <= budget and found.failed


def test_a_rewrite_that_cannot_be_sent_counts_as_no_answer() -> None:
    class Refused(Game):
        async def evaluate(self, text: str, cases: Sequence[Case]) -> list[ScoredAnswer]:
            if "+" in text:
                return [ScoredAnswer(0.0, "", "", "it has a fault", sent=False) for _ in cases]
            return await super().evaluate(text, cases)

    game = Refused()
    found = run(game)
    assert (found.calls, found.reflections) == (len(set(game.seen)), game.rewrites)


def test_a_search_that_is_cancelled_leaves_no_thread_behind() -> None:
    pytest.importorskip("gepa")

    class Slow(Game):
        async def reflect(self, prompt: str) -> str | None:
            await asyncio.sleep(60)
            return None

    async def cancelled() -> None:
        game = Slow()
        search = optimise("do", CASES, evaluate=game.evaluate, reflect=game.reflect, budget=300, seed=3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(search, 0.5)

    before = threading.active_count()
    asyncio.run(asyncio.wait_for(cancelled(), 20))
    assert threading.active_count() <= before
