"""Graders `python` and `style`, which are built from the project's files."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from grade_samples import BRAND, GENERIC, brand_examples, build, judge, write_project

from tuneworthy.errors import DataError, UserError
from tuneworthy.graders.base import GradingContext
from tuneworthy.graders.style import StyleClassifier

FUNCTIONS = """
import dataclasses, sys
import numpy as np
from tuneworthy.types import Score

@dataclasses.dataclass
class Seen:
    n: int = 0

def half(answer, expected, case): return 0.5
def yes(answer, expected, case): return np.bool_(answer == expected)
def number(answer, expected, case): return np.float32(0.25)
def whole(answer, expected, case): return Score(num=1, den=2, reason="partial", detail={"case": case.id})
def above(answer, expected, case): return 1.5
def nan(answer, expected, case): return float("nan")
def text(answer, expected, case): return "good"
def nothing(answer, expected, case): pass
def unsound(answer, expected, case): return Score(num=3, den=2)
def raises(answer, expected, case): raise KeyError("boom")
def leaves(answer, expected, case): sys.exit(3)
async def later(answer, expected, case): return 1.0
constant = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> GradingContext:
    (tmp_path / "own.py").write_text(FUNCTIONS)
    return GradingContext(root=tmp_path)


@pytest.mark.parametrize(("name", "value"), [("half", 0.5), ("yes", 1), ("number", 0.25), ("whole", 0.5)])
def test_what_an_own_function_may_return(own: GradingContext, name: str, value: float) -> None:
    assert judge(build("python", own, function=f"own.py:{name}"), "x", "x").value == value


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("above", "not 1.5"), ("nan", "not nan"), ("text", "not 'good'"), ("nothing", "not None"),
        ("unsound", "num is 3 and den is 2"), ("raises", "KeyError: 'boom'"), ("leaves", "SystemExit: 3"),
    ],
)  # fmt: skip
def test_what_leaves_a_trace_unscored(own: GradingContext, name: str, why: str) -> None:
    assert why in judge(build("python", own, function=f"own.py:{name}"), "x", "x").unscored


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("own.py:missing", "Unknown function"), ("own.py:constant", "not a function"), ("own.py:later", "is async"),
        ("other.py:f", "no Python file other.py in"), ("../own.py:f", "outside the project folder"),
        ("no_such_package.module:f", "ModuleNotFoundError"),
    ],
)  # fmt: skip
def test_a_function_that_cannot_be_found_is_the_users_to_mend(own: GradingContext, function: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build("python", own, function=function)


def test_a_file_that_does_not_import_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import nothing_like_that")
    with pytest.raises(UserError, match="ModuleNotFoundError"):
        build("python", GradingContext(root=tmp_path))


def test_a_changed_file_is_loaded_anew(tmp_path: Path) -> None:
    path, context = tmp_path / "own.py", GradingContext(root=tmp_path)
    path.write_text("def judge(answer, expected, case): return 0")
    assert judge(build("python", context), "x", "x").value == 0
    path.write_text("def judge(answer, expected, case): return 1")
    assert judge(build("python", context), "x", "x").value == 1


def test_a_function_of_a_package_is_found() -> None:
    assert judge(build("python", function="orjson:dumps"), "x", "x").unscored  # takes other arguments
    assert build("python", function="jinja2:Template").identity["source_hash"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> GradingContext:
    return write_project(tmp_path_factory.mktemp("style"))


def test_style_tells_brand_from_generic_at_one_half(project: GradingContext) -> None:
    grader: Any = build("style", project)
    assert all(judge(grader, text, None).value > 0.5 for text in BRAND)
    assert all(judge(grader, text, None).value < 0.5 for text in GENERIC)
    assert judge(grader, "Ahoy, matey! Yer chest be here.", None).value > 0.5


def test_the_boundary_holds_where_one_kind_is_rarer(tmp_path: Path) -> None:
    context = write_project(tmp_path)
    more = "".join(f'{{"text": "Your {n} items are on the way, order {n * 7}."}}\n' for n in range(170))
    (tmp_path / "generic.jsonl").write_text((tmp_path / "generic.jsonl").read_text() + more)
    grader: Any = build("style", context)
    assert judge(grader, "Ahoy matey, map number 99 sails yer way today!", None).value > 0.5


def test_the_boundary_does_not_follow_the_number_of_texts() -> None:
    draw = random.Random(7)

    def texts(n: int, share: float) -> list[str]:
        words = ["alpha", "beta", "gamma", "delta"]
        return [" ".join(draw.choices(words, k=6) + ["ahoy"] * (draw.random() < share)) for _ in range(n)]

    classify = StyleClassifier(texts(60, 0.7), texts(600, 0.2))
    with_word = [classify(text) for text in texts(100, 1)]
    without = [classify(text) for text in texts(100, 0)]
    assert sum(value > 0.5 for value in with_word) > 70
    assert sum(value < 0.5 for value in without) > 70


def test_style_knows_when_it_knows_nothing(tmp_path: Path) -> None:
    write_project(tmp_path)
    same = "".join(f'{{"text": "{text} "}}\n' for text in BRAND)
    (tmp_path / "generic.jsonl").write_text(same)
    grader: Any = build("style", GradingContext(root=tmp_path, examples=brand_examples()))
    assert all(abs(grader.classifier(text) - 0.5) < 0.2 for text in BRAND)


def test_rules_count_half_and_those_broken_are_named(project: GradingContext) -> None:
    free = judge(build("style", project), BRAND[0], None).value
    arguments = {"words": [3, 5], "banned": ["Yer  way"], "required": [r"\bmatey\b"]}
    score = judge(build("style", project, **arguments), BRAND[0], None)
    assert score.value == pytest.approx((free + 0.5) / 2)
    assert score.detail["broken"] == ["at most 5 words", "does not contain 'yer way'"]
    assert score.reason == "partial"


def test_style_says_what_is_missing(tmp_path: Path) -> None:
    context = write_project(tmp_path)
    with pytest.raises(UserError, match="has 0 distinct example answers and 30 distinct generic texts"):
        build("style", GradingContext(root=tmp_path))
    with pytest.raises(UserError, match="regular expression"):
        build("style", context, required=["("])
    (tmp_path / "generic.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n')
    with pytest.raises(DataError, match=r"generic.jsonl:2: expected"):
        build("style", context)


def test_sklearn_and_sacrebleu_are_loaded_only_when_asked_for() -> None:
    code = (
        "import sys, tuneworthy.graders.style, tuneworthy.graders.overlap, tuneworthy.graders.apply;"
        "print([m for m in ('sklearn', 'sacrebleu', 'rouge_score', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
