"""Every answer that was ever paid for: SQLite in WAL mode, committed the moment it arrives.

Invariants: a key is written once and never changed; a repeat has a key of its own, so it is never served
from another repeat; failures that the same request would meet again are kept, passing ones are not; an answer
and the end of the note that its call was open are one transaction.

A commit survives the death of the process at any point. It does not wait for the disk (`synchronous=NORMAL`):
a power cut can take the last ones, never the file.
"""

import hashlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.errors import UserError
from tuneworthy.redaction import redact_json
from tuneworthy.store import messages
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
_CHUNK = 500
_WAIT_S = 60.0
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
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=_WAIT_S)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def __repr__(self) -> str:
        return f"ResponseStore({str(self.path)!r})"

    def _prepare(self) -> None:
        """Set the file up; the switch to WAL does not wait for another process, so this does."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what can go wrong with a file into an error that the user can act on."""
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            failure = messages.say("store_unavailable", path=self.path, error=error)
            raise UserError(failure, hint=messages.say("check_disk")) from error
        except sqlite3.DatabaseError as error:
            failure = messages.say("store_broken", path=self.path, error=error)
            raise UserError(failure, hint=messages.say("recover_store")) from error

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._db.close()

    def _select(self, columns: str, keys: Sequence[bytes]) -> Iterator[Any]:
        """Yield the rows under `keys`; SQLite takes a limited number of them in one query."""
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            query = f"SELECT {columns} FROM responses WHERE key IN ({','.join('?' * len(chunk))})"
            with self._explained():
                rows = self._db.execute(query, chunk).fetchall()
            yield from rows

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, tuple[Response | Failure, float]]:
        """Return what is stored under `keys`, each with its cost in US dollars."""
        return {key: (_decode(body), cost) for key, body, cost in self._select("key, body, cost_usd", keys)}

    def dates(self, keys: Sequence[bytes]) -> dict[bytes, float]:
        """Return when what is stored under `keys` was committed, seconds since the epoch."""
        return dict(self._select("key, created", keys))

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
            row = (key, redact_json(_encode(answer)), cost_usd, time.time())
        except TypeError as error:
            raise ValueError(str(error)) from None
        with self._explained():
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
        with self._explained():
            return (
                self._db.execute("INSERT INTO open_calls VALUES (?, ?, ?)", (key, ceiling_usd, time.time())).lastrowid
                or 0
            )

    def close_call(self, note: int) -> None:
        """Take the note back: the provider refused the call and billed nothing.

        A note that stays (the process was killed, the answer never came) counts at its ceiling for good.
        """
        with self._explained():
            self._db.execute("DELETE FROM open_calls WHERE rowid = ?", (note,))

    def spent_usd(self) -> float:
        """Return what all calls of this project have cost, unanswered ones at the most they can have cost."""
        query = "SELECT (SELECT TOTAL(cost_usd) FROM responses) + (SELECT TOTAL(ceiling_usd) FROM open_calls)"
        with self._explained():
            return float(self._db.execute(query).fetchone()[0])

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


_LISTS = ("tool_calls", "dropped", "logprobs")
_values = attrgetter(*_FIELDS)


def _encode(answer: Response | Failure) -> bytes:
    if isinstance(answer, Failure):
        return orjson.dumps({"failure": [answer.code, answer.message, answer.attempts]})
    return orjson.dumps(_values(answer))


def _decode(body: bytes) -> Response | Failure:
    value = orjson.loads(body)
    if isinstance(value, dict):
        code, message, attempts = value["failure"]
        return Failure(code=code, message=message, attempts=attempts)
    fields = dict(zip(_FIELDS, value, strict=False))
    for name in _LISTS:
        if fields.get(name) is not None:
            fields[name] = tuple(fields[name])
    return Response(**fields)
