"""Every fault a server can play becomes one classified `ProviderError`, without the key."""

from __future__ import annotations

import asyncio
import gzip
import selectors
import socket
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from fault_server import KEY, QUESTION, Server, completion, cut_off, error, hang, reset, stall, text

from tuneworthy.errors import ProviderError, UserError
from tuneworthy.providers.capabilities import capabilities_of
from tuneworthy.providers.http_client import HttpClient, endpoint
from tuneworthy.providers.keys import Key, read_key
from tuneworthy.providers.openai import OpenAIProvider
from tuneworthy.types import Request, Response


def make(url: str, timeout_s: float = 5.0) -> OpenAIProvider:
    return OpenAIProvider(base_url=f"{url}/v1", model="m", api_key=KEY, identity={"model": "m"}, timeout_s=timeout_s,
                          capabilities=capabilities_of("openai", "m", "api.openai.com"))  # fmt: skip


def ask(*plays: Any, timeout_s: float = 5.0) -> Response | ProviderError:
    """Ask once; return the answer or the error."""

    async def run() -> Response | ProviderError:
        async with Server(*plays) as server:
            provider = make(server.url, timeout_s)
            try:
                return await provider.complete(QUESTION)
            except ProviderError as fault:
                return fault
            finally:
                await provider.close()
                await provider.close()  # may be called twice

    return asyncio.run(run())


def fault(*plays: Any, timeout_s: float = 5.0) -> ProviderError:
    outcome = ask(*plays, timeout_s=timeout_s)
    assert isinstance(outcome, ProviderError), outcome
    assert KEY not in str(outcome)
    assert "\n" not in str(outcome)
    return outcome


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [(400, "bad_request", False), (401, "auth", False), (402, "rate_limit", False), (403, "refused", False),
     (404, "refused", False), (405, "refused", False), (410, "refused", False), (301, "refused", False),
     (408, "timeout", True), (409, "server", True), (413, "bad_request", False), (422, "bad_request", False),
     (429, "rate_limit", True), (500, "server", True), (502, "server", True), (503, "server", True),
     (504, "server", True), (529, "rate_limit", True), (307, "refused", False)],
)  # fmt: skip
def test_each_status_has_its_code(status: int, code: str, retryable: bool) -> None:
    got = fault(error(status, location="http://127.0.0.1:1/"))
    assert (got.code, got.retryable) == (code, retryable)
    assert f"127.0.0.1: {status} no" in str(got)


SPEED = 20


class Hurried(selectors.DefaultSelector):
    """Waits a twentieth of what it is told."""

    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout if timeout is None else timeout / SPEED)


class HurriedLoop(asyncio.SelectorEventLoop):
    """An event loop on which twenty seconds take one."""

    def __init__(self) -> None:
        super().__init__(Hurried())

    def time(self) -> float:
        return SPEED * super().time()


@pytest.mark.parametrize("timeout_s", [5.2, 7.4])
def test_a_timeout_is_not_rounded_up_to_whole_seconds(timeout_s: float) -> None:
    async def run() -> float:
        async with Server(hang) as server:
            provider = make(server.url, timeout_s)
            clock = asyncio.get_running_loop().time
            await asyncio.sleep(1.02 - clock() % 1)  # just after a whole second: rounding up would show
            started = clock()
            with pytest.raises(ProviderError, match=f"in {timeout_s:g} s"):
                await provider.complete(QUESTION)
            took = clock() - started
            await provider.close()
            return took

    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        assert timeout_s - 0.01 <= runner.run(run()) < timeout_s + 0.5


def test_how_long_to_wait_is_read_from_every_form_of_the_header() -> None:
    assert fault(error(429, retry_after_ms="250")).retry_after_s == 0.25
    assert fault(error(429, retry_after="3")).retry_after_s == 3
    assert fault(error(429, retry_after="1.5", retry_after_ms="700")).retry_after_s == 0.7
    dated = fault(error(503, retry_after=formatdate(time.time() + 20, usegmt=True))).retry_after_s
    assert dated is not None
    assert 17 < dated <= 21
    assert fault(error(429, retry_after=formatdate(time.time() - 99, usegmt=True))).retry_after_s == 0
    for nonsense in ("soon", "inf", "nan", "Mon, 99 Foo 99999"):
        assert fault(error(429, retry_after=nonsense)).retry_after_s is None
    assert fault(error(429, retry_after="-4")).retry_after_s == 0
    assert fault(error(429)).retry_after_s is None


