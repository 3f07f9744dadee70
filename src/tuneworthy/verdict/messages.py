"""Sentences of the verdict: gates, reasons, next steps, costs, the pilot, the checklist, errors in documents."""

from collections.abc import Mapping, Sequence
from typing import Final

from tuneworthy.catalogue import Catalogue
from tuneworthy.errors import join_sentences
from tuneworthy.verdict.base import ErrorClass, ErrorShare, GateResult, Option, Outcome, Verdict

say = Catalogue(
    {
        "score": "{score:.1%} ({bounds}{n} test cases)",
        "planned_method": "Method: {method}. {why} {step} [{source}]",
        # Fixes that several gates share
        "run": "Run `tuneworthy run`.",
        "run_rung": "Run `tuneworthy run --rung {rung}`.",
        "build": "Run `tuneworthy data build`.",
        "pilot": "Run `tuneworthy train --pilot`.",
        # Gates before a decision
        "waived": "Waived: {reason} Result of the gate: {message}",
        "add_cases": (
            "Add cases: draw them with `tuneworthy cases sample --from FILE --n 100`, then run `tuneworthy cases "
            "label`."
        ),
        "n_test": "The test set has {n} cases.",
        "overlaps": "Examples, dev cases and test cases overlap ({counts}).",
        "no_examples": "The project has no examples.",
        "copies_score": (
            "Copying the answer of the most similar example scores {score:.1%}. The grader therefore does not check "
            "whether an answer fits its question."
        ),
        "form_score": (
            "{name} scores {score:.1%} without a language model. The grader judges style and does not check whether an "
            "answer fits its question."
        ),
        "structure": "a structured prompt",
        "no_other_model": "The project file defines no other model.",
        "add_model": (
            "Add a model to [models], or list `other_models` in [[waivers]] of tuneworthy.toml with a reason."
        ),
        "no_documents": "Nothing measured suggests that the answers depend on documents.",
        "fix_search": (
            "Change [retrieval] (chunks, encoder, language) or correct the `documents` field of the cases. Then run "
            "`tuneworthy run`."
        ),
        "rung_failed": "The rung {rung} failed: {reason}.",
        "judge_bare": ("The judge's scores could not be corrected with human ratings for these rungs: {rungs}."),
        "label_judge": "Run `tuneworthy cases label --judge`, then `tuneworthy run`.",
        "nothing_eligible": "No variant that the constraints allow has been measured on the test set.",
        "unscored": "{unscored} of {n} test cases could not be scored, so the score excludes them.",
        "errors_unknown": "The causes of wrong answers have not been analysed.",
        "domain_unknown": (
            "The bits per byte of the domain's text have not been measured. Run `tuneworthy decide --probe`."
        ),
        "domain_stale": ("The bits per byte of the domain's text are out of date. Run `tuneworthy decide --probe`."),
        "domain_needs_base": (
            "The model {name} gives no log-probability of a text. Set `base` in [train] to the model that would be "
            "trained, then run `tuneworthy decide --probe`."
        ),
        # Gates before training
        "fix_rows": "Fix the rows, then run `tuneworthy data build`.",
        "review": "Run `tuneworthy data review start`.",
        "drop_less": "Set policy in [data] to report for checks that drop good rows. Then run `tuneworthy data build`.",
        "below_margin": "Even the upper bound is below the margin of {margin:.1f} points.",
        "gain_open": "The lower bound is not above zero, so the result is inconclusive.",
        # Gates before shipping
        "difference": "the difference from {name} is {delta:+.1f} points (95% interval [{low:+.1f}, {high:+.1f}])",
        "do_shadow": "Run `tuneworthy shadow replay FILES` with logs of real traffic.",
        "below_for_nothing": (
            "No measured saving in cost or latency, and no need to run locally, justifies the lower quality."
        ),
        "cause": " (cause: `{cause}`)",
        # Reasons
        "target_met": "{name} meets the target of {target:.1%} without fine-tuning{other}.",
        "ship": "All required checks before shipping pass.",
        # Next steps
        "train": "All required checks before training pass. Run `tuneworthy train`.",
        "serve": "Serve the fine-tuned model: run `tuneworthy serve`.",
        # What would change it
        "retires": "the provider retires the model {name}",
        # Money
        "no_volume_saves": "At no traffic volume would training save the required {share:.0%} of {bill}.",
        "set_traffic": "Set `economics.requests_per_month`.",
        "constraint_decides": "Only an option that violates a constraint meets the target.",
        # The pilot
        "free_text": "Free-text answers cannot be compared word for word.",
        "documents_missing": "Most failures may need facts from documents, but the project has no documents.",
        "cost": "{calls} calls, {usd}, {minutes}",
        "n_cases": "{n} {n:case|cases} with an expected answer, {n_test} of them in the test set",
        "check": "tuneworthy check",
        "label": "tuneworthy cases label",
        "sample": "tuneworthy cases sample, then tuneworthy cases label",
        "decide": "tuneworthy decide",
        # Stored documents, and what changed since
        "constant": "gives every case the same answer",
        "unresolved": "unresolved: the test cases do not settle whether the target is met.",
        "usd_per_1k": "${usd:,.4f} per 1,000 answers",
        "price_open": "{name} may be good enough at a lower price, but its price is unknown.",
        "rung_open": "The rung {rungs} has not been compared on the test set. It may meet the target.",
        "rungs_open": "The rungs {rungs} have not been compared on the test set. Each may meet the target.",
        "no_target": "The project sets no target.",
        "unresolved_options": "These options may or may not meet the target: {names}.",
        "price_missing": "The price of {name} is unknown.",
        "saves_too_little": (
            "Training would save at most ${high:,.0f} a month, less than the required {share:.0%} of {bill} "
            "(${usd:,.0f})."
        ),
        "saving_required": "At least {share:.0%} of {bill} is required.",
        "kept": "The p95 latency is {p95:,.0f} ms, within the limit of {limit:,.0f} ms.",
        "run_again": "Run the ladder again.",
        "give_documents": (
            "Add the documents that contain the answers to [documents], or list `retrieval` in [[waivers]] of "
            "tuneworthy.toml with a reason."
        ),
        "measure_smaller": (
            "Add a smaller or faster model to [models] and run the ladder to see whether it meets the constraints."
        ),
        "limit_open": "Whether {name} meets the latency limit is open: {why}.",
        "set_price": "Set the price of the model behind {name} in [models].",
        "set_costs": (
            "Set your own costs of data, training, serving and upkeep in [economics]; assumed costs count as a range."
        ),
        "narrow_ranges": (
            "Narrow [economics.ranges]: within these ranges, training may or may not break even: {ranges}."
        ),
        "add_n_cases": "Add {n} test cases (about {minutes:.0f} min of labelling).",
        "add_n_rated": (
            "Add {n} test cases (about {minutes:.0f} min of labelling, including ratings of the answers with "
            "`tuneworthy cases label --judge`)."
        ),
        "other_targets": (
            "The score of {name} is close to the target of {target:.1%}. With a margin of {margin:.1f} points and "
            "without further cases, a target of {met:.0%} is met and one of {missed:.0%} is missed."
        ),
        "other_target": (
            "The score of {name} is close to the target of {target:.1%}. With a margin of {margin:.1f} points and "
            "without further cases, a target of {met:.0%} is met."
        ),
        "keep": "Keep {name}. Decide again when the target, the prices or the models change.",
        "nothing_else_may": "No other measured option meets the constraints.",
        "shown_better": "The improvement is significant.",
        "no_worse_and_saving": (
            "It is non-inferior at a margin of {margin:.1f} points and at least 20% cheaper or faster."
        ),
        "no_worse_and_met": (
            "It is non-inferior at a margin of {margin:.1f} points and the only option that meets the target."
        ),
        "gain_excluded": "The interval excludes a gain of {margin:.1f} points.",
        "rival_saves": "Without training, {name} is non-inferior and at least 20% cheaper or faster.",
        "dev_alike": "Today's setup scores {dev:.1%} on dev (n = {n_dev}) and {test:.1%} on test (n = {n_test}).",
        "dev_differs": (
            "Today's setup scores {dev:.1%} on dev (n = {n_dev}) but {test:.1%} on test (n = {n_test}), a "
            "statistically significant difference. The causes of errors on dev may therefore not apply to test."
        ),
        "dev_differs_fix": (
            "Find out why dev and test differ: have a second person label some cases of both, draw the examples and "
            "the cases from one source, and run `tuneworthy run`. Or list `dev` in [[waivers]] of "
            "tuneworthy.toml with a reason."
        ),
    },
).say


