"""Every sentence of this folder that a person reads at run time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

# --- what data checks find: check, code, description ----------------------------------------------------------------

REASONS: Final[Mapping[str, dict[str, str]]] = {
    "held_out": {"held_out": "a row of the dev set"},
    "chat": {
        "bad_chat": "not a chat that ends with an answer",
        "broken_text": "NUL characters, lone surrogates, or text decoded with the wrong encoding",
        "empty_turn": "a turn without content",
        "tool_turns": "tool calls and tool results that do not match",
    },
    "feedback": {
        "thumbs_down": "a person rated the answer as bad",
        "escalated": "the conversation was handed to a person",
        "corrected": "the answer was corrected, but the log does not hold the correction",
        "unclear_feedback": "the feedback cannot be interpreted, so the answer may be bad",
    },
    "truncation": {
        "truncated": "the answer hit the token limit",
        "cut_off": "the answer breaks off",
        "unnatural_end": "the answer ended for an unusual reason",
    },
    "refusal": {"refused": "the model or its provider refused to answer"},
    "contamination": {
        "overlap_exact": "the question of a case, letter for letter",
        "overlap_ngram": "most words of a case's question",
        "overlap_edit": "a case's question with one word changed",
        "overlap_short_edit": "a short question, one word away from a case's",
        "overlap_group": "the same source as a case",
    },
    "exact": {"exact_duplicate": "the same letters and digits as an earlier row"},
    "near": {"near_duplicate": "an earlier row with a few words changed"},
    "semantic": {"semantic_duplicate": "an earlier row in other words"},
    "paraphrases": {
        "overlap_paraphrase": "a case's question in other words",
        "leaning_file": "a file whose rows are closer to the cases than to other rows",
    },
    "personal_data": {"personal_data": "personal data", "secret": "a key, token or password"},
    "concentration": {
        "over_cap": "one of too many rows on one topic",
        "concentrated": "a few topics make up most of the rows",
    },
    "judge_audit": {
        "judged_bad": "the judge calls the answer bad",
        "not_judged": "the judge gave no verdict",
        "judged": "the judge's verdicts on all rows",
    },
    "label_errors": {"label_error": "the label is probably wrong"},
    "declined_share": {
        "too_many_declined": "the rows decline more often than the cases do",
        "too_few_declined": "the rows decline less often than the cases do",
    },
    "length": {"long": "far longer than usual", "short": "far shorter than usual"},
    "language": {
        "rare_language": "in a language that hardly any other row uses",
        "answered_in_another": "answered in another language than the question",
    },
    "teacher_mix": {
        "teachers_mixed": "answers of several teachers",
        "teachers_mixed_as_asked": "answers of several teachers, as the project allows",
    },
    "teacher_drift": {
        "answers_drift": "the answers of weeks or teachers can be told apart",
        "answers_steady": "the answers of weeks or teachers cannot be told apart",
        "too_few_answers": "weeks or teachers with too few answers to compare",
    },
    "review": {"found_bad": "a reviewer marked the row as bad"},
}
CORRECTION: Final = {"correction": "the correction replaces the answer"}

# --- details of a finding -------------------------------------------------------------------------------------------

TURN_OF: Final = "messages[{number}] of {role}"
RESULT_WITHOUT_CALL: Final = "messages[{number}] is a tool result without a call"
TURN_BEFORE_RESULT: Final = "messages[{number}] comes before the result of a tool call"
OPEN_CODE_BLOCK: Final = "a code block that does not end"
OPEN_JSON: Final = "JSON that does not end"
OPEN_SENTENCE: Final = "a sentence that breaks off"
REFUSED_BY_LOG: Final = "according to its finish reason"
REFUSED_BY_TEXT: Final = "according to its text"
SIMILARITY: Final = "similarity {score:.2f}"
COSINE: Final = "cosine {score:.2f}"
CASE: Final = "case {case}"
TOPIC: Final = "topic {number}"
MORE_LIKE: Final = "more like {label!r}"
LENGTH: Final = "the {part} has {n} characters"
ANSWERED_IN: Final = "{answer} to {question}"
TOPICS: Final = (
    "The largest topic has {top:.1%} of {n} rows, the largest ten {top10:.1%}; "
    "{topics} topics count as {effective:.1f} equally large ones."
)
DECLINED_SHARES: Final = (
    "{declined} of {rows} rows decline ({declined_share:.1%}); "
    "{unanswerable} of {cases} cases have no answer ({unanswerable_share:.1%})."
)
JUDGED: Final = (
    "The judge calls {bad} of {n} rows bad, {share:.1%} [{low:.1%}, {high:.1%}], and gave no verdict on {missing}. "
    "It rejected all {canaries} worthless answers."
)
LEANING_FILE: Final = (
    "{file}: its {n} rows are closer to a case than to as many other rows in {share:.1%} of draws, "
    "50.0% by chance ({z:.1f} standard errors)."
)
DRIFT: Final = (
    "{group} (n = {n}) against the others (n = {n_others}): AUC {auc:.2f} [{ci[0]:.2f}, {ci[1]:.2f}] by the answers, "
    "{questions_auc:.2f} [{questions_ci[0]:.2f}, {questions_ci[1]:.2f}] by the questions."
)
_SHOWN: Final = 4


def finish_reason(reason: str) -> str:
    """Name the finish reason of an answer."""
    return f"finish reason {reason[:40]!r}"


def expected(description: str, got: str = "") -> str:
    """Say what a row should have held, and what it holds; `description` alone if that says it all."""
    return f"expected {description}, got {got}" if got else description


def teacher_name(model: str, served: Any, prompt: Any) -> str:
    """Name a teacher."""
    parts = [model, *([f"served as {served}"] if served and served != model else [])]
    return ", ".join([*parts, *([f"prompt {prompt}"] if prompt else [])])


def teachers(counts: Sequence[tuple[int, str]]) -> str:
    """List teachers with the number of their rows, most rows first."""
    listed = "; ".join(f"{n} rows by {name}" for n, name in counts[:_SHOWN])
    more = f"; and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return f"{len(counts)} teachers: {listed}{more}."


def too_few_answers(least: int, counts: Sequence[tuple[str, int]]) -> str:
    """Say that groups are too small to compare."""
    listed = ", ".join(f"{n} of {name}" for name, n in counts[:_SHOWN])
    return f"A comparison takes {least} answers of each; there are {listed}."


NO_PRESIDIO: Final = "The engine 'presidio' is not installed."
NO_PRESIDIO_HINT: Final = "Run `pip install presidio-analyzer`, and install the spaCy model that it names."

# --- import ---------------------------------------------------------------------------------------------------------

UNREADABLE_FILE: Final = "{path} cannot be read: {reason}."
IMPORTED_BEFORE: Final = "These files have not changed since their last import: nothing is read again."
ROWS_READ: Final = "{file}: {n} rows read"
NO_USABLE_ROW: Final = "None of the {n} rows can be used."
REASONS_IN: Final = "The reasons are in {path}."
FILE_GREW: Final = "{path} changed while it was read."
FILE_GREW_HINT: Final = "Import a copy of it."
NUL: Final = "texts without the character NUL"
NO_QUESTION: Final = "a question with visible text"
INVISIBLE_CHARACTERS: Final = "zero-width or direction characters, kept as they are"
KEYS_NOT_KEPT: Final = "keys of messages that are not kept: {keys}"

# --- build ----------------------------------------------------------------------------------------------------------

NOTHING_TO_BUILD: Final = "There are no rows to build from: no import and no examples file."
NOTHING_TO_BUILD_HINT: Final = "Run `tuneworthy data import FILE`, or name a file in [examples]."
NO_SPLIT_YET: Final = "Dev and test cannot be drawn yet ({reason}): no row may overlap with any of the {n} cases."
ENCODER: Final = "Sentence encoder: {spec}"
NO_ENCODER: Final = (
    "Without a sentence encoder, duplicates and overlaps in other words are not found "
    "(pip install torch, or name one in [data] encoder)."
)
NO_JUDGE: Final = "No judge examined the rows (name a model in [data.judge])."
CHECK_IS_OFF: Final = "The check {check} is off."
RUNNING_CHECK: Final = "{check}: {n} rows"
CHECK_OFF: Final = "the check is off"
NO_ROW_PASSED: Final = "None of the {n} rows passed the checks."
NO_ROW_PASSED_HINT: Final = "Change [data] in the project file, or import other rows."
UNKNOWN_CODE: Final = "The check {check} reports {code!r}, which is not one of its codes ({codes})."
CANNOT_MASK: Final = "The check {check} cannot carry out the policy 'mask'."
CANNOT_MASK_HINT: Final = "Set data.policy.{code} to drop or report."
LIST_OF_CHECKS: Final = "The checks are {names}."


def unknown_check(key: str, name: str, valid: Iterable[str]) -> str:
    """Say that a setting names no check, with the nearest valid name."""
    near = get_close_matches(name, list(valid), n=1)
    return f"data.{key}: no check is called {name!r}{f'; did you mean {near[0]!r}?' if near else '.'}"


def remaining(listed: str) -> str:
    """Say what a gate found in the rows that stay; "" if nothing."""
    return f"still there: {listed}" if listed else ""


# --- judge ----------------------------------------------------------------------------------------------------------

FOOLED_JUDGE: Final = "models.{model} of [data.judge] does not reject every worthless answer: {reasons}."
FOOLED_JUDGE_HINT: Final = 'Name another model, fix the rubric, or set off = ["judge_audit"].'

# --- versions -------------------------------------------------------------------------------------------------------

VERSION_CHANGED: Final = "{path} is not as it was frozen."
BUILD_AGAIN: Final = "Run `tuneworthy data build`."
NO_VERSION: Final = "There is no frozen version of the training data yet."
NO_SUCH_VERSION: Final = "There is no version {version} of the training data."

# --- distil ---------------------------------------------------------------------------------------------------------

TEACHER_REASONS: Final = {
    "truncated": "the teacher's answer hit the token limit",
    "teacher_refused": "the teacher refused",
    "content_filter": "the provider blocked the teacher's answer",
    "unnatural_end": "the teacher's answer ended for an unusual reason",
    "teacher_error": "the call to the teacher failed",
    "empty_answer": "the teacher's answer is empty",
    "wrong": "the grader accepts none of the teacher's answers",
    "unscored": "the grader could not score the teacher's answer",
    "disagreement": "too few of the teacher's answers agree",
}
"""Reason to description, for all that can be wrong with a teacher's answer."""
BEYOND_LIMIT: Final = {"beyond_limit": "not drawn"}
NOT_DRAWN: Final = "not drawn: the limit is {limit} questions"
BELOW_ACCEPT: Final = "{n} answers, the best scores {best:.3f}, below {accept:g}"
AGREEMENT: Final = "{n} of {total} agree"
NO_QUESTIONS: Final = "There are no questions to ask: no import and no examples file."
NO_QUESTIONS_HINT: Final = "Name a file: `tuneworthy data distill FILE`."
QUESTIONS_TO_ASK: Final = "{n} questions read, {asked} to ask"
NOT_ASKED: Final = "  not asked: {n} {reason} ({description})"
NO_QUESTION_LEFT: Final = "None of the {n} questions passed the checks."
NO_QUESTION_LEFT_HINT: Final = "Change [data] or [teacher] in the project file, or name another file."
TERMS_FORBID: Final = "The terms of models.{model} forbid training on its outputs."
TERMS_FORBID_HINT: Final = "Name another teacher."
TERMS_UNKNOWN: Final = "models.{model} may be somebody else's, and teacher.allows_training is not set."
TERMS_UNKNOWN_HINT: Final = "Read its terms, and set teacher.allows_training to true or false."
NO_TEACHER: Final = "The project file has no section [teacher]."
NO_TEACHER_HINT: Final = 'Add [teacher] with model = "NAME", one of [models].'
EQUAL_SAMPLES: Final = "At temperature 0, all {n} samples would be the same."
EQUAL_SAMPLES_HINT: Final = "Set parameters = { temperature = 0.7 } in [teacher]."
CANNOT_SELECT: Final = "Nothing selects among {n} samples: there are no right answers and no self_consistency."
CANNOT_SELECT_HINT: Final = 'Set self_consistency, or references = "all" if people labelled these rows.'
NO_GOOD_ANSWER: Final = "None of the {n} questions got an answer that can be trained on."
OTHER_TEACHER: Final = "{row} was answered by another teacher ({other}) than the new rows ({teacher})."
OTHER_TEACHER_HINT: Final = "Set teacher_mix = true in [data] to allow both."
REPEATED_ROWS: Final = "{n} rows were there already."
TEACHERS_NOT_RECORDED: Final = "the version was frozen before teachers were recorded: build it again"
NO_TEACHER_ROWS: Final = "no model answered these rows"
TRAINING_FORBIDDEN: Final = "its terms forbid training on its outputs"
TRAINING_UNKNOWN: Final = "whether its terms allow training is unknown: set teacher.allows_training"


