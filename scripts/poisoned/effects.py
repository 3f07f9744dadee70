"""How often the effect of dropped rows is decided, and in the right direction: planted faults, drops, a whole test set.

    python -m scripts.poisoned.effects banking77 --seeds 1 2 3 --out effects.jsonl

A fault changes labels; a drop is a made-up check that removes wrong rows, or right rows: hard, copies or random.
The truth is the difference of the same models on the test set, without the 80 cases that are dev.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from scripts.ordinary.rows import emotions
from scripts.poisoned.recipes import pairs_of

from tuneworthy.arrays import Bools, Floats, Floats32
from tuneworthy.classical.embedding import fit_head
from tuneworthy.classical.runtime import LinearLabels
from tuneworthy.dataset.effect import EffectMeter
from tuneworthy.retrieval.encoder import CachedEncoder, load_encoder
from tuneworthy.stats.paired import compare
from tuneworthy.types import Case, Example

N_DEV, MAX_TEST = 80, 3_000
BUILDS = {"clean": "hard random20 random60 copies labels", "noise": "model oracle half mixed", "swap": "half wrongway",
          "heavy": "oracle half", "shift": "model half wrongway", "local": "oracle half wrongway"}  # fmt: skip


def own_shares(x: Floats32, labels: list[str], draw: np.random.Generator) -> Floats:
    """Return the probability of each row's label, out of fold."""
    names, codes = np.unique(labels, return_inverse=True)
    shares, folds = np.full((len(labels), len(names)), 1 / len(names)), draw.permutation(len(labels)) % 3
    for fold in range(3):
        head = LinearLabels(**fit_head(x[folds != fold], codes[folds != fold], names.tolist()))
        shares[folds == fold] = head.of_vectors(x[folds == fold])
    return np.asarray(shares[np.arange(len(codes)), codes])


