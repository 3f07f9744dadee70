"""A comparison as text, comment, JUnit and JSON: readable, safe whatever names hold, and valid."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from tuneworthy.ladder.commands.compare import ComparisonOutcome, Step, VariantComparison
from tuneworthy.report.comparison import (
    MOST_IDS,
    comparison_json,
    comparison_junit,
    comparison_markdown,
    comparison_text,
)
from tuneworthy.stats.paired import compare

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parents[1] / "fixtures" / "junit.xsd"))
PAIRED = compare([1] * 80, [1] * 80, [1] * 60 + [0] * 20, [1] * 80, alpha=0.025)
WORSE = VariantComparison(
    a="baseline/small",
    b="prompt/new",
    a_id="0123456789abcdef",
    b_id="fedcba9876543210",
    on="dev",
    answer=ComparisonOutcome.WORSE,
    margin=0.05,
    prompts=(120, 4500),
    paired=PAIRED,
    lower=-0.34,
    unscored=1,
    cost_usd=0.02,
    losses=tuple(f"c{i}" for i in range(25)),
    gains=("c99",),
)
HOSTILE = "x|<img src=x>\n::error::`@you` \x1b[31m\x00\u202e"


def outcome(answer: ComparisonOutcome) -> VariantComparison:
    return replace(WORSE, answer=answer, paired=None if answer is ComparisonOutcome.SAME else PAIRED)


def test_a_comment_says_the_answer_first_then_the_numbers_and_what_to_do() -> None:
    assert comparison_markdown(WORSE).splitlines() == [
        "### B is worse than A.",
        "",
        "| | Variant | Prompt, characters | Score |",
        "|---|---|---:|---:|",
        "| A | baseline/small `01234567` | 120 | 100.0% |",
        "| B | prompt/new `fedcba98` | 4500 | 75.0% |",
        "",
        "Difference: -25.0 points (95% interval \\[-35.5, -16.8\\]). n = 80 dev cases, 1 unscored.",
        "",
        f"Broken by B (25): {', '.join(f'`c{i}`' for i in range(MOST_IDS))}, and 5 more",
        "",
        "Fixed by B (1): `c99`",
        "",
        "Next: fix the change. To see why a case fails, run `tuneworthy cases show ID --variant B` where you ran "
        "`compare`, with the same B.",
    ]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("decide", "Next: tuneworthy decide"),
        ("run", "Next: run `tuneworthy run`"),
        ("write", "Next: put B into the project file"),
        ("test", "--test"),
    ],
)
def test_the_next_step_asks_only_for_a_change_that_the_project_file_can_have(step: Step, words: str) -> None:
    last = comparison_text(replace(outcome(ComparisonOutcome.BETTER), step=step)).splitlines()[-1]
    assert words in last and ("put B" in last) is (step == "write")
    assert ("fix the change" in comparison_text(replace(WORSE, step=step))) is (step != "decide")


def test_what_names_hold_cannot_leave_their_cell() -> None:
    hostile = replace(WORSE, a=HOSTILE, b=HOSTILE, losses=(HOSTILE,))
    comment = comparison_markdown(hostile)
    assert "<img" not in comment and "\n::error" not in comment and "\x1b" not in comment
    assert [line.replace("\\|", "").count("|") for line in comment.splitlines() if line.startswith("|")] == [5] * 4
    assert "\n::error" not in comparison_text(hostile)
    SCHEMA.assertValid(etree.fromstring(comparison_junit(hostile).encode()))
    assert json.loads(comparison_json(hostile))["a"] == HOSTILE and "\u202e" not in comparison_json(hostile)


@pytest.mark.parametrize(
    ("answer", "element", "failures", "errors"),
    [
        (ComparisonOutcome.SAME, "system-out", "0", "0"),
        (ComparisonOutcome.BETTER, "system-out", "0", "0"),
        (ComparisonOutcome.NO_WORSE, "system-out", "0", "0"),
        (ComparisonOutcome.WORSE, "failure", "1", "0"),
        (ComparisonOutcome.UNRESOLVED, "error", "0", "1"),
    ],
)
def test_junit_is_valid_and_fails_where_the_gate_does(
    answer: ComparisonOutcome, element: str, failures: str, errors: str
) -> None:
    top = etree.fromstring(comparison_junit(outcome(answer)).encode())
    SCHEMA.assertValid(top)
    assert top.attrib == {"tests": "1", "failures": failures, "errors": errors}
    (ending,) = top.find("testsuite/testcase")
    assert ending.tag == element
    assert ending.get("type") == (str(answer) if element != "system-out" else None)


@pytest.mark.parametrize("fault", [("<failure", "<fail"), ('tests="1"', 'tests="one"'), ('name="tuneworthy"', "")])
def test_the_schema_refuses_what_no_server_reads(fault: tuple[str, str]) -> None:
    assert fault[0] in comparison_junit(WORSE)
    broken = (
        comparison_junit(WORSE).replace(*fault).replace("</failure", "</fail" if "fail" in fault[1] else "</failure")
    )
    assert not SCHEMA.validate(etree.fromstring(broken.encode()))


def test_the_same_variant_needs_no_number() -> None:
    same = outcome(ComparisonOutcome.SAME)
    sentence = "A and B are the same variant, so there is nothing to compare."
    text = comparison_text(same).splitlines()
    assert text[0] == sentence and text[1].startswith("Next: ") and len(text) == 2
    assert comparison_markdown(same).startswith(f"### {sentence}\n")
    assert json.loads(comparison_json(same))["answer"] == "same"


def test_what_bars_an_answer_is_said() -> None:
    unresolved = outcome(ComparisonOutcome.UNRESOLVED)
    assert comparison_text(unresolved).splitlines()[-2:] == [
        "Inconclusive: the interval allows both a loss and non-inferiority within 5.0 points.",
        "Next: showing non-inferiority takes about 274 cases. Add cases with `tuneworthy cases add`, and compare on "
        "the test set with --test.",
    ]
    judged = replace(unresolved, unvalidated="The judge is not validated.")
    assert comparison_text(judged).splitlines()[-1] == "Inconclusive: The judge is not validated."
