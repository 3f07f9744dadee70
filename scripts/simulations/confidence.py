"""How often an alert on low confidence is false: `python -m scripts.simulations.confidence --seed 1`.

A project has 200 dev cases, of which a quarter are answered wrong, with less confidence (AUROC 0.86). The threshold and
dev's share are those that `decode uncertainty` stores. Then come 2,000 sessions of 1 to 4 turns that go alike within a
session, with a look after each. `+0` is traffic like dev; at the margin exactly, an alert is false as well. Rises begin
with session 1,000. `from the first` are bets that all begin with the first session. `z-test` compares all sessions so
far with dev at a fixed level of 5%, after every 100 sessions.
"""

from __future__ import annotations

import argparse

import numpy as np
import scipy
from scripts.simulations.shadow import ALIKE, SHARES, TURNS

from tuneworthy.ladder.commands.uncertainty import fitted_threshold
from tuneworthy.shadow.confidence import rise
from tuneworthy.shadow.verdict import ALPHA
from tuneworthy.stats.betting import log_capital

N_DEV, N, CHANGE, LOOK, WRONG, EFFECT, POWER = 200, 2000, 1000, 100, 0.25, 1.5, 0.8


def share_above(bound: float) -> float:
    """Return the share of all answers whose signal is above a bound."""
    return float((1 - WRONG) * scipy.stats.norm.sf(bound) + WRONG * scipy.stats.norm.sf(bound - EFFECT))


def sessions(rng: np.random.Generator, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what share of each session's answers has low confidence, and its weight, given the mean of each."""
    turns = rng.choice([1, 2, 3, 4], p=SHARES, size=len(shares))
    concentration = (1 - ALIKE) / ALIKE
    own = rng.beta(shares * concentration, (1 - shares) * concentration)
    return rng.binomial(turns, own) / turns, turns / TURNS


def z_test(unsure: np.ndarray, weights: np.ndarray, dev: float, margin: float) -> bool:
    """Return whether a test at a fixed level ever says that the mean is above dev's by more than the margin."""
    for n in range(LOOK, len(unsure) + 1, LOOK):
        mean = (weights[:n] * unsure[:n]).sum() / weights[:n].sum()
        off = weights[:n] * (unsure[:n] - mean)
        error = np.hypot(np.sqrt((off**2).sum()) / weights[:n].sum(), np.sqrt(dev * (1 - dev) / N_DEV))
        if mean - dev - margin > scipy.special.ndtri(1 - ALPHA) * error:
            return True
    return False


def row(sims: int, seed: int, margin: float, delta: float) -> tuple[str, ...]:
    """Return a row of the table."""
    rng, change = np.random.default_rng(seed), CHANGE if delta > margin else 0
    alerts, starts, first, fooled = [], [], 0, 0
    for _ in range(sims):
        wrong = rng.random(N_DEV) < WRONG
        threshold = fitted_threshold(rng.normal(size=N_DEV) + EFFECT * wrong, wrong, np.arange(N_DEV), seed)
        true = share_above(threshold.value)
        shares = np.where(np.arange(N) < change, true, min(0.99, true + delta))
        unsure, weights = sessions(rng, shares)
        ceiling = min(1.0, threshold.above.hi + margin)
        alert_at, start = rise(unsure, weights, ceiling)
        alerts.append(alert_at or np.inf)
        starts.append(start + 1 if alert_at else np.nan)
        capital = log_capital(2 * unsure - 1, 2 * ceiling - 1, weights)
        first += bool((capital >= np.log(2 / ALPHA)).any())
        fooled += not change and z_test(unsure, weights, threshold.above.value, margin)
    times = np.array(alerts)
    false = (times <= change) if change else np.isfinite(times)
    late = times[~false] - change
    ends = np.quantile(late, [0.5, POWER], method="higher") if change else [np.inf, np.inf]
    sizes = [f"{size:,.0f}" if np.isfinite(size) else "" for size in ends]
    return (
        f"{100 * margin:.0f}",
        f"{100 * delta:+.0f}",
        f"{false.mean():.1%}",
        "" if change else f"{fooled / sims:.1%}",
        f"{np.isfinite(times).mean():.1%}" if change else "",
        f"{first / sims:.1%}" if change else "",
        *sizes,
        f"{np.nanmedian(starts):,.0f}" if change else "",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sims", type=int, default=2000)
    asked = parser.parse_args()
    heads = (
        "margin",
        "points",
        "false alerts",
        "z-test: false alerts",
        "found",
        "from the first: found",
        "sessions, median",
        f"sessions, {POWER:.0%} power",
        "start named, median",
    )
    print(*("| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads))), sep="\n")
    for margin, delta in ((0.0, 0.0), (0.1, 0.0), (0.1, 0.1), (0.1, 0.2), (0.1, 0.3), (0.1, 0.5)):
        print("| " + " | ".join(row(asked.sims, asked.seed, margin, delta)) + " |", flush=True)


if __name__ == "__main__":
    main()
