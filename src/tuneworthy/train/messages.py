"""Every sentence about training that a person reads."""

from collections.abc import Mapping
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # Configs that `plan --lint` reads
        "config_hint": "Pass a PEFT, TRL, Unsloth or Axolotl config: .json, .yaml, .yml or .py.",
        "config_too_large": "The file is larger than {limit} MiB.",
        "cannot_read": "Cannot read it: {reason}.",
        "not_utf8": "The file is not UTF-8.",
        "config_ending": "Cannot read a .{ending} file.",
        "config_syntax": "Not valid JSON or YAML: {reason}.",
        "config_no_table": "The file does not hold a table of keys.",
        "config_too_many_values": "The file holds more than {limit:,} values.",
        "config_no_keys": "None of its keys is a key of a training config.",
        "not_python": "Not valid Python: line {line}, {reason}.",
        # The base
        "no_base": "The model {spec} is not on this machine.",
        "pull_model": "Run `tuneworthy models pull {spec}`.",
        "set_base": "Set [train] base to a model whose weights are on this machine.",
        "baseline_has_no_weights": "The baseline {name} runs behind a server, so there are no weights to train.",
        "dequantised": "{spec}: {file_type}, converted to bfloat16 once; what quantisation lost stays lost.",
        "rounded": "{spec}: {kinds} weights, rounded to bfloat16.",
        "no_chat_template": "The model in {folder} has no chat template.",
        "add_chat_template": "Train a chat model, or add chat_template.jinja to its folder.",
        "no_end_token": "The model in {folder} has no token that ends a turn.",
        "other_model": "Train another model.",
        "unreadable_gguf": "transformers cannot read {path}: {reason}.",
        "use_safetensors": "Name the model in safetensors instead.",
        "quantised_base": "The weights in {folder} are quantised ({method}); training needs 16-bit weights.",
        "use_16bit": 'Name the model that it was quantised from; method = "qlora" loads it in 4 bits.',
        "raise_length": "Raise [train] max_length.",
        "check_template": "Check the rows and the chat template of [train] base.",
        "no_answers": "there are no answers",
        "nothing_scored": "The first grader scores none of {n} answers ({reason}).",
        "fix_grader": "Fix the first of [[graders]].",
        "some_unscored": "{n} of {of} answers could not be scored and do not count.",
        "rows_lack_variables": "None of {n} rows has the variables of [prompt] in its question.",
        "write_variables": "Write each variable into the question as a line `name: value`, or change [prompt].",
        "some_lack_variables": "Dropped {n} rows whose question lacks variables of [prompt].",
        "failed_gates": "The dataset version {version} was frozen with failed gates.",
        "build_or_unsafe": (
            "Fix the rows and run `tuneworthy data build`, or train with --unsafe, which the adapter records."
        ),
        "no_training_data": "There is neither a frozen dataset nor an examples file to train on.",
        "import_rows": "Run `tuneworthy data import FILE` and `tuneworthy data build`, or set [examples].",
        "not_gated": "Not gated: {n} rows of {path}; {left_out} more are dev or overlap with cases.",
        "judge_does_not_stop": "The first grader is a judge, which would have to be called: no early stopping.",
        "too_few_to_hold_out": "{n} rows are too few to hold any out: no early stopping.",
        "too_few_scorable": "Only {n} rows can be scored: no early stopping.",
        "held_out_unscorable": "{n} of {of} held-out rows cannot be scored; they are neither trained on nor asked.",
        "held_out_twice": "{n} of {of} held-out rows repeat a question; each question is asked once.",
        "rehearsal_starts": "Rehearsal: the base writes {n} rows, beside {n_rows} of the task.",
        "rehearsal_short": "Rehearsal: {n} of {wanted} rows; the base wrote no more questions that end.",
        # Runs
        "no_full_training": "`train` does not train all weights.",
        "use_lora": 'Set [train] method to "lora" or "qlora".',
        "may_not_fit": (
            "Plain batches need {needed:.1f} GiB of {available:.1f}, so the run may be killed; see `tuneworthy plan`."
        ),
        "all_too_long": "All {n} rows are longer than {limit} tokens.",
        "raise_length_or_base": "Raise [train] max_length, or use a base that reads longer texts.",
        "template_refuses_some": "The chat template refuses some of the held-out rows.",
        "rate_tried": "Learning rate {rate:.2g}: loss {loss:.4f} after {steps} steps.",
        "all_diverged": "Training diverges at every learning rate that was tried: {rates}.",
        "lower_rate": "Lower [train] learning_rate.",
        "diverged": "Training diverged at step {step}: loss {loss}, gradient {gradient}, learning rate {rate:g}.",
        "step": "Step {step} of {of}, loss {loss:.3f}, {seconds:.0f} s left.",
        "evaluated": "Step {step}: task metric {metric:.3f} on held-out rows, best {best:.3f}.",
        # Other trainers
        "no_format": "There is no format {form!r}; there are {known}.",
        "uneven_batch": "{n} GPUs cannot share a batch of {batch} rows evenly.",
        "even_batch": "Set [train] batch_size to a multiple of {n}.",
        "axolotl_stops": "Axolotl stops by epochs, not by the task metric.",
        "trl_stops": "TRL stops by loss or epochs, not by the task metric.",
        "unsloth_trains_adapters": "Unsloth trains adapters, not all weights.",
        "write_for_trl": "Use --emit trl.",
        "unsloth_needs_gpu": "Unsloth needs a GPU.",
        "emitted_ungated": (
            "No dataset is frozen yet, so no gate was passed; dev and what overlaps with cases is left out."
        ),
        "base_is_gguf": "{base} is a GGUF file, which other trainers cannot load.",
        "make_folder": "Run `tuneworthy train` once, which converts it to a folder, or name a folder with --base.",
        "no_tokenizer": "The rows need tokenizer.json in {folder}, and transformers.",
        "add_tokenizer": "Add the file, and run `pip install 'tuneworthy[train]'`.",
        "unknown_setting": "There is no training setting {key!r}; a later version may have written it.",
        # The pilot
        "pilot_needs_grader": "The pilot needs a grader that scores without calling a model.",
        "add_grader": "Put such a grader first in [[graders]].",
        "pilot_point": "{size} {side} rows, seed {seed}: {score:.3f} on dev.",
        # Plans
        "this_processor": "this processor ({gflops:.0f} GFLOP/s measured)",
        "no_rows_to_plan": "There are no rows to plan for.",
        "build_or_name_rows": "Run `tuneworthy data build`, or set [examples] in the project file.",
        # Why settings are what they are
        "project_file": "project file",
        "own_trainer": "tuneworthy train",
        "the_rows": "the rows",
        "memory_estimate": "memory estimate",
        "set_by_project": "[train] of the project file sets {value}.",
        "batch_reason": "LoRA tolerates large batches less than full fine-tuning, so below 32; {n} steps an epoch.",
        "dropout_reason": "The evidence for dropout is weak; the recipes of TRL, Unsloth and Thinking Machines use none.",
        "epochs_reason": "At most: training stops when the task metric on held-out examples no longer improves.",
        "rehearsal_reason": "{n} rows that the base writes; without them it unlearns what the task does not need.",
        "no_rehearsal_reason": "`train`, which has the base write rows, trains adapters only.",
        "schedule_reason": "TRL's default, with a short warm-up over 3% of the steps.",
        "lora_reason": "The 16-bit base fits, and an adapter trained on it merges without a change of base.",
        "qlora_reason": (
            "The 16-bit base needs {gib:.1f} GiB, so it is held in 4 bits; the adapter is trained on the rounded weights, and"
            " parity decides after the merge."
        ),
        "alpha_reason": (
            "The scale alpha/r is {scale:g}. With alpha fixed the best learning rate hardly depends on the rank; alpha acts like"
            " the rate, so never compare it alone."
        ),
        "full_rate_reason": "The rate of full fine-tuning in the published fit.",
        "plain_rate_reason": "A start for a family without a fit ({family}): 10 times the rate of full fine-tuning.",
        "checkpointing_reason": "It saves memory that the run needs.",
        "no_checkpointing_reason": "The run fits without it, and no layer is computed twice.",
        "sweep_note": (
            "A sweep of the learning rate (three short runs) gains more than any variant of LoRA: with tuned rates they lie"
            " within 1 to 2% ({source})."
        ),
        "estimated_lengths": "Lengths are estimated from bytes: the tokenizer is missing, or transformers is.",
        "unknown_family": "{family} is estimated as if its layers were Llama's, with twice the band.",
        "text_part_only": "Only the text part of this model is counted; its vision tower comes on top.",
        "large_batch": "A batch of {n} is 32 or more, where LoRA falls behind ({source}).",
        "nothing_frozen": (
            "No dataset is frozen yet, so this plans for the examples file. Run `tuneworthy data build` to freeze one."
        ),
        "all_weights": "all weights",
        "adapter_weights": "{n:.1f}M parameters of adapters",
        "one_row": "one row at a time ({gib:.1f} GiB)",
        "shorter_rows": "rows of at most {n} tokens ({gib:.1f} GiB)",
        "lower_rank": "rank {n} ({gib:.1f} GiB)",
        "other_method": "{method} ({gib:.1f} GiB)",
        "all_together": "all together: {settings} ({gib:.1f} GiB)",
        "nothing_fits": "nothing here: even the smallest run needs {gib:.1f} GiB; use a smaller model",
        "larger_gpu": "the whole run on a larger GPU: {gpu}",
        "smallest_on_larger_gpu": "the smallest run on a larger GPU: {gpu}",
        # The shape of a model
        "shape_hint": "Name a GGUF file, or a folder with the config.json of a decoder-only text model.",
        "not_json": "Not valid JSON: {reason}.",
        "gguf_header": "The GGUF header",
        "no_size": "{key} is missing.",
        "bad_size": "{key} must be a whole number from 0 to {most}, not {value}.",
        "no_such_modules": "The model has no linear layer {names}; it has {existing}.",
        "use_all_linear": 'Use "all-linear".',
        # Lints of training configs
        "write": "Write {text}.",
        "remove": "Remove it.",
        "all_linear": 'Set target_modules="all-linear".',
        "attention_only": "Adapters on {modules} only; the MLP gets none.",
        "default_targets": "No target modules: PEFT adapts q_proj and v_proj only.",
        "head_adapted": "TRL refuses an adapter on lm_head.",
        "drop_head": "Remove lm_head from target_modules.",
        "experts_missed": "all-linear does not reach the experts of {model}.",
        "name_experts": "Name the experts in target_parameters.",
        "sweep_rate": "Sweep the learning rate and leave alpha alone.",
        "rslora_rate": "rsLoRA scales by alpha/sqrt(r) = {scale:.3g}, plain LoRA by {plain:.3g}.",
        "tune_rate": "Tune the learning rate again.",
        "init_moves_base": "{method} changes the base.",
        "convert_adapter": "Convert the adapter before you serve it, or use the default initialisation.",
        "dora_rounds": "DoRA on a 4-bit base loses its updates to rounding.",
        "keep_magnitude": "Keep the magnitude vector in float32, or train plain LoRA.",
        "dropout_habit": "Dropout of {dropout} on the adapters has little evidence behind it.",
        "no_dropout": "Start with 0; add dropout only if the task metric improves.",
        "rate_of_full": "A learning rate of {rate:g} is too low for adapters.",
        "default_rate": "No learning rate: TRL's default of {rate:g} is for full fine-tuning.",
        "lora_rate": "Use about 10 times the rate of full fine-tuning: 1e-4 to 5e-4.",
        "rate_high": "A learning rate of {rate:g} is above every published fit.",
        "short_run": "Check in a short run that the loss stays stable.",
        "batch_large": "{n:.0f} rows a step on each device.",
        "smaller_batch": "Stay below {limit} rows a step.",
        "epochs_fixed": "{epochs:g} epochs without early stopping.",
        "stop_early": "Stop early on the task metric of held-out rows.",
        "adam_8bit": "An 8-bit optimiser saves about 6 bytes a trained parameter: 0.5 GiB for 84M.",
        "plain_adam": "Use adamw_torch_fused unless memory is that tight.",
        "noise_on": "NEFTune is on; it makes answers longer and did not improve knowledge tasks.",
        "no_noise": "Remove it unless the task metric improves with it.",
        "saved_in_4bit": "The merged model is saved in 4 bits, which rounds the adapter away.",
        "save_16bit": 'Set save_method="merged_16bit".',
        "merged_in_4bit": "The adapter is merged into a base that was loaded in 4 bits.",
        "load_16bit": "Load the base in 16 bits, then merge.",
        "rank_limit": "Rank {rank:g} is above the server's limit of {limit:g}.",
        "raise_rank_limit": "Serve it with --max-lora-rank {rank:g}, or merge it.",
        "remote_code": "trust_remote_code runs code from the model's repository.",
        "no_remote_code": "Remove it: the families that transformers knows do not need it.",
        "no_such_model": "There is no model {model}.",
        "rename_model": "Write {model}.",
        "llama_8b": "Write Llama-3.1-8B: Llama 3.3 has no 8B.",
        "import_order": "unsloth is imported after {names}, so its patches have no effect.",
        "import_first": "Import unsloth before {names}.",
        "trl_removed": "SFTTrainer no longer takes {name}=; TRL raises a TypeError.",
        "trl_truncates": "No max_length: TRL cuts rows at 1024 tokens.",
        "set_length": "Set max_length in SFTConfig.",
        "user_turns": "The user's turns are trained on as well.",
        "mask_turns": "Set assistant_only_loss=True, or use rows of prompt and completion.",
        "packing_cuts": "Packing with {strategy} cuts long rows.",
        "split_rows": 'Drop long rows first, or set packing_strategy="bfd_split".',
        "end_unmasked": "The end of the turn is not trained on.",
        "padding_is_end": "The collator masks padding, and padding is the end of the turn.",
        "own_padding": "Use a padding token that means nothing else.",
        "field_gone": "transformers 5 dropped {key}.",
        "loss_alias": "chunked_nll is an alias of the default.",
        "liger": "use_liger_kernel is deprecated.",
        # batch sizes
        "batch_not_multiple": "batch_size ({batch}) is not a multiple of micro_batch_size ({micro}).",
        "change_batch": "Change one of them.",
    }
).say


