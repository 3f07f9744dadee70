"""Fuzz what reads strangers' text: `python -m scripts.fuzz --seconds 1800` ends with status 1 at the first traceback.

Every reader of files, the project file, patterns, templates and schemas, every grader, and every file of the store get
mutated seeds and odd values; the proxy and the exported server get bytes that are nearly HTTP; the pull-request action
gets odd inputs. An error of our own tree is an answer. Any other exception is a bug, and so is an input that takes
longer or more memory than `bounds` allows; hypothesis prints the smallest one.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from scripts.fuzz import action, graders, proxy, readers, server, store
from scripts.fuzz.bounds import bounded

from tuneworthy.trust import VARIABLE

# Name to what draws inputs (`INPUTS`), what takes one (`use`) and what both need (`prepare`).
TARGETS: Final[Mapping[str, ModuleType]] = {
    "readers": readers, "graders": graders, "store": store, "proxy": proxy, "server": server, "action": action,
}  # fmt: skip
# Inputs of one target before the next has its turn.
TURN: Final = {"readers": 400, "graders": 400, "store": 40, "proxy": 400, "server": 400, "action": 20}


def fuzz(seconds: float, names: tuple[str, ...] = tuple(TARGETS)) -> dict[str, int]:
    """Fuzz for `seconds`, the targets in turn; return how many inputs each was given."""
    here = [os.environ.get(VARIABLE, ""), tempfile.gettempdir()]
    os.environ[VARIABLE] = os.pathsep.join(filter(None, here))  # the projects that are made here
    for name in names:
        TARGETS[name].prepare()
    end, counts = time.monotonic() + seconds, dict.fromkeys(names, 0)

    def turn(name: str) -> None:
        target = TARGETS[name]

        @settings(max_examples=TURN[name], deadline=None, database=None, report_multiple_bugs=False,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(target.INPUTS)
        def once(drawn: Any) -> None:
            if time.monotonic() > end:
                return
            counts[name] += 1
            with bounded():
                target.use(drawn)

        once()

    while time.monotonic() < end:
        for name in names:
            turn(name)
    return counts
