"""Every answer that was ever paid for: SQLite in WAL mode, committed the moment it arrives.

Invariants: a key is written once and never changed; a repeat has a key of its own, so it is never served
from another repeat; failures that the same request would meet again are kept, passing ones are not; an answer
and the end of the note that its call was open are one transaction.

A commit survives the death of the process at any point. It does not wait for the disk (`synchronous=NORMAL`):
a power cut can take the last ones, never the file.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import orjson
from annotated_types import Interval
from typing_extensions import TypedDict

from tuneworthy.store import messages
from tuneworthy.store.database import explained, open_database
from tuneworthy.store.shapes import DamagedRecord, parsed, shaped
from tuneworthy.types import Failure, Response, canonical

SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    key BLOB PRIMARY KEY,      -- BLAKE2b-128 of identity, request and repeat
    body BLOB NOT NULL,        -- JSON: a response, or {"failure": ...}
    cost_usd REAL NOT NULL,
    created REAL NOT NULL      -- seconds since the epoch
);
CREATE TABLE IF NOT EXISTS open_calls (
    key BLOB NOT NULL,
    ceiling_usd REAL NOT NULL, -- the most that the call can cost: it counts until an answer replaces it
    created REAL NOT NULL
);
"""
# What SQLite takes for an amount of money; NaN is no number there, and a text compares as larger than any.
MONEY = "(typeof({0}) IN ('real', 'integer') AND {0} >= 0 AND {0} < 9e999)"
Dollars: Any = Annotated[float, Interval(ge=0, lt=float("inf"))]
_CHUNK = 500
_INSERT = "INSERT OR IGNORE INTO responses VALUES (?, ?, ?, ?)"


def response_key(identity: bytes, request: Mapping[str, Any], repeat: int) -> bytes:
    """Return the key of a request: 16 bytes.

    Args:
        identity: `canonical` form of the provider's identity (computed once a run).
        request: What goes out (`providers.base.outgoing`).
        repeat: Index of the repeat.
    """
    digest = hashlib.blake2b(identity, digest_size=16)
    digest.update(canonical(request))
    digest.update(b"#%d" % repeat)
    return digest.digest()


class ResponseStore:
    """Responses by key.

    Args:
        path: The SQLite file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_database(path, SCHEMA)

    def __repr__(self) -> str:
        return f"ResponseStore({str(self.path)!r})"

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._db.close()

    def _select(self, columns: str, keys: Sequence[bytes]) -> Iterator[Any]:
        """Yield the rows under `keys`; SQLite takes a limited number of them in one query."""
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            query = f"SELECT {columns} FROM responses WHERE key IN ({','.join('?' * len(chunk))})"
            with explained(self.path):
                rows = self._db.execute(query, chunk).fetchall()
            yield from rows

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, tuple[Response | Failure, float]]:
        """Return what is stored under `keys`, each with its cost in US dollars."""
        rows = self._select("rowid, key, body, cost_usd", keys)
        return {
            key: (decoded(body, where := f"{self.path}, row {row}"), shaped(cost, Dollars, where))
            for row, key, body, cost in rows
        }

    def dates(self, keys: Sequence[bytes]) -> dict[bytes, float]:
        """Return when what is stored under `keys` was committed, seconds since the epoch."""
        rows = self._select("rowid, key, created", keys)
        return {key: shaped(created, float, f"{self.path}, row {row}") for row, key, created in rows}

    def put(self, key: bytes, answer: Response | Failure, cost_usd: float, note: int = 0) -> bool:
        """Commit `answer` and take the note of its call back; the first answer under a key stays.

        Args:
            key: As `response_key` gives it.
            answer: What came.
            cost_usd: What it cost.
            note: What `open_call` returned, if it was called.

        Returns:
            Whether it is the first. What a further answer cost stays noted, as that was spent too.

        Raises:
            ValueError: The answer holds what JSON cannot (a lone surrogate, a huge number).
            UserError: The file cannot be written.
        """
        try:
            row = (key, _encode(answer), cost_usd, time.time())
        except TypeError as error:
            raise ValueError(str(error)) from None
        with explained(self.path):
            if not note:
                return self._db.execute(_INSERT, row).rowcount > 0
            self._db.execute("BEGIN IMMEDIATE")
            try:
                first = self._db.execute(_INSERT, row).rowcount > 0
                if first:
                    self._db.execute("DELETE FROM open_calls WHERE rowid = ?", (note,))
                else:
                    self._db.execute("UPDATE open_calls SET ceiling_usd = ? WHERE rowid = ?", (cost_usd, note))
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            return first

    def open_call(self, key: bytes, ceiling_usd: float) -> int:
        """Note that a call that costs money is about to be sent; return the note's number, never 0."""
        with explained(self.path):
            return (
                self._db.execute("INSERT INTO open_calls VALUES (?, ?, ?)", (key, ceiling_usd, time.time())).lastrowid
                or 0
            )

    def close_call(self, note: int) -> None:
        """Take the note back: the provider refused the call and billed nothing.

        A note that stays (the process was killed, the answer never came) counts at its ceiling for good.
        """
        with explained(self.path):
            self._db.execute("DELETE FROM open_calls WHERE rowid = ?", (note,))

    def spent_usd(self) -> float:
        """Return what all calls of this project have cost, unanswered ones at the most they can have cost.

        Raises:
            UserError: A row holds no amount of money: a budget that rests on it would be a guess.
        """
        total = 0.0
        for table, column in (("responses", "cost_usd"), ("open_calls", "ceiling_usd")):
            query = f"SELECT TOTAL({column}), MIN(rowid) FILTER (WHERE NOT {MONEY.format(column)}) FROM {table}"
            with explained(self.path):
                amount, bad_row = self._db.execute(query).fetchone()
            if bad_row is not None:
                raise DamagedRecord(messages.say("not_money", path=self.path, row=bad_row, column=column))
            total += amount
        return total

    def __len__(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM responses").fetchone()[0])


# The order of the list that stands in `body`. Only ever appended to: older rows are shorter.
_FIELDS = (
    "text",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "tool_calls",
    "logprobs",
    "model",
    "dropped",
    "seconds",
)


_values = attrgetter(*_FIELDS)


def _encode(answer: Response | Failure) -> bytes:
    if isinstance(answer, Failure):
        return orjson.dumps({"failure": [answer.code, answer.message, answer.attempts]})
    return orjson.dumps(_values(answer))


class StoredFailure(TypedDict):
    """How a failure stands in `body`."""

    failure: tuple[str, str, int]


def decoded(body: bytes | str, where: object) -> Response | Failure:
    """Return the answer that a row holds.

    Raises:
        UserError: It holds none; the error names `where`.
    """
    value = parsed(body, object, where)
    if not isinstance(value, list) or not 0 < len(value) <= len(_FIELDS):
        code, message, attempts = shaped(value, StoredFailure, where)["failure"]
        return Failure(code=code, message=message, attempts=attempts)
    return shaped(dict(zip(_FIELDS, value, strict=False)), Response, where)
