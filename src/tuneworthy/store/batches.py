"""Batches at a provider that this project has not read yet, with their requests: any later process can read them.

Invariant: a batch is written down, and its calls are open in the store, before it is created. Its calls are those with
its time; when the last one has ended, its files are removed.
"""

from collections.abc import Iterable
from pathlib import Path

import orjson

from tuneworthy.redaction import redact_json
from tuneworthy.store.folder import write_atomic
from tuneworthy.store.lines import read_lines
from tuneworthy.store.shapes import parsed
from tuneworthy.types import Request, frozen


@frozen
class OpenBatch:
    """A batch.

    Attributes:
        token: Part of the id of each request.
        model: Key of `[models]`.
        endpoint: Path that answers the requests.
        n: Number of requests.
        created: When it was written down, seconds since the epoch: the time of its open calls.
        address: Provider, model and server that it was sent to.
        id: At the provider; "" until that is known.
    """

    token: str
    model: str
    endpoint: str
    n: int
    created: float
    address: str = ""
    id: str = ""


class BatchFolder:
    """The files of open batches.

    Args:
        store: The folder `.tuneworthy`.
    """

    def __init__(self, store: Path) -> None:
        self.path = store / "batches"

    def all(self) -> list[OpenBatch]:
        """Return the open batches, the oldest first.

        Raises:
            UserError: A record is damaged.
        """
        return sorted(
            (parsed(path.read_bytes(), OpenBatch, path) for path in self.path.glob("*.json")),
            key=lambda batch: batch.created,
        )

    def write(self, batch: OpenBatch) -> None:
        write_atomic(self.path / f"{Path(batch.token).name}.json", orjson.dumps(batch))

    def write_requests(self, token: str, requests: Iterable[tuple[bytes, Request]]) -> None:
        rows = (orjson.dumps([key.hex(), request], option=orjson.OPT_APPEND_NEWLINE) for key, request in requests)
        write_atomic(self._requests(token), map(redact_json, rows))

    def requests(self, token: str) -> dict[bytes, Request]:
        """Return the requests of a batch by key.

        Raises:
            UserError: The file is missing or damaged.
        """
        return {bytes.fromhex(key): one for key, one in read_lines(self._requests(token), tuple[str, Request])}

    def end(self, token: str) -> None:
        """Remove the files of a batch, the record last."""
        for ending in ("requests.jsonl", "in.jsonl", "out.jsonl", "json"):
            (self.path / f"{Path(token).name}.{ending}").unlink(missing_ok=True)

    def _requests(self, token: str) -> Path:
        return self.path / f"{Path(token).name}.requests.jsonl"
