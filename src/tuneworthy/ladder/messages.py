"""Sentences of the ladder that a person reads: findings of `check`, errors, reasons, notes, progress.

Reasons and notes of a rung are clauses: they follow a colon or go in brackets, so no capital and no full stop.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

from tuneworthy.catalogue import Catalogue
from tuneworthy.classical.messages import METHODS

say = Catalogue(
    {
        # Records of runs
        "no_such_variant": "no such variant",
        "record_unreadable": "{where}: this version cannot read the run record ({place}: {fault}).",
        "run_again": "Run `tuneworthy run` again. Finished calls are cached and never paid for twice.",
        "stopped": "stopped at the rung {rung}: {why}",
        "bug": "internal error ({kind})",
        # Data of a project
        "cases_unlabelled": "{n} cases have no expected answer, starting with {first}.",
        "cases_unlabelled_hint": "Label them with `tuneworthy cases label`.",
        "cases_changed": "{n} cases of the first run have been edited or removed: {names}.",
        "cases_changed_hint": (
            "Restore these cases. To start over with a new test set, delete split.json and comparisons.json in "
            ".tuneworthy."
        ),
        "labels_corrected": (
            "Labels of these cases have been corrected since the first run, so all variants are scored again: {names}."
        ),
        "cases_added": "{n} cases joined the file after the split was drawn. `cases add` adds them to test.",
        "test_revealed": (
            "Answers to {n} test cases have been revealed, the first on {date}. Changes made since then may look "
            "better on these cases than they are."
        ),
        "name_labels": "If you know all labels in advance, list them in a `choice` grader.",
        "schema_misfits": (
            "The expected answers of {n} of {n_test} test cases do not match the schema inferred from dev cases and "
            "examples. A model constrained to this schema cannot produce them."
        ),
        # Comparisons on test
        "plan_missing": "The record of test comparisons is missing.",
        "plan_unreadable": "This file is not a valid record of test comparisons.",
        "plan_set_back": "This file lists only {n} of the {made} test comparisons that were made.",
        "plan_hint": (
            "This file records how often the test set was used. Restore it, or start over with a new test set."
        ),
        "test_used_up": "The test set is used up. {why}",
        "test_used_up_hint": "Collect a new test set, or compare on dev.",
        "today_measured_again": (
            "A different baseline was measured on the test set before, so this one counts as a test comparison."
        ),
        "answers_lost": "{n} of {n_all} test answers could not be scored. The first reason: {why}.",
        "usage_doubtful": (
            "{n} answers from {model} came without usable token counts. Each is charged at its maximum cost."
        ),
        # Variants
        "no_run": "No run has tried {name!r} yet.",
        "no_run_hint": "Run `tuneworthy run` first.",
        "run_partial": "The last run is incomplete, so it has no best variant: {why}.",
        "run_partial_hint": "Run `tuneworthy run` again, or name a rung instead of best.",
        "no_variant": "{name!r} matches {n} variants of the last run; it must match exactly one.",
        "no_variant_hint": "Use one of {names}, or a variant ID. {nearest}",
        "variant_unreadable": "{where}: this file is not a valid exported variant ({fault}).",
        "variant_unreadable_hint": "Create the file with `tuneworthy export variant`.",
        "variant_file_missing": "{path}: {fault}.",
        "variant_file_hint": "Check the path to the exported variant.",
        "model_changed": "models.{model} is no longer the model that {variant} was measured with.",
        "model_changed_hint": (
            "Run `tuneworthy run` again, or restore the previous model and add the new one under a different name."
        ),
        # What a rung did, in general
        "nothing_to_build_on": "this rung builds on the baseline, which failed: {why}",
        "nothing_to_try": "no candidates to try",
        "model_unavailable": "{model} is not available: {why}",
        "none_scored": "{variant}: none of {n} dev cases could be scored",
        "nothing_scored": "no case could be scored",
        "quick": "dev only: {score:.1%} on {n} cases, not compared on the test set",
        "today": "today's prompt and model",
        "ineligible": "; violates a constraint: {why}",
        "takes_over": "not adopted, but now the best variant, because {variant} violates a constraint: {why}",
        "not_accepted": "settings not available with {model}: {what}",
        "score_corrected": "score corrected with human ratings of {n} cases; the judge's score alone is {score:.1%}",
        "search_incomplete": "The search needs every answer, but a call failed: {why}",
        "search_incomplete_hint": "Run the same command again once the provider works. Finished calls are cached.",
        # Whether a candidate is adopted
        "gain": "{delta:+.1f} points [{lo:+.1f}, {hi:+.1f}], n = {n}",
        "tested": ", one-sided p = {p_value:.2g} at alpha {alpha:.2g}",
        "not_tested": ", not compared because it is not ahead on dev",
        "judge_unvalidated": "{why} (judge scores alone: {gain})",
        "unscored": "{share:.1%} of the answers could not be scored (limit {most:.1%}); {gain}",
        "unscored_flip": "the unscored answers could reverse the result; {gain}",
        "better": "better: {gain}",
        "shown_before": "; shown at alpha {alpha:.4f} on the first {n} cases",
        "sources_few": "the test cases count as {n:.1f} independent sources; at least {least} are needed",
        "cheaper": "non-inferior (lower bound {lower:+.1f} points, above -{margin:.1f}) at {saving}; {gain}",
        "no_gain": "a gain of {margin:.1f} points or more is ruled out: {gain}",
        "unresolved": "a gain of {margin:.1f} points is neither shown nor ruled out: {gain}",
        "costs_less": "{share:.1%} lower cost",
        "takes_less": "{share:.1%} lower latency",
        # Rung classical
        "no_examples_to_learn": "the project has no examples to train a classical baseline on",
        "classical": "no language model",
        "classical_unresolved": (
            "no language model; the comparison with the best language model variant is inconclusive"
        ),
        "classical_takes_over": " (now the best variant, because {variant} violates a constraint: {why})",
        # Rung prompt
        "own_prompt": "{model} is your own pipeline, which has its own prompt",
        "not_optimised": "the prompt is not optimised: {why}",
        "not_ablated": "the system prompt is not shortened: {why}",
        "no_paragraphs": "it has fewer than two paragraphs, or only placeholders",
        "paragraphs_cut": "{n} of {n_all} paragraphs removed",
        "unsearched": "this needs a full run and at least 50 dev cases",
        "own_system_turns": "{n} of {n_half} dev cases for the search have their own system message",
        "searched_too_few": (
            "the groups of dev cases are so large that only {n} cases remain for the search, and {least} are needed"
        ),
        "searched_unscored": "{n} of {n_all} cases for the search have no score; {why}",
        "gepa_found_nothing": "GEPA found no better prompt in {calls} calls",
        # Rung retrieval
        "no_documents": "the project has no documents",
        "empty_documents": "all documents are empty",
        "own_search": "{model} is your own pipeline, which has its own retrieval",
        "words_alone": "the search uses keywords only: {why}",
        "search_not_tuned": "retrieval is not tuned: only {n} dev cases list their documents, and {least} are needed",
        "passages_too_long": "candidates skipped because their prompts exceed the context length of {model}: {names}",
        "no_passage_fits": "no passage fits into the context window of {model}",
        # Rung model
        "only_judges": "{model} is only a judge; to try it as a candidate, add it to [models] under a second name",
        "no_other_model": "the project file defines no other model",
        "no_other_model_on_device": "no other model can run on the device",
        "switched_off": "the provider retired {model} on {date}",
        "switched_off_soon": "the provider retires {model} on {date} (in {days} days)",
        # Rung few_shot
        "no_examples_to_show": "the project has no examples for few-shot prompts",
        "sets_too_few": "no sets of few-shot examples were sampled: {n} examples are too few to choose from",
        "no_bootstrap": "no bootstrapped few-shot examples: the model reproduces only {n} of {n_asked} example answers",
        "shots_without_encoder": (
            "few-shot examples are not chosen by semantic similarity: [retrieval] names no local encoder"
        ),
        "shots_without_torch": (
            "few-shot examples are not chosen by semantic similarity: torch is not installed; run `pip install "
            '"tuneworthy[semantic]"`'
        ),
        # Rung decoding
        "no_parameters": "{model} accepts no sampling parameters",
        "no_setting_accepted": "{model} accepts none of the sampling settings to try",
        "constrained_and_greedy": (
            "decoding is constrained and greedy, so sampling could only add noise; to try settings anyway, list them "
            "in [decoding]"
        ),
        "probed_idle": "a probe found that it has no effect",
        # Rung fine_tune
        "no_tuned_model": "no fine-tuned model is available: {why}",
        "served_silent": (
            "models.{model} does not respond, or does not report which of this project's models it serves; start it "
            "with `tuneworthy serve`, or fix [serve]"
        ),
        "not_exported": "the fine-tuned model has not been exported; run `tuneworthy export gguf`",
        "not_merged": "the adapter has not been merged; run `tuneworthy merge`, then `tuneworthy export gguf`",
        "not_trained": "no model has been trained yet",
        "base_named": "its base model, models.{model}",
        "base_exported": "its base model, exported as {artifact}",
        "base_is_todays": "today's model, models.{model}",
        "no_artifact": "none of this project's models",
        "served_changed": "models.{model} no longer serves the model compared on the test set. It now serves {now}.",
        "served_changed_hint": "Start the fine-tuned model with `tuneworthy serve`, then run the ladder again.",
        "grader_changed": "the primary grader has changed",
        "prompt_changed": "the prompt has changed",
        "model_added": "the model {name} has been added",
        "model_gone": "the model {name} has been removed",
        "model_is_another": "the model {name} has changed",
        "setting_changed": "{name} was {before} and is now {now}",
        "rung_half_run": "the rung {rung} is incomplete ({n} of {n_test} cases)",
        "run_cut_short": "the run is incomplete: {why}",
        # Judges
        "give_verdicts": "run `tuneworthy cases label --judge` to add ratings",
        "verdict_unreadable": "{path}: a rating must be true or false, not {got}.",
        "verdict_unreadable_hint": "Fix this rating.",
        "judge_barred": "the judge cannot be used: {why}",
        "judge_not_validated": "it has not been validated",
        "too_few_verdicts": "people have rated both variants on only {n} of the first {least} sampled cases; {how}",
        "judges_itself": "they are the same model",
        "judge_family": "models.{judge} judges the answers of models.{model}: {why}",
        # check: the prompt
        "about_prompt": "prompt.{key}: {error}",
        "prompt_not_utf8": "prompt.{key}: {file} is not valid UTF-8.",
        "save_as_utf8": "Save the file as UTF-8.",
        "prompt_not_jinja": "prompt.{key} is not a valid Jinja template: {error}.",
        "fix_template": "Fix the template.",
        "prompt_lacks_variables": "prompt.{key}: {error} This affects {n} cases, starting with {first}.",
        "fix_variables": "Use only variables that every case has, or fix the cases.",
        "prompt_without_input": "prompt.user is {text!r}, which is the same for every case.",
        "add_input": "Write {{ input }} where the question belongs.",
        "answer_too_long": (
            "prompt.max_tokens is {limit}, but {n} of {total} expected answers are longer. The longest has about "
            "{longest} tokens."
        ),
        "raise_max_tokens": "Raise prompt.max_tokens.",
        "context_too_short": (
            "models.{name}.context is {context} tokens. The longest case, including its few-shot examples and answer, "
            "needs about {needed}."
        ),
        "raise_context": "Raise the context length, or lower few_shot.k or prompt.max_tokens.",
        "search_left_out": "Fix the cause, or remove the setting from the project file.",
        # check: the data
        "fix_row": "Fix or remove the row.",
        "unlabelled": "{n} of {total} cases in {path} have no expected answer ({ids}).",
        "label_them": "Label them with `tuneworthy cases label`, or remove them.",
        "unknown_labels": (
            "{path}: {n} labels of test cases ({labels}) occur in no dev case, example, grader or prompt. For example, "
            "case {case} has the label {first}."
        ),
        "fix_labels": "Correct the spelling, add examples with these labels, or list them in the prompt.",
        "unseen_labels": (
            "{n} labels ({labels}), used by {n_cases} cases, occur in no example. Few-shot prompts and the classical "
            "baseline therefore cannot learn them."
        ),
        "add_examples": "Add examples with these labels, or correct the spelling.",
        "overlapping": (
            "{total} of {n_examples} examples overlap {side} and are dropped. Of these, {exact} have the same "
            "question, {ngram} share most n-grams, and {group} share a group."
        ),
        "no_action": "No action needed: these examples are used neither for few-shot prompts nor for training.",
        "too_few_remain": (
            "Fewer than {least} examples that can be scored remain. The dev set is therefore taken from the cases, "
            "which halves the test set. Check whether the overlap comes only from a shared template, or add examples."
        ),
        "dev_near_test": (
            "{total} of {n_dev} dev cases are near-duplicates of test cases. Of these, {exact} have the same question, "
            "{ngram} share most n-grams, and {group} share a group."
        ),
        "near_duplicates": (
            "{n} cases reword other cases and are grouped with them. The {n_test} test cases count as {effective:.0f} "
            "effective cases."
        ),
        "set_groups": "Assign the same group to all cases from one source.",
        "most_faults": "valid rows only",
        "more_faults": "{n} more errors",
        "reader_note": "{path}: {note}",
        "small_test": "The test set has {n} cases; at least {least} are needed.",
        "add_cases": "Add cases with `tuneworthy cases sample`, then label them.",
        "small_dev": (
            "The dev set has {n} cases, and comparing candidates needs at least {least}. Each rung therefore tries one "
            "predefined candidate."
        ),
        "add_dev": "Add cases, or at least 200 examples that can be scored.",
        "few_groups": "The test set counts as {n:.1f} groups of equal size; at least {least} are needed.",
        "add_groups": "Add cases from other sources.",
        # check: documents and search
        "documents_missing": "The path in [documents] does not exist: {path}.",
        "fix_documents_path": "Fix documents.path.",
        "documents_named": "Some cases list documents that do not exist: {n} in total ({names}).",
        "add_documents": "Add the documents to [documents], or fix the `documents` field of the cases.",
        "check_sources": "Check where these documents come from, or remove them.",
        "about": "{name}: {error}",
        "no_search_price": "{name}: the price of {url} is unknown.",
        # check: graders
        "about_grader": "[[graders]] {number} ({type}): {error}",
        "fix_graders": "Fix [[graders]].",
        "grader_cannot_use": (
            "[[graders]] {number} ({type}): {reason}. This affects {n} of {total} cases, starting with {first}."
        ),
        "fix_answers": "Correct the expected answers, or choose a different grader.",
        "about_regressions": "[[regressions]]: {error}",
        "fix_regressions": "Fix [[regressions]].",
        "regression_cannot_use": "[[regressions]] {name}: {reason}. This affects {n} cases, starting with {first}.",
        "other_judge": "Choose a judge from a different model family.",
        # check: models
        "about_model": "models.{name}: {error}",
        "model_not_here": "models.{name}: {model} has not been downloaded yet.",
        "pull_model": "Run `tuneworthy models pull {name}`. Otherwise, `tuneworthy run` downloads it.",
        "no_gguf": "models.{name}: there is no GGUF file at {path}.",
        "fix_model": "Fix [models.{name}].",
        "gguf_is_folder": "models.{name}: {path} is a folder, not a GGUF file.",
        "name_a_file": "Set the path to a file in this folder.",
        "server_down": "models.{name}: {url} is not responding ({reason}).",
        "start_server": "Start the server, or fix base_url.",
        "key_refused": "models.{name}: {url} rejects the API key in {variable} (status {status}).",
        "key_needed": "models.{name}: {url} needs an API key (status {status}).",
        "set_key": "Set a valid API key.",
        "model_unknown": "models.{name}: {url} does not list the model {model!r}. It lists {listed}.",
        "check_model_name": (
            "If calls fail, fix the model name. `tuneworthy models probe` shows what the server accepts."
        ),
        "baseline_hosted": "models.{name}, the baseline, is hosted, but constraints.on_device is set.",
        "other_baseline": "Choose a different baseline, or remove the constraint.",
        "model_hosted": "models.{name} is hosted and constraints.on_device is set, so the run does not call it.",
        "not_trusted": "You have not allowed this project to {grant}.",
        "drop_constraint": "Remove the constraint if you want to measure this model.",
        "no_price": "models.{name}: the price table of {date} has no price for {model}.",
        "retires": "models.{name}: the provider retires {model} on {date}.",
        "choose_successor": "Choose a successor model.",
        "thinking_cut": (
            "prompt.max_tokens is {limit}, but models.{name} is a reasoning model and needs at least {least} tokens."
        ),
        # check: sampling settings
        "lint": "{where}: {message} ({code})",
        # check: the plan
        "budget_missing": "ladder.budget_usd is not set, but these services are billed: {names}.",
        "set_budget": "Set ladder.budget_usd, or pass --max-usd to `tuneworthy run`.",
        "budget_short": (
            "ladder.budget_usd is ${budget:.2f}, but the estimated cost of a run is ${low:.2f} to ${high:.2f}."
        ),
        "raise_budget": "Raise the budget, or run fewer rungs (ladder.rungs).",
        "more_cases": (
            "{n} test cases are needed to detect a gain of this size. Alternatively, set task.margin to the smallest "
            "difference that matters."
        ),
        "estimate": "Estimate: {estimate}{stored}.",
        "stored_answers": "; {n} cached answers are free",
        "never_waived": "[[waivers]]: the gate {gate!r} cannot be waived.",
        "remove_waiver": "Remove this waiver.",
        "power_enough": "{power} This is enough for the margin of {margin:.1f} points.",
        "power_short": "{power} A gain as small as the margin ({margin:.1f} points) will usually be inconclusive.",
        # compare
        "same_variant": "A and B are the same variant, {name} ({id}).",
        "name_another": "Choose a different variant for A or B.",
        "too_few_cases": "There are {n} {split} cases; a comparison needs at least {least}.",
        "more_scored_cases": "Add cases, or use --test to compare on the test set.",
        "too_few_scored": "Only {n} cases have a score for both variants; a comparison needs at least {least}.",
        # cases show, cases label --judge
        "test_hidden": (
            "This is a test case, so its answers are hidden to prevent tuning on the test set. To see them, use "
            "--reveal-test."
        ),
        "no_test_answers": "There are no stored answers to test cases.",
        "run_without_quick": "Run `tuneworthy run` without --quick.",
        "no_judge": "The first grader is {type!r}, so there is no judge to validate.",
        "no_such_case": "{word!r} does not identify exactly one case. Matches: {ids}.",
        "rung_of_last_run": "rung of the last run",
        "list_cases": "To list case IDs, run `tuneworthy cases show --failed`.",
        "empty_run": "The last run has no variants.",
        "run_ladder_again": "Run `tuneworthy run` again.",
        "quick_answers": "There is no full run yet. These answers come from a quick run.",
        "no_run_yet": "{root} has no run yet.",
        "run_ladder": "Run `tuneworthy run` first.",
        "partial_answers": "The run is incomplete, so some answers are missing: {reason}.",
        # export variant
        "no_prompt": "{name} has no prompt to export.",
        "fit_classical": "To use the classical baseline, train it with the Python function `tuneworthy.classical.fit`.",
        "passages_before": (
            "The prompt puts the {k} best passages before the question, with the best one last. The documents have the "
            "content hash {documents}, and the search settings are {settings}. The passages have this format:"
        ),
        # teacher
        "no_teacher": "The project file has no [teacher] section.",
        "add_teacher": 'Add one with `model = "..."`, or with `variant = "best"` for prompt distillation.',
        "teacher_changed": "models.{model} is no longer the model that {name} was measured with.",
        "classical_teacher": "The classical baseline cannot be the teacher, because it was trained on these examples.",
        "name_a_rung": 'Choose a different rung, such as variant = "few_shot".',
        "teacher_gone": "The teacher's model {model!r} is no longer in [models].",
        "put_model_back": "Add the model to [models] again.",
        # decode uncertainty, decode sweep
        "no_logprobs": "{model} returns no log-probabilities.",
        "other_model": "Choose a variant that uses a different model.",
        "run_probe": "Run `tuneworthy models probe` to see what the model supports.",
        "signal_fails": (
            "{signal} does not separate wrong answers from correct ones: AUROC {area:.2f} [{low:.2f}, {high:.2f}], n = "
            "{n}, {n_wrong} wrong"
        ),
        "threshold_flags": (
            "A log-probability threshold of {bound:g} flags {recall:.1%} of the wrong answers and {false_alarms:.1%} "
            "of the correct ones."
        ),
        "one_repeat": "Measuring consistency needs at least 2 repeats, not {n}.",
        "nothing_to_sweep": (
            "{model} supports neither sampling parameters nor reasoning effort, so there is nothing to sweep."
        ),
        "loses_target": "no worse by the margin and {saving}, but it no longer meets the target; {gain}",
        "imbalance": (
            "The majority label `{label}` is {share:.1%} of {n} dev cases; always answering it scores about that."
        ),
        "balance": "Make `balanced_accuracy` the first grader, so that every label counts alike.",
    }
).say


MOST_NAMED: Final = 5


def listed(names: Sequence[str]) -> str:
    """Return the first few of `names`, with the count of the rest.

    >>> listed(["a", "b"])
    'a, b'
    """
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


LABELS_OPEN: Final = (
    "{once} of {n} answers in dev cases and examples have a label that occurs only once, so more labels probably "
    f"exist. Answers are therefore not constrained to the known labels. {say('name_labels')}"
)


def labels_in_test_only(labels: Sequence[str]) -> str:
    """Return the labels that no model can choose."""
    return (
        f"{len(labels)} labels occur only in the test set ({listed(labels)}), so no model can choose them. "
        f"{say('name_labels')}"
    )


CLASSICAL_AGAINST_BEST: Final[Mapping[str, str]] = {
    "better": "no language model, and better than all language model variants",
    "cheaper": "no language model, and non-inferior to the best language model variant",
    "no_gain": "no language model, and no gain over the best language model variant",
    "constraint": "no language model, and it violates a constraint",
}


def classical_wins(name: str, score: float, *, best: str, best_score: float) -> str:
    """Return the sentence for a classical baseline that beats every prompt."""
    what = METHODS.get(name.removeprefix("classical/"), "A method without a language model")
    return (
        f"{what} beats every prompt here: {name} scores {score:.1%}, and the best language model variant "
        f"({best}) scores {best_score:.1%}."
    )


NO_ENCODER: Final[Mapping[str, str]] = {
    "local": 'torch is not installed; run `pip install "tuneworthy[semantic]"`',
    "llama_cpp": 'xllamacpp is not installed; run `pip install "tuneworthy[local]"`',
}


SETS_UNSEARCHED: Final = f"no sets of few-shot examples were sampled: {say('unsearched')}"


# What changed since a run
CHANGED: Final[Mapping[str, str]] = {
    "split": "the cases or the dev set have changed",
    "labels": "labels of cases have been corrected",
    "groups": "the groups of the cases have changed",
    "examples": "the examples have changed",
    "documents": "the documents have changed",
}


# What a run needs
def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def run_estimate(calls: tuple[float, float], usd: tuple[float, float], minutes: tuple[float, float]) -> str:
    """Return the calls, cost and time of a run, in one clause."""
    some = _range(*(f"{round(n, -2 if n > 1000 else -1):,.0f}" for n in calls))
    low, high = (round(n) for n in minutes)
    dollars = _range(*(f"${n:.2f}" for n in usd)) if usd[1] else "nothing"
    time = _range(str(low), str(high)) + (" minute" if low == high == 1 else " minutes")
    return f"a run makes {some} calls, costs {dollars} and takes {time if high else 'less than a minute'}"


def estimate_assumptions(max_tokens: int, observed: Sequence[str], providers: Sequence[str]) -> list[str]:
    """Return the assumptions of an estimate, in sentences."""
    lines = [
        f"Token counts are bytes / 4. Answers are as long as the expected ones or longer, up to {max_tokens} tokens.",
        "Lower bound: races end after the first round. Upper bound: each rung adopts its most expensive candidate.",
    ]
    if observed:
        lines.append(f"Answer lengths and times of {', '.join(observed)} come from the last run.")
    if "llama_cpp" in providers:
        lines.append(
            "The embedded 98 MB model generates 150 to 300 tokens per second on two cores; larger models are slower."
        )
    if {"openai", "anthropic"} & set(providers):
        lines.append(
            "Servers without measurements are assumed to need 0.5 s per call and to generate 60 tokens per second."
        )
    return lines


def search_server(name: str, url: str, calls: tuple[float, float] | None, usd: tuple[float, float] | None) -> str:
    """Say where documents and questions are sent, and what a run costs there."""
    if not calls or not usd:
        return f"{name} sends documents and questions to {url}."
    (few, many), (low, high) = calls, usd
    return (
        f"{name} sends documents and questions to {url}. "
        f"Estimate: {few:,} to {many:,} calls, ${low:.2f} to ${high:.2f}."
    )


def power(  # noqa: PLR0917
    n: int,
    n_groups: int,
    comparisons: int,
    alpha: float,
    difference: float,
    grouped: float,
    loss: float,
    n_no_worse: int,
) -> str:
    """Say what difference the test set can show."""
    gain = "no gain" if difference == inf else f"a gain of {100 * difference:.1f} points"
    text = (
        f"The test set has {n} cases for {comparisons} comparison{'s' * (comparisons > 1)} at a one-sided alpha of "
        f"{alpha:.2g} or more. If {loss:.1%} of the cases get worse, {gain} is detected with 80% power."
    )
    if n_groups < n:
        worst = "no gain can be detected" if grouped == inf else f"this rises to {100 * grouped:.1f} points"
        text += f" If all cases of a group change together ({n_groups} groups), {worst}."
    return f"{text} Showing non-inferiority within the margin takes {n_no_worse:,} cases."


def shots_per_case(k: int, encoder: str) -> str:
    """Say which examples precede the question, where they are chosen per case."""
    method = f"by the sentence encoder {encoder}" if encoder else "by BM25 over their questions"
    return (
        f"The prompt puts the {k} nearest examples of shots.jsonl ({method}) before the question, with the nearest one "
        "last. Each example is a user message and an assistant message."
    )


def too_few_graded(least: int, n_wrong: int, n: int, by_group: tuple[int, ...] | None) -> str:
    """Say that there are too few wrong or correct answers for a threshold."""
    text = f"a threshold needs at least {least} wrong and {least} correct answers, and {n_wrong} of {n} are wrong"
    if by_group:
        text += f" (each group counts once: {by_group[0]} have wrong and {by_group[1]} have correct answers)"
    return text
