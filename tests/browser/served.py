"""`tuneworthy ui` as a process, label pages, and Chromium pages that note each fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from tuneworthy.cli import invoke

AXE = """async () => (await axe.run(document)).violations.map(
  one => `${one.id}: ${one.nodes.map(node => node.html.slice(0, 200)).join(' ; ')}`)"""
WIDE = "() => document.documentElement.scrollWidth > window.innerWidth"
TOKEN = "if (origin !== 'null') sessionStorage.setItem('tuneworthy-token', '{}')"


def opened(browser: Any, address: str, view: str = "", width: int = 1280, scheme: str = "light", **more: Any) -> Any:
    """Return a page; `page.faults` gets each error, dialog, and request to another place.

    Args:
        browser: Of the fixture.
        address: With the token, if it has one.
        view: The page begins with this view, `NAME?QUERY`, and has the token.
        width: Of the screen.
        scheme: `light` or `dark`.
        more: `clock=True` installs a clock that the test moves.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.faults = faults = []
    place, _, token = address.partition("#token=")
    own = ("data:", "blob:", "file:" if address.startswith("file:") else place)
    page.on("console", lambda one: faults.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda one: faults.append(str(one)))
    page.on("dialog", lambda one: (faults.append(one.message), one.dismiss()))
    page.on("request", lambda one: faults.append(one.url) if not one.url.startswith(own) else None)
    if view and token:
        context.add_init_script(TOKEN.format(token))
    if more.get("clock"):
        page.clock.install()
    page.goto(f"{place}#/{view}" if view else address)
    return page


def violations(page: Any, shot: str = "") -> list[str]:
    """Return what axe-core finds, and whether the page is wider than the screen.

    Args:
        page: Of the browser.
        shot: Name of its picture in the folder SCREENSHOTS, if that is set.
    """
    import axe_core_python

    page.evaluate(Path(axe_core_python.__file__).with_name("axe.min.js").read_text())
    if shot and (folder := os.environ.get("SCREENSHOTS")):
        page.screenshot(path=f"{folder}/{shot}.png", full_page=True)
    return [*page.evaluate(AXE), *["the page overflows"] * page.evaluate(WIDE)]


class Served:
    """A server process of `ui`.

    Attributes:
        address: With the token.
    """

    def __init__(self, root: Path, *options: str) -> None:
        command = [sys.executable, "-m", "tuneworthy", "ui", "--project", str(root), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http"), self.process.communicate()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@contextmanager
def served(root: Path, *options: str) -> Iterator[Served]:
    server = Served(root, *options)
    try:
        yield server
    finally:
        server.kill()


def label(*words: str, code: int = 0) -> str:
    errors, output = StringIO(), StringIO()
    with redirect_stderr(errors), redirect_stdout(output):
        assert invoke(["label", *words]) == code, errors.getvalue()
    return output.getvalue() + errors.getvalue()


def label_page(root: Path, path: Path, labeller: str = "ada") -> str:
    """Write the page of the cases, and return the output."""
    return label("cases", "--project", str(root), "--labeller", labeller, "--page", str(path))


def label_project(folder: Path, texts: Sequence[str], labels: Sequence[str]) -> Path:
    folder.mkdir()
    rows = [{"id": f"c{n}", "input": text} for n, text in enumerate(texts)]
    (folder / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "guideline.md").write_text(
        "# Guideline\n\nChoose the **main** request.\n\n" + "".join(f"- `{name}`: {name}\n" for name in labels)
    )
    return folder
