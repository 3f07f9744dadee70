"""How often the lower bound of a forecast covers: six families of learning curves, pilots of 4 sizes x 2 seeds.

Run: `python -m scripts.simulations.forecasts --seed 17 --curves 1000`. Prints a Markdown table: the share of one more
training at twice the largest pilot that scores at least the lower bound, and the mean distance of the bound below it.
"""

import argparse
from collections.abc import Callable, Mapping

import numpy as np

from tuneworthy.verdict.forecast import PilotPoint, forecast, pilot_sizes

N = 1600
Curve = Callable[[float], float]
# Standard deviations of a whole seed and of one training.
NOISES = ((0.0, 0.005), (0.0, 0.02), (0.01, 0.01), (0.02, 0.005))


def power_law(rng: np.random.Generator) -> Curve:
    """Fast at first, then ever slower."""
    top, exponent, start = rng.uniform(0.6, 0.95), rng.uniform(0.1, 1.2), rng.uniform(0.1, 0.5)
    return lambda n: float(top - start * (n / 100) ** -exponent)


def late_sigmoid(rng: np.random.Generator) -> Curve:
    """Slow, then fast, then slow in the logarithm of the size, with the middle from within the pilot to beyond it."""
    low, rise = rng.uniform(0.3, 0.5), rng.uniform(0.1, 0.4)
    middle, width = rng.uniform(np.log(200), np.log(3200)), rng.uniform(0.15, 0.6)
    return lambda n: float(low + rise / (1 + np.exp(-(np.log(n) - middle) / width)))


def step(rng: np.random.Generator) -> Curve:
    """One jump at any size."""
    low, jump, at = rng.uniform(0.3, 0.5), rng.uniform(0.1, 0.4), np.exp(rng.uniform(np.log(80), np.log(3200)))
    return lambda n: float(low + jump * (n >= at))


def linear(rng: np.random.Generator) -> Curve:
    """As much for each further example."""
    low, slope = rng.uniform(0.2, 0.5), rng.uniform(0.0, 0.25)
    return lambda n: float(low + slope * n / 1000)


def rise_and_fall(rng: np.random.Generator) -> Curve:
    """A peak within the pilot or beyond it; more data of the same kind then hurts."""
    top, peak, bend = rng.uniform(0.5, 0.9), rng.uniform(np.log(150), np.log(3200)), rng.uniform(0.01, 0.06)
    return lambda n: float(top - bend * (np.log(n) - peak) ** 2)


def flat(rng: np.random.Generator) -> Curve:
    """Nothing is learned."""
    level = rng.uniform(0.2, 0.9)
    return lambda n: float(level)


FAMILIES: Mapping[str, Callable[[np.random.Generator], Curve]] = {
    "power law": power_law,
    "late sigmoid": late_sigmoid,
    "step": step,
    "linear": linear,
    "rise and fall": rise_and_fall,
    "flat": flat,
}


def pilot(curve: Curve, rng: np.random.Generator, draw: float, noise: float) -> list[PilotPoint]:
    """Return a pilot whose two seeds are better or worse as a whole by `draw`, and each training by `noise`."""
    seeds = rng.normal(0, draw, 2)
    return [
        PilotPoint(size=size, seed=seed, score=float(np.clip(curve(size) + seeds[seed] + rng.normal(0, noise), 0, 1)))
        for size in pilot_sizes(N)
        for seed in (0, 1)
    ]


def coverage(family: str, draw: float, noise: float, *, seed: int, curves: int) -> tuple[float, float, float, float]:
    """Return the share covered from below, the mean width, the share with an upper bound, and what that covers."""
    rng = np.random.default_rng([seed, list(FAMILIES).index(family), round(1000 * draw), round(1000 * noise)])
    covered, widths, closed, under = 0, [], 0, 0
    for _ in range(curves):
        curve = FAMILIES[family](rng)
        found = forecast(pilot(curve, rng, draw, noise), N, 0.0)
        truth = float(np.clip(curve(N) + rng.normal(0, draw) + rng.normal(0, noise), 0, 1))
        assert found.ci95 is not None
        low, high = found.ci95
        covered += low <= truth
        widths.append(truth - low)
        closed += high is not None
        under += high is not None and truth <= high
    return covered / curves, float(np.mean(widths)), closed / curves, under / closed if closed else float("nan")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--curves", type=int, default=1000, help="in each cell")
    chosen = parser.parse_args()
    head = ("family", "sd of a seed", "sd of a training", "covered", "width", "with upper bound", "upper covers")
    rows = [head, ("---",) * len(head)]
    for family in FAMILIES:
        for draw, noise in NOISES:
            share, width, closed, under = coverage(family, draw, noise, seed=chosen.seed, curves=chosen.curves)
            numbers = (f"{share:.3f}", f"{width:.3f}", f"{closed:.2f}", f"{under:.3f}" if closed else "-")
            rows.append((family, f"{draw:g}", f"{noise:g}", *numbers))
    print("\n".join("| " + " | ".join(row) + " |" for row in rows))


if __name__ == "__main__":
    main()
