"""The verdict stands first in the report, in plain words; one that no longer holds gives no answer."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import report_records as records
from tests.ladder.simulations import write_simulation
from tests.verdict.planted import failures, with_rungs, worth_it
from tests.verdict.test_decide import LINES, MET, NEVER, TRIPPED

from tuneworthy.cli import invoke
from tuneworthy.report.html import render_html
from tuneworthy.report.markdown import render_markdown
from tuneworthy.report.verdict import in_a_sentence, section
from tuneworthy.verdict.base import Outcome
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.last_verdict import StoredVerdict
from tuneworthy.verdict.messages import ANSWERS

TODAY = date(2026, 11, 24)
TOOLS_WORDS = re.compile(r"\b(incumbent|headroom|racing|put to test|mend\w*)\b", re.IGNORECASE)
SIMULATIONS = {"worth_it": worth_it(), **TRIPPED, **{name: evidence for name, (evidence, _, _) in LINES.items()}}


def stored(evidence: Evidence, *changed: str) -> StoredVerdict:
    """The verdict as it is read back."""
    return StoredVerdict(verdict=decide(evidence), changed=list(changed))


def facts(verdict: StoredVerdict) -> dict[str, str]:
    return dict(section(verdict).facts)


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("\u00a0", " ")


def head(html: str) -> str:
    found = re.search(r'<section class="verdict .*?</section>', html, re.DOTALL)
    assert found
    return text(found[0])


def test_every_outcome_has_an_answer_in_plain_words() -> None:
    assert set(ANSWERS) == {outcome.value for outcome in Outcome}


@pytest.mark.parametrize("name", SIMULATIONS)
def test_the_section_has_answer_reasons_money_change_and_date_without_the_tools_words(name: str) -> None:
    verdict = stored(SIMULATIONS[name])
    found = section(verdict)
    assert found.answer == ANSWERS[verdict.verdict.outcome]
    assert 1 <= len(found.reasons) <= 3
    assert [about for about, _ in found.facts] == ["Cost", "Next", "What would change the verdict", "Valid until"]
    shown = head(render_html(records.plain(), today=TODAY, verdict=verdict))
    assert not TOOLS_WORDS.search(re.sub(r"--rung \w+", "", shown)), shown
    assert "`" not in shown
    for words in (found.answer, *found.reasons, *facts(verdict).values()):
        assert re.sub(r"\s+", " ", words)[:40] in shown.replace("&lt;", "<").replace("&#39;", "'")


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_the_verdict_is_read_first(render: Any) -> None:
    page = render(records.plain(), today=TODAY, verdict=stored(with_rungs(MET)))
    body = page[page.find("<body>") + 1 :]
    assert body.index("Do not fine-tune") < body.index("A different model") < body.index("Result of each rung")
    without = render(records.plain(), today=TODAY)
    assert "Do not fine-tune" not in without and "Valid until" not in without


def test_a_page_has_one_first_heading_with_and_without_a_verdict() -> None:
    for verdict in (None, stored(worth_it())):
        assert render_html(records.plain(), today=TODAY, verdict=verdict).count("<h1>") == 1


def test_the_money_says_what_training_is_assumed_to_cost() -> None:
    money = facts(stored(worth_it()))["Cost"]
    assert "$5,785 up front" in money and "$903 per month" in money
    assert "no cost per call" in facts(stored(worth_it(economics=NEVER)))["Cost"]


def test_a_verdict_that_no_longer_holds_gives_no_answer() -> None:
    stale = stored(with_rungs(MET), "the ladder was run again")
    shown = head(render_html(records.plain(), today=TODAY, verdict=stale))
    assert "The last verdict is out of date" in shown and "the ladder was run again" in shown
    assert "Cost:" not in shown and "Valid until" not in shown
    assert in_a_sentence(stale) == "" == in_a_sentence(None)


def test_what_others_wrote_is_escaped() -> None:
    planted = "x</section><script>alert(1)</script>"
    verdict = stored(worth_it(stale=[planted]))
    html = render_html(records.plain(), today=TODAY, verdict=verdict)
    assert "<script" not in html and "alert(1)" in html
    assert "<script" not in render_markdown(records.plain(), today=TODAY, verdict=verdict)


def test_what_is_missing_stands_once_with_the_command() -> None:
    verdict = stored(TRIPPED["other_models"])
    assert "Not compared on the test set: model" in section(verdict).reasons[0]
    assert "tuneworthy run --rung model" in facts(verdict)["Next"]


def test_a_quick_look_has_no_verdict() -> None:
    assert "is out of date" not in render_html(records.quick(), today=TODAY, verdict=stored(worth_it(), "a change"))


def test_a_lever_is_named_by_what_it_does() -> None:
    verdict = stored(worth_it(errors=(failures("label_or_grader", 48),), suspects=48, labels_confirmed=True))
    assert "expected answer" in section(verdict).reasons[0]
    assert "tuneworthy cases label --suspects --apply" in facts(verdict)["Next"]


def test_the_command_puts_the_last_verdict_into_page_data_and_paragraph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_simulation(tmp_path / "world", {"weak": "answer(request, 0.97)"}, rungs=["baseline"])
    where = ["--project", str(root)]
    assert invoke(["run", *where]) == 0
    assert invoke(["report", *where]) == 0
    assert "Verdict" not in capsys.readouterr().out
    assert invoke(["decide", *where]) == 3
    capsys.readouterr()
    assert invoke(["report", *where]) == 0
    assert "Verdict (valid until" in capsys.readouterr().out
    assert "<h1>Do not fine-tune</h1>" in (root / "report.html").read_text()
    assert invoke(["report", *where, "--out", str(root / "r.json")]) == 0
    assert json.loads((root / "r.json").read_text())["verdict"]["outcome"] == "do_not_fine_tune"
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace("target = 0.9", "target = 0.99"))
    assert invoke(["report", *where]) == 0
    assert "<h1>The last verdict is out of date</h1>" in (root / "report.html").read_text()
