"""A queue on a terminal: one row at a time, with the labels and the guideline; each answer is on disk at once."""

import csv
import math
import re
import sys
import time
from collections.abc import Callable
from itertools import zip_longest
from shutil import get_terminal_size
from textwrap import shorten
from typing import Any

import click

from tuneworthy.cases.labelling import CANNOT_DECIDE
from tuneworthy.cases.task_kind import spelling_variants
from tuneworthy.cli.options import note
from tuneworthy.errors import UserError
from tuneworthy.people.queue import BARE_LABEL, CANNOT, KINDS, LabelForm, Queue, first_paragraph, label_fault
from tuneworthy.report.text import clean
from tuneworthy.text import count

QUIT, SKIP, UNDO, COMMENT, HELP = "/quit", "/skip", "/undo", "/comment", ("?", "/help", "/?")
KEYS = f"{UNDO} takes back your last answer (repeatable), {SKIP} puts the row last, {QUIT} stops, ? shows this help."
LABEL_LIST = (
    "Type or paste the labels, one per line or separated by commas, and end the list with an empty line. Quote a label "
    "that contains a comma. If the answer is free text, press Enter."
)
# Lines of the label list that every row repeats; a longer list is searched.
_MAX_LINES = 16
# Answers of a session that show how long a row takes.
_MIN_TIMES = 5


