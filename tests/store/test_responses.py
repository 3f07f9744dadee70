"""The store: what was put comes back whole, the first answer stays, and a kill loses nothing committed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneworthy.errors import UserError
from tuneworthy.store import Expenses, ResponseStore, response_key
from tuneworthy.store.responses import _FIELDS, decoded, encoded
from tuneworthy.types import Failure, Response

text = st.text(st.characters(codec="utf-8"))
count = st.none() | st.integers(0, 2**53)
number = st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | number | text,
                        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
                        max_leaves=8)  # fmt: skip
objects = st.dictionaries(text, anything, max_size=4)
responses = st.builds(
    Response,
    text=text,
    finish_reason=text,
    input_tokens=count,
    output_tokens=count,
    cached_tokens=count,
    tool_calls=st.lists(objects, max_size=3).map(tuple),
    logprobs=st.none() | st.lists(objects, max_size=3).map(tuple),
    model=text,
    dropped=st.lists(text, max_size=3).map(tuple),
    seconds=number,
)
failures = st.builds(Failure, code=text, message=text, attempts=st.integers(1, 100))


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = ResponseStore(tmp_path / "responses.sqlite")
    yield opened
    opened.close()


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


@settings(max_examples=200, deadline=None)
@given(responses | failures)
def test_an_answer_comes_back_as_it_was_put(answer: Response | Failure) -> None:
    assert decoded(encoded(answer), "row 1") == answer


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(responses | failures, st.floats(0, 1e6)), max_size=8))
def test_answers_come_back_from_the_file_with_their_costs(rows: list[tuple[Response | Failure, float]]) -> None:
    with TemporaryDirectory() as folder:
        opened = ResponseStore(Path(folder) / "r.sqlite")
        for i, (answer, cost) in enumerate(rows):
            assert opened.put(key(i), answer, cost)
        assert opened.get_many([key(i) for i in range(20)]) == {key(i): row for i, row in enumerate(rows)}
        opened.close()


def test_every_field_of_a_response_is_stored() -> None:
    assert set(_FIELDS) == {one.name for one in fields(Response)}


def test_rows_of_an_older_version_with_fewer_fields_are_read() -> None:
    assert decoded(b'["old","stop",1,2,null,[],null]', "row 1") == Response(text="old", input_tokens=1, output_tokens=2)


def test_the_first_answer_stays_and_the_second_is_paid_for(store: ResponseStore) -> None:
    note = store.open_call(key(1), 1.0)
    other = store.open_call(key(1), 1.0)
    assert store.put(key(1), Response(text="first"), 0.25, note)
    assert not store.put(key(1), Response(text="second"), 0.5, other)
    assert store.get_many([key(1)]) == {key(1): (Response(text="first"), 0.25)}
    assert store.spending().usd == pytest.approx(0.75)


def test_more_keys_than_one_statement_takes_are_found(store: ResponseStore) -> None:
    for i in range(1234):
        store.put(key(i), Response(text=str(i)), 0.0)
    found = store.get_many([key(i) for i in range(2000)])
    assert [found[key(i)][0].text for i in range(1234)] == [str(i) for i in range(1234)]  # type: ignore[union-attr]
    assert len(found) == len(store) == 1234
    assert store.get_many([]) == {}


def test_repeats_identities_and_requests_have_keys_of_their_own() -> None:
    keys = {
        response_key(identity, request, repeat)
        for identity in (b"{}", b"{}{", b'{"a":1}')
        for request in ({"a": 1}, {"a": "1"}, {"a": 1.0}, {"b": 1}, {"messages": ["#1"]})
        for repeat in (0, 1, 10, 1_000_000)
    }
    assert len(keys) == 3 * 5 * 4


def test_the_key_does_not_depend_on_the_order_of_fields() -> None:
    assert response_key(b"m", {"a": 1, "b": {"c": 2, "d": 3}}, 0) == response_key(
        b"m", {"b": {"d": 3, "c": 2}, "a": 1}, 0
    )


def test_an_open_call_counts_at_its_ceiling_until_it_is_answered_or_refused(store: ResponseStore) -> None:
    first, second, third = (store.open_call(key(i), 1.0) for i in range(3))
    assert store.spending().usd == 3.0
    store.put(key(0), Response(text="a"), 0.125, first)
    assert store.spending().usd == 2.125
    store.close_call(second)
    assert store.spending().usd == 1.125
    assert third


def test_a_merge_adds_answers_costs_and_open_calls_once(store: ResponseStore, tmp_path: Path) -> None:
    shard, failure = ResponseStore(tmp_path / "shard.sqlite"), Failure(code="server", message="no")
    for one, rows in ((store, {2: 0.5, 3: None, 4: 0.5, 6: 0.125}), (shard, {1: 0.25, 2: 1.0, 3: 2.0, 4: None})):
        for number, cost in rows.items():
            one.put(key(number), failure if cost is None else Response(text=f"{number} for {cost}"), cost or 0.0)
    for number, ceiling in ((5, 4.0), (6, 8.0)):
        shard.open_call(key(number), ceiling)
    for cost in (16.0, 32.0):
        shard.put(key(7), Response(text="7"), cost, shard.open_call(key(7), 64.0))
    rows = [shard._rows(f"SELECT * FROM {table}") for table in ("responses", "open_calls", "further_answers")]
    for _ in range(2):
        assert store.merge(shard.path) == [key(4)]
        texts = [answer.text for answer, _ in store.get_many([*map(key, range(8))]).values()]  # type: ignore[union-attr]
        assert sorted(texts) == ["1 for 0.25", "2 for 0.5", "3 for 2.0", "4 for 0.5", "6 for 0.125", "7"]
        assert store.spending().answered_usd == 0.25 + 0.5 + 1.0 + 2.0 + 0.5 + 0.125 + 16.0 + 32.0
        assert store.spending().unanswered_usd == 4.0 + 0.125
    assert rows == [shard._rows(f"SELECT * FROM {table}") for table in ("responses", "open_calls", "further_answers")]
    assert {*rows[0]} - {*store._rows("SELECT * FROM responses")} == {
        row for row in rows[0] if row[0] in {key(2), key(4)}
    }
    shard._rows("UPDATE responses SET cost_usd = 'much' WHERE key = ?", key(1))
    with pytest.raises(UserError, match=r"shard\.sqlite, row 1: cost_usd is not an amount"):
        store.merge(shard.path)
    store.put(key(9), Response(text="no transaction is open"), 0.0)
    shard.close()


def test_an_open_call_of_a_shard_that_is_answered_later_counts_once(store: ResponseStore, tmp_path: Path) -> None:
    for number in range(2):
        store.open_call(key(number), 8.0)  # before the round
    shard, since = ResponseStore(tmp_path / "shard.sqlite"), time.time()
    for number in (1, 2):
        shard.open_call(key(number), 2.0)  # of a worker that was killed
    notes = [shard.open_call(key(number), 4.0) for number in range(3)]
    store.merge(shard.path, since)
    assert store.spending().unanswered_usd == 8.0 * 2 + 2.0 * 2 + 4.0 * 3
    for number, note in enumerate(notes[:2]):
        shard.put(key(number), Response(text="a"), 1.0, note)
    for _ in range(2):
        store.merge(shard.path, since)
        assert store.spending() == Expenses(2.0, 1.0 * 3 + 2.0 + 4.0, 5)
    shard.close()


def test_an_answer_that_json_cannot_hold_is_refused_and_changes_nothing(store: ResponseStore) -> None:
    note = store.open_call(key(1), 1.0)
    for answer in (Response(text="\ud800"), Response(text="x", tool_calls=({"n": 2**70},))):
        with pytest.raises(ValueError, match=r"."):
            store.put(key(1), answer, 0.5, note)
    assert len(store) == 0
    assert store.spending().usd == 1.0


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    path.write_bytes(b"This is not a database, but it is long enough to be looked at. " * 100)
    with pytest.raises(UserError, match=r"responses\.sqlite.*tuneworthy doctor"):
        ResponseStore(path)
    with pytest.raises(UserError, match="cannot be read or written"):
        ResponseStore(path / "below" / "responses.sqlite")


WRITER = """
import sys
from pathlib import Path
from tuneworthy.store import ResponseStore
from tuneworthy.types import Response
path, who, n = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = ResponseStore(path)
print("ready", flush=True)
for i in range(n):
    note = store.open_call(f"{who}-{i}".encode(), 1.0)
    assert store.put(f"{who}-{i}".encode(), Response(text=f"{who} {i}" + "x" * 700), 0.5, note)
    store.put(f"both-{i}".encode(), Response(text="same"), 0.0)
    print(i, flush=True)
