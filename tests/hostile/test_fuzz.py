"""A minute of `make fuzz`, and a planted fault that it finds."""

from __future__ import annotations

import pytest
from scripts import fuzz


@pytest.mark.slow
def test_a_minute_of_odd_bytes_ends_in_no_traceback() -> None:
    assert fuzz.fuzz(60.0) > 0


def test_a_reader_that_raises_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: object) -> None:
        raise KeyError(path)

    monkeypatch.setattr(fuzz, "READERS", (broken,))
    with pytest.raises(KeyError):
        fuzz.fuzz(60.0)
