"""What the verdict tells people: gates, reasons, next steps, money, the pilot, the checklist, errors of documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tuneworthy.errors import join_sentences
from tuneworthy.verdict.base import ErrorClass, ErrorShare

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
CLASSICAL_LABEL: Final = "a classical baseline without a language model"
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
SCORE: Final = "{score:.1%} ({bounds}{n} test cases)"
BOUNDS: Final = "90% interval {lower:.1%} to {upper:.1%}, "
NO_SCORE: Final = "no score"

# Fixes that several gates share
RUN: Final = "Run `tuneworthy run`."
RUN_RUNG: Final = "Run `tuneworthy run --rung {rung}`."
PROBE: Final = "Run `tuneworthy decide --probe`."
BUILD: Final = "Run `tuneworthy data build`."
PILOT: Final = "Run `tuneworthy train --pilot`."
RUN_COMMAND: Final = "Run `tuneworthy {command}`."

# Gates before a decision
WAIVED: Final = "Waived: {reason} The gate said: {message}"
TOO_FEW_CASES: Final = "Test has {n} cases; at least {needed} are needed."
TOO_FEW_GROUPS: Final = "The test cases come from {n} sources; at least {needed} are needed."
ADD_CASES: Final = "Add cases with `tuneworthy cases sample` and `tuneworthy cases label`."
N_TEST: Final = "Test has {n} cases."
RUN_STALE: Final = "The last run no longer holds: {changes}."
BASELINE_MISSING: Final = "Today's prompt and model were not measured on test."
BASELINE_SCORE: Final = "Today's prompt and model score {score:.1%}."
OVERLAPS: Final = "Rows overlap cases ({counts})."
REMOVE_OVERLAPS: Final = "Remove these rows, then run `tuneworthy run`."
NO_OVERLAPS: Final = "No example overlaps a case."
NO_EXAMPLES: Final = "The project has no examples."
CLASSICAL_MISSING: Final = "No classical baseline was measured on test."
COPIES_SCORE: Final = (
    "An answer copied from the most similar question scores {score:.1%}, so the grader does not notice whether the "
    "question is answered."
)
FIX_GRADER: Final = "Put a grader that does first, or waive this gate."
CLASSICAL_SCORE: Final = "Without a language model the score is {score:.1%}."
PROMPT_UNTRIED: Final = "The prompt was not tried with {missing}."
STRUCTURE: Final = "structure"
AT_LEAST_SHOTS: Final = "at least {n} shots"
HALF_PROMPT: Final = "half of its text"
PROMPT_TRIED: Final = "Structure and {shots} shots were tried."
ONLY_DEVICE_MODEL: Final = "No other model may run on the device."
NO_OTHER_MODEL: Final = "The project names no other model."
ADD_MODEL: Final = "Add one to [models], or waive the gate `other_models` with the reason."
NO_DOCUMENTS: Final = "The answers do not depend on documents."
SEARCH_FAILS: Final = (
    "Retrieval fails: {lost} of {failed} wrong answers on dev were not shown a document that holds the answer."
)
FIX_SEARCH: Final = (
    "Change [retrieval] (chunks, encoder, language) or correct the `documents` of the cases, then run `tuneworthy run`."
)
ORACLE_SCORE: Final = "With the right documents the score is {score:.1%} on dev."
RUNG_FAILED: Final = "The rung {rung} failed: {reason}."
RUNG_MISSING: Final = "The rung {rung} was not compared on test{reason}."
RUNG_SCORE: Final = "{name} scores {score:.1%}: {status}."
NO_JUDGE: Final = "No model grades."
JUDGE_MISSING: Final = "The judge was not validated."
JUDGE_CHANGED: Final = "The run used another judge than the one that was validated."
JUDGE_BARE: Final = "People judged no answers of: {rungs}."
LABEL_JUDGE: Final = "Run `tuneworthy cases label --judge`, then `tuneworthy run`."
TARGET_IS: Final = "The target is {status}."
NOTHING_ELIGIBLE: Final = "Nothing that the constraints allow was measured on test."
UNSCORED: Final = "{unscored} of {n} test cases could not be scored, so the score leaves them out."
FIX_UNSCORED: Final = "Find out why with `tuneworthy cases show`, then run `tuneworthy run`."
TARGET_OPEN: Final = "{n} test cases do not settle whether the target of {target:.1%} is met."
ADD_ABOUT: Final = "Add cases: about {needed:,} would settle it if the score stays."
ADD_MORE_THAN: Final = "Add cases: more than {most:,} would be needed to settle it."
NO_REASON: Final = "The project names no reason to train."
NAME_REASON: Final = "Set `task.motivation`."
DEVICE_ONLY: Final = "Serving must run on the device."
NO_LIMIT: Final = "No latency limit is set."
SET_LIMIT: Final = "Set `constraints.p95_ms` or `constraints.on_device`."
SLOW: Final = "The p95 latency is above the limit of {limit:g} ms: {rungs}."
FAST: Final = "Every variant keeps the latency limit of {limit:g} ms."
ERRORS_UNKNOWN: Final = "Why answers are wrong was not analysed."
ERRORS_STALE: Final = "The error analysis no longer holds since a change: {changes}."
NO_SUCH_ERROR: Final = "In no wrong answer {cause}."
SHARE_TOO_SMALL: Final = "That is too few: the interval must be above {needed:.0%}."
NO_TEACHER: Final = "No stronger model was measured on test."
TEACHER: Final = "The teacher {name} scores {score:.1%}: the target is {status}."
DOMAIN_UNKNOWN: Final = "The perplexity of the base model on the domain's text is not measured."
NAME_ANOTHER: Final = "Name another motivation, or waive the gate `reason` with the reason."

# Gates before training
NOT_FROZEN: Final = "No version of the training data is frozen."
VERSION_CHANGED: Final = "The files of version {version} were changed: {change}."
FROZEN_UNSAFE: Final = "Version {version} was frozen although gates failed ({gates})."
FIX_ROWS: Final = "Fix the rows, then run `tuneworthy data build`."
FROZEN: Final = "Version {version} has {n:,} rows."
NEWER_VERSION: Final = "Version {version} was frozen later; the tuned model does not know it."
NOT_REVIEWED: Final = "Nothing was reviewed."
REVIEW: Final = "Run `tuneworthy data review start`."
VERSION_OVERLAPS: Final = "Rows of version {version} may overlap cases: {detail}."
VERSION_UNCHECKED: Final = "{changes} since version {version} was checked."
VERSION_CLEAN: Final = "No row of version {version} overlaps a case."
NEAR_ROWS: Final = "{n:,} rows are one word apart from a short case; read them."
CASES_CHANGED: Final = "The cases of dev or test changed"
PILOT_MISSING: Final = "What training gains was not measured."
PILOT_CHANGED: Final = "The pilot does not belong to this data and base: {changes}."
FORECAST: Final = (
    "At {size:,} examples the forecast gain is {gain:+.1f} points (95% interval {low:+.1f} to {high:+.1f}, "
    "{n} trainings)."
)
BELOW_MARGIN: Final = "That is below the margin of {margin:.1f} points."
GAIN_OPEN: Final = "A gain is not shown."
MORE_PILOT: Final = "Add larger sizes or seeds to the pilot."

# Gates before shipping
NO_TUNED: Final = "No tuned model was compared on test."
PARITY_MISSING: Final = "The forms of the tuned model were not compared."
TUNED_SCORE: Final = "{name} scores {score:.1%}; {difference}."
DIFFERENCE: Final = "the difference to the best without training is {delta:+.1f} points ({low:+.1f} to {high:+.1f})"
NO_DIFFERENCE: Final = "it was compared with nothing"
MAY_NOT_SERVE: Final = "It may not be used: {reason}."
TRAINED_ON_CASES: Final = "The training data may overlap test: {detail}"
CLASSICAL_AS_GOOD: Final = "A classical baseline without a language model is at least as good{score}."
CLASSICAL_OPEN: Final = "It is not shown to be better than {name}, which scores {score:.1%}."
NO_WORSE_AND_ALLOWED: Final = (
    "It is no worse by {margin:.1f} points, and may be used where the best without training may not."
)
OTHER_BASE: Final = "The regression sets were run on {other}, not on the base that was trained."
ANOTHER_MODEL: Final = "another model"
COMPARE_BASE: Final = "Run `tuneworthy export gguf --base`, then `tuneworthy run --rung fine_tune`."
MORE_REHEARSAL: Final = "Raise `rehearsal` in [train]: it keeps a model nearer to its base."
SETS_MISSING: Final = "No answers to the regression sets as they are now{names}."
SERVING_MISSING: Final = "The tuned model was not served."
EMBEDDED_ENGINE: Final = "The embedded llama.cpp answered test with the file {file}, which parity compared in it."
NO_SHADOW: Final = "No real traffic was sent to the tuned model."
DO_SHADOW: Final = (
    "Answer a copy of your traffic with both models, compare, and waive the gate `shadow` with what you saw."
)
PROOF_OF_ANOTHER: Final = "The parity of the {form} {found} was checked, but {subject} {known}"
SERVED_ANOTHER: Final = "The server had {found}, but {subject} {known}"
TESTED_IS: Final = "what was compared on test is"
MADE_IS: Final = "what was made last is"
ANOTHER_FILE: Final = "another file"
CAUSE: Final = " (cause: {cause})"
CHECKS_PASSED: Final = "{n} checks passed"
ADAPTER_SINCE: Final = "The adapter {adapter} was trained later than the one that was compared on test ({tested})"
SET_CHANGED: Final = "The regression set {name} changed"
PILOT_OTHER_DATA: Final = "it was trained on version {found}, not on {version}"
PILOT_OTHER_BASE: Final = "it trained the base {found}, not {base}"

# Reasons
TARGET_MET: Final = "The target of {target:.1%} is met without training: {reached}."
TARGET_MET_CLASSICAL: Final = "No language model is needed to meet the target of {target:.1%}: {reached}."
REACHES: Final = "{name} reaches {score}"
GUIDE_SAYS: Final = "Training does not help with this kind of problem ({name}). Try {lever} first."
NO_REASON_MEASURED: Final = "No reason to train is measured. {detail}"
CHEAPER_LEVER: Final = "Something cheaper fixes most wrong answers: in {share}. {lever}."
NEVER_PAYS: Final = "Training does not pay. {detail}"
UNRESOLVED: Final = "The test cases do not settle whether the target is met."
RUNG_OPEN: Final = "{name} is not shown to miss the target of {target:.1%}: {score}."
LEVER_UNKNOWN: Final = "Why answers are wrong was not analysed, so something cheaper may fix most of them."
LEVER_OPEN: Final = "Whether something cheaper fixes most wrong answers is not settled: in {share}."
WORTH_A_PILOT: Final = "Every cheaper lever was tried and misses the target of {target:.1%}: {best}."
BEST_IS: Final = "the best, {name}, scores {score}"
NOTHING_MAY_SERVE: Final = "nothing may be used"
TODAY_FORBIDDEN: Final = "What is in use today may not be used: {reason}."
TODAY_AND_BEST: Final = "What is in use today scores {today}; without training the best score is {best}."
TODAY_IS_BEST: Final = "Nothing is better than what is in use today: {score}."
OTHER_SCORE: Final = "With {name} the score is {score}."
REASON_MEASURED: Final = "The reason to train is measured. {detail}"
SHIP: Final = "Every gate before shipping passes."
GATE_CLOSED: Final = "The gate `{gate}` is open. {message}"
TUNED_REACHES: Final = "With {name} the score is {score}{against}."
AGAINST: Final = "; without training, {name} reaches {score}"
ALSO_CLOSED: Final = "Also open: {gates}."

# Next steps
TEST_TUNED: Final = (
    "Measure the tuned model on test: `tuneworthy merge`, `tuneworthy export gguf`, `tuneworthy parity`, "
    "`tuneworthy run --rung fine_tune`."
)
TRAIN: Final = "Run `tuneworthy train`: every gate before training passes."
BUILD_AND_PILOT: Final = "Build the dataset and run a pilot. Gates to pass before training: {gates}."
STILL_OPEN: Final = "Gates still to pass before training: {gates}."
LEVER_OR_CASES: Final = "{lever}, or add development cases and probe again."
LEVER_THEN_RUN: Final = "{lever}, then run `tuneworthy run` and `tuneworthy decide`."
SETTLE_TARGET: Final = "Add test cases until the interval settles the target."
SERVE_BEST: Final = "Ship {name}."
KEEP_BEST: Final = "Keep what works best so far{best}; decide again when the reasons change."
SERVE: Final = "Run `tuneworthy serve`."
OR_WAIVE: Final = "Or waive the gate `{gate}` with the reason."

# What would change it
ON_DATE: Final = "On {date}: {what}."
HIGHER_TARGET: Final = "A target above {score:.1%}, or a constraint that forbids what meets it."
NEW_MODEL: Final = "A new or cheaper model that meets the target, or a pilot whose forecast gain is too small."
MORE_CASES: Final = "More test cases."
OTHER_ADAPTER: Final = "Another adapter, another export, or a cheaper model that is as good."
GATES_PASS: Final = "The gates {gates}, once they pass."
LOOK_AGAIN: Final = "prices and models should be checked again"
RETIRES: Final = "the model {name} retires"

# Money
NO_BILL: Final = (
    "No answer is billed today, so there is no bill to save. Set `economics.usd_per_wrong_answer` and run a pilot, or "
    "waive the gate `economics` with the reason."
)
NO_VOLUME: Final = "It pays at no volume: an answer of the tuned model saves nothing, or less than it costs to serve."
PAYS_FROM: Final = "Training pays from {volume:,.0f} requests a month within {horizon:g} months."
SET_TRAFFIC: Final = "Set `economics.requests_per_month`."
PAYS: Final = "Training pays back in month {month}{traffic}."
AT_TRAFFIC: Final = " at {requests:,.0f} requests a month"
PAYS_NEVER: Final = "Training does not pay back{traffic}{horizon}."
WITHIN: Final = " within {months:g} months"
CONSTRAINT_DECIDES: Final = "A constraint decides, not money."
MONEY_UNKNOWN: Final = "Whether training pays is not known."
DEVICE_DECIDES: Final = "The task must run on the device, so hosted models may not serve."
NONE_IN_TIME: Final = (
    "No hosted model that was measured answers in time: p95 is {p95:.0f} ms at best, the limit is {limit:g} ms."
)
NO_TRAFFIC: Final = "not set: economics.requests_per_month"
NO_WORTH: Final = "not set: economics.usd_per_wrong_answer"
GAIN_SOURCE: Final = "lower bound of the forecast"
NO_PILOT: Final = "no pilot yet"
REFERENCE: Final = "{name}: the target is {target}"
NOTHING_RUN: Final = "nothing was run yet"
PRICE_SOURCE: Final = "tokens of test, prices of {date}"
NOT_MEASURED: Final = "not measured: {names}"
ALL_MEASURED: Final = "all hosted models of the project were measured"
AFTER_HORIZON: Final = "after the horizon, at the project's traffic"
MODEL_UNTESTED: Final = "{name} (in the project file, not compared on test)"
TABLE_MODEL: Final = "{name} (${usd:.4f} per 1,000 answers by the price table of {date}; its score is not known)"
SAVED_INPUT: Final = "An answer reads {tuned:,.0f} tokens instead of the {before:,.0f} of {against}."
SAVED_OUTPUT: Final = "It writes {tuned:,.0f} tokens instead of {before:,.0f}."
SAVED_USD: Final = "At the same price that is ${saved:,.4f} less per 1,000 answers (${before:,.4f} today)."

# The pilot
PILOT_PLAN: Final = (
    "A pilot takes {n} short trainings ({sizes} examples with {seeds} seeds each, and the raw rows of the largest "
    "size). Estimate: {estimate}."
)
PILOT_HOURS: Final = "at most {hours:.1f} GPU hours or ${usd:.2f}, for an 8B model (the time of this base is not known)"
PILOT_DURATION: Final = "{duration}{usd}, for {base}"
PILOT_USD: Final = " or at most ${usd:.2f}"
PILOT_SO_FAR: Final = "So far {n} of {sizes} sizes have {seeds} seeds."

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
SWITCHED_OFF: Final = "It was switched off."
FREE_TEXT: Final = "Free texts cannot be compared word by word."
NO_VOTERS: Final = "There is no other model, and there are too few examples to fit a classifier."
NO_NAMED_DOCUMENTS: Final = "No failed case names the documents that hold its answer."
DOCUMENTS_MISSING: Final = "None of the documents that the failed cases name is in [documents]."
NONE_STRONGER: Final = "No other eligible model is shown to be stronger on dev."
NO_ELIGIBLE_MODEL: Final = "The project has no other eligible model."
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
ORDER_NOTE: Final = "`run` tries retrieval before another model; the next step named here is the cheapest open one."
PERSON_TIME: Final = "about {minutes:.0f} minutes of a person ({each:g} per case, assumed)"
NO_COST: Final = "no calls, no money, seconds"
COST: Final = "{calls} calls, {usd}, {minutes}"
NO_MONEY: Final = "no money"
UNDER_A_MINUTE: Final = "less than a minute"
MINUTES: Final = "about {span} minutes"
N_CASES: Final = "{n} cases with a right answer, {n_test} of them in test"
N_UNLABELLED: Final = "; {n} without one"
CHECK: Final = "tuneworthy check"
LABEL: Final = "tuneworthy cases label"
SAMPLE: Final = "tuneworthy cases sample, then cases label"
DECIDE: Final = "tuneworthy decide"
THEN_DECIDE: Final = "{action} Then run `tuneworthy decide`."
N_TESTED: Final = " (n = {n})"
QUICK_SCORE: Final = " {rung}: {score:.1%} on {n} dev cases in a quick run."
NOT_DECIDED: Final = "Nothing was decided."
VERDICT_STALE: Final = "The verdict {outcome} no longer holds: {changes}."
VERDICT: Final = "{outcome}: {reason}"
NOT_NEEDED: Final = "The verdict is do_not_fine_tune."
TUNED_STATUS: Final = "{name}: {score:.1%}, {status} (n = {n}); pilot: {pilot}"
ADAPTER_UNTESTED: Final = "The adapter {adapter} was not compared on test; pilot: {pilot}"
NOT_TRAINED: Final = "Nothing was trained; pilot: {pilot}"
DO_DATASET: Final = "tuneworthy data build, then data review start"
DO_TRAIN: Final = "tuneworthy train"
DO_TEST: Final = "tuneworthy merge, export gguf, then run --rung fine_tune"
DO_SHIP: Final = "tuneworthy merge, export gguf, parity, serve"

# Stored documents, and what changed since
NO_RUN: Final = "There is no run to decide from."
NOT_A_VERDICT: Final = "{path} is not a verdict of this version."
DECIDE_AGAIN: Final = "Run `tuneworthy decide` again."
NOT_A_PILOT: Final = "{path} is not the result of a pilot."
PILOT_AGAIN: Final = "Run `tuneworthy train --pilot` again."
NOT_A_PROOF: Final = "{path} is not the result of `tuneworthy {command}`."
PROOF_AGAIN: Final = "Run `tuneworthy {command}` again."
VALID_UNTIL: Final = "it was valid until {date}"
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
