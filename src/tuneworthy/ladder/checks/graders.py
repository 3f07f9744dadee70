"""Checks of the graders: can they be built, and can they use every label?"""

from __future__ import annotations

from collections.abc import Iterator

from tuneworthy.errors import TuneworthyError
from tuneworthy.graders.apply import label_faults
from tuneworthy.ladder.check import Fault, check
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.judging import family_warnings
from tuneworthy.regressions.sets import regression_sets


@check("grader", "error")
def grader(facts: Facts) -> Iterator[Fault]:
    """A grader cannot be built: its file is missing, its pattern or schema wrong, its labels or texts too few."""
    if facts.case_faults:
        return  # labels and texts are not known
    for number, (config, _, error) in enumerate(facts.graders, 1):
        if error:
            yield Fault(f"[[graders]] {number} ({config.type}): {error.message}", error.hint or "mend [[graders]]")


@check("grader_labels", "error")
def grader_labels(facts: Facts) -> Iterator[Fault]:
    """A grader cannot use the right answer of some cases: they would never be scored.

    An error of the primary grader; a warning of the others.
    """
    for number, (config, built, _) in enumerate(facts.graders, 1):
        faults = label_faults(built, facts.labelled) if built else {}
        if faults:
            case_id, words = next(iter(faults.items()))
            yield Fault(
                f"[[graders]] {number} ({config.type}): {words}; {len(faults)} of {len(facts.labelled)} cases have "
                f"such an answer ({case_id}, ...)",
                "correct the answers, or choose another grader",
                "error" if number == 1 else "warning",
            )


@check("regressions", "error")
def regressions(facts: Facts) -> Iterator[Fault]:
    """A regression set cannot be used: its file is missing or wrong, a case has no right answer, or two have one name."""
    if not facts.project.regressions:
        return
    try:
        sets = regression_sets(facts.project)
    except TuneworthyError as error:
        yield Fault(f"[[regressions]]: {error.message}", error.hint or "mend [[regressions]]")
        return
    for one in sets:
        faults = label_faults(one.grader, one.cases)
        if faults:
            case_id, words = next(iter(faults.items()))
            told = f"[[regressions]] {one.name}: {words}; {len(faults)} cases have such an answer ({case_id}, ...)"
            yield Fault(told, "correct the answers, or choose another grader")


@check("judge_family", "warning")
def judge_family(facts: Facts) -> Iterator[Fault]:
    """A judge and a model that it judges are of one family, or one model: a judge likes its own kind better.

    People's verdicts correct the comparison for that; fewer of them are needed if it is not so.
    """
    for words in family_warnings(facts.project):
        yield Fault(words, "let a model of another family judge")
