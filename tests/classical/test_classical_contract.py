"""One contract for every registered classical baseline, strangers' included."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import orjson
import pytest
from classical_data import example

from tuneworthy.classical import CLASSICAL_MODELS, ClassicalModel, ProbabilisticModel, candidates, fit
from tuneworthy.classical.fields import flatten, read_object
from tuneworthy.types import Example

KINDS = ("label", "json", "short_answer", "free_text")
PAIRS = [(name, kind) for kind in KINDS for name in candidates(kind)]
ODD = [
    "",
    "   \n\t",
    "?!",
    "never seen qwzx",
    "予約は二人です",
    "โต๊ะสำหรับสองคน",
    "حجز طاولة",
    "🍕🍕",
    "{",
    '{"a": "b"}',
    "\x00",
    "word " * 30_000,
]
PEOPLE = ["Ada", "Bo", "Cleo", "Dov", "Eva", "Finn", "Gus", "Hal"]


def rows(kind: str, n: int = 24) -> list[Example]:
    """A small training set of each kind; questions differ."""
    made = []
    for i in range(n):
        who = PEOPLE[i % len(PEOPLE)]
        question = f"table for {who} at {i % 11} please, note {i}"
        answers = {
            "label": ["book", "cancel", "ask"][i % 3],
            "json": {"name": who, "hour": i % 11, "outside": i % 2 == 0},
            "short_answer": who,
            "free_text": f"Dear {who}, your table is ready.",
        }
        made.append(example(question, answers[kind]))
    return made


def check_answers(classical: ClassicalModel, kind: str, examples: list[Example], questions: list[str]) -> list[str]:
    """Assert what holds for all answers, and return them."""
    answers = classical.predict(questions)
    assert len(answers) == len(questions)
    assert all(isinstance(a, str) for a in answers)
    if kind == "json":
        known = {path for e in examples for path in flatten(read_object(e.answer) or {})}
        for answer in answers:
            value = json.loads(answer)
            assert isinstance(value, dict)
            assert set(flatten(value)) <= known
    if isinstance(classical, ProbabilisticModel):
        probabilities = classical.probabilities(questions)
        assert probabilities.shape == (len(questions), len(classical.labels))
        assert probabilities.sum(axis=1) == pytest.approx(1.0)
    return answers


def test_every_kind_has_candidates_and_every_classical_baseline_a_kind():
    assert candidates("label") == ["majority", "nearest", "linear", "embedding"]
    assert candidates("json") == ["constant", "nearest_object", "field_tagger", "embedding_tagger"]
    assert candidates("short_answer") == ["majority", "nearest", "copy_rules", "answer_tagger"]
    assert candidates("free_text") == ["nearest"]
    assert {name for name, _ in PAIRS} == set(CLASSICAL_MODELS)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_any_question_is_answered_with_text(name, kind):
    examples = rows(kind)
    classical = fit(name, examples, 7)
    assert isinstance(classical, ClassicalModel)
    check_answers(classical, kind, examples, [*ODD, examples[3].question])
    assert classical.predict([]) == []


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_the_same_examples_and_seed_give_the_same_classical_baseline(name, kind):
    examples, questions = rows(kind), [*ODD[:-1], *(e.question for e in rows(kind, 40))]
    first, second = fit(name, examples, 7), fit(name, examples, 7)
    assert first.predict(questions) == second.predict(questions)
    assert first.identity == second.identity
    assert fit(name, examples[:-1], 7).identity != first.identity
    assert orjson.loads(orjson.dumps(first.identity))["name"] == name
    assert {"seed", "parameters", "rows", "n_rows", "libraries"} <= set(first.identity)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_answers_do_not_depend_on_the_batch(name, kind):
    classical, questions = fit(name, rows(kind), 7), [e.question for e in rows(kind, 30)]
    assert classical.predict(questions) == [classical.predict([q])[0] for q in questions]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_fewer_than_five_examples_are_enough(name, kind, n):
    examples = rows(kind, n)
    check_answers(fit(name, examples, 7), kind, examples, ODD)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_single_answer_is_always_given(name, kind):
    answer = {"label": "x", "json": {"a": None, "b": {"c": "x"}}, "short_answer": "x", "free_text": "x"}[kind]
    examples = [example(f"question {i}", answer) for i in range(12)]
    answers = check_answers(fit(name, examples, 7), kind, examples, ["question 3", "other", ""])
    assert [json.loads(a) if kind == "json" else a for a in answers] == [answer] * 3


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_duplicate_and_contradictory_questions_are_borne(name, kind):
    examples = [example("same question Ada 3", e.answer) for e in rows(kind)] + rows(kind, 3) * 2
    check_answers(fit(name, examples, 7), kind, examples, ["same question Ada 3", *ODD])


@pytest.mark.parametrize(("name", "kind"), PAIRS)
@pytest.mark.parametrize("question", ["", "   ", "。"])
def test_training_questions_without_words_are_borne(name, kind, question):
    examples = [example(question, e.answer) for e in rows(kind, 12)]
    check_answers(fit(name, examples, 7), kind, examples, ODD)


@pytest.mark.slow
def test_predictions_are_the_same_in_another_process():
    code = (
        "from test_classical_contract import rows, ODD, PAIRS, fit\n"
        "from tuneworthy.types import content_hash\n"
        "qs = [e.question for e in rows('json', 40)] + ODD[:-1]\n"
        "print(content_hash([fit(n, rows(k), 7).predict(qs) for n, k in PAIRS]))"
    )
    questions = [e.question for e in rows("json", 40)] + ODD[:-1]
    here = [fit(n, rows(k), 7).predict(questions) for n, k in PAIRS]
    from pathlib import Path

    from tuneworthy.types import content_hash

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == content_hash(here)


def test_importing_and_listing_classical_baselines_loads_no_scikit_learn():
    code = (
        "import sys, tuneworthy.classical as f\n"
        "[f.candidates(k) for k in ('label', 'json', 'short_answer', 'free_text')]\n"
        "print([m for m in ('sklearn', 'scipy', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
