"""Batch interfaces of three vendors: many requests at once, answered within a day and at a lower price.

A batch is created once, has a state, and ends with lines of results in any order, which are read from a file. For a
vLLM server, the requests are a file as well: the user runs `vllm run-batch`. Nothing is retried here.

Source: types/batch.py of OpenAI's and types/messages/message_batch.py of Anthropic's Python SDK;
https://docs.vllm.ai/en/latest/examples/offline_inference/openai_batch.html
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import orjson
from pydantic import AliasChoices, AliasPath, Field, ValidationError

from tuneworthy.providers.base import Provider
from tuneworthy.providers.http_client import Method, ServedProvider
from tuneworthy.providers.usage import WireModel, mapping, token_count
from tuneworthy.store.folder import write_atomic
from tuneworthy.types import JsonMapping, NamedInts, NamedTexts, Request, TextTuple

# Limit of an upload, of the creation of a batch and of a download, seconds.
TRANSFER_S = 900.0
# Time after which a file of results that has too few lines counts as written, seconds.
COPY_S = 60.0
# Largest file of results that is read, bytes.
MAX_RESULTS = 2**30
# OpenAI's code for a batch with more tokens than its queue has room for.
QUEUE_IS_FULL = "token_limit_exceeded"
_BOUNDARY = "tuneworthy-7c0c5a0f4d0e4c1b"


class BatchState(WireModel):
    """A batch at its vendor, in the fields of OpenAI or Anthropic."""

    id: str
    status: str = Field(validation_alias=AliasChoices("status", "processing_status"))
    created_at: datetime = datetime.fromtimestamp(0, UTC)
    request_counts: Any = None
    metadata: Any = None
    errors: Any = None
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def counts(self) -> NamedInts:
        """Numbers of requests by state; OpenAI adds their total."""
        return {name: n for name, n in mapping(self.request_counts).items() if token_count(n)}

    @property
    def done(self) -> int:
        """Number of requests that have ended."""
        return sum(n for name, n in self.counts.items() if name not in {"total", "processing"})

    @property
    def ended(self) -> bool:
        """Whether there are results."""
        return self.whole or self.status in {"expired", "cancelled"}

    @property
    def whole(self) -> bool:
        """Whether every request was run, so that a missing result is lost."""
        return self.status in {"completed", "ended"}

    @property
    def faults(self) -> NamedTexts:
        """Reasons by code why it was refused as a whole; empty if it was not."""
        rows = _rows(self.errors) or [{"message": "the provider gives no reason"}]
        said = {str(mapping(row).get("code")): str(mapping(row).get("message")) for row in rows}
        return said if self.status == "failed" else {}

    @property
    def files(self) -> TextTuple:
        """Ids of OpenAI's files of results."""
        return (*filter(None, (self.output_file_id, self.error_file_id)),)

    @property
    def lacks_file(self) -> bool:
        """Whether it has ended with results whose file is not there yet."""
        n_failed, lacks_output = self.counts.get("failed"), "completed" in self.counts and not self.output_file_id
        return self.ended and bool(lacks_output or (n_failed and not self.files))


class BatchResult(WireModel):
    """One line of the results, in the fields of OpenAI or Anthropic.

    Attributes:
        custom_id: As it was sent; to be matched, not trusted.
    """

    custom_id: str
    status: Any = Field(
        None, validation_alias=AliasChoices(AliasPath("response", "status_code"), AliasPath("result", "type"))
    )
    body: Any = Field(
        None, validation_alias=AliasChoices(AliasPath("response", "body"), AliasPath("result", "message"))
    )
    error: Any = Field(None, validation_alias=AliasChoices(AliasPath("result", "error", "error"), "error"))

    @property
    def answer(self) -> JsonMapping | None:
        """What a single call would return; None if the request failed or was not run."""
        return mapping(self.body) if self.status in (200, "succeeded") else None

    @property
    def reason(self) -> str:
        """Why there is no answer."""
        said = mapping(self.error) or mapping(mapping(self.body).get("error"))
        return str(said.get("message") or said or self.status)


