"""LiteLLM beside this tool: what it is told, and what is read of the log that it writes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
import yaml

from tests.shadow.test_canary import served
from tests.shadow.test_recording import said, user
from tests.shadow.traffic import write_traffic_project
from tuneworthy.cases.formats.exports.litellm import PAIR, VARIANT
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.shadow.mirror import export_mirror
from tuneworthy.shadow.recording import LATEST_S, NothingEnded, read_recording
from tuneworthy.shadow.replay import PAIRS, ShadowRecord, read_shadow
from tuneworthy.store import Folder
from tuneworthy.types import Case

NOWHERE = "http://127.0.0.1:9"


def call(pair: str, question: str, answer: str, variant: str = "", **more: Any) -> dict[str, Any]:
    """Return a line of the log: the answer that a user got, or that of a mirrored variant."""
    message = {"role": "assistant", "content": answer}
    return {
        "id": "c",
        "status": "success",
        "startTime": 1000.0,
        "endTime": 1002.0,
        "model": "m",
        "model_group": "tuneworthy-candidate" if variant else "m",
        "session_id": f"s-{pair}",
        "messages": [user(question)],
        "response": {"choices": [{"message": message, "finish_reason": "stop"}]},
        "error_str": None,
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "metadata": {"is_silent_experiment": bool(variant)},
        "model_parameters": {"tools": None},
        PAIR: pair,
        VARIANT: variant or None,
        **more,
    }


def failed(pair: str, question: str, variant: str) -> dict[str, Any]:
    return call(pair, question, "", variant, status="failure", response=None, error_str="Timeout")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose candidate is a server that does not answer: whoever asks it gets nothing."""
    found = write_traffic_project(tmp_path / "p", "equal", extra="[shadow]\nturns = 1\n")
    served(found, NOWHERE)
    path = found / "tuneworthy.toml"
    path.write_text(path.read_text().replace('api_key_env = ""', 'api_key_env = ""\nretries = 0', 1))
    return found


def within(root: Path, work: Callable[[Session], Any]) -> Any:
    async def run() -> Any:
        async with open_session(load(root), beside=True) as session:
            return work(session)

    return asyncio.run(run())


def candidate_id(root: Path) -> str:
    return str(within(root, lambda session: resolve(session, "current").id))


def replayed(root: Path, rows: list[dict[str, Any]]) -> tuple[int, ShadowRecord]:
    log = root / "mirror.jsonl"
    log.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    status = invoke(["shadow", "replay", str(log), "--candidate", "current", "--project", str(root)])
    record = read_shadow(Folder(root))
    assert record is not None
    return status, record


def log_of(n: int, variant: str, answer: Callable[[int], str]) -> list[dict[str, Any]]:
    """Return a log in which the answers of the candidate come before or after those of production."""
    rows = []
    for i in range(n):
        both = [call(f"p{i}", f"item {i}", "red"), call(f"p{i}", f"item {i}", answer(i), variant)]
        rows += both if i % 2 else both[::-1]
    return rows


def test_answers_that_the_gateway_has_are_judged_like_those_of_a_replay_and_not_asked_again(root: Path) -> None:
    variant = candidate_id(root)
    status, record = replayed(root, log_of(300, variant, lambda i: "green"))
    assert (status, record.verdict.status, record.variant, record.n_pairs) == (0, "pass", variant, 300)
    assert "The gateway asked the candidate in 300 of 300 turns" in " ".join(record.notes)
    status, record = replayed(root, log_of(300, variant, lambda i: "red" if i % 3 else "no label"))
    assert (status, record.verdict.status) == (3, "fail")


def test_a_fault_of_the_mirrored_candidate_is_an_answer_that_is_missing(root: Path) -> None:
    variant = candidate_id(root)
    rows = log_of(300, variant, lambda i: "red")
    broken = [row if i % 20 or not row[VARIANT] else failed(row[PAIR], "q", variant) for i, row in enumerate(rows)]
    status, record = replayed(root, broken)
    assert (status, record.verdict.status) == (4, "unknown") and "gave no answer to 30 of 300" in record.verdict.detail
    again = [*broken, *(row for row, other in zip(rows, broken, strict=True) if row is not other)]
    assert replayed(root, again)[0] == 0, "one that was asked again and answered counts by its answer"


