"""The tasks of the proof: their registry, their rows, and how these are drawn. `protocol.md` explains the rules.

python benchmarks/proof/registry.py DATA [NAME ...]     # counts what is in the data, of open tasks or those named
"""

from __future__ import annotations

import csv
import json
import random
import re
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
SEED: Final = 20261130
N_TEST, N_SECOND, N_TRAIN = 250, 400, 800

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task of the registry; the attributes are the keys of its table.

    Attributes:
        train: Files below DATA/OWNER+NAME; patterns.
        test: Files of the publisher's test part; empty if all rows are one pool.
        format: Name of the reader.
        question: Template of the input, of the reader's columns.
        answer: Template of the right answer.
        replay: The model whose published answers the reader returns as `replayed`; "" without one.
        replay_price: Dollars a million tokens, read and written, that its option is charged.
        max_bytes: Of question and answer together, in UTF-8: at most 128 tokens of the model.
        target: Score of the grader that is good enough; `source` says where it comes from.
        rows: Of all files, after `read_pool`.
        answers: Different ones; `largest` is the share of the most frequent one.
        empty: Share of the rows whose answer is nothing, to decline, or the question as it is.
        rank_labels: Whether the ladder also ranks the labels by their probability.
    """

    name: str
    kind: str
    language: str
    repository: str
    commit: str
    licence: str
    format: str
    train: tuple[str, ...]
    test: tuple[str, ...] = ()
    question: str
    answer: str
    delimiter: str = ","
    replay: str = ""
    replay_price: tuple[float, float] = (0.0, 0.0)
    system: str
    grader: str
    max_tokens: int
    max_bytes: int = 400
    target: float
    source: str
    rows: int
    answers: int
    largest: float
    empty: float
    rank_labels: bool = True

    @property
    def is_choice(self) -> bool:
        return self.grader == "exact" and self.answers <= 100


@dataclass(frozen=True, slots=True)
class Row:
    """A question with all its right answers.

    Attributes:
        replayed: What a published model answered; None without that.
        empty: Whether the answer is nothing, to decline, or the question as it is.
    """

    question: str
    answers: tuple[str, ...]
    replayed: str | None = None
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The rows of a task: for training and shots, for the ladder's test, and for the second test."""

    train: list[Row] = field(default_factory=list)
    test: list[Row] = field(default_factory=list)
    second: list[Row] = field(default_factory=list)


def read_tasks(path: Path = HERE / "tasks.toml") -> dict[str, Task]:
    found = {}
    for name, table in tomllib.loads(path.read_text()).items():
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
        found[name] = Task(name=name, **values)
    return found


