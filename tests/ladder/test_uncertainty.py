"""Watching: a threshold only where a signal tells wrong answers, and never where confidence is random."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy

from tests.ladder.simulations import write_simulation
from tuneworthy.config import load
from tuneworthy.decoding.confidence import Token, disagreement, entropy, signals, tokens_of
from tuneworthy.errors import Undecided, UserError
from tuneworthy.ladder.commands import uncertainty
from tuneworthy.ladder.commands.uncertainty import (
    AnswerSignals,
    UncertaintyReport,
    calibrate,
    hot_spots,
    measure_uncertainty,
)
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.report.heatmap import areas_table, page, shown, terminal, verdict
from tuneworthy.stats.auroc import roc_area


def token(text: str, spread: float) -> Token:
    """A token with two alternatives, of the entropy `spread` about."""
    share = min(0.5, spread)
    top = ((text, 1 - share), ("other", share))
    return Token(
        text=text, surprise=-math.log(1 - share), entropy=entropy([1 - share, share]), margin=1 - 2 * share, top=top
    )


def answer(number: int, doubt: float, wrong: bool, group: str = "") -> AnswerSignals:
    """A graded answer whose second token is less sure the greater `doubt` is."""
    tokens = [token("Card", 0.02), token(" arrival", 0.5 / (1 + math.exp(1 - doubt))), token("<b>", 0.01)]
    return AnswerSignals(
        case=f"case-{number}", group=group or f"#case-{number}", question="q?", text="Card arrival", tokens=tokens,
        signals=signals(tokens), wrong=wrong, reason="wrong" if wrong else "",
    )  # fmt: skip


def answers(seed: int, n: int, effect: float) -> list[AnswerSignals]:
    """Graded answers: half are wrong, and these are less sure by `effect` standard deviations."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        wrong = bool(rng.random() < 0.5)
        found.append(answer(number, rng.normal() + effect * wrong, wrong))
    return found


def grouped(seed: int, n_groups: int, size: int, effect: float = 0.0) -> list[AnswerSignals]:
    """Graded answers of groups in which nine of ten are alike: right or wrong, and as sure as one another."""
    rng = np.random.default_rng(seed)
    found = []
    for group in range(n_groups):
        all_wrong, level = bool(rng.random() < 0.5), rng.normal()
        for number in range(size):
            wrong = all_wrong if rng.random() < 0.9 else bool(rng.random() < 0.5)
            doubt = 0.95 * level + 0.3 * rng.normal() + effect * wrong
            found.append(answer(group * size + number, doubt, wrong, f"group-{group}"))
    return found


def alone(found: list[AnswerSignals]) -> list[AnswerSignals]:
    """The same answers, as if each case were a group of its own."""
    return [replace(one, group=f"#{one.case}") for one in found]


def report(found: list[AnswerSignals]) -> UncertaintyReport:
    return UncertaintyReport(
        variant="today", answers=found, calibration=calibrate(found), spots=hot_spots(found), samples=0, unscored=0
    )


UNSURE = """
from tuneworthy.types import Response


def unsure(request):
    text = question(request)
    kept = request.decoding.get("seed")
    draw = number(text, request.repeat if kept is None else kept) if request.decoding.get("temperature") else 1
    said = "red" if draw < 0.5 else answer(request, 0.5)
    return Response(text=said, logprobs=({"token": said, "logprob": -0.1, "top": [[said, -0.1]]},))
"""


def within(root: Path, act: Any) -> Any:
    async def whole() -> Any:
        async with open_session(load(root)) as session:
            return await act(session)

    return asyncio.run(whole())


@pytest.fixture
def world(tmp_path: Path) -> Path:
    root = write_simulation(tmp_path, {"unsure": "None"}, n_cases=120, n_examples=60)
    (root / "world.py").write_text((root / "world.py").read_text() + UNSURE)
    return root


