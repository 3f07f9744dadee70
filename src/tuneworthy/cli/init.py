"""`tuneworthy init`, with its conversation on a terminal: Enter takes a default, and nothing is written."""

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import click

from tuneworthy.calls.connectors import local_calls
from tuneworthy.calls.groups import CallGroup, RecordedCalls, read_calls
from tuneworthy.cases import labels_of, read_cases
from tuneworthy.cases.readers.reader import first_rows, guess_columns
from tuneworthy.cases.task_kind import answer_text, label_counts, spelling_variants
from tuneworthy.cli.options import PATH, POSITIVE, json_option, note, print_json, say, wants_json
from tuneworthy.config.graders import GRADER_SECTIONS
from tuneworthy.config.models import MODEL_SECTIONS
from tuneworthy.errors import TuneworthyError, UserError
from tuneworthy.graders.apply import answers_to_try, label_faults, make_grader, try_grader
from tuneworthy.graders.base import GradingContext
from tuneworthy.providers.model_names import NamedModel
from tuneworthy.providers.prices import price_for
from tuneworthy.report.text import clean
from tuneworthy.scaffold import (
    EMBEDDED,
    TASKS,
    UNANSWERED,
    NewProject,
    grader_settings,
    graders_of,
    guess_task,
    make_call_project,
    make_project,
    named_models,
    respelled,
)
from tuneworthy.text import count, plural
from tuneworthy.types import Case, JsonObject, NamedInts, NamedTexts, Texts
from tuneworthy.verdict.messages import sentence


@click.command("init")
@click.argument("folder", type=PATH)
@click.option("--data", type=PATH, help="Cases: CSV, Excel, JSONL, Parquet, promptfoo, Langfuse.")
@click.option("--from", "calls", metavar="SOURCE", help="File of calls, langfuse:... or mlflow:...")
@click.option("--call", type=POSITIVE, metavar="N", help="Number of the group of calls.")
@click.option("--examples", type=PATH, help="Rows for shots and training.")
@click.option("--input", "inputs", multiple=True, metavar="COL", help="Column of the question; repeatable.")
@click.option("--expected", multiple=True, metavar="COL", help="Column of the expected answer, one per file; or none.")
@click.option("--task", type=click.Choice([*TASKS]), help="Kind of task (default: detected).")
@click.option("--model", metavar="PROVIDER:NAME", help=f"Today's model [default: {EMBEDDED}, or that of the calls].")
@click.option("--compare", multiple=True, metavar="PROVIDER:NAME", help="Another model to measure; repeatable.")
@click.option(
    "--n-cases",
    type=POSITIVE,
    help="Cases to draw from the file (default: half, at most 500; all with --examples).",
)
@json_option
def command(folder: Path, data: Path | None, calls: str | None, call: int | None, **settings: Any) -> None:
    """Create a project from data files or from recorded calls.

    Writes FOLDER with cases, examples, a prompt and a project file. No model is called. On a terminal it asks for each
    setting that you omit. Elsewhere an unclear column or task is an error. Without --examples, the rows that are not
    drawn as cases become the examples.

    With --from it groups the calls of a log by the constant part of their prompts, lists the groups by cost, and makes
    a project of one group: today's prompt and model, and its answers to compare with.

    Models are named PROVIDER:NAME. Providers: openai, anthropic, gemini, ollama, vllm, llama_cpp and http.
    openai:NAME@URL is a model of any server that speaks OpenAI's protocol; http:URL is your own pipeline.

    \b
    Example:
      tuneworthy init tickets --data tickets.csv --model openai:gpt-6-luna
      tuneworthy init tickets --from calls.jsonl --call 1
      tuneworthy init tickets --from 'langfuse:tag=prod&from=2026-11-01'
    """
    asks, facts = sys.stdin.isatty() and sys.stdout.isatty() and not wants_json(), JsonObject()
    if calls is not None and data is None:
        made, facts = _from_calls(folder, calls, call, settings, asks=asks)
    elif data is None or calls is not None:
        raise click.UsageError("Pass either --data FILE or --from CALLS.")
    elif call is not None:
        raise click.UsageError("--call needs --from.")
    else:
        settings["model"] = settings["model"] or EMBEDDED
        made = make_project(folder, data, **(ask_settings(folder, data, settings) if asks else settings))
    if wants_json():
        document = asdict(made)
        print_json({"project": str(document.pop("root")), **document, **facts})
        return
    note(*map(sentence, made.notes))
    verbs = ["label --labeller NAME", "check"] if data and made.n_answered < made.n_cases else ["check", "run"]
    verbs = ["trust"] * made.untrusted + verbs
    say(
        f"Created {folder} with {made.n_cases} cases and {made.n_examples} examples. Next:",
        *(f"  tuneworthy {verb} --project {folder}" for verb in verbs),
    )


