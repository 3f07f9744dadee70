"""Rounds: what several tasks ask is sent at once, and whatever a round leaves open is asked one by one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from asking import VARIANT, World, play, questions

from tuneworthy.engine.rounds import Rounds, Wanted
from tuneworthy.errors import OutsideFault
from tuneworthy.search.racing import DevScores, race
from tuneworthy.types import Case, Response, Timing, Variant


def rounds_of(world: World, lost: set[str], sizes: list[int], *, least: int = 1) -> Rounds:
    async def send(wanted: Wanted) -> None:
        sizes.append(sum(len(jobs) for _, jobs in wanted.values()))
        for _, jobs in wanted.values():
            for job in jobs:
                if job.case.id not in lost:
                    world.store.put(job.key, Response(text=f"round {len(sizes)}"), 0.0)

    return Rounds(send, accepts=lambda model: model.name == "m", least=least)


def test_the_questions_of_several_tasks_make_one_round(tmp_path: Path) -> None:
    world, sizes = World(tmp_path), list[int]()
    world.runner.rounds = rounds_of(world, set(), sizes)

    async def both() -> list[list[str]]:
        found = await asyncio.gather(world.ask(questions(4)), world.ask(questions(4, first=2)))
        return [[trace.text for trace in traces] for traces in found]

    assert play(both()) == [["round 1"] * 4] * 2
    assert sizes == [6] and not world.provider.calls


def test_an_answer_that_a_round_leaves_open_is_asked_again_and_then_directly(tmp_path: Path) -> None:
    world, sizes = World(tmp_path), list[int]()
    world.runner.rounds = rounds_of(world, {"c1"}, sizes)
    traces = play(world.ask(questions(3)))
    assert [trace.text for trace in traces] == ["round 1", "answer to q1", "round 1"]
    assert sizes == [3, 1] and world.provider.calls == {"q1": 1} and not any(trace.stored for trace in traces)


def test_few_questions_timed_calls_and_other_models_need_no_round(tmp_path: Path) -> None:
    world, sizes = World(tmp_path), list[int]()
    world.runner.rounds = rounds_of(world, set(), sizes, least=3)
    play(world.ask(questions(2)))
    play(world.ask(questions(4, first=2), timing=Timing()))
    world.runner.rounds.accepts = lambda model: False
    play(world.ask(questions(4, first=8)))
    assert not sizes and len(world.provider.calls) == 10


def test_an_error_of_a_round_reaches_all_who_wait(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def send(wanted: Wanted) -> None:
        raise OutsideFault("down")

    world.runner.rounds = Rounds(send)

    async def both() -> list[object]:
        return await asyncio.gather(world.ask(questions(2)), world.ask(questions(2, first=2)), return_exceptions=True)

    assert [str(one) for one in play(both())] == ["down", "down"]
    with pytest.raises(OutsideFault):
        play(world.ask(questions(1)))


def test_a_stopped_run_stops_its_round(tmp_path: Path) -> None:
    world, stopped = World(tmp_path), list[bool]()

    async def send(wanted: Wanted) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            stopped.append(True)

    async def run() -> None:
        world.runner.rounds = Rounds(send)
        task = asyncio.create_task(world.ask(questions(2)))
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.wait([task])

    play(run())
    assert stopped


def test_a_race_whose_candidates_are_asked_together_has_the_same_result() -> None:
    async def measure(variant: Variant, cases: list[Case]) -> DevScores:
        heads.append(len(cases))
        await asyncio.sleep(0)
        right = np.random.default_rng(int(variant.name)).random(len(cases)) < 0.3 + 0.1 * int(variant.name)
        return DevScores(num=right.astype(float), den=np.ones(len(cases)), cost_usd=0.0, weight=(1.0, 1.0))

    candidates, results = [replace(VARIANT, name=str(n), system=str(n)) for n in range(6)], []
    for together in (False, True):
        heads: list[int] = []
        raced = play(race(candidates, questions(120), measure, together=together))
        results.append((raced.calls, [(one.variant.name, one.n, one.dropped) for one in raced.entries], heads))
    assert results[0] == results[1]


def test_a_question_of_an_open_round_is_not_asked_in_another(tmp_path: Path) -> None:
    world, sent, gate = World(tmp_path), list[list[str]](), asyncio.Event()

    async def send(wanted: Wanted) -> None:
        jobs = wanted["m"][1]
        sent.append([job.case.id for job in jobs])
        if len(sent) == 1:
            await gate.wait()
            await asyncio.sleep(5)  # it ends after the other round
        gate.set()
        for job in jobs:
            world.store.put(job.key, Response(text="round"), 0.0)

    world.runner.rounds = Rounds(send)

    async def both() -> list[list[str]]:
        first = asyncio.create_task(world.ask(questions(4)))
        await asyncio.sleep(5)
        second = await world.ask(questions(4, first=2))
        return [[trace.text for trace in traces] for traces in (await first, second)]

    assert play(both()) == [["round"] * 4] * 2
    assert sent == [["c0", "c1", "c2", "c3"], ["c4", "c5"]] and not world.provider.calls
