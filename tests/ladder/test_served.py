"""A server of the tuned model is known by what it serves: another model behind the same address is another model."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from tests.ladder.tuned_simulations import make_artifact, make_models, write_tuned_simulation
from tuneworthy.config import Project, load
from tuneworthy.engine.models import Models
from tuneworthy.errors import UserError
from tuneworthy.ladder.own_models import add_tuned, missing, tuned_models
from tuneworthy.ship.served import NOTE, noted, served_at
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact

SERVER = '[models.server]\nprovider = "openai"\nmodel = "tuned"\nbase_url = "{url}/v1"\n[serve]\nmodel = "server"\n'


@dataclass
class Engine:
    """A server whose documents a test may change while it runs."""

    url: str = ""
    told: dict[str, Any] = field(default_factory=dict)

    def vllm(self, folder: Path) -> None:
        """Tell the folder that was loaded, as vLLM does."""
        self.told = {"/v1/models": {"data": [{"id": "tuned", "owned_by": "vllm", "root": str(folder)}]}}

    def llama_cpp(self, file: Path) -> None:
        """Tell the file that was loaded, as llama.cpp does."""
        self.told = {
            "/v1/models": {"data": [{"id": str(file), "owned_by": "llamacpp"}]},
            "/props": {"model_path": str(file)},
        }

    def silent(self) -> None:
        """Tell the name alone."""
        self.told = {"/v1/models": {"data": [{"id": "tuned"}]}}


@pytest.fixture
def engine() -> Iterator[Engine]:
    found = Engine()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = found.told.get(self.path)
            moved = (document or {}).get("moved_to")
            self.send_response(302 if moved else 404 if document is None else 200)
            if moved:
                self.send_header("Location", moved)
            self.end_headers()
            self.wfile.write(orjson.dumps(document))

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Project:
    root = write_tuned_simulation(tmp_path / "world", monkeypatch, extra=SERVER.format(url=engine.url))
    return load(root)


def identity(project: Project) -> bytes:
    """What the answers of the server are stored under."""
    models = Models(project)
    assert add_tuned(models, project)[1] == []
    return models["server"].identity


def test_answers_of_the_model_before_are_not_taken_for_those_of_the_one_served_now(
    project: Project, engine: Engine
) -> None:
    first = make_models(project.root)
    engine.vllm(first["merged"].folder)
    before = identity(project)
    assert first["merged"].id.encode() in before
    second = make_artifact(project.root, "merged", first["adapter"].id, dtype="float16")
    assert identity(project) == before, "what was merged since is not what is served"
    engine.vllm(second.folder)
    assert identity(project) != before and second.id.encode() in identity(project)


def test_a_server_tells_the_adapter_or_the_file_that_it_answers_with(project: Project, engine: Engine) -> None:
    made = make_models(project.root)
    engine.vllm(made["adapter"].folder)
    (found,) = tuned_models(project)
    assert (found.detail.adapter, found.detail.merged, found.artifact) == (made["adapter"].id, None, made["adapter"].id)
    engine.llama_cpp(made["gguf"].folder / "model.gguf")
    (found,) = tuned_models(project)
    assert (found.detail.gguf, found.detail.merged, found.detail.engine) == (
        made["gguf"].id,
        made["merged"].id,
        "llama_cpp",
    )


def test_a_server_that_does_not_answer_or_serves_something_else_is_no_tuned_model(
    project: Project, engine: Engine
) -> None:
    made = make_models(project.root)
    assert tuned_models(project) == [] and "models.server does not respond" in missing(project)
    engine.vllm(Path("/elsewhere/Qwen"))
    assert tuned_models(project) == []
    engine.vllm(made["base"].folder)
    assert tuned_models(project) == []
    engine.told = {"/v1/models": {"data": [{"id": "other", "root": str(made["merged"].folder)}]}}
    assert tuned_models(project) == []


def test_an_answer_from_elsewhere_or_without_end_is_none(project: Project, engine: Engine) -> None:
    made = make_models(project.root)
    card = {"data": [{"id": "tuned", "root": str(made["merged"].folder)}]}
    engine.told = {"/v1/models": {"moved_to": "/elsewhere"}, "/elsewhere": card}
    assert tuned_models(project) == [], "the key would go with it"
    engine.told = {"/v1/models": {**card, "more": "x" * 2**22}}
    assert tuned_models(project) == []
    engine.told = {"/v1/models": card}
    assert len(tuned_models(project)) == 1


def served(project: Project, artifact: Artifact, engine: Engine) -> list[str | None]:
    """Return what is known while `serve` runs."""
    with noted(Folder(project.root), artifact, engine.url):
        return [one.artifact for one in tuned_models(project)]


def test_what_serve_wrote_counts_while_its_process_and_its_address_live(project: Project, engine: Engine) -> None:
    made, store = make_models(project.root), Folder(project.root)
    assert served(project, made["merged"], engine) == [], "nothing answers"
    engine.silent()
    assert served(project, made["merged"], engine) == [made["merged"].id]
    name = NOTE.format(urlsplit(engine.url).port)
    assert store.read(name, dict) is None and tuned_models(project) == []
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    note = {"artifact": made["merged"].id, "engine": "vllm", "address": engine.url, "pid": os.getpid()}
    for stale in ({"pid": gone.pid}, {"address": "http://127.0.0.1:9"}):
        store.write(name, note | stale)
        assert tuned_models(project) == []
    store.write(name, note | {"address": engine.url.replace("127.0.0.1", "localhost")})
    assert [one.artifact for one in tuned_models(project)] == [made["merged"].id], "another name of this machine"
    store.write(name, ["no note"])
    with pytest.raises(UserError, match=r"\.json is damaged \(.*tuneworthy doctor"):
        tuned_models(project)
    engine.vllm(made["adapter"].folder)
    assert served(project, made["merged"], engine) == [made["adapter"].id], "the server's own word goes first"


def test_a_second_serve_does_not_hide_the_first(project: Project) -> None:
    made, store = make_models(project.root), Folder(project.root)
    urls = ["http://127.0.0.1:8001", "http://127.0.0.1:8002"]
    with noted(store, made["merged"], urls[0]):
        with noted(store, made["gguf"], urls[1]):
            assert [served_at(store, url) for url in urls] == [made["merged"], made["gguf"]]
        assert [served_at(store, url) for url in urls] == [made["merged"], None]


def test_a_proof_of_an_earlier_server_is_not_taken_for_a_running_one(project: Project, engine: Engine) -> None:
    made, store = make_models(project.root), Folder(project.root)
    store.write("serving", {"status": "pass", "engine": "vllm", "artifact": made["merged"].id})
    assert tuned_models(project) == []
    engine.silent()
    assert tuned_models(project) == []