def _from_calls(
    folder: Path, source: str, number: int | None, settings: JsonObject, *, asks: bool
) -> tuple[NewProject, JsonObject]:
    """Return the project of a group, and the facts of all groups for `--json`."""
    if unused := [name for name in ("examples",) if settings.pop(name)]:
        raise click.UsageError(f"--{unused[0]} goes with --data, not with --from.")
    named = [*settings.pop("expected")]
    path, notes = local_calls(source, folder.absolute().parent)
    note(*notes)
    calls = read_calls(path, settings.pop("inputs"), named[0] if named else None)
    if number is None or asks:
        (note if wants_json() else say)(*group_lines(calls))
    n = len(calls.groups)
    if number is None and n > 1 and not asks:
        raise UserError(f"The calls are of {n} groups.", hint=f"Name one with --call, a number from 1 to {n}.")
    if number is None:
        number = click.prompt("Which group", type=click.IntRange(1, n), default=1) if n > 1 else 1
    if number > n:
        raise UserError(f"There is no group {number}.", hint=f"--call takes a number from 1 to {n}.")
    return make_call_project(folder, calls.groups[number - 1], **settings), {
        "call": number,
        "groups": [group.facts for group in calls.groups],
    }


HELP = "Enter takes the default in brackets, and Ctrl-C ends without a project."
# Graders that need no further settings.
PLAIN = ("choice", "balanced_accuracy", "json_fields", "numeric", "exact", "normalised_exact", "includes", "squad_f1",
         "squad_em", "rouge_l", "chrf")  # fmt: skip
_YES = {"y", "yes", "ok"}
_BETWEEN = r",(?!\d)|/|\band\b"
_TIMES = {"": 1, "k": 1e3, "m": 1e6}
PRICES = ("input_usd_per_mtok", "output_usd_per_mtok")


def ask_settings(root: Path, data: Path, settings: JsonObject) -> JsonObject:
    """Ask for the settings of a new project that the command line leaves open, and return all.

    Raises:
        UserError: No project can be made there or from this file.
    """
    inputs, expected, task = settings["inputs"], settings["expected"], settings["task"]
    models = named_models(root, data, settings["model"], *settings["compare"], columns=bool(inputs or expected))
    rows = first_rows(data)
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    click.echo("\n".join(_shown_rows(data, rows[:3], names)))
    guess = guess_columns(data, inputs)[0]
    if guess and not inputs:
        inputs = _ask("Columns of the question", ", ".join(guess), partial(_names, allowed=names))
    if inputs and not expected:
        likely = [*guess_columns(data, inputs, labels=task == "label")[1], UNANSWERED]
        text = f"Column of the right answer, or {UNANSWERED} if you will label the rows"
        others = [name if name not in inputs else "" for name in names]  # the numbers stay
        expected = _ask(
            text, likely[0] if len(likely) <= 2 else None, lambda line: _names(line, [*others, UNANSWERED])[:1]
        )
    cases = read_cases(
        data,
        input_column=inputs,
        expected_column=next((name for name in expected if name != UNANSWERED), "" if expected else None),
        lenient=True,
    ).cases
    guessed, kind = guess_task(cases)
    if not task:
        click.echo(f"\n{kind.reason[:1].upper()}{kind.reason[1:]}.")
        task = _ask(f"Kind of task: {', '.join(TASKS)}", guessed, lambda line: _names(line, [*TASKS])[0])
    spellings = _spellings(label_counts(cases)) if task == "label" else {}
    answered = [respelled(case, spellings) for case in cases if case.has_answer]
    answers = {"grader": _grader(answered, task)} if answered else {}
    text = "Lowest score that is good enough, such as 85% (Enter: set it later)"
    target = _ask(text, "", _score)
    requests = _ask("Requests per month, such as 200,000 (Enter: unknown)", "", _number)
    prices = {one.name: _price(one.name) for one in models if _is_unpriced(one)}
    return {
        **settings, **answers, "inputs": inputs, "expected": expected, "task": task, "spellings": spellings,
        "target": target, "requests": requests and round(requests),
        "prices": prices,
    }  # fmt: skip


def _ask(text: str, default: str | None, parse: Callable[[str], Any]) -> Any:
    """Ask until `parse`, which raises ValueError for any other line, takes the answer. A default may be missing."""

    def answer(line: str) -> Any:
        for one in [line.strip(), default or ""][: 2 if default and line.strip().lower() in _YES else 1]:
            with suppress(ValueError):
                return parse(one)
        raise click.UsageError(f"{clean(line)!r} is no answer to this question.")

    click.echo()
    return click.prompt(text, default=default, value_proc=answer, show_default=bool(default))


def _is_unpriced(model: NamedModel) -> bool:
    config = MODEL_SECTIONS[model.section["provider"]](**model.section)
    return config.hosted and price_for(config) is None


def _price(model: str) -> JsonObject:
    text = f"Dollars per million input and output tokens of {model}, such as 0.15 0.60 (Enter: unknown)"
    return dict(
        _ask(
            text,
            "",
            lambda line: dict(zip(PRICES, map(_number, re.sub(_BETWEEN, " ", line).split()), strict=bool(line))),
        )
    )


