"""`serve --check`: what is told of a server that serves what was trained, of one that does not, and of its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tuneworthy.errors import OutsideFault
from tuneworthy.ship import serve
from tuneworthy.ship.parity.request import ParityRequest
from tuneworthy.ship.serve import ServingChoice, check_serving
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, Kind, write_artifact


class Healthy(BaseHTTPRequestHandler):
    """Answers that it is well."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def artifact(root: Path, kind: Kind, parent: str | None = None) -> Artifact:
    def fill(folder: Path) -> None:
        (folder / "file").write_text("x")

    return write_artifact(Folder(root), kind, fill, parent=parent, about={})


def checked(root: Path, monkeypatch: pytest.MonkeyPatch, address: str, parity: dict[str, Any]) -> dict[str, Any]:
    """Check a server at `address`, of which the forms say `parity`."""

    @contextmanager
    def started(choice: ServingChoice, log: Path, *, start_s: float) -> Iterator[Any]:
        if not address:
            raise OutsideFault("vLLM exited during startup")
        yield SimpleNamespace(address=address, alive=False)

    monkeypatch.setattr(serve, "vllm", started)
    monkeypatch.setattr(serve, "check_parity", lambda *_, **__: {"checks": [], **parity})
    base = artifact(root, "base")
    adapter = artifact(root, "adapter", base.id)
    choice = ServingChoice(engine="vllm", what="adapter", artifact=adapter, line="vllm serve", max_rank=16)
    store = Folder(root)
    document = check_serving(store, choice, ParityRequest(adapter=adapter, base=base))
    assert store.read("serving", dict) == document
    return document


PASS = {"status": "pass", "cause": None, "detail": ""}
GONE = "http://127.0.0.1:9"


def test_a_server_that_gives_the_answers_and_ends_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = checked(tmp_path, monkeypatch, GONE, PASS)
    assert document["status"] == "pass" and document["checks"][-1]["status"] == "pass"


def test_a_server_that_goes_on_after_it_was_stopped_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    document = checked(tmp_path, monkeypatch, address, PASS)
    assert document["status"] == "fail" and "still responds" in document["detail"]
    assert [(one["name"], one["status"]) for one in document["checks"]] == [("start", "pass"), ("stop", "fail")]


def test_a_server_with_other_answers_fails_with_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = {"name": "acts", "status": "fail", "detail": "The server runs the base model."}
    parity = {"status": "fail", "cause": "adapter_not_applied", "detail": "", "checks": [check]}
    document = checked(tmp_path, monkeypatch, GONE, parity)
    assert (document["status"], document["detail"]) == ("fail", "Parity failed. The server runs the base model.")


def test_a_server_that_was_asked_too_little_is_not_known_to_serve_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = checked(tmp_path, monkeypatch, GONE, {"status": "unknown", "cause": None, "detail": "too few"})
    assert (document["status"], document["detail"]) == ("unknown", "too few")


def test_a_server_that_does_not_start_fails_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = checked(tmp_path, monkeypatch, "", PASS)
    assert document["status"] == "fail" and "exited during startup" in document["detail"]
