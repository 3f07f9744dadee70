"""The store of a small project that was run: any file of it odd, then every verb that reads it, and the doctor."""

from __future__ import annotations

import io
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
from hypothesis import strategies as st
from scripts.fuzz.mutations import VALUES, as_json, contents, values

from tuneworthy.cli import invoke
from tuneworthy.doctor.examine import RECORDS, examine, repair
from tuneworthy.errors import TuneworthyError
from tuneworthy.ladder.task_data import record_reveal
from tuneworthy.people.review_log import FILE_NAME, ReviewPlan, RowVerdict
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import write_artifact
from tuneworthy.store.database import UNREADABLE

PROJECT: Final = """[task]
name = "t"
target = 0.9
[[graders]]
type = "exact"
[models.weak]
provider = "scripted"
function = "world.py:weak"
[models.strong]
provider = "scripted"
function = "world.py:strong"
[ladder]
baseline = "weak"
rungs = ["baseline", "model"]
"""
WORLD: Final = """def digits(request):
    return sum(map(int, filter(str.isdigit, request.messages[-1]["content"])))


def strong(request):
    return ["red", "green", "blue"][digits(request) % 3]


def weak(request):
    return strong(request) if digits(request) % 4 else "red"
"""
VERBS: tuple[tuple[str, ...], ...] = (
    ("status",), ("decide",), ("report",), ("cases", "show"), ("check", "--offline"), ("doctor",), ("run",),
    ("budget",), ("plan",), ("data", "card"), ("label", "review", "--status"), ("compare", "weak", "strong"),
    ("doctor", "--json"), ("export", "variant"),
)  # fmt: skip
TABLES: Final = {"responses": ("key", "body", "cost_usd", "created"), "open_calls": ("key", "ceiling_usd", "created")}
CELLS: Final = (
    -1.0,
    float("inf"),
    float("-inf"),
    "",
    b"",
    b"\xff",
    *(one for one in VALUES if not isinstance(one, list | dict)),
)
GOOD: Final = frozenset({0, 2, 3, 4, 5})


@cache
def original() -> Path:
    """Make the project, run it and fill its store."""
    root = Path(tempfile.mkdtemp(prefix="tuneworthy-fuzz-")) / "world"
    root.mkdir()
    (root / "tuneworthy.toml").write_text(PROJECT)
    (root / "world.py").write_text(WORLD)
    rows = ({"input": f"item {n}", "expected": ["red", "green", "blue"][sum(map(int, str(n))) % 3]} for n in range(60))
    (root / "cases.jsonl").write_bytes(b"".join(as_json(row) + b"\n" for row in rows))
    for words in (["run"], ["run", "--quick"], ["decide"]):
        verb(root, tuple(words))
    folder = Folder(root)
    record_reveal(folder, ["c1"], "cases show")
    write_artifact(folder, "gguf", lambda part: (part / "model.gguf").write_bytes(b"1") and None, parent=None, about={})
    plan = ReviewPlan(id="p", version="v", rows=("a",), seed=1, n_rows=9, time="t", attempt=1, alpha=0.05, bound=0.9,
                      max_bad=0, n_known=0, n_known_bad=0)  # fmt: skip
    verdict = RowVerdict(sample="p", row="a", reviewer="r", good=True, reason="", time="t")
    lines = ({"kind": "plan", **asdict(plan)}, {"kind": "verdict", **asdict(verdict)})
    (root / FILE_NAME).write_bytes(b"".join(as_json(line) + b"\n" for line in lines))
    return root