class BatchApi:
    """The batch interface of one model's provider: ``POST /files``, ``POST /batches``, and files of results.

    Args:
        provider: Of the model.
        folder: Where the files are.

    Attributes:
        max_requests: In a batch: the least limit of a vendor.
        max_bytes: Of its lines. OpenAI takes 200 MB and Anthropic 256; a batch must fit into memory several times.
        path: Of the batches.
        cursor: Name of the parameter for the next page of a list.
        names_token: Whether a listed batch names its token; else its results do.
        offline: Whether the user has to run it.
    """

    max_requests: ClassVar[int] = 50_000
    max_bytes: ClassVar[int] = 64_000_000
    path: ClassVar[str] = "batches"
    cursor: ClassVar[str] = "after"
    names_token: ClassVar[bool] = True
    offline: ClassVar[bool] = False

    def __init__(self, provider: ServedProvider, folder: Path) -> None:
        self.provider, self.http, self.folder = provider, provider.http, folder

    def endpoint(self, request: Request) -> str:
        return f"/v1/{self.provider.protocol(request).path}"

    def line(self, custom_id: str, request: Request) -> bytes:
        """Return the JSON of a request.

        Raises:
            ProviderError: It cannot be sent.
        """
        body, url = self.provider.body(request)[0], self.endpoint(request)
        return orjson.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})

    async def upload(self, token: str, lines: bytearray) -> Any:
        """Send the requests ahead, if that is a step of its own; return what `create` needs."""
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{_BOUNDARY}\r\n'
            f'Content-Disposition: form-data; name="file"; filename="{token}.jsonl"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        content = b"".join([head.encode(), lines, f"\r\n--{_BOUNDARY}--\r\n".encode()])
        made = await self._send("POST", "files", content, kind=f"multipart/form-data; boundary={_BOUNDARY}")
        return str(mapping(made).get("id"))

    async def create(self, token: str, endpoint: str, uploaded: Any) -> str:
        """Create a batch and return its id.

        Raises:
            ProviderError: It was refused; unless the error is retryable, no batch was created.
        """
        about = {"completion_window": "24h", "metadata": {"token": token}}
        return self._state(
            await self._send("POST", self.path, {"input_file_id": uploaded, "endpoint": endpoint, **about})
        ).id

    async def state(self, identity: str) -> BatchState:
        return self._state(await self._send("GET", self._path(identity)))

    async def cancel(self, identity: str) -> None:
        """End a batch early; results that are there stay."""
        await self._send("POST", f"{self._path(identity)}/cancel", {})

    async def listed(self, since: float) -> list[BatchState]:
        """Return the batches that were created since a time, seconds since the epoch; the newest are listed first."""
        found: dict[str, BatchState] = {}
        page: JsonMapping = {"has_more": True}
        more, oldest = "", since
        while page.get("has_more") and oldest >= since:
            page = mapping(await self._send("GET", f"{self.path}?limit=100{more}"))
            fresh = {state.id: state for state in map(self._state, _rows(page)) if state.id not in found}
            found |= fresh
            more = f"&{self.cursor}={quote(next(reversed(found), ''), safe='')}"
            oldest = min((state.created_at.timestamp() for state in fresh.values()), default=0.0)
        return [state for state in found.values() if state.created_at.timestamp() >= since]

    async def fetch(self, state: BatchState, token: str) -> None:
        """Write the lines of a batch that has ended to the file of its results.

        Raises:
            ProviderError: A file is missing or broken off.
        """
        with self.file(token, "out").open("wb") as file:
            for path in self._results(state):
                await self._send("GET", path, into=file)
                file.write(b"\n")

    def results(self, token: str) -> Iterator[BatchResult | None]:
        """Yield the lines of the file of results; None for a line that cannot be read."""
        with self.file(token, "out").open("rb") as file:
            for line in filter(bytes.strip, file):
                try:
                    yield BatchResult.model_validate(orjson.loads(line))  # numbers as in a single answer
                except ValueError:
                    yield None

    def command(self, token: str) -> str:
        """Return the command that runs a batch which the user has to run."""
        name, files = self.provider.identity["model"], (self.file(token, "in"), self.file(token, "out"))
        return f"vllm run-batch -i {files[0]} -o {files[1]} --model {name}"

    def file(self, token: str, kind: Literal["in", "out"]) -> Path:
        """Return the path of the requests or the results of a batch."""
        return self.folder / f"{token}.{kind}.jsonl"

    def _results(self, state: BatchState) -> list[str]:
        return [f"files/{quote(name, safe='')}/content" for name in state.files]

    def _path(self, identity: str) -> str:
        return f"{self.path}/{quote(identity, safe='')}"

    async def _send(self, method: Method, path: str, content: Any = None, **options: Any) -> Any:
        answer = await self.http.send(method, path, content, max_body=MAX_RESULTS, timeout_s=TRANSFER_S, **options)
        return None if answer.accepted and "into" in options else self.http.read(answer)

    def _state(self, value: Any) -> BatchState:
        try:
            return BatchState.model_validate(value)
        except ValidationError as error:
            raise self.http.unreadable("a batch with a status", mapping(value), error) from None


