"""A stranger's project sends no key, runs no code and uses no file outside its folder before a person allowed it."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.hostile.table import tried
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.config.grants import grants_of, missing_grants
from tuneworthy.graders.base import GRADERS
from tuneworthy.processes import environment
from tuneworthy.providers.address import check_address
from tuneworthy.redaction import redact, redact_json, remember
from tuneworthy.store import Folder
from tuneworthy.trust import (
    VARIABLE,
    Grant,
    UserError,
    allowed,
    is_allowed,
    key_grant,
    trust_file,
)

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "TOPSECRET-aws-0123456789abcdef",
    "OPENAI_API_KEY": "TOPSECRET-openai-0123456789abcdef",
    "ANTHROPIC_API_KEY": "TOPSECRET-anthropic-0123456789ab",
    "GITHUB_TOKEN": "TOPSECRET-github-0123456789abcdef",
}
HEAD = """
[task]
name = "stranger"
margin = 0.5
[ladder]
baseline = "small"
budget_usd = 1.0
"""
GRADER = '[[graders]]\ntype = "exact"\n'
SMALL = '[models.small]\nprovider = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\n'
FREE = "input_usd_per_mtok = 0\noutput_usd_per_mtok = 0\ntimeout_s = 2\nretries = 0\n"
CANARY = """
import os, pathlib
pathlib.Path(os.environ["CANARY"]).touch()
def f(*arguments):
    return 1.0
"""
READING = {
    "check": ["check"],
    "check --offline": ["check", "--offline"],
    "status": ["status"],
    "decide": ["decide"],
    "report": ["report"],
    "plan": ["plan"],
    "cases show": ["cases", "show", "c1"],
    "compare": ["compare", "best", "current", "--yes"],
    "models list": ["models", "list"],
    "data build": ["data", "build"],
    "report data": ["report", "data"],
    "data export": ["data", "export", "--format", "trl"],
    "data distill": ["data", "distill", "--yes"],
    "serve": ["serve", "--what", "merged"],
    "parity": ["train", "--only", "parity"],
    "export variant": ["export", "variant"],
    "decode explain": ["decode", "explain"],
    "trust show": ["trust", "show"],
}
ACTING = {
    "run": ["run", "--yes"],
    "run --quick": ["run", "--quick", "--yes"],
    "decode sweep": ["decode", "sweep", "--yes"],
}
VERBS = READING | ACTING
FEW = ("check", "status", "run", "decode explain")


class Spy:
    """A server that keeps all that it was sent."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.content = b'{"data": [{"id": "m"}], "choices": [{"message": {"content": "red"}}]}'
        spy = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size).decode("utf-8", "replace")
                spy.requests.append(f"{self.command} {self.path}\n{self.headers}\n{body}")
                self.send_response(200)
                self.send_header("Content-Length", str(len(spy.content)))
                self.end_headers()
                self.wfile.write(spy.content)

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        self.port = self.server.server_address[1]
        Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def got(self) -> list[str]:
        """The secrets that arrived."""
        return [name for name, value in SECRETS.items() if any(value in request for request in self.requests)]


@pytest.fixture(scope="module")
def server() -> Iterator[Spy]:
    spy = Spy()
    yield spy
    spy.server.shutdown()
    spy.server.server_close()


