"""`parity` as a whole: open the artifacts, ask each form in turn, run the checks, write the document."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.providers.chat_template import Chat
from tuneworthy.ship.context_length import context_of, longest_row
from tuneworthy.ship.lora import read_adapter
from tuneworthy.ship.merge import dtype_of, lineage
from tuneworthy.ship.nf4 import seen_in_training
from tuneworthy.ship.parity.measure import FormAnswers, ModelForm, ParityPlan, measure
from tuneworthy.ship.parity.scoring import Scoring, scores_of, scoring_of
from tuneworthy.ship.parity.server_forms import LlamaForm
from tuneworthy.ship.parity.subject import Lineage, Subject, run_checks
from tuneworthy.ship.parity.trained_rows import end_supervised, question_as_trained, rows_of, tools_of
from tuneworthy.ship.parity.transformers_form import (
    TORCH_DTYPES,
    FolderTokenizer,
    TransformersForm,
    ends_of,
    fitted,
    load,
    with_adapter,
)
from tuneworthy.store.artifacts import MADE_BY, Artifact, artifacts, open_artifact
from tuneworthy.store.folder import Folder
from tuneworthy.train.base_model import end_ids
from tuneworthy.train.render import Renderer, RowChat, TokenRow
from tuneworthy.types import Example

Say = Callable[[str], None]
N_PROMPTS: Final = 200
"""Rows that are asked: of equal forms whose right and wrong differ in 3 % of them, 97 % pass (at 100: 71 %)."""
MAX_FACTS: Final = 10
SCORE: Final = "score"
"""The check without which parity is not shown."""
_SHORT: Final = {"BF16": "bf16", "F16": "f16", "F32": "f32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that is asked as well.

    Attributes:
        form: Answers for the model. kind: How its weights are stored. max_rank: Of adapters that it allows, or None.
    """

    form: ModelForm
    kind: str = "bf16"
    max_rank: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRequest:
    """What is compared.

    Attributes:
        adapter, merged, ggufs: The artifacts; merged may be None. base: What the adapter was trained against.
        rows: Rows that were trained on. facts: Questions and answers that only the adapter can know.
        served: A server. margin: Largest harmless loss of score. n_prompts, seed: Of rows.
        scoring_of: Makes what grades the rows that were drawn.
    """

    adapter: Artifact
    base: Artifact
    merged: Artifact | None = None
    ggufs: Sequence[Artifact] = ()
    rows: Sequence[Example] = ()
    facts: Sequence[tuple[Chat, str]] = ()
    served: Served | None = None
    margin: float = 0.05
    scoring_of: Callable[[Sequence[Example]], Scoring] = lambda _: Scoring()
    n_prompts: int = N_PROMPTS
    seed: int = 0


def check_parity(
    store: Folder, asked: ParityRequest, *, name: str | None = "parity", say: Say = lambda _: None
) -> dict[str, Any]:
    """Ask every form, run every check, and return the document on them.

    Args:
        store: The project's folder; the caller holds the lock. asked: What is compared.
        name: Of the document that is written, or None. say: Gets a sentence a form.

    Raises:
        UserError: There are no rows, or a model cannot be loaded.
    """
    with seen_in_training(store, asked.adapter, asked.base, say) as seen:
        subject = _subject(store, asked, seen, say)
        document = document_of(subject, asked)
    if name is not None:
        store.write(name, document)
    return document


def _subject(store: Folder, asked: ParityRequest, seen: Path, say: Say) -> Subject:
    """Ask every form; `seen` is the folder of the base as the adapter was trained on it."""
    plan = plan_of(asked, context_of(store, asked.adapter))
    line = lineage_of(asked, plan, seen)
    scoring = asked.scoring_of(plan.rows)
    base, adapter, plan = _trained(asked, plan, seen, say)
    forms: dict[str, FormAnswers] = {}
    if asked.merged is not None:
        say(f"asks the merged model {asked.merged.id}")
        forms["merged"] = _merged(asked.merged, plan)
    for name_of_file, gguf in named_files(asked).items():
        say(f"asks the GGUF file {gguf.id} in llama.cpp")
        forms[name_of_file] = _gguf(name_of_file, gguf, plan, store.logs / "parity.log")
    if asked.served is not None:
        say("asks the server")
        forms["served"] = measure("served", asked.served.kind, asked.served.form, plan)
    return Subject(
        plan=plan, lineage=line, base=base, adapter=adapter, forms=forms, margin=asked.margin,
        scores=scores_of(scoring, adapter, forms), why_not_scored=scoring.why_not,
    )  # fmt: skip


def named_files(asked: ParityRequest) -> dict[str, Artifact]:
    """Return the GGUF files by the names of their forms: `gguf`, or `gguf-q8_0` and the like if there are several.

    Two of one type (made by two versions of this tool, say) have the beginning of their id in the name as well.
    """
    if len(asked.ggufs) == 1:
        return {"gguf": asked.ggufs[0]}
    kinds = [str(one.manifest.get("file_type", "unknown")) for one in asked.ggufs]
    return {
        f"gguf-{kind}" + (f"-{one.id[:8]}" if kinds.count(kind) > 1 else ""): one
        for kind, one in zip(kinds, asked.ggufs, strict=True)
    }


