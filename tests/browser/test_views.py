"""The views of `ui` in Chromium; each page for people fits and is accessible at three widths, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.browser.served import label_page, label_project, opened, served, violations
from tests.web.test_views import built, decided, unfinished
from tuneworthy.store import Folder

pytestmark = pytest.mark.slow
__all__ = ["built", "decided"]
WIDTHS = (1280, 768, 390)
GUIDELINE = "# Guideline\n\nChoose the **main** request.\n\n## Labels\n\n" + "".join(
    f"- `label_{n}`\n" for n in range(12)
)
HELP = "button:has-text('Help')"
# Name of a page: where it is served, its view, and what is clicked on it.
PAGES: Mapping[str, tuple[str, str, Sequence[str]]] = {
    "verdict": ("engineer", "verdict", ()),
    "what_if": ("engineer", "verdict?target=0.99&traffic=2000000", ()),
    "failures": ("engineer", "failures", ("text=Reveal test answers",)),
    "failures_case": ("engineer", "failures?show=wrong", (".row >> nth=0",)),
    "failures_empty": ("engineer", "failures?search=nothing+like+this", ()),
    "history": ("engineer", "history", ()),
    "data": ("engineer", "data", ()),
    "live": ("engineer", "live", ()),
    "queues": ("engineer", "queue", ()),
    "queue": ("engineer", "queue?kind=cases", (HELP, "button:has-text('Comment')")),
    "expert_queues": ("expert", "queue", ()),
    "expert": ("expert", "queue?kind=audit", (HELP,)),
    "label_page": ("file", "", (HELP, "button:has-text('Comment')")),
}


class Project:
    """A project behind a server, and its pages."""

    def __init__(self, root: Path, browser: Any, address: str) -> None:
        self.root, self.browser, self.address, self.faults = root, browser, address, list[str]()

    def page(self, view: str, **more: Any) -> Any:
        page = opened(self.browser, self.address, view, **more)
        page.faults = self.faults = page.faults
        page.wait_for_selector("main h1")
        page.wait_for_load_state("networkidle")
        return page


@pytest.fixture
def project(built: Path, tmp_path: Path, browser: Any) -> Iterator[Project]:
    root = Path(shutil.copytree(built, tmp_path / "world"))
    with served(root) as server:
        found = Project(root, browser, server.address)
        yield found
    assert found.faults == []


@pytest.fixture(scope="module")
def addresses(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The project with a run in progress for each role, and a label page."""
    folder = tmp_path_factory.mktemp("pages")
    root = Path(shutil.copytree(built, folder / "world"))
    unfinished(root)
    (root / "guideline.md").write_text(GUIDELINE)
    texts = ["A question", f"https://example.com/{'long' * 100}"]
    label_page(label_project(folder / "labels", texts, [f"label_{n}_{'x' * n}" for n in range(40)]), folder / "p.html")
    with served(root) as engineer, served(root, "--role", "expert", "--labeller", "bob") as expert:
        yield {"engineer": engineer.address, "expert": expert.address, "file": (folder / "p.html").as_uri()}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_is_accessible(name: str, width: int, browser: Any, addresses: Mapping[str, str]) -> None:
    place, view, clicks = PAGES[name]
    page = opened(browser, addresses[place], view, width)
    page.wait_for_selector("main h1")
    for selector in clicks:
        page.locator(selector).first.click()
    page.wait_for_load_state("networkidle")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert violations(page, f"{name}_{width}_{scheme}") == [], scheme
    assert page.faults == []
    page.context.close()


def answer(page: Any) -> str:
    return str(page.locator("main h1").inner_text())


def test_planted_faults_are_found(project: Project) -> None:
    page = project.page("verdict")
    page.evaluate("document.querySelector('.what-if label').remove()")
    page.evaluate("document.querySelector('main').style.width = '3000px'")
    page.evaluate("document.querySelector('main').style.maxWidth = 'none'")
    found = violations(page)
    assert "the page overflows" in found and any(one.startswith("label") for one in found)
    page.evaluate("console.error('planted')")
    assert project.faults == ["planted"]
    project.faults.clear()


