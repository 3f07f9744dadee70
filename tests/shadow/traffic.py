"""Recorded traffic whose truth is known: conversations with production's answers, and candidates that differ by design.

Production is right in 85% of the turns. A candidate loses some of these, and gains some of the others; which ones is a
hash of the question, so it is the same in every process.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tests.ladder.simulations import LABELS, write_simulation

RIGHT, TENANTS = 0.85, 20
# Candidate to the share of all turns that it loses, and that it gains.
CANDIDATES = {"equal": (0.05, 0.05), "worse": (0.11, 0.03), "better": (0.02, 0.08), "slightly": (0.04, 0.025)}
SCRIPT = f"""

def recorded(text):
    right = truth(text)
    return right if number(text, "p") < {RIGHT} else LABELS[(LABELS.index(right) + 1) % 3]


def candidate(request, lose, gain):
    text = question(request)
    right, before = truth(text), recorded(text)
    if before == right:
        return before if number(text, "c") >= lose / {RIGHT} else LABELS[(LABELS.index(right) + 2) % 3]
    return right if number(text, "c") < gain / {1 - RIGHT} else before


def in_one_tenant(request):
    answer = candidate(request, 0.05, 0.05)
    return "{{" if " tenant-7 " in question(request) else answer
"""


def number(*parts: object) -> float:
    """The same number as in the scripts."""
    return int(hashlib.md5("|".join(map(str, parts)).encode()).hexdigest(), 16) / 2**128


def conversations(n: int, *, truth: bool = True, start: int = 0) -> Iterator[dict[str, Any]]:
    """Yield rows of a log: sessions of 1 to 3 turns, each row one call with all that was said before it."""
    for i in range(start, start + n):
        turns: list[dict[str, str]] = []
        for k in range(1 + int(3 * number(i, "turns"))):
            text = f"item {7 * i + k} thing {i} from tenant-{i % TENANTS} now"
            right = LABELS[(7 * i + k) % 3]
            said = right if number(text, "p") < RIGHT else LABELS[(LABELS.index(right) + 1) % 3]
            turns += [{"role": "user", "content": text}, {"role": "assistant", "content": said}]
            row: dict[str, Any] = {"messages": list(turns), "metadata": {"tenant": f"tenant-{i % TENANTS}"}}
            yield row | {"session_id": f"s{i}"} | ({"truth": right} if truth else {})


def write_log(path: Path, n: int, **options: Any) -> Path:
    """Write a log of `n` conversations."""
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in conversations(n, **options)))
    return path


def write_traffic_project(root: Path, candidate: str, *, extra: str = "") -> Path:
    """Write a project in which `current` is a candidate by its name; the other models answer as the others do."""
    models = {name: f"candidate(request, {lose}, {gain})" for name, (lose, gain) in CANDIDATES.items()}
    models |= {"production": "recorded(question(request))", "broken": "in_one_tenant(request)"}
    models = {candidate: models.pop(candidate), **models}
    write_simulation(root, models, n_cases=60, rungs=["baseline"], apart=False, extra=extra)
    with (root / "world.py").open("a") as file:
        file.write(SCRIPT)
    config = root / "tuneworthy.toml"
    config.write_text(re.sub(r'(function = "world.py:\w+"\n)', r"\1concurrency = 1000\n", config.read_text()))
    return root
