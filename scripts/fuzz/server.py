"""The server that is exported with a classifier: no request ends in a traceback, and it serves the next one."""

from __future__ import annotations

import runpy
import shutil
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from scripts.fuzz import raw_http

import tuneworthy

CLASSIFIER: Final = """
def predict(text):
    return text if isinstance(text, str) else sorted(text)


answer = predict
"""
CLEAN: Final = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
INPUTS = raw_http.INPUTS
BATCH: Final = 40
faults: list[Any] = []
state: dict[str, int] = {"n": 0, "port": 0, "memory": 0}


def note_error(*_: object) -> None:
    """Note what ends in a traceback."""
    if not isinstance(sys.exception(), ConnectionError):
        faults.append(sys.exception())


def prepare() -> None:
    """Export the server next to a stub of a classifier, and start it in a thread."""
    folder, path = Path(tempfile.mkdtemp()), [*sys.path]
    (folder / "classifier.py").write_text(CLASSIFIER)
    shutil.copy(Path(tuneworthy.__file__).parent / "classical" / "server.py", folder)
    module = runpy.run_path(str(folder / "server.py"), run_name="server")
    sys.path[:] = path  # the server leaves its own folder out
    shutil.rmtree(folder)
    server = module["Server"](("127.0.0.1", 0), module["Handler"])
    server.handle_error = note_error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.update(port=server.server_port, memory=raw_http.memory())


def use(drawn: Sequence[bytes]) -> None:
    """Send an input, and check the server after each batch."""
    raw_http.talk(state["port"], drawn, 0.02)
    state["n"] += 1
    if state["n"] % BATCH == 0:
        raw_http.check(state["port"], CLEAN, state["memory"])
        assert threading.active_count() < 50 + BATCH, threading.active_count()
    found, faults[:] = [*faults], []
    assert not found, found
