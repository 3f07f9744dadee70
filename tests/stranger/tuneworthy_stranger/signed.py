"""`[models.NAME] provider = "signed"`: chat completions at a vendor that wants each request signed."""

import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tuneworthy.config.models import ChatServer
from tuneworthy.providers.base import provider
from tuneworthy.providers.capabilities import capabilities_for
from tuneworthy.providers.keys import read_key
from tuneworthy.providers.openai import OpenAIProvider


class SignedSection(ChatServer):
    """The keys of a chat server; its vendor's own price table is at `vendor_hosts`."""

    protocol: ClassVar[str] = "openai"
    vendor_hosts: ClassVar[tuple[str, ...]] = ("*.vendor.example",)


@provider("signed")
def open_signed(name: str, config: SignedSection, root: Path) -> OpenAIProvider:
    key = read_key(config.key_variable, url=config.base_url, root=root, owner=f"models.{name}")

    def sign(method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        text = f"{method}\n{url}\n{headers['Content-Type']}\n".encode() + body
        return {"X-Signature": hmac.new(key.reveal().encode(), text, "sha256").hexdigest()}

    identity = {"provider": "signed", "model": config.model, "base_url": config.base_url}
    return OpenAIProvider(base_url=config.base_url, model=config.model, api_key=key, sign=sign,
                          identity=identity, capabilities=capabilities_for(config))  # fmt: skip


open_signed.section = SignedSection  # type: ignore[attr-defined]
