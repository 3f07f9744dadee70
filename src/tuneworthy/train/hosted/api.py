"""Files and fine-tuning jobs of a vendor: one client for all of them, by the table.

What starts something is sent once and never again here: whether it was received is read from the vendor's own lists,
where what we made is recognised by its name. What only reads is tried again.
"""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tuneworthy.errors import AuthError, OutsideFault, ProviderError, TuneworthyError, UserError
from tuneworthy.providers.http_client import HttpAnswer, HttpClient
from tuneworthy.providers.keys import Key
from tuneworthy.train import messages
from tuneworthy.train.hosted.vendors import TrainingVendor, at, filled

# As the vendors' own clients: an upload takes its time.
TIMEOUT_S: Final = 600.0
TRIES: Final = 4
PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
# A list that has more pages never ends.
MOST_PAGES: Final = 1000
# Ids become part of a path.
_ID: Final = re.compile(r"[\w-][\w.:-]*")


class JobsApi:
    """Calls one vendor; use it as a context manager, which turns a `ProviderError` into what ends the command.

    Args:
        vendor: Row of the table.
        key: Of the vendor.
        account: Where the vendor's paths name one.
    """

    def __init__(self, vendor: TrainingVendor, key: Key, account: str = "") -> None:
        self.vendor = vendor
        self._client = HttpClient(
            filled(vendor.api, {"account": quote(account, safe="")}), key=key, timeout_s=TIMEOUT_S
        )

    async def __aenter__(self) -> "JobsApi":
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await self._client.close()
        if isinstance(error, ProviderError):
            raise fault_of(self.vendor, error) from None

    async def find(self, listing: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
        """Return the row of a list whose name is ours; None if no page has it.

        Args:
            listing: `files` or `jobs` of the table.
            name: With which we made it.
        """
        path = first = str(listing["path"])
        for _ in range(MOST_PAGES):
            page = await self._get(path)
            rows = at(page, listing["rows"])
            if not isinstance(rows, list) and not (rows is None and listing.get("omitted")):
                raise self._odd(f"`{listing['rows']}`", page)
            for row in rows or ():
                if str(at(row, listing["name"])).rpartition("/")[2] == name:
                    return {**row, "id": self.id_of(row, listing["id"])}
            cursor = at(page, listing.get("cursor", ""))
            if not cursor or not at(page, listing["more"]):
                return None
            path = f"{first}{'&' if '?' in first else '?'}{listing['parameter']}={quote(str(cursor), safe='')}"
        raise self._odd(f"`{listing['rows']}`", "a list without an end")

    async def read(self, place: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a file or a job.

        Args:
            place: `file` or `job` of the table.
            values: Fields of its path.
        """
        return await self._get(filled(place["path"], values))

    async def post(self, path: str, values: Mapping[str, Any], body: Any) -> Mapping[str, Any]:
        """Send a body, once, with its fields filled in, and return the answer."""
        return self._object(await self._client.send("POST", filled(path, values), filled(body, values)))

    async def upload(self, file: Path, values: Mapping[str, Any]) -> str:
        """Send a file, once, and return its id."""
        form = filled(self.vendor.upload["fields"], values)
        answer = await self._client.upload(filled(self.vendor.upload["path"], values), file, form)
        return self.id_of(self._object(answer), self.vendor.upload["id"])

    def id_of(self, row: Mapping[str, Any], path: str) -> str:
        """Return the id in an answer, without what stands before it in a resource name."""
        name = str(at(row, path) or "").rpartition("/")[2]
        if not _ID.fullmatch(name):
            raise self._odd(f"`{path}`", row)
        return name

    async def _get(self, path: str) -> Mapping[str, Any]:
        for attempt in range(1, TRIES + 1):
            try:
                return self._object(await self._client.send("GET", path))
            except ProviderError as error:
                if attempt == TRIES or not error.retryable:
                    raise
                asked = PAUSE_S * 2**attempt if error.retry_after_s is None else error.retry_after_s
            await asyncio.sleep(min(asked, LONGEST_PAUSE_S))
        raise AssertionError

    def _object(self, answer: HttpAnswer) -> Mapping[str, Any]:
        value = self._client.read(answer)
        if not isinstance(value, dict):
            raise self._odd("a JSON object", value)
        return value

    def _odd(self, expected: str, got: object) -> ProviderError:
        return self._client.malformed(expected, self._client.excerpt(str(got)))


def fault_of(vendor: TrainingVendor, error: ProviderError) -> TuneworthyError:
    """Return the error that ends the command: what the user can fix, or what passes."""
    message = f"{vendor.title}: {error.message.rstrip('.')}."
    if error.code == "auth":
        return AuthError(message, hint=f"Check the key in the environment variable {vendor.key}.")
    if error.code == "rate_limit" and not error.retryable:
        return OutsideFault(
            message, hint="Check your quota and your balance at the vendor, then run the command again to resume."
        )
    if error.retryable:
        return OutsideFault(message, hint=messages.say("vendor_resume"))
    return UserError(message, hint="Fix the reported problem, then run the command again.")
