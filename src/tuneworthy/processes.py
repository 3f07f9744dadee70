"""Child processes. No other module starts one.

A child of this Python imports from this installation only (`-I`): not from the working folder, which may be a
stranger's, nor from PYTHONPATH. Its working folder is `/`, where native code finds no library of a stranger. Its
environment has no secret of the user. A worker that runs functions of the user's takes the folder and the import path
of its parent later, when the modules of this package are imported (`engine.shards`).
"""

import asyncio
import ctypes
import os
import pickle
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from queue import SimpleQueue
from subprocess import DEVNULL, PIPE, CompletedProcess, Popen, TimeoutExpired
from subprocess import run as _run
from threading import Thread
from typing import IO, Any, TypeAlias

Child: TypeAlias = Popen[bytes]
# Of a line of a child's output, bytes.
MOST_LINE = 2**25

# Variables of a child: where programs, caches, libraries and devices are, how to reach the network.
_PASSED = frozenset(
    {"ALL_PROXY", "HOME", "HTTPS_PROXY", "HTTP_PROXY", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "NO_PROXY",
     "PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "TEMP", "TMP", "TMPDIR", "TUNEWORTHY_HOME", "TZ",
     "USER", "VIRTUAL_ENV"}
)  # fmt: skip
_PASSED_PREFIXES = (
    "CUDA", "GOMP_", "HF_HOME", "HF_HUB_", "HIP", "HSA_", "KMP_", "LC_", "MKL_", "NCCL_", "NVIDIA_", "OMP_",
    "OPENBLAS_", "PYTORCH_", "ROCM_", "ROCR_", "TORCH", "TRANSFORMERS_", "TRITON_", "VLLM_", "XDG_CACHE_",
)  # fmt: skip
_PR_SET_PDEATHSIG = 1
_SECRET_PARTS = ("KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL", "AUTH")
# Imports this package from its own folder, which then comes last: nothing next to it replaces a module of Python.
_MAIN = (
    "import sys; sys.path.insert(0, sys.argv[1]); import tuneworthy; sys.path.append(sys.path.pop(0)); "
    "from importlib import import_module; sys.exit(import_module(sys.argv[2]).main(*sys.argv[3:]))"
)


def die_with_parent(parent: int) -> None:
    """Ask the kernel (Linux) to kill this process when its parent dies; exit now if it is dead already.

    The end of a pipe would be enough, but not while native code loads a model and blocks the interpreter.

    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def release_memory() -> None:
    """Return free memory to the system (glibc), which otherwise stays with this process in pieces."""
    if trim := sys.platform == "linux" and getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def python(*arguments: str) -> list[str]:
    """Return a command line of this Python, isolated."""
    return [sys.executable, "-I", *arguments]


def main_of(module: str, *arguments: str) -> list[str]:
    """Return a command line that calls `main` of a module of this package with `arguments`."""
    return python("-c", _MAIN, str(Path(__file__).parents[1]), module, *arguments)


def search_path() -> str:
    """Return the absolute folders of the PATH: a relative one may be a stranger's."""
    return os.pathsep.join(one for one in os.environ.get("PATH", "").split(os.pathsep) if Path(one).is_absolute())


def program(name: str, root: Path) -> str | None:
    """Return the absolute path of a program: on the PATH, or relative to the project folder `root`.

    None if it is missing, or in `root`; the environment of this Python may be there.
    """
    found = shutil.which(str(root / name) if os.sep in name else name, path=search_path()) or ""
    path = Path(found).parent.resolve() / Path(found).name
    outside = {root.resolve()}.isdisjoint([*path.parents, *path.resolve().parents])
    return str(path) if found and (outside or path.parent == Path(sys.executable).parent.resolve()) else None


def environment(*prefixes: str, **settings: str) -> dict[str, str]:
    """Return the environment of a child: no secret of the user is in it.

    Args:
        prefixes: Beginnings of further names that this child may know.
        settings: Further variables.
    """
    named = (*_PASSED_PREFIXES, *prefixes)
    passed = {
        name: value
        for name, value in os.environ.items()
        if (name.upper() in _PASSED or name.startswith(named))
        and (name.startswith(prefixes) or not any(part in name.upper() for part in _SECRET_PARTS))
    }
    return passed | settings


def start(
    command: Sequence[str],
    log: IO[bytes] | None = None,
    *,
    piped: bool = False,
    own_session: bool = False,
    variables: Mapping[str, str] | None = None,
) -> Child:
    """Start a child.

    Args:
        command: Its command line; paths in it are absolute.
        log: Gets its error output, and its output if that is not piped.
        piped: Whether its input and output are pipes.
        own_session: Whether Ctrl-C at the terminal leaves it running.
        variables: Its environment; `environment()` if not given.
    """
    ends: dict[str, Any] = {"stdin": PIPE, "stdout": PIPE} if piped else {"stdin": DEVNULL, "stdout": log or DEVNULL}
    return Popen(
        command, stderr=log or DEVNULL, cwd="/", env=variables or environment(), start_new_session=own_session, **ends
    )


def run(command: Sequence[str]) -> CompletedProcess[str]:
    """Run a child to its end, and return its status and its output."""
    return _run(command, stdin=DEVNULL, capture_output=True, text=True, check=False, cwd="/", env=environment())


async def run_async(command: Sequence[str]) -> CompletedProcess[str]:
    """Run a child to its end in a session of its own, and return its status and its output; a stop kills it."""
    child = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, cwd="/", env=environment(), start_new_session=True
    )
    try:
        out, errors = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return CompletedProcess(command, child.returncode or 0, out.decode(), errors.decode(errors="replace"))


async def start_async(command: Sequence[str], log: IO[bytes]) -> asyncio.subprocess.Process:
    """Start a child with piped input and output in a session of its own.

    It calls models and runs functions of the user's, so it has the whole environment and the working folder.
    """
    return await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=log, start_new_session=True, limit=MOST_LINE
    )


def send(pipe: IO[bytes] | None, message: Any) -> None:
    """Write an object to a pipe, unless the process at its other end has ended."""
    with suppress(BrokenPipeError):
        if pipe is not None:
            pickle.dump(message, pipe)
            pipe.flush()


def messages(pipe: IO[bytes] | None) -> Iterator[Any]:
    """Yield the objects that another process sends, until its end, which may cut one off."""
    with suppress(EOFError, UnpicklingError, ValueError):
        while pipe is not None:
            yield pickle.load(pipe)


def listen(child: Child, inbox: SimpleQueue[tuple[Child, Any]]) -> None:
    """Put the messages of a piped child into `inbox`, each with the child, and None at the end of its output."""

    def read() -> None:
        try:
            for message in messages(child.stdout):
                inbox.put((child, message))
        finally:
            inbox.put((child, None))

    Thread(target=read, daemon=True).start()


def end(child: Child, grace_s: float) -> None:
    """Close a piped child's input, and kill the child if it is still running after `grace_s` seconds."""
    with suppress(BrokenPipeError):
        if child.stdin is not None:
            child.stdin.close()
    try:
        child.wait(grace_s)
    except TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()
