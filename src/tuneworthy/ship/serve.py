"""`serve`: which artifact is served by which engine, and whether the server serves what was trained."""

import asyncio
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from tuneworthy.errors import OutsideFault, ProviderError, UserError
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.http_client import send_once
from tuneworthy.providers.vllm_server import (
    HEALTH_S,
    MAX_LOGPROBS,
    START_S,
    Launch,
    VllmServer,
    free_port,
    rank_limit,
)
from tuneworthy.ship import messages
from tuneworthy.ship.ancestry import LEAST, context_of, lineage
from tuneworthy.ship.gguf import FILE
from tuneworthy.ship.lora import all_trained, read_adapter
from tuneworthy.ship.parity.request import ParityRequest, ParityServer
from tuneworthy.ship.parity.run import check_parity
from tuneworthy.ship.parity.server_forms import VllmForm
from tuneworthy.store.artifacts import Artifact, open_artifact
from tuneworthy.store.folder import Folder

Engine = Literal["vllm", "llama_cpp"]
What = Literal["merged", "adapter", "gguf"]
NAME: Final = "tuned"
# Requests that the embedded llama.cpp answers together.
SLOTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingChoice:
    """What is served.

    Attributes:
        engine: Which engine serves it.
        what: Its kind.
        artifact: The artifact.
        line: The command to run it by hand.
        context: Tokens of a request and its answer that there is room for.
        launch: How vLLM is started.
        max_rank: What the server allows, if it applies an adapter.
    """

    engine: Engine
    what: What
    artifact: Artifact
    line: str
    context: int = LEAST
    launch: Launch | None = None
    max_rank: int | None = None


def choose(
    store: Folder,
    engine: Engine,
    what: What,
    identity: str | None = None,
    *,
    port: int | None = None,
    executable: str = "vllm",
    max_rank: int | None = None,
) -> ServingChoice:
    """Return what is to be started.

    Args:
        store: The project's folder.
        engine: Which engine serves it.
        what: `gguf` for llama.cpp, `merged` or `adapter` for vLLM.
        identity: Start of the artifact's id; the latest if not named.
        port: Port on 127.0.0.1; a free one if None.
        executable: vLLM's program.
        max_rank: Highest rank of adapters; the smallest that fits if None.

    Raises:
        UserError: No such artifact, an engine that cannot serve it, or a rank above the limit.
    """
    port = port or free_port()
    if (engine == "llama_cpp") != (what == "gguf"):
        raise UserError(
            f"The engine {engine} cannot serve {what}.", hint="Use llama_cpp for gguf, and vllm for merged or adapter."
        )
    made = open_artifact(store, what, identity)
    context = context_of(store, made)
    if engine == "llama_cpp":
        line = shlex.join(["llama-server", "-m", str(made.folder / FILE), "--host", "127.0.0.1", "--port", str(port),
                           "--jinja", "-np", str(SLOTS), "-c", str(SLOTS * context)])  # fmt: skip
        return ServingChoice(engine=engine, what=what, artifact=made, line=line, context=context)
    launch = Launch(model=made.folder, name=NAME, port=port, context=context, executable=executable)
    if what == "adapter":
        if all_trained(made.folder):
            raise UserError(
                f"The model {made.id} has no adapter to serve, because all weights were trained.",
                hint="Run `tuneworthy merge`, then serve it with --what merged.",
            )
        _, base = lineage(store, made.id)
        rank = read_adapter(made.folder).rank
        max_rank = max_rank or rank_limit(rank)
        if rank > max_rank:
            raise UserError(
                messages.say("rank_above_limit", rank=rank, max_rank=max_rank),
                hint="Run the command without --max-lora-rank.",
            )
        launch = replace(launch, model=base.folder, adapter=made.folder, max_rank=max_rank)
    return ServingChoice(
        engine=engine, what=what, artifact=made, line=launch.line(), launch=launch, context=context,
        max_rank=max_rank if what == "adapter" else None,
    )  # fmt: skip


@contextmanager
def vllm(choice: ServingChoice, log: Path, *, start_s: float = START_S) -> Iterator[VllmServer]:
    """Run vLLM while the block runs."""
    assert choice.launch is not None
    server = VllmServer(choice.launch, log)
    server.start(start_s)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def llama_cpp(choice: ServingChoice, log: Path, *, port: int) -> Iterator[Any]:
    """Run the embedded llama.cpp while the block runs; yields its engine (`address`, `api_key`, `alive`)."""
    try:
        import xllamacpp  # noqa: F401
    except ImportError:
        raise UserError(messages.say("no_llama_cpp"), hint=messages.say("install_local")) from None
    from tuneworthy.providers.llama_cpp import Engine as Child
    from tuneworthy.providers.llama_cpp import cores

    path = choice.artifact.folder / FILE
    header = read_header(path)
    engine = Child(
        {
            "path": str(path.resolve()), "alias": NAME, "parent": 0, "api_key": "", "slots": SLOTS, "port": port,
            "context": min(choice.context, header.context_length or choice.context), "threads": cores(),
            "cache_mib": 0, "cache_prompt": True, "slot_folder": "",
        },
        log,
    )  # fmt: skip
    asyncio.run(engine.start())
    try:
        yield engine
    finally:
        asyncio.run(engine.stop())


def check_serving(
    store: Folder,
    choice: ServingChoice,
    request: ParityRequest,
    *,
    start_s: float = START_S,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Start vLLM, ask it what the adapter is asked, stop it; write `.tuneworthy/serving.json` and return it.

    Args:
        store: The project's folder; the caller holds the lock.
        choice: What vLLM serves.
        request: What is compared.
        start_s: Limit of starting, seconds.
        say: Gets a sentence now and then.
    """
    checks: list[dict[str, Any]] = []
    detail, status = "", "fail"
    try:
        say(f"Starting the server: {choice.line}")
        with vllm(choice, store.logs / "vllm.log", start_s=start_s) as server:
            checks.append({"name": "start", "status": "pass", "detail": server.address})
            form = VllmForm(server.address, NAME, top=MAX_LOGPROBS)
            request = replace(request, served=ParityServer(form=form, max_rank=choice.max_rank))
            parity = check_parity(store, request, name=None, say=say)
            checks += parity["checks"]
            status, detail = parity["status"], messages.serving(parity["checks"], parity["detail"])
        still = _answers(server.address)
        if still:
            status, detail = "fail", f"The server at {server.address} still responds after it was stopped."
        stop = {"name": "stop", "status": "fail" if still else "pass"}
        checks.append({**stop, "detail": detail if still else "The server has stopped."})
    except OutsideFault as fault:
        detail = str(fault)
        checks.append({"name": "start", "status": "fail", "detail": detail})
    document = {"status": status, "engine": choice.engine, "artifact": choice.artifact.id, "what": choice.what,
                "detail": detail, "line": choice.line, "checks": checks}  # fmt: skip
    store.write("serving", document)
    return document


def _answers(address: str) -> bool:
    try:
        send_once("GET", f"{address}/health", timeout_s=HEALTH_S)
    except ProviderError:
        return False
    return True
