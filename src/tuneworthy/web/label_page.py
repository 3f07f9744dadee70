"""The label page: a queue as one HTML file that works offline, and the file of answers that it returns.

The page contains its rows, the label list, the guideline and its scripts, and may load nothing. A person opens it on
any machine, answers, and sends the downloaded answers back: a line with the plan, then one line an answer, as the
person would have typed it. `file_answers` gives them to the queue, which parses them as it parses a terminal's.

Invariant: nothing is stored before the plan, the labeller, and every row and answer of the file were checked.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import orjson
from markupsafe import Markup

from tuneworthy.cases.labelling import read_entries
from tuneworthy.errors import DataError, UserError
from tuneworthy.input_files import read_input
from tuneworthy.people.queue import CANNOT, KINDS, Queue, descriptions, first_paragraph
from tuneworthy.store import Folder, write_atomic
from tuneworthy.store.lines import append_line, now
from tuneworthy.store.shapes import shaped
from tuneworthy.types import JsonObject, TextTuple, frozen

# Below `.tuneworthy`: the pages that were written, a line each.
FILE_NAME = "label-pages.jsonl"
MAX_ROWS, MAX_BYTES, MAX_ANSWERS_BYTES = 2_000, 20_000_000, 50_000_000
SCRIPTS = ("preact.js", "common.js", "queue.js", "label.js")
POLICY = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; img-src data:; base-uri 'none'; form-action 'none'"
)


@frozen
class PagePlan:
    """A page that was written.

    Attributes:
        id: Hash of the rest.
        kind: Of the queue.
        labeller: Whose answers it takes.
        queue: Hash of the queue when the page was written.
        rows: Ids of its rows.
        time: When it was written.
        version: The dataset version that it reviews.
    """

    id: str
    kind: str
    labeller: str
    queue: str
    rows: TextTuple
    time: str
    version: str = ""


class Filed(NamedTuple):
    """The result of a file of answers.

    Attributes:
        n_new: Answers that were stored.
        n_same: Answers that were stored before.
    """

    n_new: int
    n_same: int


def page_content(queue: Queue, rows: Iterable[Any], labeller: str) -> JsonObject:
    """Return a queue as a page shows it: the form, the guideline and these rows; no answer of other people."""
    form = queue.form
    return {
        "kind": queue.kind,
        "title": title(queue),
        "seconds": KINDS[queue.kind][1],
        "labeller": labeller,
        "blind": queue.blind,
        "remarks": queue.session.takes_remarks,
        "cannot": CANNOT if queue.session.takes_remarks else "",
        "decline": next(iter(form.commands), ""),
        "form": {
            "kind": form.kind,
            "keys": form.keys,
            "labels": [*form.labels],
            "closed": form.closed or form.kind != "label",
            "choices": dict(form.choices),
            "with_text": [*form.with_text],
            "schema": dict(form.schema),
        },
        "guideline": queue.guideline,
        "short": first_paragraph(queue.guideline),
        "descriptions": descriptions(queue.guideline),
        "rows": [{"id": row.id, "text": queue.show(row), "documents": dict(queue.documents(row))} for row in rows],
    }


def title(queue: Queue) -> str:
    own = {"review": "Is this row good to train on as it is?", "findings": "Keep, correct or drop the row"}
    if queue.kind in own:
        return own[queue.kind]
    rated = "Is the reference right?" if queue.kind == "audit" else "Is the answer good?"
    names = {"choice": rated, "label": "Choose the right label", "json": "Fill in the right answer"}
    return names.get(queue.form.kind, "Write the right answer")


def write_page(folder: Folder, queue: Queue, labeller: str, path: Path, *, version: str = "") -> PagePlan:
    """Write the rows that wait as a page, at most `MAX_ROWS` and `MAX_BYTES`, and store its plan.

    Args:
        folder: Of the project.
        queue: Opened for the labeller.
        labeller: Whose answers the page takes.
        path: Of the page.
        version: The dataset version that it reviews.

    Raises:
        UserError: No row waits.
    """
    rows, total = queue.session.open_rows()[:MAX_ROWS], 0
    sizes = ([queue.show(row), *queue.documents(row).values()] for row in rows)
    ends = [total := total + sum(2 * len(text.encode()) for text in texts) + 200 for texts in sizes]
    rows = rows[: max(1, sum(1 for _ in takewhile(lambda end: end <= MAX_BYTES, ends)))]
    if not rows:
        raise UserError("No row waits for an answer.", hint="Run `tuneworthy label --status`.")
    names = tuple(row.id for row in rows)
    fields: Any = {"kind": queue.kind, "labeller": labeller, "queue": queue.plan, "rows": names, "time": now()}
    fields["version"] = version
    plan = PagePlan(id=hashlib.sha256(orjson.dumps(fields)).hexdigest()[:16], **fields)
    content = {**page_content(queue, rows, labeller), "plan": plan.id, "n_done": 0}
    append_line(folder.path / FILE_NAME, asdict(plan))
    write_atomic(path, render_label_page(content).encode())
    return plan


def render_label_page(content: JsonObject) -> str:
    """Return the page: its data, scripts and styles are inside, and the policy allows nothing else."""
    own = files(__package__)
    script = "\n".join(own.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)
    style = own.joinpath("page.css").read_text(encoding="utf-8")
    template = jinja2.Template(own.joinpath("label.html.j2").read_text(encoding="utf-8"), autoescape=True)
    # In a script element only "</script" and "<!--" end the data; JSON can escape every "<".
    data = orjson.dumps(content).decode().replace("<", "\\u003c")
    page: str = template.render(
        kind=content["kind"],
        policy=Markup(POLICY.format(script=_hash(script), style=_hash(style))),
        script=Markup(script),
        style=Markup(style),
        data=Markup(data),
    )
    return page


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@frozen
class PageAnswer:
    """One answer of a file: the line that a person would type, and the seconds since the row was first shown."""

    row: str
    line: str
    seconds: float = 0.0
    comment: str = ""
    time: str = ""


class AnswerFile(NamedTuple):
    """A file of answers of a page of this project."""

    plan: PagePlan
    answers: Sequence[PageAnswer]


def read_answer_file(folder: Folder, path: Path) -> AnswerFile:
    """Read a file of answers; of several answers to a row the last counts.

    Raises:
        UserError: It is no file of answers, or its page belongs to another project.
        DataError: A line is wrong.
    """
    plans: dict[str, PagePlan] = {}

    def add(row: JsonObject) -> None:
        plans[row["id"]] = shaped(row, PagePlan, "")

    read_entries(folder.path / FILE_NAME, add, "the list of label pages", "the plan of a page")
    try:
        lines = [orjson.loads(line) for line in read_input(path, MAX_ANSWERS_BYTES).splitlines() if line.strip()]
        plan, labeller = lines[0]["plan"], lines[0]["labeller"]
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.") from None
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        raise UserError(f"{path} does not contain answers of a label page.", hint="Download them again.") from None
    found = plans.get(plan) if isinstance(plan, str) else None
    if found is None:
        raise UserError(
            f"{path} belongs to a label page that this project did not write.",
            hint="Run the command in the project folder in which `tuneworthy label --page` wrote the page.",
        )
    if labeller != found.labeller:
        raise UserError(f"The answers name another labeller than the page, which is for {found.labeller}.")
    answers: dict[str, PageAnswer] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            answer = shaped(line, PageAnswer, "")
        except Exception as error:
            raise DataError(path, number, "an answer of the label page", str(error)) from None
        if answer.row not in found.rows:
            raise DataError(path, number, "an answer to a row of the page", repr(answer.row[:40]))
        answers.pop(answer.row, None)
        answers[answer.row] = answer
    return AnswerFile(found, [*answers.values()])


def file_answers(path: Path, file: AnswerFile, queue: Queue) -> Filed:
    """Store the answers of a file in its queue, after all were checked; answers that are stored already stay.

    Args:
        path: Of the file, for messages.
        file: Its content.
        queue: The queue of its plan, opened for its labeller.

    Raises:
        UserError: Answers are not valid, for example because the label list changed; nothing is stored.
    """
    rows: Mapping[str, Any] = {row.id: row for row in queue.session.open_rows()}
    new = [answer for answer in file.answers if answer.row in rows]
    gone = [answer for answer in file.answers if answer.row not in {*rows, *queue.session.assigned}]
    faults = [f"{one.row}: the row is no longer in the queue" for one in gone]
    for answer in new:
        try:
            queue.check(rows[answer.row], answer.line, answer.seconds)
        except UserError as error:
            faults.append(f"{answer.row}: {error.message}")
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults[:10])
        raise UserError(
            f"{len(faults)} of {len(file.answers)} answers in {path} are not valid, so nothing was stored.\n{shown}",
            hint="If the label list or the cases changed, write a new page with `tuneworthy label --page`.",
        )
    for answer in new:
        queue.submit_from_page(rows[answer.row], answer.line, answer.seconds, answer.comment, answer.time)
    return Filed(len(new), len(file.answers) - len(new))
