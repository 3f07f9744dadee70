"""Every sentence about training that a person reads, and the sources of advice."""

from typing import Final

PROJECT_FILE: Final = "project file"
THE_ROWS: Final = "the rows"
SET_BASE: Final = "Set [train] base to a model whose weights are on this machine."
LOWER_RATE: Final = "Lower [train] learning_rate."
OTHER_BASE: Final = "Download the model again, or set [train] base to a different one."
USE_LORA: Final = 'Set [train] method to "lora", "qlora" or "full".'
IMPORT_ROWS: Final = "Run `tuneworthy data import FILE` and `tuneworthy data build`, or set [examples]."
ANSWERS_ONLY: Final = "The pilot and the check of the learning rate train on answers, not on pairs."
CHECK_TEMPLATE: Final = "Check the rows and the chat template of [train] base."
SHAPE_HINT: Final = "Specify a GGUF file, or a folder with the config.json of a decoder-only text model."

# The documents that advice and lints rest on.
TML: Final = "LoRA Without Regret, https://doi.org/10.64434/tml.20250929"
LEARNS_LESS: Final = "arXiv 2405.09673"
RSLORA: Final = "arXiv 2312.03732"
LEARNING_RATE_MATTERS: Final = "arXiv 2602.04998"
NEFTUNE: Final = "arXiv 2310.05914"
DPO: Final = "arXiv 2305.18290; TRL 1.16, https://huggingface.co/docs/trl/dpo_trainer"
ZEPHYR: Final = "https://github.com/huggingface/alignment-handbook/tree/main/recipes/zephyr-7b-beta"
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
BERT: Final = "arXiv 1810.04805, appendix A.3"
SMALL_BERT: Final = "https://github.com/google-research/bert (smaller models); arXiv 1908.08962"
STABLE_BERT: Final = "arXiv 2006.04884"
REMOTE_CODE: Final = "CVE-2026-5241"
# The repository under its right name.
LLAMA_NAMES: Final = "https://huggingface.co/unsloth/Llama-3.3-70B-Instruct-bnb-4bit"


def evaluated(step: int, metric: float, best: float) -> str:
    return f"Step {step}: the task metric on held-out rows is {metric:.1%} (best so far: {best:.1%})."
