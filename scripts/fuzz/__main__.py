"""`python -m scripts.fuzz --seconds 1800 [--target graders ...]`."""

from __future__ import annotations

import argparse

from scripts.fuzz import TARGETS, fuzz

parser = argparse.ArgumentParser(
    description="Fuzz every reader and grader, the store, the proxy, the exported server and the action."
)
parser.add_argument("--seconds", type=float, default=1800.0)
parser.add_argument("--target", action="append", choices=list(TARGETS))
options = parser.parse_args()
counts = fuzz(options.seconds, tuple(options.target or TARGETS))
print(f"{sum(counts.values()):,} inputs ({', '.join(f'{name} {n:,}' for name, n in counts.items())}), no traceback")
