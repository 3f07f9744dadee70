"""The view of failures in Chromium: permalinks, keyboard, hidden test answers, contents that attack, one huge row."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.hostile import CONTENTS, MARKS
from tests.browser.served import opened, served
from tests.web.stored_project import write_project

pytestmark = pytest.mark.slow
ROWS = "() => [...document.querySelectorAll('.failures .row .id')].map(one => one.textContent)"
UNTIL = """(arg) => new Promise((done, fail) => {
  const start = performance.now();
  const look = () => ((%s)(arg) ? done() : performance.now() - start > 20000 ? fail(new Error("never true"))
    : requestAnimationFrame(look));
  look();
})"""
LABELS = ("billing", "refund", "login")
MARKER = "marker-7f3a"


class Tab:
    """A page of the view, and everything that the server sent to it."""

    def __init__(self, browser: Any, address: str, query: str = "") -> None:
        self.page = opened(browser, address, f"failures{query}")
        self.address, self.faults, self.bodies = self.page.url.partition("#")[0], self.page.faults, list[str]()
        self.page.on("requestfinished", lambda request: self.bodies.append(request.response().text()))

    def open(self, query: str = "") -> Any:
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}#/failures{query}")
        self.page.wait_for_selector(".failures .row .id, .failures .list, .failures .muted")
        return self.page

    def settle(self, act: str | Callable[[], Any] | None = None, answer: str = "/api/failures") -> None:
        """Click on a selector, or do something else, and wait for the answer and the painting."""
        if act:
            with self.page.expect_response(lambda response: answer in response.url):
                _ = self.page.click(act) if isinstance(act, str) else act()
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def until(self, test: str, arg: Any = None) -> None:
        """Wait until a function is true; `wait_for_function` needs eval, which the policy of the page forbids."""
        self.page.evaluate(UNTIL % test, arg)

    def close(self) -> None:
        self.page.context.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    rows = [
        {"id": f"c{i:03}", "input": f"Question {i} on {i * 7919}", "expected": LABELS[i % 3], "tags": [f"t{i % 2}"]}
        for i in range(400)
    ]
    answers = {
        name: {row["input"]: f"{LABELS[(i + (i % step == 0)) % 3]} by {name} {MARKER}-{row['id']}"
               for i, row in enumerate(rows)}
        for name, step in (("baseline", 4), ("prompt", 5))
    }  # fmt: skip
    root = write_project(tmp_path_factory.mktemp("labels") / "p", rows, answers, grader='type = "choice"')
    with served(root) as server:
        yield server.address


def test_filters_make_a_permalink_that_gives_the_same_rows_again(browser: Any, address: str) -> None:
    tab = Tab(browser, address)
    page = tab.open()
    everything = page.evaluate(ROWS)
    tab.settle("text=Got worse")
    assert not page.locator(".searched").count()
    tab.settle(lambda: page.get_by_role("searchbox").press_sequentially("question 1"), "search=question+1&")
    assert "the first 10,000 characters of each text" in " ".join(page.locator(".searched").inner_text().split())
    tab.settle(lambda: page.get_by_label("Sort by").select_option("id"), "sort=id")
    tab.settle(lambda: page.get_by_label("Tag").select_option("t1"), "tag=t1")
    tab.settle(".row >> nth=1", "failures/case")
    page.wait_for_selector(".detail h2")
    rows, link, case = page.evaluate(ROWS), page.url, page.locator(".detail h2").inner_text()
    assert rows and rows != everything and all(int(row[1:]) % 5 == 0 and int(row[1:]) % 2 for row in rows)
    for words in ("show=worse", "search=question+1", "sort=id", "tag=t1", f"case={rows[1]}"):
        assert words in link
    page.reload()
    page.wait_for_selector(".detail h2")
    assert (page.evaluate(ROWS), page.locator(".detail h2").inner_text()) == (rows, case)
    other = Tab(browser, address, link.partition("failures")[2])
    other.page.wait_for_selector(".detail h2")
    assert (other.page.evaluate(ROWS), other.page.locator(".row.active .id").inner_text()) == (rows, rows[1])
    assert tab.faults + other.faults == []
    tab.close()
    other.close()


def test_the_keyboard_moves_opens_closes_and_searches(browser: Any, address: str) -> None:
    tab = Tab(browser, address)
    page = tab.open()
    rows = page.evaluate(ROWS)
    for key in "jjjk":
        page.keyboard.press(key)
    assert page.locator(".row.active .id").inner_text() == rows[2]
    page.keyboard.press("Enter")
    page.wait_for_selector(".detail h2:focus")
    assert rows[2] in page.locator(".detail h2").inner_text()
    page.keyboard.press("j")
    tab.until("name => document.querySelector('.detail h2')?.textContent.includes(name)", rows[3])
    page.keyboard.press("Escape")
    assert page.locator(".detail h2").count() == 0 and "case=" not in page.url
    assert page.evaluate("document.activeElement.getAttribute('role')") == "listbox"
    page.keyboard.press("/")
    page.keyboard.type("jk/")
    assert page.get_by_role("searchbox").input_value() == "jk/"
    page.get_by_role("searchbox").fill("")
    page.get_by_label("Keys:").uncheck()
    tab.settle()
    active = page.locator(".row.active .id").inner_text()
    page.keyboard.press("j")
    assert page.locator(".row.active .id").inner_text() == active
    tab.close()


def test_rows_far_down_are_read_when_they_come_into_view(browser: Any, address: str) -> None:
    tab = Tab(browser, address)
    page = tab.open("?sort=id")
    total = int(page.locator("p[role=status]").inner_text().split()[0])
    with page.expect_response(lambda response: "offset=100" in response.url):
        page.evaluate("() => { const list = document.querySelector('.list'); list.scrollTop = list.scrollHeight; }")
    page.wait_for_selector(f"#row-{total - 1} .id")
    assert page.locator(".row").count() < 40
    tab.close()


def test_test_answers_are_in_no_response_before_they_are_revealed(browser: Any, tmp_path: Path) -> None:
    rows = [{"id": f"c{i:03}", "input": f"Question {i} on {i * 7919}", "expected": LABELS[i % 3]} for i in range(60)]
    answers = {name: {row["input"]: f"{LABELS[0]} {MARKER}-{row['id']}-{name}" for row in rows}
               for name in ("baseline", "prompt")}  # fmt: skip
    root = write_project(tmp_path / "p", rows, answers, grader='type = "choice"')
    with served(root) as server:
        tab = Tab(browser, server.address)
        page = tab.open("?side=all")
        dev = set(page.evaluate(ROWS))
        hidden = {str(row["id"]) for row in rows} - dev
        assert dev and hidden
        page.get_by_role("searchbox").fill(MARKER)
        for name in ("id", "score", "length", "change"):
            page.get_by_label("Sort by").select_option(name)
        for name in sorted(hidden)[:3]:
            tab.open(f"?side=all&search={name}&case={name}")
            page.wait_for_selector(".fault")
        page.wait_for_load_state("networkidle")
        seen = "".join(tab.bodies)
        assert all(f"{MARKER}-{name}" in seen for name in dev)
        assert not [name for name in hidden if f"{MARKER}-{name}" in seen]
        tab.open("?search=question")
        page.click("text=Reveal test answers")
        assert not (root / ".tuneworthy" / "revealed.json").exists()
        tab.settle("text=Reveal and record")
        page.wait_for_selector(".row .badge:text-is('test')")
        assert all(f"{MARKER}-{name}" in "".join(tab.bodies) for name in hidden)
        assert (root / ".tuneworthy" / "revealed.json").exists()
        tab.close()


def test_contents_that_attack_are_shown_as_text_and_never_run(browser: Any, tmp_path: Path) -> None:
    rows = [
        {"id": f"{i} {text[:300]}", "input": f"{i} {text}", "expected": text, "tags": [" ".join(text.split())[:300]],
         "documents": [" ".join(text.split())[:200]]}
        for i, text in enumerate(CONTENTS)
    ]  # fmt: skip
    answers = {
        name: {row["input"]: f"{name} {row['expected']}|{row['expected'][:400]}" for row in rows}
        for name in ("baseline", "prompt")
    }
    root = write_project(tmp_path / "p", rows, answers, detail={})
    with served(root) as server:
        tab = Tab(browser, server.address)
        page = tab.open()
        page.click("text=Reveal test answers")
        tab.settle("text=Reveal and record")
        tab.until("n => document.querySelector('p[role=status]').textContent === n", f"{len(CONTENTS)} cases")
        page.click("text=Show all")
        shown = []
        page.locator(".list").focus()
        page.keyboard.press("Enter")
        for n in range(len(CONTENTS)):
            tab.until(
                "n => { const row = document.querySelector(`.row.active[aria-posinset='${n}'] .id`);"
                " return row && row.textContent === document.querySelector('.detail h2 bdi')?.textContent; }", n + 1
            )  # fmt: skip
            shown.append(page.evaluate("() => document.querySelector('.detail .box').textContent"))
            assert page.evaluate(MARKS) == []
            page.keyboard.press("j")
        assert len(set(shown)) == len(CONTENTS)
        for text in CONTENTS:  # the answer as it is, apart from what the store cannot keep
            assert any(one.startswith(f"baseline {text[:60]}") for one in shown), text[:60]
        reason = page.get_by_label("Reason").locator("option").nth(1).get_attribute("value")
        tab.settle(lambda: page.get_by_label("Tag").select_option(index=1), "tag=")
        tab.settle(lambda: page.get_by_label("Tag").select_option(""))
        tab.settle(lambda: page.get_by_label("Reason").select_option(reason), "reason=")
        tab.settle(".groups button >> nth=0")
        page.reload()
        page.wait_for_selector(".failures .list")
        assert page.evaluate(MARKS) == []
        assert page.title() == "Failures: answers"
        assert tab.faults == []
        tab.close()


def test_a_planted_script_is_found(browser: Any, address: str) -> None:
    tab = Tab(browser, address)
    page = tab.open()
    page.evaluate("() => { document.querySelector('.row .id').innerHTML = '<img src=x onerror=1>'; }")
    assert page.evaluate(MARKS)
    page.evaluate("() => { window.pwned = 1; console.error('planted'); }")
    assert "code ran" in page.evaluate(MARKS) and "planted" in tab.faults
    tab.close()


def test_a_huge_row_opens_at_once_and_its_texts_come_in_parts(browser: Any, tmp_path: Path) -> None:
    rows = [{"id": f"c{i:03}", "input": f"Question {i} on {i * 7919}", "expected": "x"} for i in range(60)]
    long = " ".join(f"word{i}" for i in range(550_000))
    other = " ".join(f"term{i}" for i in range(550_000))
    answers = {
        "baseline": {row["input"]: long for row in rows[:6]},
        "prompt": {row["input"]: other for row in rows[:6]},
    }
    detail = {f"entry {i}": {"score": i % 2, "reason": f"of entry {i}"} for i in range(6_700)}
    documents = [f"# Page {i}\n\n" + f"Page {i} has text. " * 40 for i in range(400)]
    root = write_project(tmp_path / "p", rows, answers, detail=detail, documents=documents)
    with served(root) as server:
        tab = Tab(browser, server.address)
        tab.page.context.add_init_script(
            "window.tasks = []; new PerformanceObserver(list => list.getEntries().forEach(one =>"
            " window.tasks.push(one.duration))).observe({type: 'longtask', buffered: true})"
        )
        page = tab.open("?sort=length")
        page.click("text=Reveal test answers")
        tab.settle("text=Reveal and record")
        page.wait_for_selector(".row .badge:text-is('test')")
        tab.settle(".row >> nth=0")
        page.wait_for_selector(".pair")
        first = page.locator(".pair .box").first
        assert len(first.inner_text()) < 3_000
        for side in (0, 1):
            button = page.locator(".pair section").nth(side).locator("button.more").first
            with page.expect_response(lambda response: "/api/failures/text" in response.url):
                button.click()
        tab.until("() => document.querySelector('.pair .box').textContent.length > 20000")
        assert "characters" in page.locator(".detail").inner_text()
        page.click('summary:has-text("Grader\'s detail") >> nth=0')
        page.click("summary:has-text('Passages')")
        page.wait_for_selector(".passages li")
        assert page.locator(".passages li").count() == 20
        tab.settle("text=/Show more \\(380 passages\\)/")
        tab.until("() => document.querySelectorAll('.passages li').length === 40")
        assert max(len(body) for body in tab.bodies) < 200_000
        if os.getloadavg()[0] < 2:  # a busy machine makes any task long
            assert max(page.evaluate("tasks"), default=0) < 100
        assert tab.faults == []
        tab.close()


@pytest.mark.parametrize(("a", "b", "note"), [
    ("the cat sat on the mat", "the dog sat on a mat today", ""),
    ("猫在垫子上", "狗在垫子上", ""),
    (" ".join(f"a{i}" for i in range(2000)), " ".join(f"b{i}" for i in range(2000)), "differ"),
    ("\n".join(f"line {i} {'x y ' * 9}" for i in range(400)), "\n".join(f"line {i} {'z u ' * 9}" for i in range(200))
     + "\n" + "\n".join(f"line {i} {'x y ' * 9}" for i in range(200, 400)), "by line"),
    ("", "something", ""),
    ("same start " * 9 + "x", "same start " * 9, ""),
])  # fmt: skip
def test_the_marked_differences_rebuild_both_answers(a: str, b: str, note: str, browser: Any, address: str) -> None:
    tab = Tab(browser, address)
    page = tab.open()
    found = page.evaluate("([a, b]) => window.tuneworthy.compare(a, b)", [a, b])
    assert ["".join(run for run, _ in found[side]) for side in "ab"] == [a, b]
    same = ["".join(run for run, differs in found[side] if not differs) for side in "ab"]
    if note != "differ":
        assert same[0] == same[1]
    assert note in found["note"] and bool(note) is bool(found["note"])
    tab.close()
