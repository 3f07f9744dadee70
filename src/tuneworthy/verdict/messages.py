"""Sentences of the verdict: gates, reasons, next steps, costs, the pilot, the checklist, errors in documents."""

import re
from collections.abc import Sequence

from tuneworthy.errors import join_sentences
from tuneworthy.text import plural
from tuneworthy.types import Bounds
from tuneworthy.verdict.base import ErrorShare, GateResult

NO_OTHER_MODEL = "The project file defines no other model."
DOCUMENTS_MISSING = "Most failures may need facts from documents, but the project has no documents."
FORMS_OPEN = "No quantised form of a local model has been compared: it may be fast enough and good enough."
ADD_MODEL = (
    "Add a model to [models] and run `tuneworthy run --rung model`, or list `other_models` in [[waivers]] of "
    "tuneworthy.toml with a reason."
)
DO_SHADOW = "Run `tuneworthy shadow replay FILES` with logs of real traffic."
DOMAIN_UNKNOWN = "The bits per byte of the domain's text have not been measured. Run `tuneworthy decide --probe`."
FIX_SEARCH = (
    "Change [retrieval] (chunks, encoder, language) or correct the `documents` field of the cases. Then "
    "run `tuneworthy run`."
)
NAME_DOCUMENTS = (
    "Add the ids of the documents that contain the answer to the field `documents` of the cases. Run `tuneworthy run`, "
    "then `tuneworthy decide --probe`."
)
SET_COSTS = "Set your own costs of data, training, serving and upkeep in [economics]; assumed costs count as a range."
GIVE_DOCUMENTS = (
    "Add the documents that contain the answers to [documents], or list `retrieval` in [[waivers]] of "
    "tuneworthy.toml with a reason."
)
LABEL_JUDGE = "Run `tuneworthy label judge`, then `tuneworthy run`."
OTHER_JUDGE = "Set another `model` or `rubric` for the judge in [[graders]], then run `tuneworthy run`."
WAIVE_DEV = (
    "List `dev` in [[waivers]] of tuneworthy.toml with this reason: people found the labels of test and of the "
    "failures on dev to be right. The causes of errors on dev then count for test."
)
NOTHING_ELIGIBLE = "No variant that the constraints allow has been measured on the test set."
RUN = "Run `tuneworthy run`."
WAIT = "Wait until a rung is finished."
ADD_CASES = (
    "Append labelled cases to the file of [cases], then run `tuneworthy cases add` and `tuneworthy run`. To draw cases "
    "from logs, run `tuneworthy cases sample`."
)
GAIN_OPEN = "The lower bound is not above zero, so the result is inconclusive."
BUILD = "Run `tuneworthy data build`."
FIX_ROWS = "Fix the rows, then run `tuneworthy data build`."
DROP_LESS = "Set policy in [data] to report for checks that drop good rows. Then run `tuneworthy data build`."
PILOT = "Run `tuneworthy train --pilot`."
IMPORT_ROWS = "Run `tuneworthy data build FILE` with logs or labelled rows."
DISTILL_ROWS = "Run `tuneworthy data distill FILE` with real questions, then `tuneworthy data build`."
OTHER_TEACHER = (
    "Set a teacher in [teacher] whose terms allow training and run `tuneworthy data distill`, or remove its rows. Then "
    "run `tuneworthy data build`."
)
NO_EXAMPLES = "The project has no examples."

# Names of the rungs, as nouns without an article.
RUNG_LABELS = {
    "classical": "classical baseline",
    "baseline": "today's setup",
    "prompt": "rewritten prompt",
    "retrieval": "prompt with retrieved documents",
    "tools": "model with tools",
    "model": "alternative model",
    "few_shot": "few-shot prompt",
    "decoding": "sampling settings",
    "cascade": "cascade",
    "fine_tune": "fine-tuned model",
    "teacher": "hosted teacher model",
    "base": "other base",
}
# Graders that read answers which a stricter one cannot.
READERS = ("choice", "normalised_exact", "python")
# By class of failures, or by the grader that fixes it.
CAUSES = {
    "refusal": "the model refuses, or answers where it should refuse",
    "format": "the answer has the wrong format",
    "label_or_grader": "the expected answer is probably wrong",
    "knowledge": "the prompt lacks a document that contains the answer",
    "tools": "the model is correct only with the tools",
    "instability": "the model is correct on another attempt",
    "reasoning": "only a stronger model is correct",
    "unexplained": "no automatic check finds a cause",
    **dict.fromkeys(READERS, "the answer is right, but the grader cannot read it"),
}
# Measurement of a probe, as the subject of a sentence.
WHAT = {
    "refusal": "Wrong refusals",
    "format": "Wrong formats",
    "label_or_grader": "Wrong labels",
    "knowledge": "Missing documents",
    "tools": "Failures that tools fix",
    "instability": "Unstable answers",
    "reasoning": "Failures that a stronger model avoids",
}
# What fixes a class of failures, without a full stop.
LEVERS = {
    "prompt": "Rewrite the prompt",
    "retrieval": "Add the documents to the prompt",
    "tools": "Give the model the tools",
    "model": "Use a stronger model",
    "few_shot": "Add few-shot examples, or constrain the output format",
    "decoding": "Change the sampling settings",
    "label cases": "Correct the expected answers",
    **{name: f'Change the grader: set `type = "{name}"` in [[graders]]' for name in READERS},
}


