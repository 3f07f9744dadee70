"""The candidate answers users: only whole and valid answers, only clients that production serves, never after harm."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

pytest.importorskip("uvicorn")

from tests.ladder.tuned_simulations import make_artifact
from tests.shadow.canary_bench import (
    BEHAVIOURS,
    CALL,
    INVALID,
    JSON,
    KEY,
    NOT_ADMITTING,
    REFUSED,
    VALID,
    Bench,
    bench,
    completion,
    is_whole,
    of_candidate,
    production,
    spoken,
    strict,
)
from tests.shadow.servers import CHAT, Call, NotedCopies, Script, parts, post, raw, run, said, upstream
from tests.shadow.test_proxy import question
from tests.shadow.test_proxy_process import ENDED, proxy_of
from tests.shadow.test_proxy_process import production as of_conversations
from tests.shadow.traffic import write_traffic_project
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.config.models import LlamaCpp
from tuneworthy.ladder.own_models import TunedModel
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.shadow.canary import MIN_ANSWERS, MIN_TIMED, RESTARTED, STATE, STEPS, CanaryState, LiveCanary, Visit
from tuneworthy.shadow.copies import BUSY, FAILED, LOST, PAIRED, CopyHead, WorkerReport
from tuneworthy.shadow.recording import TRAFFIC, Recording, TrafficSession, turn_of
from tuneworthy.shadow.releases import record_release, release_of
from tuneworthy.shadow.replay import ShadowRecord, replay, worst_pairs
from tuneworthy.shadow.verdict import ShadowVerdict
from tuneworthy.shadow.worker import read_row
from tuneworthy.ship.served import noted
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact
from tuneworthy.types import Variant

# Each kind of fault once; `scripts/canary_table.py` tries all, at all shares.
SAMPLE = ("error in 200", "hang", "dies in the body", "gzip bomb", "a call of no tool", "finish content_filter",
          "events, error inside", "headers of an account", "nothing to be seen")  # fmt: skip


def test_users_get_only_whole_answers_and_a_candidate_that_fails_is_rolled_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with bench(tmp_path) as b:
            for name in SAMPLE:
                b.renew(1.0, wait_s=0.1 if name == "hang" else 8.0)
                b.scripts["candidate"] = lambda _, name=name: BEHAVIOURS[name]  # type: ignore[misc]
                answers = [await b.ask(stream=n % 2 == 1) for n in range(8)]
                assert all(is_whole(one, streamed=n % 2 == 1) for n, one in enumerate(answers)), name
                assert sum(map(of_candidate, answers)) == (6 if name in VALID else 0), name
                assert bool(b.canary.state.rolled_back) is (name in INVALID), name
                assert all(b'"model":"m"' in one for one in answers if of_candidate(one)), "the name in the request"
                assert not any(b"Set-Cookie" in one or b"sk-secret" in one for one in answers)

    run(work)


def test_in_shadow_mode_a_failed_copy_is_recorded_as_lost(tmp_path: Path) -> None:
    async def work() -> None:
        async with bench(tmp_path) as b:
            for name in ("error in 200", "dies in the body", "good"):
                b.renew(None)
                b.scripts["candidate"] = lambda _, name=name: BEHAVIOURS[name]  # type: ignore[misc]
                assert all([b'"blue"' in await b.ask() for _ in range(2)])
                await asyncio.gather(*b.copies.tasks)
            assert (b.copies.counts["failed"], b.copies.counts["paired"]) == (4, 2)
            path = b.worker.session.folder.path / TRAFFIC
            rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
            assert [row["failed_by"] for row in rows] == [b.worker.candidate.id] * 4 + [""] * 2
            row = read_row(CopyHead(path=CHAT), orjson.dumps(question("a")), spoken("blue"), None)
            turn = turn_of("s", row)
            turn = replace(turn, failed_by=b.worker.candidate.id, case=replace(turn.case, expected="blue"))
            n, recording = len(b.asked), Recording([TrafficSession("s", "", [turn])], False, [])
            await replay(b.worker.session, recording, b.worker.candidate)
            (pair,) = worst_pairs(b.worker.session.folder, 9)
            assert {pair["changes"][name] for name in ("format", "refusal", "quality")} == {-1} and len(b.asked) == n

    run(work)


@pytest.mark.parametrize("wide", [1, 16])
def test_simultaneous_streams_of_a_candidate_that_breaks_off_are_all_answered_by_production(
    tmp_path: Path, wide: int
) -> None:
    async def work() -> None:
        async with bench(tmp_path) as b:
            b.renew(1.0)
            b.scripts["candidate"] = lambda _: INVALID["dies in the body"]
            await b.ask(stream=True)
            answers = await asyncio.gather(*(b.ask(stream=True) for _ in range(wide + 6)))
            assert all(is_whole(one, streamed=True) and not of_candidate(one) for one in answers)
            assert b.canary.state.rolled_back and b.canary.share == 0

    run(work)


def test_only_what_production_accepted_goes_to_the_candidate(tmp_path: Path) -> None:
    async def work() -> None:
        async with bench(tmp_path) as b:
            never = {"another path", "a key in the body"}  # the candidate serves neither
            for name, (before, after) in REFUSED.items():
                b.renew(1.0)
                known: list[Any] = []

                def gate(call: Call, known: list[Any] = known) -> Script:
                    known.append(strict(call))
                    fine = known[-1] == known[0]
                    return [raw(spoken("blue"), JSON, status="200 OK" if fine else "401 Unauthorized")]

                b.scripts["production"] = gate
                first = [await b.ask(*one.headers, path=one.path, session="s", **one.fields) for one in (before,) * 2]
                assert all(is_whole(one) for one in first) and of_candidate(first[1]) is (name not in never), name
                for session in ("s", "t"):
                    answer = await b.ask(*after.headers, path=after.path, session=session, **after.fields)
                    assert answer.split()[1] == b"401" and not of_candidate(answer), name

    run(work)


def test_a_session_counts_as_a_credential_where_a_client_has_no_other(tmp_path: Path) -> None:
    def gate(call: Call) -> Script:
        fine = ("x-session-id", "mine") in call.headers
        return [raw(spoken("blue"), JSON, status="200 OK" if fine else "401 Unauthorized")]

    async def work() -> None:
        async with bench(tmp_path) as b:
            b.renew(1.0)
            b.scripts["production"] = gate
            assert [of_candidate(await b.ask("X-A: 1", session="mine")) for _ in range(2)] == [False, True]
            assert (await b.ask("X-A: 1", session="guessed")).split()[1] == b"401"
            keyed = LiveCanary(Folder(tmp_path), b.canary.state, b.copies, session_header=b"authorization")
            kinds = {
                visit.kind
                for key in (b"a", b"b")
                if (visit := keyed.visit("s", "/", [(b"cookie", b"c"), (b"authorization", key)], b"{}"))
            }
            assert len(kinds) == 2
            for headers, n in (([], 2), ([(b"authorization", b" ")], 2), ([(b"authorization", b"a")], 1)):
                visits = [
                    b.canary.visit(name, "/", [*headers, (b"x-session-id", name.encode())], b"{}") for name in "st"
                ]
                assert len({visit.kind for visit in visits if visit}) == n

    run(work)


def test_an_answer_to_a_user_is_paid_from_the_same_money() -> None:
    copies = NotedCopies()
    copies._note(WorkerReport(outcome=PAIRED, number=7, usd=0.5))
    copies._note(WorkerReport(outcome="failed", usd=0.75))
    copies._note(WorkerReport(verdict="unknown"))
    assert (copies.usd, copies.in_flight, copies.counts["failed"]) == (0.75, -1, 1)


def test_no_other_answer_of_production_admits_a_client(tmp_path: Path) -> None:
    async def work() -> None:
        async with bench(tmp_path) as b:
            for name, script in NOT_ADMITTING.items():
                b.renew(1.0)
                b.scripts["production"] = lambda _, script=script: script  # type: ignore[misc]
                for _ in range(2):
                    await b.ask()
                assert not b.asked, name
                b.scripts["production"] = production
                assert b'"blue"' in await b.ask() and of_candidate(await b.ask()), name

    run(work)


def test_an_admission_ends_with_time_or_the_next_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with bench(tmp_path) as b:
            b.renew(1.0)
            assert [of_candidate(await b.ask()) for _ in range(3)] == [False, True, True]
            monkeypatch.setattr("tuneworthy.shadow.canary.ACCEPTED_S", 0.0)
            b.scripts["production"] = lambda _: [raw(b"{}", JSON, status="401 Unauthorized")]
            assert (await b.ask()).split()[1] == b"401"
            monkeypatch.setattr("tuneworthy.shadow.canary.ACCEPTED_S", 120.0)
            assert (await b.ask()).split()[1] == b"401", "the refusal ended the admission"
            for seconds, admitted in ((1.0, False), (0.0, True)):  # an answer that began before the refusal
                (_, visit) = b.canary._accepted.clear(), b.canary.visit("s", "/", [], b"{}")
                assert visit
                b.canary.note(visit, 401, 0.1, valid=False)
                b.canary.note(visit, 200, seconds, valid=True)
                assert (visit.kind in b.canary._accepted) is admitted
            b.canary.note(Visit("s", b"slow", 0.0), 200, 120.0, valid=True)
            assert time.monotonic() - b.canary._accepted[b"slow"] >= 120, "it begins with the answer"
            b.canary._accepted.clear()
            for n in range(30):
                b.canary.note(Visit("s", b"%d" % n, 0.0), 200, 0.1, valid=True)
            monkeypatch.setattr("tuneworthy.shadow.canary.MAX_KINDS", 10)
            b.canary.note(Visit("s", b"a", 0.0), 200, 0.1, valid=True)
            assert len(b.canary._accepted) == 30, "as many as before, without the oldest"

    run(work)


def test_sessions_are_drawn_by_a_secret_of_the_process_with_the_credential(tmp_path: Path) -> None:
    def places(canary: LiveCanary, *keys: str) -> list[float]:
        found = [
            canary.visit(f"s{n}", "/", [(b"authorization", key.encode())], b"{}") for n in range(400) for key in keys
        ]
        return [visit.place for visit in found if visit]

    state = CanaryState(variant="v")
    one, two = (LiveCanary(Folder(tmp_path), state, NotedCopies(), session_header=b"x") for _ in range(2))
    drawn = places(one, "a")
    assert drawn == places(one, "a") and 60 < sum(place < 0.25 for place in drawn) < 140
    assert drawn != places(two, "a") and not {*drawn} & {*places(one, "b")}
    for body in (b"", b"[1]", b"7", b"{", b"[" * 10_000, b'[["model", "m"], ["messages", []]]', b'["ab", "cd"]', b'""'):
        assert one.visit("s", "/", [], body) is None


def test_copied_sessions_and_other_forms_of_answers_are_production_s(tmp_path: Path) -> None:
    forms: list[dict[str, Any]] = [
        {"n": 2}, {"stop": ["a"]}, {"logprobs": True}, {"response_format": {"type": "json_object"}}, {"max_tokens": 5},
        {"tool_choice": "required"}, {"max_completion_tokens": "9"}, {"modalities": ["audio"]}, {"functions": []},
        {"text": "Write to ada@example.org."}, {"text": "Call +1 212 555 0187 now."},
        {"tools": [{"type": ["x"], "function": {"name": "f"}}]}, {"tools": 7},
    ]  # fmt: skip

    async def work() -> None:
        async with bench(tmp_path) as b:
            b.renew(1.0)
            for form in forms:
                for _ in range(2):
                    assert b'"blue"' in await b.ask(**form), form
            assert not b.asked and not b.canary._counted and not b.canary._n_failed
            usual = {"temperature": 0.5, "max_tokens": 4096, "stream": False, "tools": None}
            assert [of_candidate(await b.ask(**usual)) for _ in range(2)] == [False, True]
            b.app.share = 1.0
            assert b'"blue"' in await b.ask(**usual)

    run(work)


def test_a_call_of_a_tool_that_the_user_offers_is_an_answer(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]

    async def work() -> None:
        async with bench(tmp_path) as b:
            b.renew(1.0)
            for written in ("{}", ""):  # without arguments
                call = CALL | {"function": {"name": "f", "arguments": written}}
                message = {"role": "assistant", "tool_calls": [call]}
                b.scripts["candidate"] = lambda _, message=message: [raw(completion(message, "tool_calls"), JSON)]  # type: ignore[misc]
                for streamed in (False, True):
                    _, answer = [await b.ask(tools=tools, stream=streamed) for _ in range(2)]
                    assert is_whole(answer, streamed=streamed) and b'"call_' in answer and b'"tool_calls"' in answer
                    assert b'"arguments":"{}"' in answer

    run(work)


def canary_at(tmp_path: Path, share: float = STEPS[0]) -> LiveCanary:
    folder = Folder(tmp_path)
    folder.create()
    return LiveCanary(folder, CanaryState(variant="v", share=share), NotedCopies(), session_header=b"x")


async def tried(canary: LiveCanary, outcome: str, n: int = 1, *, valid: Any = True, distinct: bool = True) -> None:
    """Let the candidate be asked `n` questions, and production after each."""

    async def ask(*_: Any) -> WorkerReport:
        return WorkerReport(outcome=outcome)

    canary.copies.ask = ask  # type: ignore[method-assign]
    for number in range(n):
        await canary._ask(visit := Visit("s", b"", 0.0), f"{outcome} {number if distinct else 0}".encode())
        if valid is not ...:
            canary.note(visit, 200, 0.1, valid=valid)


def test_a_step_ends_with_a_pass_after_enough_answers_and_harm_ends_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work() -> None:
        canary = canary_at(tmp_path)
        shares = []
        for verdict, n in (("pass", 99), ("unknown", 1), ("", 0), ("pass", 0), ("pass", 99), ("pass", 1), ("pass", 100),
                           ("pass", 100)):  # fmt: skip
            await tried(canary, PAIRED, n)
            canary.copies.on_verdict(verdict)
            shares.append(canary.share)
        assert shares == [0.01, 0.01, 0.01, 0.05, 0.05, 0.25, 1.0, 1.0]
        canary.copies.enough = "budget"
        assert canary.share == 0, "no one judges any more"
        canary.copies.enough = ""
        canary.decide("fail")
        canary.decide("pass")
        assert canary.share == 0 and "harm" in canary.state.rolled_back
        assert canary.folder.read(STATE.format("v"), CanaryState) == canary.state

    assert MIN_ANSWERS == 100
    asyncio.run(work())
    lines = capsys.readouterr().err.splitlines()
    assert (
        len(lines) == 4
        and [f"{share:.0%}" in line for share, line in zip(STEPS[1:], lines, strict=False)] == [True] * 3
    )
    assert "rolled back" in lines[3]


@pytest.mark.parametrize(
    ("good", "faults", "production", "back"),
    [
        (0, 6, (0, 0), True),
        (0, 3, (0, 0), False),
        (2, 3, (0, 1000), True),
        (2, 2, (0, 1000), False),
        (300, 3, (10, 990), False),
        (1000, 4, (0, 1000), True),  # it broke
        (1000, 2, (0, 1000), False),
        (50, 12, (50, 50), False),
        (50, 50, (20, 80), True),
        (0, 10, (100, 0), False),
    ],
)
def test_faults_roll_back_where_production_fails_less(
    tmp_path: Path, good: int, faults: int, production: tuple[int, int], back: bool
) -> None:
    async def work() -> None:
        canary = canary_at(tmp_path)
        for valid, n in zip((False, True), production, strict=True):
            for number in range(n):
                canary.note(Visit("s", b"%d" % number, 0.0), 200, 0.1, valid=valid)
        await tried(canary, PAIRED, good, valid=None)
        await tried(canary, FAILED, faults)
        assert bool(canary.state.rolled_back) is back

    asyncio.run(work())


@pytest.mark.parametrize(
    ("outcome", "settings"),
    [
        (LOST, {}),  # the worker was killed
        (BUSY, {}),
        (FAILED, {"distinct": False}),  # one question, sent again and again
        (FAILED, {"valid": False}),  # production fails it too
    ],
)
def test_what_is_no_fault_of_the_candidate_rolls_nothing_back(
    tmp_path: Path, outcome: str, settings: dict[str, Any]
) -> None:
    async def work() -> None:
        canary = canary_at(tmp_path)
        await tried(canary, outcome, 50, **settings)
        assert not canary.state.rolled_back

    asyncio.run(work())


def test_questions_are_not_remembered_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.shadow.canary.MAX_KINDS", 10)
    canary = canary_at(tmp_path)
    asyncio.run(tried(canary, PAIRED, 30))
    assert len(canary._counted) <= 11


def test_a_candidate_that_always_fails_the_same_questions_is_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        canary = canary_at(tmp_path)
        for _ in range(40):
            await tried(canary, PAIRED, 3)
            await tried(canary, FAILED, 1, distinct=False)
            monkeypatch.setattr("tuneworthy.shadow.canary.ACCEPTED_S", 0.0)  # the next time is later
        assert canary.state.rolled_back

    asyncio.run(work())


def test_a_candidate_that_fails_as_often_as_production_goes_on(tmp_path: Path) -> None:
    async def work() -> None:
        for share in (0.02, 0.05):
            canary, rng = canary_at(tmp_path / f"{share}"), np.random.default_rng(7)
            for number, fails in enumerate(rng.random((4000, 2)) < share):
                canary.note(visit := Visit("s", b"", 0.0, failed=bool(fails[0])), 200, 0.1, valid=not fails[1])
                if not visit.failed:
                    canary._count(is_fault=False)
                assert not canary.state.rolled_back, number

    asyncio.run(work())


def test_a_roll_back_reaches_other_processes_and_is_stored_once_there_is_room(tmp_path: Path) -> None:
    one, two = canary_at(tmp_path), canary_at(tmp_path)
    one.decide("fail")
    two.decide("")
    assert two.share
    two.decide("pass")
    assert two.state == one.state and not two.share
    path = tmp_path / ".tuneworthy" / f"{STATE.format('v')}.json"
    path.write_text("{damaged")
    one.decide("unknown")
    assert Folder(tmp_path).read(STATE.format("v"), CanaryState) == one.state
    assert Folder(tmp_path).read(STATE.format("w"), CanaryState) is None, "another candidate has its own"


def test_how_long_a_user_waits_follows_production(tmp_path: Path) -> None:
    canary = canary_at(tmp_path)
    for seconds, expected in ((0.1, 2.0), (4.0, 12.0)):
        for _ in range(10 * MIN_TIMED):
            canary.note(Visit("s", b"a", 0.0), 200, seconds, valid=True)
        assert canary.wait_s == pytest.approx(expected)


def test_a_refusal_is_no_fault_of_production_and_a_user_who_leaves_is_neither(tmp_path: Path) -> None:
    canary = canary_at(tmp_path)
    for status in (401, 403, 429):
        canary.note(Visit("s", b"a", 0.0), status, 0.1, valid=False)
    canary.note(Visit("s", b"a", 0.0), 200, 0.1, valid=None)
    assert not canary._production
    canary.note(Visit("s", b"a", 0.0), 400, 0.1, valid=False)
    assert [one[1] for one in canary._production] == [True]


def test_a_user_who_leaves_hides_no_fault(tmp_path: Path) -> None:
    async def work() -> None:
        async with bench(tmp_path) as b:
            b.renew(1.0, wait_s=0.3)
            b.scripts["candidate"] = lambda _: INVALID["hang"]
            await b.ask()
            for _ in range(7):
                with pytest.raises(TimeoutError):
                    await b.ask(wait_s=0.1)
            await asyncio.sleep(0.3)
            for n in range(6):
                await b.ask(user=f"another {n}")
            assert b.canary.state.rolled_back

    run(work)


def test_the_state_is_shown(tmp_path: Path) -> None:
    async def shown(b: Bench) -> tuple[Any, bytes]:
        health, metrics = [
            parts(await said(b.address, f"GET /-/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()))[2]
            for path in ("health", "metrics")
        ]
        return orjson.loads(health)["canary"], metrics

    async def work() -> None:
        async with bench(tmp_path) as b:
            b.renew(None)
            assert (await shown(b))[0] is None
            b.renew(0.25)
            found, metrics = await shown(b)
            assert found == "25%" and b"tuneworthy_canary_share 0.25" in metrics
            b.canary.decide("fail")
            found, metrics = await shown(b)
            assert "rolled back" in found and "harm" in found and b"tuneworthy_canary_rolled_back 1" in metrics

    run(work)


def test_a_full_disk_delays_no_roll_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    canary = canary_at(tmp_path)
    (canary.folder.path / "shadow").write_text("")
    canary.decide("fail")
    assert canary.share == 0 and "rolled back" in capsys.readouterr().err


def stored(root: Path, variant: str, status: Any, **state: Any) -> None:
    """Write the verdict of a replay, and the state of a canary."""
    verdict = ShadowVerdict(status=status, detail="It is.")
    record = ShadowRecord(verdict=verdict, variant=variant, candidate="v", production="recorded", date="2026-01-01",
                          n_sessions=1, n_drawn=1, n_pairs=1, cost_usd=0.0)  # fmt: skip
    Folder(root).write("shadow", asdict(record))
    if state:
        Folder(root).write(STATE.format(variant), asdict(CanaryState(variant=variant, **state)))


def test_a_canary_that_would_answer_no_user_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra=ENDED)
    words = ["shadow", "proxy", "http://127.0.0.1:9", "--candidate", "current", "--project", str(root), "--share", "1"]
    assert invoke([*words, "--canary"]) == 2
    assert "--share 1 " in capsys.readouterr().err


def test_the_command_says_at_its_start_what_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra=ENDED)
    monkeypatch.setattr("tuneworthy.shadow.http_server.serve", lambda app, door: door.close())
    words = ["shadow", "proxy", "http://127.0.0.1:9", "--candidate", "current", "--project", str(root)]

    def started(*options: str) -> str:
        assert invoke([*words, *options, "--bind", "127.0.0.1:0"]) == 0
        return capsys.readouterr().err

    async def candidate() -> str:
        async with open_session(load(root)) as session:
            return resolve(session, "current").id

    variant = asyncio.run(candidate())
    assert "`shadow.label_share`" in started()
    stored(root, variant, "pass")
    assert "label_share" not in started()
    assert "answers 1%" in started("--canary")
    stored(root, variant, "fail", share=0.0, rolled_back="It failed 4 of 34.")
    for options in ([], ["--canary"]):
        text = started(*options)
        assert "rolled back" in text and "4 of 34" in text and "--restart" in text and "passes after" not in text
    stored(root, variant, "pass")
    folder = Folder(root).path
    (folder / f"{STATE.format(variant)}.json").rename(folder / f"{RESTARTED.format(variant)}.json")
    text = started("--canary")
    assert "4 of 34" in text and "answers 1%" not in text, "a restarted replay has not passed yet"


@pytest.mark.slow
def test_the_command_asks_the_candidate_in_a_process_of_its_own_and_stays_rolled_back(tmp_path: Path) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra=ENDED)
    words = ["shadow", "proxy", "http://127.0.0.1:9", "--candidate", "current", "--canary", "--project", str(root)]
    assert invoke(words) == 2, "it has not passed"

    async def candidate() -> str:
        async with open_session(load(root)) as session:
            return resolve(session, "current").id

    variant = asyncio.run(candidate())
    stored(root, variant, "pass", share=1.0)
    requests, script = of_conversations(40)

    async def served() -> list[bytes]:
        options = ("--canary", "--share", "0.01")
        async with upstream(script) as (address, _), proxy_of(root, address, *options, judge_s=1.2) as proxy:
            answers = [
                await said(proxy.address, post(orjson.loads(body) | {"metadata": {}}, CHAT, f"X-Chat: {n}", KEY))
                for n, (_, body) in enumerate(requests[:30])
            ]
            assert all(is_whole(one) for one in answers)
            return [one for one in answers if b"chatcmpl-" in one]

    assert len(asyncio.run(served())) >= 25
    stored(root, variant, "pass", share=0.0, rolled_back="Harm.")
    assert not asyncio.run(served())


def test_a_canary_names_the_release_that_a_roll_back_leads_to_and_needs_another_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra=ENDED)
    store, address = Folder(root), "http://127.0.0.1:9"
    monkeypatch.setattr("tuneworthy.shadow.http_server.serve", lambda app, door: door.close())
    words = ["shadow", "proxy", address, "--candidate", "current", "--canary", "--project", str(root)]

    async def candidate() -> Variant:
        async with open_session(load(root)) as session:
            return resolve(session, "current")

    variant = asyncio.run(candidate())
    stored(root, variant.id, "pass")
    old, new = (make_artifact(root, "gguf", file_type=kind) for kind in ("f16", "q8_0"))
    tuned = TunedModel(name=variant.model, config=LlamaCpp(provider="llama_cpp", model="m.gguf"),
                       detail=TunedDetail(engine="llama_cpp", gguf=new.id))  # fmt: skip
    monkeypatch.setattr("tuneworthy.cli.shadow_proxy.tuned_models", lambda _: [tuned])

    def started(served: Artifact | None, status: int = 0) -> str:
        with noted(store, served, address) if served else nullcontext():
            assert invoke([*words, "--bind", "127.0.0.1:0"]) == status
        return capsys.readouterr().err

    assert "leads to production." in started(None)
    assert "leads to production." in started(old), "it is served, but no release"
    record_release(store, release_of(store, old, "v1"), "card")
    assert "leads to release 1." in started(old)
    text = started(new, 2)
    assert "change nothing" in text and "--release 1" in text
    canary = LiveCanary(store, CanaryState(variant="v", production="release 1"), NotedCopies(), session_header=b"s")
    canary.decide("fail")
    assert "release 1 answers from now on" in capsys.readouterr().err
