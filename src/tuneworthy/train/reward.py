"""The project's first grader as the reward of TRL's GRPOTrainer, for the script that `plan --emit grpo` writes."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneworthy.cases import read_dataset
from tuneworthy.cases.splits import example_case
from tuneworthy.config import load
from tuneworthy.graders.apply import grade_all
from tuneworthy.store import Folder
from tuneworthy.train.training_rows import Material, gather, own_grader
from tuneworthy.types import Case, Response, Trace

Reward = Callable[..., list[float | None]]


def asked_rows(material: Material) -> Iterator[tuple[str, Case]]:
    """Yield the id and the case of each training row that a grader can score and whose prompt is text alone."""
    for row in material.train:
        case = example_case(row, material.kind)
        if case is not None and not case.tools and not any(turn.get("tool_calls") for turn in case.messages or ()):
            yield row.id, replace(case, id=row.id)  # two rows may ask the same


def grader_reward(root: Path | str) -> Reward:
    """Return a reward function: the score of each completion, 0..1, or None where it cannot be scored.

    TRL calls it with the completions, a list of messages each, and with the columns of the rows; `row` is the id of
    the training row.

    Args:
        root: The project folder.

    Raises:
        UserError: There are no rows, or the grader cannot be built.
    """
    project = load(Path(root))
    dataset = read_dataset(project)
    material = gather(
        project, Folder(project.root), unsafe=True, seed=project.train.seed, say=lambda _: None, dataset=dataset
    )
    grader = own_grader(project, dataset.cases, material.train, material.kind)
    cases = dict(asked_rows(material))

    def first_grader(
        completions: Sequence[Sequence[dict[str, Any]]], row: Sequence[str], **_: Any
    ) -> list[float | None]:
        traces = [
            Trace(
                case_id=name, variant_id="grpo", repeat=0, messages=(),
                response=Response(text=str(turns[-1]["content"]), finish_reason="stop"),
            )
            for turns, name in zip(completions, row, strict=True)
        ]  # fmt: skip
        return [score.value for score in asyncio.run(grade_all(grader, traces, cases))]

    return first_grader
