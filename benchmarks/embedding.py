"""The classical model `embedding` against `linear` on public sets: paired differences, time and size of the export.

    python benchmarks/embedding.py DATA WORK [--seeds 1000 1001] [--only NAME ...] [--most 1500]

DATA is the folder with the clones that `scripts/ordinary` reads, one folder OWNER+NAME each. The set `docstrings` is
made of the packages that are installed here (documentation of at least 200 characters to the name of its package).
Vectors are stored in WORK, so that a set is encoded once. Each seed draws other rows to learn from and to test on.
Intervals are 95%, of the differences a test row, averaged over the seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import io
import pkgutil
import random
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for scripts.ordinary

from scripts.ordinary import rows as ordinary  # noqa: E402

from tuneworthy.classical import embedding, linear  # noqa: E402
from tuneworthy.classical.base import QuestionAnswer  # noqa: E402
from tuneworthy.classical.export import standalone_files  # noqa: E402
from tuneworthy.retrieval.encoder import CachedEncoder, load_encoder  # noqa: E402

PACKAGES: Final = "numpy scipy sklearn pandas torch transformers statsmodels sympy networkx pyarrow datasets sqlalchemy"
Row = tuple[str, str]


def pairs(question: str, answer: str, read: Callable[[Path], list[dict[str, str]]]) -> Callable[[Path], list[Row]]:
    return lambda data: [(row[question], row[answer]) for row in read(data)]


def docstrings(_: Path) -> list[Row]:
    """Read the documentation of functions and classes, without the name of their package."""
    found: dict[str, str] = {}
    for name in PACKAGES.split():
        package, texts = importlib.import_module(name), dict[str, None]()
        modules = [package]
        for part in list(pkgutil.iter_modules(package.__path__, f"{name}."))[:80]:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # some modules print
                warnings.simplefilter("ignore")
                try:
                    modules.append(importlib.import_module(part.name))
                except Exception:
                    continue
        for module in modules:
            for value in list(vars(module).values()):
                text = inspect.getdoc(value) if callable(value) else None
                if text and len(text) > 200 and str(getattr(value, "__module__", "")).startswith(name):
                    texts[re.sub(rf"\b{name}\b", "PACKAGE", text, flags=re.I)[:1200]] = None
        found |= dict.fromkeys(random.Random(1).sample(list(texts), min(120, len(texts))), name)
    return list(found.items())


def shop(name: str) -> Callable[[Path], list[Row]]:
    return pairs("sentence", "label", lambda data: ordinary.hint3(data, name))


def tweets(name: str) -> Callable[[Path], list[Row]]:
    return pairs("tweet", "emotion", lambda data: ordinary.emotions(data, name, 4000))


# Name to reader, and rows a label that are learned from (0: all).
SETS: Final[dict[str, tuple[Callable[[Path], list[Row]], Sequence[int]]]] = {
    "curekart (intents)": (shop("curekart"), (5, 10, 30, 0)),
    "powerplay11 (intents)": (shop("powerplay11"), (5, 10, 0)),
    "sofmattress (intents)": (shop("sofmattress"), (5, 10, 0)),
    "emotion (tweets)": (tweets("emotion"), (10, 30, 0)),
    "irony (tweets)": (tweets("irony"), (30, 0)),
    "opinions (reviews)": (pairs("sentence", "label", ordinary.opinions), (30, 0)),
    "subjectivity (sentences)": (pairs("sentence", "label", ordinary.subjectivity), (30, 0)),
    "docstrings (long, technical)": (docstrings, (10, 0)),
    "abstracts (PubMedQA, long)": (
        pairs("context", "final_decision", ordinary.pubmedqa), (30, 0)),
    "GermEval (German)": (pairs("text", "coarse", ordinary.germeval), (30, 0)),
    "news (Swahili, long)": (
        pairs("text", "category", lambda data: ordinary.news(data, "swa")), (10, 0)),
    "news (English, long)": (pairs("text", "category", ordinary.news), (10, 0)),
}  # fmt: skip


def draw(rows: Sequence[Row], a_label: int, most: int, seed: int) -> tuple[list[QuestionAnswer], list[Row]]:
    """Return rows to learn from, at most `a_label` for each label, and 40% of the rows, at most `most`, to test on."""
    order = random.Random(seed).sample(list(rows), len(rows))
    n_test, counts, train = min(most, int(0.4 * len(rows))), Counter[str](), []
    for question, answer in order[n_test:]:
        counts[answer] += 1
        if not a_label or counts[answer] <= a_label:
            train.append(QuestionAnswer(question, answer))
    return train, order[:n_test]


def measure(rows: Sequence[Row], a_label: int, most: int, seeds: Sequence[int]) -> None:
    gains, scores, seconds, powers, n_train = dict[str, list[float]](), [], [], [], 0
    for seed in seeds:
        train, test = draw(rows, a_label, most, seed)
        questions, right = [question for question, _ in test], [answer for _, answer in test]
        own, took = [], []
        for fit in (linear.fit_linear, embedding.fit_embedding):
            began = time.process_time()
            model = fit(train, seed)
            took.append(time.process_time() - began)
            own.append(np.array([a == b for a, b in zip(model.predict(questions), right, strict=True)], float))
        n_train = len(train)
        powers.append(model.identity["parameters"]["head"]["powers"])
        seconds.append(took)
        scores.append([part.mean() for part in own])
        for (question, _), gain in zip(test, (own[1] - own[0]).tolist(), strict=True):
            gains.setdefault(question, []).append(gain)
    means = np.array([np.mean(gain) for gain in gains.values()])
    weights = np.array([len(gain) for gain in gains.values()])
    delta = float(np.average(means, weights=weights))
    error = float(np.sqrt(((weights * (means - delta)) ** 2).sum())) / weights.sum()
    (of_words, of_both), (words_s, both_s) = np.mean(scores, axis=0), np.mean(seconds, axis=0)
    low, high = delta - 1.96 * error, delta + 1.96 * error
    print(
        f"| {a_label or 'all'} | {n_train:,} | {of_words:.1%} | {of_both:.1%} | {100 * delta:+.1f} "
        f"[{100 * low:+.1f}, {100 * high:+.1f}] | {np.mean(powers, axis=0).round(2).tolist()} | "
        f"{words_s:.1f} / {both_s:.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1000, 1001, 1002])
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--most", type=int, default=1500)
    parser.add_argument("--rows", type=int, default=3000, help="Rows of a set at most.")
    options = parser.parse_args()
    encoder = load_encoder()
    cached = CachedEncoder(encoder, options.work / "vectors.bin")
    plain = encoder.encode
    encoder.encode = cached.encode  # type: ignore[method-assign]
    cached.encoder = type("Plain", (), {"encode": staticmethod(plain)})()
    for name, (read, sizes) in SETS.items():
        if options.only and not any(name.startswith(one) for one in options.only):
            continue
        rows = read(options.data)
        usual = {label for label, n in Counter(label for _, label in rows).items() if n >= 5}
        rows = random.Random(0).sample(rows, min(options.rows, len(rows)))
        rows = [row for row in rows if row[1] in usual]
        began = time.process_time()
        encoder.encode([question for question, _ in rows])
        each, sample = 1000 * (time.process_time() - began) / len(rows), [question for question, _ in rows[:40]]
        began = time.process_time()
        for question in sample:
            plain([question])
        alone = 1000 * (time.process_time() - began) / len(sample)
        length = np.mean([len(encoder.pieces.marked(question, 256)) for question in sample])
        print(f"\n**{name}**: {len(rows):,} rows, {len(usual)} labels, {length:.0f} pieces a text; encoded in "
              f"{each:.1f} ms a text (0 if stored), alone {alone:.1f} ms\n")  # fmt: skip
        print(
            "| rows a label | rows | linear | embedding | difference | powers | fit, s |\n|---|---|---|---|---|---|---|"
        )
        for a_label in sizes:
            measure(rows, a_label, options.most, options.seeds)
    model = embedding.fit_embedding([QuestionAnswer(f"question {i}", str(i % 3)) for i in range(30)], 0)
    size = sum(map(len, standalone_files(model, ["", "input", ""]).values()))
    print(f"\nExported folder: {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
