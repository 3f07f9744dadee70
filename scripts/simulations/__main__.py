"""Draw simulations, let the product decide in each, and write the page: `python -m scripts.simulations --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from scripts.simulations.table import Decided, figures, page
from scripts.simulations.truth import Truth, draw
from scripts.simulations.walk import walk

APART = 5
"""One world of the two classes that are reported apart to so many of the two that count."""


def decided(of: tuple[int, Truth]) -> Decided:
    """Draw a simulation and let the package decide."""
    seed, truth = of
    world = draw(seed, truth)
    walked = walk(world)
    verdict = walked.verdict
    return Decided(world, verdict.outcome.value, verdict.reason_code, bool(walked.falsely_better))


def every(seed: int, simulations: int) -> Iterator[tuple[int, Truth]]:
    """Yield seed and class of every world of a run; runs of different seeds share none."""
    for truth, n in (
        ("yes", simulations),
        ("no", simulations),
        ("boundary", simulations // APART),
        ("gain_too_small", simulations // APART),
    ):
        for index in range(n):
            yield seed * 1_000_000 + index, truth  # type: ignore[misc]


def run(seed: int, simulations: int, jobs: int = 1) -> list[Decided]:
    """Return what was decided in every simulation."""
    if jobs == 1:
        return [decided(of) for of in every(seed, simulations)]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(decided, every(seed, simulations), chunksize=20))


def main() -> None:
    """Write the page, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--simulations", type=int, default=1000, help="simulations of each of the two classes that count"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, default=Path("docs/simulations.md"))
    options = parser.parse_args()
    found = run(options.seed, options.simulations, options.jobs)
    options.out.write_text(page(found, options.seed, options.simulations), encoding="utf-8")
    sys.stdout.write(figures(found))


if __name__ == "__main__":
    main()
