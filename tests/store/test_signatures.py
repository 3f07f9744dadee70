"""Signatures of stored answers: an edited row or one of another user is noticed, neither used nor requested again."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.ladder.simulations import write_simulation

from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.record import read_record
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.store.signatures import UNSIGNED, VARIABLE, Keyring, MeasuredElsewhere
from tuneworthy.types import Failure, Response
from tuneworthy.verdict.answer import load_verdict

A, B, NEW = (bytes([number]) * 16 for number in (1, 2, 3))


@pytest.fixture(autouse=True)
def alice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of this user."""
    folder = tmp_path / "alice"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    return folder / "tuneworthy"


def become(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / name))
    return tmp_path / name / "tuneworthy"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with closing(ResponseStore(tmp_path / "responses.sqlite")) as store:
        store.put(A, Response(text="right", seconds=0.5), 0.25)
        store.put(B, Failure(code="bad_request", message="no", attempts=1), 0.5)
    return tmp_path / "responses.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[ResponseStore]:
    with closing(ResponseStore(path)) as store:
        yield store


def edit(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, values)


def test_the_key_is_made_once_for_its_owner_only(alice: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = {*pool.map(lambda _: Keyring().key, range(16))}
    assert len(keys) == 1
    assert stat.S_IMODE((alice / "key").stat().st_mode) == 0o600 and [*alice.iterdir()] == [alice / "key"]


def test_without_a_folder_that_can_be_written_answers_are_read_and_none_is_paid_for(alice: Path, path: Path) -> None:
    key = Keyring().key
    shutil.rmtree(alice.parent)
    alice.parent.write_text("no folder")
    with closing(ResponseStore(path)) as store:
        assert sum(store.measured_elsewhere().values()) == 2
        for spend in (
            store.require_key,
            lambda: store.accept(key),
            lambda: store.put(NEW, Response(text="free"), 0.0),
            lambda: Keyring().signed(b"[]"),
        ):
            with pytest.raises(UserError):
                spend()
        assert (len(store), store.unanswered()) == (2, []) and store.measured_elsewhere() == {key: 2}


@pytest.mark.parametrize("option", ["--repair", "--json", "--remeasure"])
def test_doctor_works_without_a_key(option: str, alice: Path, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = Keyring().key
    folder = Folder(path.parent / "project")
    folder.create()
    path.rename(folder.responses)
    shutil.rmtree(alice.parent)
    alice.parent.write_text("no folder")
    assert invoke(["doctor", "--project", str(folder.root), "--accept", key]) == 2
    capsys.readouterr()
    for words in (["doctor"], ["doctor", option]):
        assert invoke([*words, "--project", str(folder.root)]) == 0
        assert "Your key" not in capsys.readouterr().out


def test_a_variable_names_the_key_of_ci(alice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_bytes(bytes(32))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "key"))
    assert Keyring().key == public_key(bytes(32)) and not alice.exists()
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "kye", "ci/key", "pipe"):
        monkeypatch.setenv(VARIABLE, str(tmp_path / name))
        with pytest.raises(UserError):
            Keyring()
    assert not (tmp_path / "kye").exists() and not (tmp_path / "ci").exists()


def test_a_key_of_another_length_is_refused(alice: Path) -> None:
    alice.mkdir(parents=True)
    (alice / "key").write_text("short")
    with pytest.raises(UserError, match="32 bytes"):
        Keyring()


def test_answers_of_this_user_are_used(opened: ResponseStore) -> None:
    assert opened.measured_elsewhere() == {}
    assert opened.get_many([A, B])[A] == (Response(text="right", seconds=0.5), 0.25)


MARK = "substr(body, instr(body, x'0a') + 1)"
EDITS = {
    "the answer": "UPDATE responses SET body = replace(body, 'right', 'wrong') WHERE key = ?",
    "its seconds": "UPDATE responses SET body = replace(body, '0.5', '0.1') WHERE key = ?",
    "another type": "UPDATE responses SET body = CAST(replace(body, 'right', 'wrong') AS TEXT) WHERE key = ?",
    "the cost": "UPDATE responses SET cost_usd = 0.0 WHERE key = ?",
    "the time": "UPDATE responses SET created = created + 1 WHERE key = ?",
    "no mark": "UPDATE responses SET body = substr(body, 1, instr(body, x'0a') - 1) WHERE key = ?",
    "an empty mark": "UPDATE responses SET body = substr(body, 1, instr(body, x'0a')) WHERE key = ?",
    "no seal": "UPDATE responses SET body = replace(body, 'right', 'wrong') || x'0a' WHERE key = ?",
    "half of its mark": "UPDATE responses SET body = substr(body, 1, length(body) - 90) WHERE key = ?",
    "a mark of zeros": f"UPDATE responses SET body = replace(body, {MARK}, printf('%0256d', 0)) WHERE key = ?",
    "the mark of another row": f"UPDATE responses SET body = replace(body, {MARK}, (SELECT {MARK} FROM responses LIMIT"
                               " 1 OFFSET 1)) WHERE key = ?",
    "the whole body of another row": "UPDATE responses SET body = (SELECT body FROM responses LIMIT 1 OFFSET 1)"
                                     " WHERE key = ?",
    "a letter of another alphabet": f"UPDATE responses SET body = replace(body, {MARK}, 'é' || {MARK}) WHERE key = ?",
}  # fmt: skip