def test_the_servers_own_word_on_retrying_holds() -> None:
    assert not fault(error(500, x_should_retry="false")).retryable
    assert fault(error(400, x_should_retry="true")).retryable


def test_a_spent_quota_is_not_tried_again() -> None:
    got = fault(error(429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}))
    assert (got.code, got.retryable) == ("rate_limit", False)


@pytest.mark.parametrize(
    "body",
    [{"error": {"message": f"bad key {KEY}"}}, {"error": f"bad key {KEY}"}, {"message": f"bad key {KEY}"},
     {"detail": f"bad key {KEY}\nline two"}, {"unknown": f"bad key {KEY}"},
     {"error": {"message": "Incorrect API key provided: sk-te******cret. Bearer abcdef"}}],
)  # fmt: skip
def test_a_message_that_holds_the_key_is_redacted(body: Any) -> None:
    told = str(fault(error(401, body)))
    assert "[key]" in told
    assert "cret" not in told
    assert "abcdef" not in told


def test_a_key_of_no_known_form_is_redacted_by_its_value() -> None:
    async def run() -> str:
        async with Server(error(400, {"error": f"no 0a1b2c3d4e5f here\x1b[31m {KEY}"})) as server:
            caps = capabilities_of("openai", "m")
            provider = OpenAIProvider(
                base_url=server.url, model="m", api_key="0a1b2c3d4e5f", identity={}, capabilities=caps
            )
            with pytest.raises(ProviderError) as caught:
                await provider.complete(QUESTION)
            await provider.close()
            return str(caught.value)

    assert asyncio.run(run()) == "127.0.0.1: 400 no [key] here [31m [key]"


def test_a_hang_and_a_stalled_body_are_timeouts() -> None:
    for play in (hang, stall):
        started = time.monotonic()
        got = fault(play, timeout_s=0.3)
        assert (got.code, got.retryable) == ("timeout", True)
        assert "0.3 s" in str(got)
        assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "play", [text('{"choices": [{"mess'), text("<html>sign in</html>"), text(b"\xff\xfe"), text(""),
             text("[1]"), text("null"), {"choices": []}, {"choices": None}, {"choices": [{"message": None}]},
             {"choices": ["x"]}, {}, {"id": "x"}, completion(message={"content": 7})],
)  # fmt: skip
def test_a_broken_body_is_malformed_and_may_be_tried_again(play: Any) -> None:
    got = fault(play)
    assert (got.code, got.retryable) == ("malformed", True), str(got)


def test_a_body_that_breaks_off_is_incomplete_and_may_be_tried_again() -> None:
    got = fault(cut_off)
    assert (got.code, got.retryable) == ("incomplete", True), str(got)


def test_json_under_a_wrong_content_type_is_read() -> None:
    got = ask(text(orjson.dumps(completion()), content_type="text/plain"))
    assert isinstance(got, Response)
    assert got.text == "42"


def test_an_error_under_status_200_is_an_error() -> None:
    got = fault({"error": {"message": "upstream is down", "code": 502}})
    assert (got.code, got.retryable) == ("server", True)
    assert fault({"error": {"message": "slow down", "code": 429}}).code == "rate_limit"
    assert fault({"error": {"message": "slow down", "code": "429"}}).code == "rate_limit"
    assert fault({"error": "what"}).code == "server"


