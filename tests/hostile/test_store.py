"""A damaged store, a folder that cannot be written, a full disk, a clock that jumps: one line, and the rest goes on.

Every damage is planted in a project that was run. Each verb then ends with an exit status of the contract and never as
a bug; `doctor` names the file; after `doctor --repair` the ladder runs to its end, and no answer that could be read is
asked again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, nullcontext
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.table import tried
from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.task_data import record_reveal
from tuneworthy.store import Folder, ResponseStore, database, shapes
from tuneworthy.store.artifacts import artifacts, latest_artifact, write_artifact
from tuneworthy.types import Response
from tuneworthy.verdict.answer import load_verdict

READING = (["status"], ["decide"], ["report"], ["cases", "show"], ["check", "--offline"])
BODIES: dict[str, bytes | str] = {
    "text xx": "xx", "bytes xx": b"xx", "list": b"[]", "object": b'{"a":1}', "null": b"null", "number": b"7",
    "ten integers": b"[1,2,3,4,5,6,7,8,9,10]", "twenty fields": b'["a"' + b",1" * 19 + b"]", "byte ff": b"\xff",
    "2,000 nested lists": b"[" * 2000 + b"]" * 2000, "failure of another shape": b'{"failure": {"code": 1}}',
    "failure of numbers": b'{"failure": [1, 2, "x"]}', "empty": b"", "tokens as text": b'["a","stop","many"]',
    "tool calls as text": b'["a","stop",1,1,0,"calls"]', "seconds as a list": b'["a","stop",1,1,0,[],null,"m",[],[1]]',
}  # fmt: skip
RECORD_TEXTS = {
    "list": "[]", "object": "{}", "null": "null", "number": "3", "text": '"x"', "empty": "", "not UTF-8": b"\xff\xfe{}",
    "3,000 nested lists": "[" * 3000 + "]" * 3000, "3,000 nested objects": '{"a":' * 3000 + "1" + "}" * 3000,
}  # fmt: skip


def inputs(values: Iterable[Any], *fast: Any) -> list[Any]:
    """Return parameters of which all but `fast` run with the slow tests."""
    return [value if value in fast else pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store") / "world"
    models = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.95)"}
    write_simulation(root, models, n_cases=60, n_examples=210, rungs=["baseline", "model"])
    assert invoke(["run", "--project", str(root)]) == 0
    assert invoke(["run", "--quick", "--project", str(root)]) in {0, 4}
    assert invoke(["decide", "--project", str(root)]) in {0, 3, 4}
    record_reveal(Folder(root), ["c1"], "cases show")
    return root


@pytest.fixture
def world(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "world"))


def run(root: Path, *words: str) -> int:
    return invoke([*words, "--project", str(root)])


def survives(kind: str, what: str, root: Path, name: str, capsys: pytest.CaptureFixture[str], **end: bool) -> None:
    """Try every reading verb, then `doctor`, its repair, and a run.

    Args:
        kind: The class of the input.
        what: The input.
        root: The project, damaged.
        name: What `doctor` must name.
        capsys: Captures what is printed.
        end: `repaired=False` where nothing can repair it.
    """
    for words in READING:
        if words == ["decide"] and name == "verdict.json":
            continue  # it would write a new one
        capsys.readouterr()
        status, err = run(root, *words), capsys.readouterr().err
        errors = [line for line in err.splitlines() if line.startswith("error[E-")]
        good = status in {0, 2, 3, 4} and "Traceback" not in err and len(errors) <= 1
        tried(kind, f"{what}: {' '.join(words)}", good, (status, err))
    capsys.readouterr()
    status = run(root, "doctor", "--json")
    report = json.loads(capsys.readouterr().out)
    named = any(name in damage["file"] + damage["row"] for damage in report["damaged"])
    tried(kind, f"{what}: doctor", status == 2 and named, (status, report))
    status = run(root, "doctor", "--repair")
    repaired = end.get("repaired", True)
    tried(kind, f"{what}: doctor --repair", status == (0 if repaired else 2), (status, capsys.readouterr()))
    status = run(root, "run")
    tried(kind, f"{what}: run", status == (0 if repaired else 2), (status, capsys.readouterr().err))


def edit(root: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(Folder(root).responses)) as store, store:
        store.execute(statement, values)


@pytest.mark.parametrize("what", inputs(BODIES, "text xx", "ten integers", "byte ff", "2,000 nested lists"))
def test_a_row_without_an_answer_is_named_and_moved_aside(
    world: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(world, "UPDATE responses SET body = ? WHERE rowid % 7 = 3", BODIES[what])
    capsys.readouterr()
    assert run(world, "run") == 2
    assert "responses.sqlite, row " in capsys.readouterr().err
    survives("bad row", f"body {what}", world, "responses 3", capsys)


@pytest.mark.parametrize(
    ("column", "value"),
    [("cost_usd", "abc"), ("cost_usd", -1.0), ("cost_usd", float("inf")), ("cost_usd", b"\xff"), ("created", "abc"),
     ("created", b"\x00"), ("key", "a text key"), ("key", 7)],
)  # fmt: skip
def test_a_row_with_another_bad_value_is_named_and_repaired(
    world: Path, column: str, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(world, f"UPDATE responses SET {column} = ? WHERE rowid = 5", value)
    survives("bad row", f"{column} {value!r}", world, "responses 5", capsys)


@pytest.mark.parametrize("value", ["abc", -5.0, float("-inf")])
def test_an_open_call_without_a_ceiling_stops_what_spends_and_is_repaired(
    world: Path, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(ResponseStore(Folder(world).responses)) as store:
        note = store.open_call(b"k" * 16, 0.5)
    edit(world, "UPDATE open_calls SET ceiling_usd = ? WHERE rowid = ?", value, note)
    survives("bad row", f"ceiling {value!r}", world, "open_calls", capsys)


def overwrite(path: Path, place: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(content)


def replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def without_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as made:
        made.executescript("CREATE TABLE x (y); DROP TABLE x")


FILES: dict[str, Callable[[Path], object]] = {
    "not a database": lambda path: path.write_bytes(b"no database, but long enough to be read as one. " * 200),
    "half of it": lambda path: os.truncate(path, path.stat().st_size // 2),
    "its first 100 bytes": lambda path: os.truncate(path, 100),
    "its first page": lambda path: os.truncate(path, 4096),
    "a header of another kind": lambda path: overwrite(path, 0, b"SQLite format 4\0"),
    "a page of zeros": lambda path: overwrite(path, 4096 * 3, bytes(4096)),
    "noise in the middle": lambda path: overwrite(path, path.stat().st_size // 2, os.urandom(6000)),
    "noise in the schema": lambda path: overwrite(path, 100, b"\xff" * 300),
    "bytes in the schema that are no text": lambda path: path.write_bytes(
        path.read_bytes().replace(b"CREATE TABLE", b"CREATE\xba\xff\xb9\xfeE")
    ),
    "empty": lambda path: os.truncate(path, 0),
    "a database without tables": lambda path: replace(path, without_tables),
    "a folder": lambda path: replace(path, Path.mkdir),
    "a pipe": lambda path: replace(path, os.mkfifo),
}


@pytest.mark.parametrize("what", inputs(FILES, "not a database", "half of it", "empty", "a pipe"))
def test_a_file_that_sqlite_cannot_read_is_named_and_rebuilt(
    world: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    FILES[what](Folder(world).responses)
    survives("damaged SQLite file", what, world, "responses.sqlite", capsys)


SCHEMAS = {
    "a trigger that deletes": "CREATE TRIGGER t AFTER INSERT ON responses BEGIN DELETE FROM responses; END",
    "a trigger that changes": "CREATE TRIGGER t AFTER INSERT ON responses BEGIN UPDATE responses SET body = 'x'; END",
    "a trigger on notes": "CREATE TRIGGER t AFTER INSERT ON open_calls BEGIN DELETE FROM open_calls; END",
    "a trigger that aborts": "CREATE TRIGGER t BEFORE INSERT ON responses BEGIN SELECT RAISE(IGNORE); END",
    "a unique index": "CREATE UNIQUE INDEX i ON responses (cost_usd) WHERE 0",
    "a further table": "CREATE TABLE more (x)",
    "a further column": "ALTER TABLE responses ADD COLUMN x",
    "a renamed column": "ALTER TABLE responses RENAME COLUMN body TO text",
    "a renamed table": "ALTER TABLE responses RENAME TO answers",
    "a view instead of notes": "CREATE VIEW open_calls AS SELECT key, 0.0 AS ceiling_usd, created FROM responses",
    "a dropped table": "DROP TABLE responses",
}


@pytest.mark.parametrize("what", inputs(SCHEMAS, "a trigger that deletes", "a dropped table"))
def test_a_file_that_holds_something_else_is_not_believed(
    world: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "view" in what:
        edit(world, "DROP TABLE open_calls")
    edit(world, SCHEMAS[what])
    survives("foreign schema", what, world, "responses.sqlite", capsys)


@pytest.mark.parametrize(
    "name", inputs(["split", "run", "quick", "verdict", "comparisons", "revealed"], "split", "run", "comparisons")
)
@pytest.mark.parametrize(
    "what",
    inputs([*RECORD_TEXTS, "truncated", "values replaced", "a folder", "a pipe"], "list", "values replaced", "a pipe"),
)
def test_a_record_of_another_shape_is_named_and_moved_aside(
    world: Path, name: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Folder(world).path / f"{name}.json"
    if what in {"a folder", "a pipe"}:
        FILES[what](path)
    elif what == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif what == "values replaced":
        document = json.loads(path.read_bytes())
        kept = {"schema_version": 1} if "schema_version" in document else {}
        path.write_text(json.dumps([7] if isinstance(document, list) else dict.fromkeys(document, 7) | kept))
    else:
        text = RECORD_TEXTS[what]
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if name == "revealed" and what == "list":
        pytest.skip("an empty list is what this record may hold")
    survives(
        "damaged record", f"{name}: {what}", world, path.name, capsys, repaired=name not in {"comparisons", "revealed"}
    )


def test_a_record_of_another_version_is_named_and_stays(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Folder(world).path / "split.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"schema_version": 99}))
    assert run(world, "decide") == 2
    assert "E-STORE-02" in capsys.readouterr().err
    assert run(world, "doctor", "--repair") == 2
    assert json.loads(path.read_bytes())["schema_version"] == 99


def test_a_repair_keeps_every_answer_that_can_be_read_and_what_the_others_cost(world: Path) -> None:
    path = Folder(world).responses
    edit(world, "UPDATE responses SET cost_usd = 0.25")
    with closing(ResponseStore(path)) as store:
        n, spent = len(store), store.spending().usd
    edit(world, "UPDATE responses SET body = 'xx' WHERE rowid IN (3, 4)")
    edit(world, "UPDATE responses SET cost_usd = 'abc' WHERE rowid = 5")
    assert run(world, "doctor", "--repair") == 0
    with closing(ResponseStore(path)) as store:
        assert len(store) == n - 3
        assert store.spending().usd == pytest.approx(spent)
    with closing(sqlite3.connect(Folder(world).path / "quarantine" / "responses.sqlite")) as old:
        assert old.execute("SELECT body FROM responses WHERE rowid = 3").fetchone() == ("xx",)


def test_a_repair_that_fails_leaves_the_damaged_file_where_it_is(
    world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(world, "UPDATE responses SET body = 'xx' WHERE rowid = 3")
    path = Folder(world).responses
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("tuneworthy.doctor.answers._copy", full)
    capsys.readouterr()
    status = run(world, "doctor", "--repair")
    tried("full disk", "doctor --repair", status == 2 and path.read_bytes() == before, capsys.readouterr().err)


def test_two_repairs_keep_both_damaged_files(world: Path) -> None:
    for folder in ("quarantine", "quarantine-2"):
        (Folder(world).path / "verdict.json").write_text("[]")
        assert run(world, "doctor", "--repair") == 0
        assert (Folder(world).path / folder / "verdict.json").read_text() == "[]"


def test_an_answer_that_was_read_once_is_not_asked_again_after_a_repair(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(world, SCHEMAS["a trigger that deletes"])
    assert run(world, "doctor", "--repair") == 0
    with closing(ResponseStore(Folder(world).responses)) as store:
        before = len(store)
    assert run(world, "run") == 0
    with closing(ResponseStore(Folder(world).responses)) as store:
        assert len(store) == before


def test_a_damaged_model_or_import_is_reported_with_what_it_costs(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(world)
    for name, content in (("one", b"1"), ("two", b"2")):
        write_artifact(
            folder,
            "gguf",
            lambda part, c=content: (part / "model.gguf").write_bytes(c) and None,
            parent=None,
            about={"n": name},
        )  # type: ignore[misc]
    first, second = artifacts(folder, "gguf")
    (first.folder / "model.gguf").write_bytes(b"3")
    (second.folder / "manifest.json").write_text("[]")
    capsys.readouterr()
    assert run(world, "doctor", "--json") == 2
    report = json.loads(capsys.readouterr().out)["damaged"]
    tried("damaged artifact", "file changed, manifest damaged", len(report) == 2, report)
    assert {Path(row["file"]).name for row in report} == {"model.gguf", "manifest.json"}
    assert run(world, "doctor", "--repair") == 2
    assert [one.id for one in artifacts(folder, "gguf")] == [first.id]


# ---- the folder and the machine -------------------------------------------------------------------------------------


def child(root: Path, *words: str, before: str = "", out: Any = subprocess.PIPE) -> Any:
    command = f"{before} {sys.executable} -m tuneworthy {' '.join(words)} --project {root}"
    return subprocess.run(
        ["bash", "-c", command], check=False, stdout=out, stderr=subprocess.PIPE, text=True, timeout=600, cwd="/",
        env={**os.environ, "PYTHONPATH": str(Path(shapes.__file__).parents[2]), "HOME": "/nonexistent"},
    )  # fmt: skip


@pytest.fixture
def read_only(world: Path) -> Iterator[Path]:
    """A project that nobody may write to."""
    paths = [world, *world.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield world
    for path in paths:
        path.chmod(0o755)


# The owner of a file may still read it, and no longer write where its mode forbids that.
WITHOUT_PRIVILEGES = "" if os.geteuid() else "setpriv --bounding-set=-dac_override,-dac_read_search,-fowner "


@pytest.mark.parametrize(
    ("words", "statuses"),
    [("status", {0}), ("decide", {0, 3, 4}), ("run", {2}), ("doctor --repair", {2})]
    + [pytest.param(words, statuses, marks=pytest.mark.slow) for words, statuses in (
     ("cases show", {0}), ("check --offline", {0}), ("doctor", {0}), ("report --out /dev/stdout", {2}),
     ("compare baseline model", {2}), ("cases show --reveal-test", {0, 2}), ("plan", {0, 2, 3}))],
)  # fmt: skip
def test_a_read_only_project_can_be_read(read_only: Path, words: str, statuses: set[int]) -> None:
    before = {path: path.read_bytes() for path in read_only.rglob("*") if path.is_file()}
    done = child(read_only, *words.split(), before=WITHOUT_PRIVILEGES)
    good = done.returncode in statuses and "Traceback" not in done.stderr
    tried("read-only folder", words, good, (done.returncode, done.stderr))
    if words == "run":
        assert done.stderr.count("\n") == 1 and "Permission denied" in done.stderr
    assert {path: path.read_bytes() for path in read_only.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("words", inputs(["status", "run", "decide", "doctor", "report", "check --offline"], "run"))
@pytest.mark.parametrize(
    ("what", "before"),
    [("20 file descriptors", "ulimit -n 20; "), ("10 file descriptors", "ulimit -n 10; "),
     ("7 file descriptors", "ulimit -n 7; "), ("files of 64 KiB at most", "ulimit -f 64; trap '' XFSZ; ")],
)  # fmt: skip
@pytest.mark.slow
def test_a_limit_of_the_system_is_one_line(world: Path, words: str, what: str, before: str) -> None:
    done = child(world, *words.split(), before=before)
    good = done.returncode in {0, 2, 3, 4, 5} and "Traceback" not in done.stderr
    tried("limits of the system", f"{what}: {words}", good, (done.returncode, done.stderr))


@pytest.mark.parametrize(
    "words",
    inputs(["status", "run", "decide", "doctor --json", "report", "decide --help"], "status", "run"),
)
@pytest.mark.slow
def test_a_full_disk_behind_stdout_is_one_line(world: Path, words: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = child(world, *words.split(), out=full)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error[E-")]
    good = done.returncode == 2 and len(errors) == 1 and "No space left" in errors[0] and "Exception" not in done.stderr
    tried("full disk", f"stdout: {words}", good, (done.returncode, done.stderr))


@pytest.mark.parametrize("words", inputs(["status", "decide", "decide --help", "doctor --json"], "status"))
@pytest.mark.slow
def test_a_reader_that_leaves_is_no_bug(world: Path, words: str) -> None:
    read, write = os.pipe()
    os.close(read)
    done = child(world, *words.split(), out=write)
    os.close(write)
    good = done.returncode == 141 and "Traceback" not in done.stderr and "Exception" not in done.stderr
    tried("closed pipe", words, good, (done.returncode, done.stderr))


@pytest.mark.parametrize("words", [*READING, ["run"], ["doctor"], ["report", "data"], ["train"], ["plan"]])
def test_a_file_as_the_project_is_one_line(world: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status = invoke([*words, "--project", str(world / "cases.jsonl")])
    err = capsys.readouterr().err
    tried("file as a folder", f"--project: {' '.join(words)}", status == 2 and "is a file" in err, (status, err))


@pytest.mark.parametrize("words", [*READING, ["run"], ["doctor"]])
def test_a_file_where_the_store_should_be_is_one_line(
    world: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(Folder(world).path)
    Folder(world).path.write_text("not a folder")
    capsys.readouterr()
    status = run(world, *words)
    err = capsys.readouterr().err
    tried(
        "file as a folder", f".tuneworthy: {' '.join(words)}", status in {0, 2, 4} and "bug" not in err, (status, err)
    )


def test_a_store_that_another_process_locks_is_one_line(
    world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT_S", 0.1)
    with closing(sqlite3.connect(Folder(world).responses, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        capsys.readouterr()
        status, err = run(world, "run"), capsys.readouterr().err
    tried("locked file", "run", status == 2 and "locked" in err, (status, err))


# ---- the clock ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "jump_s", inputs([-3600.0, -10 * 365 * 86400.0, 3600.0, 20 * 365 * 86400.0], -10 * 365 * 86400.0)
)
def test_a_clock_that_jumps_during_a_run_changes_no_number(
    original: Path, tmp_path: Path, jump_s: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(original, tmp_path / "world"))
    shutil.rmtree(Folder(root).path)
    real, calls = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + (jump_s if next(calls) % 2 else 0.0))
    assert run(root, "run") == 0
    monkeypatch.undo()
    then, now = (Folder(one).read("run", dict) for one in (original, root))
    assert then is not None and now is not None
    same = [[row["score"] for row in record["rungs"]] for record in (then, now)]
    durations = [row["latency_p50_ms"] or 0.0 for row in now["rungs"]]
    capsys.readouterr()
    good = same[0] == same[1] and all(0 <= ms < 60_000 for ms in durations) and run(root, "doctor") == 0
    tried("clock", f"run, jumps of {jump_s:g} s", good, (same, durations))


@pytest.mark.parametrize("days", [-4000, -1, 0, 89, 91, 4000])
def test_a_verdict_of_a_wrong_clock_does_not_hold(world: Path, days: int) -> None:
    stored = load_verdict(load(world), date.today() + timedelta(days=days))
    assert stored is not None
    good = stored.holds == (0 <= days <= 90) or days == -1
    tried("clock", f"verdict, {days} days later", good, stored.changed)


def test_the_latest_model_is_the_one_that_was_made_last_whatever_the_clock_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)

    def made(name: str, year: int) -> str:
        monkeypatch.setattr("tuneworthy.store.artifacts.now", lambda: f"{year}-01-01T00:00:00+00:00")
        about = {"name": name}
        return write_artifact(
            folder, "gguf", lambda part: (part / "f").write_text(name) and None, parent=None, about=about
        ).id

    made("first", 2040)
    last = made("second", 1999)
    latest = latest_artifact(folder, "gguf")
    good = latest is not None and latest.id == last and artifacts(folder, "gguf")[-1].id == last
    tried("clock", "models made while it jumped back", good)


# ---- each guard, switched off ---------------------------------------------------------------------------------------


def test_without_the_shapes_a_damaged_record_is_a_bug(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (Folder(world).path / "split.json").write_text("[]")
    assert run(world, "run") == 2
    monkeypatch.setattr(shapes, "_validator", lambda shape: lambda document: document)
    assert run(world, "run") == 1


def test_without_the_check_of_the_schema_a_trigger_eats_every_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "responses.sqlite"
    ResponseStore(path).close()
    with closing(sqlite3.connect(path)) as store:
        store.execute(SCHEMAS["a trigger that deletes"])
    with pytest.raises(UserError, match="trigger t"):
        ResponseStore(path)
    monkeypatch.setattr(database, "foreign_objects", lambda *_: [])
    with closing(ResponseStore(path)) as opened:
        opened.put(b"k" * 16, Response(text="paid for"), 1.0)
        assert len(opened) == 0


def test_without_its_explanation_a_damaged_file_is_a_bug(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Folder(world).responses.write_bytes(b"no database, but long enough to be read as one. " * 200)
    assert run(world, "run") == 2
    monkeypatch.setattr(database, "explained", lambda _: nullcontext())
    assert run(world, "run") == 1


def test_without_the_hashes_a_changed_model_is_whole(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(world)
    write_artifact(folder, "gguf", lambda part: (part / "f").write_bytes(b"1") and None, parent=None, about={})
    model = latest_artifact(folder, "gguf")
    assert model is not None
    (model.folder / "f").write_bytes(b"2")
    assert run(world, "doctor") == 2
    monkeypatch.setattr("tuneworthy.doctor.examine.changed", lambda *_: None)
    assert run(world, "doctor") == 0


def test_without_the_guard_a_reader_that_leaves_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def left(_: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("tuneworthy.cli._run", left)
    assert invoke(["status"]) == 141
    monkeypatch.setattr("tuneworthy.cli.errno.EPIPE", -1)
    assert invoke(["status"]) == 1


def test_without_the_table_of_system_errors_a_full_disk_is_a_bug(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device", "run.json")

    monkeypatch.setattr(os, "fsync", full)
    assert run(world, "run") == 2
    monkeypatch.setattr("tuneworthy.cli.SYSTEM_HINTS", {})
    assert run(world, "run") == 1


def test_without_reading_locks_a_read_only_project_cannot_be_decided(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "lock")

    monkeypatch.setattr(Folder, "create", refused)
    monkeypatch.setattr(Folder, "writable", False)
    assert run(world, "decide") in {0, 3, 4}
    monkeypatch.setattr(Folder, "writable", True)
    assert run(world, "decide") == 2


def test_without_the_limit_on_its_end_a_verdict_of_a_clock_that_was_ahead_holds(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = date.today() - timedelta(days=4000)
    stored = load_verdict(load(world), today)
    assert stored is not None and not stored.holds
    monkeypatch.setattr("tuneworthy.verdict.answer.FRESH_DAYS", 10_000)
    stored = load_verdict(load(world), today)
    assert stored is not None and stored.holds


def test_without_the_money_check_a_negative_cost_frees_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "responses.sqlite"
    with closing(ResponseStore(path)) as store:
        store.put(b"k" * 16, Response(text="dear"), 1.0)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE responses SET cost_usd = -1000.0")
    with closing(ResponseStore(path)) as store:
        with pytest.raises(UserError, match="row 1"):
            store.spending().usd
        monkeypatch.setattr("tuneworthy.store.responses.MONEY", "({0} IS NOT NULL)")
        assert store.spending().usd < 0
