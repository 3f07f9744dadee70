"""Checks of the data: cases, examples, labels, overlaps and the split."""

from collections import Counter
from collections.abc import Iterable

from tuneworthy.cases import labels_of
from tuneworthy.cases.dataset import DROPPED, answer_losses
from tuneworthy.cases.dataset import unlisted_labels as unlisted
from tuneworthy.cases.example_store import answer_counts
from tuneworthy.cases.messages import ONE_ID
from tuneworthy.cases.splits import MIN_DEV, MIN_EXAMPLES, MIN_TEST
from tuneworthy.cases.task_kind import label_counts, spelling_variants
from tuneworthy.errors import DataError, UserError, join_sentences
from tuneworthy.ladder import messages
from tuneworthy.ladder.checks import check
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.rules import Finding, Findings, Sentences
from tuneworthy.search.sweep import ADD_CASES
from tuneworthy.stats.ratios import LEAST_GROUPS
from tuneworthy.text import count, listed, plural
from tuneworthy.types import NamedTexts

# Share of the most frequent label from which a share of right answers says little.
MAJORITY = 0.8
FIX_ROW = "Fix or remove the row."
# Answers whose price is named.
MOST_PRICES = 5


@check(fix=FIX_ROW)
def cases_file(facts: Facts) -> Iterable[DataError]:
    """The file of the cases cannot be read, or has wrong rows: each with its line and the expected form.

    The first 20 faults are listed one by one.
    """
    return (fault for fault in facts.case_faults if fault.expected != ONE_ID.expected)


@check(fix=FIX_ROW)
def duplicate_ids(facts: Facts) -> Iterable[DataError]:
    """Two cases have one id, so that answers could not be told apart.

    Two rows without ids that ask the same and expect the same are no fault: the later one is dropped.
    """
    return (fault for fault in facts.case_faults if fault.expected == ONE_ID.expected)


@check(fix=FIX_ROW)
def examples_file(facts: Facts) -> Iterable[DataError]:
    """The file of the examples cannot be read, or has wrong rows (see cases_file)."""
    return facts.example_faults


@check(fix="Run `tuneworthy label cases` to label them, or remove them.")
def unlabelled(facts: Facts) -> Sentences:
    """Cases have no right answer. (`"expected": null` is one: declining is right.)"""
    if missing := [case.id for case in facts.cases if not case.labelled]:
        yield (
            f"{len(missing)} of {len(facts.cases)} cases in {facts.project.cases.path} "
            f"{plural(len(missing), 'has', 'have')} no expected answer ({listed(missing)})."
        )


def _unknown_labels(facts: Facts) -> NamedTexts:
    """Return the labels of test that a model has no way to know, each with the id of a case."""
    data, prompt = facts.label_data, " ".join(facts.prompt_texts.values())
    if any(model.own_pipeline for model in facts.project.models.values()):
        return {}
    labels = {label: case.id for case in data.split.test for label in labels_of([case])}
    return {label: case for label, case in labels.items() if label not in data.task.labels and label not in prompt}


@check(
    severity="warning",
    fix="Correct the spelling, add examples with these labels, or list them in the prompt.",
)
def unknown_labels(facts: Facts) -> Sentences:
    """Right answers of test are labels that a model has no way to know: not from dev, examples, a grader or the prompt.

    Mostly a typing error. Skipped where a model is a pipeline of the user's own, which may know them.
    """
    if labels := _unknown_labels(facts):
        first = min(labels)
        yield (
            f"In {facts.project.path(facts.project.cases.path)}, {count(len(labels), 'label')} of test cases "
            f"({listed(sorted(labels))}) {plural(len(labels), 'occurs', 'occur')} in no dev case, "
            f"example, grader or prompt. For example, case {labels[first]} has the label {first}."
        )


