"""Fork server for the command line: each call runs in a fork of an interpreter that has imported the tool already.

A fork has its own working directory, environment, output and limits, as a new interpreter would, without the second or
more of imports. `python -m tests.forked` is the server; it has one thread.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

ROOT = Path(__file__).parents[1]
WARM = ("cli.init", "cli.run", "cli.decide", "cli.status", "cli.doctor", "cli.plan", "ladder.run")
PROJECT = """[task]
name = "warm"
target = 0.9
[[graders]]
type = "exact"
[models.m]
provider = "openai"
model = "m"
base_url = "http://127.0.0.1:9/v1"
[ladder]
baseline = "m"
"""


@cache
def _server() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forked"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    atexit.register(process.wait)
    atexit.register(process.stdin.close)
    return process


def run(
    arguments: list[str],
    *,
    cwd: Path,
    limits: Mapping[int, int] | None = None,
    timeout: float = 600.0,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `tuneworthy ARGUMENTS`; the status is negative for a signal, as of `subprocess.run`.

    Args:
        limits: Of `resource.setrlimit`, soft and hard.
        timeout: Wall time, seconds; what takes longer is killed.
        env: The environment [that of this process].
    """
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with TemporaryFile() as out, TemporaryFile() as err:
        paths = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (out, err)]
        task = [arguments, str(cwd), dict(os.environ if env is None else env), list((limits or {}).items()), *paths]
        server.stdin.write(json.dumps([*task, timeout]) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        texts = [(file.seek(0), file.read().decode(errors="replace"))[1] for file in (out, err)]
    return subprocess.CompletedProcess(["tuneworthy", *arguments], status, *texts)


def _serve() -> None:
    """Fork for each task, and print its status; a fork returns from here."""
    for line in sys.stdin:
        arguments, cwd, env, limits, out, err, timeout = json.loads(line)
        child = os.fork()
        if not child:
            os.chdir(cwd)
            os.environ.clear()
            os.environ.update(env)
            for number, path in enumerate(("/dev/null", out, err)):
                opened = os.open(path, os.O_RDWR | os.O_APPEND)
                os.dup2(opened, number)
                os.close(opened)
            for limit, value in limits:
                resource.setrlimit(limit, (value, value))
            sys.argv = ["tuneworthy", *arguments]
            return
        end = time.monotonic() + timeout
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            time.sleep(0.005)
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                ended = os.waitpid(child, 0)
                break
        print(os.waitstatus_to_exitcode(ended[1]), flush=True)
    sys.exit()


if __name__ == "__main__":
    sys.path = [path for path in sys.path if Path(path or ".").resolve() != ROOT]
    for name in WARM:
        import_module(f"tuneworthy.{name}")
    from tuneworthy.cli import invoke
    from tuneworthy.start import main

    with TemporaryDirectory() as folder, redirect_stdout(StringIO()):  # what else is imported when it is needed
        (Path(folder) / "tuneworthy.toml").write_text(PROJECT)
        rows = [{"input": f"question {n}", "expected": f"a{n % 3}"} for n in range(60)]
        (Path(folder) / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert invoke(["check", "--offline", "--project", folder]) == 0
    gc.freeze()

    _serve()
    main()
