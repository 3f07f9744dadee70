"""A model behind a vLLM that is started at the first request and ends with the tool."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tuneworthy.config.models import Vllm
from tuneworthy.errors import ModelError, OutsideFault, UserError
from tuneworthy.providers import messages
from tuneworthy.providers.base import provider
from tuneworthy.providers.capabilities import Capabilities, capabilities_of
from tuneworthy.providers.model_safety import check_model, number_of, patterns_of, read_config
from tuneworthy.providers.models import find, sha256_of
from tuneworthy.providers.openai import OpenAIProvider
from tuneworthy.providers.vllm_ranking import PromptRanker
from tuneworthy.providers.vllm_server import Launch, VllmServer, free_port, rank_limit
from tuneworthy.store.folder import Folder
from tuneworthy.trust import require
from tuneworthy.types import Request, Response

# So many ends of the server are a fault of the engine or the machine.
MAX_STARTS: Final = 3


class VllmProvider:
    """Answers through a server of its own.

    Args:
        launch: What is started, on another free port at each start.
        log: The server's log.
        identity: What determines the answers.
        capabilities: The table's row for vLLM.
        start_s: Limit of starting, seconds.
        timeout_s: Limit of one answer, seconds.
    """

    def __init__(
        self,
        launch: Launch,
        log: Path,
        *,
        identity: Mapping[str, Any],
        capabilities: Capabilities,
        start_s: float,
        timeout_s: float,
    ) -> None:
        self.identity: Mapping[str, Any] = identity
        self.supports = capabilities.supports
        self._launch, self._log, self._capabilities = launch, log, capabilities
        self._start_s, self._timeout_s = start_s, timeout_s
        self._server: VllmServer | None = None
        self._client: OpenAIProvider | None = None
        self._ranker: PromptRanker | None = None
        self._starts = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = asyncio.Lock()

    def __repr__(self) -> str:
        return f"VllmProvider({dict(self.identity)!r})"

    async def complete(self, request: Request) -> Response:
        """Answer `request` (see `Provider.complete`).

        Raises:
            OutsideFault: The server does not start, or ended again and again.
        """
        client = await self._ready()
        if request.output.kind == "ranked" and self._ranker is not None:
            return await self._ranker.rank(request)
        return await client.complete(request)

    async def close(self) -> None:
        """End the server; may be called twice."""
        client, self._client = self._client, None
        ranker, self._ranker = self._ranker, None
        server, self._server = self._server, None
        if client is not None:
            await client.close()
        if ranker is not None:
            await ranker.close()
        if server is not None:
            await asyncio.to_thread(server.stop)

    async def _ready(self) -> OpenAIProvider:
        """Return the client of the running server; start it if need be."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._starting = loop, asyncio.Lock()
        async with self._starting:
            if self._client is not None and self._server is not None and self._server.alive:
                return self._client
            await self.close()
            if self._starts >= MAX_STARTS:
                raise OutsideFault(f"vLLM exited {self._starts} times.", hint=messages.say("see_log", log=self._log))
            self._starts += 1
            server = VllmServer(replace(self._launch, port=free_port()), self._log)
            await asyncio.to_thread(server.start, self._start_s)
            self._server = server
            self._client = OpenAIProvider(
                base_url=f"{server.address}/v1", model=self._launch.name, api_key=None, identity=self.identity,
                capabilities=self._capabilities, timeout_s=self._timeout_s,
            )  # fmt: skip
            self._ranker = PromptRanker(address=server.address, model=self._launch.name, timeout_s=self._timeout_s)
            return self._client


def weights_sha256(folder: Path) -> list[str]:
    """Return the SHA-256 of each file of weights in a folder, by name."""
    return [sha256_of(path) for path in sorted(folder.glob("*.safetensors"))]


def folder_of(name: str, spec: str, root: Path) -> Path:
    """Return the model folder of `spec`, checked.

    Raises:
        UserError: It is not here, is not a folder, or may not be loaded.
    """
    path = find(spec, root)
    if path is None or not path.is_dir():
        raise UserError(
            f"models.{name} needs a safetensors folder for {spec}, but {path or 'nothing'} was found.",
            hint="Specify a model folder, or run `tuneworthy models pull MODEL`.",
        )
    try:
        check_model(path)
    except ModelError as error:  # what `check` tells of model files is about those of llama.cpp
        raise UserError(f"models.{name}: {error.message}", hint=error.hint) from None
    return path.resolve()


@provider("vllm")
def open_vllm(name: str, config: Vllm, root: Path) -> VllmProvider:
    """Open `[models.NAME]` with ``provider = "vllm"``. Nothing is started or fetched yet.

    Raises:
        UserError: A folder is not here or may not be loaded, or the adapter's rank is above what vLLM can apply.
        Untrusted: The project may not start this program.
    """
    require(root, config.grant)
    model = folder_of(name, config.model, root)
    adapter = folder_of(name, config.adapter, root) if config.adapter else None
    rank = None
    if adapter is not None:
        settings = read_config(adapter / "adapter_config.json")
        ranks = [settings.get("r", 8), *patterns_of(settings, "rank_pattern").values()]
        rank = rank_limit(int(max(number_of(value, "rank") for value in ranks)))
    identity = {
        "provider": "vllm", "model": config.model, "sha256": weights_sha256(model), "context": config.context,
        "adapter": weights_sha256(adapter) if adapter else None, "arguments": list(config.arguments),
    }  # fmt: skip
    launch = Launch(
        model=model, name=name, port=0, adapter=adapter, max_rank=rank, context=config.context,
        more=tuple(config.arguments), executable=config.executable,
    )  # fmt: skip
    return VllmProvider(
        launch, Folder(root).logs / f"{name}.log", identity=identity,
        capabilities=capabilities_of("vllm", config.model), start_s=config.start_s, timeout_s=config.timeout_s,
    )  # fmt: skip
