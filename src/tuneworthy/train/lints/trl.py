"""What TRL and transformers do that their users do not expect: arguments that are gone, defaults that cut rows."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

from tuneworthy.train.lints.base import Fault, Severity, lint
from tuneworthy.train.lints.trainer_config import TrainerConfig

REMOVED: Final[Mapping[str, str]] = {
    "tokenizer": "processing_class=",
    "max_seq_length": "args=SFTConfig(max_length=...)",
    "packing": "args=SFTConfig(packing=...)",
    "dataset_text_field": "args=SFTConfig(dataset_text_field=...)",
}
"""Arguments that SFTTrainer no longer takes, and where they went."""
GONE: Final[Mapping[str, str]] = {
    "warmup_ratio": "warmup_steps below 1 is a ratio",
    "group_by_length": 'train_sampling_strategy="group_by_length"',
    "torch_dtype": "dtype",
    "gradient_checkpointing": "activation_checkpointing (the old name goes in transformers 6)",
    "max_seq_length": "max_length",
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu",
    "overwrite_output_dir": "nothing: it is gone",
}
"""Fields of the arguments that transformers 5.24 renamed or dropped."""
_TRL = "from trl import SFTTrainer, SFTConfig\n"


def removed_arguments(tree: ast.Module, names: Mapping[str, str] = REMOVED) -> Iterator[tuple[ast.AST, str]]:
    """Yield the arguments of SFTTrainer that are gone, and what to write instead."""
    for call in _calls(tree, "SFTTrainer"):
        for word in call.keywords:
            if word.arg is not None and word.arg in names:
                why = "TypeError on plain TRL; works only after `import unsloth`, which pins trl<=1.15.0"
                yield word.value, f"{word.arg}=: {why}: write {names[word.arg]}"


def converted_arguments(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield the TrainingArguments that SFTTrainer turns into an SFTConfig with max_length=1024."""
    for call in _calls(tree, "SFTTrainer"):
        for word in call.keywords:
            value = word.value
            made = getattr(value.func, "id", getattr(value.func, "attr", "")) if isinstance(value, ast.Call) else ""
            if word.arg == "args" and made == "TrainingArguments":
                yield value, "rows are cut at 1024 tokens: write SFTConfig(max_length=...)"


