"""`tuneworthy ui`."""

import io
import re
import secrets
import socket
import ssl
import sys
import zlib
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from tuneworthy.cli.invocation import Invocation
from tuneworthy.cli.label_queues import QUEUES, LabelRequest, all_answered, counted, waiting
from tuneworthy.cli.options import address_of, note, project_option, say
from tuneworthy.config import load
from tuneworthy.errors import UnknownName, UserError
from tuneworthy.extras import require
from tuneworthy.people.queue import Queue
from tuneworthy.signals import handled_by

# A project has the same port each time if that is free, so that a page still open finds its server again. Ports from
# 32768 on are those of outgoing connections.
FIRST_PORT, N_PORTS = 20_000, 10_000
# The start of an address, which may have a port and a path.
ADDRESS = re.compile(r"https?://(\[[\da-f:.]+\]|[\w.-]+)(:\d+)?(/[^\s?#]*)?", re.ASCII | re.IGNORECASE)


@click.command("ui")
@click.option("--role", type=click.Choice(["engineer", "expert"]), default="engineer", show_default=True,
              help="All views, or the queue only.")  # fmt: skip
@click.option("--labeller", metavar="NAME", help="Your name (default: your user name).")
@click.option("--bind", metavar="HOST:PORT", help="Address to listen on (default: 127.0.0.1, a free port).")
@click.option("--origin", metavar="URL", help="Address in the browser, if a proxy changes it.")
@click.option("--tls", metavar="CERT,KEY", help="PEM files of a certificate and its key.")
@project_option
def command(role: str, labeller: str | None, bind: str | None, origin: str | None, tls: str | None, root: Path) -> None:
    """Label, review and read results in a browser.

    Open the printed address. Its token is new at each start; who has it can read and label this project. The server
    runs until Ctrl-C. It never starts a run, spends money or grants trust.

    The server listens on 127.0.0.1. From another machine, use the printed `ssh -L` command. With --tls, --bind can be
    an address that other machines reach, such as 0.0.0.0:8443. Behind a proxy, --origin is the address in the browser.

    \b
    Example:
      tuneworthy ui
      tuneworthy ui --role expert --labeller ada
      tuneworthy ui --origin https://ada-8100.app.github.dev --bind 127.0.0.1:8100
    """
    require("starlette")
    require("uvicorn")
    from tuneworthy.web.security import Access, Gate
    from tuneworthy.web.server import create_app
    from tuneworthy.web.state import UiState

    project = load(root)
    click.get_current_context().ensure_object(Invocation).labeller = labeller or ""
    request = LabelRequest(project.root, labeller)
    certificate = _certificate(tls)
    address, allowed = _origin(origin)
    door = _listen(project.root, bind, tls=bool(tls))
    host, port = door.getsockname()[:2]

    def open_queue(kind: str) -> Queue:
        if kind not in QUEUES:
            raise UnknownName("queue", kind, QUEUES)
        queue = QUEUES[kind](replace(request, every=kind == "cases" and all_answered(project.root)))
        queue.keep_guideline(project.root)
        return queue

    state = UiState(project.root, request.name, role, open_queue, lambda: waiting(counted(request)))  # type: ignore[arg-type]
    access = Access(
        token=secrets.token_urlsafe(32), role=state.role, host=host, port=port, tls=bool(tls), origin=allowed,
    )  # fmt: skip
    server = server_of(Gate(create_app(state), access), *certificate)
    sys.stdin = io.StringIO()  # a queue that would ask on the terminal is closed in the page
    scheme = "https" if tls else "http"
    is_wildcard = ip_address(host).is_unspecified
    shown = "127.0.0.1" if is_wildcard else f"[{host}]" if ":" in host else host
    say(f"{address or f'{scheme}://{shown}:{port}'}/#token={access.token}")
    note(
        *["Give the address that other machines open with --origin."] * (is_wildcard and not origin),
        *[f"From another machine: ssh -L {port}:{shown}:{port} HOST, then open this address there."]
        * (ip_address(host).is_loopback and not origin),
        "Press Ctrl-C to stop.",
    )
    with handled_by(server.handle_exit):  # an exception at any moment could leave the loop waiting
        server.run(sockets=[door])
    note("Stopped.")


def server_of(app: Any, certificate: str | None = None, key: str | None = None) -> Any:
    """Return the server of an application, a `uvicorn.Server`."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",  # strict: it refuses what two programs could read in two ways
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )


def _listen(root: Path, bind: str | None, *, tls: bool) -> socket.socket:
    """Return the socket of the server.

    Args:
        root: The project folder.
        bind: `HOST:PORT`; None for loopback and the port of the project, or a free one.
        tls: Whether the server speaks TLS.

    Raises:
        UserError: The address is not valid, not available, or other machines could read what is sent.
    """
    usual = FIRST_PORT + zlib.crc32(bytes(root.resolve())) % N_PORTS
    host, port = address_of(bind or f"127.0.0.1:{usual}")
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if not (tls or ip_address(place[0]).is_loopback):
            raise UserError(
                f"Other machines can reach {bind}, and could read the token and the data on their way.",
                hint="Use 127.0.0.1 and `ssh -L`, or give a certificate with --tls CERT,KEY.",
            )
        try:
            return socket.create_server(place[:2], family=family)
        except OSError:
            if bind:
                raise
            return socket.create_server(("127.0.0.1", 0))
    except OSError as error:
        reason = (error.strerror or "").partition(" (while")[0]  # Python repeats the address there
        raise UserError(f"The server cannot listen on {bind}: {reason}.", hint="Choose another --bind.") from None


def _certificate(tls: str | None) -> tuple[str | None, str | None]:
    """Return the files of the certificate and its key.

    Raises:
        UserError: They cannot be used.
    """
    if tls is None:
        return None, None
    certificate, _, key = tls.partition(",")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key or None, password="")
    except OSError as error:  # of which an error of TLS is one
        raise UserError(
            f"The certificate {tls} cannot be used: {error.strerror or error}.",
            hint="Give two PEM files, the key without a password: --tls cert.pem,key.pem",
        ) from None
    return certificate, key or None


def _origin(url: str | None) -> tuple[str, str]:
    """Return an address without its last slash, and the header `Origin` of its page; both empty without an address.

    Raises:
        UserError: It is not the start of an http or https address.
    """
    if not url:
        return "", ""
    try:
        is_address = ADDRESS.fullmatch(url) and urlsplit(url).port != 0
    except ValueError:  # the port, or an IPv6 address
        is_address = False
    if not is_address:
        raise UserError(f"--origin {url!r} is not an address such as https://name.example.")
    parts = urlsplit(url)
    return url.rstrip("/"), f"{parts.scheme}://{parts.netloc.lower()}"
