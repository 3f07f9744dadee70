"""Every sentence about training that a person reads."""

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


def evaluated(step: int, metric: float, best: float) -> str:
    return f"Step {step}: the task metric on held-out rows is {metric:.1%} (best so far: {best:.1%})."