def test_answers_of_another_variant_or_of_no_known_one_are_not_the_candidates(root: Path) -> None:
    for variant in ("another", "?"):
        rows = log_of(120, variant, lambda i: "red")
        if variant == "?":
            rows = [{**row, VARIANT: None} for row in rows]
        status, record = replayed(root, rows)
        assert status == 5 and "equal is not responding" in record.partial, "it was asked, at NOWHERE"


def test_what_a_mirrored_model_says_is_no_answer_of_production(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in log_of(5, "v", lambda i: "WRONG")))
    (session, *_) = sessions = read_recording(load(root), [log]).sessions
    assert len(sessions) == 5 and {turn.answer.text for one in sessions for turn in one.turns} == {"red"}
    assert session.turns[0].mirrored["v"].text == "WRONG" and session.turns[0].mirrored["v"].response.seconds == 2.0


def test_a_log_that_litellm_wrote_is_read(root: Path) -> None:
    """Of the callback behind litellm 1.108.7, in `test_litellm_mirror`: plain, streamed, turns, tools, a fault."""
    found = read_recording(load(root), [Path(__file__).with_name("litellm_log.jsonl")])
    assert sorted(one.name for one in found.sessions) == [f"session-{n}" for n in range(5)]
    turns = {one.name: turn for one in found.sessions for turn in one.turns}
    (variant,) = {name for turn in turns.values() for name in turn.mirrored}
    said_by = {name: (turn.answer.text, turn.mirrored[variant].text) for name, turn in turns.items()}
    assert said_by == {**dict.fromkeys(turns, ("red", "blue")), "session-4": ("red", "")}
    assert [turns[f"session-{n}"].mirrored[variant].error is None for n in range(5)] == [True] * 4 + [False]
    assert [turn["content"] for turn in turns["session-2"].case.messages] == ["one?", "two", "three?"]
    assert turns["session-3"].case.tools[0]["function"]["name"] == "find"
    answer = turns["session-1"].mirrored[variant].response
    assert answer is not None and (answer.input_tokens, answer.output_tokens) == (11, 3) and 0 < answer.seconds < 60


def test_a_session_has_ended_only_when_a_late_answer_of_the_candidate_would_be_there(root: Path) -> None:
    log, now = root / "log.jsonl", time.time()
    for age, n in ((LATEST_S - 60, 0), (LATEST_S + 1900, 1)):
        log.write_bytes(orjson.dumps(call("p", "q", "red", endTime=now - age)) + b"\n")
        if n:
            assert len(read_recording(load(root), [log]).sessions) == n
        else:
            with pytest.raises(NothingEnded):
                read_recording(load(root), [log])


def test_sessions_are_in_the_order_in_which_production_ended_them(root: Path) -> None:
    rows = [call(f"p{i}", f"q{i}", "red", endTime=1000.0 + at) for i, at in enumerate((30, 10, 20))]
    log = root / "log.jsonl"
    log.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    found = read_recording(load(root), [log])
    assert [one.name for one in found.sessions] == ["s-p1", "s-p2", "s-p0"] and found.live


@pytest.mark.parametrize("policy", ["mask", "drop"])
def test_personal_data_is_masked_in_the_answers_of_the_candidate_too(policy: str, root: Path) -> None:
    variant, path = candidate_id(root), root / "tuneworthy.toml"
    path.write_text(path.read_text() + f'\n[data]\npolicy = {{ personal_data = "{policy}" }}\n')
    rows = log_of(3, variant, lambda i: "Write to ada@example.com" if i else "red")
    _, record = replayed(root, rows)
    found = read_recording(load(root), [root / "mirror.jsonl"])
    heard = [turn.mirrored[variant].text for one in found.sessions for turn in one.turns]
    assert sorted(heard) == (["Write to [EMAIL_1]"] * 2 + ["red"] if policy == "mask" else ["red"]), "no judge reads it"
    assert b"ada@example.com" not in (Folder(root).path / PAIRS).read_bytes()
    assert record.n_pairs == (3 if policy == "mask" else 1)
    assert ("2 sessions with personal data are left out" in " ".join(record.notes)) is (policy == "drop")


