"""Sentences of the ladder that a person reads: findings of `check`, errors, reasons, notes, progress."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

from tuneworthy.catalogue import Catalogue
from tuneworthy.classical.messages import METHODS

say = Catalogue(
    {
        # Records of runs
        "no_such_variant": "no such variant",
        "record_unreadable": "{where}: this version cannot read the record ({place}: {fault}).",
        "run_again": "Run `tuneworthy run` again: nothing that was answered is paid for twice.",
        "stopped": "stopped in the rung {rung}: {why}",
        "bug": "unexpected {kind}",
        # Data of a project
        "cases_unlabelled": "{n} cases have no expected answer, the first is {first}.",
        "cases_unlabelled_hint": "Label them with `tuneworthy cases label`.",
        "cases_changed": "{n} cases of the first run were edited or removed: {names}.",
        "cases_changed_hint": (
            "Put them back. To start over with a new test set, move .tuneworthy/split.json and comparisons.json away."
        ),
        "labels_corrected": "Labels were corrected since the first run, so all variants are scored again: {names}.",
        "cases_added": "{n} cases were added after the split was drawn and are not used.",
        "test_revealed": (
            "The answers to {n} test cases were shown (first on {date}): changes made since then look better on them than they "
            "are."
        ),
        "name_labels": "If you know all labels beforehand, name them in a `choice` grader.",
        "schema_misfits": (
            "The expected answers of {n} of {n_test} test cases do not fit the schema inferred from dev and examples: a model "
            "constrained to it cannot give them."
        ),
        # Comparisons on test
        "plan_missing": "The comparisons already made on test are missing.",
        "plan_unreadable": "This is not a list of comparisons on test.",
        "plan_set_back": "This lists {n} comparisons on test, but {made} were made.",
        "plan_hint": "It belongs to the test set: restore the file, or start over with a new test set.",
        "test_used_up": "The test set is used up: {why}.",
        "test_used_up_hint": "Collect a new test set, or compare on dev.",
        "answers_lost": "{n} of {n_all} test answers could not be scored. The first: {why}.",
        "usage_doubtful": (
            "{n} answers of {model} reported no usable token counts. They count at the most that they can cost."
        ),
        "today_measured_again": "Another baseline was measured on test before, so this one is charged as a comparison.",
        # Variants
        "no_run": "There is no run yet that tried {name!r}.",
        "no_run_hint": "Run `tuneworthy run` first.",
        "run_partial": "The last run stopped early, so it has no best variant: {why}.",
        "run_partial_hint": "Run `tuneworthy run` again, or name a rung.",
        "no_variant": "{name!r} matches {n} variants of the last run.",
        "no_variant_hint": "Use one of {names}, or an id. {nearest}",
        "variant_unreadable": "{where}: this is not an exported variant ({fault}).",
        "variant_unreadable_hint": "Write it with `tuneworthy export variant`.",
        "variant_file_missing": "{path}: {fault}.",
        "variant_file_hint": "Check the path of the exported variant.",
        "model_changed": "models.{model} is another model now than the one that {variant} was measured with.",
        "model_changed_hint": "Run `tuneworthy run` again, or put the former model back under another name.",
        # What a rung did, in general
        "nothing_to_build_on": "there is no baseline to build on: {why}",
        "nothing_to_try": "nothing to try",
        "model_unavailable": "{model} is not available: {why}",
        "none_scored": "{variant}: none of {n} dev cases could be scored",
        "nothing_scored": "nothing could be scored",
        "quick": "dev only: {score:.3f} on {n} cases; nothing was compared on test",
        "today": "today's prompt and model",
        "ineligible": "; it violates a constraint: {why}",
        "takes_over": "not adopted, but now the best, because {variant} violates a constraint: {why}",
        "not_accepted": "{model} does not accept {what}",
        "score_corrected": "score corrected by people's verdicts on {n} cases; the judge alone gives {score:.3f}",
        "search_incomplete": "The search needs every answer, and one failed: {why}",
        "search_incomplete_hint": "Run the same command again when the provider works; what was answered is kept.",
        # Whether a candidate is adopted
        "gain": "{delta:+.3f} [{lo:+.3f}, {hi:+.3f}] at alpha {alpha:.4f}, n = {n}",
        "judge_unvalidated": "unknown: {why} (by the judge alone {gain})",
        "unscored": "{share:.1%} of the answers could not be scored (at most {most:.0%}); {gain}",
        "unscored_flip": "the unscored answers could turn the sign; {gain}",
        "better": "better: {gain}",
        "cheaper": "no worse by the margin (lower bound {lower:+.3f} above -{margin:g}) and {saving}; {gain}",
        "no_gain": "a gain of {margin:g} is excluded: {gain}",
        "unresolved": "a gain of {margin:g} is neither shown nor excluded: {gain}",
        "costs_less": "{share:.0%} cheaper",
        "takes_less": "{share:.0%} faster",
        # Rung classical
        "no_examples_to_learn": "the project has no examples to train a classical baseline on",
        "classical": "no language model",
        "classical_unresolved": "no language model; neither better nor worse is shown",
        "classical_takes_over": " (and the best, because {variant} violates a constraint: {why})",
        # Rung prompt
        "own_prompt": "{model} is a pipeline of your own, with a prompt of its own",
        "not_optimised": "the prompt is not optimised: {why}",
        "not_ablated": "nothing is cut from the system prompt: {why}",
        "no_paragraphs": "it has fewer than two paragraphs, or only placeholders",
        "paragraphs_cut": "{n} of {n_all} paragraphs cut",
        "unsearched": "that takes a whole run and at least 50 dev cases",
        "own_system_turns": "{n} of {n_half} dev cases to search on have a system turn of their own",
        "searched_too_few": (
            "only {n} dev cases are left to search on, and {least} are needed: the groups of dev are too large"
        ),
        "searched_unscored": "{n} of {n_all} searched cases have no score; {why}",
        "gepa_found_nothing": "GEPA found nothing better in {calls} calls",
        # Rung retrieval
        "no_documents": "the project has no documents",
        "empty_documents": "all documents are empty",
        "own_search": "{model} is a pipeline of your own, which does its own search",
        "words_alone": "the search uses words only: {why}",
        "search_not_tuned": "the search is not tuned: {n} dev cases name their documents, and {least} are needed",
        "passages_too_long": "left out, because the context of {model} is too short: {names}",
        "no_passage_fits": "no passage fits into the context of {model}",
        # Rung model
        "only_judges": "{model} only judges: give it a second name in [models] to try it as well",
        "no_other_model": "the project file names no other model",
        "no_other_model_on_device": "no other model may run on the device",
        "switched_off": "{model} was switched off on {date}",
        "switched_off_soon": "{model} is switched off on {date} (in {days} days)",
        # Rung few_shot
        "no_examples_to_show": "the project has no examples to show",
        "sets_too_few": "no sets of shots are drawn: {n} examples are too few to choose from",
        "no_bootstrap": "no bootstrapped shots: the model answers {n} of {n_asked} examples as they do",
        "shots_without_encoder": "no shots are chosen by meaning: [retrieval] names no local encoder",
        "shots_without_torch": (
            "no shots are chosen by meaning: torch is not installed (pip install 'tuneworthy[semantic]')"
        ),
        # Rung decoding
        "no_parameters": "{model} takes no sampling parameters",
        "no_setting_accepted": "{model} accepts none of the settings",
        "constrained_and_greedy": (
            "the answer is constrained and greedy: sampling could only add noise; name settings in [decoding] to try them"
        ),
        "probed_idle": "a probe found that it does nothing",
        # Rung fine_tune
        "no_tuned_model": "there is no tuned model to call: {why}",
        "served_silent": (
            "models.{model} does not answer, or does not tell which model of this project it serves; start it with "
            "`tuneworthy serve`, or fix [serve]"
        ),
        "not_exported": "the tuned model was not exported; run `tuneworthy export gguf`",
        "not_merged": "the adapter was not merged; run `tuneworthy merge`, then `tuneworthy export gguf`",
        "not_trained": "nothing was trained yet",
        "base_named": "its base, models.{model}",
        "base_exported": "its base, exported as {artifact}",
        "base_is_todays": "the model in use today, models.{model}",
        "no_artifact": "nothing of this project",
        "served_changed": "models.{model} no longer serves what was compared on test, but {now}.",
        "served_changed_hint": "Start the tuned model with `tuneworthy serve`, and run again.",
        "grader_changed": "another grader decides",
        "prompt_changed": "the prompt changed",
        "model_added": "the model {name} was added",
        "model_gone": "the model {name} is gone",
        "model_is_another": "the model {name} changed",
        "setting_changed": "{name} was {before}, is {now}",
        "rung_half_run": "the rung {rung} was half run ({n} of {n_test} cases)",
        "run_cut_short": "the run was cut short: {why}",
        # Judges
        "give_verdicts": "give them with `tuneworthy cases label --judge`",
        "verdict_unreadable": "{path}: a verdict is true or false, this is {got}.",
        "verdict_unreadable_hint": "Fix the line.",
        "judge_barred": "the judge may not decide: {why}",
        "judge_not_validated": "it was not validated",
        "too_few_verdicts": (
            "people judged both variants on only {n} of the first {least} cases in the order of the draw; {how}"
        ),
        "judges_itself": "it would judge itself",
        "judge_family": "models.{judge} judges the answers of models.{model}: {why}",
        # check: the prompt
        "about_prompt": "prompt.{key}: {error}",
        "prompt_not_utf8": "prompt.{key}: {file} is not UTF-8.",
        "save_as_utf8": "Save the file as UTF-8.",
        "prompt_not_jinja": "prompt.{key} is not a valid Jinja template: {error}.",
        "fix_template": "Fix the template.",
        "prompt_lacks_variables": "prompt.{key}: {error} This happens in {n} cases ({first}, ...).",
        "fix_variables": "Use variables that every case has, or fix the cases.",
        "prompt_without_input": "prompt.user is {text!r}, the same for every case.",
        "add_input": "Write {{ input }} where the question belongs.",
        "answer_too_long": (
            "prompt.max_tokens is {limit}, and {n} of {total} right answers are longer; the longest has about {longest} tokens."
        ),
        "raise_max_tokens": "Raise prompt.max_tokens.",
        "context_too_short": (
            "models.{name}.context is {context} tokens; the longest case with its shots and answer needs about {needed}."
        ),
        "raise_context": "Raise the context, or lower few_shot.k or prompt.max_tokens.",
        "search_left_out": "Fix that, or remove the key from the project file.",
        # check: the data
        "fix_row": "Fix the row, or remove it.",
        "unlabelled": "{n} of {total} cases in {path} have no right answer ({ids}).",
        "label_them": "Label them with `tuneworthy cases label`, or remove them.",
        "unknown_labels": (
            "{path}: {n} labels of test cases ({labels}) occur in no example, grader or prompt, such as {first} in case {case}."
        ),
        "fix_labels": "Correct the spelling, add examples with these labels, or name them in the prompt.",
        "unseen_labels": (
            "{n} labels ({labels}) of {n_cases} cases occur in no example, so shots and the classical baseline cannot show "
            "them."
        ),
        "add_examples": "Add examples with these labels, or correct the spelling.",
        "overlapping": (
            "{total} of {n_examples} examples overlap {side} and are dropped: {exact} ask the same question, {ngram} share most "
            "n-grams, {group} share a group."
        ),
        "no_action": "No action needed: they are used neither as shots nor for training.",
        "too_few_remain": (
            "Fewer than {least} examples that can be scored remain, so dev is taken from the cases and test halves. "
            "Check whether cases and examples only share a template, or add examples."
        ),
        "dev_near_test": (
            "{total} of {n_dev} dev cases nearly repeat a test case: {exact} ask the same question, {ngram} share most n-grams, "
            "{group} share a group."
        ),
        "set_groups": "Give cases from one source the same group.",
        "most_faults": "at most {n} faults",
        "more_faults": "{n} more",
        "reader_note": "{path}: {note}",
        "small_test": "The test set has {n} cases; at least {least} are needed.",
        "add_cases": "Add cases with `tuneworthy cases sample`, then label them.",
        "small_dev": "Dev has {n} cases; exploring needs at least {least}, so each rung tries one fixed candidate.",
        "add_dev": "Add cases, or 200 examples that can be scored.",
        "few_groups": "The test set has {n} groups; at least {least} are needed.",
        "add_groups": "Add cases from other sources.",
        # check: documents and search
        "documents_missing": "There is nothing at {path}, where [documents] points.",
        "fix_documents_path": "Fix documents.path.",
        "documents_named": "Cases name {n} documents that do not exist ({names}).",
        "add_documents": "Add them to [documents], or fix `documents` of the cases.",
        "check_sources": "Check where these documents come from, or remove them.",
        "about": "{name}: {error}",
        "no_search_price": "{name}: the price of {url} is unknown.",
        # check: graders
        "about_grader": "[[graders]] {number} ({type}): {error}",
        "fix_graders": "Fix [[graders]].",
        "grader_cannot_use": "[[graders]] {number} ({type}): {reason}. It affects {n} of {total} cases ({first}, ...).",
        "fix_answers": "Correct the answers, or choose another grader.",
        "about_regressions": "[[regressions]]: {error}",
        "fix_regressions": "Fix [[regressions]].",
        "regression_cannot_use": "[[regressions]] {name}: {reason}. It affects {n} cases ({first}, ...).",
        "other_judge": "Choose a judge of another model family.",
        # check: models
        "about_model": "models.{name}: {error}",
        "model_not_here": "models.{name}: the file of {model} has not been downloaded yet.",
        "pull_model": "`tuneworthy run` downloads it, or run `tuneworthy models pull {name}`.",
        "no_gguf": "models.{name}: there is no GGUF file at {path}.",
        "fix_model": "Fix [models.{name}].",
        "gguf_is_folder": "models.{name}: {path} is a folder, not a GGUF file.",
        "name_a_file": "Name a file in it.",
        "server_down": "models.{name}: {url} does not answer ({reason}).",
        "start_server": "Start the server, or fix base_url.",
        "key_refused": "models.{name}: {url} refuses the key in {variable} (status {status}).",
        "key_needed": "models.{name}: {url} needs a key (status {status}).",
        "set_key": "Set the right key.",
        "model_unknown": "models.{name}: {url} does not list {model!r}; it lists {listed}.",
        "check_model_name": "If calls fail, fix the name; `tuneworthy models probe` shows what the server accepts.",
        "baseline_hosted": "models.{name} is the baseline and hosted, but constraints.on_device is set.",
        "other_baseline": "Choose another baseline, or drop the constraint.",
        "model_hosted": "models.{name} is hosted and constraints.on_device is set, so the model is not called.",
        "drop_constraint": "Drop the constraint to measure it.",
        "no_price": "models.{name}: the price table of {date} has no price for {model}.",
        "retires": "models.{name}: {model} is switched off on {date}.",
        "choose_successor": "Choose a successor.",
        "thinking_cut": (
            "prompt.max_tokens is {limit}; models.{name} thinks before it answers and needs at least {least} tokens."
        ),
        # check: sampling settings
        "lint": "{where}: {message} ({code})",
        # check: the plan
        "budget_missing": "ladder.budget_usd sets no limit, and {names} cost money.",
        "set_budget": "Set ladder.budget_usd, or use `tuneworthy run --max-usd`.",
        "budget_short": "ladder.budget_usd is ${budget:.2f}, and a run is expected to cost ${low:.2f} to ${high:.2f}.",
        "raise_budget": "Raise it, or run fewer rungs (ladder.rungs).",
        "more_cases": "{n} test cases would find it; or set task.margin to the difference that matters.",
        "estimate": "{estimate} (an estimate){stored}.",
        "stored_answers": "; {n} answers are stored and are not paid for again",
        "never_waived": "[[waivers]]: the gate {gate!r} cannot be waived.",
        "remove_waiver": "Remove this waiver.",
        "power_enough": "{power} That is enough for the margin of {margin:.1f} points.",
        "power_short": "{power} A gain of the margin ({margin:.1f} points) will mostly stay unresolved.",
        # compare
        "same_variant": "A and B are the same variant, {name} ({id}).",
        "name_another": "Name another variant as A or B.",
        "too_few_cases": "There are {n} {split} cases; a comparison needs at least {least}.",
        "more_scored_cases": "Use --test or add cases.",
        "too_few_scored": "Only {n} cases have a score of both variants; a comparison needs at least {least}.",
        # cases show, cases label --judge
        "test_hidden": "This is a test case: its answers are hidden, so that test stays honest. --reveal-test shows them.",
        "no_test_answers": "No answer to a test case is stored.",
        "run_without_quick": "Run `tuneworthy run` without --quick.",
        "no_judge": "The first grader is {type!r}, so there is no judge to validate.",
        "no_such_case": "{word!r} does not name one case; it matches {ids}.",
        "rung_of_last_run": "rung of the last run called",
        "list_cases": "`tuneworthy cases show --failed` lists ids.",
        "empty_run": "The last run has no variant.",
        "run_ladder_again": "Run `tuneworthy run` again.",
        "quick_answers": "There is no full run yet; these answers are from the preview.",
        "no_run_yet": "{root} has no run yet.",
        "run_ladder": "Run `tuneworthy run` first.",
        "partial_answers": "The run stopped early, so these are the answers so far: {reason}.",
        # export variant
        "no_prompt": "{name} has no prompt.",
        "fit_classical": "The classical baseline is a few lines of scikit-learn: see tuneworthy.classical.fit.",
        "passages_before": (
            "The {k} best passages of the documents (content hash {documents}) precede the question, the best one last, in this "
            "form; the search is {settings}."
        ),
        # teacher
        "no_teacher": "The project file has no section [teacher].",
        "add_teacher": 'Add one with `model = "..."`, or with `variant = "best"` for prompt distillation.',
        "teacher_changed": "models.{model} is no longer the model that {name} was measured with.",
        "classical_teacher": "The classical baseline cannot teach: it learned from these examples.",
        "name_a_rung": 'Name another rung, such as variant = "few_shot".',
        "teacher_gone": "The teacher's model {model!r} is no longer in [models].",
        "put_model_back": "Put it back.",
        # decode uncertainty, decode sweep
        "no_logprobs": "{model} gives no log-probabilities.",
        "other_model": "Choose a variant of another model.",
        "run_probe": "`tuneworthy models probe` shows what it supports.",
        "signal_fails": (
            "{signal} does not separate wrong answers from right ones: AUROC {area:.2f} [{low:.2f}, {high:.2f}], n = {n}, "
            "{n_wrong} wrong"
        ),
        "threshold_flags": (
            "Log-probability {bound:g} flags {recall:.1%} of the wrong answers and {false_alarms:.1%} of the right ones."
        ),
        "one_repeat": "Consistency needs at least 2 repeats, not {n}.",
        "nothing_to_sweep": "{model} has neither sampling parameters nor levels of effort.",
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
    "{once} of {n} answers in dev and examples have a label that occurs once, so there are probably more labels and no "
    f"answer is constrained to the known ones. {say('name_labels')}"
)


def labels_in_test_only(labels: Sequence[str]) -> str:
    """Return the labels that no model is offered."""
    return (
        f"{len(labels)} labels occur in test only ({listed(labels)}), so no model gets them among its choices. "
        f"{say('name_labels')}"
    )


CLASSICAL_AGAINST_BEST: Final[Mapping[str, str]] = {
    "better": "no language model, and better than every one tried",
    "cheaper": "no language model, and no worse than the best one tried",
    "no_gain": "no language model; the best one tried is at least as good",
    "constraint": "no language model, and it violates a constraint",
}


def classical_wins(name: str, score: float, *, best: str, best_score: float) -> str:
    """Return the sentence for a classical baseline that beats every prompt."""
    what = METHODS.get(name.removeprefix("classical/"), "A method without a language model")
    return (
        f"{what} beats every prompt here: {name} scores {score:.3f}, the best language-model variant ({best}) "
        f"{best_score:.3f}."
    )


NO_ENCODER: Final[Mapping[str, str]] = {
    "local": "torch is not installed (pip install 'tuneworthy[semantic]')",
    "llama_cpp": "xllamacpp is not installed (pip install 'tuneworthy[local]')",
}


SETS_UNSEARCHED: Final = f"no sets of shots are drawn: {say('unsearched')}"


# What changed since a run
CHANGED: Final[Mapping[str, str]] = {
    "split": "the cases or the dev set changed",
    "labels": "labels of the cases were corrected",
    "groups": "the groups of the cases changed",
    "examples": "the examples changed",
    "documents": "the documents changed",
}


# What a run takes
def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def run_estimate(calls: tuple[float, float], usd: tuple[float, float], minutes: tuple[float, float]) -> str:
    """Return what a run takes, in one clause."""
    some = _range(*(f"{round(n, -2 if n > 1000 else -1):,.0f}" for n in calls))
    low, high = (round(n) for n in minutes)
    dollars = _range(*(f"${n:.2f}" for n in usd)) if usd[1] else "no money"
    time = _range(str(low), str(high)) + (" minute" if low == high == 1 else " minutes")
    return f"a run takes {some} calls, {dollars} and {time if high else 'less than a minute'}"


def estimate_assumptions(max_tokens: int, observed: Sequence[str], providers: Sequence[str]) -> list[str]:
    """Return what an estimate rests on, in sentences."""
    lines = [
        f"Tokens are bytes / 4. An answer is as long as the expected ones at least, and {max_tokens} tokens at most.",
        "At least: races end at their first look. At most: every rung adopts its dearest candidate.",
    ]
    if observed:
        lines.append(f"Lengths and times of {', '.join(observed)} are those of the last run.")
    if "llama_cpp" in providers:
        lines.append("The embedded model writes 150 to 300 tokens a second on two cores (98 MB; larger ones less).")
    if {"openai", "anthropic"} & set(providers):
        lines.append("A server that was not measured takes 0.5 s and writes 60 tokens a second.")
    return lines


def search_server(name: str, url: str, calls: tuple[float, float] | None, usd: tuple[float, float] | None) -> str:
    """Say where documents and questions are sent, and what a run costs there."""
    if not calls or not usd:
        return f"{name}: documents and questions are sent to {url}."
    (few, many), (low, high) = calls, usd
    return (
        f"{name}: documents and questions are sent to {url} in about {few:,} to {many:,} calls, "
        f"${low:.2f} to ${high:.2f} (an estimate)."
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
        f"With {n} test cases and {comparisons} test comparisons (alpha {alpha:.4f} each), {gain} is found 8 times in "
        f"10, if {loss:.0%} of the cases get worse."
    )
    if n_groups < n:
        worst = "none" if grouped == inf else f"{100 * grouped:.1f} points"
        text += f" If all cases of a group ({n_groups} groups) go alike, it is {worst}."
    return f"{text} Showing that nothing got worse by the margin takes {n_no_worse:,} cases."


def shots_per_case(k: int, encoder: str) -> str:
    """Say which examples precede the question, where they are chosen per case."""
    method = f"by the sentence encoder {encoder}" if encoder else "BM25 over their questions"
    return (
        f"The {k} nearest examples of shots.jsonl ({method}) precede the question, the nearest last, each as a user "
        "turn and an assistant turn."
    )


def too_few_graded(least: int, n_wrong: int, n: int, by_group: tuple[int, ...] | None) -> str:
    """Say that there are too few wrong or right answers for a threshold."""
    text = f"a threshold needs {least} wrong and as many right answers, and {n_wrong} of {n} are wrong"
    if by_group:
        text += f" (from {by_group[0]} groups with wrong and {by_group[1]} with right answers; each counts once)"
    return text
