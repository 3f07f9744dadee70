"""The estimate of memory against the measured peak of real training runs, each in a fresh process on the CPU.

    python benchmarks/memory.py [--only NAME ...] [--save]

Each run (`clients/train_memory.py`) makes two optimiser steps on a model with random weights: in a plain TRL script,
or, where its name says how much rows share and for DPO, by the trainer of `tuneworthy train`. Measured is the peak of
the resident memory minus what it was after the imports. The two calibrated constants of `tuneworthy.train.memory`
(`FIXED` and `GAPS` of a CPU) come from CALIBRATION, which has no run in common with VALIDATION; all else is counted.
QLoRA needs bitsandbytes.

Goal, of the runs of VALIDATION, whose increment is at least 300 MB: within 10 % on all.
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

from tuneworthy.train.memory import estimate
from tuneworthy.train.row_lengths import RowLengths
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.train.shape import shape_of_config

HERE = Path(__file__).parent
CLIENT = HERE / "clients" / "train_memory.py"
LEAST = 300e6


def model(kind: str, *sizes: int, **more: Any) -> dict[str, Any]:
    """Return a config.json; sizes are width, MLP, layers, heads, key heads, vocabulary."""
    hidden, ff, layers, heads, kv, vocab = sizes
    names = {"hidden_size": hidden, "intermediate_size": ff, "num_hidden_layers": layers, "vocab_size": vocab}
    return {"model_type": kind, "num_attention_heads": heads, "num_key_value_heads": kv, "tie_word_embeddings": True,
            **names, **more}  # fmt: skip


SMOLLM2 = model("llama", 576, 1536, 30, 9, 3, 49152)
QWEN25 = model("qwen2", 896, 4864, 24, 14, 2, 151936)
GEMMA3 = model("gemma3_text", 640, 2048, 18, 4, 1, 262144, head_dim=256)
QWEN3 = model("qwen3", 512, 1536, 12, 8, 4, 60000, head_dim=128)
WIDE = model("llama", 1280, 3456, 16, 20, 5, 32000, tie_word_embeddings=False)
SMALL = model("llama", 512, 1408, 12, 8, 8, 32000)

Run = tuple[dict[str, Any], dict[str, Any]]


def run(kind: dict[str, Any], micro: int, length: int, times: int = 1, shared: int | None = None, **more: Any) -> Run:
    """Return a model, its settings, and how many tokens the rows have in common; None for a plain TRL script."""
    return kind, {"shared": shared, "micro_batch_size": micro, "batch_size": micro * times, "max_length": length,
                  "rank": 16, "alpha": 32.0, **more}  # fmt: skip


CALIBRATION: dict[str, Run] = {
    "135M LoRA 4x256": run(SMOLLM2, 4, 256, 2),
    "10 layers LoRA 2x256": run({**SMOLLM2, "num_hidden_layers": 10}, 2, 256),
    "16 layers LoRA 2x256 checkpointed": run({**SMOLLM2, "num_hidden_layers": 16}, 2, 256, gradient_checkpointing=True),
    "full 4x128": run(model("llama", 640, 2560, 6, 10, 2, 32000), 4, 128, 2, method="full"),
    "large vocabulary LoRA 2x256": run(model("qwen2", 640, 2560, 8, 10, 2, 100000), 2, 256),
    "LoRA in 32 bits 4x256": run(model("llama", 512, 2048, 8, 8, 8, 32000), 4, 256, dtype="float32"),
    "long LoRA 1x1024": run(model("llama", 512, 1536, 8, 8, 4, 20000), 1, 1024),
    "wide LoRA 1x128 checkpointed": run(model("llama", 1024, 4096, 16, 16, 4, 32000), 1, 128,
                                        gradient_checkpointing=True),
    "10 layers LoRA 8x128, 48 shared": run({**SMOLLM2, "num_hidden_layers": 10}, 8, 128, shared=48),
    "wide LoRA 8x96, 32 shared": run(model("llama", 1024, 4096, 16, 16, 4, 32000), 8, 96, shared=32),
    "16 layers LoRA 4x320, 64 shared": run({**SMOLLM2, "num_hidden_layers": 16}, 4, 320, shared=64),
}  # fmt: skip
VALIDATION: dict[str, Run] = {
    "SmolLM2-135M LoRA 8x128": run(SMOLLM2, 8, 128, 2),
    "SmolLM2-135M LoRA 2x512 checkpointed": run(SMOLLM2, 2, 512, gradient_checkpointing=True),
    "SmolLM2-135M LoRA r=64 1x512": run(SMOLLM2, 1, 512, rank=64),
    "SmolLM2-135M LoRA dropout 4x192": run(SMOLLM2, 4, 192, dropout=0.05),
    "SmolLM2-135M full 4x128": run(SMOLLM2, 4, 128, 2, method="full"),
    "Qwen2.5-0.5B LoRA 1x128": run(QWEN25, 1, 128),
    "Qwen3 LoRA 4x256 checkpointed": run(QWEN3, 4, 256, gradient_checkpointing=True),
    "Gemma3-270M LoRA 2x128": run(GEMMA3, 2, 128),
    "335M untied LoRA 2x128": run(WIDE, 2, 128),
    "50M full 8x128 checkpointed": run(SMALL, 8, 128, method="full", gradient_checkpointing=True),
    "50M LoRA in 32 bits 2x384": run(SMALL, 2, 384, dtype="float32"),
    "Qwen3 full 2x256": run(QWEN3, 2, 256, method="full"),
    "SmolLM2-135M QLoRA 4x128": run(SMOLLM2, 4, 128, method="qlora"),
    "335M untied QLoRA 2x256": run(WIDE, 2, 256, method="qlora"),
    "SmolLM2-135M LoRA 16x96, 40 shared": run(SMOLLM2, 16, 96, shared=40),
    "SmolLM2-135M LoRA 8x256, 130 shared": run(SMOLLM2, 8, 256, shared=130),
    "335M untied LoRA 4x192, 64 shared": run(WIDE, 4, 192, shared=64),
    "Qwen3 LoRA 4x512 checkpointed, 64 shared": run(QWEN3, 4, 512, shared=64, gradient_checkpointing=True),
    "50M LoRA in 32 bits 8x192, 64 shared": run(SMALL, 8, 192, shared=64, dtype="float32"),
    "SmolLM2-135M QLoRA 16x96, 40 shared": run(SMOLLM2, 16, 96, shared=40, method="qlora"),
    "335M untied QLoRA 8x128, 64 shared": run(WIDE, 8, 128, shared=64, method="qlora"),
    "SmolLM2-135M full 8x96, 40 shared": run(SMOLLM2, 8, 96, 2, shared=40, method="full"),
    "50M full 16x128, 64 shared": run(SMALL, 16, 128, shared=64, method="full"),
    "SmolLM2-135M full 16x160, none shared": run(SMOLLM2, 16, 160, shared=0, method="full"),
    "SmolLM2-135M DPO 8x129": run(SMOLLM2, 8, 129, shared=0, method="preference"),
    "335M untied DPO 2x256": run(WIDE, 2, 256, 2, shared=0, method="preference"),
}


def measure(name: str, one: Run) -> dict[str, Any]:
    """Train in a fresh process and return what was measured and estimated, MB."""
    kind, chosen = one[0], dict(one[1])
    shared = chosen.pop("shared")
    settings = TrainingSettings(**chosen)
    config = {"model": kind, "settings": settings.to_dict(), "steps": 2, "lengths": "mixed", "shared": shared}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        done = subprocess.run([sys.executable, CLIENT, file.name], capture_output=True, text=True, check=False,
                              env={"OMP_NUM_THREADS": "2", **os.environ, "HF_HUB_OFFLINE": "1"})  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-800:]}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    rows = [] if shared is None or settings.paired else [RowLengths(**told["rows"])]
    found = estimate(shape_of_config(kind), settings, "cpu", rows)
    parts = {part.name: round(part.n_bytes / 1e6) for part in found.parts}
    return {"run": name, "measured_mb": round(told["increment"] / 1e6), "estimated_mb": round(found.n_bytes / 1e6),
            "error": round(found.n_bytes / told["increment"] - 1, 4), "parts": parts}  # fmt: skip


def main() -> int:
    """Measure, print, and say whether the goal holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of runs that hold one of these texts")
    parser.add_argument("--calibration", action="store_true", help="the calibration runs as well")
    parser.add_argument("--save", action="store_true", help="write these runs into results/memory.json")
    args = parser.parse_args()
    runs = {**(CALIBRATION if args.calibration else {}), **VALIDATION}
    chosen = [name for name in runs if not args.only or any(text in name for text in args.only)]
    print(f"load {os.getloadavg()[0]:.1f}\n| run | measured MB | estimated MB | error |\n|---|---|---|---|")
    rows = []
    for name in chosen:
        rows.append(measure(name, runs[name]))
        row = rows[-1]
        print(f"| {name} | {row['measured_mb']} | {row['estimated_mb']} | {row['error']:+.1%} |", flush=True)
    counted = [row for row in rows if row["run"] in VALIDATION and row["measured_mb"] * 1e6 >= LEAST]
    near = sum(abs(row["error"]) <= 0.10 for row in counted)
    print(f"{near} of {len(counted)} within 10 %")
    if args.save:
        path = HERE / "results" / "memory.json"
        known = {row["run"]: row for row in [*json.loads(path.read_text())["runs"], *rows]}
        path.write_text(json.dumps({"runs": [*known.values()]}, indent=1) + "\n")
    return 0 if near == len(counted) else 1


if __name__ == "__main__":
    sys.exit(main())
