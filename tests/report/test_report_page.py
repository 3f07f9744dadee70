"""The page and its siblings: safe whatever the names hold, complete, small, quick, and plain about what was found."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
import report_records as records

from tuneworthy.graders.dev_answers import DevAnswer, DevCase
from tuneworthy.ladder.record import RunRecord
from tuneworthy.report import render
from tuneworthy.report.run_report import document
from tuneworthy.types import RungStatus

TODAY = date(2026, 11, 24)
ALL = ("plain", "classical_best", "every_status", "json_task", "quick", "hostile")
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "nav", "section", "footer", "div"),
    *("h1", "h2", "h3", "p", "span", "strong", "small", "a", "wbr", "ul", "li", "dl", "dt", "dd", "blockquote", "code"),
    *("figure", "figcaption", "details", "summary", "table", "thead", "tbody", "tr", "th", "td"),
}
SVG_ATTRIBUTES = {"class", "width", "height", "viewbox", "role", "aria-label"}
DRAWN = {"svg", "path", "rect", "line", "circle", "text"}
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


class Page(HTMLParser):
    """What a browser would make of the page: its tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def drawings(self) -> list[str]:
        return re.findall(r"<svg.*?</svg>", self.html, re.DOTALL)


def render_html(record: RunRecord) -> str:
    return render.render_html(document(record, today=TODAY))


def render_markdown(record: RunRecord) -> str:
    return render.render_markdown(document(record, today=TODAY))


def page(name: str) -> Page:
    return Page(render_html(getattr(records, name)()))


@pytest.mark.parametrize("name", ALL)
def test_a_page_has_only_tags_and_addresses_of_its_own(name: str) -> None:
    found = page(name)
    assert set(found.tags) <= TAGS | DRAWN
    assert not [attribute for attribute in found.attributes if attribute[1].startswith("on") or attribute[1] == "style"]
    addresses = [value for _, attribute, value in found.attributes if attribute in {"href", "src", "srcset"}]
    assert addresses and all(value.startswith("#") for value in addresses)
    ids = [value for _, attribute, value in found.attributes if attribute == "id"]
    assert {value[1:] for value in addresses} == set(ids) and len(ids) == len(set(ids))


@pytest.mark.parametrize("name", ALL)
def test_a_page_carries_a_policy_that_allows_only_its_own_style(name: str) -> None:
    html = render_html(getattr(records, name)())
    policy = next(v for t, a, v in Page(html).attributes if t == "meta" and a == "content" and "default-src" in v)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "<script" not in html.lower()
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_planted_names_never_come_through_raw() -> None:
    html = render_html(records.hostile())
    found = Page(html)
    assert "alert(1)" in found.text  # they are shown, as text
    assert "]]>" not in html
    assert not HIDDEN.search(html)
    assert "[31m" not in html
    assert not re.search(r"""["'(]https?://""", re.sub(r"\(https://[\w./…]*", "", html))
    assert "evil.example" not in "".join(v for _, a, v in found.attributes if a in {"href", "src", "srcset"})
    assert not [a for t, a, _ in found.attributes if t == "svg" and a not in SVG_ATTRIBUTES]


@pytest.mark.parametrize("name", ALL)
def test_drawings_are_whole_svg_without_script_link_or_address(name: str) -> None:
    for svg in page(name).drawings():
        root = ElementTree.fromstring(svg)
        assert {element.tag for element in root.iter()} <= DRAWN
        assert "href" not in svg and "style" not in svg
        assert not HIDDEN.search(svg)


