"""Clients that the proxy does not trust: floods, slow senders and readers, climbing paths, upgrades, loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from tests.shadow.servers import (
    CHAT,
    Call,
    Script,
    chunk,
    post,
    proxied,
    raw,
    read_call,
    run,
    said,
    served,
    upstream,
)
from tests.shadow.traffic import write_traffic_project
from tuneworthy.cli import invoke
from tuneworthy.providers.address import free_port
from tuneworthy.shadow import http_server
from tuneworthy.shadow import proxy as proxy_module
from tuneworthy.shadow.copies import MOST_BYTES
from tuneworthy.shadow.proxy import METRICS, climbs

OK = b'{"model":"m","messages":[{"role":"user","content":"a"}]}'
HEAD = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\n".encode()
LENGTH = f"Content-Length: {len(OK)}\r\n".encode()


def fine(call: Call) -> Script:
    return [raw(b"{}")]


async def opened(address: str, data: bytes = b"", local: str = "127.0.0.1") -> tuple[Any, asyncio.StreamWriter]:
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(local, 0))
    writer.write(data)
    await writer.drain()
    return reader, writer


@asynccontextmanager
async def flood(address: str, n: int, data: bytes, local: str = "127.0.0.1") -> AsyncIterator[list[Any]]:
    """Open connections that send `data` and nothing more."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(n):
            with suppress(ConnectionError):
                reader, writer = await opened(address, data, local)
                stack.callback(writer.close)
                found.append((reader, writer))
        yield found


HALF_OPEN = {
    "silent": b"",
    "half a line": b"POST /v1/ch",
    "half a head": HEAD + b"X-A: 1",
    "head without a body": HEAD + LENGTH + b"\r\n",
    "half a body": HEAD + LENGTH + b"\r\n" + OK[:9],
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "body of another path": HEAD.replace(CHAT.encode(), b"/v1/files") + b"Content-Length: 9999999\r\n\r\nab",
    "blank lines": b"\r\n\r\n",
    "idle after an answer": b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    "blank lines after an answer": b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n\r\n\r\n",
}


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let users have eight connections."""
    monkeypatch.setattr(http_server, "max_connections", lambda: 8)


@pytest.mark.usefixtures("eight")
def test_half_open_requests_keep_no_user_out() -> None:
    async def work() -> None:
        async with upstream(fine) as (address, _), served(address) as (proxy, server):
            for name, data in HALF_OPEN.items():
                async with flood(proxy, 30, data):
                    assert len(server.server_state.connections) <= 8, name
                    assert (await said(proxy, post(OK))).startswith(b"HTTP/1.1 200"), name

    run(work)


@pytest.mark.usefixtures("eight")
def test_one_address_gets_half_of_the_connections() -> None:
    async def work() -> None:
        async with (
            upstream(lambda call: [5.0]) as (address, calls),
            served(address) as (proxy, server),
            flood(proxy, 4, post(OK), "127.0.0.2"),
            flood(proxy, 1, post(OK)),
        ):
            while len(calls) < 5:
                await asyncio.sleep(0.01)
            async with flood(proxy, 1, post(OK), "127.0.0.2") as ((refused, _),), flood(proxy, 30, b"POST"):
                assert (await refused.read()).split()[1] == b"503"
                assert len(server.server_state.connections) == 8 and not any(call.cut.is_set() for call in calls)

    run(work)


def test_descriptors_are_left_for_the_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, connections in ((256, 80), (1024, 464), (10**6, 4096), (20, 8)):
        monkeypatch.setattr("resource.getrlimit", lambda _, n=files: (n, n))
        assert http_server.max_connections() == connections


async def sweep(server: Any, n: int = 2) -> None:
    """Let clients be late, and check all connections as the server does each second."""
    for _ in range(n):
        await asyncio.sleep(0.03)
        await server.config.callback_notify()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in http_server.LIMIT_S:
        monkeypatch.setitem(http_server.LIMIT_S, name, 0.02)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return the status by which the server ended the connection, also where a reset hid it."""
    try:
        return (await asyncio.wait_for(reader.read(), 2)).split()[1]
    except ConnectionError:
        return b"408"


