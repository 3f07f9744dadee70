"""Every sentence about merging, exporting, parity and serving that a person reads."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        # What an artifact was made from
        "no_share": (
            "Only a share of adapter {adapter} cannot be merged, because it trained whole weights or is a DoRA adapter."
        ),
        "merge_whole": "Omit --share.",
        "adapter_without_base": "The adapter {adapter} does not record its base model.",
        "train_again": (
            "Run `tuneworthy train` to train the adapter again. If it reports that this run has finished, change "
            "[train] first."
        ),
        "not_its_base": "The adapter {adapter} was trained on the base model {base}, not on {other}.",
        "omit_base": "Run the command without --base.",
        # Reading adapters
        "not_lora": "The adapter in {folder} has the PEFT type {kind}, not LORA.",
        "not_mergeable": "The adapter in {folder} cannot be merged because it {why} ({key}).",
        "fan_in": "stores weights input-first, as GPT-2 does",
        "unknown_tensor": "The adapter in {folder} contains {name}, which is not a LoRA tensor.",
        "no_factors": "The adapter in {folder} lacks a matching pair of LoRA matrices (A and B) for {module}.",
        "other_rank": "The adapter in {folder} has rank {rank} in {module}, but its config says {config}.",
        "bad_pattern": "The pattern {pattern!r} in {key} is not usable: {reason}.",
        "too_slow": "matching takes too long",
        # Merging
        "merged": (
            "Merged the adapter into {n} weight matrices. In the median matrix, rounding lost {share:.1%} of the "
            "change."
        ),
        "rounded": (
            "There is no adapter to merge, because all weights were trained. Rounded {n} weight tensors to the dtype "
            "of the base model. In the median tensor, rounding lost {share:.1%} of the change."
        ),
        "not_trained": "The trained model lacks {name}, which is in {base}.",
        "dequantises": "Dequantising the base model to the weights that training used.",
        "route": (
            "Mean KL from the trained model on held-out rows: {original:.5f} if merged into the original base model, "
            "{dequantised:.5f} if merged into the dequantised one. Difference: {mean:.5f} [{low:.5f}, {high:.5f}] "
            "(n = {n}). Merging into the {best} base model."
        ),
        "not_finite": "{name}: the merged weight has values that the dtype of the base model cannot represent.",
        "lower_rate": "Train again with a lower learning rate.",
        "empty_adapter": "The adapter does not change any weights.",
        "not_in_base": "The adapter changes {name}, which is not in {base}, so a merge would not apply it.",
        "other_shape": (
            "{name}: the adapter needs a weight of shape {shape}, but the base model has {base_shape}. The adapter "
            "belongs to a different base model."
        ),
        "merge_into_own_base": "Merge into the base model that the adapter was trained on.",
        "quantised_base": (
            "The weights in {folder} are quantised ({kind}). A merge would round away most of what the adapter learned."
        ),
        "quantised_weight": "{folder}: {name} is stored as {dtype}, not as a 16-bit or 32-bit float.",
        "merge_into_16bit": "Merge into the original 16-bit base model.",
        "no_weights": "{folder} contains no weights.",
        "no_bitsandbytes": (
            "The package bitsandbytes is not installed. Merging an adapter trained on 4-bit weights needs it."
        ),
        # GGUF files
        "no_file_type": "Unknown GGUF type {file_type}.",
        "file_types": "Choose from {types}.",
        "no_source_file": (
            "The GGUF export copies the tokenizer from the GGUF file of {spec}, which is not on this machine."
        ),
        "other_source_file": "{path} is not the file that the base model was converted from.",
        "pull": "Run `tuneworthy models pull {spec}`.",
        "no_quantiser": "{program} is not on the PATH, and K-quants need it.",
        "install_llama_cpp": "Install llama.cpp, or pass --type q8_0.",
        "quantiser_failed": "{program} failed: {reason}.",
        "no_gguf_package": "The package gguf is not installed.",
        "install_train": 'Run `pip install "tuneworthy[train]"`.',
        "not_in_f16": "{name} has values that a 16-bit float cannot represent.",
        "use_q8": "Pass --type q8_0.",
        "other_key": (
            "{source} has {key} = {stored}, but the model has {value}. The file belongs to a different base model."
        ),
        "other_token": (
            "Token {number} is {token!r} in the model's tokenizer but {base!r} in the GGUF file of the base model."
        ),
        "too_few_rows": (
            "The tokenizer has {tokens} tokens, but the embeddings have only {rows} rows, so added tokens would be "
            "lost."
        ),
        "resize_embeddings": "Resize the embeddings to the tokenizer, then train again.",
        "use_converter": "Convert the model with llama.cpp's convert_hf_to_gguf.py.",
        "no_gguf_architecture": (
            "The {name} architecture cannot be exported as GGUF. Supported architectures are {known}."
        ),
        "no_place_in_gguf": "GGUF files for the {architecture} architecture cannot store {name}.",
        "lost_in_gguf": "The model cannot be exported as GGUF: {setting}.",
        "rope_scaling": "the export does not support the RoPE scaling {kind}",
        "sliding_window": "the export does not support sliding-window attention (use_sliding_window)",
        "layer_types": "the export supports Gemma 3 only with one layer of full attention in six",
        "local_base": "the export supports Gemma 3 only with a RoPE base of 10000 in its windows, not {value}",
        "attention_scale": "the export supports Gemma 3 only with attention scaled by the head size, not by {value}",
        "softcapping": "the export does not support soft-capped logits of Gemma 3",
        "bidirectional": "the export does not support bidirectional attention",
        "dense_layers": "the export supports experts only in all layers",
        "router_sums": "the export supports experts only with weights that sum to 1 (norm_topk_prob)",
        "quantised": "it is already quantised",
        "activation": "the export does not support the activation function {kind}",
        "not_bpe": "{folder}: the tokenizer type {kind} cannot be exported as GGUF. Only BPE is supported.",
        "no_tokenizer": "{path} is missing.",
        "save_tokenizer": "Save the tokenizer with transformers as a fast tokenizer.",
        "normaliser": "A tokenizer with the normalizer {kind} cannot be exported as GGUF.",
        "pre_tokeniser": "The GGUF export does not support the pre-tokenizer {kinds}.",
        # Ollama
        "not_for_ollama": "Ollama's template language cannot express the chat template: {reason}.",
        "serve_with_llama_cpp": "Serve the GGUF file with llama.cpp, which reads the chat template directly.",
        "writes_twice": "it does not render each message exactly once",
        "frames_differ": "it wraps messages of the same role in different ways",
        "quotes": "it contains triple quotes or ends with a quote",
        "quoted_stop": "the stop token {stop!r} contains a quote or a line break",
        "no_chat_template": "The model in {folder} has no chat template.",
        "add_template": "Add chat_template.jinja to the folder.",
        "not_a_number": "generation_config.json: {key} must be a number, not {value!r}.",
        # What parity compares
        "no_training_rows": "The adapter {adapter} was trained on the dataset {dataset}, which is missing.",
        "build_and_train": "Run `tuneworthy data build`, then train again.",
        "fact_lacks_variables": "The fact {text!r} lacks variables of the training prompt.",
        "write_variables": "Write every variable on its own line as `name: value`.",
        "no_such_form": "No {kind} model has been made from {parent} yet.",
        "make_form": "Run `tuneworthy {verb}`.",
        "asks_adapter": "Measuring the base model {base} and the adapter {adapter}.",
        "asks_merged": "Measuring the merged model {model}.",
        "asks_gguf": "Measuring the GGUF file {model} in llama.cpp.",
        "asks_server": "Measuring the served model.",
        "other_count": (
            "llama.cpp counts {counted} tokens in a chat request, but its own tokenizer counts {n} in the same prompt."
        ),
        "no_llama_cpp": "The package xllamacpp is not installed.",
        "install_local": 'Run `pip install "tuneworthy[local]"`.',
        "no_torch": "The package torch or transformers is not installed.",
        # Serving
        "wrong_engine": "The engine {engine} cannot serve {what}.",
        "right_engine": "Use llama_cpp for gguf, and vllm for merged or adapter.",
        "omit_max_rank": "Run the command without --max-lora-rank.",
        "starts": "Starting the server: {line}",
        "still_answers": "The server at {address} still responds after it was stopped.",
        "server_ended": "The server has stopped.",
        # Parity checks
        "wrong_base": "The adapter was trained on the base model {recorded}, but the base model here is {base}.",
        "wrong_adapter": "The merged model was made from the adapter {recorded}, but the adapter here is {adapter}.",
        "wrong_merged": "The GGUF file was made from the model {recorded}, but the merged model here is {merged}.",
        "no_base_named": "The adapter does not record its base model.",
        "lineage": "Base model: {base}. Adapter: {adapter}. Merged model: {merged}.",
        "no_server": "No server is running the adapter.",
        "no_adapter": "The model {id} has no adapter to serve, because all weights were trained.",
        "serve_merged": "Run `tuneworthy merge`, then serve it with --what merged.",
        "rank_above_limit": "The adapter's LoRA rank is {rank}, but the server allows at most {max_rank}.",
        "rank": "The adapter's LoRA rank is {rank}, and the server allows at most {max_rank}.",
        "no_merged": "There is no merged model yet.",
        "no_common_weight": "The base model and the merged model have no adapted weight in common.",
        "weights": (
            "In {n} matrices, {share:.1%} of the weights match the trained ones, and {base:.1%} are unchanged from the "
            "base model. Any {block} neighbouring weights have at most {levels} distinct values."
        ),
        "module_dropped": (
            "{n} matrices of the merged model, such as {name}, equal those of the base model, although training "
            "changed them."
        ),
        "no_template_recorded": "Training did not record a chat template.",
        "template_changed": "The form `{form}` uses the chat template {sha256}, but training used {trained}.",
        "added_token_lost": (
            "The form `{form}` tokenizes {text!r} as {ids}, but training used the single token {number}."
        ),
        "added_tokens": "All {n} special and added tokens are single tokens with the same IDs in every form.",
        "prompt_ids": "{n} prompts have the same token IDs in these forms: {forms}.",
        "adapter_idle": (
            "The adapter differs from its base model by a mean KL of only {kl:.4f} nats. A working adapter differs by "
            "at least {limit}."
        ),
        "form_is_base": (
            "The form `{form}` differs from the base model by a mean KL of only {kl:.4f} nats, but the adapter itself "
            "differs by {own:.4f} nats."
        ),
        "end_masked": "Training masked the end-of-turn token, so the loss does not cover it.",
        "end_unlikely": (
            "After answers from the training data, the median probability of the end-of-turn token is only {p:.2f} (n "
            "= {n})."
        ),
        "end_lost": "The form `{form}` does not stop in {n} of the {of} answers in which the adapter stops.",
        "end_of_turn": (
            "After answers from the training data, the median probability of the end-of-turn token is {p:.2f} (n = "
            "{n}). The adapter stops in {stopped} of {of} answers. Every other form stops in at least the required "
            "share of these."
        ),
        "distribution_changed": (
            "The form `{form}` ({kind}) has a mean KL of {kl:.4f} nats from the adapter, above the limit of "
            "{limit:.4f}."
        ),
        "distributions": "Mean KL from the adapter, in nats: {forms} (n = {n}).",
        "answers_changed": (
            "The form `{form}` ({kind}) reproduces {share:.1%} of {n} greedy answers, below the limit of {limit:.1%}."
        ),
        "greedy": "Share of greedy answers that are identical to the adapter's (n = {n}): {forms}.",
        "no_fact": (
            "There is no fact to check, because --fact was not passed and no training answer is known only to the "
            "adapter."
        ),
        "no_fact_taught": (
            "None of the checked facts is known to the adapter but unknown to its base model. Pass a fact from the "
            "training rows with --fact, or train again."
        ),
        "fact_lost": (
            "The form `{form}` knows only {n} of {of} learned facts. Its answer about one of the missing facts is "
            "{answer!r}."
        ),
        "facts": "Every form knows the facts that the adapter learned and the base model lacks (n = {n}).",
        "no_answer_ends": "the adapter finishes none of the answers that can be graded",
        "no_other_form": "there is no other form of the model to compare",
        "not_scored": "Not scored: {reason}.",
        "score_of_form": "{form} {delta:+.1f} points (lower bound {lower:+.1f}, n = {n})",
        "score_worse": "The score drops, and the loss may be {margin:g} points or more: {form}.",
        "no_grader": "no grader is configured",
        "judge_grades": "the first grader is a judge, which would need model calls",
        "no_case_asked": "none of the training rows used as prompts can be graded as a case of this task type ({kind})",
    },
).say


UNMERGEABLE_SETTINGS: Final[Mapping[str, str]] = {
    "layer_replication": "repeats layers of the base model",
    "target_parameters": "adapts fused expert parameters",
    "megatron_config": "was trained with Megatron",
    "trainable_token_indices": "trains individual embedding rows",
    "lora_bias": "adds biases inside the adapter",
    "alora_invocation_tokens": "acts on only part of the prompt",
    "arrow_config": "routes between several adapters",
}


def writes_gguf(folder: object, file_type: str, source: object) -> str:
    """Say what is written, and whose keys it takes over."""
    return f"Writing {folder} as {file_type}" + (f", with the metadata of {source}." if source else ".")


def serving(checks: Iterable[Mapping[str, object]], detail: str) -> str:
    """Say whether a server serves what was trained."""
    failed = [f"Parity failed. {check['detail']}" for check in checks if check["status"] == "fail"]
    return failed[0] if failed else detail or "The server runs the trained model."


def template(sha256: str, forms: Iterable[str], silent: Sequence[str]) -> str:
    """Say which forms carry the template, and which do not tell."""
    unknown = f" Forms that do not report theirs: {', '.join(silent)}." if silent else ""
    return f"These forms use the chat template {sha256}: {', '.join(forms)}.{unknown}"


def prompt_ids_differ(form: str, trained: Sequence[int], read: Sequence[int]) -> str:
    """Show the ids that a form reads, and those of training."""
    shown = [f"{list(ids[:6])}{'...' if len(ids) > 6 else ''} ({len(ids)} IDs)" for ids in (read, trained)]
    return f"The form `{form}` tokenizes a prompt as {shown[0]}, but training used {shown[1]}."


def acts(kl: float, n: int, forms: Iterable[str]) -> str:
    """Say how far the adapter is from its base, and which forms are as far."""
    others = f" So do the other forms: {names}." if (names := ", ".join(forms)) else ""
    return f"The adapter differs from its base model by {kl:.3f} nats (mean KL, n = {n}).{others}"


def by_form(figures: Mapping[str, str]) -> str:
    """List a figure of each form."""
    return ", ".join(f"{form} {figure}" for form, figure in figures.items()) or say("no_other_form")


def more_rows(n_left: int) -> str:
    """Say how the score could be settled."""
    return (
        "Run `tuneworthy parity --prompts N` with a larger N."
        if n_left
        else "All rows were used, so add training rows."
    )


def too_few_answers(n: int, margin: float, not_scored: str, more: str) -> str:
    """Say that even equal forms could not be shown to be equal."""
    reason = f"Not scored ({not_scored}). " if not_scored else ""
    return (
        f"{reason}There are too few answers (n = {n}) to rule out a loss of {100 * margin:g} points, even if all "
        f"forms are equal. {more}"
    )


def score_open(margin: float, form: str, not_scored: str, more: str) -> str:
    """Say that the loss may be as large as the margin."""
    counted = f", counting every answer that differs as wrong ({not_scored})" if not_scored else ""
    return f"The score may drop by {100 * margin:g} points or more{counted}: {form}. {more}"


def scores(forms: Sequence[str], not_scored: str) -> str:
    """Give the difference of each form's score from the adapter's."""
    how = f", counting every answer that differs as wrong ({not_scored})" if not_scored else ""
    return f"Score difference from the adapter{how}: {', '.join(forms)}."
