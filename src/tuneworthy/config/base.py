"""What every section of the project file is: typed, closed to unknown keys, immutable."""

from typing import Annotated
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tuneworthy.types import MAX_AMOUNT, JsonObject


class Section(BaseModel):
    """A table of the project file; validators are built when the first file is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, strict=True)


class Margined(Section):
    """A section of a comparison."""

    margin: float = Field(default=0.05, ge=0.0001, lt=1)
    """The smallest difference of scores that matters."""


class ModelUser(Section):
    """A section that names the model that does its work."""

    model: str
    """Key of `[models]`."""


def _readable(url: str) -> str:
    try:
        urlsplit(url).port  # noqa: B018
    except ValueError:
        raise ValueError("This is not an http or https URL.") from None
    return url


# An address that `urlsplit` can read.
Address = Annotated[str, AfterValidator(_readable)]


class KeyedServer(Section):
    """A section of a server that may want a key."""

    api_key_env: str | None = None
    """Environment variable that contains the key; keys are never written. A model without it takes the vendor's usual
    variable if it is hosted, and no key if it is local. Empty: no key is sent."""


class Timed(Section):
    """A section of calls with a time limit."""

    timeout_s: Annotated[float, Field(gt=0, lt=MAX_AMOUNT)] = 60.0
    """Limit of one attempt, seconds; 300 for models of `llama_cpp` and `vllm`."""


class FunctionSection(Section):
    """A section that names a Python function."""

    function: str = Field(pattern=r"^.+:[A-Za-z_]\w*$")
    """`file.py:name` below the project, or `package.module:name`."""


Share = Annotated[float, Field(ge=0, le=1)]
Chance = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, lt=MAX_AMOUNT)]
NonNegative = Annotated[float, Field(ge=0, lt=MAX_AMOUNT)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
# Of the libraries that draw with it.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _sendable(value: JsonObject) -> JsonObject:
    """Return `value` if JSON can say it: no date, no `nan`, no number above 64 bits."""
    try:
        same = orjson.loads(orjson.dumps(value)) == value
    except TypeError:
        same = False
    if not same:
        raise ValueError("Sampling parameters are texts, finite numbers, booleans, and lists and tables of them.")
    return value


# Sampling parameters, which are sent as JSON.
Parameters = Annotated[JsonObject, AfterValidator(_sendable)]


class Sampled(Section):
    """A section of a model that answers."""

    parameters: Parameters = {}
    """Sampling parameters as they are sent, such as `temperature`; if not set, the variant's, else the provider's
    default."""


class JudgeSettings(ModelUser):
    """A model that rates one text at a time: best of another family than the models that are judged, and able to be
    held to a choice."""

    rubric: str = ""
    """The criteria for a good answer: a text, or a `.md` or `.txt` file below the project. A grader needs one; for
    rows there is a general one."""
    mask: bool = True
    """Mask e-mail addresses, phone numbers, IBANs, cards, IP addresses and keys before the judge sees them."""
    max_tokens: Count = 256
    """Limit of the judge's answer, tokens; a model that thinks first needs more."""