@pytest.mark.usefixtures("impatient")
def test_a_late_part_of_a_request_ends_the_connection() -> None:
    async def work() -> None:
        async with upstream(fine) as (address, _), served(address) as (proxy, server):
            for name, data in HALF_OPEN.items():
                async with flood(proxy, 1, data) as ((reader, _),):
                    await asyncio.sleep(0.02)
                    await sweep(server)
                    if "after an answer" in name:
                        (connection,) = server.server_state.connections
                        assert connection.timeout_keep_alive_task, name
                    else:
                        assert (await ended(reader), server.config.app.open_requests) == (b"408", 0), name

    run(work)


DRIPS = {
    # what comes first, what drips, whether it is late
    "header": (HEAD, b"X-A: 1\r\n", True),
    "byte of a header": (HEAD, b"x", True),
    "blank lines": (b"", b"\r\n", True),
    "body": (HEAD + b"Content-Length: 99\r\n\r\n", b"x", True),
    "body of another path": (b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", b"x", True),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", True),
    "fast body": (HEAD + b"Content-Length: 9999\r\n\r\n", b"x" * 900, False),
    "fast chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk(b"x" * 900), False),
    "body that is waited for": (HEAD + b"Expect: 100-continue\r\nContent-Length: 9999\r\n\r\n", b"x" * 900, False),
}


@pytest.mark.usefixtures("impatient")
def test_a_request_that_drips_is_late_and_a_fast_one_is_not() -> None:
    async def work() -> None:
        async with upstream(fine) as (address, _), served(address) as (proxy, server):
            for name, (first, drip, is_late) in DRIPS.items():
                async with flood(proxy, 1, first) as ((reader, writer),):
                    for _ in range(5):
                        await sweep(server, 1)
                        writer.write(drip)
                    assert bool(server.server_state.connections) is not is_late, name
                    assert not is_late or await ended(reader) == b"408", name

    run(work)


@pytest.mark.usefixtures("impatient")
def test_a_client_that_waits_for_the_server_is_not_late() -> None:
    async def work() -> None:
        async with upstream(lambda call: [0.15, raw(b"{}")]) as (address, _), served(address) as (proxy, server):
            reader, writer = await opened(proxy, post(OK))
            await sweep(server, 4)
            assert (await asyncio.wait_for(reader.read(), 2)).startswith(b"HTTP/1.1 200")
            writer.close()

    run(work)


LARGE = [raw(b"x" * 2**23, "Content-Type: text/plain")]


@pytest.mark.usefixtures("impatient")
def test_a_client_that_never_reads_its_answer_loses_its_connection() -> None:
    async def work() -> None:
        async with upstream(lambda call: LARGE) as (address, calls), served(address) as (proxy, server):
            _, writer = await opened(proxy, post(OK))
            writer.transport.pause_reading()
            for _ in range(40):
                await sweep(server, 1)
                if not server.server_state.connections:
                    break
            assert not server.server_state.connections and server.config.app.open_requests == 0
            await asyncio.wait_for(calls[0].cut.wait(), 2)
            writer.close()

    run(work)


def test_a_client_that_reads_slowly_gets_all_of_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(http_server.LIMIT_S, "answer", 0.4)

    async def work() -> None:
        async with (
            upstream(lambda call: LARGE) as (address, _),
            served(address) as (proxy, server),
            flood(proxy, 1, post(OK)) as ((reader, _),),
        ):
            size = 0
            while data := await asyncio.wait_for(reader.read(2**17), 2):
                size += len(data)
                await server.config.callback_notify()
                await asyncio.sleep(0.012)
            assert size > 2**23

    run(work)