def training_allowed(terms: Iterable[Any]) -> str:
    """Say that terms allow training, and where they say so."""
    where = "; ".join(sorted({str(one) for one in terms if one}))
    return f"the terms allow training on its outputs{f' ({where})' if where else ''}"


def each_teacher(rows: Iterable[Mapping[str, Any]], terms: str) -> str:
    """Say the same of each teacher."""
    return "; ".join(f"{one.get('model')} ({one['n_rows']} rows): {terms}" for one in rows)


def several_teachers(names: Sequence[str], *, allowed: bool) -> str:
    """Say that the answers come from several teachers."""
    what = "as data.teacher_mix allows" if allowed else "which `data build` refuses unless data.teacher_mix is set"
    return f"The answers come from {len(names)} teachers, {what}: {'; '.join(names[:3])}."


# --- export ---------------------------------------------------------------------------------------------------------

ONE_SIDED_SPLIT: Final = "{groups} groups of {n} rows are too few to split into train and validation."
ONE_SIDED_SPLIT_HINT: Final = "Export with --validation 0."
KEPT_TOGETHER: Final = "rows of one group, and rows that ask the same"
FROZEN_UNSAFE: Final = "This version was frozen although gates failed: {gates}."
NOT_REVIEWED: Final = "Nobody has reviewed these rows yet: run `tuneworthy data review start`."
NOT_ACCEPTED: Final = "The review has not accepted this version: {summary}."
BAD_SPLIT_NAME: Final = "{name!r} cannot be the name of a split: use letters and digits."
TOOL_CALLS: Final = {
    "openai": "Tools and their calls keep OpenAI's own shape.",
    "trl": "Tools and their calls are kept, arguments as objects; the loss is on the last message only.",
    "sharegpt": "Tool calls become turns of their own; rows with text beside calls in one turn are left out.",
    "alpaca": "Rows with tools or their calls are left out.",
    "llama_factory": (
        "Tool calls become turns of their own; rows with two results in sequence, or with text beside calls, "
        "are left out."
    ),
    "axolotl": "Tools and their calls keep OpenAI's own shape.",
    "parquet": "Tools and their calls are kept, tools as JSON text.",
}
"""What becomes of tools and their calls, by format."""
ROLE_WITHOUT_PLACE: Final = "a turn of the role {role!r}"
REASONING_WITHOUT_PLACE: Final = "a turn with reasoning"
TEXT_BESIDE_CALLS: Final = "text and tool calls in one turn"
NOT_ALTERNATING: Final = "turns that do not alternate"
WEIGHT_WITHOUT_PLACE: Final = "an answer that must not be trained on"
TOOLS_WITHOUT_PLACE: Final = "tools and their calls"
KEYS_WITHOUT_PLACE: Final = "a message with keys beside role and content"
OTHER_KEYS_WITHOUT_PLACE: Final = "a message with keys of its own"

