"""Lints of training settings: of this project's run, or of a flat table of settings."""

import math
import re
from typing import Final

from tuneworthy.rules import Finding, Findings, RuleBook
from tuneworthy.train import messages
from tuneworthy.train.settings_table import SettingsTable

# Rules on a `SettingsTable`; `bad` and `good` are settings by the keys of a library.
LINTS: Final[RuleBook[Finding]] = RuleBook("train_lints", ["tuneworthy.train.lints"])
ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "query_key_value", "c_attn", "Wqkv"})
MOE_NAMES = (
    "mixtral", "moe", "-a3b", "-a22b", "gpt-oss", "deepseek-v2", "deepseek-v3", "deepseek-r1", "llama-4",
)  # fmt: skip
_ALL_LINEAR = 'Set target_modules="all-linear", or lora_target_linear: true in Axolotl.'
MIN_RATE, MAX_RATE = 1e-4, 1e-3
MAX_BATCH = 32
TRL_RATE = 2e-5
# Settings that TRL 1.16 or transformers 5.24 renamed or dropped, and what to write instead.
GONE = {
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
_REMOVE = "Remove this setting."
# vLLM's default of max_lora_rank.
SERVED_RANK = 16


# --- adapters ---


@LINTS.rule(
    fix=_ALL_LINEAR,
    source=f"{messages.TML}; arXiv 2405.09673",
    bad={"r": 16, "target_modules": ["q_proj", "v_proj"]},
    good={"r": 16, "target_modules": "all-linear"},
)
def attention_only(table: SettingsTable) -> str:
    """Adapters on attention only.

    The MLP has about 80% of the linear weights. Adapters on attention only learn less even with as many parameters.
    """
    return (
        f"The adapters cover only {', '.join(table.targets)}, not the MLP."
        if table.targets and set(table.targets) <= ATTENTION
        else ""
    )


@LINTS.rule(
    fix=_ALL_LINEAR,
    source=messages.PEFT,
    bad={"r": 16, "lora_alpha": 32},
    good={"r": 16, "lora_alpha": 32, "target_modules": "all-linear"},
)
def default_targets(table: SettingsTable) -> str:
    """No target modules are named.

    PEFT then uses its table for the architecture: `q_proj` and `v_proj` for Llama, Qwen, Mistral and Gemma.
    """
    return (
        "No target modules are set, so PEFT adapts only q_proj and v_proj."
        if table.adapters and not table.axolotl and not {"target_modules", "target_parameters"} & set(table.values)
        else ""
    )


@LINTS.rule(
    fix="Remove lm_head from target_modules.",
    source=messages.TRL,
    bad={"r": 8, "target_modules": ["up_proj", "lm_head"]},
    good={"r": 8, "target_modules": ["up_proj", "q_proj"]},
)
def head_adapted(table: SettingsTable) -> str:
    """An adapter on the output head.

    TRL 1.16 multiplies by `lm_head.weight` directly, so an adapter there would never be trained; TRL refuses it.
    """
    return "TRL rejects adapters on lm_head." if "lm_head" in (table.targets or []) else ""


@LINTS.rule(
    severity="warning",
    fix="List the experts in target_parameters.",
    source=f"{messages.PEFT} (target_parameters)",
    bad={"base_model": "Qwen/Qwen3-30B-A3B", "lora_r": 16, "lora_target_linear": True},
    good={"base_model": "Qwen/Qwen3-8B", "lora_r": 16, "lora_target_linear": True},
)
def experts_missed(table: SettingsTable) -> str:
    """`all-linear` on a mixture of experts.

    The experts are plain parameters and not linear layers. Only attention gets adapters unless `target_parameters`
    names them.
    """
    model = str(table.get("model") or "").lower()
    is_moe = any(part in model for part in MOE_NAMES)
    return (
        f"The setting all-linear does not cover the experts of {model}."
        if is_moe and table.targets == ["all-linear"] and "target_parameters" not in table.values
        else ""
    )


@LINTS.rule(
    severity="note",
    fix="Sweep the learning rate, and keep alpha fixed.",
    source=f"{messages.LEARNING_RATE_MATTERS}, appendix C; {messages.TRL_LORA}",
    bad={"r": 8, "lora_alpha": 128},
    good={"r": 16, "lora_alpha": 32},
)
def scale_apart(table: SettingsTable) -> str:
    """Alpha is far from the rank, which changes the effect of the learning rate.

    The output of the adapters is multiplied by alpha / r. With Adam that acts as a second learning rate, so settings
    can only be compared by scale and rate together. Neither alpha = r nor alpha = 2r is supported by evidence.
    """
    rank, alpha, rate = table.rank, table.alpha, table.number("learning_rate")
    if not rank or not alpha or table.get("rslora") or 0.25 <= alpha / rank <= 4:
        return ""
    acts = f" A learning rate of {rate:g} acts like {rate * alpha / rank:.2g} at scale 1." if rate else ""
    return f"The scale alpha/r is {alpha / rank:g}.{acts}"


@LINTS.rule(
    severity="warning",
    fix="Tune the learning rate again.",
    source="arXiv 2312.03732",
    bad={"r": 64, "lora_alpha": 64, "use_rslora": True},
    good={"r": 64, "lora_alpha": 64, "use_rslora": False},
)
def rslora_rate(table: SettingsTable) -> str:
    """rsLoRA, whose scale is alpha / sqrt(r).

    The best learning rate is independent of the rank only with the scale alpha / r and adapters that start at zero.
    Under rsLoRA the same alpha gives a scale sqrt(r) times as large, and the rate has to be tuned again.
    """
    rank, alpha = table.rank, table.alpha
    return (
        (
            f"rsLoRA scales by alpha/sqrt(r) = {alpha / math.sqrt(rank):.3g}, whereas plain LoRA scales by "
            f"{alpha / rank:.3g}."
        )
        if table.get("rslora") is True and rank and alpha
        else ""
    )


@LINTS.rule(
    severity="warning",
    fix="Convert the adapter before you serve it, or use the default initialisation.",
    source=messages.PEFT,
    bad={"r": 16, "init_lora_weights": "pissa"},
    good={"r": 16, "init_lora_weights": True},
)
def init_moves_base(table: SettingsTable) -> str:
    """PiSSA, OLoRA, CorDA or LoftQ: an initialisation that changes the base.

    The adapter fits the changed base only. On the original base it gives other answers unless it is converted first.
    The rule of thumb for the learning rate does not apply either.
    """
    method = str(table.get("init") or "").lower()
    return (
        f"The initialisation {method} changes the base weights."
        if method.startswith(("pissa", "olora", "corda", "loftq"))
        else ""
    )


@LINTS.rule(
    severity="warning",
    fix="Keep the magnitude vector in float32, or train plain LoRA.",
    source=f"{messages.TRL}; {messages.LEARNING_RATE_MATTERS}",
    bad={"load_in_4bit": True, "lora_r": 16, "peft_use_dora": True},
    good={"load_in_4bit": False, "lora_r": 16, "peft_use_dora": True},
)
def dora_rounds(table: SettingsTable) -> str:
    """DoRA on a 4-bit base.

    Its magnitude vector must stay in 32 bits: updates in bfloat16 are rounded away without a message. DoRA is also
    slower, and with tuned rates at most 1 to 2% better.
    """
    return (
        "DoRA on a 4-bit base model loses updates to rounding."
        if table.get("dora") is True and table.get("load_in_4bit") is True
        else ""
    )


@LINTS.rule(
    severity="note",
    fix="Start with 0. Add dropout only if it improves the task metric.",
    source=f"{messages.UNSLOTH}; {messages.TRL_LORA}",
    bad={"r": 16, "lora_dropout": 0.05},
    good={"r": 16, "lora_dropout": 0.0},
)
def dropout_habit(table: SettingsTable) -> str:
    """Dropout on the adapters.

    The evidence for it is weak. The recipes of TRL, Unsloth and Thinking Machines use no dropout, and Unsloth's fast
    path needs 0.
    """
    return (
        f"Adapter dropout is {dropout}, but there is little evidence that it helps."
        if (dropout := table.get("dropout"))
        else ""
    )


# --- learning rate, batch, epochs, optimiser ---


@LINTS.rule(
    fix="Use about 10 times the learning rate for full fine-tuning: 1e-4 to 5e-4.",
    source=f"{messages.TML}; {messages.TRL}",
    bad={"r": 16, "max_length": 4096},
    good={"r": 16, "max_length": 4096, "learning_rate": 2e-4},
)
def rate_of_full(table: SettingsTable) -> str:
    """Adapters with the learning rate of full fine-tuning.

    LoRA needs about 10 times the rate of full fine-tuning: 1e-4 to 5e-4. TRL's default of 2e-5 is for the latter.
    Settings for DPO and GRPO, which need lower rates, are left out.
    """
    if not table.adapters or not table.is_run or not table.on_answers:
        return ""
    if "learning_rate" not in table.values:
        return f"No learning rate is set, so TRL uses {TRL_RATE:g}, its default for full fine-tuning."
    rate = table.number("learning_rate")
    return f"A learning rate of {rate:g} is too low for adapters." if rate is not None and rate < MIN_RATE else ""


@LINTS.rule(
    severity="warning",
    fix="Run a few steps to check that the loss stays stable.",
    source=messages.TINKER,
    bad={"learning_rate": 5e-3},
    good={"learning_rate": 5e-4},
)
def rate_high(table: SettingsTable) -> str:
    """A learning rate above every published fit.

    Fits over families and widths give 1.7e-4 to 4.7e-4 from 8B to 70B parameters. Small models tolerate up to about
    1e-3.
    """
    rate = table.number("learning_rate")
    return (
        f"A learning rate of {rate:g} is higher than any published recommendation for LoRA."
        if rate is not None and rate > MAX_RATE
        else ""
    )


@LINTS.rule(
    severity="warning",
    fix=f"Use fewer than {MAX_BATCH} rows per step.",
    source=messages.TML,
    bad={"lora_r": 16, "micro_batch_size": 8, "gradient_accumulation_steps": 8},
    good={"lora_r": 16, "micro_batch_size": 2, "gradient_accumulation_steps": 8},
)
def batch_large(table: SettingsTable) -> str:
    """A batch of 32 or more with adapters.

    LoRA tolerates large batches less than full fine-tuning, and a higher rank does not help.
    """
    batch = (table.number("micro_batch_size") or 1) * (table.number("accumulation") or 1)
    return (
        f"A batch of {batch:.0f} rows per device is too large for LoRA."
        if table.adapters and table.on_answers and batch >= MAX_BATCH
        else ""
    )


@LINTS.rule(
    severity="warning",
    fix="Use early stopping on the task metric, measured on held-out rows.",
    source=messages.EARLY_STOPPING,
    bad={"num_epochs": 5},
    good={"num_epochs": 5, "early_stopping_patience": 2},
)
def epochs_fixed(table: SettingsTable) -> str:
    """Many epochs without early stopping.

    Several passes over a small set often hurt. Stopping when the metric on held-out rows no longer improves removes
    most of the harm.
    """
    epochs = table.number("epochs")
    return (
        f"Training runs for {epochs:g} epochs without early stopping."
        if epochs is not None and epochs > 3 and not table.get("early_stopping") and not table.get("best_at_end")
        else ""
    )


@LINTS.rule(
    severity="note",
    fix="Use adamw_torch_fused, unless the run needs that memory.",
    source="Arithmetic: 2 states of 4 bytes against 2 of 1 byte, of the trained parameters only",
    bad={"lora_r": 32, "optimizer": "adamw_8bit"},
    good={"lora_r": 32, "optimizer": "adamw_torch_fused"},
)
def adam_8bit(table: SettingsTable) -> str:
    """An 8-bit optimiser for adapters.

    The states of adapters are small already: for 83.9M parameters (8B, r=32) it saves 0.5 GiB, not 40%.
    """
    return (
        "An 8-bit optimiser saves only about 6 bytes per trained parameter: 0.5 GiB for 84M parameters."
        if table.adapters and "8bit" in str(table.get("optim"))
        else ""
    )


@LINTS.rule(
    severity="note",
    fix="Turn off NEFTune, unless it improves the task metric on held-out rows.",
    source="arXiv 2310.05914",
    bad={"neftune_noise_alpha": 5},
    good={"neftune_noise_alpha": None},
)
def noise_on(table: SettingsTable) -> str:
    """NEFTune, noise on the embeddings.

    It made answers longer and judges happier (AlpacaEval 29.8 to 64.7) and changed nothing on knowledge tasks.
    """
    return (
        "NEFTune is on. It makes answers longer and has not improved results on knowledge tasks."
        if table.get("neftune")
        else ""
    )


# --- arguments and defaults of TRL and transformers ---


@LINTS.rule(
    fix="Set max_length in SFTConfig.",
    source=messages.TRL,
    bad={"learning_rate": 2e-4},
    good={"learning_rate": 2e-4, "max_length": 4096},
)
def trl_truncates(table: SettingsTable) -> str:
    """No length is set, so rows are cut at 1024 tokens.

    SFTConfig has max_length=1024 by default. TRL cuts the end of the row: the answer.
    """
    return (
        "No max_length is set, so TRL truncates rows at 1024 tokens."
        if table.is_run and not table.axolotl and "max_length" not in table.values
        else ""
    )


@LINTS.rule(
    fix="Set assistant_only_loss=True (train_on_inputs: false in Axolotl), or use prompt/completion rows.",
    source=messages.TRL,
    bad={"max_length": 2048, "assistant_only_loss": False},
    good={"max_length": 2048, "assistant_only_loss": True},
)
def user_turns(table: SettingsTable) -> str:
    """Chats whose user and system turns are trained on as well.

    With `messages`, SFTTrainer trains on every turn unless assistant_only_loss is set. Axolotl does the same with
    train_on_inputs. Of prompt-completion rows, only the completion is trained on.
    """
    every_turn = table.raw.get("assistant_only_loss") is False and table.raw.get("completion_only_loss") is not True
    return "The loss covers user turns too." if every_turn or table.raw.get("train_on_inputs") is True else ""


@LINTS.rule(
    severity="warning",
    fix='Drop long rows first, or set packing_strategy="bfd_split".',
    source=messages.TRL,
    bad={"max_length": 2048, "packing": True},
    good={"max_length": 2048, "packing": True, "packing_strategy": "bfd_split"},
)
def packing_cuts(table: SettingsTable) -> str:
    """Packing that cuts rows.

    The default strategy `bfd` drops tokens beyond max_length, `wrapped` cuts rows in the middle, `bfd_split` splits
    them. All need flash attention to keep packed rows apart.
    """
    strategy = table.get("packing_strategy") or "bfd"
    return (
        f"Packing with {strategy} truncates long rows."
        if table.get("packing") is True and strategy != "bfd_split"
        else ""
    )


@LINTS.rule(
    source=messages.TRL,
    bad={"lora_r": 16, "train_on_eos": "none"},
    good={"lora_r": 16, "train_on_eos": "turn"},
)
def end_unmasked(table: SettingsTable) -> Findings:
    """The end of the turn is not trained on.

    A model that never sees it in the loss does not learn to stop, and the loss looks healthy.
    """
    for key in ("train_on_eos", "train_on_eot"):
        if table.raw.get(key) == "none":
            yield Finding(message="The loss excludes the end-of-turn token.", fix=f"Use {key}: turn.")


@LINTS.rule(
    severity="warning",
    source=f"transformers 5.24, https://huggingface.co/docs/transformers/main_classes/trainer; {messages.TRL}",
    bad={"max_length": 2048, "warmup_ratio": 0.03},
    good={"max_length": 2048, "warmup_steps": 0.03},
)
def fields_gone(table: SettingsTable) -> Findings:
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
    severity="note",
    source=messages.TRL,
    bad={"max_length": 2048, "loss_type": "chunked_nll"},
    good={"max_length": 2048, "loss_type": "nll"},
)
def loss_alias(table: SettingsTable) -> Findings:
    """Switches for a fused output head, which TRL 1.16 always uses.

    `chunked_nll` is an alias of the default, and `use_liger_kernel` is deprecated. TRL 2 drops both.
    """
    if table.raw.get("loss_type") == "chunked_nll":
        yield Finding(message="chunked_nll is an alias for the default loss, and TRL 2 removes it.", fix=_REMOVE)
    if table.raw.get("use_liger_kernel") is True:
        yield Finding(
            message="use_liger_kernel is deprecated, and TRL 2 removes it.",
            fix='Use model_init_kwargs={"use_kernels": True}.',
        )


