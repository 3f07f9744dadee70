"""Removed options and choices are refused by name, with their replacement."""

from importlib.resources import files

import orjson
import pytest

from tuneworthy.cli import invoke

HINTS = orjson.loads(files("tuneworthy.cli").joinpath("removed.json").read_bytes())


@pytest.mark.parametrize(("place", "hint"), [(place, hint) for hint, places in HINTS.items() for place in places])
def test_a_removed_option_or_choice_is_refused_with_its_replacement(
    place: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(place.split()) == 2
    assert hint in " ".join(capsys.readouterr().err.split())
