"""Let scripted reviewers go through whole reviews, and count what the planted rows say of them.

`python -m scripts.reviewers --seed 1 --n 1000` prints, for each kind of reviewer, how many reviews accept a version
and how many end because too many planted rows were missed. A version has 400 rows of 20 labels, 1 % of them wrong for
a careful reviewer (good enough for the claim) and 15 % for a careless one (far from it).
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tuneworthy.people.review import Review
from tuneworthy.people.review_log import FILE_NAME, ReviewPlan
from tuneworthy.types import Example

N_ROWS, N_LABELS = 400, 20
Answer = Callable[[random.Random, bool], bool]


def always_good(_: random.Random, __: bool) -> bool:
    """Return good, whatever the row is."""
    return True


def at_random(rng: random.Random, _: bool) -> bool:
    """Return good for half of the rows."""
    return rng.random() < 0.5


def mostly_good(rng: random.Random, _: bool) -> bool:
    """Return good for 98 % of the rows, whatever they are."""
    return rng.random() < 0.98


def careful(rng: random.Random, is_wrong: bool) -> bool:
    """Return what a careful person says: 5 % of bad rows are missed, 1 % of good rows called bad."""
    return rng.random() < (0.05 if is_wrong else 0.99)


# Reviewer to the share of the version's rows that are wrong.
REVIEWERS: dict[Answer, float] = {always_good: 0.15, at_random: 0.15, mostly_good: 0.15, careful: 0.01}


def version(rng: random.Random, wrong: float) -> list[Example]:
    """Draw the rows of a version."""
    rows = []
    for number in range(N_ROWS):
        label = (number + (rng.randrange(1, N_LABELS) if rng.random() < wrong else 0)) % N_LABELS
        texts = {"user": f"question {number} {rng.random()}", "assistant": f"label {label}"}
        rows.append(Example(id="", messages=tuple({"role": role, "content": text} for role, text in texts.items())))
    return rows


def outcome(folder: Path, rng: random.Random, answer: Answer, wrong: float, *, n_planted: int, max_bad: int) -> str:
    """Return how one review ends: its status, or `caught`."""
    review = Review(folder / FILE_NAME, "v", version(rng, wrong))
    plan: ReviewPlan = review.plan(seed=rng.randrange(2**31), planted=n_planted, max_bad=max_bad)
    way = review.reviewing("one", plan)
    while (row := way.next()) is not None:
        number, label = int(row.messages[0]["content"].split()[1]), int(row.messages[1]["content"].split()[1])
        good = answer(rng, number % N_LABELS != label)
        way.give(row.id, good=good, reason="" if good else "wrong label")
    state = review.state()
    (folder / FILE_NAME).unlink()
    return "caught" if state.distrusted and state.status == "open" else state.status


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--planted", type=int, default=8)
    parser.add_argument("--max-bad", type=int, default=1)
    options = parser.parse_args()
    os.fsync = lambda _: None  # a thousand reviews that nobody needs after a power cut
    with tempfile.TemporaryDirectory() as folder:
        for answer, wrong in REVIEWERS.items():
            rng = random.Random(f"{options.seed} {answer.__name__}")
            ends = Counter(
                outcome(Path(folder), rng, answer, wrong, n_planted=options.planted, max_bad=options.max_bad)
                for _ in range(options.n)
            )
            shares = ", ".join(f"{end} {n / options.n:.1%}" for end, n in sorted(ends.items()))
            print(f"{answer.__name__:>12} ({wrong:.0%} of the rows wrong): {shares}", flush=True)


if __name__ == "__main__":
    main()