store.close()
"""


def write(path: Path, who: str, n: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), who, str(n)], stdout=subprocess.PIPE, text=True)


def test_two_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path, n = tmp_path / "new" / "responses.sqlite", 300
    writers = [write(path, who, n) for who in "ab"]
    for writer in writers:
        with writer:
            writer.communicate(timeout=60)
            assert writer.returncode == 0
    store = ResponseStore(path)
    found = store.get_many([f"{who}-{i}".encode() for who in ("a", "b", "both") for i in range(n)])
    assert len(found) == 3 * n
    assert store.spending().usd == pytest.approx(2 * n * 0.5)
    store.close()


def test_a_writer_that_is_killed_leaves_a_file_with_all_that_it_committed(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    with write(path, "a", 1_000_000) as writer:
        assert writer.stdout is not None
        last = -1
        deadline = time.monotonic() + 0.7
        writer.stdout.readline()
        while time.monotonic() < deadline:
            last = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        last = max([last, *(int(line) for line in writer.stdout.read().split("\n")[:-1])])
    store = ResponseStore(path)
    found = store.get_many([f"a-{i}".encode() for i in range(last + 1)])
    assert len(found) == last + 1
    assert (last + 1) * 0.5 <= store.spending().usd <= (last + 2) * 0.5 + 1.0
    store.put(b"after", Response(text="goes on"), 0.0)
    store.close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_the_day_of_an_answer_is_that_of_its_commit(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path / "r.sqlite")
    before = time.time()
    store.put(b"a", Response(text="x"), 0.0)
    first = store.dates([b"a", b"b"])
    assert set(first) == {b"a"}
    assert before <= first[b"a"] <= time.time()
    store.put(b"a", Response(text="y"), 0.0)
    assert store.dates([b"a"]) == first
    store.close()


def test_answers_of_a_batch_are_stored_with_the_ends_of_their_calls_or_not_at_all(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path / "r.sqlite")
    store.open_batch([(b"a", 1.0), (b"b", 1.0)], 5.0)
    notes = {key: note for key, (note, _) in store.batch_calls(5.0).items()}
    good, bad = (b"a", Response(text="a"), 0.5, notes[b"a"]), (b"b", Response(text="b"), float("nan"), notes[b"b"])
    with pytest.raises(UserError):
        store.put_many([good, bad])
    assert len(store) == 0 and store.batch_calls(5.0).keys() == {b"a", b"b"}
    assert store.put_many([good]) == [True] and store.batch_calls(5.0).keys() == {b"b"}
    store.close_batch(5.0, [notes[b"b"]])
    assert not store.batch_calls(5.0) and store.spending().usd == 1.5
    store.close()


def test_only_the_calls_of_a_batch_wait_for_the_disk(tmp_path: Path) -> None:
    store, statements = ResponseStore(tmp_path / "r.sqlite"), list[str]()
    store._db.set_trace_callback(statements.append)
    store.open_batch([(b"a", 1.0)], 5.0)
    store.put(b"a", Response(text="a"), 0.5)
    places = [n for n, one in enumerate(statements) for word in ("=FULL", "INSERT INTO open", "COMMIT", "=NORMAL",
                                                                 "INSERT INTO resp") if word in one][:5]  # fmt: skip
    assert len(places) == 5 and places == sorted(places) and "=FULL" in statements[places[0]]
    assert "=NORMAL" in statements[places[3]] and "responses" in statements[places[4]]
    store.close()
