"""What holds for every grader that is registered."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import orjson
import pytest
from grade_samples import SAMPLES, SECTIONS, brand_examples, build, failed, scored, trace, write_project

from tuneworthy.graders.apply import grade_all
from tuneworthy.graders.base import GRADERS, Grader, GradingContext
from tuneworthy.graders.messages import REASONS
from tuneworthy.types import UNLABELLED, Case, Score, Trace, canonical

ODD = {
    "arabic": "الجواب هو ٤٢",
    "rtl override": "\u202etxt.exe\u202c",
    "nul": "a\x00b\x00{\x00}",
    "emoji": "👩‍👩‍👧‍👦 🇩🇪",
    "lone surrogate": "\ud800",
    "surrogate in json": '{"time": "\\ud800"}',
    "combining": "e\u0301" * 50,
    "nan": '{"time": NaN}',
    "deep": '{"a":' * 5000 + "1" + "}" * 5000,
    "big number": "9" * 5000,
    "control": "".join(map(chr, range(32))),
}
HUGE = {
    "words": "word " * 200_000,
    "one word": "x" * 1_000_000,
    "braces": "{" * 1_000_000,
    "open objects": '{"a":' * 200_000,
    "digits": "7" * 1_000_000,
    "fences": "```\n{" * 200_000,
    "spaces": " " * 1_000_000,
}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> GradingContext:
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module", params=sorted(GRADERS.names()))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def grader(name: str, context: GradingContext) -> Grader:
    return build(name, context)


def grade(grader: Grader, one: Trace, expected: object) -> Score:
    return asyncio.run(grade_all(grader, [one], [Case(id="c", input="?", expected=expected)]))[0]


def test_every_section_has_a_grader_and_every_grader_a_section_and_a_sample() -> None:
    assert set(SECTIONS) == GRADERS.names() == set(SAMPLES)


def test_a_right_answer_scores_one(name: str, grader: Grader) -> None:
    sample = SAMPLES[name]
    score = grade(grader, trace(sample.right, tool_calls=sample.tool_calls), sample.expected)
    assert score.value is not None
    assert score.value >= sample.least
    assert score.reason == ""


def test_a_wrong_answer_scores_less_and_says_why(name: str, grader: Grader) -> None:
    score = grade(grader, trace(SAMPLES[name].wrong), SAMPLES[name].expected)
    assert score.value is not None
    assert score.value < 0.6
    assert score.reason in REASONS


def test_an_empty_answer_scores_nothing(name: str, grader: Grader) -> None:
    for text in ("", "  \n"):
        score = grade(grader, trace(text), SAMPLES[name].expected)
        assert score.value == 0
        assert score.reason in {"wrong", "format", "no_call"}


def test_a_failed_call_is_unscored_and_never_zero(name: str, grader: Grader) -> None:
    score = grade(grader, failed(), SAMPLES[name].expected)
    assert score.value is None
    assert "timeout" in score.unscored


def test_declining_is_right_where_null_is_expected(name: str, grader: Grader) -> None:
    if not grader.needs_expected:
        pytest.skip(f"{name} judges form alone")
    assert grade(grader, trace("I don't know."), None).value == 1
    answered = grade(grader, trace("Paris"), None)
    assert (answered.value, answered.reason) == (0, "answered_unanswerable")


def test_declining_is_a_refusal_where_an_answer_exists(name: str, grader: Grader) -> None:
    if not grader.needs_expected:
        pytest.skip(f"{name} judges form alone")
    score = grade(grader, trace("I'm sorry, but I cannot answer that."), SAMPLES[name].expected)
    assert score.reason == "refused"


def test_a_case_without_a_label_is_unscored_unless_form_alone_counts(name: str, grader: Grader) -> None:
    score = grade(grader, trace(SAMPLES[name].right), UNLABELLED)
    assert bool(score.unscored) == grader.needs_expected


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_never_raises_and_its_score_can_be_stored(name: str, grader: Grader, odd: str) -> None:
    score = scored(grader(trace(ODD[odd]), Case(id="c", input="?", expected=SAMPLES[name].expected)))
    assert isinstance(score, Score)
    assert not score.unscored
    assert 0 <= score.num <= score.den
    orjson.dumps(dict(score.detail))


@pytest.mark.parametrize("huge", HUGE)
def test_a_huge_answer_is_graded_in_bounded_time(name: str, grader: Grader, huge: str) -> None:
    start = time.perf_counter()
    scored(grader(trace(HUGE[huge]), Case(id="c", input="?", expected=SAMPLES[name].expected)))
    assert time.perf_counter() - start < 60


def test_an_odd_label_never_raises(grader: Grader) -> None:
    for expected in ("", [], {}, 0, 1.5, False, [None], {"a": [{}]}, "(", {"name": 1}, "\ud800", ["\x00"]):
        assert isinstance(scored(grader(trace("a"), Case(id="c", input="?", expected=expected))), Score)


def test_the_same_answer_gets_the_same_score(name: str, grader: Grader, context: GradingContext) -> None:
    case = Case(id="c", input="?", expected=SAMPLES[name].expected)
    again = build(name, context)
    assert again.identity == grader.identity
    for text in (SAMPLES[name].right, SAMPLES[name].wrong, "", "a b 3"):
        assert scored(grader(trace(text), case)) == scored(again(trace(text), case))


def test_the_identity_is_json_and_changes_with_the_arguments(
    name: str, grader: Grader, context: GradingContext
) -> None:
    assert grader.identity["type"] == name
    canonical(dict(grader.identity))
    if SAMPLES[name].other:
        assert build(name, context, **SAMPLES[name].other).identity != grader.identity


@pytest.mark.parametrize(
    ("kind", "file", "added"),
    [
        ("json_schema", "schema.json", ""),
        ("style", "generic.jsonl", '{"text": "one more"}\n'),
        ("python", "own.py", "\n# changed\n"),
    ],
)
def test_the_identity_changes_with_the_files(kind: str, file: str, added: str, tmp_path: Path) -> None:
    before = build(kind, write_project(tmp_path))
    path = tmp_path / file
    path.write_text(path.read_text() + added if added else '{"type": "object"}')
    after = build(kind, GradingContext(root=tmp_path, examples=brand_examples()))
    assert after.identity != before.identity


def test_random_answers_stay_in_range(name: str, grader: Grader) -> None:
    draw = random.Random(7)
    alphabet = 'ab {}[]":,0.5%-\n`refund\u00e9\u6771'
    case = Case(id="c", input="?", expected=SAMPLES[name].expected)
    for _ in range(200):
        score = scored(grader(trace("".join(draw.choices(alphabet, k=draw.randrange(40)))), case))
        assert isinstance(score, Score)
        assert 0 <= score.num <= score.den
        assert not score.unscored
