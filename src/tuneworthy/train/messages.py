"""Every sentence about training that a person reads."""

from __future__ import annotations

from collections.abc import Mapping
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

# The base
NO_BASE: Final = "The model {spec} is not on this machine."
PULL_MODEL: Final = "Run `tuneworthy models pull {spec}`."
SET_BASE: Final = "Set [train] base to a model whose weights are on this machine."
BASELINE_HAS_NO_WEIGHTS: Final = "The baseline {name} runs behind a server, so there are no weights to train."
DEQUANTISED: Final = "{spec}: {file_type}, converted to bfloat16 once; what quantisation lost stays lost."
ROUNDED: Final = "{spec}: {kinds} weights, rounded to bfloat16."
NO_CHAT_TEMPLATE: Final = "The model in {folder} has no chat template."
ADD_CHAT_TEMPLATE: Final = "Train a chat model, or add chat_template.jinja to its folder."
NO_END_TOKEN: Final = "The model in {folder} has no token that ends a turn."
OTHER_MODEL: Final = "Train another model."
UNREADABLE_GGUF: Final = "transformers cannot read {path}: {reason}."
USE_SAFETENSORS: Final = "Name the model in safetensors instead."
QUANTISED_BASE: Final = "The weights in {folder} are quantised ({method}); training needs 16-bit weights."
USE_16BIT: Final = 'Name the model that it was quantised from; method = "qlora" loads it in 4 bits.'

# Rows
LEFT_OUT_REASONS: Final[Mapping[str, str]] = {
    "too_long": "longer than max_length",
    "refused": "the chat template refuses it",
    "no_answer": "it does not end with an answer of the assistant",
    "control_tokens": "its text holds control tokens of the model",
    "prompt_differs": "the prompt alone is rendered differently than with its answer",
    "no_end": "nothing ends the answer, so the model would not learn to stop",
}
RAISE_LENGTH: Final = "Raise [train] max_length."
CHECK_TEMPLATE: Final = "Check the rows and the chat template of [train] base."
NO_ANSWERS: Final = "there are no answers"
NOTHING_SCORED: Final = "The first grader scores none of {n} answers ({reason})."
FIX_GRADER: Final = "Fix the first of [[graders]]."
SOME_UNSCORED: Final = "{n} of {of} answers could not be scored and do not count."
ROWS_LACK_VARIABLES: Final = "None of {n} rows has the variables of [prompt] in its question."
WRITE_VARIABLES: Final = "Write each variable into the question as a line `name: value`, or change [prompt]."
SOME_LACK_VARIABLES: Final = "Dropped {n} rows whose question lacks variables of [prompt]."
FAILED_GATES: Final = "The dataset version {version} was frozen with failed gates."
BUILD_OR_UNSAFE: Final = (
    "Fix the rows and run `tuneworthy data build`, or train with --unsafe, which the adapter records."
)
NO_TRAINING_DATA: Final = "There is neither a frozen dataset nor an examples file to train on."
IMPORT_ROWS: Final = "Run `tuneworthy data import FILE` and `tuneworthy data build`, or set [examples]."
NOT_GATED: Final = "Not gated: {n} rows of {path}; {left_out} more are dev or overlap with cases."
JUDGE_DOES_NOT_STOP: Final = "The first grader is a judge, which would have to be called: no early stopping."
TOO_FEW_TO_HOLD_OUT: Final = "{n} rows are too few to hold any out: no early stopping."
TOO_FEW_SCORABLE: Final = "Only {n} rows can be scored: no early stopping."
HELD_OUT_UNSCORABLE: Final = "{n} of {of} held-out rows cannot be scored; they are neither trained on nor asked."
HELD_OUT_TWICE: Final = "{n} of {of} held-out rows repeat a question; each question is asked once."
REHEARSAL_STARTS: Final = "Rehearsal: the base writes {n} rows, beside {n_rows} of the task."
REHEARSAL_SHORT: Final = "Rehearsal: {n} of {wanted} rows; the base wrote no more questions that end."


