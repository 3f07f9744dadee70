"""The documents that advice and lints rest on, as a reader can open them."""

from typing import Final

TML: Final = "LoRA Without Regret, https://doi.org/10.64434/tml.20250929"
LEARNS_LESS: Final = "arXiv 2405.09673"
RSLORA: Final = "arXiv 2312.03732"
LEARNING_RATE_MATTERS: Final = "arXiv 2602.04998"
NEFTUNE: Final = "arXiv 2310.05914"
EARLY_STOPPING: Final = "arXiv 2405.05904"
QLORA: Final = "arXiv 2305.14314"
REHEARSAL: Final = "arXiv 2403.01244; arXiv 2406.08464"
TRL: Final = "TRL 1.16, https://huggingface.co/docs/trl/sft_trainer"
TRL_LORA: Final = "https://huggingface.co/docs/trl/lora_without_regret"
TRANSFORMERS: Final = "transformers 5.24, https://huggingface.co/docs/transformers/main_classes/trainer"
PEFT: Final = "PEFT 0.21, https://huggingface.co/docs/peft/package_reference/lora"
PEFT_MERGE: Final = "https://github.com/huggingface/peft/issues/2321"
UNSLOTH: Final = "https://docs.unsloth.ai/get-started/fine-tuning-llms-guide/lora-hyperparameters-guide"
TINKER: Final = "https://tinker-docs.thinkingmachines.ai/lora-primer"
VLLM_LORA: Final = "https://docs.vllm.ai/en/latest/features/lora.html"
REMOTE_CODE: Final = "CVE-2026-5241"
# The repository under its right name.
LLAMA_NAMES: Final = "https://huggingface.co/unsloth/Llama-3.3-70B-Instruct-bnb-4bit"
