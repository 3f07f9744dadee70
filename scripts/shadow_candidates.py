"""Replay 2,000 recorded conversations to candidates whose truth is known: `python scripts/shadow_candidates.py`.

Production is right in 85% of the turns. `equal` loses 5% of all turns and gains 5%, `worse` is 8 points worse (loses
11%, gains 3%), `better` is 6 points better, `broken` is equal and breaks its format for one tenant of twenty.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.shadow.traffic import write_log, write_traffic_project  # noqa: E402

from tuneworthy.cli import invoke  # noqa: E402
from tuneworthy.shadow.replay import read_shadow  # noqa: E402
from tuneworthy.store import Folder  # noqa: E402


def main() -> None:
    """Print what each replay ends with."""
    with tempfile.TemporaryDirectory() as folder:
        log = write_log(Path(folder) / "log.jsonl", 2000)
        for name in ("equal", "worse", "better", "broken"):
            root = write_traffic_project(Path(folder) / name, name)
            os.environ["TUNEWORTHY_TRUST"] = str(root)
            words = ["shadow", "replay", str(log), "--candidate", "current", "--json"]
            with redirect_stdout(StringIO()):
                status = invoke([*words, "--project", str(root)])
            record = read_shadow(Folder(root))
            assert record is not None
            print(f"{name}: exit {status} after {record.n_sessions} sessions. {record.verdict.detail}", flush=True)


if __name__ == "__main__":
    main()
