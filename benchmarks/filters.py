"""Data checks that look at every row: contamination and personal data.

    python benchmarks/filters.py [--rows 200000] [--cases 500] [--rounds 3] [--corpus FILE.jsonl] [--save]

Goals, one thread: contamination at least 200,000 rows/s against 500 cases, personal data at least 30 MB/s. The peer of
the second is every pattern over every text, on a part of them; they take turns in each round, and ratios are medians.
Seconds are CPU seconds of this process, so that a busy machine changes little.

The corpus is made here (questions of about 12 words from templates, answers of about 50, a leak or a value in 1 % of
them), or read from a file of lines ``{"prompt": ..., "completion": ...}``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuneworthy.cases import pii
from tuneworthy.cases.contamination_index import ContaminationIndex
from tuneworthy.types import Case, Example

RESULTS = Path(__file__).parent / "results" / "filters.json"
FRAMES = (
    "How do I {} the {} on my {} {}?", "What should I do when the {} of a {} does {} near the {}?",
    "Is there a way to {} a {} before the {} gets {} again?", "Why does the {} {} whenever the {} is {}?",
    "Which {} would you {} for a {} {} under 40 dollars?", "Please explain the {} between {} and {} for a {} beginner",
)  # fmt: skip
VALUES = ("ada@example.org", "+49 30 9012 3456", "DE89 3704 0044 0532 0130 00", "4111 1111 1111 1111", "192.168.17.4")
PLAIN_ROWS = 20_000


def made(n: int, seed: int = 7) -> tuple[list[str], list[str]]:
    """Return `n` questions and answers."""
    rng = random.Random(seed)
    letters = "abcdefghiklmnoprstuw"
    vocabulary = ["".join(rng.choice(letters) for _ in range(rng.randrange(3, 10))) for _ in range(8000)]
    questions = [rng.choice(FRAMES).format(*rng.sample(vocabulary, 4)) for _ in range(n)]
    answers = [f"{' '.join(rng.sample(vocabulary, 48))} in {rng.randrange(2, 99)} days." for _ in range(n)]
    return questions, answers


def read(path: Path, n: int) -> tuple[list[str], list[str]]:
    """Return up to `n` prompts and completions of a file, repeated until there are `n`."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(n), lines, strict=False)]
    rows *= -(-n // len(rows))
    return [row["prompt"] for row in rows[:n]], [row["completion"] for row in rows[:n]]


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds that a call takes, and what it returns."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def contamination(questions: list[str], n_cases: int, rounds: int) -> dict[str, float]:
    """Return rows a second."""
    rng = random.Random(3)
    rows = [
        Example(messages=({"role": "user", "content": text}, {"role": "assistant", "content": ""}), id=str(i))
        for i, text in enumerate(questions)
    ]
    tested = [f"{text} {rng.randrange(10**6)}" for text in rng.sample(questions, n_cases)]
    cases = [Case(id=str(i), input=text, expected="") for i, text in enumerate(tested)]
    seconds = [timed(lambda: list(ContaminationIndex(cases).find(rows)))[0] for _ in range(rounds)]
    return {"rows_per_s": len(rows) / statistics.median(seconds)}


def personal_data(texts: list[str], rounds: int) -> dict[str, float]:
    """Compare megabytes (of UTF-8) a second; what is found must be the same."""
    rng = random.Random(5)
    texts = [f"{text} {rng.choice(VALUES)}" if rng.random() < 0.01 else text for text in texts]
    part = texts[:PLAIN_ROWS]
    size, part_size = (sum(len(text.encode()) for text in some) / 1e6 for some in (texts, part))
    fast, plain = [], []
    for _ in range(rounds):
        seconds, found = timed(lambda: list(pii.find_all(texts)))
        fast.append(size / seconds)
        seconds, known = timed(lambda: [(i, some) for i, text in enumerate(part) if (some := every_pattern(text))])
        plain.append(part_size / seconds)
    assert [one for one in found if one[0] < len(part)] == known, "the anchors lose something"
    ratios = [one / other for one, other in zip(fast, plain, strict=True)]
    medians = {"mb_per_s": statistics.median(fast), "plain_mb_per_s": statistics.median(plain)}
    return {**medians, "ratio": statistics.median(ratios)}


def every_pattern(text: str) -> list[pii.PiiMatch]:
    """Return what the patterns find if each looks at the whole text."""
    return pii._values(text, pii._PATTERNS)


def main() -> None:
    """Run, print a table, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    questions, answers = read(options.corpus, options.rows) if options.corpus else made(options.rows)
    load = os.getloadavg()[0]
    table = {
        "contamination": contamination(questions, options.cases, options.rounds),
        "personal_data": personal_data([f"{q}\n{a}" for q, a in zip(questions, answers, strict=True)], options.rounds),
    }
    print(f"{options.rows} rows, {options.cases} cases, medians of {options.rounds} rounds, load {load:.1f} before")
    for name, row in table.items():
        print(f"{name:15}", "  ".join(f"{key} {value:,.1f}" for key, value in row.items()))
    if options.save:
        RESULTS.write_text(
            json.dumps({**vars(options), "corpus": str(options.corpus), "load": load, **table}, indent=1)
        )


if __name__ == "__main__":
    main()
