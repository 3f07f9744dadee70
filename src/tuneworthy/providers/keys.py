"""API keys: read from the environment only, bound to one server, never shown, and cut out of every message by value."""

import os
from pathlib import Path

from tuneworthy.errors import AuthError
from tuneworthy.redaction import HIDDEN, LOOKS_LIKE_A_KEY, redact, remember
from tuneworthy.trust import key_grant, origin_of, require, server_grant


class Key:
    """A secret that is shown only by `reveal`.

    Args:
        value: The key, or "" for no key.
        origin: Scheme, host and port of the only server that may get it; None for a key that was made here.
    """

    __slots__ = ("_value", "origin")

    def __init__(self, value: str | None, origin: str | None = None) -> None:
        self._value, self.origin = value or "", origin

    def __repr__(self) -> str:
        return f"Key({HIDDEN})" if self._value else "Key(none)"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a Key is never pickled")

    def reveal(self) -> str:
        return self._value

    def redact(self, text: str) -> str:
        if self._value:
            text = text.replace(self._value, HIDDEN)
        return LOOKS_LIKE_A_KEY.sub(HIDDEN, redact(text))


def read_key(
    variable: str | None, *, url: str, root: Path, owner: str, required: bool = True, any_path: bool = False
) -> Key:
    """Read the key in the environment variable `variable`, for one server.

    Args:
        variable: Its name; None if the server takes no key.
        url: Address of the server; the key goes to no other.
        root: The folder of the project that asks for it.
        owner: The model it is for, for the message, e.g. `models.strong`.
        required: Whether to fail without one.
        any_path: Whether the project file sets the whole path of requests.

    Raises:
        AuthError: It is required and not set, or it holds a character that no header may hold.
        Untrusted: The project may not call this server, or not send this key there.
    """
    require(root, server_grant(url, any_path=any_path))
    if variable is None:
        return Key(None)
    value = os.environ.get(variable, "").strip()
    if not value and required:
        raise AuthError(
            f"{owner}: the environment variable {variable} contains no API key.",
            hint=f"Run `export {variable}=...`, or set api_key_env to the variable that contains the key.",
        )
    if not value.isascii() or not value.isprintable():
        raise AuthError(
            (
                f"{owner}: the environment variable {variable} contains characters that are not allowed in an HTTP "
                "header."
            ),
            hint="Copy the key again.",
        )
    if value:
        require(root, key_grant(variable, url))
        remember(value)
    return Key(value, origin_of(url))
