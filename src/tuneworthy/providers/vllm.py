"""vLLM server of the user's own: OpenAI-compatible answers, and labels ranked by their log-probability."""

from pathlib import Path
from typing import Any

from tuneworthy.config.models import Vllm
from tuneworthy.providers.base import provider
from tuneworthy.providers.capabilities import capabilities_for
from tuneworthy.providers.keys import read_key
from tuneworthy.providers.openai import OpenAIProvider
from tuneworthy.providers.vllm_ranking import PromptRanker
from tuneworthy.types import Request, Response


class VllmProvider(OpenAIProvider):
    """Answers through a running vLLM server.

    Args:
        ranker: Ranks labels on the same server.
        **options: Of `OpenAIProvider`.
    """

    def __init__(self, ranker: PromptRanker, **options: Any) -> None:
        super().__init__(**options)
        self._ranker = ranker

    async def complete(self, request: Request) -> Response:
        """Answer `request` (see `Provider.complete`)."""
        if request.output.kind == "ranked":
            return await self._ranker.rank(request)
        return await super().complete(request)

    async def close(self) -> None:
        """Close the connections."""
        await super().close()
        await self._ranker.close()


@provider("vllm")
def open_vllm(name: str, config: Vllm, root: Path) -> VllmProvider:
    """Open `[models.NAME]` with ``provider = "vllm"``.

    Raises:
        AuthError: The server is not on this machine, and the environment variable contains no key.
    """
    key = read_key(config.key_variable, url=config.base_url, root=root, owner=f"models.{name}", required=config.hosted)
    ranker = PromptRanker(
        address=config.base_url.rstrip("/").removesuffix("/v1"), model=config.model, key=key,
        timeout_s=config.timeout_s,
    )  # fmt: skip
    return VllmProvider(
        ranker, base_url=config.base_url, model=config.model, api_key=key,
        identity={"provider": "vllm", "model": config.model, "base_url": config.base_url},
        capabilities=capabilities_for(config), timeout_s=config.timeout_s,
    )  # fmt: skip
