"""The rows that an adapter was trained on, in the prompt of that training, and what the run stored of its mask."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson

from tuneworthy.cases import read_examples
from tuneworthy.dataset.freeze import find_version
from tuneworthy.errors import UserError
from tuneworthy.providers.chat_template import Chat
from tuneworthy.store.artifacts import Artifact
from tuneworthy.store.folder import Folder
from tuneworthy.train.training_rows import Student
from tuneworthy.types import Example, JsonObject, Message, Variant

# In an adapter's folder: its first rows in stretches of text, each with whether it is supervised.
RENDERED: Final = "rendered.json"


def rows_of(store: Folder, trained: Artifact, examples: Path | None = None) -> list[Example]:
    """Return the rows that an adapter was trained on, with the prompt that they were trained with.

    Args:
        store: The project's folder.
        trained: The adapter.
        examples: The project's examples, for a run that took no frozen version.

    Raises:
        UserError: Its dataset is missing, or was changed.
    """
    name = trained.about.dataset
    version = find_version(store, name) if name else None
    if version is not None:
        version.verify()
        rows: Sequence[Example] = list(version.examples())
    elif examples is not None and examples.is_file():
        rows = read_examples(examples).examples
    else:
        raise UserError(
            f"The adapter {trained.id} was trained on the dataset {name}, which is missing.",
            hint="Run `tuneworthy data build`, then train again.",
        )
    prompt = trained.about.prompt
    if prompt is None:
        return list(rows)
    return [as_trained(row, prompt) for row in rows if _student(prompt).fits(row)]


def as_trained(row: Example, prompt: Mapping[str, Any]) -> Example:
    """Return a row with the prompt of a training run: `system` and `user`, as the adapter's manifest has them."""
    return replace(row, messages=_student(prompt).row(row).messages)


def _student(prompt: Mapping[str, Any]) -> Student:
    user = prompt.get("user") or "{{ input }}"
    variant = Variant(name="trained", model="", model_identity={}, system=prompt.get("system"), user=user)
    return Student(variant=variant)


def question_as_trained(text: str, trained: Artifact) -> Chat:
    """Return a question in the prompt that an adapter was trained with, in the place of the user's text.

    Args:
        text: The question.
        trained: The adapter.

    Raises:
        UserError: It lacks variables of that prompt.
    """
    turns: tuple[Message, ...] = ({"role": "user", "content": text}, {"role": "assistant", "content": "?"})
    row, prompt = Example(messages=turns, id=""), trained.about.prompt
    if prompt is not None:
        if not _student(prompt).fits(row):
            raise UserError(
                f"The fact {text!r} lacks variables of the training prompt.",
                hint="Write every variable on its own line as `name: value`.",
            )
        row = as_trained(row, prompt)
    return Chat(messages=row.messages[:-1], generation_prompt=True)


def tools_of(row: Example) -> tuple[JsonObject, ...]:
    """Return the tools that a row was trained with."""
    tools = row.meta.get("tools")
    return tuple(tools) if isinstance(tools, list) else ()


def end_supervised(adapter: Path, end: str) -> bool | None:
    """Say whether the rows that a run stored end with `end` inside the mask; None if it stored no rows.

    Args:
        adapter: Folder of the adapter.
        end: Text of the token that ends an answer.
    """
    path = adapter / RENDERED
    if not path.is_file():
        return None
    rows = orjson.loads(path.read_bytes())
    last = ["".join(part["text"] for part in row if part["supervised"]).rstrip() for row in rows]
    return all(text.endswith(end.strip()) for text in last) if last else None
