"""Quantises a merged model for vLLM with llm-compressor, on a GPU.

Source: llm-compressor README and examples (`oneshot`, `QuantizationModifier`, `GPTQModifier`).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tuneworthy.errors import UserError
from tuneworthy.providers.chat_template import Chat
from tuneworthy.ship.merge import lineage
from tuneworthy.ship.parity.trained_rows import rows_of, tools_of
from tuneworthy.ship.parity.transformers_form import FolderTokenizer, load
from tuneworthy.store.artifacts import Artifact
from tuneworthy.store.folder import Folder

N_CALIBRATION: Final = 256
MAX_LENGTH: Final = 2048


def check_able() -> None:
    """Refuse where it cannot be done.

    Raises:
        UserError: No GPU, or a package is not installed.
    """
    if find_spec("torch") is None or not _has_gpu():
        raise UserError("expected a CUDA device to quantise on, got none",
                        hint="run this on a GPU machine, or take `tuneworthy export gguf --type q8_0`")  # fmt: skip
    if find_spec("llmcompressor") is None:
        raise UserError("expected the package llmcompressor, got none", hint="pip install llmcompressor")


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def export_quantized(
    store: Folder, merged: Artifact, scheme: str, out: Path, *, say: Callable[[str], None] = lambda _: None
) -> Path:
    """Write a merged model quantised and return the folder.

    Args:
        store: The project's folder. merged: What is quantised. scheme: Of compressed-tensors, e.g. `W4A16`.
        out: A folder that is not there yet. say: Gets a sentence now and then.

    Raises:
        UserError: There is no GPU, a package is missing, or `out` is there.
    """
    check_able()
    if out.exists():
        raise UserError(f"expected no folder at {out}, got one", hint="name another with --out")
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier

    more: dict[str, Any] = {}
    kind = QuantizationModifier
    if scheme != "FP8_DYNAMIC":
        trained, _ = lineage(store, merged.parent)
        from datasets import Dataset

        tokens = FolderTokenizer(merged.folder)
        chats = [Chat(messages=row.messages, tools=tools_of(row), generation_prompt=False)
                 for row in rows_of(store, trained)[:N_CALIBRATION]]  # fmt: skip
        rows = [{"input_ids": ids[:MAX_LENGTH]} for ids in tokens.prompt_ids(chats) if ids]
        more = {"dataset": Dataset.from_list(rows), "max_seq_length": MAX_LENGTH, "num_calibration_samples": len(rows)}
        kind = GPTQModifier
    say(f"quantises {merged.id} to {scheme}")
    recipe = kind(targets="Linear", scheme=scheme, ignore=["lm_head"])
    oneshot(model=load(merged.folder, "bfloat16"), recipe=recipe, output_dir=str(out), **more)
    from tuneworthy.ship.merge import copy_tokenizer

    copy_tokenizer(merged.folder, merged.folder, out)
    return out