class AnthropicBatches(BatchApi):
    """``POST /v1/messages/batches``; the ids of the results name the batch, as nothing else does."""

    path = "v1/messages/batches"
    cursor = "after_id"
    names_token = False

    def line(self, custom_id: str, request: Request) -> bytes:
        return orjson.dumps({"custom_id": custom_id, "params": self.provider.body(request)[0]})

    async def upload(self, token: str, lines: bytearray) -> bytes:
        return b"".join([b'{"requests":[', lines[:-1].replace(b"\n", b","), b"]}"])

    async def create(self, token: str, endpoint: str, uploaded: bytes) -> str:
        return self._state(await self._send("POST", self.path, uploaded, kind="application/json")).id

    def _results(self, state: BatchState) -> list[str]:
        return [f"{self._path(state.id)}/results"]


class VllmBatches(BatchApi):
    """Files for `vllm run-batch`, which reads OpenAI's lines and loads the model itself."""

    offline = True

    async def upload(self, token: str, lines: bytearray) -> bytes:
        return bytes(lines)

    async def create(self, token: str, endpoint: str, uploaded: bytes) -> str:
        write_atomic(self.file(token, "in"), uploaded)
        return token

    async def state(self, identity: str) -> BatchState:
        results, ended = self.file(identity, "out"), False
        if results.is_file() and any(self.results(identity)):  # it may still be written
            n, written = (path.read_bytes().count(b"\n") for path in (self.file(identity, "in"), results))
            ended = written >= n or time() - results.stat().st_mtime > COPY_S
        # A missing line was not paid for.
        return self._state(
            {"id": identity, "status": "cancelled" if ended else "in_progress", "metadata": {"token": identity}}
        )

    async def fetch(self, state: BatchState, token: str) -> None: ...

    async def cancel(self, identity: str) -> None: ...

    async def listed(self, since: float) -> list[BatchState]:
        return [await self.state(path.name.removesuffix(".in.jsonl")) for path in self.folder.glob("*.in.jsonl")]


def _rows(value: object) -> list[Any]:
    rows = mapping(value).get("data")
    return rows if isinstance(rows, list) else []


VENDORS = {"openai": BatchApi, "anthropic": AnthropicBatches, "vllm": VllmBatches}


def batch_api(provider: Provider, folder: Path) -> BatchApi | None:
    """Return the batch interface of a provider; None if it has no such interface."""
    vendor = VENDORS.get(str(provider.identity.get("provider")))
    return vendor(provider, folder) if vendor and isinstance(provider, ServedProvider) else None
