"""What is written for another trainer, and the formats there are.

Every value that goes into a file is written as a literal of its language (`repr`, YAML), never pasted into source, and
nothing is handed to a shell: `command` is a list of arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tuneworthy.errors import UnknownName
from tuneworthy.train.settings import TrainingSettings

# Format to the module whose `emit` writes it.
FORMATS: Final[Mapping[str, str]] = {
    "trl": "tuneworthy.train.emit.trl",
    "unsloth": "tuneworthy.train.emit.unsloth",
    "axolotl": "tuneworthy.train.emit.axolotl",
    "accelerate": "tuneworthy.train.emit.accelerate",
    "grpo": "tuneworthy.train.emit.grpo",
}
# The file of rows beside what is written.
ROWS: Final = "rows.jsonl"


@dataclass(frozen=True, slots=True)
class EmitPlan:
    """What another trainer trains.

    Attributes:
        settings: How it is trained.
        base: Name or folder of the model.
        rows: The JSON Lines file of token ids and labels, or of prompts (`grpo`).
        output: Folder for the adapter.
        n_devices: GPUs.
        project: Folder of the project, whose grader rewards answers (`grpo`).
        max_answer: Most tokens of such an answer.
    """

    settings: TrainingSettings
    base: str
    rows: str = ROWS
    output: str = "adapter"
    n_devices: int = 1
    project: str = ""
    max_answer: int = 512


@dataclass(frozen=True, slots=True)
class Emitted:
    """What was written.

    Attributes:
        files: Text by file name; the first is the main one.
        command: How it is run, as arguments.
        notes: What differs from the run of `tuneworthy train`.
    """

    files: Mapping[str, str]
    command: Sequence[str]
    notes: Sequence[str] = field(default=())

    @property
    def main(self) -> str:
        """The text of the main file."""
        return next(iter(self.files.values()))


def emit(form: str, plan: EmitPlan) -> Emitted:
    """Write `plan` for the trainer `form`.

    Raises:
        UserError: There is no such format (`UnknownName`), or it cannot do what the plan asks.
    """
    from importlib import import_module

    if form not in FORMATS:
        raise UnknownName("format", form, list(FORMATS))
    write: Callable[[EmitPlan], Emitted] = import_module(FORMATS[form]).emit
    return write(plan)


def targets_of(settings: TrainingSettings) -> str | list[str]:
    """Return the target modules as PEFT takes them."""
    return settings.target_modules if isinstance(settings.target_modules, str) else list(settings.target_modules)
