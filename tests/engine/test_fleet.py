"""A fleet: the least loaded endpoint answers, one that fails is ejected and returns, one that lies is found."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from asking import VARIANT, Played, World, fault, play, questions
from tests.e2e.resume_server import Server, completion, say

from tuneworthy.config.grants import section_grants
from tuneworthy.config.models import Anthropic, OpenAI, Vllm
from tuneworthy.engine.budget import Budget
from tuneworthy.engine.fleet import EJECT_AFTER, EJECT_S, MAX_EJECT_S, Endpoint, Fleet
from tuneworthy.engine.models import open_model
from tuneworthy.engine.runner import Progress, Runner
from tuneworthy.errors import OutsideFault
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers.http_client import weights_of
from tuneworthy.providers.prices import price_for, price_of
from tuneworthy.store import ResponseStore
from tuneworthy.store.responses import decoded, encoded
from tuneworthy.types import Case, Response, Timing

NAMES = ("a", "b", "c")


class Probed(Played):
    """An endpoint that lists its weights.

    Attributes:
        weights: Their name.
        down: Whether a probe fails.
        probed_at: Times of probes.
    """

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.weights, self.down, self.probed_at = "", False, list[float]()

    async def probe(self) -> str:
        self.probed_at.append(asyncio.get_running_loop().time())
        if self.down:
            raise fault("connection")
        return self.weights


class Notes(Progress):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


class FleetWorld(World):
    """A runner and one model at several endpoints, each with a script."""

    def __init__(self, folder: Path, *scripts: Callable[[str, int], Any], most: int = 4, **options: Any) -> None:
        super().__init__(folder, concurrency=most * len(scripts), **options)
        self.played = {name: Probed(script) for name, script in zip(NAMES, scripts, strict=False)}
        self.model = replace(self.model, endpoints=self.played)
        self.notes = self.runner.progress = Notes()

    def answered(self, n: int, **options: Any) -> Counter[str]:
        """Ask questions and return how many were answered by each endpoint."""
        traces = play(self.ask(questions(n), **options))
        return Counter(trace.response.endpoint for trace in traces if trace.response)


def serving(model: str, fingerprint: str = "") -> Callable[[str, int], Response]:
    return lambda text, nth: Response(text=text, model=model, fingerprint=fingerprint)


def failing(text: str, nth: int) -> Any:
    return fault("server")


def opened(fleet: Fleet) -> list[Endpoint]:
    """Put all endpoints in use, as if each had answered."""
    for one in fleet.endpoints:
        one.back_at, one.vote, one.ejections = None, ("m", ""), 1
    fleet.is_decided = True
    return fleet.endpoints


def fleet_of(n: int, most: int = 8) -> Fleet:
    return Fleet({name: Probed(serving("m")) for name in NAMES[:n]}, most)


def test_a_call_goes_to_the_endpoint_with_the_fewest_calls_relative_to_its_limit() -> None:
    async def main() -> None:
        fleet = fleet_of(2)
        opened(fleet)[1].limiter.limit = 2.0
        got = [(await fleet.acquire()).endpoint.url for _ in range(10)]
        assert Counter(got) == {"a": 8, "b": 2}
        assert Counter(got[:5]) == {"a": 4, "b": 1}

    play(main())


def test_each_endpoint_has_a_limit_of_its_own() -> None:
    async def main() -> None:
        fleet = fleet_of(2, most=64)
        opened(fleet)
        slots = [await fleet.acquire() for _ in range(128)]
        for slot in slots:
            fleet.release(slot, code="rate_limit", pushed_back=slot.endpoint.url == "b", wait_s=9.0)
        assert [one.limiter.limit for one in fleet.endpoints] == [64, 32]
        assert {(await fleet.acquire()).endpoint.url for _ in range(64)} == {"a"}, "b pauses"
        assert (await fleet.acquire()).endpoint.url == "b"
        assert asyncio.get_running_loop().time() == 9.0

    play(main())


def test_an_endpoint_that_keeps_failing_is_ejected_for_a_growing_time_until_a_probe_succeeds() -> None:
    async def main() -> None:
        fleet, clock = fleet_of(2), asyncio.get_running_loop().time
        a, _ = opened(fleet)
        a.ejections = 0
        a.provider.down = True  # type: ignore[attr-defined]
        for _ in range(EJECT_AFTER):
            assert a.back_at is None
            fleet.release(await fleet.acquire(("b",)), code="server")
        for _ in range(12):
            held = [await fleet.acquire() for _ in range(8)]
            assert {slot.endpoint.url for slot in held} == {"b"}
            waiting = asyncio.create_task(fleet.acquire())  # wakes the fleet when a probe is due
            await asyncio.sleep(10)
            waiting.cancel()
            for slot in held:
                fleet.release(slot, code=None)
        probes = a.provider.probed_at  # type: ignore[attr-defined]
        gaps = [later - before for before, later in pairwise([0.0, *probes])]
        assert gaps[:6] == [1.0, 2.0, 4.0, 8.0, 16.0, MAX_EJECT_S] and EJECT_S == 1.0
        assert set(gaps[5:]) == {MAX_EJECT_S}
        a.provider.down = False  # type: ignore[attr-defined]
        await asyncio.sleep(MAX_EJECT_S)
        fleet.release(await fleet.acquire())
        await asyncio.sleep(0.1)
        first, second = [await fleet.acquire(avoid) for avoid in (("b",), ())]
        assert (first.endpoint.url, second.endpoint.url) == ("a", "b"), "one call on trial"
        fleet.release(first, code="server")
        assert a.back_at == clock() + MAX_EJECT_S, "and one failure is enough"

    play(main())


def test_calls_that_fail_together_eject_an_endpoint_once() -> None:
    async def main() -> None:
        a, b = opened(fleet := fleet_of(2))
        a.ejections = 0
        slots = [await fleet.acquire(("b",)) for _ in range(8)]
        for slot in slots:
            fleet.release(slot, code="server")
        assert (a.back_at, a.ejections, b.back_at) == (EJECT_S, 1, None)

    play(main())


def test_a_success_between_failures_ejects_nothing() -> None:
    async def main() -> None:
        fleet = fleet_of(2)
        a, _ = opened(fleet)
        for code in ["server", "server", None] * 5:
            fleet.release(await fleet.acquire(("b",)), code=code)
        assert a.back_at is None

    play(main())


@pytest.mark.parametrize("code", ["connection", "timeout", "server", "incomplete", "malformed", "refused"])
def test_calls_of_an_endpoint_that_fails_are_repeated_at_once_at_another(tmp_path: Path, code: str) -> None:
    world = FleetWorld(tmp_path, lambda text, nth: fault(code, retryable=code != "refused"), serving("m"), retries=0)

    async def main() -> float:
        await world.ask(questions(20))
        return asyncio.get_running_loop().time()

    assert play(main()) <= 8.0, "20 calls, 4 at once, 1 s each, and one move without a wait"
    assert world.answered(20) == {"b": 20}
    assert world.played["a"].calls.total() <= EJECT_AFTER + 3


def test_calls_that_an_endpoint_limits_go_to_another_at_once(tmp_path: Path) -> None:
    def limited(text: str, nth: int) -> Any:
        return fault("rate_limit", after=86_400.0)

    world = FleetWorld(tmp_path, limited, serving("m"))

    async def main() -> float:
        await world.ask(questions(100))
        return asyncio.get_running_loop().time()

    assert play(main()) < 60.0 and world.answered(100) == {"b": 100}


def test_one_server_has_one_vote_however_it_is_spelled() -> None:
    endpoints = [
        "http://a:80/v1",
        "http://A/v1/",
        "http://localhost:8000/v1",
        "http://127.0.0.1:8000/v1",
        "http://b/v1",
    ]
    section = Vllm.model_validate({"provider": "vllm", "model": "m", "endpoints": endpoints})
    assert section.addresses == ("http://a:80/v1", "http://localhost:8000/v1", "http://b/v1")


def test_a_case_that_fails_everywhere_ejects_no_endpoint_and_is_given_up(tmp_path: Path) -> None:
    def script(text: str, nth: int) -> Any:
        return fault("server") if text == "q7" else Response(text=text, model="m")

    world = FleetWorld(tmp_path, script, script, script, retries=1)
    assert world.answered(200).total() == 199
    assert sum(one.calls["q7"] for one in world.played.values()) <= 2 + 1 + 1


def test_all_endpoints_ejected_is_a_provider_that_is_down(tmp_path: Path) -> None:
    world = FleetWorld(tmp_path, failing, failing)
    for one in world.played.values():
        one.down = True
    with pytest.raises(OutsideFault, match="m is not responding"):
        play(world.ask(questions(20)))


LIARS = {
    "name": (serving("m"), serving("other"), ""),
    "fingerprint": (serving("m", "f1"), serving("m", "f2"), ""),
    "weights": (serving("m"), serving("m"), "Other-8B"),
}


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("kind", LIARS)
def test_an_endpoint_of_another_model_gets_no_further_call_and_none_of_its_answers_counts(
    tmp_path: Path, kind: str, place: int
) -> None:
    honest, lying, weights = LIARS[kind]
    scripts = [honest, honest]
    scripts.insert(place, lying)
    world = FleetWorld(tmp_path, *scripts)
    for number, one in enumerate(world.played.values()):
        one.weights = "" if not weights else weights if number == place else "Right-8B"
    liar = NAMES[place]
    counts = world.answered(60)
    assert counts.total() == 60 and counts[liar] == 0
    assert world.played[liar].calls.total() <= 1
    (line,) = world.notes.lines
    assert line.startswith(f"{liar} serves ")


def test_no_answer_of_a_fast_liar_counts_while_slow_servers_have_not_answered(tmp_path: Path) -> None:
    async def slow(text: str, nth: int) -> Response:
        await asyncio.sleep(10)
        return Response(text=text, model="right")

    world = FleetWorld(tmp_path, serving("wrong"), slow, slow)

    async def both() -> list[Any]:
        async def later() -> Any:
            await asyncio.sleep(3)  # the first answer of the liar waits
            return await world.ask(questions(20, first=20))

        return [trace for some in await asyncio.gather(world.ask(questions(20)), later()) for trace in some]

    counts = Counter(trace.response.endpoint for trace in play(both()))
    assert counts.total() == 40 and counts["a"] == 0 and world.played["a"].calls.total() == 1


@pytest.mark.parametrize("code", ["bad_request", "rate_limit"])
def test_a_first_call_that_fails_for_its_case_holds_up_no_answer(tmp_path: Path, code: str) -> None:
    async def first_fails(text: str, nth: int) -> Any:
        await asyncio.sleep(5)
        return fault(code, retryable=code == "rate_limit") if nth == 1 else Response(text=text, model="m")

    world = FleetWorld(tmp_path, serving("m"), first_fails)
    traces = play(asyncio.wait_for(world.ask(questions(2)), 100))
    assert traces[0].text == "q0" and world.played["b"].calls.total()


def test_single_calls_reach_all_endpoints_and_models_that_differ_are_not_mixed(tmp_path: Path) -> None:
    world = FleetWorld(tmp_path, serving("other"), serving("m"), serving("m"))
    with pytest.raises(OutsideFault, match="changed its model: other in 1 call"):
        play(world.ask(questions(20), concurrency=1))


def test_fingerprints_that_each_call_changes_or_a_balancer_mixes_eject_no_endpoint(tmp_path: Path) -> None:
    marks: list[Callable[[str], str]] = [lambda text: f"call-{text}", lambda text: "f1" if int(text[1:]) < 3 else "f2"]
    for number, mark in enumerate(marks):
        (folder := tmp_path / str(number)).mkdir()

        def script(text: str, nth: int, mark: Callable[[str], str] = mark) -> Response:
            return Response(text=text, model="m", fingerprint=mark(text))

        world = FleetWorld(folder, *[script] * 3)
        assert {*world.answered(60)} == {*NAMES} and world.notes.lines == []


@pytest.mark.parametrize(
    ("marks", "later"), [(["f1", "g1", "g2", "g3"], ["", "", ""]), (["f1", "f2"], [""]), (["f1", "", "f2"], ["", "c"])]
)
def test_fingerprints_are_compared_with_those_that_the_fleet_mixes_unless_no_two_agree(
    marks: list[str], later: list[str]
) -> None:
    async def main() -> None:
        fleet, (first, *rest) = fleet_of(3), marks
        endpoints = opened(fleet)
        for one in endpoints:
            one.vote = None
        same = [fleet.fault_of(one, Response(text="", model="m", fingerprint=first)) for one in endpoints]
        assert await asyncio.gather(*same) == ["", "", ""]
        if len(later) == 1:  # a server that balances load
            assert await fleet.fault_of(endpoints[0], Response(text="", model="m", fingerprint="f2")) == ""
        for one, mark in zip(endpoints[-len(rest) :], rest, strict=True):  # these come back
            one.vote = None
            await fleet.fault_of(one, Response(text="", model="m", fingerprint=mark))
        faults = [one.fault for one in endpoints[-len(rest) :]]
        assert [fault[:1] for fault in faults] == later

    play(asyncio.wait_for(main(), 100))


def test_a_liar_that_comes_back_from_an_outage_is_found(tmp_path: Path) -> None:
    def script(text: str, nth: int) -> Any:
        number = int(text[1:])
        return Response(text=text, model="m") if number < 20 else fault("connection") if number < 40 else lie(text)

    def lie(text: str) -> Response:
        return Response(text=text, model="other")

    world = FleetWorld(tmp_path, script, serving("m"), serving("m"))
    assert world.answered(400)["a"] <= 20 and len(world.notes.lines) == 1


def test_an_endpoint_that_was_quickly_restarted_with_another_model_is_found(tmp_path: Path) -> None:
    calls: list[str] = []

    def script(text: str, nth: int) -> Any:
        calls.append(text)
        if len(calls) == 21:
            return fault("connection")
        return Response(text=text, model="m", fingerprint="f1" if len(calls) < 21 else "f2")

    world = FleetWorld(tmp_path, script, serving("m", "f1"), serving("m", "f1"))
    assert world.answered(400)["a"] <= 20 and len(world.notes.lines) == 1


def test_an_endpoint_that_was_restarted_with_other_weights_under_the_same_name_is_found(tmp_path: Path) -> None:
    calls: list[str] = []

    def script(text: str, nth: int) -> Any:
        calls.append(text)
        if len(calls) == 21:
            world.played["a"].weights = "Other-8B"
            return fault("connection")
        return Response(text=text, model="m")

    world = FleetWorld(tmp_path, script, serving("m"), serving("m"))
    for one in world.played.values():
        one.weights = "Right-8B"
    assert world.answered(400)["a"] <= 20 + 3 and len(world.notes.lines) == 1


@pytest.mark.parametrize("known", [True, False])
def test_the_model_of_earlier_answers_counts_without_a_majority(tmp_path: Path, known: bool) -> None:
    async def main() -> list[str]:
        providers = {"a": Probed(serving("other")), "b": Probed(serving("m"))}
        fleet = Fleet(providers, 4, ["m"] if known else [])
        slots = [await fleet.acquire() for _ in range(2)]
        return await asyncio.gather(*(
            fleet.fault_of(slot.endpoint, Response(text="", model=providers[slot.endpoint.url].script("", 1).model))
            for slot in slots
        ))  # fmt: skip

    assert [bool(one) for one in play(main())] == [known, not known]


def test_a_fleet_that_changes_as_a_whole_stops_the_run(tmp_path: Path) -> None:
    world = FleetWorld(tmp_path, *[serving("old")] * 3)
    assert world.answered(10).total() == 10
    for one in world.played.values():
        one.script = serving("new")
    with pytest.raises(OutsideFault, match=r"changed its model: old in .*, then new"):
        play(world.ask(questions(20)))


def test_timed_calls_all_go_to_the_first_endpoint_in_use(tmp_path: Path) -> None:
    world = FleetWorld(tmp_path, failing, serving("m"), serving("m"))
    assert world.answered(20, timing=Timing(), concurrency=2) == {"b": 20}


def test_an_answer_names_its_endpoint_and_rows_of_before_are_read() -> None:
    answer = Response(text="x", endpoint="http://a/v1")
    assert decoded(encoded(answer), "here") == answer
    before = json.dumps(json.loads(encoded(answer))[:-2])  # neither endpoint nor price factor
    assert decoded(before, "here") == replace(answer, endpoint="")


FLEET = ["http://127.0.0.1:1/v1", "https://models.example.org/v1"]


@pytest.mark.parametrize("section", [OpenAI, Vllm, Anthropic])
def test_the_hosts_of_all_endpoints_need_consent_and_one_makes_it_hosted(section: type[OpenAI], tmp_path: Path) -> None:
    config = section(provider="x", model="gpt-6-sol", endpoints=FLEET, api_key_env="KEY", concurrency=5)
    assert config.hosted and not section(provider="x", model="m", endpoints=FLEET[:1]).hosted
    assert config.calls_in_flight == 10
    project: Any = type("P", (), {"root": tmp_path})
    wanted = {(one.kind, one.where) for one in section_grants(config, project) if one}
    assert {("server", "https://models.example.org"), ("key", "https://models.example.org")} <= wanted
    assert ("key", "http://127.0.0.1:1") in wanted


def test_the_vendors_price_applies_if_one_endpoint_is_the_vendors() -> None:
    config = OpenAI(provider="openai", model="gpt-6-sol", endpoints=[*FLEET, "https://api.openai.com/v1"])
    assert price_for(config) == price_of("openai", "gpt-6-sol")


def test_the_endpoints_are_not_part_of_the_identity(tmp_path: Path) -> None:
    def identity(*endpoints: str, **more: Any) -> bytes:
        config = OpenAI(provider="openai", model="m", endpoints=[*endpoints], **more)
        return open_model("m", config, tmp_path).identity

    assert identity("http://127.0.0.1:1/v1") == identity("http://127.0.0.1:2/v1", "http://127.0.0.1:3/v1")
    one = OpenAI(provider="openai", model="m", base_url="http://127.0.0.1:1/v1")
    grown = identity("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1", base_url=one.base_url)
    assert grown == open_model("m", one, tmp_path).identity, "answers of the first server still count"


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ({"data": [{"id": "x", "root": "/a/X"}, {"id": "m", "root": "/weights/Qwen3-8B"}]}, "Qwen3-8B"),
        *[(body, "") for body in ({"data": [{"id": "x"}]}, {"data": [{"id": "m"}]}, {"data": [1]}, [], {"data": None},
                                  {"data": [{"id": "m", "root": 7}]})],
    ],
)  # fmt: skip
def test_the_weights_are_read_from_any_list_of_models(body: Any, weights: str) -> None:
    assert weights_of(json.dumps(body).encode(), "m") == weights


class Site(Server):
    """One of eight servers.

    Attributes:
        name: Of the model that it answers as.
        down: Whether it drops every connection.
    """

    def __init__(self, latency_s: float, name: str = "scripted") -> None:
        super().__init__(latency_s, {})
        self.name, self.down, self.listed = name, False, 0

    async def chat(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            assert request.transport
            request.transport.abort()
            return web.Response()
        return await super().chat(request)

    async def models(self, request: web.Request) -> web.StreamResponse:
        self.listed += 1
        if self.down:
            assert request.transport
            request.transport.abort()
        return web.json_response({"data": [{"id": "scripted"}]})

    async def outcome(self, call: str, digest: str, body: Any, web_: Any) -> web.StreamResponse:
        self.answered[digest] += not self.down
        return web.json_response({**completion("f", say(body)), "model": self.name})


@asynccontextmanager
async def served(*sites: Site) -> AsyncIterator[list[str]]:
    """Serve them, and yield their addresses."""
    runners = []
    for site in sites:
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", site.chat), web.get("/v1/models", site.models)])
        runners.append(runner := web.AppRunner(app))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield [f"http://127.0.0.1:{runner.addresses[0][1]}/v1" for runner in runners]
    finally:
        for runner in runners:
            await runner.cleanup()


def test_eight_servers_of_which_one_is_slow_one_lies_and_one_dies_and_returns(tmp_path: Path) -> None:
    sites = [Site(0.02) for _ in range(8)]
    slow, liar, dying = sites[0], sites[3], sites[5]
    slow.latency_s, liar.name = 0.2, "another"

    async def main() -> None:
        async with served(*sites) as urls:
            config = OpenAI(
                provider="openai", model="scripted", endpoints=urls, concurrency=4,
                input_usd_per_mtok=1.0, output_usd_per_mtok=1.0,
            )  # fmt: skip
            model = open_model("m", config, tmp_path)
            notes = Notes()
            store = ResponseStore(tmp_path / "responses.sqlite")
            runner = Runner(store, budget := Budget(1.0), ShotPool([]), notes)
            variant = replace(VARIANT, model_identity=model.provider.identity)

            async def dies_and_returns() -> None:
                while len(dying.calls) < 40:
                    await asyncio.sleep(0.005)
                dying.down = True
                while dying.listed < 4:  # a client tries each probe twice, the first one at once
                    await asyncio.sleep(0.005)
                dying.down = False
                before = len(dying.calls)
                while len(dying.calls) < before + 40:
                    await asyncio.sleep(0.005)

            cases = [Case(id=f"c{i}", input=f"red {i}", expected="red") for i in range(9000)]
            life = asyncio.create_task(dies_and_returns())
            traces = await runner.run(variant, model, cases[:2000])
            for start in range(2000, 9000, 500):
                if life.done():
                    break
                traces += await runner.run(variant, model, cases[start : start + 500])
            await asyncio.wait_for(life, 5)
            answered = Counter(trace.response.endpoint for trace in traces if trace.response)
            assert answered.total() == len(traces)
            assert answered[urls[3]] == 0 and len(liar.calls) == 1
            assert [urls[3] in line for line in notes.lines] == [True]
            by_case = sum((site.answered for site in sites if site is not liar), Counter[str]())
            assert {*by_case.values()} == {1}, "nothing is paid twice"
            assert max(site.most for site in sites) == 4
            fast = [answered[url] for number, url in enumerate(urls) if number not in {0, 3, 5}]
            assert answered[urls[0]] < min(fast), "a slow endpoint gets fewer calls"
            assert budget.spent_usd == pytest.approx(sum(trace.cost_usd for trace in traces), rel=0.2)
            sent = runner.sent
            await runner.run(variant, replace(model, endpoints={"http://elsewhere/v1": model.provider}), cases[:2000])
            assert runner.sent == sent, "another list of endpoints: the same answers"
            for provider in model.endpoints.values():
                await provider.close()

    asyncio.run(main())
