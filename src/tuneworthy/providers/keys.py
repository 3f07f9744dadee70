"""API keys: read from the environment only, never shown, and cut out of every message by value."""

import os
import re

from tuneworthy.errors import AuthError
from tuneworthy.providers import messages

HIDDEN = "[key]"
_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk|pk|rk|gsk|hf|xai|nvapi|AIza)[-_][\w*.-]{6,}|(?<=Bearer )\S+")


class Key:
    """A secret that is shown only by `reveal`.

    Args:
        value: The key, or "" for none.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | None) -> None:
        self._value = value or ""

    def __repr__(self) -> str:
        return f"Key({HIDDEN})" if self._value else "Key(none)"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a Key is never pickled")

    def reveal(self) -> str:
        """Return the key, for the header of a request only."""
        return self._value

    def redact(self, text: str) -> str:
        """Return `text` without the key, and without what looks like one (servers echo half of it)."""
        if self._value:
            text = text.replace(self._value, HIDDEN)
        return _LOOKS_LIKE_A_KEY.sub(HIDDEN, text)


def read_key(variable: str | None, *, owner: str, required: bool = True) -> Key:
    """Read the key in the environment variable `variable`.

    Args:
        variable: Its name; None if the server takes no key.
        owner: The model it is for, for the message, e.g. `models.strong`.
        required: Whether to fail without one.

    Raises:
        AuthError: It is required and not set, or it holds a character that no header may hold.
    """
    if variable is None:
        return Key(None)
    value = os.environ.get(variable, "").strip()
    if not value and required:
        raise AuthError(
            messages.say("no_key", owner=owner, variable=variable), hint=messages.say("export_key", variable=variable)
        )
    if not value.isascii() or not value.isprintable():
        raise AuthError(messages.say("odd_key", owner=owner, variable=variable), hint=messages.say("copy_key_again"))
    return Key(value)
