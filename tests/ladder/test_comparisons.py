"""The plan of comparisons once cases were added to test."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tuneworthy.ladder import comparisons
from tuneworthy.ladder.comparison_plan import options_of
from tuneworthy.ladder.measurement import recall_of
from tuneworthy.stats.comparisons import ComparisonPlan
from tuneworthy.types import Case


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session that holds no more than what a plan needs."""
    held = {"plan": ComparisonPlan()}
    rungs = ["prompt", "model"]
    monkeypatch.setattr(comparisons, "read_comparisons", lambda _: held["plan"])
    monkeypatch.setattr(comparisons, "write_comparisons", lambda _, plan: held.update(plan=plan))
    monkeypatch.setattr(comparisons, "rungs_with_comparisons", lambda *_: rungs)
    return SimpleNamespace(project=None, task=None, folder=None, split=SimpleNamespace(additions=[]), rungs=rungs)


def test_a_rung_that_is_new_once_cases_were_added_takes_one_slot(session: Any) -> None:
    comparisons.plan_comparisons(session)
    session.split.additions = [["a"]]
    comparisons.plan_comparisons(session)
    session.rungs.append("retrieval")
    plan = comparisons.plan_comparisons(session)
    assert list(plan.added) == ["prompt+1", "model+1", "retrieval+1"]
    assert plan.alpha_for("retrieval+1") == pytest.approx(0.0025)


def test_the_alpha_of_a_run_is_that_of_the_test_set_as_it_is_now(session: Any) -> None:
    assert comparisons.planned_alpha(session) is None
    comparisons.plan_comparisons(session)
    assert comparisons.planned_alpha(session) == pytest.approx(0.02)
    session.split.additions = [["a"]]
    comparisons.plan_comparisons(session)
    assert comparisons.planned_alpha(session) == pytest.approx(0.0025)


def test_the_options_for_the_target_are_today_and_the_rungs_planned_first() -> None:
    plan = ComparisonPlan().plan(["classical", "prompt", "fine_tune"])
    assert options_of(plan) == options_of(plan.plan(["prompt", "model"])) == 3


def test_the_recall_of_a_label_is_of_its_scored_cases() -> None:
    test = [Case(id=str(number), input=str(number), expected="ab"[number % 2]) for number in range(8)]
    groups = np.array([0, 1, 2, 1, 4, 5, 6, 7])
    num = np.array([1, 1, np.nan, 1, 1, 0, np.nan, 1])
    den = np.where(np.isnan(num), np.nan, 1.0)

    async def score(*_: Any) -> Any:
        return num, den, []

    def recalls(groups: Any) -> tuple[Any, Any, Any]:
        session: Any = SimpleNamespace(score=score, groups=lambda _: groups)
        return asyncio.run(recall_of(session, test, []))

    recall, n, n_cases = recalls(np.arange(8))
    assert (recall, n) == ({"a": 1.0, "b": 0.75}, {"a": 2.0, "b": 4.0})
    assert recalls(groups)[1]["b"] < 4.0  # two cases of `b` share a source
    assert n_cases == recalls(groups)[2] == {"a": 2, "b": 4}
