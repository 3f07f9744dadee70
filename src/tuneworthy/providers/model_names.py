"""`PROVIDER:NAME`, as a person names a model on the command line, to its section of the project file.

`openai:NAME@URL` names a model of any server that speaks the protocol.
"""

import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tuneworthy.errors import UnknownName, UserError
from tuneworthy.trust import LOOPBACK, origin_of
from tuneworthy.types import JsonMapping, frozen, positional

MODEL_FORM = "Write PROVIDER:NAME, for example openai:gpt-6-luna, or openai:NAME@URL for another server."


@positional
class Vendor:
    """Where the models of a provider are called.

    Attributes:
        provider: Provider of the project file.
        url: Address of the server, where it is not the provider's own default.
        key: Environment variable that holds the key.
        url_variable: Environment variable with which the vendor's own SDK changes the address.
    """

    provider: str
    url: str = ""
    key: str = ""
    url_variable: str = ""


VENDORS = {
    "openai": Vendor("openai", key="OPENAI_API_KEY", url_variable="OPENAI_BASE_URL"),
    "anthropic": Vendor("anthropic", key="ANTHROPIC_API_KEY", url_variable="ANTHROPIC_BASE_URL"),
    "gemini": Vendor("openai", url="https://generativelanguage.googleapis.com/v1beta/openai", key="GEMINI_API_KEY"),
    "ollama": Vendor("openai", url="http://localhost:11434/v1"),
    "vllm": Vendor("vllm", url="http://127.0.0.1:8000/v1"),
    "llama_cpp": Vendor("llama_cpp"),
    "http": Vendor("http"),
}
_NAME_AT_URL = re.compile(r"(.+)@(https?://.+)")


@frozen
class NamedModel:
    """A model as the project file has it.

    Attributes:
        name: Its key in `[models]`.
        section: Keys and values of its section.
        label: The model as it was named, without the provider.
    """

    name: str
    section: JsonMapping
    label: str


def read_model_name(text: str) -> NamedModel:
    """Return the section that `text` names.

    Args:
        text: `PROVIDER:NAME`, `PROVIDER:NAME@URL`, or the address of a pipeline (`http://...`).

    Raises:
        UserError: The provider is unknown, the name is missing, or it cannot be written into a project file.
    """
    if not text.isprintable():
        raise UserError(f"{text!r} holds a character that cannot be printed.", hint=MODEL_FORM)
    vendor_name, _, label = text.partition(":")
    if label.startswith("//"):
        vendor_name, label = "http", text
    if vendor_name == text:
        raise UserError(f"{text!r} names no provider.", hint=MODEL_FORM)
    if vendor_name not in VENDORS:
        raise UnknownName("provider", vendor_name, VENDORS)
    if not label:
        raise UserError(f"{text!r} names no model.", hint=MODEL_FORM)
    vendor = VENDORS[vendor_name]
    section = {"provider": vendor.provider}
    url = ""
    if vendor.provider == "http":
        section["url"] = url = label
    elif vendor.provider in {"openai", "anthropic", "vllm"}:
        at = _NAME_AT_URL.fullmatch(label)
        label, url = at.groups() if at else (label, vendor.url or os.environ.get(vendor.url_variable, ""))
        section |= {"model": label} | ({"base_url": url} if url else {})
        if urlsplit(origin_of(url)).hostname not in LOOPBACK:  # over plain HTTP everyone on the way could read the key
            section["api_key_env"] = vendor.key if not url or url.startswith("https:") else ""
    else:
        section["model"] = _local(label)
    if url and not origin_of(url):
        raise UserError(f"{text!r} has no valid address.", hint=MODEL_FORM)
    short = label.partition("//")[2] if vendor.provider == "http" else Path(label.removeprefix("pypi:")).name
    return NamedModel(
        name=re.sub(r"[^A-Za-z0-9_]+", "-", short).strip("-") or vendor_name, section=section, label=label
    )


def _local(label: str) -> str:
    if label.startswith(("pypi:", "hf:")):
        return label
    with suppress(RuntimeError):  # there is no such user
        return str(Path(label).expanduser().resolve())
    return label
