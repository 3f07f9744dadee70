"""Report and data card of six projects in Chromium: nothing overlaps, nothing is cut off, and axe finds no fault."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.browser.served import opened, violations
from tests.report.report_projects import EVIDENCE, card_project, report_project, with_fields, with_long_labels
from tuneworthy.report import card
from tuneworthy.report.render import render_html
from tuneworthy.report.run_report import document

pytestmark = pytest.mark.slow
TODAY = date(2026, 11, 28)
WIDTHS = (1280, 390)
# Of a page with its details closed, at 1280 pixels.
MAX_HEIGHT = 6000
SCHEMES = ("light", "dark")
CHANGES = {
    "json_fields": with_fields,
    "long_labels": lambda record: with_long_labels(record, 5),
    "many_labels": lambda record: with_long_labels(record, 150),
}
PAGES = [*EVIDENCE, *CHANGES, *(f"card_{name}" for name in EVIDENCE)]
# Every two texts of a drawing that is shown whose boxes share more than a hair, and texts that leave their drawing.
OVERLAPS = """() => [...document.querySelectorAll('svg.chart')].filter(svg => svg.clientWidth).flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  const boxes = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
  const found = boxes.filter(([_, b]) => b.left < frame.left - 1 || b.right > frame.right + 1 || b.top < frame.top - 1
    || b.bottom > frame.bottom + 1).map(([words]) => `outside: ${words}`);
  boxes.forEach(([words, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
    const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (width > 1 && height > 3) found.push(`${words} | ${other}`);
  }));
  return found;
})"""
# Tables that are wider than the page. A matrix may scroll on a phone.
TOO_WIDE = """() => [...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1
    && !(window.innerWidth < 700 && one.querySelector('.matrix'))).map(one => one.getAttribute('aria-label'))"""


def written(name: str, folder: Path) -> Path:
    """Write a page and return its path."""
    if name.startswith("card_"):
        page = card.document(*card_project(name.removeprefix("card_")))
    else:
        made = report_project("ship" if name in CHANGES else name, folder / "project")
        record = CHANGES[name](made.record) if name in CHANGES else made.record
        page = document(record, made.project, TODAY, made.verdict)
    path = folder / f"{name}.html"
    path.write_text(render_html(page))
    return path


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_overlaps_nowhere_and_is_accessible(name: str, browser: Any, tmp_path: Path) -> None:
    path = written(name, tmp_path)
    for width in WIDTHS:
        for scheme in SCHEMES:
            page = opened(browser, path.as_uri(), width=width, scheme=scheme)
            assert page.evaluate(TOO_WIDE) == [], (width, scheme)
            assert page.evaluate(OVERLAPS) == [], (width, scheme)
            assert violations(page, f"{name}_{width}_{scheme}") == [], (width, scheme)
            page.context.close()


@pytest.mark.parametrize("name", EVIDENCE)
def test_the_first_screen_holds_answer_cards_chart_next_step_and_paragraph(
    name: str, browser: Any, tmp_path: Path
) -> None:
    page = opened(browser, written(name, tmp_path).as_uri())
    for selector in ("h1", ".cards", ".first svg", ".first blockquote"):
        box = page.locator(selector).first.bounding_box()
        assert box and box["y"] + box["height"] <= 900, selector
    page.context.close()


@pytest.mark.parametrize("name", [*EVIDENCE, *CHANGES])
def test_a_report_with_its_details_closed_is_short(name: str, browser: Any, tmp_path: Path) -> None:
    page = opened(browser, written(name, tmp_path).as_uri())
    height = "document.documentElement.scrollHeight"
    assert page.evaluate(height) <= MAX_HEIGHT
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.evaluate("document.querySelector('section').style.minHeight = '6000px'")
    assert page.evaluate(height) > MAX_HEIGHT
    page.context.close()


def test_planted_faults_are_found(browser: Any, tmp_path: Path) -> None:
    page = opened(browser, written("ship", tmp_path).as_uri())
    page.evaluate(
        """() => {
          const labels = document.querySelectorAll('svg.wide text');
          labels[1].setAttribute('x', labels[2].getAttribute('x'));
          labels[1].setAttribute('y', labels[2].getAttribute('y'));
          labels[1].setAttribute('text-anchor', labels[2].getAttribute('text-anchor'));
          document.querySelector('.scroll table').style.width = '3000px';
          document.querySelector('svg.wide').removeAttribute('aria-label');
        }"""
    )
    assert page.evaluate(OVERLAPS) and page.evaluate(TOO_WIDE)
    assert [line for line in violations(page) if line.startswith("svg-img-alt")]
    page.context.close()


def test_a_printed_page_is_light_and_shows_the_wide_drawings(browser: Any, tmp_path: Path) -> None:
    page = opened(browser, written("ship", tmp_path).as_uri(), width=390, scheme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(media="print")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)" != dark
    assert page.locator("svg.wide").first.is_visible() and not page.locator(".narrow").first.is_visible()
    page.context.close()