def test_large_and_unfinished_bodies_are_not_kept() -> None:
    async def work() -> None:
        async with upstream(fine) as (address, calls), served(address) as (proxy, server):
            head = HEAD + b"Content-Length: 60000000\r\n\r\n"
            async with flood(proxy, 6, head + b" " * 2**20), flood(proxy, 6, HEAD + LENGTH + b"\r\n" + OK[:5]):
                await asyncio.sleep(0.05)
                assert proxy_module._Kept.total <= 6 * len(OK)
            unknown = b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(OK + b" " * MOST_BYTES) * 2
            assert (await said(proxy, HEAD + unknown + chunk(b""))).startswith(b"HTTP/1.1 200")
            assert calls[-1].body == (OK + b" " * MOST_BYTES) * 2 and not server.config.app.copies.noted
            assert proxy_module._Kept.total == 0

    run(work)


@pytest.mark.parametrize("most", [10, len(OK) + 1])
def test_beyond_the_common_limit_requests_are_served_and_not_copied(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_module, "MAX_KEPT", most)

    async def work() -> None:
        async with upstream(fine) as (address, calls), proxied(address) as (proxy, app):
            halves = b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(OK[:30])
            reader, writer = await opened(proxy, HEAD + halves)
            await asyncio.sleep(0.02)
            writer.write(chunk(OK[30:]) + chunk(b""))
            assert (await asyncio.wait_for(reader.read(), 2)).startswith(b"HTTP/1.1 200")
            assert calls[0].body == OK and not app.copies.noted  # type: ignore[attr-defined]
            assert proxy_module._Kept.total == 0
            writer.close()

    run(work)


def test_a_user_who_leaves_an_upload_ends_the_call() -> None:
    async def work() -> None:
        async with upstream(lambda call: [5.0]) as (address, calls), proxied(address) as (proxy, app):
            with pytest.raises(TimeoutError):
                await said(proxy, post(OK + b" " * (MOST_BYTES + 1)), wait_s=0.3)
            await asyncio.wait_for(calls[0].cut.wait(), 2)
            assert app.requests["gone"] == 1

    run(work)


UPGRADES = {
    "java": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB",
    "h2c": "Connection: upgrade\r\nUPGRADE: h2c",
    "websocket": "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==",
    "tls": "Upgrade: TLS/1.0\r\nConnection: Upgrade",
    "several": "Upgrade: foo/2, bar\r\nConnection: Upgrade",
}
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: abcd\r\n\r\n"
BODIES = (
    (LENGTH + b"\r\n" + OK, OK),
    (b"Transfer-Encoding: chunked\r\n\r\n" + chunk(OK[:20]) + chunk(OK[20:]) + chunk(b""), OK),
    (b"X-A: 345678901234\r\n\r\n", b""),
    (b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, SMUGGLED),
)


def test_an_upgrade_is_ignored_and_the_body_arrives() -> None:
    async def work() -> None:
        async with upstream(fine) as (address, calls), proxied(address) as (proxy, app):
            for upgrade, (head, body), cut in product(UPGRADES.values(), BODIES, (0, 1, 12)):
                request = HEAD + upgrade.encode() + b"\r\n" + head
                async with flood(proxy, 1, request[:-cut] if cut else request) as ((reader, writer),):
                    await asyncio.sleep(0.005)
                    writer.write(request[-cut:] if cut else b"")
                    answer = await asyncio.wait_for(reader.read(), 2)
                assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer, request
                (call,) = calls
                assert call.body == body and not {"upgrade", "http2-settings"} & {name for name, _ in call.headers}
                calls.clear()
            for rest in (b"zz\r\n", b"-1\r\nabc\r\n0\r\n\r\n", b"1\r\nabc\r\n"):
                head = HEAD + UPGRADES["h2c"].encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
                assert (await said(proxy, head + rest)).split()[1] == b"400"
            assert not calls and app.open_requests == 0

    run(work)


def test_requests_behind_an_upgrade_are_not_part_of_it() -> None:
    async def work() -> None:
        async with upstream(fine) as (address, calls), proxied(address) as (proxy, _):
            request = HEAD + UPGRADES["java"].encode() + b"\r\n" + BODIES[0][0] + post(b"evil")
            for again in (request, request + request):
                answer = await said(proxy, again)
                assert [call.body for call in calls] == [OK] and answer.count(b"HTTP/1.1 200") == 1
                calls.clear()

    run(work)