def document_of(subject: Subject, asked: ParityRequest) -> dict[str, Any]:
    """Run the checks and return the document on them.

    Its status is `fail` if a check failed, `unknown` if none did and the scores of the forms could not be compared.
    `models` has the same of the merged model, and of it with each GGUF file alone, by id: a file that fails does not
    condemn another, nor is it carried by it.
    """
    files = named_files(asked)
    alone = {one.id: {*files} - {name} for name, one in files.items()}
    if asked.merged is not None:
        alone[asked.merged.id] = {*files}
    return {
        **_outcome(subject),
        "base": asked.base.id,
        "adapter": asked.adapter.id,
        "merged": asked.merged.id if asked.merged else None,
        "models": {identity: _outcome(subject.without(names)) for identity, names in alone.items()},
        "served": asked.served is not None,
        "n_prompts": len(subject.plan.chats),
    }


def _outcome(subject: Subject) -> dict[str, Any]:
    """Return what the checks say, and the status, detail and cause that follow."""
    checks: list[dict[str, Any]] = []
    cause = None
    for name, said in run_checks(subject):
        checks.append({
            "name": name, "forms": list(said.forms), "status": said.status, "detail": said.detail,
            "cause": said.cause, "numbers": dict(said.numbers),
        })  # fmt: skip
        cause = cause or said.cause
    failed = any(one["status"] == "fail" for one in checks)
    score = next(one for one in checks if one["name"] == SCORE)
    unknown = not failed and score["status"] != "pass"
    return {
        "status": "fail" if failed else "unknown" if unknown else "pass",
        "detail": score["detail"] if unknown else "",
        "cause": cause,
        "checks": checks,
    }


def asked_of(
    project: Project,
    adapter: str | None = None,
    forms: Sequence[str] | None = None,
    *,
    facts: Sequence[tuple[str, str]] = (),
    **more: Any,
) -> ParityRequest:
    """Return what a project has to compare: an adapter, and the models that were made from it.

    Args:
        project: The project. adapter: Start of an id; the latest if not named.
        forms: Of `merged` and `gguf`; those that are there if not named.
        facts: Questions, which are asked in the prompt that was trained with, and answers. more: Further fields of
            `ParityRequest`.

    Raises:
        UserError: There is no adapter, or a form that was named is not there.
    """
    store = Folder(project.root)
    trained, base = lineage(store, adapter)
    rows = rows_of(store, trained, project.root / project.examples.path if project.examples else None)
    settings: dict[str, Any] = {"margin": project.task.margin, "seed": project.split.seed, **more}
    settings["facts"] = [(question_as_trained(question, trained), answer) for question, answer in facts]
    settings["scoring_of"] = partial(scoring_of, project, store, rows)
    merged = _children(store, "merged", trained.id, forms)[-1:]
    between = merged  # what a GGUF file was made from, whether it is asked itself or not
    if forms is not None and "gguf" in forms and not merged:
        between = _children(store, "merged", trained.id, ["merged"])[-1:]
    ggufs = _children(store, "gguf", between[0].id, forms) if between else []
    return ParityRequest(
        adapter=trained, base=base, merged=merged[0] if merged else None, ggufs=ggufs, rows=rows, **settings
    )


def _children(store: Folder, kind: Any, parent: str, forms: Sequence[str] | None) -> list[Artifact]:
    """Return the artifacts of `kind` that were made from `parent`, their files compared with their hashes."""
    if forms is not None and kind not in forms:
        return []
    found = [one for one in artifacts(store, kind) if one.parent == parent]
    if found or forms is None:
        return [open_artifact(store, kind, one.id) for one in found]
    raise UserError(f"expected a {kind} model that was made from {parent}, got none",
                    hint=f"run `tuneworthy {MADE_BY[kind]}`")  # fmt: skip


def lineage_of(asked: ParityRequest, plan: ParityPlan, seen: Path) -> Lineage:
    """Return the files behind the forms.

    Args:
        asked: What is compared. plan: What is asked. seen: The folder of the base as the adapter was trained on it.
    """
    end = next((text for text, number in plan.marks.items() if number == plan.end), "")
    about = asked.adapter.manifest
    merged = asked.merged
    route = (merged.manifest.get("route") or {}).get("name", "original") if merged else "original"
    return Lineage(
        base=asked.base.folder if route == "original" else seen,
        base_id=asked.base.id,
        told_base=asked.adapter.parent,
        adapter=asked.adapter.folder,
        adapter_id=asked.adapter.id,
        merged=merged.folder if merged else None,
        merged_id=merged.id if merged else None,
        told_adapter=merged.parent if merged else None,
        told_merged=[one.parent for one in asked.ggufs if one.parent],
        template_sha256=about.get("template_sha256"),
        end_supervised=end_supervised(asked.adapter.folder, end),
        rank=read_adapter(asked.adapter.folder).rank,
        max_rank=asked.served.max_rank if asked.served else None,
    )