def test_a_dropped_and_a_refused_connection_may_be_tried_again() -> None:
    assert (fault(reset).code, fault(reset).retryable) == ("connection", True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def run() -> ProviderError:
        provider = make(f"http://127.0.0.1:{port}")
        with pytest.raises(ProviderError) as caught:
            await provider.complete(QUESTION)
        await provider.close()
        return caught.value

    got = asyncio.run(run())
    assert (got.code, got.retryable) == ("connection", True)


def test_after_a_dropped_connection_the_next_call_works() -> None:
    async def run() -> str:
        async with Server(reset, completion()) as server:
            provider = make(server.url)
            with pytest.raises(ProviderError):
                await provider.complete(QUESTION)
            answer = await provider.complete(QUESTION)
            await provider.close()
            return answer.text

    assert asyncio.run(run()) == "42"


def test_a_huge_body_is_not_read_to_its_end() -> None:
    bomb = gzip.compress(b" " * 2**24)

    def packed(request: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    for play in (text(b" " * 2**20), packed):
        got = fault(play)
        assert (got.code, got.retryable) == ("malformed", False)


def test_a_large_body_within_the_limit_is_read_and_the_text_cut_at_what_max_tokens_allows() -> None:
    got = ask(completion("x" * 200_000))
    assert isinstance(got, Response)
    assert len(got.text) == QUESTION.max_tokens * 64


def test_redirects_are_not_followed_with_the_key() -> None:
    async def run() -> int:
        async with Server(completion()) as thief, Server(error(307, location=thief.url)) as server:
            provider = make(server.url)
            with pytest.raises(ProviderError):
                await provider.complete(QUESTION)
            await provider.close()
            return len(thief.headers)

    assert asyncio.run(run()) == 0


def test_a_cancelled_call_leaves_the_provider_usable() -> None:
    async def run() -> str:
        async with Server(hang, completion()) as server:
            provider = make(server.url)
            task = asyncio.create_task(provider.complete(QUESTION))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            answer = await provider.complete(QUESTION)
            await provider.close()
            return answer.text

    assert asyncio.run(run()) == "42"


def test_one_provider_serves_two_event_loops_one_after_the_other() -> None:
    provider = make("http://127.0.0.1:9")

    async def run() -> None:
        with pytest.raises(ProviderError):
            await provider.complete(QUESTION)
        await provider.close()

    asyncio.run(run())
    asyncio.run(run())


def test_the_key_shows_nowhere() -> None:
    provider = make("http://127.0.0.1:9")
    key = Key(KEY)
    assert KEY not in repr(provider) + str(provider.identity) + repr(key) + str(key) + f"{key}"
    with pytest.raises(TypeError):
        key.__reduce__()


def test_addresses_that_could_overlap_or_cannot_work_are_refused() -> None:
    for url in ("ftp://host/v1", "host/v1", "http:///v1"):
        with pytest.raises(UserError, match="http or https"):
            HttpClient(url, timeout_s=1)
    with pytest.raises(UserError, match="contains a user name") as caught:
        HttpClient("https://me:hunter2@host/v1", timeout_s=1)
    assert "hunter2" not in str(caught.value)


def test_a_key_in_the_query_is_refused_as_the_identity_would_hold_it() -> None:
    for query in ("key=hunter2", "v=1&API_KEY=hunter2", "code=hunter2"):
        with pytest.raises(UserError, match="contains a key") as caught:
            HttpClient(f"https://host/v1?{query}", timeout_s=1)
        assert "hunter2" not in str(caught.value)


def test_a_question_that_is_no_json_is_an_error_of_this_call() -> None:
    async def run() -> ProviderError:
        provider = make("http://127.0.0.1:9")
        with pytest.raises(ProviderError) as caught:
            await provider.complete(Request(messages=({"role": "user", "content": "\ud800"},)))
        return caught.value

    assert asyncio.run(run()).code == "bad_request"


def test_a_query_stays_behind_the_path() -> None:
    assert endpoint("https://h/a/?v=1", "chat/completions") == "https://h/a/chat/completions?v=1"
    assert endpoint("http://h:1/v1", "x") == "http://h:1/v1/x"


def test_a_key_with_a_line_break_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TW_KEY", "abc\r\nX-Evil: 1")
    with pytest.raises(UserError) as caught:
        read_key("TW_KEY", url="http://127.0.0.1:9/v1", root=Path(), owner="models.a")
    assert "Evil" not in str(caught.value)
    monkeypatch.setenv("TW_KEY", " abc \n")
    assert read_key("TW_KEY", url="http://127.0.0.1:9/v1", root=Path(), owner="models.a").reveal() == "abc"


@pytest.mark.parametrize("packed", [False, True])
def test_an_accepted_answer_goes_into_a_file_and_a_refusal_or_too_large_an_answer_is_an_error(
    tmp_path: Path, packed: bool
) -> None:
    lines = b'{"a": 1}\n' * 1000

    def whole(_: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip"} if packed else {}
        return web.Response(body=gzip.compress(lines) if packed else lines, headers=headers)

    async def run() -> None:
        async with Server(whole, whole, error(404, "gone")) as server, HttpClient(server.url, timeout_s=5) as client:
            with (tmp_path / "x").open("wb") as file:
                answer = await client.send("POST", "x", {}, into=file)
                assert answer.accepted and answer.body == b""
            assert (tmp_path / "x").read_bytes() == lines
            with (tmp_path / "x").open("wb") as file:
                with pytest.raises(ProviderError, match="larger than"):
                    await client.send("POST", "x", {}, into=file, max_body=len(lines) - 1)
                assert b"gone" in (await client.send("POST", "x", {}, into=file)).body

    asyncio.run(run())
