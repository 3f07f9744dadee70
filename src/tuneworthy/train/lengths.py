"""How long the rows are, in tokens: by the model's own tokenizer where its files are at hand, else by their bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tuneworthy.errors import UserError
from tuneworthy.types import Example

BYTES_A_TOKEN: Final = 3.0
"""Of English text, rather too few: an estimate that is too long costs memory, one too short loses rows."""
TURN_TOKENS: Final = 6
"""What a chat template puts around a turn: role, markers, line breaks."""
MAX_TOKENIZER_BYTES: Final = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLengths:
    """The rows in numbers.

    Attributes:
        n_rows: How many. n_tokens: Of all rows. n_supervised: Of the answers, which alone are trained on.
        median, p99, longest: Tokens of a row.
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

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON-able values."""
        return {name: getattr(self, name) for name in self.__slots__}


def measure(rows: Iterable[Example], tokenizer: Path | None, dataset: str | None = None) -> RowLengths:
    """Measure all rows.

    Args:
        rows: Chats; the answer is the last turn.
        tokenizer: A tokenizer.json; None to go by bytes.
        dataset: Id of the version that they are of.

    Raises:
        UserError: There is no row.
    """
    count = _counter(tokenizer)
    lengths: list[int] = []
    supervised = 0
    for row in rows:
        turns = [str(turn.get("content") or "") for turn in row.messages]
        counts = [n + TURN_TOKENS for n in count(turns)]
        lengths.append(sum(counts))
        supervised += counts[-1] - TURN_TOKENS + 1 if counts else 0
    if not lengths:
        raise UserError("expected rows to plan for, got none", hint="run `tuneworthy data build`, or name [examples]")
    lengths.sort()
    return RowLengths(
        n_rows=len(lengths),
        n_tokens=sum(lengths),
        n_supervised=supervised,
        median=lengths[len(lengths) // 2],
        p99=lengths[min(len(lengths) - 1, int(0.99 * len(lengths)))],
        longest=lengths[-1],
        counted=tokenizer is not None,
        dataset=dataset,
    )


def find_tokenizer(base: Path | None) -> Path | None:
    """Return the tokenizer.json of a model folder if it can be read on this machine, else None."""
    path = base / "tokenizer.json" if base is not None and base.is_dir() else None
    if path is None or not path.is_file() or path.stat().st_size > MAX_TOKENIZER_BYTES:
        return None
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        return None
    return path


def _counter(tokenizer: Path | None) -> Callable[[Sequence[str]], list[int]]:
    """Return what counts the tokens of texts."""
    if tokenizer is None:
        return lambda texts: [-(-len(text.encode("utf-8", "replace")) // int(BYTES_A_TOKEN)) for text in texts]
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(str(tokenizer))
    found.no_truncation()
    found.no_padding()
    return lambda texts: [len(one.ids) for one in found.encode_batch(list(texts), add_special_tokens=False)]
