"""Quantises a merged model for vLLM with llm-compressor, on a GPU.

Source: llm-compressor README and examples (`oneshot`, `QuantizationModifier`, `GPTQModifier`).
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tuneworthy.errors import UserError
from tuneworthy.providers.chat_template import Chat
from tuneworthy.ship import messages
from tuneworthy.ship.ancestry import lineage
from tuneworthy.ship.merged_weights import copy_tokenizer
from tuneworthy.ship.parity.trained_rows import rows_of, tools_of
from tuneworthy.ship.parity.transformers_form import FolderTokenizer, load
from tuneworthy.store.artifacts import Artifact
from tuneworthy.store.folder import Folder

N_CALIBRATION: Final = 256
MAX_LENGTH: Final = 2048


def check_able() -> None:
    """Refuse where it cannot be done.

    Raises:
        UserError: There is no GPU, or a package is not installed.
    """
    if find_spec("torch") is None or not _has_gpu():
        raise UserError(messages.say("no_gpu_to_quantise"), hint=messages.say("quantise_elsewhere"))
    if find_spec("llmcompressor") is None:
        raise UserError(messages.say("no_llmcompressor"), hint=messages.say("install_llmcompressor"))


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def export_quantized(
    store: Folder, merged: Artifact, scheme: str, out: Path, *, say: Callable[[str], None] = lambda _: None
) -> Path:
    """Write a merged model quantised and return the folder.

    Args:
        store: The project's folder.
        merged: What is quantised.
        scheme: Of compressed-tensors, e.g. `W4A16`.
        out: A folder that does not exist yet.
        say: Gets a sentence now and then.

    Raises:
        UserError: There is no GPU, a package is missing, or `out` exists.
    """
    check_able()
    if out.exists():
        raise UserError(messages.say("out_exists", out=out), hint=messages.say("other_out"))
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier

    calibration: dict[str, Any] = {}
    if scheme != "FP8_DYNAMIC":
        from datasets import Dataset

        trained, _ = lineage(store, merged.parent)
        chats = [Chat(messages=row.messages, tools=tools_of(row), generation_prompt=False)
                 for row in rows_of(store, trained)[:N_CALIBRATION]]  # fmt: skip
        rows = [{"input_ids": ids[:MAX_LENGTH]} for ids in FolderTokenizer(merged.folder).prompt_ids(chats) if ids]
        calibration = {
            "dataset": Dataset.from_list(rows), "max_seq_length": MAX_LENGTH, "num_calibration_samples": len(rows),
        }  # fmt: skip
    say(messages.say("quantises", model=merged.id, scheme=scheme))
    modifier = GPTQModifier if calibration else QuantizationModifier
    recipe = modifier(targets="Linear", scheme=scheme, ignore=["lm_head"])
    oneshot(model=load(merged.folder, "bfloat16"), recipe=recipe, output_dir=str(out), **calibration)
    copy_tokenizer(merged.folder, merged.folder, out)
    return out