# The answer, without a full stop. What training reaches is known only once the fine-tuned model was compared on test.
ANSWERS: Final[Mapping[Outcome, str]] = {
    Outcome.FINE_TUNE: "A fine-tuning pilot is worthwhile",
    Outcome.DO_NOT_FINE_TUNE: "Do not fine-tune",
    Outcome.UNDECIDED: "Undecided",
    Outcome.SHIP: "Ship the fine-tuned model",
    Outcome.DO_NOT_SHIP: "Do not ship the fine-tuned model",
}
AFTER_PILOT: Final = "Fine-tune"
# What leaves the answer open, by kind of fact.
OPEN: Final[Mapping[str, str]] = {
    "distil": "It has not been measured whether a smaller model meets the latency limit.",
    "could_teach": (
        "The project defines no other model. A model that the constraints rule out in production could still teach a "
        "smaller one."
    ),
    "eligible": "The price of an option, or its latency, has not been measured, so the constraints are open.",
    "pays": "Whether training pays off depends on the traffic, which is not set.",
}
STATUS_WORDS: Final[Mapping[str, str]] = {
    "measured": "confirmed",
    "refuted": "not confirmed",
    "unknown": "not measured yet",
}


# Names of the rungs, as nouns without an article.
RUNG_LABELS: Final[Mapping[str, str]] = {
    "classical": "classical baseline",
    "baseline": "today's setup",
    "prompt": "rewritten prompt",
    "retrieval": "prompt with retrieved documents",
    "model": "alternative model",
    "few_shot": "few-shot prompt",
    "decoding": "sampling settings",
    "cascade": "cascade",
    "fine_tune": "fine-tuned model",
    "teacher": "hosted teacher model",
    "open_7b": "open 7B model",
}
# The assumptions of `decide --what-if`, and what would make each true.
ASSUMED: Final[Mapping[str, str]] = {
    "train_big_serve_small": "Assumption: a 70B model is trained first and teaches the small model that serves.",
    "open_7b_matches_api": "Assumption: an open 7B model on your own server scores the same as the best API.",
    "traffic_x10": "Assumption: the traffic is ten times as high.",
    "api_half_price": "Assumption: every API costs half as much.",
}
TO_MAKE_TRUE: Final[Mapping[str, str]] = {
    "train_big_serve_small": (
        "Train the large model, name it in [models] and [teacher], and run `tuneworthy data distill`."
    ),
    "open_7b_matches_api": "Add the open model to [models] and measure it: run `tuneworthy run --rung model`.",
    "traffic_x10": "If the traffic grows, set `economics.requests_per_month` and run `tuneworthy decide`.",
    "api_half_price": "If prices fall, set the new prices in [models] and run `tuneworthy decide`.",
}
CAUSES: Final[Mapping[ErrorClass, str]] = {
    "refusal": "the model refuses, or answers where it should refuse",
    "format": "the answer has the wrong format",
    "label_or_grader": "the expected answer is probably wrong",
    "knowledge": "the prompt lacks a document that contains the answer",
    "instability": "the model is correct on another attempt",
    "reasoning": "only a stronger model is correct",
    "unexplained": "no automatic check finds a cause",
}
# What a probe measures, as the subject of a sentence.
WHAT: Final[Mapping[str, str]] = {
    "refusal": "Wrong refusals",
    "format": "Wrong formats",
    "label_or_grader": "Wrong labels",
    "knowledge": "Missing documents",
    "instability": "Unstable answers",
    "reasoning": "Failures that a stronger model avoids",
}
# What fixes a class of failures, without a full stop.
LEVERS: Final[Mapping[str, str]] = {
    "prompt": "Rewrite the prompt",
    "retrieval": "Add the documents to the prompt",
    "model": "Use a stronger model",
    "few_shot": "Add few-shot examples, or constrain the output format",
    "decoding": "Change the sampling settings",
    "cases label": "Correct the expected answers",
}


