"""A pipeline of the user's own behind HTTP: POST ``{"input", "messages"}``, get ``{"answer"}`` back."""

import time
from pathlib import Path

from tuneworthy.config.models import Http
from tuneworthy.errors import ProviderError
from tuneworthy.functions import as_answer
from tuneworthy.providers.base import provider
from tuneworthy.providers.capabilities import capabilities_for, filter_parameters
from tuneworthy.providers.http_client import HttpClient, ServedProvider
from tuneworthy.providers.keys import read_key
from tuneworthy.providers.python import of_pipeline
from tuneworthy.providers.usage import read_usage
from tuneworthy.types import Request, Response

# Of an answer; a pipeline knows no limit of tokens.
_MOST_BYTES = 2**19


class HttpProvider(ServedProvider):
    """Answers through a POST to `url`.

    ``usage`` may be next to ``answer``: ``{"input_tokens", "output_tokens"}``.
    """

    async def complete(self, request: Request) -> Response:
        _, dropped = filter_parameters(self.capabilities, request.decoding)
        started = time.perf_counter()
        try:
            answer = await self.http.post(
                {"input": request.payload, "messages": request.messages}, max_body=_MOST_BYTES
            )
        except ProviderError as error:
            raise of_pipeline(error) from None
        seconds = time.perf_counter() - started
        if "answer" not in answer:
            raise self.http.malformed(
                'an object with "answer"', "fields " + ", ".join(answer) if answer else "an empty object"
            )
        return Response(
            text=as_answer(answer["answer"]), dropped=dropped, seconds=seconds, **read_usage(answer.get("usage"))
        )


@provider("http")
def open_http(name: str, config: Http, root: Path) -> HttpProvider:
    key = read_key(config.key_variable, url=config.url, root=root, owner=f"models.{name}", any_path=True)
    return HttpProvider(
        HttpClient(config.url, key=key, timeout_s=config.timeout_s),
        {"provider": "http", "url": config.url, **({"version": config.version} if config.version else {})},
        capabilities_for(config),
    )
