"""How often a shadow verdict is wrong under constant looks: `python -m scripts.simulations.shadow --seed 1`.

Thirty days of traffic, ten sessions an hour, of 1 to 4 turns that go alike within a session; long sessions go worse.
Every figure is computed by the functions that the product uses for one period, where each session is a block (for days
see `scripts.simulations.days`), with a look after each session: hourly looks are a part of these. At the margin,
whoever stops or passes is wrong; a candidate that is equal should pass, one that is 8 points worse should be stopped.
With `a judge`, a noisy judge that favours the candidate scores all sessions, and people label some of them. `z-test`
looks hourly at a fixed level, on the same draws. `one test` looks once, at the end.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import scipy

from tuneworthy.shadow.verdict import ALPHA, COMPARED, ShadowRules, Stream, corrected

HOURS, AN_HOUR, MARGIN, TURNS, CHUNK = 24 * 30, 10, 0.05, 4, 100
SHARES = np.array([0.4, 0.3, 0.2, 0.1])  # of sessions with 1, 2, 3 and 4 turns
ALIKE, SHARE, NOISE, POWER = 0.3, 0.2, 0.15, 0.8
# How much worse sessions of each length go; weighed by turns the mean is 1.
BY_LENGTH = np.array([0.8, 0.95, 1.1, 1.2])
BY_LENGTH = BY_LENGTH / ((BY_LENGTH * SHARES * [1, 2, 3, 4]).sum() / (SHARES * [1, 2, 3, 4]).sum())
RULES = ShadowRules(margin=MARGIN, turns=TURNS)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Sessions of several simulations: `(sims, n)` differences by people and by the judge, and weights."""

    people: np.ndarray
    judge: np.ndarray
    weights: np.ndarray


def draw(rng: np.random.Generator, delta: float, sims: int) -> Traffic:
    """Draw traffic whose turn-weighted mean difference is `delta`; 6% of the turns get better."""
    n, gain = HOURS * AN_HOUR, 0.06
    turns = rng.choice([1, 2, 3, 4], p=SHARES, size=(sims, n))
    lose = (gain - delta) * BY_LENGTH[turns - 1]
    concentration = (1 - ALIKE) / ALIKE
    shares = np.stack([lose, np.full_like(lose, gain), 1 - lose - gain])
    gammas = rng.standard_gamma(shares * concentration)
    lost, won = gammas[:2] / gammas.sum(axis=0)
    draws = rng.random((4, sims, n))
    change = np.where(draws < lost, -1.0, np.where(draws < lost + won, 1.0, 0.0))
    wrong = rng.random((4, sims, n)) < NOISE
    seen = np.where(wrong, rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.5, 0.4], size=wrong.shape), change)
    exists = np.arange(4)[:, None, None] < turns
    return Traffic(*((one * exists).sum(axis=0) / turns for one in (change, seen)), turns / TURNS)


def stream(traffic: Traffic, rng: np.random.Generator, *, judge: bool) -> Stream:
    """Return the differences: by right answers, or by the judge as people correct it."""
    if not judge:
        return Stream(values=traffic.people, weights=traffic.weights)
    known = rng.random(traffic.people.shape) < SHARE
    return corrected(traffic.judge, traffic.people, known, traffic.weights, SHARE)


def first(bets: Stream, alpha: float, *, above: bool) -> np.ndarray:
    """Return after how many sessions each simulation met a rule, `(sims,)`; infinite if it never did."""
    low, high = bets.blocks.ends(alpha)
    met = low > -MARGIN if above else high < -MARGIN
    return np.where(met.any(axis=-1), met.argmax(axis=-1) + 1.0, np.inf)


def z_test(bets: Stream) -> np.ndarray:
    """Return whether a test at a fixed level, repeated every hour, ever says that the mean is below the margin."""
    x = bets.weights * (bets.values + MARGIN)
    n = np.arange(1, x.shape[-1] + 1)
    mean, square = np.cumsum(x, axis=-1) / n, np.cumsum(x**2, axis=-1) / n
    z = mean / np.sqrt(np.maximum(square - mean**2, 1e-9) / n)
    hits: np.ndarray = (z[:, AN_HOUR * 10 :: AN_HOUR] < scipy.special.ndtri(ALPHA)).any(axis=-1)
    return hits


def fixed_size(bets: Stream, effect: float, alpha: float) -> float:
    """Return the sessions of one test at the end that has a power of 80%."""
    x = bets.weights * (bets.values - (bets.weights * bets.values).sum() / bets.weights.sum())
    spread = x.std() / bets.weights.mean()
    return float(((scipy.special.ndtri(1 - alpha) + scipy.special.ndtri(POWER)) * spread / effect) ** 2)


def row(sims: int, seed: int, delta: float, *, judge: bool) -> tuple[str, ...]:
    """Return a row of the table."""
    rng, harm = np.random.default_rng(seed), delta < -MARGIN
    alpha = RULES.overall_alpha if harm else ALPHA
    stops, passes, fooled, family, sizes = [], [], [], [], []
    for _ in range(0, sims, CHUNK):
        bets = stream(draw(rng, delta, CHUNK), rng, judge=judge)
        stops.append(first(bets, RULES.overall_alpha, above=False))
        passes.append(first(bets, ALPHA, above=True))
        if delta == -MARGIN:
            fooled.append(z_test(bets))
            others = [stream(draw(rng, delta, CHUNK), rng, judge=False) for _ in COMPARED[1:]]
            times = [stops[-1], *(first(one, RULES.overall_alpha, above=False) for one in others)]
            family.append(np.isfinite(times).any(axis=0))
        else:
            sizes.append(fixed_size(bets, abs(delta + MARGIN), alpha))
    stopped, passed = np.concatenate(stops), np.concatenate(passes)
    ends = [f"{quantile:,.0f}" for quantile in np.quantile(stopped if harm else passed, [0.5, POWER], method="higher")]
    return (
        f"a judge, {SHARE:.0%} labelled" if judge else "right answers",
        f"{100 * delta:+.0f}",
        f"{np.isfinite(stopped).mean():.1%}",
        f"{np.concatenate(family).mean():.1%}" if family else "",
        f"{np.concatenate(fooled).mean():.1%}" if fooled else "",
        f"{np.isfinite(passed).mean():.1%}",
        *(ends if sizes else ["", ""]),
        f"{np.mean(sizes):,.0f}" if sizes else "",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sims", type=int, default=2000)
    asked = parser.parse_args()
    heads = (
        "quality by",
        "points",
        "stopped",
        "any of three stopped",
        "z-test stopped",
        "passed",
        "sessions, median",
        f"sessions, {POWER:.0%} power",
        f"one test, {POWER:.0%} power",
    )
    print(*("| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads))), sep="\n")
    for judge in (False, True):
        for delta in (-MARGIN, 0.0, 0.02, -0.08):
            print("| " + " | ".join(row(asked.sims, asked.seed, delta, judge=judge)) + " |", flush=True)


if __name__ == "__main__":
    main()
