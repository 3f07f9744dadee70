"""Every sentence about merging, exporting, parity and serving that a person reads."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # What an artifact was made from
        "adapter_without_base": "The adapter {adapter} does not name its base.",
        "train_again": "Train it again.",
        "not_its_base": "The adapter {adapter} was trained on the base {base}, not on {other} (cause: wrong_base).",
        "omit_base": "Run the command without --base.",
        # Reading adapters
        "not_lora": "{folder} holds an adapter of PEFT type {kind}, not LORA.",
        "not_mergeable": "The adapter in {folder} cannot be merged: it {why} ({key}).",
        "fan_in": "stores weights with inputs first, as GPT-2 does",
        "unknown_tensor": "The adapter in {folder} holds {name}, which is no tensor of LoRA.",
        "no_factors": "The adapter in {folder} does not hold two factors of one rank for {module}.",
        "other_rank": "The adapter in {folder} has rank {rank} in {module}; its config says {config}.",
        "bad_pattern": "A pattern in {key} cannot be used: {pattern!r} ({reason}).",
        "too_slow": "matching takes too long",
        # Merging
        "merged": "Merged {n} weights; rounding lost {share:.2%} of a change in the median.",
        "dequantises": "Dequantising the base to what training saw.",
        "route": (
            "Mean KL from what was trained: original base {original:.5f}, dequantised base {dequantised:.5f} (n = {n})."
            " Merging into the {best} base."
        ),
        "not_finite": "{name}: the merged weight has numbers that the base's type cannot hold.",
        "lower_rate": "Train again with a lower learning rate.",
        "empty_adapter": "The adapter changes no weight.",
        "not_in_base": "The adapter changes {name}, which {base} does not have (cause: adapter_not_applied).",
        "other_shape": (
            "{name}: the adapter fits a weight of the shape {shape}, the base has {base_shape} (cause: wrong_base)."
        ),
        "merge_into_own_base": "Merge into the base that the adapter was trained on.",
        "quantised_base": (
            "{folder} is quantised ({kind}); rounding would lose most of what was learned (cause: merged_in_4bit)."
        ),
        "quantised_weight": "{folder}: {name} is stored as {dtype}, not in 16 or 32 bits (cause: merged_in_4bit).",
        "merge_into_16bit": "Merge into the 16-bit base that it was made from.",
        "no_weights": "{folder} holds no weights.",
        "no_bitsandbytes": "bitsandbytes is not installed; an adapter that was trained over 4-bit weights needs it.",
        "install_bitsandbytes": "Run `pip install bitsandbytes`.",
        # GGUF files
        "no_file_type": "There is no GGUF type {file_type}.",
        "file_types": "Use one of {types}.",
        "no_source_file": "The file of {spec}, whose tokenizer the GGUF file takes over, is not on this machine.",
        "other_source_file": "{path} is not the file that the base was made from.",
        "pull": "Run `tuneworthy models pull {spec}`.",
        "no_quantiser": "{program} is not on the PATH; K-quants need it.",
        "install_llama_cpp": "Install llama.cpp, or use q8_0.",
        "quantiser_failed": "{program} failed: {reason}.",
        "no_gguf_package": "The package gguf is not installed.",
        "install_train": "Run `pip install 'tuneworthy[train]'`.",
        "not_in_f16": "{name} has numbers that 16 bits cannot hold.",
        "use_q8": "Use --type q8_0.",
        "other_key": "{source} has {key} = {stored}, the model has {value} (cause: wrong_base).",
        "other_token": "Token {number} is {token!r} in the model's tokenizer and {base!r} in the base's GGUF file.",
        "too_few_rows": "The tokenizer has {tokens} tokens, the embeddings have {rows} rows (cause: added_token_lost).",
        "resize_embeddings": "Train again with the embeddings resized to the tokenizer.",
        "use_converter": "Convert the model with llama.cpp's convert_hf_to_gguf.py.",
        "no_gguf_architecture": "{name} cannot be written as GGUF here; {known} can.",
        "no_place_in_gguf": "A GGUF file of {architecture} has no place for {name}.",
        "lost_in_gguf": "The model cannot be written as GGUF: {setting}.",
        "rope_scaling": "the file cannot hold the rotary scaling {kind}",
        "sliding_window": "the file cannot hold its sliding window (use_sliding_window)",
        "quantised": "it is quantised",
        "activation": "the file cannot hold the activation {kind}",
        "not_bpe": "{folder}: a tokenizer of type {kind} cannot be written as GGUF, only BPE.",
        "no_tokenizer": "There is no {path}.",
        "save_tokenizer": "Save it with transformers' fast tokenizer.",
        "normaliser": "A tokenizer with the normalizer {kind} cannot be written as GGUF.",
        "pre_tokeniser": "llama.cpp has no name for the pre-tokenizer {kinds}.",
        # Ollama
        "not_for_ollama": "Ollama's template language cannot hold the chat template: {reason}.",
        "serve_with_llama_cpp": "Serve the GGUF file with llama.cpp, which reads the template itself.",
        "writes_twice": "it does not write each text exactly once",
        "frames_differ": "it writes different text around messages of one role",
        "quotes": "it has three quotes in a row, or a quote at its end",
        "quoted_stop": "the token {stop!r}, which ends an answer, has a quote or a line end",
        "no_chat_template": "The model in {folder} has no chat template.",
        "add_template": "Add a chat_template.jinja to the folder.",
        "not_a_number": "generation_config.json: {key} must be a number, not {value!r}.",
        # Quantising
        "no_gpu_to_quantise": "There is no CUDA device to quantise on.",
        "quantise_elsewhere": "Run it on a GPU machine, or use `tuneworthy export gguf --type q8_0`.",
        "no_llmcompressor": "llmcompressor is not installed.",
        "install_llmcompressor": "Run `pip install llmcompressor`.",
        "out_exists": "{out} exists already.",
        "other_out": "Pass another folder with --out.",
        "quantises": "Quantising {model} to {scheme}.",
        # What parity compares
        "no_training_rows": "The dataset {dataset} that {adapter} was trained on is missing.",
        "build_and_train": "Run `tuneworthy data build`, then train again.",
        "fact_lacks_variables": "The fact {text!r} lacks variables of the prompt that was trained with.",
        "write_variables": "Write each variable as a line `name: value`.",
        "no_such_form": "No {kind} model was made from {parent}.",
        "make_form": "Run `tuneworthy {verb}`.",
        "asks_adapter": "Asking the base {base} and the adapter {adapter} on it.",
        "asks_merged": "Asking the merged model {model}.",
        "asks_gguf": "Asking the GGUF file {model} in llama.cpp.",
        "asks_server": "Asking the server.",
        "other_count": "llama.cpp reads {counted} tokens of a prompt of {n}.",
        "no_llama_cpp": "xllamacpp is not installed.",
        "install_local": "Run `pip install 'tuneworthy[local]'`.",
        "no_torch": "torch and transformers are not installed.",
        # Serving
        "wrong_engine": "{engine} does not serve {what}.",
        "right_engine": "llama_cpp serves gguf; vllm serves merged or adapter.",
        "omit_max_rank": "Run the command without --max-lora-rank (cause: rank_above_server_limit).",
        "starts": "Starting {line}",
        "still_answers": "The server at {address} was stopped and still answers.",
        "server_ended": "The server has ended.",
        # Parity checks
        "wrong_base": "The adapter was trained on the base {recorded}, but the base here is {base}.",
        "wrong_adapter": "The merged model was made from the adapter {recorded}, but the adapter here is {adapter}.",
        "wrong_merged": "A GGUF file was made from the model {recorded}, but the merged model here is {merged}.",
        "no_base_named": "The adapter does not name its base.",
        "lineage": "Base {base}, adapter {adapter}, merged model {merged}.",
        "no_server": "No server applies the adapter.",
        "rank_above_limit": "The adapter has rank {rank}; the server allows {max_rank}.",
        "rank": "Rank {rank}; the server allows {max_rank}.",
        "no_merged": "There is no merged model.",
        "no_common_weight": "No weight of the adapter is in both the base and the merged model.",
        "weights": (
            "{share:.1%} of the weights in {n} matrices are base plus adapter, {base:.1%} are the base's;"
            " {block} neighbours hold at most {levels} values."
        ),
        "no_template_recorded": "Training recorded no chat template.",
        "template_changed": "{form} has the chat template {sha256}; training used {trained}.",
        "added_token_lost": "{form} reads {text!r} as {ids}; in training it was token {number}.",
        "added_tokens": "{n} special and added tokens are one token each, with the same ids.",
        "prompt_ids": "{n} prompts have the same ids in {forms}.",
        "adapter_idle": "The adapter is only {kl:.4f} nats from its base (mean KL); at least {limit} shows that it acts.",
        "form_is_base": "{form} is {kl:.4f} nats from the base; the adapter is {own:.4f}.",
        "end_masked": "Training masked the end of the turn.",
        "end_unlikely": "After trained answers the end of the turn has probability {p:.2f} (median of {n}).",
        "end_lost": "{form} runs on in {n} of the {of} answers that the adapter ends.",
        "end_of_turn": (
            "The end of the turn has probability {p:.2f} after answers (median of {n}); {stopped} of {of} answers end, in every"
            " form."
        ),
        "distribution_changed": "{form} ({kind}) has a mean KL of {kl:.4f} from the adapter; the limit is {limit:.4f}.",
        "distributions": "Mean KL from the adapter: {forms} (n = {n}).",
        "answers_changed": "{form} ({kind}) gives {share:.0%} of {n} greedy answers unchanged; the limit is {limit:.0%}.",
        "greedy": "Equal greedy answers, of {n}: {forms}.",
        "no_fact": "No --fact, and no training row whose answer only the adapter gives.",
        "no_fact_taught": "The adapter knows no fact that its base does not know.",
        "fact_lost": "{form} knows {n} of {of} facts; to one it answers {answer!r}.",
        "facts": "Every form knows the {n} facts that the base does not know.",
        "no_answer_ends": "the adapter ends none of its answers that can be graded",
        "no_other_form": "there is no other form",
        "not_scored": "Not scored: {reason}.",
        "score_of_form": "{form} {delta:+.3f} (at least {lower:+.3f}, n = {n})",
        "score_worse": "The loss of score is not below {margin:g}: {form}.",
        "no_grader": "there is no grader",
        "judge_grades": "the first grader is a judge, which would have to be asked",
        "no_case_asked": "none of the rows is a case of the task ({kind})",
    }
).say


UNMERGEABLE_SETTINGS: Final[Mapping[str, str]] = {
    "layer_replication": "repeats layers of the base",
    "target_parameters": "adapts fused parameters of experts",
    "megatron_config": "was trained with Megatron",
    "trainable_token_indices": "trains single rows of the embeddings",
    "lora_bias": "adds biases inside the adapter",
    "alora_invocation_tokens": "acts on a part of the prompt only",
    "arrow_config": "routes between several adapters",
}


def writes_gguf(folder: object, file_type: str, source: object) -> str:
    """Say what is written, and whose keys it takes over."""
    return f"Writing {folder} as {file_type}" + (f", with the keys of {source}." if source else ".")


def serving(cause: str | None, detail: str) -> str:
    """Say whether a server serves what was trained."""
    return f"Parity failed: {cause}." if cause else detail or "It serves what was trained."


def template(sha256: str, forms: Iterable[str], silent: Sequence[str]) -> str:
    """Say which forms carry the template, and which do not tell."""
    unknown = f"; {', '.join(silent)} does not report its template" if silent else ""
    return f"Template {sha256} in {', '.join(forms)}{unknown}."


def prompt_ids_differ(form: str, trained: Sequence[int], read: Sequence[int]) -> str:
    """Show the ids that a form reads, and those of training."""
    shown = [f"{list(ids[:6])}{'...' if len(ids) > 6 else ''} ({len(ids)} ids)" for ids in (read, trained)]
    return f"{form} reads a prompt as {shown[0]}; training read {shown[1]}."


def acts(kl: float, n: int, forms: Iterable[str]) -> str:
    """Say how far the adapter is from its base, and which forms are as far."""
    others = f"; so is {names}" if (names := ", ".join(forms)) else ""
    return f"The adapter is {kl:.3f} nats from its base (mean KL, n = {n}){others}."


def by_form(figures: Mapping[str, str]) -> str:
    """List a figure of each form."""
    return ", ".join(f"{form} {figure}" for form, figure in figures.items()) or say("no_other_form")


def more_rows(n_left: int) -> str:
    """Say how the score could be settled."""
    return "Ask more rows with `tuneworthy parity --prompts N`." if n_left else "Every row was asked; add rows."


def too_few_answers(n: int, margin: float, not_scored: str, more: str) -> str:
    """Say that even equal forms could not be shown to be equal."""
    reason = f"Not scored ({not_scored}). " if not_scored else ""
    return f"{reason}{n} answers are too few to show a loss below {margin:g}, even of equal forms. {more}"


def score_open(margin: float, form: str, not_scored: str, more: str) -> str:
    """Say that the loss may be as large as the margin."""
    counted = f" if each answer that differs is lost ({not_scored})" if not_scored else ""
    return f"The loss of score may be {margin:g} or more{counted}: {form}. {more}"


def scores(forms: Sequence[str], not_scored: str) -> str:
    """Give the difference of each form's score from the adapter's."""
    how = f", each answer that differs counted as lost ({not_scored})" if not_scored else ""
    return f"Score against the adapter{how}: {', '.join(forms)}."