def _calls(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == name:
            yield node


@lint("trl_removed")
class TrlRemoved:
    """Arguments that SFTTrainer no longer takes.

    On plain TRL they are a TypeError; they work only after `import unsloth`, which pins an older TRL and patches it.
    """

    code: ClassVar[str]
    name: ClassVar = "arguments that are gone from SFTTrainer"
    severity: ClassVar[Severity] = "error"
    source: ClassVar = "facts.md 0, row 25; A4: trl 1.16.0"
    mark: ClassVar = "V"
    bad: ClassVar = ("py", _TRL + "SFTTrainer(model=m, tokenizer=t, args=SFTConfig(max_length=2048))")
    good: ClassVar = ("py", _TRL + "SFTTrainer(model=m, processing_class=t, args=SFTConfig(max_length=2048))")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if given.tree is not None:
            for node, message in removed_arguments(given.tree):
                yield Fault(getattr(node, "lineno", 1), message)


@lint("trl_truncates")
class TrlTruncates:
    """No length is said, so that rows are cut at 1024 tokens.

    SFTConfig has max_length=1024 by default, and TrainingArguments are turned into such an SFTConfig. What is cut is
    the end of the row: the answer.
    """

    code: ClassVar[str]
    name: ClassVar = "rows cut at 1024 tokens"
    severity: ClassVar[Severity] = "error"
    source: ClassVar = "facts.md 0, row 25; A4: trl 1.16.0"
    mark: ClassVar = "V"
    bad: ClassVar = ("py", _TRL + "SFTTrainer(model=m, args=SFTConfig(learning_rate=2e-4))")
    good: ClassVar = ("py", _TRL + "SFTTrainer(model=m, args=SFTConfig(learning_rate=2e-4, max_length=4096))")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if given.tree is not None:
            for node, message in converted_arguments(given.tree):
                yield Fault(getattr(node, "lineno", 1), message)
            for call in given.named("SFTConfig"):
                if "max_length" not in call.keywords:
                    yield Fault(call.line, "rows are cut at 1024 tokens: write max_length=...")
        elif given.kind == "trl" and "max_length" not in given.values:
            yield Fault(1, "rows are cut at 1024 tokens: write max_length: ...")


@lint("user_turns")
class UserTurns:
    """Chats whose user and system turns are trained on as well.

    With `messages`, SFTTrainer trains on every turn unless assistant_only_loss is set; a text that a chat template
    rendered is trained on as a whole; Axolotl does so with train_on_inputs. Prompt-completion rows are trained on their
    completion alone.
    """

    code: ClassVar[str]
    name: ClassVar = "training on the user's turns"
    severity: ClassVar[Severity] = "error"
    source: ClassVar = "facts.md A4: SFTConfig of trl 1.16.0"
    mark: ClassVar = "V"
    bad: ClassVar = ("py", _TRL + "rows = ds.map(lambda r: {'messages': r['chat']})\n"
                           "SFTTrainer(model=m, train_dataset=rows, args=SFTConfig(max_length=2048))")  # fmt: skip
    good: ClassVar = ("py", _TRL + "rows = ds.map(lambda r: {'messages': r['chat']})\nSFTTrainer(model=m,"
                            " train_dataset=rows, args=SFTConfig(max_length=9, assistant_only_loss=True))")  # fmt: skip

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if given.kind == "axolotl":
            if given.raw_value("train_on_inputs") is True:
                yield Fault(given.line("train_on_inputs"), "write train_on_inputs: false")
            return
        if given.tree is None or given.get("assistant_only_loss") is True or given.get("completion_only_loss") is True:
            return
        if given.named("train_on_responses_only") or not given.named("SFTTrainer", "SFTConfig"):
            return
        texts = {
            one.value for one in ast.walk(given.tree) if isinstance(one, ast.Constant) and isinstance(one.value, str)
        }
        if "completion" in texts:
            return
        if "messages" in texts or given.named("apply_chat_template"):
            line = next((call.line for call in given.named("SFTConfig", "SFTTrainer")), 1)
            yield Fault(line, "write assistant_only_loss=True, or give rows of prompt and completion")


@lint("packing_cuts")
class PackingCuts:
    """Packing that cuts rows.

    The default strategy `bfd` throws away what is longer than max_length, `wrapped` cuts rows in the middle;
    `bfd_split` splits them. All need flash attention to keep packed rows apart.
    """

    code: ClassVar[str]
    name: ClassVar = "packing that cuts rows"
    severity: ClassVar[Severity] = "warning"
    source: ClassVar = "facts.md A4: trl 1.16.0"
    mark: ClassVar = "V"
    bad: ClassVar = ("py", _TRL + "SFTConfig(max_length=2048, packing=True)")
    good: ClassVar = ("py", _TRL + "SFTConfig(max_length=2048, packing=True, packing_strategy='bfd_split')")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if given.kind != "axolotl" and given.get("packing") is True and given.get("packing_strategy") != "bfd_split":
            how = given.get("packing_strategy") or "bfd"
            yield Fault(given.line("packing"), f"{how} cuts long rows: leave them out before, or write bfd_split")


@lint("end_unmasked")
class EndUnmasked:
    """The end of the turn is not trained on.

    A model that never sees it in the loss does not learn to stop, and the loss looks healthy. It happens when padding
    is the end-of-sequence token and the collator of transformers masks all padding, when assistant_only_loss meets a
    template whose end of turn lies outside `{% generation %}`, and with train_on_eos: none.
    """

    code: ClassVar[str]
    name: ClassVar = "an end of turn outside the loss"
    severity: ClassVar[Severity] = "error"
    source: ClassVar = "facts.md A4: trl 1.16.0"
    mark: ClassVar = "V"
    bad: ClassVar = ("py", "from transformers import DataCollatorForLanguageModeling\ntok.pad_token = tok.eos_token\n"
                           "DataCollatorForLanguageModeling(tok, mlm=False)")  # fmt: skip
    good: ClassVar = ("py", "from transformers import DataCollatorForLanguageModeling\ntok.pad_token = '<pad>'\n"
                            "DataCollatorForLanguageModeling(tok, mlm=False)")  # fmt: skip

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        for key in ("train_on_eos", "train_on_eot"):
            if given.raw_value(key) == "none":
                yield Fault(given.line(key), f"write {key}: turn")
        rows = given.raw_value("datasets")
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict) and "none" in {row.get("train_on_eos"), row.get("train_on_eot")}:
                yield Fault(given.line("datasets"), "write train_on_eos: turn")
        if given.tree is not None and given.named("DataCollatorForLanguageModeling"):
            for node in ast.walk(given.tree):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
                    names = {getattr(target, "attr", "") for target in node.targets}
                    if "pad_token" in names and node.value.attr == "eos_token":
                        yield Fault(
                            node.lineno, "this collator masks padding, and so the end: use a padding token of its own"
                        )


@lint("fields_gone")
class FieldsGone:
    """Fields that transformers 5 renamed or dropped."""

    code: ClassVar[str]
    name: ClassVar = "fields that are gone"
    severity: ClassVar[Severity] = "warning"
    source: ClassVar = "facts.md A4: transformers 5.24.0"
    mark: ClassVar = "V"
    bad: ClassVar = ("py", _TRL + "SFTConfig(max_length=2048, warmup_ratio=0.03)")
    good: ClassVar = ("py", _TRL + "SFTConfig(max_length=2048, warmup_steps=0.03)")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if given.kind not in {"trl", "peft"}:
            return
        if given.tree is None:
            found = {key: value.line for key, value in given.raw.items()} if given.kind == "trl" else {}
        else:
            calls = given.named("SFTConfig", "TrainingArguments", "from_pretrained")
            found = {key: value.line for call in calls for key, value in call.keywords.items()}
        for key, line in found.items():
            if key in GONE:
                yield Fault(line, f"{key}: write {GONE[key]}")


@lint("loss_alias")
class LossAlias:
    """Switches for a fused output head that TRL 1.16 has anyway.

    `chunked_nll` is an alias of the default, and `use_liger_kernel` is deprecated; both go in TRL 2.
    """

    code: ClassVar[str]
    name: ClassVar = "switches for what is the default"
    severity: ClassVar[Severity] = "note"
    source: ClassVar = "facts.md A3, A4: trl 1.16.0"
    mark: ClassVar = "V"
    bad: ClassVar = ("py", _TRL + "SFTConfig(max_length=2048, loss_type='chunked_nll')")
    good: ClassVar = ("py", _TRL + "SFTConfig(max_length=2048, loss_type='nll')")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if given.kind == "trl" and given.raw_value("loss_type") == "chunked_nll":
            yield Fault(given.line("loss_type"), "leave it out: the output head is fused")
        if given.kind == "trl" and given.raw_value("use_liger_kernel") is True:
            yield Fault(given.line("use_liger_kernel"), 'write model_init_kwargs={"use_kernels": True}')
