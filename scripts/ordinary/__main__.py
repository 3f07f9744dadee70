"""Run the ordinary files or the hand-made tasks, and compare with the truth.

    python -m scripts.ordinary DATA [--set files|tasks] [--only NAME ...] [--init] [--out FOLDER] [--jobs N]

DATA has clones of the repositories in sources.toml, one folder OWNER+NAME each. `--init` only reads the files.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.ordinary.files import FILES
from scripts.ordinary.project import Judged, Task, judge
from scripts.ordinary.tasks import TASKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", choices=["files", "tasks"], default="files")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--init", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    settings = parser.parse_args()
    tasks = FILES if settings.set == "files" else TASKS
    chosen = [task for task in tasks if not settings.only or task.name in settings.only]
    folder = settings.out or Path(tempfile.mkdtemp(prefix="ordinary-"))
    print(f"name{'':18} kind grader column  verdict (results in {folder})", flush=True)

    def one(task: Task) -> Judged:
        judged = judge(task, settings.data, folder, only_init=settings.init)
        print(judged.line(), flush=True)
        return judged

    with ThreadPoolExecutor(settings.jobs) as pool:
        results = list(pool.map(one, chosen))
    print(
        f"{len(results)} files: read right {sum(r.read_right for r in results)}; verdict right "
        f"{sum(r.verdict == 'right' for r in results)}, acceptable {sum(r.verdict == 'acceptable' for r in results)}, "
        f"undecided {sum(r.verdict == 'undecided' for r in results)} (overlap {sum(r.overlap for r in results)}), "
        f"wrong {sum(r.verdict == 'WRONG' for r in results)}, failed {sum(r.verdict == 'failed' for r in results)}"
    )


if __name__ == "__main__":
    main()