@check(fix="Correct the spelling, or add cases with these labels.")
def critical_labels(facts: Facts) -> Sentences:
    """`task.critical` names labels that no test case expects, so that their recall cannot be measured."""
    data = facts.run_data
    missing = sorted(set(facts.project.task.critical) - set(labels_of(data.split.counted)))
    if missing or (facts.project.task.critical and data.task.kind != "label"):
        yield f"`task.critical` names labels that no test case expects ({listed(missing)})."


@check(severity="warning", fix="Add examples with these labels, or correct the spelling.")
def unseen_labels(facts: Facts) -> Sentences:
    """Right answers occur that no example has.

    A warning, not an error: the prompt may name the label, so a model can still answer it. But shots and the classical
    baseline cannot show it, and the ladder then looks better or worse than with more examples.
    """
    expected = {*labels_of((), facts.examples), *_unknown_labels(facts)}
    counts = Counter(label for case in facts.labelled for label in labels_of([case]) if label not in expected)
    if counts and facts.examples:
        yield messages.say("unseen_labels", n=len(counts), labels=listed(sorted(counts)), n_cases=counts.total())


@check(severity="warning", fix="Correct these labels, or add them to `labels` of the first grader.")
def unlisted_labels(facts: Facts) -> Sentences:
    """Examples have labels that the first grader does not list. Shots and classifiers do not get these rows."""
    if facts.project.examples and (found := unlisted(facts.project, facts.labelled, facts.examples)):
        labels = listed([f"{name[:60]} ({n})" for name, n in found.items()])
        yield (
            f"{facts.project.examples.path} has {count(sum(found.values()), 'row')} with labels that the first grader "
            f"does not list: {labels}. They are left out."
        )


@check(severity="warning", fix="Write each label in one way in cases, examples and prompt.")
def label_variants(facts: Facts) -> Sentences:
    """Labels differ only in case, hyphens, underscores or spaces, or by a typing error, and count as different answers.

    A model that knows the label cannot know which way a case expects.
    """
    counts = Counter(label_counts(facts.label_data.cases)) + answer_counts(facts.examples)
    if variants := spelling_variants(counts):
        yield (
            f"{count(len(variants), 'label is', 'labels are')} probably written in several ways "
            f"({listed([' / '.join(names) for names in variants])}). Each way counts as an answer of its "
            "own: even a perfect model can lose points."
        )


@check(severity="note")
def imbalance(facts: Facts) -> Findings:
    """How frequent the most frequent label of dev is: what always answering it scores.

    A warning where it is more than 80%: `balanced_accuracy` then says more than a share of right answers.
    """
    split = facts.label_data.split
    counts = label_counts(split.dev or split.test)
    label, n = next(iter(counts.items()), ("", 0))
    share = n / max(1, sum(counts.values()))
    grader, even = facts.project.graders[0].type, 1 / max(1, len(counts))
    balanced = grader == "balanced_accuracy"
    rare = share > MAJORITY and not balanced
    alternative = (
        "" if balanced else f", and {even:.1%} with `balanced_accuracy`, which gives every label the same weight"
    )
    yield Finding(
        message=(
            f"The majority class `{label}` makes up {share:.1%} of {sum(counts.values())} dev cases. Always "
            f"predicting it scores {even if balanced else share:.1%} with the first grader, "
            f"`{grader}`{alternative}."
        ),
        fix="Make `balanced_accuracy` the first grader, so that every label has the same weight." if rare else "",
        severity="warning" if rare else "note",
    )


