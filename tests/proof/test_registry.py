"""The proof's registry: sealed by its hash, every reader on a file of its format, halves and parts drawn as told."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROOF = Path(__file__).parents[2] / "benchmarks" / "proof"
sys.path.insert(0, str(PROOF))

from registry import SEED, Row, Task, open_tasks, read_pool, read_rows, read_tasks  # noqa: E402
from run import main, steps_of  # noqa: E402
from task_project import write_project  # noqa: E402

TASKS = read_tasks()


# Of the commit that sealed them; the sums beside the files are for people.
SEALED = {
    "protocol.md": "28a8e82ebcb0e766c2968482057907b694f9a6c47ee6cd7feca4121bab7f5b77",
    "tasks.toml": "18695591e4e0162b57066e9ea636e45440367186152e9061a97358b2b5bf3130",
}


def sums(folder: Path) -> dict[str, str]:
    return dict(reversed(line.split()) for line in (folder / "SHA256SUMS").read_text().splitlines())


def test_protocol_and_registry_are_those_that_were_sealed() -> None:
    assert sums(PROOF) == SEALED
    for name, sealed in SEALED.items():
        assert hashlib.sha256((PROOF / name).read_bytes()).hexdigest() == sealed, f"{name} was changed"


def test_the_hashes_are_those_of_the_commit_that_added_them() -> None:
    def git(*words: str) -> str:
        command = ["git", "-c", "safe.directory=*", *words]  # whoever owns the clone
        done = subprocess.run(command, cwd=PROOF, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else ""

    added = git("log", "--diff-filter=A", "--format=%H", "--", "SHA256SUMS").split()
    if not added:
        pytest.skip("no history of the repository here")
    assert git("show", f"{added[-1]}:./SHA256SUMS") == (PROOF / "SHA256SUMS").read_text()
    for name in ("protocol.md", "tasks.toml"):
        assert git("log", "--diff-filter=A", "--format=%H", "--", name).split()[-1] == added[-1]


def test_there_are_enough_tasks_of_enough_kinds_and_none_of_those_left_out() -> None:
    kinds = {task.kind for task in TASKS.values()}
    assert len(TASKS) >= 12 and len(kinds) >= 6
    assert sum(task.language != "English" for task in TASKS.values()) >= 2
    assert not {"atis", "clinc150", "snips", "gsm8k", "sst-2", "squad", "trec"} & {name.lower() for name in TASKS}
    for task in TASKS.values():
        assert len(task.commit) == 40 and task.licence and task.source and 0 < task.target < 1 and task.max_bytes <= 400


def test_half_of_each_kind_is_open() -> None:
    chosen = open_tasks(TASKS)
    for kind in {task.kind for task in TASKS.values()}:
        names = {task.name for task in TASKS.values() if task.kind == kind}
        assert len(names & chosen) == len(names) // 2
    assert SEED == 20261130


def table(path: Path, rows: list[dict[str, str]], delimiter: str = ",") -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def texts(task: Task) -> list[tuple[str, str]]:
    return [(f"question {number} of {task.name}", f"answer {number % 5}") for number in range(40)]


def write_csv(path: Path, task: Task, part: int) -> None:
    names = {"hwu64": ("answer_from_user", "intent"), "emot": ("tweet", "label"), "e2e": ("mr", "ref"),
             "home-commands": ("phrase", "device_name")}[task.name]  # fmt: skip
    more = {"hwu64": {"scenario": "home"}, "home-commands": {"service_name": "light.on"}}.get(task.name, {})
    rows = [{names[0]: f"{part} {asked}", names[1]: said, **more} for asked, said in texts(task)]
    table(path, rows, task.delimiter)


def write_jsonl(path: Path, task: Task, part: int) -> None:
    rows = [{"text": f"{part} {asked}", "label": said} for asked, said in texts(task)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_lines(path: Path, task: Task, part: int) -> None:
    said = path.name in {"targ-train.txt", "targ-test.txt", "all.cm"}
    path.write_text("\n".join(pair[said] if said else f"{part // 2} {pair[0]}" for pair in texts(task)))


def write_list(path: Path, task: Task, part: int) -> None:
    rows = [[f"{part} {asked}", said, "by rule"] for asked, said in texts(task)]
    path.write_text(f"# a comment\n{json.dumps(rows)}")


def write_folders(path: Path, task: Task, part: int) -> None:
    path.mkdir()
    source = "source" in path.name
    lines = [
        f"{part // 2} {asked}" if source or number % 2 else said for number, (asked, said) in enumerate(texts(task))
    ]
    (path / ("1.src.txt" if source else "1.a1.txt")).write_text("\n".join(lines))


def write_abstracts(path: Path, task: Task, part: int) -> None:
    rows = [{"sentences": [f"{part} {asked}", "and more."], "labels": [said, "other"]} for asked, said in texts(task)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_slurp(path: Path, task: Task, part: int) -> None:
    rows = [{"sentence": f"{part} {asked} at five", "sentence_annotation": f"{asked} at [time : five]", "intent": said}
            for asked, said in texts(task)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_fields(path: Path, task: Task, part: int) -> None:
    table(path, [{"input": asked, "name": said, "quantity": "1#1$2", "unit": ""} for asked, said in texts(task)])


def write_fomc(path: Path, task: Task, part: int) -> None:
    table(path, [{"true_label": str(number % 3), "original_sent": asked, "text_output": "It is HAWKISH."}
                 for number, (asked, _) in enumerate(texts(task))])  # fmt: skip


def write_scicite(path: Path, task: Task, part: int) -> None:
    table(path, [{"citation_context": asked, "citation_class_label": said, "predicted_classes": "method"}
                 for asked, said in texts(task)])  # fmt: skip


def write_paradetox(path: Path, task: Task, part: int) -> None:
    lines = ["toxic\tneutral1\tneutral2", *(f"{asked}\t{said}\tanother" for asked, said in texts(task))]
    path.write_text("\n".join(lines) + "\n")


def write_tools(path: Path, task: Task, part: int) -> None:
    table(path, [{"Query": asked, "Tool": f"tool{number % 9}"} for number, (asked, _) in enumerate(texts(task))])


WRITERS: dict[str, Callable[[Path, Task, int], None]] = {
    name.removeprefix("write_"): writer for name, writer in dict(globals()).items() if name.startswith("write_")
}


def write_data(task: Task, data: Path) -> Path:
    """Write synthetic files of the task's format under all names that the registry gives."""
    for part, pattern in enumerate((*task.train, *task.test)):
        path = data / task.repository.replace("/", "+") / pattern.replace("*", "1")
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[task.format](path, task, part)
    return data


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_every_task_loads_from_files_of_its_format(task: Task, tmp_path: Path) -> None:
    data = write_data(task, tmp_path / "data")
    drawn = read_rows(task, data)
    parts = [drawn.train, drawn.test, drawn.second]
    assert all(parts)
    questions = [row.question for part in parts for row in part]
    assert len(questions) == len(set(questions)) >= 30
    assert all(row.answers and "{" not in row.question for part in parts for row in part)
    assert all((row.replayed is not None) == bool(task.replay) for part in parts for row in part)
    assert read_rows(task, data) == drawn
    write_project(task, drawn, tmp_path / "project")
    from tuneworthy.config import load

    project = load(tmp_path / "project")
    assert project.task.target == task.target and project.graders[0].type == task.grader


