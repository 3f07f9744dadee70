"""Try all candidates and clients of `tests/shadow/canary_bench.py` on a canary: `python scripts/canary_table.py`.

Prints a row for each behaviour of the candidate: users with a whole and valid answer in shadow mode, and with a canary
at 5% and at 100%, streamed every other time; answers by the candidate; and whether it was rolled back. Then a row for
each request that production would refuse, sent 20 times.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.shadow.canary_bench import (  # noqa: E402
    BEHAVIOURS,
    INVALID,
    JSON,
    NOT_ADMITTING,
    REFUSED,
    Bench,
    bench,
    is_whole,
    of_candidate,
    spoken,
    strict,
)
from tests.shadow.servers import Call, Script, raw  # noqa: E402

MODES = {"shadow": (None, 6), "5%": (0.05, 200), "100%": (1.0, 12)}


async def behave(b: Bench, name: str) -> tuple[bool, str]:
    """Return whether a candidate harmed no user and was rolled back if it had to be, and the row of the table."""
    fine, columns = True, []
    b.scripts["candidate"] = lambda _: BEHAVIOURS[name]
    for mode, (share, n) in MODES.items():
        b.renew(share, wait_s=0.4)
        whole = served = 0
        for place in range(n):
            answer = await b.ask(stream=place % 2 == 1, wait_s=20)
            whole += is_whole(answer, streamed=place % 2 == 1)
            served += of_candidate(answer)
        back = bool(share and b.canary.state.rolled_back)
        fine = (
            fine and whole == n and (mode != "100%" or back is (name in INVALID)) and not (name in INVALID and served)
        )
        columns.append(f"{mode}: {whole}/{n} whole, {served} by the candidate{', rolled back' if back else ''}")
    return fine, f"{name:28} {'; '.join(columns)}"


async def refuse(b: Bench, name: str) -> tuple[bool, str]:
    """Return whether no request that production refuses was answered, and the row of the table."""
    before, after = REFUSED[name]
    known: list[Any] = []

    def gate(call: Call) -> Script:
        known.append(strict(call))
        return [raw(spoken("blue"), JSON, status="200 OK" if known[-1] == known[0] else "401 Unauthorized")]

    b.scripts["production"] = gate
    b.renew(1.0)
    for _ in range(2):
        await b.ask(*before.headers, path=before.path, **before.fields)
    answers = [await b.ask(*after.headers, path=after.path, **after.fields) for _ in range(20)]
    refused = sum(answer.split()[1] == b"401" and not of_candidate(answer) for answer in answers)
    return refused == 20, f"{name:28} {refused}/20 refused"


async def main() -> bool:
    """Print both tables and the totals; return whether all is well."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TUNEWORTHY_TRUST"] = folder
        async with bench(Path(folder), timeout_s=0.3) as b:
            b.copies.log = Path("/dev/null")
            results = []
            for name in BEHAVIOURS:
                results.append(await behave(b, name))
                print(results[-1][1], flush=True)
            print(f"{sum(fine for fine, _ in results)} of {len(results)} candidates harm no user", flush=True)
            for name in REFUSED:
                results.append(await refuse(b, name))
                print(results[-1][1], flush=True)
            n_admitting = 0
            for script in NOT_ADMITTING.values():
                b.renew(1.0)
                b.scripts["production"] = lambda _, script=script: script  # type: ignore[misc]
                for _ in range(5):
                    await b.ask()
                n_admitting += bool(b.asked)
            print(f"{sum(fine for fine, _ in results[len(BEHAVIOURS) :])} of {len(REFUSED)} requests are refused")
            print(f"{len(NOT_ADMITTING) - n_admitting} of {len(NOT_ADMITTING)} answers of production admit nobody")
            return all(fine for fine, _ in results) and not n_admitting


if __name__ == "__main__":
    sys.exit(not asyncio.run(main()))
