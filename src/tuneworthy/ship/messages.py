"""Every sentence about merging, exporting, parity and serving that a person reads."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # What an artifact was made from
        "train_again": (
            "Run `tuneworthy train` to train the adapter again. If it reports that this run has finished, change "
            "[train] first."
        ),
        # Reading adapters
        "not_mergeable": "The adapter in {folder} cannot be merged because it {why} ({key}).",
        # Merging
        "route": (
            "Mean KL from the trained model on held-out rows: {original:.5f} if merged into the original base model, "
            "{dequantised:.5f} if merged into the dequantised one. Difference: {mean:.5f} [{low:.5f}, {high:.5f}] "
            "(n = {n}). Merging into the {best} base model."
        ),
        "merge_into_own_base": "Merge into the base model that the adapter was trained on.",
        "merge_into_16bit": "Merge into the original 16-bit base model.",
        # GGUF files
        "install_train": 'Run `pip install "tuneworthy[train]"`.',
        "use_q8": "Pass --type q8_0.",
        "too_few_rows": (
            "The tokenizer has {tokens} tokens, but the embeddings have only {rows} rows, so added tokens would be "
            "lost."
        ),
        "resize_embeddings": "Resize the embeddings to the tokenizer, then train again.",
        "use_converter": "Convert the model with llama.cpp's convert_hf_to_gguf.py.",
        # Ollama
        "no_chat_template": "The model in {folder} has no chat template.",
        "add_template": "Add chat_template.jinja to the folder.",
        # What parity compares
        "no_llama_cpp": "The package xllamacpp is not installed.",
        "install_local": 'Run `pip install "tuneworthy[local]"`.',
        # Serving
        # Parity checks
        "lineage": "Base model: {base}. Adapter: {adapter}. Merged model: {merged}.",
        "rank_above_limit": "The adapter's LoRA rank is {rank}, but the server allows at most {max_rank}.",
        "rank": "The adapter's LoRA rank is {rank}, and the server allows at most {max_rank}.",
        "end_unlikely": (
            "After answers from the training data, the median probability of the end-of-turn token is only {p:.2f} (n "
            "= {n})."
        ),
        "end_of_turn": (
            "After answers from the training data, the median probability of the end-of-turn token is {p:.2f} (n = "
            "{n}). The adapter stops in {stopped} of {of} answers. Every other form stops in at least the required "
            "share of these."
        ),
        "no_other_form": "there is no other form of the model to compare",
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
