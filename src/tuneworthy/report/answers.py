"""Dev answers on the page: five cases, how today's option fails, and the change of a prompt; no answer to test."""

from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from functools import partial
from itertools import zip_longest
from typing import Literal

from tuneworthy.errors import join_sentences
from tuneworthy.graders.dev_answers import NO_LABEL, DevAnswer, DevCase
from tuneworthy.ladder.record import RunRecord
from tuneworthy.report.names import OUTPUTS, title
from tuneworthy.report.text import Column, Table, clean, percent, text_column
from tuneworthy.text import count, number_text
from tuneworthy.types import NamedTexts, Texts, Variant, positional

# Cases and kinds of failures that are shown; lines of a diff, and characters per line.
MAX_CASES, MAX_FAILED, MAX_KINDS = 5, 3, 8
MAX_LINES, MAX_LINE = 40, 400
SHOTS = {"fixed": "the same in each question", "per_case": "picked per question", "by_meaning": "picked per question"}
RIGHT, WRONG = "✓", "✗"


def cases_table(record: RunRecord, chosen: str, names: NamedTexts) -> Table | None:
    """Return some dev cases with the expected answer, today's and that of the rung `chosen`, right and wrong."""
    by_rung = {rung: answers for rung in ("baseline", chosen) if (answers := _answers(record, rung))}
    both = [case for case in record.dev_cases if by_rung and all(case.case in by for by in by_rung.values())]
    if not both:
        return None
    by_result: dict[tuple[bool, ...], list[DevCase]] = {}
    for case in both:
        by_result.setdefault(tuple(by[case.case].is_right for by in by_rung.values()), []).append(case)
    mixed = [by_result[key] for key in sorted(by_result, key=lambda key: (len(set(key)) == 1, key))]
    shown = [case for some in zip_longest(*mixed) for case in some if case][:MAX_CASES]
    columns = [text_column("question", "question")]
    columns.append(text_column("expected", "recorded" if record.agreement else "expected"))
    columns += [text_column(rung, names.get(rung, rung), partial(_marked, by)) for rung, by in by_rung.items()]
    right, wrong = ("as recorded", "different") if record.agreement else ("right", "wrong")
    note = (
        f"{RIGHT} {right}, {WRONG} {wrong}. The cases were selected to show both. Personal data is masked. Answers to "
        "test cases stay hidden."
    )
    return Table.of(f"{len(shown)} of {len(both)} dev cases", columns, shown, note)


def _answers(record: RunRecord, rung: str) -> Mapping[str, DevAnswer]:
    found = record.rung(rung)
    return found.dev_answers if found else {}


def _marked(answers: Mapping[str, DevAnswer], case: DevCase) -> str:
    answer = answers[case.case]
    mark = RIGHT if answer.is_right else WRONG if answer.score <= 0 else percent(answer.score)
    return f"{mark} {answer.text or '(no answer)'}"


def failures_table(record: RunRecord, chosen: str, names: NamedTexts) -> Table | None:
    """Return the failures of today's option on dev by kind, with those that the rung `chosen` answers correctly."""
    today, other = _answers(record, "baseline"), _answers(record, chosen)
    failed = {case: answer for case, answer in today.items() if not answer.is_right}
    if not failed:
        return None
    kinds = Counter(kind for answer in failed.values() for kind in answer.failures)
    fixed = Counter(
        kind for case, answer in failed.items() if case in other and other[case].is_right for kind in answer.failures
    )
    shown = [kind for kind, _ in kinds.most_common(MAX_KINDS)]
    columns = [
        text_column("kind", "expected → answered" if record.kind == "label" else "failure", str),
        Column("n", "times", value=kinds.get),
        Column("fixed", f"fixed by {names.get(chosen, chosen)}", value=lambda kind: fixed[kind]),
    ]
    more = len(kinds) - len(shown)
    note = join_sentences(
        f"{NO_LABEL}: the answer names no label." if any(NO_LABEL in kind for kind in shown) else "",
        f"{count(more, 'rarer kind')} of failure {'is' if more == 1 else 'are'} left out." if more else "",
    )
    table = Table.of(f"Today's setup fails on {len(failed)} of {len(today)} dev cases", columns, shown, note)
    return table if other and chosen != "baseline" else table.only("kind", "n")