@pytest.mark.parametrize("statement", EDITS.values(), ids=EDITS)
def test_an_edited_row_is_noticed_and_nothing_else_and_no_word_accepts_it(path: Path, statement: str) -> None:
    edit(path, statement, A)
    with closing(ResponseStore(path)) as store:
        (origin,) = store.measured_elsewhere()
        assert store.accept(UNSIGNED) == 0
        with pytest.raises(MeasuredElsewhere) as raised:
            store.get_many([A, B])
        assert ("--accept" in raised.value.hint) is (origin != UNSIGNED)
        assert raised.value.exit_status == 2 and len(store.get_many([B])) == 1
        assert sum(store.measured_elsewhere().values()) == 1


def test_a_row_under_a_new_key_is_noticed(path: Path) -> None:
    edit(path, "INSERT INTO responses SELECT ?, body, cost_usd, created FROM responses WHERE key = ?", NEW, A)
    with closing(ResponseStore(path)) as store:
        assert store.measured_elsewhere() == {UNSIGNED: 1}
        with pytest.raises(MeasuredElsewhere):
            store.get_many([NEW])


def test_a_key_that_the_forger_made_vouches_for_nothing(path: Path, tmp_path: Path, monkeypatch: Any) -> None:
    become("mallory", tmp_path, monkeypatch)
    mallory = Keyring()
    body, cost, created = mallory.signed(b'["forged"]', A, 0.0, 1.0), 0.0, 1.0
    edit(path, "UPDATE responses SET body = ?, cost_usd = ?, created = ? WHERE key = ?", body, cost, created, A)
    become("alice", tmp_path, monkeypatch)
    with closing(ResponseStore(path)) as store:
        assert store.measured_elsewhere() == {mallory.key: 1}
    claimed = body.replace(mallory.key.encode(), Keyring().key.encode())
    edit(path, "UPDATE responses SET body = ? WHERE key = ?", claimed, A)
    with closing(ResponseStore(path)) as store:
        assert store.measured_elsewhere() == {UNSIGNED: 1}


