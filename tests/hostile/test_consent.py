"""Consent covers the content of a project's Python files, and the servers that its file names."""

# ruff: noqa: F811

from __future__ import annotations

import py_compile
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.table import tried
from tests.hostile.test_trust import CANARY, FREE, Spy, grader, openai, project, run, server, spy, write  # noqa: F401
from tuneworthy import functions
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.config.grants import missing_grants
from tuneworthy.errors import UserError
from tuneworthy.functions import load_function
from tuneworthy.providers.address import check_address
from tuneworthy.trust import VARIABLE, Grant, Untrusted, allow, allowed, code_grant, server_grant

GOOD = "def f(*arguments):\n    return 1.0\n"
FILES = {"g.py": f"import h1\nimport pk.inner\n{GOOD}", "h1.py": "import h2\n", "h2.py": "", "pk/__init__.py": "",
         "pk/inner.py": GOOD, "plot.py": ""}  # fmt: skip


def compiled(root: Path, target: str) -> None:
    source = root / "source.txt"
    source.write_text(CANARY)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source), str(root / target), invalidation_mode=mode)


def hidden(root: Path) -> None:
    (root / ".hidden").mkdir()
    (root / ".hidden" / "__init__.py").write_text(CANARY)
    (root / "h2.py").unlink()
    (root / "h2").symlink_to(".hidden")


def package(root: Path) -> None:
    (root / "h2").mkdir()
    (root / "h2" / "__init__.py").write_text(CANARY)


def environment(root: Path) -> None:
    package(root)
    (root / "h2" / "pyvenv.cfg").touch()


def moved(root: Path) -> None:
    root.rename(root.with_name("old"))
    root.mkdir()
    write(root, "", graders=grader("g.py:f"))
    (root / "cases.jsonl").write_bytes((root.with_name("old") / "cases.jsonl").read_bytes())
    (root / "g.py").write_text(CANARY)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "its own file": (lambda root: (root / "g.py").write_text(CANARY), "g.py"),
    "a neighbour": (lambda root: (root / "h1.py").write_text(CANARY), "h1.py"),
    "a neighbour's neighbour": (lambda root: (root / "h2.py").write_text(CANARY), "h2.py"),
    "a package": (lambda root: (root / "pk" / "__init__.py").write_text(CANARY), "pk/__init__.py"),
    "a module of a package": (lambda root: (root / "pk" / "inner.py").write_text(CANARY), "pk/inner.py"),
    "a package in place of a module": (package, "h2/__init__.py"),
    "an environment in place of a module": (environment, "h2/__init__.py"),
    "a library in place of a module": (lambda root: (root / "h2.abi3.so").write_bytes(b"x"), "h2.abi3.so"),
    "a link to a hidden folder": (hidden, "h2/__init__.py"),
    "another project": (moved, "g.py"),
}
HARMLESS: dict[str, Callable[[Path], object]] = {
    "a file that is not imported": lambda root: (root / "plot.py").write_text(CANARY),
    "a new file": lambda root: (root / "new.py").write_text(CANARY),
    "a compiled copy": lambda root: compiled(root, f"__pycache__/h2.{sys.implementation.cache_tag}.pyc"),
    "a compiled file": lambda root: compiled(root, "h2.pyc"),
}


@pytest.fixture
def coded(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(functions, "_ROOTS", [])
    monkeypatch.setenv("CANARY", str(project.parent / "canary"))
    for name, text in FILES.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text)
    write(project, "", graders=grader("g.py:f"))
    assert invoke(["trust", "--project", str(project)]) == 0
    return project


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name in {"h1", "h2", "pk", "pk.inner"} or name.startswith("tuneworthy_project_g"):
            monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("name", CHANGES)
