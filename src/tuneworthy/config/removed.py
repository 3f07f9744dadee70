"""Keys that the project file no longer takes, and their replacements, by `removed.json`."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

import orjson

# Section and key (without the place in a list or the name of a model), or tag and value, to the replacement.
REMOVED: Final[Mapping[str, str]] = {
    key: hint
    for hint, keys in orjson.loads(files(__package__).joinpath("removed.json").read_bytes()).items()
    for key in keys
}


def replacement(location: list[str | int]) -> str:
    """Return the replacement of a removed key; "" for a key that was never there.

    Args:
        location: Steps from the top of the file to the key.
    """
    names = [str(step) for step in location if isinstance(step, str)]
    return REMOVED.get(f"{names[0]}.{names[-1]}", "") or REMOVED.get(".".join(names[-2:]), "")
