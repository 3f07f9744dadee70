"""What the verdict tells people: gates, reasons, next steps, money, the pilot, the checklist, errors of documents."""

from collections.abc import Mapping
from typing import Final

from tuneworthy.catalogue import Catalogue
from tuneworthy.errors import join_sentences
from tuneworthy.verdict.base import ErrorClass, ErrorShare

say = Catalogue(
    {
        "classical_label": "a classical baseline without a language model",
        "score": "{score:.1%} ({bounds}{n} test cases)",
        "bounds": "90% interval {lower:.1%} to {upper:.1%}, ",
        "no_score": "no score",
        # Fixes that several gates share
        "run": "Run `tuneworthy run`.",
        "run_rung": "Run `tuneworthy run --rung {rung}`.",
        "probe": "Run `tuneworthy decide --probe`.",
        "build": "Run `tuneworthy data build`.",
        "pilot": "Run `tuneworthy train --pilot`.",
        "run_command": "Run `tuneworthy {command}`.",
        # Gates before a decision
        "waived": "Waived: {reason} The gate said: {message}",
        "too_few_cases": "Test has {n} cases; at least {needed} are needed.",
        "too_few_groups": "The test cases come from {n} sources; at least {needed} are needed.",
        "add_cases": "Add cases with `tuneworthy cases sample` and `tuneworthy cases label`.",
        "n_test": "Test has {n} cases.",
        "run_stale": "The last run no longer holds: {changes}.",
        "baseline_missing": "Today's prompt and model were not measured on test.",
        "baseline_score": "Today's prompt and model score {score:.1%}.",
        "overlaps": "Rows overlap cases ({counts}).",
        "remove_overlaps": "Remove these rows, then run `tuneworthy run`.",
        "no_overlaps": "No example overlaps a case.",
        "no_examples": "The project has no examples.",
        "classical_missing": "No classical baseline was measured on test.",
        "copies_score": (
            "An answer copied from the most similar question scores {score:.1%}, so the grader does not notice whether the "
            "question is answered."
        ),
        "fix_grader": "Put a grader that does first, or waive this gate.",
        "classical_score": "Without a language model the score is {score:.1%}.",
        "prompt_untried": "The prompt was not tried with {missing}.",
        "structure": "structure",
        "at_least_shots": "at least {n} shots",
        "half_prompt": "half of its text",
        "prompt_tried": "Structure and {shots} shots were tried.",
        "only_device_model": "No other model may run on the device.",
        "no_other_model": "The project names no other model.",
        "add_model": "Add one to [models], or waive the gate `other_models` with the reason.",
        "no_documents": "The answers do not depend on documents.",
        "search_fails": (
            "Retrieval fails: {lost} of {failed} wrong answers on dev were not shown a document that holds the answer."
        ),
        "fix_search": (
            "Change [retrieval] (chunks, encoder, language) or correct the `documents` of the cases, then run `tuneworthy run`."
        ),
        "oracle_score": "With the right documents the score is {score:.1%} on dev.",
        "rung_failed": "The rung {rung} failed: {reason}.",
        "rung_missing": "The rung {rung} was not compared on test{reason}.",
        "rung_score": "{name} scores {score:.1%}: {status}.",
        "no_judge": "No model grades.",
        "judge_missing": "The judge was not validated.",
        "judge_changed": "The run used another judge than the one that was validated.",
        "judge_bare": "People judged no answers of: {rungs}.",
        "label_judge": "Run `tuneworthy cases label --judge`, then `tuneworthy run`.",
        "target_is": "The target is {status}.",
        "nothing_eligible": "Nothing that the constraints allow was measured on test.",
        "unscored": "{unscored} of {n} test cases could not be scored, so the score leaves them out.",
        "fix_unscored": "Find out why with `tuneworthy cases show`, then run `tuneworthy run`.",
        "target_open": "{n} test cases do not settle whether the target of {target:.1%} is met.",
        "add_about": "Add cases: about {needed:,} would settle it if the score stays.",
        "add_more_than": "Add cases: more than {most:,} would be needed to settle it.",
        "no_reason": "The project names no reason to train.",
        "name_reason": "Set `task.motivation`.",
        "device_only": "Serving must run on the device.",
        "no_limit": "No latency limit is set.",
        "set_limit": "Set `constraints.p95_ms` or `constraints.on_device`.",
        "slow": "The p95 latency is above the limit of {limit:g} ms: {rungs}.",
        "fast": "Every variant keeps the latency limit of {limit:g} ms.",
        "errors_unknown": "Why answers are wrong was not analysed.",
        "errors_stale": "The error analysis no longer holds since a change: {changes}.",
        "no_such_error": "In no wrong answer {cause}.",
        "share_too_small": "That is too few: the interval must be above {needed:.0%}.",
        "no_teacher": "No stronger model was measured on test.",
        "teacher": "The teacher {name} scores {score:.1%}: the target is {status}.",
        "domain_unknown": "The perplexity of the base model on the domain's text is not measured.",
        "name_another": "Name another motivation, or waive the gate `reason` with the reason.",
        # Gates before training
        "not_frozen": "No version of the training data is frozen.",
        "version_changed": "The files of version {version} were changed: {change}.",
        "frozen_unsafe": "Version {version} was frozen although gates failed ({gates}).",
        "fix_rows": "Fix the rows, then run `tuneworthy data build`.",
        "frozen": "Version {version} has {n:,} rows.",
        "newer_version": "Version {version} was frozen later; the tuned model does not know it.",
        "not_reviewed": "Nothing was reviewed.",
        "review": "Run `tuneworthy data review start`.",
        "version_overlaps": "Rows of version {version} may overlap cases: {detail}.",
        "version_unchecked": "{changes} since version {version} was checked.",
        "version_clean": "No row of version {version} overlaps a case.",
        "near_rows": "{n:,} rows are one word apart from a short case; read them.",
        "cases_changed": "The cases of dev or test changed",
        "pilot_missing": "What training gains was not measured.",
        "pilot_changed": "The pilot does not belong to this data and base: {changes}.",
        "forecast": (
            "At {size:,} examples the forecast gain is {gain:+.1f} points (95% interval {low:+.1f} to {high:+.1f}, "
            "{n} trainings)."
        ),
        "below_margin": "That is below the margin of {margin:.1f} points.",
        "gain_open": "A gain is not shown.",
        "more_pilot": "Add larger sizes or seeds to the pilot.",
        # Gates before shipping
        "no_tuned": "No tuned model was compared on test.",
        "parity_missing": "The forms of the tuned model were not compared.",
        "tuned_score": "{name} scores {score:.1%}; {difference}.",
        "difference": "the difference to the best without training is {delta:+.1f} points ({low:+.1f} to {high:+.1f})",
        "no_difference": "it was compared with nothing",
        "may_not_serve": "It may not be used: {reason}.",
        "trained_on_cases": "The training data may overlap test: {detail}",
        "classical_as_good": "A classical baseline without a language model is at least as good{score}.",
        "classical_open": "It is not shown to be better than {name}, which scores {score:.1%}.",
        "no_worse_and_allowed": (
            "It is no worse by {margin:.1f} points, and may be used where the best without training may not."
        ),
        "other_base": "The regression sets were run on {other}, not on the base that was trained.",
        "another_model": "another model",
        "compare_base": "Run `tuneworthy export gguf --base`, then `tuneworthy run --rung fine_tune`.",
        "more_rehearsal": "Raise `rehearsal` in [train]: it keeps a model nearer to its base.",
        "sets_missing": "No answers to the regression sets as they are now{names}.",
        "serving_missing": "The tuned model was not served.",
        "embedded_engine": "The embedded llama.cpp answered test with the file {file}, which parity compared in it.",
        "no_shadow": "No real traffic was sent to the tuned model.",
        "do_shadow": (
            "Answer a copy of your traffic with both models, compare, and waive the gate `shadow` with what you saw."
        ),
        "proof_of_another": "The parity of the {form} {found} was checked, but {subject} {known}",
        "served_another": "The server had {found}, but {subject} {known}",
        "tested_is": "what was compared on test is",
        "made_is": "what was made last is",
        "another_file": "another file",
        "cause": " (cause: {cause})",
        "checks_passed": "{n} checks passed",
        "adapter_since": "The adapter {adapter} was trained later than the one that was compared on test ({tested})",
        "set_changed": "The regression set {name} changed",
        "pilot_other_data": "it was trained on version {found}, not on {version}",
        "pilot_other_base": "it trained the base {found}, not {base}",
        # Reasons
        "target_met": "The target of {target:.1%} is met without training: {reached}.",
        "target_met_classical": "No language model is needed to meet the target of {target:.1%}: {reached}.",
        "reaches": "{name} reaches {score}",
        "guide_says": "Training does not help with this kind of problem ({name}). Try {lever} first.",
        "no_reason_measured": "No reason to train is measured. {detail}",
        "cheaper_lever": "Something cheaper fixes most wrong answers: in {share}. {lever}.",
        "never_pays": "Training does not pay. {detail}",
        "unresolved": "The test cases do not settle whether the target is met.",
        "rung_open": "{name} is not shown to miss the target of {target:.1%}: {score}.",
        "lever_unknown": "Why answers are wrong was not analysed, so something cheaper may fix most of them.",
        "lever_open": "Whether something cheaper fixes most wrong answers is not settled: in {share}.",
        "worth_a_pilot": "Every cheaper lever was tried and misses the target of {target:.1%}: {best}.",
        "best_is": "the best, {name}, scores {score}",
        "nothing_may_serve": "nothing may be used",
        "today_forbidden": "What is in use today may not be used: {reason}.",
        "today_and_best": "What is in use today scores {today}; without training the best score is {best}.",
        "today_is_best": "Nothing is better than what is in use today: {score}.",
        "other_score": "With {name} the score is {score}.",
        "reason_measured": "The reason to train is measured. {detail}",
        "ship": "Every gate before shipping passes.",
        "gate_closed": "The gate `{gate}` is open. {message}",
        "tuned_reaches": "With {name} the score is {score}{against}.",
        "against": "; without training, {name} reaches {score}",
        "also_closed": "Also open: {gates}.",
        # Next steps
        "test_tuned": (
            "Measure the tuned model on test: `tuneworthy merge`, `tuneworthy export gguf`, `tuneworthy parity`, "
            "`tuneworthy run --rung fine_tune`."
        ),
        "train": "Run `tuneworthy train`: every gate before training passes.",
        "build_and_pilot": "Build the dataset and run a pilot. Gates to pass before training: {gates}.",
        "still_open": "Gates still to pass before training: {gates}.",
        "lever_or_cases": "{lever}, or add development cases and probe again.",
        "lever_then_run": "{lever}, then run `tuneworthy run` and `tuneworthy decide`.",
        "settle_target": "Add test cases until the interval settles the target.",
        "serve_best": "Ship {name}.",
        "keep_best": "Keep what works best so far{best}; decide again when the reasons change.",
        "serve": "Run `tuneworthy serve`.",
        "or_waive": "Or waive the gate `{gate}` with the reason.",
        # What would change it
        "on_date": "On {date}: {what}.",
        "higher_target": "A target above {score:.1%}, or a constraint that forbids what meets it.",
        "new_model": "A new or cheaper model that meets the target, or a pilot whose forecast gain is too small.",
        "more_cases": "More test cases.",
        "other_adapter": "Another adapter, another export, or a cheaper model that is as good.",
        "gates_pass": "The gates {gates}, once they pass.",
        "look_again": "prices and models should be checked again",
        "retires": "the model {name} retires",
        # Money
        "no_bill": (
            "No answer is billed today, so there is no bill to save. Set `economics.usd_per_wrong_answer` and run a pilot, or "
            "waive the gate `economics` with the reason."
        ),
        "no_volume": "It pays at no volume: an answer of the tuned model saves nothing, or less than it costs to serve.",
        "pays_from": "Training pays from {volume:,.0f} requests a month within {horizon:g} months.",
        "set_traffic": "Set `economics.requests_per_month`.",
        "pays": "Training pays back in month {month}{traffic}.",
        "at_traffic": " at {requests:,.0f} requests a month",
        "pays_never": "Training does not pay back{traffic}{horizon}.",
        "within": " within {months:g} months",
        "constraint_decides": "A constraint decides, not money.",
        "money_unknown": "Whether training pays is not known.",
        "device_decides": "The task must run on the device, so hosted models may not serve.",
        "none_in_time": (
            "No hosted model that was measured answers in time: p95 is {p95:.0f} ms at best, the limit is {limit:g} ms."
        ),
        "no_traffic": "not set: economics.requests_per_month",
        "no_worth": "not set: economics.usd_per_wrong_answer",
        "gain_source": "lower bound of the forecast",
        "no_pilot": "no pilot yet",
        "reference": "{name}: the target is {target}",
        "nothing_run": "nothing was run yet",
        "price_source": "tokens of test, prices of {date}",
        "not_measured": "not measured: {names}",
        "all_measured": "all hosted models of the project were measured",
        "after_horizon": "after the horizon, at the project's traffic",
        "model_untested": "{name} (in the project file, not compared on test)",
        "table_model": "{name} (${usd:.4f} per 1,000 answers by the price table of {date}; its score is not known)",
        "saved_input": "An answer reads {tuned:,.0f} tokens instead of the {before:,.0f} of {against}.",
        "saved_output": "It writes {tuned:,.0f} tokens instead of {before:,.0f}.",
        "saved_usd": "At the same price that is ${saved:,.4f} less per 1,000 answers (${before:,.4f} today).",
        # The pilot
        "pilot_plan": (
            "A pilot takes {n} short trainings ({sizes} examples with {seeds} seeds each, and the raw rows of the largest "
            "size). Estimate: {estimate}."
        ),
        "pilot_hours": "at most {hours:.1f} GPU hours or ${usd:.2f}, for an 8B model (the time of this base is not known)",
        "pilot_duration": "{duration}{usd}, for {base}",
        "pilot_usd": " or at most ${usd:.2f}",
        "pilot_so_far": "So far {n} of {sizes} sizes have {seeds} seeds.",
        "switched_off": "It was switched off.",
        "free_text": "Free texts cannot be compared word by word.",
        "no_voters": "There is no other model, and there are too few examples to fit a classifier.",
        "no_named_documents": "No failed case names the documents that hold its answer.",
        "documents_missing": "None of the documents that the failed cases name is in [documents].",
        "none_stronger": "No other eligible model is shown to be stronger on dev.",
        "no_eligible_model": "The project has no other eligible model.",
        "order_note": "`run` tries retrieval before another model; the next step named here is the cheapest open one.",
        "person_time": "about {minutes:.0f} minutes of a person ({each:g} per case, assumed)",
        "no_cost": "no calls, no money, seconds",
        "cost": "{calls} calls, {usd}, {minutes}",
        "no_money": "no money",
        "under_a_minute": "less than a minute",
        "minutes": "about {span} minutes",
        "n_cases": "{n} cases with a right answer, {n_test} of them in test",
        "n_unlabelled": "; {n} without one",
        "check": "tuneworthy check",
        "label": "tuneworthy cases label",
        "sample": "tuneworthy cases sample, then cases label",
        "decide": "tuneworthy decide",
        "then_decide": "{action} Then run `tuneworthy decide`.",
        "n_tested": " (n = {n})",
        "quick_score": " {rung}: {score:.1%} on {n} dev cases in a quick run.",
        "not_decided": "Nothing was decided.",
        "verdict_stale": "The verdict {outcome} no longer holds: {changes}.",
        "verdict": "{outcome}: {reason}",
        "not_needed": "The verdict is do_not_fine_tune.",
        "tuned_status": "{name}: {score:.1%}, {status} (n = {n}); pilot: {pilot}",
        "adapter_untested": "The adapter {adapter} was not compared on test; pilot: {pilot}",
        "not_trained": "Nothing was trained; pilot: {pilot}",
        "do_dataset": "tuneworthy data build, then data review start",
        "do_train": "tuneworthy train",
        "do_test": "tuneworthy merge, export gguf, then run --rung fine_tune",
        "do_ship": "tuneworthy merge, export gguf, parity, serve",
        # Stored documents, and what changed since
        "no_run": "There is no run to decide from.",
        "not_a_verdict": "{path} is not a verdict of this version.",
        "decide_again": "Run `tuneworthy decide` again.",
        "not_a_pilot": "{path} is not the result of a pilot.",
        "pilot_again": "Run `tuneworthy train --pilot` again.",
        "not_a_proof": "{path} is not the result of `tuneworthy {command}`.",
        "proof_again": "Run `tuneworthy {command}` again.",
        "valid_until": "it was valid until {date}",
    }
).say


