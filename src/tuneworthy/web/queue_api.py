"""The queue of `ui`: each answer is in its log, on disk, before the browser hears of it.

A queue is opened again when its log or its rows changed otherwise, so that a terminal and a page can work on it at the
same time; an answer counts only for the text that its person saw.
"""

from collections.abc import Mapping
from typing import Any

from tuneworthy.cases.labelling import Remark, agreement, read_labels
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.people.queue import KINDS, Queue
from tuneworthy.types import JsonObject, content_hash
from tuneworthy.web.label_page import MAX_COMMENT, MAX_ROWS, disputed_in, page_content
from tuneworthy.web.state import UiState
from tuneworthy.web.verdict_view import input_stamp

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
