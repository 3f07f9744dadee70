"""Write the report of a run of 8 variants x 1,000 cases: seconds, and bytes of the page.

`python benchmarks/report_page.py` exits 1 above 2 seconds or 1 MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

MOST_SECONDS, MOST_BYTES = 2.0, 1_000_000
ROOT = Path(__file__).parents[1]
PROJECT = """
[task]
name = "large"
target = 0.9
[examples]
[prompt]
system = "Answer."
[[graders]]
type = "exact"
{models}
[ladder]
baseline = "m0"
rungs = ["baseline", "prompt", "model", "few_shot"]
[economics]
requests_per_month = 200000
"""
ANSWERS = """
def reply(request, share):
    number = int(request.messages[-1]["content"].split()[1])
    return "abcdefgh"[number % 8] if number * 7919 % 100 < share else "abcdefgh"[(number + 1) % 8]
"""


def main() -> int:
    """Make the project, run it, and time what reads the run and the verdict and writes the page."""
    import orjson

    with TemporaryDirectory() as folder:
        root = Path(folder)
        shares = {f"m{i}": 50 + 5 * i for i in range(6)}
        sections = [f'[models.{name}]\nprovider = "scripted"\nfunction = "replies.py:{name}"' for name in shares]
        (root / "tuneworthy.toml").write_text(PROJECT.format(models="\n".join(sections)))
        functions = [f"def {name}(request):\n    return reply(request, {share})\n" for name, share in shares.items()]
        (root / "replies.py").write_text("\n\n".join([ANSWERS, *functions]))
        cases = [{"input": f"question {i} {i * 104729}", "expected": "abcdefgh"[i % 8]} for i in range(1000)]
        rows = [
            {"messages": [{"role": "user", "content": f"question {i} {i * 104729}"},
                          {"role": "assistant", "content": "abcdefgh"[i % 8]}]} for i in range(2000, 4000)
        ]  # fmt: skip
        for name, lines in (("cases", cases), ("examples", rows)):
            (root / f"{name}.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        os.environ["TUNEWORTHY_TRUST"] = folder
        command = [sys.executable, "-m", "tuneworthy"]
        for words, statuses in ((["run", "--yes"], {0}), (["decide"], {0, 3, 4})):
            done = subprocess.run([*command, *words, "--project", folder], capture_output=True, check=False)
            assert done.returncode in statuses, done.stderr.decode()
        import tuneworthy
        from tuneworthy.ladder.session import required_run

        started, before = time.perf_counter(), time.process_time()
        path = root / "report.html"
        tuneworthy.open(root).write_report(path)
        seconds, size = time.perf_counter() - started, path.stat().st_size
        cpu = time.process_time() - before
        record = required_run(tuneworthy.open(root).project, quick=True)
    tried = sum(rung.candidates_tried for rung in record.rungs)
    print(f"{tried} variants x {record.n_test} cases: {seconds:.2f} s ({cpu:.2f} s of processor), {size / 1e6:.3f} MB")
    return int(seconds > MOST_SECONDS or size > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
