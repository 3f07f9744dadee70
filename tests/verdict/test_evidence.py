"""The pages Claims and Facts are whole, every row has a source that can be opened, and computed figures are right."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from tuneworthy.stats.acceptance import lot_plan_size, operating_characteristic
from tuneworthy.stats.intervals import clopper_pearson, lower_bound

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evidence" / "index.md"
FACTS = ROOT / "docs" / "evidence" / "facts.md"
MARKS = {"read", "second-hand", "computed", "not verified"}
FINDINGS = {"true", "wrong", "outdated", "unsupported", "incomplete", "contested", "bug"}
WITHOUT_LINK = ("computed", "by definition", "practice, no study", "no study")


def winners_curse(n: int, candidates: int, rate: float) -> float:
    """How far the best of equal candidates on n cases is expected to score above the truth."""
    below = binom.cdf(np.arange(n), n, rate) ** candidates
    return float((1 - below).sum() / n - rate)


def exact_power(n: int, loss: float, gain: float) -> float:
    """Chance that McNemar's exact two-sided test at 5% finds a difference."""
    m = np.arange(n + 1)[:, None]
    k = np.arange(n + 1)
    found = 2 * binom.cdf(np.minimum(k, m - k), m, 0.5) <= 0.05
    chance = binom.pmf(m, n, loss + gain) * binom.pmf(k, m, gain / (loss + gain))
    return float(chance[found & (k <= m)].sum())


def exact_difference(n: int, loss: float) -> float:
    """Smallest gain that the same test finds in four of five times, to half a point."""
    return next(points for points in np.arange(0.01, 0.5, 0.005) if exact_power(n, loss, loss + points) >= 0.8)


def rows(page: Path = PAGE, head: str = "| claim |") -> list[list[str]]:
    """The rows of a page, without those that begin with `head`: for the claims claim, finding, what holds, source."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ") and not line.startswith(head)]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]


def test_every_claim_has_a_finding_what_holds_and_a_source_that_can_be_opened() -> None:
    assert len(rows()) == 81
    for claim, finding, holds, source in rows():
        assert finding.strip() in FINDINGS
        assert claim.strip() and holds.strip()
        assert "](https://" in source or source.strip().startswith(WITHOUT_LINK), claim


def test_every_fact_has_a_mark_and_a_source_that_can_be_opened_unless_it_is_computed() -> None:
    facts = [row for row in rows(FACTS, "| fact |") if len(row) == 3]
    assert len(facts) == 81
    for fact, mark, source in facts:
        assert mark.strip() in MARKS and fact.strip().endswith(".") and source.strip()
        assert "](https://" in source or mark.strip() in {"computed", "not verified"}, fact


@pytest.mark.parametrize("page", [PAGE, FACTS])
def test_the_pages_cite_nothing_that_a_reader_lacks(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        assert link.startswith("https://") or (page.parent / link).is_file(), link


def test_what_the_code_cites_of_the_pages_is_there() -> None:
    sources = [path for folder in ("src", "scripts", "tests") for path in (ROOT / folder).rglob("*.py")]
    cited = {found for path in sources for found in re.findall(r"(docs/[\w/-]+\.md)#([\w-]+)", path.read_text())}
    assert ("docs/evidence/facts.md", "decoding") in cited
    for page, anchor in cited:
        heads = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}, (page, anchor)


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
    assert [lot_plan_size(10_000_000, 500_000, bad) for bad in range(3)] == [59, 93, 124]
    assert operating_characteristic(50, 48, 0.95) == pytest.approx(0.54, abs=0.005)


def test_what_fifty_and_a_hundred_cases_show() -> None:
    assert [exact_power(n, 0.07, 0.02) for n in (50, 200, 400)] == pytest.approx([0.06, 0.60, 0.91], abs=0.01)
    losses = (0.02, 0.1)
    assert [exact_difference(50, loss) for loss in losses] == pytest.approx([0.19, 0.285], abs=0.006)
    assert [exact_difference(100, loss) for loss in losses] == pytest.approx([0.11, 0.18], abs=0.006)
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
