"""Checks of the graders: can they be built, and can they use every label?"""

from collections.abc import Iterator

from tuneworthy.errors import TuneworthyError
from tuneworthy.graders.apply import FIX_GRADER, grading_fault, label_faults, try_grader
from tuneworthy.graders.judging import family_warnings
from tuneworthy.ladder.checks import check
from tuneworthy.ladder.checks.facts import Facts, attempt
from tuneworthy.regressions.sets import regression_sets
from tuneworthy.rules import Finding, Findings
from tuneworthy.text import count
from tuneworthy.trust import Untrusted

NEARLY_RIGHT = "Nearly right is the right answer after the words `The answer is`."
FORM_ONLY = "It checks only the form, so a wrong answer in the right form scores 1."
FIX_ANSWERS = "Correct the expected answers, or choose a different grader."


@check(fix="Fix [[graders]].")
def grader(facts: Facts) -> Findings:
    """A grader cannot be built: its file is missing, its pattern or schema wrong, its labels or texts too few."""
    if facts.case_faults:
        return  # labels and texts are not known
    for number, (config, _, error) in enumerate(facts.graders, 1):
        if error and not isinstance(error, Untrusted):
            yield Finding(message=f"[[graders]] {number} ({config.type}): {error.message}", fix=error.hint)


@check(severity="note")
def grader_tried(facts: Facts) -> Findings:
    """Scores that each grader gives to a right, a nearly right and a wrong answer to one case.

    An error if one cannot be scored, such as where a grading function raises an exception; a warning if a grading
    function scores the wrong answer as high as the right one. No model is called, so a judge is not tried.
    """
    for number, (config, built, _) in enumerate(facts.graders, 1):
        scores, name = try_grader(built, facts.labelled) if built else {}, f"[[graders]] {number} ({config.type})"
        if fault := grading_fault(scores):
            yield Finding(message=f"{name}: {fault}.", fix=FIX_GRADER, severity="error")
        elif scores:
            blind = config.type == "python" and (scores["right"].value or 0) <= (scores["wrong"].value or 0)
            meaning = FORM_ONLY if config.type == "json_schema" else NEARLY_RIGHT
            shown = ", ".join(f"{answer} {score.value:.3g}" for answer, score in scores.items())
            yield Finding(
                message=f"{name} scores three answers to a case: {shown}. {meaning}",
                fix="Fix the function: it must score the right answer higher." if blind else "",
                severity="warning" if blind else "note",
            )


@check(fix=FIX_ANSWERS)
def grader_labels(facts: Facts) -> Findings:
    """A grader cannot use the right answer of some cases, which would never be scored.

    An error of the primary grader; a warning of the others.
    """
    for number, (config, built, _) in enumerate(facts.graders, 1):
        faults = label_faults(built, facts.labelled) if built else {}
        if faults:
            case_id, reason = next(iter(faults.items()))
            yield Finding(
                message=(
                    f"[[graders]] {number} ({config.type}): {reason.rstrip('.')}. This affects {len(faults)} of "
                    f"{len(facts.labelled)} cases, starting with {case_id}."
                ),
                severity="error" if number == 1 else "warning",
            )


@check(fix=FIX_ANSWERS)
def regressions(facts: Facts) -> Iterator[Finding | str]:
    """A regression set cannot be used: its file is invalid or missing, a case is unlabelled, or a name repeats."""
    if not facts.project.regressions:
        return
    sets, error = attempt(TuneworthyError, lambda: regression_sets(facts.project))
    if error is not None and not isinstance(error, Untrusted):
        yield Finding(message=f"[[regressions]]: {error.message}", fix=error.hint or "Fix [[regressions]].")
    for regression_set in sets or ():
        if faults := label_faults(regression_set.grader, regression_set.cases):
            case_id, reason = next(iter(faults.items()))
            yield (
                f"[[regressions]] {regression_set.name}: {reason.rstrip('.')}. This affects "
                f"{count(len(faults), 'case')}, starting with {case_id}."
            )


@check(severity="warning", fix="Choose a judge from a different model family.")
def judge_family(facts: Facts) -> list[str]:
    """A judge and a model that it judges are of one family, or one model: a judge favours its own family.

    Human verdicts correct the comparison for that; a judge of another family needs fewer.
    """
    return family_warnings(facts.project)
