"""Encoders and rerankers behind HTTP: what is sent, what comes back, and faults that are told without the key."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

from tuneworthy.config.retrieval import EncoderServer, RerankServer
from tuneworthy.engine.budget import Budget
from tuneworthy.errors import BudgetSpent, OutsideFault, UserError
from tuneworthy.retrieval import servers
from tuneworthy.retrieval.account import Account
from tuneworthy.retrieval.servers import ServerEncoder, ServerReranker
from tuneworthy.store import ResponseStore

KEY = "TUNEWORTHY_TEST_KEY"


@contextmanager
def serving(
    *answers: tuple[int, Any], promised: int = 0, wait_s: float = 0.0
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve one answer after the other (the last one again and again); yields the address and what was sent.

    Args:
        answers: Status and body of each.
        promised: Length that is declared instead of the body's own.
        wait_s: Before each answer, or until the block ends.
    """
    ended = Event()
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = answers[min(len(seen), len(answers) - 1)]
            seen.append({"path": self.path, "key": self.headers.get("Authorization"), **sent})
            ended.wait(wait_s)
            content = json.dumps(body(sent) if callable(body) else body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(promised or len(content)))
            self.end_headers()
            with suppress(OSError):  # nobody waits for it any more
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", seen
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def vectors(sent: dict[str, Any]) -> dict[str, Any]:
    """Vectors of other lengths, in the wrong order."""
    rows = [{"index": place, "embedding": [float(len(text)), 0.0]} for place, text in enumerate(sent["input"])]
    return {"data": rows[::-1]}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-test-secret-0000")
    monkeypatch.setattr(servers, "PAUSE_S", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResponseStore]:
    opened = ResponseStore(tmp_path / "responses.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def account(store: ResponseStore) -> Account:
    return Account(store, Budget(None))


def test_texts_are_sent_with_their_prefix_and_come_back_in_order_and_of_length_one(account: Account) -> None:
    with serving((200, vectors)) as (url, seen):
        config = EncoderServer(type="server", base_url=url, model="m", api_key_env=KEY, prefixes=["query: ", ""])
        found = asyncio.run(ServerEncoder(config, account).encode_questions(["a", "bb"]))
    assert seen[0]["input"] == ["query: a", "query: bb"] and seen[0]["path"] == "/v1/embeddings"
    assert seen[0]["key"] == "Bearer sk-test-secret-0000"
    assert np.allclose(np.linalg.norm(found, axis=1), 1) and found.shape == (2, 2)


@pytest.mark.parametrize("usd_per_mtok", [0.0, 1.0])
def test_no_text_is_sent_whose_answer_could_not_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usd_per_mtok: float
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    store, budget = ResponseStore(tmp_path / "responses.sqlite"), Budget(1.0)
    with serving((200, vectors)) as (url, seen), closing(store):
        config = EncoderServer(type="server", base_url=url, model="m", usd_per_mtok=usd_per_mtok)
        with pytest.raises(UserError, match="key"):
            asyncio.run(ServerEncoder(config, Account(store, budget)).encode_chunks(["a"]))
    assert not seen and budget.spent_usd == 0


def test_a_reranker_scores_every_text_in_the_order_it_was_sent(account: Account) -> None:
    rows = {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}
    with serving((200, rows)) as (url, seen):
        reranker = ServerReranker(RerankServer(type="server", base_url=url, model="m"), account)
        scores = asyncio.run(reranker.score("q", ["a", "b"]))
    assert scores == [0.1, 0.9] and seen[0]["documents"] == ["a", "b"] and seen[0]["key"] is None


def test_a_fault_that_may_pass_is_tried_again_and_one_that_stays_is_told_without_the_key(account: Account) -> None:
    with serving((503, {}), (200, vectors)) as (url, seen):
        config = EncoderServer(type="server", base_url=url, model="m", api_key_env=KEY)
        assert len(asyncio.run(ServerEncoder(config, account).encode_chunks(["a"]))) == 1 and len(seen) == 2
    with serving((401, {})) as (url, seen), pytest.raises(OutsideFault) as told:
        asyncio.run(ServerEncoder(config.model_copy(update={"base_url": url}), account).encode_chunks(["a"]))
    assert len(seen) == 1 and "401" in str(told.value) and "secret" not in str(told.value)


def test_an_answer_that_breaks_off_is_told(account: Account) -> None:
    with serving((200, vectors), promised=10_000) as (url, seen):
        config = EncoderServer(type="server", base_url=url, model="m")
        with pytest.raises(OutsideFault, match="is incomplete"):
            asyncio.run(ServerEncoder(config, account).encode_chunks(["a"]))
    assert len(seen) == servers.TRIES


def test_a_slow_server_holds_nothing_up_and_ctrl_c_ends_the_wait_after_the_grace_time(account: Account) -> None:
    account.grace_s = 0.5
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with it ignored
    with serving((200, vectors), wait_s=30.0) as (url, seen):
        config = EncoderServer(type="server", base_url=url, model="m")

        async def run() -> int:
            search = asyncio.create_task(ServerEncoder(config, account).encode_chunks(["a"]))
            others = 0
            while not seen or others < 20:  # the loop goes round while the server is slow
                await asyncio.sleep(0.01)
                others += 1
            asyncio.get_running_loop().call_later(0.05, signal.raise_signal, signal.SIGINT)
            await search
            return others

        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(run())
        assert time.monotonic() - started < 20 and len(seen) == 1


def test_too_few_vectors_are_refused(account: Account) -> None:
    with serving((200, {"data": []})) as (url, _):
        config = EncoderServer(type="server", base_url=url, model="m")
        with pytest.raises(OutsideFault, match="/embeddings does not follow the API"):
            asyncio.run(ServerEncoder(config, account).encode_chunks(["a"]))


def test_vectors_are_paid_for_once_and_counted(store: ResponseStore) -> None:
    def told(sent: dict[str, Any]) -> dict[str, Any]:
        return vectors(sent) | {"usage": {"prompt_tokens": 10 * len(sent["input"])}}

    with serving((200, told)) as (url, seen):
        config = EncoderServer(type="server", base_url=url, model="m", usd_per_mtok=1.0)
        budget = Budget(1.0)
        first = asyncio.run(ServerEncoder(config, Account(store, budget)).encode_chunks(["a", "bb", "a"]))
        again = asyncio.run(ServerEncoder(config, Account(store, budget)).encode_chunks(["bb", "ccc", "a"]))
        assert [one["input"] for one in seen] == [["a", "bb"], ["ccc"]]
        assert [store.spending().usd, budget.spent_usd] == pytest.approx([30e-6, 30e-6]) and not budget.reserved_usd
        assert np.array_equal(first[0], again[2])
        asyncio.run(ServerEncoder(config, Account(store, budget)).encode_questions(["a"], repeat=1))
        assert len(seen) == 3  # to measure how long it takes


def test_scores_are_paid_for_once_by_the_call(store: ResponseStore) -> None:
    def told(sent: dict[str, Any]) -> dict[str, Any]:
        return {"results": [{"index": n, "relevance_score": 0.5} for n in range(len(sent["documents"]))]}

    with serving((200, told)) as (url, seen):
        config = RerankServer(type="server", base_url=url, model="m", usd_per_call=0.002)
        asyncio.run(ServerReranker(config, Account(store, Budget(None))).score("q", ["a", "b"]))
        asyncio.run(ServerReranker(config, Account(store, Budget(None))).score("q", ["b", "c", "a"]))
        asyncio.run(ServerReranker(config, Account(store, Budget(None))).score("q2", ["a"]))
    assert [(one["query"], one["documents"]) for one in seen] == [("q", ["a", "b"]), ("q", ["c"]), ("q2", ["a"])]
    assert store.spending().usd == pytest.approx(0.006)


def test_a_call_that_could_exceed_the_budget_is_not_sent(store: ResponseStore) -> None:
    with serving((200, vectors)) as (url, seen):
        config = EncoderServer(type="server", base_url=url, model="m", usd_per_mtok=1e6)
        with pytest.raises(BudgetSpent):
            asyncio.run(ServerEncoder(config, Account(store, Budget(0.5))).encode_chunks(["a"]))
    assert seen == [] and store.spending().usd == 0


def test_what_may_have_been_billed_counts_and_what_was_refused_does_not(store: ResponseStore) -> None:
    budget = Budget(None)
    with serving((401, {}), (200, {"data": "odd"})) as (url, seen):
        config = EncoderServer(type="server", base_url=url, model="m", usd_per_mtok=1e6)
        for spent in (0, config.ceiling_usd("", ["a"])):
            with pytest.raises(OutsideFault):
                asyncio.run(ServerEncoder(config, Account(store, budget)).encode_chunks(["a"]))
            assert [store.spending().usd, budget.spent_usd] == pytest.approx([spent, spent])
    assert len(seen) == 2


def test_a_server_elsewhere_without_a_price_is_not_asked(account: Account) -> None:
    config = EncoderServer(type="server", base_url="https://paid.example/v1", model="m")
    with pytest.raises(UserError, match=r"price of .* is unknown"):
        asyncio.run(ServerEncoder(config, account).encode_chunks(["a"]))
    assert config.model_copy(update={"usd_per_mtok": 0.0}).ceiling_usd("", ["a"]) == 0
