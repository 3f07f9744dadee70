"""One cheap GET to every OpenAI-compatible server that the project file names: does it answer, with what models?

``GET {base_url}/models`` costs nothing and holds no data of the project. Redirects are not followed and messages
never hold the key.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from tuneworthy.config.models import OpenAI
from tuneworthy.errors import AuthError, ProviderError, UserError
from tuneworthy.providers.http_client import HttpClient, endpoint
from tuneworthy.providers.keys import read_key
from tuneworthy.trust import Untrusted

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
    """

    url: str
    status: int | None = None
    fault: str = ""
    models: tuple[str, ...] = ()


def ask_servers(models: Mapping[str, OpenAI], root: Path) -> dict[str, ServerAnswer]:
    """Ask the servers of all `models` at the same time; takes at most `TIMEOUT_S` and never raises.

    A server whose key is not to be sent is not asked, and left out.
    """
    return asyncio.run(_all(models, root)) if models else {}


async def _all(models: Mapping[str, OpenAI], root: Path) -> dict[str, ServerAnswer]:
    answers = await asyncio.gather(*(_one(name, config, root) for name, config in models.items()))
    return {name: answer for name, answer in zip(models, answers, strict=True) if answer is not None}


async def _one(name: str, config: OpenAI, root: Path) -> ServerAnswer | None:
    url = endpoint(config.base_url, "models")
    place = urlsplit(url)
    if "@" in place.netloc:  # never shown, and never sent: opening the model tells what to do
        return ServerAnswer(place.hostname or "", fault="an address that holds a user name or password")
    try:
        key = read_key(config.key_variable, url=url, root=root, owner=f"models.{name}", required=False)
    except (AuthError, Untrusted):  # a key that no header may hold, or that nobody allowed: other checks tell it
        return None
    try:
        async with HttpClient(config.base_url, key=key, timeout_s=TIMEOUT_S, max_body=MAX_BODY) as client:
            answer = await client.send("GET", "models")
    except (ProviderError, UserError) as error:
        return ServerAnswer(url, fault=error.message.removesuffix("."))
    return ServerAnswer(url, answer.status, models=_listed(answer.body) if answer.status == 200 else ())


def _listed(body: bytes) -> tuple[str, ...]:
    """Return the ids of a list of models; empty for any other JSON."""
    try:
        return tuple(str(row["id"]) for row in orjson.loads(body)["data"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ()
