"""One training run in a fresh process: prints the peak of its resident memory above what the imports take.

    python train_memory.py CONFIG.json

CONFIG: `model` (keys of config.json), `settings` (of `tuneworthy.train.settings`), `steps`, `lengths` ("equal" or
"mixed"), `shared`. With `shared` the rows begin with as many tokens in common, or with none (0), and the trainer of
`tuneworthy train` trains, of `preference` on pairs; otherwise (null) plain TRL does, on padded batches, QLoRA on the
model as `train` loads it. The model is made at random, stored as safetensors, and loaded from there in another process,
as a user would load it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any


def status(key: str) -> int:
    """Return a line of /proc/self/status, bytes."""
    return int(re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)[1]) * 1024


def make(config: dict[str, Any], folder: Path) -> None:
    """Store a model with random weights, and a tokenizer of words that are numbers."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    kind = config["model"]["model_type"]
    rest = {key: value for key, value in config["model"].items() if key != "model_type"}
    made = AutoConfig.for_model(kind, **rest, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    dtype = getattr(torch, config["settings"]["dtype"])
    AutoModelForCausalLM.from_config(made, dtype=dtype).save_pretrained(folder)
    words = Tokenizer(WordLevel({str(i): i for i in range(1000)}, unk_token="0"))
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="0", eos_token="2").save_pretrained(folder)


def rows(config: dict[str, Any]) -> list[dict[str, list[int]]]:
    """Return token rows: every micro-batch holds one of the full length; by `train`, which shuffles, all of each step.

    Their ids are of the whole vocabulary, or not all of a table of embeddings would be read from its file.
    """
    import random

    settings, draw, last = config["settings"], random.Random(0), config["model"]["vocab_size"] - 1
    length, micro = settings["max_length"], settings["micro_batch_size"]
    steps = config["steps"] if config["shared"] is None else 1
    found = []
    for i in range(steps * settings["batch_size"]):
        n = length if config["lengths"] == "equal" or i % micro == 0 else draw.randint(length // 2, length)
        shared = config["shared"] or 0
        n = max(n, shared + 2)  # of what is the row's own, half is supervised
        ids = [*range(3, 3 + shared), *(draw.randint(3, last) for _ in range(n - shared))]
        asked = shared + (n - shared) // 2
        found.append({"input_ids": ids, "labels": [-100] * asked + ids[asked:]})
    return found


def train(config: dict[str, Any], folder: Path) -> None:
    """Train for a few steps, as a plain script with TRL does."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from tuneworthy.train.settings import TrainingSettings
    from tuneworthy.train.trainer import loaded as quantised

    if config["settings"]["method"] == "qlora":
        import bitsandbytes  # noqa: F401

    base = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    told = config["settings"]
    if config["shared"] is not None:
        train_own(config, folder, base)
        return
    lora = LoraConfig(r=told["rank"], lora_alpha=told["alpha"], lora_dropout=told["dropout"],
                      target_modules="all-linear", task_type="CAUSAL_LM")  # fmt: skip
    dtype = torch.float32 if told["method"] == "full" else getattr(torch, told["dtype"])
    packed = told["method"] == "qlora"
    model = (
        quantised(folder, TrainingSettings.from_dict(told))
        if packed
        else AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
    )
    loaded = status("VmRSS")
    arguments = SFTConfig(
        output_dir=str(folder / "out"), per_device_train_batch_size=told["micro_batch_size"],
        gradient_accumulation_steps=told["batch_size"] // told["micro_batch_size"], max_steps=config["steps"],
        learning_rate=1e-4, max_length=told["max_length"], bf16=told["dtype"] == "bfloat16", use_cpu=True,
        gradient_checkpointing=told["gradient_checkpointing"], save_strategy="no", report_to="none", logging_steps=1,
        disable_tqdm=True, dataset_kwargs={"skip_prepare_dataset": True}, seed=0,
        train_sampling_strategy="sequential", optim="adamw_bnb_8bit" if packed else SFTConfig.optim,
    )  # fmt: skip
    trainer = SFTTrainer(model=model, args=arguments, train_dataset=Dataset.from_list(rows(config)),
                         processing_class=AutoTokenizer.from_pretrained(folder),
                         peft_config=None if told["method"] == "full" else lora)  # fmt: skip
    ready = status("VmRSS")
    live = traced(trainer.train)
    n = sum(one.numel() for one in trainer.model.parameters() if one.requires_grad)
    print(json.dumps({"baseline": base, "loaded": loaded - base, "ready": ready - base,
                      "increment": status("VmHWM") - base, "trainable": n, **live}))  # fmt: skip


def train_own(config: dict[str, Any], folder: Path, base: int) -> None:
    """Train as `tuneworthy train` does, and print the rows in numbers beside the peak."""
    from transformers import AutoTokenizer

    from tuneworthy.train.render import TokenPair, TokenRow
    from tuneworthy.train.row_lengths import count_rows
    from tuneworthy.train.settings import TrainingSettings
    from tuneworthy.train.trainer import train_rows

    made = [
        TokenRow(str(at), row["input_ids"], [int(label >= 0) for label in row["labels"]])
        for at, row in enumerate(rows(config))
    ]
    settings, tokenizer = TrainingSettings.from_dict(config["settings"]), AutoTokenizer.from_pretrained(folder)
    pairs = []
    for row in made if settings.paired else []:
        start = row.mask.index(1)
        pairs.append(TokenPair(row.id, row.ids[:start], row.ids[start:], row.ids[:start:-1]))
    options = {"tokenizer": tokenizer, "pairs": pairs, "max_steps": config["steps"]}
    live = traced(lambda: train_rows(folder, made, settings, folder / "run", **options))
    print(json.dumps({"increment": status("VmHWM") - base, "rows": asdict(count_rows(made)), **live}))


def traced(train: Callable[[], Any]) -> dict[str, int]:
    """Train; with TRACE_LIVE return the peak of the bytes that tensors hold, above what they held before."""
    import torch

    if not os.environ.get("TRACE_LIVE"):
        train()
        return {}
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        train()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = top = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        top = max(top, now)
    return {"live_peak": top}


def main() -> None:
    """Make the model in a child, then train in this process."""
    config = json.loads(Path(sys.argv[1]).read_text())
    if len(sys.argv) > 2:
        make(config, Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.spawnv(os.P_WAIT, sys.executable, [sys.executable, __file__, sys.argv[1], folder])
        train(config, Path(folder))


if __name__ == "__main__":
    main()
