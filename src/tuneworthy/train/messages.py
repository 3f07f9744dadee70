"""Every sentence about training that a person reads."""

from __future__ import annotations

from typing import Final

# Configs that `plan --lint` reads
CONFIG_HINT: Final = "Pass a PEFT, TRL, Unsloth or Axolotl config: .json, .yaml, .yml or .py."
CONFIG_TOO_LARGE: Final = "The file is larger than {limit} MiB."
CANNOT_READ: Final = "Cannot read it: {reason}."
NOT_UTF8: Final = "The file is not UTF-8."
CONFIG_ENDING: Final = "Cannot read a .{ending} file."
CONFIG_SYNTAX: Final = "Not valid JSON or YAML: {reason}."
CONFIG_NO_TABLE: Final = "The file does not hold a table of keys."
CONFIG_TOO_MANY_VALUES: Final = "The file holds more than {limit:,} values."
CONFIG_NO_KEYS: Final = "None of its keys is a key of a training config."
NOT_PYTHON: Final = "Not valid Python: line {line}, {reason}."

# The shape of a model
SHAPE_HINT: Final = "Name a GGUF file, or a folder with the config.json of a decoder-only text model."
NOT_JSON: Final = "Not valid JSON: {reason}."
GGUF_HEADER: Final = "The GGUF header"
NO_SIZE: Final = "{key} is missing."
BAD_SIZE: Final = "{key} must be a whole number from 0 to {most}, not {value}."
NO_SUCH_MODULES: Final = "The model has no linear layer {names}; it has {known}."
USE_ALL_LINEAR: Final = 'Use "all-linear".'

# Lints of training configs
WRITE: Final = "Write {text}."
REMOVE: Final = "Remove it."
ALL_LINEAR: Final = 'Set target_modules="all-linear".'
ATTENTION_ONLY: Final = "Adapters on {modules} only; the MLP gets none."
DEFAULT_TARGETS: Final = "No target modules: PEFT adapts q_proj and v_proj only."
HEAD_ADAPTED: Final = "TRL refuses an adapter on lm_head."
DROP_HEAD: Final = "Remove lm_head from target_modules."
EXPERTS_MISSED: Final = "all-linear does not reach the experts of {model}."
NAME_EXPERTS: Final = "Name the experts in target_parameters."
SWEEP_RATE: Final = "Sweep the learning rate and leave alpha alone."
RSLORA_RATE: Final = "rsLoRA scales by alpha/sqrt(r) = {scale:.3g}, plain LoRA by {plain:.3g}."
TUNE_RATE: Final = "Tune the learning rate again."
INIT_MOVES_BASE: Final = "{method} changes the base."
CONVERT_ADAPTER: Final = "Convert the adapter before you serve it, or use the default initialisation."
DORA_ROUNDS: Final = "DoRA on a 4-bit base loses its updates to rounding."
KEEP_MAGNITUDE: Final = "Keep the magnitude vector in float32, or train plain LoRA."
DROPOUT_HABIT: Final = "Dropout of {dropout} on the adapters has little evidence behind it."
NO_DROPOUT: Final = "Start with 0; add dropout only if the task metric improves."
RATE_OF_FULL: Final = "A learning rate of {rate:g} is too low for adapters."
DEFAULT_RATE: Final = "No learning rate: TRL's default of {rate:g} is for full fine-tuning."
LORA_RATE: Final = "Use about 10 times the rate of full fine-tuning: 1e-4 to 5e-4."
RATE_HIGH: Final = "A learning rate of {rate:g} is above every published fit."
SHORT_RUN: Final = "Check in a short run that the loss stays stable."
BATCH_LARGE: Final = "{n:.0f} rows a step on each device."
SMALLER_BATCH: Final = "Stay below {limit} rows a step."
EPOCHS_FIXED: Final = "{epochs:g} epochs without early stopping."
STOP_EARLY: Final = "Stop early on the task metric of held-out rows."
ADAM_8BIT: Final = "An 8-bit optimiser saves about 6 bytes a trained parameter: 0.5 GiB for 84M."
PLAIN_ADAM: Final = "Use adamw_torch_fused unless memory is that tight."
NOISE_ON: Final = "NEFTune is on; it makes answers longer and did not improve knowledge tasks."
NO_NOISE: Final = "Remove it unless the task metric improves with it."
SAVED_IN_4BIT: Final = "The merged model is saved in 4 bits, which rounds the adapter away."
SAVE_16BIT: Final = 'Set save_method="merged_16bit".'
MERGED_IN_4BIT: Final = "The adapter is merged into a base that was loaded in 4 bits."
LOAD_16BIT: Final = "Load the base in 16 bits, then merge."
RANK_LIMIT: Final = "Rank {rank:g} is above the server's limit of {limit:g}."
RAISE_RANK_LIMIT: Final = "Serve it with --max-lora-rank {rank:g}, or merge it."
REMOTE_CODE: Final = "trust_remote_code runs code from the model's repository."
NO_REMOTE_CODE: Final = "Remove it: the families that transformers knows do not need it."
NO_SUCH_MODEL: Final = "There is no model {model}."
RENAME_MODEL: Final = "Write {model}."
LLAMA_8B: Final = "Write Llama-3.1-8B: Llama 3.3 has no 8B."
IMPORT_ORDER: Final = "unsloth is imported after {names}, so its patches have no effect."
IMPORT_FIRST: Final = "Import unsloth before {names}."
TRL_REMOVED: Final = "SFTTrainer no longer takes {name}=; TRL raises a TypeError."
TRL_TRUNCATES: Final = "No max_length: TRL cuts rows at 1024 tokens."
SET_LENGTH: Final = "Set max_length in SFTConfig."
USER_TURNS: Final = "The user's turns are trained on as well."
MASK_TURNS: Final = "Set assistant_only_loss=True, or use rows of prompt and completion."
PACKING_CUTS: Final = "Packing with {strategy} cuts long rows."
SPLIT_ROWS: Final = 'Drop long rows first, or set packing_strategy="bfd_split".'
END_UNMASKED: Final = "The end of the turn is not trained on."
PADDING_IS_END: Final = "The collator masks padding, and padding is the end of the turn."
OWN_PADDING: Final = "Use a padding token that means nothing else."
FIELD_GONE: Final = "transformers 5 dropped {key}."
LOSS_ALIAS: Final = "chunked_nll is an alias of the default."
LIGER: Final = "use_liger_kernel is deprecated."


def scale_apart(scale: float, rate: float | None) -> str:
    """Say how large the scale alpha/r is, and which rate at scale 1 it amounts to."""
    return f"The scale alpha/r is {scale:g}" + (
        f"; a rate of {rate:g} acts like {rate * scale:.2g} at scale 1." if rate else "."
    )
