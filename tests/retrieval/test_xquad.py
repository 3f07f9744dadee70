"""Real paragraphs and questions: the fused and reranked search finds what it should, and more than words alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.real_data import REAL_DATA, needs_real_data

from tuneworthy.config import load
from tuneworthy.ladder.rungs.retrieval import forms_of, measure
from tuneworthy.providers.models import pull
from tuneworthy.retrieval.encoder import SPEC
from tuneworthy.retrieval.library import open_library
from tuneworthy.types import Case

SOURCE = REAL_DATA / "xquad" / "xquad.en.json"
PROJECT = """
[task]
name = "xquad"
[documents]
path = "documents.jsonl"
[retrieval]
chunk_tokens = [240]
[[graders]]
type = "squad_f1"
[models.small]
provider = "scripted"
function = "world.py:one"
[ladder]
baseline = "small"
"""


@pytest.mark.slow
@needs_real_data
def test_fused_and_reranked_it_finds_the_paragraph_among_five(tmp_path: Path) -> None:
    pytest.importorskip("lancedb")
    pull(SPEC, Path())
    cases, rows = [], []
    for article, group in enumerate(json.loads(SOURCE.read_text())["data"]):
        for place, paragraph in enumerate(group["paragraphs"]):
            rows.append({"id": f"{article}-{place}", "text": paragraph["context"]})
            first = paragraph["qas"][0]
            cases.append(Case(id=first["id"], input=first["question"], documents=(f"{article}-{place}",)))
    (tmp_path / "documents.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "tuneworthy.toml").write_text(PROJECT)
    library = open_library(load(tmp_path))
    assert library is not None
    found = {form.name: asyncio.run(measure(library, form.retrieval, cases)) for form in forms_of(library)}
    library.close()
    ours = found["hybrid+rerank"]
    assert ours["recall@5"].mean() >= 0.97
    for peer in ("words", "vectors", "hybrid"):
        assert ours["ndcg@10"].mean() >= found[peer]["ndcg@10"].mean()