def test_a_named_key_is_accepted_for_good(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, bob = Keyring().key, become("bob", tmp_path, monkeypatch)
    with closing(ResponseStore(path)) as store, pytest.raises(MeasuredElsewhere, match=f"{key} .n = 2") as raised:
        store.get_many([A, B])
    assert "--accept" in raised.value.hint
    (bob / "allowed_signers").write_text(f"# alice {key}\n")
    with closing(ResponseStore(path)) as store:
        assert store.measured_elsewhere() == {key: 2}
    for bad in (key, f"alice {key[1:]}", f"alice {key} bob", f"alice {key.upper()}"):
        (bob / "allowed_signers").write_text(f"# colleagues\n{bad}\n")
        with pytest.raises(UserError, match="allowed_signers:2: "):
            Keyring()
    (bob / "allowed_signers").write_text(f"# colleagues\n\nalice {key} # of the other team\n")
    with closing(ResponseStore(path)) as store:
        assert store.measured_elsewhere() == {} and len(store.get_many([A, B])) == 2


def test_accepting_a_key_covers_one_import(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Keyring().key
    become("bob", tmp_path, monkeypatch)
    with closing(ResponseStore(path)) as store:
        assert (store.accept("0" * 64), store.accept(key), store.accept(key)) == (0, 2, 0)
        assert len(store.get_many([A, B])) == 2
    become("alice", tmp_path, monkeypatch)
    with closing(ResponseStore(path)) as store:
        store.put(NEW, Response(text="later"), 0.0)
    become("bob", tmp_path, monkeypatch)
    with closing(ResponseStore(path)) as store:
        assert store.measured_elsewhere() == {key: 1}
        assert store.put(NEW, Response(text="own"), 1.0) is False  # it is never overwritten without a word
        store.set_aside()
        assert (store.get_many([A, B, NEW]).keys(), store.spending().usd) == ({A, B}, 0.75)
    become("alice", tmp_path, monkeypatch)
    with closing(ResponseStore(path)) as store:  # the seal is of bob, the signature still her own
        assert len(store.get_many([A, B])) == 2


def test_a_folder_that_cannot_be_written_is_read(path: Path) -> None:
    edit(path, "PRAGMA journal_mode=DELETE")
    path.chmod(0o400)
    with closing(ResponseStore(path)) as store:
        assert len(store.get_many([A, B])) == 2


# ---- commands -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "alice"))
        root = write_simulation(
            folder / "world", {"small": "answer(request, 0.4)"}, n_cases=60, n_examples=90, rungs=["baseline"]
        )
        (root / "world.py").write_text((root / "world.py").read_text() + COUNTED)
        assert invoke(["run", "--project", str(root)]) == 0
    return folder


COUNTED = """
plain = small

def small(request):
    with open(__file__.replace("world.py", "calls"), "a") as file:
        file.write("x")
    return plain(request)
"""


@pytest.fixture
def copied(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project in the hands of another user."""
    become("bob", tmp_path, monkeypatch)
    root = Path(shutil.copytree(original / "world", tmp_path / "world"))
    (root / "calls").unlink()
    return root


def forged_record(root: Path) -> None:
    path = Folder(root).path / "run.json"
    document = orjson.loads(path.read_bytes())
    document["rungs"][0]["score"] = 0.99
    path.write_bytes(orjson.dumps(document))


def forged_verdict(root: Path) -> None:
    path = Folder(root).path / "verdict.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"outcome": "fine_tune"}))


def no_mark(root: Path) -> None:
    path = Folder(root).path / "run.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "mark": "", "elsewhere": ""}))


@pytest.mark.parametrize("forge", [forged_record, no_mark])
def test_a_record_that_was_edited_gives_no_verdict(
    forge: Callable[[Path], None], original: Path, copied: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(original / "alice"))
    record = read_record(Folder(copied))
    assert record is not None and record.elsewhere == ""
    forge(copied)
    record = read_record(Folder(copied))
    assert record is not None and record.elsewhere == UNSIGNED
    assert invoke(["decide", "--project", str(copied)]) == 4
    assert "measured elsewhere" in capsys.readouterr().out


def test_a_verdict_that_was_edited_is_not_current(original: Path, copied: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(original / "alice"))
    assert invoke(["decide", "--project", str(copied)]) in {3, 4}
    verdict = load_verdict(load(copied))
    assert verdict is not None and verdict.holds
    forged_verdict(copied)
    verdict = load_verdict(load(copied))
    assert verdict is not None and not verdict.holds


def test_a_copied_folder_is_shown_and_neither_believed_nor_bought_again(
    original: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str]:
        status = invoke([*words, "--project", str(copied)])
        return status, "".join(capsys.readouterr())

    key = (original / "alice" / "tuneworthy" / "key").read_bytes()
    for words, expected in (
        (["run"], 2),
        (["check", "--offline"], 0),
        (["status"], 0),
        (["decide"], 4),
        (["report"], 0),
        (["doctor"], 0),
    ):
        status, output = run(*words)
        assert (status, "measured elsewhere" in output) == (expected, True), output
    assert not (copied / "calls").exists()
    signer = public_key(key)
    assert signer in output
    assert run("doctor", "--accept", "0" * 64)[0] == 2
    status, output = run("doctor", "--accept", signer)
    assert status == 0 and re.search(r"Accepted [1-9]\d+ answers.* tuneworthy run", output)
    assert run("run")[0] == 0 and not (copied / "calls").exists()
    assert "measured elsewhere" not in run("decide")[1]


def test_a_run_is_decided_without_a_key(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bob").write_text("no folder")
    assert invoke(["decide", "--json", "--project", str(copied)]) == 4
    assert orjson.loads(capsys.readouterr().out)["outcome"] and not (Folder(copied).path / "verdict.json").exists()


def test_no_next_step_runs_into_answers_measured_elsewhere(
    original: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> str:
        invoke([*words, "--project", str(copied)])
        return capsys.readouterr().out

    signer = public_key((original / "alice" / "tuneworthy" / "key").read_bytes())
    assert f"doctor --accept {signer}" in orjson.loads(run("decide", "--json"))["next_action"]["command"]
    steps = orjson.loads(run("status", "--json"))
    assert signer in next(step["do"] for step in steps["steps"] if step["step"] == steps["next"])
    assert f"Next: tuneworthy doctor --project {copied}" in run("report")
    assert "Next: tuneworthy run" not in run("run")
    assert " cached " not in run("check", "--offline")


def test_a_project_without_answers_stays_as_it_is(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(shutil.copytree(original / "world", tmp_path / "new", ignore=shutil.ignore_patterns(".tuneworthy")))
    before = {*tmp_path.rglob("*")}
    monkeypatch.chdir(tmp_path)
    assert invoke(["status", "--project", str(root)]) == 0
    assert {path for path in {*tmp_path.rglob("*")} - before if "alice" not in path.parts} == set()


def test_answers_are_measured_again_only_on_request(copied: Path) -> None:
    assert invoke(["doctor", "--remeasure", "--project", str(copied)]) == 0
    assert invoke(["run", "--project", str(copied)]) == 0
    assert len((copied / "calls").read_text()) > 60


def public_key(seed: bytes) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()
