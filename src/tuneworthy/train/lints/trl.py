"""What TRL and transformers do that their users do not expect: arguments that are gone, defaults that cut rows."""

import ast
from collections.abc import Iterator, Mapping
from typing import Final

from tuneworthy.rules import Finding
from tuneworthy.train import messages, sources
from tuneworthy.train.lints import LINTS
from tuneworthy.train.lints.trainer_config import TrainerConfig, called_name

# Arguments that SFTTrainer no longer takes, and where they went.
REMOVED: Final[Mapping[str, str]] = {
    "tokenizer": "processing_class=",
    "max_seq_length": "args=SFTConfig(max_length=...)",
    "packing": "args=SFTConfig(packing=...)",
    "dataset_text_field": "args=SFTConfig(dataset_text_field=...)",
}
# Fields of the arguments that transformers 5.24 renamed or dropped, and what to write instead.
GONE: Final[Mapping[str, str]] = {
    "warmup_ratio": "warmup_steps, where a value below 1 is a ratio",
    "group_by_length": 'train_sampling_strategy="group_by_length"',
    "torch_dtype": "dtype",
    "gradient_checkpointing": "activation_checkpointing (transformers 6 drops the old name)",
    "max_seq_length": "max_length",
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu",
    "overwrite_output_dir": "",
}
_TRL = "from trl import SFTTrainer, SFTConfig\n"
_CHATS = _TRL + "rows = ds.map(lambda r: {'messages': r['chat']})\n"
_COLLATOR = (
    "from transformers import DataCollatorForLanguageModeling\n"
    "tok.pad_token = {pad}\nDataCollatorForLanguageModeling(tok, mlm=False)"
)


@LINTS.rule(
    "trl_removed",
    source=sources.TRL,
    bad=("py", _TRL + "SFTTrainer(model=m, tokenizer=t, args=SFTConfig(max_length=2048))"),
    good=("py", _TRL + "SFTTrainer(model=m, processing_class=t, args=SFTConfig(max_length=2048))"),
)
def trl_removed(config: TrainerConfig) -> Iterator[Finding]:
    """Arguments that SFTTrainer no longer takes.

    In plain TRL they raise a TypeError. They work only after `import unsloth`, which pins an older TRL and patches it.
    """
    for call in config.calls_of("SFTTrainer"):
        for name in [name for name in REMOVED if name in call.keywords]:
            message, fix = (
                f"SFTTrainer no longer accepts {name}= and raises a TypeError.",
                messages.say("write", text=REMOVED[name]),
            )
            yield Finding(message=message, fix=fix, line=call.keywords[name].line)


@LINTS.rule(
    "trl_truncates",
    source=sources.TRL,
    bad=("py", _TRL + "SFTTrainer(model=m, args=SFTConfig(learning_rate=2e-4))"),
    good=("py", _TRL + "SFTTrainer(model=m, args=SFTConfig(learning_rate=2e-4, max_length=4096))"),
)
def trl_truncates(config: TrainerConfig) -> Iterator[Finding]:
    """No length is set, so rows are cut at 1024 tokens.

    SFTConfig has max_length=1024 by default, and TrainingArguments are converted to such an SFTConfig. What is cut is
    the end of the row: the answer.
    """
    arguments = [word for call in config.calls_of("SFTTrainer") for word in call.node.keywords]
    converted = [
        word.value for word in arguments if word.arg == "args" and called_name(word.value) == "TrainingArguments"
    ]
    lines = [value.lineno for value in converted]
    lines += [call.line for call in config.calls_of("SFTConfig") if "max_length" not in call.keywords]
    if config.tree is None and config.kind == "trl" and "max_length" not in config.values:
        lines.append(1)
    for line in lines:
        yield Finding(
            message="No max_length is set, so TRL truncates rows at 1024 tokens.",
            fix="Set max_length in SFTConfig.",
            line=line,
        )


@LINTS.rule(
    "user_turns",
    source=sources.TRL,
    bad=("py", _CHATS + "SFTTrainer(model=m, train_dataset=rows, args=SFTConfig(max_length=2048))"),
    good=(
        "py",
        _CHATS + "SFTTrainer(model=m, train_dataset=rows, args=SFTConfig(max_length=9, assistant_only_loss=True))",
    ),
)
def user_turns(config: TrainerConfig) -> Iterator[Finding]:
    """Chats whose user and system turns are trained on as well.

    With `messages`, SFTTrainer trains on every turn unless assistant_only_loss is set. It trains on the whole of a text
    that a chat template rendered. Axolotl does the same with train_on_inputs. Of prompt-completion rows, only the
    completion is trained on.
    """
    if config.kind == "axolotl":
        if config.raw_value("train_on_inputs") is True:
            line = config.line("train_on_inputs")
            yield Finding(
                message=messages.say("user_turns"), fix=messages.say("write", text="train_on_inputs: false"), line=line
            )
        return
    calls = config.calls_of("SFTConfig", "SFTTrainer")
    masks = config.get("assistant_only_loss") is True or config.get("completion_only_loss") is True
    if config.tree is None or not calls or masks or config.calls_of("train_on_responses_only"):
        return
    texts = {node.value for node in ast.walk(config.tree) if isinstance(node, ast.Constant)}
    if "completion" not in texts and ("messages" in texts or config.calls_of("apply_chat_template")):
        yield Finding(
            message=messages.say("user_turns"),
            fix="Set assistant_only_loss=True, or use prompt/completion rows.",
            line=calls[0].line,
        )


