"""What happens to the model after training, and what is loaded before."""

import re
from collections.abc import Iterator
from typing import Final

from tuneworthy.rules import Finding
from tuneworthy.train import messages, sources
from tuneworthy.train.lints import LINTS
from tuneworthy.train.lints.trainer_config import TrainerConfig

# vLLM's default of max_lora_rank.
SERVED_RANK: Final = 16
_FLAG: Final = re.compile(r"--max-lora-rank[ =\"',]+(\d+)")
_IMPORT: Final = re.compile(r"(?:from|import)\s+(unsloth|trl|transformers|peft)\b")
_SAVE = "from unsloth import FastLanguageModel\nm.save_pretrained_merged('x', t, save_method='merged_{n}bit')"


@LINTS.rule(
    "merge_quantised",
    source=sources.PEFT_MERGE,
    bad=("py", _SAVE.format(n=4)),
    good=("py", _SAVE.format(n=16)),
)
def merge_quantised(config: TrainerConfig) -> Iterator[Finding]:
    """A merge into 4-bit weights.

    Merging into a 4-bit base dequantises, adds the adapter and rounds again, which changes the answers. Merge into
    the 16-bit base.
    """
    if "4bit" in str(config.get("save_method") or ""):
        yield Finding(
            message="The merged model is saved in 4-bit, which rounds away most of what the adapter learned.",
            fix='Set save_method="merged_16bit".',
            line=config.line("save_method"),
        )
    if config.tree is None or config.kind == "unsloth":
        return
    loaded = config.get("load_in_4bit") is True or config.calls_of("BitsAndBytesConfig")
    for call in config.calls_of("merge_and_unload") if loaded else []:
        yield Finding(
            message="The adapter is merged into a base model that was loaded in 4-bit.",
            fix="Load the base model in 16-bit, then merge.",
            line=call.line,
        )


@LINTS.rule(
    "rank_limit",
    severity="warning",
    source=sources.VLLM_LORA,
    bad=("json", '{"peft_type": "LORA", "r": 64, "lora_alpha": 32, "target_modules": "all-linear"}'),
    good=("json", '{"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"}'),
)
def rank_limit(config: TrainerConfig) -> Iterator[Finding]:
    """A rank above what vLLM serves by default.

    `--max-lora-rank` is 16 unless it is set, and vLLM refuses an adapter of a higher rank.
    """
    rank, flag = config.number("rank"), _FLAG.search(config.text)
    limit = float(flag[1]) if flag else config.number("max_lora_rank") or SERVED_RANK
    if rank is not None and rank > limit:
        message, fix = (
            text.format(rank=rank, limit=limit)
            for text in (
                "Rank {rank:g} is above the server's limit of {limit:g}.",
                "Serve the adapter with --max-lora-rank {rank:g}, or merge it.",
            )
        )
        yield Finding(message=message, fix=fix, line=config.line("rank"))


@LINTS.rule(
    "remote_code",
    severity="warning",
    source=sources.REMOTE_CODE,
    bad=("yaml", "base_model: a/b\nadapter: lora\nlora_r: 16\ntrust_remote_code: true"),
    good=("yaml", "base_model: a/b\nadapter: lora\nlora_r: 16\ntrust_remote_code: false"),
)
def remote_code(config: TrainerConfig) -> Iterator[Finding]:
    """Code from the model's repository runs when the model is loaded."""
    if config.get("trust_remote_code") is True:
        fix, line = (
            "Remove trust_remote_code. Models that transformers supports do not need it.",
            config.line("trust_remote_code"),
        )
        yield Finding(message="trust_remote_code runs code from the model's repository.", fix=fix, line=line)


@LINTS.rule(
    "model_name",
    source=sources.LLAMA_NAMES,
    bad=("yaml", "base_model: unsloth/Meta-Llama-3.3-70B-Instruct-bnb-4bit\nadapter: qlora\nlora_r: 16"),
    good=("yaml", "base_model: unsloth/Llama-3.3-70B-Instruct-bnb-4bit\nadapter: qlora\nlora_r: 16"),
)
def model_name(config: TrainerConfig) -> Iterator[Finding]:
    """A model that does not exist under this name.

    The open weights of Llama 3.3 are 70B (the 8B is 3.1), and Unsloth's repositories of it have no `Meta-` in their
    name.
    """
    model, line = str(config.get("model") or ""), config.line("model")
    if "Meta-Llama-3.3" in model:
        fix = f"Use {model.replace('Meta-Llama-3.3', 'Llama-3.3')}."
        yield Finding(message=messages.say("no_such_model", model=model), fix=fix, line=line)
    elif re.search(r"llama-3\.3-8b", model, re.IGNORECASE):
        yield Finding(
            message=messages.say("no_such_model", model=model),
            fix="Use Llama-3.1-8B. Llama 3.3 has no 8B model.",
            line=line,
        )


@LINTS.rule(
    "import_order",
    source=sources.UNSLOTH,
    bad=("py", "from trl import SFTTrainer\nfrom unsloth import FastLanguageModel"),
    good=("py", "from unsloth import FastLanguageModel\nfrom trl import SFTTrainer"),
)
def import_order(config: TrainerConfig) -> Iterator[Finding]:
    """Unsloth is imported after the libraries that it patches.

    Its patches of TRL, transformers and PEFT then have no effect: `tokenizer=` and `max_seq_length=` are a TypeError,
    and training is slow.
    """
    first: dict[str, int] = {}
    for number, line in enumerate(config.text.splitlines() if config.tree is not None else (), start=1):
        if match := _IMPORT.match(line):
            first.setdefault(match[1], number)
    unsloth = first.pop("unsloth", 0)
    earlier = ", ".join(name for name, line in first.items() if line < unsloth)
    if earlier:
        fix = f"Import unsloth before {earlier}."
        yield Finding(
            message=f"The script imports unsloth after {earlier}, so Unsloth's patches have no effect.",
            fix=fix,
            line=unsloth,
        )
