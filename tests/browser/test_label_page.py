"""The label page in Chromium under `file://`: labels by keyboard, reload, undo, download, and rows that attack it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.browser import served
from tests.browser.hostile import CONTENTS, MARKS
from tests.browser.served import label, label_page, label_project
from tuneworthy.cases.drafts import write_drafts
from tuneworthy.cases.labelling import label_path, read_labels
from tuneworthy.cases.readers.reader import read_cases
from tuneworthy.types import Case

LABELS = [f"{what}_{how}" for what in ("card", "cash", "top_up", "transfer", "exchange", "refund", "verify", "jump")
          for how in ("arrival", "not_working", "fee", "pending", "declined", "limit", "failed", "wrong", "reverted",
                      "unknown")][:77]  # fmt: skip


def project(folder: Path, texts: list[str], labels: list[str] = LABELS) -> Path:
    return label_project(folder, texts, labels)


class Labeller:
    """A person with a keyboard who types the beginning of a label until its digit is shown."""

    def __init__(self, page: Any) -> None:
        self.page, self.keys = page, list[int]()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def choose(self, name: str) -> None:
        before = self.page.locator(".status span").first.inner_text()
        typed = ["/"] * name.startswith(("j", "k", "u"))
        self.press(*typed)
        for letter in ["", *name.replace("_", "")]:
            if letter:
                self.press(letter)
                typed.append(letter)
            shown = self.page.locator(".labels button").evaluate_all(
                "all => all.slice(0, 9).map(one => [...one.childNodes].at(-1).textContent.trim())"
            )
            if name in shown:
                self.press(str(shown.index(name) + 1))
                break
        self.keys.append(len(typed) + 1)
        self.page.wait_for_function("text => document.querySelector('.status span').innerText !== text", arg=before)


def opened(browser: Any, path: Path) -> Any:
    page = served.opened(browser, path.as_uri())
    page.wait_for_selector(".queue")
    return page


def downloaded(page: Any, path: Path) -> Path:
    with page.expect_download() as waiting:
        page.locator("button.download").first.click()
    waiting.value.save_as(path)
    return path


def row_of(page: Any) -> str:
    return str(page.locator("article.row .text").inner_text())


def test_fifty_rows_among_77_labels_by_keyboard(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"Question {n} of a customer" for n in range(60)]
    root, moved = project(tmp_path / "here", texts), tmp_path / "elsewhere" / "copy"
    truth = {text: LABELS[(7 * n) % 77] for n, text in enumerate(texts)}
    label_page(root, tmp_path / "ada.html")
    page = opened(browser, tmp_path / "ada.html")
    person = Labeller(page)
    for n in range(50):
        person.choose(truth[row_of(page)])
        if n == 24:
            page.reload()
            page.wait_for_selector(".queue")
            assert "25 of 60" in page.locator(".status span").first.inner_text()
        if n == 30:
            before = row_of(page)
            person.press("u")
            page.wait_for_function("() => document.querySelector('.said').innerText.startsWith('Taken back')")
            person.choose(truth[row_of(page)])
            assert row_of(page) == before
    assert median(person.keys) <= 3
    answers = downloaded(page, tmp_path / "answers.jsonl")
    assert page.faults == []
    shutil.copytree(root, moved)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "USER"):
        monkeypatch.setenv(name, str(tmp_path / "another_home"))
    output = label("--project", str(moved), "--apply", str(answers))
    assert "50 new answers of ada" in output
    stored = {row.case: row.label for row in read_labels(label_path(moved / "cases.jsonl"))}
    assert stored == {f"c{n}": truth[texts[n]] for n in range(60) if f"c{n}" in stored} and len(stored) == 50
    assert "0 new answers of ada; 50 were stored before" in label("--project", str(moved), "--apply", str(answers))


def test_a_page_writes_the_bytes_that_a_terminal_writes(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = [project(tmp_path / name, ["One", "Two", "Three"]) for name in ("page", "terminal")]
    label_page(roots[0], tmp_path / "p.html")
    page = opened(browser, tmp_path / "p.html")
    for keys in ("1", ".", "-"):
        page.keyboard.press(keys)
        if keys == ".":
            page.locator("#comment").fill("two labels fit")
            page.keyboard.press("Enter")
            page.keyboard.press("2")
        page.wait_for_timeout(50)
    label("--project", str(roots[0]), "--apply", str(downloaded(page, tmp_path / "a.jsonl")))
    monkeypatch.setattr("sys.stdin", StringIO(f"{LABELS[0]}\n/comment two labels fit\n{LABELS[1]}\n/cannot\n"))
    label("cases", "--project", str(roots[1]), "--labeller", "ada")
    logs = [[json.loads(line) for line in label_path(root / "cases.jsonl").read_text().splitlines()] for root in roots]
    for log in logs:
        for line in log:
            line.pop("time")
    assert logs[0] == logs[1] and len(logs[0]) == 3
    assert logs[0][1]["comment"] == "two labels fit" and logs[0][2]["cannot_decide"] is True
    assert all(len(line["guideline"]) == 12 for line in logs[0])


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_drafts_are_accepted_corrected_edited_and_dropped_on_a_page(
    browser: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    root = project(tmp_path / "p", [], ["card", "cash"])
    (root / "cases.jsonl").unlink()
    texts = [f"Hello,\n{text}?" for text in ("where is my card", "is cash free", "why refused", "what is the weather")]
    write_drafts(root, [Case(id=Case.make_id(text), input=text, expected="card", tags=("common",)) for text in texts])
    label("drafts", "--project", str(root), "--labeller", "ada", "--page", str(tmp_path / "p.html"))
    page = served.opened(browser, (tmp_path / "p.html").as_uri(), width=width, scheme=scheme)
    page.wait_for_selector(".queue")
    done = page.locator(".status span").first

    def press(key: str, n_done: int, text: str = "") -> str:
        question = row_of(page).partition("\n")[0]
        page.keyboard.press(key)
        if text:
            page.wait_for_function(
                "text => (document.querySelector('#reason') || {}).value === text",
                arg=question if key == "q" else "",
            )
            assert page.get_by_label("The question" if key == "q" else "The right answer").count() == 1
            page.locator("#reason").fill(text)
            assert served.violations(page, f"drafts-{key}-{width}") == []
            page.keyboard.press("Enter")
        page.wait_for_function(
            "n => document.querySelector('.status span').innerText.startsWith(n)", arg=f"{n_done} of"
        )
        return question

    accepted, corrected = press("a", 1), press("e", 2, "cash")
    edited = press("q", 3, "Why does the shop refuse my card?")
    press("d", 4)
    page.keyboard.press("u")
    page.wait_for_function("() => document.querySelector('.said').innerText.startsWith('Taken back')")
    page.reload()
    page.wait_for_selector(".queue")
    assert done.inner_text().startswith("3 of 4")
    dropped = press("d", 4)
    assert {accepted, corrected, edited, dropped} == {text.replace("\n", " ") for text in texts} and page.faults == []
    label("--project", str(root), "--apply", str(downloaded(page, tmp_path / "answers.jsonl")))
    assert "1 dropped" in label("drafts", "--apply", "--project", str(root))
    cases = {
        case.text.replace("\n", " "): (case.expected, case.drafted) for case in read_cases(root / "cases.jsonl").cases
    }
    assert cases == {
        accepted: ("card", True),
        corrected: ("cash", True),
        "Why does the shop refuse my card?": ("card", True),
    }


def _replace(lines: list[dict[str, Any]], **change: Any) -> list[dict[str, Any]]:
    return [{**lines[0], **change}, *lines[1:]]


FOREIGN: Mapping[str, Callable[[list[dict[str, Any]]], list[dict[str, Any]]]] = {
    "another plan": lambda lines: _replace(lines, plan="0" * 16),
    "another labeller": lambda lines: _replace(lines, labeller="eve"),
    "a row of no page": lambda lines: [*lines, {**lines[1], "row": "c99"}],
    "an unknown label": lambda lines: [*lines[:-1], {**lines[-1], "line": "no_such_label"}],
    "a wrong type": lambda lines: [*lines[:-1], {**lines[-1], "line": 3}],
    "no plan": lambda lines: lines[1:],
}


def content_of(path: Path) -> Any:
    return json.loads(path.read_text().partition('id="data">')[2].partition("</script>")[0])


def answers_of(page: Path, out: Path, lines: Mapping[str, str], **more: Any) -> Path:
    """Write answers to the rows of a page, as its download has them."""
    content = content_of(page)
    rows = [{"row": row, "line": line, "seconds": 9.0} for row, line in lines.items()]
    head = {"plan": content["plan"], "kind": content["kind"], "labeller": content["labeller"], "n": len(rows), **more}
    out.write_text("".join(json.dumps(line) + "\n" for line in (head, *rows)))
    return out


def test_declined_cases_and_new_labels_are_stored_and_an_applied_file_changes_nothing(tmp_path: Path) -> None:
    root, page, log = project(tmp_path / "p", ["One", "Two", "Three"]), tmp_path / "p.html", []
    label_page(root, page)
    lines = {"c0": "/decline", "c1": "+refund", "c2": "refund"}
    for lines_, n in ((lines, 3), (lines, 0), ({**lines, "c2": LABELS[4]}, 1)):
        output = label("--project", str(root), "--apply", str(answers_of(page, tmp_path / "a.jsonl", lines_)))
        assert f"{n} new answer" in output
        log.append({row.case: row.label for row in read_labels(label_path(root / "cases.jsonl"))})
    assert log[0] == {"c0": None, "c1": "refund", "c2": "refund"} == log[1] and log[2]["c2"] == LABELS[4]
    label("--project", str(root), "--apply", str(answers_of(page, tmp_path / "a.jsonl", lines, n=9)), code=2)


def test_a_blind_answer_settles_no_disagreement_and_both_pages_are_stored(tmp_path: Path) -> None:
    root = project(tmp_path / "p", [f"Question {n}" for n in range(60)])
    for name in ("ada", "bob"):
        label_page(root, tmp_path / f"{name}.html", name)
    files = {
        name: answers_of(
            tmp_path / f"{name}.html", tmp_path / f"{name}.jsonl", {f"c{n}": LABELS[at] for n in range(60)}
        )
        for at, name in enumerate(("ada", "bob"))
    }
    for name, n in (("ada", 60), ("bob", 60), ("ada", 0), ("bob", 0)):
        assert f"{n} new answers of {name}" in label("--project", str(root), "--apply", str(files[name]))
    given = read_labels(label_path(root / "cases.jsonl"))
    assert len(given) == 120 and not any(one.decided for one in given)


def test_a_row_that_changed_and_a_number_that_means_another_label_are_refused(tmp_path: Path) -> None:
    root, page = project(tmp_path / "p", ["One", "Two"], ["1", "2", "3"]), tmp_path / "p.html"
    label_page(root, page)
    (root / "guideline.md").write_text("Choose.\n\n- `2`\n- `3`\n")
    label("--project", str(root), "--apply", str(answers_of(page, tmp_path / "a.jsonl", {"c0": "1"})), code=2)
    cases = root / "cases.jsonl"
    cases.write_text(cases.read_text().replace("One", "Another"))
    label("--project", str(root), "--apply", str(answers_of(page, tmp_path / "a.jsonl", {"c0": "2"})), code=2)
    label("--project", str(root), "--apply", str(answers_of(page, tmp_path / "a.jsonl", {"c1": "2"})))
    assert [row.label for row in read_labels(label_path(cases))] == ["2"]


def test_a_page_never_replaces_another_file(tmp_path: Path) -> None:
    root = project(tmp_path / "p", ["One"])
    for name in ("cases.jsonl", "guideline.md"):
        before = (root / name).read_text()
        label("cases", "--project", str(root), "--labeller", "ada", "--page", str(root / name), code=2)
        assert (root / name).read_text() == before


@pytest.mark.parametrize("fault", FOREIGN)
def test_answers_that_do_not_fit_are_refused_and_nothing_is_stored(fault: str, tmp_path: Path) -> None:
    root = project(tmp_path / "project", ["One", "Two"])
    label_page(root, tmp_path / "p.html")
    content = json.loads((tmp_path / "p.html").read_text().partition('id="data">')[2].partition("</script>")[0])
    head = {"plan": content["plan"], "kind": "cases", "labeller": "ada", "n": 2}
    lines = [head, *({"row": row["id"], "line": LABELS[3], "seconds": 4.0} for row in content["rows"])]
    for change, code in ((FOREIGN[fault], 2), (list, 0)):
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in change(lines)))
        label("--project", str(root), "--apply", str(tmp_path / "a.jsonl"), code=code)
        assert len(read_labels(label_path(root / "cases.jsonl"))) == (0 if code else 2)


def test_hostile_rows_and_labels_are_shown_and_never_run(browser: Any, tmp_path: Path) -> None:
    names = [text.replace("`", "'").replace("\n", " ").strip() for text in CONTENTS if "\0" not in text]
    root = project(tmp_path / "project", list(CONTENTS), [name for name in names if name])
    label_page(root, tmp_path / "p.html", "<img src=x onerror=alert(1)>")
    page = opened(browser, tmp_path / "p.html")
    assert len(CONTENTS) >= 60
    for _ in CONTENTS:
        assert row_of(page)
        page.keyboard.press("j")
        page.wait_for_timeout(5)
    assert page.evaluate(MARKS) == []
    assert page.faults == []


JSON_PROJECT = """
[task]
name = "orders"
[[graders]]
type = "json_schema"
path = "schema.json"
[models.local]
provider = "scripted"
function = "world.py:answer"
[ladder]
baseline = "local"
"""
SCHEMA = {"type": "object", "required": ["name"], "additionalProperties": False, "properties": {
    "name": {"type": "string"}, "n": {"type": "integer"}, "urgent": {"type": "boolean"}, "size": {"enum": ["s", "m"]},
    "items": {"type": "array", "items": {"type": "string"}}, "place": {"type": "object"}}}  # fmt: skip


def test_a_json_answer_is_a_form_of_the_schema_whose_fields_take_selected_text_and_documents_are_shown(
    browser: Any, tmp_path: Path
) -> None:
    root = tmp_path / "p"
    (root / "documents").mkdir(parents=True)
    (root / "documents" / "rules.md").write_text("Orders of ten or more are urgent.")
    (root / "tuneworthy.toml").write_text(JSON_PROJECT)
    (root / "schema.json").write_text(json.dumps(SCHEMA))
    (root / "world.py").write_text("def answer(request):\n    return '{}'\n")
    cases = [{"id": f"c{n}", "input": f"Ten chairs for Ada Lovelace, {n}", "documents": ["rules.md"]} for n in range(2)]
    (root / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    label_page(root, tmp_path / "p.html")
    page = opened(browser, tmp_path / "p.html")
    page.get_by_text("Document rules.md").click()
    assert "ten or more are urgent" in page.locator("article.row details").inner_text()
    page.get_by_label("n", exact=True).fill("many")
    page.get_by_role("button", name="Save").click()
    assert "n must be a number" in page.locator(".answer .fault").inner_text()
    page.get_by_label("n", exact=True).fill("12345678901234567")
    page.get_by_role("button", name="Save").click()
    assert "name is required" in page.locator(".answer .fault").inner_text()
    page.evaluate("""() => {
      const text = document.querySelector('article.row .text').firstChild, range = document.createRange();
      const at = text.textContent.indexOf('Ada');
      range.setStart(text, at); range.setEnd(text, at + 'Ada Lovelace'.length);
      getSelection().removeAllRanges(); getSelection().addRange(range);
    }""")
    page.get_by_role("button", name="Use the selected text for name").click()
    page.get_by_label("urgent").select_option("true")
    page.get_by_label("size").select_option("m")
    page.get_by_role("textbox", name="items").fill("chair\ntable")
    page.get_by_role("textbox", name="place").fill('{"city": "Bern"}')
    page.keyboard.press("Control+Enter")
    page.wait_for_function("() => document.querySelector('.status span').innerText.startsWith('1 of')")
    page.get_by_role("button", name="decline").click()
    label("--project", str(root), "--apply", str(downloaded(page, tmp_path / "a.jsonl")))
    first, second = read_labels(label_path(root / "cases.jsonl"))
    assert first.label == {"name": "Ada Lovelace", "n": 12345678901234567, "urgent": True, "size": "m",
                           "items": ["chair", "table"], "place": {"city": "Bern"}}  # fmt: skip
    assert second.label is None and page.faults == []


def test_a_key_answers_no_form_and_its_draft_stays(browser: Any, tmp_path: Path) -> None:
    root = tmp_path / "p"
    root.mkdir()
    (root / "tuneworthy.toml").write_text(JSON_PROJECT)
    (root / "schema.json").write_text(json.dumps(SCHEMA))
    (root / "world.py").write_text("def answer(request):\n    return '{}'\n")
    (root / "cases.jsonl").write_text("".join(f'{{"id": "c{n}", "input": "Order {n}"}}\n' for n in range(2)))
    label_page(root, tmp_path / "p.html")
    page = opened(browser, tmp_path / "p.html")
    page.get_by_role("textbox", name="name").fill("Ada")
    page.keyboard.press("Escape")
    for key in ("1", "0", "-"):
        page.keyboard.press(key)
    assert page.locator(".status span").first.inner_text().startswith("0 of")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.get_by_role("textbox", name="name").input_value() == "Ada"
    page.get_by_role("textbox", name="name").fill("")
    page.get_by_role("button", name="Edit as JSON").click()
    page.get_by_label("Expected answer as JSON").fill('{"name": "", "n": 3}')
    page.get_by_role("button", name="Back to the form").click()
    assert page.get_by_label("n", exact=True).input_value() == "3"
    page.get_by_role("textbox", name="name").fill("Bob")
    page.get_by_role("button", name="Use the selected text for name").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function("() => document.querySelector('.status span').innerText.startsWith('1 of')")
    page.keyboard.press("k")
    assert page.get_by_role("textbox", name="name").input_value() == "Bob" and page.faults == []


def test_a_half_typed_answer_survives_a_reload_until_its_row_is_answered(browser: Any, tmp_path: Path) -> None:
    root = project(tmp_path / "p", ["One", "Two"], [])
    label_page(root, tmp_path / "p.html")
    page = opened(browser, tmp_path / "p.html")
    for text in ("half a", "half a sentence"):
        page.get_by_label("Expected answer").fill(text)
        page.reload()
        page.wait_for_selector(".queue")
        assert page.get_by_label("Expected answer").input_value() == text
    page.get_by_role("button", name="Cannot decide").click()
    page.wait_for_function("() => document.querySelector('.status span').innerText.startsWith('1 of')")
    page.reload()
    page.wait_for_selector(".queue")
    page.get_by_role("button", name="Previous row").click()
    assert page.get_by_label("Expected answer").input_value() == "" and page.faults == []


GUIDELINE = """Choose the **main `x`** request
on two lines.

