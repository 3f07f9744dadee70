"""Copies the state of a shared prompt prefix to all slots of llama.cpp, so that it is read once.

llama.cpp reuses the prefix in a slot, but each slot has to read a few-shot prefix itself: with 8 slots, 8 times. The
second request with a known prefix reads it, saves its state and restores it into the other slots (a copy: 2 ms for 600
tokens of a 135M model against seconds of reading).

Invariant: answers do not depend on this; if a step fails, requests go on without it.

Source: llama.cpp tools/server/README.md (`/slots/{id}?action=save|restore`).
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tuneworthy.errors import ProviderError
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.types import Message, Request, content_hash

# A shorter prefix is read as fast as it is copied.
MIN_CHARACTERS = 800


class SharedPrefix:
    """Copies each shared prefix to the slots of one engine, once.

    Args:
        client: Of the engine.
        slots: Number of its slots.
        folder: Its `slot_save_path`.
    """

    def __init__(self, client: HttpClient, slots: int, folder: Path) -> None:
        self._client, self._slots, self._folder = client, slots, folder
        self._first: dict[str, Message] = {}
        self._lock = asyncio.Lock()
        self.copied: set[str] = set()

    async def prepare(self, request: Request, body: Mapping[str, Any]) -> None:
        """Copy the prefix of `request` if another question had it before; requests with that prefix wait.

        Repeats of the first question pass: their slot has the whole prompt.
        """
        before, question = request.messages[:-1], request.messages[-1]
        if self._slots == 1 or sum(len(str(turn.get("content"))) for turn in before) < MIN_CHARACTERS:
            return
        key = content_hash([list(before), list(request.tools)])
        if key in self.copied or self._first.setdefault(key, question) == question:
            return
        async with self._lock:
            if key not in self.copied:
                with suppress(ProviderError, OSError):  # the request meets the same fault itself, or does without
                    await self._copy(body, self._folder / f"{key}.slot")
                self.copied.add(key)

    async def _copy(self, body: Mapping[str, Any], file: Path) -> None:
        try:
            await self._client.post({**body, "max_tokens": 1, "id_slot": 0}, "chat/completions")
            await self._client.post({"filename": file.name}, "slots/0?action=save")
            for slot in range(1, self._slots):
                await self._client.post({"filename": file.name}, f"slots/{slot}?action=restore")
        finally:
            file.unlink(missing_ok=True)
