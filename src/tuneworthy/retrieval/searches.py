"""What was found before, kept: a search that was made is not made again, so that the same passages are shown again.

Invariant: the key holds all that a result hangs on (the search, the documents' hash, the question).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

_SCHEMA = "CREATE TABLE IF NOT EXISTS searches (key TEXT PRIMARY KEY, found BLOB NOT NULL) WITHOUT ROWID"
_MOST_KEYS = 500


class Searches:
    """Results by key, in a SQLite file.

    Args:
        path: The file; made when something is first kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: sqlite3.Connection | None = None

    def get(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return what is kept under `keys`."""
        if self._open is None and not self._path.exists():
            return {}
        found: dict[str, Any] = {}
        for first in range(0, len(keys), _MOST_KEYS):
            some = keys[first : first + _MOST_KEYS]
            marks = ",".join("?" * len(some))
            rows = self._connection().execute(f"SELECT key, found FROM searches WHERE key IN ({marks})", some)
            found |= {key: orjson.loads(content) for key, content in rows}
        return found

    def put(self, found: Mapping[str, Any]) -> None:
        """Keep results, all or none."""
        rows = [(key, orjson.dumps(content)) for key, content in found.items()]
        with self._connection() as connection:
            connection.executemany("INSERT OR IGNORE INTO searches VALUES (?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open = sqlite3.connect(self._path, timeout=60, check_same_thread=False)
            self._open.execute(_SCHEMA)
        return self._open