def test_markdown_of_planted_names_holds_no_html_no_link_and_no_broken_row() -> None:
    text = render_markdown(records.hostile())
    outside = re.sub(r"`[^`\n]*`", "code", text)
    assert not re.search(r"<[a-zA-Z/!]", text)
    assert not re.search(r"(?<!\\)\]\(", outside)
    assert not re.search(r"(?<!\\):// ", outside)
    assert "![" not in outside
    assert not HIDDEN.search(text.replace("\n", ""))
    for block in text.split("\n\n"):
        rows = [re.sub(r"\\\|", "", row) for row in block.splitlines() if row.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def test_the_numbers_of_the_record_appear() -> None:
    text = page("plain").text.replace("\u00a0", " ")
    for number in ("96.0%", "34.5%", "[92.3%, 98.0%]", "0.960", "[0.923, 0.980]", "+0.380 [+0.310, +0.450]", "$2.10"):
        assert number in text, number
    for number in (
        "0.0012",
        "400",
        "210 / 4",
        "the 4 test comparisons is at most 5%",
        "0.008",
        "4 (exact 3, ngram 1)",
        "5fd3c1d3e5d6be3e",
    ):
        assert number in text, number


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_every_status_renders(render: object) -> None:
    assert {rung.status for rung in records.every_status().rungs} == set(RungStatus)
    text = render(records.every_status())  # type: ignore[operator]
    for status in RungStatus:
        assert status.value.replace("_", " ") in text.replace("_", " ")


def test_a_quick_record_says_dev_only_and_decides_nothing() -> None:
    text = page("quick").text
    assert "a quick run on dev cases only. It did not use the test set and gives no verdict" in text
    assert "Quick run: no verdict" in text and "target met" not in text
    assert "on test" not in text


def test_per_field_scores_and_other_graders_stand_by_rung() -> None:
    text = page("json_task").text
    assert "F1 by field and rung" in text and "Bars are of strong model" in text
    assert "json_schema" in text
    assert "0.950" in text


def test_fields_that_no_case_expects_are_counted_and_not_listed() -> None:
    text = page("json_task").text
    assert "Invented fields" in text
    assert "apology" not in text


def test_headings_tables_and_images_are_marked_up_for_everyone() -> None:
    found = page("plain")
    assert ("html", "lang", "en") in found.attributes
    assert found.tags.count("h1") == 1
    scopes = [a for t, a, _ in found.attributes if t == "th" and a == "scope"]
    assert len(scopes) == found.tags.count("th")


def test_a_record_read_back_gives_the_same_page() -> None:
    from tuneworthy.ladder.record import record_from

    record = records.plain()
    again = record_from(json.loads(json.dumps(record.to_dict())) | {"of_a_later_version": 1})
    assert render_html(again) == render_html(record)


def test_a_run_in_which_nothing_could_be_scored_still_gives_a_page() -> None:
    record = records.plain()
    failed = [
        replace(r, status=RungStatus.FAILED, score=0.0, ci95=None, graders={}, unscored=r.n) for r in record.rungs
    ]
    found: RunRecord = replace(record, rungs=failed, best=None)
    text = Page(render_html(found)).text
    assert "No test case could be scored" in text
    assert "0.000" not in text and "0.0%" not in text


def classical_winner() -> RunRecord:
    """A classifier is recommended; today's setup answers two of three dev cases wrongly."""
    record = records.classical_best()
    cases = [DevCase(case=f"c{i}", question=f"Where is parcel {i}? <b>", expected="shipping") for i in range(3)]
    wrong = DevAnswer(text="<script>alert(1)</script>", score=0.0, failures=["shipping → (no label)"])
    right = DevAnswer(text="shipping", score=1.0)
    by_rung = {"classical": [right, right, wrong], "baseline": [wrong, wrong, right]}
    rungs = [
        replace(row, dev_answers={f"c{i}": one for i, one in enumerate(by_rung.get(row.rung, ()))})
        for row in record.rungs
    ]
    return replace(record, rungs=rungs, dev_cases=cases)


def test_todays_answers_are_shown_where_a_classical_method_wins() -> None:
    html = render_html(classical_winner())
    assert html.count("✗ &lt;script&gt;alert(1)&lt;/script&gt;") == 3 and "<script" not in html and "<b>" not in html
    text = re.sub(r"\s+", " ", Page(html).text)
    assert "Today's setup fails on 2 of 3 dev cases" in text and "shipping → (no label) 2 2" in text.replace(
        "\u00a0", " "
    )
    blank = replace(classical_winner(), dev_cases=())
    assert "✗" not in render_html(blank) and "no answers to dev cases" in Page(render_html(blank)).text


def test_an_unfinished_run_says_so_at_the_top() -> None:
    page = document(replace(records.plain(), partial="the rung model has been running since 12:00"), today=TODAY)
    assert page.kind == "report of an unfinished run" and page.answer == "Unfinished run: no verdict yet"
    assert page.warnings[0].startswith("The run is unfinished: the rung model")
    whole = document(records.plain(), today=TODAY)
    assert whole.kind == "report of a run" and not any("unfinished" in line for line in whole.warnings)


def test_a_page_shows_commands_without_backticks_and_a_prompt_as_it_is() -> None:
    record = replace(records.plain(), notes=["Run `tuneworthy check` <i>"])
    html = render_html(record)
    assert "<code>tuneworthy check</code> &lt;i&gt;" in html
    assert "`" not in html.partition("</style>")[2]
    variants = dict(record.variants)
    variants["id-model"] = replace(variants["id-model"], system="Answer in `code` <i>")
    assert "  Answer in `code` &lt;i&gt;" in render_html(replace(record, variants=variants))


def test_the_first_screen_and_the_questions_are_open_and_the_rest_is_folded() -> None:
    page = document(classical_winner(), today=TODAY)
    folded = [section.name for section in page.sections if section.folded]
    assert [section.name for section in page.sections if not section.folded] == [
        "tested", "failures", "change", "certainty"
    ]  # fmt: skip
    assert folded[-1] == "data" and "ladder" in folded
    assert render_html(classical_winner()).count("<details>") >= len(folded)


def test_templates_are_imported_only_when_a_page_is_made() -> None:
    code = (
        "import sys, tuneworthy.cli.report, tuneworthy.cli.tables\n"
        "import tuneworthy.report.run_report\n"
        "print([m for m in ('jinja2', 'pandas') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
