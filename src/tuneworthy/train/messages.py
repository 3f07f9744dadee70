"""Every sentence about training that a person reads."""

from collections.abc import Mapping
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        "no_rows": "No row can be trained on (rows read: {n}). Dropped: {why}.",
        "no_row": "There are no rows to train on.",
        # Training at a vendor
        "no_hosted_base": "No model to train at {vendor} is named.",
        "give_hosted_base": "Pass --base MODEL, as the vendor names it.",
        "hosted_data_stays": "constraints.data_stays is set, so no row may be sent to {vendor}.",
        "train_here": "Run `tuneworthy train` without --on, or change the constraint.",
        "no_training_price": "The price of training {base} at {vendor} is unknown.",
        "give_training_price": "Read it on the vendor's price page and pass --usd-per-mtok.",
        "hosted_too_few": "{vendor} needs at least {least} rows, but the data has {n}.",
        "add_rows": "Add rows and run `tuneworthy data build`.",
        "hosted_too_large": "The rows exceed the largest file that {vendor} accepts ({mib} MiB).",
        "fewer_rows": "Drop rows and run `tuneworthy data build`.",
        "rows_masked": "Rows with personal data, which is masked before they are sent: {n}.",
        "rows_with_personal_data": "Rows with personal data, which are not sent: {n}.",
        "hosted_terms": (
            "A teacher wrote rows. Check that its terms allow training a model of {vendor} on them: {reason}."
        ),
        "no_account": "{vendor} needs the ID of your account.",
        "export_account": "Set it: `export {variable}=...`.",
        "vendor_fault": "{vendor}: {reason}.",
        "vendor_key": "Check the key in the environment variable {variable}.",
        "vendor_quota": "Check your quota and your balance at the vendor, then run the command again to resume.",
        "vendor_resume": "Run the command again to resume; nothing is started twice.",
        "vendor_refuses": "Fix the reported problem, then run the command again.",
        "endless_list": "a list without an end",
        "file_refused": "{vendor} refuses the file {file}: {reason}.",
        "fix_rows": "Correct the rows and run `tuneworthy data build`.",
        "job_started": "{vendor} started the job {job}.",
        "job_state": "{time:%H:%M} {vendor}, {what}: {state}",
        "no_model_name": "{vendor} reports the job {job} as finished but does not name the model.",
        "unknown_state": "{vendor} reports the job {job} in the unknown state {state!r}.",
        "look_at_vendor": "Check the job on the vendor's page, then run the command again to resume.",
        "job_failed": "The job {job} failed at {vendor}: {reason}.",
        "fix_and_start": "Fix the reported problem. Running the command again then starts a new job, which is billed.",
        "start_again": "Running the command again starts a new job, which is billed.",
        "job_cancelled": "The job {job} was cancelled at {vendor}.",
        # Configs that `plan --lint` reads
        "config_hint": "Pass a PEFT, TRL, Unsloth or Axolotl config: .json, .yaml, .yml or .py.",
        "config_too_large": "The file is larger than {limit} MiB.",
        "cannot_read": "Cannot read the file: {reason}.",
        "not_utf8": "The file is not UTF-8.",
        "config_ending": "This file type is not supported.",
        "config_syntax": "Not valid JSON or YAML: {reason}.",
        "config_no_table": "The file does not contain a mapping of keys to values.",
        "config_no_keys": "The file contains no training config keys.",
        "not_python": "Not valid Python (line {line}): {reason}.",
        # The base
        "no_base": "The weights of the model {spec} are not on this machine.",
        "pull_model": "Run `tuneworthy models pull {spec}`.",
        "set_base": "Set [train] base to a model whose weights are on this machine.",
        "baseline_has_no_weights": (
            "The baseline model {name} does not use the provider llama_cpp, so tuneworthy has no weights to train."
        ),
        "dequantised": (
            "{spec}: converting {file_type} weights to bfloat16. Any precision lost to quantisation cannot be "
            "recovered."
        ),
        "rounded": "{spec}: rounded {kinds} weights to bfloat16.",
        "no_chat_template": "The model in {folder} has no chat template.",
        "add_chat_template": "Train a chat model, or add chat_template.jinja to the model folder.",
        "no_end_token": "The model in {folder} has no end-of-turn token.",
        "other_model": "Train a different model.",
        "unreadable_gguf": "The package transformers cannot read {path}: {reason}.",
        "use_safetensors": "Use a safetensors version of the model.",
        "quantised_base": "The weights in {folder} are quantised ({method}), but training needs 16-bit weights.",
        "use_16bit": 'Use the original 16-bit model. With method = "qlora", `train` loads it in 4-bit.',
        "raise_length": "Raise [train] max_length.",
        "check_template": "Check the rows and the chat template of [train] base.",
        "no_answers": "there are no answers",
        "nothing_scored": "The first grader could not score any of the {n} answers ({reason}).",
        "fix_grader": "Fix the first grader in [[graders]].",
        "some_unscored": "{n} of {of} answers could not be scored and {n:is|are} excluded.",
        "rows_lack_variables": "None of the {n} rows has the variables of [prompt] in its question.",
        "write_variables": (
            "In each question, write every variable on its own line as `name: value`, or change [prompt]."
        ),
        "some_lack_variables": "Rows dropped because their question lacks variables of [prompt]: {n}.",
        "failed_gates": "Version {version} of the dataset was frozen with failed gates.",
        "build_or_unsafe": "Fix the rows and run `tuneworthy data build`, or pass --unsafe, which the adapter records.",
        "no_training_data": "There is neither a frozen dataset nor an examples file to train on.",
        "import_rows": "Run `tuneworthy data import FILE` and `tuneworthy data build`, or set [examples].",
        "not_gated": (
            "Training uses {n} rows of {path}, which have not passed the data gates. Rows excluded because they are in "
            "dev or overlap with cases: {left_out}."
        ),
        # Pairs
        "pairs_alone": "Rows that are pairs, and are trained on: {n} of {of}.",
        "no_pairs": "None of the {n} training rows has a worse answer beside its own, so there are no pairs.",
        "make_pairs": (
            "Import pairs, corrections or ratings, or draw several answers with `tuneworthy data distill` and "
            "samples in [teacher]. Then run `tuneworthy data build`."
        ),
        "other_start": "The adapter {adapter} was not trained on this base model in 16 bits.",
        "choose_start": 'Name another adapter in [train] start, or "base".',
        "answers_only": (
            "The pilot, the check of the learning rate and jobs at vendors train on answers, not on pairs."
        ),
        "no_pair_script": "There is no script of another trainer for pairs.",
        "export_pairs": "Run `tuneworthy data export --format preference` for TRL's DPOTrainer.",
        "continued_reason": "As in adapter {adapter}, which training starts from.",
        "adapter_source": "adapter",
        "beta_reason": "TRL's default. A higher value keeps the model closer to where it started.",
        "pairs_rate": "Divided by {times}, as in Zephyr's recipes, because pairs need a lower learning rate.",
        "judge_does_not_stop": "No early stopping: the first grader is a judge, which would need model calls.",
        "too_few_to_hold_out": (
            "{n} training {n:row is|rows are} too few to hold any out (at least {least} needed). Training therefore "
            "cannot stop early: it runs to the last epoch, and no held-out score shows whether the adapter overfits. "
            "Import more rows, or compare the adapter on dev with `tuneworthy run`."
        ),
        "too_few_scorable": "No early stopping: too few held-out rows can be scored ({n}).",
        "held_out_unscorable": (
            "{n} of {of} held-out rows cannot be scored and {n:is|are} used for neither training nor early stopping."
        ),
        "held_out_twice": (
            "{n} of {of} held-out rows {n:repeats|repeat} the question of another row. Each question is evaluated once."
        ),
        "rehearsal_starts": (
            "Rehearsal: the base model generates {n} rows of its own, which are added to the {n_rows} task rows so "
            "that it forgets less."
        ),
        "generated": "{what}: {n} of {of}, {seconds:.0f} s left.",
        "rehearsal_short": (
            "Rehearsal: only {n} of {wanted} rows, because the base model generated no more complete questions."
        ),
        # Runs
        "use_lora": 'Set [train] method to "lora", "qlora" or "full".',
        "may_not_fit": (
            "Padded batches may need up to {needed:.1f} GiB, but only {available:.1f} GiB is available, so the run may "
            "be killed. Run `tuneworthy plan` to see which settings fit."
        ),
        "all_too_long": "No row is left to train on, because the limit is {limit} tokens. Rows dropped: {n}.",
        "raise_length_or_base": "Raise [train] max_length, or use a base model with a longer context.",
        "template_refuses_some": "The chat template rejects some of the held-out rows.",
        "rate_tried": "Learning rate {rate:.2g}: mean loss of {loss:.4f} over the last quarter of {steps} steps.",
        "all_diverged": "Training diverges at every learning rate tried: {rates}.",
        "lower_rate": "Lower [train] learning_rate.",
        "diverged": "Training diverged at step {step}: loss {loss}, gradient norm {gradient}, learning rate {rate:g}.",
        "step": "Step {step} of {of}, loss {loss:.3f}, {seconds:.0f} s left.",
        "evaluated": "Step {step}: the task metric on held-out rows is {metric:.1%} (best so far: {best:.1%}).",
        # Classifiers
        "classifier_only_trains": "There is no pilot and no check of the learning rate for a classifier.",
        "no_labels": "A classifier chooses one of a few labels, but the answers of this task are not labels: {reason}.",
        "labels_without_rows": (
            "The classifier could never answer {n} of the labels that cases expect, because no row has "
            "{n:it|them}: {names}."
        ),
        "add_label_rows": (
            "Import rows with these labels and run `tuneworthy data build`, or pass --unsafe, which the classifier "
            "records."
        ),
        "one_label": "The rows have {n} {n:label|labels}, but a classifier needs at least two.",
        "no_encoder": "The model {spec} cannot be trained as a classifier: {reason}.",
        "no_vocabulary": "the file vocab.txt is missing",
        "other_architecture": "it is not a BERT encoder ({kind})",
        "cased": "its tokenizer keeps the case of letters",
        "name_encoder": (
            "Remove [train] base to use all-MiniLM-L6-v2, or set it to an uncased BERT encoder, such as "
            "hf:BAAI/bge-small-en-v1.5."
        ),
        "encoder_size": "{n:.1f}M parameters",
        "small_encoder_rate": (
            "Small encoders ({size}) need a higher learning rate than BERT-base. Published runs search 3e-5 to 3e-4."
        ),
        "large_encoder_rate": "Published runs of encoders of this size ({size}) search 2e-5 to 5e-5.",
        "encoder_epochs": (
            "{n} rows take {steps} steps. Short runs are unstable on few rows, so they get more epochs. The epoch with "
            "the best score on held-out rows is kept."
        ),
        "encoder_batch": "Published runs use 16 or 32 rows.",
        "encoder_dropout": "The rate that BERT was pretrained with.",
        "encoder_length": (
            "The longest row has {longest} word pieces, and the encoder reads at most {most}. Longer texts are "
            "truncated, in training and when the classifier answers."
        ),
        "stored_differs": (
            "The stored classifier does not reproduce the trained one: its logits differ by up to {difference:.2g}, "
            "but rounding explains at most {limit:g}."
        ),
        "report_fault": "This is a bug in tuneworthy. Report it with the versions that `pip list` prints.",
        "not_calibrated": "Without held-out rows, the probabilities of the classifier are not calibrated.",
        # Other trainers
        "uneven_batch": "{n} GPUs cannot split a batch of {batch} rows evenly.",
        "even_batch": "Set [train] batch_size to a multiple of {n}.",
        "axolotl_stops": "Axolotl stops after a fixed number of epochs, not on the task metric.",
        "grpo_rewards": (
            "The reward is the first grader of the project, so the script needs tuneworthy and the project folder. It "
            "stops after one pass over the prompts, not on the task metric."
        ),
        "judge_rewards": "The first grader is a judge, so each of the many answers of GRPO would be a model call.",
        "emitted_prompts": "The file of rows has {n} prompts, of the training rows that the first grader can score.",
        "trl_stops": "TRL stops early on the loss or after a fixed number of epochs, not on the task metric.",
        "unsloth_trains_adapters": "The Unsloth script trains adapters only, not all weights.",
        "write_for_trl": "Pass --emit trl.",
        "unsloth_needs_gpu": "Unsloth needs a GPU.",
        "emitted_ungated": (
            "No dataset is frozen yet, so the rows have not passed the data gates. Rows that are in dev or overlap "
            "with cases are left out."
        ),
        "base_is_gguf": "{base} is a GGUF file, which other trainers cannot load.",
        "make_folder": (
            "Run `tuneworthy train` once to convert the file to a model folder, or pass a model folder with --base."
        ),
        "no_tokenizer": "Rendering the rows needs the package transformers and the file {folder}/tokenizer.json.",
        "add_tokenizer": 'Add the file if it is missing, and run `pip install "tuneworthy[train]"`.',
        "unknown_setting": (
            "Unknown training setting {key!r}. If a later version of tuneworthy wrote it, upgrade tuneworthy."
        ),
        # The pilot
        "pilot_needs_grader": "The pilot needs enough held-out rows that a grader can score without calling a model.",
        "add_grader": "If the first of [[graders]] is a judge, put another grader first. Otherwise, import more rows.",
        "raw_as_built": (
            "The checks dropped only {n} of {of} rows. The raw rows are nearly the built ones, so they are not trained "
            "on."
        ),
        "pilot_trains": "Pilot: training {number} of {of} ({size} {side} rows, seed {seed}).",
        "pilot_point": "{size} {side} rows, seed {seed}: dev score {score:.1%}.",
        # Plans
        "this_processor": "this CPU ({gflops:.0f} GFLOP/s measured)",
        "no_rows_to_plan": "There are no training rows to plan for.",
        "build_or_name_rows": "Run `tuneworthy data build`, or set [examples] in the project file.",
        # Why settings are what they are
        "project_file": "project file",
        "the_rows": "the rows",
        "memory_estimate": "memory estimate",
        "set_by_project": "Set to {value} by [train] in the project file.",
        "batch_reason": (
            "LoRA tolerates large batches less well than full fine-tuning, so the batch size stays below 32. Steps per "
            "epoch: {n}."
        ),
        "dropout_reason": (
            "There is little evidence that adapter dropout helps. The recipes from TRL, Unsloth and Thinking Machines "
            "omit it."
        ),
        "epochs_reason": "An upper limit: training stops when the task metric on held-out rows no longer improves.",
        "rehearsal_reason": (
            "The base model generates {n} rows. Without them, the model forgets skills that the task does not use."
        ),
        "schedule_reason": "TRL's default, with a short warm-up over 3% of the steps.",
        "lora_reason": (
            "QLoRA is needed only if the 16-bit base model does not fit in GPU memory. With LoRA, the adapter merges "
            "into the same weights it was trained on."
        ),
        "qlora_reason": (
            "With a 16-bit base model, even one row at a time may need up to {gib:.1f} GiB, so the model is loaded in "
            "4-bit. The adapter is trained on quantised weights, so check parity after the merge."
        ),
        "alpha_reason": (
            "The scale alpha/r is {scale:g}. With alpha fixed, the best learning rate hardly depends on the rank. A "
            "higher alpha acts like a higher learning rate, so never compare alphas at a single learning rate."
        ),
        "plain_rate_reason": (
            "A starting point, because there is no published fit for {family}: 2e-5 is a common learning rate for full "
            "fine-tuning, and adapters need 10 times as much."
        ),
        "checkpointing_reason": "The run needs the memory that gradient checkpointing saves.",
        "no_checkpointing_reason": "The run fits without gradient checkpointing, so no layer is computed twice.",
        "sweep_note": (
            "A learning-rate sweep (three short runs) gains more than any LoRA variant. With tuned rates, the scores "
            "of all variants are within 1 to 2% of each other ({source})."
        ),
        "estimated_lengths": (
            "Token counts are estimated from byte lengths, because the tokenizer or the package transformers is "
            "missing."
        ),
        "unknown_family": "The memory estimate treats {family} like Llama and doubles the uncertainty band.",
        "text_part_only": "The estimate covers only the text part of this model. The vision tower needs extra memory.",
        "large_batch": "The batch size is {n}. LoRA falls behind full fine-tuning at 32 or more ({source}).",
        "nothing_frozen": (
            "No dataset is frozen yet, so this plan uses the examples file. Run `tuneworthy data build` to freeze one."
        ),
        "all_weights": "all weights",
        "adapter_weights": "{n:.1f}M adapter parameters",
        "one_row": "one row at a time ({gib:.1f} GiB)",
        "shorter_rows": "rows of at most {n} tokens ({gib:.1f} GiB)",
        "lower_rank": "rank {n} ({gib:.1f} GiB)",
        "other_method": "{method} ({gib:.1f} GiB)",
        "all_together": "all of these settings together: {settings} ({gib:.1f} GiB)",
        "nothing_fits": (
            "nothing fits on this device: even the smallest run needs {gib:.1f} GiB, so use a smaller model"
        ),
        "larger_gpu": "the same run on a larger GPU ({gpu})",
        "smallest_on_larger_gpu": "the smallest run on a larger GPU ({gpu})",
        # The shape of a model
        "shape_hint": "Specify a GGUF file, or a folder with the config.json of a decoder-only text model.",
        "not_json": "Not valid JSON: {reason}.",
        "gguf_header": "The GGUF header",
        "no_size": "{key} is missing.",
        "bad_size": "{key} must be a whole number from 0 to {most}, not {value}.",
        "no_such_modules": "The model has no linear layers named {names}. Its linear layers are {existing}.",
        "use_all_linear": 'Set target_modules to "all-linear".',
        # Lints of training configs
        "write": "Use {text}.",
        "remove": "Remove this setting.",
        "all_linear": 'Set target_modules="all-linear", or lora_target_linear: true in Axolotl.',
        "attention_only": "The adapters cover only {modules}, not the MLP.",
        "default_targets": "No target modules are set, so PEFT adapts only q_proj and v_proj.",
        "head_adapted": "TRL rejects adapters on lm_head.",
        "drop_head": "Remove lm_head from target_modules.",
        "experts_missed": "The setting all-linear does not cover the experts of {model}.",
        "name_experts": "List the experts in target_parameters.",
        "sweep_rate": "Sweep the learning rate, and keep alpha fixed.",
        "rslora_rate": "rsLoRA scales by alpha/sqrt(r) = {scale:.3g}, whereas plain LoRA scales by {plain:.3g}.",
        "tune_rate": "Tune the learning rate again.",
        "init_moves_base": "The initialisation {method} changes the base weights.",
        "convert_adapter": "Convert the adapter before you serve it, or use the default initialisation.",
        "dora_rounds": "DoRA on a 4-bit base model loses updates to rounding.",
        "keep_magnitude": "Keep the magnitude vector in float32, or train plain LoRA.",
        "dropout_habit": "Adapter dropout is {dropout}, but there is little evidence that it helps.",
        "no_dropout": "Start with 0. Add dropout only if it improves the task metric.",
        "rate_of_full": "A learning rate of {rate:g} is too low for adapters.",
        "default_rate": "No learning rate is set, so TRL uses {rate:g}, its default for full fine-tuning.",
        "lora_rate": "Use about 10 times the learning rate for full fine-tuning: 1e-4 to 5e-4.",
        "rate_high": "A learning rate of {rate:g} is higher than any published recommendation for LoRA.",
        "short_run": "Run a few steps to check that the loss stays stable.",
        "batch_large": "A batch of {n:.0f} rows per device is too large for LoRA.",
        "smaller_batch": "Use fewer than {limit} rows per step.",
        "epochs_fixed": "Training runs for {epochs:g} epochs without early stopping.",
        "stop_early": "Use early stopping on the task metric, measured on held-out rows.",
        "adam_8bit": "An 8-bit optimiser saves only about 6 bytes per trained parameter: 0.5 GiB for 84M parameters.",
        "plain_adam": "Use adamw_torch_fused, unless the run needs that memory.",
        "noise_on": "NEFTune is on. It makes answers longer and has not improved results on knowledge tasks.",
        "no_noise": "Turn off NEFTune, unless it improves the task metric on held-out rows.",
        "saved_in_4bit": "The merged model is saved in 4-bit, which rounds away most of what the adapter learned.",
        "save_16bit": 'Set save_method="merged_16bit".',
        "merged_in_4bit": "The adapter is merged into a base model that was loaded in 4-bit.",
        "load_16bit": "Load the base model in 16-bit, then merge.",
        "rank_limit": "Rank {rank:g} is above the server's limit of {limit:g}.",
        "raise_rank_limit": "Serve the adapter with --max-lora-rank {rank:g}, or merge it.",
        "remote_code": "trust_remote_code runs code from the model's repository.",
        "no_remote_code": "Remove trust_remote_code. Models that transformers supports do not need it.",
        "no_such_model": "There is no model {model}.",
        "rename_model": "Use {model}.",
        "llama_8b": "Use Llama-3.1-8B. Llama 3.3 has no 8B model.",
        "import_order": "The script imports unsloth after {names}, so Unsloth's patches have no effect.",
        "import_first": "Import unsloth before {names}.",
        "trl_removed": "SFTTrainer no longer accepts {name}= and raises a TypeError.",
        "trl_truncates": "No max_length is set, so TRL truncates rows at 1024 tokens.",
        "set_length": "Set max_length in SFTConfig.",
        "user_turns": "The loss covers user turns too.",
        "mask_turns": "Set assistant_only_loss=True, or use prompt/completion rows.",
        "packing_cuts": "Packing with {strategy} truncates long rows.",
        "split_rows": 'Drop long rows first, or set packing_strategy="bfd_split".',
        "end_unmasked": "The loss excludes the end-of-turn token.",
        "padding_is_end": "The collator masks padding, and the padding token is also the end-of-turn token.",
        "own_padding": "Use a dedicated padding token.",
        "field_gone": "transformers 5 or TRL has renamed or removed {key}.",
        "loss_alias": "chunked_nll is an alias for the default loss, and TRL 2 removes it.",
        "liger": "use_liger_kernel is deprecated, and TRL 2 removes it.",
        # batch sizes
        "batch_not_multiple": "batch_size ({batch}) is not a multiple of micro_batch_size ({micro}).",
        "change_batch": "Change one of the two values.",
    },
).say


