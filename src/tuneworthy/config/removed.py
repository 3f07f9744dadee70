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
_NO_WRITER: Final = "Use `openai`, whose messages LLaMA-Factory and other trainers read, or `trl`."
_NO_LENGTH: Final = "`data card` shows how long questions and answers are. Remove it."
_NO_PARAPHRASES: Final = "Reworded cases are no longer searched for; the check `contamination` finds copies. Remove it."

REMOVED: Final[Mapping[str, str]] = {
    "data.near_threshold": _FIXED,
    "data.semantic": _NO_SEMANTIC,
    "data.semantic_threshold": _NO_SEMANTIC,
    "data.semdedup_epsilon": _NO_SEMANTIC,
    "data.semantic_most": _NO_SEMANTIC,
    "data.contamination_coverage": "Set `contamination_n` instead.",
    "data.false_alarms": _FIXED,
    "data.pair_length": _FIXED,
    "data.length_spreads": _NO_LENGTH,
    "graders.ignore_case": "The grader `tool_call` always ignores case. Remove the key.",
    "graders.tolerance_abs": "Use `tolerance`.",
    "graders.tolerance_rel": "Use `tolerance`, an absolute difference; 1e-6 of the number is always allowed.",
    "ladder.grace_s": _FIXED,
    "prompt.ablate": "The rung prompt tries half of the prompt, and `[reflection]` rewrites it. Remove the key.",
    "few_shot.sets": "The rung few_shot tries fixed shots and shots chosen per case, for each `k`. Remove the key.",
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
    "export_format=alpaca": _NO_WRITER,
    "export_format=llama_factory": _NO_WRITER,
    "export_format=sharegpt": _NO_WRITER,
    "provider=openai_decisions": _DECISIONS,
    "provider=systemone": _DECISIONS,
    "retrieval.context": _FIXED,
    "retrieval.max_tokens": _FIXED,
    "retrieval.overlap": _FIXED,
    "retrieval.pool": _FIXED,
    "retrieval.threads": "All cores are used. Remove the key.",
    "retrieval.timeout_s": _FIXED,
    "shadow.canary": "The canary returns once it rolls back on invalid answers. Remove the key.",
    "reflection.max_tokens": _FIXED,
    "reflection.parameters": "The provider's default applies. Remove the key.",
}
"""Section and key (without the place in a list or the name of a model), or tag and value, to the replacement."""


def replacement(location: list[str | int]) -> str:
    """Return the replacement of a removed key; "" for a key that was never there.

    Args:
        location: Steps from the top of the file to the key.
    """
    return REMOVED.get(f"{location[0]}.{location[-1]}", "")
