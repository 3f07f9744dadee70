"""What `parity` compares: the artifacts of a project, the rows that are asked, and the plan that every form follows."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson

from tuneworthy.cases import read_cases, read_examples
from tuneworthy.cases.normalize import tools_of
from tuneworthy.cases.splits import example_case
from tuneworthy.config.project import Project
from tuneworthy.dataset.freeze import find_version
from tuneworthy.errors import UserError
from tuneworthy.ship.merge import lineage, longest_row
from tuneworthy.ship.parity.measure import ModelForm, ParityPlan
from tuneworthy.ship.parity.transformers_form import renderer_of
from tuneworthy.store.artifacts import Artifact, Kind, artifacts, open_artifact
from tuneworthy.store.folder import Folder
from tuneworthy.train.render import RowChat
from tuneworthy.train.training_rows import Student, TaskMetric, kind_of, own_grader
from tuneworthy.types import Case, Example, Examples, JsonMapping, Variant, frozen, positional

# Rows that are asked: equal forms whose right and wrong differ in 3 % of the rows pass in 97 % (at 100: 71 %).
N_PROMPTS = 200
# In an adapter's folder: its first rows in stretches of text, each with whether it is supervised.
RENDERED = "rendered.json"


@positional
class Scoring:
    """What grades the answers of a form.

    Attributes:
        metric: The grader, with the rows that it can grade as its cases; None without one.
        places: Places of those rows among those that are asked, ``(n_cases,)``.
        why_not: Why nothing is scored; "" if something is.
    """

    metric: TaskMetric | None = None
    places: tuple[int, ...] = ()
    why_not: str = "no grader is configured"


def scoring_of(project: Project, store: Folder, rows: Examples, drawn: Examples) -> Scoring:
    """Return what grades `drawn`: the project's first grader, on those that are cases, each question once.

    Args:
        project: The project.
        store: Its folder.
        rows: Rows that were trained on, for graders that are made from examples.
        drawn: Rows that are asked.

    Raises:
        UserError: The cases cannot be read, or the grader cannot be made.
    """
    if project.graders[0].type == "judge":
        return Scoring(why_not="the first grader is a judge, which would need model calls")
    cases = read_cases(project.path(project.cases.path)).cases
    kind = kind_of(store, cases, rows)
    gradable: dict[str, tuple[int, Case]] = {}
    for place, row in enumerate(drawn):
        if (case := example_case(row, kind)) is not None:
            gradable.setdefault(case.id, (place, case))
    if not gradable:
        return Scoring(
            why_not=f"none of the training rows used as prompts can be graded as a case of this task type ({kind.name})"
        )
    places, asked_cases = zip(*gradable.values(), strict=True)
    return Scoring(TaskMetric(grader=own_grader(project, cases, rows, kind), cases=asked_cases), places, "")


@frozen
class ParityRequest:
    """Forms to compare.

    Attributes:
        adapter: The adapter.
        base: Base of the adapter.
        merged: The merged model, if it is compared.
        ggufs: The GGUF files that are compared.
        rows: Rows that were trained on.
        served: A server that is compared.
        margin: Largest harmless loss of score.
        scoring_of: Makes what grades the rows that were drawn.
        n_prompts: Rows to draw.
        seed: Of the draw.
    """

    adapter: Artifact
    base: Artifact
    merged: Artifact | None = None
    ggufs: Sequence[Artifact] = ()
    rows: Examples = ()
    served: ModelForm | None = None
    margin: float = 0.05
    scoring_of: Callable[[Examples], Scoring] = lambda _: Scoring()
    n_prompts: int = N_PROMPTS
    seed: int = 0


def request_of(project: Project, *, served: ModelForm | None = None) -> ParityRequest:
    """Return the latest adapter of a project, and the models that were made from it, to compare.

    Args:
        project: The project.
        served: A server to compare as well.

    Raises:
        UserError: There is no adapter.
    """
    store = Folder(project.root)
    trained, base = lineage(store)
    rows = rows_of(store, trained, project.path(project.examples.path) if project.examples else None)
    merged = _children(store, "merged", trained.id)[-1:]
    return ParityRequest(
        adapter=trained,
        base=base,
        merged=merged[0] if merged else None,
        ggufs=_children(store, "gguf", merged[0].id) if merged else [],
        rows=rows,
        served=served,
        margin=project.task.margin,
        scoring_of=partial(scoring_of, project, store, rows),
        seed=project.split.seed,
    )


def _children(store: Folder, kind: Kind, parent: str) -> list[Artifact]:
    return [open_artifact(store, kind, made.id) for made in artifacts(store, kind) if made.parent == parent]


def named_files(request: ParityRequest) -> dict[str, Artifact]:
    """Return the GGUF files by the names of their forms: `gguf`, or `gguf-q8_0` and the like if there are several.

    Two of one type (made by two versions of this tool, say) have the beginning of their id in the name as well.
    """
    if len(request.ggufs) == 1:
        return {"gguf": request.ggufs[0]}
    kinds = [file_type(made) for made in request.ggufs]
    return {
        f"gguf-{kind}" + (f"-{made.id[:8]}" if kinds.count(kind) > 1 else ""): made
        for kind, made in zip(kinds, request.ggufs, strict=True)
    }


def file_type(made: Artifact) -> str:
    return made.about.file_type or "unknown"


def tokenizer_folder(request: ParityRequest) -> Path:
    """Return where the tokenizer that was trained with lies: with the adapter, else with the base."""
    own = request.adapter.folder
    return own if (own / "tokenizer.json").is_file() else request.base.folder


def plan_of(request: ParityRequest, context: int = 2**31) -> ParityPlan:
    """Draw the rows, and make their ids as training made them: with the adapter's own tokenizer, tools included.

    Args:
        request: The forms to compare.
        context: Tokens of a prompt and its answer that there is room for.

    Raises:
        UserError: There is no row that the run could train on.
    """
    renderer = renderer_of(tokenizer_folder(request), request.base.folder)
    chats = [RowChat(row.id, row.messages, tools_of(row)) for row in request.rows]
    made = renderer.rows(chats, longest_row(request.adapter.about) or 2**31)  # the rows that training left out are not
    originals = {row.id: row for row in request.rows}
    rendered = [(originals[row.id], row) for row in made.rows]
    pairs = random.Random(request.seed).sample(rendered, min(request.n_prompts, len(rendered)))  # the same each time
    examples, rows = [example for example, _ in pairs], [row for _, row in pairs]
    starts = [len(row.mask) - row.mask[::-1].index(0) for row in rows]  # of the last answer
    answer_ids = [row.ids[start:-1] for row, start in zip(rows, starts, strict=True)]
    ends = [row.ids[-1] for row in rows]
    return ParityPlan(
        rows=examples,
        n_left=len(rendered) - len(pairs),
        chats=[RowChat(example.id, example.messages[:-1], tools_of(example)) for example in examples],
        answers=[example.answer or renderer.text(ids) for example, ids in zip(examples, answer_ids, strict=True)],
        prompt_ids=[row.ids[:start] for row, start in zip(rows, starts, strict=True)],
        answer_ids=answer_ids,
        end=max(set(ends), key=ends.count),
        marks=dict(renderer.tokenizer.get_added_vocab()),
        begin=renderer.tokenizer.bos_token_id,
        context=context,
    )


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
        rows: Examples = list(version.examples())
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


def as_trained(row: Example, prompt: JsonMapping) -> Example:
    """Return a row with the prompt of a training run: `system` and `user`, as the adapter's manifest has them."""
    return replace(row, messages=_student(prompt).row(row).messages)


def _student(prompt: JsonMapping) -> Student:
    user = prompt.get("user") or "{{ input }}"
    return Student(variant=Variant(name="trained", model="", model_identity={}, system=prompt.get("system"), user=user))


def is_end_supervised(adapter: Path, plan: ParityPlan) -> bool:
    """Whether the mask of all rows that a run stored covers the token that ends an answer; true if it stored no rows.

    Args:
        adapter: Folder of the adapter.
        plan: Names the token.
    """
    end = next((text for text, number in plan.marks.items() if number == plan.end), "").strip()
    path = adapter / RENDERED
    rows = orjson.loads(path.read_bytes()) if path.is_file() else ()
    return all("".join(part["text"] for part in row if part["supervised"]).rstrip().endswith(end) for row in rows)
