"""The plan of comparisons once cases were added to test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tuneworthy.ladder import comparisons
from tuneworthy.stats.comparisons import ComparisonPlan


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
