"""Time, bytes and memory by size: constants from two small sizes, and how well they predict three larger ones.

    python benchmarks/scale.py [--parts store run files build] [--vocabulary vocab.txt] [--folder DIR] [--save]
                               [--small 2000 20000] [--large 50000 200000]

Each measurement is a process of its own. `store` commits answers one by one, as a run does, then reads all of them, as
a resumed run does, then sums what they cost, as `status` does. `run` asks a provider that answers at once. `build` is
`data build --stages` with two workers, its peak that of the largest process. `files` is `data distill --batch`: it
writes the request files for vLLM, then reads their results. A model is a line through the two small sizes; the table
shows the predicted and the measured seconds, bytes on disk and peak memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from stages import PROJECT, watched, write

HERE = Path(__file__).parent
QUESTION = "Where is the card that I ordered on the third of May, number {}, and when will it arrive at my address?"


def peak_mb(pid: str = "self") -> float:
    """Return the largest resident set of a process so far, MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def store(n: int, folder: Path) -> dict[str, float]:
    from tuneworthy.store import ResponseStore, response_key
    from tuneworthy.types import Response

    keys = [response_key(b"model", {"n": number}, 0) for number in range(n)]
    opened, started = ResponseStore(folder / "responses.sqlite"), time.perf_counter()
    for number, key in enumerate(keys):
        note = opened.open_call(key, 0.001)
        answer = Response(text=f"card_arrival {number}", model="m", input_tokens=400, output_tokens=5, seconds=0.4)
        opened.put(key, answer, 0.0001, note)
    inserted = time.perf_counter()
    opened.close()
    opened = ResponseStore(folder / "responses.sqlite")
    for first in range(0, n, 50_000):
        opened.get_many(keys[first : first + 50_000])
    resumed = time.perf_counter()
    spent = opened.spending().usd
    assert abs(spent - 0.0001 * n) < 1e-6 * n, spent
    ended = time.perf_counter()
    return {"insert_s": inserted - started, "resume_s": resumed - inserted, "report_s": ended - resumed}


def run(n: int, folder: Path) -> dict[str, float]:
    from tuneworthy.engine.budget import Budget
    from tuneworthy.engine.models import OpenModel
    from tuneworthy.engine.runner import Runner
    from tuneworthy.prompts.shots import ShotPool
    from tuneworthy.store import ResponseStore
    from tuneworthy.types import Case, Request, Response, Variant

    class Instant:
        identity: ClassVar[dict[str, str]] = {"provider": "instant"}
        supports: frozenset[str] = frozenset()

        async def complete(self, request: Request) -> Response:
            return Response(text="card_arrival", input_tokens=40, output_tokens=5)

        async def close(self) -> None: ...

    model = OpenModel("m", Instant(), None, hosted=False, concurrency=64, timeout_s=60, retries=0)
    variant = Variant(
        name="v", model="m", model_identity=Instant.identity, system="Answer.", user="{{ input }}", max_tokens=10
    )
    cases = [Case(id=f"c{number}", input=QUESTION.format(number), expected="card_arrival") for number in range(n)]
    runner = Runner(ResponseStore(folder / "responses.sqlite"), Budget(None), ShotPool(()))
    started = time.perf_counter()
    first = asyncio.run(runner.run(variant, model, cases))
    asked = time.perf_counter()
    assert len(first) == n
    del first
    again = asyncio.run(Runner(runner.store, Budget(None), ShotPool(())).run(variant, model, cases))
    assert all(trace.stored for trace in again)
    return {"ask_s": asked - started, "resume_s": time.perf_counter() - asked}


class Listed(BaseHTTPRequestHandler):
    """Lists a model; the answers come in files."""

    def do_GET(self) -> None:
        body = b'{"object": "list", "data": [{"id": "big"}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def files(n: int, folder: Path) -> dict[str, float]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listed)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    teacher = f"""[teacher]
