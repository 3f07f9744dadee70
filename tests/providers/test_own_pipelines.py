"""Pipelines of the user's own: behind HTTP, as a Python function, scripted; and how functions are loaded."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_server import KEY, QUESTION, Server, error, hang, text

from tuneworthy.config.models import Http, Python, Scripted
from tuneworthy.errors import AuthError, ProviderError, UserError
from tuneworthy.functions import as_answer, last_line, load_function, source_hash
from tuneworthy.providers import open_provider
from tuneworthy.types import Request, Response

ASKED = replace(QUESTION, payload="6 * 7?")


def ask(provider: Any, request: Request = ASKED) -> Response:
    async def run() -> Response:
        try:
            return await provider.complete(request)  # type: ignore[no-any-return]
        finally:
            await provider.close()

    return asyncio.run(run())


def fault(provider: Any, request: Request = ASKED) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(provider, request)
    return caught.value


def write(folder: Path, code: str, name: str = "own.py") -> Path:
    (folder / name).write_text(code)
    return folder


def python(folder: Path, function: str, **more: Any) -> Any:
    return open_provider("mine", Python(provider="python", function=f"own.py:{function}", **more), folder)


# --- http


def http(*plays: Any, request: Request = ASKED, **more: Any) -> tuple[Response | ProviderError, Server]:
    async def run() -> tuple[Response | ProviderError, Server]:
        async with Server(*plays) as server:
            provider = open_provider("mine", Http(provider="http", url=f"{server.url}/ask", **more), Path())
            try:
                return await provider.complete(request), server
            except ProviderError as caught:
                return caught, server
            finally:
                await provider.close()

    return asyncio.run(run())


def test_a_pipeline_of_another_version_is_another_model() -> None:
    identities = [
        open_provider("mine", Http(provider="http", url="http://127.0.0.1:9/", **more), Path()).identity
        for more in ({}, {"version": "1"}, {"version": "2"})
    ]
    assert len({str(identity) for identity in identities}) == 3


def test_a_pipeline_gets_the_input_and_the_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TW_PIPE", KEY)
    answer, server = http({"answer": "42", "usage": {"input_tokens": 5, "output_tokens": 2}}, api_key_env="TW_PIPE")
    assert isinstance(answer, Response)
    assert (answer.text, answer.input_tokens, answer.output_tokens) == ("42", 5, 2)
    assert server.paths == ["/ask"]
    assert server.bodies == [{"input": "6 * 7?", "messages": list(QUESTION.messages)}]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_answers_that_are_not_text_become_json() -> None:
    for value, words in ((None, ""), ({"a": [1, True]}, '{"a":[1,true]}'), (7, "7"), (False, "false")):
        answer, _ = http({"answer": value})
        assert isinstance(answer, Response)
        assert answer.text == words


def test_a_pipeline_that_fails_is_classified() -> None:
    for play, code in (({"result": 1}, "malformed"), ({}, "malformed"), (text("oops"), "malformed"),
                       (error(500), "server"), (error(400), "pipeline"), (error(413), "pipeline"),
                       (error(422), "pipeline"), (error(404), "refused")):  # fmt: skip
        got, _ = http(play)
        assert isinstance(got, ProviderError)
        assert got.code == code
    got, _ = http(hang, timeout_s=0.2)
    assert isinstance(got, ProviderError)
    assert got.code == "timeout"


def test_a_named_key_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TW_PIPE", raising=False)
    with pytest.raises(AuthError, match="TW_PIPE"):
        open_provider("mine", Http(provider="http", url="http://127.0.0.1:9/", api_key_env="TW_PIPE"), Path())


# --- python


def test_sync_functions_run_in_a_thread_and_async_ones_are_awaited(tmp_path: Path) -> None:
    write(tmp_path, "import threading\ndef where(q):\n    return threading.current_thread().name\n"
                    "async def later(q):\n    return q.upper()\n")  # fmt: skip
    assert ask(python(tmp_path, "where")).text != threading.current_thread().name
    answer = ask(python(tmp_path, "later"), replace(ASKED, payload="abc"))
    assert answer.text == "ABC"
    assert answer.seconds > 0


def test_eight_slow_functions_run_at_once(tmp_path: Path) -> None:
    write(tmp_path, "import time\ndef slow(q):\n    time.sleep(0.2)\n    return q\n")
    provider = python(tmp_path, "slow")

    async def run() -> float:
        started = time.monotonic()
        await asyncio.gather(*[provider.complete(ASKED) for _ in range(8)])
        return time.monotonic() - started

    assert asyncio.run(run()) < 1.0


def test_a_function_may_return_a_value_or_a_response(tmp_path: Path) -> None:
    write(tmp_path, "from tuneworthy.types import Response\n"
                    "def value(q):\n    return {'a': 1}\n"
                    "def response(q):\n    return Response(text='x', finish_reason='length', seconds=9)\n")  # fmt: skip
    assert ask(python(tmp_path, "value")).text == '{"a":1}'
    assert ask(python(tmp_path, "response")) == Response(text="x", finish_reason="length", seconds=9)


def test_a_conversation_reaches_a_function_as_messages(tmp_path: Path) -> None:
    write(tmp_path, "def last(q):\n    return q[-1]['content']\n")
    assert ask(python(tmp_path, "last"), QUESTION).text == "6 * 7?"


def test_parameters_are_not_lost_in_silence(tmp_path: Path) -> None:
    write(tmp_path, "def f(q):\n    return q\n")
    answer = ask(python(tmp_path, "f"), replace(ASKED, decoding={"temperature": 0}))
    assert answer.dropped == ("temperature: not accepted (own-pipeline)",)


@pytest.mark.parametrize(
    ("line", "words"),
    [("raise ValueError('no\\nluck')", "ValueError: no"), ("raise StopIteration", "StopIteration"),
     ("raise TimeoutError('their own')", "TimeoutError: their own"), ("import sys; sys.exit(3)", "SystemExit: 3"),
     ("raise KeyboardInterrupt", "KeyboardInterrupt"), ("1 / 0", "ZeroDivisionError: division by zero")],
)  # fmt: skip
def test_an_exception_is_an_error_of_this_case_only(tmp_path: Path, line: str, words: str) -> None:
    write(tmp_path, f"def f(q):\n    {line}\n")
    got = fault(python(tmp_path, "f"))
    assert (got.code, got.retryable) == ("pipeline", False)
    assert words in str(got)
    assert "\n" not in str(got)


def test_no_failure_that_a_function_raises_itself_is_a_lasting_one(tmp_path: Path) -> None:
    write(
        tmp_path,
        "from tuneworthy.errors import ProviderError\n"
        "def f(q):\n    raise ProviderError('too long', code='bad_request', retryable=False)\n",
    )
    assert fault(python(tmp_path, "f")).code == "pipeline"


def test_a_function_may_say_itself_that_it_can_be_tried_again(tmp_path: Path) -> None:
    write(
        tmp_path,
        "from tuneworthy.errors import ProviderError\n"
        "def f(q):\n"
        "    raise ProviderError('busy', code='rate_limit', retryable=True, retry_after_s=2)\n",
    )
    got = fault(python(tmp_path, "f"))
    assert (got.code, got.retryable, got.retry_after_s) == ("rate_limit", True, 2)


def test_a_function_that_hangs_is_a_timeout(tmp_path: Path) -> None:
    write(tmp_path, "import time, asyncio\ndef f(q):\n    time.sleep(0.6)\n    return q\n"
                    "async def g(q):\n    await asyncio.sleep(5)\n")  # fmt: skip
    for name in ("f", "g"):
        got = fault(python(tmp_path, name, timeout_s=0.1))
        assert (got.code, got.retryable) == ("timeout", True)


def test_the_identity_follows_the_code(tmp_path: Path) -> None:
    write(tmp_path, "def f(q):\n    return 'a'\n")
    first = python(tmp_path, "f")
    write(tmp_path, "def f(q):\n    return 'b'\n")
    second = python(tmp_path, "f")
    assert first.identity != second.identity
    assert (ask(first).text, ask(second).text) == ("a", "b")
    assert python(tmp_path, "f").identity == second.identity


# --- scripted


def scripted(folder: Path, function: str, **more: Any) -> Any:
    return open_provider("fake", Scripted(provider="scripted", function=f"own.py:{function}", **more), folder)


def test_a_script_answers_from_the_request(tmp_path: Path) -> None:
    write(tmp_path, "from tuneworthy.types import Response\nfrom tuneworthy.errors import ProviderError\n"
                    "def words(r):\n    return f'{r.max_tokens} {r.repeat} {r.messages[-1][\"content\"]}'\n"
                    "async def full(r):\n    return Response(text='x', input_tokens=3)\n"
                    "def down(r):\n    raise ProviderError('down', code='server', retryable=True)\n"
                    "def bug(r):\n    return r.nothing\n")  # fmt: skip
    assert ask(scripted(tmp_path, "words")).text == "256 0 6 * 7?"
    assert ask(scripted(tmp_path, "full")).input_tokens == 3
    assert fault(scripted(tmp_path, "down")).code == "server"
    assert "AttributeError" in str(fault(scripted(tmp_path, "bug")))
    assert ask(scripted(tmp_path, "words", latency_ms=50)).seconds >= 0.045


# --- functions


def test_a_function_is_found_in_a_file_and_in_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep", "import own_neighbour\ndef f():\n    return own_neighbour.X\n", "own.py")
    write(tmp_path, "X = 5\n", "own_neighbour.py")
    assert load_function("deep/own.py:f", tmp_path)() == 5
    assert load_function("orjson:dumps", tmp_path)([1]) == b"[1]"
    assert load_function("deep/own.py:f", tmp_path) is load_function("deep/own.py:f", tmp_path)


def test_a_file_may_hold_dataclasses(tmp_path: Path) -> None:
    write(tmp_path, "from __future__ import annotations\nfrom dataclasses import dataclass\n"
                    "@dataclass\nclass P:\n    x: int\ndef f():\n    return P(3).x\n")  # fmt: skip
    assert load_function("own.py:f", tmp_path)() == 3


@pytest.mark.parametrize(
    ("spec", "words"),
    [("own.py", "file.py:name"), (":f", "file.py:name"), ("own.py:", "file.py:name"), ("own.py:f g", "file.py:name"),
     ("own.py:missing", "good"), ("own.py:number", "type is int"), ("gone.py:f", "no Python file gone.py"),
     ("../outside.py:f", "outside the project folder"), ("/etc/passwd.py:f", "outside the project folder"),
     ("broken.py:f", "ZeroDivisionError"), ("syntax.py:f", "SyntaxError"), ("leaves.py:f", "SystemExit: bye"),
     ("no_such_module_at_all:f", "ModuleNotFoundError")],
)  # fmt: skip
def test_what_cannot_be_loaded_is_said_in_one_line(tmp_path: Path, spec: str, words: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    write(project, "number = 3\ndef good():\n    pass\n")
    write(project, "1 / 0\n", "broken.py")
    write(project, "def f(:\n", "syntax.py")
    write(project, "import sys; sys.exit('bye')\n", "leaves.py")
    write(tmp_path, "def f():\n    pass\n", "outside.py")
    with pytest.raises(UserError) as caught:
        load_function(spec, project)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    write(tmp_path, "def f():\n    pass\n", "outside.py")
    (project / "own.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(UserError, match="outside the project folder"):
        load_function("own.py:f", project)


def test_small_helpers() -> None:
    assert last_line(ValueError()) == "ValueError"
    with pytest.raises(ProviderError, match="of type object"):
        as_answer(object())
    assert source_hash(len) == ""
    assert len(source_hash(ask)) == 16