def test_a_reader_finds_the_recommendation_its_score_and_the_next_step(project: Project) -> None:
    page = project.page("verdict")
    card = page.locator(".cards > div", has_text="Recommendation")
    name = card.locator("strong").inner_text()
    box = card.bounding_box()
    assert box and box["y"] + box["height"] <= 900, "the recommendation is below the first screen"
    row = page.locator("tr.best", has_text="recommended").first
    assert row.locator("th").inner_text().startswith(name)
    assert card.inner_text().split("\n")[2].split()[0] == row.locator("td").first.inner_text()
    assert page.get_by_role("heading", name="Next").bounding_box()["y"] < 900


def test_the_slider_changes_the_answer_marks_it_as_not_saved_and_is_taken_back(project: Project) -> None:
    page, toml = project.page("verdict"), (project.root / "tuneworthy.toml").read_bytes()
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
    assert (project.root / "tuneworthy.toml").read_bytes() == toml


def test_traffic_and_prices_change_the_costs(project: Project) -> None:
    page = project.page("verdict")
    costs = page.get_by_role("region", name="Cost and latency of each option")
    before = costs.inner_text()
    page.get_by_label("Traffic requests a month").fill("300000")
    page.wait_for_selector(".unsaved")
    assert costs.inner_text() != before
    page.get_by_label("input of better").fill("4")
    page.wait_for_selector("pre:has-text('[models.better]')")
    assert page.locator(".unsaved pre").inner_text().count("=") == 2


def test_a_value_that_is_not_allowed_is_refused_and_the_field_stays(project: Project) -> None:
    page = project.page("verdict")
    page.get_by_label("Target score, 0 to 1").fill("7")
    page.wait_for_selector("[role=alert]")
    assert "task.target" in page.get_by_role("alert").inner_text()
    page.get_by_label("Target score, 0 to 1").fill("0.5")
    page.wait_for_selector("[role=alert]", state="detached")
    assert page.locator(".unsaved pre").inner_text() == "[task]\ntarget = 0.5"
    assert any("409" in one for one in project.faults)  # Chromium logs the refused request
    project.faults.clear()


@pytest.mark.parametrize("view", ["failures", "queue?kind=cases", "data"])
def test_a_view_that_was_opened_while_the_server_was_away_is_read_once_it_is_back(view: str, project: Project) -> None:
    page = project.page("history")
    page.route("**/api/**", lambda route: route.abort())
    page.evaluate("view => { location.hash = `#/${view}`; }", view)
    page.get_by_text("The server does not answer.").first.wait_for()
    assert not page.locator("main :is(.row, table.data)").count()
    page.unroute("**/api/**")
    page.get_by_role("button", name="Try again").click()
    page.locator("main :is(.row, table.data)").first.wait_for()
    project.faults.clear()  # Chromium logs the requests without an answer


def test_the_numbers_of_a_gate_open_with_the_keyboard(project: Project) -> None:
    page = project.page("verdict")
    summary = page.locator("summary").first
    summary.press("Enter")
    assert page.locator("details[open] dd").first.is_visible()


def test_dropped_rows_are_chosen_by_reason_and_a_row_is_restored(project: Project) -> None:
    page = project.page("data")
    page.get_by_label("Check and reason").select_option("exact/exact_duplicate")
    page.wait_for_selector("nav[aria-label='Pages of dropped rows']")
    first = page.locator(".dropped-row").first.inner_text()
    page.get_by_role("button", name="Next").first.click()
    page.wait_for_selector("text=Page 2 of")
    assert page.locator(".dropped-row").first.inner_text() != first
    page.get_by_label("Check and reason").select_option("corrections/dropped_by_person")
    page.get_by_role("button", name="Restore").first.click()
    page.wait_for_selector("text=Restored.")
    lines = (project.root / "corrections.jsonl").read_text().splitlines()
    assert '"decision":"open"' in lines[-1].replace(" ", "")


HIDE = """(hidden) => {
  Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def test_a_run_in_progress_is_read_again_until_it_ends_and_not_while_the_page_is_hidden(project: Project) -> None:
    unfinished(project.root)
    reads: list[str] = []
    with Folder(project.root).lock(pytest.fail):
        page = project.page("live", clock=True)
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


def test_the_history_draws_each_full_run(project: Project) -> None:
    page = project.page("history")
    assert page.locator("table.data tbody tr").count() == 1
    assert page.locator("svg.chart").count() == 0