def test_pipelined_requests_are_answered_in_order_and_bounded() -> None:
    async def work() -> None:
        async with upstream(lambda call: [raw(call.line.encode())]) as (address, _), proxied(address) as (proxy, _):
            few = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(5))
            answer = await said(proxy, few + b"GET /5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert [answer.count(b"GET /%d " % n) for n in range(6)] == [1] * 6
            with suppress(ConnectionError):
                assert (await said(proxy, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)).count(b"HTTP/1.1 200") < 40

    run(work)


CLIMBING = """
    /../tenant-b /%2e%2e/tenant-b /%2E%2e/tenant-b /.%2e/tenant-b /%2e./tenant-b /..%2ftenant-b /..%2Ftenant-b
    /%2e%2e%2ftenant-b /..;/tenant-b /..;a=b/tenant-b /v1/..;/..;/tenant-b /%252e%252e/tenant-b
    /%25%32%65%252e/tenant-b /%25252e%25252e/tenant-b /%2525252525252e%2525252525252e/tenant-b /..%5ctenant-b
    /..%255ctenant-b /v1/../../tenant-b /v1/%2e%2e/%2e%2e/tenant-b //../tenant-b /.//../tenant-b /v1/.. /..
    /..%00/tenant-b /..%09/tenant-b /.%0d./tenant-b /..%20/tenant-b /%c0%ae%c0%ae/tenant-b
    /%e0%80%ae%e0%80%ae/tenant-b /%ef%bc%8e%ef%bc%8e/tenant-b /%e2%80%a5/tenant-b /..%ef%bc%8ftenant-b
    /%u002e%u002e/tenant-b /.../tenant-b /..%3fa/tenant-b /..%23/tenant-b /v1/models/..%252f..%252ftenant-b
    /..%3b/tenant-b /%2e%2e%3b/tenant-b /v1../tenant-b /..::$DATA/tenant-b
""".split()  # noqa: SIM905
STAYING = """
    /v1/models /v1/models/a..b /v1/models/gpt-4.1 /v1/files/a.b.c /v1/models/a%2fb /v1//models /v1/caf%c3%a9
    /v1/.hidden /v1/models/ft:m:org::id /v1/a%20b /v1/x?path=../../y
""".split()  # noqa: SIM905


def test_paths_that_climb_are_recognised() -> None:
    assert [path for path in CLIMBING if not climbs(path.encode())] == []
    assert [path for path in STAYING if climbs(path.partition("?")[0].encode())] == []


@pytest.mark.parametrize("address", ["/tenant-a", "/tenant-a/v1", "/tenant-a/v1/", "/a/tenant-a/"])
def test_no_request_leaves_the_prefix_of_the_upstream(address: str) -> None:
    prefix = address.rstrip("/").removesuffix("/v1")

    async def work() -> None:
        async with upstream(fine) as (host, calls), proxied(host + address) as (proxy, _):
            lines = [f"{path} HTTP/1.1" for path in CLIMBING] + ["http://x/../tenant-b HTTP/1.1"]
            requests = [f"GET {line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode() for line in lines]
            requests.append(b"GET /..\\tenant-b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            statuses = [(await said(proxy, request)).split()[1] for request in requests]
            assert set(statuses) == {b"400"} and not calls
            for path in STAYING:
                await said(proxy, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert [call.line.split()[1] for call in calls] == [prefix + path for path in STAYING]

    run(work)


def test_without_a_prefix_paths_are_passed_on_as_they_are() -> None:
    async def work() -> None:
        async with upstream(fine) as (host, calls), proxied(f"{host}/v1") as (proxy, _):
            for path in CLIMBING:
                await said(proxy, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert [call.line.split()[1] for call in calls] == CLIMBING

    run(work)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 200 OK\r\n", b"\x00", b"HTTP/1.1 1"]
)
def test_no_request_that_changes_something_is_sent_twice(method: str, answer: bytes) -> None:
    """The server reads a second request of its connection and closes it, within an answer or before."""
    read = []

    async def work() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError):
                for reply in (raw(b"{}"), answer):
                    read.append((await read_call(reader)).body)
                    writer.write(reply)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with proxied(f"http://127.0.0.1:{port}") as (proxy, _):
            statuses = []
            for body in (b"1", b"2"):
                request = post(body).replace(b"POST", method.encode())
                statuses.append((await said(proxy, request)).split()[1])
            assert (statuses, read) == ([b"200", b"502"], [b"1", b"2"])
        server.close()

    run(work)


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    async def work() -> None:
        async with upstream(fine) as (address, calls), proxied(address) as (proxy, app):
            for n in range(30):  # the script ends, so the server closes each connection behind its answer
                assert (await said(proxy, post(b"%d" % n))).startswith(b"HTTP/1.1 200")
            assert len(calls) == 30 and app.requests == {"2xx": 30}

    run(work)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_loop_of_proxies_ends_at_once(n: int) -> None:
    async def work() -> None:
        async with AsyncExitStack() as stack:
            address, apps = "http://127.0.0.1:9", []
            for _ in range(n):
                address, app = await stack.enter_async_context(proxied(address))
                apps.append(app)
            apps[0].upstream = address
            answer = await said(address, post(OK))
            assert answer.split()[1] == b"508" and [app.requests for app in apps] == [{"5xx": 1}] * n

    run(work)


@pytest.mark.parametrize("via", ["1.1 other", "1.1 tuneworthy-0000000000000000, 1.0 b (x)", ""])
def test_the_via_of_another_proxy_is_passed_on(via: str) -> None:
    async def work() -> None:
        async with upstream(fine) as (address, calls), proxied(address) as (proxy, app):
            assert (await said(proxy, post(OK, CHAT, *([f"Via: {via}"] if via else [])))).startswith(b"HTTP/1.1 200")
            found = [value for name, value in calls[0].headers if name == "via"]
            assert found == [*([via] if via else []), f"1.1 {app.pseudonym.decode()}"]

    run(work)


@pytest.mark.parametrize(
    ("client", "status"), [("127.0.0.1", 200), ("127.8.9.1", 200), ("10.0.0.1", 404), ("0.0.0.0", 404)]
)
@pytest.mark.parametrize("path", ["/-/health", METRICS.decode()])
def test_health_and_figures_are_for_this_machine(client: str, status: int, path: str) -> None:
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    async def work() -> None:
        async with proxied("http://127.0.0.1:9") as (_, app):
            scope = {"type": "http", "raw_path": path.encode(), "client": (client, 1)}
            await app(scope, None, send)  # type: ignore[arg-type]
            assert sent[0]["status"] == status

    run(work)


def test_an_answer_that_has_begun_is_broken_off_by_a_malformed_request_and_not_continued() -> None:
    async def work() -> None:
        script: Script = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"a"), 5.0]
        async with upstream(lambda call: script) as (address, _), proxied(address) as (proxy, _):
            reader, writer = await opened(proxy, post(OK).replace(b"Connection: close\r\n", b""))
            await asyncio.wait_for(reader.readuntil(b"a\r\n"), 2)
            writer.write(b"\x00\x00\r\n\r\n")
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 2) == b""
            writer.close()

    run(work)


@pytest.mark.parametrize(
    ("host", "lines"), [("127.0.0.1", 1), ("127.0.0.2", 1), ("0.0.0.0", 2), ("[::1]", 1), ("[::]", 2)]
)
def test_an_open_host_says_who_can_use_it(
    host: str, lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tuneworthy.shadow.http_server.serve", lambda app, door: door.close())
    monkeypatch.setattr(
        "tuneworthy.cli.shadow_proxy.run_async", lambda work: work.close() or (SimpleNamespace(id="v"), 1)
    )
    port, root = free_port(), write_traffic_project(tmp_path, "equal")
    words = ["shadow", "proxy", "http://127.0.0.1:9", "--bind", f"{host}:{port}", "--project", str(root)]
    assert invoke([*words, "--candidate", "current"]) == 0
    assert capsys.readouterr().err.count(str(port)) == lines
    assert invoke([*words, "--bind", host]) == 2
    assert "is not HOST:PORT" in capsys.readouterr().err
