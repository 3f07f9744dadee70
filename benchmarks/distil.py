"""A student of GPT-4's published answers against GPT-4, and against the same student of people's labels, paired.

    python benchmarks/distil.py DATA [--kind linear|embedding] [--seeds N]

DATA has a clone of gtfintechlab/zero-shot-finance (CC BY-NC 4.0) as DATA/gtfintechlab+zero-shot-finance. The tasks are
`fomc-stance` of the proof's registry, and the sentences of Financial PhraseBank on which all annotators agree, with the
answers of GPT-4 to both. The students are the classical baselines, which cost nothing by the answer. Seed 0 takes the
registry's rows; the others draw again from all rows.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "proof"))
from registry import SEED, Row, read_rows, read_tasks

from tuneworthy.classical.base import fit
from tuneworthy.stats.intervals import score_interval
from tuneworthy.stats.paired import compare
from tuneworthy.types import Example, content_hash

PHRASES = "gtfintechlab+zero-shot-finance/sentiment_analysis/data/llm_prompt_outputs"
LABELS = {"0": "positive", "1": "negative", "2": "neutral"}
N_TEST, N_TRAIN, MOST_BYTES = 400, 480, 390


def stance(data: Path) -> tuple[list[Row], list[Row]]:
    drawn = read_rows(read_tasks()["fomc-stance"], data)
    return drawn.train, drawn.test + drawn.second


def phrases(data: Path) -> tuple[list[Row], list[Row]]:
    rows: dict[str, Row] = {}
    for path in sorted((data / PHRASES).glob("gpt4_*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                asked, first = " ".join(row["original_sent"].split()), row["text_output"].strip().partition("\n")[0]
                said = next((label for label in LABELS.values() if label in first.lower()), first)
                rows.setdefault(asked, Row(asked, (LABELS[row["true_label"]],), said))
    drawn = [row for row in rows.values() if len(row.question.encode()) <= MOST_BYTES]
    random.Random(SEED).shuffle(drawn)
    return drawn[N_TEST : N_TEST + N_TRAIN], drawn[:N_TEST]


def taught(kind: str, rows: list[Row], answers: list[str], questions: list[str]) -> list[str]:
    """Return the answers to `questions` of a student that learned `answers` to `rows`."""
    turns = [
        ({"role": "user", "content": row.question}, {"role": "assistant", "content": answer})
        for row, answer in zip(rows, answers, strict=True)
    ]
    examples = [Example(messages=pair, id=content_hash(pair)) for pair in turns]
    return list(fit(kind, examples, seed=7).predict(questions))


def measure(kind: str, train: list[Row], test: list[Row]) -> str:
    right = {row.answers[0] for row in train}
    usable = [row for row in train if row.replayed in right]
    questions, ones = [row.question for row in test], np.ones(len(test))
    answers = {
        "teacher": [row.replayed or "" for row in test],
        "student": taught(kind, usable, [row.replayed or "" for row in usable], questions),
        "original": taught(kind, train, [row.answers[0] for row in train], questions),
    }
    scores = {
        name: np.array([float(one == row.answers[0]) for one, row in zip(found, test, strict=True)])
        for name, found in answers.items()
    }
    words = [f"n {len(test)}"]
    for name, values in scores.items():
        interval = score_interval(values, ones)
        words.append(f"{name} {interval.value:.1%} [{interval.lo:.1%}, {interval.hi:.1%}]")
    for name in ("teacher", "original"):
        paired = compare(scores[name], ones, scores["student"], ones, alpha=None, seed=SEED)
        low, high = paired.ci
        words.append(f"student - {name} {100 * paired.delta:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
    return ", ".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--kind", choices=("linear", "embedding"), default="linear")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    for name, read in {"fomc-stance": stance, "phrases": phrases}.items():
        train, test = read(args.data)
        for seed in range(args.seeds):
            pool = train + test
            if seed:
                random.Random(seed).shuffle(pool)
            measured = measure(args.kind, pool[: len(train)], pool[len(train) :])
            print(f"{args.kind}, {name}, seed {seed}: {measured}", flush=True)


if __name__ == "__main__":
    main()
