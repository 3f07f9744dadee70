"""Deterministic answers for tests and examples: a function ``(Request) -> str | Response`` of the project's own.

It may raise a `ProviderError` to play a fault.
"""

import asyncio
import time
from collections.abc import Callable
from inspect import isawaitable
from pathlib import Path
from typing import Any

from tuneworthy.config.models import Scripted
from tuneworthy.errors import ProviderError
from tuneworthy.functions import last_line, load_function, source_hash
from tuneworthy.providers.base import BaseProvider, provider
from tuneworthy.providers.capabilities import capabilities_of
from tuneworthy.providers.python import as_response
from tuneworthy.types import JsonMapping, Request, Response


class ScriptedProvider(BaseProvider):
    """Answers through `function`, after `latency_ms`.

    Args:
        function: ``(Request) -> str | Response``; fast, as it runs in the event loop. Async functions are awaited.
        identity: What determines the answers (see `Provider`).
        latency_ms: Delay per answer.
    """

    capabilities = capabilities_of("scripted", "")
    supports = capabilities.supports

    def __init__(self, function: Callable[[Request], Any], *, identity: JsonMapping, latency_ms: float = 0.0) -> None:
        self.identity = identity
        self._function, self._latency_s = function, latency_ms / 1000

    async def complete(self, request: Request) -> Response:
        started = time.perf_counter()
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        try:
            answer = self._function(request)
            if isawaitable(answer):
                answer = await answer
        except ProviderError:
            raise
        except Exception as error:
            raise ProviderError(last_line(error), code="pipeline", retryable=False) from error
        return as_response(answer, seconds=time.perf_counter() - started)


@provider("scripted")
def open_scripted(name: str, config: Scripted, root: Path) -> ScriptedProvider:
    """Open `[models.NAME]` with ``provider = "scripted"``.

    Raises:
        UserError: The function cannot be loaded.
    """
    function = load_function(config.function, root)
    return ScriptedProvider(
        function,
        identity={"provider": "scripted", "function": config.function, "source": source_hash(function)},
        latency_ms=config.latency_ms,
    )
