"""Every sentence of this folder that a person reads at run time; what a judge is sent stands in `judge`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

# Why an answer was not right
REASONS: Final[Mapping[str, str]] = {
    "wrong": "readable, and wrong",
    "partial": "partly right",
    "format": "the answer cannot be read",
    "truncated": "the answer cannot be read because it hit the token limit",
    "schema": "valid JSON that breaks the schema",
    "refused": "declined, but an answer exists",
    "answered_unanswerable": "answered, but declining was right",
    "no_call": "no tool was called",
    "wrong_tool": "another tool, or another number of calls",
    "wrong_arguments": "the right tool with other arguments",
}
"""Every reason that a built-in grader gives; prompt search shows them to a model, so a new wording is a new prompt."""

# Why an answer is unscored
NO_LABEL: Final = "the case has no label"
NO_CASE: Final = "the trace belongs to none of these cases"
NO_RESPONSE: Final = "the trace has no response"
SLOW_PATTERN: Final = "the pattern {pattern!r} took more than {seconds} s"
FUNCTION_RAISED: Final = "the grading function raised {error}"
BAD_CONTRIBUTION: Final = "a Score needs 0 <= num <= den, not num {num!r} and den {den!r}"
BAD_RESULT: Final = "the grading function must return a number from 0 to 1, a bool or a Score, not {result:.80}"
SCHEMA_FAILED: Final = "the schema cannot be applied ({error})"
NO_VERDICT: Final = "the judge gave no verdict: {reason}"

# What is wrong with a label
UNKNOWN_LABEL: Final = "{label!r} is not one of the {n} labels"
EMPTY_LABEL: Final = "the expected text is empty"
NO_NUMBER: Final = "{value!r} is not a number"
NO_OBJECT: Final = "{value!r} is not a JSON object"
NO_CALL: Final = '{value!r} is not a call {{"name", "arguments"}} or a list of calls'

# What is wrong with a section of [[graders]]
OUTSIDE_PROJECT: Final = "{name!r} lies outside the project folder; {what} must lie inside it."
MOVE_INTO_PROJECT: Final = "Move the file into the project."
NO_FILE: Final = "There is no file {path}; it should be {what}."
WRITE_FILE: Final = "Write the file, or fix its name in [[graders]]."
RUBRIC: Final = "a rubric"
JSON_SCHEMA: Final = "a JSON Schema"
GENERIC_TEXTS: Final = "generic texts (JSONL)"
TOO_FEW_LABELS: Final = "The grader choice needs at least 2 labels, and has {n}."
SET_LABELS: Final = "Set labels in [[graders]]."
BAD_PATTERN: Final = "{pattern!r} is not a regular expression ({error})."
FIX_PATTERN: Final = "Fix the pattern."
ASYNC_FUNCTION: Final = "The grading function {function!r} is async; it must be a plain function."
FIX_FUNCTION: Final = "Name a plain function in [[graders]]."
NO_JSON: Final = "{name} is not JSON: {error}."
NO_SCHEMA: Final = "{name} is not a JSON Schema: {error}."
FIX_SCHEMA: Final = "Fix the schema file."
OUTSIDE_REFERENCE: Final = "{name} refers to {reference!r}, which lies outside the file."
COPY_REFERENCE: Final = "Copy the schema that it refers to under $defs."
STYLE_TEXTS: Final = (
    "The grader style needs at least {least} different answers of examples and {least} generic texts; "
    "it has {n_answers} and {n_generic}."
)
ADD_TEXTS: Final = "Add texts."
TEXT_ROW: Final = '{"text": "..."}'
NOT_JSON: Final = "invalid JSON ({error})"

# The judge
EMPTY_RUBRIC: Final = "The rubric of the judge is empty."
SAY_WHAT_IS_GOOD: Final = "Write what makes an answer good."
NO_SESSION: Final = "The judge has no session to call its model with."
OPEN_SESSION: Final = "Open one with open_session."
TOO_LONG: Final = "{size} characters to judge, more than the limit of {most}"
NO_ANSWER: Final = "no response"
NOT_ENFORCED: Final = "its verdict could not be enforced ({parameter})"
CUT_OFF: Final = "it was cut off before the verdict; raise max_tokens of the judge"
DECLINED: Final = "it did not answer ({finish_reason})"
UNREADABLE: Final = "its answer {answer!r} is neither {choices}"
NOT_CONSTRAINED: Final = "The judge models.{model} cannot be constrained to one of two verdicts."
CONSTRAINED_JUDGE: Final = "Use an embedded model or a server with structured output."
SAME_MODEL: Final = "they are one model"
SAME_FAMILY: Final = "both are of the family {family}"

# Validation of the judge
CAUGHT: Final = "{n_caught} of {n} canaries caught"
UNVALIDATED: Final = "Judge: {status}; {caught}; no verdicts of people."
VALIDATED: Final = (
    "Judge: {status}; {caught}; on {n} answers kappa {kappa}, good answers called good {sensitivity}, "
    "bad answers called bad {specificity}."
)
NOT_DEFINED: Final = "not defined"
NONE_OF_THEM: Final = "none seen"
NOT_SHOWN: Final = "The judge is not shown to tell good from bad ({n_good} good, {n_bad} bad answers)."
TOO_FEW_VERDICTS: Final = "People judged {n} answers; at least {least} are needed."
FOOLED: Final = "The judge called {n} worthless answers good ({names})."
VERDICTS_MISSING: Final = "{n} of {n_called} verdicts are missing ({example})."
NO_BETTER_THAN_CHANCE: Final = "The judge calls bad answers good at least as often as good ones."

# Style rules
AT_LEAST: Final = "at least {n} words"
AT_MOST: Final = "at most {n} words"
WITHOUT: Final = "without {phrase!r}"
MATCHES: Final = "matches {pattern!r}"


def choices(values: Sequence[str]) -> str:
    """Return choices as in "good nor bad"."""
    return " nor ".join(values)