def open_tasks(tasks: Mapping[str, Task]) -> set[str]:
    """Return the names of the open half: of each kind, half of its tasks, drawn with the protocol's seed."""
    kinds = defaultdict(list)
    for task in tasks.values():
        kinds[task.kind].append(task.name)
    draw = random.Random(SEED)
    return {name for kind in sorted(kinds) for name in draw.sample(sorted(kinds[kind]), len(kinds[kind]) // 2)}


# --- readers: from files to columns ----------------------------------------------------------------------------------

Reader = Callable[[list[Path], Task], Iterator[Fields]]


def read_csv(paths: list[Path], task: Task) -> Iterator[Fields]:
    for path in paths:
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file, delimiter=task.delimiter)


def read_jsonl(paths: list[Path], task: Task) -> Iterator[Fields]:
    for path in paths:
        yield from map(json.loads, path.read_text().splitlines())


def read_lines(paths: list[Path], task: Task) -> Iterator[Fields]:
    """Read two files whose lines belong together."""
    for first, second in zip(*(path.read_text().split("\n") for path in paths), strict=True):
        yield {"first": first, "second": second}


def read_list(paths: list[Path], task: Task) -> Iterator[Fields]:
    """Read JSON lists of lists behind lines of comment."""
    for path in paths:
        for first, second, *_ in json.loads(re.sub(r"(?m)^#.*$", "", path.read_text())):
            yield {"first": first, "second": second}


def read_folders(paths: list[Path], task: Task) -> Iterator[Fields]:
    """Read two folders of texts, a sentence a line; of several corrections of a text, the first annotator's."""
    sources, targets = paths
    for path in sorted(sources.glob("*.src.txt")):
        pair = path, targets / path.name.replace(".src.", ".a1.")
        lines = [one.read_text().split("\n") for one in pair if one.exists()]
        if len(lines) == 2 and len(lines[0]) == len(lines[1]):
            for old, new in zip(*lines, strict=True):
                yield {"source": old, "target": new, "empty": old.strip() == new.strip()}


def read_abstracts(paths: list[Path], task: Task) -> Iterator[Fields]:
    for row in read_jsonl(paths, task):
        for place, (sentence, label) in enumerate(zip(row["sentences"], row["labels"], strict=True), 1):
            yield {"place": place, "n": len(row["sentences"]), "sentence": sentence.strip(), "label": label}


def read_slurp(paths: list[Path], task: Task) -> Iterator[Fields]:
    """Read slots from brackets in the text: `wake me at [time : five am]`; of a slot given twice, the first value."""
    for row in read_jsonl(paths, task):
        slots: dict[str, str] = {}
        for name, value in re.findall(r"\[(\w+) : ([^\]]+)\]", row["sentence_annotation"]):
            slots.setdefault(name, value.strip())
        found = {"intent": row["intent"], **slots}
        yield {"sentence": row["sentence"], "object": json.dumps(found), "empty": not slots}


def read_fields(paths: list[Path], task: Task) -> Iterator[Fields]:
    """Read one field a column, with fractions as `1/2` instead of `#1$2`; rows without any field are not labelled."""
    for row in read_csv(paths, task):
        values = {name: re.sub(r"#(\d+)\$(\d+)", r" \1/\2", text).strip() for name, text in row.items()
                  if text and name != "input"}  # fmt: skip
        if values:
            yield {"input": row["input"], "object": json.dumps(values, ensure_ascii=False)}


def read_fomc(paths: list[Path], task: Task) -> Iterator[Fields]:
    labels = ("dovish", "hawkish", "neutral")
    for row in read_csv(paths, task):
        said = re.search("|".join(labels), row["text_output"].lower())
        yield {**row, "label": labels[int(row["true_label"])], "replayed": said[0] if said else row["text_output"]}


def read_scicite(paths: list[Path], task: Task) -> Iterator[Fields]:
    for row in read_csv(paths, task):
        yield {**row, "replayed": row["predicted_classes"]}


def read_paradetox(paths: list[Path], task: Task) -> Iterator[Fields]:
    for path in paths:
        names, *lines = (line.split("\t") for line in path.read_text().rstrip("\n").split("\n"))
        for line in lines:
            row = dict(zip(names, line, strict=False))
            yield from ({**row, "neutral1": text} for name, text in row.items() if name != "toxic" and text.strip())


def read_tools(paths: list[Path], task: Task) -> Iterator[Fields]:
    """Offer five tools; in one row of eight, without the right one."""
    rows = list(read_csv(paths, task))
    names = sorted({row["Tool"] for row in rows})
    for number, row in enumerate(rows):
        draw = random.Random(f"{SEED}:{number}")
        others = draw.sample([name for name in names if name != row["Tool"]], 5)
        listed = others if number % 8 == 0 else [*others[:4], row["Tool"]]
        draw.shuffle(listed)
        empty = row["Tool"] not in listed
        yield {**row, "tools": ", ".join(listed), "tool": "None" if empty else row["Tool"], "empty": empty}


READERS: Final[dict[str, Reader]] = {
    "csv": read_csv, "jsonl": read_jsonl, "lines": read_lines, "list": read_list, "folders": read_folders,
    "abstracts": read_abstracts, "slurp": read_slurp, "fields": read_fields, "fomc": read_fomc,
    "scicite": read_scicite, "paradetox": read_paradetox, "tools": read_tools,
}  # fmt: skip


# --- rows, and how they are drawn ------------------------------------------------------------------------------------


def read_pool(task: Task, data: Path, patterns: tuple[str, ...]) -> list[Row]:
    """Return the rows of files in a fixed order, each question once with all its answers, none above `max_bytes`.

    Raises:
        SystemExit: A file is missing.
    """
    folder = data / task.repository.replace("/", "+")
    paths = []
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if not found:
            raise SystemExit(
                f"{folder / pattern} is missing. Get it with\n"
                f"  git clone https://github.com/{task.repository} {folder}\n"
                f"  git -C {folder} checkout {task.commit}"
            )
        paths += found
    answers: dict[str, dict[str, None]] = defaultdict(dict)
    columns: dict[str, Fields] = {}
    for row in READERS[task.format](paths, task):
        question, answer = (template.format_map(row).strip() for template in (task.question, task.answer))
        if question and answer and len(f"{question}{answer}".encode()) <= task.max_bytes:
            answers[question][answer] = None
            columns.setdefault(question, row)
    return [Row(question, tuple(found), row.get("replayed"), row.get("empty", False))
            for (question, found), row in zip(answers.items(), columns.values(), strict=True)]  # fmt: skip


def read_rows(task: Task, data: Path) -> Drawn:
    """Draw the rows of a task; no question stands in two parts, letter case and blanks aside."""
    draw = random.Random(f"{SEED}:{task.name}")
    tested = read_pool(task, data, task.test or task.train)
    draw.shuffle(tested)
    cut = min(N_TEST, 3 * len(tested) // 8), min(N_TEST + N_SECOND, len(tested))
    if not task.test:  # one pool: half of a small one is left for training
        cut = min(N_TEST, len(tested) // 5), min(N_TEST + N_SECOND, len(tested) // 2)
    parts = [tested[: cut[0]], tested[cut[0] : cut[1]]]
    pool = read_pool(task, data, task.train)
    draw.shuffle(pool)
    seen: set[str] = set()
    kept = []
    for part in (*parts, pool):
        kept.append([])
        for row in part:
            if (key := " ".join(row.question.lower().split())) not in seen:
                seen.add(key)
                kept[-1].append(row)
    return Drawn(test=kept[0], second=kept[1], train=kept[2][:N_TRAIN])


def counts(task: Task, data: Path) -> dict[str, Any]:
    """Return what the registry's page says of a task: rows, answers, the most frequent one, the share of empty ones."""
    drawn = read_rows(task, data)
    pool = [row for files in (task.train, task.test) if files for row in read_pool(task, data, files)]
    answers = Counter(row.answers[0] for row in pool)
    return {"rows": len(pool), "train": len(drawn.train), "test": len(drawn.test), "second": len(drawn.second),
            "answers": len(answers), "largest": round(answers.most_common(1)[0][1] / len(pool), 3),
            "empty": round(sum(row.empty for row in pool) / len(pool), 3)}  # fmt: skip


if __name__ == "__main__":
    every = read_tasks()
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(every):
        raise SystemExit(f"{__doc__}\nTasks: {', '.join(every)}")
    for name in sys.argv[2:] or sorted(open_tasks(every)):
        found = counts(every[name], Path(sys.argv[1]))
        stated = all(found[key] == getattr(every[name], key) for key in ("rows", "answers", "largest", "empty"))
        print(name, json.dumps(found), "as stated" if stated else "NOT as stated in tasks.toml")
