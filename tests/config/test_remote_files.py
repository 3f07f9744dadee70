"""Data of a project behind URLs: a whole copy of the present version, after consent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import fsspec
import orjson
import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.cases.addition import add_cases
from tuneworthy.cases.dataset import read_dataset
from tuneworthy.config import load
from tuneworthy.config.grants import missing_grants
from tuneworthy.errors import OutsideFault, UserError
from tuneworthy.remote_files import local_copy
from tuneworthy.trust import VARIABLE, Untrusted, allow

URL = "memory://bucket/data/cases.jsonl"


@pytest.fixture
def memory() -> Iterator[Any]:
    """The files in memory, removed at the end."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    local_copy.cache_clear()


def again(root: Path, url: str = URL) -> bytes:
    """Return what the next process reads."""
    local_copy.cache_clear()
    return local_copy(root, url).read_bytes()


@pytest.fixture
def project(tmp_path: Path, memory: Any) -> Path:
    root = write_simulation(tmp_path / "p", {"m": "answer(request, 0.5)"}, n_cases=40, n_examples=30)
    for name in ("cases", "examples"):
        memory.pipe(f"/bucket/data/{name}.jsonl", (root / f"{name}.jsonl").read_bytes())
        (root / f"{name}.jsonl").unlink()
    file = root / "tuneworthy.toml"
    where = URL.replace("cases", "examples")
    file.write_text(file.read_text().replace("[examples]", f'[cases]\npath = "{URL}"\n[examples]\npath = "{where}"'))
    return root


def test_cases_and_examples_are_read_from_urls(project: Path) -> None:
    data = read_dataset(load(project))
    assert len(data.cases) == 40 and len(data.examples) == 30


def test_a_url_needs_consent_to_its_host_and_path(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    found = load(project)
    grants = [grant for grant in missing_grants(found) if grant.kind == "server"]
    assert [str(grant) for grant in grants] == [
        f"send requests to memory://bucket/data/{name}.jsonl" for name in ("cases", "examples")
    ]
    with pytest.raises(Untrusted, match="memory://bucket/data"):
        found.path(URL)
    assert not (project / ".tuneworthy").exists()
    allow(project, grants)
    assert found.path(URL).exists()
    with pytest.raises(Untrusted, match="memory://other"):
        found.path(URL.replace("bucket", "other"))


def test_a_file_is_copied_again_only_if_it_has_changed(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, plain = [], type(memory).get_file

    def get_file(self: Any, *arguments: Any, **named: Any) -> Any:
        fetched.append(arguments[0])
        return plain(self, *arguments, **named)

    monkeypatch.setattr(type(memory), "get_file", get_file)
    memory.pipe("/bucket/data/cases.jsonl", b"one")
    assert [again(tmp_path), again(tmp_path), len(fetched)] == [b"one", b"one", 1]
    memory.pipe("/bucket/data/cases.jsonl", b"two")  # of the same size
    assert [again(tmp_path), len(fetched)] == [b"two", 2]


@pytest.mark.parametrize("facts", [
    ("ETag", '"{}"'), ("Last-Modified", "Wed, 02 Dec 2026 10:00:0{} GMT"), ("Content-Type", "text/plain")])  # fmt: skip
def test_a_server_that_reports_a_version_or_not_gives_the_present_file_without_the_query_in_its_name(
    facts: tuple[str, str], tmp_path: Path
) -> None:
    content, n_read = b"one", 0

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal n_read
            n_read += self.command == "GET"
            self.send_response(200)
            self.send_header("Content-Length", "3")
            self.send_header(facts[0], facts[1].format(len(set(content)) - 1))
            self.end_headers()
            self.wfile.write(content if self.command == "GET" else b"")

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/a/cases.jsonl?token=x/y.csv"
        try:
            assert [again(tmp_path, url), again(tmp_path, url)] == [b"one"] * 2
            assert local_copy(tmp_path, url).name == "cases.jsonl"
            assert n_read == (1 if facts[0] != "Content-Type" else 2)
            content = b"twt"
            assert again(tmp_path, url) == b"twt"
        finally:
            server.shutdown()


def test_a_copy_that_was_cut_off_is_not_read(tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe("/bucket/data/cases.jsonl", b"one")
    again(tmp_path)
    copy = local_copy(tmp_path, URL)

    def cut_off(self: Any, _: str, path: str) -> None:
        Path(path).write_bytes(b"t")
        raise TimeoutError

    memory.pipe("/bucket/data/cases.jsonl", b"two")
    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "get_file", cut_off)
        with pytest.raises(OutsideFault, match="cannot be read: TimeoutError"):
            again(tmp_path)
    assert {path.name for path in copy.parent.iterdir()} == {copy.name, ".version"}
    assert copy.read_bytes() == b"one" and again(tmp_path) == copy.read_bytes() == b"two"


def test_an_older_file_that_another_process_puts_in_place_is_not_taken_for_the_present_one(
    tmp_path: Path, memory: Any
) -> None:
    memory.pipe("/bucket/data/cases.jsonl", b"two")
    assert again(tmp_path) == b"two"
    older = tmp_path / "older"  # its copy was slow, and it was killed before it wrote a mark
    older.write_bytes(b"one")
    os.utime(older, ns=(1, 1))
    older.replace(local_copy(tmp_path, URL))
    assert again(tmp_path) == b"two"


@pytest.mark.parametrize(("url", "error", "message"), [
    (URL, OutsideFault, "cannot be read: .*No such file|cannot be read: .*cases.jsonl"),
    ("memory://bucket/?file=1", UserError, "is not PROTOCOL://HOST/PATH"),
    ("file:///etc/passwd", UserError, "is not PROTOCOL://HOST/PATH"),
    ("file://host/etc/passwd", UserError, "is not PROTOCOL://HOST/PATH"),
    ("simplecache::file:///etc/passwd", UserError, "is not PROTOCOL://HOST/PATH"),
    ("nowhere://host/cases.jsonl", OutsideFault, "Protocol not known"),
    ("oss://host/cases.jsonl", UserError, "Install")])  # fmt: skip
def test_a_url_that_cannot_be_read_says_why(
    url: str, error: type[Exception], message: str, tmp_path: Path, memory: Any
) -> None:
    with pytest.raises(error, match=message):
        again(tmp_path, url)


def test_no_case_is_added_to_a_copy(project: Path, tmp_path: Path) -> None:
    (tmp_path / "new.jsonl").write_bytes(orjson.dumps({"input": "item 9000 is new here", "expected": "red"}))
    with pytest.raises(UserError, match=f"Rows cannot be appended to {URL}"):
        add_cases(load(project), tmp_path / "new.jsonl")
