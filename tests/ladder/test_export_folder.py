"""What is exported: a client sends what was measured or is not written, and no folder of anybody else is touched."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pytest

from tests.ladder.simulations import write_simulation
from tests.ladder.test_retrieval_client import FREE, client_of
from tests.ladder.test_variants import SERVED, asking, within
from tuneworthy.cli.export import lines_every
from tuneworthy.cli.interruption import run_async
from tuneworthy.config.models import OpenAI
from tuneworthy.errors import UserError
from tuneworthy.exports.folder import run_closed, write_export
from tuneworthy.exports.variant import OTHERS, export_variant, question_of
from tuneworthy.ladder.session import Session
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.prompts.templates import chat
from tuneworthy.retrieval import encoder
from tuneworthy.signals import SIGNALS, STOPPING
from tuneworthy.types import Case, Example, Shots

ODD = ['say "hi"\\n', "línea\n二 🍕 \u2028 @@input@@ @@a@@", "{{ input }}", "\\u0041", "a" * 5000]
MARK = ("router.py", b"ours")
ANSWER = {"role": "assistant", "content": "red"}


def word(i: int) -> str:
    """A text like no other."""
    return " ".join(hashlib.md5(f"{i} {place}".encode()).hexdigest()[:6] for place in range(6))


def odd(i: int) -> str:
    """A text with what JSON, templates or patterns may trip over."""
    return f"{word(i)} {ODD[i % len(ODD)]}"


def world(root: Path, case: Callable[[int], Mapping[str, Any]] = lambda i: {"input": word(i)}) -> Path:
    """A project of 60 cases."""
    write_simulation(root, {"weak": "'red'"}, n_cases=60, n_examples=0, rungs=["baseline"], extra=SERVED + FREE)
    rows = [{"id": f"c{i}", "expected": "red" if i % 2 else "blue", **case(i)} for i in range(60)]
    (root / "cases.jsonl").write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    return root


def written(root: Path, folder: Path, **changes: Any) -> list[tuple[Any, Any]]:
    """Export today's variant with `changes`; return the input of each case and the messages that are measured."""

    async def act(session: Session) -> list[tuple[Any, Any]]:
        variant = replace(asking(session, "served"), **changes)
        export_variant(session, variant, folder)
        cases = (*session.split.test, *session.split.dev)
        return [(case.input, [dict(turn) for turn in chat(variant, case, ())]) for case in cases]

    return within(root, act)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("case", "user"),
    [
        (lambda i: {"input": odd(i)}, "Q: {{ input }}\n"),
        (lambda i: {"input": {"a": odd(i), "b": i}}, "{{ a }}{{ b }} of {{ a }} \u2013 {{ input }}"),
    ],
)
def test_a_client_sends_for_every_case_what_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Any, user: str
) -> None:
    measured = written(world(tmp_path / "world", case), tmp_path / "out", user=user)
    sent: list[Any] = []
    client = client_of(tmp_path / "out", "red", sent, monkeypatch)
    for asked, _ in measured:
        client["ask"]({"input": asked, **asked} if isinstance(asked, Mapping) else asked)
    assert [body["messages"] for body in sent] == [turns for _, turns in measured]
    if "a" in client["VARIABLES"]:
        with pytest.raises(TypeError, match="by name: a, b, input"):
            client["ask"]("only one of them")


@pytest.mark.parametrize(
    ("more", "user", "shown"),
    [
        ({}, "{{ input | upper }}", "{{ input | upper }}"),
        ({}, "{% if input %}Q: {{ input }}{% endif %}", "{% if input %}Q: "),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "{{ input }}", "{{ input }}"),
    ],
)
def test_a_client_that_would_send_something_else_is_not_written(
    tmp_path: Path, more: Any, user: str, shown: str
) -> None:
    written(world(tmp_path / "world", lambda i: {"input": word(i), **more}), tmp_path / "out", user=user)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"variant.json", "prompt.md"}
    prompt = (tmp_path / "out" / "prompt.md").read_text()
    assert "There is no `client.py`" in prompt and shown in prompt


def test_a_client_reads_the_key_that_the_run_sent_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = world(tmp_path / "world"), tmp_path / "out"
    written(root, out)
    assert 'api_key="none")' in (out / "client.py").read_text()
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace('provider = "openai"', 'provider = "openai"\napi_key_env = "THEIR_KEY"'))
    monkeypatch.setenv("THEIR_KEY", "sk-of-theirs")
    written(root, out)
    assert "os.environ.get('THEIR_KEY')" in (out / "client.py").read_text()


def test_no_client_is_written_for_a_provider_that_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenAI, "bearer", False)
    written(world(tmp_path / "world"), tmp_path / "out")
    assert not (tmp_path / "out" / "client.py").exists()


@pytest.mark.parametrize(("roles", "is_written"), [(("user",), True), (("user", "assistant", "user"), False)])
def test_a_client_asks_a_text_and_no_chat_of_several_turns(
    tmp_path: Path, roles: tuple[str, ...], is_written: bool
) -> None:
    def case(i: int) -> dict[str, Any]:
        return {"messages": [{"role": role, "content": f"{place} {word(i)}"} for place, role in enumerate(roles)]}

    written(world(tmp_path / "world", case), tmp_path / "out")
    assert (tmp_path / "out" / "client.py").exists() is is_written


