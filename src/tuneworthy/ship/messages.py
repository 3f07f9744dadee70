"""Every sentence about merging, exporting, parity and serving that a person reads."""

TRAIN_AGAIN = (
    "Run `tuneworthy train` to train the adapter again. If it reports that this run has finished, change [train] first."
)
USE_Q8 = "Pass --type q8_0."
USE_CONVERTER = "Convert the model with llama.cpp's convert_hf_to_gguf.py."
MERGE_INTO_16BIT = "Merge into the original 16-bit base model."
MERGE_INTO_OWN_BASE = "Merge into the base model that the adapter was trained on."


# Settings of PEFT that `train` never makes.
UNMERGEABLE_SETTINGS = {
    "use_dora": "is a DoRA adapter",
    "use_rslora": "is scaled by rsLoRA",
    "modules_to_save": "trains whole modules",
    "rank_pattern": "has ranks that differ from layer to layer",
    "alpha_pattern": "has scales that differ from layer to layer",
    "fan_in_fan_out": "stores weights input-first, as GPT-2 does",
    "layer_replication": "repeats layers of the base model",
    "target_parameters": "adapts fused expert parameters",
    "megatron_config": "was trained with Megatron",
    "trainable_token_indices": "trains individual embedding rows",
    "lora_bias": "adds biases inside the adapter",
    "alora_invocation_tokens": "acts on only part of the prompt",
    "arrow_config": "routes between several adapters",
}
