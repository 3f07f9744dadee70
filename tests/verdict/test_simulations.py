"""Worlds whose truth is known: how often a verdict is wrong, that broken rules show, and that whole runs agree."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scripts.simulations.__main__ import every, run
from scripts.simulations.folder import write_simulation
from scripts.simulations.table import page
from scripts.simulations.truth import TRUTHS, Simulation, Truth, draw, half_width, upstream
from scripts.simulations.walk import SimulationSession, Walked, opened, probe, walk, walk_session

from tuneworthy.cli import invoke as command
from tuneworthy.config import load
from tuneworthy.ladder.record import RunRecord, read_record
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.rules import Finding
from tuneworthy.stats.comparisons import ComparisonPlan
from tuneworthy.verdict import decide as decide_module
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.error_analysis import FILE, best_language_model, fingerprint
from tuneworthy.verdict.gates import GATES

N = 40
MOST_FALSE, FEWEST_TRUE = 4, 28
"""Of `N`: what a sound rule passes with room, and a broken one does not."""


@pytest.fixture(scope="module")
def walked() -> dict[str, list[Walked]]:
    """`N` simulations of the two classes that count, as they were decided."""
    return {truth: [walk(draw(seed, truth)) for seed in range(N)] for truth in ("yes", "no")}


def fine_tuned(some: list[Walked]) -> int:
    """How many of the simulations get `fine_tune` by the rules as they are now."""
    return sum(decide(one.evidence).outcome == "fine_tune" for one in some)


def test_few_simulations_that_are_not_worth_it_and_most_that_are_get_fine_tune(walked: dict[str, list[Walked]]) -> None:
    assert fine_tuned(walked["no"]) <= MOST_FALSE
    assert fine_tuned(walked["yes"]) >= FEWEST_TRUE


def _gate_off(*names: str) -> Callable[[pytest.MonkeyPatch], None]:
    def off(monkeypatch: pytest.MonkeyPatch) -> None:
        real = GATES.get
        silent = Finding(status="pass", message="Off.")
        monkeypatch.setattr(
            GATES, "get", lambda one: replace(real(one), examine=lambda _: silent) if one in names else real(one)
        )

    return off


def _line_off(*names: str) -> Callable[[pytest.MonkeyPatch], None]:
    def off(monkeypatch: pytest.MonkeyPatch) -> None:
        rest = tuple(line for line in decide_module._TABLE if line.__name__ not in names)
        monkeypatch.setattr(decide_module, "_TABLE", rest)

    return off


def _nothing_is_ever_met(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (decide_module, __import__("tuneworthy.verdict.gates.to_decide", fromlist=["target_of"])):
        monkeypatch.setattr(module, "target_of", lambda *_: "missed")
    _line_off("_open_rung")(monkeypatch)


FAULTS = {
    "the gates of money and motivation are off": _gate_off("economics", "reason"),
    "other levers are not looked at": _line_off("_another_lever", "_open_lever"),
    "nothing ever meets the target": _nothing_is_ever_met,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_rule_shows_in_the_simulations(
    fault: str, walked: dict[str, list[Walked]], monkeypatch: pytest.MonkeyPatch
) -> None:
    FAULTS[fault](monkeypatch)
    assert fine_tuned(walked["no"]) > MOST_FALSE


def test_a_rule_that_never_says_yes_shows_in_the_simulations(
    walked: dict[str, list[Walked]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide_module, "LEVER_ALPHA", 1e-12)
    assert fine_tuned(walked["yes"]) < FEWEST_TRUE


def without_gains(seed: int) -> Simulation:
    """A world in which nothing that the ladder tries changes anything."""
    world = draw(seed, "yes")
    zero = {name: dict.fromkeys(getattr(world, name), 0.0) for name in ("prompts", "models", "shots", "decoding")}
    return replace(world, base=world.best, **zero)


def test_where_nothing_helps_little_is_adopted_and_much_if_chance_is_taken_for_a_gain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulations = [without_gains(seed) for seed in range(30)]
    assert sum(bool(walk(world).falsely_better) for world in simulations) <= 3
    monkeypatch.setattr(ComparisonPlan, "alpha_for", lambda *_: 0.5)
    assert sum(bool(walk(world).falsely_better) for world in simulations) > 3


def test_the_truth_is_what_its_class_says() -> None:
    for truth in TRUTHS:
        for world in (draw(seed, truth) for seed in range(300)):
            top, target = upstream(world), world.target
            room = max(world.margin, half_width(target, world.shape, world.icc))
            assert sum(world.shares.values()) == pytest.approx(1)
            if world.reason == "met":
                assert top >= target - 1e-9
            elif truth == "boundary":
                assert abs(top - target) <= world.margin + 1e-9
            else:
                assert top <= target - 2 * room + 1e-9
            assert (world.reason != "") == (truth == "no")
            assert (world.payback >= 2) == (world.reason != "money")


def test_answers_have_the_true_score_and_share_their_difficulty() -> None:
    world = replace(draw(1, "yes"), icc=0.2, rho=0.6)
    world = replace(world, shape=replace(world.shape, n_cases=40_000, n_examples=0, group_size=5))
    a, b, c = (world.right(key, p) for key, p in (("a", 0.7), ("b", 0.7), ("c", 0.4)))
    assert [one.mean() for one in (a, b, c)] == pytest.approx([0.7, 0.7, 0.4], abs=0.02)
    assert 0.1 < (a != b).mean() < 2 * 0.7 * 0.3 - 0.1
    of_sources = a.reshape(-1, 5).mean(axis=1).var()
    assert of_sources > 1.2 * 0.7 * 0.3 / 5


def test_the_page_is_the_same_for_the_same_seed_and_simulations_of_two_seeds_differ() -> None:
    assert page(run(3, 5), 3, 5) == page(run(3, 5), 3, 5)
    assert not set(every(3, 5)) & set(every(4, 5))


END_TO_END: dict[tuple[Truth, int], str] = {
    ("no", 1): "economics",
    ("no", 2): "reason",
    ("no", 9): "errors_unresolved",
    ("no", 16): "gate_power",
    ("no", 25): "errors_label_or_grader",
    ("no", 36): "errors_format",
    ("no", 50): "target_met",
    ("yes", 2): "levers_exhausted",
    ("yes", 54): "gate_reason",
    ("boundary", 23): "rung_unresolved",
}
"""Worlds of every constraint, with and without groups, judge, examples and adopted rungs, to what is decided."""


def run_record_of(session: Session) -> RunRecord:
    record = read_record(session.folder)
    assert record is not None
    return record


async def store_probes(root: Path, simulated: SimulationSession) -> None:
    """Store what the probes of the world find, as `decide --probe` would."""
    async with open_session(load(root)) as session:
        variant = best_language_model(run_record_of(session))
        assert variant is not None
        found = probe(simulated, variant)
        session.folder.write(FILE, replace(found, of=fingerprint(session, variant)).to_dict())


@pytest.mark.slow
@pytest.mark.parametrize("which", END_TO_END, ids=lambda which: f"{which[0]}-{which[1]}")
def test_a_whole_run_through_scripted_models_agrees_with_the_simulated_one(
    which: tuple[Truth, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, seed = which
    with opened(draw(seed, truth), fit_classical_models=True) as simulated:
        wanted = walk_session(simulated)
        root = write_simulation(simulated, tmp_path / "world")
        assert command(["run", "--project", str(root), "--json"]) == 0
        asyncio.run(store_probes(root, simulated))
    run_record = json.loads(capsys.readouterr().out)
    command(["decide", "--project", str(root), "--json"])
    decided = json.loads(capsys.readouterr().out)
    for mine, theirs in zip(wanted.record.rungs, run_record["rungs"], strict=True):
        assert (theirs["rung"], theirs["status"], theirs["reason_code"]) == (mine.rung, mine.status, mine.reason_code)
        assert theirs["score"] == (None if mine.score is None else pytest.approx(mine.score))
    assert run_record["best"]["rung"] == wanted.record.best.rung  # type: ignore[union-attr]
    assert (decided["outcome"], decided["reason_code"]) == (wanted.verdict.outcome, wanted.verdict.reason_code)
    assert decided["reason_code"] == END_TO_END[which]
