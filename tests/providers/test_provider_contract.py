"""What holds for every provider that can run offline, whoever wrote it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from fault_server import QUESTION, Server, completion, error, message
from pydantic import TypeAdapter, ValidationError

from tuneworthy.config.models import Anthropic, Http, Model, ModelSection, OpenAI, Python, Scripted, Vllm
from tuneworthy.errors import ProviderError, UserError
from tuneworthy.providers import PROVIDERS, Provider, open_provider
from tuneworthy.types import Response, content_hash

CODE = """
def answer(asked):
    return "42"

def fail(asked):
    raise ValueError("boom")
"""
ANSWERS: dict[str, Any] = {
    "openai": completion(),
    "anthropic": message({"type": "text", "text": "42"}),
    "http": {"answer": "42"},
    "vllm": completion(),
    "python": "answer",
    "scripted": "answer",
}
FAULTS: dict[str, Any] = {name: error(400) for name in ("openai", "anthropic", "http", "vllm")} | dict.fromkeys(
    ("python", "scripted"), "fail"
)


@asynccontextmanager
async def opened(name: str, folder: Path, play: Any) -> AsyncIterator[Provider]:
    """Open the provider `name` against a server or a function that plays `play`."""
    (folder / "own.py").write_text(CODE)
    async with Server(play) as server:
        config: Any = {
            "openai": lambda: OpenAI(provider="openai", model="m", base_url=f"{server.url}/v1", api_key_env=None),
            "anthropic": lambda: Anthropic(provider="anthropic", model="claude-opus-4-7", base_url=server.url),
            "http": lambda: Http(provider="http", url=server.url),
            "vllm": lambda: Vllm(provider="vllm", model="m", base_url=f"{server.url}/v1"),
            "python": lambda: Python(provider="python", function=f"own.py:{play}"),
            "scripted": lambda: Scripted(provider="scripted", function=f"own.py:{play}"),
        }[name]()
        provider = open_provider(name, config, folder)
        try:
            yield provider
        finally:
            await provider.close()
            await provider.close()


def with_provider(name: str, folder: Path, play: Any, use: Callable[[Provider], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with opened(name, folder, play) as provider:
            return await use(provider)

    return asyncio.run(run())


@pytest.fixture(params=sorted(ANSWERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_is_a_provider_whose_identity_can_be_hashed(name: str, tmp_path: Path) -> None:
    async def use(provider: Provider) -> None:
        assert isinstance(provider, Provider)
        assert provider.identity["provider"] == name
        assert content_hash(dict(provider.identity)) == content_hash(
            orjson.loads(orjson.dumps(dict(provider.identity)))
        )
        assert provider.supports <= {"choice", "json_schema", "ranked", "tools", "logprobs", "seed"}
        assert name in repr(provider)

    with_provider(name, tmp_path, ANSWERS[name], use)


def test_it_answers_and_says_how_long_it_took(name: str, tmp_path: Path) -> None:
    answer = with_provider(name, tmp_path, ANSWERS[name], lambda p: p.complete(replace(QUESTION, payload="6 * 7?")))
    assert isinstance(answer, Response)
    assert answer.text == "42"
    assert answer.finish_reason == "stop"
    assert answer.seconds > 0


def test_it_answers_many_at_once(name: str, tmp_path: Path) -> None:
    async def use(provider: Provider) -> list[Response]:
        return await asyncio.gather(*[provider.complete(replace(QUESTION, payload="q", repeat=i)) for i in range(50)])

    assert [answer.text for answer in with_provider(name, tmp_path, ANSWERS[name], use)] == ["42"] * 50


def test_it_raises_nothing_but_provider_errors(name: str, tmp_path: Path) -> None:
    with pytest.raises(ProviderError) as caught:
        with_provider(name, tmp_path, FAULTS[name], lambda p: p.complete(replace(QUESTION, payload="q")))
    # what a pipeline of the user's own says is never kept as a lasting failure
    expected = "bad_request" if name not in {"http", "python", "scripted"} else "pipeline"
    assert (caught.value.code, caught.value.retryable) == (expected, False)


def test_it_leaves_the_request_as_it_is(name: str, tmp_path: Path) -> None:
    request = replace(QUESTION, payload={"q": 1}, decoding={"temperature": 0, "made_up": 1})
    before = orjson.dumps([request.messages, request.decoding, request.payload])
    with_provider(name, tmp_path, ANSWERS[name], lambda p: p.complete(request))
    assert orjson.dumps([request.messages, request.decoding, request.payload]) == before


def test_it_works_again_after_close(name: str, tmp_path: Path) -> None:
    async def use(provider: Provider) -> Response:
        await provider.complete(replace(QUESTION, payload="q"))
        await provider.close()
        return await provider.complete(replace(QUESTION, payload="q"))

    assert with_provider(name, tmp_path, ANSWERS[name], use).text == "42"


def test_every_built_in_provider_is_in_this_suite_or_has_its_own() -> None:
    assert PROVIDERS.names() == set(ANSWERS) | {"llama_cpp"}


def test_a_built_in_provider_may_declare_its_section_in_its_own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    class Section(ModelSection):
        provider: str
        region: str

    def factory(name: str, config: Section, root: Path) -> None: ...

    factory.section = Section  # type: ignore[attr-defined]
    monkeypatch.setitem(PROVIDERS.builtins, "own_file", "own_file")
    monkeypatch.setitem(PROVIDERS._entries, "own_file", factory)
    model: Any = TypeAdapter(Model).validate_python({"provider": "own_file", "region": "eu"})
    assert (type(model), model.region, model.hosted) == (Section, "eu", False)
    with pytest.raises(ValidationError):
        TypeAdapter(Model).validate_python({"provider": "own_file"})


def test_an_unknown_provider_is_named_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"Unknown provider: 'nobody'\. Choose one of: anthropic"):
        PROVIDERS.get("nobody")


@pytest.fixture(autouse=True)
def _a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k-0123456789")


def test_importing_the_package_loads_no_network_code() -> None:
    code = (
        "import sys, tuneworthy.providers, tuneworthy.providers.prices, tuneworthy.providers.capabilities, "
        "tuneworthy.providers.python, tuneworthy.providers.scripted\n"
        "print([m for m in ('aiohttp', 'yarl', 'httpx', 'openai', 'anthropic', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
