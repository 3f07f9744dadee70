"""Days as blocks: an unfinished day counts for nothing, few days show nothing, and gross harm stops at once."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from scripts.simulations.days import SPREADS, TRAFFIC, false_rates, forecasts, times

from tests.shadow.test_live_recording import row, write
from tests.shadow.test_recording import project, said, user
from tests.shadow.test_replay import replayed
from tests.shadow.test_verdict import KNOWN, pairs, result
from tests.shadow.traffic import conversations, write_traffic_project
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.shadow.days import CHANGED, MIN_DAYS, USUAL_BETWEEN, Blocks, decision_days, forecast, forecast_before
from tuneworthy.shadow.pairs import AnswerPair
from tuneworthy.shadow.recording import LiveTraffic, read_recording
from tuneworthy.shadow.verdict import ShadowRules, judged

DAY = 86_400


def on_days(days: int, sessions: int, lose: float, gain: float, *, effects: float = 0.0) -> list[AnswerPair]:
    """Pairs of so many sessions on each day; a day's loss is higher or lower by `effects`, in turn."""
    found = []
    for day in range(days):
        own = pairs(sessions, lose + effects * (-1) ** day, gain, start=1000 * day)
        found += [replace(one, session=replace(one.session, day=f"2026-09-{day + 1:02}")) for one in own]
    return found


def rules(many: list[AnswerPair]) -> ShadowRules:
    return replace(KNOWN, days=Counter(one.session.day for one in many))


def test_an_equal_candidate_passes_after_a_week_and_not_before() -> None:
    many = on_days(8, 120, 0.03, 0.03)
    assert judged(many, rules(many)).status == "pass"
    few = [one for one in many if one.session.day < f"2026-09-{MIN_DAYS:02}"]
    found = judged(few, rules(few))
    assert (found.status, result(found, "quality").n_days) == ("unknown", MIN_DAYS - 1)
    assert f"{MIN_DAYS} finished days" in found.fix and "(assumed)" in found.detail


def test_a_day_counts_once_all_its_sessions_were_asked() -> None:
    """A look in the middle of a day sees the finished days only; the same day counts when it is over."""
    many = on_days(9, 60, 0.05, 0.05)
    for n in (8 * 60 + 1, 8 * 60 + 59):
        look = result(judged(many[:n], rules(many)), "quality")
        before = result(judged(many[: 8 * 60], rules(many)), "quality")
        assert (look.n_days, look.points, look.low, look.high) == (8, before.points, before.low, before.high)
    assert result(judged(many, rules(many)), "quality").n_days == 9
    undated = [replace(one, session=replace(one.session, day="")) for one in many]
    found = judged(undated, KNOWN)
    assert found.status == "unknown" and result(found, "quality").n_days == 0


def test_a_day_with_a_session_that_waits_for_its_label_does_not_count() -> None:
    many = on_days(9, 60, 0.05, 0.05)
    many[8 * 60 + 30] = replace(many[8 * 60 + 30], truth=None)
    found = judged(many, replace(rules(many), complete=False, label_share=1.0))
    assert result(found, "quality").n_days == 8 and result(found, "format").n_days == 9


def test_days_that_differ_widen_the_sequence_and_the_forecast() -> None:
    calm, rough = on_days(14, 100, 0.15, 0.05), on_days(14, 100, 0.15, 0.05, effects=0.1)
    one, two = (result(judged(many, rules(many)), "quality") for many in (calm, rough))
    assert two.high - two.low > 1.5 * (one.high - one.low)
    assert "(measured)" in one.forecast and one.forecast != two.forecast
    week = [one for one in calm if one.session.day < "2026-09-04"]
    early = result(judged(week, rules(week)), "quality")
    assert "First step: about 7 days" in early.forecast and "First step: about 7 days" not in two.forecast


@pytest.mark.parametrize("metric", ["quality", "format"])
def test_gross_harm_stops_within_the_first_day(metric: str) -> None:
    more = {} if metric == "quality" else {"format": (1.0, 0.0)}
    many = on_days(1, 60, 1.0, 0.0) if metric == "quality" else pairs(60, 0.0, 0.0, **more)
    found = judged(many, KNOWN)
    assert found.status == "fail" and (result(found, metric).stopped_at or 99) < 60
    assert result(found, metric).high < -0.35, "the interval is that of sessions"
    assert judged(on_days(1, 200, 0.2, 0.05), KNOWN).status == "unknown", "it may be that day"


