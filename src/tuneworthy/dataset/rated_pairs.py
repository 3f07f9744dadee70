"""Pairs from ratings: of two answers to the same question, one that people liked and one that they did not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tuneworthy.cases.pairs import rejected_answer, with_rejected
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import CheckContext, DataCheck, RowFinding
from tuneworthy.dataset.importing.feedback import Scales, has_feedback, settle
from tuneworthy.dataset.importing.folder import Import
from tuneworthy.dataset.rows import StoredRows
from tuneworthy.types import Example, Message, content_hash

DISLIKED = "thumbs_down"


def disliked_answers(done: Import, rows: StoredRows) -> dict[str, Message]:
    """Return the answers of an import that people disliked, by the hash of what was asked; of several the last."""
    chats = [one.example.messages for one in done.rejects() if one.reason == DISLIKED and one.example is not None]
    scales = _scales_of(rows)
    chats += [row.messages for row in rows if settle(row.messages, row.meta, scales).drops == DISLIKED]
    return {_asked(chat): chat[-1] for chat in chats}


class _AddDisliked:
    """The check that puts a disliked answer to the same question beside one that people liked."""

    def __init__(self, disliked: Mapping[str, Message]) -> None:
        self.disliked = disliked

    def __call__(self, rows: Sequence[Example], context: CheckContext) -> Iterator[RowFinding]:
        scales = _scales_of(rows)
        for number, row in enumerate(rows):
            worse = self.disliked.get(_asked(row.messages)) if row.messages and has_feedback(row.meta) else None
            if worse is None or worse.get("content") == row.answer or rejected_answer(row):
                continue
            if not settle(row.messages, row.meta, scales).drops:
                yield RowFinding(row=number, code="rated_pair", action="mask")

    def repair(self, row: Example) -> Example:
        """Return the row with the disliked answer beside its own."""
        meta = with_rejected(row.meta, self.disliked[_asked(row.messages)])
        return replace(row, meta=meta)


def rated_pairs_check(disliked: Mapping[str, Message]) -> DataCheck:
    """Return the check that makes pairs of rated answers; it runs before the rows that people disliked leave."""
    codes = messages.REASONS["rated_pairs"]
    return DataCheck(name="rated_pairs", examine=_AddDisliked(disliked), codes=codes, whole=True, masks=True)


def _scales_of(rows: Sequence[Example]) -> Scales:
    scales = Scales()
    for row in rows:
        scales.add_row(row.messages, row.meta)
    return scales


def _asked(chat: Sequence[Message]) -> str:
    """Return the hash of what was asked, whatever the system prompt says."""
    return content_hash([turn for turn in chat[:-1] if turn.get("role") != "system"])
