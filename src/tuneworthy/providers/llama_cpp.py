"""The embedded model: llama.cpp (xllamacpp) in a child process, spoken to like any OpenAI-compatible server.

Native code may crash: here that costs the calls in flight, not the tool. A child that died is started again; a
request that keeps killing it is identified (suspects run one at a time) and refused; a child that only ever dies is
an `OutsideFault`. A parameter that is not sent keeps llama.cpp's default: temperature .8, top_k 40, top_p .95,
min_p .05.

Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md.
"""

import asyncio
import os
import re
import secrets
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import orjson

from tuneworthy import processes
from tuneworthy.config.models import LlamaCpp
from tuneworthy.errors import ModelError, OutsideFault, ProviderError, UserError
from tuneworthy.providers.base import OTHER_TOKENS, PLAIN_START, BaseProvider, outgoing, provider
from tuneworthy.providers.capabilities import Capabilities, RequestParts, capabilities_for
from tuneworthy.providers.gguf import GgufHeader, read_header
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.providers.llama_child import EngineSettings
from tuneworthy.providers.models import check_pinned, find
from tuneworthy.providers.openai import OpenAIProvider, with_instructions
from tuneworthy.store.folder import Folder
from tuneworthy.text import n_shared
from tuneworthy.types import (
    LANES,
    Bounds,
    JsonMapping,
    JsonObject,
    Message,
    Request,
    Response,
    Texts,
    TextTuple,
    Tokens,
    content_hash,
)

# So much of the end of a prompt decides how the label behind it is split into tokens.
TAIL_CHARS = 16


class LabelRanker:
    """Ranks given labels on one engine: the log-probability of every label as the answer to a prompt.

    llama.cpp reports log-probabilities of generated tokens only. So each label is generated: a grammar allows the
    label's own tokens and nothing else, and the server reports a token's log-probability before the grammar. All labels
    of a request go to one slot, one after the other in the order of their tokens, so that the prompt, and the tokens
    that a label shares with the one before, are read once. Slots work side by side on several requests.

    Invariant: the tokens of a label are those of the prompt with the label behind it, less those of the prompt.

    Sources: lm-evaluation-harness, `loglikelihood` (a sum over the tokens of the continuation, its end not among them);
    llama.cpp tools/server/README.md (`/completion`: `n_probs`, `id_slot`; `/apply-template`; `/tokenize`) and
    grammars/README.md ("Tokens").

    Args:
        client: Of the engine.
        slots: Number of its slots.
    """

    def __init__(self, client: HttpClient, slots: int) -> None:
        self._client = client
        self._free: asyncio.Queue[int] = asyncio.Queue()
        self._tokens: dict[tuple[str, TextTuple], list[list[int]]] = {}
        for slot in range(slots):
            self._free.put_nowait(slot)

    async def rank(self, request: Request, sent: Sequence[JsonMapping]) -> Response:
        """Return the most probable of `request.output.choices`, and all their log-probabilities.

        Args:
            request: The request; without messages its choices are plain texts, and those that cannot be scored are
                not in the response.
            sent: Its messages, in the roles that the model takes.

        Raises:
            ProviderError: A call failed, or the server generated other tokens than those of the label.
        """
        started = time.perf_counter()
        text = PLAIN_START
        if sent:
            text = str((await self._client.post({"messages": list(sent)}, "apply-template"))["prompt"])
        prompt = [token for token, _ in await self._pieces(text)]
        choices = request.output.choices
        labels = dict(zip(choices, await self._label_tokens(choices, text, len(prompt)), strict=True))
        if sent and not all(labels.values()):
            raise ProviderError(
                "The model reads a character of a label as several tokens, so the label cannot be ranked.",
                code="malformed",
                retryable=False,
            )
        labels = {label: tokens for label, tokens in labels.items() if tokens}
        slot = request.timing.lane if request.timing else await self._free.get()
        try:
            logprobs = await self._walk(prompt, list(labels.values()), slot)
        finally:
            if not request.timing:
                self._free.put_nowait(slot)
        sums = {
            label: sum(logprobs[tuple(tokens[:end])] for end in range(1, len(tokens) + 1))
            for label, tokens in labels.items()
        }
        return Response(
            text=max(sums, key=sums.__getitem__, default=""),
            input_tokens=len(prompt),
            output_tokens=len(logprobs),
            label_logprobs=sums,
            seconds=time.perf_counter() - started,
        )

    async def _walk(self, prompt: Tokens, labels: Sequence[list[int]], slot: int) -> dict[tuple[int, ...], float]:
        logprobs: dict[tuple[int, ...], float] = {}
        before: list[int] = []
        for label in sorted(labels):
            shared = n_shared(before, label)
            rest, before = label[shared:], label
            answer = await self._client.post(
                {
                    "prompt": [*prompt, *label[:shared]], "n_predict": len(rest),
                    "grammar": "root ::= " + " ".join(f"<[{token}]>" for token in rest),
                    "n_probs": 1, "temperature": 0, "samplers": [], "cache_prompt": True, "id_slot": slot,
                },
                "completion",
            )  # fmt: skip
            rows = answer.get("completion_probabilities") or []
            if [row.get("id") for row in rows] != rest:
                raise ProviderError(OTHER_TOKENS, code="malformed", retryable=False)
            for number, row in enumerate(rows, shared + 1):
                logprobs[tuple(label[:number])] = min(0.0, float(row["logprob"]))
        return logprobs

    async def _label_tokens(self, labels: TextTuple, text: str, n_prompt: int) -> list[list[int]]:
        """Return the tokens per label behind the prompt `text`, which has `n_prompt`.

        A label with a character that is cut into several tokens has no tokens: no grammar generates it.
        """
        key = text[-TAIL_CHARS:], labels
        if key not in self._tokens:
            pieces = [(await self._pieces(text + label))[n_prompt:] for label in labels]
            self._tokens[key] = [
                [token for token, _ in row] if all(whole for _, whole in row) else [] for row in pieces
            ]
        return self._tokens[key]

    async def _pieces(self, text: str) -> list[tuple[int, bool]]:
        answer = await self._client.post(
            {"content": text, "add_special": True, "parse_special": True, "with_pieces": True}, "tokenize"
        )
        return [(int(token["id"]), isinstance(token["piece"], str)) for token in answer["tokens"]]