@pytest.fixture
def spy(server: Spy) -> Spy:
    server.requests.clear()
    return server


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's folder; nobody has allowed it anything."""
    root = tmp_path / "project"
    root.mkdir()
    rows = [{"id": f"c{i}", "input": f"what is {i} of {i * i}", "expected": "red"} for i in range(60)]
    (root / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TUNEWORTHY_HOME", str(tmp_path / "models"))
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return root


def write(root: Path, text: str, small: str = SMALL, graders: str = GRADER) -> Path:
    (root / "tuneworthy.toml").write_text(HEAD + small + graders + text)
    return root


def run(root: Path, verb: str) -> int:
    return invoke([*VERBS[verb], *([] if verb == "models list" else ["--project", str(root)])])


# ---- keys -----------------------------------------------------------------------------------------------------------
def hosts(port: int) -> dict[str, str]:
    """Addresses of the spy that a project file could try to pass for another server."""
    return {
        "loopback": f"http://127.0.0.1:{port}/v1",
        "localhost": f"http://localhost:{port}/v1",
        "elsewhere": f"http://127.0.0.2:{port}/v1",
        "scheme in capitals": f"HTTP://127.0.0.2:{port}/v1",
        "vendor as user": f"http://api.openai.com@127.0.0.2:{port}/v1",
        "vendor as user and password": f"http://api.openai.com:443@127.0.0.2:{port}/v1",
        "vendor before a backslash": f"http://127.0.0.2:{port}\\\\@api.openai.com/v1",
        "vendor as fragment": f"http://127.0.0.2:{port}#@api.openai.com",
        "vendor as path": f"http://127.0.0.2:{port}/https://api.openai.com/v1",
        "vendor in the query": f"http://127.0.0.2:{port}/v1?host=https://api.openai.com",
        "whole number": f"http://2130706434:{port}/v1",
        "octal": f"http://0177.0.0.2:{port}/v1",
        "zero": f"http://0.0.0.0:{port}/v1",
        "IPv6 of IPv4": f"http://[::ffff:127.0.0.2]:{port}/v1",
        "full-width dot": f"http://127\uff0e0.0.2:{port}/v1",
    }


def openai(url: str, key: str = 'api_key_env = "AWS_SECRET_ACCESS_KEY"', name: str = "small") -> str:
    return f'[models.{name}]\nprovider = "openai"\nmodel = "m"\nbase_url = "{url}"\n{key}\n{FREE}'


def key_projects(port: int) -> dict[str, dict[str, str]]:
    """Project files that ask for a key at the spy: what to write, by name."""
    url = f"http://127.0.0.2:{port}/v1"
    search = f'base_url = "{url}"\nmodel = "m"\napi_key_env = "GITHUB_TOKEN"\nusd_per_mtok = 0\n'
    other = openai(url, 'api_key_env = "GITHUB_TOKEN"', "other")
    return {
        **{f"key to {name}": {"small": openai(url)} for name, url in hosts(port).items()},
        "default key of another vendor": {"small": openai(url, "")},
        "anthropic": {
            "small": f'[models.small]\nprovider = "anthropic"\nmodel = "m"\nbase_url = "{url}"\n{FREE}',
        },
        "http": {
            "small": f'[models.small]\nprovider = "http"\nurl = "{url}"\napi_key_env = "GITHUB_TOKEN"\n{FREE}',
        },
        "another model": {"text": other},
        "judge": {"text": other, "graders": '[[graders]]\ntype = "judge"\nmodel = "other"\nrubric = "Good?"\n'},
        "teacher": {"text": f'{other}[teacher]\nmodel = "other"\nallows_training = true\n'},
        "reflection": {"text": f'{other}[reflection]\nmodel = "other"\n'},
        "auditor": {"text": f'{other}[data.judge]\nmodel = "other"\n'},
        "served": {"text": f'{other}[serve]\nmodel = "other"\n'},
        "encoder": {"text": f'[documents]\n[retrieval.encoder]\ntype = "server"\n{search}'},
        "reranker": {"text": f'[documents]\n[retrieval.reranker]\ntype = "server"\n{search}'},
    }


def test_no_key_is_sent_without_trust(project: Path, spy: Spy, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "documents").mkdir()
    (project / "documents" / "a.md").write_text("# Red\nAll is red.")
    for name, parts in key_projects(spy.port).items():
        verbs = VERBS if name == "key to elsewhere" else FEW
        for verb in verbs:
            status = run(write(project, **{"text": "", **parts}), verb)
            tried("secret sent without trust", f"{verb}: {name}", not spy.got and status != 1, (spy.got, status))
    capsys.readouterr()


def test_a_key_reaches_the_server_once_it_is_allowed(project: Path, spy: Spy) -> None:
    write(project, "", openai(f"http://127.0.0.2:{spy.port}/v1"))
    assert invoke(["trust", "--project", str(project)]) == 0
    run(project, "check")
    assert spy.got == ["AWS_SECRET_ACCESS_KEY"]


def test_without_the_guard_of_keys_the_secret_is_sent(project: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.providers.keys.require", lambda *_: None)
    run(write(project, "", openai(f"http://127.0.0.2:{spy.port}/v1")), "check")
    assert spy.got == ["AWS_SECRET_ACCESS_KEY"]


def test_a_key_goes_to_no_other_server_than_its_own(project: Path, spy: Spy) -> None:
    from tuneworthy.providers.http_client import HttpClient
    from tuneworthy.providers.keys import Key

    with pytest.raises(UserError, match="does not belong to the server"):
        HttpClient(f"http://127.0.0.2:{spy.port}/v1", key=Key("k" * 20, "https://api.openai.com"), timeout_s=1)


@pytest.mark.parametrize(
    ("variable", "url", "asks"),
    [
        ("OPENAI_API_KEY", "https://api.openai.com/v1", False),
        ("OPENAI_API_KEY", "https://API.openai.com:443/v2", False),
        ("ANTHROPIC_API_KEY", "https://api.anthropic.com", False),
        (None, "http://127.0.0.1:8080/v1", False),
        ("OPENAI_API_KEY", "http://api.openai.com/v1", True),
        ("OPENAI_API_KEY", "https://api.openai.com:8443/v1", True),
        ("OPENAI_API_KEY", "https://api.openai.com.evil.example/v1", True),
        ("OPENAI_API_KEY", "https://api.openai.com@evil.example/v1", True),
        ("OPENAI_API_KEY", "https://api.anthropic.com", True),
        ("AWS_SECRET_ACCESS_KEY", "https://api.openai.com/v1", True),
    ],
)
def test_a_vendors_own_key_to_its_own_server_needs_no_question(variable: str | None, url: str, asks: bool) -> None:
    assert (key_grant(variable, url) is not None) is asks


def test_loopback_without_a_written_key_gets_none_and_needs_no_question(project: Path, spy: Spy) -> None:
    write(project, "", openai(f"http://127.0.0.1:{spy.port}/v1", ""))
    assert grants_of(load(project)) == []
    run(project, "check")
    assert spy.requests and not spy.got


# ---- code and programs ----------------------------------------------------------------------------------------------
def grader(spec: str) -> str:
    return f'[[graders]]\ntype = "python"\nfunction = "{spec}"\n'


def pipeline(provider: str, spec: str) -> str:
    return f'[models.small]\nprovider = "{provider}"\nfunction = "{spec}"\n'


def code_projects(root: Path) -> dict[str, dict[str, str]]:
    """Project files whose code would write the canary."""
    return {
        "grader": {"graders": grader("evil.py:f")},
        "grader with a dot": {"graders": grader("./evil.py:f")},
        "grader in a folder": {"graders": grader("sub/evil.py:f")},
        "second grader": {"graders": GRADER + grader("evil.py:f")},
        "grader by module": {"graders": grader("evilmodule:f")},
        "grader by package": {"graders": grader("evilpackage.inner:f")},
        "grader outside": {"graders": grader("../evil.py:f")},
        "grader by absolute path": {"graders": grader(f"{root.parent}/evil.py:f")},
        "grader behind a link": {"graders": grader("linked.py:f")},
        "python model": {"small": pipeline("python", "evil.py:f")},
        "scripted model": {"small": pipeline("scripted", "evil.py:f")},
        "another model": {"text": pipeline("python", "evil.py:f").replace("small", "other")},
        "regression set": {
            "text": '[[regressions]]\nname = "r"\npath = "cases.jsonl"\n'
            '[[regressions.graders]]\ntype = "python"\nfunction = "evil.py:f"\n'
        },
        "installed grader": {"graders": '[[graders]]\ntype = "evil_grader"\n'},
        "installed model": {"small": '[models.small]\nprovider = "evil_model"\n'},
        "installed rung": {"text": "", "rungs": '["baseline", "evil_rung"]'},
    }


def write_code(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the files that `code_projects` name, and a package whose entry points the environment offers."""
    for path in ("evil.py", "sub/evil.py", "evilmodule.py", "evilpackage/inner.py", "../evil.py"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(CANARY)
    (root / "evilpackage" / "__init__.py").touch()
    (root / "linked.py").symlink_to(root.parent / "evil.py")
    (root / "evil.sh").write_text(f"#!/bin/sh\ntouch {os.environ['CANARY']}\n")
    (root / "evil.sh").chmod(0o755)
    site = root.parent / "site"
    (site / "evil-1.0.dist-info").mkdir(parents=True)
    (site / "evil_installed.py").write_text(CANARY)
    (site / "evil-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (site / "evil-1.0.dist-info" / "entry_points.txt").write_text(
        "[tuneworthy.graders]\nevil_grader = evil_installed:f\n[tuneworthy.providers]\nevil_model = evil_installed:f\n"
        "[tuneworthy.rungs]\nevil_rung = evil_installed:f\n"
    )
    monkeypatch.syspath_prepend(site)


def written(root: Path, parts: dict[str, str]) -> Path:
    rungs = parts.get("rungs")
    write(root, **{"text": "", **{key: value for key, value in parts.items() if key != "rungs"}})
    if rungs:
        file = root / "tuneworthy.toml"
        file.write_text(file.read_text().replace("budget_usd", f"rungs = {rungs}\nbudget_usd"))
    return root


def test_no_code_runs_without_trust(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_code(project, monkeypatch)
    canary = Path(os.environ["CANARY"])
    for name, parts in code_projects(project).items():
        for verb in VERBS if name in {"grader", "python model"} else ("check --offline", "status", "run"):
            status = run(written(project, parts), verb)
            survived = not canary.exists() and status != 1
            tried("code run without trust", f"{verb}: {name}", survived, (canary.exists(), status))
            canary.unlink(missing_ok=True)
    capsys.readouterr()


def test_trusted_code_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_code(project, monkeypatch)
    written(project, code_projects(project)["grader"])
    assert invoke(["trust", "--project", str(project)]) == 0
    run(project, "check --offline")
    assert Path(os.environ["CANARY"]).exists()


@pytest.mark.parametrize("name", ["grader", "python model", "grader by module"])
def test_without_the_guard_of_functions_code_runs(name: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_code(project, monkeypatch)
    monkeypatch.setattr("tuneworthy.functions.require", lambda *_: None)
    monkeypatch.setattr("tuneworthy.functions.is_allowed", lambda *_: True)
    for module in ("evilmodule", "evilpackage", "evilpackage.inner"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    run(written(project, code_projects(project)[name]), "check --offline")
    assert Path(os.environ["CANARY"]).exists()


def test_without_the_guard_of_packages_installed_code_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_code(project, monkeypatch)
    monkeypatch.delitem(sys.modules, "evil_installed", raising=False)
    monkeypatch.setattr(GRADERS, "_entries", {**GRADERS._entries})
    monkeypatch.setattr("tuneworthy.registry.require", lambda *_: None)
    run(written(project, code_projects(project)["installed grader"]), "check --offline")
    assert Path(os.environ["CANARY"]).exists()


# ---- files ----------------------------------------------------------------------------------------------------------
WATCHED: list[str] = []
OPENED: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if WATCHED and event in {"open", "sqlite3.connect", "os.listdir", "os.scandir"} and arguments:
        path = arguments[0]
        if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(os.path.realpath(path)).startswith(WATCHED[0]):
            OPENED.append(f"{event} {os.fsdecode(path)}")


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder beside the project, whose every opened file is noted."""
    folder = tmp_path / "outside"
    (folder / "documents").mkdir(parents=True)
    (folder / "prompts").mkdir()
    row = {"id": "c1", "input": "what", "expected": "red"}
    (folder / "rows.jsonl").write_text("".join(json.dumps({**row, "id": f"c{i}"}) + "\n" for i in range(60)))
    (folder / "rows.labels.jsonl").touch()
    for name in (
        "secret.md",
        "documents/a.md",
        "id_rsa",
        "model.gguf",
        "schema.json",
        "tuneworthy.toml",
        "reviews.jsonl",
    ):
        (folder / name).write_text("{}")
    monkeypatch.setenv("HOME", str(folder))
    if not hasattr(sys, "_hostile_watch"):
        sys.addaudithook(_watch)
        sys._hostile_watch = True  # type: ignore[attr-defined]
    WATCHED[:], OPENED[:] = [str(folder.resolve())], []
    yield folder
    WATCHED.clear()


def file_projects(root: Path, outside: Path) -> dict[str, dict[str, str]]:
    """Project files that ask for what lies outside, in all keys and spellings."""
    llama = '[models.small]\nprovider = "llama_cpp"\nmodel = "{}"\n'
    regressions = '[[regressions]]\nname = "r"\npath = "{}"\n[[regressions.graders]]\ntype = "exact"\n'
    return {
        "cases absolute": {"text": f'[cases]\npath = "{outside}/rows.jsonl"\n'},
        "cases above": {"text": '[cases]\npath = "../outside/rows.jsonl"\n'},
        "cases above in the middle": {"text": '[cases]\npath = "sub/../../outside/rows.jsonl"\n'},
        "cases at home": {"text": '[cases]\npath = "~/rows.jsonl"\n'},
        "cases behind a link": {"text": '[cases]\npath = "link.jsonl"\n'},
        "cases behind a link to a folder": {"text": '[cases]\npath = "folder/rows.jsonl"\n'},
        "cases behind two links": {"text": '[cases]\npath = "second.jsonl"\n'},
        "cases by /proc": {"text": f'[cases]\npath = "/proc/self/root{outside}/rows.jsonl"\n'},
        "examples": {"text": f'[examples]\npath = "{outside}/rows.jsonl"\n'},
        "examples behind a link": {"text": '[examples]\npath = "link.jsonl"\n'},
        "documents": {"text": f'[documents]\npath = "{outside}/documents"\n'},
        "documents behind a link": {"text": '[documents]\npath = "folder/documents"\n'},
        "a file of documents behind a link": {"text": '[documents]\npath = "papers"\n'},
        "regressions": {"text": regressions.format(outside / "rows.jsonl")},
        "regressions behind a link": {"text": regressions.format("link.jsonl")},
        "model": {"small": llama.format(outside / "model.gguf")},
        "model at home": {"small": llama.format("~/model.gguf")},
        "model behind a link": {"small": llama.format("folder/model.gguf")},
        "base": {"text": f'[train]\nbase = "{outside}/model.gguf"\n'},
        "encoder": {"text": f'[retrieval.encoder]\ntype = "llama_cpp"\nmodel = "{outside}/model.gguf"\n'},
        "reranker": {"text": f'[retrieval.reranker]\ntype = "cross_encoder"\nmodel = "{outside}"\n'},
        "encoder of data": {"text": f'[data]\nencoder = "{outside}"\n'},
        "schema": {"graders": f'[[graders]]\ntype = "json_schema"\npath = "{outside}/schema.json"\n'},
        "schema behind a link": {"graders": '[[graders]]\ntype = "json_schema"\npath = "folder/schema.json"\n'},
        "style": {"graders": '[[graders]]\ntype = "style"\ngeneric = "../outside/rows.jsonl"\n'},
        "rubric": {"graders": '[[graders]]\ntype = "judge"\nmodel = "small"\nrubric = "folder/secret.md"\n'},
        "system prompt": {"text": f'[prompt]\nsystem = "{outside}/secret.md"\n'},
        "system prompt behind a link": {"text": '[prompt]\nsystem = "folder/secret.md"\n'},
        "user prompt": {"text": '[prompt]\nuser = "../outside/secret.md"\n'},
        "system prompt of a regression set": {
            "text": regressions.format("cases.jsonl").replace(
                '"cases.jsonl"\n', '"cases.jsonl"\nsystem = "folder/secret.md"\n'
            )
        },
    }


def test_no_file_outside_is_used_without_trust(
    project: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "link.jsonl").symlink_to(outside / "rows.jsonl")
    (project / "second.jsonl").symlink_to("link.jsonl")
    (project / "folder").symlink_to(outside)
    (project / "papers").mkdir()
    (project / "papers" / "a.md").symlink_to(outside / "secret.md")
    for name, parts in file_projects(project, outside).items():
        for verb in VERBS if name == "cases absolute" else ("check --offline", "status", "run"):
            OPENED.clear()
            status = run(written(project, parts), verb)
            tried("file used without trust", f"{verb}: {name}", not OPENED and status != 1, (OPENED[:3], status))
    capsys.readouterr()


def test_a_trusted_file_outside_is_used_until_it_leads_elsewhere(project: Path, outside: Path) -> None:
    link = project / "link.jsonl"
    link.symlink_to(outside / "rows.jsonl")
    write(project, '[cases]\npath = "link.jsonl"\n')
    assert invoke(["trust", "--project", str(project)]) == 0
    run(project, "check --offline")
    assert OPENED
    link.unlink()
    link.symlink_to(outside / "id_rsa")
    OPENED.clear()
    assert run(project, "check --offline") == 2
    assert not OPENED


def test_without_the_guard_of_paths_files_outside_are_read(
    project: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneworthy.trust.require", lambda *_: None)
    run(written(project, file_projects(project, outside)["cases above"]), "check --offline")
    assert OPENED


def _link(at: str, to: str) -> Callable[[Path, Path], None]:
    def plant(project: Path, outside: Path) -> None:
        (project / at).parent.mkdir(exist_ok=True)
        (project / at).symlink_to(outside / to)

    return plant


def _label(project: Path) -> int:
    return invoke(["label", "cases", "--labeller", "a", "--project", str(project)])


LINKS: dict[str, tuple[Callable[[Path, Path], None], tuple[str, ...]]] = {
    "the folder of the tool": (_link(".tuneworthy", "."), ("check", "status", "run", "decide", "report", "cases show")),
    "the store": (
        _link(".tuneworthy/responses.sqlite", "rows.jsonl"),
        ("check", "status", "run", "decide", "report data"),
    ),
    "runs": (_link(".tuneworthy/runs", "documents"), ("status", "run", "report", "decide")),
    "logs": (_link(".tuneworthy/logs", "documents"), ("run",)),
    "the lock": (_link(".tuneworthy/lock", "secret.md"), ("run", "data build")),
    "a deep folder": (_link(".tuneworthy/a", "documents"), ("status", "data build", "plan")),
    "the project file": (_link("tuneworthy.toml", "tuneworthy.toml"), tuple(VERBS)),
    "labels": (_link("cases.labels.jsonl", "rows.labels.jsonl"), ("label",)),
    "reviews": (_link("reviews.jsonl", "reviews.jsonl"), ("data build", "status")),
    "documents": (_link("documents", "documents"), ("check --offline", "status", "run")),
}


@pytest.mark.parametrize("name", LINKS)
def test_links_that_a_project_brings_lead_nowhere(
    name: str, project: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant, verbs = LINKS[name]
    if name != "the project file":
        write(project, '[examples]\npath = "cases.jsonl"\n' if name == "reviews" else "")
    plant(project, outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    for verb in verbs:
        if verb == "models list":
            continue
        OPENED.clear()
        status = _label(project) if verb == "label" else run(project, verb)
        opened = list(OPENED)
        same = before == {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
        survived = not opened and same and status != 1
        tried("file used without trust", f"{verb}: link, {name}", survived, (opened[:3], same, status))
    capsys.readouterr()


def test_init_and_demo_write_through_no_link(project: Path, outside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "prompts").symlink_to(outside / "prompts")
    for verb in (["init", str(project), "--data", str(project / "cases.jsonl")], ["demo", str(project)]):
        status = invoke(verb)
        tried(
            "file used without trust", f"{verb[0]}: prompts is a link", not any((outside / "prompts").iterdir()), status
        )
        assert status == 2
    assert "which is outside the project folder" in capsys.readouterr().err


def test_a_folder_of_another_user_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "")
    (project / ".tuneworthy").mkdir()
    assert run(project, "status") == 0
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UserError, match="belongs to another user"):
        Folder(project)


# ---- consent --------------------------------------------------------------------------------------------------------
def test_consent_is_the_users_own_file_and_holds_the_very_words(project: Path) -> None:
    write(project, "", graders=grader("evil.py:f"))
    (project / "evil.py").write_text(CANARY)
    before = sorted(project.rglob("*"))
    assert invoke(["trust", "--project", str(project), "--json"]) == 0
    assert sorted(project.rglob("*")) == before
    assert stat.S_IMODE(trust_file().stat().st_mode) == 0o600
    assert allowed(project)[0] == Grant("code", "evil.py:f", str(project / "evil.py"))
    assert [grant.what for grant in allowed(project)[1:]] == ["evil.py"]
    write(project, "", graders=grader("other.py:f"))
    assert [grant.what for grant in missing_grants(load(project))] == ["other.py:f"]
    assert invoke(["trust", "revoke", "--project", str(project)]) == 0
    assert allowed(project) == []


@pytest.mark.moved
def test_a_refusal_lists_what_is_wanted_and_the_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project, openai("http://127.0.0.2:9/v1", name="other"), graders=grader("evil.py:f"))
    assert run(project, "run") == 2
    error = capsys.readouterr().err
    assert "run the Python function evil.py:f" in error
    assert "send the API key in AWS_SECRET_ACCESS_KEY to http://127.0.0.2:9" in error
    assert f"tuneworthy trust --project {project}" in error and VARIABLE in error


def test_check_reports_missing_trust_among_its_other_findings(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, '[split]\nseed = 1\n[prompt]\nsystem = "missing.md"\n', graders=grader("evil.py:f"))
    assert invoke(["check", "--json", "--offline", "--project", str(project)]) == 2
    findings = json.loads(capsys.readouterr().out)["findings"]
    rules = {finding["check"] for finding in findings if finding["severity"] == "error"}
    assert "trust" in rules and len(rules) > 1
    assert f"tuneworthy trust --project {project}" in str(findings)


@pytest.mark.parametrize(
    ("listed", "trusted"), [("{root}", True), ("/nowhere:{root}/..", True), ("{root}/sub", False), (":", False)]
)
def test_the_variable_trusts_projects_at_or_below_its_folders(
    listed: str, trusted: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, listed.format(root=project))
    assert is_allowed(project, Grant("code", "a.py:f", "a.py")) is trusted


@pytest.mark.parametrize("answer", ["y\n", "n\n"])
def test_a_terminal_is_asked_once_and_the_command_goes_on(
    answer: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, "", small=pipeline("scripted", "evil.py:f"))
    (project / "evil.py").write_text("def f(request):\n    return 'red'\n")
    questions: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda text, **_: questions.append(text) or answer == "y\n")
    status = run(project, "run")
    assert (status, len(questions)) == (0 if answer == "y\n" else 2, 1)
    assert "evil.py:f" in capsys.readouterr().err
    run(project, "run")
    assert len(questions) == (1 if answer == "y\n" else 2)


def test_a_spoiled_file_of_consent_is_one_line_and_no_consent(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, "", graders=grader("evil.py:f"))
    trust_file().parent.mkdir(parents=True)
    for content in ("[]", "{", '{"a": 1}', '{"a": [[1, 2, 3]]}', '{"a": [["code"]]}'):
        trust_file().write_text(content)
        assert run(project, "run") == 2
        assert str(trust_file()) in capsys.readouterr().err


def test_a_configuration_inside_the_project_does_not_count(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("XDG_CONFIG_HOME", "configuration")
    assert trust_file().is_relative_to(Path.home())


def test_what_init_wrote_needs_no_question(tmp_path: Path, project: Path) -> None:
    made = tmp_path / "made"
    assert invoke(["init", str(made), "--data", str(project / "cases.jsonl")]) == 0
    assert missing_grants(load(made)) == []


# ---- children and keys that come back -------------------------------------------------------------------------------
def test_children_know_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_TOKEN", "VLLM_API_KEY", "DATABASE_URL", "SSH_AUTH_SOCK", "CUDA_VISIBLE_DEVICES", *SECRETS):
        monkeypatch.setenv(name, f"value of {name}")
    made = environment(EXTRA="1")
    secrets = {"HF_HUB_TOKEN", "VLLM_API_KEY", "DATABASE_URL", "SSH_AUTH_SOCK", *SECRETS}
    assert not secrets & made.keys()
    assert {"PATH", "HOME", "CUDA_VISIBLE_DEVICES", "EXTRA"} <= made.keys()


def test_no_module_goes_round_the_guards() -> None:
    source = Path(__file__).parents[2] / "src" / "tuneworthy"
    around = {
        "a path": r"root\s*/\s*[\w.]*(cases|examples|documents|source|part)\.path\b",
        "a key": r"Key\(os\.|Key\(getenv|Bearer \{(?!self\._key\.reveal)",
        "an import": r"\b(exec_module|import_module|load)\(\w*(spec|place|function|config)\w*\)",
    }
    allowed_in = {"functions.py"}
    places = [
        f"{path.relative_to(source)}: {what}"
        for path in sorted(source.rglob("*.py"))
        for what, pattern in around.items()
        if re.search(pattern, path.read_text()) and path.name not in allowed_in
    ]
    assert places == []


@pytest.fixture
def echo() -> Iterator[Spy]:
    """A server of its own: each test says what it answers."""
    spy = Spy()
    yield spy
    spy.server.shutdown()
    spy.server.server_close()


ECHOES = {
    "answer": lambda key: {"choices": [{"message": {"content": f"red {key}"}}]},
    "two halves": lambda key: {"choices": [{"message": {"content": f"{key[:16]} and {key[16:]}"}}]},
    "model": lambda key: {"model": key, "choices": [{"message": {"content": "red"}}]},
    "finish reason": lambda key: {"choices": [{"finish_reason": key, "message": {"content": "red"}}]},
    "tool call": lambda key: {
        "choices": [
            {"message": {"tool_calls": [{"id": key, "function": {"name": key, "arguments": json.dumps({"a": key})}}]}}
        ]
    },
    "refusal": lambda key: {"choices": [{"message": {"content": None, "refusal": key}}]},
    "error": lambda key: {"error": {"message": f"bad key {key}", "code": 400}},
    "half of it in an error": lambda key: {"error": {"message": f"bad key {key[:16]}", "code": 400}},
    "the end of it in an error": lambda key: {"error": {"message": f"bad key ...{key[-14:]}", "code": 400}},
    "escaped": lambda key: {"choices": [{"message": {"content": "ESCAPED"}}]},
}


@pytest.mark.parametrize("name", ECHOES)
def test_a_key_that_a_server_says_back_is_stored_nowhere(
    name: str, project: Path, echo: Spy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = SECRETS["GITHUB_TOKEN"]
    document = json.dumps(ECHOES[name](key))
    echo.content = document.replace("ESCAPED", "".join(f"\\u{ord(c):04x}" for c in key)).encode()
    write(project, "", openai(f"http://127.0.0.1:{echo.port}/v1", 'api_key_env = "GITHUB_TOKEN"'))
    monkeypatch.setenv(VARIABLE, str(project))
    invoke(["run", "--quick", "--rung", "baseline", "--yes", "--project", str(project)])
    for verb in ("report", "cases show"):
        run(project, verb)
    shown = "".join(capsys.readouterr())
    stored = b"".join(path.read_bytes() for path in project.rglob("*") if path.is_file()).decode("utf-8", "replace")
    pieces = [key[start : start + 12] for start in range(len(key) - 11)]
    left = [piece for piece in pieces if piece in shown + stored]
    tried("key said back by a server", name, echo.got == ["GITHUB_TOKEN"] and not left, left[:2])


def test_without_redaction_a_key_is_stored(project: Path, echo: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tuneworthy.providers.http_client", "tuneworthy.store.responses", "tuneworthy.store.folder"):
        monkeypatch.setattr(f"{module}.redact_json", lambda body: body)
    key = SECRETS["GITHUB_TOKEN"]
    echo.content = json.dumps(ECHOES["model"](key)).encode()
    write(project, "", openai(f"http://127.0.0.1:{echo.port}/v1", 'api_key_env = "GITHUB_TOKEN"'))
    monkeypatch.setenv(VARIABLE, str(project))
    invoke(["run", "--quick", "--rung", "baseline", "--yes", "--project", str(project)])
    assert any(key.encode() in path.read_bytes() for path in (project / ".tuneworthy").iterdir() if path.is_file())


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("https://h.example/v1?KEY2=abc", True),
        ("https://h.example/v1?x-api-key=abc", True),
        ("https://h.example/v1?access_token=abc", True),
        ("https://h.example/v1?v=sk-abcdef0123456789", True),
        ("https://h.example/sk-abcdef0123456789/v1", True),
        ("https://h.example/0123456789abcdef0123456789abcdef01234567/v1", True),
        ("https://h.example/v1?api-version=2026-01-01", False),
        ("https://h.example/v1/0123456789abcdef0123456789abcdef/gateway/openai", False),
        ("https://h.example/openai/deployments/gpt-4o-2024-08-06?author=me", False),
    ],
)
def test_an_address_holds_no_key(url: str, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.redaction._KEYS", {})
    try:
        check_address(url)
        said = ""
    except UserError as error:
        said = str(error)
    assert bool(said) is refused
    assert "abc" not in said


def test_a_key_that_begins_like_a_known_one_is_cut_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.redaction._KEYS", {})
    remember("sk-test-0123456789")
    assert redact("no sk-test-01234-another-secret, sorry") == "no [key], sorry"
    assert redact("no xx0123456789-secret, sorry") == "no [key], sorry"
    assert redact('{"a": "b\\nsk-test-0123456789\\u0041sk-test-0123456789"}') == '{"a": "b\\n[key]\\u0041[key]"}'


def test_redaction_leaves_other_texts_alone_and_takes_every_third_of_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.redaction._KEYS", {})
    remember("EMPTY")
    assert redact("EMPTY and test") == "EMPTY and test"
    key = "abcdefghijklmnopqrstuvwxyz0123"
    remember(key)
    for start in range(21):
        part = key[start : start + 10]
        assert redact(f"<{part}> abcdefghi") == "<[key]> abcdefghi"
    assert redact_json(b"\xff" + key.encode()) == b"\xff[key]"


def test_a_number_that_has_digits_of_a_key_stays_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.redaction._KEYS", {})
    remember("sk-test-0123456789")
    assert redact_json(b'{"a": 0.0123456789, "b": "sk-test-0123456789"}') == b'{"a": 0.0123456789, "b": "[key]"}'