model = "t"
[models.t]
provider = "vllm"
model = "big"
base_url = "http://127.0.0.1:{server.server_port}/v1"
"""
    (folder / "tuneworthy.toml").write_text(PROJECT + teacher)
    with (folder / "cases.jsonl").open("w") as lines:
        lines.writelines(json.dumps({"input": f"Is {k * 7919} here?", "expected": "Yes."}) + "\n" for k in range(100))
    with (folder / "q.jsonl").open("w") as lines:
        lines.writelines(json.dumps({"input": QUESTION.format(number)}) + "\n" for number in range(n))
    command = [sys.executable, "-m", "tuneworthy", "data", "distill", str(folder / "q.jsonl"), "--batch", "--yes"]
    written_s, first = watched(command, cwd=folder, status=5)
    for path in (folder / ".tuneworthy" / "batches").glob("*.in.jsonl"):
        with path.open() as requests, path.with_name(path.name.replace(".in.", ".out.")).open("w") as results:
            for line in requests:
                choice = {"index": 0, "message": {"role": "assistant", "content": "Tomorrow."}, "finish_reason": "stop"}
                body = {"model": "big", "choices": [choice], "usage": {"prompt_tokens": 30, "completion_tokens": 3}}
                row = {"id": "v", "custom_id": json.loads(line)["custom_id"], "error": None,
                       "response": {"status_code": 200, "body": body}}  # fmt: skip
                results.write(json.dumps(row) + "\n")
    read_s, second = watched(command, cwd=folder)
    server.shutdown()
    return {"write_s": written_s, "read_s": read_s, "peak_mb": max(first, second)}


def build(n: int, folder: Path) -> dict[str, float]:
    write(folder, n, argparse.Namespace(generator=HERE / "corpus" / "dedup_corpus.py", workers=2,
                                        vocabulary=os.environ["VOCAB"]))  # fmt: skip
    project, rows = folder / "project", folder / "rows.jsonl"
    command = [sys.executable, "-m", "tuneworthy", "data", "build", "--unsafe", "--stages", str(folder / "stages")]
    wall_s, peak = watched([*command, str(rows)], cwd=project)
    for path in (*folder.glob("*.npz"), *folder.glob("*.jsonl"), *folder.glob("peer/*")):
        path.unlink()
    return {"build_s": wall_s, "peak_mb": peak}


PARTS: dict[str, Callable[[int, Path], dict[str, float]]] = {"store": store, "run": run, "files": files, "build": build}
# Of the line, and of the checks: above the sizes at which answers are read and batches are cut, and (`build`) where
# rows need more memory than the program.
SIZES = {
    "store": ([50_000, 200_000], [500_000, 1_000_000, 10_000_000]),
    "run": ([20_000, 50_000], [100_000, 300_000, 1_000_000]),
    "files": ([5_000, 20_000], [50_000, 100_000, 200_000]),
    "build": ([200_000, 500_000], [1_000_000, 2_000_000, 5_000_000]),
}


def measured(part: str, n: int, folder: Path) -> dict[str, float]:
    """Measure a part at one size in a process of its own."""
    own = folder / f"{part}-{n}"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    words = [sys.executable, __file__, "--child", part, "--n", str(n), "--folder", str(own)]
    found: dict[str, float] = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
    found["bytes"] = size_of(own)
    shutil.rmtree(own)
    return found


def table(part: str, small: list[int], large: list[int], folder: Path) -> list[dict[str, Any]]:
    at = {n: measured(part, n, folder) for n in small}
    low, high = small
    rows = []
    for n in large:
        seen = measured(part, n, folder)
        for name, value in seen.items():
            slope = (at[high][name] - at[low][name]) / (high - low)
            predicted = at[high][name] + slope * (n - high)
            rows.append({"part": part, "figure": name, "n": n, "per_item": slope, "predicted": predicted,
                         "measured": value, "error": predicted / value - 1})  # fmt: skip
            print(f"{part:6} {name:10} {n:>10,} predicted {predicted:>14,.2f} measured {value:>14,.2f} "
                  f"error {predicted / value - 1:+.1%}", flush=True)  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="+", default=[*PARTS], choices=[*PARTS])
    parser.add_argument("--small", nargs=2, type=int, help="sizes of the line, instead of those of the part")
    parser.add_argument("--large", nargs="+", type=int, help="sizes of the checks")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/tuneworthy-scale"))
    parser.add_argument("--vocabulary", help="words for the rows of `build`, a line each")
    parser.add_argument("--child", choices=[*PARTS])
    parser.add_argument("--n", type=int)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("XDG_CONFIG_HOME", str(options.folder / "config"))
    os.environ.setdefault("VOCAB", options.vocabulary or "")
    if options.child:
        found = PARTS[options.child](options.n, options.folder)
        print(json.dumps({"peak_mb": peak_mb(), **found}))
        return
    saved = HERE / "results" / "scale.json"
    for part in options.parts:
        small, large = SIZES[part]
        rows = table(part, options.small or small, options.large or large, options.folder)
        if options.save:
            kept = json.loads(saved.read_text()) if saved.exists() else []
            saved.write_text(json.dumps([row for row in kept if row["part"] != part] + rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
