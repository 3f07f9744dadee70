"""`tuneworthy ui`: where it listens, what it prints, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.web.running import PROJECT, SECRET
from tuneworthy.cli import invoke
from tuneworthy.cli.ui import FIRST_PORT, N_PORTS
from tuneworthy.start import __file__ as start

SOURCE = Path(start).parents[1]


@dataclass
class StartedPage:
    """A running `tuneworthy ui`, with the address that it printed."""

    process: subprocess.Popen[str]
    address: str
    token: str

    @property
    def port(self) -> int:
        return int(re.search(r":(\d+)", self.address)[1])  # type: ignore[index]

    def get(self, path: str, address: str = "", body: Any = None, **settings: Any) -> str:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", "Origin": self.address}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{address or self.address}/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=20, **settings) as answer:
            return str(answer.read().decode())

    def post(self, path: str, body: Any) -> str:
        return self.get(path, body=body)

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Return the exit status, and what was printed for a person."""
        self.process.send_signal(number)
        text = self.process.communicate(timeout=30)[1]
        return self.process.returncode, text


@contextmanager
def started(project: Path, *options: str, **settings: Any) -> Iterator[StartedPage]:
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
         "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
         "from tuneworthy.start import main; main()", "ui", "--project", str(project), *options],
        env={**os.environ, "PYTHONPATH": str(SOURCE)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **settings,
    )  # fmt: skip
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert "/#token=" in line, process.communicate(timeout=30)
        address, token = line.strip().split("/#token=")
        yield StartedPage(process, address, token)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tuneworthy.toml").write_text(PROJECT)
    return tmp_path


def certificate(folder: Path) -> str:
    """Write a certificate for this machine and its key, and return the value of --tls."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=localhost")
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(1)).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("box.example")]), critical=False
    )
    plain = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    (folder / "key.pem").write_bytes(key.private_bytes(plain[2], plain[1], plain[0]))
    (folder / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(plain[2]))
    return f"{folder / 'cert.pem'},{folder / 'key.pem'}"


@pytest.mark.moved
def test_the_page_is_on_loopback_and_its_address_has_the_token_in_the_fragment(project: Path) -> None:
    with started(project) as page:
        assert page.address == f"http://127.0.0.1:{page.port}" and FIRST_PORT <= page.port < FIRST_PORT + N_PORTS
        assert len(page.token) == 43
        assert SECRET in page.get("api/project") and SECRET not in page.get("")
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", page.port), timeout=5)
        status, text = page.stop()
    assert status == 0 and text.count("Stopped.") == 1
    assert f"ssh -L {page.port}:127.0.0.1:{page.port} HOST" in text and page.token not in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it(project: Path, number: int) -> None:
    with started(project) as page:
        page.get("api/project")
        assert page.stop(number)[0] == 0


def test_a_project_keeps_its_port_and_gets_a_new_token_at_each_start(project: Path) -> None:
    with started(project) as first:
        first.stop()
        with started(project) as second, started(project) as third:
            assert second.port == first.port != third.port
            assert len({first.token, second.token, third.token}) == 3
            assert SECRET in second.get("api/project") and SECRET in third.get("api/project")


def test_an_expert_gets_the_queue_only(project: Path) -> None:
    with started(project, "--role", "expert", "--labeller", "ada") as page:
        assert '"labeller":"ada"' in page.get("api/project") and '"views":["queue"]' in page.get("api/project")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            page.get("api/verdict")


def test_cases_that_all_have_an_answer_are_labelled_by_a_second_person(project: Path) -> None:
    rows = [{"id": f"c{n}", "input": f"Question {n}", "expected": "yes" if n % 2 else "no"} for n in range(12)]
    (project / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with started(project, "--labeller", "bob") as page:
        assert json.loads(page.get("api/queues")) == {"queues": []}
        found = json.loads(page.post("api/queue/open", {"kind": "cases"}))
        assert len(found["rows"]) == 12 and found["labeller"] == "bob"
        with pytest.raises(urllib.error.HTTPError, match="409"):
            page.post("api/queue/open", {"kind": "judge"})


def test_a_queue_never_asks_on_the_terminal_of_the_server(project: Path) -> None:
    (project / "cases.jsonl").write_text('{"id": "a", "input": "Question"}\n')
    with started(project, stdin=subprocess.PIPE) as page, pytest.raises(urllib.error.HTTPError, match="409"):
        page.post("api/queue/open", {"kind": "cases"})


def test_with_tls_other_machines_reach_the_address_that_the_option_names(project: Path) -> None:
    tls, trusting = certificate(project), ssl.create_default_context(cafile=project / "cert.pem")
    with started(project, "--bind", "0.0.0.0:0", "--tls", tls) as page:
        assert page.address == f"https://127.0.0.1:{page.port}"
        local = f"https://localhost:{page.port}"
        assert SECRET in page.get("api/project", local, context=trusting)
        with pytest.raises(OSError, match=r"closed connection|reset by peer"):
            page.get("api/project", f"http://localhost:{page.port}")
        assert "--origin" in page.stop()[1]
    with started(project, "--bind", "0.0.0.0:0", "--tls", tls, "--origin", "https://box.example/ui/") as page:
        assert page.address == "https://box.example/ui"


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "0:0"])
def test_without_tls_no_other_machine_can_reach_it(
    project: Path, bind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["ui", "--project", str(project), "--bind", bind]) == 2
    text = capsys.readouterr().err
    assert "could read the token" in text and "--tls CERT,KEY" in text and "ssh -L" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bind", "8100"], "is not HOST:PORT"),
        (["--bind", "127.0.0.1:70000"], "is not HOST:PORT"),
        (["--bind", "127.0.0.1:{taken}"], "Address already in use"),
        (["--bind", "no-such-host.invalid:80"], "cannot listen"),
        (["--tls", "none.pem"], "none.pem cannot be used: No such file or directory"),
        (["--tls", "tuneworthy.toml,tuneworthy.toml"], "cannot be used"),
        (["--origin", "box.example"], "is not an address"),
        (["--origin", "https://box.example/#token=a"], "is not an address"),
        (["--origin", "https://ada:word@box.example"], "is not an address"),
        (["--origin", "http://[::1"], "is not an address"),
        (["--origin", "http://[::z]"], "is not an address"),
        (["--origin", "https://[1:]"], "is not an address"),
        (["--origin", "https://a b"], "is not an address"),
        (["--origin", "https://box.example:99999"], "is not an address"),
        (["--origin", "https://box.example\n/"], "is not an address"),
        (["--role", "admin"], "engineer"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_with_what_to_do(
    project: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert invoke(["ui", *(one.replace("{taken}", port) for one in options)]) == 2
    text = capsys.readouterr().err
    assert message in text and "Traceback" not in text


def test_without_its_packages_the_extra_is_named(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneworthy.extras.find_spec", lambda name: None)
    assert invoke(["ui", "--project", str(project)]) == 2
    assert 'pip install "tuneworthy[ui]"' in capsys.readouterr().err


@pytest.mark.parametrize("arguments", ["--help", "ui --help", "label --help"])
def test_help_loads_no_web_server(arguments: str) -> None:
    code = (
        "import sys\nfrom tuneworthy.cli import invoke\n"
        f"assert invoke({arguments.split()!r}) == 0\n"
        "assert not {'starlette', 'uvicorn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SOURCE)}, check=True)
