"""Addresses of servers, as the project file names them: they are shown and stored, so none may hold a secret."""

from urllib.parse import SplitResult, parse_qsl, urlsplit

from tuneworthy.errors import UserError
from tuneworthy.providers import messages
from tuneworthy.providers.keys import Key

_SECRET_NAMES = frozenset(
    {"access_token", "api-key", "api_key", "apikey", "auth", "code", "key", "password", "secret", "sig", "signature",
     "subscription-key", "token"}
)  # fmt: skip


def check_address(url: str, key: Key | None = None) -> SplitResult:
    """Return the parts of an address that may be used and shown.

    Args:
        url: Of the project file.
        key: Cut out of the message.

    Raises:
        UserError: It is not an http or https address, or it holds a secret.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if parts.username or parts.password:
        raise UserError(messages.say("password_in_address", host=parts.hostname), hint=messages.say("use_key_variable"))
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UserError(
            messages.say("not_an_address", address=(key or Key(None)).redact(url.rpartition("@")[2])),
            hint=messages.say("fix_address"),
        )
    if secret := _SECRET_NAMES.intersection(name.lower() for name, _ in parse_qsl(parts.query)):
        raise UserError(
            messages.say("key_in_address", host=parts.hostname, names=", ".join(secret)),
            hint=messages.say("use_key_variable"),
        )
    return parts