def _spellings(counts: NamedInts) -> NamedTexts:
    if not (groups := spelling_variants(counts)):
        return {}
    numbers = [str(number) for number in range(1, len(groups) + 1)]
    lines = [" = ".join(f"{clean(label)} ({counts[label]})" for label in labels) for labels in groups]
    click.echo("\n".join(["\nThese labels are probably one label each:", *map("{:>4}  {}".format, numbers, lines)]))
    text = f"Numbers of the lines whose labels become the first one, or {UNANSWERED}"
    chosen = _ask(text, ", ".join(numbers), partial(_names, allowed=[*numbers, UNANSWERED]))
    merged = [labels for number, labels in zip(numbers, groups, strict=True) if number in chosen]
    return {label: labels[0] for labels in merged for label in labels[1:]}


def _grader(cases: Sequence[Case], task: str) -> str:
    answers = [answer_text(case.expected) for case in cases]
    chosen, name = graders_of(task, answers)[0], ""
    while chosen != name:
        name = chosen
        others = f"Other graders: {', '.join(one for one in PLAIN if one != name)}."
        click.echo("\n".join(["", *_tried(name, cases, answers), others]))
        chosen = _ask("Is this what you mean? Or another grader", name, lambda line: _names(line, PLAIN)[0])
    return name


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
    return ["", HELP, "", *lines]


def _names(line: str, allowed: Texts) -> list[str]:
    """Return the names in a line, each as its number or as its beginning; a line may also be one name with commas.

    Raises:
        ValueError: One is not allowed.
    """

    numbered = dict(zip(map(str, range(1, len(allowed) + 1)), allowed, strict=True))

    def name_of(part: str) -> str:
        names = [name for name in allowed if name.lower() == part.lower()]
        names = names or [name for name in allowed if part[1:] and name.lower().startswith(part.lower())]
        return part if part in allowed else numbered.get(part) or (names[0] if len(names) == 1 else "")

    parts = [line] if name_of(line) else re.split(r"\s*(?:[,;&]|\band\b|(?<=\d)\s(?=\s*\d))\s*", line.strip(",; "))
    found = [name_of(part) for part in parts]
    if not all(found):
        raise ValueError(line)
    return found


def _number(line: str, most: float = 1e12) -> float | None:
    if line.lower() in {"", "unknown", "skip", UNANSWERED}:
        return None
    parts = re.fullmatch(r"[$~]?((?!0,)\d{1,3}(?:[,_\s]\d{3})+|\d*)(\.\d+)?\s*([kmKM]?)[%$]?", line)
    if not parts:
        raise ValueError(line)
    value = float(re.sub(r"[,_\s]", "", parts[1] + (parts[2] or ""))) * _TIMES[parts[3].lower()]
    if value > most:
        raise ValueError(line)
    return value


def _score(line: str) -> float | None:
    value = _number(line, 100)
    return value / 100 if value and value > 1 else value


WIDTH = 80


def group_lines(calls: RecordedCalls) -> list[str]:
    """Return the table, with the calls that belong to no group, masked values, and calls that were left out."""
    span = f" from {calls.first:%Y-%m-%d} to {calls.last:%Y-%m-%d}" if calls.first and calls.last else ""
    lines = [f"{calls.n_calls:,} calls{span}, in {count(len(calls.groups), 'group')}: which can be cheaper?"]
    for number, group in enumerate(calls.groups, 1):
        lines += _lines(number, group)
    if calls.others:
        verb = plural(calls.others, "call belongs", "calls belong")
        lines.append(f"    {calls.others:,} other {verb} to no group.")
    if calls.masked:
        lines.append(f"    Masked: {', '.join(f'{kind} ({n:,})' for kind, n in calls.masked.items())}.")
    return lines + [clean(f"    {n:,} left out: {reason}.", WIDTH) for reason, n in calls.skipped.items()]


def _lines(number: int, group: CallGroup) -> list[str]:
    month = group.calls_a_month
    traffic = f"{group.calls:,.0f} calls" if month is None else f"{month:,.0f} a month"
    money = "no price"
    if group.usd is not None:
        usd = group.usd if month is None else group.usd * month / group.calls
        about = "~" if any(one.estimated for one in group.replies) else ""
        money = f"{about}${usd:,.0f}" if usd >= 10 else f"{about}${usd:,.2f}"
    late = "" if group.p95_s is None else f"p95 {group.p95_s:.1f} s"
    model, *others = group.models
    model = f"{model or 'model unknown'}{f' +{len(others)}' if others else ''}"
    kind = "tool calls" if group.uses_tools else group.kind.name.replace("_", " ")
    kind += f", {count(len(group.kind.labels), 'label')}" if group.kind.name == "label" else ""
    facts = [kind, f"{group.repeated:.0%} repeated"]
    facts += [f"{group.differing:.0%} of these answered otherwise"] if group.differing else []
    return [
        f"{number:3} {clean(group.name, 18):18} {traffic:>16} {money:>9} {late:>11}  {clean(model, 17)}".rstrip(),
        f"    {'; '.join(facts)}: {group.remark}",
        f"    {clean(group.opening or group.prompts[0].user, WIDTH - 4)}",
    ]