# --- review ---------------------------------------------------------------------------------------------------------

BAD_PLAN: Final = "A plan takes a bound between 0 and 1 and a max-bad of 0 or more, not {bound:g} and {max_bad}."
TOO_MANY_KNOWN_BAD: Final = "Earlier reviews found {n_bad} bad rows among {n_rows}, and the plan allows {most}."
TOO_MANY_KNOWN_BAD_HINT: Final = "Run `tuneworthy data build`: it leaves them out."
ALL_KNOWN: Final = "Every one of the {n_rows} rows was reviewed before."
ALL_KNOWN_HINT: Final = "Build a version with new rows."
MAX_BAD_TOO_HIGH: Final = (
    "No sample of {n_rows} rows ({n_known_bad} of them known as bad) shows a share of {bound:g} good rows "
    "if {max_bad} rows of the sample may be bad."
)
MAX_BAD_TOO_HIGH_HINT: Final = "Use a max-bad of at most {most}."
FIXED_BEFORE: Final = "{name} was fixed as {fixed} before the first row was shown, and cannot become {value}."
FIXED_BEFORE_HINT: Final = "Go on without the option."
SAMPLE_GONE: Final = "Version {version} holds {found} of the {n} rows of the sample."
SAMPLE_GONE_HINT: Final = "A frozen version does not change: restore its files, or build and review a new version."
NO_REVIEWER: Final = "The reviewer has no name."
NO_REVIEWER_HINT: Final = "Use --reviewer NAME."
NOT_IN_SAMPLE: Final = "{row} is not a row of the sample."
BAD_WITHOUT_REASON: Final = "A row that is marked as bad needs a reason."
JUDGED_BEFORE: Final = "{reviewer} has judged {row} before."
JUDGED_BEFORE_HINT: Final = "A verdict can become worse (good to bad), never better."
REVIEW_FILE: Final = "a file of reviews"
REVIEW_LINE: Final = "a line of kind {kinds}"
NO_PLAN: Final = "no plan is fixed, so nothing was reviewed"
ACCEPTED: Final = (
    "at least {bound:.1%} of the {n_rows} rows are good, at {confidence:.0%} confidence over all attempts "
    "(attempt {attempt}: {n_bad} bad of {n_judged} reviewed, the plan allows {max_bad} of {n})"
)
REFUTED: Final = (
    "{n} of the rows that counted as good when the plan was fixed were found bad since: "
    "it is not shown that at least {bound:.1%} are good"
)
REJECTED: Final = (
    "{n_bad} bad of {n_judged} reviewed, the plan allows {max_bad}: it is not shown that at least {bound:.1%} are good"
)
OPEN_REVIEW: Final = "{n_bad} bad of {n_judged} reviewed, {open} of {n} left, at most {max_bad} may be bad"


