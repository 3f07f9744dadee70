"""Batch interfaces of three vendors: many requests at once, answered within a day and at a lower price.

A batch is created once, has a state, and ends with lines of results in any order. For a vLLM server, both files are
local: the user runs `vllm run-batch`. Nothing is retried here.

Source: types/batch.py of OpenAI's and types/messages/message_batch.py of Anthropic's Python SDK;
https://docs.vllm.ai/en/latest/examples/offline_inference/openai_batch.html
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from time import time
from typing import Any, ClassVar
from urllib.parse import quote

import orjson
from pydantic import ValidationError

from tuneworthy.providers.base import Provider
from tuneworthy.providers.http_client import HttpAnswer, Method, ServedProvider
from tuneworthy.providers.usage import WireModel, mapping
from tuneworthy.store.folder import write_atomic
from tuneworthy.types import JsonMapping, Request, TextTuple, positional

# Limit of an upload, of the creation of a batch and of a download, seconds.
TRANSFER_S = 900.0
# Time after which a file of results that has too few lines counts as written, seconds.
COPY_S = 60.0
# Largest file of results that is read, bytes.
MAX_RESULTS = 2**30
_BOUNDARY = "tuneworthy-7c0c5a0f4d0e4c1b"


@positional
class BatchState:
    """A batch at its vendor.

    Attributes:
        id: At the vendor.
        n: Its requests.
        done: Those that have ended, as far as the vendor says.
        created: Seconds since the epoch.
        token: That it was created with; "" if the vendor does not report it.
        ended: Whether there are results.
        whole: Whether every request was run, so that a missing result is lost.
        failed: Why it was refused as a whole.
        files: Ids of the files of results.
        lacks_file: Whether it has ended with results whose file is not there yet.
    """

    id: str
    n: int
    done: int
    created: float
    token: str = ""
    ended: bool = False
    whole: bool = True
    failed: str = ""
    files: TextTuple = ()
    lacks_file: bool = False


@positional
class BatchResult:
    """One line of the results.

    Attributes:
        custom_id: As it was sent; to be matched, not trusted.
        answer: What a single call would return; None if the request failed or was not run.
        error: Why.
    """

    custom_id: str
    answer: JsonMapping | None
    error: str = ""


class BatchApi:
    """The batch interface of one model's provider.

    Args:
        provider: Of the model.
        folder: Where a vendor without an interface has its files.

    Attributes:
        max_requests: In a batch.
        max_bytes: Of its lines.
        names_token: Whether a listed batch names its token; else its results do.
        offline: Whether the user has to run it.
    """

    max_requests: ClassVar[int] = 50_000
    max_bytes: ClassVar[int] = 190_000_000
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

    async def upload(self, token: str, lines: Sequence[bytes]) -> Any:
        """Send the requests ahead, if that is a step of its own; return what `create` needs."""
        return lines

    async def create(self, token: str, endpoint: str, uploaded: Any) -> str:
        """Create a batch and return its id.

        Raises:
            ProviderError: It was refused; unless the error is retryable, no batch was created.
        """
        raise NotImplementedError

    async def state(self, identity: str) -> BatchState:
        raise NotImplementedError

    async def results(self, state: BatchState) -> list[bytes]:
        """Return the lines of a batch that has ended.

        Raises:
            ProviderError: A file is missing or broken off.
        """
        raise NotImplementedError

    def parse(self, line: bytes) -> BatchResult | None:
        """Return a result; None if the line cannot be read."""
        with suppress(ValidationError, orjson.JSONDecodeError):
            found = _FileLine.model_validate(orjson.loads(line))
            response = found.response or _LineResponse()
            if response.status_code == 200 and response.body and not found.error:
                return BatchResult(found.custom_id, response.body)
            said = mapping(found.error) or mapping(mapping(response.body).get("error"))
            return BatchResult(found.custom_id, None, self.http.excerpt(str(said.get("message") or said)))
        return None

    async def cancel(self, identity: str) -> None:
        """End a batch early; results that are there stay."""

    async def listed(self, since: float) -> list[BatchState]:
        """Return the batches that were created since a time, seconds since the epoch."""
        raise NotImplementedError

    async def _json(self, method: Method, path: str, content: Any = None, *, kind: str = "") -> Any:
        return self.http.read(await self._send(method, path, content, kind))

    async def _lines(self, path: str) -> list[bytes]:
        answer = await self._send("GET", path)
        if not answer.accepted:
            self.http.read(answer)
        return answer.body.splitlines()

    async def _send(self, method: Method, path: str, content: Any = None, kind: str = "") -> HttpAnswer:
        return await self.http.send(method, path, content, kind=kind, max_body=MAX_RESULTS, timeout_s=TRANSFER_S)

    def _read(self, shape: type["_VendorBatch"], value: Any) -> BatchState:
        try:
            return shape.model_validate(value).state(self)
        except ValidationError as error:
            raise self.http.unreadable("a batch with a status", mapping(value), error) from None

    async def _pages(self, path: str, shape: type["_VendorBatch"], cursor: str, since: float) -> list[BatchState]:
        """Return the batches of a list whose newest are first, up to the page with one from before `since`."""
        found: dict[str, BatchState] = {}
        more = ""
        while True:
            page = mapping(await self._json("GET", f"{path}?limit=100{more}"))
            states = [self._read(shape, one) for one in page.get("data") or ()]
            fresh = {state.id: state for state in states if state.id not in found}
            found |= fresh
            if not page.get("has_more") or not fresh or min(state.created for state in states) < since:
                return [state for state in found.values() if state.created >= since]
            more = f"&{cursor}={quote(states[-1].id, safe='')}"


class _LineResponse(WireModel):
    status_code: int = 0
    body: Any = None


class _FileLine(WireModel):
    custom_id: str
    response: _LineResponse | None = None
    error: Any = None


class _VendorBatch(WireModel):
    id: str

    def state(self, api: BatchApi) -> BatchState:
        raise NotImplementedError


class _FileBatch(_VendorBatch):
    status: str
    created_at: float = 0.0
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: Any = None
    request_counts: Any = None
    metadata: Any = None

    def state(self, api: BatchApi) -> BatchState:
        counts = mapping(self.request_counts)
        completed, failed = (int(counts.get(name) or 0) for name in ("completed", "failed"))
        faults = mapping(self.errors).get("data") or [{"message": "the provider gives no reason"}]
        reason = api.http.excerpt("; ".join(str(mapping(one).get("message")) for one in faults), 400)
        ended = self.status in {"completed", "expired", "cancelled"}
        files = (*filter(None, (self.output_file_id, self.error_file_id)),)
        token = str(mapping(self.metadata).get("token") or "")
        return BatchState(
            self.id, int(counts.get("total") or 0), completed + failed, self.created_at, token, ended=ended,
            whole=self.status == "completed", failed=reason if self.status == "failed" else "", files=files,
            lacks_file=ended and bool((completed and not self.output_file_id) or (failed and not files)),
        )  # fmt: skip


class OpenAIBatches(BatchApi):
    """``POST /files``, then ``POST /batches``; results in a file of answers and a file of errors."""

    async def upload(self, token: str, lines: Sequence[bytes]) -> str:
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{_BOUNDARY}\r\n'
            f'Content-Disposition: form-data; name="file"; filename="{token}.jsonl"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        content = b"".join([head.encode(), b"\n".join(lines), f"\r\n--{_BOUNDARY}--\r\n".encode()])
        made = await self._json("POST", "files", content, kind=f"multipart/form-data; boundary={_BOUNDARY}")
        return str(mapping(made).get("id"))

    async def create(self, token: str, endpoint: str, uploaded: str) -> str:
        about = {"completion_window": "24h", "metadata": {"token": token}}
        made = await self._json("POST", "batches", {"input_file_id": uploaded, "endpoint": endpoint, **about})
        return self._read(_FileBatch, made).id

    async def state(self, identity: str) -> BatchState:
        return self._read(_FileBatch, await self._json("GET", f"batches/{quote(identity, safe='')}"))

    async def results(self, state: BatchState) -> list[bytes]:
        return [line for name in state.files for line in await self._lines(f"files/{quote(name, safe='')}/content")]

    async def cancel(self, identity: str) -> None:
        await self._json("POST", f"batches/{quote(identity, safe='')}/cancel", {})

    async def listed(self, since: float) -> list[BatchState]:
        return await self._pages("batches", _FileBatch, "after", since)


class _MessageResult(WireModel):
    type: str
    message: Any = None
    error: Any = None


class _MessageLine(WireModel):
    custom_id: str
    result: _MessageResult


class _MessageBatch(_VendorBatch):
    processing_status: str
    created_at: datetime
    request_counts: dict[str, int]

    def state(self, api: BatchApi) -> BatchState:
        n, ended = sum(self.request_counts.values()), self.processing_status == "ended"
        done = n - self.request_counts.get("processing", 0)
        return BatchState(self.id, n, done, self.created_at.timestamp(), ended=ended)


class AnthropicBatches(BatchApi):
    """``POST /v1/messages/batches``; the ids of the results name the batch, as nothing else does."""

    max_requests = 100_000
    max_bytes = 240_000_000
    names_token = False

    def line(self, custom_id: str, request: Request) -> bytes:
        return orjson.dumps({"custom_id": custom_id, "params": self.provider.body(request)[0]})

    async def create(self, token: str, endpoint: str, uploaded: Sequence[bytes]) -> str:
        content = b'{"requests":[' + b",".join(uploaded) + b"]}"
        made = await self._json("POST", "v1/messages/batches", content, kind="application/json")
        return self._read(_MessageBatch, made).id

    async def state(self, identity: str) -> BatchState:
        return self._read(_MessageBatch, await self._json("GET", f"v1/messages/batches/{quote(identity, safe='')}"))

    async def results(self, state: BatchState) -> list[bytes]:
        return await self._lines(f"v1/messages/batches/{quote(state.id, safe='')}/results")

    def parse(self, line: bytes) -> BatchResult | None:
        with suppress(ValidationError, orjson.JSONDecodeError):
            found = _MessageLine.model_validate(orjson.loads(line))
            if found.result.type == "succeeded" and isinstance(found.result.message, dict):
                return BatchResult(found.custom_id, found.result.message)
            said = mapping(mapping(found.result.error).get("error"))
            return BatchResult(found.custom_id, None, self.http.excerpt(str(said.get("message") or found.result.type)))
        return None

    async def cancel(self, identity: str) -> None:
        await self._json("POST", f"v1/messages/batches/{quote(identity, safe='')}/cancel", {})

    async def listed(self, since: float) -> list[BatchState]:
        return await self._pages("v1/messages/batches", _MessageBatch, "after_id", since)


class VllmBatches(BatchApi):
    """Files for `vllm run-batch`, which reads OpenAI's lines and loads the model itself."""

    offline = True

    async def create(self, token: str, endpoint: str, uploaded: Sequence[bytes]) -> str:
        write_atomic(self.requests_path(token), b"\n".join(uploaded) + b"\n")
        return token

    async def state(self, identity: str) -> BatchState:
        results, n = self.results_path(identity), 0
        ended = results.is_file() and time() - results.stat().st_mtime > COPY_S
        if results.is_file() and not ended:  # it may still be written
            n, written = (path.read_bytes().count(b"\n") for path in (self.requests_path(identity), results))
            ended = written >= n
        return BatchState(identity, n, 0, 0.0, identity, ended=ended, whole=False)

    async def results(self, state: BatchState) -> list[bytes]:
        return self.results_path(state.id).read_bytes().splitlines()

    async def listed(self, since: float) -> list[BatchState]:
        return [await self.state(token) for token in self._tokens()]

    def _tokens(self) -> Iterator[str]:
        return (path.name.removesuffix(".in.jsonl") for path in self.folder.glob("*.in.jsonl"))

    def requests_path(self, token: str) -> Path:
        return self.folder / f"{token}.in.jsonl"

    def results_path(self, token: str) -> Path:
        return self.folder / f"{token}.out.jsonl"


VENDORS = {"openai": OpenAIBatches, "anthropic": AnthropicBatches, "vllm": VllmBatches}


def batch_api(provider: Provider, folder: Path) -> BatchApi | None:
    """Return the batch interface of a provider; None if it has no such interface."""
    vendor = VENDORS.get(str(provider.identity.get("provider")))
    return vendor(provider, folder) if vendor and isinstance(provider, ServedProvider) else None
