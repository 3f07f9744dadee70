"""The engine on its real path, in a process of its own: open the project, ask every case, store, grade.

    python benchmarks/clients/ours.py PROJECT

A run asks more than one variant and splits the cases, so the calls of its baseline are made here as it makes
them: `open_session` (read, split, overlap check, lock, store), `Session.ask`, `Session.score`.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from tuneworthy.config import load
from tuneworthy.ladder.session import open_session
from tuneworthy.types import Variant


async def main(root: Path) -> None:
    """Ask and grade, and print what came of it."""
    project = load(root)
    async with open_session(project) as session:
        model = session.models["m"]
        variant = Variant(name="baseline/m", model="m", model_identity=model.provider.identity, system=None,
                          user=project.prompt.user, max_tokens=project.prompt.max_tokens)  # fmt: skip
        cases = session.data.cases
        started = time.perf_counter()
        traces = await session.ask(variant, cases)
        num, den, scores = await session.score(traces, cases)
        asking_s = time.perf_counter() - started
        answered = sum(trace.response is not None for trace in traces)
        scored = sum(not score.unscored for score in scores)
        result = {"answered": answered, "scored": scored, "score": float(num.sum() / den.sum()),
                  "asked": session.runner.sent, "asking_s": asking_s}  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
