"""Reachability of the servers in the project file: their lists of models, and one token from every free model.

``GET {base_url}/models`` costs nothing, and neither request contains data of the project. Redirects are not followed,
and no message contains the key.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from tuneworthy.config.models import ChatServer
from tuneworthy.errors import AuthError, ProviderError, UserError
from tuneworthy.providers.address import check_address
from tuneworthy.providers.capabilities import capabilities_for
from tuneworthy.providers.http_client import HttpClient, endpoint, weights_of
from tuneworthy.providers.keys import read_key
from tuneworthy.providers.prices import price_for
from tuneworthy.providers.usage import mapping
from tuneworthy.trust import Untrusted
from tuneworthy.types import TextPair, TextTuple

TIMEOUT_S = 3.0
MAX_BODY = 2**22


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """The answer of a server.

    Attributes:
        url: The address that was called.
        status: HTTP status; None if there was no answer.
        fault: Why there was no answer.
        models: Ids that it lists.
        refusal: Why a free model refused a completion of one token; "" if it answered, or was not called.
        serves: Weights in its list of models, and the name in that completion; "" if unknown.
    """

    url: str
    status: int | None = None
    fault: str = ""
    models: TextTuple = ()
    refusal: str = ""
    serves: TextPair = ("", "")


def ask_servers(models: Mapping[str, ChatServer], root: Path) -> list[tuple[str, ServerAnswer]]:
    """Ask all servers of all `models` at the same time; takes at most `TIMEOUT_S` and never raises.

    A server whose key is not to be sent is not asked, and left out.
    """
    return asyncio.run(_all(models, root)) if models else []


async def _all(models: Mapping[str, ChatServer], root: Path) -> list[tuple[str, ServerAnswer]]:
    servers = [(name, config.at(url)) for name, config in models.items() for url in config.addresses]
    answers = await asyncio.gather(*(_one(name, config, root) for name, config in servers))
    return [(name, answer) for (name, _), answer in zip(servers, answers, strict=True) if answer is not None]


async def _one(name: str, config: ChatServer, root: Path) -> ServerAnswer | None:
    url = endpoint(config.base_url, "models")
    try:
        check_address(config.base_url)
    except UserError as error:  # the address may contain a secret: it is neither shown nor called
        return ServerAnswer("the server", fault=error.message.removesuffix("."))
    try:
        key = read_key(config.key_variable, url=config.base_url, root=root, owner=f"models.{name}", required=False)
    except (AuthError, Untrusted):  # an invalid or untrusted key: other checks report it
        return None
    price = price_for(config) if capabilities_for(config).responses != "always" else None
    try:
        async with HttpClient(config.base_url, key=key, timeout_s=TIMEOUT_S, max_body=MAX_BODY) as client:
            answer = await client.send("GET", "models")
            is_free = answer.accepted and price and price.free
            refusal, served = await _refusal(client, config.model) if is_free else ("", "")
    except (ProviderError, UserError) as error:
        return ServerAnswer(url, fault=error.message.removesuffix("."))
    models: TextTuple = ()
    serves = weights_of(answer.body, config.model), served
    if answer.status == 200:
        with suppress(orjson.JSONDecodeError, KeyError, TypeError):  # any other JSON
            models = tuple(str(row["id"]) for row in orjson.loads(answer.body)["data"])
    return ServerAnswer(url, answer.status, models=models, refusal=refusal, serves=serves)


async def _refusal(client: HttpClient, model: str) -> TextPair:
    """Return why the server refuses one token, and the name of its model.

    No reason if it answers, or needs more time (it may be loading the model).
    """
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    try:
        answer = client.read(await client.send("POST", "chat/completions", body))
    except ProviderError as error:
        return "" if error.retryable else error.message, ""
    return "", str(mapping(answer).get("model") or "")
