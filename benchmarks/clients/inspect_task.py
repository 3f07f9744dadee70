"""The same cases as an Inspect task: `inspect eval inspect_task.py -T cases=CASES`."""

import json
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import match
from inspect_ai.solver import generate


@task
def mock(cases: str) -> Task:
    """Answer and match."""
    rows = [json.loads(line) for line in Path(cases).read_text().splitlines()]
    samples = [Sample(input=row["input"], target=row["expected"], id=row["id"]) for row in rows]
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=match(location="exact"))