### Levels skip none, C#

- `card`: <img src=x onerror=alert(1)>
  continued

- cash
10. ten

```
as **it** is

  here
```
[a link](javascript:alert(1))
"""
SHOWN = [
    ("P", "Choose the main x request on two lines."), ("H2", "Levels skip none, C#"),
    ("UL", "card: <img src=x onerror=alert(1)> continued\ncash"), ("OL", "ten"),
    ("PRE", "as **it** is\n\n  here"), ("P", "[a link](javascript:alert(1))"),
]  # fmt: skip


def test_the_guideline_is_shown_as_headings_lists_and_inert_text(browser: Any, tmp_path: Path) -> None:
    root = project(tmp_path / "p", ["One"])
    (root / "guideline.md").write_text(GUIDELINE)
    label_page(root, tmp_path / "p.html")
    page = opened(browser, tmp_path / "p.html")
    blocks = page.locator(".guideline .marked > *")
    assert [tuple(one) for one in blocks.evaluate_all("all => all.map(one => [one.tagName, one.innerText])")] == SHOWN
    assert page.locator(".guideline ol li").get_attribute("value") == "10"
    assert page.locator(".guideline strong code").inner_text() == "x" and page.evaluate(MARKS) == page.faults == []


def test_a_page_takes_2000_rows_and_20_megabytes_at_most_and_stays_quick(browser: Any, tmp_path: Path) -> None:
    root = project(tmp_path / "p", [f"{n} " + "word " * 1_500 for n in range(2_100)])
    output = label_page(root, tmp_path / "p.html")
    n = int(re.search(r"Wrote ([\d,]+) rows", output)[1].replace(",", ""))
    assert 1_000 < n < 2_000 and f"{2_100 - n:,} rows did not fit" in output
    assert (tmp_path / "p.html").stat().st_size < 20_000_000
    page = opened(browser, tmp_path / "p.html")
    page.keyboard.press("1")
    page.wait_for_function("() => document.querySelector('.status span').innerText.startsWith('1 of')")
    assert page.faults == []


def test_each_answer_names_a_guideline_that_is_kept_and_its_change_is_counted(tmp_path: Path) -> None:
    root = project(tmp_path / "p", ["One", "Two"])
    for n, text in enumerate(("Be strict.", "Be lenient.")):
        (root / "guideline.md").write_text(f"{text}\n\n- `card`\n")
        label_page(root, tmp_path / "p.html")
        content = json.loads((tmp_path / "p.html").read_text().partition('id="data">')[2].partition("</script>")[0])
        lines = [
            {"plan": content["plan"], "labeller": "ada", "n": 1},
            {"row": content["rows"][0]["id"], "line": "+new" if n else "card"},
        ]
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        label("--project", str(root), "--apply", str(tmp_path / "a.jsonl"))
    versions = [row.guideline for row in read_labels(label_path(root / "cases.jsonl"))]
    kept = [(root / ".tuneworthy" / "guidelines" / f"{version}.md").read_text().split("\n")[0] for version in versions]
    assert kept == ["Be strict.", "Be lenient."]
    assert "- `new`" in (root / "guideline.md").read_text()
    assert "The guideline changed after 1 answer." in label("cases", "--status", "--project", str(root))


def test_nothing_that_a_person_typed_is_lost_and_a_word_is_no_command(browser: Any, tmp_path: Path) -> None:
    root = project(tmp_path / "p", [f"Question {n}" for n in range(6)])
    label_page(root, tmp_path / "p.html")
    page = opened(browser, tmp_path / "p.html")
    said, press = page.locator(".said"), page.keyboard.press

    def shown() -> list[str]:
        return list(page.locator(".labels button").all_inner_texts())

    press(".")
    page.keyboard.type("first")
    press("Enter")
    for key in ("1", "2"):
        press(key)
        page.wait_for_function("key => document.querySelector('.said').innerText.includes('saved')", arg=key)
    row = row_of(page)
    page.keyboard.type("unkn fee")  # begins with the key of undo
    assert page.locator("#search").input_value() == "unkn fee" and row_of(page) == row
    for text, found in (("top fee", "top_up_fee"), ("fee top up", "top_up_fee"), ("card not", "card_not_working")):
        page.locator("#search").fill(text)
        assert any(found in one for one in shown()), text
    page.locator("#search").fill("Card Fee")
    press("Shift+Enter")  # a label in another spelling is no new one
    page.wait_for_function("() => document.querySelector('.said').innerText.includes('card_fee')")
    for _ in range(3):
        press("k")
        page.wait_for_timeout(400)
    assert "first" in page.locator("article.row").inner_text()
    press("3")
    page.wait_for_function("() => document.querySelector('.said').innerText.includes('Row 1 saved')")
    press("u")
    page.wait_for_function("() => document.querySelector('.said').innerText.startsWith('Taken back')")
    assert f"is {LABELS[0]} again" in said.inner_text()
    press(".")
    page.locator("#comment").fill("a draft")
    press("Enter")
    press("j")
    page.wait_for_timeout(400)
    press("k")
    page.wait_for_timeout(400)
    assert page.locator("#comment").input_value() == "a draft"
    row = row_of(page)
    page.reload()
    page.wait_for_selector(".queue")
    while row_of(page) != row:
        page.get_by_role("button", name="Previous row").click()
    assert page.locator("#comment").input_value() == "a draft"
    press("?")
    assert page.locator("article.row").bounding_box()["y"] < 900 and page.locator(".keys").bounding_box()["y"] < 400
    answers = [json.loads(line) for line in downloaded(page, tmp_path / "a.jsonl").read_text().splitlines()][1:]
    assert {one["line"] for one in answers} == {LABELS[0], LABELS[1], "card_fee"}
    assert [one["comment"] for one in answers if one["line"] == LABELS[0]] == ["first"]
    assert page.faults == []
