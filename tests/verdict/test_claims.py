"""The claims are whole, what they say of the product is so, and the numbers in them that can be computed are right."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import click
import numpy as np
import pytest

from tuneworthy.cli import VERBS, root
from tuneworthy.config.task import Problem
from tuneworthy.ladder.check import all_checks
from tuneworthy.ladder.rung import RUNGS
from tuneworthy.stats import (
    clopper_pearson,
    lower_bound,
    mcnemar_mde,
    mcnemar_power,
    operating_characteristic,
    plan_size,
    winners_curse,
)
from tuneworthy.verdict.article_lints import LINTS
from tuneworthy.verdict.claims import NOT_BUILT, Claim, ClaimVerdict, article_page, load_claims, sections
from tuneworthy.verdict.gates import GATES
from tuneworthy.verdict.guide import UNSUPPORTED

ROOT = Path(__file__).parent.parent.parent
MARKS = {"V", "V2", "C", "K"}
GENERATED = {"docs/article.md"}
CLAIMS = {claim.id: claim for claim in load_claims()}


def is_there(place: str) -> bool:
    """Whether a place that a claim names is in the product (or, if it is told as not built, is not)."""
    if place.startswith(NOT_BUILT):
        told = re.fullmatch(NOT_BUILT + r" \(issue [2-7]\): (.+)", place)
        return told is not None and not is_verb(told[1]) and not is_there(told[1])
    kind, _, name = place.partition(" ")
    known = {
        "gate": lambda: name in GATES.names(),
        "check": lambda: name in all_checks(),
        "rung": lambda: name in RUNGS.names(),
        "lint": lambda: name in LINTS,
        "command": lambda: is_verb(name),
        "matrix": lambda: name in get_args(Problem),
        "module": lambda: find_spec(name) is not None,
        "doc": lambda: name in GENERATED or (ROOT / name).is_file(),
    }
    return kind in known and known[kind]()


def is_verb(words: str) -> bool:
    """Whether the command line has the verb `words`, such as `plan` or `data build`."""
    name, _, second = words.partition(" ")
    if name not in VERBS:
        return False
    group = root.get_command(click.Context(root), name)
    return not second or (isinstance(group, click.Group) and second in group.list_commands(click.Context(group)))


def faults(claim: Claim) -> list[str]:
    """What is wrong with how a claim is told."""
    wrong = [f"{place}: is not so" for place in claim.acts_on if not is_there(place)]
    wrong += [] if claim.acts_on else ["nothing acts on it"]
    wrong += [] if claim.says and claim.section in sections() else ["says nothing, or in no section"]
    cited = claim.source.startswith("facts.md ")
    wrong += [] if cited or (claim.source == UNSUPPORTED and not claim.mark) else [f"source {claim.source!r}"]
    wrong += [] if set(claim.mark.split()) <= MARKS else [f"mark {claim.mark!r}"]
    wrong += [] if claim.holds or claim.verdict is ClaimVerdict.TRUE else ["what holds instead?"]
    wrong += [] if claim.row is None or f"0, row {claim.row}" in claim.source else ["row and source differ"]
    return wrong


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_has_a_source_and_something_that_really_acts_on_it(name: str) -> None:
    assert faults(CLAIMS[name]) == []


def test_all_rows_of_the_facts_are_there_once() -> None:
    assert sorted(claim.row for claim in CLAIMS.values() if claim.row) == list(range(1, 38))
    assert len(CLAIMS) == len(load_claims())
    assert {claim.section for claim in CLAIMS.values()} == set(sections())


@pytest.mark.parametrize(
    "change",
    [
        {"acts_on": ("gate nothing",)},
        {"acts_on": ("module tuneworthy.nothing",)},
        {"acts_on": ("command data nothing",)},
        {"acts_on": (f"{NOT_BUILT} (issue 5): run",)},
        {"acts_on": (f"{NOT_BUILT} (issue 4): cases label",)},
        {"acts_on": (f"{NOT_BUILT} (issue 6): rung prompt",)},
        {"acts_on": ()},
        {"source": "someone"},
        {"mark": "X"},
        {"holds": ""},
        {"row": 2},
    ],
)
def test_a_claim_that_is_told_wrongly_is_seen(change: dict[str, object]) -> None:
    assert faults(replace(CLAIMS["lima-wins"], **change)) != []  # type: ignore[arg-type]


def test_the_page_holds_every_claim_and_lint_in_whole_rows() -> None:
    rows = [line for line in article_page().splitlines() if line.startswith("| ")]
    body = [row for row in rows if not row.startswith(("| the article", "| lint"))]
    assert len(body) == len(CLAIMS) + len(LINTS)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in body} == {6, 4}
    assert "`stop_reason`" in article_page()
    assert r"adamw\_8bit" in article_page()


def tempered(p: list[float], temperature: float) -> np.ndarray:
    """Probabilities after dividing the logits by the temperature."""
    scaled = np.array(p) ** (1 / temperature)
    return scaled / scaled.sum()


def test_temperature_and_nucleus() -> None:
    p = [0.85, 0.05, 0.03, *[0.007] * 10]
    assert tempered(p, 0.7)[:2] == pytest.approx([0.965, 0.017], abs=0.0006)
    assert tempered(p, 2)[1] == pytest.approx(0.104, abs=0.0006)
    assert max(tempered(p, t)[1] for t in np.linspace(0.1, 50, 2000)) < 0.107
    nucleus = int(np.searchsorted(np.cumsum(p), 0.9)) + 1
    assert nucleus == 2
    assert (np.array(p[:2]) / sum(p[:2])).round(3).tolist() == [0.944, 0.056]
    assert math.pow(0.05, 0.7) == pytest.approx(0.123, abs=0.0005)


def test_penalties_and_log_probabilities() -> None:
    assert 10 / 1.1 < 9.5  # the most likely token changes

    def share(a: float, b: float) -> float:
        return 1 / (1 + math.exp(b - a))

    assert share(10, 9) == pytest.approx(0.73, abs=0.005)
    assert share(10 / 1.1, 9) == pytest.approx(0.52, abs=0.005)
    assert share(-2 * 1.1, -3) == pytest.approx(0.69, abs=0.005)
    assert math.exp(-0.7) == pytest.approx(0.497, abs=0.0005)


def test_what_a_review_of_fifty_shows() -> None:
    assert clopper_pearson(48, 50)[0] == pytest.approx(0.863, abs=0.0006)
    assert lower_bound(48, 50) == pytest.approx(0.879, abs=0.0006)
    assert [plan_size(0.95, bad=bad) for bad in range(3)] == [59, 93, 124]
    assert operating_characteristic(50, 48, 0.95) == pytest.approx(0.54, abs=0.005)


def test_what_fifty_and_a_hundred_cases_show() -> None:
    assert [mcnemar_power(n, loss=0.07, gain=0.02) for n in (50, 200, 400)] == pytest.approx(
        [0.06, 0.60, 0.91], abs=0.01
    )
    losses = (0.02, 0.1)
    assert [mcnemar_mde(50, loss) for loss in losses] == pytest.approx([0.19, 0.285], abs=0.006)
    assert [mcnemar_mde(100, loss) for loss in losses] == pytest.approx([0.11, 0.18], abs=0.006)
    curses = [winners_curse(n, 50, 0.75) for n in (50, 100)]
    assert [winners_curse(50, 20, 0.75), *curses] == pytest.approx([0.109, 0.129, 0.093], abs=0.0006)


def test_what_a_shadow_run_that_is_looked_at_daily_shows() -> None:
    assert -math.log(0.05) == pytest.approx(3, abs=0.005)  # the rule of three
    draws = np.random.default_rng(7).standard_normal((40_000, 50)).cumsum(axis=1) / np.sqrt(np.arange(1, 51))
    outside = np.abs(draws) > 1.96
    found = [outside[:, :comparisons].any(axis=1).mean() for comparisons in (2, 5, 14, 50)]
    assert found == pytest.approx([0.08, 0.14, 0.22, 0.32], abs=0.015)


def test_memory_and_parameters_of_an_adapter() -> None:
    hidden, kv, ff, layers, vocabulary = 4096, 1024, 14336, 32, 128256
    shapes = [(hidden, hidden), (hidden, kv), (hidden, kv), (hidden, hidden)]
    mlp = [(hidden, ff), (hidden, ff), (ff, hidden)]

    def size(pairs: list[tuple[int, int]]) -> int:
        return layers * sum(a * b for a, b in pairs)

    def lora(rank: int, pairs: list[tuple[int, int]]) -> float:
        return layers * rank * sum(a + b for a, b in pairs)

    total = size(shapes + mlp) + 2 * vocabulary * hidden + (2 * layers + 1) * hidden
    assert total == pytest.approx(8.030e9, rel=1e-3)
    assert size(mlp) / total == pytest.approx(0.70, abs=0.005)
    assert size(mlp) / size(shapes + mlp) == pytest.approx(0.81, abs=0.005)
    shares = [lora(8, shapes + mlp), lora(64, shapes + mlp), lora(8, [shapes[0], shapes[1]])]
    assert [100 * share / total for share in shares] == pytest.approx([0.26, 2.1, 0.042], abs=0.012)
    states = lora(32, shapes + mlp)
    assert [states * width / 2**30 for width in (8, 2)] == pytest.approx([0.62, 0.16], abs=0.006)


def test_weights_of_a_70b_in_four_bits() -> None:
    hidden, kv, ff, layers, vocabulary = 8192, 1024, 28672, 80, 128256
    linear = layers * (2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * ff)
    assert (linear * 4.127 / 8 + 2 * vocabulary * hidden * 2) / 2**30 == pytest.approx(36.8, abs=0.15)


def test_time_of_an_epoch() -> None:
    minutes = [2e6 * flops * 8.03e9 / (165e12 * use) / 60 for flops, use in ((6, 0.45), (8, 0.30))]
    assert minutes == pytest.approx([22, 43], abs=0.6)


def test_duplicates_and_noise() -> None:
    shares = [0.06] * 10 + [0.4 / 390] * 390
    assert 1 / sum(p * p for p in shares) == pytest.approx(27.5, abs=0.05)
    assert 500 * 0.05 == 25 == 50_000 * 0.0005
    assert [n * n * 8 / 1e9 for n in (20_000, 50_000)] == [3.2, 20.0]
    refusals, mix = 10_983, 939_344
    assert refusals / mix == pytest.approx(0.012, abs=0.0005)


def test_a_judge_that_always_says_good() -> None:
    good, sensitivity, specificity = 0.9, 0.95, 0.5
    agreement = good * sensitivity + (1 - good) * specificity
    passed = good * sensitivity + (1 - good) * (1 - specificity)
    chance = good * passed + (1 - good) * (1 - passed)
    assert agreement == pytest.approx(0.905)
    assert (agreement - chance) / (1 - chance) == pytest.approx(0.46, abs=0.005)
    bad = 0.08
    left = bad * (1 - specificity) / (bad * (1 - specificity) + (1 - bad) * sensitivity)
    assert left == pytest.approx(0.044, abs=0.0006)


def test_the_article_is_not_quoted_at_length() -> None:
    assert max(len(claim.says) for claim in CLAIMS.values()) < 140
    document = json.loads((ROOT / "src/tuneworthy/verdict/claims.json").read_text())
    assert document["claims"]
