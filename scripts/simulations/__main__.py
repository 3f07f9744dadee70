"""Draw simulations, let the package decide in each, and print how often it is wrong.

`make simulations` writes the page, docs/evidence/simulations.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain, product
from pathlib import Path

from scripts.simulations.follow import follow
from scripts.simulations.measure import simulate
from scripts.simulations.table import Row, codes, tables
from scripts.simulations.truth import BY, CONDITIONS, IMPOSSIBLE, TRUTHS, Condition, Truth, draw

TEXT = Path(__file__).with_name("simulations.md")
# Worlds drawn at most, times those wanted: some are not of the class that they were drawn for.
MOST_DRAWN = 4
Place = tuple[Truth, Condition, int]


def decided(seed: int, truth: Truth, condition: Condition, n_test: int, *, steps: bool = True) -> Row:
    """Draw a world, let the package decide, and follow its next step where it is undecided."""
    found = simulate(draw(seed, truth, condition, n_test))
    of_class = found.answer.by == BY[truth]
    followed = follow(found) if steps and of_class and not found.near and not found.firm else None
    return Row(
        truth=truth,
        condition=condition,
        n_test=n_test,
        seed=seed,
        of_class=of_class,
        near=found.near,
        firm=found.firm,
        wrong=found.wrong,
        code=f"{found.verdict.outcome.value} ({found.verdict.reason_code})",
        settled=followed.settled if followed else None,
        wrong_then=bool(followed and followed.last.wrong),
        steps=followed.steps if followed else (),
        chance=found.verdict.next_action.chance_to_settle,
    )


def rows_of(place: Place, *, seed: int, worlds: int, steps: bool = True) -> list[Row]:
    """Return so many worlds of a class that are not near a threshold, with those drawn beside them."""
    rows: list[Row] = []
    wanted = worlds
    for index in range(MOST_DRAWN * worlds):
        row = decided(seed * 1_000_000 + index, *place, steps=steps)
        rows.append(row)
        wanted -= row.of_class and not row.near
        if wanted == 0:
            break
    sys.stderr.write(f"{' '.join(map(str, place))}: {len(rows)} drawn\n")
    return rows


def places(truths: Sequence[Truth], conditions: Sequence[Condition], sizes: Sequence[int]) -> list[Place]:
    """Return the classes under their conditions, at each number of test cases."""
    return [place for place in product(truths, conditions, sizes) if place[:2] not in IMPOSSIBLE]


def main() -> None:
    """Print the tables, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--worlds", type=int, default=400, help="of each class under each condition")
    parser.add_argument("--n", type=int, nargs="+", default=[200, 600], help="test cases")
    parser.add_argument("--class", dest="truths", nargs="+", choices=TRUTHS, default=TRUTHS)
    parser.add_argument("--condition", nargs="+", choices=CONDITIONS, default=CONDITIONS)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--no-steps", action="store_true", help="do not follow the next steps")
    parser.add_argument("--out", type=Path, help="page to write")
    options = parser.parse_args()
    work = partial(rows_of, seed=options.seed, worlds=options.worlds, steps=not options.no_steps)
    where = places(options.truths, options.condition, options.n)
    if options.jobs == 1:
        rows = list(chain.from_iterable(map(work, where)))
    else:
        with ProcessPoolExecutor(options.jobs) as pool:
            rows = list(chain.from_iterable(pool.map(work, where)))
    sys.stdout.write(f"{tables(rows)}\n{codes(rows)}\n")
    if options.out:
        sizes = " ".join(map(str, options.n))
        command = f"python -m scripts.simulations --seed {options.seed} --worlds {options.worlds} --n {sizes}"
        text = TEXT.read_text(encoding="utf-8")
        page = f"{text}\n# Figures\n\nMade by `{command} --out {options.out}`.\n\n{tables(rows)}"
        options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
