"""Addresses of servers, as the project file names them: they are shown and stored, so they must have no secret."""

import re
import socket
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from yarl import URL

from tuneworthy.errors import UserError
from tuneworthy.providers.keys import Key
from tuneworthy.redaction import LOOKS_LIKE_A_KEY, redact

USE_VARIABLE = "Put the key in an environment variable and set api_key_env to its name."
FIX_ADDRESS = "Fix base_url or url in the project file."
_SECRET_NAME = re.compile(
    r"key(\d|[_-]\w{1,3})*$|token\d*$|secret|passw|passphrase|credential|auth(orization)?$|^code$|^sig$|signature",
    re.IGNORECASE,
)
# Where the path has a segment that no version or model has: long, with letters and digits.
_SECRET_SEGMENT = re.compile(r"(?=[^/]*\d)(?=[^/]*[A-Za-z])[\w-]{40,}")


def check_address(url: str, key: Key | None = None) -> SplitResult:
    """Return the parts of an address that may be used and shown.

    Args:
        url: Of the project file.
        key: Cut out of the message.

    Raises:
        UserError: It is not an http or https address, its host is not in ASCII letters, or it holds a secret.
    """
    try:
        parts, host = urlsplit(url), URL(url).host  # aiohttp reads it as yarl does
    except ValueError:
        parts, host = SplitResult("", "", "", "", ""), None
    if parts.username or parts.password:
        raise UserError(f"The URL of {parts.hostname} contains a user name or a password.", hint=USE_VARIABLE)
    if parts.scheme not in {"http", "https"} or not host or not parts.netloc.isascii():
        raise UserError(
            f"{(key or Key(None)).redact(url.rpartition('@')[2])!r} is not an http or https URL.",
            hint=FIX_ADDRESS,
        )
    secret = [name for name, value in parse_qsl(parts.query, keep_blank_values=True) if _secret(value, name)]
    secret += ["path" for segment in parts.path.split("/") if _secret(unquote(segment))]
    if secret:
        raise UserError(
            f"The URL of {parts.hostname} contains a key ({', '.join(secret)}).",
            hint=USE_VARIABLE,
        )
    return parts


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _secret(value: str, name: str = "") -> bool:
    return bool(
        _SECRET_NAME.search(name)
        or _SECRET_SEGMENT.fullmatch(value)
        or LOOKS_LIKE_A_KEY.fullmatch(value)
        or redact(value) != value
    )
