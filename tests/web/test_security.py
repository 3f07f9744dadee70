"""Hostile requests against the real server of `ui`: none is accepted, and each guard is needed for some of them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.web.running import SECRET, TOKEN, RunningPage, running
from tuneworthy.web import security
from tuneworthy.web.security import BODY_GUARDS, HEAD_GUARDS, HEADERS, MAX_BODY, Access, Gate
from tuneworthy.web.server import READS, SCRIPTS, WRITES

HOST, ORIGIN = "Host: 127.0.0.1:{port}", "Origin: http://127.0.0.1:{port}"
BEARER, SAME, JSON = "Authorization: Bearer {token}", "Sec-Fetch-Site: same-origin", "Content-Type: application/json"
GOOD = '{"row": "a", "line": "b", "seconds": 1}'
NAVIGATION = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html,*/*;q=0.8")


def read(*lines: str, target: str = "/api/project", version: str = "1.1", method: str = "GET") -> str:
    return "\r\n".join([f"{method} {target} HTTP/{version}", *lines, "Connection: close", "", ""])


def write(*lines: str, body: str = GOOD, target: str = "/api/queue/answer", method: str = "POST") -> str:
    return read(*lines, f"Content-Length: {len(body)}", target=target, method=method) + body


def good_read(*more: str, **settings: str) -> str:
    """Return a read without a fault, but for what is added."""
    return read(HOST, BEARER, SAME, *more, **settings)


def good_write(*more: str, **settings: str) -> str:
    return write(HOST, ORIGIN, BEARER, SAME, JSON, *more, **settings)


def typed(content_type: str, **settings: str) -> str:
    return write(HOST, ORIGIN, BEARER, SAME, *filter(None, [content_type]), **settings)


FORM = "Content-Type: application/x-www-form-urlencoded"
HOSTILE: dict[str, str] = {
    # DNS rebinding, and other names for this server
    "a rebound name": read("Host: evil.example:{port}", BEARER, SAME),
    "a rebound name, write": write(
        "Host: evil.example:{port}", "Origin: http://evil.example:{port}", BEARER, SAME, JSON
    ),
    "a name that begins like loopback": read("Host: 127.0.0.1.evil.example", BEARER, SAME),
    "a name that ends like loopback": read("Host: evil.example.localhost", BEARER, SAME),
    "0.0.0.0": read("Host: 0.0.0.0:{port}", BEARER, SAME),
    "another loopback address": read("Host: 127.0.0.2:{port}", BEARER, SAME),
    "a number as host": read("Host: 2130706433:{port}", BEARER, SAME),
    "a trailing dot": read("Host: localhost.:{port}", BEARER, SAME),
    "a user name in the host": read("Host: 127.0.0.1@evil.example", BEARER, SAME),
    "an empty host": read("Host: ", BEARER, SAME),
    "no host, HTTP/1.0": read(BEARER, SAME, version="1.0"),
    "no host, HTTP/1.1": read(BEARER, SAME),
    "two hosts": read(HOST, "Host: evil.example", BEARER, SAME),
    "a forwarded host": read("Host: evil.example", "X-Forwarded-Host: 127.0.0.1:{port}", BEARER, SAME),
    "the page under a rebound name": read("Host: evil.example", *NAVIGATION, target="/"),
    # other origins
    "a foreign origin": good_read("Origin: https://evil.example"),
    "a foreign origin, write": write(HOST, "Origin: https://evil.example", BEARER, SAME, JSON),
    "the origin null": write(HOST, "Origin: null", BEARER, SAME, JSON),
    "no origin, write": write(HOST, BEARER, SAME, JSON),
    "another port of this host": write(HOST, "Origin: http://127.0.0.1:1", BEARER, SAME, JSON),
    "an origin that begins like ours": write(HOST, "Origin: http://127.0.0.1:{port}.evil.example", BEARER, SAME, JSON),
    "an origin with a user name": write(HOST, "Origin: http://127.0.0.1:{port}@evil.example", BEARER, SAME, JSON),
    "an origin of a file": write(HOST, "Origin: file://", BEARER, SAME, JSON),
    "an origin of an extension": write(HOST, "Origin: chrome-extension://127.0.0.1:{port}", BEARER, SAME, JSON),
    "two origins": good_write("Origin: https://evil.example"),
    "a forwarded origin": write(
        HOST, "Origin: https://evil.example", "X-Forwarded-Host: evil.example", BEARER, SAME, JSON
    ),
    # requests that another page causes
    "cross-site": read(HOST, BEARER, "Sec-Fetch-Site: cross-site"),
    "same-site, another port": read(HOST, BEARER, "Sec-Fetch-Site: same-site"),
    "cross-site, write": write(HOST, ORIGIN, BEARER, "Sec-Fetch-Site: cross-site", JSON),
    "data as a page of its own": read(HOST, BEARER, "Sec-Fetch-Site: none", *NAVIGATION),
    "a script of another page": read(
        HOST, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script", target="/static/app.js"
    ),
    "a frame of another page": read(
        HOST, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", target="/"
    ),
    "an image of another page": read(
        HOST, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", target="/"
    ),
    "an unknown site": read(HOST, BEARER, "Sec-Fetch-Site: own"),
    # the token
    "no token": read(HOST, SAME),
    "no token, write": write(HOST, ORIGIN, SAME, JSON),
    "an empty token": read(HOST, SAME, "Authorization: Bearer "),
    "a wrong token": read(HOST, SAME, f"Authorization: Bearer {'x' * len(TOKEN)}"),
    "all but the last character": read(HOST, SAME, f"Authorization: Bearer {TOKEN[:-1]}"),
    "a character too many": read(HOST, SAME, f"Authorization: Bearer {TOKEN}x"),
    "other case": read(HOST, SAME, f"Authorization: Bearer {TOKEN.swapcase()}"),
    "the token in another scheme": read(HOST, SAME, "Authorization: Basic {token}"),
    "the token without a scheme": read(HOST, SAME, "Authorization: {token}"),
    "two tokens": good_read("Authorization: Bearer wrong"),
    "a token that is no ASCII": read(HOST, SAME, "Authorization: Bearer \xe9\xff"),
    "the token in the query": read(HOST, SAME, target="/api/project?token={token}"),
    "the token in a cookie": read(HOST, SAME, "Cookie: token={token}; tuneworthy-token={token}"),
    "the token in another header": read(HOST, SAME, "X-Token: {token}", "Proxy-Authorization: Bearer {token}"),
    "the token in the body": write(HOST, ORIGIN, SAME, JSON, body='{"token": "{token}"}'),
    # paths
    "up from static": good_read(target="/static/../server.py"),
    "up from static, encoded": good_read(target="/static/%2e%2e/server.py"),
    "up from static, encoded slash": good_read(target="/static/..%2fserver.py"),
    "up from static, encoded twice": good_read(target="/static/%252e%252e%252fserver.py"),
    "up from static, backslash": good_read(target="/static/..\\server.py"),
    "source of the server": good_read(target="/static/security.py"),
    "a template": good_read(target="/static/app.html.j2"),
    "an absolute path in static": good_read(target="/static//etc/passwd"),
    "a NUL in static": good_read(target="/static/app.js%00.css"),
    "up from api": good_read(target="/api/../api/project"),
    "an encoded name in api": good_read(target="/api/%70roject"),
    "a double slash": good_read(target="//api/project"),
    "a slash at the end": good_read(target="/api/project/"),
    "an unknown view": good_read(target="/api/environment"),
    "a method of a dictionary": good_read(target="/api/__class__"),
    "an absolute target": good_read(target="http://evil.example/api/project"),
    "an absolute target of our own": good_read(target="http://127.0.0.1:{port}/api/project"),
    "a target of a proxy": read(HOST, BEARER, target="evil.example:443", method="CONNECT"),
    "a star": good_read(target="*", method="OPTIONS"),
    # methods
    "a preflight": read(HOST, "Origin: https://evil.example", "Access-Control-Request-Method: POST", method="OPTIONS"),
    "HEAD of the page": good_read(target="/", method="HEAD"),
    "HEAD of the page, with its origin": good_read(ORIGIN, target="/", method="HEAD"),
    "POST to the page": good_write(target="/"),
    "POST to a script": good_write(target="/static/app.js"),
    "PUT": good_write(method="PUT"),
    "DELETE": good_write(method="DELETE"),
    "PATCH": good_write(method="PATCH"),
    "TRACE": good_read(method="TRACE"),
    "a small get": good_read(method="get"),
    "GET of a write": good_read(target="/api/queue/answer"),
    "a method in a header": good_read("X-HTTP-Method-Override: POST", target="/api/queue/answer"),
    "a method in the query": good_read(target="/api/queue/answer?_method=POST&row=a"),
    "POST to a read": good_write(target="/api/project"),
    # bodies
    "a form": typed(FORM, body="row=a&line=b&seconds=1"),
    "JSON as a form": typed(FORM),
    "JSON as text": typed("Content-Type: text/plain"),
    "JSON in parts": typed("Content-Type: multipart/form-data; boundary=a"),
    "JSON with a parameter": typed("Content-Type: application/json; charset=utf-7"),
    "JSON like": typed("Content-Type: application/json-patch"),
    "no type": typed(""),
    "two types": typed(JSON + "\r\nContent-Type: text/plain"),
    "a compressed body": good_write("Content-Encoding: gzip"),
    "an empty body": good_write(body=""),
    "half an object": good_write(body='{"row": "a"'),
    "two objects": good_write(body="{}{}"),
    "a list": good_write(body='["a"]'),
    "a text": good_write(body='"a"'),
    "nothing": good_write(body="null"),
    "NaN": good_write(body='{"seconds": NaN}'),
    "infinity": good_write(body='{"seconds": -Infinity}'),
    "a number beyond all": good_write(body='{"seconds": 1e999}'),
    "a repeated key": good_write(body='{"row": "a", "row": "b"}'),
    "a repeated key inside": good_write(body='{"a": [{"b": 1, "b": 2}]}'),
    "half a surrogate": good_write(body='{"row": "\\ud800"}'),
    "no UTF-8": good_write(body='{"row": "\xff"}'),
    "UTF-16": good_write(body='{"row": "a"}'.encode("utf-16").decode("latin-1")),
    "a deep object": good_write(body='{"a":' * 70 + '"b"' + "}" * 70),
    "a deep list": good_write(body='{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "a huge number": good_write(body='{"a": ' + "9" * 500_000 + "}"),
    "a huge body": good_write(body=json.dumps({"row": "a" * MAX_BODY})),
    "a huge body in chunks": read(
        HOST, ORIGIN, BEARER, SAME, JSON, "Transfer-Encoding: chunked", method="POST", target="/api/queue/answer"
    )
    + (f"{2**16:x}\r\n" + " " * 2**16 + "\r\n") * 17
    + "2\r\n{}\r\n0\r\n\r\n",
    # the protocol
    "a huge header": good_read("X-A: " + "a" * 100_000),
    "a huge target": good_read(target="/api/project?" + "a" * 100_000),
    "a thousand headers": good_read(*[f"X-{i}: {'a' * 100}" for i in range(1000)]),
    "a line break in a header": read(HOST, "X-A: a\rAuthorization: Bearer {token}", SAME),
    "a header line that goes on": read(HOST, SAME, "X-A: a", " Authorization: Bearer {token}"),
    "a space before the colon": read(HOST, SAME, "Authorization : Bearer {token}"),
    "a NUL in a header": read(HOST, SAME, "Authorization: Bearer {token}\x00"),
    "an encoded line break": read(HOST, SAME, target="/api/project%0d%0aAuthorization:%20Bearer%20{token}"),
    "two lengths": good_write("Content-Length: 2"),
    "a length and chunks": good_write("Transfer-Encoding: chunked", body="2\r\n{}\r\n0\r\n\r\n"),
    "a broken chunk": read(
        HOST, ORIGIN, BEARER, SAME, JSON, "Transfer-Encoding: chunked", method="POST", target="/api/queue/answer"
    )
    + "xyz\r\n{}\r\n0\r\n\r\n",
    "a length below zero": read(
        HOST, ORIGIN, BEARER, SAME, JSON, "Content-Length: -1", method="POST", target="/api/queue/answer"
    ),
    "a websocket": read(
        HOST,
        BEARER,
        SAME,
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ).replace("Connection: close", "Connection: Upgrade, close"),
    "HTTP/2 by upgrade": good_read("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    "HTTP/2 at once": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": "GET /api/project\r\n\r\n",
    "TLS": "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
}
EXPERT_ONLY: dict[str, str] = {
    "an expert reads another view": good_read(target="/api/rows"),
    "an expert writes to another view": good_write(target="/api/rows"),
    "an expert with a role in the query": good_read(target="/api/rows?role=engineer"),
    "an expert behind a name that begins like the queue": good_read(target="/api/queuerows"),
    "an expert behind a path that begins like the project": good_read(target="/api/project/rows"),
}
Wrap = Callable[[Any, Access], Any]


def is_accepted(page: RunningPage, request: str) -> bool:
    """Return whether a request changed something, showed data, or was answered as a good one."""
    page.writes.clear()
    status, _, body = page.send(request)
    return bool(page.writes) or SECRET in body or 200 <= status < 400 or status in {101, 500}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPage]:
    with running(tmp_path_factory.mktemp("project")) as server:
        yield server


@pytest.fixture(scope="module")
def expert(page: RunningPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPage]:
    with running(tmp_path_factory.mktemp("project"), role="expert") as server:
        yield server


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_changes_nothing_and_shows_nothing(page: RunningPage, name: str) -> None:
    assert not is_accepted(page, HOSTILE[name])
    assert is_accepted(page, good_read()) and is_accepted(page, good_write())


@pytest.mark.parametrize("name", EXPERT_ONLY)
def test_an_expert_gets_the_queue_only(page: RunningPage, expert: RunningPage, name: str) -> None:
    assert not is_accepted(expert, EXPERT_ONLY[name])
    assert is_accepted(expert, good_read()) and is_accepted(expert, good_write())


def test_there_are_sixty_hostile_requests() -> None:
    assert len({*HOSTILE.values()}) >= 60


def without(removed: Callable[..., object] | str) -> Wrap:
    """Return what puts an application behind all guards but one."""
    kept = {
        "guards": [guard for guard in HEAD_GUARDS if guard is not removed],
        "body_guards": [guard for guard in BODY_GUARDS if guard is not removed],
        "max_body": 2**40 if removed == "max_body" else MAX_BODY,
    }
    return partial(Gate, **kept)


@pytest.mark.parametrize(
    "guard", [*HEAD_GUARDS, *BODY_GUARDS, "max_body"], ids=lambda one: getattr(one, "__name__", one)
)
def test_without_one_guard_a_hostile_request_is_accepted(
    guard: Callable[..., object] | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "BODY_S", 1.0)  # some requests end by that
    role = "expert" if guard is security.check_role else "engineer"
    with running(tmp_path, without(guard), role=role) as server:
        requests = EXPERT_ONLY if role == "expert" else HOSTILE
        assert [name for name, request in requests.items() if is_accepted(server, request)]


# answers


ANSWERS = {
    "page": read(HOST, "Sec-Fetch-Site: none", *NAVIGATION, target="/"),
    "script": read(HOST, SAME, target="/static/app.js"),
    "style": read(HOST, SAME, target="/static/page.css"),
    "data": good_read(),
    "write": good_write(),
    "no such view": good_read(target="/api/nothing"),
    "no such path": good_read(target="/nothing"),
    "refused": HOSTILE["a foreign origin"],
    "refused page": HOSTILE["the page under a rebound name"],
    "a preflight": HOSTILE["a preflight"],
    "a bug": good_read(target="/api/bug"),
}


def header_faults(head: str) -> list[str]:
    """Return the headers that an answer lacks, and those it must not have."""
    lines = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:])
    lacks = [name for name, value in HEADERS.items() if lines.get(name.lower()) != value.lower()]
    return lacks + [name for name in lines if name.startswith("access-control") or name in {"server", "set-cookie"}]


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_has_the_headers_and_none_of_cors(
    page: RunningPage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setitem(READS, "bug", bug)
    status, head, body = page.send(ANSWERS[name])
    assert status and header_faults(head) == []
    assert "Traceback" not in body and "ZeroDivisionError" not in body
    monkeypatch.setattr(security, "HEADERS", {"Access-Control-Allow-Origin": "*"})
    assert {*HEADERS, "access-control-allow-origin"} <= {*header_faults(page.send(ANSWERS[name])[1])}


def test_the_policy_of_the_page_admits_no_inline_code_and_no_other_place() -> None:
    policy = dict(part.split(" ", 1) for part in HEADERS["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert {value for key, value in policy.items() if key.endswith("-src")} == {"'none'", "'self'", "data:"}


def test_a_refusal_gives_the_reason_and_the_option_that_fixes_it(page: RunningPage) -> None:
    status, _, body = page.send(read("Host: box.example:9000", BEARER))
    assert status == 403 and "box.example:9000" in json.loads(body)["error"]
    assert "--origin http://box.example:9000`" in json.loads(body)["hint"]
    _, _, body = page.send(write(HOST, "Origin: https://box.example", BEARER, JSON))
    assert "--origin https://box.example`" in json.loads(body)["hint"]
    status, head, body = page.send(read(HOST))
    assert status == 401 and "www-authenticate: bearer" in head.lower() and "tuneworthy ui" in json.loads(body)["hint"]


def test_a_person_gets_the_refusal_as_a_page_in_which_nothing_runs(page: RunningPage) -> None:
    _, head, body = page.send(read("Host: <script>alert(1)</script>", *NAVIGATION, target="/"))
    assert "text/html" in head and "&lt;script&gt;" in body and "<script" not in body
    assert "--origin https://NAME`" in body


def test_the_page_can_be_opened_from_a_link_of_another_page(page: RunningPage) -> None:
    """As from the terminal of a web editor: it contains no data, and no other page can frame or read it."""
    for site in ("none", "cross-site", "same-site"):
        status, _, body = page.send(read(HOST, f"Sec-Fetch-Site: {site}", *NAVIGATION, target="/"))
        assert status == 200 and SECRET not in body


def test_a_body_that_never_ends_is_given_up(page: RunningPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "BODY_S", 0.2)
    half = (
        good_write()
        .replace(f"Content-Length: {len(GOOD)}", "Content-Length: 1000")
        .replace("Connection: close", "A: b")
    )
    text = half.replace("{port}", str(page.port)).replace("{token}", TOKEN).encode()
    with socket.create_connection(("127.0.0.1", page.port), timeout=20) as connection:
        connection.sendall(text)
        assert connection.recv(2**16).startswith(b"HTTP/1.1 408")


def test_a_client_that_leaves_in_a_body_is_forgotten(page: RunningPage) -> None:
    page.writes.clear()
    half = good_write().replace(f"Content-Length: {len(GOOD)}", "Content-Length: 1000")
    with socket.create_connection(("127.0.0.1", page.port), timeout=20) as connection:
        connection.sendall(half.replace("{port}", str(page.port)).replace("{token}", TOKEN).encode())
    assert is_accepted(page, good_read()) and page.writes == []


# in front of the server

CODESPACE = "fluffy-space-umbrella-q7rp-{port}.app.github.dev"
FORWARDED = ("X-Forwarded-For: 10.0.0.9", "X-Forwarded-Proto: https", "X-Forwarded-Scheme: https")
PREFIX = "/user/ada/proxy/{port}"
# Proxy to (the address in the browser, Host and Origin as they reach the server, other headers, is --origin needed).
PROXIES: dict[str, tuple[str, str, str, tuple[str, ...], bool]] = {
    # sshd forwards bytes
    "ssh -L to the same port": ("http://127.0.0.1:{port}", "127.0.0.1:{port}", "http://127.0.0.1:{port}", (), False),
    "ssh -L to another port": ("http://localhost:9000", "localhost:9000", "http://localhost:9000", (), False),
    "ssh -L over IPv6": ("http://[::1]:9000", "[::1]:9000", "http://[::1]:9000", (), False),
    # jupyter-server-proxy 4.4: copies the headers of the browser, strips the prefix, adds these three
    "Jupyter on a hub": (
        "https://hub.example.org", "hub.example.org", "https://hub.example.org",
        (f"X-Forwarded-Context: {PREFIX}", f"X-ProxyContextPath: {PREFIX}", f"X-Forwarded-Prefix: {PREFIX}",
         "X-Forwarded-For: 10.0.0.9,::ffff:10.1.2.3", "X-Forwarded-Proto: https,http", "X-Forwarded-Port: 443,80"),
        True,
    ),
    "Jupyter on this machine": (
        "http://localhost:8888", "localhost:8888", "http://localhost:8888",
        (
            "X-Forwarded-Context: /proxy/{port}",
            "X-ProxyContextPath: /proxy/{port}",
            "X-Forwarded-Prefix: /proxy/{port}",
        ),
        False,
    ),
    # docker -p 127.0.0.1:8443:8443 forwards bytes; TLS ends in the server
    "a container on this machine": ("https://localhost:8443", "localhost:8443", "https://localhost:8443", (), False),
    "a container elsewhere": ("https://gpu7.lan:8443", "gpu7.lan:8443", "https://gpu7.lan:8443", (), True),
    # Codespaces and dev tunnels: Host becomes localhost, and so does an Origin that is the address in the browser
    "Codespaces": (
        f"https://{CODESPACE}", "localhost:{port}", "https://localhost:{port}",
        (f"X-Forwarded-Host: {CODESPACE}", "X-Forwarded-Port: 443", "X-Original-Host: localhost:{port}", *FORWARDED),
        False,
    ),
    "Codespaces, http": (
        f"https://{CODESPACE}", "localhost:{port}", "http://localhost:{port}",
        (f"X-Forwarded-Host: {CODESPACE}", *FORWARDED), False,
    ),
    "Codespaces, Host unchanged": (
        f"https://{CODESPACE}", CODESPACE, "http://localhost:{port}", FORWARDED, True,
    ),
    "a dev tunnel with Origin unchanged": (
        f"https://{CODESPACE}", "localhost:{port}", f"https://{CODESPACE}", FORWARDED, True,
    ),
    # nginx: proxy_set_header Host $host, X-Forwarded-*; or the default, Host $proxy_host
    "nginx with the host": ("https://ui.example.org", "ui.example.org", "https://ui.example.org", FORWARDED, True),
    "nginx without": ("https://ui.example.org", "127.0.0.1:{port}", "https://ui.example.org", FORWARDED, True),
}  # fmt: skip


@pytest.mark.parametrize("name", PROXIES)
def test_behind_a_proxy_the_page_works_with_the_option_that_the_refusal_names(name: str, tmp_path: Path) -> None:
    address, host, origin, more, is_needed = PROXIES[name]
    requests = [
        read(f"Host: {host}", "Sec-Fetch-Site: none", *NAVIGATION, *more, target="/"),
        read(f"Host: {host}", SAME, *more, target="/static/app.js"),
        read(f"Host: {host}", SAME, BEARER, *more),
        write(f"Host: {host}", f"Origin: {origin}", SAME, BEARER, JSON, *more),
    ]
    has_tls = "container" in name
    with running(tmp_path, tls=has_tls) as server:
        answers = [server.send(request) for request in requests]
        public = address.replace("{port}", str(server.port))
    refusals = {json.loads(body)["hint"] for status, _, body in answers[1:] if status != 200}
    assert bool(refusals) is is_needed
    if is_needed:
        assert {re.search(r"--origin ([^\s`]+)", hint)[1] for hint in refusals} == {public}  # type: ignore[index]
        with running(tmp_path, tls=has_tls, origin=address.replace("{port}", "20123")) as server:
            again = [
                server.send(request.replace(CODESPACE, CODESPACE.replace("{port}", "20123"))) for request in requests
            ]
            assert [status for status, _, _ in again] == [200] * 4
            assert is_accepted(server, good_read())  # on the machine as before


@pytest.mark.parametrize(
    ("host", "origin", "names"),
    [
        ("0.0.0.0", "", set()),
        ("::", "", set()),
        ("10.1.2.3", "", {"10.1.2.3"}),
        ("fe80::1", "", {"[fe80::1]"}),
        ("127.0.0.1", "https://UI.example.org:8443", {"ui.example.org"}),
    ],
)
def test_the_names_of_a_server_are_loopback_its_address_and_that_of_the_option(
    host: str, origin: str, names: set[str]
) -> None:
    access = Access(token=TOKEN, role="engineer", host=host, port=1, origin=origin)
    assert access.names - security.LOOPBACK == names


@pytest.mark.parametrize("name", ["app.html.j2", "page.css", *(name for name in SCRIPTS if name != "preact.js")])
def test_all_addresses_in_the_page_are_relative(name: str) -> None:
    assert absolute((Path(security.__file__).parent / name).read_text()) == []


def absolute(text: str) -> list[str]:
    """Return addresses that a proxy with a prefix would not serve."""
    return re.findall(r"""(?:src|href|action)=["'`{$]*/[^"'`]*|["'`]/(?:api|static)/|url\(["']?/""", text)


def test_an_absolute_address_is_found() -> None:
    assert len(absolute('<a href="/api/a"> fetch(`/api/b`) "/static/c" url(/d) <a href=${`/e`}>')) == 5
    assert absolute('<a href=${`#/${one}`}> fetch(`api/b`) "static/c" a / b') == []


def test_each_script_and_view_has_a_path_that_is_accepted_and_an_expert_gets_those_of_the_queue() -> None:
    assert [name for name in (*SCRIPTS, "page.css") if not security.PATH.fullmatch(f"/static/{name}")] == []
    names = {*READS, *WRITES}
    assert [name for name in names if not security.PATH.fullmatch(f"/api/{name}")] == []
    of_queue = {name for name in names if re.match("project$|queues$|queue/", name)}
    assert {name for name in names if security.EXPERT.fullmatch(name)} == of_queue > {"project"}
