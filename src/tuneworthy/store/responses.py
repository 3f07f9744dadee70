"""Every answer that was ever paid for: SQLite in WAL mode, committed the moment it arrives.

Invariants: a key is written once and never changed; a repeat has a key of its own, so it is never served
from another repeat; failures that the same request would meet again are kept, passing ones are not.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.types import Failure, Response, canonical

SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    key BLOB PRIMARY KEY,      -- BLAKE2b-128 of identity, request and repeat
    body BLOB NOT NULL,        -- JSON: a response, or {"failure": ...}
    cost_usd REAL NOT NULL,
    created REAL NOT NULL      -- seconds since the epoch
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spending (
    created REAL NOT NULL,
    cost_usd REAL NOT NULL,    -- upper bound of a call whose answer never came
    reason TEXT NOT NULL
);
"""
_CHUNK = 500


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
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=60.0)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._db.close()

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, tuple[Response | Failure, float]]:
        """Return what is stored under `keys`, each with its cost in US dollars."""
        found: dict[bytes, tuple[Response | Failure, float]] = {}
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            rows = self._db.execute(f"SELECT key, body, cost_usd FROM responses WHERE key IN ({marks})", chunk)
            for key, body, cost in rows:
                found[key] = (_decode(body), cost)
        return found

    def put(self, key: bytes, answer: Response | Failure, cost_usd: float) -> None:
        """Commit `answer`; the first answer under a key stays."""
        self._db.execute(
            "INSERT OR IGNORE INTO responses VALUES (?, ?, ?, ?)", (key, _encode(answer), cost_usd, time.time())
        )

    def lose(self, cost_usd: float, reason: str) -> None:
        """Note money that may have been spent on a call whose answer never came."""
        self._db.execute("INSERT INTO spending VALUES (?, ?, ?)", (time.time(), cost_usd, reason))

    def spent_usd(self) -> float:
        """Return what all calls of this project have cost, lost ones included at their upper bound."""
        query = "SELECT (SELECT TOTAL(cost_usd) FROM responses) + (SELECT TOTAL(cost_usd) FROM spending)"
        return float(self._db.execute(query).fetchone()[0])

    def __len__(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM responses").fetchone()[0])


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


def _encode(answer: Response | Failure) -> bytes:
    if isinstance(answer, Failure):
        return orjson.dumps({"failure": [answer.code, answer.message, answer.attempts]})
    return orjson.dumps([getattr(answer, name) for name in _FIELDS])


def _decode(body: bytes) -> Response | Failure:
    value = orjson.loads(body)
    if isinstance(value, dict):
        code, message, attempts = value["failure"]
        return Failure(code=code, message=message, attempts=attempts)
    fields = dict(zip(_FIELDS, value, strict=True))
    for name in ("tool_calls", "dropped"):
        fields[name] = tuple(fields[name])
    if fields["logprobs"] is not None:
        fields["logprobs"] = tuple(fields["logprobs"])
    return Response(**fields)
