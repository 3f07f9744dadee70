"""Which family a model is of, by its name: a judge likes answers of its own family better than others do.

Source: Panickssery et al. 2024 (arXiv 2404.13076); arXiv 2604.22891.
"""

import re

from tuneworthy.graders import messages

# Family to a pattern of the names of its models; a model made of another keeps the other's name in its own.
FAMILIES = {
    "anthropic": r"claude",
    "openai": r"gpt|chatgpt|o[1-9](?![0-9a-z])|davinci|codex",
    "google": r"gemini|gemma|palm",
    "meta": r"llama(?!\.?cpp)|llama-?[0-9]",
    "mistral": r"mistral|mixtral|ministral|magistral|codestral|devstral|pixtral",
    "qwen": r"qwen|qwq",
    "deepseek": r"deepseek",
    "microsoft": r"phi-?[0-9]|wizardlm",
    "cohere": r"command-?(?:r|a|light)|aya",
    "huggingface": r"smollm|zephyr",
    "xai": r"grok",
    "ibm": r"granite",
    "zhipu": r"glm-?[0-9]|chatglm",
    "moonshot": r"kimi|moonshot",
    "nvidia": r"nemotron",
    "ai2": r"olmo|tulu",
    "tii": r"falcon",
}

_PATTERNS = {family: re.compile(rf"(?<![a-z])(?:{pattern})") for family, pattern in FAMILIES.items()}


def families_of(model: str) -> frozenset[str]:
    """Return the families that a model's name speaks of; empty if none is known.

    >>> sorted(families_of("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"))
    ['deepseek', 'qwen']
    """
    return frozenset(family for family, pattern in _PATTERNS.items() if pattern.search(model.lower()))


def same_family(judge: str, judged: str) -> str:
    """Say which family two models share, or that they are one model; "" if they are not known to share one."""
    if judge == judged:
        return messages.say("same_model")
    shared = sorted(families_of(judge) & families_of(judged))
    return messages.say("same_family", family=shared[0]) if shared else ""
