"""Each class of hostile inputs has a test that switches its guard off."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.table import GUARDS, tried


@pytest.mark.parametrize("kind", GUARDS)
def test_each_class_has_a_test_of_its_guard(kind: str) -> None:
    file, _, name = GUARDS[kind].partition(": ")
    assert f"def test_{name}(" in Path(__file__).with_name(f"test_{file}.py").read_text()


def test_a_class_without_one_is_refused() -> None:
    with pytest.raises(AssertionError, match="no test switches its guard off"):
        tried("new class", "input", survived=True)
