"""The candidate answers users: only after it passed, a step at a time, never against a verdict, a hand or a fault."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from yarl import URL

pytest.importorskip("uvicorn")

from tests.shadow.servers import CHAT, Call, NotedCopies, Script, chunk, parts, post, proxied, raw, run, said, upstream
from tests.shadow.test_proxy import SSE, STREAM_HEAD, question
from tests.shadow.test_proxy_process import ENDED, production, proxy_of, send
from tests.shadow.traffic import write_traffic_project
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.config.shadow import Shadow
from tuneworthy.errors import UserError
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.providers.address import free_port
from tuneworthy.shadow.canary import STATE, STOP, CanaryOver, CanaryState, CandidateRoute, begin, decided
from tuneworthy.shadow.copies import CopyHead, WorkerReport, packed
from tuneworthy.shadow.proxy import Route, ShadowProxy
from tuneworthy.shadow.recording import Recording, TrafficSession
from tuneworthy.shadow.replay import ShadowRecord
from tuneworthy.shadow.verdict import ShadowVerdict
from tuneworthy.shadow.worker import Worker, WorkerOrder
from tuneworthy.store import Folder
from tuneworthy.types import OutputFormat, Shots, Variant

STEPS = [0.01, 0.05, 0.25, 1.0]
CANDIDATE = Variant(name="v", model="m", model_identity={}, system=None, user="{{ input }}")


def verdict(status: Any) -> ShadowVerdict:
    return ShadowVerdict(status=status, detail=f"It is {status}.")


def write_record(folder: Folder, variant: str, status: str) -> None:
    record = ShadowRecord(verdict=verdict(status), variant=variant, candidate="v", production="recorded",
                          date="2026-01-01", n_sessions=1, n_drawn=1, n_pairs=1, cost_usd=0.0)  # fmt: skip
    folder.write("shadow", asdict(record))


def test_each_step_lasts_until_it_passes_and_harm_ends_the_canary_at_once() -> None:
    state = CanaryState(variant="v", share=0.01, since=0.0)
    assert decided(state, verdict("unknown"), STEPS, 1.0, 30) == state
    assert decided(state, verdict("pass"), STEPS, 1.0, 29) == state, "too few sessions that it answered itself"
    shares = []
    for now in range(1, 6):
        state = decided(state, verdict("pass"), STEPS, float(now), 30)
        shares.append((state.share, state.status, state.since))
    assert shares == [
        (0.05, "running", 1),
        (0.25, "running", 2),
        (1.0, "running", 3),
        (1.0, "done", 3),
        (1.0, "done", 3),
    ]
    for share in STEPS:
        one = CanaryState(variant="v", share=share, since=0.0, status="done" if share == 1 else "running")
        back = decided(one, verdict("fail"), STEPS, 9.0, 0)
        assert (back.share, back.status, back.detail) == (0.0, "rolled_back", "It is fail.")
        assert decided(back, verdict("pass"), STEPS, 10.0, 30) == back, "what was rolled back stays so"


def test_only_a_candidate_that_passed_begins_and_a_state_is_gone_on_with(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.create()
    for variant, status in (("", ""), (CANDIDATE.id, "unknown"), (CANDIDATE.id, "fail"), ("another", "pass")):
        if variant:
            write_record(folder, variant, status)
        with pytest.raises(UserError, match="has not passed"):
            begin(folder, CANDIDATE, STEPS, 5.0)
    write_record(folder, CANDIDATE.id, "pass")
    first = begin(folder, CANDIDATE, STEPS, 5.0)
    assert first.share == 0.01 and begin(folder, CANDIDATE, STEPS, 99.0) == first
    folder.write(STATE, asdict(decided(first, verdict("pass"), STEPS, 7.0, 30)))
    write_record(folder, CANDIDATE.id, "unknown")
    assert begin(folder, CANDIDATE, STEPS, 99.0).share == 0.05
    folder.write(STATE, asdict(decided(first, verdict("fail"), STEPS, 7.0, 30)))
    with pytest.raises(CanaryOver, match="rolled back: It is fail"):
        begin(folder, CANDIDATE, STEPS, 99.0)
    (folder.path / STOP).touch()
    with pytest.raises(CanaryOver, match="stopped by"):
        begin(folder, CANDIDATE, STEPS, 99.0)


@pytest.mark.parametrize("over", ["rolled back", "stopped"])
def test_a_restart_after_the_end_of_a_canary_serves_users_and_waits_for_no_lock(
    over: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_traffic_project(tmp_path, "equal")
    served(root, "http://127.0.0.1:9")

    async def candidate() -> str:
        async with open_session(load(root)) as session:
            return resolve(session, "current").id

    folder, started = Folder(root), []
    state = CanaryState(variant=asyncio.run(candidate()), share=0.0, since=1.0, status="rolled_back", detail="Harm.")
    if over == "stopped":
        (folder.path / STOP).parent.mkdir(exist_ok=True)
        (folder.path / STOP).touch()
    else:
        folder.write(STATE, asdict(state))

    def serve(app: ShadowProxy, door: socket.socket) -> None:
        assert app.open_route is None and 'canary": false' in " ".join(app.copies.command(None)).replace(":", ": ")
        started.append(door)
        door.close()

    monkeypatch.setattr("tuneworthy.cli.shadow_proxy.serve", serve)
    monkeypatch.setattr("tuneworthy.cli.shadow_proxy.CANARY_ENABLED", True)
    words = ["shadow", "proxy", "http://127.0.0.1:9", "--candidate", "current", "--canary"]
    with folder.lock(pytest.fail):
        assert invoke([*words, "--port", str(free_port()), "--project", str(root)]) == 0
    assert started and over in capsys.readouterr().err


def test_the_command_refuses_a_canary(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["shadow", "proxy", "http://127.0.0.1:9", "--canary"]) == 2
    assert "`--canary` is switched off" in capsys.readouterr().err


def test_steps_that_do_not_rise_are_refused() -> None:
    for steps in ([0.5, 0.1], [0.1, 0.1], []):
        with pytest.raises(ValueError):  # noqa: PT011
            Shadow(canary=steps)


def own(call: Call) -> Script:
    """The candidate's server."""
    assert ("authorization", "Bearer own") in call.headers and b"secret" not in str(call).encode()
    return [STREAM_HEAD, *map(chunk, SSE), chunk(b"")]


