"""What every section of the project file is: typed, closed to unknown keys, immutable."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A table of the project file; validators are built when the first file is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
