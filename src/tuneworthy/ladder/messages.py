"""Sentences of the ladder that a person reads: findings of `check`, errors, reasons, notes, progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

MOST_NAMED: Final = 5


def listed(names: Sequence[str]) -> str:
    """Return the first few of `names`, with the count of the rest.

    >>> listed(["a", "b"])
    'a, b'
    """
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


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


def search_server(name: str, url: str, use: Mapping[str, Sequence[float]] | None) -> str:
    """Say where documents and questions are sent, and what a run costs there."""
    if not use:
        return f"{name}: documents and questions are sent to {url}."
    (few, many), (low, high) = use["calls"], use["usd"]
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


# Records of runs
RECORD_UNREADABLE: Final = "{where}: this version cannot read the record ({place}: {fault})."
RUN_AGAIN: Final = "Run `tuneworthy run` again: nothing that was answered is paid for twice."
