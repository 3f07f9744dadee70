"""Stored results of searches, so that a run that goes on shows the same passages.

Invariant: the key contains all inputs of a result (the search, the documents' hash, the question).
"""

import sqlite3
from pathlib import Path

import orjson

from tuneworthy.store.database import explained, open_database
from tuneworthy.store.shapes import parsed
from tuneworthy.types import JsonMapping, JsonObject, Texts

SCHEMA = "CREATE TABLE IF NOT EXISTS searches (key TEXT PRIMARY KEY, found BLOB NOT NULL) WITHOUT ROWID;"
_FIND = "SELECT key, found FROM searches WHERE key IN (SELECT value FROM json_each(?))"


class SearchStore:
    """Results by key, in a SQLite file.

    Args:
        path: The file; created when a result is first stored.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: sqlite3.Connection | None = None

    def get(self, keys: Texts) -> JsonObject:
        if self._open is None and not self._path.exists():
            return {}
        with explained(self._path):
            rows = self._connection().execute(_FIND, [orjson.dumps(keys).decode()])
            return {key: parsed(content, object, f"{self._path}, row {key}") for key, content in rows}

    def put(self, results: JsonMapping) -> None:
        rows = [(key, orjson.dumps(content)) for key, content in results.items()]
        with explained(self._path), self._connection() as connection:
            connection.executemany("INSERT OR IGNORE INTO searches VALUES (?, ?)", rows)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            self._open = open_database(self._path, SCHEMA, any_thread=True)
        return self._open
