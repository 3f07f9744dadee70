"""Every sentence of this folder that a person reads at run time; what a judge is sent stands in `judge`."""

from collections.abc import Mapping, Sequence
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # Why an answer is unscored
        "no_label": "the case has no label",
        "no_case": "the trace belongs to none of these cases",
        "no_response": "the trace has no response",
        "slow_pattern": "the pattern {pattern!r} took more than {seconds} s",
        "function_raised": "the grading function raised {error}",
        "bad_contribution": "a Score needs 0 <= num <= den, not num {num!r} and den {den!r}",
        "bad_result": "the grading function must return a number from 0 to 1, a bool or a Score, not {result:.80}",
        "schema_failed": "the schema cannot be applied ({error})",
        "no_verdict": "the judge gave no verdict: {reason}",
        # What is wrong with a label
        "unknown_label": "{label!r} is not one of the {n} labels",
        "empty_label": "the expected text is empty",
        "no_number": "{value!r} is not a number",
        "no_object": "{value!r} is not a JSON object",
        "no_call": '{value!r} is not a call {{"name", "arguments"}} or a list of calls',
        # What is wrong with a section of [[graders]]
        "outside_project": "{name!r} lies outside the project folder; {what} must lie inside it.",
        "move_into_project": "Move the file into the project.",
        "no_file": "There is no file {path}; it should be {what}.",
        "write_file": "Write the file, or fix its name in [[graders]].",
        "rubric": "a rubric",
        "json_schema": "a JSON Schema",
        "generic_texts": "generic texts (JSONL)",
        "too_few_labels": "The grader choice needs at least 2 labels, and has {n}.",
        "set_labels": "Set labels in [[graders]].",
        "bad_pattern": "{pattern!r} is not a regular expression ({error}).",
        "fix_pattern": "Fix the pattern.",
        "async_function": "The grading function {function!r} is async; it must be a plain function.",
        "fix_function": "Name a plain function in [[graders]].",
        "no_json": "{name} is not JSON: {error}.",
        "no_schema": "{name} is not a JSON Schema: {error}.",
        "fix_schema": "Fix the schema file.",
        "outside_reference": "{name} refers to {reference!r}, which lies outside the file.",
        "copy_reference": "Copy the schema that it refers to under $defs.",
        "style_texts": (
            "The grader style needs at least {least} different answers of examples and {least} generic texts; "
            "it has {n_answers} and {n_generic}."
        ),
        "add_texts": "Add texts.",
        "text_row": '{"text": "..."}',
        "not_json": "invalid JSON ({error})",
        # The judge
        "empty_rubric": "The rubric of the judge is empty.",
        "say_what_is_good": "Write what makes an answer good.",
        "no_session": "The judge has no session to call its model with.",
        "open_session": "Open one with open_session.",
        "too_long": "{size} characters to judge, more than the limit of {most}",
        "no_answer": "no response",
        "not_enforced": "its verdict could not be enforced ({parameter})",
        "cut_off": "it was cut off before the verdict; raise max_tokens of the judge",
        "declined": "it did not answer ({finish_reason})",
        "unreadable": "its answer {answer!r} is neither {choices}",
        "not_constrained": "The judge models.{model} cannot be constrained to one of two verdicts.",
        "constrained_judge": "Use an embedded model or a server with structured output.",
        "same_model": "they are one model",
        "same_family": "both are of the family {family}",
        # Validation of the judge
        "caught": "{n_caught} of {n} canaries caught",
        "unvalidated": "Judge: {status}; {caught}; no verdicts of people.",
        "validated": (
            "Judge: {status}; {caught}; on {n} answers kappa {kappa}, good answers called good {sensitivity}, "
            "bad answers called bad {specificity}."
        ),
        "not_defined": "not defined",
        "none_of_them": "none seen",
        "not_shown": "The judge is not shown to tell good from bad ({n_good} good, {n_bad} bad answers).",
        "too_few_verdicts": "People judged {n} answers; at least {least} are needed.",
        "fooled": "The judge called {n} worthless answers good ({names}).",
        "verdicts_missing": "{n} of {n_called} verdicts are missing ({example}).",
        "no_better_than_chance": "The judge calls bad answers good at least as often as good ones.",
        # Style rules
        "at_least": "at least {n} words",
        "at_most": "at most {n} words",
        "without": "without {phrase!r}",
        "matches": "matches {pattern!r}",
    }
).say


# Why an answer was not right
# Every reason that a built-in grader gives; prompt search shows them to a model, so a new wording is a new prompt.
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


def choices(values: Sequence[str]) -> str:
    """Return choices as in "good nor bad"."""
    return " nor ".join(values)
