"""What a verdict says of itself is true and complete: headline, limits, next step."""

from __future__ import annotations

from tests.verdict.planted import worth_it

from tuneworthy.report.verdict import section
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.last_verdict import StoredVerdict


def test_without_a_target_the_report_needs_a_target_and_no_more_evidence() -> None:
    shown = section(StoredVerdict(verdict=decide(worth_it(target=None)), changed=[]))
    assert shown.answer == "Undecided" and "sets no target" in shown.reasons[0]
