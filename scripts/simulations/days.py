"""How often a shadow verdict by days is wrong, and when it comes: `python -m scripts.simulations.days --seed 1`.

The difference in quality varies between days with a standard deviation of 0 to 0.1; within a day sessions are
independent, and weekends have half the traffic. Every figure is computed by the functions that the product uses. Looks
come after every session: an unfinished day is no block, and gross harm is tested on sessions. At the margin exactly,
whoever stops or passes within 60 days is wrong. `sessions` is the same rule with each session as a block, which ignores
the days. Then an equal candidate should pass, and one that is 5 or 10 points beyond the margin should be stopped; the
forecast is that of the product for the true standard deviation.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tuneworthy.shadow.days import ADDED, LOSSES, MIN_DAYS, Blocks, decision_days
from tuneworthy.shadow.verdict import ALPHA, GROSS, ShadowRules

MARGIN, GAIN, DAYS, MOST_DAYS, POWER, CHUNK = 0.05, 0.06, 60, 182, 0.8, 4_000_000
SPREADS, TRAFFIC = (0.0, 0.02, 0.04, 0.06, 0.1), (30, 100, 300)
WEEK = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5])
STOP_ALPHA = ShadowRules(margin=MARGIN, turns=1).overall_alpha


@dataclass(frozen=True, slots=True)
class Traffic:
    """Sessions of several simulations: `(sims, n)` differences, and `(n,)` numbers of their days."""

    values: np.ndarray
    days: np.ndarray

    def blocks(self, *, by_session: bool = False) -> Blocks:
        """Return the blocks of all simulations."""
        days = np.arange(len(self.days)) if by_session else self.days
        return Blocks.of(self.values, np.ones_like(self.values), days, 1.0)


def draw(rng: np.random.Generator, sims: int, size: tuple[int, int], delta: float, spread: float) -> Traffic:
    """Draw days whose true mean differences are normal around `delta`; at most 6% of the answers get better."""
    sessions, days = size
    sizes = np.maximum(1, np.round(sessions * np.resize(WEEK, days) / WEEK.mean())).astype(int)
    mean = delta + spread * rng.standard_normal((sims, days))
    lose = np.clip(GAIN - mean, 0.0, 1.0)
    gain = np.clip(mean + lose, 0.0, 1 - lose)
    number = np.repeat(np.arange(days), sizes)
    chance = rng.random((sims, len(number)), dtype=np.float32)
    lost, won = (np.repeat(share.astype(np.float32), sizes, axis=1) for share in (lose, lose + gain))
    return Traffic(np.where(chance < lost, -1.0, np.where(chance < won, 1.0, 0.0)), number)


def first(blocks: Blocks, null: float, alpha: float, *, above: bool) -> np.ndarray:
    """Return the number of the block at which each simulation met a rule, `(sims,)`; infinite if it never did."""
    low, high = blocks.ends(alpha)
    met = low > null if above else high < null
    return np.where(met.any(axis=-1), met.argmax(axis=-1) + 1.0, np.inf)


def chunks(rng: np.random.Generator, sims: int, sessions: int, days: int, *truth: float) -> Iterator[Traffic]:
    """Yield traffic in parts that fit in memory."""
    size = max(1, CHUNK // (sessions * days))
    for start in range(0, sims, size):
        yield draw(rng, min(size, sims - start), (sessions, days), *truth)


def false_rates(rng: np.random.Generator, sims: int, sessions: int, spread: float) -> tuple[float, float, float]:
    """Return the shares that stop, that pass, and that the same rule on sessions stops, all falsely, in 60 days."""
    wrong = np.zeros(3)
    for traffic in chunks(rng, sims, sessions, DAYS, -MARGIN, spread):
        blocks, (_, high) = traffic.blocks(), traffic.blocks(by_session=True).ends(STOP_ALPHA)
        gross, fooled = ((high < -MARGIN - more).any(axis=-1) for more in (GROSS, 0.0))
        stops = np.isfinite(first(blocks, -MARGIN, STOP_ALPHA, above=False)) | gross
        passes = np.isfinite(first(blocks, -MARGIN, ALPHA, above=True))
        wrong += [stops.sum(), passes.sum(), fooled.sum()]
    stop, passed, fooled_share = (wrong / sims).tolist()
    return stop, passed, fooled_share


def times(rng: np.random.Generator, sims: int, sessions: int, spread: float, loss: float | None) -> np.ndarray:
    """Return the days until an equal candidate passes, or one that is worse by the margin and `loss` is stopped."""
    delta, alpha = (0.0, ALPHA) if loss is None else (-MARGIN - loss, STOP_ALPHA)
    found = [
        first(traffic.blocks(), -MARGIN, alpha, above=loss is None)
        for traffic in chunks(rng, sims, sessions, MOST_DAYS, delta, spread)
    ]
    return np.concatenate(found)


def forecasts(sessions: int, spread: float) -> list[int | None]:
    """Return the product's forecast: days to pass, and days to stop at each of `LOSSES`."""
    found = []
    for place, delta in enumerate((0.0, *(-MARGIN - loss for loss in LOSSES))):
        within = (2 * GAIN - delta - delta**2 + ADDED / (MIN_DAYS * sessions)) / sessions
        found.append(decision_days((spread**2 + within) ** 0.5, MARGIN, ALPHA, STOP_ALPHA)[place])
    return found


def table(heads: list[str], rows: Iterator[list[str]]) -> None:
    """Print a table, row by row."""
    print(*("| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads))), sep="\n")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sims", type=int, default=2000)
    asked = parser.parse_args()

    def wrong() -> Iterator[list[str]]:
        rng = np.random.default_rng(asked.seed)
        for sessions in TRAFFIC:
            for spread in SPREADS:
                stop, passed, fooled = false_rates(rng, asked.sims, sessions, spread)
                any_of_three = 1 - (1 - stop) ** 3
                yield [f"{sessions}", f"{spread}", *(f"{x:.1%}" for x in (stop, any_of_three, passed, fooled))]

    def when() -> Iterator[list[str]]:
        rng = np.random.default_rng(asked.seed)
        for sessions in TRAFFIC:
            for spread in SPREADS:
                cells = []
                for days, loss in zip(forecasts(sessions, spread), (None, *LOSSES), strict=True):
                    found = times(rng, asked.sims // 2, sessions, spread, loss)
                    ends = np.quantile(found, [0.5, POWER], method="higher")
                    cells.append(f"{days}: " + ", ".join(f"{end:.0f}" for end in ends))
                yield [f"{sessions}", f"{spread}", *cells]

    heads = ["sessions a day", "SD between days"]
    table([*heads, "stopped", "any of three stopped", "passed", "sessions as blocks: stopped"], wrong())
    print()
    table(
        [*heads, "equal: passes", *(f"{100 * loss:.0f} points beyond the margin: stopped" for loss in LOSSES)], when()
    )


if __name__ == "__main__":
    main()
