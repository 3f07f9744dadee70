"""One stage of deduplication, by us or by a peer, in a process of its own; prints one line of JSON.

    python dedup_stage.py NAME CORPUS.jsonl KEPT.npy OUT.npy ENCODER_FOLDER

`KEPT.npy` names the rows that the stage sees, `OUT.npy` gets the rows that it drops. A few rows go through it before
the clock starts, so that imports and compiled code are loaded; `first_s` says how long that took.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Stage = Callable[[list[str]], list[int]]
WORD = re.compile(r"\w+")
PERMUTATIONS = 128


def shingles(text: str) -> list[str]:
    """Return the word triples of a text, as the peers' users make them."""
    words = WORD.findall(text.lower())
    return [" ".join(words[k : k + 3]) for k in range(max(1, len(words) - 2))]


def ours_exact(texts: list[str]) -> list[int]:
    """Ours: exact."""
    from tuneworthy.dataset.checks.duplicates import digests
    from tuneworthy.dataset.columns import first_equal

    return np.flatnonzero(first_equal(digests(texts)) >= 0).tolist()


def plain_exact(texts: list[str]) -> list[int]:
    """A set of joined words, the usual way."""
    seen: set[str] = set()
    dropped = []
    for row, text in enumerate(texts):
        key = "".join(WORD.findall(text.lower()))
        if key in seen:
            dropped.append(row)
        seen.add(key)
    return dropped


def ours_near(texts: list[str]) -> list[int]:
    """Ours: near."""
    from tuneworthy.dataset.dedup.near import band_pairs, resolve, sign

    signed, compared = sign(texts), np.ones(len(texts), bool)
    bands = [band_pairs(band, compared, signed.sets, signed.starts, 0.7) for band in signed.bands]
    return np.flatnonzero(resolve(len(texts), bands).of >= 0).tolist()


def rensa(texts: list[str]) -> list[int]:
    """Rensa, 16 bands of 8, its bulk interface."""
    from rensa import RMinHash, RMinHashLSH

    lsh = RMinHashLSH(threshold=0.7, num_perm=PERMUTATIONS, num_bands=16)
    dropped = []
    for row, minhash in enumerate(RMinHash.from_token_sets([shingles(text) for text in texts], PERMUTATIONS, 42)):
        if lsh.query(minhash):
            dropped.append(row)
        else:
            lsh.insert(row, minhash)
    return dropped


def datasketch(texts: list[str]) -> list[int]:
    """Datasketch, threshold 0.7."""
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(threshold=0.7, num_perm=PERMUTATIONS)
    dropped = []
    for row, text in enumerate(texts):
        minhash = MinHash(num_perm=PERMUTATIONS)
        minhash.update_batch([shingle.encode() for shingle in set(shingles(text))])
        if lsh.query(minhash):
            dropped.append(row)
        else:
            lsh.insert(row, minhash)
    return dropped


STAGES: dict[str, Stage] = {"exact": ours_exact, "plain": plain_exact, "near": ours_near, "rensa": rensa,
                            "datasketch": datasketch}  # fmt: skip


def run(name: str, stage: Stage, texts: list[str], rows: np.ndarray, out: Path) -> None:
    """Time `stage` and tell."""
    started = time.perf_counter()
    stage(texts[:50])
    first = time.perf_counter() - started
    wall, cpu = time.perf_counter(), time.process_time()
    dropped = stage(texts)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    np.save(out, rows[dropped])
    status = Path("/proc/self/status").read_text()  # getrusage would count what the parent held before
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"name": name, "wall_s": wall, "cpu_s": cpu, "first_s": first, "peak_mb": peak}))


def main() -> None:
    """Run one stage."""
    name, corpus, kept, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    with corpus.open(encoding="utf-8") as lines:
        texts = ["{prompt}\n{completion}".format(**json.loads(line)) for line in lines]
    rows = np.load(kept)
    texts = [texts[row] for row in rows]
    run(name, STAGES[name], texts, rows, out)


if __name__ == "__main__":
    main()
