"""Opens the files that a person or a project names: only regular files, since a pipe or device may never end."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from tuneworthy.errors import UserError

# Of a file that is read as a whole, bytes.
MAX_WHOLE = 64 * 2**20


def open_input(path: Path) -> BufferedReader:
    """Open a regular file to read its bytes.

    Raises:
        UserError: It is a pipe, a device or a socket.
        OSError: It cannot be opened, or is a folder.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would wait for one
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise _not_a_file(path) from None
        raise
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise _not_a_file(path)
    return os.fdopen(handle, "rb")


def read_input(path: Path, most: int = MAX_WHOLE) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        UserError: It is no regular file, or larger than `most` bytes.
        OSError: It cannot be read.
    """
    with open_input(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{path} is larger than {most / 2**20:.0f} MiB.", hint="Specify a smaller file.")
    return content


def read_input_text(path: Path, most: int = MAX_WHOLE) -> str:
    """Return the text of a regular UTF-8 file, without a byte order mark; errors as in `read_input`.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
    """
    return read_input(path, most).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _not_a_file(path: Path) -> UserError:
    return UserError(f"{path} is a pipe, a device or a socket, not a regular file.", hint="Specify a regular file.")
