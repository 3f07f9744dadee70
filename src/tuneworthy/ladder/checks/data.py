"""Checks of the data: cases, examples, labels, overlaps and the split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tuneworthy.cases import labels_of
from tuneworthy.cases.splits import MIN_DEV, MIN_EXAMPLES, MIN_TEST
from tuneworthy.ladder.check import Fault, check
from tuneworthy.ladder.checks.facts import Facts

DUPLICATE = "an id that no other row has"
"""What the reader of cases expects where an id occurs twice."""
MIN_GROUPS = 10
MOST_NAMED = 5
MEND = "mend the row, or take it out"


def named(words: list[str]) -> str:
    """Return the first few of `words`, with the count of the rest."""
    rest = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


@check("cases_file", "error")
def cases_file(facts: Facts) -> Iterator[Fault]:
    """The file of the cases cannot be read, or rows of it are wrong: each with its line, what was expected, what came.

    The first 20 faults are told one by one.
    """
    for fault in facts.case_faults:
        if fault.expected != DUPLICATE:
            yield Fault(fault.message, fault.hint or MEND)


@check("duplicate_ids", "error")
def duplicate_ids(facts: Facts) -> Iterator[Fault]:
    """Two cases have one id, so that answers could not be told apart.

    Two rows without ids that ask the same and expect the same are no fault: the later one is left out.
    """
    for fault in facts.case_faults:
        if fault.expected == DUPLICATE:
            yield Fault(fault.message, fault.hint or MEND)


@check("examples_file", "error")
def examples_file(facts: Facts) -> Iterator[Fault]:
    """The file of the examples cannot be read, or rows of it are wrong (see cases_file)."""
    for fault in facts.example_faults:
        yield Fault(fault.message, fault.hint or MEND)


@check("unlabelled", "error")
def unlabelled(facts: Facts) -> Iterator[Fault]:
    """Cases have no right answer. (`"expected": null` is one: declining is right.)"""
    missing = [case.id for case in facts.cases if not case.labelled]
    if missing:
        yield Fault(
            f"{facts.project.cases.path}: expected every case to have a right answer, got {len(missing)} of "
            f"{len(facts.cases)} without ({named(missing)})",
            "label them with `tuneworthy cases label`, or take them out",
        )


def _unknown_labels(facts: Facts) -> dict[str, str]:
    """Return the labels of test that nothing tells a model, each with the id of a case."""
    models = facts.project.models.values()
    if facts.data is None or facts.data.task.kind != "label" or any(m.provider in {"python", "http"} for m in models):
        return {}
    told, prompt = set(facts.data.task.labels), " ".join(facts.prompt_texts.values())
    found = {label: case.id for case in facts.data.split.test for label in labels_of([case])}
    return {label: case for label, case in found.items() if label not in told and label not in prompt}


@check("unknown_labels", "error")
def unknown_labels(facts: Facts) -> Iterator[Fault]:
    """Right answers of test are labels that nothing tells a model: not dev, examples, a grader or the prompt.

    Mostly a slip of the pen. Not looked for where a model is a pipeline of the user's own, which may know them.
    """
    if found := _unknown_labels(facts):
        first = min(found)
        yield Fault(
            f"{facts.project.root / facts.project.cases.path}: expected labels that examples, graders or prompt name, "
            f"got {len(found)} that none does ({named(sorted(found))}), such as {first} in case {found[first]}",
            "correct the spelling, add examples of these labels, or name them in the prompt",
        )


@check("unseen_labels", "warning")
def unseen_labels(facts: Facts) -> Iterator[Fault]:
    """Right answers occur that no example has.

    A warning, not an error: the prompt may name the label, so a model can still answer it. But shots and the classical baseline
    cannot show it, and the ladder then looks better or worse than more examples would make it.
    """
    if facts.data is None or facts.data.task.kind != "label" or not facts.examples:
        return
    known = {*labels_of((), facts.examples), *_unknown_labels(facts)}
    counts = Counter(label for case in facts.labelled for label in labels_of([case]) if label not in known)
    if counts:
        yield Fault(
            f"expected each label of the cases in the examples, got {len(counts)} (of {counts.total()} cases) that "
            f"never occur there ({named(sorted(counts))}): shots and classical baseline cannot show them",
            "add examples of these labels, or correct the spelling",
        )


@check("contamination", "warning")
def overlaps(facts: Facts) -> Iterator[Fault]:
    """Examples give cases away: the same question, most of its words, or its source. They leave, and are counted.

    The gate `overlap` passes then: nothing is left to do, unless so many leave that dev can't be drawn from the rest.
    """
    if facts.data is None:
        return
    todo = "nothing to do; they are used neither as shots nor for training"
    if facts.data.split.origin == "cases" and len(facts.examples) >= MIN_EXAMPLES:
        todo = (
            f"fewer than {MIN_EXAMPLES} examples that can be scored remain, so dev is taken from the cases and test "
            "halves: see whether cases and examples only share a template, or add examples"
        )
    for side in ("cases", "dev"):
        counts = facts.data.overlaps[side]
        if total := sum(counts.values()):
            yield Fault(
                f"{total} of {len(facts.examples)} examples give {side} away and leave ({counts['exact']} the same "
                f"question, {counts['ngram']} by n-grams, {counts['group']} by group)",
                todo,
            )


@check("dev_near_test", "note")
def dev_near_test(facts: Facts) -> Iterator[Fault]:
    """Dev cases are nearly the same as test cases: what is chosen on dev then looks a little too good on test.

    They stay. Give rows that come from one source the same `group`: a group stands on one side only.
    """
    if facts.data is None:
        return
    counts = facts.data.overlaps["dev_test"]
    if total := sum(counts.values()):
        yield Fault(
            f"{total} of {len(facts.data.split.dev)} dev cases are nearly the same as a test case ({counts['exact']} "
            f"the same question, {counts['ngram']} by n-grams, {counts['group']} by group)",
            "give cases of one source the same group",
        )


@check("reader_notes", "note")
def reader_notes(facts: Facts) -> Iterator[Fault]:
    """What was guessed, converted or left out when the files were read."""
    for path, line in facts.reader_notes:
        yield Fault(f"{path}: {line}")


@check("empty_split", "error")
def empty_split(facts: Facts) -> Iterator[Fault]:
    """Dev or test would be empty: too few cases and examples, or all cases in one group."""
    if facts.split_fault and not facts.has_split:
        yield Fault(facts.split_fault.message, facts.split_fault.hint)


@check("edited_cases", "error")
def edited_cases(facts: Facts) -> Iterator[Fault]:
    """Cases of the first run were edited or removed, so that earlier results and looks no longer hold.

    A label that is corrected is no fault: all variants are scored again.
    """
    if facts.split_fault and facts.has_split:
        yield Fault(facts.split_fault.message, facts.split_fault.hint)


@check("small_test", "warning")
def small_test(facts: Facts) -> Iterator[Fault]:
    """Test has fewer than 50 cases: the gate `test_set` fails, and only huge differences can be seen."""
    if facts.data and len(facts.data.split.test) < MIN_TEST:
        yield Fault(
            f"expected at least {MIN_TEST} test cases, got {len(facts.data.split.test)}",
            "add cases: tuneworthy cases sample, then label",
        )


@check("small_dev", "warning")
def small_dev(facts: Facts) -> Iterator[Fault]:
    """Dev has fewer than 50 cases: nothing is explored, each rung puts one candidate, fixed beforehand, to test."""
    if facts.data and not facts.data.split.explore:
        yield Fault(
            f"expected at least {MIN_DEV} dev cases to explore, got {len(facts.data.split.dev)}: one candidate a rung",
            "add cases, or 200 examples that can be scored",
        )


@check("few_groups", "warning")
def few_groups(facts: Facts) -> Iterator[Fault]:
    """Cases name groups, and test has fewer than 10 of them: the gate `test_set` fails, intervals are wide."""
    if facts.data is None or not any(case.group for case in facts.data.split.test):
        return
    groups = {case.source for case in facts.data.split.test}
    if len(groups) < MIN_GROUPS:
        yield Fault(f"expected at least {MIN_GROUPS} groups in test, got {len(groups)}", "add cases from other sources")