# Target of a probe
PROBES = {
    **dict.fromkeys(READERS, "Only a lenient reader finds the expected answer."),
    "refusal": "The model refuses although there is an answer, or answers where it should refuse.",
    "format": "The format is wrong, but the answer is correct with constrained output or lenient parsing.",
    "label_or_grader": "An accuracy-weighted vote of models and the classical baseline contradicts the label.",
    "knowledge": "The answer is correct once the prompt includes the document that the case lists.",
    "tools": "The answer is correct once the model can call the project's tools.",
    "instability": "Repeated answers are correct more often than chance explains.",
    "reasoning": "A model that is significantly better on dev answers correctly with the same prompt.",
    "unexplained": "No automatic check finds a cause.",
}


def sentence(text: str) -> str:
    """Return a text as a sentence: a capital and a full stop.

    >>> sentence("no teacher was measured")
    'No teacher was measured.'
    """
    return join_sentences(text[:1].upper() + text[1:]) if text else ""


def error_share(row: ErrorShare) -> str:
    """Say how many failures have a cause: `... (66.7% of 60 wrong answers, 95% interval [53.3%, 78.3%])`."""
    low, high = row.ci95
    cause, many = CAUSES.get(row.fixed_by, CAUSES[row.name]), plural(row.n, "answer", "answers")
    return f"{cause} ({row.share:.1%} of {row.n} wrong {many}, 95% interval [{low:.1%}, {high:.1%}])"


def passed_pilot(gates: Sequence[GateResult]) -> GateResult | None:
    return next((result for result in gates if result.gate == "pilot" and result.status == "pass"), None)


def waived_gates(gates: Sequence[GateResult]) -> str:
    """Return the names of the gates that the project file waives, and that would be open without."""
    return ", ".join(f"`{result.gate}`" for result in gates if result.status == "waived")


def difference(name: str, delta: float, ci95: Bounds) -> str:
    """Return a paired difference in words, without a full stop."""
    low, high = ci95
    return (
        f"the difference from {name} is {100 * delta:+.1f} points (95% interval [{100 * low:+.1f}, {100 * high:+.1f}])"
    )


def set_price(name: str) -> str:
    return f"Set the price of the model behind {name} in [models]."


def add_cases(n: int, minutes: float, *, rated: bool = False) -> str:
    """Return the advice to add test cases, with the time of a person."""
    work = "labelling and ratings of the answers" if rated else "labelling"
    judge = "`tuneworthy run` and `tuneworthy label judge`, " if rated else ""
    return (
        f"Add {n} test cases to the file of [cases] (about {minutes:.0f} min of {work}). Run `tuneworthy cases add`, "
        f"{judge}then `tuneworthy run`."
    )


def fix_rung(rung: str, gate: str, reason: str) -> str:
    """Return how to compare a rung that a run skipped, or that failed, for `reason`; "" if the project leaves it out.

    >>> fix_rung("retrieval", "retrieval", "LanceDB is missing. Run `pip install lancedb`.")
    'Run `pip install lancedb && tuneworthy run --rung retrieval`.'
    """
    run = f"tuneworthy run --rung {rung}"
    if install := re.search("`(pip install [^`]+)`", reason):
        return f"Run `{install[1]} && {run}`."
    first = "Fix the cause" if reason else f"Add `{rung}` to `ladder.rungs`"
    return join_sentences(
        f"{first}, then run `{run}`. Or list `{gate}` in [[waivers]] of tuneworthy.toml with a reason.",
        f"The last error: {reason}" if reason else "",
    )


def command_in(text: str) -> str:
    """Return the first command that a sentence names between code marks; "" if it names no command.

    >>> command_in("Run `tuneworthy data build`.")
    'tuneworthy data build'
    """
    command = re.search("`((?:tuneworthy|pip) [^`]+)`", text)
    return command[1] if command else ""
