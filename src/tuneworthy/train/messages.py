"""Every sentence about training that a person reads, and the sources of advice."""

PROJECT_FILE = "project file"
THE_ROWS = "the rows"
TRAIN_HONEST = "Omit --all-rows."
SET_BASE = "Set [train] base to a model whose weights are on this machine."
LOWER_RATE = "Lower [train] learning_rate."
OTHER_BASE = "Download the model again, or set [train] base to a different one."
USE_LORA = 'Set [train] method to "lora", "qlora" or "full".'
USE_EMBEDDING = "Use the classical baseline `embedding`, or pass --unsafe to keep the tuned encoder anyway."
IMPORT_ROWS = "Run `tuneworthy data build FILE`, or set [examples]."
ANSWERS_ONLY = "The pilot and the check of the learning rate train on answers, not on pairs."
CHECK_TEMPLATE = "Check the rows and the chat template of [train] base."
SHAPE_HINT = "Specify a GGUF file, or a folder with the config.json of a decoder-only text model."

# The documents that advice and lints rest on.
TML = "LoRA Without Regret, https://doi.org/10.64434/tml.20250929"
LEARNS_LESS = "arXiv 2405.09673"
RSLORA = "arXiv 2312.03732"
LEARNING_RATE_MATTERS = "arXiv 2602.04998"
NEFTUNE = "arXiv 2310.05914"
DPO = "arXiv 2305.18290; TRL 1.16, https://huggingface.co/docs/trl/dpo_trainer"
ZEPHYR = "https://github.com/huggingface/alignment-handbook/tree/main/recipes/zephyr-7b-beta"
EARLY_STOPPING = "arXiv 2405.05904"
QLORA = "arXiv 2305.14314"
REHEARSAL = "arXiv 2403.01244; arXiv 2406.08464"
TRL = "TRL 1.16, https://huggingface.co/docs/trl/sft_trainer"
TRL_LORA = "https://huggingface.co/docs/trl/lora_without_regret"
TRANSFORMERS = "transformers 5.24, https://huggingface.co/docs/transformers/main_classes/trainer"
PEFT = "PEFT 0.21, https://huggingface.co/docs/peft/package_reference/lora"
PEFT_MERGE = "https://github.com/huggingface/peft/issues/2321"
UNSLOTH = "https://docs.unsloth.ai/get-started/fine-tuning-llms-guide/lora-hyperparameters-guide"
TINKER = "https://tinker-docs.thinkingmachines.ai/lora-primer"
VLLM_LORA = "https://docs.vllm.ai/en/latest/features/lora.html"
BERT = "arXiv 1810.04805, appendix A.3"
SMALL_BERT = "https://github.com/google-research/bert (smaller models); arXiv 1908.08962"
STABLE_BERT = "arXiv 2006.04884"
REMOTE_CODE = "CVE-2026-5241"
# The repository under its right name.
LLAMA_NAMES = "https://huggingface.co/unsloth/Llama-3.3-70B-Instruct-bnb-4bit"


def evaluated(step: int, metric: float, best: float) -> str:
    return f"Step {step}: the task metric on held-out rows is {metric:.1%} (best so far: {best:.1%})."
