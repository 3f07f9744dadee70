"""Lets all slots of llama.cpp share the beginning of a prompt that was read once.

llama.cpp reuses what a slot holds already, but each slot has to read a few-shot prefix itself: with 8 slots, 8
times. Here the second request with a known beginning reads it, its state is saved once and restored into all
idle slots (a copy in memory: 2 ms for 600 tokens of a 135M model against seconds of reading).

Invariant: answers do not depend on this; when any step fails, requests go on without it.

Source: llama.cpp tools/server/README.md (`/slots/{id}?action=save|restore`); server-context.cpp
(`get_available_slot` picks the slot with the longest common beginning).
"""

import asyncio
import os
import secrets
import stat
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tuneworthy.errors import ProviderError
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.providers.keys import Key
from tuneworthy.types import Request, content_hash

# A shorter beginning is read as fast as it is copied.
MIN_CHARACTERS = 800
_MEMORY = Path("/dev/shm")
# Beginnings that are remembered.
MAX_BEGINNINGS = 256


class SharedPrefix:
    """Spreads each shared beginning over the slots of one engine, once.

    Args:
        address: Of the server, without a path.
        api_key: Its key.
        slots: How many it has.
        folder: Where the server saves a slot's state (its `slot_save_path`).
        timeout_s: Limit of all steps together, seconds.
    """

    def __init__(self, *, address: str, api_key: str, slots: int, folder: Path, timeout_s: float) -> None:
        self._address, self._key, self._slots, self._folder = address, Key(api_key), slots, folder
        self._timeout_s = timeout_s
        self._beginnings: OrderedDict[str, str] = (
            OrderedDict()
        )  # beginning -> what came after it first, or "" once spread
        self._lock = asyncio.Lock()
        self.spread = 0

    def bind(self) -> None:
        """Serve a new event loop."""
        self._lock = asyncio.Lock()

    async def prepare(self, request: Request, write: Callable[[Request], tuple[dict[str, Any], Any]]) -> None:
        """Before `request` is sent: spread its beginning if another request had it before.

        Requests with a beginning that is being spread wait; those with nothing to share pass, and so do repeats: the
        slot that the first one left holds all they need.

        Args:
            request: What is about to be sent.
            write: Makes its body (`OpenAIProvider.body`).
        """
        key = beginning(request)
        if key is None or self._slots == 1:
            return
        rest = content_hash(request.messages[-1])
        if self._beginnings.setdefault(key, rest) in {rest, ""}:
            while len(self._beginnings) > MAX_BEGINNINGS:
                self._beginnings.popitem(last=False)
            return
        async with self._lock:
            if not self._beginnings.get(key):
                return
            # On a fault the request goes on: it meets the same fault itself, or does without.
            with suppress(ProviderError, TimeoutError, OSError, KeyError, TypeError, ValueError):
                async with asyncio.timeout(self._timeout_s):
                    await self._spread(write(request)[0])
            self._beginnings[key] = ""

    async def _spread(self, body: Mapping[str, Any]) -> None:
        async with HttpClient(self._address, key=self._key, timeout_s=self._timeout_s) as client:
            idle = await _idle(client)
            if len(idle) < 2:
                return
            source = idle[0]
            await client.post({**body, "max_tokens": 1, "id_slot": source}, "v1/chat/completions")
            name = f"{secrets.token_hex(8)}.bin"
            try:
                await client.post({"filename": name}, f"slots/{source}?action=save")
                others = [slot for slot in await _idle(client) if slot != source]
                for slot in others:
                    await client.post({"filename": name}, f"slots/{slot}?action=restore")
                self.spread += len(others)
            finally:
                (self._folder / name).unlink(missing_ok=True)


def state_folder() -> Path:
    """Return a folder in memory (where there is one) that only this user can read; a file lives there for ms.

    One folder for all engines: nothing is left behind by a process that is killed.
    """
    base = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    folder = base / f"tuneworthy-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="tuneworthy-"))  # somebody else made it


def beginning(request: Request) -> str | None:
    """Return a key of all messages but the last, and the tools; None if they are too short to matter."""
    before = request.messages[:-1]
    if sum(len(str(message.get("content") or "")) for message in before) < MIN_CHARACTERS:
        return None
    return content_hash([list(before), list(request.tools)])


async def _idle(client: HttpClient) -> list[int]:
    return [slot["id"] for slot in await client.get("slots") if not slot["is_processing"]]
