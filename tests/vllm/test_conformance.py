"""vLLM, wherever it is installed ($VLLM names its program), serves what was trained."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


@pytest.mark.slow
def test_vllm_serves_the_adapter_and_the_merged_model_as_they_were_trained(tmp_path: Path) -> None:
    program = shutil.which(os.environ.get("VLLM", "vllm"))
    if program is None:
        pytest.skip("no vLLM: tests/vllm/make_environment.sh DIR, then VLLM=DIR/bin/vllm")
    for package in ("torch", "peft", "gguf"):
        pytest.importorskip(package, reason="pip install 'tuneworthy[train]'")
    import conformance

    found = conformance.conform(program, tmp_path)
    for document in found.values():
        assert document["status"] == "pass", document
        assert [one["status"] for one in document["checks"] if one["name"] in {"start", "stop"}] == ["pass", "pass"]
