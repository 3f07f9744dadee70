"""A build in stages against datatrove's local MinHash pipeline, on the same rows in one run.

    python benchmarks/stages.py --generator dedup_corpus.py --vocabulary vocab.txt --datatrove VENV/bin/python
                                [--sizes 100000 500000] [--workers 2] [--one-process 500000]

The generator makes the rows (chats of about 65 words with known copies). Both get the same JSONL files and the same
number of workers; datatrove only removes near copies, the build runs all checks. The peak of memory is VmHWM of each
process, the largest one is shown. Up to `--one-process` rows, the version is compared with that of one process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import forked

PROJECT = f"""{forked.PROJECT}[data]
encoder = "off"
"""
# datatrove's example of near deduplication, with local tasks.
PEER = """
import sys
from datatrove.executor import LocalPipelineExecutor as Local
from datatrove.pipeline.dedup import (MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter,
                                      MinhashDedupSignature)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter

def adapt(self, data, path, number):
    return {"text": "\\n".join(one["content"] for one in data["messages"]), "id": f"{path}/{number}"}

if __name__ == "__main__":
    rows, out, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    config = MinhashConfig()
    steps = [
        (workers, [JsonlReader(rows, adapter=adapt), MinhashDedupSignature(output_folder=f"{out}/s", config=config)]),
        (config.num_buckets, [MinhashDedupBuckets(input_folder=f"{out}/s", output_folder=f"{out}/b", config=config)]),
        (1, [MinhashDedupCluster(input_folder=f"{out}/b", output_folder=f"{out}/r", config=config)]),
        (workers, [JsonlReader(rows, adapter=adapt), MinhashDedupFilter(input_folder=f"{out}/r"),
                   JsonlWriter(f"{out}/kept")]),
    ]
    for number, (tasks, pipeline) in enumerate(steps):
        Local(pipeline, tasks=tasks, workers=workers, logging_dir=f"{out}/log{number}").run()
"""


def watched(command: list[str], status: int = 0, **options: object) -> tuple[float, float]:
    """Run a command; return its wall time in seconds, and the highest VmHWM of it and its descendants in MB."""
    started, peak = time.monotonic(), 0
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload]
    errors: list[bytes] = []
    reader = threading.Thread(target=lambda: errors.append(child.stderr.read()))
    reader.start()
    while child.poll() is None:
        parents = {}
        for path in Path("/proc").glob("[0-9]*/status"):
            try:
                lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
            except OSError:  # the process has ended since it was listed
                continue
            parents[int(path.parent.name)] = (int(lines["PPid"]), int(lines.get("VmHWM", "0 kB").split()[0]))
        own = {child.pid}
        while more := {pid for pid, (parent, _) in parents.items() if parent in own} - own:
            own |= more
        peak = max([peak, *(parents[pid][1] for pid in own if pid in parents)])
        time.sleep(0.5)
    reader.join()
    if child.returncode != status:
        raise SystemExit(f"{command[:3]} ended with {child.returncode}: {errors[0].decode()[-2000:]}")
    return time.monotonic() - started, peak * 1024 / 1e6


def write(folder: Path, n: int, options: argparse.Namespace) -> None:
    """Write a project with `n` rows, and the same rows as one file a worker."""
    subprocess.run([sys.executable, options.generator, str(n), folder, "7"], check=True,
                   env=os.environ | {"VOCAB": options.vocabulary})  # fmt: skip
    (folder / "project").mkdir()
    (folder / "peer").mkdir()
    (folder / "project" / "tuneworthy.toml").write_text(PROJECT)
    parts = [(folder / "peer" / f"{k}.jsonl").open("w") for k in range(options.workers)]
    cases: dict[str, str] = {}
    with (folder / f"c{n}.jsonl").open() as source, (folder / "rows.jsonl").open("w") as rows:
        for number, line in enumerate(source):
            row = json.loads(line)
            if number % (n // 300) == 5 and row["prompt"].lower()[:30] not in {one.lower()[:30] for one in cases}:
                cases[row["prompt"]] = row["completion"]
            chat = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
            text = json.dumps({"messages": chat}) + "\n"
            rows.write(text)
            parts[number * options.workers // n].write(text)
    for part in parts:
        part.close()
    lines = [json.dumps({"input": question, "expected": answer}) + "\n" for question, answer in cases.items()]
    (folder / "project" / "cases.jsonl").write_text("".join(lines))


def content(project: Path) -> dict[str, str]:
    """Return the hashes of the files of the versions."""
    paths = sorted(project.glob(".tuneworthy/datasets/*/*.jsonl"))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def main() -> None:
    """Measure each size, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", required=True)
    parser.add_argument("--vocabulary", required=True)
    parser.add_argument("--datatrove", help="Python of an environment with datatrove")
    parser.add_argument("--sizes", nargs="+", type=int, default=[100_000, 500_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one-process", type=int, default=500_000)
    options = parser.parse_args()
    tool = [sys.executable, "-m", "tuneworthy", "data", "build", "--unsafe"]
    for n in options.sizes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write(folder, n, options)
            project = folder / "project"
            wall, peak = watched([*tool, str(folder / "rows.jsonl"), "--stages", str(folder / "stages")], cwd=project)
            print(f"{n} rows, load {os.getloadavg()[0]:.1f}: staged {wall:.0f} s with the import, "
                  f"largest process {peak:.0f} MB", flush=True)  # fmt: skip
            if options.datatrove:
                (folder / "peer.py").write_text(PEER)
                command = [options.datatrove, str(folder / "peer.py"), str(folder / "peer"), str(folder / "out")]
                theirs, their_peak = watched([*command, str(options.workers)])
                print(f"  datatrove {theirs:.0f} s, largest process {their_peak:.0f} MB, "
                      f"staged / datatrove {wall / theirs:.2f}", flush=True)  # fmt: skip
            if n <= options.one_process:
                files = content(project)
                shutil.rmtree(project / ".tuneworthy" / "datasets")
                alone, own_peak = watched(tool, cwd=project)
                print(
                    f"  one process {alone:.0f} s, {own_peak:.0f} MB, equal to the byte: {content(project) == files}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
