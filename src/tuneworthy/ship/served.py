"""Artifact that a server answers with: as the server reports, else as `serve` recorded.

    .tuneworthy/server-<port>.json   what `tuneworthy serve` runs now: artifact, address, process; gone when it ends

An address does not identify a model: a server that was started again with another model is the same URL.
vLLM tells the folder that it loaded, llama.cpp the file, and both have the id of the artifact in their path. A note of
`serve` counts only while its process lives and its address answers.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from urllib.parse import urlsplit

import orjson

from tuneworthy.config.models import ChatServer, Model
from tuneworthy.errors import ProviderError, UserError
from tuneworthy.providers.http_client import endpoint, send_once
from tuneworthy.providers.keys import read_key
from tuneworthy.providers.models import find
from tuneworthy.store.artifacts import Artifact, find_artifact, latest_artifact
from tuneworthy.store.folder import Folder
from tuneworthy.store.shapes import OpenRecord
from tuneworthy.trust import LOOPBACK
from tuneworthy.types import JsonMapping

NOTE = "server-{}"
TIMEOUT_S = 5.0
# Largest answer that is read.
MOST_BYTES = 4 * 2**20


class ServedNote(OpenRecord):
    """Content of `server-<port>.json`."""

    artifact: str
    address: str
    pid: int


@contextmanager
def noted(store: Folder, artifact: Artifact, address: str) -> Iterator[None]:
    """Write down what this process serves, while the block runs.

    Args:
        store: The project's folder.
        artifact: The artifact that is served.
        address: Address without the version.
    """
    note = {"artifact": artifact.id, "engine": "llama_cpp", "address": address, "pid": os.getpid()}
    path = store.write(NOTE.format(_place(address)[1]), note)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def served_artifact(store: Folder, config: Model) -> Artifact | None:
    """Return the artifact of the project that a model answers with; None if that is unknown.

    A pipeline of the user's own is assumed to answer with the model that was merged (or trained) last.

    Args:
        store: The project's folder.
        config: Section of the model in `[models]`.
    """
    if isinstance(config, ChatServer):
        found = [_behind(store, config.at(url)) for url in config.addresses if config.bearer]
        ids = {one and one.id for one in found}
        return found[0] if len(ids) == 1 else None  # a server of another model is not this model
    if config.local_file is not None:
        path = find(config.local_file, store.root)
        return None if path is None else _named_in(store, path.resolve())
    return latest_artifact(store, "merged") or latest_artifact(store, "adapter")


def _behind(store: Folder, config: ChatServer) -> Artifact | None:
    rows = (_fetched(endpoint(config.base_url, "models"), config, store.root) or {}).get("data")
    cards = [card for card in rows if isinstance(card, dict)] if isinstance(rows, list) else []
    own = [card for card in cards if card.get("id") == config.model or card.get("owned_by") == "llamacpp"]
    if not own:
        return None
    card = own[0]  # llama.cpp has one model, whatever it is asked for
    parts = urlsplit(config.base_url)
    if path := card.get("root") or (_fetched(f"{parts.scheme}://{parts.netloc}/props", config, store.root) or {}).get(
        "model_path"
    ):
        return _named_in(store, PurePath(str(path)))
    return served_at(store, config.base_url)


def served_at(store: Folder, url: str) -> Artifact | None:
    """Return the artifact that `serve` runs now at an address of this machine; None if it runs none there."""
    note = store.read(NOTE.format(_place(url)[1]), ServedNote)
    if note is None or not _lives(note["pid"]) or _place(note["address"]) != _place(url):
        return None
    return _named_in(store, PurePath(note["artifact"]))


def _place(url: str) -> tuple[str, int | None]:
    with suppress(ValueError):
        parts = urlsplit(url)
        return "loopback" if parts.hostname in LOOPBACK else str(parts.hostname), parts.port
    return url, None


def _fetched(url: str, config: ChatServer, root: Path) -> JsonMapping | None:
    with suppress(ProviderError, UserError, ValueError):
        key = read_key(config.key_variable, url=config.base_url, root=root, owner="[serve] model", required=False)
        answer = send_once("GET", url, key=key, timeout_s=TIMEOUT_S, max_body=MOST_BYTES)
        document = orjson.loads(answer.body) if answer.accepted else None
        return document if isinstance(document, dict) else None
    return None


def _named_in(store: Folder, path: PurePath | Path) -> Artifact | None:
    named = (find_artifact(store, part) for part in reversed(path.parts) if part.isalnum())
    return next((artifact for artifact in named if artifact is not None), None)


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # it lives, as another user's
    return True
