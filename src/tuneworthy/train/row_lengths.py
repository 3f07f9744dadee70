"""How long the rows are, in tokens: as they are rendered where the tokenizer is at hand, else by their bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import pstdev

import orjson

from tuneworthy.errors import UserError
from tuneworthy.train.batch_layout import common_prefix
from tuneworthy.train.render import Rendered, RowChat, TokenRow
from tuneworthy.types import Message, calls_of, frozen, role_of, text_of

# Of English text, rather too few: an estimate that is too long costs memory, one too short loses rows.
BYTES_A_TOKEN = 3.0
# Tokens that a chat template puts around a turn: role, markers, line breaks.
TURN_TOKENS = 6


@frozen
class RowLengths:
    """The rows in numbers.

    Attributes:
        n_rows: Rows.
        n_tokens: Tokens of all rows.
        n_supervised: Tokens of the answers, which alone are trained on.
        median: Tokens of the median row.
        p99: Tokens of the row at the 99th percentile.
        longest: Tokens of the longest row.
        shared: Tokens that all rows begin with; `train` computes them once a batch.
        deviation: Standard deviation of the tokens of a row.
        counted: Whether by the model's tokenizer; else from bytes.
        dataset: Id of the frozen version, or None if nothing is frozen yet.
    """

    n_rows: int
    n_tokens: int
    n_supervised: int
    median: int
    p99: int
    longest: int
    counted: bool
    dataset: str | None = None
    shared: int = 0
    deviation: float = 0.0


def count(rendered: Rendered, dataset: str | None = None) -> RowLengths:
    """Return the numbers of rows that were rendered.

    Args:
        rendered: The rows as ids.
        dataset: Id of the version that they are of.
    """
    if not rendered.pairs:
        return count_rows(rendered.rows, dataset)
    worse = [len(pair.prompt) + len(pair.rejected) for pair in rendered.pairs]  # nothing is computed once for a batch
    lengths = [*(len(row.ids) for row in rendered.rows), *worse]
    return replace(_numbers(lengths, rendered.n_supervised, counted=True, dataset=dataset), n_rows=len(rendered.rows))


def count_rows(rows: Sequence[TokenRow], dataset: str | None = None) -> RowLengths:
    ids = [row.ids for row in rows]
    numbers = _numbers([*map(len, ids)], sum(row.n_supervised for row in rows), counted=True, dataset=dataset)
    return replace(numbers, shared=common_prefix(ids))


def estimate(chats: Iterable[RowChat], dataset: str | None = None) -> RowLengths:
    """Estimate the numbers of rows from their bytes.

    Args:
        chats: Whole chats, with the prompt that they are trained with; all that the assistant says is supervised.
        dataset: Id of the version that they are of.

    Raises:
        UserError: There is no row.
    """
    texts = []
    lengths = []
    supervised = 0
    for chat in chats:
        parts = [_text(turn) for turn in chat.messages]
        counts = [_tokens(part) for part in parts]
        answers = [n for n, turn in zip(counts, chat.messages, strict=True) if role_of(turn) == "assistant"]
        lengths.append(
            sum(counts) + TURN_TOKENS * len(counts) + (_tokens(orjson.dumps(chat.tools)) if chat.tools else 0)
        )
        supervised += sum(answers) + len(answers)
        texts.append(b"\0".join(parts))
    if not lengths:
        raise UserError(
            "There are no training rows to plan for.",
            hint="Run `tuneworthy data build`, or set [examples] in the project file.",
        )
    alike = texts[0][: common_prefix(texts)]
    shared = len(alike) // int(BYTES_A_TOKEN) + TURN_TOKENS * alike.count(b"\0")
    return replace(_numbers(lengths, supervised, counted=False, dataset=dataset), shared=shared)


def _text(turn: Message) -> bytes:
    calls = calls_of(turn)
    return text_of(turn).encode("utf-8", "replace") + (orjson.dumps(calls) if calls else b"")


def _tokens(text: bytes) -> int:
    return -(-len(text) // int(BYTES_A_TOKEN))


def _numbers(lengths: Sequence[int], n_supervised: int, *, counted: bool, dataset: str | None) -> RowLengths:
    ordered = sorted(lengths)
    return RowLengths(
        n_rows=len(ordered),
        n_tokens=sum(ordered),
        n_supervised=n_supervised,
        median=ordered[len(ordered) // 2],
        p99=ordered[int(0.99 * (len(ordered) - 1))],
        longest=ordered[-1],
        counted=counted,
        dataset=dataset,
        deviation=round(pstdev(ordered), 1),
    )
