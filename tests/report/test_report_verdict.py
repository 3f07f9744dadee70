"""The first screen of the report: the answer first, in plain words; a verdict that no longer holds gives none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.ladder.simulations import write_simulation
from tests.report import report_records as records
from tests.report.report_projects import EVIDENCE, record_of, report_project
from tests.verdict.planted import RUNGS, failures, with_rungs, worth_it
from tests.verdict.test_decide import LINES, MET, NEVER, TRIPPED

from tuneworthy.cli import invoke
from tuneworthy.cli.decide import show
from tuneworthy.config.ladder import Economics
from tuneworthy.config.task import TaskSection
from tuneworthy.ladder.record import RunRecord
from tuneworthy.report.first_screen import cards as first_screen_cards
from tuneworthy.report.first_screen import in_short, paragraph
from tuneworthy.report.render import Document, render_html, render_markdown, screen_text
from tuneworthy.report.run_report import document
from tuneworthy.verdict.answer import ANSWERS, StoredVerdict
from tuneworthy.verdict.base import Outcome
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import Evidence

TODAY = date(2026, 11, 24)
TOOLS_WORDS = re.compile(r"\b(incumbent|headroom|racing|put to test|mend\w*)\b", re.IGNORECASE)
SIMULATIONS = {
    "worth_it": worth_it(),
    **TRIPPED,
    **{name: evidence for name, (evidence, _, _) in LINES.items()},
    **EVIDENCE,
}
MOST_WORDS = 65
# What a reader who does not see hears of a drawing.
SPOKEN = re.compile(r'<svg[^>]*aria-label="([^"]*)">')


def stored(evidence: Evidence, *changed: str) -> StoredVerdict:
    """The verdict as it is read back."""
    return StoredVerdict(verdict=decide(evidence), changed=list(changed))


def report(evidence: Evidence, *changed: str, record: RunRecord | None = None) -> Document:
    return document(record or records.plain(), today=TODAY, verdict=stored(evidence, *changed))


def terminal(page: Document) -> str:
    return f"{screen_text(page)}\n{page.paragraph}"


RENDERERS: dict[str, Callable[[Document], str]] = {
    "html": lambda page: re.sub(r"<[^>]+>", " ", SPOKEN.sub(r" \1 ", render_html(page))),
    "markdown": render_markdown,
    "terminal": terminal,
}


def words(text: str) -> str:
    """Text without the marks of a form."""
    text = (
        text.replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("&#34;", '"')
    )
    return re.sub(r"\s+", " ", re.sub(r"[\\`*]", "", text.replace("\u00a0", " ")))


def test_every_outcome_has_an_answer_in_plain_words() -> None:
    assert set(ANSWERS) == {outcome.value for outcome in Outcome}


@pytest.mark.parametrize("form", RENDERERS)
@pytest.mark.parametrize("name", EVIDENCE)
def test_terminal_markdown_and_html_show_one_first_screen(name: str, form: str, tmp_path: Path) -> None:
    made = report_project(name, tmp_path)
    page = document(made.record, made.project, TODAY, made.verdict)
    text = words(RENDERERS[form](page))
    step = page.next_step
    assert step and page.chart
    for part in (page.answer, page.sentence, page.basis, page.paragraph, step.command, step.why):
        assert words(part).strip() in text, part
    for card in page.cards:
        for part in (card.label, card.value, card.name, card.mark, *card.details):
            assert words(part) in text, part
    for row in page.chart.rows:
        for cell in row:
            assert words(cell) in text, cell


def test_a_model_that_ships_below_the_target_is_said_to() -> None:
    missed = report(EVIDENCE["ship"]).sentence
    assert re.search(r"It is better than the other options, but still misses the target of \d\d\.0%\.$", missed)
    assert "misses the target" not in report(EVIDENCE["do_not_ship"]).sentence
    assert "misses the target" not in report(EVIDENCE["fine_tune"]).sentence


@pytest.mark.parametrize("name", SIMULATIONS)
def test_the_first_screen_answers_without_the_tools_words_and_says_no_fact_twice(name: str) -> None:
    evidence = SIMULATIONS[name]
    page = report(evidence)
    assert page.answer in {*ANSWERS.values(), "Fine-tune"}
    shown = terminal(page)
    assert not TOOLS_WORDS.search(re.sub(r"--rung \w+", "", shown)), shown
    assert "`" not in page.sentence and [card.label for card in page.cards] == [
        "Today",
        "Without training",
        "With training",
    ]
    sentences = [
        line for line in re.split(r"(?<=[.])\s+", f"{page.answer}. {page.sentence} {page.basis}") if len(line) > 25
    ]
    assert len(sentences) == len(set(sentences))


@pytest.mark.parametrize("name", SIMULATIONS)
def test_the_paragraph_is_short(name: str) -> None:
    evidence = SIMULATIONS[name]
    long = replace(record_of(evidence), task="a name of many words that nobody wants to read in full")
    for record in (
        record_of(evidence),
        long,
        replace(long, partial="x"),
        replace(long, stale=["y"]),
        records.hostile(),
    ):
        for text in (paragraph(record, 200_000, stored(evidence)), report(evidence, record=record).paragraph):
            assert len(text.split()) <= MOST_WORDS, text
            assert text.isprintable()


def test_the_paragraph_says_that_an_option_breaks_a_constraint() -> None:
    barred = replace(RUNGS[1], score=0.95, violated="small is a hosted model, which the constraints do not allow")
    evidence = with_rungs(barred, target=0.9, economics=Economics(requests_per_month=200_000))
    text = paragraph(record_of(evidence), None, stored(evidence))
    today, _, rest = text.partition("Without training")
    assert "Today: 95.0%" in today and today.rstrip().endswith("per call, violates a constraint.")
    assert "violates" not in rest
    cost = next(row for row in decide(evidence).training.reasons if row.reason == "cost")
    assert cost.evidence == "No eligible option meets the target, so there is no bill to reduce."


def test_the_paragraph_holds_answer_scores_intervals_n_money_and_the_command() -> None:
    text = paragraph(record_of(EVIDENCE["ship"]), None, stored(EVIDENCE["ship"]))
    assert text == (
        "tickets: Ship the fine-tuned model. Today, best within its bill: 55.0% [48.1%, 61.7%] "
        "(n = 200 test), $700 a month. Without training (model/strong): 70.0% [63.3%, 75.9%], $4,200 a month. "
        "With training: 85.0% [79.4%, 89.3%], $903 a month. Target: 90.0%. Valid until 2027-02-22. "
        "Next: tuneworthy export card && tuneworthy serve"
    )


def test_the_card_without_training_says_which_rule_chose_its_option() -> None:
    cards = {name: report(EVIDENCE[name]).cards[1] for name in EVIDENCE} | {"met": report(with_rungs(MET)).cards[1]}
    assert {card.label for card in cards.values()} == {"Without training"}
    assert cards["met"].details[0] == "recommended: it meets the target at the lowest cost"
    verdict = decide(with_rungs(MET))
    cheaper = [replace(one, target="met", usd_per_1k=-1.0) if one.kind == "today" else one for one in verdict.options]
    (_, dearer, _) = first_screen_cards(records.plain(), cheaper, verdict)
    assert "significantly better than a cheaper" in dearer.details[0]
    today = report(with_rungs(replace(MET, rung="baseline", name="baseline/small"))).cards[1]
    assert today.details[0].startswith("recommended: it meets the target, and no other option is")
    adopted = document(records.plain(), today=TODAY).cards[1]  # few_shot scores higher, which no test shows
    assert adopted.details[0] == "adopted: no other option scores significantly higher"


def test_training_has_one_price_on_the_first_screen_and_its_cost_once_in_the_summary() -> None:
    page = report(EVIDENCE["fine_tune"])
    card, chart, verdict = page.cards[2], page.chart, decide(EVIDENCE["fine_tune"])
    (row,) = [row for row in chart.rows if row[0] == "fine-tuned model"] if chart else []
    once = next(option.one_off_usd for option in verdict.options if option.kind == "fine_tune")
    assert re.fullmatch(r"(from|about) \$[\d,]+ a month", row[2]) and once
    assert card.details[-1] == f"{row[2]}, ${once:,.0f} once"
    assert f"With training: {card.value}, {card.details[-1]}." in page.paragraph


@pytest.mark.parametrize("low", [0.86, 0.91])
def test_a_met_target_says_its_rule_where_the_interval_begins_below_it(
    low: float, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evidence = with_rungs(replace(MET, ci95=(low, 0.98)))
    assert evidence.target == 0.9
    monkeypatch.setattr("tuneworthy.cli.decide.with_consent", lambda text, *_: text)
    task = TaskSection(name="tickets", target=0.9, margin=0.05)
    show(decide(evidence), SimpleNamespace(task=task, root=tmp_path))  # type: ignore[arg-type]
    out = " ".join(capsys.readouterr().out.split())
    assert ("met: the score reaches the target" in out) == (low < 0.9) and "* recommended" in out
    card = report(evidence, record=replace(records.plain(), target=0.9, margin=0.05)).cards[1]
    assert card.mark == ("target met" if low > 0.9 else "target met: the lower limit is above 85.0%")


def test_without_a_verdict_the_run_is_shown_and_the_next_step_is_to_decide() -> None:
    page = document(records.plain(), today=TODAY)
    assert page.answer == "Not decided yet" and page.next_step and page.next_step.command == "tuneworthy decide"
    assert [card.value for card in page.cards] == ["34.5%", "96.0%", "unknown"]
    assert page.cards[1].mark == "target met" and "$2.10 per 1,000 answers" in page.cards[1].details
    assert "Valid until" not in page.paragraph and "valid until" not in page.basis


def test_where_today_is_best_its_card_says_so_once() -> None:
    record = records.record(
        records.rung("baseline", "baseline/weak", 150),
        records.rung("prompt", "prompt/xml", 148, records.RungStatus.NO_GAIN, **records.gain(-0.01, "baseline")),
        best="baseline",
    )
    page = document(record, today=TODAY)
    assert page.cards[1].name == "today's setup" and page.cards[1].details[0] == "the highest score measured"
    assert page.paragraph.count("75.0%") == 1


def test_a_forecast_is_shown_as_its_lower_bound() -> None:
    page = report(EVIDENCE["fine_tune"], record=record_of(EVIDENCE["fine_tune"]))
    assert page.cards[2].value == "at least 76.0%" and page.cards[2].details == [
        "lower bound of the pilot's forecast for 1,500 examples",
        "about $903 a month, $5,785 once",
    ]
    assert report(worth_it()).cards[2].details[0] == "no pilot yet, so there is no forecast"


def test_a_reason_is_cut_to_its_first_sentence_that_says_enough() -> None:
    short, long = (
        "Every gate passes.",
        "The difference is +15.0 points (95% interval [+9.6, +20.4]), which is significant.",
    )
    assert in_short(f"{long} {short}") == long
    assert in_short(f"{short} {long} {short}") == f"{short} {long}"


def test_the_money_says_what_training_is_assumed_to_cost() -> None:
    assert report(worth_it()).cards[2].details[-1] == "from $903 a month, $5,785 once"
    assert report(worth_it(economics=NEVER)).cards[2].details[-1] == "about $340 a month, $5,785 once"


@pytest.mark.parametrize("form", RENDERERS)
def test_a_verdict_that_no_longer_holds_gives_no_answer(form: str) -> None:
    page = report(with_rungs(MET), "the ladder was run again")
    shown = words(RENDERERS[form](page))
    assert "The last verdict is out of date" in shown and "the ladder was run again" in shown
    assert page.next_step and page.next_step.command == "tuneworthy decide"
    assert "alid until" not in shown and ANSWERS["do_not_fine_tune"] not in page.paragraph
    assert page.paragraph.startswith("intents: The last verdict is out of date.")


def test_what_others_wrote_is_escaped() -> None:
    planted = "x</section><script>alert(1)</script>"
    for evidence, changed in ((worth_it(stale=[planted]), ()), (worth_it(), (planted,))):
        page = report(evidence, *changed)
        text = render_html(page)
        assert "<script" not in text and "alert(1)" in text
        assert "<script" not in render_markdown(page)


def test_what_is_missing_stands_once_with_the_command() -> None:
    page = report(TRIPPED["other_models"])
    assert "The rung model has not been compared on the test set" in page.sentence
    assert page.next_step and "tuneworthy run --rung model" in page.next_step.command


def test_a_quick_run_has_no_verdict() -> None:
    page = report(worth_it(), "a change", record=records.quick())
    assert page.answer == "Quick run: no verdict" and "out of date" not in terminal(page)
    assert {card.mark for card in page.cards} == {""} and "120 dev cases" in page.basis


def test_a_lever_is_named_by_what_it_does() -> None:
    page = report(worth_it(errors=(failures("label_or_grader", 48),), suspects=48, labels_confirmed=True))
    shown = terminal(page)
    assert "expected answer" in shown and "tuneworthy label audit" in shown


def test_the_command_puts_the_last_verdict_into_page_data_and_paragraph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_simulation(tmp_path / "world", {"weak": "answer(request, 0.97)"}, rungs=["baseline"])
    where = ["--project", str(root)]
    assert invoke(["run", *where]) == 0
    assert invoke(["report", *where]) == 0
    assert "Not decided yet" in capsys.readouterr().out
    assert invoke(["decide", *where]) == 3
    capsys.readouterr()
    assert invoke(["report", *where]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Do not fine-tune. ") and "Valid until" in shown.splitlines()[-1]
    assert '<h1 class="do_not_fine_tune">Do not fine-tune</h1>' in (root / "report.html").read_text()
    assert invoke(["report", *where, "--out", str(root / "r.json")]) == 0
    assert json.loads((root / "r.json").read_text())["verdict"]["outcome"] == "do_not_fine_tune"
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace("target = 0.9", "target = 0.99"))
    assert invoke(["report", *where]) == 0
    assert '<h1 class="stale">The last verdict is out of date</h1>' in (root / "report.html").read_text()


def test_a_cascade_says_what_share_the_large_model_answers(tmp_path: Path) -> None:
    made = report_project("do_not_fine_tune", tmp_path)
    page = document(made.record, made.project, verdict=made.verdict)
    assert page.cards[1].name == "linear classifier; strong where it is unsure"
    assert "the large model answers 29.5% of the cases" in page.cards[1].details
    assert not any("large model" in detail for card in (page.cards[0], page.cards[2]) for detail in card.details)


def test_what_would_change_the_answer_is_introduced(tmp_path: Path) -> None:
    made = report_project("do_not_fine_tune", tmp_path)
    page = document(made.record, made.project, verdict=made.verdict)
    reasons = next(section.blocks for section in page.sections if section.name == "reasons")
    at = reasons.index("Each of these would change the answer:")
    assert list(reasons[at + 1 :])[: len(made.verdict.verdict.would_change)] == made.verdict.verdict.would_change
