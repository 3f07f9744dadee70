"""How often `shadow report` names what is not new, and what is: `python -m scripts.simulations.drift FOLDER --seed 1`.

FOLDER holds banking77 (https://github.com/PolyAI-LDN/task-specific-datasets): `train.csv` and `test.csv`. A split is a
draw of cases and of traffic from the same questions; a power split leaves one of the 77 intents out of the cases and
makes it 5% of traffic. `--encoder` compares by MiniLM instead of TF-IDF.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from tuneworthy.retrieval.encoder import load_encoder
from tuneworthy.shadow.drift import drift

SHARE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--traffic", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--encoder", action="store_true")
    options = parser.parse_args()
    rows = [row for name in ("train", "test") for row in csv.DictReader((options.folder / f"{name}.csv").open())]
    texts, intents = np.array([row["text"] for row in rows]), np.array([row["category"] for row in rows])
    intent_of = dict(zip(texts.tolist(), intents.tolist(), strict=True))
    vectors = load_encoder().encode(texts.tolist()) if options.encoder else None
    place = {text: n for n, text in enumerate(texts)}

    def encode(some: list[str]) -> np.ndarray:
        assert vectors is not None
        return vectors[[place[text] for text in some]]

    for share in (0.0, SHARE):
        shown = named = 0
        for split in range(options.splits):
            rng = np.random.default_rng([options.seed, split])
            hidden = rng.choice(np.unique(intents))
            new = rng.permutation(texts[intents == hidden])[: round(share * options.traffic)]
            others = rng.permutation(texts[intents != hidden] if share else texts)
            traffic = [*others[options.cases :][: options.traffic - len(new)], *new]
            cases, sessions = others[: options.cases].tolist(), {str(n): str(text) for n, text in enumerate(traffic)}
            found = drift(cases, sessions, seed=split, encode=encode if options.encoder else None)
            assert found is not None
            shown += found.shown
            named += any(intent_of[text] == hidden for topic in found.topics for text in topic.examples)
        print(f"{share:.0%} new: shown in {shown} of {options.splits} splits, named in {named}")


if __name__ == "__main__":
    main()
