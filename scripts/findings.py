"""Plant wrong labels, and count how many the first 200 rows hold in the order of `label findings`.

`python -m scripts.findings --seed 1 --banking77 ../shared/data/banking77/train.csv` prints a line for that file and
one for a set that is generated here.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path

from tuneworthy.dataset.checks.label_errors import find_doubts

N_PLANTED = N_FIRST = 200
Rows = list[tuple[str, str]]


def generated(rng: random.Random, *, n_labels: int = 40, n_rows: int = 6000) -> Rows:
    """Draw rows of made-up words: each label has its own, each text two of them among words that all labels share."""

    def words(n: int) -> list[str]:
        return ["".join(rng.choice("bdfgklmnprst") + rng.choice("aeiou") for _ in range(3)) for _ in range(n)]

    common, own = words(300), [words(12) for _ in range(n_labels)]
    rows = []
    for _ in range(n_rows):
        label = rng.randrange(n_labels)
        text = rng.sample(common, rng.randrange(3, 9)) + rng.sample(own[label], 2)
        rng.shuffle(text)
        rows.append((" ".join(text), f"label {label}"))
    return rows


def share_fixed(rows: Rows, rng: random.Random) -> float:
    """Return the share of planted wrong labels among the first suspected rows."""
    labels = sorted({label for _, label in rows})
    wrong = set(rng.sample(range(len(rows)), N_PLANTED))
    spoilt = [
        rng.choice([other for other in labels if other != label]) if number in wrong else label
        for number, (_, label) in enumerate(rows)
    ]
    doubts, _ = find_doubts([text for text, _ in rows], spoilt)
    return len(wrong & {doubt.row for doubt in doubts[:N_FIRST]}) / N_PLANTED


def main() -> None:
    """Print a line for each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--banking77", type=Path)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    print(f"generated: {share_fixed(generated(rng), rng):.1%} of {N_PLANTED} in the first {N_FIRST}", flush=True)
    if options.banking77:
        with options.banking77.open(newline="") as file:
            rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
        print(f"banking77: {share_fixed(rows, rng):.1%} of {N_PLANTED} in the first {N_FIRST}")


if __name__ == "__main__":
    main()