def no_rejects(reasons: Sequence[str]) -> str:
    """Say that there is nothing to draw a second sample from."""
    listed = ", ".join(reasons)
    return f"No readable row was rejected{f' for {listed}' if reasons else ''}."


def calibration(n_judged: int, n_good: int, wrong: str, n_rows: int, reasons: Sequence[str]) -> str:
    """Say what people think of rows that were left out."""
    what = f"left out for {', '.join(reasons)}" if reasons else "left out"
    return (
        f"of {n_judged} judged rows that were {what}, {n_good} are good: {wrong} of all {n_rows} "
        "(rows without a verdict count either way)"
    )


SHARES_OF_REJECTION: Final = (
    "; {recall} of the bad rows were left out; {specificity} of the good rows were kept; "
    "{remaining} of the rows that stay are bad"
)
KAPPA: Final = "; kappa {kappa:.2f} [{low:.2f}, {high:.2f}]"


def interval(share: tuple[float, float]) -> str:
    """Write an interval of a share."""
    return f"[{share[0]:.1%}, {share[1]:.1%}]"


# --- card -----------------------------------------------------------------------------------------------------------

HIDDEN: Final = "not shown: its text is that of a case"
QUESTION_LENGTHS: Final = "Characters of the question"
ANSWER_LENGTHS: Final = "Characters of the answer"
USER_TURNS: Final = "User turns"
FILES: Final = "Files"
FREQUENT_ANSWERS: Final = "Most frequent answers"
EFFECTIVE_ANSWERS: Final = "{n} different answers count as {effective:.1f} equally frequent ones"
BIN: Final = "{low} to {high}"
LAST_BIN: Final = "above {low}"
MORE_FILES: Final = "{n} more files"
PROVENANCE_OF_SOURCE: Final = "{format}, {n_kept} rows kept, SHA-256 {sha256}"
PROVENANCE_OF_FILE: Final = "{n} rows, SHA-256 {sha256}"
PROVENANCE_OF_CASES: Final = "{n}, hash {sha256}"
PROVENANCE_OF_TEACHER: Final = "{name}; {n} rows, {days}; {parameters}"
PROVENANCE_OF_JUDGE: Final = "models.{model}, hash of model, rubric and settings {identity}"
LICENCE_OF_ALL: Final = "Stated for all rows: {licence}."
NO_LICENCE: Final = "No licence is stated: set `licence` in [data]."
LICENCE_OF_SOME: Final = "{n} rows state: {licence}."
TERMS_OF_TEACHERS: Final = "Terms of the teachers ({status}): {reason}."
