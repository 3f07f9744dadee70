"""The views verdict, history, data and live of `ui` in Chromium, over projects that were run, decided and built.

Skipped where Chromium, playwright or axe is absent.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.browser.test_report_pages import CHROMIUM, axe_violations
from tests.web.test_views import built, decided, state_of, unfinished
from tuneworthy.store import Folder
from tuneworthy.web.server import create_app

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not (find_spec("playwright") and find_spec("axe_core_python")), reason="no playwright, no axe"),
]
__all__ = ["built", "decided"]
WIDTHS = (1280, 768)
VIEWS = {
    "verdict": "verdict",
    "what_if": "verdict?target=0.99&traffic=2000000",
    "history": "history",
    "data": "data",
    "live": "live",
}


class Served:
    """A project behind a server, and its pages."""

    def __init__(self, root: Path, browser: Any) -> None:
        self.root, self.browser, self.faults = root, browser, list[str]()
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        self._server = uvicorn.Server(uvicorn.Config(create_app(state_of(root)), log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()

    def page(self, view: str, width: int = 1280, scheme: str = "light", *, clock: bool = False) -> Any:
        page = self.browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        if clock:
            page.clock.install()
        page.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.goto(f"{self.address}#/{view}")
        page.wait_for_selector("main h1")
        page.wait_for_load_state("networkidle")
        return page

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def served(built: Path, tmp_path: Path, browser: Any) -> Iterator[Served]:
    found = Served(Path(shutil.copytree(built, tmp_path / "world")), browser)
    yield found
    found.close()
    assert found.faults == []


def answer(page: Any) -> str:
    return str(page.locator("main h1").inner_text())


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_fits_and_is_accessible(name: str, served: Served) -> None:
    unfinished(served.root)
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            page = served.page(VIEWS[name], width, scheme)
            for details in page.locator("details").all():
                details.evaluate("one => { one.open = true; }")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (width, scheme)
            assert axe_violations(page) == [], (width, scheme)
            if shots := os.environ.get("SCREENSHOTS"):
                page.screenshot(path=f"{shots}/{name}_{width}_{scheme}.png", full_page=True)
            page.close()


def test_planted_faults_are_found(served: Served) -> None:
    page = served.page("verdict")
    page.evaluate("document.querySelector('.what-if label').remove()")
    page.evaluate("document.querySelector('main').style.width = '3000px'")
    page.evaluate("document.querySelector('main').style.maxWidth = 'none'")
    assert not page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert any(one.startswith("label") for one in axe_violations(page))
    page.evaluate("console.error('planted')")
    assert served.faults == ["planted"]
    served.faults.clear()


def test_a_reader_finds_the_recommendation_its_score_and_the_next_step(served: Served) -> None:
    page = served.page("verdict")
    card = page.locator(".cards > div", has_text="Recommendation")
    name = card.locator("strong").inner_text()
    box = card.bounding_box()
    assert box and box["y"] + box["height"] <= 900, "the recommendation is below the first screen"
    row = page.locator("tr.best", has_text="recommended").first
    assert row.locator("th").inner_text().startswith(name)
    assert card.inner_text().split("\n")[2].split()[0] == row.locator("td").first.inner_text()
    assert page.get_by_role("heading", name="Next").bounding_box()["y"] < 900


def test_the_slider_changes_the_answer_marks_it_as_not_saved_and_is_taken_back(served: Served) -> None:
    page, toml = served.page("verdict"), (served.root / "tuneworthy.toml").read_bytes()
    before = answer(page)
    assert page.locator(".unsaved").count() == 0
    slider = page.get_by_label("Target, slider")
    with page.expect_response(lambda one: "target=1" in one.url):
        slider.press("End")
    page.wait_for_selector(".unsaved")
    assert answer(page) != before
    assert page.locator(".unsaved pre").inner_text() == "[task]\ntarget = 1"
    assert "target=1" in page.url and "not saved" in page.locator(".what-if").inner_text()
    page.reload()
    page.wait_for_selector(".unsaved")
    page.get_by_role("button", name="Reset to the project file").click()
    page.wait_for_selector(".unsaved", state="detached")
    assert answer(page) == before and "target" not in page.url
    assert (served.root / "tuneworthy.toml").read_bytes() == toml


def test_traffic_and_prices_change_the_costs(served: Served) -> None:
    page = served.page("verdict")
    costs = page.get_by_role("region", name="Cost and latency of each option")
    before = costs.inner_text()
    page.get_by_label("Traffic requests a month").fill("300000")
    page.wait_for_selector(".unsaved")
    assert costs.inner_text() != before
    page.get_by_label("input of better").fill("4")
    page.wait_for_selector("pre:has-text('[models.better]')")
    assert page.locator(".unsaved pre").inner_text().count("=") == 2


def test_a_value_that_is_not_allowed_is_refused_and_the_field_stays(served: Served) -> None:
    page = served.page("verdict")
    page.get_by_label("Target score, 0 to 1").fill("7")
    page.wait_for_selector("[role=alert]")
    assert "task.target" in page.get_by_role("alert").inner_text()
    page.get_by_label("Target score, 0 to 1").fill("0.5")
    page.wait_for_selector("[role=alert]", state="detached")
    assert page.locator(".unsaved pre").inner_text() == "[task]\ntarget = 0.5"
    assert any("409" in one for one in served.faults)  # Chromium logs the refused request
    served.faults.clear()


def test_the_numbers_of_a_gate_open_with_the_keyboard(served: Served) -> None:
    page = served.page("verdict")
    summary = page.locator("summary").first
    summary.press("Enter")
    assert page.locator("details[open] dd").first.is_visible()


def test_dropped_rows_are_chosen_by_reason_and_a_row_is_restored(served: Served) -> None:
    page = served.page("data")
    page.get_by_label("Check and reason").select_option("exact/exact_duplicate")
    page.wait_for_selector("nav[aria-label='Pages of dropped rows']")
    first = page.locator(".dropped-row").first.inner_text()
    page.get_by_role("button", name="Next").first.click()
    page.wait_for_selector("text=Page 2 of")
    assert page.locator(".dropped-row").first.inner_text() != first
    page.get_by_label("Check and reason").select_option("corrections/dropped_by_person")
    page.get_by_role("button", name="Restore").first.click()
    page.wait_for_selector("text=Restored.")
    lines = (served.root / "corrections.jsonl").read_text().splitlines()
    assert '"decision":"open"' in lines[-1].replace(" ", "")


HIDE = """(hidden) => {
  Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def test_a_run_in_progress_is_read_again_until_it_ends_and_not_while_the_page_is_hidden(served: Served) -> None:
    unfinished(served.root)
    reads: list[str] = []
    with Folder(served.root).lock(pytest.fail):
        page = served.page("live", clock=True)
        assert "Process" in page.locator("main").inner_text()
        page.on("request", lambda one: reads.append(one.url))
        for n in (1, 2):
            with page.expect_response("**/api/live"):
                page.clock.run_for(2_100)
            assert len(reads) == n
        page.evaluate(HIDE, True)
        page.clock.run_for(20_000)
        assert len(reads) == 2
        with page.expect_response("**/api/live"):
            page.evaluate(HIDE, False)
    with page.expect_response("**/api/live"):
        page.clock.run_for(2_100)
    page.wait_for_selector("text=Nothing runs in this project.")
    page.clock.run_for(20_000)
    assert len(reads) == 4
    with page.expect_response("**/api/live"):
        page.get_by_role("button", name="Look again").click()


def test_the_history_draws_each_full_run(served: Served) -> None:
    page = served.page("history")
    assert page.locator("table.data tbody tr").count() == 1
    assert page.locator("svg.chart").count() == 0