def damaged(fault: str, right: list[str], x: Floats32, rng: random.Random) -> tuple[list[str], Bools]:
    """Return the labels after a fault, and the rows among which a check that errs takes the right ones."""
    given, n, labels, region = [*right], len(right), sorted({*right}), np.ones(len(right), bool)
    if fault == "noise":
        for i in rng.sample(range(n), int(0.15 * n)):
            given[i] = rng.choice([one for one in labels if one != given[i]])
    elif fault in {"swap", "heavy"}:
        drawn = rng.sample(labels, len(labels) // 2 * 2)
        other = dict(zip(drawn, [*drawn[len(drawn) // 2 :], *drawn], strict=False))
        for i in rng.sample(range(n), int((0.25 if fault == "swap" else 0.42) * n)):
            given[i] = other.get(given[i], given[i])
    elif fault == "shift":
        rows = rng.sample(range(n), n // 4)
        for i, j in zip(rows, [*rows[1:], rows[0]], strict=True):
            given[i] = right[j]
    elif fault == "local":
        region[:] = False
        for anchor in rng.sample(range(n), 4):
            label, near = rng.choice(labels), np.argsort(-(x @ x[anchor]))[: max(8, n // 33)].tolist()
            region[near] = True
            for i in near:
                given[i] = label if rng.random() < 0.7 else given[i]
    return given, region


def dropped(  # noqa: PLR0917
    drop: str, given: list[str], bad: Bools, region: Bools, x: Floats32, draw: np.random.Generator
) -> Bools:
    """Return the rows that a made-up check drops."""
    n, names, chance = len(given), np.array(given), draw.random(len(given))
    shares = own_shares(x, given, draw)
    near = np.where(names[:, None] == names, x @ x.T, 0) - 9 * np.eye(n)
    hard_right, some_bad = np.argsort(np.argsort(np.where(bad, 2, shares))), bad & (chance < 0.3)
    rare = draw.choice(np.unique(names), max(1, len({*given}) // 10), replace=False)
    return {
        "hard": hard_right < 0.1 * n,
        "random20": chance < 0.2,
        "random60": chance < 0.6,
        "copies": np.argsort(np.argsort(-near.max(axis=1))) < 0.3 * n,
        "labels": np.isin(names, rare),
        "model": np.argsort(np.argsort(shares)) < bad.sum(),
        "oracle": bad,
        "half": bad & (chance < 0.5),
        "mixed": some_bad | (hard_right < some_bad.sum()),
        "wrongway": ~bad & region & ((chance < 0.5) | (not region.all())),
    }[drop]


def measured(args: argparse.Namespace, seed: int, fault: str, drop: str, encoder: CachedEncoder) -> dict[str, object]:
    """Return the differences of one build, in points: on dev, on held-out rows, and on the test set."""
    name = args.set
    rng, draw = random.Random(f"{name} {fault} {drop} {seed}"), np.random.default_rng(seed)
    if name == "emotion":
        pairs = [(row["tweet"], row["emotion"]) for row in emotions(args.more, n=4_600)]
        train, test = pairs[1_400:], pairs[:1_400]
    else:
        train, test = pairs_of(name, args.data, args.more)
    rows, test = rng.sample(train, min(args.rows, len(train))), rng.sample(test, min(MAX_TEST, len(test)))
    x, right = encoder.encode([q for q, _ in rows]), [a for _, a in rows]
    given, region = damaged(fault, right, x, rng)
    gone = dropped(drop, given, np.array(given) != np.array(right), region, x, draw)
    turns = [
        ({"role": "user", "content": q}, {"role": "assistant", "content": a})
        for (q, _), a in zip(rows, given, strict=True)
    ]
    examples = [Example(messages=pair, id=str(i)) for i, pair in enumerate(turns)]
    cases = [Case(id=str(i), input=q, expected=a) for i, (q, a) in enumerate(test)]
    counts = Counter(a for _, a in test)
    meter = EffectMeter(dev=cases, labels=counts, cases=counts, seed=seed, encoder=encoder)
    sample = meter.sample(examples, ~gone, examples)
    scores = sample.scores(lambda some, _: (np.flatnonzero(some), np.flatnonzero(some & sample.stays))).sum(axis=0)
    questions, first = np.append(sample.asked, sample.dev), len(sample.asked)
    parts = {"all": range(first), "stay": np.flatnonzero(sample.stays[sample.asked]),
             "dev": range(first, first + N_DEV), "truth": range(first + N_DEV, len(questions))}  # fmt: skip
    found: dict[str, object] = {"build": f"{name} {seed} {fault} {drop}"}
    for part, places in parts.items():
        weights = meter.weights([sample.accepted[questions[i]][0] for i in places])
        of_raw, of_built = (scores[list(places)] * weights[:, None]).T
        result = compare(of_raw, weights, of_built, weights, alpha=None)
        found[part] = [round(100 * one, 2) for one in (result.delta, *result.ci)]
    return found


def sign(low: float, high: float) -> int:
    return (low > 0) - (high < 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=["banking77", "hint3", "emotion"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--more", type=Path, default=Path("../ordinary-data"))
    parser.add_argument("--out", type=Path, default=Path("effects.jsonl"))
    args = parser.parse_args()
    encoder = CachedEncoder(load_encoder(), Path(tempfile.gettempdir()) / "effects-vectors.bin")
    table: Counter[tuple[int, int, int]] = Counter()
    for seed in args.seeds:
        for fault, drops in BUILDS.items():
            for drop in drops.split():
                one = measured(args, seed, fault, drop, encoder)
                with args.out.open("a") as file:
                    file.write(json.dumps(one) + "\n")
                (_, *truth), (_, *dev), (_, *every), (_, *stay) = (
                    one[part] for part in ("truth", "dev", "all", "stay")
                )
                rows = sign(min(every[0], stay[0]), max(every[1], stay[1]))
                table[sign(*truth), sign(*dev), sign(*dev) or rows] += 1
    for truth, name in ((-1, "loss"), (0, "not measurable"), (1, "gain")):
        own = {key: n for key, n in table.items() if key[0] == truth}
        print(f"{name}: {sum(own.values())} builds; on dev, and with held-out rows, called")
        for decided, words in ((-1, "a loss"), (0, "not measurable"), (1, "a gain")):
            print(
                f"  {words}: {', '.join(str(sum(n for key, n in own.items() if key[at] == decided)) for at in (1, 2))}"
            )


if __name__ == "__main__":
    main()