def silently(words: list[str]) -> int:
    """Run a command without its output."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return invoke(words)


@cache
def records() -> dict[str, bytes]:
    """Return the records of the project by path; those that it lacks are as another one."""
    folder = Folder(original()).path
    names = [*RECORDS, "models/latest-gguf"]
    paths = {name: folder / f"{name.replace('*', 'x')}.json" for name in names}
    other = (folder / "verdict.json").read_bytes()
    paths["manifest"] = next(folder.glob("models/*/manifest.json"))
    paths["reviews"] = original() / FILE_NAME
    return {str(path.relative_to(original())): path.read_bytes() if path.exists() else other for path in paths.values()}


@st.composite
def damages(draw: st.DrawFn) -> Callable[[Path], None]:
    """Return what damages a store."""
    kind = draw(st.sampled_from(["record", "record", "cell", "cell", "bytes"]))
    if kind == "record":
        name = draw(st.sampled_from(sorted(records())))
        before = records()[name]
        if draw(st.booleans()):
            content = draw(contents([before]))
        elif name == FILE_NAME:
            content = b"".join(as_json(draw(values([orjson.loads(line)]))) + b"\n" for line in before.splitlines())
        else:
            content = as_json(draw(values([orjson.loads(before)])))
        return Damage("record", name, content)
    if kind == "bytes":
        place = draw(st.integers(0, 10**6))
        return Damage("bytes", str(place), draw(st.binary(min_size=1, max_size=40)))
    table = draw(st.sampled_from(sorted(TABLES)))
    column = draw(st.sampled_from(TABLES[table]))
    body = values([["red", "stop", 9, 1, 0, [], None, "m", [], 0.1], {"failure": ["timeout", "60 s", 2]}]).map(as_json)
    return Damage(table, column, draw(body | st.sampled_from(CELLS)))


class Damage:
    """One thing that is wrong with a store."""

    def __init__(self, kind: str, where: str, value: Any) -> None:
        self.kind, self.where, self.value = kind, where, value

    def __repr__(self) -> str:
        return f"{self.kind} {self.where}: {self.value!r:.2000}"

    def __call__(self, root: Path) -> None:
        """Damage the store of `root`."""
        path = Folder(root).responses
        if self.kind == "record":
            (root / self.where).parent.mkdir(parents=True, exist_ok=True)
            (root / self.where).write_bytes(self.value)
        elif self.kind == "bytes":
            with path.open("r+b") as file:
                file.seek(int(self.where) % path.stat().st_size)
                file.write(self.value)
        else:
            odd = (*UNREADABLE, OverflowError, UnicodeEncodeError)  # not a value of SQLite, or damaged before
            with suppress(*odd), closing(sqlite3.connect(path)) as store, store:
                if self.kind == "open_calls":
                    store.execute("INSERT INTO open_calls VALUES (x'00', 0.5, 1.0)")
                store.execute(f"UPDATE {self.kind} SET {self.where} = ? WHERE rowid % 9 = 1", (self.value,))


INPUTS = st.tuples(st.lists(damages(), min_size=1, max_size=2), st.lists(st.integers(0, 10**6), min_size=1, max_size=2))


class Bug(Exception):
    """A verb ended as a bug; the message is its log."""


def use(drawn: Any) -> None:
    """Damage a copy of the store, read it with some verbs, and repair it: what is left cannot be repaired."""
    made, numbers = drawn
    with tempfile.TemporaryDirectory() as name:
        root = Path(shutil.copytree(original(), Path(name) / "world"))
        for damage in made:
            damage(root)
        for number in numbers:
            verb(root, VERBS[number % len(VERBS)])
        with suppress(TuneworthyError):
            examine(Folder(root))
            left = repair(Folder(root), print).damages
            assert not [damage for damage in left if damage.repair], left
        verb(root, VERBS[numbers[0] % len(VERBS)])


def verb(root: Path, words: tuple[str, ...]) -> None:
    """Run a verb.

    Raises:
        Bug: It ended in another way than the contract allows.
    """
    status = silently([*words, "--project", str(root)])
    if status not in GOOD:
        logs = sorted(Folder(root).logs.glob("bug-*.log"), key=lambda path: path.stat().st_mtime)
        raise Bug(f"{words}: status {status}\n{logs[-1].read_text() if logs else ''}")


def prepare() -> None:
    """Build the store, outside the bounds of an input."""
    records()
