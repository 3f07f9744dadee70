"""A vLLM server that the tool starts, watches and stops: on the loopback, with neutral sampling, on a leash.

`--generation-config vllm` keeps vLLM from taking temperature, top_p and penalties out of the model's own
generation_config.json. A LoRA adapter above `--max-lora-rank` (16 by default) is refused by vLLM at start, so the
limit is set from the adapter.

Source: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html and
https://docs.vllm.ai/en/latest/features/lora.html.
"""

import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tuneworthy.errors import OutsideFault, ProviderError, UserError
from tuneworthy.providers import messages
from tuneworthy.providers.http_client import send_once
from tuneworthy.trust import child_environment

# What `--max-lora-rank` may be. Source: vLLM vllm/config/lora.py.
RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
START_S: Final = 600.0
HEALTH_S: Final = 5.0
MAX_LOGPROBS: Final = 200
BASE_NAME: Final = "base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is started.

    Attributes:
        model: Folder of a model in 16 bit.
        name: As requests name it.
        port: On the loopback.
        adapter: Folder of an adapter that is applied while serving; `name` then is the adapter, `base` the model.
        max_rank: Of adapters.
        context: Most tokens of a request, or None for the model's own.
        more: Further arguments.
        executable: The program, by name or path.
    """

    model: Path
    name: str
    port: int
    adapter: Path | None = None
    max_rank: int | None = None
    context: int | None = None
    more: Sequence[str] = ()
    executable: str = "vllm"

    def argv(self) -> list[str]:
        """Return the command, an argument an element."""
        command = [self.executable, "serve", str(self.model), "--host", "127.0.0.1", "--port", str(self.port),
                   "--served-model-name", BASE_NAME if self.adapter else self.name, "--generation-config", "vllm",
                   "--max-logprobs", str(MAX_LOGPROBS)]  # fmt: skip
        if self.context is not None:
            command += ["--max-model-len", str(self.context)]
        if self.adapter is not None:
            command += ["--enable-lora", "--max-lora-rank", str(self.max_rank or RANKS[2]),
                        "--lora-modules", f"{self.name}={self.adapter}"]  # fmt: skip
        return [*command, *self.more]

    def line(self) -> str:
        """Return the line to run it by hand."""
        return shlex.join(self.argv())


def rank_limit(rank: int) -> int:
    """Return the least limit that vLLM knows for adapters of `rank`.

    Raises:
        UserError: vLLM applies no adapter of this rank.
    """
    limits = [limit for limit in RANKS if limit >= rank]
    if not limits:
        raise UserError(
            f"The adapter's LoRA rank is {rank}, but vLLM supports at most {RANKS[-1]}.",
            hint="Serve the merged model instead.",
        )
    return limits[0]


def free_port() -> int:
    """Return a port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class VllmServer:
    """A running server.

    Attributes:
        launch: What is started.
        log: File that it prints to; overwritten at each start.
    """

    launch: Launch
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """Where it answers, without the version."""
        return f"http://127.0.0.1:{self.launch.port}"

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = START_S) -> None:
        """Start it and wait until it answers. Blocks.

        Raises:
            UserError: The program is not there.
            OutsideFault: It ended, or does not answer within `timeout_s`.
        """
        program = shutil.which(self.launch.executable)
        if program is None:
            raise UserError(
                f"The program {self.launch.executable} was not found.",
                hint="Install vLLM in a separate environment, then set `executable` in [models.NAME] to its bin/vllm.",
            )
        from tuneworthy.providers import supervised_child

        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(supervised_child.__file__), "--", program, *self.launch.argv()[1:]],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=environment(),
            )  # fmt: skip
        try:
            self._wait(timeout_s)
        except BaseException:
            self.stop()
            raise

    def _wait(self, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        see_log = messages.say("see_log", log=self.log)
        while time.monotonic() < end:
            if not self.alive:
                raise OutsideFault(f"vLLM exited during startup: {last_error_line(self.log)}.", hint=see_log)
            with suppress(ProviderError):
                if send_once("GET", f"{self.address}/health", timeout_s=HEALTH_S).accepted:
                    return
            time.sleep(0.5)
        raise OutsideFault(f"vLLM did not respond within {timeout_s:g} s.", hint=see_log)

    def stop(self) -> None:
        """Let the leash go and wait until the server has ended; may be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def environment() -> dict[str, str]:
    """Return the environment of the server: nothing is fetched or reported, and the cache on a CPU stays small."""
    quiet = child_environment(HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1")
    return {"VLLM_CPU_KVCACHE_SPACE": "1", **quiet}


def last_error_line(log: Path) -> str:
    """Return the last line of a log that names an error, or its last line."""
    try:
        lines = log.read_bytes()[-32768:].decode("utf-8", "replace").splitlines()
    except OSError:
        return messages.say("empty_log")
    telling = [line for line in lines if "Error" in line or "error:" in line] or [
        line for line in lines if line.strip()
    ]
    return telling[-1].strip()[:300] if telling else messages.say("empty_log")
