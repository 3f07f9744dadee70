"""`record --upstream`: the recorder in the place of the candidate of `shadow proxy`."""

import asyncio
from collections import Counter

from tuneworthy.calls.recorder import CallSource
from tuneworthy.calls.rows import exchange_row
from tuneworthy.shadow.copies import MOST_BYTES, CopyHead
from tuneworthy.shadow.protocols import unpacked
from tuneworthy.store.lines import exclusive
from tuneworthy.types import JsonObject


class ProxyCalls:
    """Records the copies of a proxy, as a `CopySink`.

    Args:
        source: Gets the calls.

    Attributes:
        upstream: Address of the API, without `/v1`.
    """

    upstream = ""
    in_flight, usd, ready, enough, verdict, alert, redacts = 0, 0.0, True, "", "", False, True

    def __init__(self, source: CallSource) -> None:
        self.source = source

    @property
    def counts(self) -> Counter[str]:
        return self.source.recorder.counts

    def start(self) -> None:
        """Check that the file can be written."""
        with exclusive(self.source.recorder.path, mode=0o600):
            pass

    def offer(self, head: CopyHead, request: bytes, answer: bytes) -> None:
        def row() -> JsonObject:
            body = unpacked(answer, head.encoding, 8 * MOST_BYTES)
            return self.source.head(head.seconds) | exchange_row(
                self.upstream + head.path, request, body, streamed=head.streamed, keys=head.keys
            )

        self.source.recorder.put(self.source.name, len(request) + len(answer), row)

    def pass_by(self, why: str) -> None:
        self.count(why)

    def count(self, outcome: str, n: int = 1) -> None:
        for _ in range(n):
            self.source.recorder.skip(self.source.name, outcome.replace("_", " "))

    async def close(self) -> None:
        """Write the calls that wait."""
        await asyncio.to_thread(self.source.recorder.flush)