def work_through(queue: Queue, now: Callable[[], float] = time.monotonic) -> int:
    """Show the rows of a queue until all are done or the person stops; return the number of new answers."""
    session, form, n_given, began, times = queue.session, queue.form, 0, dict[str, float](), list[float]()
    comments = dict[str, str]()
    if session.next() is not None:
        note(help_text(queue))
    while (row := session.next()) is not None or n_given or (session.n_done and sys.stdin.isatty()):
        if row is None:
            note(f"\nNo more rows wait. Press Enter to finish, or type {UNDO} to take your last answer back.")
        else:
            began.setdefault(row.id, now())
            total, done = len(session.assigned), session.n_done
            usual = sorted(times)[len(times) // 2] if len(times) >= _MIN_TIMES else KINDS[queue.kind][1]
            minutes = max(1, round((total - done) * usual / 60))
            note(f"\n[{done + 1} of {total}] about {minutes} min left", queue.show(row), *footer(queue))
        try:
            line = ask_line("(? for help) > ")
            if f"/{line}" in {QUIT, SKIP, UNDO, *HELP, *form.commands, *[CANNOT] * session.takes_remarks} and (
                form.labels or not form.commands
            ):  # not free text
                line = line if line in form.labels else f"/{line}"
            if line == QUIT or (row is None and line != UNDO):
                break
            if line == UNDO:
                answer = session.undo()
                form.undone()
                n_given = max(0, n_given - 1)
                note(f"Taken back{_shown(queue, answer)}.")
            elif row is not None and _answer(queue, row, line, seconds := now() - began[row.id], comments):
                n_given += 1
                times.append(seconds)
        except EOFError:
            break
        except UserError as error:
            note(str(error))
    return n_given


def _answer(queue: Queue, row: Any, line: str, seconds: float, comments: dict[str, str]) -> bool:
    """Execute an input line; return whether it was an answer.

    Args:
        queue: The queue.
        row: The row that is shown.
        line: What the person typed.
        seconds: Since the row was first shown.
        comments: Row to the comment for its answer.

    Raises:
        UserError: It is neither a command nor an answer.
    """
    if line == SKIP:
        queue.session.skip(row.id)
        note("Skipped for now.")
    elif not line or line in HELP:
        note(
            help_text(queue, full=True) if line else f"You typed nothing, so the row is repeated. {SKIP} puts it last."
        )
    else:
        remarks = queue.session.takes_remarks
        if remarks and line.startswith(f"{COMMENT} "):
            comments[row.id] = line.removeprefix(COMMENT).strip()
            note("The comment is saved with your answer to this row.")
            return False
        if line[:1] in {"/", "?"} and line not in {*queue.form.commands, *[CANNOT] * remarks}:
            raise UserError(f"{line[:40]!r} is neither a command nor an answer.", hint=help_text(queue))
        # A file of answers takes no time.
        answer = queue.submit(row, line, seconds if sys.stdin.isatty() else math.inf, comments.pop(row.id, ""))
        note(f"Saved{_shown(queue, answer)}.", *queue.after.get(row.id, ()))
        return True
    return False


def _shown(queue: Queue, answer: Any) -> str:
    if answer is CANNOT_DECIDE:
        return ": cannot decide"
    is_command = answer is None and queue.form.commands
    return f": {queue.form.commands[0][1:] if is_command else answer}" if is_command or isinstance(answer, str) else ""


def help_text(queue: Queue, *, full: bool = False) -> str:
    """Return the keys; `full`, after the guideline and a long list of labels."""
    labels = label_lines(queue.form)
    more = [*(labels if len(labels) > _MAX_LINES else ()), BARE_LABEL.sub("", queue.guideline).strip(), ""]
    keys = (
        f"{KEYS} {CANNOT} if you cannot decide, and {COMMENT} TEXT adds a comment."
        if queue.session.takes_remarks
        else KEYS
    )
    return "\n".join([*(more if full else ()), f"{queue.form.keys} {keys} Every answer is saved at once."])


def footer(queue: Queue) -> list[str]:
    """Return the labels and the beginning of the guideline, as each row repeats them."""
    lines, width = label_lines(queue.form), get_terminal_size().columns
    if len(lines) > _MAX_LINES:
        search = ": type a part of a label to search" if queue.form.numbered else ""
        lines = [f"{len(queue.form.labels)} labels{search}. ? lists them all."]
    short = first_paragraph(queue.guideline)
    return ["", *lines, *([shorten(f"Guideline: {clean(short, 0)}", width, placeholder=" … (?)")] if short else [])]


def label_lines(form: LabelForm) -> list[str]:
    cells = [f"{f'{n:>2} ' if form.numbered else ''}{clean(label)}" for n, label in enumerate(form.labels, 1)]
    if not cells:
        return []
    width = max(map(len, cells)) + 2
    height = -(-len(cells) // max(1, min(len(cells), get_terminal_size().columns // width)))
    columns = [cells[at : at + height] for at in range(0, len(cells), height)]
    return ["".join(cell.ljust(width) for cell in line).rstrip() for line in zip_longest(*columns, fillvalue="")]


def ask_label_list(file: str) -> list[str]:
    """Ask for the labels of the task; an empty list means free text.

    Raises:
        UserError: The input ends before the list.
    """
    note(f"No label is known yet. {LABEL_LIST}")
    try:
        while labels := _typed_labels():
            note(
                *label_lines(LabelForm("", str, labels=labels, numbered=True)),
                "Press Enter to save these labels, or type n to enter them again.",
            )
            if ask_line("save > ").lower() in {"", "y", "yes"}:
                break
    except EOFError:
        raise UserError(
            "The input ended before the list of labels.",
            hint="End it with an empty line, or write the labels into guideline.md, one a line: - `label`.",
        ) from None
    note(
        f"{count(len(labels), 'label')}, saved in {file}. Describe there when to use each label."
        if labels
        else f"The answer is free text. Describe in {file} how to answer."
    )
    return labels


def _typed_labels() -> list[str]:
    typed: list[str] = []
    while line := ask_line("labels > "):
        if line == QUIT:
            raise click.Abort
        if line[:1] in {"/", "?"}:
            note(LABEL_LIST)
            continue
        bullet = re.sub(r"^([-*•]|\d+[.)])\s+", "", line)
        typed += [name.strip().replace("`", "'") for name in next(csv.reader([bullet], skipinitialspace=True))]
    if not all(name.isdecimal() for name in filter(None, typed)):  # a list of numbers, such as 1 to 5, is clear
        note(*filter(None, map(label_fault, typed)))
        typed = [name for name in typed if not label_fault(name)]
    twins = spelling_variants(dict.fromkeys(filter(None, typed), 1))
    for first, *others in twins:
        note(f"Kept {first!r}: {', '.join(map(repr, others))} differs only in spelling.")
    dropped = {"", *(label for _, *others in twins for label in others)}
    return [label for label in dict.fromkeys(typed) if label not in dropped]


def ask_line(prompt: str) -> str:
    """Ask for a line; the prompt goes to stderr, so that stdout stays clean.

    Raises:
        EOFError: There is no further line.
    """
    click.echo(prompt, nl=False, err=True)
    try:
        if not (line := sys.stdin.readline()):
            raise EOFError
    except KeyboardInterrupt:
        note("\nEvery answer is saved.")
        raise click.Abort from None
    return line.strip()
