"""A pipeline of the user's own behind HTTP: POST ``{"input", "messages"}``, get ``{"answer"}`` back."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneworthy.config.models import Http
from tuneworthy.errors import ProviderError
from tuneworthy.functions import as_answer
from tuneworthy.providers.base import provider
from tuneworthy.providers.capabilities import Capabilities, capabilities_for, filter_parameters
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.providers.keys import Key, read_key
from tuneworthy.providers.python import of_pipeline
from tuneworthy.providers.usage import mapping, token_count
from tuneworthy.types import Request, Response

# Of an answer; a pipeline knows no limit of tokens.
_MOST_BYTES = 2**19


class HttpProvider:
    """Answers through a POST to `url`.

    ``usage`` may stand beside ``answer``: ``{"input_tokens", "output_tokens"}``.

    Args:
        url: Address of the pipeline.
        api_key: Sent as a bearer token if it is not empty.
        identity: What determines the answers (see `Provider`).
        capabilities: What is accepted: nothing, as the pipeline sets its own parameters.
        timeout_s: Limit of one attempt, seconds.
    """

    def __init__(
        self,
        *,
        url: str,
        api_key: Key,
        identity: Mapping[str, Any],
        capabilities: Capabilities,
        timeout_s: float = 60.0,
    ) -> None:
        self.identity = identity
        self.capabilities = capabilities
        self.supports = capabilities.supports
        self._client = HttpClient(url, key=api_key, timeout_s=timeout_s)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.identity)!r})"

    async def complete(self, request: Request) -> Response:
        """Answer `request` (see `Provider.complete`)."""
        _, dropped = filter_parameters(self.capabilities, request.decoding)
        started = time.perf_counter()
        try:
            content = {"input": request.payload, "messages": request.messages}
            answer = await self._client.post(content, max_body=_MOST_BYTES)
        except ProviderError as error:
            raise of_pipeline(error) from None
        seconds = time.perf_counter() - started
        if "answer" not in answer:
            fields = "fields " + ", ".join(answer) if answer else "an empty object"
            raise self._client.malformed('an object with "answer"', fields)
        usage = mapping(answer.get("usage"))
        return Response(
            text=as_answer(answer["answer"]),
            input_tokens=token_count(usage.get("input_tokens")),
            output_tokens=token_count(usage.get("output_tokens")),
            dropped=dropped,
            seconds=seconds,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


@provider("http")
def open_http(name: str, config: Http, root: Path) -> HttpProvider:
    """Open `[models.NAME]` with ``provider = "http"``."""
    return HttpProvider(
        url=config.url,
        api_key=read_key(config.key_variable, url=config.url, root=root, owner=f"models.{name}"),
        identity={"provider": "http", "url": config.url, **({"version": config.version} if config.version else {})},
        capabilities=capabilities_for(config),
        timeout_s=config.timeout_s,
    )
