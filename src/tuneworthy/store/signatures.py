"""Who measured something: signatures with the user's key, and the keys of others that the user accepts.

    $XDG_CONFIG_HOME/tuneworthy/key              32 random bytes, made at first use, for their owner only
    $XDG_CONFIG_HOME/tuneworthy/allowed_signers  NAME KEY, one a line; `#` begins a comment

A signed text ends with a line break and a mark: the public key (64 hex digits), its Ed25519 signature (128) and a seal
(64), which is a hash keyed with the user's own key. The seal says that this user measured or accepted the text; it
takes 3 us to check, a signature 120 us.

Without a configuration folder that can be written there is no key: answers can be read, and nothing can be signed.
"""

import os
import re
from contextlib import suppress
from functools import cached_property
from hashlib import blake2b
from hmac import compare_digest
from pathlib import Path
from secrets import token_bytes
from tempfile import NamedTemporaryFile
from typing import Any

import orjson

from tuneworthy.errors import UserError, join_sentences
from tuneworthy.input_files import read_input
from tuneworthy.redaction import redact_json
from tuneworthy.text import count
from tuneworthy.trust import trust_file
from tuneworthy.types import JsonMapping, JsonObject, NamedInts, canonical

# Path of the key, for CI.
VARIABLE = "TUNEWORTHY_KEY"
UNSIGNED = "no valid signature"
# Ends of the public key and of the signature in a mark.
_KEY, _SIGNATURE = 64, 192
_HEX = re.compile(f"[0-9a-f]{{{_KEY}}}")


class MeasuredElsewhere(UserError):
    """Stored answers lack a signature that the user accepts; `origins` has their numbers by key."""

    error_code = "E-STORE-03"

    def __init__(self, origins: NamedInts) -> None:
        n, listed = sum(origins.values()), ", ".join(f"{origin} (n = {n})" for origin, n in sorted(origins.items()))
        super().__init__(
            f"{count(n, 'stored answer was', 'stored answers were')} measured elsewhere. Signed by: {listed}.",
            hint=join_sentences(
                "If you trust their source, run `tuneworthy doctor --accept KEY`." if {*origins} - {UNSIGNED} else "",
                "To measure them again and pay for that, run `tuneworthy doctor --remeasure`.",
            ),
        )


class Keyring:
    """The user's key, and the names of accepted keys.

    Raises:
        UserError: The key cannot be used.
    """

    def __init__(self) -> None:
        self._seed, self._accepted = _read_key(), set[str]()
        with suppress(OSError, RuntimeError):
            lines = (path := trust_file().with_name("allowed_signers")).read_text("utf-8", "replace").splitlines()
            parts = [line.partition("#")[0].split() for line in lines]
            bad = [n for n, one in enumerate(parts, 1) if one and not (one[1:] and _HEX.fullmatch(one[-1]))]
            if bad:
                raise UserError(f"{path}:{bad[0]}: expected NAME KEY, with a key of {_KEY} lowercase hex digits.")
            self._accepted = {one[-1] for one in parts if one}

    @cached_property
    def _private(self) -> Any:
        if self._seed is None:
            raise UserError(
                "Your configuration folder cannot be written, so it has no key that signs answers.",
                hint="Set XDG_CONFIG_HOME to a folder that can be written. Later commands need the same folder.",
            )
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # takes 16 ms

        return Ed25519PrivateKey.from_private_bytes(self._seed)

    @cached_property
    def key(self) -> str:
        """The public key; "" without one."""
        return str(self._private.public_key().public_bytes_raw().hex()) if self._seed else ""

    def signed(self, text: bytes, *columns: object) -> bytes:
        """Return `text`, which has no line break, with a mark that is valid only next to `columns`."""
        content = repr((text, columns)).encode()
        return b"%s\n%s" % (text, f"{self.key}{self._private.sign(content).hex()}{self._seal(content)}".encode())

    def sealed(self, signed: object, *columns: object) -> bytes:
        """Return a signed text with the seal of this user."""
        text, mark = parts_of(signed)
        return b"%s\n%s%s" % (text, mark[:_SIGNATURE], self._seal(repr((text, columns)).encode()).encode())

    def origin(self, signed: object, *columns: object) -> str:
        """Return "" if this user measured or accepts a text; else the key that signed it, or `UNSIGNED`."""
        text, mark = parts_of(signed)
        content = repr((text, columns)).encode()
        if compare_digest(mark[_SIGNATURE:], self._seal(content).encode()):
            return ""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            signer, signature = mark[:_KEY].decode(), bytes.fromhex(mark[_KEY:_SIGNATURE].decode())
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer)).verify(signature, content)
        except (InvalidSignature, ValueError):
            return UNSIGNED
        return "" if signer in self._accepted or signer == self.key else signer

    def _seal(self, content: bytes) -> str:
        return blake2b(content, key=self._seed or token_bytes(32), digest_size=32).hexdigest()


def signed_document(document: JsonMapping) -> JsonObject:
    """Return a JSON document with a mark, without any key that was read."""
    plain = orjson.loads(redact_json(orjson.dumps(document)))
    return {**plain, "mark": parts_of(Keyring().signed(canonical(plain)))[1].decode()}


def document_origin(document: JsonMapping) -> str:
    """Return "" if this user made a document or accepts it; else the key that signed it, or `UNSIGNED`."""
    plain = {name: value for name, value in document.items() if name != "mark"}
    return Keyring().origin(b"%s\n%s" % (canonical(plain), str(document.get("mark")).encode()))


def parts_of(signed: object) -> tuple[bytes, bytes]:
    """Return the text and the mark; a column that was edited may have any type."""
    text, _, mark = (signed if isinstance(signed, bytes) else str(signed).encode("utf-8", "replace")).partition(b"\n")
    return text, mark


def _read_key() -> bytes | None:
    """Return the user's key, made if need be; None if it cannot be stored."""
    try:
        path = Path(os.environ.get(VARIABLE) or trust_file().with_name("key"))
        if not (os.environ.get(VARIABLE) or path.exists()):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=path.parent) as file, suppress(FileExistsError):
                file.write(token_bytes(32))
                file.flush()
                os.link(file.name, path)  # unless another process has just made one
        seed = read_input(path)
    except (OSError, RuntimeError) as error:  # no home folder, or one that cannot be written
        if os.environ.get(VARIABLE):
            raise UserError(
                f"The key file in {VARIABLE} cannot be used: {error}.",
                hint="Check the path. `~/.config/tuneworthy/key` is made by the first command without this variable.",
            ) from None
        return None
    if len(seed) != 32:
        raise UserError(f"{path} is not a key of 32 bytes.", hint="Move the file away. The next command makes a key.")
    return seed