def test_a_signal_that_tells_wrong_answers_gets_a_threshold_with_what_it_catches() -> None:
    found = calibrate(answers(1, 300, 1.5))
    area = found.areas["mean_surprise"]
    assert 0.8 < area.area < 0.92 and area.lo > 0.7
    assert found.threshold is not None and found.refused == ""
    assert found.threshold.recall > 0.6 and found.threshold.false_alarms < 0.4
    flagged, others = found.threshold.wrong_flagged, found.threshold.wrong_others
    assert flagged.lo > others.hi and flagged.n + others.n == found.threshold.above.n == 300
    shares = [share for _, share, _ in found.reliability]
    assert shares[0] < 0.3 and shares[-1] > 0.7
    assert sum(n for *_, n in found.reliability) == 300


@pytest.mark.slow
def test_the_interval_of_what_a_threshold_flags_holds_for_other_answers() -> None:
    """Its upper end is missed by at most one in forty, though the threshold was fitted to the same answers."""
    rng, missed = np.random.default_rng(10), 0
    for seed in range(400):
        wrong = rng.random(150) < 0.25
        found = uncertainty.fitted_threshold(rng.normal(size=150) + 1.5 * wrong, wrong, np.arange(150), seed)
        others = 0.75 * scipy.stats.norm.sf(found.value) + 0.25 * scipy.stats.norm.sf(found.value - 1.5)
        missed += others > found.above.hi
    assert missed <= 18  # 10 allowed, with their spread


def test_random_confidence_gets_no_threshold() -> None:
    found = calibrate(answers(2, 300, 0.0))
    assert found.threshold is None
    assert "does not separate wrong answers" in found.refused and "AUROC" in found.refused


def test_of_sets_with_random_confidence_one_in_forty_gets_a_threshold() -> None:
    given = sum(calibrate(answers(1000 + seed, 120, 0.0)).threshold is not None for seed in range(300))
    assert given <= 16  # 7.5 expected


@pytest.mark.slow
def test_of_sets_of_groups_with_random_confidence_one_in_forty_gets_a_threshold() -> None:
    sets = [grouped(2000 + seed, 40, 6) for seed in range(300)]
    assert sum(calibrate(one).threshold is not None for one in sets) <= 16  # 7.5 expected
    assert sum(calibrate(alone(one)).threshold is not None for one in sets) > 30


def test_many_wrong_answers_of_few_groups_get_no_threshold() -> None:
    found = [answer(n, 3.0 if n < 60 else -3.0, n < 60, f"group-{n // 10}") for n in range(300)]
    assert calibrate(alone(found)).threshold is not None
    refused = calibrate(found)
    assert refused.threshold is None and refused.areas == {} and refused.n_groups == 30
    assert (
        "60 of 300 are wrong (each group counts once: 6 with wrong answers, 24 with correct answers" in refused.refused
    )


def test_the_groups_of_cases_are_counted_and_shown(world: Path) -> None:
    async def act(session: Session) -> tuple[int, int]:
        found = await measure_uncertainty(session, current(session))
        return found.calibration.n_groups, len({case.group for case in session.split.dev})

    lines = [json.loads(line) for line in (world / "cases.jsonl").read_text().splitlines()]
    rows = [json.dumps(line | {"group": f"customer-{n // 3}"}) + "\n" for n, line in enumerate(lines)]
    (world / "cases.jsonl").write_text("".join(rows))
    n_groups, expected = within(world, act)
    assert n_groups == expected > 1
    assert "n = 240 in 40 groups, " in (areas_table(report(grouped(12, 40, 6))).note or "")
    assert "n = 120, " in (areas_table(report(answers(12, 120, 0.0))).note or "")


def test_folds_never_part_a_group() -> None:
    rng = np.random.default_rng(11)
    groups = np.repeat(np.arange(30), 10)
    values, wrong = groups + rng.random(300), rng.random(300) < 0.5  # a value tells its group
    seen: list[int] = []

    def spy(train: np.ndarray, _: np.ndarray) -> float:
        seen.append(len(np.unique(train.astype(int))))
        return 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uncertainty, "best_bound", spy)
        uncertainty.fitted_threshold(values, wrong, groups, 0)
    assert seen == [24, 24, 24, 24, 24, 30]


def test_confidence_that_points_the_wrong_way_gets_no_threshold() -> None:
    assert calibrate(answers(3, 300, -1.5)).threshold is None


