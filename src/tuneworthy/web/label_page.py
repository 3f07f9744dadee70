"""The label page: a queue as one HTML file that works offline, and the file of answers that it returns.

The page contains its rows, the label list, the guideline and its scripts, and may load nothing. A person opens it on
any machine, answers, and sends the downloaded answers back: a line with the plan, then one line an answer, as the
person would have typed it. `file_answers` gives them to the queue, which parses them as it parses a terminal's.

The queue of `ui` is here as well: each answer is in its log, on disk, before the browser hears of it. A queue is opened
again when its log or its rows changed otherwise, so that a terminal and a page can work on it at the same time; an
answer counts only for the text that its person saw.

Invariant: nothing is stored before the plan, the labeller, and every row and answer of the file were checked.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import orjson
from markupsafe import Markup

from tuneworthy.cases.labelling import LabelSession, Remark, agreement, read_entries, read_labels
from tuneworthy.config import load
from tuneworthy.errors import DataError, UserError
from tuneworthy.input_files import read_input
from tuneworthy.people.queue import CANNOT, KINDS, Queue, descriptions, first_paragraph
from tuneworthy.store import Folder, write_atomic
from tuneworthy.store.lines import append_line, now, refuse_link
from tuneworthy.store.shapes import DamagedRecord, shaped
from tuneworthy.types import JsonObject, TextTuple, content_hash, frozen
from tuneworthy.web.run_views import input_stamp
from tuneworthy.web.state import UiState

# Below `.tuneworthy`: the pages that were written, a line each.
FILE_NAME = "label-pages.jsonl"
AGAIN = "Download the answers again."
MAX_COMMENT = 2_000
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
        texts: Hashes of the rows as they were shown.
        disputed: Rows that were shown with the labels of several people.
        guideline: Version of the guideline.
        version: The dataset version that it reviews.
    """

    id: str
    kind: str
    labeller: str
    queue: str
    rows: TextTuple
    time: str
    texts: TextTuple
    disputed: TextTuple = ()
    guideline: str = ""
    version: str = ""


class Filed(NamedTuple):
    """The result of a file of answers.

    Attributes:
        n_new: Answers that were stored.
        n_same: Answers that were stored before.
        n_gone: Answers to rows that wait no longer, for example because a review was decided.
    """

    n_new: int
    n_same: int
    n_gone: int


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
        "rows": [
            {
                "id": row.id,
                "text": queue.show(row),
                "question": row.text if queue.kind == "drafts" else "",
                "hash": content_hash(queue.show(row)),
                "documents": dict(queue.documents(row)),
                "disputed": disputed_in(queue)(row.id),
                "read_s": queue.reading_s(row, (True, "")),
            }
            for row in rows
        ],
    }


def disputed_in(queue: Queue) -> Callable[[str], bool]:
    return queue.session.is_disputed if isinstance(queue.session, LabelSession) else lambda row: False


