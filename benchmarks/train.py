"""Training speed against a plain TRL script: same rows, model, processor, settings; fresh processes, in turn.

    python benchmarks/train.py PROJECT [--method lora full qlora preference] [--steps 30] [--rounds 2] [--save]

PROJECT is a project folder with examples. The plain script is TRL 1.16 with its defaults: two rows at
once, eight times a step, TRL's own defaults elsewhere, once with TRL's default precision and once with the base in
bfloat16. Ours has the same rank, scale, dropout, rate, schedule, seed and rows a step. All get the same token ids and
labels, so that their losses are of the same tokens. Full fine-tuning is compared with TRL's default precision alone, as
both keep weights in 32 bits; QLoRA (needs bitsandbytes) is NF4 with double quantisation and an 8-bit AdamW in both; the
pairs of `preference` are the answer of a row and that of the next one, which TRL gets as texts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

METHODS = ("lora", "full", "qlora", "preference")
PLAIN = {"rank": 32, "alpha": 32.0, "dropout": 0.05, "learning_rate": 2e-4, "warmup": 10, "batch": 16}
RESULTS = Path(__file__).parent / "results" / "train.json"
MICRO = 8


def prepare(root: Path, work: Path, steps: int) -> None:
    """Write where the base lies and the rendered rows for the workers: as many as `steps` batches take."""
    from tuneworthy.config import load
    from tuneworthy.store import Folder
    from tuneworthy.train.run import prepare as ready

    project = load(root)
    store = Folder(project.root)
    with store.lock(print):
        made = ready(project, store, unsafe=True, say=print)
    n = steps * int(PLAIN["batch"])
    rows = [{"id": row.id, "ids": row.ids, "mask": row.mask} for row in made.rendered.rows[:n]]
    told = {"base": str(made.base.artifact.folder), "rows": rows}
    (work / "rows.json").write_text(json.dumps(told))


def plain(work: Path, steps: int, dtype: str, method: str) -> dict[str, Any]:
    """The article's script, as TRL 1.16 takes it."""
    from peft import LoraConfig
    from transformers import AutoTokenizer, BitsAndBytesConfig, TrainerCallback
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    told = json.loads((work / "rows.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(told["base"])
    clock = _clock(TrainerCallback)
    loading: dict[str, Any] = {} if dtype == "default" else {"dtype": dtype}
    if method == "full":
        loading = {"dtype": "float32"}
    if method == "qlora":
        loading["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype="bfloat16",
        )
    trainer_of, config_of = (DPOTrainer, DPOConfig) if method == "preference" else (SFTTrainer, SFTConfig)
    trainer = trainer_of(
        model=told["base"],
        processing_class=tokenizer,
        train_dataset=_dataset(told["rows"], tokenizer if method == "preference" else None),
        args=config_of(
            output_dir=str(work / "plain"),
            max_length=4096,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=8,
            warmup_steps=int(PLAIN["warmup"]),
            max_steps=steps,
            learning_rate=PLAIN["learning_rate"],
            bf16=True,
            logging_steps=1,
            weight_decay=0.01,
            lr_scheduler_type="cosine",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            model_init_kwargs=loading,
            **({"optim": "adamw_bnb_8bit"} if method == "qlora" else {}),
        ),
        peft_config=None
        if method == "full"
        else LoraConfig(
            r=int(PLAIN["rank"]),
            lora_alpha=PLAIN["alpha"],
            lora_dropout=PLAIN["dropout"],
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            task_type="CAUSAL_LM",
        ),
        callbacks=[clock],
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer.train()
    losses = [one["loss"] for one in trainer.state.log_history if "loss" in one]
    return {"losses": losses, "seconds": clock.seconds, "before_mib": before / 1024}


def _dataset(rows: list[dict[str, Any]], tokenizer: Any) -> Any:
    """Return rows as ids and labels; with a tokenizer, pairs as texts."""
    from datasets import Dataset

    if tokenizer is None:
        return Dataset.from_list([{"input_ids": row["ids"], "labels": _labels(row)} for row in rows])
    parts = [{name: tokenizer.decode(ids) for name, ids in pair.items()} for pair in _pairs(rows)]
    return Dataset.from_list(parts)


def _pairs(rows: list[dict[str, Any]]) -> list[dict[str, list[int]]]:
    """Return the answer of each row beside that of the next one, as ids."""
    firsts = [row["mask"].index(1) for row in rows]
    answers = [row["ids"][first:] for row, first in zip(rows, firsts, strict=True)]
    worse = [*answers[1:], answers[0]]
    return [{"prompt": row["ids"][:first], "chosen": chosen, "rejected": rejected}
            for row, first, chosen, rejected in zip(rows, firsts, answers, worse, strict=True)]  # fmt: skip


def _labels(row: dict[str, Any]) -> list[int]:
    return [one if bit else -100 for one, bit in zip(row["ids"], row["mask"], strict=True)]


def _clock(base: Any) -> Any:
    class Clock(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.monotonic()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.monotonic() - self.began)

    return Clock()


def ours(work: Path, steps: int, method: str) -> dict[str, Any]:
    """The same by `tuneworthy train`'s trainer."""
    from transformers import AutoTokenizer

    from tuneworthy.train.render import TokenPair, TokenRow
    from tuneworthy.train.settings import TrainingSettings
    from tuneworthy.train.trainer import train_rows

    told = json.loads((work / "rows.json").read_text())
    settings = TrainingSettings(
        method=method,  # type: ignore[arg-type]
        rank=int(PLAIN["rank"]),
        alpha=PLAIN["alpha"],
        dropout=PLAIN["dropout"],
        learning_rate=PLAIN["learning_rate"],
        schedule="cosine",
        warmup_ratio=PLAIN["warmup"] / steps,
        batch_size=int(PLAIN["batch"]),
        micro_batch_size=MICRO,
        seed=42,
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as run:
        done = train_rows(
            Path(told["base"]),
            [TokenRow(row["id"], row["ids"], row["mask"]) for row in told["rows"]],
            settings,
            Path(run),
            tokenizer=AutoTokenizer.from_pretrained(told["base"]),
            pairs=[
                TokenPair(id=row["id"], **pair) for row, pair in zip(told["rows"], _pairs(told["rows"]), strict=True)
            ]
            if method == "preference"
            else (),
            max_steps=steps,
        )
    if not done.shared and method != "preference":
        raise SystemExit("expected rows that share their beginning, got plain batches")
    told = done.progress.steps
    return {"losses": [one.loss for one in told], "seconds": [one.seconds for one in told],
            "before_mib": before / 1024}  # fmt: skip


WORKERS = {
    "plain TRL": lambda work, steps, method: plain(work, steps, "default", method),
    "plain TRL, base in bfloat16": lambda work, steps, method: plain(work, steps, "bfloat16", method),
    "ours": ours,
}


def work_once(name: str, work: Path, steps: int, method: str) -> dict[str, Any]:
    """Run one worker in a fresh process."""
    command = [sys.executable, __file__, "--worker", name, "--work", str(work), "--steps", str(steps),
               "--method", method]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def report(runs: dict[str, list[dict[str, Any]]], steps: int) -> dict[str, Any]:
    """Print the table and the loss curves; return what is saved."""
    batch = int(PLAIN["batch"])
    speed = {name: median(batch / mean(one["seconds"][1:]) for one in found) for name, found in runs.items()}
    peak = {name: max(one["peak_mib"] for one in found) for name, found in runs.items()}
    print(f"\n{'':30} examples/s   ratio to ours   peak MiB")
    for name in runs:
        print(f"{name:30} {speed[name]:10.2f} {speed['ours'] / speed[name]:14.2f} {peak[name]:11.0f}")
    blocks = [range(start, min(start + 5, steps)) for start in range(0, steps, 5)]
    print("\nmean loss of five steps each")
    for name, found in runs.items():
        curve = [mean(one["losses"][at] for one in found for at in block) for block in blocks]
        print(f"{name:30} " + " ".join(f"{value:.3f}" for value in curve))
    return {"speed": speed, "peak_mib": peak, "runs": runs, "load": os.getloadavg(), "article": PLAIN, "micro": MICRO}


def main() -> None:
    """Run the benchmark, or one worker of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, nargs="?")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--method", nargs="*", choices=METHODS, default=["lora"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=list(WORKERS), default=list(WORKERS))
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--worker", choices=list(WORKERS), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        told = WORKERS[options.worker](options.work, options.steps, options.method[0])
        told["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(told))
        return
    if options.project is None:
        parser.error("expected a project folder")
    saved: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        prepare(options.project, Path(folder), options.steps)
        for method in options.method:
            print(f"\n{method}, load average {os.getloadavg()[0]:.1f}")
            names = [name for name in options.only if method != "full" or "bfloat16" not in name]
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
            for _ in range(options.rounds):
                for name in names:
                    runs[name].append(work_once(name, Path(folder), options.steps, method))
                    one = runs[name][-1]
                    print(f"{name}: {sum(one['seconds']):.1f} s, peak {one['peak_mib']:.0f} MiB", flush=True)
            saved[method] = report(runs, options.steps)
    if options.save:
        RESULTS.parent.mkdir(exist_ok=True)
        stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps(stored | saved, indent=1) + "\n")


if __name__ == "__main__":
    main()
