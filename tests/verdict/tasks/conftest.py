"""Hand-made tasks share cases and examples: the classifier that votes on their labels is trained once for each set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from tuneworthy.verdict import label_votes


@pytest.fixture(autouse=True, scope="session")
def remembered_votes() -> Iterator[None]:
    results: dict[str, Any] = {}
    train = label_votes._out_of_fold

    def remembered(rows: Any, folds: Any, column: Any, seed: int) -> Any:
        key = repr((rows, folds.tolist(), column, seed))
        if key not in results:
            results[key] = train(rows, folds, column, seed)
        return results[key]

    with mock.patch.object(label_votes, "_out_of_fold", remembered):
        yield