# What a run generates before and between its steps.
COUNTED: Final[Mapping[str, str]] = {
    "questions": "Rehearsal questions",
    "answers": "Rehearsal answers",
    "held_out": "Evaluation, held-out answers",
}

# Rows
LEFT_OUT_REASONS: Final[Mapping[str, str]] = {
    "too_long": "longer than max_length",
    "refused": "rejected by the chat template",
    "no_answer": "not ending with an assistant answer",
    "control_tokens": "containing the model's control tokens",
    "prompt_differs": "with a prompt that renders differently without its answer",
    "no_end": "without an end-of-turn token, so the model would not learn to stop",
}


def pairs_start(n: int, start: str | None) -> str:
    """Say how many pairs are trained on, and from where."""
    return f"Training on {n} pairs, starting from {f'adapter {start}' if start else 'the base model'}."


def memory_after(sentence: str) -> str:
    """Compare the memory of a run with its estimate."""
    if not sentence:
        return "Memory use was not compared with the estimate, because this process had already used as much memory."
    return f"{sentence}."


def emitted_rows(n: int, *, rehearsal: bool) -> str:
    """Say which rows are written for another trainer."""
    without = "" if rehearsal else " They do not include rehearsal rows, which only `train` generates."
    return f"The {n} rows are the same as for `tuneworthy train`.{without}"