def test_consent_ends_when_an_imported_file_changes(
    name: str, coded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forget(monkeypatch)
    assert load_function("g.py:f", coded)() == 1.0
    forget(monkeypatch)
    change, file = CHANGES[name]
    change(coded)
    status, canary = run(coded, "check --offline"), coded.parent / "canary"
    said = "".join(capsys.readouterr())
    tried("code changed after consent", name, not canary.exists() and status == 2 and file in said, (status, said))
    forget(monkeypatch)
    assert invoke(["trust", "--project", str(coded)]) == 0
    if name not in {
        "a library in place of a module",
        "a link to a hidden folder",
        "an environment in place of a module",
    }:
        run(coded, "check --offline")
        assert canary.exists(), "with consent it runs"
    forget(monkeypatch)


@pytest.mark.parametrize("folder", ["lib", ".lib", "env", "link"])
@pytest.mark.parametrize("named", [True, False])
def test_trust_is_the_advice_only_where_it_allows_the_file(
    folder: str, named: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(functions, "_ROOTS", [])
    for name in ("lib", ".lib", "env"):
        (project / name).mkdir()
    (project / "env" / "pyvenv.cfg").touch()
    (project / "link").symlink_to("lib")
    (project / "g.py").write_text(f"import sys\nsys.path.append({str(project / folder)!r})\nfrom h9 import f\n")
    spec = f"{folder}/h9.py:f" if named else "g.py:f"
    write(project, "", graders=grader(spec))
    for text in (GOOD, f"{GOOD}# changed\n"):
        (project / folder / "h9.py").write_text(text)
        assert missing_grants(load(project)) == [] or invoke(["trust", "--project", str(project)]) == 0
        try:
            assert load_function(spec, project)() == 1.0 and (named or folder == "lib")
        except Untrusted as refused:
            advised = "run `tuneworthy trust" in refused.hint
            assert invoke(["trust", "--project", str(project)]) == 0
            assert advised is (folder == "lib") and not named
        sys.modules.pop("h9", None)


@pytest.mark.parametrize("name", HARMLESS)
def test_consent_stays_when_another_file_changes(name: str, coded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    HARMLESS[name](coded)
    assert load_function("g.py:f", coded)() == 1.0
    assert not (coded.parent / "canary").exists() and missing_grants(load(coded)) == []
    forget(monkeypatch)


def test_without_the_guard_changed_code_runs(coded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    (coded / "h2.py").write_text(CANARY)
    monkeypatch.setattr(functions, "content_grant", lambda *_: None)
    monkeypatch.setattr(functions, "is_allowed", lambda *_: True)
    load_function("g.py:f", coded)
    assert (coded.parent / "canary").exists()
    forget(monkeypatch)


def test_trust_shows_a_neighbour_that_changed(coded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (coded / "h1.py").write_text(CANARY)
    capsys.readouterr()
    assert invoke(["trust", "show", "--json", "--project", str(coded)]) == 0
    missing = __import__("json").loads(capsys.readouterr().out)["missing"]
    assert [row["what"] for row in missing] == ["h1.py"]


def test_the_variable_covers_content(coded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    monkeypatch.setenv(VARIABLE, str(coded))
    (coded / "h1.py").write_text("x = 1\n")
    assert load_function("g.py:f", coded)() == 1.0
    forget(monkeypatch)


def test_files_without_code_are_not_stored(project: Path) -> None:
    (project / "a.py").write_text("")
    allow(project, [Grant("key", "A", "https://a.example")])
    assert [grant.kind for grant in allowed(project)] == ["key"]
    allow(project, [code_grant("a.py:f", project)])
    assert [grant.what for grant in allowed(project)] == ["a.py:f", "a.py"]


# ---- servers --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "url",
    ["https://api.openai.com/v1", "https://API.OPENAI.COM:443/v1", "https://api.anthropic.com", "http://localhost:11434/v1",
     "http://127.0.0.1:8000/v1", "http://[::1]:8000/v1"],
)  # fmt: skip
def test_a_vendor_and_this_machine_need_no_consent(url: str) -> None:
    assert server_grant(url) is None
    assert server_grant(url, any_path=True) is not None


@pytest.mark.parametrize(
    "url",
    ["http://api.openai.com/v1", "https://api.openai.com:8443/v1", "https://api.openai.com.evil.example",
     "https://api.openai.com.", "http://169.254.169.254/latest", "http://[fd00:ec2::254]/latest",
     "http://metadata.google.internal/", "http://10.0.0.1", "http://192.168.1.1", "http://172.16.0.1", "http://100.64.0.1",
     "http://169.254.1.1", "http://[fe80::1]/", "http://[fc00::1]/", "http://0.0.0.0:80/", "http://0/", "http://[::]/",
     "http://2130706433/", "http://0177.0.0.1/", "http://0x7f000001/", "http://127.1/", "http://127.0.0.2/",
     "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[0:0:0:0:0:0:0:1]/", "http://localhost./",
     "http://localhost.localdomain/", "http://ip6-localhost/", "http://127.0.0.1.nip.io/", "http://gpu-box:8000/v1",
     "http://example.com"],
)  # fmt: skip
def test_any_other_server_needs_consent(url: str) -> None:
    assert server_grant(url) is not None


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.2", "0177.0.0.2", "2130706434", "[::ffff:127.0.0.2]", "127.2"])
def test_no_request_is_sent_without_consent(host: str, project: Path, spy: Spy) -> None:
    write(project, "", openai(f"http://{host}:{spy.port}/v1", 'api_key_env = ""'))
    for verb in ("check", "run", "compare"):
        before = len(spy.requests)
        status = run(project, verb)
        tried("server called without trust", f"{verb}: {host}", (status, len(spy.requests)) == (2, before), status)
    assert invoke(["trust", "--project", str(project)]) == 0
    run(project, "check")
    assert len(spy.requests) > before or host not in {"0.0.0.0", "127.0.0.2"}


def test_a_pipeline_needs_consent_for_its_path(project: Path, spy: Spy) -> None:
    def pipeline(path: str) -> None:
        write(project, "", f'[models.small]\nprovider = "http"\nurl = "http://127.0.0.1:{spy.port}{path}"\n{FREE}')

    pipeline("/ask")
    before = len(spy.requests)
    assert run(project, "run") == 2 and len(spy.requests) == before
    assert invoke(["trust", "--project", str(project)]) == 0
    assert run(project, "run") != 2 and len(spy.requests) > before
    before = len(spy.requests)
    for path in ("/containers/create", "/ask?image=x"):
        pipeline(path)
        status = run(project, "run")
        tried("server called without trust", f"run: {path}", (status, len(spy.requests)) == (2, before), status)


def test_without_the_guard_of_servers_a_request_is_sent(
    project: Path,
    spy: Spy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tuneworthy.providers.keys.server_grant", lambda *_, **__: None)
    before = len(spy.requests)
    run(write(project, "", openai(f"http://127.0.0.2:{spy.port}/v1", 'api_key_env = ""')), "check")
    assert len(spy.requests) > before


ODD = ["https://api.openai.com\uff0f@127.0.0.1", "http://[::1", "http://[::1]]", "http://a:99999",
       "http://a:-1", "http://a:x", "http://a:\u0663", "http://a:80:90", "http://\u202elocalhost", "http://lo\u00adcalhost",
       "http://xn--a", "http://xn--", "http://\uff4cocalhost", "http://127\u30020\u30020\u30021", "http://\u2102.com",
       "http://localhost\\\\.evil.com", "http://localhost\u3000", "http://", "ftp://a", "http:a", "//a",
       "http://api.\u043epenai.com"]  # fmt: skip


@pytest.mark.parametrize("url", ODD)
def test_an_odd_address_is_a_named_error(
    url: str,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for section in (openai(url, 'api_key_env = ""'), f'[models.small]\nprovider = "http"\nurl = "{url}"\n{FREE}'):
        write(project, "", section)
        for verb in ("run", "check --offline", "trust show"):
            status = run(project, verb)
            assert status == 2 or (verb == "trust show" and status == 0), capsys.readouterr()
    with pytest.raises(UserError):
        check_address(url.replace("\\\\", "\\"))
