"""Every sentence of this folder that a person reads at run time; the text sent to a judge is in `judge`."""

from collections.abc import Mapping, Sequence
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        # Why an answer is unscored
        "no_label": "the case has no label",
        "no_case": "the trace belongs to none of the cases",
        "no_response": "the trace has no response",
        "slow_pattern": "matching the pattern {pattern!r} took more than {seconds} s",
        "function_raised": "the grading function raised {error}",
        "bad_contribution": "the returned Score must satisfy 0 <= num <= den, but num is {num!r} and den is {den!r}",
        "bad_result": "the grading function must return a number from 0 to 1, a bool or a Score, not {result:.80}",
        "schema_failed": "the schema cannot be applied ({error})",
        "no_verdict": "the judge gave no rating: {reason}",
        # What is wrong with a label
        "unknown_label": "{label!r} is not one of the {n} labels",
        "empty_label": "the expected text is empty",
        "no_number": "{value!r} is not a number",
        "no_object": "{value!r} is not a JSON object",
        "no_call": '{value!r} is neither a tool call with "name" and "arguments" nor a list of such calls',
        # What is wrong with a section of [[graders]]
        "outside_project": "{name!r} is outside the project folder. The grader needs {what} inside it.",
        "move_into_project": "Move the file into the project folder.",
        "no_file": "The file {path} does not exist. It should contain {what}.",
        "write_file": "Create the file, or fix its name in [[graders]].",
        "rubric": "a rubric",
        "json_schema": "a JSON Schema",
        "generic_texts": "generic texts (JSONL)",
        "too_few_labels": "The grader needs at least 2 labels, but it has {n}.",
        "set_labels": "Set labels in [[graders]].",
        "async_function": "The grading function {function!r} is async, but it must be a regular function.",
        "fix_function": "Specify a regular function in [[graders]].",
        "no_json": "{name} is not valid JSON: {error}.",
        "no_schema": "{name} is not a valid JSON Schema: {error}.",
        "fix_schema": "Fix the schema file.",
        "outside_reference": "{name} refers to {reference!r}, which is outside the file.",
        "copy_reference": "Copy the referenced schema into $defs.",
        "style_texts": (
            "The grader has {n_answers} distinct example answers and {n_generic} distinct generic texts, but it needs "
            "at least {least} of each."
        ),
        "add_texts": "Add more example answers or generic texts.",
        "text_row": '{"text": "..."}',
        "not_json": "invalid JSON ({error})",
        # The judge
        "empty_rubric": "The judge's rubric is empty.",
        "say_what_is_good": "Describe what makes an answer good.",
        "no_session": "The judge has no session for calling its model.",
        "open_session": "Call `open_session` to open a session.",
        "too_long": "the text to judge has {size} characters, more than the limit of {most}",
        "no_answer": "no response",
        "not_enforced": "the provider could not constrain its rating ({parameter})",
        "cut_off": "its response was truncated before the rating; raise the judge's max_tokens",
        "declined": "its response was a refusal, a tool call or filtered content (finish reason: {finish_reason})",
        "unreadable": "its response {answer!r} is neither {choices}",
        "not_constrained": "The judge's model, {model}, cannot be constrained to one of two ratings.",
        "constrained_judge": "Use an embedded model, or a server with structured output, as the judge.",
        "same_model": "they are the same model",
        "same_family": "both belong to the {family} model family",
        # Validation of the judge
        "caught": "{n_caught} of {n} worthless answers caught",
        "unvalidated": "Judge: {status}, {caught}, no human ratings.",
        "validated": (
            "Judge: {status}, {caught}. On {n} human-rated answers, kappa is {kappa}. Good answers rated good: "
            "{sensitivity}. Bad answers rated bad: {specificity}."
        ),
        "not_defined": "not defined",
        "none_of_them": "not defined (people rated no such answers)",
        "not_shown": (
            "The human ratings ({n_good} good, {n_bad} bad) do not show that the judge can tell good answers from bad "
            "ones."
        ),
        "too_few_verdicts": "People have rated {n} {n:answer|answers}, but at least {least} are needed.",
        "fooled": "The judge rated {n} worthless {n:answer|answers} as good ({names}).",
        "verdicts_missing": "{n} of {n_called} ratings are missing (first reason: {example}).",
        "no_better_than_chance": (
            "The judge is no better than chance: it gives bad answers a good rating at least as often as good answers."
        ),
        # Style rules
        "at_least": "at least {n} {n:word|words}",
        "at_most": "at most {n} {n:word|words}",
        "without": "does not contain {phrase!r}",
        "matches": "matches {pattern!r}",
    },
).say


# Why an answer is not correct.
# Every reason that a built-in grader gives; prompt search shows them to a model, so a new wording is a new prompt.
REASONS: Final[Mapping[str, str]] = {
    "wrong": "readable, but wrong",
    "partial": "partly correct",
    "format": "the answer cannot be parsed",
    "truncated": "the answer cannot be parsed because it hit the token limit",
    "schema": "valid JSON that violates the schema",
    "refused": "declined, but an answer exists",
    "answered_unanswerable": "answered, but should have declined",
    "no_call": "no tool was called",
    "wrong_tool": "the wrong tool or the wrong number of calls",
    "wrong_arguments": "the right tool with the wrong arguments",
}


def choices(values: Sequence[str]) -> str:
    """Return choices as in "good nor bad"."""
    return " nor ".join(values)
