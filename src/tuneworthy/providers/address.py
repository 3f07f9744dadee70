"""Addresses of servers, as the project file names them: they are shown and stored, so none may hold a secret."""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qsl, urlsplit

from tuneworthy.errors import UserError
from tuneworthy.providers.keys import Key

_SECRET_NAMES = frozenset(
    {"access_token", "api-key", "api_key", "apikey", "auth", "code", "key", "password", "secret", "sig", "signature",
     "subscription-key", "token"}
)  # fmt: skip


def check_address(url: str, key: Key | None = None) -> SplitResult:
    """Return the parts of an address that may be asked and shown.

    Args:
        url: Of the project file. key: Cut out of the message.

    Raises:
        UserError: It is no http or https address, or it holds a secret.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if parts.username or parts.password:
        raise UserError(f"expected no user name or password in the address of {parts.hostname}, got one",
                        hint="put the key into an environment variable and name it in api_key_env")  # fmt: skip
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        shown = (key or Key(None)).redact(url.rpartition("@")[2])
        raise UserError(f"expected an http or https address, got {shown!r}", hint="mend base_url or url")
    if secret := _SECRET_NAMES.intersection(name.lower() for name, _ in parse_qsl(parts.query)):
        raise UserError(f"expected no key in the address of {parts.hostname}, got {', '.join(secret)}=...",
                        hint="put the key into an environment variable and name it in api_key_env")  # fmt: skip
    return parts