def as_vectors(texts: Any) -> Any:
    """Stand-in for the encoder: counts of letters, as rows of length 1."""
    rows = np.array([[text.count(letter) for letter in "abcdef0123456789"] for text in texts], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("mode", ["per_case", "by_meaning"])
def test_a_client_shows_the_nearest_examples_that_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Literal["per_case", "by_meaning"]
) -> None:
    words = ["the", "lamp", "is", "broken", "refund", "order", "late", "parcel", "where", "my", "invoice", "login"]
    questions = [" ".join(random.Random(i).choices(words, k=5)) + f" {word(i)}" for i in range(90)]
    root, out = world(tmp_path / "world", lambda i: {"input": questions[i]}), tmp_path / "out"
    monkeypatch.setattr(encoder, "encode_once", as_vectors)

    async def act(session: Session) -> list[Any]:
        examples = [
            Example(id=f"e{i}", messages=({"role": "user", "content": questions[60 + i]}, ANSWER)) for i in range(30)
        ]
        session.pool = ShotPool(examples, as_vectors, "x")
        shots = Shots(k=3, mode=mode, pool_hash=session.pool._hash_for(mode))
        variant = replace(asking(session, "served"), user="Q: {{ input }}", system="Answer {{ input }}", shots=shots)
        export_variant(session, variant, out)
        cases = (*session.split.test, *session.split.dev)
        shown = session.pool.select(shots, cases)
        return [(case.input, [dict(turn) for turn in chat(variant, case, shown[case.id])]) for case in cases]

    measured, sent = within(root, act), []
    client = client_of(out, "red", sent, monkeypatch)
    for asked, _ in measured:
        client["ask"](asked)
    assert [body["messages"] for body in sent] == [turns for _, turns in measured]
    assert len({str(body["messages"][1:-1]) for body in sent}) > 20 and len(sent[0]["messages"]) == 8
    written(root, out)
    assert {path.name for path in out.iterdir()} == {"variant.json", "prompt.md", "request.json", "client.py"}


@pytest.mark.parametrize("case", [{"a": "x", "b": 2}, {"input": {"a": "x", "b": 2}}, {"input": "x\n2"}, "x\n2"])
def test_the_text_to_which_examples_are_near_is_that_of_the_case(case: Any) -> None:
    assert question_of(case) == Case(id="c", input={"a": "x", "b": 2}).text


@pytest.mark.parametrize("theirs", ["README.md", "router.py"])
def test_files_of_anybody_else_are_not_overwritten(tmp_path: Path, theirs: str) -> None:
    (tmp_path / theirs).write_text("theirs")
    with pytest.raises(UserError, match=f"{theirs} already exists and is not an earlier export"):
        write_export(tmp_path, {"router.py": b"ours", "README.md": b"new"}, MARK)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {theirs: "theirs"}


def test_a_link_is_not_followed_and_other_files_stay(tmp_path: Path) -> None:
    out, target = tmp_path / "out", tmp_path / "target"
    out.mkdir()
    target.write_text("theirs")
    (out / "README.md").symlink_to(target)
    with pytest.raises(UserError, match="is a link"):
        write_export(out, {"router.py": b"ours", "README.md": b"new"}, MARK)
    (out / "README.md").unlink()
    write_export(out, {"router.py": b"ours", "README.md": b"old"}, MARK)
    (out / "Dockerfile").write_text("theirs")
    (out / "README.md").unlink()
    (out / "README.md").symlink_to(target)
    with pytest.raises(UserError, match="is a link"):
        write_export(out, {"router.py": b"ours 2", "README.md": b"new"}, MARK, OTHERS)
    (out / "README.md").unlink()
    write_export(out, {"router.py": b"ours 2", "README.md": b"new"}, MARK, OTHERS)
    found = {path.name: path.read_text() for path in out.iterdir()}
    assert found == {"Dockerfile": "theirs", "README.md": "new", "router.py": "ours 2"}
    assert target.read_text() == "theirs"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_check_of_an_export_stops_the_command_and_its_child(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    started = tmp_path / "started"
    script = f"import os\nopen({str(started)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\nprint(1)"

    async def check() -> None:
        async def stop() -> None:
            while not (started.exists() and started.read_text()):
                await asyncio.sleep(0.05)
            signal.raise_signal(number)

        stopping = asyncio.create_task(stop())
        await run_closed(script, tmp_path, [], [], "router")
        await stopping

    before = {one: signal.signal(one, signal.default_int_handler) for one in SIGNALS}
    try:
        with pytest.raises(KeyboardInterrupt):
            run_async(check())
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert "Stopping." in capfd.readouterr().err
    assert not STOPPING.is_set()
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_long_export_prints_a_line_at_its_start_and_later(capsys: pytest.CaptureFixture[str]) -> None:
    with lines_every("Checking", 0.05):
        assert capsys.readouterr().err == "Checking.\n"
        time.sleep(0.5)
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(line.startswith("Checking: ") for line in lines)
    time.sleep(0.2)
    assert not capsys.readouterr().err
