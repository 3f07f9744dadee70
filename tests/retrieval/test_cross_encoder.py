"""A cross-encoder that runs here: what it scores, what it refuses to load, and the order that it makes."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from tests.retrieval.test_library import library_of, needs_lancedb

from tuneworthy.config.retrieval import CrossEncoderReranker
from tuneworthy.errors import ModelError
from tuneworthy.retrieval.cross_encoder import CrossEncoder, cross_encoder_identity

WORDS = ["apples", "are", "red", "bees", "make", "honey", "cats", "sleep", "who", "makes", "what"]
pytestmark = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers")


def write_model(folder: Path, *, labels: int = 1, head: bool = True, seed: int = 0) -> Path:
    """Write a BERT of random weights, with a head or without."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(vocab), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=32, num_labels=labels)  # fmt: skip
    (BertForSequenceClassification if head else BertModel)(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocab))
    BertTokenizerFast(vocab=dict(zip(vocab, range(99), strict=False)), model_max_length=32).save_pretrained(folder)
    return folder


def config_of(**more: Any) -> CrossEncoderReranker:
    return CrossEncoderReranker(type="cross_encoder", model="reranker", **more)


def test_a_pair_has_the_score_that_transformers_gives_it_whatever_else_is_scored(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = write_model(tmp_path / "reranker")
    encoder, texts = CrossEncoder(config_of(), tmp_path), ["bees make honey", "cats sleep", "apples are red " * 40]
    found = asyncio.run(encoder.score("who makes honey", texts))
    assert (
        found == [asyncio.run(encoder.score("who makes honey", [text]))[0] for text in texts] and len(set(found)) == 3
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        pair = tokenizer("who makes honey", texts[0], return_tensors="pt")
        assert found[0] == pytest.approx(float(model(**pair).logits[0, 0]), abs=1e-6)
    assert asyncio.run(encoder.score("who " * 100, ["cats " * 100]))


@pytest.mark.parametrize(
    ("made", "match"),
    [({"labels": 2}, "of 2 labels"), ({"head": False}, "without classifier"), ({}, "auto_map")],
)
def test_what_is_no_reranker_or_runs_code_is_refused(tmp_path: Path, made: dict[str, Any], match: str) -> None:
    folder = write_model(tmp_path / "reranker", **made)
    if not made:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(ModelError, match=match):
        CrossEncoder(config_of(), tmp_path)


def test_other_weights_are_another_reranker(tmp_path: Path) -> None:
    assert cross_encoder_identity(config_of(), tmp_path)["sha256"] == ""
    write_model(tmp_path / "reranker")
    first = cross_encoder_identity(config_of(), tmp_path)
    write_model(tmp_path / "reranker", seed=1)
    assert len({first["sha256"], cross_encoder_identity(config_of(), tmp_path)["sha256"], ""}) == 3


@needs_lancedb
def test_it_orders_what_words_found(tmp_path: Path) -> None:
    write_model(tmp_path / "reranker")
    settings = 'encoder = { type = "off" }\nreranker = { type = "cross_encoder", model = "reranker" }'
    library = library_of(tmp_path, settings)
    form = library.retrieval(k=3, chunk_tokens=64, bm25_weight=1.0)
    assert form.reranker["sha256"]
    (found,) = asyncio.run(library.ranked(form, ["bees or cats or apples"]))
    reranker = CrossEncoder(config_of(), tmp_path)
    scores = asyncio.run(reranker.score("bees or cats or apples", [one.text for one in found]))
    library.close()
    assert len(found) == 3 and scores == sorted(scores, reverse=True)


def test_without_transformers_it_is_told_that_nothing_is_reranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneworthy.retrieval.cross_encoder.find_spec", lambda _: None)
    settings = 'encoder = { type = "off" }\nreranker = { type = "cross_encoder", model = "reranker" }'
    library = library_of(tmp_path, settings)
    assert any("not reranked" in note and "tuneworthy[train]" in note for note in library.notes)
    with pytest.raises(ModelError, match="needs torch and transformers"):
        CrossEncoder(config_of(), tmp_path)
