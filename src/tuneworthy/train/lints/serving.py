"""What happens to the model after training, and what is loaded before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Final

from tuneworthy.train.lints.base import Fault, Severity, lint
from tuneworthy.train.lints.trainer_config import TrainerConfig

SERVED_RANK: Final = 16
"""vLLM's default of max_lora_rank."""
_FLAG = re.compile(r"--max-lora-rank[ =\"',]+(\d+)")


@lint("merge_quantised")
class MergeQuantised:
    """A merge into 4-bit weights.

    Merging into a 4-bit base dequantises, adds the adapter and rounds again: the answers change, and that cannot be
    avoided. Merge into the 16-bit base.
    """

    code: ClassVar[str]
    name: ClassVar = "a merge into 4 bits"
    severity: ClassVar[Severity] = "error"
    source: ClassVar = "facts.md A5: peft tuners/lora/bnb.py, issue #2321"
    mark: ClassVar = "V"
    bad: ClassVar = (
        "py",
        "from unsloth import FastLanguageModel\nm.save_pretrained_merged('x', t, save_method='merged_4bit')",
    )
    good: ClassVar = (
        "py",
        "from unsloth import FastLanguageModel\nm.save_pretrained_merged('x', t, save_method='merged_16bit')",
    )

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if "4bit" in str(given.get("save_method") or ""):
            yield Fault(given.line("save_method"), 'write save_method="merged_16bit"')
        if given.tree is None or given.kind == "unsloth":
            return
        loaded = given.get("load_in_4bit") is True or given.named("BitsAndBytesConfig")
        for call in given.named("merge_and_unload") if loaded else []:
            yield Fault(call.line, "the base is loaded in 4 bits: load it in 16 bits, then merge")


@lint("rank_limit")
class RankLimit:
    """A rank above what vLLM serves by default.

    `--max-lora-rank` is 16 unless it is told; an adapter of a higher rank is refused.
    """

    code: ClassVar[str]
    name: ClassVar = "a rank above the server's limit"
    severity: ClassVar[Severity] = "warning"
    source: ClassVar = "facts.md A5: vllm 0.33.0"
    mark: ClassVar = "V"
    bad: ClassVar = ("json", '{"peft_type": "LORA", "r": 64, "lora_alpha": 32, "target_modules": "all-linear"}')
    good: ClassVar = ("json", '{"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"}')

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        rank = given.number("rank")
        flag = _FLAG.search(given.text)
        limit = float(flag[1]) if flag else given.number("max_lora_rank") or SERVED_RANK
        if rank is not None and rank > limit:
            yield Fault(given.line("rank"), f"rank {rank:g}: serve it with --max-lora-rank {rank:g}, or merge it")


@lint("remote_code")
class RemoteCode:
    """Code of a stranger is run when the model is loaded."""

    code: ClassVar[str]
    name: ClassVar = "trust_remote_code"
    severity: ClassVar[Severity] = "warning"
    source: ClassVar = "facts.md E: CVE-2026-5241"
    mark: ClassVar = "V"
    bad: ClassVar = ("yaml", "base_model: a/b\nadapter: lora\nlora_r: 16\ntrust_remote_code: true")
    good: ClassVar = ("yaml", "base_model: a/b\nadapter: lora\nlora_r: 16\ntrust_remote_code: false")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if given.get("trust_remote_code") is True:
            yield Fault(given.line("trust_remote_code"), "leave it out: the families that transformers knows need none")


@lint("model_name")
class ModelName:
    """A model that does not exist under this name.

    The open weights of Llama 3.3 are 70B (the 8B is 3.1), and Unsloth's repositories of it have no `Meta-` in their
    name.
    """

    code: ClassVar[str]
    name: ClassVar = "a wrong model name"
    severity: ClassVar[Severity] = "error"
    source: ClassVar = "facts.md 0, row 26"
    mark: ClassVar = "V K"
    bad: ClassVar = ("yaml", "base_model: unsloth/Meta-Llama-3.3-70B-Instruct-bnb-4bit\nadapter: qlora\nlora_r: 16")
    good: ClassVar = ("yaml", "base_model: unsloth/Llama-3.3-70B-Instruct-bnb-4bit\nadapter: qlora\nlora_r: 16")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        model = str(given.get("model") or "")
        if "Meta-Llama-3.3" in model:
            yield Fault(given.line("model"), f"write {model.replace('Meta-Llama-3.3', 'Llama-3.3')}")
        elif re.search(r"llama-3\.3-8b", model, re.IGNORECASE):
            yield Fault(given.line("model"), "there is no 8B of Llama 3.3: the 8B is Llama-3.1-8B")


@lint("import_order")
class ImportOrder:
    """Unsloth is imported after the libraries that it patches.

    Its patches of TRL, transformers and PEFT then do not take: `tokenizer=` and `max_seq_length=` are a TypeError, and
    it is slow.
    """

    code: ClassVar[str]
    name: ClassVar = "unsloth imported too late"
    severity: ClassVar[Severity] = "error"
    source: ClassVar = "facts.md A4: unsloth 2026.10.9"
    mark: ClassVar = "V"
    bad: ClassVar = ("py", "from trl import SFTTrainer\nfrom unsloth import FastLanguageModel")
    good: ClassVar = ("py", "from unsloth import FastLanguageModel\nfrom trl import SFTTrainer")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        first: dict[str, int] = {}
        for number, line in enumerate(given.text.splitlines() if given.tree is not None else (), start=1):
            if found := re.match(r"(?:from|import)\s+(unsloth|trl|transformers|peft)\b", line):
                first.setdefault(found[1], number)
        late = first.pop("unsloth", None)
        before = [name for name, line in first.items() if late is not None and line < late]
        if late is not None and before:
            yield Fault(late, f"import unsloth before {', '.join(before)}")
