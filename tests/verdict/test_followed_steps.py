"""Printed steps lead to an answer: no loop, no dead end, no step that cannot be done, in random projects.

Sixty projects here and 300 under the marker `slow`; 60 project folders are in tests/verdict/tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from tests.verdict import random_projects
from tests.verdict.random_projects import KINDS, Followed, draw, follow

from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import RungEvidence


def figures(projects: Sequence[Followed]) -> tuple[float, float]:
    """Share of settled projects, and their mean number of steps."""
    settled = [len(one.steps) for one in projects if one.settled]
    return len(settled) / len(projects), sum(settled) / max(1, len(settled))


def lead_to_an_answer(seeds: Iterable[int]) -> None:
    projects = [follow(seed) for seed in seeds]
    faults = [(one.kind, one.seed, one.faults, one.steps) for one in projects if one.faults]
    assert not faults, faults
    settled, steps = figures(projects)
    assert settled >= 0.9 and steps <= 4, (settled, steps)


def test_steps_lead_to_an_answer_in_sixty_random_projects() -> None:
    lead_to_an_answer(range(60))


@pytest.mark.slow
def test_steps_lead_to_an_answer_in_300_random_projects() -> None:
    lead_to_an_answer(range(1000, 1300))


def of_kind(kind: str, n: int = 4) -> list[Followed]:
    return [follow(KINDS.index(kind) + place * len(KINDS)) for place in range(n)]


def test_the_rules_are_missed_where_they_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def installs() -> bool:
        return any("pip install" in " ".join(one.steps) for one in of_kind("missing_package"))

    assert installs() and not any(one.faults for one in of_kind("judge_fooled"))
    monkeypatch.setattr(RungEvidence, "blocked", property(lambda self: False))
    assert not installs()
    monkeypatch.setattr(random_projects.messages, "OTHER_JUDGE", random_projects.messages.LABEL_JUDGE)
    assert any(one.faults for one in of_kind("judge_fooled"))


def after_failing_steps(seed: int) -> list[str]:
    """Outcomes while each printed run changes nothing."""
    evidence, tried, outcomes = random_projects.evidence(draw(seed)), set[str](), list[str]()
    while len(outcomes) < 2:
        verdict = decide(evidence, tried=tried)
        outcomes.append(verdict.outcome.value)
        tried |= {verdict.next_action.command} if verdict.next_action.command.startswith("tuneworthy run") else set()
    return outcomes


def test_a_step_that_fails_never_turns_an_open_question_into_an_answer() -> None:
    assert all(len(set(after_failing_steps(seed))) == 1 for seed in range(70, 90))
