"""What the proxy records: masked rows, sessions in the order in which they ended, the same at every later look."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.shadow.test_recording import project, said, user
from tests.shadow.traffic import conversations, write_traffic_project
from tuneworthy.cases.readers.faults import Dropped, RowFault
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.shadow.copies import CopyHead
from tuneworthy.shadow.recording import MOST_STRATA, OTHERS, TRAFFIC, LiveTraffic, clean, turn_of
from tuneworthy.shadow.replay import label_queue, replay, rules_of, worst_pairs
from tuneworthy.shadow.worker import NICENESS, Worker, WorkerOrder, read_row
from tuneworthy.store import Folder

CHAT = CopyHead(path="/v1/chat/completions")


def write(root: Path, rows: list[dict[str, Any]]) -> None:
    path = Folder(root).path / TRAFFIC
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps({"clean": True, **row}) + b"\n" for row in rows))


def row(session: str, written: float, n: int = 1, **more: Any) -> dict[str, Any]:
    turns = [one for i in range(n) for one in (user(f"{session} q{i}"), said("red"))]
    return {"messages": turns, "session_id": session, "written": written, **more}


def test_a_session_ends_with_its_last_turn_or_when_it_is_idle_and_what_comes_later_is_not_its(tmp_path: Path) -> None:
    found = project(tmp_path, turns=2, idle_minutes=1)
    write(tmp_path, [row("a", 0), row("b", 10), row("b", 20, 2), row("b", 30, 3), row("c", 40), row("a", 100, 2)])
    with pytest.raises(UserError, match="no session that has ended"):
        LiveTraffic(found).read(now=19)
    assert [(one.name, len(one.turns)) for one in LiveTraffic(found).read(now=61).sessions] == [("b", 2), ("a", 1)]
    later = LiveTraffic(found).read(now=1000)
    assert [(one.name, len(one.turns)) for one in later.sessions] == [("b", 2), ("a", 1), ("c", 1)]
    assert later.sessions[0].turns[1].case.messages[-1]["content"] == "b q1"


def test_a_request_that_came_twice_is_one_turn(tmp_path: Path) -> None:
    write(tmp_path, [row("a", 0), row("a", 1), row("a", 2, 2)])
    (session,) = LiveTraffic(project(tmp_path, turns=2, idle_minutes=1)).read(now=1000).sessions
    assert [turn.case.text.rsplit("\n", 1)[-1] for turn in session.turns] == ["a q0", "a q1"]


def test_a_later_look_sees_the_sessions_of_an_earlier_one_first_and_unchanged(tmp_path: Path) -> None:
    draw, rows, now = random.Random(1), [], 0.0
    found = project(tmp_path, turns=3, idle_minutes=1, by="tenant")
    traffic = LiveTraffic(found)
    turns: dict[str, int] = {}
    seen: list[Any] = []
    for _ in range(400):
        now += draw.expovariate(1 / 5)
        name = f"s{draw.randrange(60)}"
        turns[name] = turns.get(name, 0) + 1
        rows.append(row(name, now, turns[name], tenant=name))
        if draw.random() < 0.05 and now > 200:
            write(tmp_path, rows)
            found_now = LiveTraffic(found).read(now=now).sessions
            assert found_now[: len(seen)] == seen
            assert [replace(one, turns=()) for one in found_now] == [
                replace(one, turns=()) for one in traffic.read(now).sessions
            ]
            assert [one for one in traffic.read(now).sessions if one.turns] == found_now[len(seen) :]
            traffic.forget()
            seen = list(found_now)
    assert len(seen) > 30 and OTHERS in {one.stratum for one in LiveTraffic(found).read(now=now).sessions}


def test_each_row_is_read_once_and_half_a_line_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_read = 0

    def counted(turns: Any) -> None:
        nonlocal n_read
        n_read += 1

    monkeypatch.setattr("tuneworthy.shadow.recording.check_words", counted)
    rows = [row(f"s{n}", n) for n in range(9)]
    write(tmp_path, rows)
    traffic = LiveTraffic(project(tmp_path, idle_minutes=1))
    assert [len(traffic.read(now=1000).sessions) for _ in range(3)] == [9, 9, 9] and n_read == 9
    line = orjson.dumps({"clean": True, **row("s9", 9)}) + b"\n"
    for part, n in ((line[:20], 9), (line[20:], 10), (b"{\n" + line, 10)):
        with traffic.path.open("ab") as file:
            file.write(part)
        recording = traffic.read(now=1000)
        assert (len(recording.sessions), n_read >= n) == (n, True)
    assert n_read == 11 and "1 row was left out" in " ".join(recording.notes)


@pytest.mark.parametrize("by", ["", 'by = "tenant"\n'])
def test_looks_at_new_sessions_say_what_one_look_at_all_says(tmp_path: Path, by: str) -> None:
    root = write_traffic_project(tmp_path, "equal", extra=f"[shadow]\nidle_minutes = 1\n{by}")
    rows: list[dict[str, Any]] = list(conversations(40, truth=False))
    for n, one in enumerate(rows):
        one["written"] = n + 1000.0 * ((n >= 10) + (n >= 30))

    async def work() -> None:
        async with open_session(load(root), beside=True) as session:
            candidate, traffic, pairs = resolve(session, "current"), LiveTraffic(session.project), list[Any]()
            for n in (10, 30, 30, len(rows)):
                write(root, rows[:n])
                live = await replay(session, traffic.read(rows[n - 1]["written"] + 61), candidate, earlier=pairs)
                traffic.forget()
            lines = (root / ".tuneworthy/shadow/pairs.jsonl").read_bytes().splitlines()
            queue = label_queue(session.folder)
            assert [one["worst"] for one in worst_pairs(session.folder, 3)] == [-0.5] * 3
            assert live.n_pairs == len(pairs) == len(lines) and not any(pair.turn.case.text for pair in pairs)
            cold = await replay(session, LiveTraffic(session.project).read(rows[-1]["written"] + 61), candidate)
            assert cold == live
            assert sorted(lines) == sorted((root / ".tuneworthy/shadow/pairs.jsonl").read_bytes().splitlines())
            assert [one.id for one in queue] == [one.id for one in label_queue(session.folder)]

    asyncio.run(work())


async def rules(root: Path) -> Any:
    async with open_session(load(root)) as session:
        return rules_of(session, LiveTraffic(session.project).read(now=1e9))


def test_the_rules_of_a_recording_that_grows_do_not_depend_on_how_far_it_is(tmp_path: Path) -> None:
    write_traffic_project(tmp_path, "equal", extra='[shadow]\nby = "tenant"\nturns = 3\n')
    errors = []
    for n in (1, 5):
        write(tmp_path, [row(f"s{i}", i, tenant=i) for i in range(n)])
        found = asyncio.run(rules(tmp_path))
        errors.append((found.turns, found.overall_alpha, found.stratum_alpha))
    assert errors[0] == errors[1] and errors[0][0] == 3 and errors[0][2] == pytest.approx(0.05 / 2 / 3 / MOST_STRATA)


def copied(text: str, answer: str = "red", **request: Any) -> tuple[bytes, bytes]:
    asked = {"model": "m", "messages": [{"role": "system", "content": "Be kind."}, user(text)], **request}
    return orjson.dumps(asked), orjson.dumps({"choices": [{"message": said(answer), "finish_reason": "stop"}]})


@pytest.mark.parametrize("policy", ["mask", "drop", "report"])
def test_what_is_stored_went_through_the_policy(tmp_path: Path, policy: str) -> None:
    extra = f'[data]\npolicy = {{ personal_data = "{policy}" }}\n[shadow]\nby = "tenant"\n'
    write_traffic_project(tmp_path, "equal", extra=extra)
    body = copied("mail ada@example.org", "wrote to ada@example.org", metadata={"tenant": "bob@example.org", "x": "y"})
    found = clean(load(tmp_path), "s", read_row(CHAT, *body, "tenant"))
    if policy == "drop":
        assert found is None
        return
    assert found is not None
    text = str(found)
    assert ("ada@" in text) == ("bob@" in text) == (policy == "report") and found.meta["session_id"] == "s"
    assert ("[EMAIL_1]" in text) == (policy == "mask") and "'x'" not in text and found.meta["tenant"]


@pytest.mark.parametrize("policy", ["mask", "drop", "report"])
def test_tools_go_through_the_policy(tmp_path: Path, policy: str) -> None:
    write_traffic_project(tmp_path, "equal", extra=f'[data]\npolicy = {{ personal_data = "{policy}" }}\n')
    about = {"name": "find", "description": "Ask ada@example.org.", "parameters": {"type": "object"}}
    tools = [{"type": "function", "function": about}]
    found = clean(load(tmp_path), "s", read_row(CHAT, *copied("a", tools=tools), None))
    if policy == "drop":
        assert found is None
        return
    assert found is not None and ("ada@" in str(turn_of("s", found))) == (policy == "report")
    (tool,) = turn_of("s", found).case.tools
    masked = about["description"] if policy == "report" else "Ask [EMAIL_1]."
    assert tool == {"type": "function", "function": {**about, "description": masked}}


def test_what_a_request_holds_beside_the_question_is_not_in_a_row() -> None:
    request = orjson.dumps({"model": "m", "input": "which?", "safety_identifier": "ada", "prompt_cache_key": "k-ada"})
    answer = orjson.dumps({"status": "completed", "output": [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "red"}]}]})  # fmt: skip
    found = read_row(replace(CHAT, path="/v1/responses"), request, answer, None)
    assert found.messages[0] == user("which?") and "ada" not in str(found)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "mcp", "server_url": "https://x.example", "authorization": "secret"}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "function", "name": "find"}, {"type": "file_search", "vector_store_ids": ["v"]}]},
        {"tools": "find"},
        {"tools": [1]},
        {"mcp_servers": [{"url": "https://x.example", "authorization_token": "secret"}]},
    ],
)
def test_a_request_whose_tools_the_api_runs_is_no_row(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tools of the API"):
        read_row(CHAT, *copied("a", **more), None)


def test_a_recorded_turn_is_read_again_as_it_was_asked(tmp_path: Path) -> None:
    found = project(tmp_path, idle_minutes=1)
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}
    tools = [{"name": "find", "input_schema": {"type": "object"}, "description": "d"}]
    body = orjson.dumps(
        {
            "model": "m",
            "system": "Be kind.",
            "tools": tools,
            "messages": [
                user("call 0171 2345678 or ada@example.org"),
                {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "find", "input": {"n": 1}}]},
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "1", "content": "found ada@example.org"}],
                },
            ],
        }
    )
    answer = orjson.dumps(
        {"role": "assistant", "content": [{"type": "text", "text": "ada@example.org"}], "stop_reason": "end_turn"}
    )
    cleaned = clean(found, "s", read_row(replace(CHAT, path="/v1/messages"), body, answer, None))
    assert cleaned is not None
    live = turn_of("s", cleaned)
    write(tmp_path, [{"messages": list(cleaned.messages), **cleaned.meta, "written": 1.0}])
    (session,) = LiveTraffic(found).read(now=1000).sessions
    (stored,) = session.turns
    assert (stored.case, stored.answer) == (live.case, live.answer) and stored.case.tools and call["id"] == "1"
    assert "[EMAIL_1]" in stored.case.text + stored.answer.text and "ada@" not in str(stored)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"{", b"{}"),
        (b"[1]", b"{}"),
        (b"{}", b"{}"),
        (copied("a")[0], b'{"error": {"message": "no"}}'),
        (copied("a")[0], b'{"choices": []}'),
        (copied("a", previous_response_id="r")[0], copied("a")[1]),
        (
            orjson.dumps(
                {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]}
            ),
            copied("a")[1],
        ),
    ],
)
def test_what_cannot_be_asked_of_a_candidate_is_no_row(request_: bytes, answer: bytes) -> None:
    with pytest.raises((ValueError, RowFault, Dropped)):
        read_row(CHAT, request_, answer, None)


async def reports_of(root: Path, fault: Callable[[Folder], None]) -> list[dict[str, Any]]:
    """Return what a worker reports of two looks at one ended session, after `fault`."""
    reading, writing = os.pipe()
    async with open_session(load(root), beside=True) as session:
        candidate = resolve(session, "current")
        order = WorkerOrder(root=str(root), candidate="current", judge_s=0.01)
        worker = Worker(session, candidate, order, writing)
        fault(session.folder)
        judging = asyncio.create_task(worker._judge_regularly())
        await asyncio.sleep(0.3)
        assert not judging.done(), "the next look tries again"
        judging.cancel()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return [orjson.loads(line) for line in pipe]


def unreadable(folder: Folder) -> None:
    (folder.path / TRAFFIC).write_bytes(b"\x1f\x8b\x08")


def test_a_look_that_fails_reports_nothing_and_the_next_one_tries_again(tmp_path: Path) -> None:
    write_traffic_project(tmp_path, "equal", extra="[shadow]\nidle_minutes = 0.001\n")
    write(tmp_path, [row("a", 1)])
    assert asyncio.run(reports_of(tmp_path, unreadable)) == []


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="no Linux with groups of sessions")
def test_the_worker_yields_the_processor_as_a_process_and_as_a_session() -> None:
    code = (
        "from tuneworthy.shadow.worker import *; yield_processor(); "
        "print(os.nice(0), open('/proc/self/autogroup').read())"
    )
    output = subprocess.check_output([sys.executable, "-c", code], start_new_session=True, text=True)
    niceness, group = output.split(maxsplit=1)
    assert int(niceness) >= NICENESS
    assert group.split()[-1] == str(NICENESS)