def title(queue: Queue) -> str:
    own = {
        "review": "Is this row good to train on as it is?",
        "findings": "Keep, correct or drop the row",
        "drafts": "Accept, edit or drop the draft",
    }
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
        UserError: No row waits, or the path is that of another file.
    """
    if path.suffix.lower() not in {".html", ".htm"}:
        raise UserError(f"A label page is an HTML file, not {path.name}.", hint="Example: --page ada.html")
    refuse_link(path)
    rows, total = queue.session.open_rows()[:MAX_ROWS], 0
    sizes = ([queue.show(row), *queue.documents(row).values()] for row in rows)
    ends = [total := total + sum(2 * len(text.encode()) for text in texts) + 200 for texts in sizes]
    rows = rows[: max(1, sum(1 for _ in takewhile(lambda end: end <= MAX_BYTES, ends)))]
    if not rows:
        raise UserError("No row waits for an answer.", hint="Run `tuneworthy label --status`.")
    names = tuple(row.id for row in rows)
    texts, disputed = tuple(content_hash(queue.show(row)) for row in rows), tuple(filter(disputed_in(queue), names))
    fields: Any = {"kind": queue.kind, "labeller": labeller, "queue": queue.plan, "rows": names, "time": now()}
    fields |= {"texts": texts, "disputed": disputed, "guideline": queue.version}
    fields["version"] = version
    plan = PagePlan(id=hashlib.sha256(orjson.dumps(fields)).hexdigest()[:16], **fields)
    content = {**page_content(queue, rows, labeller), "plan": plan.id, "file": answer_name(plan), "n_done": 0}
    append_line(folder.path / FILE_NAME, asdict(plan))
    write_atomic(path, render_label_page(content).encode())
    return plan


def answer_name(plan: PagePlan) -> str:
    """Return the name under which a browser stores the answers of a page."""
    person = re.sub(r"[^\w-]+", "_", plan.labeller)
    return f"answers-{plan.kind}-{person}-{plan.id[:4]}.jsonl"


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
        content = read_input(path, MAX_ANSWERS_BYTES).removeprefix(b"\xef\xbb\xbf")
        lines = [orjson.loads(line) for line in content.splitlines() if line.strip()]
        plan, labeller = lines[0]["plan"], lines[0]["labeller"]
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.") from None
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        raise UserError(f"{path} does not contain answers of a label page.", hint=AGAIN) from None
    found = plans.get(plan) if isinstance(plan, str) else None
    if found is None:
        raise UserError(
            f"{path} belongs to a label page that this project did not write.",
            hint="Run the command in the project folder in which `tuneworthy label --page` wrote the page.",
        )
    if labeller != found.labeller:
        raise UserError(f"The answers name another labeller than the page, which is for {found.labeller}.")
    if lines[0].get("n") != len(lines) - 1:
        raise UserError(f"{path} is not complete: {len(lines) - 1} answers, not {lines[0].get('n')}.", hint=AGAIN)
    answers: dict[str, PageAnswer] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            answer = shaped(line, PageAnswer, "")
        except DamagedRecord:
            raise DataError(path, number, "an answer of the label page", repr(line)[:80]) from None
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
    plan, session = file.plan, queue.session
    texts, waiting = dict(zip(plan.rows, plan.texts, strict=True)), {row.id for row in session.open_rows()}
    own, is_disputed = session.stored() if isinstance(session, LabelSession) else None, disputed_in(queue)
    assigned, faults, new, n_gone = {*session.assigned}, list[str](), list[tuple[PageAnswer, Any]](), 0
    for answer in file.answers:
        if answer.row not in assigned:
            n_gone += 1
            continue
        row, was_disputed = session.row(answer.row), answer.row in plan.disputed
        try:
            value = queue.check(row, answer.line, answer.seconds)
            if not (was_disputed or is_disputed(answer.row)) and content_hash(queue.show(row)) != texts[answer.row]:
                raise UserError("the row changed after the page was written")
        except UserError as error:
            faults.append(f"{answer.row}: {error.message}")
            continue
        is_new = own.get((answer.row, was_disputed), waiting) != value if own is not None else answer.row in waiting
        new += [(answer, row)] * is_new
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults[:10])
        raise UserError(
            f"{len(faults)} of {len(file.answers)} answers in {path} are not valid, so nothing was stored.\n{shown}",
            hint=f"Correct them on the page, or write a new one: `tuneworthy label {plan.kind} --page FILE.html`.",
        )
    for answer, row in new:
        remark = Remark(answer.comment[:MAX_COMMENT], plan.guideline, _time(answer.time, plan.time))
        queue.submit_from_page(row, answer.line, answer.seconds, remark, disputed=answer.row in plan.disputed)
    return Filed(len(new), len(file.answers) - len(new) - n_gone, n_gone)


def _time(time: str, earliest: str) -> str:
    """Return the time of an answer if its page existed then, else "": clocks of other machines may be wrong."""
    try:
        at = datetime.fromisoformat(time)
        is_known = at.tzinfo is not None and datetime.fromisoformat(earliest) <= at <= datetime.now(UTC)
    except (ValueError, OverflowError):
        return ""
    return at.astimezone(UTC).isoformat(timespec="seconds") if is_known else ""


Open = tuple[Queue, Any]


def queues(state: UiState, query: Mapping[str, str]) -> JsonObject:
    """Return the queues in which rows wait."""
    with state.lock:
        found = state.count_queues()
    return {"queues": [{"kind": kind, "rows": n, "why": KINDS[kind][0]} for kind, n in found.items()]}


def open_queue(state: UiState, body: Mapping[str, Any]) -> JsonObject:
    """Open a queue and return its rows; a review fixes its plan first."""
    with state.lock:
        queue = _opened(state, body, fresh=True)
        rows = queue.session.open_rows()[:MAX_ROWS] if queue.waiting else []
        return {**page_content(queue, rows, state.labeller), "n_done": queue.session.n_done}


def answer(state: UiState, body: Mapping[str, Any]) -> JsonObject:
    """Store an answer.

    Raises:
        UserError: It is no answer, or the row is not as the person saw it.
    """
    row, disputed = body.get("row", ""), body.get("disputed", False)
    with state.lock:
        queue = _opened(state, body)
        if row not in queue.session.assigned or _is_changed(queue, shown := queue.session.row(row), body):
            raise UserError(
                "This row was changed, decided or removed after the page loaded it, so the answer was not saved.",
                hint="Reload the page.",
            )
        remark = Remark(body.get("comment", "")[:MAX_COMMENT])
        queue.submit_from_page(shown, body.get("line", ""), body.get("seconds", 0), remark, disputed=disputed)
        _keep(state, queue)
        return {"after": [*queue.after.get(row, ())], **_rest(queue)}


def undo(state: UiState, body: Mapping[str, Any]) -> JsonObject:
    """Take the person's last answer back and return its row."""
    with state.lock:
        queue = _opened(state, body)
        queue.session.undo()
        queue.form.undone()
        _keep(state, queue)
        row = queue.session.next()
        return {"row": page_content(queue, [row] if row else [], state.labeller)["rows"], **_rest(queue)}


def _is_changed(queue: Queue, row: Any, body: Mapping[str, Any]) -> bool:
    """Whether a row has another text now; labels that appeared since next to a blind row are no change."""
    is_same_form = disputed_in(queue)(row.id) is body.get("disputed", False)
    return is_same_form and content_hash(queue.show(row)) != body.get("hash")


def _opened(state: UiState, body: Mapping[str, Any], *, fresh: bool = False) -> Queue:
    kind = body.get("kind", "")
    if kind not in KINDS:
        raise UserError(f"There is no queue {kind[:40]!r}.")
    found: Open | None = state.cache.get(f"queue {kind}")
    if found is None or fresh or found[1] != _stamp(state, found[0]):
        queue = state.open_queue(kind)
        _keep(state, queue)
        return queue
    return found[0]


def _keep(state: UiState, queue: Queue) -> None:
    state.cache[f"queue {queue.kind}"] = queue, _stamp(state, queue)


def _stamp(state: UiState, queue: Queue) -> Any:
    found = queue.log.stat() if queue.log.exists() else None
    return found and (found.st_mtime_ns, found.st_size), input_stamp(load(state.root))


def _rest(queue: Queue) -> JsonObject:
    if left := queue.waiting:
        return {"left": left}
    labels = () if queue.kind in {"findings", "review"} else read_labels(queue.log)
    return {"left": 0, "next": queue.done(), "agreement": str(agreement(labels))}
