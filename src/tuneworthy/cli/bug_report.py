"""The log file of a bug: an unexpected exception keeps its traceback."""

import os
import platform
import shlex
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from tuneworthy import __version__
from tuneworthy.cli.invocation import Invocation
from tuneworthy.errors import UserError

PROJECT_FILE = "tuneworthy.toml"


def write_bug_report(error: Exception, invocation: Invocation) -> Path:
    """Write the traceback of `error`, with the command and the versions, and return the file.

    It lies in `.tuneworthy/logs/` of the project, or where there is no project (or no right to write) in the user's
    state folder, or last in the folder for temporary files.
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
    for folder in _folders(invocation.project):
        path = folder / f"bug-{now:%Y%m%d-%H%M%S}-{os.getpid()}.log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", errors="backslashreplace")
        except OSError:
            continue
        return path
    raise error


def _folders(project: Path) -> list[Path]:
    state = os.environ.get("XDG_STATE_HOME")
    folders = [
        (Path(state) if state else Path("~/.local/state").expanduser()) / "tuneworthy" / "logs",
        Path(tempfile.gettempdir()) / "tuneworthy",
    ]
    if (project / PROJECT_FILE).is_file():
        from tuneworthy.store import Folder

        try:
            store = Folder(project.resolve())
            store.create()
        except (OSError, UserError):
            return folders
        folders.insert(0, store.logs)
    return folders