# What each probe looks for
PROBES: Final[Mapping[ErrorClass, str]] = {
    "refusal": "The model refuses although there is an answer, or answers where it should refuse.",
    "format": "The format is wrong, but the answer is correct with constrained output or lenient parsing.",
    "label_or_grader": "An accuracy-weighted vote of models and the classical baseline contradicts the label.",
    "knowledge": "The answer is correct once the prompt includes the document that the case lists.",
    "instability": "Repeated answers are correct more often than chance explains.",
    "reasoning": "A model that is significantly better on dev answers correctly with the same prompt.",
    "unexplained": "No automatic check finds a cause.",
}
ANALYSIS_PARTS: Final[Mapping[str, str]] = {
    "version": "the version of the error analysis",
    "variant": "the best variant",
    "graders": "the primary grader",
    "dev": "the dev cases or their labels",
    "models": "the section [models]",
    "documents": "the documents",
}

# The checklist
STEP_TITLES: Final[Mapping[str, str]] = {
    "cases": "Build the test set",
    "baseline": "Measure the baseline",
    "prompt": "Improve the prompt",
    "model": "Try a different model",
    "retrieval": "Add retrieval if the answers are in documents",
    "decoding": "Tune sampling",
    "decision": "Decide",
    "dataset": "Build the dataset",
    "training": "Train",
    "parity": "Merge, deploy and measure again",
    "shadow": "Shadow real traffic",
}

