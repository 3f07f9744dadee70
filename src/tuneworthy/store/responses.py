"""Every answer that was ever paid for: SQLite in WAL mode, committed the moment it arrives.

Invariants: an answer is written once and never changed (a failure may give way to an answer); a repeat has a key of
its own, so it is never served from another repeat; failures that the same request would meet again are kept, passing
failures are not; an answer and the end of the note that its call was open are one transaction.

A call without an answer costs as much as the same request with an answer, and until then its ceiling. A stored
cost that is not a number at or above 0 is a damaged row: `doctor` repairs it.

Each body ends with a mark of who measured it (`signatures`), over its key, answer, cost and time: an answer that
another machine measured, or that was changed, is neither used nor requested again until the user chooses.

A commit survives the death of the process at any point. It does not wait for the disk (`synchronous=NORMAL`),
except for that of a batch: a power cut can lose the last rows, never the file.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from math import fsum
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, NotRequired

import orjson
from typing_extensions import TypedDict

from tuneworthy.redaction import redact_json
from tuneworthy.store.batches import BatchFolder
from tuneworthy.store.database import explained, open_database
from tuneworthy.store.shapes import DamagedRecord, parsed, shaped
from tuneworthy.store.signatures import UNSIGNED, Keyring, MeasuredElsewhere, parts_of
from tuneworthy.types import MAX_AMOUNT, Answer, Dollars, Failure, JsonMapping, NamedInts, Response, canonical

SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    key BLOB PRIMARY KEY,      -- BLAKE2b-128 of identity, request and repeat
    body BLOB NOT NULL,        -- JSON: a response, or {"failure": ...}; a line break, and its mark
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
# What SQLite takes for an amount of money; NaN is no number there, and a text compares as larger than any.
MONEY = f"(typeof({{0}}) IN ('real', 'integer') AND {{0}} >= 0 AND {{0}} < {MAX_AMOUNT})"
_CHUNK = 500
# An answer replaces a failure ("{" is how its body begins, "[" how that of an answer does), and nothing else.
_REPLACE = """
ON CONFLICT (key) DO UPDATE
SET body = excluded.body, cost_usd = excluded.cost_usd, created = excluded.created
WHERE substr(responses.body, 1, 1) = x'7b' AND substr(excluded.body, 1, 1) = x'5b'
"""
_INSERT = f"INSERT INTO responses VALUES (?, ?, ?, ?) {_REPLACE}"
_UNANSWERED = """
SELECT key, ceiling_usd, substr(body, 1, 1) = x'5b', cost_usd, open_calls.created
FROM open_calls LEFT JOIN responses USING (key)
"""
_ELSEWHERE = "WHERE origin(body, key, cost_usd, created) != ''"
# No signer is named like the origin of rows without a valid signature, which may hold anything.
_ACCEPT = f"""
UPDATE responses SET body = sealed(body, key, cost_usd, created)
WHERE origin(body, key, cost_usd, created) = ?1 AND ?1 != '{UNSIGNED}'
"""
_SET_ASIDE = f"""
INSERT INTO further_answers SELECT key, cost_usd, created FROM responses {_ELSEWHERE};
DELETE FROM responses {_ELSEWHERE};
"""
# Rows differ in their key and time, so that a merge may be repeated. A further answer to a request costs as well. An
# open call that an earlier merge took from the shard has gone there since: it was answered.
_MERGE = f"""
BEGIN IMMEDIATE;
DELETE FROM open_calls WHERE created >= %r AND key IN (SELECT key FROM shard.responses)
AND (key, created) NOT IN (SELECT key, created FROM shard.open_calls);
INSERT INTO responses SELECT * FROM shard.responses WHERE TRUE {_REPLACE};
INSERT INTO further_answers
SELECT key, cost_usd, created FROM shard.further_answers
UNION SELECT key, one.cost_usd, one.created FROM shard.responses AS one JOIN responses AS first USING (key)
WHERE one.cost_usd > 0 AND one.created != first.created
EXCEPT SELECT key, cost_usd, created FROM further_answers;
INSERT INTO open_calls
SELECT key, ceiling_usd, created FROM shard.open_calls EXCEPT SELECT key, ceiling_usd, created FROM open_calls;
COMMIT;
"""
AMOUNTS = {"responses": "cost_usd", "further_answers": "cost_usd", "open_calls": "ceiling_usd"}


@dataclass(frozen=True, slots=True)
class Expenses:
    """Cost of the calls of a project, US dollars.

    Attributes:
        answered_usd: Calls that were answered.
        unanswered_usd: Calls that were sent and never answered: the cost of the same request, or their ceiling.
        n_unanswered: How many these are.
        reserved_usd: Calls that a process which works on the project has in flight, at their ceiling.
    """

    answered_usd: float = 0.0
    unanswered_usd: float = 0.0
    n_unanswered: int = 0
    reserved_usd: float = 0.0

    @property
    def usd(self) -> float:
        return self.answered_usd + self.unanswered_usd + self.reserved_usd


def response_key(identity: bytes, request: JsonMapping, repeat: int) -> bytes:
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
        usd: Its amount, US dollars.
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
        any_thread: See `open_database`.
    """

    def __init__(self, path: Path, *, any_thread: bool = False) -> None:
        self.path = path
        self._db = open_database(path, SCHEMA, any_thread=any_thread)
        self._keyring = Keyring()
        for function in (self._keyring.origin, self._keyring.sealed):
            self._db.create_function(function.__name__, 4, function)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._db.close()

    def _select(self, columns: str, keys: Sequence[bytes]) -> Iterator[Any]:
        """Yield the rows under `keys`; SQLite limits the number of keys in one query."""
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            yield from self._rows(
                f"SELECT {columns} FROM responses WHERE key IN ({','.join('?' * len(chunk))})", *chunk
            )

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        with explained(self.path):
            return self._db.execute(statement, values).fetchall()

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, tuple[Answer, float]]:
        """Return the answers under `keys`, each with its cost in US dollars.

        Raises:
            MeasuredElsewhere: The user has to accept some answers first, or to measure them again.
        """
        found, origins = {}, Counter[str]()
        for row, key, body, cost, created in self._select("rowid, key, body, cost_usd, created", keys):
            found[key] = (decoded(body, where := f"{self.path}, row {row}"), shaped(cost, Dollars, where))
            origins[self._keyring.origin(body, key, cost, created)] += 1
        del origins[""]
        if origins:
            raise MeasuredElsewhere(origins)
        return found

    def measured_elsewhere(self) -> NamedInts:
        """Return the numbers of answers that the user has not accepted, by the key that signed them."""
        return dict(
            self._rows(f"SELECT origin(body, key, cost_usd, created), COUNT(*) FROM responses {_ELSEWHERE} GROUP BY 1")
        )

    def accept(self, signer: str) -> int:
        """Seal the answers that the key `signer` signed so far, and return their number.

        Raises:
            UserError: The user has no key, or the file cannot be written.
        """
        self.require_key()
        with explained(self.path):
            return self._db.execute(_ACCEPT, (signer,)).rowcount

    def set_aside(self) -> int:
        """Remove the answers that the user has not accepted, so that they are requested again; their cost counts.

        Returns:
            Their number.
        """
        before = len(self)
        with explained(self.path):
            self._db.executescript(f"BEGIN IMMEDIATE; {_SET_ASIDE} COMMIT;")
        return before - len(self)

    def dates(self, keys: Sequence[bytes]) -> dict[bytes, float]:
        """Return the commit times of the answers under `keys`, seconds since the epoch."""
        return {
            key: shaped(created, float, f"{self.path}, row {row}")
            for row, key, created in self._select("rowid, key, created", keys)
        }

    def put(self, key: bytes, answer: Answer, cost_usd: float, note: int = 0) -> bool:
        """Commit `answer` and take the note of its call back; the first answer under a key stays.

        Args:
            key: As `response_key` gives it.
            answer: What came.
            cost_usd: Its cost.
            note: What `open_call` returned, if it was called.

        Returns:
            Whether it is the first. The cost of a further answer is kept, as it was spent too.

        Raises:
            ValueError: The answer cannot be written as JSON (a lone surrogate, a huge number).
            UserError: The file cannot be written.
        """
        return self.put_many([(key, answer, cost_usd, note)])[0]

    def put_many(self, answers: Iterable[tuple[bytes, Answer, float, int]]) -> list[bool]:
        """Commit answers, and take the notes of their calls back, in one transaction (see `put`)."""
        rows, first = [], []
        for key, answer, cost_usd, note in answers:
            try:
                content, created = redact_json(encoded(answer)), time.time()
            except TypeError as error:
                raise ValueError(str(error)) from None
            body = self._keyring.signed(content, key, float(cost_usd), created)
            rows.append((note, (key, body, cost_usd, created)))
        with explained(self.path), self._db:  # commits, or rolls back
            if any(note for note, _ in rows):
                self._db.execute("BEGIN IMMEDIATE")
            for note, row in rows:
                if note:
                    self._db.execute("DELETE FROM open_calls WHERE rowid = ?", (note,))
                first.append(self._db.execute(_INSERT, row).rowcount > 0)
                if note and not first[-1]:
                    self._db.execute("INSERT INTO further_answers VALUES (?, ?, ?)", (row[0], *row[2:]))
        return first

    def merge(self, path: Path, since: float = MAX_AMOUNT) -> list[bytes]:
        """Add the rows of another store, as they are: answers, costs and open calls; rows that are here stay.

        A merge may be repeated. No process may write to the other store meanwhile. Answers that the user has not
        accepted are refused where they are read.

        Args:
            path: File of the other store.
            since: Open calls of the same requests that are younger come from that store, seconds since the epoch.

        Returns:
            The keys of the calls that it gave up.

        Raises:
            UserError: A file is damaged, or cannot be read or written.
        """
        with closing(ResponseStore(path)) as other:
            other.spending()  # checks the amounts
            failed = [key for (key,) in other._rows("SELECT key FROM responses WHERE substr(body, 1, 1) = x'7b'")]
        self._rows("ATTACH ? AS shard", str(path))
        try:
            with explained(self.path), self._db:  # rolls back where it did not commit
                self._db.executescript(_MERGE % since)
        finally:
            self._rows("DETACH shard")
        return failed

    def require_key(self) -> None:
        """Check that answers can be signed, before calls are sent.

        Raises:
            UserError: The user has no key.
        """
        self._keyring.signed(b"")

    def open_call(self, key: bytes, ceiling_usd: float) -> int:
        """Note that a call that costs money is about to be sent; return the note's number, never 0.

        Raises:
            UserError: The file cannot be written.
        """
        with explained(self.path):
            return (
                self._db.execute("INSERT INTO open_calls VALUES (?, ?, ?)", (key, ceiling_usd, time.time())).lastrowid
                or 0
            )

    def close_call(self, note: int) -> None:
        """Take the note back: the provider refused the call and billed nothing."""
        self._rows("DELETE FROM open_calls WHERE rowid = ?", note)

    def forget(self, key: bytes) -> None:
        """Take back the notes of all calls under a key."""
        self._rows("DELETE FROM open_calls WHERE key = ?", key)

    def open_batch(self, calls: Iterable[tuple[bytes, float]], created: float) -> None:
        """Note that calls are about to be sent together, in one transaction that outlasts a power cut.

        Args:
            calls: Each with its ceiling, US dollars.
            created: Of the batch, seconds since the epoch.
        """
        self._rows("PRAGMA synchronous=FULL")
        with explained(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT INTO open_calls VALUES (?, ?, ?)", ((key, ceiling, created) for key, ceiling in calls)
            )
        self._rows("PRAGMA synchronous=NORMAL")

    def batch_calls(self, created: float) -> dict[bytes, tuple[int, float]]:
        """Return the open calls of a batch by key, each with its note and its ceiling in US dollars."""
        rows = self._rows("SELECT key, rowid, ceiling_usd FROM open_calls WHERE created = ?", created)
        return {key: (note, shaped(ceiling, Dollars, self.path)) for key, note, ceiling in rows}

    def close_batch(self, created: float, doubtful: Iterable[int] = ()) -> None:
        """Take the notes of a batch back; `doubtful` ones may have been billed, and become calls without an answer."""
        with explained(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            now = ((time.time(), note) for note in doubtful)
            self._db.executemany("UPDATE open_calls SET created = ? WHERE rowid = ?", now)
            self._db.execute("DELETE FROM open_calls WHERE created = ?", (created,))

    def in_batches(self, keys: Set[bytes]) -> int:
        """Return how many of `keys` are in a batch that was not read yet."""
        batches = BatchFolder(self.path.parent).all()
        return sum(len(keys & self.batch_calls(batch.created).keys()) for batch in batches)

    def unanswered(self) -> list[OpenCall]:
        return [
            OpenCall(
                key, min(ceiling, cost) if answered else ceiling, bool(answered), shaped(created, float, self.path)
            )
            for key, ceiling, answered, cost, created in self._rows(_UNANSWERED)
        ]

    def release(self) -> None:
        """Forget the calls without an answer: whoever calls this knows that they were not billed."""
        self._rows("DELETE FROM open_calls")

    def spending(self, holder: tuple[str, float, str] | None = None) -> Expenses:
        """Return what all calls of this project have cost.

        Args:
            holder: Another process on the project (see `Folder.holder`): calls since its start may still be answered.

        Raises:
            UserError: A row has no valid amount of money, so the budget would be a guess.
        """
        answered = 0.0
        for table, column in AMOUNTS.items():
            query = f"SELECT TOTAL({column}), MIN(rowid) FILTER (WHERE NOT {MONEY.format(column)}) FROM {table}"
            ((total, bad_row),) = self._rows(query)
            if bad_row is not None:
                raise DamagedRecord(f"{self.path}, row {bad_row}: {column} is not an amount of money.")
            if table != "open_calls":
                answered += total
        calls = self.unanswered()
        cut_off = [call.usd for call in calls if holder is None or call.created < holder[1]]
        return Expenses(answered, fsum(cut_off), len(cut_off), fsum(call.usd for call in calls) - fsum(cut_off))

    def stored_since(self, time: float) -> int:
        """Return how many answers were stored since a time, seconds since the epoch."""
        ((n,),) = self._rows("SELECT COUNT(*) FROM responses WHERE created >= ?", time)
        return int(n)

    def __len__(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM responses").fetchone()[0])


# The order of the list that appears in `body`. Only ever appended to: older rows are shorter.
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
    "label_logprobs",
    "fingerprint",
    "written_tokens",
    "endpoint",
    "price_factor",
)


_values, _failure = attrgetter(*_FIELDS), attrgetter("code", "message", "attempts")


class StoredFailure(TypedDict):
    """How a failure appears in `body`."""

    failure: tuple[str, str, int]
    seconds: NotRequired[float]


def encoded(answer: Answer) -> bytes:
    if isinstance(answer, Response):
        return orjson.dumps(_values(answer))
    return orjson.dumps({"failure": _failure(answer), **({"seconds": answer.seconds} if answer.seconds else {})})


def decoded(body: bytes | str, where: object) -> Answer:
    """Return the answer of a row.

    Raises:
        UserError: It has no answer; the error names `where`.
    """
    value = parsed(parts_of(body)[0], object, where)
    if not isinstance(value, list) or not 0 < len(value) <= len(_FIELDS):
        code, message, attempts = (failed := shaped(value, StoredFailure, where))["failure"]
        return Failure(code=code, message=message, attempts=attempts, seconds=failed.get("seconds", 0.0))
    return shaped(dict(zip(_FIELDS, value, strict=False)), Response, where)
