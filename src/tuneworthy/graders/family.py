"""Which family a model is of, by its name: a judge likes answers of its own family better than others do.

Source: Panickssery et al. 2024 (arXiv 2404.13076); arXiv 2604.22891.
"""

import re
from collections.abc import Mapping

from tuneworthy.config.models import ModelSection
from tuneworthy.types import NamedTexts

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
    """Return the families in a model's name; empty if unknown.

    >>> sorted(families_of("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"))
    ['deepseek', 'qwen']
    """
    return frozenset(family for family, pattern in _PATTERNS.items() if pattern.search(model.lower()))


def same_family(judge: str, judged: str) -> str:
    """Say which family two models share, or that they are one model; "" if they are not known to share one."""
    if judge == judged:
        return "they are the same model"
    shared = sorted(families_of(judge) & families_of(judged))
    return f"both belong to the {shared[0]} model family" if shared else ""


def lineages(models: Mapping[str, ModelSection]) -> NamedTexts:
    """Return a name for the family per model of a project; models of one family have the same.

    Two models are of one family if their names share a family, or if one names no family and they share
    the vendor before the slash, the weights, the address or the function.

    >>> from tuneworthy.config.models import OpenAI
    >>> models = {"a": OpenAI(provider="openai", model="gpt-5"), "b": OpenAI(provider="openai", model="gpt-5-mini")}
    >>> lineages(models)
    {'a': 'openai', 'b': 'openai'}
    """
    found: dict[str, str] = {}
    for name, model in models.items():
        relative = next((other for other in found if _related(other, models[other], name, model)), None)
        found[name] = found[relative] if relative else min(families_of(_spec(name, model)), default=name)
    return found


def _related(a: str, model_a: ModelSection, b: str, model_b: ModelSection) -> bool:
    one, other = _spec(a, model_a), _spec(b, model_b)
    known = families_of(one), families_of(other)
    if all(known):
        return bool(known[0] & known[1])
    vendor = one.partition("/")[0] if "/" in one and "/" in other else None
    if one == other or (vendor is not None and vendor == other.partition("/")[0]):
        return True
    places = ({*model.addresses, getattr(model, "function", None)} - {None} for model in (model_a, model_b))
    return not set.isdisjoint(*places)


def _spec(name: str, model: ModelSection) -> str:
    return str(getattr(model, "model", "") or name)
