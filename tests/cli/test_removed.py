"""Removed options and choices are refused by name, with their replacement."""

import pytest

from tuneworthy.cli import invoke
from tuneworthy.cli.usage import REMOVED


@pytest.mark.parametrize("place", REMOVED)
def test_a_removed_option_or_choice_is_refused_with_its_replacement(
    place: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    command, *arguments = place
    assert invoke([*command.split(), *arguments]) == 2
    assert REMOVED[place] in " ".join(capsys.readouterr().err.split())
