"""Stored JSON against the shape that its reader needs: the one place where a damaged file is noticed.

Invariant: a document has the requested shape, or the error names the file, the line (or row) and
the key. No reader has to expect anything else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import orjson
from typing_extensions import TypedDict

from tuneworthy.errors import UserError

T = TypeVar("T")
ANOTHER_VERSION = "was written by another version of tuneworthy"


class OpenRecord(TypedDict):
    """Base of shapes that name the keys a reader cannot do without; all other keys stay as they are."""

    __pydantic_config__ = {"extra": "allow"}  # type: ignore[misc]  # noqa: RUF012


@dataclass(frozen=True)
class Pointer:
    """The record that names the latest of something."""

    id: str


def bundled(package: str, name: str, shape: type[T]) -> T:
    """Return a JSON table of the package `package` as `shape`."""
    return parsed(files(package).joinpath(name).read_bytes(), shape, name)


def bundled_rows(package: str, name: str, key: str, shape: type[T]) -> list[T]:
    """Return the rows below `key` of a JSON table of a package."""
    return [shaped(row, shape, name) for row in bundled(package, name, dict[str, Any])[key]]


def parsed(content: bytes | str, shape: type[T], where: object) -> T:
    """Return the JSON text `content` as `shape`.

    Args:
        content: UTF-8 text.
        shape: A dataclass, a `TypedDict` or another type that pydantic validates.
        where: File, and line or row if it has any.

    Raises:
        UserError: It is not JSON, has another shape, or was written by another version.
    """
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise DamagedRecord(f"{where} is not valid JSON: {error}.") from None
    return shaped(document, shape, where)


def shaped(document: Any, shape: type[T], where: object) -> T:
    """Return plain data as `shape` (see `parsed`)."""
    try:
        value: T = _validator(shape)(document)  # type: ignore[arg-type]
    except (ValueError, RecursionError) as error:  # pydantic's error is a ValueError, and is not imported for this
        errors = error.errors() if hasattr(error, "errors") else [{"loc": (), "msg": str(error)}]
        for one in errors:
            if one["loc"][-1:] == ("schema_version",):
                raise OtherVersion(f"{where} {ANOTHER_VERSION} ({one['msg']}).") from None
        first = errors[0]
        place = ".".join(map(str, first["loc"])) or "the whole record"
        raise DamagedRecord(f"{where} is damaged ({place}: {first['msg']}).") from None
    return value


class DamagedRecord(UserError):
    """A file or row of the store cannot be used; the rest can."""

    error_code = "E-STORE-01"

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            hint=(
                "Run `tuneworthy doctor` to see the consequences of the damage. Run `tuneworthy doctor --repair` to "
                "move the damaged file out of the way."
            ),
        )


class OtherVersion(UserError):
    """A file of the store has the schema of another version; it is not damaged."""

    error_code = "E-STORE-02"

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="Use that version, or create the file again with this one.")


@cache
def _validator(shape: Any) -> Callable[[Any], Any]:
    from pydantic import TypeAdapter  # only where a record is read

    return TypeAdapter[Any](shape).validate_python
