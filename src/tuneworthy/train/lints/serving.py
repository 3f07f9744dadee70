"""Lints of merging, serving and loading."""

import re
from collections.abc import Iterator
from typing import Final

from tuneworthy.rules import Finding
from tuneworthy.train import sources
from tuneworthy.train.lints import LINTS
from tuneworthy.train.lints.settings_table import SettingsTable

# vLLM's default of max_lora_rank.
SERVED_RANK: Final = 16


@LINTS.rule(
    "merge_quantised",
    source=sources.PEFT_MERGE,
    bad={"r": 16, "save_method": "merged_4bit"},
    good={"r": 16, "save_method": "merged_16bit"},
)
def merge_quantised(table: SettingsTable) -> Iterator[Finding]:
    """A merge into 4-bit weights.

    Merging into a 4-bit base dequantises, adds the adapter and rounds again, which changes the answers. Merge into
    the 16-bit base.
    """
    if "4bit" in str(table.get("save_method")):
        yield Finding(
            message="The merged model is saved in 4-bit, which rounds away most of what the adapter learned.",
            fix='Set save_method="merged_16bit".',
        )


@LINTS.rule(
    "rank_limit",
    severity="warning",
    source=sources.VLLM_LORA,
    bad={"r": 64, "lora_alpha": 32},
    good={"r": 16, "lora_alpha": 32},
)
def rank_limit(table: SettingsTable) -> Iterator[Finding]:
    """A rank above vLLM's default limit.

    `--max-lora-rank` is 16 unless it is set, and vLLM refuses an adapter of a higher rank.
    """
    rank, limit = table.number("rank"), table.number("max_lora_rank") or SERVED_RANK
    if rank is not None and rank > limit:
        yield Finding(
            message=f"Rank {rank:g} is above the server's limit of {limit:g}.",
            fix=f"Serve the adapter with --max-lora-rank {rank:g}, or merge it.",
        )


@LINTS.rule(
    "remote_code",
    severity="warning",
    source=sources.REMOTE_CODE,
    bad={"lora_r": 16, "trust_remote_code": True},
    good={"lora_r": 16, "trust_remote_code": False},
)
def remote_code(table: SettingsTable) -> Iterator[Finding]:
    """Code from the model's repository runs when the model is loaded."""
    if table.get("trust_remote_code") is True:
        yield Finding(
            message="trust_remote_code runs code from the model's repository.",
            fix="Remove trust_remote_code. Models that transformers supports do not need it.",
        )


@LINTS.rule(
    "model_name",
    source=sources.LLAMA_NAMES,
    bad={"base_model": "unsloth/Meta-Llama-3.3-70B-Instruct-bnb-4bit", "lora_r": 16},
    good={"base_model": "unsloth/Llama-3.3-70B-Instruct-bnb-4bit", "lora_r": 16},
)
def model_name(table: SettingsTable) -> Iterator[Finding]:
    """A model that does not exist under this name.

    The open weights of Llama 3.3 are 70B (the 8B is 3.1), and its repositories at Unsloth have no `Meta-` in their
    name.
    """
    model, fix = str(table.get("model")), ""
    if "Meta-Llama-3.3" in model:
        fix = f"Use {model.replace('Meta-Llama-3.3', 'Llama-3.3')}."
    elif re.search(r"llama-3\.3-8b", model, re.IGNORECASE):
        fix = "Use Llama-3.1-8B. Llama 3.3 has no 8B model."
    if fix:
        yield Finding(message=f"There is no model {model}.", fix=fix)
