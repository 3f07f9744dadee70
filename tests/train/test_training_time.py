"""How long training is expected to take: for the project's own base, on the device at hand, or not known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.train.shapes import LLAMA_8B, SMOLLM2_135M
from tests.train.test_rows import TOML, frozen, project
from tuneworthy.config import load
from tuneworthy.train.plan import Expected, expect


def expected(
    root: Path, shape: dict[str, Any] | None = None, settings: str = "", n_rows: int = 1000
) -> Expected | None:
    (root / "tuneworthy.toml").write_text(f'{TOML}[train]\nbase = "small"\n{settings}')
    if shape is not None:
        (root / "small").mkdir(exist_ok=True)
        (root / "small" / "config.json").write_text(json.dumps(shape))
    return expect(load(root), n_rows)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    frozen(project(tmp_path), 240)
    return tmp_path


def test_a_card_takes_longer_for_a_larger_base_and_for_more_rows(root: Path) -> None:
    card = "gpu_memory_gib = 24\n"
    small, large = expected(root, SMOLLM2_135M, card), expected(root, LLAMA_8B, card)
    assert small is not None and large is not None
    assert (small.base, small.device) == ("small", "cuda")
    assert small.duration.high < 60 and large.duration.high > 20 * small.duration.high
    twice = expected(root, LLAMA_8B, card, n_rows=2000)
    assert twice is not None and twice.duration.high == pytest.approx(2 * large.duration.high, rel=0.01)
    one_epoch = expected(root, LLAMA_8B, f"{card}epochs = 1\n")
    assert one_epoch is not None and one_epoch.duration.high == pytest.approx(large.duration.high / 3, rel=0.01)


def test_ten_trainings_of_a_small_base_take_minutes_on_two_cores(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.train.plan._gpu_gib", lambda: None)
    monkeypatch.setattr("tuneworthy.train.plan.measure_products", lambda dtype: 977e9)  # two cores, when alone
    found = expected(root, SMOLLM2_135M, n_rows=2870)
    assert found is not None and found.device == "cpu"
    assert 2 * 60 < found.duration.low < 20 * 60 < found.duration.high < 60 * 60


def test_what_cannot_be_told_is_not_known(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert expected(root) is None, "the base is not on this machine"
    assert expected(root, {"model_type": "llama"}) is None, "its shape cannot be read"
    assert expected(root, SMOLLM2_135M, "gpu_memory_gib = 0.01\n") is None, "it does not fit"
    monkeypatch.setattr("tuneworthy.train.plan._gpu_gib", lambda: None)
    monkeypatch.setattr("tuneworthy.train.plan.measure_products", lambda dtype: None)
    assert expected(root, SMOLLM2_135M) is None, "nobody knows how fast the processor is"