# A shorter prefix is read as fast as it is copied.
MIN_CHARACTERS = 800


class SharedPrefix:
    """Copies each shared prefix to the slots of one engine, once.

    llama.cpp reuses a prefix in one slot only: with 8 slots a few-shot prefix is read 8 times. Here the second request
    with a known prefix reads it, and its state is restored into the other slots. If a step fails, requests go on
    without it; answers do not depend on this.

    Source: llama.cpp tools/server/README.md (`/slots/{id}?action=save|restore`).

    Args:
        client: Of the engine.
        slots: Number of its slots.
        folder: Its `slot_save_path`.
    """

    def __init__(self, client: HttpClient, slots: int, folder: Path) -> None:
        self._client, self._slots, self._folder = client, slots, folder
        self._first: dict[str, Message] = {}
        self._lock = asyncio.Lock()
        self.copied: set[str] = set()

    async def prepare(self, request: Request, body: JsonMapping) -> None:
        """Copy the prefix of `request` if another question had it before; requests with that prefix wait.

        Repeats of the first question pass: their slot has the whole prompt.
        """
        before, question = request.messages[:-1], request.messages[-1]
        if self._slots == 1 or sum(len(str(turn.get("content"))) for turn in before) < MIN_CHARACTERS:
            return
        key = content_hash([list(before), list(request.tools)])
        if key in self.copied or self._first.setdefault(key, question) == question:
            return
        async with self._lock:
            if key not in self.copied:
                with suppress(ProviderError, OSError):  # the request meets the same fault itself, or does without
                    await self._copy(body, self._folder / f"{key}.slot")
                self.copied.add(key)

    async def _copy(self, body: JsonMapping, file: Path) -> None:
        try:
            await self._client.post({**body, "max_tokens": 1, "id_slot": 0}, "chat/completions")
            await self._client.post({"filename": file.name}, "slots/0?action=save")
            for slot in range(1, self._slots):
                await self._client.post({"filename": file.name}, f"slots/{slot}?action=restore")
        finally:
            file.unlink(missing_ok=True)


