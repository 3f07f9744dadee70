"""Every answer that was ever paid for: SQLite in WAL mode, committed the moment it arrives.

Invariants: an answer is written once and never changed (a failure may give way to an answer); a repeat has a key of
its own, so it is never served from another repeat; failures that the same request would meet again are kept, passing
ones are not; an answer and the end of the note that its call was open are one transaction.

A call without an answer costs what the same request costs where it was answered, and until then its ceiling. No stored
cost that is not a number at or above 0 counts: a damaged row neither gives money back nor stops a verb.

A commit survives the death of the process at any point. It does not wait for the disk (`synchronous=NORMAL`):
a power cut can take the last ones, never the file.
"""

import hashlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import fsum
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

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
    ceiling_usd REAL NOT NULL, -- the most that the call can cost: it counts until the same request is answered
    created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS further_answers (
    key BLOB NOT NULL,         -- of a request whose first answer stays
    cost_usd REAL NOT NULL,
    created REAL NOT NULL
);
"""
_CHUNK = 500
_WAIT_S = 60.0
# An answer replaces a failure ("{" is how its body begins, "[" how that of an answer does), and nothing else.
_INSERT = """
INSERT INTO responses VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
SET body = excluded.body, cost_usd = excluded.cost_usd, created = excluded.created
WHERE substr(responses.body, 1, 1) = x'7b' AND substr(excluded.body, 1, 1) = x'5b'
"""
_AMOUNT = "CASE WHEN typeof({0}) IN ('real', 'integer') AND {0} BETWEEN 0 AND 1e300 THEN {0} ELSE 0 END"
_ANSWERED = f"""
SELECT (SELECT TOTAL({_AMOUNT.format("cost_usd")}) FROM responses)
    + (SELECT TOTAL({_AMOUNT.format("cost_usd")}) FROM further_answers)
"""
_UNANSWERED = f"""
SELECT key, {_AMOUNT.format("ceiling_usd")}, substr(body, 1, 1) = x'5b', {_AMOUNT.format("cost_usd")},
       open_calls.created
FROM open_calls LEFT JOIN responses USING (key)
"""


@dataclass(frozen=True, slots=True)
class Expenses:
    """What the calls of a project have cost, US dollars.

    Attributes:
        answered_usd: Calls that were answered.
        unanswered_usd: Calls that were sent and never answered: what the same request cost, or their ceiling.
        n_unanswered: How many these are.
        reserved_usd: Calls that a process which works on the project has in flight, at their ceiling.
    """

    answered_usd: float = 0.0
    unanswered_usd: float = 0.0
    n_unanswered: int = 0
    reserved_usd: float = 0.0

    @property
    def usd(self) -> float:
        """All together."""
        return self.answered_usd + self.unanswered_usd + self.reserved_usd


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


class OpenCall(NamedTuple):
    """A call that was sent and not answered.

    Attributes:
        key: Of its request.
        usd: What it counts, US dollars.
        settled: Whether the same request was answered, whose cost this is; else it is the ceiling.
        created: When it was sent, seconds since the epoch.
    """

    key: bytes
    usd: float
    settled: bool
    created: float


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
        return {key: (_decode(body), _amount(cost)) for key, body, cost in self._select("key, body, cost_usd", keys)}

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
            Whether it is the first. What a further answer cost is kept, as that was spent too.

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
                self._db.execute("DELETE FROM open_calls WHERE rowid = ?", (note,))
                if not first:
                    self._db.execute("INSERT INTO further_answers VALUES (?, ?, ?)", (key, cost_usd, row[-1]))
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
        """Take the note back: the provider refused the call and billed nothing."""
        with self._explained():
            self._db.execute("DELETE FROM open_calls WHERE rowid = ?", (note,))

    def unanswered(self) -> list[OpenCall]:
        """Return the calls that were sent and not answered."""
        with self._explained():
            rows = self._db.execute(_UNANSWERED).fetchall()
        return [
            OpenCall(key, min(ceiling, cost) if answered else ceiling, bool(answered), _amount(created))
            for key, ceiling, answered, cost, created in rows
        ]

    def release(self) -> None:
        """Forget the calls without an answer: whoever calls this knows that they were not billed."""
        with self._explained():
            self._db.execute("DELETE FROM open_calls")

    def spending(self, busy_since: float | None = None) -> Expenses:
        """Return what all calls of this project have cost.

        Args:
            busy_since: When another process began to work on the project: what it sent since may still be answered.
        """
        with self._explained():
            answered = float(self._db.execute(_ANSWERED).fetchone()[0])
        calls = self.unanswered()
        cut_off = [call.usd for call in calls if busy_since is None or call.created < busy_since]
        return Expenses(answered, fsum(cut_off), len(cut_off), fsum(call.usd for call in calls) - fsum(cut_off))

    def spent_usd(self) -> float:
        """Return what all calls of this project have cost, unanswered ones included."""
        return self.spending().usd

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


def _amount(value: Any) -> float:
    """Return a cost as it counts: 0 for what is not a number at or above 0."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1e300 else 0.0


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
