"""An import: nothing is lost silently, memory does not grow, and a killed run goes on where it was."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.dataset.check_rows import row
from tests.importing import import_into
from tests.killing import killed_at
from tuneworthy.cases import read_examples
from tuneworthy.cli import invoke
from tuneworthy.dataset.base import CheckContext
from tuneworthy.dataset.checks.feedback import FeedbackCheck
from tuneworthy.dataset.importing import folder, importer
from tuneworthy.dataset.importing.folder import Import, latest_import
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.dataset.records import ImportRequest, RejectReason
from tuneworthy.errors import DataError, TuneworthyError, UserError
from tuneworthy.store import Folder
from tuneworthy.types import content_hash


def log(question: str, answer: str = "a", **more: Any) -> dict[str, Any]:
    request = {"messages": [{"role": "user", "content": question}], "model": "m"}
    return {"request": request, "response": {"choices": [{"message": {"content": answer}}]}, **more}


def write(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "project")


MIXED = [
    log("one"),
    log("two", feedback="thumbs_down"),
    log("three", correction="better"),
    log("four", escalated=True),
    b'{"request": ',
    log("five", "\u200b"),
    log("six \u202e\u0627\u200d", "fine"),
    log("nul \0"),
    log("one"),
    b"caf\xe9",
    {"request": {"messages": [{"role": "user", "content": "q", "ts": 7}]}, "response": "late"},
]


def test_every_row_is_kept_or_has_its_reason_in_a_file(store: Folder, tmp_path: Path) -> None:
    done = import_files(store, [write(tmp_path / "logs.jsonl", *MIXED)])
    kept = list(done.examples())
    assert [row.source for row in kept] == [f"logs.jsonl:{line}" for line in (1, 3, 7, 9, 11)]
    assert [row.answer for row in kept] == ["a", "better", "fine", "a", "late"]
    assert all(row.id == content_hash(list(row.messages)) for row in kept)
    assert kept[1].meta["repaired"] == "correction"
    assert [row.meta.get("feedback_settled") for row in kept] == [None, True, None, None, None]
    assert kept[4].messages[0] == {"role": "user", "content": "q"}
    told = {reject.source: reject.reason for reject in done.rejects()}
    assert told == {
        "logs.jsonl:2": "thumbs_down",
        "logs.jsonl:4": "escalated",
        "logs.jsonl:5": "not_json",
        "logs.jsonl:6": "empty_answer",
        "logs.jsonl:8": "nul",
        "logs.jsonl:10": "not_utf8",
    }
    by_source = {reject.source: reject for reject in done.rejects()}
    assert by_source["logs.jsonl:2"].row["messages"][0]["content"] == "two"
    assert by_source["logs.jsonl:5"].text == '{"request": '
    assert by_source["logs.jsonl:10"].text == "caf\\xe9"
    assert "at column 4" in by_source["logs.jsonl:10"].detail
    record = done.record
    assert (record.n_read, record.n_kept, record.n_rejected, record.n_repaired) == (11, 5, 6, 1)
    assert record.reasons["thumbs_down"] == RejectReason("a user rated the answer as bad", "logs.jsonl:2", 1)
    assert record.sources[0].format == "jsonl/openai_log"
    notes = "\n".join(record.notes)
    assert "zero-width or bidirectional control characters kept unchanged (1 row)" in notes
    assert "message keys dropped: ts" in notes


def test_several_files_of_any_format_become_one_import(store: Folder, tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a.jsonl", log("one")),
        write(
            tmp_path / "b.json", [{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}]
        ),
        tmp_path / "c.csv.gz",
    ]
    files[2].write_bytes(gzip.compress(b"question,answer,rating\nq,=1+1,1\nr,b,0\n"))
    done = import_files(store, files)
    assert [row.answer for row in done.examples()] == ["a", "a", "=1+1"]
    assert [source.format for source in done.record.sources] == [
        "jsonl/openai_log",
        "json/sharegpt",
        "csv+gzip/columns",
    ]
    assert [reject.source for reject in done.rejects()] == ["c.csv.gz:3"]
    assert latest_import(store) == done


def test_files_of_one_name_are_told_apart(store: Folder, tmp_path: Path) -> None:
    paths = [tmp_path / folder / "logs.jsonl" for folder in ("jan", "feb", "old/feb")]
    for path in paths:
        path.parent.mkdir(parents=True)
        write(path, log(f"of {path.parent}"), b"oops")
    done = import_files(store, [*paths, write(tmp_path / "more.jsonl", log("more"))])
    names = ["jan/logs.jsonl", f"{tmp_path.name}/feb/logs.jsonl", "old/feb/logs.jsonl", "more.jsonl"]
    assert [source.name for source in done.record.sources] == names
    assert [row.source for row in done.examples()] == [f"{name}:1" for name in names]
    assert [reject.source for reject in done.rejects()] == [f"{name}:2" for name in names[:3]]
    assert importer.names_of([paths[0], paths[0]]) == ["logs.jsonl", "logs.jsonl"]


def test_an_import_is_read_by_the_readers_of_examples_too(store: Folder, tmp_path: Path) -> None:
    done = import_files(store, [write(tmp_path / "a.jsonl", *MIXED[:4])])
    read = read_examples(done.folder / "rows.jsonl").examples
    assert [row.id for row in read] == [row.id for row in done.examples()]


def test_the_same_import_is_not_done_twice_and_becomes_the_latest(store: Folder, tmp_path: Path) -> None:
    first = import_files(store, [write(tmp_path / "a.jsonl", log("one"))])
    second = import_files(store, [write(tmp_path / "b.jsonl", log("two"))])
    assert latest_import(store) == second
    said: list[str] = []
    again = import_files(store, [tmp_path / "a.jsonl"], say=said.append)
    assert (again, latest_import(store)) == (second, second)
    assert "not read again" in said[0]
    write(tmp_path / "a.jsonl", log("three"))
    assert import_files(store, [tmp_path / "a.jsonl"]).id != first.id


def test_a_second_file_adds_and_a_changed_one_takes_the_place_of_what_it_was(store: Folder, tmp_path: Path) -> None:
    for month in ("jan", "feb"):
        (tmp_path / month).mkdir()
    jan, feb = tmp_path / "jan/logs.jsonl", tmp_path / "feb/logs.jsonl"
    import_files(store, [write(jan, log("one"), log("bad", feedback="thumbs_down"), log("mended", correction="b"))])
    both = import_files(store, [write(feb, log("two"), b"oops")])
    assert [row.question for row in both.examples()] == ["one", "mended", "two"]
    assert [(one.name, one.n_kept, one.n_rejected) for one in both.record.sources] == [
        ("logs.jsonl", 2, 1),
        ("feb/logs.jsonl", 1, 1),
    ]
    assert [reject.reason for reject in both.rejects()] == ["thumbs_down", "not_json"]
    assert both.record.n_repaired == 1
    changed = import_files(store, [write(jan, log("three"))])
    assert [row.question for row in changed.examples()] == ["two", "three"]
    assert latest_import(store) == changed
    alone = import_files(store, [feb], fresh=True)
    assert [row.question for row in alone.examples()] == ["two"] and latest_import(store) == alone


def test_a_file_without_a_usable_row_adds_nothing(store: Folder, tmp_path: Path) -> None:
    first = import_files(store, [write(tmp_path / "a.jsonl", log("one"))])
    with pytest.raises(UserError, match=r"No row is usable .* The most frequent reason: a user rated"):
        import_files(store, [write(tmp_path / "b.jsonl", log("q", feedback="bad"))])
    with pytest.raises(UserError, match="The most frequent reason: expected a JSON object"):
        import_files(store, [write(tmp_path / "c.jsonl", b"oops")])
    assert latest_import(store) == first


def test_named_columns_are_taken(store: Folder, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,c\nq,x,y\n")
    done = import_files(store, [path], ImportRequest(inputs=("a",), expected="c"))
    (row,) = done.examples()
    assert (row.question, row.answer, row.meta) == ("q", "y", {"b": "x"})


def test_a_file_that_cannot_be_read_and_rows_that_are_all_bad_are_one_line(store: Folder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Cannot read"):
        import_files(store, [tmp_path / "none.jsonl"])
    with pytest.raises(DataError, match="expected a known format for examples"):
        import_files(store, [write(tmp_path / "a.jsonl", {"foo": 1})])
    with pytest.raises(UserError, match=r"No row is usable \(rows read: 2\)") as caught:
        import_files(store, [write(tmp_path / "b.jsonl", log("q", feedback="bad"), b"oops")])
    assert "rejects.jsonl" in str(caught.value)


def test_a_long_reject_is_cut_and_its_size_told(store: Folder, tmp_path: Path) -> None:
    long = b'{"request": "' + b"x" * 100_000
    done = import_files(store, [write(tmp_path / "a.jsonl", log("q"), long, log("y" * 100_000, escalated=1))])
    first, second = done.rejects()
    assert (len(first.text or ""), first.n_bytes) == (importer.MAX_SHOWN_ROW, len(long) + 1)
    assert len(second.text or "") == importer.MAX_SHOWN_ROW and second.row is None


def test_ratings_tell_their_scale_by_the_first_rows(store: Folder, tmp_path: Path) -> None:
    stars = [log(f"q{i}", rating=1 + i % 5) for i in range(1000)]
    done = import_files(store, [write(tmp_path / "a.jsonl", *stars, log("late", rating=40))])
    assert [row.meta["rating"] for row in done.examples()] == [3, 4, 5] * 200
    assert done.record.reasons["unclear_feedback"].n == 1


def left_by_the_build(done: Import) -> list[str]:
    """Return the questions that stay once the check of the build looked at all rows."""
    rows = list(done.examples())
    gone = {finding.row for finding in FeedbackCheck()(rows, CheckContext())}
    return [row.question for number, row in enumerate(rows) if number not in gone]


def test_ratings_that_begin_late_are_judged_on_the_whole_set(store: Folder, tmp_path: Path) -> None:
    early = [log(f"early {i}") for i in range(importer.PEEK)]
    late = [log(f"{1 + i % 5} stars, {i}", rating=1 + i % 5) for i in range(20)]
    done = import_files(store, [write(tmp_path / "a.jsonl", *early, *late)])
    stayed = left_by_the_build(done)[importer.PEEK :]
    assert [question[0] for question in stayed] == ["3", "4", "5"] * 4


def test_a_head_with_one_rating_tells_no_scale(store: Folder, tmp_path: Path) -> None:
    rows = [log(f"{stars} stars, {i}", rating=stars) for stars in (1, 5) for i in range(importer.PEEK)]
    done = import_files(store, [write(tmp_path / "a.jsonl", *rows)])
    assert {question[0] for question in left_by_the_build(done)} == {"5"}


def test_ratings_of_single_answers_count_as_feedback_and_without_any_the_build_looks_for_none(
    store: Folder, tmp_path: Path
) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "rating": 5}]
    rated = import_files(store, [write(tmp_path / "a.jsonl", {"messages": turns})])
    assert [one.n_rated for one in rated.record.sources] == [1]
    disliked = [row("q", "a", thumbs="down")]
    assert [one.code for one in FeedbackCheck()(disliked, CheckContext())] == ["thumbs_down"]
    assert not list(FeedbackCheck()(disliked, CheckContext(rated=False)))


@pytest.mark.parametrize("n_before", [0, importer.PEEK])
def test_ratings_of_single_answers_have_a_scale_too(n_before: int, store: Folder, tmp_path: Path) -> None:
    def chat(stars: int) -> dict[str, Any]:
        answer = {"role": "assistant", "content": "a", "rating": stars}
        return {"messages": [{"role": "user", "content": f"{stars} stars"}, answer]}

    before = [{"messages": [{"role": "user", "content": f"{i}"}, {"role": "assistant", "content": "a"}]}
              for i in range(n_before)]  # fmt: skip
    done = import_files(store, [write(tmp_path / "a.jsonl", *before, *map(chat, range(1, 6)))])
    assert left_by_the_build(done)[n_before:] == ["3 stars", "4 stars", "5 stars"]
    assert all(message.keys() == {"role", "content"} for row in done.examples() for message in row.messages)


LINES = st.sampled_from([row if isinstance(row, bytes) else json.dumps(row).encode() for row in MIXED])
RAW = st.lists(LINES | st.binary(max_size=12), max_size=12).map(b"\n".join)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet", ".gz"])
@settings(max_examples=30, deadline=None)
@given(raw=RAW, cut=st.integers(10, 600))
@example(raw=b"{}\n\x02", cut=12)  # cut within the first bytes that are unpacked
def test_any_bytes_are_imported_in_full_or_refused(suffix: str, raw: bytes, cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        path.write_bytes(gzip.compress(raw)[:cut] if suffix == ".gz" else raw)
        store = Folder(Path(folder))
        with contextlib.suppress(TuneworthyError):
            import_files(store, [path])
        done = latest_import(store)
        if done is not None:
            sources = [row.source for row in done.examples()] + [reject.source for reject in done.rejects()]
            assert len(sources) == done.record.n_read
            assert suffix == ".csv" or len(set(sources)) == len(sources)  # a row of CSV may have two bad lines
            assert all(row.answer for row in done.examples())


# --- killed ---------------------------------------------------------------------------------------------------------


def many(tmp_path: Path) -> list[Path]:
    """Two files with rows and faults of all kinds, also ahead of the rows."""
    choose = random.Random(5)
    rows: list[Any] = [b"oops", b"\0", *[log(f"q{i}", rating=1 + i % 5) for i in range(1500)]]
    for _ in range(300):
        rows.insert(
            choose.randrange(len(rows)), choose.choice([b"{", log("x", "", n=1), log("y", escalated=True), b"\xff"])
        )
    write(tmp_path / "a.jsonl", *rows)
    table = "".join(f"q{i},{'' if i % 7 == 0 else 'a'}\n" if i % 11 else "a,b,c\n" for i in range(900))
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(f"question,answer\n{table}".encode())[:-300])
    return [tmp_path / "a.jsonl", tmp_path / "b.csv.gz"]


STEPS = [
    (folder.ImportWriter, "_write"),
    (folder.ImportWriter, "finish"),
    (folder, "write_atomic"),
    (os, "fsync"),
    (os, "replace"),
    (Path, "rename"),
]


def content(done: Import) -> tuple[bytes, bytes, dict[str, Any]]:
    document = asdict(replace(done.record, seconds=0.0))
    return (done.folder / "rows.jsonl").read_bytes(), (done.folder / "rejects.jsonl").read_bytes(), document


@pytest.mark.parametrize("n", [2, pytest.param(16, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_an_import_killed_at_any_of_20_moments_is_whole_or_not_there_and_ends_the_same(tmp_path: Path, n: int) -> None:
    files = many(tmp_path)
    whole = content(import_files(Folder(tmp_path / "whole"), files))
    assert whole[2]["n_kept"] > 1000 and len(whole[2]["reasons"]) >= 6
    n_moments = whole[2]["n_read"] + 6
    moments = [*sorted(random.Random(1).sample(range(1, n_moments), n)), n_moments - 3, n_moments - 1, n_moments]
    for number, moment in enumerate([*moments, 10**9]):
        store = Folder(tmp_path / f"killed{number}")
        killed = killed_at(moment, STEPS, lambda store=store: import_files(store, files))  # type: ignore[misc]
        assert killed == (moment < 10**9)
        named = [path for path in (store.path / "imports").iterdir() if path.is_dir() and path.name[0] != "."]
        assert all((path / "import.json").exists() for path in named)
        assert content(import_files(store, files)) == whole
        assert [path.name[0] for path in (store.path / "imports").iterdir() if path.is_dir()].count(".") == 0


def test_an_import_by_another_release_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, store = many(tmp_path), Folder(tmp_path / "project")
    first = import_files(store, files)
    monkeypatch.setattr(importer, "__version__", "0.0.0")
    assert import_files(store, files).id != first.id


def test_a_file_that_grows_while_it_is_read_is_refused(
    store: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", log("q"))
    stream = importer.stream_examples

    def growing(*arguments: Any, **named: Any) -> Any:
        write(path, log("q"), log("r"))
        return stream(*arguments, **named)

    monkeypatch.setattr(importer, "stream_examples", growing)
    with pytest.raises(UserError, match="changed while it was being imported"):
        import_files(store, [path])


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_says_what_was_kept_and_why_rows_were_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "logs.jsonl", *MIXED)
    assert import_into(tmp_path, path)["exit"] == 0
    out = capsys.readouterr().out
    assert "logs.jsonl: jsonl/openai_log, 11 rows, 3 with feedback, 5 imported" in out
    assert "dropped: 1 row (a user rated the answer as bad; first in logs.jsonl:2)" in out
    assert "5 examples, 1 of them with a corrected answer" in out
    document = import_into(tmp_path, path)["document"]
    assert document["n_kept"] == 5
    assert (Path(document["path"]) / "rejects.jsonl").exists()


def test_the_command_sends_no_control_characters_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chat = {"messages": [{"role": "user", "content": "q", "x\x07\u202e": 1}, {"role": "assistant", "content": "a"}]}
    path = write(tmp_path / "lo\x07gs.jsonl", chat, b"oops")
    assert import_into(tmp_path, path)["exit"] == 0
    told = capsys.readouterr()
    assert "message keys dropped: x" in told.err and "first in logs.jsonl:2" in told.out
    assert not {"\x07", "\u202e"} & set(told.err + "".join(told.out.splitlines()[:2]))


def test_the_command_fails_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["data", "build", str(tmp_path / "none"), "--project", str(tmp_path)]) == 2
    assert invoke(["data", "build", "--replace", "--project", str(tmp_path)]) == 2
    assert invoke(["data", "nothing"]) == 2
    assert "Traceback" not in capsys.readouterr().err


# --- a million rows -------------------------------------------------------------------------------------------------

MEASURE = """
import re, sys
from pathlib import Path
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.dataset.records import ImportRequest
from tuneworthy.store import Folder
done = import_files(Folder(Path(sys.argv[1])), [Path(sys.argv[2])])
print(done.record.n_kept, int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def measured(tmp_path: Path, path: Path) -> tuple[int, int]:
    """Rows kept and peak RSS in MB of an import in a process of its own (`ru_maxrss` would count the parent's)."""
    root = tmp_path / f"p{path.name}"
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(root), str(path)], capture_output=True, text=True, check=True
    )
    kept, megabytes = done.stdout.split()
    return int(kept), int(megabytes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz", "a.parquet"])
def test_a_million_rows_take_no_more_memory_than_ten_thousand(name: str, tmp_path: Path) -> None:
    few, many_ = 10_000, 1_000_000
    peaks = []
    for n in (few, many_):
        path = tmp_path / f"{n}{name}"
        write_many(path, n)
        kept, peak = measured(tmp_path, path)
        assert kept == n
        peaks.append(peak)
        path.unlink()
    print(f"{name}: {peaks[0]} MB at 10k rows, {peaks[1]} MB at 1M")
    assert peaks[1] < peaks[0] + 30
    assert peaks[1] < 160


def write_many(path: Path, n: int) -> None:
    line = '{"messages":[{"role":"user","content":"question %d %s"},{"role":"assistant","content":"answer"}]}'
    filler = "word " * 20
    if path.suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        schema = pa.schema([("prompt", pa.string()), ("completion", pa.string())])
        with parquet.ParquetWriter(path, schema) as writer:
            for start in range(0, n, 100_000):
                size = min(100_000, n - start)
                rows = {"prompt": [f"q{i} {filler}" for i in range(start, start + size)], "completion": ["a"] * size}
                writer.write_table(pa.table(rows, schema=schema))
        return
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt") as file:
        if path.suffix == ".csv":
            file.write("prompt,completion\n")
        elif path.suffix == ".json":
            file.write("[")
        for i in range(n):
            if path.suffix == ".csv":
                file.write(f"q{i} {filler},a\n")
            else:
                end = ("]" if i == n - 1 else ",") if path.suffix == ".json" else ""
                file.write(line % (i, filler) + end + "\n")