def production_of(call: Call) -> Script:
    return [raw(b'{"choices": [{"message": {"role": "assistant", "content": "p"}, "finish_reason": "stop"}]}')]


@asynccontextmanager
async def canary(
    script: Any, tmp_path: Path, share: float = 0.5, **options: Any
) -> AsyncIterator[tuple[str, Any, list[Call], list[Call]]]:
    """A proxy whose candidate answers a share of the sessions; yield it with the calls of both servers."""
    async with upstream(script) as (address, own_calls), upstream(production_of) as (main, calls):

        def route(body: bytes) -> tuple[URL, list[tuple[bytes, bytes]], bytes]:
            orjson.loads(body)
            return URL(f"{address}/v1/chat/completions"), [(b"authorization", b"Bearer own")], body

        @asynccontextmanager
        async def open_route() -> AsyncIterator[Route]:
            yield route

        copies = NotedCopies()
        copies.canary = share
        async with proxied(main, copies, stop=tmp_path / "stop", open_route=open_route, **options) as (proxy, app):
            yield proxy, app, own_calls, calls


async def ask(proxy: str, session: str) -> bytes:
    return parts(
        await said(proxy, post(question("a"), CHAT, f"X-Session-Id: {session}", "Authorization: Bearer secret"))
    )[2]