def no_rows(n: int, reasons: Mapping[str, int]) -> str:
    """Say why no row is left to train on."""
    why = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "there are no rows"
    return f"None of {n} rows can be trained on: {why}."


# Runs
NO_FULL_TRAINING: Final = "`train` does not train all weights."
USE_LORA: Final = 'Set [train] method to "lora" or "qlora".'
MAY_NOT_FIT: Final = (
    "Plain batches need {needed:.1f} GiB of {available:.1f}, so the run may be killed; see `tuneworthy plan`."
)
ALL_TOO_LONG: Final = "All {n} rows are longer than {limit} tokens."
RAISE_LENGTH_OR_BASE: Final = "Raise [train] max_length, or use a base that reads longer texts."
TEMPLATE_REFUSES_SOME: Final = "The chat template refuses some of the held-out rows."
RATE_TRIED: Final = "Learning rate {rate:.2g}: loss {loss:.4f} after {steps} steps."
ALL_DIVERGED: Final = "Training diverges at every learning rate that was tried: {rates}."
LOWER_RATE: Final = "Lower [train] learning_rate."
DIVERGED: Final = "Training diverged at step {step}: loss {loss}, gradient {gradient}, learning rate {rate:g}."
STEP: Final = "Step {step} of {of}, loss {loss:.3f}, {seconds:.0f} s left."
EVALUATED: Final = "Step {step}: task metric {metric:.3f} on held-out rows, best {best:.3f}."


def memory_after(sentence: str, *, shared: bool) -> str:
    """Compare the memory of a run with its estimate."""
    if not sentence:
        return "Memory was not compared with the estimate: this process had used as much before."
    why = "; the estimate is for plain padded batches, and these rows shared their beginning" if shared else ""
    return f"{sentence}{why}."


# Other trainers
NO_FORMAT: Final = "There is no format {form!r}; there are {known}."
UNEVEN_BATCH: Final = "{n} GPUs cannot share a batch of {batch} rows evenly."
EVEN_BATCH: Final = "Set [train] batch_size to a multiple of {n}."
AXOLOTL_STOPS: Final = "Axolotl stops by epochs, not by the task metric."
TRL_STOPS: Final = "TRL stops by loss or epochs, not by the task metric."
UNSLOTH_TRAINS_ADAPTERS: Final = "Unsloth trains adapters, not all weights."
WRITE_FOR_TRL: Final = "Use --emit trl."
UNSLOTH_NEEDS_GPU: Final = "Unsloth needs a GPU."
EMITTED_UNGATED: Final = (
    "No dataset is frozen yet, so no gate was passed; dev and what overlaps with cases is left out."
)
BASE_IS_GGUF: Final = "{base} is a GGUF file, which other trainers cannot load."
MAKE_FOLDER: Final = "Run `tuneworthy train` once, which converts it to a folder, or name a folder with --base."
NO_TOKENIZER: Final = "The rows need tokenizer.json in {folder}, and transformers."
ADD_TOKENIZER: Final = "Add the file, and run `pip install 'tuneworthy[train]'`."
UNKNOWN_SETTING: Final = "There is no training setting {key!r}; a later version may have written it."


def emitted_rows(n: int, *, rehearsal: bool) -> str:
    """Say which rows are written for another trainer."""
    without = "" if rehearsal else ", without those of rehearsal, which the base writes when it runs"
    return f"The {n} rows are those that `tuneworthy train` trains on{without}."


# The pilot
PILOT_NEEDS_GRADER: Final = "The pilot needs a grader that scores without calling a model."
ADD_GRADER: Final = "Put such a grader first in [[graders]]."
PILOT_POINT: Final = "{size} {side} rows, seed {seed}: {score:.3f} on dev."

