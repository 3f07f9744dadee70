"""One stage of deduplication, by us or by a peer, in a process of its own; prints one line of JSON.

    python dedup_stage.py NAME CORPUS.jsonl KEPT.npy OUT.npy ENCODER_FOLDER

`KEPT.npy` names the rows that the stage sees, `OUT.npy` gets the rows that it drops. A few rows go through it before
the clock starts, so that imports and compiled code are loaded; `first_s` says how long that took.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stage = Callable[[list[str]], list[int]]
WORD = re.compile(r"\w+")
PERMUTATIONS = 128
BLOCK = 65_536


def shingles(text: str) -> list[str]:
    """Return the word triples of a text, as the peers' users make them."""
    words = WORD.findall(text.lower())
    return [" ".join(words[k : k + 3]) for k in range(max(1, len(words) - 2))]


def ours_exact(texts: list[str]) -> list[int]:
    """Ours: exact."""
    from tuneworthy.dataset.checks.duplicates import exact_duplicates

    return np.flatnonzero(exact_duplicates(texts) >= 0).tolist()


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
    from tuneworthy.dataset.dedup.near import near_duplicates

    return np.flatnonzero(near_duplicates(texts).of >= 0).tolist()


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


def ours_semantic(folder: Path) -> Stage:
    """Ours: two stages."""
    import torch

    from tuneworthy.dataset.dedup.semantic import semantic_duplicates
    from tuneworthy.retrieval.encoder import SentenceEncoder

    torch.set_num_threads(1)
    encoder = SentenceEncoder(folder)

    def find(texts: list[str]) -> list[int]:
        found = semantic_duplicates(texts, encoder)
        MORE["encoded"] = found.encoded
        return np.flatnonzero(found.of >= 0).tolist()

    return find


def semdedup(
    vectors: NDArray[np.float32],
    *,
    epsilon: float = 0.1,
    clusters: int | None = None,
    seed: int = 7,
) -> NDArray[np.int64]:
    """Return the row that each encoded row repeats by SemDeDup (-1: none): k-means, then all pairs within a cluster.

    In each cluster the rows are ranked by their distance from its centre, the farthest first (the published default),
    and a row is dropped if its cosine to one that ranks before it is above 1 - epsilon.

    Args:
        vectors: (n, width), of length 1.
        epsilon: See above. Which one fits depends on the encoder.
        clusters: How many; by default the root of n.
        seed: Of k-means.

    Source: Abbas et al., arXiv 2303.09540.
    """
    n = len(vectors)
    rng = np.random.default_rng(seed)
    labels, nearness = _spherical_k_means(vectors, min(n, clusters or round(math.sqrt(n))), rng)
    of = np.full(n, -1, np.int64)
    for label in range(labels.max(initial=-1) + 1):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(nearness[members], kind="stable")]
        for place in range(1, len(members)):
            cosines = (vectors[members[:place]] @ vectors[members[place]]).astype(np.float64)
            best = int(cosines.argmax())
            row = members[place]
            if cosines[best] > 1 - epsilon:
                of[row] = members[best] if of[members[best]] < 0 else of[members[best]]
    return of


def _spherical_k_means(
    vectors: NDArray[np.float32], k: int, rng: np.random.Generator, rounds: int = 20
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    n = len(vectors)
    labels, nearness = np.zeros(n, np.int64), np.zeros(n)
    centres = vectors[np.sort(rng.choice(n, k, replace=False))]
    for _ in range(rounds if n else 0):
        for first in range(0, n, BLOCK):
            part = vectors[first : first + BLOCK] @ centres.T
            labels[first : first + BLOCK], nearness[first : first + BLOCK] = part.argmax(axis=1), part.max(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, labels, vectors)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        moved = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return labels, nearness


def encode_all(folder: Path) -> Stage:
    """What SemDeDup does first: encode every row."""
    import torch

    from tuneworthy.retrieval.encoder import SentenceEncoder

    torch.set_num_threads(1)
    encoder = SentenceEncoder(folder)

    def find(texts: list[str]) -> list[int]:
        started = time.process_time()
        vectors = encoder.encode(texts)
        MORE["encode_cpu_s"] = time.process_time() - started
        return np.flatnonzero(semdedup(vectors) >= 0).tolist()

    return find


def semhash(folder: Path) -> dict[float, Stage]:
    """SemHash over a static model: the encoder's own token vectors, weighted by rank (no model can be fetched)."""
    from model2vec import StaticModel
    from semhash import SemHash
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import WordPiece

    tokenizer = Tokenizer(WordPiece.from_file(str(folder / "vocab.txt"), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    model = StaticModel(np.load(folder / "static.npy"), tokenizer, normalize=True)

    def at(threshold: float) -> Stage:
        def find(texts: list[str]) -> list[int]:
            numbers: dict[str, list[int]] = {}
            for row, text in enumerate(texts):
                numbers.setdefault(text, []).append(row)
            kept = SemHash.from_records(texts, model=model).self_deduplicate(threshold=threshold).selected
            left = {numbers[text][0] for text in kept}
            return [row for row in range(len(texts)) if row not in left]

        return find

    return {threshold: at(threshold) for threshold in (0.9, 0.92, 0.94, 0.95, 0.96, 0.97)}


MORE: dict[str, Any] = {}
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
    print(json.dumps({"name": name, "wall_s": wall, "cpu_s": cpu, "first_s": first, "peak_mb": peak, **MORE}))


def main() -> None:
    """Run one stage (of SemHash, one for each threshold)."""
    name, corpus, kept, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    with corpus.open(encoding="utf-8") as lines:
        texts = ["{prompt}\n{completion}".format(**json.loads(line)) for line in lines]
    rows = np.load(kept)
    texts = [texts[row] for row in rows]
    folder = Path(sys.argv[5])
    if name == "semhash":
        for threshold, stage in semhash(folder).items():
            run(f"semhash {threshold}", stage, texts, rows, out.with_suffix(f".{threshold}.npy"))
    else:
        makers = {"semantic": ours_semantic, "semdedup": encode_all}
        run(name, makers[name](folder) if name in makers else STAGES[name], texts, rows, out)


if __name__ == "__main__":
    main()