def test_a_session_stays_with_who_answers_it_and_both_are_asked_of_a_copied_one(tmp_path: Path) -> None:
    async def work() -> None:
        async with canary(own, tmp_path) as (proxy, app, own_calls, calls):
            answers = {f"s{i}": {await ask(proxy, f"s{i}") for _ in range(2)} for i in range(40)}
            assert all(len(found) == 1 for found in answers.values())
            of_candidate = [name for name, found in answers.items() if found == {b"".join(SSE)}]
            assert 10 <= len(of_candidate) <= 30 and len(own_calls) == 2 * len(of_candidate)
            await asyncio.sleep(0.2)
            marked = [call for call in calls if ("x-tuneworthy-shadow", "1") in call.headers]
            assert len(marked) == 2 * len(of_candidate), "production is asked behind the user's back"
            noted = app.copies.noted
            assert len(noted) == 80 and all(b'"p"' in answer for _, _, answer in noted)
            assert sum(head.served for head, _, _ in noted) == len(marked)

    run(work)


def test_headers_of_the_candidates_account_reach_no_user(tmp_path: Path) -> None:
    kept = ["Content-Type: text/plain", "Set-Cookie: s=1", "OpenAI-Organization: own", "X-Request-Id: 1"]

    async def work() -> None:
        async with canary(lambda call: [raw(b"a", *kept)], tmp_path, share=1.0) as (proxy, _, __, ___):
            answer = await said(proxy, post(question("a"), CHAT, "Authorization: Bearer secret"))
            assert parts(answer)[1] == [("content-length", "1"), ("content-type", "text/plain")]

    run(work)


