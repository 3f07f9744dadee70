"""`serve`: the command line that serves an artifact, and the embedded llama.cpp that runs a GGUF file."""

import asyncio
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tuneworthy.errors import UserError
from tuneworthy.extras import require
from tuneworthy.providers.gguf import read_header
from tuneworthy.ship.ancestry import context_of, lineage
from tuneworthy.ship.gguf import FILE
from tuneworthy.ship.lora import all_trained, read_adapter
from tuneworthy.store.artifacts import Artifact, open_artifact
from tuneworthy.store.folder import Folder
from tuneworthy.types import frozen

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
