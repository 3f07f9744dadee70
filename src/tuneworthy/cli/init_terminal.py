"""The conversation of `init` on a terminal: Enter takes a default, `/back` returns, and nothing is written."""

import re
import shutil
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import click

from tuneworthy.cases import labels_of, read_cases
from tuneworthy.cases.readers.reader import first_rows, guess_columns
from tuneworthy.cases.task_kind import answer_text, label_counts, spelling_variants
from tuneworthy.config.graders import GRADER_SECTIONS
from tuneworthy.config.models import MODEL_SECTIONS
from tuneworthy.errors import TuneworthyError
from tuneworthy.graders.apply import answers_to_try, label_faults, make_grader, try_grader
from tuneworthy.graders.base import GradingContext
from tuneworthy.providers.prices import price_for
from tuneworthy.report.text import clean
from tuneworthy.scaffold import TASKS, UNANSWERED, grader_settings, graders_of, guess_task, named_models, respelled
from tuneworthy.text import count
from tuneworthy.types import Case, JsonObject, Texts

# Lines to show, the question, its default, and the parser of the answer.
Question = tuple[Texts, str, str, Callable[[str], Any]]
Talk = Generator[Question, Any, JsonObject]
BACK = "/back"
HELP = f"Enter takes the default in brackets, {BACK} returns to the last question, and Ctrl-C ends without a project."
# Graders that need no further settings.
PLAIN = ("choice", "balanced_accuracy", "json_fields", "numeric", "exact", "normalised_exact", "includes", "squad_f1",
         "squad_em", "rouge_l", "chrf")  # fmt: skip
PRICES = ("input_usd_per_mtok", "output_usd_per_mtok")


def ask_settings(root: Path, data: Path, settings: JsonObject) -> JsonObject:
    """Ask for the settings of a new project that the command line leaves open, and return all.

    The conversation starts again after each answer, with the answers so far: `/back` removes the last one.

    Raises:
        UserError: No project can be made there or from this file.
    """
    columns = bool(settings["inputs"] or settings["expected"])
    models = named_models(root, data, settings["model"], *settings["compare"], columns=columns)
    configs = {one.name: MODEL_SECTIONS[one.section["provider"]](**one.section) for one in models}
    unpriced = [name for name, config in configs.items() if config.hosted and price_for(config) is None]
    answers: list[Any] = []
    while True:
        talk = _talk(data, settings, unpriced)
        try:
            lines, text, default, parse = next(talk)
            for answer in answers:
                lines, text, default, parse = talk.send(answer)
        except StopIteration as end:
            return {**settings, **end.value}
        click.echo("\n".join(["", *lines]))
        answers = click.prompt(
            text, default=default, value_proc=partial(_answered, answers, parse), show_default=bool(default)
        )


def _answered(answers: list[Any], parse: Callable[[str], Any], line: str) -> list[Any]:
    """Return the answers with that of a line; without the last one for `/back`."""
    try:
        return answers[:-1] if line.strip() == BACK else [*answers, parse(line.strip())]
    except ValueError:
        raise click.UsageError(f"{clean(line)!r} is no answer to this question.") from None


def _talk(data: Path, settings: JsonObject, unpriced: Texts) -> Talk:
    rows = first_rows(data)
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    shown, inputs, expected = _shown_rows(data, rows[:3], names), settings["inputs"], settings["expected"]
    guess = guess_columns(data, inputs)[0]
    if guess and not inputs:
        inputs = yield shown, "Columns of the question", ", ".join(guess), lambda line: _names(line, names)
        shown = []
    if inputs and not expected:
        likely = [*guess_columns(data, inputs)[1], UNANSWERED][0]
        text = f"Column of the right answer, or {UNANSWERED} if you will label the rows"
        others = [name if name not in inputs else "" for name in names]  # the numbers stay
        expected = yield shown, text, likely, lambda line: _names(line, [*others, UNANSWERED])[:1]
        shown = []
    cases = _cases(data, tuple(inputs), tuple(expected))
    guessed, kind = guess_task(cases)
    if not (task := settings["task"]):
        shown = [*shown, f"{kind.reason[:1].upper()}{kind.reason[1:]}."]
        task = yield shown, f"Kind of task: {', '.join(TASKS)}", guessed, lambda line: _names(line, [*TASKS])[0]
    merged = (yield from _spellings(cases)) if task == "label" else {}
    answered = [respelled(case, merged) for case in cases if case.has_answer]
    grader = (yield from _grader(answered, task)) if answered else {}
    text = "Lowest score that is good enough, such as 85% (Enter: set it later)"
    target = yield (), text, "", lambda line: _number(line, 100)
    requests = yield (), "Requests per month, such as 200,000 (Enter: unknown)", "", _number
    prices = {}
    for name in unpriced:
        shown = [f"Dollars per million input and output tokens of {name}, such as 0.15 0.60 (Enter: unknown)"]
        prices[name] = yield shown, "Price", "", _prices
    guesses = {"inputs": inputs, "expected": expected, "task": task, "prices": prices, "spellings": merged}
    told = {"target": target / 100 if target and target > 1 else target, "requests": requests and round(requests)}
    return {**guesses, **told, **grader}