def dtype_reason(*, has_bf16: bool) -> str:
    """Say whether the device computes in bfloat16."""
    return "This device supports bfloat16." if has_bf16 else "This device does not support bfloat16."


def targets_reason(n_experts: int, mlp_share: float) -> str:
    """Say what adapters on all linear layers reach."""
    if n_experts:
        return f"The setting all-linear does not cover the {n_experts} experts. List them in target_parameters."
    return (
        f"The MLP has {mlp_share:.1%} of the linear weights. Adapting attention alone performs worse, "
        "even with the same number of parameters."
    )


def length_reason(longest: int, median: int, p99: int, length: int, *, counted: bool) -> str:
    """Say how long the rows are, which of them are dropped, and what TRL's default would cut."""
    how = "counted by the model's tokenizer" if counted else "estimated from byte lengths"
    dropped = (
        "No row is dropped." if length >= longest else f"Rows of more than {length} tokens are dropped (p99 is {p99})."
    )
    default = " TRL's default would truncate rows at 1024 tokens." if length > 1024 else ""
    return f"The longest row has {longest} tokens and the median row {median} ({how}). {dropped}{default}"


def rank_reason(n: int, share: float, supervised: int) -> str:
    """Compare the parameters of the adapters with the tokens that they learn from."""
    binds = "enough capacity" if n >= supervised else "more tokens than the largest recommended adapter can learn"
    return f"{n / 1e6:.1f}M parameters ({share:.1%} of the model) for {supervised} supervised tokens: {binds}."


