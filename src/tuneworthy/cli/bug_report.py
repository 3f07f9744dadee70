"""The log file of a bug: an unexpected exception keeps its traceback."""

import os
import platform
import shlex
import tempfile
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tuneworthy import __version__
from tuneworthy.cli.invocation import Invocation
from tuneworthy.errors import UserError

PROJECT_FILE = "tuneworthy.toml"


def write_bug_report(error: Exception, invocation: Invocation) -> Path:
    """Write the traceback of `error`, with the command and the versions, and return the file.

    It lies in `.tuneworthy/logs/` of the project, or where there is no project (or no right to write) in a new folder
    for temporary files.
    """
    now = datetime.now(UTC)
    text = "".join(
        [
            f"tuneworthy {__version__}, Python {platform.python_version()}, {platform.platform()}\n",
            f"{now.isoformat(timespec='seconds')}\n",
            f"$ {shlex.join(['tuneworthy', *invocation.arguments])}\n\n",
            *traceback.format_exception(error),
        ]
    )
    name = f"bug-{now:%Y%m%d-%H%M%S}-{os.getpid()}.log"
    with suppress(OSError, UserError):
        return _written(_logs(invocation.project) / name, text)
    return _written(Path(tempfile.mkdtemp(prefix="tuneworthy-")) / name, text)  # no one else can write there


def _logs(project: Path) -> Path:
    if not (project / PROJECT_FILE).is_file():
        raise FileNotFoundError
    from tuneworthy.store import Folder

    store = Folder(project.resolve())
    store.create()
    return store.logs


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8", errors="backslashreplace")
    return path
