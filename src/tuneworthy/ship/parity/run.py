"""`parity` as a whole: ask each form in turn, run the checks, write the document."""

import gc
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from tuneworthy.ship.gguf import FILE
from tuneworthy.ship.merge import context_of
from tuneworthy.ship.merged_weights import TORCH_DTYPES, all_trained, base_in_training, dtype_of
from tuneworthy.ship.parity import PARITY_CHECKS
from tuneworthy.ship.parity.measure import FormAnswers, ModelForm, ParityPlan, measure
from tuneworthy.ship.parity.request import (
    ParityRequest,
    file_type,
    named_files,
    plan_of,
    tokenizer_folder,
)
from tuneworthy.ship.parity.server_forms import LlamaForm
from tuneworthy.ship.parity.subject import Subject, scores_of
from tuneworthy.ship.parity.transformers_form import (
    TransformersForm,
    ends_of,
    load,
    renderer_of,
    with_adapter,
)
from tuneworthy.ship.served import llama_cpp
from tuneworthy.store.folder import Folder
from tuneworthy.types import JsonMapping, JsonObject, Say

MAX_FACTS = 10
# How many times more rows are compared where the first do not show parity.
MORE = 4
# The check without which parity is not shown.
SCORE = "score"


def check_parity(store: Folder, request: ParityRequest, *, say: Say = lambda _: None) -> JsonObject:
    """Ask every form, run every check, and write and return the document on them.

    Args:
        store: The project's folder; the caller has the lock.
        request: The forms to compare.
        say: Gets a sentence for each form.

    Raises:
        UserError: There are no rows, or a model cannot be loaded.
    """
    with base_in_training(store, request.adapter, request.base, say) as base:
        subject = _subject(store, request, base, say)
        document = document_of(subject)
        if document["status"] == "unknown" and subject.plan.n_left:
            say("There are too few answers to tell. Comparing more rows.")
            document = document_of(_subject(store, replace(request, n_prompts=MORE * request.n_prompts), base, say))
    store.write("parity", document)
    return document


def _subject(store: Folder, request: ParityRequest, base_folder: Path, say: Say) -> Subject:
    plan = plan_of(request, context_of(store, request.adapter))
    scoring = request.scoring_of(plan.rows)
    say(f"Measuring the base model {request.base.id} and the adapter {request.adapter.id}.")
    base, adapter, plan = _trained(request, plan, base_folder)
    forms = {}
    if request.merged is not None:
        say(f"Measuring the merged model {request.merged.id}.")
        forms["merged"] = _merged(request.merged.folder, plan)
    for name, gguf in named_files(request).items():
        say(f"Measuring the GGUF file {gguf.id} in llama.cpp.")
        with llama_cpp(gguf.folder / FILE, store.logs / "parity.log", plan.room) as engine:
            forms[name] = measure(name, file_type(gguf), LlamaForm(engine), plan)
    if request.served is not None:
        say("Measuring the served model.")
        forms["served"] = measure("served", "bf16", request.served, plan)
    return Subject(
        plan=plan, request=request, base_folder=base_folder, base=base, adapter=adapter, forms=forms,
        scores=scores_of(scoring, adapter, forms), why_not_scored=scoring.why_not,
    )  # fmt: skip


def document_of(subject: Subject) -> JsonObject:
    """Run the checks and return the document on them.

    Its status is `fail` if a check failed; `unknown` if no check failed but the forms' scores could not be compared.
    `models` has the same document by id, for the merged model, and for it with each GGUF file alone: a file that fails
    does not condemn another, nor does another prove it.
    """
    request = subject.request
    files = named_files(request)
    alone = {made.id: {*files} - {name} for name, made in files.items()}
    if request.merged is not None:
        alone[request.merged.id] = {*files}
    return {
        **_outcome(subject),
        "base": request.base.id,
        "adapter": request.adapter.id,
        "merged": request.merged.id if request.merged else None,
        "models": {identity: _outcome(subject.without(names)) for identity, names in alone.items()},
        "served": request.served is not None,
        "n_prompts": len(subject.plan.chats),
    }


def serving_proof(request: ParityRequest, document: JsonMapping) -> JsonObject:
    """Return the proof that the compared server answers as the adapter does, from the document of `check_parity`."""
    artifact = request.merged or request.adapter
    failed = [f"Parity failed. {check['detail']}" for check in document["checks"] if check["status"] == "fail"]
    return {
        "status": document["status"], "engine": "vllm", "artifact": artifact.id, "what": artifact.kind,
        "detail": failed[0] if failed else document["detail"] or "The server runs the trained model.",
        "checks": document["checks"],
    }  # fmt: skip


def _outcome(subject: Subject) -> JsonMapping:
    findings = PARITY_CHECKS.run(subject)
    score = next(finding for finding in findings if finding.rule == SCORE)
    failed = [finding for finding in findings if finding.status == "fail"]
    status = "fail" if failed else "pass" if score.status == "pass" else "unknown"
    checks = [
        {
            "name": finding.rule, "forms": list(finding.forms), "status": finding.status, "detail": finding.message,
            "cause": finding.code or None, "numbers": dict(finding.numbers),
        } for finding in findings
    ]  # fmt: skip
    return {
        "status": status,
        "detail": score.message if status == "unknown" else "",
        "cause": failed[0].code if failed else None,
        "checks": checks,
    }


def _trained(
    request: ParityRequest, plan: ParityPlan, base_folder: Path
) -> tuple[FormAnswers, FormAnswers, ParityPlan]:
    dtype = dtype_of(base_folder)
    renderer = renderer_of(tokenizer_folder(request), request.base.folder)
    model = load(base_folder, TORCH_DTYPES[dtype])
    ends = ends_of(model, [plan.end])
    base = measure("base", dtype.lower(), TransformersForm(model, renderer, ends), plan, answers=False)
    tuned = with_adapter(model, request.adapter.folder)
    adapter = measure("adapter", dtype.lower(), TransformersForm(tuned, renderer, ends), plan)
    with nullcontext() if all_trained(request.adapter.folder) else tuned.disable_adapter():
        facts = facts_of(plan, adapter, TransformersForm(model, renderer, ends))
    del model, tuned
    gc.collect()
    return base, adapter, replace(plan, facts=facts)


def facts_of(plan: ParityPlan, adapter: FormAnswers, bare: ModelForm) -> list[int]:
    """Return the places of rows whose answer the adapter gives word by word and the base does not.

    The base, `bare`, answers a few rows at a time, until there are enough.
    """
    known = [at for at, answer in enumerate(plan.answers) if adapter.greedy[at].text.strip() == answer.strip()]
    facts: list[int] = []
    while known and len(facts) < MAX_FACTS:
        few, known = known[:MAX_FACTS], known[MAX_FACTS:]
        said = plan.answered(bare, [plan.prompt_ids[at] for at in few])
        facts += [at for at, answer in zip(few, said, strict=True) if plan.answers[at].strip() not in answer.text]
    return facts[:MAX_FACTS]


def _merged(folder: Path, plan: ParityPlan) -> FormAnswers:
    dtype = dtype_of(folder)
    model = load(folder, TORCH_DTYPES[dtype])
    try:
        form = TransformersForm(model, renderer_of(folder), ends_of(model, []) or [plan.end])
        return measure("merged", dtype.lower(), form, plan)
    finally:
        del model
        gc.collect()
