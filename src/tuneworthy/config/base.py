"""What every section of the project file is: typed, closed to unknown keys, immutable."""

from typing import Annotated, Any, Final

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A table of the project file; validators are built when the first file is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


Share = Annotated[float, Field(ge=0, le=1)]
Chance = Annotated[float, Field(gt=0, le=1)]
# No amount, number of requests or time is above it: products of several stay finite.
_MOST: Final = 1e15
Positive = Annotated[float, Field(gt=0, lt=_MOST)]
NonNegative = Annotated[float, Field(ge=0, lt=_MOST)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
# Of the libraries that draw with it.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _sendable(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value` if JSON can say it: no date, no `nan`, no number above 64 bits."""
    try:
        same = orjson.loads(orjson.dumps(value)) == value
    except TypeError:
        same = False
    if not same:
        raise ValueError("Sampling parameters are texts, finite numbers, booleans, and lists and tables of them.")
    return value


# Sampling parameters, which are sent as JSON.
Parameters = Annotated[dict[str, Any], AfterValidator(_sendable)]
