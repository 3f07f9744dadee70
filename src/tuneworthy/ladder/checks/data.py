"""Checks of the data: cases, examples, labels, overlaps and the split."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tuneworthy.cases import labels_of
from tuneworthy.cases.contamination import AnswerLoss
from tuneworthy.cases.messages import ONE_ID
from tuneworthy.cases.splits import MIN_DEV, MIN_EXAMPLES, MIN_TEST
from tuneworthy.cases.task_kind import label_counts
from tuneworthy.errors import join_sentences
from tuneworthy.ladder import messages
from tuneworthy.ladder.checks import check
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.rules import Finding
from tuneworthy.stats.ratios import LEAST_GROUPS

# Share of the most frequent label from which a share of right answers says little.
MAJORITY = 0.8
# Answers whose price is named.
MOST_PRICES = 5
# What stands between the words of a label; a hyphen before or after them may be a sign (-1, A-).
_SEPARATOR = re.compile(r"[\s_]+|(?<=\w)-(?=\w)")


@check("cases_file")
def cases_file(facts: Facts) -> Iterator[Finding]:
    """The file of the cases cannot be read, or rows of it are wrong: each with its line and what a right row holds.

    The first 20 faults are listed one by one.
    """
    for fault in facts.case_faults:
        if fault.expected != ONE_ID.expected:
            yield Finding(message=fault.message, fix=fault.hint or messages.say("fix_row"))


@check("duplicate_ids")
def duplicate_ids(facts: Facts) -> Iterator[Finding]:
    """Two cases have one id, so that answers could not be told apart.

    Two rows without ids that ask the same and expect the same are no fault: the later one is dropped.
    """
    for fault in facts.case_faults:
        if fault.expected == ONE_ID.expected:
            yield Finding(message=fault.message, fix=fault.hint or messages.say("fix_row"))


@check("examples_file")
def examples_file(facts: Facts) -> Iterator[Finding]:
    """The file of the examples cannot be read, or rows of it are wrong (see cases_file)."""
    for fault in facts.example_faults:
        yield Finding(message=fault.message, fix=fault.hint or messages.say("fix_row"))


@check("unlabelled")
def unlabelled(facts: Facts) -> Iterator[Finding]:
    """Cases have no right answer. (`"expected": null` is one: declining is right.)"""
    missing = [case.id for case in facts.cases if not case.labelled]
    if missing:
        yield Finding(
            message=messages.say(
                "unlabelled",
                n=len(missing),
                total=len(facts.cases),
                path=facts.project.cases.path,
                ids=messages.listed(missing),
            ),
            fix=messages.say("label_them"),
        )


def _unknown_labels(facts: Facts) -> dict[str, str]:
    """Return the labels of test that a model has no way to know, each with the id of a case."""
    models = facts.project.models.values()
    if facts.data is None or facts.data.task.kind != "label" or any(m.provider in {"python", "http"} for m in models):
        return {}
    known_labels, prompt = set(facts.data.task.labels), " ".join(facts.prompt_texts.values())
    labels = {label: case.id for case in facts.data.split.test for label in labels_of([case])}
    return {label: case for label, case in labels.items() if label not in known_labels and label not in prompt}


@check("unknown_labels")
def unknown_labels(facts: Facts) -> Iterator[Finding]:
    """Right answers of test are labels that a model has no way to know: not from dev, examples, a grader or the prompt.

    Mostly a typing error. Skipped where a model is a pipeline of the user's own, which may know them.
    """
    if labels := _unknown_labels(facts):
        first = min(labels)
        message = messages.say(
            "unknown_labels",
            path=facts.project.path(facts.project.cases.path),
            n=len(labels),
            labels=messages.listed(sorted(labels)),
            first=first,
            case=labels[first],
        )
        yield Finding(message=message, fix=messages.say("fix_labels"))


@check("unseen_labels", severity="warning")
def unseen_labels(facts: Facts) -> Iterator[Finding]:
    """Right answers occur that no example has.

    A warning, not an error: the prompt may name the label, so a model can still answer it. But shots and the classical
    baseline cannot show it, and the ladder then looks better or worse than with more examples.
    """
    if facts.data is None or facts.data.task.kind != "label" or not facts.examples:
        return
    expected = {*labels_of((), facts.examples), *_unknown_labels(facts)}
    counts = Counter(label for case in facts.labelled for label in labels_of([case]) if label not in expected)
    if counts:
        yield Finding(
            message=messages.say(
                "unseen_labels", n=len(counts), labels=messages.listed(sorted(counts)), n_cases=counts.total()
            ),
            fix=messages.say("add_examples"),
        )


@check("label_variants", severity="warning")
def label_variants(facts: Facts) -> Iterator[Finding]:
    """Labels differ only in case, hyphens, underscores or spaces, and count as different answers.

    Mostly one label, written in several ways: a model that knows it cannot know which way a case expects.
    """
    if facts.data is None or facts.data.task.kind != "label":
        return
    ways = defaultdict(list)
    for label in labels_of(facts.labelled, facts.examples):
        ways[_SEPARATOR.sub(" ", label.casefold()).strip() if len(label) > 1 else label].append(label)
    if variants := [names for names in ways.values() if len(names) > 1]:
        labels = messages.listed([" / ".join(names) for names in variants])
        yield Finding(
            message=messages.say("label_variants", n=len(variants), labels=labels), fix=messages.say("one_spelling")
        )


@check("imbalance", severity="note")
def imbalance(facts: Facts) -> Iterator[Finding]:
    """How frequent the most frequent label of dev is: what always answering it scores.

    A warning where it is more than 80%: `balanced_accuracy` then says more than a share of right answers.
    """
    if facts.data is None or facts.data.task.kind != "label":
        return
    counts = label_counts(facts.data.split.dev or facts.data.split.test)
    label, n = next(iter(counts.items()), ("", 0))
    share = n / max(1, sum(counts.values()))
    grader, even = facts.project.graders[0].type, 1 / max(1, len(counts))
    balanced = grader == "balanced_accuracy"
    rare = share > MAJORITY and not balanced
    yield Finding(
        message=messages.say(
            "imbalance",
            label=label,
            share=share,
            n=sum(counts.values()),
            score=even if balanced else share,
            grader=grader,
            even="" if balanced else messages.say("balanced_score", score=even),
        ),
        fix=messages.say("balance") if rare else "",
        severity="warning" if rare else "note",
    )


@check("contamination", severity="warning")
def overlaps(facts: Facts) -> Iterator[Finding]:
    """Examples overlap cases: the same question, most of its words, or its source. They are dropped and counted.

    Of labels and JSON, the answers that lose the largest share of their rows are named. Where an answer would lose
    every row, a fifth of those that are no exact copies stays.
    The gate `contamination` then passes, and no action is needed, unless too few remain to draw dev from, or none.
    """
    if facts.data is None:
        return
    fix = messages.say("no_action")
    if facts.data.split.origin == "cases" and len(facts.examples) >= MIN_EXAMPLES:
        fix = messages.say("too_few_remain", least=MIN_EXAMPLES)
    for side in ("cases", "dev"):
        counts = facts.data.dataset.contamination.counts[side]
        if total := sum(counts.values()):
            message = messages.say(
                "overlapping",
                total=total,
                n_examples=len(facts.examples),
                side={"cases": "cases", "dev": "dev cases"}[side],
                **counts,
            )
            prices = getattr(facts.data.dataset.contamination, side).prices
            none_left = total == len(facts.examples)
            yield Finding(
                message=join_sentences(message, _price(prices)), fix=messages.say("none_remain") if none_left else fix
            )


def _price(prices: Sequence[AnswerLoss]) -> str:
    """Say which answers lose most of their rows, and which keep a share."""
    dearest = [
        messages.say("overlap_price_of", answer=one.answer[:60], n=one.n_dropped, total=one.n_rows, share=one.share)
        for one in prices[:MOST_PRICES]
    ]
    price = messages.say("overlap_price", dearest="; ".join(dearest)) if dearest else ""
    kept = [
        messages.say("overlap_kept", answer=one.answer[:60], n=one.n_kept, total=one.n_rows)
        for one in prices
        if one.n_kept
    ]
    return join_sentences(price, *kept)


@check("dev_near_test", severity="note")
def dev_near_test(facts: Facts) -> Iterator[Finding]:
    """Dev cases nearly repeat test cases: what is chosen on dev then looks a little too good on test.

    They stay. Give rows that come from one source the same `group`: a group is never split between dev and test.
    """
    if facts.data is None:
        return
    counts = facts.data.dataset.contamination.counts["dev_test"]
    if total := sum(counts.values()):
        yield Finding(
            message=messages.say("dev_near_test", total=total, n_dev=len(facts.data.split.dev), **counts),
            fix=messages.say("set_groups"),
        )


@check("near_duplicates", severity="note")
def near_duplicates(facts: Facts) -> Iterator[Finding]:
    """Cases reword other cases. They become one group, stay on one side of the split, and widen the intervals.

    Compared are the words, of which rare ones weigh more. Rewordings with other words, or in another language, are not
    found: give such cases the same `group`.
    """
    if facts.data is not None and (n := facts.data.split.counts.get("near_duplicates")):
        split = facts.data.split
        yield Finding(
            message=messages.say("near_duplicates", n=n, n_test=len(split.test), effective=split.effective_groups)
        )


@check("reader_notes", severity="note")
def reader_notes(facts: Facts) -> Iterator[Finding]:
    """What the reader guessed, converted or dropped."""
    for path, line in facts.reader_notes:
        yield Finding(message=messages.say("reader_note", path=path, note=line))


@check("empty_split")
def empty_split(facts: Facts) -> Iterator[Finding]:
    """Dev or test would be empty: too few cases and examples, or all cases in one group."""
    if facts.split_fault and not facts.has_split:
        yield Finding(message=facts.split_fault.message, fix=facts.split_fault.hint)


@check("edited_cases")
def edited_cases(facts: Facts) -> Iterator[Finding]:
    """Cases of the first run were edited or removed, so earlier results and test comparisons no longer apply.

    A label that is corrected is no fault: all variants are scored again.
    """
    if facts.split_fault and facts.has_split:
        yield Finding(message=facts.split_fault.message, fix=facts.split_fault.hint)


@check("small_test", severity="warning")
def small_test(facts: Facts) -> Iterator[Finding]:
    """Test has fewer than 50 cases: the gate `test_set` fails, and only huge differences can be seen."""
    if facts.data and len(facts.data.split.test) < MIN_TEST:
        yield Finding(
            message=messages.say("small_test", n=len(facts.data.split.test), least=MIN_TEST),
            fix=messages.say("add_cases"),
        )


@check("small_dev", severity="warning")
def small_dev(facts: Facts) -> Iterator[Finding]:
    """Dev has fewer than 50 cases: nothing is explored, each rung compares one candidate, fixed beforehand."""
    if facts.data and not facts.data.split.explore:
        yield Finding(
            message=messages.say("small_dev", n=len(facts.data.split.dev), least=MIN_DEV), fix=messages.say("add_dev")
        )


@check("few_groups", severity="warning")
def few_groups(facts: Facts) -> Iterator[Finding]:
    """Test counts as fewer than 20 groups of one size: the gate `test_set` fails, and nothing is claimed.

    Groups are those that the cases name, and near-duplicates (see near_duplicates). Large groups count for less.
    """
    if facts.data is None or not any(case.group for case in facts.data.split.test):
        return
    n = facts.data.split.effective_groups
    if n < LEAST_GROUPS:
        yield Finding(message=messages.say("few_groups", n=n, least=LEAST_GROUPS), fix=messages.say("add_groups"))
