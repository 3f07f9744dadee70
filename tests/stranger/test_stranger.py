"""A package that nobody here wrote extends the tool by following CONTRIBUTING.md alone."""

from __future__ import annotations

import hmac
import json
import os
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

HERE = Path(__file__).parent
PACKAGE = HERE / "tuneworthy_stranger"
CONTRIBUTING = HERE.parent.parent / "CONTRIBUTING.md"
SNIPPETS = ("grader.py", "rung.py", "provider.py", "signed.py", "check.py", "export_format.py")
PROJECT = """
[task]
name = "colours"
target = 0.9
[cases]
[examples]
[prompt]
system = "Name the colour, such as red."
[[graders]]
type = "ends_with"
[models.one]
provider = "echo"
answer = "It is blue"
polite_answer = "It is RED"
[ladder]
baseline = "one"
rungs = ["baseline", "politeness"]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages that holds this one: the package and its metadata, as pip writes them."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, site / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    about = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    info = site / f"tuneworthy_stranger-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in about["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    return site


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tuneworthy.toml").write_text(PROJECT)
    cases = [{"input": f"item {i} thing {i * 7919 % 104729}", "expected": "red"} for i in range(60)]
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"thing {i} item {i * 7907 % 104711}"},
                {"role": "assistant", "content": "RED" if i < 3 else f"red {i}"},
            ]
        }
        for i in range(220)
    ]
    for name, lines in (("cases.jsonl", cases), ("examples.jsonl", rows)):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def tuneworthy(site: Path, project: Path, *arguments: str, status: int = 0) -> Any:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "XDG_STATE_HOME": str(project)}
    command = [sys.executable, "-m", "tuneworthy", *arguments, "--json", "--project", str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_a_run_uses_their_grader_rung_and_provider(site: Path, project: Path) -> None:
    record = tuneworthy(site, project, "run")
    rungs = {rung["rung"]: rung for rung in record["rungs"]}
    assert rungs["baseline"]["score"] == 0.0
    assert (rungs["politeness"]["score"], rungs["politeness"]["status"]) == (1.0, "adopted")
    assert record["best"]["rung"] == "politeness"
    checked = tuneworthy(site, project, "check")
    assert checked["errors"] == 0


class Vendor(BaseHTTPRequestHandler):
    """Answers "It is RED" to a request that is signed with the secret, and keeps headers with the secret itself."""

    leaked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.leaked += [value for value in self.headers.values() if "s3cret" in value]
        self.send_error(403)

    def do_POST(self) -> None:
        self.leaked += [value for value in self.headers.values() if "s3cret" in value]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        url = f"http://{self.headers['Host']}{self.path}"
        text = f"POST\n{url}\n{self.headers['Content-Type']}\n".encode() + body
        good = self.headers["X-Signature"] == hmac.new(b"s3cret-0123456789", text, "sha256").hexdigest()
        allowed = good and "Authorization" not in self.headers
        message = {"role": "assistant", "content": "It is red"}
        answer = json.dumps({"model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: Any) -> None: ...


def test_their_provider_signs_each_request(site: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("VENDOR_SECRET", "s3cret-0123456789")
    text = (project / "tuneworthy.toml").read_text()
    model = f'provider = "signed"\nmodel = "m"\nbase_url = "http://127.0.0.1:{server.server_port}/v1"\n'
    model += 'api_key_env = "VENDOR_SECRET"\n'
    text = text[: text.index('provider = "echo"')] + model + '[ladder]\nbaseline = "one"\nrungs = ["baseline"]\n'
    (project / "tuneworthy.toml").write_text(text)
    try:
        tuneworthy(site, project, "check")
        record = tuneworthy(site, project, "run")
    finally:
        server.shutdown()
        server.server_close()
    assert record["rungs"][0]["score"] == 1.0
    assert Vendor.leaked == []


def test_a_build_runs_their_check_and_an_export_writes_their_format(site: Path, project: Path) -> None:
    built = tuneworthy(site, project, "data", "build", str(project / "examples.jsonl"))
    assert "shouting" in json.dumps(built)
    exported = tuneworthy(site, project, "data", "export", "--format", "pairs", "--out", str(project / "out"))
    rows = [json.loads(line) for line in (Path(exported["path"]) / "train.jsonl").read_text().splitlines()]
    assert rows and all(set(row) == {"question", "answer"} for row in rows)
    assert not [row for row in rows if row["answer"] == "RED"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"ends_with"', '"ends_width"', "Unknown grader: 'ends_width'. Did you mean 'ends_with'?"),
        ('"echo"', '"ecko"', "Unknown provider: 'ecko'. Did you mean 'echo'?"),
        ('"politeness"', '"politenes"', "Unknown rung: 'politenes'. Did you mean 'politeness'?"),
        ('type = "ends_with"', 'type = "ends_with"\nignore_cas = true', "ignore_cas"),
    ],
)
def test_a_mistyped_name_gets_theirs_and_their_own_section_refuses_unknown_keys(
    old: str, new: str, message: str, site: Path, project: Path
) -> None:
    file = project / "tuneworthy.toml"
    file.write_text(file.read_text().replace(old, new))
    assert message in json.dumps(tuneworthy(site, project, "run", status=2))


def test_without_the_package_its_names_are_unknown(tmp_path: Path, project: Path) -> None:
    error = json.dumps(tuneworthy(tmp_path, project, "run", status=2))
    assert "Unknown grader: 'ends_with'." in error and "Unknown provider: 'echo'." in error


@pytest.mark.parametrize("name", SNIPPETS)
def test_contributing_names_each_file_and_shows_the_grader_as_it_is(name: str) -> None:
    text = (PACKAGE / name).read_text()
    assert len(text.splitlines()) <= 40
    link = f"](tests/stranger/tuneworthy_stranger/{name})"
    assert (f"```python\n{text}```" if name == "grader.py" else link) in CONTRIBUTING.read_text()


def test_contributing_shows_the_entry_points() -> None:
    text = (HERE / "pyproject.toml").read_text()
    assert text[text.index('[project.entry-points."tuneworthy.graders"]') :] in CONTRIBUTING.read_text()