# Names
RUNG_LABELS: Final[Mapping[str, str]] = {
    "classical": "no language model",
    "baseline": "in use today",
    "prompt": "rewritten prompt",
    "retrieval": "retrieved documents",
    "model": "another model",
    "few_shot": "examples in the prompt",
    "decoding": "sampling settings",
    "fine_tune": "fine-tuning",
}
CAUSES: Final[Mapping[ErrorClass, str]] = {
    "refusal": "the model declines, or answers where declining is right",
    "format": "the answer has the wrong form",
    "label_or_grader": "the expected answer is probably wrong",
    "knowledge": "the model lacks a document that it could be given",
    "instability": "the model is right on another try",
    "reasoning": "only a stronger model is right",
    "unexplained": "no probe finds the cause",
}
# What fixes a class of failures.
LEVERS: Final[Mapping[str, str]] = {
    "prompt": "Rewrite the prompt",
    "retrieval": "Give the model the documents",
    "model": "Use a stronger model",
    "few_shot": "Show examples in the prompt, or constrain the form of the answer",
    "decoding": "Change the sampling settings",
    "cases label": "Correct the expected answers",
}


# How failures are found
PROBES: Final[Mapping[ErrorClass, str]] = {
    "refusal": "Declined although there is an answer, or answered where declining is right.",
    "format": "The form is wrong, and the answer is right with constrained output or when it is read leniently.",
    "label_or_grader": "Models and the classical baseline, weighted by their accuracy, agree against the label.",
    "knowledge": "Right with the document that the case names.",
    "instability": "Right in more further answers than luck explains.",
    "reasoning": "Right with a model that is shown to be stronger on dev, with the same prompt.",
    "unexplained": "No probe finds the cause.",
}
ANALYSIS_PARTS: Final[Mapping[str, str]] = {
    "version": "the probes of tuneworthy",
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
    "model": "Try another model",
    "retrieval": "Add retrieval, if the answers are in documents",
    "decoding": "Tune decoding",
    "decision": "Decide",
    "dataset": "Build the dataset",
    "training": "Train",
    "parity": "Merge, deploy, measure again",
    "shadow": "Shadow real traffic",
}

CHANGED_SINCE: Final[Mapping[str, str]] = {
    "run": "there was another run",
    "errors": "the failures were analysed again",
    "judge": "the judge was validated again",
    "project": "the project file changed",
    "pilot": "there was another pilot",
    "parity": "the forms of the tuned model were compared again",
    "serving": "the tuned model was served again",
    "datasets/latest": "another version of the training data was frozen",
    "models/latest-adapter": "another adapter was trained",
    "reviews": "the training data was reviewed again",
}


def sentence(text: str) -> str:
    """Return a text as a sentence: a capital and a full stop.

    >>> sentence("no teacher was measured")
    'No teacher was measured.'
    """
    return join_sentences(text[:1].upper() + text[1:]) if text else ""


def error_share(row: ErrorShare) -> str:
    """Say how many failures have a cause: `66.7% of 60 wrong answers (53.3% to 78.3%) the answer has ...`."""
    low, high = row.ci95
    return f"{row.share:.1%} of {row.n} wrong answers ({low:.1%} to {high:.1%}) {CAUSES[row.name]}"
