"""Keys that the project file no longer takes, and their replacements."""

from collections.abc import Mapping
from typing import Final

_FIXED: Final = "It is now fixed at its former default. Remove the key."
_VLLM: Final = "Start the server yourself with `vllm serve MODEL`, and set `base_url` to its address."
_DECISIONS: Final = (
    "Decision models behind HTTP were removed. Use a model that ranks labels (llama_cpp or vllm), or the decision "
    "model of the rung classical."
)

_NO_SEMANTIC: Final = "Paraphrased duplicates are no longer dropped; the check `near` finds near copies. Remove it."
_NO_LENGTH: Final = "`data card` shows how long questions and answers are. Remove it."
_NO_PARAPHRASES: Final = "Reworded cases are no longer searched for; the check `contamination` finds copies. Remove it."

REMOVED: Final[Mapping[str, str]] = {
    "data.near_threshold": _FIXED,
    "data.semantic": _NO_SEMANTIC,
    "data.semantic_threshold": _NO_SEMANTIC,
    "data.semdedup_epsilon": _NO_SEMANTIC,
    "data.semantic_most": _NO_SEMANTIC,
    "data.contamination_coverage": _FIXED,
    "data.contamination_n": _FIXED,
    "data.false_alarms": _FIXED,
    "data.pair_length": _FIXED,
    "data.length_spreads": _NO_LENGTH,
    "few_shot.encoder": "Shots are chosen by their words. Remove the key.",
    "few_shot.sets": "Raise the numbers in `k` to try more shots. Remove the key.",
    "graders.arguments": "Write a grader of type `python` that compares only the tool's name.",
    "graders.phrases": "The built-in list finds answers that decline. For other phrases, write a `python` grader.",
    "graders.ignore_case": "Graders of texts within an answer always ignore case; `exact` does not. Remove the key.",
    "graders.tolerance_abs": "Use `tolerance`.",
    "graders.tolerance_rel": "Use `tolerance`, an absolute difference; 1e-6 of the number is always allowed.",
    "ladder.grace_s": _FIXED,
    "models.threads": "All cores that the process may use are used. Remove the key.",
    "prompt.ablate": "Compare shorter prompts as variants with `[reflection]` or by hand. Remove the key.",
    "regressions.max_tokens": _FIXED,
    "models.cache_mib": "The size of the cache follows from the model and the memory of the machine. Remove the key.",
    "models.adapter": _VLLM,
    "models.arguments": _VLLM,
    "models.context": _VLLM,
    "models.executable": _VLLM,
    "models.start_s": _VLLM,
    "check=concentrated": "`data card` shows how rows are spread over answers. Remove it.",
    "check=semantic": _NO_SEMANTIC,
    "check=semantic_duplicate": _NO_SEMANTIC,
    "check=paraphrases": _NO_PARAPHRASES,
    "check=overlap_paraphrase": _NO_PARAPHRASES,
    "check=leaning_file": _NO_PARAPHRASES,
    "encoder=llama_cpp": (
        "The encoder type llama_cpp was removed. Start `llama-server --embeddings -m FILE.gguf`, and set type to "
        "server and base_url to its address."
    ),
    "check=length": _NO_LENGTH,
    "check=long": _NO_LENGTH,
    "check=short": _NO_LENGTH,
    "provider=openai_decisions": _DECISIONS,
    "provider=systemone": _DECISIONS,
    "retrieval.bm25_weight": _FIXED,
    "retrieval.context": _FIXED,
    "retrieval.max_tokens": _FIXED,
    "retrieval.overlap": _FIXED,
    "retrieval.pool": _FIXED,
    "retrieval.threads": "All cores are used. Remove the key.",
    "retrieval.timeout_s": _FIXED,
    "retrieval.weight": _FIXED,
    "shadow.share": "Run `tuneworthy shadow proxy URL --share 0.1`. Remove the key.",
    "shadow.canary": "The steps of a canary are fixed. Remove the key, and run `tuneworthy shadow proxy URL --canary`.",
    "teacher.accept_score": 'Answers count if the grader gives them 1. Set `references` to "none" to keep others.',
    "teacher.max_tokens": "Set `prompt.max_tokens`, or name a variant as the teacher.",
    "teacher.system": "Set `prompt.system`, or name a variant with another prompt as the teacher.",
    "teacher.user": "Set `prompt.user`, or name a variant with another prompt as the teacher.",
    "train.alpha": _FIXED,
    "train.beta": _FIXED,
    "train.dropout": _FIXED,
    "train.seed": _FIXED,
    "train.start": "Training on pairs starts from the latest adapter with the same base and prompt. Remove the key.",
    "reflection.max_tokens": _FIXED,
    "reflection.parameters": "The provider's default applies. Remove the key.",
}
"""Section and key (without the place in a list or the name of a model), or tag and value, to the replacement."""


def replacement(location: list[str | int]) -> str:
    """Return the replacement of a removed key; "" for a key that was never there.

    Args:
        location: Steps from the top of the file to the key.
    """
    names = [str(step) for step in location if isinstance(step, str)]
    return REMOVED.get(f"{names[0]}.{names[-1]}", "") or REMOVED.get(".".join(names[-2:]), "")