CHANGED_SINCE: Final[Mapping[str, str]] = {
    "run": "the ladder was run again",
    "errors": "the error analysis was run again",
    "judge": "the judge was validated again",
    "project": "the project file has changed",
    "suspects": "failed cases were relabelled",
    "pilot": "a new pilot was run",
    "parity": "`tuneworthy parity` was run again",
    "serving": "the fine-tuned model was served again",
    "shadow": "traffic was replayed again, or the canary was rolled back",
    "datasets/latest": "a new version of the training data was frozen",
    "models/latest-adapter": "a new adapter was trained",
    "reviews": "the training data was reviewed again",
}


def listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence.

    >>> listed(["prompt", "model"])
    'prompt, model'
    """
    return ", ".join(names)


def sentence(text: str) -> str:
    """Return a text as a sentence: a capital and a full stop.

    >>> sentence("no teacher was measured")
    'No teacher was measured.'
    """
    return join_sentences(text[:1].upper() + text[1:]) if text else ""


def domain_gap(value: bool | None, share: float) -> str:
    """Say whether the text of the domain is strange to the base."""
    return (
        f"It is unresolved whether the difference reaches the assumed threshold of {share:.0%}."
        if value is None
        else (
            f"This is a gap: at least {share:.0%} more bits, the threshold that is assumed."
            if value
            else f"This is no gap: less than {share:.0%} more bits, the threshold that is assumed."
        )
    )


def domain_sentence(verdict: Verdict) -> str:
    """Return what was found of the text of the domain; "" if it was not scored, or a reason says it already."""
    row = next((row for row in verdict.training.reasons if row.reason == "domain"), None)
    scored = verdict.domain_text is not None and verdict.domain_text.n > 0
    said = row is None or any(row.evidence in reason for reason in verdict.reasons)
    return row.evidence if row is not None and scored and not said else ""


def marked(option: Option) -> str:
    """Say what marks an option."""
    return f"{option.option}: {'; '.join(option.notes)}."


def legend(options: Sequence[Option]) -> list[str]:
    """Explain the words that stand for a number in a table of options, as far as they are there."""
    served = any(one.server and one.usd_per_month is None and one.usd_per_1k is None for one in options)
    lines = [say("unresolved")] if any(one.target == "unresolved" for one in options) else []
    return [
        *lines,
        *(
            ["server: the cost per answer depends on the traffic. Set `economics.requests_per_month` to see it."]
            if served
            else []
        ),
    ]


def cost_note(option: Option) -> str:
    """Say what the cost of a month is made of, and whether it is an upper limit; "" where one price is all of it."""
    upper = (
        f"cost is an upper limit: no token counts from the provider for {option.unreported:.1%} of the answers"
        if option.unreported
        else ""
    )
    month, running = option.usd_per_month, option.running
    if not month or not option.usd_per_1k or running is None or running.usd_per_1k is None:
        return upper
    answers = month * running.usd_per_1k / option.usd_per_1k
    servers = month - answers - running.upkeep_usd
    named = {"answers": answers, "servers": servers, "upkeep and retraining": running.upkeep_usd}
    parts = [f"${usd:,.0f} for {what}" for what, usd in named.items() if usd >= 1]
    made_of = f"A month costs {', '.join(parts)}." if len(parts) > 1 or running.upkeep_usd >= 1 else ""
    return join_sentences(made_of, upper)


def whole_dollars(usd: float) -> str:
    """Return an amount without cents, its sign first.

    >>> whole_dollars(1234.5), whole_dollars(-687.6)
    ('$1,234', '-$688')
    """
    return f"{'-' if usd <= -0.5 else ''}${abs(usd):,.0f}"


def error_share(row: ErrorShare) -> str:
    """Say how many failures have a cause: `... (66.7% of 60 wrong answers, 95% interval [53.3%, 78.3%])`."""
    low, high = row.ci95
    answers = "wrong answer" if row.n == 1 else "wrong answers"
    return f"{CAUSES[row.name]} ({row.share:.1%} of {row.n} {answers}, 95% interval [{low:.1%}, {high:.1%}])"


def answer_of(verdict: Verdict) -> str:
    """Return the answer without a full stop; training is advised outright only once a pilot forecasts a gain."""
    if verdict.outcome is Outcome.FINE_TUNE and passed_pilot(verdict.gates):
        return AFTER_PILOT
    return ANSWERS[verdict.outcome]


def passed_pilot(gates: Sequence[GateResult]) -> GateResult | None:
    """Return the gate of the pilot, if it passed."""
    return next((result for result in gates if result.gate == "pilot" and result.status == "pass"), None)


def waived_gates(gates: Sequence[GateResult]) -> str:
    """Return the names of the gates that the project file waives, and that would be open without."""
    return ", ".join(f"`{result.gate}`" for result in gates if result.status == "waived")


# Methods of training: why one fits, the document that this rests on, and what to do for it.
METHOD_REASONS: Final[Mapping[str, str]] = {
    "sft": "Training on labelled examples is the default, and nothing measured speaks for another method.",
    "preference": (
        "At least {n} rows have a worse answer beside their own, or ratings that differ, so the model can learn which "
        "answer is better."
    ),
    "rl": (
        "There are few labelled examples, {share:.1%} of the answers sampled on dev pass, and a grader says right or "
        "wrong. So the grader can reward answers that the model draws. Import questions that it can grade."
    ),
    "distil": "An option meets the target, so a smaller model is trained on its answers.",
    "classifier": "The answers are labels, and the classical baseline is as good as any language model measured.",
}
METHOD_SOURCES: Final[Mapping[str, str]] = {
    "sft": "https://arxiv.org/abs/2405.00732",
    "preference": "https://arxiv.org/abs/2305.18290",
    "rl": "https://arxiv.org/abs/2503.14476",
    "distil": "https://arxiv.org/abs/2305.02301",
    "classifier": "https://arxiv.org/abs/2406.08660",
}
METHOD_STEPS: Final[Mapping[str, str]] = {
    "sft": "Run `tuneworthy train`.",
    "preference": 'Set [train] method to "preference" and run `tuneworthy train`.',
    "rl": "Run `tuneworthy plan --emit trl --out run`, and use TRL's GRPOTrainer with the first grader as the reward.",
    "distil": "Run `tuneworthy data distill`, then `tuneworthy data build` and `tuneworthy train`.",
    "classifier": 'Set [train] method to "classifier" and run `tuneworthy train`.',
}
