"""Sentences of the ladder that a person reads: findings of `check`, errors, reasons, notes, progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

from tuneworthy.classical.messages import METHODS

MOST_NAMED: Final = 5


def listed(names: Sequence[str]) -> str:
    """Return the first few of `names`, with the count of the rest.

    >>> listed(["a", "b"])
    'a, b'
    """
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


# Records of runs
NO_SUCH_VARIANT: Final = "no such variant"
RECORD_UNREADABLE: Final = "{where}: this version cannot read the record ({place}: {fault})."
RUN_AGAIN: Final = "Run `tuneworthy run` again: nothing that was answered is paid for twice."
STOPPED: Final = "stopped in the rung {rung}: {why}"
BUG: Final = "unexpected {kind}"

# Data of a project
CASES_UNLABELLED: Final = "{n} cases have no expected answer, the first is {first}."
CASES_UNLABELLED_HINT: Final = "Label them with `tuneworthy cases label`."
CASES_CHANGED: Final = "{n} cases of the first run were edited or removed: {names}."
CASES_CHANGED_HINT: Final = (
    "Put them back. To start over with a new test set, move .tuneworthy/split.json and comparisons.json away."
)
LABELS_CORRECTED: Final = "Labels were corrected since the first run, so all variants are scored again: {names}."
CASES_ADDED: Final = "{n} cases were added after the split was drawn and are not used."
TEST_REVEALED: Final = (
    "The answers to {n} test cases were shown (first on {date}): changes made since then look better on them than they "
    "are."
)
NAME_LABELS: Final = "If you know all labels beforehand, name them in a `choice` grader."
LABELS_OPEN: Final = (
    "{once} of {n} answers in dev and examples have a label that occurs once, so there are probably more labels and no "
    f"answer is constrained to the known ones. {NAME_LABELS}"
)
SCHEMA_MISFITS: Final = (
    "The expected answers of {n} of {n_test} test cases do not fit the schema inferred from dev and examples: a model "
    "constrained to it cannot give them."
)


def labels_in_test_only(labels: Sequence[str]) -> str:
    """Return the labels that no model is offered."""
    return (
        f"{len(labels)} labels occur in test only ({listed(labels)}), so no model gets them among its choices. "
        f"{NAME_LABELS}"
    )


# Comparisons on test
PLAN_MISSING: Final = "The comparisons already made on test are missing."
PLAN_UNREADABLE: Final = "This is not a list of comparisons on test."
PLAN_SET_BACK: Final = "This lists {n} comparisons on test, but {made} were made."
PLAN_HINT: Final = "It belongs to the test set: restore the file, or start over with a new test set."
TEST_USED_UP: Final = "The test set is used up: {why}."
TEST_USED_UP_HINT: Final = "Collect a new test set, or compare on dev."
TODAY_MEASURED_AGAIN: Final = "Another baseline was measured on test before, so this one is charged as a comparison."

# Variants
NO_RUN: Final = "There is no run yet that tried {name!r}."
NO_RUN_HINT: Final = "Run `tuneworthy run` first."
RUN_PARTIAL: Final = "The last run stopped early, so it has no best variant: {why}."
RUN_PARTIAL_HINT: Final = "Run `tuneworthy run` again, or name a rung."
NO_VARIANT: Final = "{name!r} matches {n} variants of the last run."
NO_VARIANT_HINT: Final = "Use one of {names}, or an id. {nearest}"
VARIANT_UNREADABLE: Final = "{where}: this is not an exported variant ({fault})."
VARIANT_UNREADABLE_HINT: Final = "Write it with `tuneworthy export variant`."
VARIANT_FILE_MISSING: Final = "{path}: {fault}."
VARIANT_FILE_HINT: Final = "Check the path of the exported variant."
MODEL_CHANGED: Final = "models.{model} is another model now than the one that {variant} was measured with."
MODEL_CHANGED_HINT: Final = "Run `tuneworthy run` again, or put the former model back under another name."

# What a rung did, in general
NOTHING_TO_BUILD_ON: Final = "there is no baseline to build on: {why}"
NOTHING_TO_TRY: Final = "nothing to try"
MODEL_UNAVAILABLE: Final = "{model} is not available: {why}"
NONE_SCORED: Final = "{variant}: none of {n} dev cases could be scored"
NOTHING_SCORED: Final = "nothing could be scored"
QUICK: Final = "dev only: {score:.3f} on {n} cases; nothing was compared on test"
TODAY: Final = "today's prompt and model"
INELIGIBLE: Final = "; it violates a constraint: {why}"
TAKES_OVER: Final = "not adopted, but now the best, because {variant} violates a constraint: {why}"
NOT_ACCEPTED: Final = "{model} does not accept {what}"
SCORE_CORRECTED: Final = "score corrected by people's verdicts on {n} cases; the judge alone gives {score:.3f}"
SEARCH_INCOMPLETE: Final = "The search needs every answer, and one failed: {why}"
SEARCH_INCOMPLETE_HINT: Final = "Run the same command again when the provider works; what was answered is kept."

# Whether a candidate is adopted
GAIN: Final = "{delta:+.3f} [{lo:+.3f}, {hi:+.3f}] at alpha {alpha:.4f}, n = {n}"
JUDGE_UNVALIDATED: Final = "unknown: {why} (by the judge alone {gain})"
UNSCORED: Final = "{share:.1%} of the answers could not be scored (at most {most:.0%}); {gain}"
UNSCORED_FLIP: Final = "the unscored answers could turn the sign; {gain}"
BETTER: Final = "better: {gain}"
CHEAPER: Final = "no worse by the margin (lower bound {lower:+.3f} above -{margin:g}) and {saving}; {gain}"
NO_GAIN: Final = "a gain of {margin:g} is excluded: {gain}"
UNRESOLVED: Final = "a gain of {margin:g} is neither shown nor excluded: {gain}"
COSTS_LESS: Final = "{share:.0%} cheaper"
TAKES_LESS: Final = "{share:.0%} faster"

# Rung classical
NO_EXAMPLES_TO_LEARN: Final = "the project has no examples to train a classical baseline on"
CLASSICAL: Final = "no language model"
CLASSICAL_AGAINST_BEST: Final[Mapping[str, str]] = {
    "better": "no language model, and better than every one tried",
    "cheaper": "no language model, and no worse than the best one tried",
    "no_gain": "no language model; the best one tried is at least as good",
    "constraint": "no language model, and it violates a constraint",
}
CLASSICAL_UNRESOLVED: Final = "no language model; neither better nor worse is shown"
CLASSICAL_TAKES_OVER: Final = " (and the best, because {variant} violates a constraint: {why})"


def classical_wins(name: str, score: float, *, best: str, best_score: float) -> str:
    """Return the sentence for a classical baseline that beats every prompt."""
    what = METHODS.get(name.removeprefix("classical/"), "A method without a language model")
    return (
        f"{what} beats every prompt here: {name} scores {score:.3f}, the best language-model variant ({best}) "
        f"{best_score:.3f}."
    )


# Rung prompt
OWN_PROMPT: Final = "{model} is a pipeline of your own, with a prompt of its own"
NOT_OPTIMISED: Final = "the prompt is not optimised: {why}"
NOT_ABLATED: Final = "nothing is cut from the system prompt: {why}"
NO_PARAGRAPHS: Final = "it has fewer than two paragraphs, or only placeholders"
PARAGRAPHS_CUT: Final = "{n} of {n_all} paragraphs cut"
UNSEARCHED: Final = "that takes a whole run and at least 50 dev cases"
OWN_SYSTEM_TURNS: Final = "{n} of {n_half} dev cases to search on have a system turn of their own"
SEARCHED_TOO_FEW: Final = (
    "only {n} dev cases are left to search on, and {least} are needed: the groups of dev are too large"
)
SEARCHED_UNSCORED: Final = "{n} of {n_all} searched cases have no score; {why}"
GEPA_FOUND_NOTHING: Final = "GEPA found nothing better in {calls} calls"

# Rung retrieval
NO_DOCUMENTS: Final = "the project has no documents"
EMPTY_DOCUMENTS: Final = "all documents are empty"
OWN_SEARCH: Final = "{model} is a pipeline of your own, which does its own search"
NO_ENCODER: Final[Mapping[str, str]] = {
    "local": "torch is not installed (pip install 'tuneworthy[semantic]')",
    "llama_cpp": "xllamacpp is not installed (pip install 'tuneworthy[local]')",
}
WORDS_ALONE: Final = "the search uses words only: {why}"
SEARCH_NOT_TUNED: Final = "the search is not tuned: {n} dev cases name their documents, and {least} are needed"
PASSAGES_TOO_LONG: Final = "left out, because the context of {model} is too short: {names}"
NO_PASSAGE_FITS: Final = "no passage fits into the context of {model}"

# Rung model
ONLY_JUDGES: Final = "{model} only judges: give it a second name in [models] to try it as well"
NO_OTHER_MODEL: Final = "the project file names no other model"
NO_OTHER_MODEL_ON_DEVICE: Final = "no other model may run on the device"
SWITCHED_OFF: Final = "{model} was switched off on {date}"
SWITCHED_OFF_SOON: Final = "{model} is switched off on {date} (in {days} days)"

# Rung few_shot
NO_EXAMPLES_TO_SHOW: Final = "the project has no examples to show"
SETS_TOO_FEW: Final = "no sets of shots are drawn: {n} examples are too few to choose from"
SETS_UNSEARCHED: Final = f"no sets of shots are drawn: {UNSEARCHED}"
NO_BOOTSTRAP: Final = "no bootstrapped shots: the model answers {n} of {n_asked} examples as they do"
SHOTS_WITHOUT_ENCODER: Final = "no shots are chosen by meaning: [retrieval] names no local encoder"
SHOTS_WITHOUT_TORCH: Final = (
    "no shots are chosen by meaning: torch is not installed (pip install 'tuneworthy[semantic]')"
)

# Rung decoding
NO_PARAMETERS: Final = "{model} takes no sampling parameters"
NO_SETTING_ACCEPTED: Final = "{model} accepts none of the settings"
CONSTRAINED_AND_GREEDY: Final = (
    "the answer is constrained and greedy: sampling could only add noise; name settings in [decoding] to try them"
)
PROBED_IDLE: Final = "a probe found that it does nothing"

# Rung fine_tune
NO_TUNED_MODEL: Final = "there is no tuned model to call: {why}"
SERVED_SILENT: Final = (
    "models.{model} does not answer, or does not tell which model of this project it serves; start it with "
    "`tuneworthy serve`, or fix [serve]"
)
NOT_EXPORTED: Final = "the tuned model was not exported; run `tuneworthy export gguf`"
NOT_MERGED: Final = "the adapter was not merged; run `tuneworthy merge`, then `tuneworthy export gguf`"
NOT_TRAINED: Final = "nothing was trained yet"
BASE_NAMED: Final = "its base, models.{model}"
BASE_EXPORTED: Final = "its base, exported as {artifact}"
BASE_IS_TODAYS: Final = "the model in use today, models.{model}"
SERVED_CHANGED: Final = "models.{model} no longer serves what was compared on test, but {now}."
SERVED_CHANGED_HINT: Final = "Start the tuned model with `tuneworthy serve`, and run again."

# What changed since a run
CHANGED: Final[Mapping[str, str]] = {
    "split": "the cases or the dev set changed",
    "labels": "labels of the cases were corrected",
    "groups": "the groups of the cases changed",
    "examples": "the examples changed",
    "documents": "the documents changed",
}
GRADER_CHANGED: Final = "another grader decides"
PROMPT_CHANGED: Final = "the prompt changed"
MODEL_ADDED: Final = "the model {name} was added"
MODEL_GONE: Final = "the model {name} is gone"
MODEL_IS_ANOTHER: Final = "the model {name} changed"
SETTING_CHANGED: Final = "{name} was {before}, is {now}"
RUNG_HALF_RUN: Final = "the rung {rung} was half run ({n} of {n_test} cases)"
RUN_CUT_SHORT: Final = "the run was cut short: {why}"

# Judges
GIVE_VERDICTS: Final = "give them with `tuneworthy cases label --judge`"
VERDICT_UNREADABLE: Final = "{path}: a verdict is true or false, this is {got}."
VERDICT_UNREADABLE_HINT: Final = "Fix the line."
JUDGE_BARRED: Final = "the judge may not decide: {why}"
JUDGE_NOT_VALIDATED: Final = "it was not validated"
TOO_FEW_VERDICTS: Final = (
    "people judged both variants on only {n} of the first {least} cases in the order of the draw; {how}"
)
JUDGES_ITSELF: Final = "it would judge itself"
JUDGE_FAMILY: Final = "models.{judge} judges the answers of models.{model}: {why}"


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


# check: the prompt
ABOUT_PROMPT: Final = "prompt.{key}: {error}"
PROMPT_NOT_UTF8: Final = "prompt.{key}: {file} is not UTF-8."
SAVE_AS_UTF8: Final = "Save the file as UTF-8."
PROMPT_NOT_JINJA: Final = "prompt.{key} is not a valid Jinja template: {error}."
FIX_TEMPLATE: Final = "Fix the template."
PROMPT_LACKS_VARIABLES: Final = "prompt.{key}: {error} This happens in {n} cases ({first}, ...)."
FIX_VARIABLES: Final = "Use variables that every case has, or fix the cases."
PROMPT_WITHOUT_INPUT: Final = "prompt.user is {text!r}, the same for every case."
ADD_INPUT: Final = "Write {{ input }} where the question belongs."
ANSWER_TOO_LONG: Final = (
    "prompt.max_tokens is {limit}, and {n} of {total} right answers are longer; the longest has about {longest} tokens."
)
RAISE_MAX_TOKENS: Final = "Raise prompt.max_tokens."
CONTEXT_TOO_SHORT: Final = (
    "models.{name}.context is {context} tokens; the longest case with its shots and answer needs about {needed}."
)
RAISE_CONTEXT: Final = "Raise the context, or lower few_shot.k or prompt.max_tokens."
SEARCH_LEFT_OUT: Final = "Fix that, or remove the key from the project file."

# check: the data
FIX_ROW: Final = "Fix the row, or remove it."
UNLABELLED: Final = "{n} of {total} cases in {path} have no right answer ({ids})."
LABEL_THEM: Final = "Label them with `tuneworthy cases label`, or remove them."
UNKNOWN_LABELS: Final = (
    "{path}: {n} labels of test cases ({labels}) occur in no example, grader or prompt, such as {first} in case {case}."
)
FIX_LABELS: Final = "Correct the spelling, add examples with these labels, or name them in the prompt."
UNSEEN_LABELS: Final = "{n} labels ({labels}) of {n_cases} cases occur in no example, so shots and the classical baseline cannot show them."
ADD_EXAMPLES: Final = "Add examples with these labels, or correct the spelling."
OVERLAPPING: Final = (
    "{total} of {n_examples} examples overlap {side} and are dropped: {exact} ask the same question, {ngram} share most "
    "n-grams, {group} share a group."
)
NO_ACTION: Final = "No action needed: they are used neither as shots nor for training."
TOO_FEW_REMAIN: Final = (
    "Fewer than {least} examples that can be scored remain, so dev is taken from the cases and test halves. "
    "Check whether cases and examples only share a template, or add examples."
)
DEV_NEAR_TEST: Final = (
    "{total} of {n_dev} dev cases nearly repeat a test case: {exact} ask the same question, {ngram} share most n-grams, "
    "{group} share a group."
)
SET_GROUPS: Final = "Give cases from one source the same group."
MOST_FAULTS: Final = "at most {n} faults"
MORE_FAULTS: Final = "{n} more"
READER_NOTE: Final = "{path}: {note}"
SMALL_TEST: Final = "The test set has {n} cases; at least {least} are needed."
ADD_CASES: Final = "Add cases with `tuneworthy cases sample`, then label them."
SMALL_DEV: Final = "Dev has {n} cases; exploring needs at least {least}, so each rung tries one fixed candidate."
ADD_DEV: Final = "Add cases, or 200 examples that can be scored."
FEW_GROUPS: Final = "The test set has {n} groups; at least {least} are needed."
ADD_GROUPS: Final = "Add cases from other sources."

# check: documents and search
DOCUMENTS_MISSING: Final = "There is nothing at {path}, where [documents] points."
FIX_DOCUMENTS_PATH: Final = "Fix documents.path."
DOCUMENTS_NAMED: Final = "Cases name {n} documents that do not exist ({names})."
ADD_DOCUMENTS: Final = "Add them to [documents], or fix `documents` of the cases."
CHECK_SOURCES: Final = "Check where these documents come from, or remove them."
ABOUT: Final = "{name}: {error}"
NO_SEARCH_PRICE: Final = "{name}: the price of {url} is unknown."

# check: graders
ABOUT_GRADER: Final = "[[graders]] {number} ({type}): {error}"
FIX_GRADERS: Final = "Fix [[graders]]."
GRADER_CANNOT_USE: Final = "[[graders]] {number} ({type}): {reason}. It affects {n} of {total} cases ({first}, ...)."
FIX_ANSWERS: Final = "Correct the answers, or choose another grader."
ABOUT_REGRESSIONS: Final = "[[regressions]]: {error}"
FIX_REGRESSIONS: Final = "Fix [[regressions]]."
REGRESSION_CANNOT_USE: Final = "[[regressions]] {name}: {reason}. It affects {n} cases ({first}, ...)."
OTHER_JUDGE: Final = "Choose a judge of another model family."

# check: models
ABOUT_MODEL: Final = "models.{name}: {error}"
MODEL_NOT_HERE: Final = "models.{name}: the file of {model} has not been downloaded yet."
PULL_MODEL: Final = "`tuneworthy run` downloads it, or run `tuneworthy models pull {name}`."
NO_GGUF: Final = "models.{name}: there is no GGUF file at {path}."
FIX_MODEL: Final = "Fix [models.{name}]."
GGUF_IS_FOLDER: Final = "models.{name}: {path} is a folder, not a GGUF file."
NAME_A_FILE: Final = "Name a file in it."
SERVER_DOWN: Final = "models.{name}: {url} does not answer ({reason})."
START_SERVER: Final = "Start the server, or fix base_url."
KEY_REFUSED: Final = "models.{name}: {url} refuses the key in {variable} (status {status})."
KEY_NEEDED: Final = "models.{name}: {url} needs a key (status {status})."
SET_KEY: Final = "Set the right key."
MODEL_UNKNOWN: Final = "models.{name}: {url} does not list {model!r}; it lists {listed}."
CHECK_MODEL_NAME: Final = "If calls fail, fix the name; `tuneworthy models probe` shows what the server accepts."
BASELINE_HOSTED: Final = "models.{name} is the baseline and hosted, but constraints.on_device is set."
OTHER_BASELINE: Final = "Choose another baseline, or drop the constraint."
MODEL_HOSTED: Final = "models.{name} is hosted and constraints.on_device is set, so the model is not called."
DROP_CONSTRAINT: Final = "Drop the constraint to measure it."
NO_PRICE: Final = "models.{name}: the price table of {date} has no price for {model}."
RETIRES: Final = "models.{name}: {model} is switched off on {date}."
CHOOSE_SUCCESSOR: Final = "Choose a successor."
THINKING_CUT: Final = (
    "prompt.max_tokens is {limit}; models.{name} thinks before it answers and needs at least {least} tokens."
)

# check: sampling settings
LINT: Final = "{where}: {message} ({code})"

# check: the plan
BUDGET_MISSING: Final = "ladder.budget_usd sets no limit, and {names} cost money."
SET_BUDGET: Final = "Set ladder.budget_usd, or use `tuneworthy run --max-usd`."
BUDGET_SHORT: Final = "ladder.budget_usd is ${budget:.2f}, and a run is expected to cost ${low:.2f} to ${high:.2f}."
RAISE_BUDGET: Final = "Raise it, or run fewer rungs (ladder.rungs)."
MORE_CASES: Final = "{n} test cases would find it; or set task.margin to the difference that matters."
ESTIMATE: Final = "{estimate} (an estimate){stored}."
STORED_ANSWERS: Final = "; {n} answers are stored and are not paid for again"
NEVER_WAIVED: Final = "[[waivers]]: the gate {gate!r} cannot be waived."
REMOVE_WAIVER: Final = "Remove this waiver."


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


POWER_ENOUGH: Final = "{power} That is enough for the margin of {margin:.1f} points."
POWER_SHORT: Final = "{power} A gain of the margin ({margin:.1f} points) will mostly stay unresolved."


# compare
SAME_VARIANT: Final = "A and B are the same variant, {name} ({id})."
NAME_ANOTHER: Final = "Name another variant as A or B."
TOO_FEW_CASES: Final = "There are {n} {split} cases; a comparison needs at least {least}."
MORE_SCORED_CASES: Final = "Use --test or add cases."
TOO_FEW_SCORED: Final = "Only {n} cases have a score of both variants; a comparison needs at least {least}."

# cases show, cases label --judge
TEST_HIDDEN: Final = "This is a test case: its answers are hidden, so that test stays honest. --reveal-test shows them."
NO_TEST_ANSWERS: Final = "No answer to a test case is stored."
RUN_WITHOUT_QUICK: Final = "Run `tuneworthy run` without --quick."
NO_JUDGE: Final = "The first grader is {type!r}, so there is no judge to validate."
NO_SUCH_CASE: Final = "{word!r} does not name one case; it matches {ids}."
RUNG_OF_LAST_RUN: Final = "rung of the last run called"
LIST_CASES: Final = "`tuneworthy cases show --failed` lists ids."
EMPTY_RUN: Final = "The last run has no variant."
RUN_LADDER_AGAIN: Final = "Run `tuneworthy run` again."
QUICK_ANSWERS: Final = "There is no full run yet; these answers are from the preview."
NO_RUN_YET: Final = "{root} has no run yet."
RUN_LADDER: Final = "Run `tuneworthy run` first."
PARTIAL_ANSWERS: Final = "The run stopped early, so these are the answers so far: {reason}."

# export variant
NO_PROMPT: Final = "{name} has no prompt."
FIT_CLASSICAL: Final = "The classical baseline is a few lines of scikit-learn: see tuneworthy.classical.fit."
PASSAGES_BEFORE: Final = (
    "The {k} best passages of the documents (content hash {documents}) precede the question, the best one last, in this "
    "form; the search is {settings}."
)


def shots_per_case(k: int, encoder: str) -> str:
    """Say which examples precede the question, where they are chosen per case."""
    method = f"by the sentence encoder {encoder}" if encoder else "BM25 over their questions"
    return (
        f"The {k} nearest examples of shots.jsonl ({method}) precede the question, the nearest last, each as a user "
        "turn and an assistant turn."
    )


# teacher
NO_TEACHER: Final = "The project file has no section [teacher]."
ADD_TEACHER: Final = 'Add one with `model = "..."`, or with `variant = "best"` for prompt distillation.'
TEACHER_CHANGED: Final = "models.{model} is no longer the model that {name} was measured with."
CLASSICAL_TEACHER: Final = "The classical baseline cannot teach: it learned from these examples."
NAME_A_RUNG: Final = 'Name another rung, such as variant = "few_shot".'
TEACHER_GONE: Final = "The teacher's model {model!r} is no longer in [models]."
PUT_MODEL_BACK: Final = "Put it back."

# decode uncertainty, decode sweep
NO_LOGPROBS: Final = "{model} gives no log-probabilities."
OTHER_MODEL: Final = "Choose a variant of another model."
RUN_PROBE: Final = "`tuneworthy models probe` shows what it supports."
SIGNAL_FAILS: Final = (
    "{signal} does not separate wrong answers from right ones: AUROC {area:.2f} [{low:.2f}, {high:.2f}], n = {n}, "
    "{n_wrong} wrong"
)
THRESHOLD_FLAGS: Final = (
    "Log-probability {bound:g} flags {recall:.1%} of the wrong answers and {false_alarms:.1%} of the right ones."
)
ONE_REPEAT: Final = "Consistency needs at least 2 repeats, not {n}."
NOTHING_TO_SWEEP: Final = "{model} has neither sampling parameters nor levels of effort."


def too_few_graded(least: int, n_wrong: int, n: int, by_group: tuple[int, ...] | None) -> str:
    """Say that there are too few wrong or right answers for a threshold."""
    text = f"a threshold needs {least} wrong and as many right answers, and {n_wrong} of {n} are wrong"
    if by_group:
        text += f" (from {by_group[0]} groups with wrong and {by_group[1]} with right answers; each counts once)"
    return text
