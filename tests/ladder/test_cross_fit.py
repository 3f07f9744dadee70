"""Dev cases that double as examples: no case is ever its own shot or training row, and test is never used.

The planted fault is a pool that forgets where its rows are from: then cases meet themselves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuneworthy.cases import near_duplicates
from tuneworthy.cases.dataset import _dev_shots
from tuneworthy.cases.splits import DEV
from tuneworthy.classical import base as classical
from tuneworthy.classical.base import QuestionAnswer
from tuneworthy.config import load
from tuneworthy.engine.models import Models
from tuneworthy.ladder import own_models
from tuneworthy.ladder.comparison_plan import rungs_with_comparisons
from tuneworthy.ladder.own_models import FOLDS, PREFIX, add_classical_models
from tuneworthy.ladder.rung import view_of
from tuneworthy.ladder.rungs.classical import ClassicalRung
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.task_data import read_data
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers.base import outgoing
from tuneworthy.store import Folder
from tuneworthy.train.training_rows import read_dataset
from tuneworthy.types import Case, Example, Request

TOML = """
[task]
name = "few"
target = 0.5
[cases]
path = "cases.jsonl"
[prompt]
system = "Name it."
user = "Question: {{ input }}"
[[graders]]
type = "exact"
[models.one]
provider = "scripted"
function = "world.py:one"
[ladder]
baseline = "one"
"""
LABELS = ("red", "green", "blue")


def project(root: Path, n: int = 120, more: Sequence[dict[str, Any]] = (), examples: int = 0) -> Path:
    """A project of `n` cases, further ones, and a few examples."""
    cases = [{"input": f"item {i} thing {i * 7919 % 104729} n{i}", "expected": LABELS[i % 3]} for i in range(n)]
    (root / "tuneworthy.toml").write_text(TOML + ('[examples]\npath = "examples.jsonl"\n' if examples else ""))
    (root / "world.py").write_text("def one(request):\n    return 'red'\n")
    (root / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*cases, *more]))
    rows = [[{"role": "user", "content": f"other {i} word {i * 31}"}, {"role": "assistant", "content": "red"}]
            for i in range(examples)]  # fmt: skip
    (root / "examples.jsonl").write_text("".join(json.dumps({"messages": turns}) + "\n" for turns in rows))
    return root


@pytest.mark.parametrize("examples", [0, 30])
def test_dev_cases_are_examples_too_and_test_cases_never(examples: int, tmp_path: Path) -> None:
    split = read_data(load(project(tmp_path, examples=examples))).split
    assert len(split.shots) == examples and len(split.pool) == examples + len(split.dev)
    assert {row.question for row in split.dev_shots} == {case.text for case in split.dev}
    assert not {row.question for row in split.pool} & {case.text for case in split.test}
    assert any("double as examples" in line for line in split.reasons)


def test_with_enough_examples_dev_cases_are_no_examples(tmp_path: Path) -> None:
    split = read_data(load(project(tmp_path, examples=240))).split
    assert split.origin == "examples" and split.dev_shots == ()


def test_a_dev_case_that_overlaps_test_is_no_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "group_near_duplicates", lambda cases, groups: (tuple(cases), 0))
    pairs = [
        {
            "input": " ".join(f"w{i // 2 * 31 + j}" for j in range(20)) + (" this", " that")[i % 2],
            "expected": LABELS[i // 2 % 3],
        }
        for i in range(60)
    ]
    dataset = read_data(load(project(tmp_path, 60, pairs))).dataset
    split = dataset.split
    near = {split.dev[overlap.row].id for overlap in dataset.contamination.dev_test.dropped}
    assert near  # planted
    assert {row.question for row in split.dev_shots} == {case.text for case in split.dev if case.id not in near}


def test_nothing_is_trained_on_dev(tmp_path: Path) -> None:
    assert read_dataset(load(project(tmp_path))).split.shots == ()


def met_itself(pool: ShotPool, cases: Sequence[Case]) -> int:
    """How many cases get themselves, or a case of their source, as a shot, in any mode."""
    modes = [pool.fixed(40, 7), pool.per_case(4), pool.per_case(len(pool))]
    by_case = {case.id: {case.text} | {one.text for one in cases if one.source == case.source} for case in cases}
    return sum(
        bool(by_case[case_id] & {row.question for row in rows})
        for shots in modes
        for case_id, rows in pool.select(shots, cases).items()
    )


def test_no_dev_case_is_its_own_shot(tmp_path: Path) -> None:
    grouped = [{"input": f"pair {i} {i * 31}", "expected": "red", "group": f"g{i // 2}"} for i in range(40)]
    split = read_data(load(project(tmp_path, 120, grouped))).split
    pool = ShotPool(split.pool)
    assert met_itself(pool, split.dev) == 0
    forgetful = ShotPool([replace(row, group=None) for row in split.pool])
    assert met_itself(forgetful, split.dev) > 0
    case = split.dev[0]
    assert len(pool.select(pool.per_case(4), [case])[case.id]) == 4  # the next one takes its place


class Memory:
    """A classical model that answers only what it was trained on."""

    kinds = ("label",)

    def __init__(self, rows: Sequence[QuestionAnswer], seed: int) -> None:
        self.rows = {row.question: row.answer for row in rows}
        self.identity = {"rows": len(rows)}

    def predict(self, questions: Sequence[str]) -> list[str]:
        return [self.rows.get(question, "never seen") for question in questions]


def remembered(rows: Sequence[Example], cases: Sequence[Case]) -> list[Case]:
    """The cases whose answer a model that only remembers knows."""

    def memory(rows: Sequence[Example]) -> Memory:
        return Memory([QuestionAnswer(row.question, row.answer) for row in rows], 7)

    provider = own_models.ClassicalProvider("nearest", memory, rows, seed=7)

    async def ask() -> list[Case]:
        answers = [
            await provider.complete(Request(messages=({"role": "user", "content": case.text},), source=case.source))
            for case in cases
        ]
        return [case for case, answer in zip(cases, answers, strict=True) if answer.text != "never seen"]

    return asyncio.run(ask())


def test_no_dev_case_is_in_its_own_training_fold(tmp_path: Path) -> None:
    split = read_data(load(project(tmp_path, 120, examples=30))).split
    assert remembered(split.pool, [*split.dev, *split.test]) == []
    forgetful = [replace(row, source="") for row in split.pool]
    assert remembered(forgetful, split.dev) == [*split.dev]
    others = [Case(id=row.id, input=row.question) for row in split.shots]
    assert remembered(split.pool, others) == others  # and what is no dev case trains every model


def test_cases_of_one_source_share_a_fold_and_labels_are_spread(tmp_path: Path) -> None:
    grouped = [{"input": f"pair {i} {i * 31}", "expected": "red", "group": f"g{i // 4}"} for i in range(40)]
    rows = read_data(load(project(tmp_path, 120, grouped))).split.dev_shots
    folds = own_models._folds(rows, 7)
    assert set(folds) == {row.group for row in rows} and set(folds.values()) == set(range(FOLDS))
    for label in LABELS:
        sources = {row.group or "": row.answer for row in rows}
        counts = [
            sum(folds[one] == fold for one, answer in sources.items() if answer == label) for fold in range(FOLDS)
        ]
        assert max(counts) - min(counts) <= 1


def test_the_source_of_a_case_reaches_the_model_and_changes_no_key(tmp_path: Path) -> None:
    request = Request(messages=({"role": "user", "content": "x"},))
    assert outgoing(request) == outgoing(replace(request, source="g1"))

    async def run() -> int:
        async with open_session(load(project(tmp_path))) as session:
            models = Models(session.project)
            providers = add_classical_models(models, session.task, session.pool, 7)
            sources = []
            provider = providers["nearest"]
            complete = provider.complete

            async def noted(request: Request) -> Any:
                sources.append(request.source)
                return await complete(request)

            provider.complete = noted  # type: ignore[method-assign]
            proposal = await ClassicalRung().propose(view_of(session, best=None, n_dev=80))
            variant = next(one for one in proposal.candidates if one.model == f"{PREFIX}nearest")
            await session.runner.run(variant, models[f"{PREFIX}nearest"], session.split.dev)
            return len(set(sources) - {case.source for case in session.split.dev}) + (not sources)

    assert asyncio.run(run()) == 0


def test_rungs_that_need_examples_are_planned(tmp_path: Path) -> None:
    data = read_data(load(project(tmp_path)))
    planned = rungs_with_comparisons(load(tmp_path), data.split, data.task)
    assert {"classical", "few_shot"} <= set(planned)


def test_cases_of_one_source_alone_are_no_examples(tmp_path: Path) -> None:
    assert all(
        isinstance(row, Example) and row.source == DEV for row in read_data(load(project(tmp_path))).split.dev_shots
    )
    cases = [Case(id=f"c{i}", input=f"q {i}", expected="red", group="g") for i in range(5)]
    assert _dev_shots(cases) == ()
    assert len(_dev_shots([*cases, Case(id="x", input="y", expected="red")])) == 6


def test_the_module_that_fits_is_the_one_that_is_replaced_above() -> None:
    assert own_models.fit is classical.fit


def test_a_stored_split_has_the_same_dev_shots_and_says_so_once(tmp_path: Path) -> None:
    first = read_data(load(project(tmp_path, examples=30))).split
    Folder(tmp_path).write("split", first.stored())
    again = read_data(load(tmp_path)).split
    assert (again.dev_shots, again.reasons) == (first.dev_shots, first.reasons)
