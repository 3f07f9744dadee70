"""The command line that serves an artifact, and the artifact that a server answers with, reported or recorded.

    .tuneworthy/server-<port>.json   what `tuneworthy serve` runs now: artifact, address, process; gone when it ends

An address does not identify a model: a server that was started again with another model is the same URL.
vLLM tells the folder that it loaded, llama.cpp the file, and both have the id of the artifact in their path. A note of
`serve` counts only while its process lives and its address answers.
"""

import asyncio
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from tuneworthy.config.models import ChatServer, Model
from tuneworthy.errors import ProviderError, UserError
from tuneworthy.extras import require
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.http_client import endpoint, send_once
from tuneworthy.providers.keys import read_key
from tuneworthy.providers.models import find
from tuneworthy.ship.gguf import FILE
from tuneworthy.ship.merge import context_of, lineage
from tuneworthy.ship.merged_weights import all_trained, read_adapter
from tuneworthy.store.artifacts import Artifact, find_artifact, latest_artifact, open_artifact
from tuneworthy.store.folder import Folder
from tuneworthy.store.shapes import OpenRecord
from tuneworthy.trust import LOOPBACK
from tuneworthy.types import JsonMapping, frozen

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


What = Literal["merged", "adapter", "gguf"]
NAME = "tuned"
# Requests that the embedded llama.cpp answers together.
SLOTS = 4
# Accepted values of vLLM's `--max-lora-rank`. Source: vLLM vllm/config/lora.py.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
MAX_LOGPROBS = 200


@frozen
class ServingChoice:
    """Artifact to serve.

    Attributes:
        artifact: The artifact.
        line: The command to run it by hand: `llama-server` for a GGUF file, else `vllm serve`.
        context: Tokens of a request and its answer that there is room for.
    """

    artifact: Artifact
    line: str
    context: int


def choose(store: Folder, what: What, *, port: int, made: Artifact | None = None) -> ServingChoice:
    """Return the artifact to serve, with its command line.

    vLLM's line sets `--generation-config vllm`, so that it does not take temperature, top_p and penalties from the
    model's own generation_config.json, and the smallest `--max-lora-rank` that fits the adapter (vLLM allows 16 unless
    it is set).

    Args:
        store: The project's folder.
        what: `gguf` for llama.cpp, `merged` or `adapter` for vLLM.
        port: Port on 127.0.0.1.
        made: An artifact of this kind, checked by its hashes; the latest one if not given.

    Raises:
        UserError: No such artifact, or one that its engine cannot serve.

    Source: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html and
    https://docs.vllm.ai/en/latest/features/lora.html.
    """
    made = made or open_artifact(store, what)
    context = context_of(store, made)
    place = ["--host", "127.0.0.1", "--port", str(port)]
    if what == "gguf":
        line = ["llama-server", "-m", str(made.folder / FILE), *place, "--jinja", "-np", str(SLOTS),
                "-c", str(SLOTS * context)]  # fmt: skip
        return ServingChoice(artifact=made, line=shlex.join(line), context=context)
    model, names = made.folder, ["--served-model-name", NAME]
    if what == "adapter":
        if all_trained(made.folder):
            raise UserError(
                f"The model {made.id} has no adapter to serve, because all weights were trained.",
                hint="Run `tuneworthy train`, then serve it with --what merged.",
            )
        model, limit = lineage(store, made.id)[1].folder, rank_limit(read_adapter(made.folder).rank)
        names = ["--served-model-name", "base", "--enable-lora", "--max-lora-rank", str(limit),
                 "--lora-modules", f"{NAME}={made.folder}"]  # fmt: skip
    line = ["vllm", "serve", str(model), *place, *names, "--generation-config", "vllm", "--max-logprobs",
            str(MAX_LOGPROBS), "--max-model-len", str(context)]  # fmt: skip
    return ServingChoice(artifact=made, line=shlex.join(line), context=context)


def rank_limit(rank: int) -> int:
    """Return the smallest limit that vLLM accepts for adapters of `rank`.

    Raises:
        UserError: vLLM applies no adapter of this rank.
    """
    limit = next((limit for limit in RANKS if limit >= rank), None)
    if limit is None:
        raise UserError(
            f"The adapter's LoRA rank is {rank}, but vLLM supports at most {RANKS[-1]}.",
            hint="Serve the merged model instead.",
        )
    return limit


@contextmanager
def llama_cpp(path: Path, log: Path, context: int, *, port: int = 0) -> Iterator[Any]:
    """Run the embedded llama.cpp while the block runs; yields its engine (`address`, `api_key`, `alive`).

    Args:
        path: The GGUF file.
        log: File for what llama.cpp prints.
        context: Tokens of a request and its answer that there is room for, unless the model reads fewer.
        port: Port on 127.0.0.1; 0 for a free one.

    Raises:
        ModelError: The file does not load.
    """
    require("xllamacpp")
    from tuneworthy.providers.llama_child import EngineSettings
    from tuneworthy.providers.llama_cpp import Engine, cores

    context = min(context, read_header(path).context_length or context)
    engine = Engine(
        EngineSettings(path=str(path.resolve()), alias=NAME, slots=SLOTS, port=port, threads=cores(), context=context),
        log,
    )
    asyncio.run(engine.start())
    try:
        yield engine
    finally:
        engine.close()