def _spellings(cases: Sequence[Case]) -> Talk:
    counts = label_counts(cases)
    if not (groups := spelling_variants(counts)):
        return {}
    numbers = [str(number) for number in range(1, len(groups) + 1)]
    lines = [" = ".join(f"{clean(label)} ({counts[label]})" for label in labels) for labels in groups]
    shown = ["These labels are probably one label each:", *map("{:>4}  {}".format, numbers, lines)]
    text = f"Numbers of the lines whose labels become the first one, or {UNANSWERED}"
    chosen = yield shown, text, ", ".join(numbers), lambda line: _names(line, [*numbers, UNANSWERED])
    merged = [labels for number, labels in zip(numbers, groups, strict=True) if number in chosen]
    return {label: labels[0] for labels in merged for label in labels[1:]}


def _grader(cases: Sequence[Case], task: str) -> Talk:
    """Show the grader on answers to a row, until the user takes it."""
    answers = [answer_text(case.expected) for case in cases]
    chosen, name = graders_of(task, answers)[0], ""
    while chosen != name:
        name = chosen
        shown = [*_tried(name, cases, answers), f"Other graders: {', '.join(one for one in PLAIN if one != name)}."]
        chosen = yield shown, "Is this what you mean? Or another grader", name, lambda line: _names(line, PLAIN)[0]
    return {"grader": name}


def _tried(name: str, cases: Sequence[Case], answers: Texts) -> Texts:
    config = GRADER_SECTIONS[name](type=name, **grader_settings(name, answers))
    try:
        grader = make_grader(
            config, GradingContext(root=Path(), labels=labels_of(cases), label_counts=label_counts(cases))
        )
    except TuneworthyError as error:
        return [f"The grader {name} cannot be used. {error.message}"]
    faults, scores, (_, tried) = label_faults(grader, cases), try_grader(grader, cases), answers_to_try(grader, cases)
    width = shutil.get_terminal_size().columns - 22
    lines = [f"  {one:12}  {scores[one].value or 0:.1f}  {clean(text, width)}" for one, text in tried.items()]
    lines += [f"It cannot use {len(faults)} of {len(cases)} answers: {one}." for one in [*faults.values()][:1]]
    return [f"The grader {name} scores three answers to one of your rows:", *lines]


def _shown_rows(data: Path, rows: Sequence[JsonObject], names: Texts) -> Texts:
    left = max(map(len, map(clean, names)), default=0)
    width = max(8, (shutil.get_terminal_size().columns - left - 6) // max(1, len(rows)) - 3)
    lines = [f"The first {count(len(rows), 'row')} of {clean(data)}, each column on a line:"]
    for number, name in enumerate(names, 1):
        cells = (clean(answer_text(row.get(name, "")), width).ljust(width) for row in rows)
        lines.append(f"{number:3}  {clean(name):{left}}  {' | '.join(cells)}".rstrip())
    return [HELP, "", *lines]


@lru_cache(maxsize=1)
def _cases(data: Path, inputs: tuple[str, ...], expected: tuple[str, ...]) -> tuple[Case, ...]:
    column = next((name for name in expected if name != UNANSWERED), "" if expected else None)
    return read_cases(data, input_column=inputs, expected_column=column, lenient=True).cases


def _names(line: str, allowed: Texts) -> list[str]:
    """Return the names in a line, each as it is or as its number; a line may also be one name with commas.

    Raises:
        ValueError: One is not allowed.
    """
    parts = [line] if line in allowed else [*filter(None, map(str.strip, line.split(",")))]
    numbered = dict(zip(map(str, range(1, len(allowed) + 1)), allowed, strict=True))
    found = [part if part in allowed else numbered.get(part, "") for part in parts]
    if not found or not all(found):
        raise ValueError(line)
    return found


def _number(line: str, most: float = 1e12) -> float | None:
    value = float(re.sub(r"[,_\s$%]", "", line)) if line else None
    if value is not None and not 0 <= value <= most:
        raise ValueError(line)
    return value


def _prices(line: str) -> JsonObject:
    return dict(zip(PRICES, map(_number, line.split()), strict=bool(line)))