def test_a_candidate_at_home_is_not_called_through_the_proxy_of_production(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with (
            upstream(production_of) as (corporate, seen),
            upstream(own) as (at_home, own_calls),
        ):
            monkeypatch.setenv("http_proxy", corporate)
            monkeypatch.setenv("no_proxy", "")

            @asynccontextmanager
            async def open_route() -> AsyncIterator[Route]:
                yield lambda body: (URL(f"{at_home}{CHAT}"), [(b"authorization", b"Bearer own")], body)

            copies = NotedCopies()
            copies.canary = 1.0
            async with proxied("http://api.example", copies, stop=tmp_path / "s", open_route=open_route) as (proxy, _):
                assert await ask(proxy, "s") == b"".join(SSE)
                await asyncio.sleep(0.1)
            assert len(own_calls) == 1 and [call.line.split()[1] for call in seen] == [f"http://api.example{CHAT}"]
            assert b"Bearer own" not in str(seen).encode()

    run(work)


def test_the_candidate_does_not_answer_a_copy_that_comes_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with canary(own, tmp_path, share=1.0) as (proxy, _, own_calls, calls):
            await said(proxy, post(question("a"), CHAT, "X-Tuneworthy-Shadow: 1"))
            assert (len(own_calls), len(calls)) == (0, 1)

    run(work)


FAULTS: dict[str, Script] = {
    "is down": [],
    "refuses": [raw(b"{}", status="503 Service Unavailable")],
    "is no HTTP": [b"SSH\r\n\r\n"],
}


HALF: Script = [STREAM_HEAD, chunk(SSE[0])]
WORSE: dict[str, Script] = {**FAULTS, "hangs": [60.0], "breaks off": HALF, "falls silent": [*HALF, 60.0]}


@pytest.mark.parametrize("fault", WORSE)
def test_a_candidate_that_keeps_failing_users_answers_no_more_and_production_is_asked_each_time(
    fault: str, tmp_path: Path
) -> None:
    async def work() -> None:
        async with canary(lambda call: WORSE[fault], tmp_path, share=1.0, candidate_s=0.2) as (
            proxy,
            app,
            own_calls,
            _,
        ):
            for i in range(8):
                await ask(proxy, f"s{i}")
            await asyncio.sleep(0.2)
            assert app.requests["candidate_failed"] == 5 <= len(own_calls) and "5 of the last 5" in app.copies.tripped
            own_calls.clear()
            assert len(app.copies.noted) == 8, "the sessions that it harmed are evidence"
            assert not any(head.served for head, _, _ in app.copies.noted)
            app.copies._note(WorkerReport(canary=1.0))
            assert b'"p"' in await ask(proxy, "s") and not own_calls

    run(work)


def test_a_user_who_leaves_is_evidence_and_one_whom_the_candidate_kept_waiting_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneworthy.shadow.proxy._PATIENCE_S", 0.1)

    async def work() -> None:
        async with canary(lambda call: [60.0], tmp_path, share=1.0) as (proxy, app, _, __):
            with pytest.raises(TimeoutError):
                await said(proxy, post(question("a"), CHAT, "Authorization: Bearer secret"), wait_s=0.3)
            await asyncio.sleep(0.2)
            assert app.requests["candidate_failed"] == 1 and len(app.copies.noted) == 1

    run(work)


def test_an_error_of_the_route_or_the_proxy_itself_reaches_no_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with canary(own, tmp_path, share=1.0) as (proxy, app, own_calls, _):
            relay = app._relay

            async def broken(*args: Any, **options: Any) -> None:
                if options.get("only_success"):
                    raise KeyError("choices")
                await relay(*args, **options)

            monkeypatch.setattr(app, "_relay", broken)
            assert b'"p"' in await ask(proxy, "s") and app.requests["candidate_failed"] == 1 and not own_calls
            monkeypatch.setattr(app, "route", broken_route)
            assert b'"p"' in await ask(proxy, "s") and app.requests["candidate_failed"] == 2

    def broken_route(body: bytes) -> Any:
        raise KeyError("messages")

    run(work)


@pytest.mark.parametrize("fault", FAULTS)
def test_production_answers_where_the_candidate_fails(fault: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with canary(lambda call: FAULTS[fault], tmp_path, share=1.0) as (proxy, app, own_calls, _):
            assert {await ask(proxy, f"s{i}") for i in range(4)} == {parts(production_of(None)[0])[2]}  # type: ignore[arg-type]
            assert app.requests["candidate_failed"] == 4 <= len(own_calls)

    run(work)


def test_a_hand_a_verdict_and_a_worker_that_is_gone_stop_it_at_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with canary(own, tmp_path, share=1.0) as (proxy, app, own_calls, _):
            assert await ask(proxy, "s") == b"".join(SSE)
            (tmp_path / "stop").touch()
            assert b'"p"' in await ask(proxy, "s")
            (tmp_path / "stop").unlink()
            app.copies.ready = False
            assert b'"p"' in await ask(proxy, "s")
            assert app.canary_share == 0.0 and "tuneworthy_canary_share 0.0" in app._metrics()
            app.copies.ready = True
            assert await ask(proxy, "s") == b"".join(SSE)
            app.copies._note(WorkerReport(verdict="fail", canary=0.0))
            assert b'"p"' in await ask(proxy, "s")
            assert len(own_calls) == 2

    run(work)


def test_once_the_money_is_spent_production_answers_all_and_is_asked_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with canary(own, tmp_path, share=1.0) as (proxy, app, own_calls, calls):
            app.copies.enough = "budget"
            assert b'"p"' in await ask(proxy, "s") and not own_calls and len(calls) == 1
            app.copies.enough = ""

            def spent_meanwhile(body: bytes) -> Any:
                app.copies.enough = "budget"
                return app_route(body)

            app_route, app.route = app.route, spent_meanwhile
            assert await ask(proxy, "s") == b"".join(SSE)
            await asyncio.sleep(0.2)
            assert len(own_calls) == 1 and len(calls) == 1

    run(work)


def served(root: Path, address: str) -> None:
    """Let a server be the candidate, and a grader decide that needs no right answer."""
    path = root / "tuneworthy.toml"
    model = f'provider = "openai"\nmodel = "own"\nbase_url = "{address}/v1"\napi_key_env = ""'
    text = path.read_text().replace('provider = "scripted"\nfunction = "world.py:equal"', model, 1)
    text = text.replace(
        'type = "exact"\n', 'type = "python"\nfunction = "world.py:labels"\nneeds_expected = false\n', 1
    )
    path.write_text(text)
    with (root / "world.py").open("a") as file:
        file.write("\n\ndef labels(answer, expected, case):\n    return answer in LABELS\n")


def test_the_candidate_gets_its_own_prompt_and_the_users_wish_to_stream(tmp_path: Path) -> None:
    write_traffic_project(tmp_path, "equal")
    served(tmp_path, "http://127.0.0.1:9")

    async def work() -> None:
        async with open_session(load(tmp_path), beside=True) as session:
            variant = resolve(session, "current")
            user_request = question("which?", stream=True, temperature=1.9, stream_options={"include_usage": True})
            user_request["messages"].insert(0, {"role": "system", "content": "Production's own."})
            where, headers, body = CandidateRoute(session, variant).request(orjson.dumps(user_request))
            sent = orjson.loads(body)
            assert str(where) == "http://127.0.0.1:9/v1/chat/completions" and dict(headers)[b"content-type"]
            assert (
                sent["model"] == "own" and sent["stream"] is True and sent["stream_options"] == {"include_usage": True}
            )
            assert "Production's own." not in str(sent) and "which?" in str(sent["messages"][-1])
            assert sent.get("temperature") != 1.9
            with pytest.raises(UserError, match="cannot answer users"):
                CandidateRoute(session, replace(variant, answer_after="ANSWER"))
            shots = Shots(mode="per_case", k=2, pool_hash="h")
            with pytest.raises(UserError, match="for each case"):
                CandidateRoute(session, replace(variant, shots=shots))
            CandidateRoute(session, replace(variant, shots=replace(shots, mode="fixed")))
            labels = replace(variant, output=OutputFormat(kind="choice", choices=("red", "green")))
            provider = session.models[variant.model].provider
            for choice, ok in (("wrapped_schema", False), ("regex", True)):
                provider.capabilities = replace(provider.capabilities, choice=choice)
                if ok:
                    CandidateRoute(session, labels)
                else:
                    with pytest.raises(UserError, match="labels as JSON"):
                        CandidateRoute(session, labels)
            usual = {"n": 1, "response_format": {"type": "text"}, "stop": None, "user": "u"}
            assert CandidateRoute(session, variant).request(orjson.dumps({**user_request, **usual}))[2] == body
            further: dict[str, Any] = {"n": 2, "response_format": {"type": "json_object"}, "tool_choice": "required"}
            further |= {"logprobs": True, "max_tokens": 5, "stop": ["."], "modalities": ["audio"]}
            for key, value in further.items():
                with pytest.raises(ValueError, match=key):
                    CandidateRoute(session, variant).request(orjson.dumps({**user_request, key: value}))
            session.project.data.policy["personal_data"] = "drop"
            with pytest.raises(UserError, match="unmasked"):
                CandidateRoute(session, variant)
            assert dict(headers)[b"accept-encoding"] == b"identity" and len(headers) == len(dict(headers))

    asyncio.run(work())


def worker_of(session: Any, candidate: Variant, events: list[dict[str, Any]]) -> Worker:
    """A worker of a canary whose reports are noted."""
    order = WorkerOrder(root="", candidate="current", judge_s=60.0, canary=True)
    worker = Worker(session, candidate, order, -1)
    worker._report = lambda **event: events.append(  # type: ignore[method-assign]
        {name: value for name, value in event.items() if value is not None}
    )
    return worker


def test_the_worker_writes_down_that_the_proxy_ended_the_canary(tmp_path: Path) -> None:
    write_traffic_project(tmp_path, "equal")

    async def work() -> None:
        async with open_session(load(tmp_path), beside=True) as session:
            candidate, events = resolve(session, "current"), []
            session.folder.write(STATE, asdict(CanaryState(variant=candidate.id, share=0.25, since=1.0)))
            pipe = asyncio.StreamReader()
            pipe.feed_data(packed(CopyHead(tripped="It fails."), b"", b""))
            pipe.feed_eof()
            await worker_of(session, candidate, events).serve(pipe)
            state = session.folder.read(STATE, CanaryState)
            assert (state.share, state.status, state.detail) == (0.0, "rolled_back", "It fails.")
            assert [event["canary"] for event in events if "canary" in event][:2] == [0.25, 0.0]

    asyncio.run(work())


def test_the_worker_reports_no_share_without_a_state_of_its_own_candidate_and_overwrites_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_traffic_project(tmp_path, "equal")

    async def work() -> None:
        async with open_session(load(tmp_path), beside=True) as session:
            candidate, events = resolve(session, "current"), []
            worker = worker_of(session, candidate, events)
            state = CanaryState(variant=candidate.id, share=0.25, since=1.0)
            await worker.judge()
            session.folder.write(STATE, asdict(replace(state, variant="another")))
            await worker.judge()
            assert events == [{"canary": 0.0}] * 2
            events.clear()
            pipe = asyncio.StreamReader()
            pipe.feed_eof()
            await worker.serve(pipe)
            assert events[0] == {"ready": True, "canary": 0.0}

            back = replace(state, share=0.0, status="rolled_back")

            async def replayed(*_: Any, **__: Any) -> Any:
                session.folder.write(STATE, asdict(back))  # another process, meanwhile
                return SimpleNamespace(verdict=verdict("pass"), confidence=None)

            sessions = [TrafficSession(str(i), "", [], served=True) for i in range(30)]
            recording = Recording(sessions, 30, False, [], live=True)
            monkeypatch.setattr("tuneworthy.shadow.worker.replay", replayed)
            monkeypatch.setattr("tuneworthy.shadow.worker.read_traffic", lambda *_, **__: recording)
            session.folder.write(STATE, asdict(state))
            await worker.judge()
            assert events[-1] == {"verdict": "pass", "canary": 0.0}
            assert session.folder.read(STATE, CanaryState) == back
            back = state
            session.folder.write(STATE, asdict(state))
            await worker.judge()
            assert events[-1]["canary"] > 0.25, "where nobody else wrote, the step ends"

    asyncio.run(work())


@pytest.mark.slow
def test_it_steps_up_over_kills_and_rolls_back_within_one_verdict(tmp_path: Path) -> None:
    """Without a right answer: the grader accepts any label. Harm is a candidate that says none."""
    extra = ENDED + "canary = [0.3, 1.0]\n"
    root = write_traffic_project(tmp_path / "p", "equal", extra=extra)
    harmful = False

    def label(call: Call) -> Script:
        body = {
            "choices": [
                {"message": {"role": "assistant", "content": "?" if harmful else "red"}, "finish_reason": "stop"}
            ]
        }
        return [raw(orjson.dumps(body), "Content-Type: application/json", "Connection: close")]

    def state() -> CanaryState:
        found = Folder(root).read(STATE, CanaryState)
        assert found is not None
        return found

    requests, script = production(400)
    batches = iter([requests[i : i + 250] for i in range(0, len(requests), 250)])

    async def work() -> None:
        nonlocal harmful
        async with upstream(label) as (own_address, _), upstream(script) as (address, _):
            served(root, own_address)
            text = (root / "tuneworthy.toml").read_text()
            (root / "tuneworthy.toml").write_text(text.replace("[task]\n", "[task]\nmargin = 0.2\n"))
            options = ("--share", "1", "--judge-minutes", "0.02")
            async with proxy_of(root, address, *options) as proxy:
                await send(proxy, next(batches))

                async def passed() -> bool:
                    return (await proxy.health())["verdict"] == "pass"

                await proxy.until(passed)
            async with proxy_of(root, address, *options, "--canary") as proxy:
                assert (await proxy.health())["canary"] == 0.3
                proxy.process.send_signal(signal.SIGKILL)
            assert state().share == 0.3
            async with proxy_of(root, address, *options, "--canary") as proxy:
                await send(proxy, next(batches))

                async def stepped() -> bool:
                    return (await proxy.health())["canary"] == 1.0

                await proxy.until(stepped)
                proxy.process.send_signal(signal.SIGKILL)
            assert state().share == 1.0 and state().status == "running"
            async with proxy_of(root, address, *options, "--canary") as proxy:
                assert (await proxy.health())["canary"] == 1.0
                harmful = True
                await send(proxy, next(batches))

                async def back() -> bool:
                    return (await proxy.health())["canary"] == 0.0 and state().status == "rolled_back"

                await proxy.until(back)
                assert "worse" in state().detail

    asyncio.run(work())