def test_readers_read_what_their_columns_say(tmp_path: Path) -> None:
    def first(name: str) -> Row:
        return read_pool(TASKS[name], write_data(TASKS[name], tmp_path / name), TASKS[name].train)[0]

    assert json.loads(first("slurp").answers[0]) == {"intent": "answer 0", "time": "five"}
    assert json.loads(first("ingredients").answers[0]) == {"name": "answer 0", "quantity": "1 1/2"}
    assert first("fomc-stance").replayed == "hawkish"
    assert first("paradetox").answers == ("answer 0", "another")
    assert first("hwu64").answers == ("home_answer 0",) and first("home-commands").answers == ("light.on(answer 0)",)
    task = TASKS["tool-choice"]
    offered = read_pool(task, write_data(task, tmp_path / "tools"), task.train)
    assert [row.empty for row in offered] == [number % 8 == 0 for number in range(40)]
    for row in offered:
        listed = row.question.split("\n")[0].removeprefix("Tools: ").split(", ")
        assert len(listed) == 5 and (row.answers[0] in listed) is not row.empty


def test_a_sealed_task_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = min(set(TASKS) - open_tasks(TASKS))
    monkeypatch.setattr("sys.argv", ["run.py", sealed, str(tmp_path), str(tmp_path / "work")])
    with pytest.raises(SystemExit, match="is sealed"):
        main()
    assert not (tmp_path / "work").exists()


def test_all_tasks_train_twice_after_the_verdict() -> None:
    for task in TASKS.values():
        steps = steps_of(task)
        assert steps.count(("train",)) == 2
        assert steps.index(("train", "--pilot")) < steps.index(("decide",)) < steps.index(("train",))
