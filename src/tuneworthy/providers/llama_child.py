"""The child process of the embedded llama.cpp: loads one GGUF file and serves it until its parent goes.

Started by `llama_cpp.Engine` through `processes`. One JSON line comes on
standard input (`EngineSettings`), one goes out on standard output: ``{"address", "slots"}`` or ``{"error"}``. After
that, standard input is only a leash: when the parent closes it, or dies, the child exits at once. Everything
that native code prints goes to standard error, which the parent points at a log file.
"""

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from tuneworthy import processes

# Exit status after ``{"error"}``.
LOAD_FAILED = 3
# About 0.01 ms: with ten times that, a busy process besides it halves the speed once more (benchmarks/embedded.py).
SPINS = "200"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Settings of one child process; `Engine` fills in the last three.

    Attributes:
        path: The GGUF file.
        alias: Its name in requests.
        slots: Sequences decoded together.
        context: Context of one slot, tokens.
        threads: CPU threads.
        cache_mib: Memory for prompts that left their slot.
        cache_prompt: Whether a slot reuses the prefix of its last prompt.
        port: On the loopback; 0 for a free one.
        parent: Process id of the parent.
        api_key: Key that requests must have.
        slot_folder: Where states of slots are saved.
    """

    path: str
    alias: str
    slots: int
    context: int
    threads: int
    cache_mib: int = 0
    cache_prompt: bool = True
    port: int = 0
    parent: int = 0
    api_key: str = ""
    slot_folder: str = ""


def parameters(settings: EngineSettings) -> Any:
    """Return xllamacpp's parameters: a server on a free port of the loopback, as quiet and as closed as it goes.

    Each slot has its own stretch of the KV cache (`kv_unified` off): in a shared one, each sequence pays
    attention over the masked cells of all the others.

    Source: llama.cpp tools/server/README.md.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings.path
    params.model_alias = {settings.alias}
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], settings.port, [settings.api_key]
    params.ui = params.cors_credentials = False
    params.endpoint_slots, params.slot_save_path = True, settings.slot_folder
    params.n_parallel = settings.slots
    params.n_ctx = settings.slots * settings.context
    params.kv_unified = False
    params.cpuparams.poll = params.cpuparams_batch.poll = 0  # as `share_cores`, for builds without OpenMP
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.cache_prompt = settings.cache_prompt
    params.cache_ram_mib = settings.cache_mib
    params.warmup = False  # seconds on a busy machine, and the first request does the same
    params.verbosity = 2  # warnings: a line for each request would fill the disk
    return params


def share_cores() -> None:
    """Let threads that wait for one another sleep after a short spin; must come before native code is loaded.

    Between two operations all threads wait for the slowest. Where another process uses a core, the slowest one waits
    for that core, and by spinning (10 ms by default, longer than a time slice) its siblings keep it from moving to
    theirs. Without any spin each operation would pay for a wake-up.

    Source: https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def main() -> None:
    """Load, report, serve until standard input ends."""
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # native code prints to both
    settings = EngineSettings(**json.loads(sys.stdin.buffer.readline()))
    processes.die_with_parent(settings.parent)
    share_cores()
    try:
        import xllamacpp

        server = xllamacpp.Server(parameters(settings))
    except Exception as error:  # the parent turns it into a ModelError
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=report, flush=True)
        sys.exit(LOAD_FAILED)  # not os._exit: it waits for the thread that writes llama.cpp's log
    print(json.dumps({"address": server.listening_address}), file=report, flush=True)
    while os.read(0, 4096):
        pass
    os._exit(0)  # native teardown waits for answers that no one reads any more
