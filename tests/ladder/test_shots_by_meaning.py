"""Shots that a sentence encoder chooses for each case: where they are asked for, and where there is an encoder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.ladder.simulations import write_simulation
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.rung import Proposal, TaskInfo, View
from tuneworthy.ladder.rungs.few_shot import FewShotRung
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.types import Case, Example, Variant

BEST = Variant(name="baseline/weak", model="weak", model_identity={}, system=None, user="{{ input }}")


class Colours:
    """Encodes a text by whether it speaks of red."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, 2) rows."""
        return np.array([[1, 0] if {"red", "crimson"} & set(text.split()) else [0, 1] for text in texts], np.float32)


def examples(*questions: str) -> list[Example]:
    """Examples named a, b, c, ..."""
    return [
        Example(id=chr(97 + i), messages=({"role": "user", "content": text}, {"role": "assistant", "content": "x"}))
        for i, text in enumerate(questions)
    ]


def test_the_nearest_in_meaning_need_not_share_a_word() -> None:
    rows = examples("my crimson hat", "the thing of the sea", "a thing of the sky")
    pool, case = ShotPool(rows, lambda _: Colours()), Case(id="1", input="the red thing of the sea", expected="x")
    by_words, by_meaning = pool.per_case(1), pool.per_case(1, "colours")
    assert [one.id for one in pool.select(by_words, [case])["1"]] == ["b"]
    assert [one.id for one in pool.select(by_meaning, [case])["1"]] == ["a"]
    assert [one.id for one in pool.select(pool.per_case(2, "colours"), [case])["1"]] == ["b", "a"]
    assert replace(BEST, shots=by_words).id != replace(BEST, shots=by_meaning).id
    with pytest.raises(UserError, match="colours"):
        ShotPool(rows).select(by_meaning, [case])


def proposed(root: Path, settings: str) -> Proposal:
    """What the rung proposes with 2 shots under `settings` of [few_shot]."""
    project = load(write_simulation(root, {"weak": "'x'"}, extra=f"[few_shot]\nk = [2]\n{settings}"))
    models: Any = {"weak": SimpleNamespace(provider=SimpleNamespace(supports=frozenset({"free"})))}
    view = View(
        project=project,
        task=TaskInfo(kind="free_text"),
        pool=ShotPool(examples("one", "two", "three")),
        models=models,
        library=None,
        best=BEST,
        n_dev=80,
    )
    return asyncio.run(FewShotRung().propose(view))


@pytest.mark.parametrize("torch", [True, False])
def test_where_it_is_asked_for_there_are_candidates_or_the_reason_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch: bool
) -> None:
    monkeypatch.setattr("tuneworthy.ladder.rungs.few_shot.find_spec", lambda _: object() if torch else None)
    proposal = proposed(tmp_path, "encoder = true")
    names = [variant.name for variant in proposal.candidates]
    assert ("few_shot/by_meaning-2" in names) is torch
    assert any("torch is not installed" in note for note in proposal.notes) is not torch


def test_without_shots_per_case_every_case_gets_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.ladder.rungs.few_shot.find_spec", lambda _: object())
    fixed, both = (proposed(tmp_path, f"per_case = {value}\nencoder = true") for value in ("false", "true"))
    assert [variant.name for variant in fixed.candidates] == ["few_shot/fixed-2"] and not fixed.notes
    assert both.candidates[0].name == "few_shot/per_case-2" and "few_shot/fixed-2" in [
        one.name for one in both.candidates
    ]