# Rows
LEFT_OUT_REASONS: Final[Mapping[str, str]] = {
    "too_long": "longer than max_length",
    "refused": "the chat template refuses it",
    "no_answer": "it does not end with an answer of the assistant",
    "control_tokens": "its text holds control tokens of the model",
    "prompt_differs": "the prompt alone is rendered differently than with its answer",
    "no_end": "nothing ends the answer, so the model would not learn to stop",
}


def no_rows(n: int, reasons: Mapping[str, int]) -> str:
    """Say why no row is left to train on."""
    why = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "there are no rows"
    return f"None of {n} rows can be trained on: {why}."


def memory_after(sentence: str, *, shared: bool) -> str:
    """Compare the memory of a run with its estimate."""
    if not sentence:
        return "Memory was not compared with the estimate: this process had used as much before."
    why = "; the estimate is for plain padded batches, and these rows shared their beginning" if shared else ""
    return f"{sentence}{why}."


def emitted_rows(n: int, *, rehearsal: bool) -> str:
    """Say which rows are written for another trainer."""
    without = "" if rehearsal else ", without those of rehearsal, which the base writes when it runs"
    return f"The {n} rows are those that `tuneworthy train` trains on{without}."


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
# Part of the peak to what it is.
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


def reconciliation(measured: float, estimated: float, low: float, high: float, error: float, *, inside: bool) -> str:
    """Compare a measured peak with the estimate and its band; memory in GiB."""
    where = "inside" if inside else "outside"
    return (
        f"Memory: {measured:.2f} GiB measured, {estimated:.2f} estimated ({error:+.0%}), {where} the band {low:.2f} to"
        f" {high:.2f}"
    )


def scale_apart(scale: float, rate: float | None) -> str:
    """Say how large the scale alpha/r is, and which rate at scale 1 it amounts to."""
    return f"The scale alpha/r is {scale:g}" + (
        f"; a rate of {rate:g} acts like {rate * scale:.2g} at scale 1." if rate else "."
    )
