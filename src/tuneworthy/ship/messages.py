"""Every sentence about merging, exporting, parity and serving that a person reads."""

from collections.abc import Mapping
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
