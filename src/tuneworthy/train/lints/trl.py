"""Lints of the arguments and defaults of TRL and transformers."""

from collections.abc import Iterator, Mapping
from typing import Final

from tuneworthy.rules import Finding
from tuneworthy.train import sources
from tuneworthy.train.lints import LINTS
from tuneworthy.train.lints.settings_table import SettingsTable

# Settings that TRL 1.16 or transformers 5.24 renamed or dropped, and what to write instead.
GONE: Final[Mapping[str, str]] = {
    "tokenizer": "processing_class",
    "warmup_ratio": "warmup_steps, where a value below 1 is a ratio",
    "group_by_length": 'train_sampling_strategy="group_by_length"',
    "torch_dtype": "dtype",
    "gradient_checkpointing": "activation_checkpointing (transformers 6 drops the old name)",
    "max_seq_length": "max_length",
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu",
    "overwrite_output_dir": "",
}
_REMOVE: Final = "Remove this setting."


@LINTS.rule(
    "trl_truncates",
    source=sources.TRL,
    bad={"learning_rate": 2e-4},
    good={"learning_rate": 2e-4, "max_length": 4096},
)
def trl_truncates(table: SettingsTable) -> Iterator[Finding]:
    """No length is set, so rows are cut at 1024 tokens.

    SFTConfig has max_length=1024 by default. TRL cuts the end of the row: the answer.
    """
    if table.is_run and not table.axolotl and "max_length" not in table.values:
        yield Finding(
            message="No max_length is set, so TRL truncates rows at 1024 tokens.",
            fix="Set max_length in SFTConfig.",
        )


@LINTS.rule(
    "user_turns",
    source=sources.TRL,
    bad={"max_length": 2048, "assistant_only_loss": False},
    good={"max_length": 2048, "assistant_only_loss": True},
)
def user_turns(table: SettingsTable) -> Iterator[Finding]:
    """Chats whose user and system turns are trained on as well.

    With `messages`, SFTTrainer trains on every turn unless assistant_only_loss is set. Axolotl does the same with
    train_on_inputs. Of prompt-completion rows, only the completion is trained on.
    """
    every_turn = table.raw.get("assistant_only_loss") is False and table.raw.get("completion_only_loss") is not True
    if every_turn or table.raw.get("train_on_inputs") is True:
        yield Finding(
            message="The loss covers user turns too.",
            fix="Set assistant_only_loss=True (train_on_inputs: false in Axolotl), or use prompt/completion rows.",
        )


@LINTS.rule(
    "packing_cuts",
    severity="warning",
    source=sources.TRL,
    bad={"max_length": 2048, "packing": True},
    good={"max_length": 2048, "packing": True, "packing_strategy": "bfd_split"},
)
def packing_cuts(table: SettingsTable) -> Iterator[Finding]:
    """Packing that cuts rows.

    The default strategy `bfd` drops tokens beyond max_length, `wrapped` cuts rows in the middle, `bfd_split` splits
    them. All need flash attention to keep packed rows apart.
    """
    strategy = table.get("packing_strategy") or "bfd"
    if table.get("packing") is True and strategy != "bfd_split":
        yield Finding(
            message=f"Packing with {strategy} truncates long rows.",
            fix='Drop long rows first, or set packing_strategy="bfd_split".',
        )


@LINTS.rule(
    "end_unmasked",
    source=sources.TRL,
    bad={"lora_r": 16, "train_on_eos": "none"},
    good={"lora_r": 16, "train_on_eos": "turn"},
)
def end_unmasked(table: SettingsTable) -> Iterator[Finding]:
    """The end of the turn is not trained on.

    A model that never sees it in the loss does not learn to stop, and the loss looks healthy.
    """
    for key in ("train_on_eos", "train_on_eot"):
        if table.raw.get(key) == "none":
            yield Finding(message="The loss excludes the end-of-turn token.", fix=f"Use {key}: turn.")


@LINTS.rule(
    "fields_gone",
    severity="warning",
    source=f"{sources.TRANSFORMERS}; {sources.TRL}",
    bad={"max_length": 2048, "warmup_ratio": 0.03},
    good={"max_length": 2048, "warmup_steps": 0.03},
)
def fields_gone(table: SettingsTable) -> Iterator[Finding]:
    """Settings that TRL or transformers 5 renamed or dropped.

    In plain TRL they raise a TypeError. They work only with Unsloth, which pins an older TRL and patches it, and some
    are keys of Axolotl.
    """
    for key in [] if table.axolotl else [key for key in GONE if key in table.raw]:
        yield Finding(
            message=f"transformers 5 or TRL has renamed or removed {key}.",
            fix=f"Use {GONE[key]}." if GONE[key] else _REMOVE,
        )


@LINTS.rule(
    "loss_alias",
    severity="note",
    source=sources.TRL,
    bad={"max_length": 2048, "loss_type": "chunked_nll"},
    good={"max_length": 2048, "loss_type": "nll"},
)
def loss_alias(table: SettingsTable) -> Iterator[Finding]:
    """Switches for a fused output head, which TRL 1.16 always uses.

    `chunked_nll` is an alias of the default, and `use_liger_kernel` is deprecated. TRL 2 drops both.
    """
    if table.raw.get("loss_type") == "chunked_nll":
        yield Finding(message="chunked_nll is an alias for the default loss, and TRL 2 removes it.", fix=_REMOVE)
    if table.raw.get("use_liger_kernel") is True:
        fix = 'Use model_init_kwargs={"use_kernels": True}.'
        yield Finding(message="use_liger_kernel is deprecated, and TRL 2 removes it.", fix=fix)