def test_few_wrong_answers_get_no_threshold() -> None:
    few = [one for one in answers(4, 300, 1.5) if not one.wrong]
    found = calibrate(few)
    assert found.threshold is None and "and 0 of 165 are wrong" in found.refused and found.areas == {}


@pytest.mark.parametrize("n", [30, 100])
def test_the_interval_of_an_area_covers_the_truth(n: int) -> None:
    """Normal scores one standard deviation apart: the area is Phi(1 / sqrt 2) = 0.760."""
    rng = np.random.default_rng(9)
    yes = np.arange(2 * n) < n
    inside = 0
    for _ in range(600):
        found = roc_area(rng.normal(size=2 * n) + yes, yes)
        inside += found.lo <= 0.7602 <= found.hi
    assert 0.925 <= inside / 600 <= 0.98


def test_an_area_counts_ties_half_and_stays_inside_0_and_1() -> None:
    yes = np.array([True, True, False, False])
    assert roc_area(np.array([1.0, 1.0, 1.0, 1.0]), yes).area == 0.5
    whole = roc_area(np.array([4.0, 3.0, 2.0, 1.0]), yes)
    assert whole.area == 1.0 and 0.5 > whole.lo > 0 and whole.hi == 1.0
    with pytest.raises(ValueError, match="both kinds"):
        roc_area(np.array([1.0]), np.array([True]))


def test_signals_come_from_log_probabilities_and_lump_what_is_missing() -> None:
    logprobs = [{"token": "a", "logprob": math.log(0.5), "top": [["a", math.log(0.5)], ["b", math.log(0.25)]]}]
    (one,) = tokens_of(logprobs)
    assert one.surprise == pytest.approx(math.log(2)) and one.margin == pytest.approx(0.25)
    assert one.entropy == pytest.approx(1.0397, abs=1e-3)
    assert signals([]) == dict.fromkeys(signals([one]), 0.0)


def test_answers_that_differ_disagree() -> None:
    assert disagreement(["a", "A ", "a"]) == 0.0
    assert disagreement(["a", "b", "c"]) == pytest.approx(1.0)
    assert 0 < disagreement(["a", "a", "b"]) < 1


def test_hot_spots_are_joined_to_the_cases_that_failed() -> None:
    found = answers(5, 100, 2.0)
    spot = hot_spots(found)[0]
    assert spot.text == "arrival" and spot.in_wrong > spot.in_right
    failed = {one.case for one in found if one.wrong}
    assert spot.cases and set(spot.cases) <= failed
    assert spot.instead[0] == "other"


def test_the_page_is_a_heat_map_that_escapes_what_a_model_said() -> None:
    found = report(answers(6, 120, 1.5))
    text = page(found)
    assert "<b>" not in text.replace("<body>", "") and "&lt;b&gt;" in text
    assert 'class="h5"' in text or 'class="h1"' in text
    assert "entropy" in text and "Withhold answers" in text and "<script" not in text
    assert "Withhold answers" in verdict(found)
    assert terminal(found.answers[0]).plain == "Card arrival<b>"
    assert shown("\x1b[31mred\n") == "red "


def test_a_model_without_log_probabilities_is_told(tmp_path: Path) -> None:
    async def watched() -> None:
        async with open_session(load(write_simulation(tmp_path, {"weak": "answer(request, 0.5)"}))) as session:
            await measure_uncertainty(session, current(session))

    with pytest.raises(Undecided, match="log-probabilities"):
        asyncio.run(watched())


def test_a_seed_does_not_make_samples_alike(world: Path) -> None:
    async def act(session: Session) -> UncertaintyReport:
        return await measure_uncertainty(session, replace(current(session), decoding={"seed": 7}), samples=4)

    assert len({one.disagreement for one in within(world, act).answers}) > 1


def test_a_model_that_changed_is_not_watched_under_the_old_name(world: Path) -> None:
    async def act(session: Session) -> None:
        await measure_uncertainty(
            session, replace(current(session), model_identity={"provider": "scripted", "source": "older"})
        )

    with pytest.raises(UserError, match="no longer the model"):
        within(world, act)
