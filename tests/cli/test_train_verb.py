"""`tuneworthy train`: what a person sees of the rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tuneworthy.cli.train import _show_rows
from tuneworthy.train.render import Rendered, TokenRow


def test_what_cannot_be_seen_in_a_row_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    row = [("<user>\x1b[2J\x1b]0;title\x07 two  spaces\n", False), ("yes\u202e<end>", True)]
    prepared: Any = SimpleNamespace(shown=[row], rendered=Rendered([TokenRow("a", [1, 2], [0, 1])], {}, 0, ""))
    _show_rows(prepared)
    told = capsys.readouterr().err
    assert "<user>\\x1b[2J\\x1b]0;title\\x07 two  spaces\n  ⟦yes\\u202e<end>⟧" in told
    assert "1 rows, 2 tokens, 50.0% supervised" in told
