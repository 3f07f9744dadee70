"""Every sentence about training that a person reads."""

from collections.abc import Mapping
from typing import Final

PROJECT_FILE: Final = "project file"
THE_ROWS: Final = "the rows"
SET_BASE: Final = "Set [train] base to a model whose weights are on this machine."
LOWER_RATE: Final = "Lower [train] learning_rate."
USE_LORA: Final = 'Set [train] method to "lora", "qlora" or "full".'
IMPORT_ROWS: Final = "Run `tuneworthy data import FILE` and `tuneworthy data build`, or set [examples]."
ANSWERS_ONLY: Final = "The pilot and the check of the learning rate train on answers, not on pairs."
CHECK_TEMPLATE: Final = "Check the rows and the chat template of [train] base."
SHAPE_HINT: Final = "Specify a GGUF file, or a folder with the config.json of a decoder-only text model."


# Texts that a run generates before and between its steps.
COUNTED: Final[Mapping[str, str]] = {
    "questions": "Rehearsal questions",
    "answers": "Rehearsal answers",
    "held_out": "Evaluation, held-out answers",
}

# Rows
LEFT_OUT_REASONS: Final[Mapping[str, str]] = {
    "too_long": "longer than max_length",
    "refused": "rejected by the chat template",
    "no_answer": "not ending with an assistant answer",
    "control_tokens": "containing the model's control tokens",
    "prompt_differs": "with a prompt that renders differently without its answer",
    "no_end": "without an end-of-turn token, so the model would not learn to stop",
}


def evaluated(step: int, metric: float, best: float) -> str:
    """Report an evaluation."""
    return f"Step {step}: the task metric on held-out rows is {metric:.1%} (best so far: {best:.1%})."