# Limit of loading a model, seconds.
START_S = 120.0
# So many children that died without one answer are a fault of the engine or the machine.
MAX_CRASHES_IN_A_ROW = 5
# A request is the culprit if it was in flight at so many crashes, and was the only suspect at all but the first.
MAX_CRASHES_OF_REQUEST = 3
# Memory for the child of a small model, MiB; llama.cpp's buffers take at most `BUFFERS_MIB`. The rest caches prompts
# that no slot holds any more: a rung that only samples otherwise asks the same questions again, and with examples in
# the prompt reading them is most of the work.
MOST_MIB, BUFFERS_MIB = 1536, 512
# A large model takes more: then a share of its size is for such prompts. Never more than a share of the machine.
MODEL_SHARE, MACHINE_SHARE = 1 / 4, 1 / 6
MAX_LOG_BYTES = 2**20
_OVERFLOW = re.compile(r"request \((\d+) tokens\) exceeds the available context size \((\d+) tokens\)")


def cores() -> int:
    """Return how many cores this process may use; any further thread would wait for another, spinning."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Engine:
    """One child process and the address it answers at.

    Args:
        settings: Model and options; the engine adds the key and the parent.
        log: File that native code prints to; cut when it grows over 1 MiB.
    """

    def __init__(self, settings: EngineSettings, log: Path) -> None:
        self.api_key = secrets.token_urlsafe(24)
        self.address = ""
        self.crash_counted = False
        self.log = log
        self._log_start = 0
        self.settings = replace(
            settings, api_key=self.api_key, parent=os.getpid(), slot_folder=f"{log.parent.resolve()}/"
        )
        self.process: processes.Child | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def start(self, timeout_s: float = START_S) -> None:
        """Start the child and wait until the model is loaded.

        It is started from the thread that runs this (the kernel ties a child to the thread that made it), in a
        session of its own (Ctrl-C must reach the parent alone) and without the keys of the environment.

        Raises:
            ModelError: The model does not load, or not within `timeout_s`.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.log.exists() or self.log.stat().st_size > MAX_LOG_BYTES
        with self.log.open("wb" if fresh else "ab") as log:
            self._log_start = log.tell()
            self.process = processes.start(
                processes.main_of("tuneworthy.providers.llama_child"), log, piped=True, own_session=True
            )
        try:
            report = await asyncio.wait_for(asyncio.to_thread(self._introduce), timeout_s)
        except BaseException as error:
            await asyncio.to_thread(self.close)
            if isinstance(error, TimeoutError):
                raise self._load_error(f"not ready after {timeout_s:g} s") from None
            raise
        if "address" not in report:
            status = self._status()
            self.close()
            raise self._load_error(report.get("error") or status)
        self.address = report["address"]

    def close(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            processes.end(process, grace_s=2.0)

    async def died(self, patience_s: float = 0.5) -> bool:
        end = time.monotonic() + patience_s
        while self.alive and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return not self.alive

    def exit_report(self) -> str:
        reason = last_log_line(
            self.log, self._log_start, ("GGML_ASSERT", "GGML_ABORT", "terminate called", "CUDA error")
        )
        return f"llama.cpp {self._status()}{f': {reason}' if reason else ''} (log: {self.log})."

    def _introduce(self) -> JsonObject:
        """Send the settings and read the report; {} if the child ends without one. Blocks."""
        process = self.process
        if process is None or process.stdin is None or process.stdout is None:
            return {}
        try:
            process.stdin.write(orjson.dumps(asdict(self.settings)) + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            return {}
        line = process.stdout.readline()
        report: JsonObject = orjson.loads(line) if line else {}
        if "address" not in report:
            process.wait()
        return report

    def _status(self) -> str:
        code = self.process.poll() if self.process else None
        if code is None:
            return "does not respond"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"

    def _load_error(self, reason: str) -> ModelError:
        reason = last_log_line(self.log, self._log_start, ("error loading model", " E ")) or reason
        return ModelError(
            f"llama.cpp cannot load {self.settings.path}: {reason}.",
            hint=f"See {self.log}.",
        )


class _Client(OpenAIProvider):
    """Speaks to the child; a timed request goes to its lane's slot, which caches only the case before it."""

    def body(self, request: Request) -> RequestParts:
        body, dropped = super().body(request)
        return (body | {"id_slot": request.timing.lane} if request.timing else body), dropped


class LlamaCppProvider(BaseProvider):
    """Answers through a child process that is started at the first request.

    Args:
        settings: Model and options of the child (the engine adds key, parent and folder).
        log: Its log file.
        identity: What determines the answers.
        capabilities: The table's row for llama.cpp.
        timeout_s: Limit of one answer, seconds.
    """

    def __init__(
        self,
        *,
        settings: EngineSettings,
        log: Path,
        identity: JsonMapping,
        capabilities: Capabilities,
        timeout_s: float = 300.0,
    ) -> None:
        super().__init__(identity, capabilities)
        self.engine: Engine | None = None
        self.settings, self._log, self._timeout_s = settings, log, timeout_s
        self._client: OpenAIProvider | None = None
        self._timing: LlamaCppProvider | None = None
        self._slots: tuple[SharedPrefix, LabelRanker] | None = None
        self._crashes_in_a_row = 0
        self._suspects: dict[str, set[Engine]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = self._alone = asyncio.Lock()

    @property
    def memory_mib(self) -> Bounds | None:
        """MiB of the file, and the peak of the child that timed calls run in; None before them, or if not known."""
        process = self._timing.engine.process if self._timing and self._timing.engine else None
        with suppress(OSError):
            if process and (found := re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{process.pid}/status").read_text())):
                return Path(self.settings.path).stat().st_size / 2**20, int(found[1]) / 2**10
        return None

    async def complete(self, request: Request) -> Response:
        """Answer `request` (see `Provider.complete`).

        Raises:
            ModelError: The model does not load.
            OutsideFault: The engine dies again and again.
        """
        if request.timing and self.settings.cache_mib:
            if self._timing is None:  # its child keeps only one prompt per lane: it finds no earlier answer
                self._timing = LlamaCppProvider(
                    settings=replace(self.settings, slots=LANES, cache_mib=0), log=self._log, identity=self.identity,
                    capabilities=self.capabilities, timeout_s=self._timeout_s,
                )  # fmt: skip
            return await self._timing.complete(request)
        self._bind()
        if not self._suspects or (key := content_hash(outgoing(request))) not in self._suspects:
            return await self._answer(request)
        async with self._alone:
            response = await self._answer(request)
        self._suspects.pop(key, None)
        return response

    async def start(self) -> Engine:
        """Return the running engine; start or restart it if need be."""
        self._bind()
        async with self._starting:
            if self.engine is not None and self.engine.alive:
                return self.engine
            await self._drop()
            if self._crashes_in_a_row >= MAX_CRASHES_IN_A_ROW:
                raise OutsideFault(
                    f"llama.cpp crashed {self._crashes_in_a_row} times without returning an answer.",
                    hint=f"See {self._log}. Use fewer slots or a shorter context to save memory.",
                )
            engine = Engine(self.settings, self._log)
            await engine.start()
            self._client = _Client(
                base_url=engine.address, model=self.settings.alias, api_key=engine.api_key,
                identity=self.identity, capabilities=self.capabilities, timeout_s=self._timeout_s,
            )  # fmt: skip
            self.engine = engine
            self._share_slots()
            return engine

    async def close(self) -> None:
        if self._timing is not None:
            await self._timing.close()
        await self._drop()

    async def _answer(self, request: Request) -> Response:
        engine = self.engine if self.engine is not None and self.engine.alive else await self.start()
        client, slots = self._client, self._slots
        if client is None or slots is None:
            raise ProviderError("llama.cpp has been shut down.", code="connection", retryable=True)
        prefix, ranker = slots
        ranked = request.output.kind == "ranked"
        if request.messages and not request.timing:
            await prefix.prepare(request, client.body(request)[0])
        try:
            messages = with_instructions(request.messages, self.capabilities.instructions)
            response = await (ranker.rank(request, messages) if ranked else client.complete(request))
        except ProviderError as error:
            if error.code in {"connection", "malformed", "incomplete"} and await engine.died():
                raise self._crashed(engine, request) from None
            raise _explained(error) from None
        self._crashes_in_a_row = 0
        return response

    def _crashed(self, engine: Engine, request: Request) -> ProviderError:
        if not engine.crash_counted:
            engine.crash_counted = True
            self._crashes_in_a_row += 1
        crashes = self._suspects.setdefault(content_hash(outgoing(request)), set())
        crashes.add(engine)  # its repeats may have been in flight as well
        if len(crashes) < MAX_CRASHES_OF_REQUEST:
            return ProviderError(engine.exit_report(), code="crash", retryable=True)
        return ProviderError(
            f"This request crashed llama.cpp {len(crashes)} times. {engine.exit_report()}",
            code="crash",
            retryable=False,
        )

    async def _drop(self) -> None:
        client, self._client, self._slots = self._client, None, None
        engine, self.engine = self.engine, None
        if client is not None:
            await client.close()
        if engine is not None:
            await asyncio.to_thread(engine.close)

    def _bind(self) -> None:
        """Make new locks in a new event loop (the child itself does not care)."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._starting, self._alone = loop, asyncio.Lock(), asyncio.Lock()
            self._share_slots()

    def _share_slots(self) -> None:
        if self._client is not None and self.engine is not None:
            http, n = self._client.http, self.settings.slots
            prefix = SharedPrefix(http, n if self.settings.cache_prompt else 1, self.engine.log.parent)
            self._slots = prefix, LabelRanker(http, n)


def last_log_line(log: Path, start: int, marks: Texts) -> str:
    """Return the last line of `log` from byte `start` on with the first of `marks` that occurs, or "".

    The time stamp is cut off; at most the last 16 kB are read.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - 16384))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for mark in marks:
        if marked := [line for line in lines if mark in line]:
            return re.sub(r"^[\d.]+ [A-Z] ", "", marked[-1]).strip()[:300]
    return ""


def _explained(error: ProviderError) -> ProviderError:
    overflow = _OVERFLOW.search(error.message)
    if overflow is None:
        return error
    return ProviderError(
        (
            f"The prompt has {overflow[1]} tokens, but the context has room for only {overflow[2]}. Raise "
            "`context` or shorten the prompt."
        ),
        code="bad_request",
        retryable=False,
    )


def cache_mib(model_bytes: int, header: GgufHeader, n_tokens: int) -> int:
    """Return how much memory to keep prompts in that no slot holds any more, MiB, at least 1.

    Args:
        model_bytes: Size of the file.
        header: Its header.
        n_tokens: Of all slots together, whose keys and values lie in memory from the start.
    """
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    model = model_bytes / 2**20
    rest = MOST_MIB - BUFFERS_MIB - model - n_tokens * token_bytes(header) / 2**20
    return max(1, int(min(MACHINE_SHARE * machine, max(rest, MODEL_SHARE * model))))


def token_bytes(header: GgufHeader) -> int:
    """Return the most that the 16-bit keys and values of one token take."""
    start = f"{header.architecture}."
    size = {key.removeprefix(start): value for key, value in header.values.items() if isinstance(value, int)}.get
    heads = max(1, size("attention.head_count", 0))
    width = size("embedding_length", 0) // heads
    pair = size("attention.key_length", width) + size("attention.value_length", width)
    return 2 * size("block_count", 0) * size("attention.head_count_kv", heads) * pair


@provider("llama_cpp")
def open_llama_cpp(name: str, config: LlamaCpp, root: Path) -> LlamaCppProvider:
    """Open `[models.NAME]` with ``provider = "llama_cpp"``. Nothing is started or fetched yet.

    Raises:
        ModelError: The file is not here, or llama.cpp cannot load it.
        UserError: xllamacpp is not installed.
    """
    try:
        engine = version("xllamacpp")
    except PackageNotFoundError:
        raise UserError(
            f"models.{name} needs the package xllamacpp.", hint='Run `pip install "tuneworthy[local]"`.'
        ) from None
    path = find(config.model, root)
    if path is None:
        raise ModelError(
            f"models.{name}: {config.model} is not on this machine.",
            hint=f"Run `tuneworthy models pull {config.model}`.",
        )
    if path.is_dir():
        raise ModelError(f"models.{name} needs a GGUF file, but {path} is a folder.", hint="Specify a GGUF file.")
    header = read_header(path)
    context = min(config.context, header.context_length or config.context)
    settings = EngineSettings(
        path=str(path.resolve()), alias=config.model, slots=config.slots, context=context,
        threads=cores(), cache_mib=cache_mib(path.stat().st_size, header, config.slots * context),
    )  # fmt: skip
    return LlamaCppProvider(
        settings=settings,
        log=Folder(root).logs / f"{name}.log",
        identity={
            "provider": "llama_cpp", "model": config.model, "sha256": check_pinned(config.model, path),
            "context": context, "engine": f"xllamacpp {engine}",
        },
        capabilities=replace(capabilities_for(config), tools=header.takes_tools),
        timeout_s=config.timeout_s,
    )  # fmt: skip