@LINTS.rule(
    "packing_cuts",
    severity="warning",
    source=sources.TRL,
    bad=("py", _TRL + "SFTConfig(max_length=2048, packing=True)"),
    good=("py", _TRL + "SFTConfig(max_length=2048, packing=True, packing_strategy='bfd_split')"),
)
def packing_cuts(config: TrainerConfig) -> Iterator[Finding]:
    """Packing that cuts rows.

    The default strategy `bfd` drops what is longer than max_length, `wrapped` cuts rows in the middle, `bfd_split`
    splits them. All need flash attention to keep packed rows apart.
    """
    strategy = config.get("packing_strategy") or "bfd"
    if config.kind != "axolotl" and config.get("packing") is True and strategy != "bfd_split":
        yield Finding(
            message=f"Packing with {strategy} truncates long rows.",
            fix='Drop long rows first, or set packing_strategy="bfd_split".',
            line=config.line("packing"),
        )


@LINTS.rule(
    "end_unmasked",
    source=sources.TRL,
    bad=("py", _COLLATOR.format(pad="tok.eos_token")),
    good=("py", _COLLATOR.format(pad="'<pad>'")),
)
def end_unmasked(config: TrainerConfig) -> Iterator[Finding]:
    """The end of the turn is not trained on.

    A model that never sees it in the loss does not learn to stop, and the loss looks healthy. There are three ways to
    get there: padding is the end-of-sequence token, and the collator of transformers masks all padding;
    assistant_only_loss with a template whose end of turn lies outside `{% generation %}`; and train_on_eos: none.
    """
    ends = {"train_on_eos", "train_on_eot"}
    lines = {key: config.line(key) for key in ends if config.raw_value(key) == "none"}
    datasets = config.raw_value("datasets")
    for row in datasets if isinstance(datasets, list) else []:
        if isinstance(row, dict) and "none" in [row.get(key) for key in ends]:
            lines.setdefault("train_on_eos", config.line("datasets"))
    for key, line in sorted(lines.items()):
        yield Finding(
            message="The loss excludes the end-of-turn token.",
            fix=messages.say("write", text=f"{key}: turn"),
            line=line,
        )
    if config.tree is None or not config.calls_of("DataCollatorForLanguageModeling"):
        return
    assignments = [node for node in ast.walk(config.tree) if isinstance(node, ast.Assign)]
    for node in assignments:
        if getattr(node.value, "attr", "") == "eos_token" and any(
            getattr(target, "attr", "") == "pad_token" for target in node.targets
        ):
            yield Finding(
                message="The collator masks padding, and the padding token is also the end-of-turn token.",
                fix="Use a dedicated padding token.",
                line=node.lineno,
            )


@LINTS.rule(
    "fields_gone",
    severity="warning",
    source=sources.TRANSFORMERS,
    bad=("py", _TRL + "SFTConfig(max_length=2048, warmup_ratio=0.03)"),
    good=("py", _TRL + "SFTConfig(max_length=2048, warmup_steps=0.03)"),
)
def fields_gone(config: TrainerConfig) -> Iterator[Finding]:
    """Fields that transformers 5 renamed or dropped."""
    calls = config.calls_of("SFTConfig", "TrainingArguments", "from_pretrained")
    tables = [config.raw] if config.tree is None and config.kind == "trl" else [call.keywords for call in calls]
    for table in tables if config.kind in {"trl", "peft"} else []:
        for key in [key for key in GONE if key in table]:
            fix = messages.say("write", text=GONE[key]) if GONE[key] else messages.say("remove")
            yield Finding(message=f"transformers 5 or TRL has renamed or removed {key}.", fix=fix, line=table[key].line)


@LINTS.rule(
    "loss_alias",
    severity="note",
    source=sources.TRL,
    bad=("py", _TRL + "SFTConfig(max_length=2048, loss_type='chunked_nll')"),
    good=("py", _TRL + "SFTConfig(max_length=2048, loss_type='nll')"),
)
def loss_alias(config: TrainerConfig) -> Iterator[Finding]:
    """Switches for a fused output head, which TRL 1.16 always uses.

    `chunked_nll` is an alias of the default, and `use_liger_kernel` is deprecated. TRL 2 drops both.
    """
    if config.kind == "trl" and config.raw_value("loss_type") == "chunked_nll":
        yield Finding(
            message="chunked_nll is an alias for the default loss, and TRL 2 removes it.",
            fix=messages.say("remove"),
            line=config.line("loss_type"),
        )
    if config.kind == "trl" and config.raw_value("use_liger_kernel") is True:
        fix = messages.say("write", text='model_init_kwargs={"use_kernels": True}')
        yield Finding(
            message="use_liger_kernel is deprecated, and TRL 2 removes it.",
            fix=fix,
            line=config.line("use_liger_kernel"),
        )