def with_production(root: Path) -> None:
    """Let production be a hosted model, and the candidate have a prompt of its own."""
    path = root / "tuneworthy.toml"
    text = path.read_text()
    production = '[models.today]\nprovider = "openai"\nmodel = "house-model"\nbase_url = "http://127.0.0.1:8/v1"\n'
    path.write_text(text + f'\n{production}api_key_env = "PRODUCTION_KEY"\n')


def exported(root: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    def work(session: Session) -> Any:
        candidate = resolve(session, "current")
        production = replace(candidate, model="today", name="today")
        own = {"system": "Sort it.", "user": "Item: {{ input }}", "decoding": {"temperature": 0.3}, **changes}
        candidate = replace(candidate, **own)
        export_mirror(session, production, candidate, folder)
        turns = (user("one?"), said("two"), user("three?"))
        single = session.runner.request(candidate, Case(id="1", input='say "one"\n?'))
        several = session.runner.request(candidate, Case(id="2", messages=turns))
        return [[dict(turn) for turn in request.messages] for request in (single, several)], candidate.id

    single_and_several, identity = within(root, work)
    config = yaml.safe_load((folder / "litellm_config.yaml").read_text())
    return {"messages": single_and_several, "id": identity, "config": config}


def test_the_configuration_mirrors_production_to_the_candidate_and_holds_no_key(root: Path, tmp_path: Path) -> None:
    with_production(root)
    found = exported(root, tmp_path / "out")
    today, candidate = (one["litellm_params"] for one in found["config"]["model_list"])
    assert [one["model_name"] for one in found["config"]["model_list"]] == ["house-model", "tuneworthy-candidate"]
    assert today == {
        "model": "openai/house-model",
        "api_base": "http://127.0.0.1:8/v1",
        "api_key": "os.environ/PRODUCTION_KEY",
        "silent_model": "tuneworthy-candidate",
    }
    assert (candidate["model"], candidate["api_base"], candidate["api_key"]) == ("openai/own", f"{NOWHERE}/v1", "none")
    body = orjson.loads((tmp_path / "out" / "request.json").read_bytes())["body"]
    assert body["temperature"] == 0.3 and not {"model", "messages"} & body.keys()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for the two names of litellm that the callback imports."""
    for name in ("litellm", "litellm.constants", "litellm.integrations", "litellm.integrations.custom_logger"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["litellm.constants"].OPENAI_CHAT_COMPLETION_PARAMS = ["temperature", "user", "tools", "stream"]  # type: ignore[attr-defined]
    sys.modules["litellm.integrations.custom_logger"].CustomLogger = object  # type: ignore[attr-defined]


@pytest.mark.usefixtures("stub")
def test_the_callback_asks_the_mirrored_model_as_a_replay_asks_the_candidate(root: Path, tmp_path: Path) -> None:
    with_production(root)
    found = exported(root, tmp_path / "out")
    space: dict[str, Any] = {"__file__": str(tmp_path / "out" / "litellm_mirror.py")}
    exec((tmp_path / "out" / "litellm_mirror.py").read_text(), space)
    mirror, head = space["mirror"], {"role": "system", "content": "Production's own."}
    single, several = found["messages"]
    for turns, sent in (([user('say "one"\n?')], single), ([user("one?"), said("two"), user("three?")], several)):
        request = {
            "model": "m",
            "messages": [head, *turns],
            "temperature": 1.9,
            "user": "u",
            "tools": [],
            "stream": True,
        }
        assert asyncio.run(mirror.async_pre_call_deployment_hook({**request, "metadata": {}}, None)) is None
        mirrored = {**request, "metadata": {"is_silent_experiment": True}}
        asked = asyncio.run(mirror.async_pre_call_deployment_hook(mirrored, None))
        assert asked["messages"] == sent and asked["extra_body"]["temperature"] == 0.3
        assert not {"temperature", "user"} & asked.keys() and asked["stream"] is True and asked["tools"] == []
        assert asked["extra_headers"] == {"X-Tuneworthy-Shadow": "1"}


@pytest.mark.usefixtures("stub")
def test_the_callback_logs_both_answers_of_a_request_and_no_key_address_or_header(root: Path, tmp_path: Path) -> None:
    with_production(root)
    found = exported(root, tmp_path / "out")
    space: dict[str, Any] = {"__file__": str(tmp_path / "out" / "litellm_mirror.py")}
    exec((tmp_path / "out" / "litellm_mirror.py").read_text(), space)
    mirror = space["mirror"]
    data = asyncio.run(mirror.async_pre_call_hook(None, None, {"messages": [user("q")]}, "acompletion"))
    secret = {"user_api_key_hash": "KEY", "requester_ip_address": "IP", "requester_custom_headers": {"x": "HEADER"}}
    sent = {"tenant": "t", "headers": {"cookie": "HEADER"}}
    for group, silent in (("house-model", False), ("tuneworthy-candidate", True), ("tuneworthy-candidate", False)):
        payload = {**call("x", "q", "red"), "model_group": group, "requester_ip_address": "IP", "api_base": "BASE"}
        payload["metadata"] = {**secret, "is_silent_experiment": silent, "requester_metadata": sent}
        kwargs = {"standard_logging_object": payload, "litellm_params": {"metadata": data["metadata"]}}
        asyncio.run(mirror.async_log_success_event(kwargs, None, None, None))
    log = tmp_path / "out" / "mirror.jsonl"
    assert log.stat().st_mode & 0o077 == 0
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    assert [line[VARIANT] for line in lines] == [None, found["id"]], "a user who asks the candidate is not production"
    assert len({line[PAIR] for line in lines}) == 1 and lines[0]["metadata"]["requester_metadata"] == {"tenant": "t"}
    assert not any(word in log.read_text() for word in ("KEY", '"IP"', "HEADER", "BASE"))


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize("key", ["metadata", "litellm_metadata"])
def test_a_client_cannot_pass_its_request_off_as_a_mirrored_one(key: str, root: Path, tmp_path: Path) -> None:
    with_production(root)
    exported(root, tmp_path / "out")
    space: dict[str, Any] = {"__file__": str(tmp_path / "out" / "litellm_mirror.py")}
    exec((tmp_path / "out" / "litellm_mirror.py").read_text(), space)
    data: dict[str, Any] = {"messages": [user("q")], key: {"is_silent_experiment": True, "tenant": "t"}}
    data = asyncio.run(space["mirror"].async_pre_call_hook(None, None, data, "acompletion"))
    merged = {**data, "metadata": {**data["metadata"], **data.get("litellm_metadata", {})}}
    assert asyncio.run(space["mirror"].async_pre_call_deployment_hook(merged, None)) is None
    assert merged["metadata"]["tenant"] == "t"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"user": "{{ input | upper }}"}, "more than {{ input }}"),
        ({"user": "{{ question }} and {{ input }}"}, "more than {{ input }}"),
        ({"answer_after": "Answer:"}, "cannot answer users"),
    ],
)
def test_a_candidate_that_the_callback_cannot_ask_is_refused(
    changes: dict[str, Any], words: str, root: Path, tmp_path: Path
) -> None:
    with_production(root)
    with pytest.raises(UserError, match=words.replace("{", r"\{").replace("}", r"\}")):
        exported(root, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_personal_data_that_no_candidate_may_get_is_not_mirrored(root: Path, tmp_path: Path) -> None:
    with_production(root)
    path = root / "tuneworthy.toml"
    path.write_text(path.read_text() + '\n[data]\npolicy = { personal_data = "drop" }\n')
    with pytest.raises(UserError, match="drops personal data"):
        exported(root, tmp_path / "out")
