"""What `parity` compares: the artifacts of a project, the rows that are asked, and the plan that every form follows."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.providers.chat_template import Chat
from tuneworthy.ship.ancestry import lineage, longest_row
from tuneworthy.ship.parity.measure import ModelForm, ParityPlan
from tuneworthy.ship.parity.scoring import Scoring, scoring_of
from tuneworthy.ship.parity.trained_rows import question_as_trained, rows_of, tools_of
from tuneworthy.ship.parity.transformers_form import FolderTokenizer
from tuneworthy.store.artifacts import MADE_BY, Artifact, Kind, artifacts, open_artifact
from tuneworthy.store.folder import Folder
from tuneworthy.train.base_model import end_ids
from tuneworthy.train.render import Renderer, RowChat, TokenRow
from tuneworthy.types import Example

# Rows that are asked: of equal forms whose right and wrong differ in 3 % of them, 97 % pass (at 100: 71 %).
N_PROMPTS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityServer:
    """A server that is compared as well.

    Attributes:
        form: Answers for the model.
        kind: How its weights are stored.
        max_rank: Rank of adapters that it allows; None if it applies none.
    """

    form: ModelForm
    kind: str = "bf16"
    max_rank: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRequest:
    """Forms to compare.

    Attributes:
        adapter: The adapter.
        base: Base of the adapter.
        merged: The merged model, if it is compared.
        ggufs: The GGUF files that are compared.
        rows: Rows that were trained on.
        facts: Questions and answers that only the adapter can know.
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
    rows: Sequence[Example] = ()
    facts: Sequence[tuple[Chat, str]] = ()
    served: ParityServer | None = None
    margin: float = 0.05
    scoring_of: Callable[[Sequence[Example]], Scoring] = lambda _: Scoring()
    n_prompts: int = N_PROMPTS
    seed: int = 0


def request_of(
    project: Project,
    adapter: str | None = None,
    forms: Sequence[str] | None = None,
    *,
    facts: Sequence[tuple[str, str]] = (),
    served: ParityServer | None = None,
    n_prompts: int = N_PROMPTS,
) -> ParityRequest:
    """Return an adapter of a project, and the models that were made from it, to compare.

    Args:
        project: The project.
        adapter: Start of an id; the latest if not named.
        forms: Of `merged` and `gguf`; those that exist if not named.
        facts: Questions and their answers.
        served: A server to compare as well.
        n_prompts: Rows to ask.

    Raises:
        UserError: There is no adapter, or a form that was named does not exist.
    """
    store = Folder(project.root)
    trained, base = lineage(store, adapter)
    rows = rows_of(store, trained, project.path(project.examples.path) if project.examples else None)
    merged = _children(store, "merged", trained.id, forms)[-1:]
    parents = merged  # what a GGUF file was made from, whether it is compared or not
    if forms is not None and "gguf" in forms and not merged:
        parents = _children(store, "merged", trained.id, ["merged"])[-1:]
    return ParityRequest(
        adapter=trained,
        base=base,
        merged=merged[0] if merged else None,
        ggufs=_children(store, "gguf", parents[0].id, forms) if parents else [],
        rows=rows,
        facts=[(question_as_trained(question, trained), answer) for question, answer in facts],
        served=served,
        margin=project.task.margin,
        scoring_of=partial(scoring_of, project, store, rows),
        n_prompts=n_prompts,
        seed=project.split.seed,
    )


def _children(store: Folder, kind: Kind, parent: str, forms: Sequence[str] | None) -> list[Artifact]:
    if forms is not None and kind not in forms:
        return []
    children = [open_artifact(store, kind, made.id) for made in artifacts(store, kind) if made.parent == parent]
    if not children and forms is not None:
        message, hint = "No {kind} model has been made from {parent} yet.", "Run `tuneworthy {verb}`."
        raise UserError(message.format(kind=kind, parent=parent), hint=hint.format(verb=MADE_BY[kind]))
    return children


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
    """Return how the weights of a GGUF file are stored."""
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
    tokenizer = FolderTokenizer(tokenizer_folder(request))
    rendered = _trained_on(request, tokenizer)
    pairs = random.Random(request.seed).sample(rendered, min(request.n_prompts, len(rendered)))  # the same each time
    examples, rows = [example for example, _ in pairs], [row for _, row in pairs]
    starts = [len(row.mask) - row.mask[::-1].index(0) for row in rows]  # of the last answer
    answer_ids = [row.ids[start:-1] for row, start in zip(rows, starts, strict=True)]
    ends = [row.ids[-1] for row in rows]
    return ParityPlan(
        rows=examples,
        n_left=len(rendered) - len(pairs),
        chats=[
            Chat(messages=example.messages[:-1], tools=tools_of(example), generation_prompt=True)
            for example in examples
        ],
        answers=[example.answer or tokenizer.text(ids) for example, ids in zip(examples, answer_ids, strict=True)],
        prompt_ids=[row.ids[:start] for row, start in zip(rows, starts, strict=True)],
        answer_ids=answer_ids,
        end=max(set(ends), key=ends.count),
        marks=tokenizer.marks,
        facts=request.facts,
        fact_ids=tokenizer.prompt_ids([chat for chat, _ in request.facts]),
        fact_answer_ids=[tokenizer.ids(answer) for _, answer in request.facts],
        begin=tokenizer.begin,
        context=context,
    )


def _trained_on(request: ParityRequest, tokenizer: FolderTokenizer) -> list[tuple[Example, TokenRow]]:
    """Return the rows that the run could train on, each as it was rendered.

    Rows that training left out (too long, refused by the template, without an answer) are not asked.
    """
    ends = end_ids(request.base.folder, tokenizer.tokenizer)
    renderer = Renderer(tokenizer.chat_template, tokenizer.tokenizer, ends)
    chats = [RowChat(row.id, row.messages, tools_of(row)) for row in request.rows]
    rendered = renderer.rows(chats, longest_row(request.adapter.about) or 2**31)
    examples = {row.id: row for row in request.rows}
    return [(examples[row.id], row) for row in rendered.rows]
