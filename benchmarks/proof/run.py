"""One task of the proof, from its rows to a record: ladder, verdict, training whatever the verdict was, second test.

    make proof TASK=NAME DATA=FOLDER [WORK=build/proof] [SEALED=1]
    python benchmarks/proof/run.py NAME DATA WORK [--model SPEC] [--sealed] [--tasks FILE]

DATA has a clone of each repository that `tasks.toml` names, in a folder OWNER+NAME. Each step is a command of the tool,
which writes to WORK/NAME/log.txt; its output is in WORK/NAME/steps once it has ended: an interrupted run resumes with
the step that it was in, and that step resumes by itself. WORK/records.jsonl has a line for each task that ended,
WORK/NAME/attempts.jsonl says when it was tried and how that ended. `protocol.md` fixes everything else. A task of your
own goes into a file like `tasks.toml`, which --tasks names: there all tasks are open.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from registry import SEED, Task, counts, open_tasks, read_rows, read_tasks
from task_project import METHODS, MODEL, write_project

import tuneworthy
from tuneworthy.cases.normalize import normalise
from tuneworthy.graders.judging import ScoredAnswers
from tuneworthy.stats.intervals import effective_n, score_interval, target_status
from tuneworthy.stats.paired import compare

# Exit statuses that end a step: 3 and 4 are answers of `decide`, and work that was refused or cut short elsewhere.
DONE: Final = {0}
ANSWERS: Final = {"decide": {0, 3, 4}}
MARGIN: Final = 0.05
TUNED: Final = "fine_tune"


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def steps_of(task: Task) -> list[tuple[str, ...]]:
    """Return the commands of a task in order; `method NAME` sets `[train] method` in the project file."""
    second = METHODS["label" if task.is_choice else "text"][1]
    return [
        ("run", "--yes"), ("decide", "--probe", "--yes"), ("data", "build", "--yes"), ("train", "--pilot"), ("decide",),
        ("train",), ("method", second), ("train",), ("decide",),
    ]  # fmt: skip


def walk(task: Task, folder: Path) -> list[dict[str, Any]]:
    """Take all steps that were not taken yet; return what each printed, in order."""
    told = []
    steps = steps_of(task)
    for number, step in enumerate(steps, 1):
        name = f"{number:02} {' '.join(word for word in step if not word.startswith('--'))}"
        path = folder / "steps" / f"{name}.json"
        if not path.exists():
            print(f"[{task.name}, {time.strftime('%H:%M:%S')}] {name} (of {len(steps)})", flush=True)
            began = time.monotonic()
            status, printed = set_method(folder, step[1]) if step[0] == "method" else command(folder, step)
            if status not in ANSWERS.get(step[0], DONE):
                log = folder / "log.txt"
                last = log.read_text().rstrip().rpartition("\n")[2] if log.exists() else ""
                raise SystemExit(f"{name} ended with status {status}: {last}\nAll that it said is in {log}. The same "
                                 "command again repeats this step.")  # fmt: skip
            seconds = round(time.monotonic() - began, 1)
            save(path, {"step": name, "status": status, "seconds": seconds, "output": json.loads(printed)})
        told.append(json.loads(path.read_text()))
    return told


def command(folder: Path, step: tuple[str, ...]) -> tuple[int, str]:
    with (folder / "log.txt").open("a") as log:
        print("$ tuneworthy", *step, file=log, flush=True)
        called = [sys.executable, "-m", "tuneworthy", *step, "--json", "--project", str(folder)]
        with subprocess.Popen(called, stdout=subprocess.PIPE, stderr=log, text=True) as child:
            try:
                printed, _ = child.communicate()
            except Terminated:  # Ctrl-C reaches the step by itself, which stores its work before it ends
                child.terminate()
                raise
    return child.returncode, printed


def set_method(folder: Path, method: str) -> tuple[int, str]:
    path = folder / "tuneworthy.toml"
    save(path, path.read_text().replace('method = "lora"', f'method = "{method}"'))
    return 0, "{}"


def second_test(task: Task, folder: Path, before: dict[str, Any]) -> dict[str, Any]:
    """Score every option that was compared on test on the second test, and compare the tuned one there.

    Questions that only punctuation tells from one of the ladder's are left out: the tool takes them for copies.

    Args:
        task: The task.
        folder: Its project, after all steps.
        before: The output of the last `decide` before training.
    """
    began = time.monotonic()
    project = tuneworthy.open(folder)
    measured = {row["option"]: row["score"] for row in before["options"] if row["rung"] != TUNED}
    options = [name for name, score in measured.items() if score is not None]
    used = {normalise(row["input"]) for row in lines_of(folder / "cases.jsonl")}
    used |= {normalise(row["messages"][0]["content"]) for row in lines_of(folder / "examples.jsonl")}
    second = lines_of(folder / "second.jsonl")
    kept = [row for row in second if normalise(row["input"]) not in used]
    save(folder / "second-kept.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
    scored = project.score(folder / "second-kept.jsonl", *options, TUNED)
    best = max(options, key=lambda name: measured[name])
    both = ~np.isnan(scored[best].num + scored[TUNED].num)
    a, b = ((one.num[both], one.den[both]) for one in (scored[best], scored[TUNED]))
    paired = compare(*a, *b, alpha=0.05, seed=SEED)
    scores = {name: level(task, one) for name, one in scored.items()}
    reached = scores[TUNED]["target"] == "met" != scores[best]["target"]
    worth = "yes" if reached or paired.better else "no" if paired.ci[1] < MARGIN else "unresolved"
    return {
        "scores": scores, "best_untrained": best, "difference": paired.delta, "ci95": paired.ci,
        "p_value": paired.p_value, "n": paired.n, "left_out": len(second) - len(kept), "better": bool(paired.better),
        "reached": bool(reached), "worth_training": worth, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def level(task: Task, one: ScoredAnswers) -> dict[str, Any]:
    there = ~np.isnan(one.num)
    num, den = one.num[there], one.den[there]
    interval, size = score_interval(num, den), effective_n(num, den)
    score = float(num.sum() / den.sum())
    status = target_status(score, size, task.target, MARGIN)
    return {"score": score, "ci95": (interval.lo, interval.hi), "target": status, "n": int(there.sum()),
            "unscored": int((~there).sum())}  # fmt: skip


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def save(path: Path, content: str | dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(content if isinstance(content, str) else json.dumps(content))
    unfinished.replace(path)


def begin(task: Task, data: Path, folder: Path, model: str) -> dict[str, Any]:
    """Write the project of a task, or check that it was begun by this source, with this model, on this processor.

    Returns:
        The facts of the start: what may not change while a run is interrupted.

    Raises:
        SystemExit: They have changed, or the data is not what the registry states.
    """
    source = hashlib.sha256()
    for path in sorted(Path(tuneworthy.__file__).parent.rglob("*.py")):
        source.update(path.read_bytes())
    here = {"source": source.hexdigest(), "model": model, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    path = folder / "start.json"
    if path.exists():
        start: dict[str, Any] = json.loads(path.read_text())
        if changed := [name for name, value in here.items() if start[name] != value]:
            raise SystemExit(f"{folder} was begun with another {', '.join(changed)}. Take another WORK.")
        return start
    if folder.exists():
        raise SystemExit(f"{folder} was not begun by this runner. Take another WORK.")
    check_data(task, data)
    rows = read_rows(task, data)
    print(f"{task.name}: {len(rows.train)} rows to learn from, {len(rows.test)} for the test, {len(rows.second)} for "
          f"the second test. All that the steps say goes to {folder / 'log.txt'}.")  # fmt: skip
    unfinished = folder.with_name(f"{folder.name}.part")
    if unfinished.exists():
        unfinished.rename(unfinished.with_name(f"{unfinished.name}.{time.time_ns()}"))
    write_project(task, rows, unfinished, model)
    start = {**here, "n": {"train": len(rows.train), "test": len(rows.test), "second": len(rows.second)}}
    save(unfinished / "start.json", start)
    unfinished.rename(folder)
    return start


def check_data(task: Task, data: Path) -> None:
    try:
        found = counts(task, data)
    except (KeyError, ValueError) as error:  # other columns, or no JSON
        raise SystemExit(f"{task.name}: its files cannot be read ({error!r}). Check out {task.commit}.") from None
    stated = {key: getattr(task, key) for key in ("rows", "answers", "largest", "empty")}
    if wrong := {key: found[key] for key, value in stated.items() if found[key] != value}:
        raise SystemExit(f"{task.name}: {wrong} is not as stated: {stated}. Check out {task.commit}.")


@contextmanager
def attempt(folder: Path) -> Iterator[None]:
    """Note when an attempt begins and how it ends; a second runner in the same folder is refused."""
    with folder.with_name(f"{folder.name}.lock").open("w") as lock, (folder / "attempts.jsonl").open("a") as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"Another run is in {folder}.") from None
        print(json.dumps({"began": time.time()}), file=log, flush=True)
        ending = "interrupted"
        try:
            yield
            ending = "finished"
        except SystemExit as error:
            ending = str(error)
            raise
        finally:
            print(json.dumps({"ended": time.time(), "how": ending}), file=log, flush=True)


def prove(task: Task, data: Path, work: Path, model: str) -> dict[str, Any]:
    """Take a task from its rows to its record; return the record, which WORK/records.jsonl has once."""
    folder = work / task.name
    path = folder / "record.json"
    start = begin(task, data, folder, model)
    with attempt(folder):
        if not path.exists():
            told = walk(task, folder)
            first, verdict, after = [one["output"] for one in told if one["step"].endswith("decide")]
            second = second_test(task, folder, verdict)
            record = {
                "task": task.name, "kind": task.kind, "language": task.language, "commit": task.commit,
                "target": task.target, "seed": SEED, "tuneworthy": version("tuneworthy"), **start,
                "first_verdict": first["outcome"], "verdict": verdict["outcome"],
                "reason_code": verdict["reason_code"], "recommendation": verdict["recommendation"],
                "method": (verdict["training"] or {}).get("method"), "forecast": verdict["forecast"],
                "options": verdict["options"], "after": after["outcome"], "after_options": after["options"],
                "second": second, "statuses": {one["step"]: one["status"] for one in told},
                "seconds": {one["step"]: one["seconds"] for one in told} | {"second test": second.pop("seconds")},
            }  # fmt: skip
            save(path, record)
        records = sorted(work.glob("*/record.json"))
        save(work / "records.jsonl", "".join(one.read_text() + "\n" for one in records))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def judged(record: dict[str, Any]) -> str:
    """Return whether a verdict was right, as the protocol counts it."""
    worth = record["second"]["worth_training"]
    if worth == "unresolved" or record["verdict"] == "undecided":
        return worth if worth == "unresolved" else "undecided"
    return "right" if (record["verdict"] == TUNED) is (worth == "yes") else "wrong"


def terminate(*_: object) -> None:
    raise Terminated


def main() -> None:
    """Run one task and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="name in the registry")
    parser.add_argument("data", type=Path, help="folder with the clones")
    parser.add_argument("work", type=Path, help="folder for projects and records")
    parser.add_argument("--model", default=MODEL, help="today's model, which is trained")
    parser.add_argument("--sealed", action="store_true", help="allow a task of the sealed half")
    parser.add_argument("--tasks", type=Path, help="a registry of your own")
    args = parser.parse_args()
    tasks = read_tasks(args.tasks) if args.tasks else read_tasks()
    open_half = set(tasks) if args.tasks else open_tasks(tasks)
    if args.task not in tasks:
        sealed = ", ".join(sorted(set(tasks) - open_half))
        raise SystemExit(f"There is no task {args.task}. Open: {', '.join(sorted(open_half))}. Sealed: {sealed}.")
    if args.task not in open_half and not args.sealed:
        raise SystemExit(f"{args.task} is sealed: it is run once, at the end, with --sealed.")
    work = args.work.resolve()
    if os.pathsep in str(work):
        raise SystemExit(f"The path of the work folder contains {os.pathsep!r}: {work}")
    if not args.data.is_dir():
        raise SystemExit(f"There is no folder {args.data}: it has a clone of each repository, in OWNER+NAME.")
    if work.exists() and not work.is_dir():
        raise SystemExit(f"{work} is a file.")
    work.mkdir(parents=True, exist_ok=True)
    os.environ["TUNEWORTHY_TRUST"] = str(work / args.task)  # the function that replays answers is the proof's own
    signal.signal(signal.SIGTERM, terminate)
    try:
        record = prove(tasks[args.task], args.data, work, args.model)
    except KeyboardInterrupt:
        print("Stopped. The same command again resumes.")
        raise SystemExit(130) from None
    second = record["second"]
    for name, one in second["scores"].items():
        print(f"{name:30} {one['score']:.3f} [{one['ci95'][0]:.3f}, {one['ci95'][1]:.3f}] target {one['target']}")
    print(f"tuned less {second['best_untrained']} {second['difference']:+.3f}, n = {second['n']}; "
          f"{sum(record['seconds'].values()) / 60:.0f} min\nverdict {record['verdict']}; training was worth it: "
          f"{second['worth_training']}; the verdict is {judged(record)}")  # fmt: skip


if __name__ == "__main__":
    main()