def test_the_days_of_a_log_are_in_order_and_one_period_ignores_them(tmp_path: Path) -> None:
    dates = ["2026-09-03T23:30:00-05:00", 1_788_307_200, "2026-09-02", 1_788_220_800_000, None, "soon"]
    rows = [{"messages": [user(f"q{i}"), said("red")], "timestamp": date} for i, date in enumerate(dates)]
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in rows))
    found = read_recording(project(tmp_path), [path])
    assert [one.day for one in found.sessions] == ["", "", "2026-09-01", "2026-09-02", "2026-09-02", "2026-09-04"]
    assert any("2 sessions have no date" in note for note in found.notes)
    single = read_recording(project(tmp_path), [path], one_period=True)
    assert all(one.day == one.name for one in single.sessions) and len({one.day for one in single.sessions}) == 6


def test_todays_sessions_have_no_day_before_midnight(tmp_path: Path) -> None:
    write(tmp_path, [row("a", DAY - 100), row("b", DAY + 10), row("c", DAY + 20)])
    found = project(tmp_path, turns=1, idle_minutes=1)
    assert [one.day for one in LiveTraffic(found).read(now=DAY + 3600).sessions] == ["1970-01-01", "", ""]
    assert [one.day for one in LiveTraffic(found).read(now=2 * DAY).sessions] == [
        "1970-01-01",
        "1970-01-02",
        "1970-01-02",
    ]


def test_a_dated_log_passes_by_its_days_and_one_without_dates_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_traffic_project(tmp_path / "p", "better")
    log = tmp_path / "log.jsonl"
    for dated, status in ((False, 4), (True, 0)):
        rows = [
            one | ({"timestamp": f"2026-09-{1 + int(one['session_id'][1:]) % 10:02}T10:00:00Z"} if dated else {})
            for one in conversations(300 if dated else 20)
        ]
        log.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in rows))
        found, record = replayed(root, log, by_day=True)
        assert found == status and record.verdict.results[0].n_days == (10 if dated else 0)
        assert record.days == (("2026-09-01", "2026-09-10") if dated else ())
    assert invoke(["shadow", "replay", "--one-period", "--project", str(root)]) == 2
    assert "--one-period" in capsys.readouterr().err
    assert load(root).task.margin == 0.05


def test_false_stops_and_passes_stay_rare_where_days_differ_and_the_forecast_is_met() -> None:
    rng = np.random.default_rng(2)
    stopped, passed, fooled = false_rates(rng, 200, 60, 0.1)
    assert stopped <= 0.025 and passed <= 0.075 and fooled > 0.08
    found = np.median(times(rng, 100, 60, 0.04, 0.1))
    assert forecasts(60, 0.04)[2] == pytest.approx(found, rel=0.25)


def test_the_forecast_is_measured_on_a_week_and_assumed_before() -> None:
    rng = np.random.default_rng(3)
    for days, known in ((MIN_DAYS - 1, "assumed"), (30, "measured")):
        number = np.repeat(np.arange(days), 200)
        effects = rng.normal(0, 0.1, days)[number]
        values = np.where(rng.random(len(number)) < 0.2 + effects, -1.0, 0.0)
        blocks = Blocks.of(values, np.ones(len(values)), number, 1.0)
        text = forecast(0.05, 0.05, 0.0167, blocks)
        assert ("First step" in text) is (days < MIN_DAYS) and "about more" not in text
        assert f"({known})" in text
        _, between = blocks.spread
        assert (between is None) == (known == "assumed")
    assert between is not None and between**0.5 == pytest.approx(0.1, rel=0.35)


def test_before_traffic_the_forecast_is_for_several_numbers_of_copies_and_the_share_of_labels() -> None:
    for share in (0.1, 1.0):
        text = forecast_before(0.05, 0.05, share)
        assert "not known" in text and f"{share:.0%} of the sessions (`shadow.label_share`)" in text
        for n in TRAFFIC:
            days = decision_days((USUAL_BETWEEN**2 + CHANGED / n) ** 0.5, 0.05, 0.05, 0.05)[0]
            assert f"about {days} days ({n / share:,.0f})" in text


def test_a_forecast_names_no_number_twice_and_no_first_step_that_is_over() -> None:
    values, number = np.zeros(10_000), np.repeat(np.arange(10), 1000)
    text = forecast(0.5, 0.05, 0.0167, Blocks.of(values, np.ones(10_000), number, 1.0))
    assert "First step" not in text and "days and about" not in text


def test_the_table_of_the_page_has_the_forecasts_of_the_script() -> None:
    page = (Path(__file__).parents[2] / "docs/evidence/figures.md").read_text()
    for sessions in TRAFFIC:
        for spread in SPREADS:
            cells = [f"{days}" if days else "" for days in forecasts(sessions, spread)]
            pattern = rf"\| {sessions} \| {spread} \| " + r" \| ".join(rf"{cell}: \d+, (\d+|inf)" for cell in cells)
            assert re.search(pattern, page), (sessions, spread, cells)