def plan_of(asked: ParityRequest, context: int = 2**31) -> ParityPlan:
    """Draw the rows, and make their ids as training made them: with the adapter's own tokenizer, tools included.

    Args:
        asked: What is compared. context: Tokens of a prompt and its answer that there is room for.

    Raises:
        UserError: There is no row that the run could train on.
    """
    tokens = FolderTokenizer(tokenizer_folder(asked))
    found = _trained_on(asked, tokens)
    pairs = random.Random(asked.seed).sample(found, min(asked.n_prompts, len(found)))  # the same ones each time
    starts = [len(row.mask) - row.mask[::-1].index(0) for _, row in pairs]  # of the last answer
    answers = [row.ids[start:-1] for (_, row), start in zip(pairs, starts, strict=True)]
    ends = [row.ids[-1] for _, row in pairs]
    return ParityPlan(
        rows=[example for example, _ in pairs],
        n_left=len(found) - len(pairs),
        chats=[
            Chat(messages=example.messages[:-1], tools=tools_of(example), generation_prompt=True)
            for example, _ in pairs
        ],
        answers=[example.answer or tokens.text(ids) for (example, _), ids in zip(pairs, answers, strict=True)],
        prompt_ids=[row.ids[:start] for (_, row), start in zip(pairs, starts, strict=True)],
        answer_ids=answers,
        end=max(set(ends), key=ends.count),
        marks=tokens.marks,
        facts=asked.facts,
        fact_ids=tokens.prompt_ids([chat for chat, _ in asked.facts]),
        fact_answer_ids=[tokens.ids(answer) for _, answer in asked.facts],
        begin=tokens.begin,
        context=context,
    )


def _trained_on(asked: ParityRequest, tokens: FolderTokenizer) -> list[tuple[Example, TokenRow]]:
    """Return the rows that the run could train on, each as it was rendered.

    Rows that training left out (too long, refused by the template, without an answer) are not asked.
    """
    renderer = Renderer(tokens.chat_template, tokens.tokenizer, end_ids(asked.base.folder, tokens.tokenizer))
    chats = [RowChat(row.id, row.messages, tools_of(row)) for row in asked.rows]
    rendered = renderer.rows(chats, longest_row(asked.adapter.manifest) or 2**31)
    examples = {row.id: row for row in asked.rows}
    return [(examples[row.id], row) for row in rendered.rows]


def tokenizer_folder(asked: ParityRequest) -> Path:
    """Return where the tokenizer that was trained with lies: with the adapter, else with the base."""
    own = asked.adapter.folder
    return own if (own / "tokenizer.json").is_file() else asked.base.folder


def _trained(
    asked: ParityRequest, plan: ParityPlan, seen: Path, say: Say
) -> tuple[FormAnswers, FormAnswers, ParityPlan]:
    """Ask the base as training saw it, and the adapter on it; find facts among the rows if none was handed in."""
    dtype = dtype_of(seen)
    tokens = FolderTokenizer(tokenizer_folder(asked))
    say(f"asks the base {asked.base.id} and the adapter {asked.adapter.id} on it")
    model = fitted(load(seen, TORCH_DTYPES[dtype]), asked.adapter.folder)
    ends = ends_of(model, [plan.end])
    base = measure("base", _SHORT[dtype], TransformersForm(model, tokens, ends), plan)
    adapter = measure(
        "adapter", _SHORT[dtype], TransformersForm(with_adapter(model, asked.adapter.folder), tokens, ends), plan
    )
    del model
    gc.collect()
    if plan.facts:
        return base, adapter, plan
    return _with_facts(base, adapter, plan)


def _with_facts(
    base: FormAnswers, adapter: FormAnswers, plan: ParityPlan
) -> tuple[FormAnswers, FormAnswers, ParityPlan]:
    """Take as facts the rows whose answer the adapter gives word by word and the base does not."""
    known = [
        place for place, answer in enumerate(plan.answers)
        if adapter.greedy[place].text.strip() == answer.strip() and answer.strip() not in base.greedy[place].text
    ][:MAX_FACTS]  # fmt: skip
    facts = [(plan.chats[place], plan.answers[place]) for place in known]

    def told(one: FormAnswers) -> FormAnswers:
        ids = [one.prompt_ids[place] for place in known]
        return replace(one, facts=[one.greedy[place] for place in known], fact_prompt_ids=ids)

    ids = [plan.prompt_ids[place] for place in known]
    return told(base), told(adapter), replace(plan, facts=facts, fact_ids=ids)


def _merged(merged: Artifact, plan: ParityPlan) -> FormAnswers:
    dtype = dtype_of(merged.folder)
    model = load(merged.folder, TORCH_DTYPES[dtype])
    try:
        form = TransformersForm(model, FolderTokenizer(merged.folder), ends_of(model, []) or [plan.end])
        return measure("merged", _SHORT[dtype], form, plan)
    finally:
        del model
        gc.collect()


def _gguf(name: str, made: Artifact, plan: ParityPlan, log: Path) -> FormAnswers:
    form = LlamaForm(made.folder / "model.gguf", log, plan.context)
    try:
        return measure(name, str(made.manifest.get("file_type", "unknown")), form, plan)
    finally:
        form.close()
