"""A judge that people overrule does not decide what fails, nor what fixes it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.ladder.test_judged_ladder import FLATTERER, WEAK, judge_by_hand_after_run, judged_simulation, run_record

from tuneworthy.config import load
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.verdict.error_analysis import ErrorAnalysis, rows_of
from tuneworthy.verdict.gather import gather
from tuneworthy.verdict.probes import GRADED, analyse_errors


def flattering(root: Path, judge: str) -> Path:
    """A world whose model of today writes what the judge likes and is right in half of the cases."""
    judged_simulation(root, judge, FLATTERER)
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace('baseline = "weak"', 'baseline = "strong"'))
    return root


def probe(root: Path) -> tuple[ErrorAnalysis, bool]:
    """Analyse today's failures; also whether the verdict has an error analysis."""

    async def ask() -> tuple[ErrorAnalysis, bool]:
        async with open_session(load(root)) as session:
            report = await analyse_errors(session, current(session))
            return report, gather(session).errors is not None

    return asyncio.run(ask())


def test_failures_that_a_fooled_judge_passes_are_unexplained(tmp_path: Path) -> None:
    root = flattering(tmp_path, "vain")
    judge_by_hand_after_run(root)
    report, used = probe(root)
    assert report.n_failed < 0.1 * report.n_dev  # by the judge hardly anything fails
    (row,) = [row for row in report.rows if row.n_failed]
    assert row.name == "unexplained" and row.n == pytest.approx(0.5 * report.n_dev, rel=0.3)
    assert used and all("overrule the judge" in report.not_probed[name] for name in {*GRADED} - {"tools"})
    assert any("overrule the judge" in limit for limit in row.limits)


def test_where_people_rated_no_answers_of_the_variant_the_causes_are_unknown(tmp_path: Path) -> None:
    root = flattering(tmp_path, "vain")
    run_record(root)
    report, used = probe(root)
    assert report.rows == () and not report.rated and not used
    assert all("rated fewer" in why for why in report.not_probed.values())


def test_a_judge_that_people_agree_with_is_believed(tmp_path: Path) -> None:
    root = judged_simulation(tmp_path, "sound", WEAK)
    judge_by_hand_after_run(root)
    report, used = probe(root)
    assert used and report.n_failed > 0.3 * report.n_dev and not set(GRADED) <= report.not_probed.keys()
    assert sum(row.n_failed for row in report.rows) == report.n_probed


def test_failures_that_are_none_by_people_shrink_every_class() -> None:
    classes = {str(n): "format" if n < 20 else "unexplained" for n in range(40)}
    rows = {row.name: row for row in rows_of(classes, ["format"], real=0.5, unseen=20)}  # type: ignore[arg-type]
    assert (rows["format"].n_failed, rows["unexplained"].n_failed, rows["format"].n) == (10, 30, 40)


def test_what_could_not_be_measured_stands_with_its_class_or_with_what_is_unexplained() -> None:
    classes = {"a": "format", "b": "unexplained"}
    limits = {"format": ["Formats are hard."], "reasoning": ["No stronger model."]}
    rows = {row.name: row for row in rows_of(classes, ["format"], limits=limits)}  # type: ignore[arg-type]
    assert rows["format"].limits == ("Formats are hard.",)
    assert rows["unexplained"].limits == ("No stronger model.",)