def failed_table(record: RunRecord) -> Table | None:
    """Return some dev cases that today's option fails, with the expected answer and today's."""
    today = _answers(record, "baseline")
    failed = [case for case in record.dev_cases if case.case in today and not today[case.case].is_right]
    columns = [text_column("question", "question"), text_column("expected", "expected")]
    columns.append(text_column("baseline", "today", partial(_marked, today)))
    shown = failed[:MAX_FAILED]
    return Table.of(f"{len(shown)} of {count(len(failed), 'failure')}", columns, shown) if shown else None


def fixes_table(record: RunRecord, names: NamedTexts) -> Table | None:
    """Return how many of today's failures on dev each other option fixes, and how many right answers it breaks."""
    today = _answers(record, "baseline")
    rows = [
        (
            names[one.rung],
            [(today[case].is_right, by.is_right) for case, by in one.dev_answers.items() if case in today],
        )
        for one in record.rungs
        if one.dev_answers and one.rung != "baseline"
    ]
    columns = [
        text_column("option", "option", lambda row: row[0]),
        Column("fixes", "fixes", value=lambda row: row[1].count((False, True))),
        Column("breaks", "breaks", value=lambda row: row[1].count((True, False))),
        Column("wrong", "still wrong", value=lambda row: row[1].count((False, False))),
        Column("n", "dev cases", value=lambda row: len(row[1])),
    ]
    note = (
        "The options were chosen on dev, so these counts favour them. An option that was behind early answered fewer "
        "dev cases. The scores above come from test."
    )
    title = "Today's failures that each option fixes, and right answers that it breaks"
    return Table.of(title, columns, rows, note) if today and rows else None


@positional
class Diff:
    """Two texts, one against the other.

    Attributes:
        title: The compared things.
        lines: Whether each was added, removed or kept, and the line.
        note: How to read it.
        whole: All lines of the second text.
    """

    title: str
    lines: tuple[tuple[Literal["add", "remove", "same"], str], ...]
    note: str
    whole: Texts


def prompt_diff(today: Variant, other: Variant, title: str) -> Diff | None:
    """Return the changes from one variant's model, settings and prompt to another's; None without any."""
    changed = list(unified_diff(list(_lines(today)), list(_lines(other)), n=2, lineterm=""))[2:]
    kinds: dict[str, Literal["add", "remove", "same"]] = {"+": "add", "-": "remove"}
    lines = [(kinds.get(line[0], "same"), line[1:]) for line in changed if not line.startswith("@@")]
    note = f"{len(lines) - MAX_LINES} more lines are not shown." if len(lines) > MAX_LINES else ""
    return Diff(title, tuple(lines[:MAX_LINES]), note, [*_lines(other)]) if lines else None


def _lines(variant: Variant) -> Iterator[str]:
    if variant.cascade is not None:
        first, threshold = clean(title(variant.cascade.first)), variant.cascade.threshold
        yield f"in front: {first}, which answers where the probability of its answer is at least {threshold:.2f}"
    yield f"model: {clean(variant.model)}"
    for tag, own in {"": variant.decoding, **{tag: own.decoding for tag, own in variant.by_tag.items()}}.items():
        settings = ", ".join(f"{key} {number_text(value)}" for key, value in own.items())
        if settings or tag:
            yield f"decoding{tag and f' of requests with the tag {clean(tag)}'}: {clean(settings or 'default')}"
    if variant.shots is not None:
        yield f"few-shot examples: {variant.shots.k}, {SHOTS[variant.shots.mode]}"
    if variant.retrieval is not None:
        yield f"{'documents' if variant.retrieval.mode == 'all' else 'retrieved passages'}: {variant.retrieval.k}"
    if variant.output.kind in OUTPUTS:
        yield f"output: {OUTPUTS[variant.output.kind]}"
    for part, text in (("system", variant.system), ("user", variant.user)):
        yield f"{part}:"
        yield from ("  " + clean(line, MAX_LINE) for line in (text or "").splitlines() if line.strip())