@check("contamination", severity="warning")
def overlaps(facts: Facts) -> Findings:
    """Examples overlap cases: the same question, most of its words, or its source. They are dropped and counted.

    A note, unless more than 10% are dropped, or too few examples remain.

    The file `overlaps.jsonl` in .tuneworthy lists them. Of labels and JSON, the answers that lose the largest share of
    their rows are named.
    The gate `contamination` then passes. Without a warning, no action is needed.
    """
    data = facts.run_data
    fix = ""
    if data.split.origin == "cases" and len(facts.examples) >= MIN_EXAMPLES:
        fix = (
            f"Fewer than {MIN_EXAMPLES} scorable examples remain, so the dev set is drawn from the cases, which "
            "halves the test set. Check whether the overlap comes only from a shared template, or add examples."
        )
    dataset, dropped, sentences, lost = data.dataset, 0, [], []
    for side, cases in (("cases", dataset.cases), ("dev", data.split.dev)):
        counts, found = dataset.contamination.counts[side], getattr(dataset.contamination, side)
        if total := sum(counts.values()):
            where = {"cases": "cases", "dev": "dev cases"}[side]
            message = messages.say("overlapping", total=total, n_examples=len(facts.examples), side=where, **counts)
            losses = answer_losses(found.rows, cases, found.hits)
            shares = "; ".join(
                f"{one.answer[:60]} {one.n_dropped} of {one.n_rows} ({one.share:.1%})" for one in losses[:MOST_PRICES]
            )
            lost += losses
            sentences += [message, f"The largest shares by answer: {shares}." if losses else ""]
            dropped += total
    if not fix and dataset.many_dropped:
        most = max(lost, key=lambda one: one.n_dropped, default=None)
        fix = (
            f"Classifier, few-shot prompts and training learn from {count(len(data.split.pool), 'example')} only. "
            f"{f'{most.answer[:60]} loses the most: {most.n_dropped} of {most.n_rows}. ' if most else ''}"
            f"See `{DROPPED}` in .tuneworthy, and add examples with other questions."
        )
    if dropped == len(facts.examples):
        fix = (
            "No example remains for few-shot prompts or training. Set [examples] to rows whose questions are not cases."
        )
    if dropped:
        yield Finding(
            message=join_sentences(
                *sentences, f"Listed in {dataset.write_dropped(facts.folder)}." if facts.folder.writable else ""
            ),
            fix=fix,
            severity="warning" if fix else "note",
        )


@check(severity="note")
def reader_notes(facts: Facts) -> list[str]:
    """Guesses, conversions and drops of the reader."""
    return facts.reader_notes


@check()
def empty_split(facts: Facts) -> list[UserError]:
    """Dev or test would be empty: too few cases and examples, or all cases in one group."""
    return [facts.split_fault] if facts.split_fault and not facts.has_split else []


@check()
def edited_cases(facts: Facts) -> list[UserError]:
    """Cases of the first run were edited or removed, so earlier results and test comparisons no longer apply.

    A label that is corrected is no fault: all variants are scored again.
    """
    return [facts.split_fault] if facts.split_fault and facts.has_split else []


@check(severity="warning", fix=ADD_CASES)
def small_test(facts: Facts) -> Sentences:
    """Test has fewer than 50 cases: the gate `test_set` fails, and only huge differences can be seen.

    Cases that a model drafted do not count.
    """
    split = facts.run_data.split
    if (n := len(split.real)) < MIN_TEST:
        kind = "" if len(split.test) == n else "real "
        yield f"The test set has {count(n, f'{kind}case')}, but at least {MIN_TEST} are needed."


@check(severity="warning", fix="Add cases, or provide at least 200 scorable examples.")
def small_dev(facts: Facts) -> Sentences:
    """Dev has fewer than 50 cases: nothing is explored, each rung compares one candidate, fixed beforehand."""
    split = facts.run_data.split
    if not split.explore:
        yield (
            f"The dev set has {count(len(split.dev), 'case')}, but comparing candidates needs at "
            f"least {MIN_DEV}. Each rung therefore tries one predefined candidate."
        )


@check(severity="warning", fix="Add cases from other sources.")
def few_groups(facts: Facts) -> Sentences:
    """Test counts as fewer than 20 groups of one size: the gate `test_set` fails, and nothing is claimed.

    Groups are those that the cases name, and near-duplicates. Large groups count for less.
    """
    split = facts.run_data.split
    n = split.effective_groups
    if n < LEAST_GROUPS and any(case.group for case in split.test):
        yield f"The test cases count as {n:.1f} independent cases; at least {LEAST_GROUPS} are needed."
