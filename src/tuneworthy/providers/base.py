"""The interface of a provider: one method that answers one request, or raises a classified `ProviderError`.

Providers neither retry, nor limit, nor store, nor count money: the runner does, in one place.
"""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tuneworthy.config.models import PROVIDERS
from tuneworthy.providers.capabilities import Capabilities
from tuneworthy.types import JsonMapping, JsonObject, Request, Response


@runtime_checkable
class Provider(Protocol):
    """Answers requests for one configured model.

    Attributes:
        identity: What determines an answer besides the request: provider, model id, file hash or base
            URL, engine settings. JSON-able, without secrets; part of every store key.
        supports: Features that `Request` may use: subset of ``{"choice", "json_schema", "ranked", "tools",
            "logprobs", "seed"}``. A feature that is not named is never sent.

    One that adds a text of its own to every prompt may say so in `added_bytes`, and one whose limit of an answer has a
    minimum in `min_tokens`: the budget counts them.
    """

    identity: JsonMapping
    supports: frozenset[str]

    async def complete(self, request: Request) -> Response:
        """Answer `request`.

        Raises:
            ProviderError: The call failed; `code` and `retryable` say how.
        """

    async def close(self) -> None:
        """Free connections and child processes; may be called twice."""


class BaseProvider:
    """Identity and capabilities of a built-in provider.

    Args:
        identity: See `Provider`.
        capabilities: Parameters and features that the model accepts.
    """

    def __init__(self, identity: JsonMapping, capabilities: Capabilities) -> None:
        self.identity, self.capabilities, self.supports = identity, capabilities, capabilities.supports

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.identity)!r})"

    async def close(self) -> None:
        """Free nothing; providers with connections or children override it."""


# Text before a plain text whose log-probability is wanted: the first token has no probability.
PLAIN_START = "\n"
OTHER_TOKENS = "The server generated tokens other than those of the label, so its labels cannot be ranked."


def outgoing(request: Request) -> JsonObject:
    """Return the content of `request` that can change the answer or its time, JSON-able: the store's key."""
    timing = {"timing": [request.timing.group, request.timing.lane]} if request.timing else {}
    closed = {} if request.tool_choice == "auto" else {"tool_choice": request.tool_choice}
    return (
        timing
        | closed
        | {
            "messages": list(request.messages),
            "max_tokens": request.max_tokens,
            "decoding": dict(request.decoding),
            "output": [request.output.kind, list(request.output.choices), request.output.schema],
            "tools": list(request.tools),
            "logprobs": request.logprobs,
            "payload": request.payload,
        }
    )


__all__ = ["PROVIDERS", "Provider", "open_provider", "outgoing", "provider"]

provider = PROVIDERS.register


def open_provider(name: str, config: Any, root: Path) -> Provider:
    """Open the model `[models.NAME]`; its module is imported only now.

    Args:
        name: Its key, for messages.
        config: Its section; `config.provider` picks the factory.
        root: The project folder.

    Raises:
        AuthError: Its key is not in the environment.
        UserError: The provider, a function or a file that it names does not exist.
    """
    return PROVIDERS.get(config.provider, root)(name, config, root)  # type: ignore[no-any-return]
