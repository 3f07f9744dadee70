"""Sentences and sources of advice that several places of training name."""

PROJECT_FILE = "project file"
THE_ROWS = "the rows"
SET_BASE = "Set [train] base to a model whose weights are on this machine."
LOWER_RATE = "Lower [train] learning_rate."
OTHER_BASE = "Download the model again, or set [train] base to a different one."
USE_LORA = 'Set [train] method to "lora", "qlora" or "full".'
IMPORT_ROWS = "Run `tuneworthy data build FILE`, or set [examples]."
CHECK_TEMPLATE = "Check the rows and the chat template of [train] base."
SHAPE_HINT = "Specify a GGUF file, or a folder with the config.json of a decoder-only text model."

# The documents that advice and lints rest on.
TML = "LoRA Without Regret, https://doi.org/10.64434/tml.20250929"
LEARNING_RATE_MATTERS = "arXiv 2602.04998"
DPO = "arXiv 2305.18290; TRL 1.16, https://huggingface.co/docs/trl/dpo_trainer"
EARLY_STOPPING = "arXiv 2405.05904"
REHEARSAL = "arXiv 2403.01244; arXiv 2406.08464"
TRL = "TRL 1.16, https://huggingface.co/docs/trl/sft_trainer"
TRL_LORA = "https://huggingface.co/docs/trl/lora_without_regret"
PEFT = "PEFT 0.21, https://huggingface.co/docs/peft/package_reference/lora"
UNSLOTH = "https://docs.unsloth.ai/get-started/fine-tuning-llms-guide/lora-hyperparameters-guide"
TINKER = "https://tinker-docs.thinkingmachines.ai/lora-primer"
BERT = "arXiv 1810.04805, appendix A.3"
