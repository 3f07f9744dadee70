"""`tuneworthy ui` as a process, and Chromium pages that note each fault."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
NEEDS_BROWSER = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not (find_spec("playwright") and find_spec("axe_core_python")), reason="no playwright, no axe"),
]
AXE = "async () => (await axe.run(document)).violations.map(one => `${one.id}: ${one.nodes[0].html.slice(0, 200)}`)"
WIDE = "() => document.documentElement.scrollWidth > window.innerWidth"


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Any, address: str, width: int = 1280, scheme: str = "light") -> Any:
    """Return a page; `page.faults` gets each error, dialog, and request to another place."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.faults = faults = []
    own = ("data:", "blob:", "file:" if address.startswith("file:") else address.partition("#")[0])
    page.on("console", lambda one: faults.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda one: faults.append(str(one)))
    page.on("dialog", lambda one: faults.append(one.message))
    page.on("request", lambda one: faults.append(one.url) if not one.url.startswith(own) else None)
    page.goto(address)
    return page


def violations(page: Any) -> list[str]:
    """Return what axe-core finds, and whether the page is wider than the screen."""
    import axe_core_python

    page.evaluate(Path(axe_core_python.__file__).with_name("axe.min.js").read_text())
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