# Plans
THIS_PROCESSOR: Final = "this processor ({gflops:.0f} GFLOP/s measured)"
NO_ROWS_TO_PLAN: Final = "There are no rows to plan for."
BUILD_OR_NAME_ROWS: Final = "Run `tuneworthy data build`, or set [examples] in the project file."

# Why settings are what they are
PROJECT_FILE: Final = "project file"
OWN_TRAINER: Final = "tuneworthy train"
THE_ROWS: Final = "the rows"
MEMORY_ESTIMATE: Final = "memory estimate"
SET_BY_PROJECT: Final = "[train] of the project file sets {value}."
BATCH_REASON: Final = "LoRA tolerates large batches less than full fine-tuning, so below 32; {n} steps an epoch."
DROPOUT_REASON: Final = "The evidence for dropout is weak; the recipes of TRL, Unsloth and Thinking Machines use none."
EPOCHS_REASON: Final = "At most: training stops when the task metric on held-out examples no longer improves."
REHEARSAL_REASON: Final = "{n} rows that the base writes; without them it unlearns what the task does not need."
NO_REHEARSAL_REASON: Final = "`train`, which has the base write rows, trains adapters only."
SCHEDULE_REASON: Final = "TRL's default, with a short warm-up over 3% of the steps."
LORA_REASON: Final = "The 16-bit base fits, and an adapter trained on it merges without a change of base."
QLORA_REASON: Final = (
    "The 16-bit base needs {gib:.1f} GiB, so it is held in 4 bits; the adapter is trained on the rounded weights, and"
    " parity decides after the merge."
)
ALPHA_REASON: Final = (
    "The scale alpha/r is {scale:g}. With alpha fixed the best learning rate hardly depends on the rank; alpha acts like"
    " the rate, so never compare it alone."
)
FULL_RATE_REASON: Final = "The rate of full fine-tuning in the published fit."
PLAIN_RATE_REASON: Final = "A start for a family without a fit ({family}): 10 times the rate of full fine-tuning."
CHECKPOINTING_REASON: Final = "It saves memory that the run needs."
NO_CHECKPOINTING_REASON: Final = "The run fits without it, and no layer is computed twice."
SWEEP_NOTE: Final = (
    "A sweep of the learning rate (three short runs) gains more than any variant of LoRA: with tuned rates they lie"
    " within 1 to 2% ({source})."
)
ESTIMATED_LENGTHS: Final = "Lengths are estimated from bytes: the tokenizer is missing, or transformers is."
UNKNOWN_FAMILY: Final = "{family} is estimated as if its layers were Llama's, with twice the band."
TEXT_PART_ONLY: Final = "Only the text part of this model is counted; its vision tower comes on top."
LARGE_BATCH: Final = "A batch of {n} is 32 or more, where LoRA falls behind ({source})."
NOTHING_FROZEN: Final = (
    "No dataset is frozen yet, so this plans for the examples file. Run `tuneworthy data build` to freeze one."
)


def dtype_reason(*, has_bf16: bool) -> str:
    """Say whether the device computes in bfloat16."""
    return "This device computes in bfloat16." if has_bf16 else "This device does not compute in bfloat16."


def targets_reason(n_experts: int, mlp_share: float) -> str:
    """Say what adapters on all linear layers reach."""
    if n_experts:
        return f"all-linear does not reach the {n_experts} experts: name them in target_parameters."
    return f"The MLP holds {mlp_share:.0%} of the linear weights; attention alone loses even at equal parameters."


def length_reason(longest: int, median: int, p99: int, length: int, *, counted: bool) -> str:
    """Say how long the rows are, which of them are dropped, and what TRL's default would cut."""
    how = "counted by the model's tokenizer" if counted else "estimated from bytes"
    dropped = "none is dropped" if length >= longest else f"rows above {length} (p99 is {p99}) are dropped"
    default = "; TRL's default of 1024 would cut" if length > 1024 else ""
    return f"The longest row has {longest} tokens ({how}), half have at most {median}; {dropped}{default}."