def rate_reason(formula: str, times: int, capped: float | None, steps: int | None) -> str:
    """Say how the learning rate follows from the fit."""
    cap = f", capped at {capped:g} because the fit does not cover models this small" if capped else ""
    short = f" and applies to short runs (here {steps} steps)" if steps is not None else ""
    factor = f" The factor {times} is relative to full fine-tuning{short}." if times > 1 else ""
    return f"{formula}{cap}.{factor}"


def micro_batch_reason(needed: float, most: float, available: float, accumulated: int, *, fits: bool) -> str:
    """Say how much of the memory the largest batch takes; memory in GiB."""
    rows = "The largest batch that fits needs" if fits else "Even one row does not fit: it needs"
    room = f" of the {available:.1f} GiB available" if fits else f", but {available:.1f} GiB is available"
    return f"{rows} {needed:.1f} GiB (at most {most:.1f} GiB){room}. Gradient accumulation steps: {accumulated}."


# Memory
# Part of the peak to what it is.
PARTS: Final[Mapping[str, str]] = {
    "weights": "{n:.3f}B weights, {bytes} bytes each",
    "weights_nf4": "linear layers, {bits:.3f} bits per weight",
    "weights_rest": "embeddings, output head and norms, {bytes} bytes per weight",
    "adapters": "{what}, {bytes} bytes each",
    "copies": "16-bit copies of trained weights for matrix products",
    "optimizer": "two Adam moments for {what}, {bytes} bytes per parameter",
    "gradients": "gradients of {what}",
    "checkpoints": "stored inputs of all layers",
    "live_layer": "backward pass of one layer",
    "freed_layer": "what one layer frees, which the C library keeps for later",
    "activations": "values that {n} layers store for the backward pass",
    "logits": "output head and its gradient, one tile at a time",
    "fixed": "libraries, context and fragmentation",
}


def reconciliation(measured: float, estimated: float, low: float, high: float, error: float, *, inside: bool) -> str:
    """Compare a measured peak with the estimate and its band; memory in GiB."""
    where = "inside" if inside else "outside"
    return (
        f"Peak memory: {measured:.2f} GiB measured, {estimated:.2f} GiB estimated ({error:+.1%}), "
        f"{where} the band {low:.2f} to {high:.2f} GiB"
    )


def scale_apart(scale: float, rate: float | None) -> str:
    """Say how large the scale alpha/r is, and which rate at scale 1 it amounts to."""
    acts = f" A learning rate of {rate:g} acts like {rate * scale:.2g} at scale 1." if rate else ""
    return f"The scale alpha/r is {scale:g}.{acts}"