# --- merging, serving, loading ---


@LINTS.rule(
    fix='Set save_method="merged_16bit".',
    source="https://github.com/huggingface/peft/issues/2321",
    bad={"r": 16, "save_method": "merged_4bit"},
    good={"r": 16, "save_method": "merged_16bit"},
)
def merge_quantised(table: SettingsTable) -> str:
    """A merge into 4-bit weights.

    Merging into a 4-bit base dequantises, adds the adapter and rounds again, which changes the answers. Merge into
    the 16-bit base.
    """
    return (
        "The merged model is saved in 4-bit, which rounds away most of what the adapter learned."
        if "4bit" in str(table.get("save_method"))
        else ""
    )


@LINTS.rule(
    severity="warning",
    source="https://docs.vllm.ai/en/latest/features/lora.html",
    bad={"r": 64, "lora_alpha": 32},
    good={"r": 16, "lora_alpha": 32},
)
def rank_limit(table: SettingsTable) -> Findings:
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
    severity="warning",
    fix="Remove trust_remote_code. Models that transformers supports do not need it.",
    source="CVE-2026-5241",
    bad={"lora_r": 16, "trust_remote_code": True},
    good={"lora_r": 16, "trust_remote_code": False},
)
def remote_code(table: SettingsTable) -> str:
    """Code from the model's repository runs when the model is loaded."""
    return "trust_remote_code runs code from the model's repository." if table.get("trust_remote_code") is True else ""


@LINTS.rule(
    source="https://huggingface.co/unsloth/Llama-3.3-70B-Instruct-bnb-4bit",  # the repository under its right name
    bad={"base_model": "unsloth/Meta-Llama-3.3-70B-Instruct-bnb-4bit", "lora_r": 16},
    good={"base_model": "unsloth/Llama-3.3-70B-Instruct-bnb-4bit", "lora_r": 16},
)
def model_name(table: SettingsTable) -> Findings:
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