def rank_reason(n: int, share: float, supervised: int) -> str:
    """Compare the parameters of the adapters with the tokens that they learn from."""
    binds = "capacity does not bind" if n >= supervised else "more tokens than the largest advised adapter can hold"
    return f"{n / 1e6:.1f}M parameters ({share:.1%} of the model) for {supervised} supervised tokens: {binds}."


def rate_reason(formula: str, times: int, capped: float | None, steps: int | None) -> str:
    """Say how the learning rate follows from the fit."""
    cap = f", capped at {capped:g} because the fit was not made for so small a model" if capped else ""
    short = f" for a run of {steps} steps" if steps is not None else ""
    return f"{formula}{cap}; {times} times the rate of full fine-tuning{short}."


def micro_batch_reason(needed: float, most: float, available: float, accumulated: int, *, fits: bool) -> str:
    """Say how much of the memory the largest batch takes; memory in GiB."""
    rows = "The most rows at once that fit" if fits else "Even one row does not fit"
    return f"{rows}: {needed:.1f} GiB (at most {most:.1f}) of {available:.1f}; {accumulated} accumulated to a step."


# Memory
PARTS: Final[Mapping[str, str]] = {
    "weights": "{n:.3f}B weights of {bytes} bytes",
    "weights_nf4": "linear layers, {bits:.3f} bits a weight",
    "weights_rest": "embeddings, output head and norms, {bytes} bytes a weight",
    "adapters": "{what}, {bytes} bytes each",
    "copies": "16-bit copies of trained weights, for the products",
    "optimizer": "two moments of {what}, {bytes} bytes together",
    "gradients": "of {what}",
    "checkpoints": "inputs of all layers",
    "live_layer": "backward pass of one layer",
    "activations": "what {n} layers store for the backward pass",
    "logits": "the output head, one tile at a time, with its gradient",
    "fixed": "libraries, context and fragmentation",
}
"""Part of the peak to what it is."""
ALL_WEIGHTS: Final = "all weights"
ADAPTER_WEIGHTS: Final = "{n:.1f}M parameters of adapters"
ONE_ROW: Final = "one row at a time ({gib:.1f} GiB)"
SHORTER_ROWS: Final = "rows of at most {n} tokens ({gib:.1f} GiB)"
LOWER_RANK: Final = "rank {n} ({gib:.1f} GiB)"
OTHER_METHOD: Final = "{method} ({gib:.1f} GiB)"
ALL_TOGETHER: Final = "all together: {settings} ({gib:.1f} GiB)"
NOTHING_FITS: Final = "nothing here: even the smallest run needs {gib:.1f} GiB; use a smaller model"
LARGER_GPU: Final = "the whole run on a larger GPU: {gpu}"
SMALLEST_ON_LARGER_GPU: Final = "the smallest run on a larger GPU: {gpu}"


def reconciliation(measured: float, estimated: float, low: float, high: float, error: float, *, inside: bool) -> str:
    """Compare a measured peak with the estimate and its band; memory in GiB."""
    where = "inside" if inside else "outside"
    return (
        f"Memory: {measured:.2f} GiB measured, {estimated:.2f} estimated ({error:+.0%}), {where} the band {low:.2f} to"
        f" {high:.2f}"
    )


# The shape of a model
SHAPE_HINT: Final = "Name a GGUF file, or a folder with the config.json of a decoder-only text model."
NOT_JSON: Final = "Not valid JSON: {reason}."
GGUF_HEADER: Final = "The GGUF header"
NO_SIZE: Final = "{key} is missing."
BAD_SIZE: Final = "{key} must be a whole number from 0 to {most}, not {value}."
NO_SUCH_MODULES: Final = "The model has no linear layer {names}; it has {existing}."
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


# batch sizes
BATCH_NOT_MULTIPLE: Final = "batch_size ({batch}) is not a multiple of micro_batch_size ({micro})."
CHANGE_BATCH: Final = "Change one of them."
