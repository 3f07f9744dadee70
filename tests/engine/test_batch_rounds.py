"""Answers from the batches of providers: faults, and kills at every moment; nothing is paid twice, totals are exact."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from asking import VARIANT, questions
from tests.batch_server import FACTOR, INPUT, OUTPUT, USD, BatchServer, Line, batch_server
from tests.killing import killed_at

from tuneworthy.config.models import Anthropic, OpenAI, Vllm
from tuneworthy.engine import batch_rounds
from tuneworthy.engine.batch_rounds import BatchRounds, batches_of
from tuneworthy.engine.budget import Budget
from tuneworthy.engine.models import Models, OpenModel, open_model
from tuneworthy.engine.runner import Progress, Runner
from tuneworthy.errors import AuthError, BudgetSpent, OutsideFault, ProviderError, TuneworthyError, UserError
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers import batches
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.providers.prices import Price, TokenRates
from tuneworthy.store import ResponseStore
from tuneworthy.store.batches import BatchFolder
from tuneworthy.types import Request, Timing, Trace

N = 12
PRICE = Price(rates=TokenRates(input=INPUT, output=OUTPUT), batch_factor=FACTOR)
SECTIONS = {"openai": OpenAI, "anthropic": Anthropic, "vllm": Vllm}


class Notes(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


class World:
    """A project's store and one model, opened like a process does."""

    def __init__(
        self, folder: Path, server: BatchServer, kind: str = "openai", limit_usd: float | None = None, name: str = "m"
    ) -> None:
        self.store = ResponseStore(folder / ".tuneworthy" / "responses.sqlite")
        spending = self.store.spending()
        self.budget = Budget(limit_usd, spending.usd, spending.unanswered_usd)
        self.notes = Notes()
        self.runner = Runner(self.store, self.budget, ShotPool(()), self.notes)
        section = SECTIONS[kind].model_validate({"provider": kind, "model": name, "base_url": server.url})
        model = open_model("m", section, folder)
        self.model: OpenModel = replace(model, price=PRICE if kind != "vllm" else None, retries=2)
        self.models = cast(Models, {"m": self.model})

    async def batched(self) -> None:
        self.runner.rounds = await batches_of(self.runner, self.models)
        self.runner.rounds.quiet_s = 0.005

    async def traces(self, n: int, **options: Any) -> list[Trace]:
        variant = replace(VARIANT, model_identity=self.model.provider.identity)
        return await self.runner.run(variant, self.model, questions(n), **options)

    def ask(self, n: int = N, *, batch: bool = True, **options: Any) -> list[Trace]:
        async def run() -> list[Trace]:
            try:
                if batch:
                    await self.batched()
                return await self.traces(n, **options)
            finally:
                await self.model.provider.close()

        return asyncio.run(run())

    def release(self) -> None:
        async def run() -> None:
            try:
                await BatchRounds(self.runner, self.models).release(self.notes.note)
                self.store.release()
            finally:
                await self.model.provider.close()

        asyncio.run(run())

    @property
    def usd(self) -> float:
        """What the store says, which the budget must say too."""
        assert self.budget.reserved_usd == self.budget.in_flight == 0
        assert self.budget.spent_usd == pytest.approx(self.store.spending().usd)
        return self.store.spending().usd


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with batch_server() as found:
        yield found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"POLL_S": 0.02, "MAX_TRIES": 6}.items():
        monkeypatch.setattr(batch_rounds, name, value)
    monkeypatch.setattr(batches, "TRANSFER_S", 5.0)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-0123456789abcdef")


def is_whole(traces: list[Trace], n: int = N) -> bool:
    return [trace.text for trace in traces] == [f"answer to q{number}" for number in range(n)]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_round_is_one_batch_at_its_price_and_a_trace_shows_the_price_of_a_single_call(
    tmp_path: Path, server: BatchServer, kind: str
) -> None:
    server.polls = 2
    world = World(tmp_path, server, kind)
    traces = world.ask()
    assert is_whole(traces) and server.asked["create"] == 1 and not server.single
    assert world.usd == pytest.approx(server.bill) == pytest.approx(N * USD * FACTOR)
    assert [trace.cost_usd for trace in traces] == pytest.approx([USD] * N)
    assert world.runner.spending.usd == pytest.approx(server.bill) and world.runner.sent == N
    again = World(tmp_path, server, kind)
    assert is_whole(again.ask(batch=False)) and again.runner.spending.usd == pytest.approx(server.bill)
    variant = replace(VARIANT, model_identity=again.model.provider.identity)
    stored = World(tmp_path, server, kind).runner.stored(variant, questions(N))
    assert [trace.cost_usd for trace in stored] == pytest.approx([USD] * N)
    assert not [*(tmp_path / ".tuneworthy" / "batches").iterdir()]
    assert any(f"has answered 0 of {N}" in line for line in world.notes.lines)


def test_few_and_timed_calls_are_single(tmp_path: Path, server: BatchServer) -> None:
    world = World(tmp_path, server)
    world.ask(batch_rounds.MIN_REQUESTS - 1)
    world.ask(N, timing=Timing())
    assert not server.submitted and sum(server.single.values()) == N + batch_rounds.MIN_REQUESTS - 1
    assert world.usd == pytest.approx(server.bill)


# --- 30 faults --------------------------------------------------------------------------------------------------------


def lines_from(change: Callable[[list[Line]], list[Any]], times: int = 1) -> Callable[[BatchServer], None]:
    """Change the lines of the first downloads."""

    def distort(server: BatchServer) -> None:
        left = [times]

        def changed(lines: list[Line]) -> list[Any]:
            left[0] -= 1
            return change(lines) if left[0] >= 0 else lines

        server.distort = changed

    return distort


def fails(**steps: Any) -> Callable[[BatchServer], None]:
    return lambda server: server.faults.update({step: [*answers] for step, answers in steps.items()})


def set_to(**values: Any) -> Callable[[BatchServer], None]:
    def change(server: BatchServer) -> None:
        for name, value in values.items():
            setattr(server, name, value)

    return change


def both(*plants: Callable[[BatchServer], None]) -> Callable[[BatchServer], None]:
    def change(server: BatchServer) -> None:
        for plant in plants:
            plant(server)

    return change


def body_of(line: Line) -> Line:
    found: Line = line["response"]["body"] if "response" in line else line["result"]["message"]
    return found


def with_usage(**usage: Any) -> Callable[[list[Line]], list[Any]]:
    def change(lines: list[Line]) -> list[Any]:
        for line in lines:
            body_of(line)["usage"] |= usage
        return lines

    return change


def without_texts(lines: list[Line]) -> list[Any]:
    for line in [one for one in lines if one.get("response") or "message" in one.get("result", ())][:10]:
        body = body_of(line)
        body.pop("choices", None) or body.pop("content")
    return lines


def without_bodies(lines: list[Line]) -> list[Any]:
    for line, body in zip(lines[:10], [7, "x", [], None, ["x"]] * 2, strict=True):
        (line.get("response") or line.get("result"))[("body" if "response" in line else "message")] = body
    return lines


def ends(status: str, ran: float = 0.5, *, silent: bool = False) -> Callable[[BatchServer], None]:
    """The first batch ends early, and a later one is whole; if `silent`, requests that were not run have no line."""

    def change(server: BatchServer) -> None:
        server.ending, server.ran = status, ran

        def then(lines: list[Line]) -> list[Line]:
            server.ending = "completed"
            return [line for line in lines if line["response"]] if silent else lines

        server.distort = then

    return change


@dataclass
class Fault:
    """A fault, and what it may cost.

    Attributes:
        plant: Changes the server.
        most: Times that a question is sent in a batch, at most.
        single: Single calls that follow.
        lost: Requests that were billed and whose answers are lost: they count until the same request is answered, and
            then at its cost.
        usd: The total if it is not the provider's bill.
        kinds: Vendors that it is planted at.
    """

    plant: Callable[[BatchServer], None]
    most: int = 1
    single: int = 0
    lost: int = 0
    usd: float | None = None
    kinds: str = "openai anthropic"


def ceiling_of(tmp_path: Path, server: BatchServer, kind: str) -> float:
    model = World(tmp_path / "ceiling", server, kind).model
    return sum(
        model.ceiling_usd(Request(messages=({"role": "user", "content": f"q{n}"},), max_tokens=10)) for n in range(N)
    )


FAULTS = {
    "expired as a whole": Fault(ends("expired", 0.0), single=N),
    "half expired": Fault(ends("expired"), single=N // 2),
    "cancelled by another user": Fault(ends("cancelled"), single=N // 2),
    "cancelled, and silent on the rest": Fault(ends("cancelled", silent=True), single=N // 2, kinds="openai"),
    "some requests failed": Fault(set_to(broken={"q1", "q7"}), single=2),
    "all requests failed": Fault(set_to(broken={f"q{n}" for n in range(N)}), single=N),
    "ids are repeated": Fault(lines_from(lambda lines: lines + lines[:4])),
    "results are repeated with another answer": Fault(
        lines_from(lambda lines: [*lines, json.loads(json.dumps(lines[0]).replace("answer to q0", "worse"))])
    ),
    "an error precedes the answer": Fault(
        lines_from(lambda lines: [{"custom_id": lines[0]["custom_id"], **error} for error in ERRORS] + lines)
    ),
    "unknown ids": Fault(
        lines_from(lambda lines: [*lines, {**lines[0], "custom_id": "x"}, {**lines[0], "custom_id": "a-" + "0" * 32}])
    ),
    "ids are missing": Fault(
        lines_from(lambda lines: [*lines, {k: v for k, v in lines[0].items() if k != "custom_id"}])
    ),
    "results in another order": Fault(lines_from(lambda lines: lines[::-1])),
    "results are missing in one download": Fault(lines_from(lambda lines: lines[3:])),
    "ten results are lost": Fault(lines_from(lambda lines: lines[10:], 3), most=2, lost=10),
    "ten results are no JSON": Fault(lines_from(lambda lines: [*[b"<html>"] * 10, *lines[10:]], 3), most=2, lost=10),
    "all results are lost": Fault(lines_from(lambda lines: [], 3), single=N, lost=N, usd=N * USD * 2),
    "the last line is cut": Fault(lines_from(lambda lines: [*lines[:-1], json.dumps(lines[-1]).encode()[:40]])),
    "the file is cut": Fault(fails(results=["half"])),
    "answers have another form": Fault(lines_from(without_texts, 3), most=2, lost=10),
    "answers have another form in one download": Fault(lines_from(without_texts)),
    "bodies are no objects": Fault(lines_from(without_bodies, 3), most=2, lost=10),
    "half expired, and the answers have another form": Fault(
        both(ends("expired"), lines_from(without_texts, 3)), single=N, lost=N // 2, usd=USD * (N + N // 2)
    ),
    "usage that cannot be true": Fault(lines_from(with_usage(prompt_tokens=10**9, input_tokens=10**9)), usd=-1.0),
    "no usage": Fault(
        lines_from(with_usage(prompt_tokens=None, input_tokens=None, completion_tokens=None, output_tokens=None)),
        usd=-1.0,
    ),
    "500 and 429 at each step": Fault(
        fails(upload=[500, 429], create=[429, 429], state=[500, 429], results=[503, 429, 500])
    ),
    "timeout at each step": Fault(fails(upload=["hang"], state=["hang"], results=["hang"])),
    "connection lost at each step": Fault(fails(upload=["lost"], state=["lost"], results=["lost"])),
    "created, but the answer was lost": Fault(fails(create=["lost"])),
    "created, but the answer came too late": Fault(fails(create=["hang"])),
    "not created, with a server error": Fault(fails(create=[500])),
    "the list fails too": Fault(fails(create=["lost"], list=[500, 429, "lost"])),
    "the list is late": Fault(both(fails(create=["lost"]), set_to(hidden=2))),
    "the file of results is late": Fault(set_to(late=3), kinds="openai"),
    "the file of errors is late": Fault(set_to(late=3, broken={f"q{n}" for n in range(N)}), single=N, kinds="openai"),
    "many looks": Fault(set_to(polls=5)),
    **{f"no interface ({n})": Fault(fails(upload=[n], create=[n]), single=N) for n in (404, 405, 501)},
}
ERRORS = [
    {
        "response": None,
        "error": {"code": "x", "message": "no"},
        "result": {"type": "errored", "error": {"type": "error", "error": {"type": "x", "message": "no"}}},
    }
]
CASES = [(name, kind) for name, fault in FAULTS.items() for kind in fault.kinds.split()]


@pytest.mark.parametrize(("name", "kind"), CASES, ids=[f"{name}, {kind}" for name, kind in CASES])
def test_a_fault_loses_nothing_and_nothing_is_paid_twice(
    tmp_path: Path, server: BatchServer, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = FAULTS[name]
    fault.plant(server)
    if ["hang"] in server.faults.values():
        monkeypatch.setattr(batches, "TRANSFER_S", 0.4)
    world = World(tmp_path, server, kind)
    assert is_whole(world.ask())
    assert max(server.submitted.values(), default=0) <= fault.most and sum(server.single.values()) == fault.single
    usd = server.bill if fault.usd is None else fault.usd
    assert world.usd == pytest.approx(usd if usd >= 0 else FACTOR * ceiling_of(tmp_path, server, kind))
    lost_usd = fault.lost * USD * (FACTOR if not fault.single else 1)
    assert server.bill <= world.usd + 1e-9 and world.store.spending().unanswered_usd == pytest.approx(lost_usd)
    assert not BatchFolder(tmp_path / ".tuneworthy").all()
    assert is_whole(World(tmp_path, server, kind).ask()) and sum(server.single.values()) == fault.single


def test_a_batch_that_is_refused_as_a_whole_ends_the_run_with_the_words_of_the_provider(
    tmp_path: Path, server: BatchServer
) -> None:
    for plant in (set_to(ending="failed"), fails(create=[400]), fails(upload=[400]), fails(upload=[403])):
        plant(server)
        world = World(tmp_path, server)
        with pytest.raises(UserError, match=r"the input file is invalid|played 40"):
            world.ask()
        assert world.usd == server.bill == 0.0 and not server.single
        assert not BatchFolder(tmp_path / ".tuneworthy").all()
        server.ending = "completed"
    assert is_whole(World(tmp_path, server).ask()) and server.asked["create"] == 3


def test_a_refused_batch_that_leaves_others_open_names_the_command_that_fetches_them(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches.BatchApi, "max_requests", N)
    server.faults["create"] = ["", 400]
    with pytest.raises(UserError, match="This batch was not billed") as raised:
        World(tmp_path, server).ask(2 * N)
    assert "run --batch" in raised.value.hint and "without" not in raised.value.hint
    assert len(BatchFolder(tmp_path / ".tuneworthy").all()) == 1 and server.bill
    with pytest.raises(OutsideFault):
        World(tmp_path, server).ask(2 * N, batch=False)
    server.faults["create"] = [400]
    with pytest.raises(UserError, match="without --batch"):
        World(tmp_path, server).ask(2 * N)
    assert is_whole(World(tmp_path, server).ask(2 * N, batch=False), 2 * N) and server.single.total() == N


@pytest.mark.parametrize(("room", "sizes"), [(6, [5, 5, 1, 1]), (3, [2, 1, 3, 3, 3])])
def test_batches_that_a_full_queue_refuses_are_sent_again_and_fewer_if_it_took_less_than_half(
    tmp_path: Path, server: BatchServer, room: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches.BatchApi, "max_requests", 5)
    server.room, server.polls = room, 2
    world = World(tmp_path, server)
    assert is_whole(world.ask()) and world.usd == pytest.approx(server.bill)
    assert not server.single and set(server.submitted.values()) == {1}
    assert [batch["n"] for batch in server.batches.values() if batch["rows"]] == sizes


def test_a_queue_that_stays_full_ends_the_run_and_leads_to_no_single_call(tmp_path: Path, server: BatchServer) -> None:
    server.room = 0
    world = World(tmp_path, server)
    with pytest.raises(OutsideFault, match="queue of batches is full"):
        world.ask()
    assert world.usd == 0.0 and not server.single and not BatchFolder(tmp_path / ".tuneworthy").all()


def test_a_full_queue_that_another_process_met_is_no_fault(tmp_path: Path, server: BatchServer) -> None:
    open_batch(tmp_path, server)
    server.polls, server.batches["batch_openai_1"]["rows"] = 0, []
    server.batches["batch_openai_1"] |= {"ending": "failed", "code": "token_limit_exceeded"}
    world = World(tmp_path, server)
    assert is_whole(world.ask()) and server.asked["create"] == 2 and world.usd * 2 == pytest.approx(server.bill)


def test_a_creation_that_is_rate_limited_for_good_ends_the_run(tmp_path: Path, server: BatchServer) -> None:
    server.faults["create"] = [429] * 6
    with pytest.raises(OutsideFault, match=r"No batch of m could be created: .*played 429"):
        World(tmp_path, server).ask()
    assert is_whole((world := World(tmp_path, server)).ask())
    assert set(server.submitted.values()) == {1} and world.usd == pytest.approx(server.bill)


def test_a_batch_is_not_read_with_the_price_and_the_server_of_another_model(
    tmp_path: Path, server: BatchServer
) -> None:
    open_batch(tmp_path, server)
    server.polls = 0
    with pytest.raises(UserError, match=r"no longer the model of its open batch.*openai m http"):
        World(tmp_path, server, name="other").ask()
    assert is_whole(World(tmp_path, server).ask()) and set(server.submitted.values()) == {1}


def test_a_fleet_has_no_batches_as_its_endpoints_are_compared_by_single_answers(
    tmp_path: Path, server: BatchServer
) -> None:
    world = World(tmp_path, server)
    provider = world.model.provider
    world.model = replace(world.model, endpoints={"a": provider, "b": provider})
    assert is_whole(world.ask()) and not server.submitted and sum(server.single.values()) == N


def test_two_names_of_one_model_ask_once(tmp_path: Path, server: BatchServer) -> None:
    world = World(tmp_path, server)
    variant, other = replace(VARIANT, model_identity=world.model.provider.identity), replace(world.model, name="other")

    async def run() -> list[list[Trace]]:
        await world.batched()
        asked = [world.runner.run(variant, model, questions(N)) for model in (world.model, other)]
        both = await asyncio.gather(*asked)
        await world.model.provider.close()
        return both

    assert all(map(is_whole, asyncio.run(run()))) and set(server.submitted.values()) == {1}
    assert world.usd == pytest.approx(server.bill)


def test_the_results_of_one_batch_at_a_time_are_in_memory(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, active = BatchRounds._take, [0, 0]

    async def taken(*arguments: Any) -> None:
        active[0] += 1
        active[1] = max(active)
        await take(*arguments)
        active[0] -= 1

    monkeypatch.setattr(BatchRounds, "_take", taken)
    monkeypatch.setattr(batches.BatchApi, "max_requests", 4)
    assert is_whole(World(tmp_path, server).ask()) and active == [0, 1] and server.asked["create"] == 3


def test_results_of_another_batch_are_refused(tmp_path: Path, server: BatchServer) -> None:
    server.distort = lambda lines: [{**line, "custom_id": "a" * 16 + line["custom_id"][16:]} for line in lines]
    with pytest.raises(UserError, match="those of other requests"):
        World(tmp_path, server, "anthropic").ask()
    server.distort = lambda lines: lines
    world = World(tmp_path, server, "anthropic")
    assert is_whole(world.ask()) and max(server.submitted.values()) == 1 and world.usd == pytest.approx(server.bill)


def test_results_that_answer_nothing_are_counted_and_told(tmp_path: Path, server: BatchServer) -> None:
    server.broken = {"q5"}
    server.distort = lambda lines: [*lines, lines[0], {**lines[0], "custom_id": "x"}, b"{"]
    world = World(tmp_path, server)
    assert is_whole(world.ask()) and world.usd == pytest.approx(server.bill)
    said = next(line for line in world.notes.lines if " gave " in line)
    for words in (
        "11 answers",
        " repeated",
        " of other requests",
        " unreadable",
        "1 failed or not run (the model crashed)",
    ):
        assert words in said, said


def test_a_key_in_results_is_neither_stored_nor_shown_and_an_empty_line_is_no_fault(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = os.environ["ANTHROPIC_API_KEY"]
    monkeypatch.setattr("tuneworthy.redaction._KEYS", {key: 8})

    def echoed(lines: list[Line]) -> list[Any]:
        body_of(lines[0])["content"][0]["text"] = f"your key is {key}"
        lines[5]["result"] = {"type": "errored", "error": {"type": "error", "error": {"message": f"no {key}"}}}
        return [*lines, b"", b""]

    server.distort = echoed
    world = World(tmp_path, server, "anthropic")
    texts = [trace.text for trace in world.ask()]
    assert texts[0] == "your key is [key]" and texts[5] == "answer to q5"
    said = next(line for line in world.notes.lines if " gave " in line)
    assert "(no [key])" in said and key not in said and "unreadable" not in said
    assert not any(key.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_file_of_results_that_is_gone_is_not_paid_again(tmp_path: Path, server: BatchServer) -> None:
    for plant in (set_to(late=10**6), fails(results=[404])):
        plant(server)
        with pytest.raises(OutsideFault, match=r"missing|404.*doctor --release"):
            World(tmp_path, server).ask()
        server.late = 0
    assert is_whole((world := World(tmp_path, server)).ask())
    assert max(server.submitted.values()) == 1 and world.usd == pytest.approx(server.bill)


def test_an_answer_of_another_model_ends_the_run(tmp_path: Path, server: BatchServer) -> None:
    def other(lines: list[Line]) -> list[Line]:
        body_of(lines[-1])["model"] = "gpt-5"
        return lines

    server.distort = other
    with pytest.raises(OutsideFault, match="changed its model"):
        World(tmp_path, server).ask()


def test_a_provider_that_is_down_leaves_the_batch_to_the_next_run(tmp_path: Path, server: BatchServer) -> None:
    server.faults["state"] = [500] * 6
    with pytest.raises(OutsideFault, match="run the same command later"):
        World(tmp_path, server).ask()
    server.faults["state"].clear()
    world = World(tmp_path, server)
    assert is_whole(world.ask()) and max(server.submitted.values()) == 1 and world.usd == pytest.approx(server.bill)


def test_a_list_that_cannot_be_read_never_leads_to_a_second_batch(tmp_path: Path, server: BatchServer) -> None:
    server.faults |= {"create": ["lost"], "list": [404]}
    with pytest.raises(OutsideFault, match="404"):
        World(tmp_path, server).ask()
    assert is_whole(World(tmp_path, server).ask()) and max(server.submitted.values()) == 1


def test_a_batch_is_found_on_a_later_page_and_among_strangers(tmp_path: Path, server: BatchServer) -> None:
    for kind in ("openai", "anthropic"):
        server.page, server.faults["create"] = 1, ["lost"]
        world = World(tmp_path / kind, server, kind)
        create = server.add

        def add(name: str, lines: list[Line], create: Any = create, **about: Any) -> Any:
            made = create(name, lines, **about)
            for number in range(3):  # of another project with the same account, as large and as young
                ids = [{**line, "custom_id": f"{number:016}-{line['custom_id'][17:]}"} for line in lines]
                create(name, ids, **{**about, "metadata": {"token": f"{number:016}"}})
            return made

        server.add = add  # type: ignore[method-assign]
        before = server.bill
        assert is_whole(world.ask()) and server.asked["create"] == 1
        assert world.usd == pytest.approx((server.bill - before) / 4)
        server.add, server.asked = create, type(server.asked)()  # type: ignore[method-assign]


def test_the_batch_of_a_stranger_without_results_is_passed_over(tmp_path: Path, server: BatchServer) -> None:
    server.faults |= {"create": ["lost"], "results": [404]}
    create = server.add

    def add(name: str, lines: list[Line], **about: Any) -> Any:
        made = create(name, lines, **about)
        create(name, [{**line, "custom_id": f"{0:016}-{line['custom_id'][17:]}"} for line in lines], **about)
        return made

    server.add = add  # type: ignore[method-assign]
    assert is_whole(World(tmp_path, server, "anthropic").ask()) and server.asked["create"] == 1


def test_a_batch_is_found_if_the_clock_of_the_provider_is_an_hour_late(tmp_path: Path, server: BatchServer) -> None:
    server.faults["create"] = ["lost"]
    create = server.add

    def add(name: str, lines: list[Line], **about: Any) -> Any:
        made = create(name, lines, **about)
        for batch in server.batches.values():
            batch["at"] -= 3600.0
        return made

    server.add = add  # type: ignore[method-assign]
    assert is_whole(World(tmp_path, server).ask()) and server.asked["create"] == 1


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_number_above_64_bits_costs_no_answer(tmp_path: Path, server: BatchServer, kind: str) -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"account": 10**20}}
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": {"account": 10**20}}}

    def distort(lines: list[Line]) -> list[Line]:
        for line in lines:
            if kind == "anthropic":
                line["result"]["message"]["content"].append(block)
            else:
                line["response"]["body"]["choices"][0]["message"]["tool_calls"] = [call]
        return lines

    server.distort = distort
    assert is_whole(World(tmp_path, server, kind).ask()) and max(server.submitted.values()) == 1


def test_older_batches_are_neither_listed_nor_read(tmp_path: Path, server: BatchServer) -> None:
    World(tmp_path / "before", server, "anthropic").ask()
    (before,) = server.batches.values()
    server.batches = {f"old{n}": {**before, "id": f"old{n}", "at": 0.0} for n in range(6)}
    server.page, server.hidden, server.faults["create"] = 2, 1, ["lost"]
    assert is_whole(World(tmp_path / "now", server, "anthropic").ask())
    assert (server.asked["list"], server.asked["results"], server.asked["create"]) == (2, 3, 2)


def test_a_list_that_repeats_its_first_page_ends(tmp_path: Path, server: BatchServer) -> None:
    server.page, server.stuck, server.faults["create"] = 1, True, ["lost"]
    assert is_whole(World(tmp_path, server).ask()) and server.asked["list"] == 2


def test_an_id_that_a_provider_gives_twice_is_not_believed(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches.BatchApi, "max_requests", 6)
    server.repeats_id, server.polls = True, 3
    world = World(tmp_path, server)
    assert is_whole(world.ask()) and server.asked["create"] == 2 and max(server.submitted.values()) == 1
    assert world.usd == pytest.approx(server.bill)


def test_a_batch_is_cut_at_the_limits_of_the_provider(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches.BatchApi, "max_requests", 5)
    assert is_whole(World(tmp_path / "n", server).ask())
    assert [batch["n"] for batch in server.batches.values()] == [5, 5, 2]
    server.batches.clear()
    monkeypatch.setattr(batches.BatchApi, "max_requests", 50)
    monkeypatch.setattr(batches.BatchApi, "max_bytes", 900)
    assert is_whole(World(tmp_path / "bytes", server).ask())
    assert [batch["n"] for batch in server.batches.values()] == [4, 4, 4]


def test_a_request_that_cannot_be_written_is_left_to_a_single_call(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = batches.BatchApi.line

    def written(self: batches.BatchApi, custom_id: str, request: Request) -> bytes:
        if request.messages[-1]["content"] == "q5":
            raise ProviderError("not accepted", code="bad_request", retryable=False)
        return line(self, custom_id, request)

    monkeypatch.setattr(batches.BatchApi, "line", written)
    assert is_whole(World(tmp_path, server).ask()) and server.single == {"q5": 1} and len(server.submitted) == N - 1


def test_a_batch_has_requests_of_one_endpoint(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endpoint(_: Any, request: Request) -> str:
        return f"/v1/{int(str(request.messages[-1]['content'])[1:]) % 2}"

    monkeypatch.setattr(batches.BatchApi, "endpoint", endpoint)
    assert is_whole(World(tmp_path, server).ask()) and not server.single
    assert [(batch["endpoint"], batch["n"]) for batch in server.batches.values()] == [("/v1/0", 6), ("/v1/1", 6)]


def test_batches_that_fit_the_budget_follow_one_another_and_no_request_that_does_not_fit_is_sent(
    tmp_path: Path, server: BatchServer
) -> None:
    each = FACTOR * ceiling_of(tmp_path, server, "openai") / N
    world = World(tmp_path / "some", server, limit_usd=5.5 * each)
    assert is_whole(world.ask()) and world.usd == pytest.approx(server.bill)
    sizes = [batch["n"] for batch in server.batches.values()]
    assert sizes[0] == 5 and sum(sizes) == N and len(sizes) > 2
    poor = World(tmp_path / "none", server, limit_usd=0.9 * each)
    with pytest.raises(BudgetSpent):
        poor.ask()
    assert sum(server.submitted.values()) == N and poor.usd == 0.0


# --- stopped, resumed, released ---------------------------------------------------------------------------------------

STEPS = [
    (ResponseStore, "open_batch"),
    (ResponseStore, "put_many"),
    (ResponseStore, "close_batch"),
    (BatchFolder, "write"),
    (BatchFolder, "write_requests"),
    (BatchFolder, "end"),
    (HttpClient, "send"),
    (HttpClient, "read"),
    (Path, "unlink"),
]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_process_that_is_killed_at_any_moment_submits_and_pays_nothing_twice(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_rounds, "_CHUNK", 5)
    moment, killed = 0, True
    while killed:
        moment += 1
        with batch_server() as server:
            server.polls = 1
            folder = tmp_path / str(moment)
            killed = killed_at(moment, STEPS, lambda: World(folder, server, kind).ask())  # noqa: B023
            world = World(folder, server, kind)
            assert is_whole(world.ask()), moment
            assert set(server.submitted.values()) == {1} and not server.single, moment
            assert world.usd == pytest.approx(server.bill), moment
            assert not [*(folder / ".tuneworthy" / "batches").iterdir()], moment
    assert moment > 15


def test_a_process_that_is_killed_twice_on_the_way_pays_nothing_twice(tmp_path: Path, server: BatchServer) -> None:
    server.polls = 2
    for moment in (9, 4, 5, 6, 7):
        killed_at(moment, STEPS, lambda: World(tmp_path, server).ask())
    world = World(tmp_path, server)
    assert is_whole(world.ask()) and set(server.submitted.values()) == {1} and world.usd == pytest.approx(server.bill)


def test_a_process_that_is_killed_at_random_times_pays_nothing_twice(tmp_path: Path, server: BatchServer) -> None:
    rng, killed = random.Random(7), 0
    for run in range(40):  # a fast machine ends before many of the moments
        if killed == 8:
            break
        server.polls, folder, before = 3, tmp_path / str(run), server.bill
        server.submitted.clear()
        child = os.fork()
        if child == 0:
            try:
                World(folder, server, "openai" if run % 2 else "anthropic").ask()
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0.0, 0.15))  # the moment is the point of this test
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        world = World(folder, server, "openai" if run % 2 else "anthropic")
        assert is_whole(world.ask()) and set(server.submitted.values()) == {1} and not server.single
        assert world.usd == pytest.approx(server.bill - before)
    assert killed == 8


def open_batch(tmp_path: Path, server: BatchServer, kind: str = "openai") -> None:
    """Leave a batch open, as a user does who interrupts."""
    server.polls = 10**6

    async def run() -> None:
        world = World(tmp_path, server, kind)
        task = asyncio.create_task(start(world))
        while not server.asked["state"]:
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.wait([task])
        await world.model.provider.close()
        assert "The batches go on at the provider" in world.notes.lines[-1]
        assert task.cancelled()

    async def start(world: World) -> None:
        await world.batched()
        await world.traces(N)

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_run_without_batches_never_pays_for_a_request_in_an_open_batch(
    tmp_path: Path, server: BatchServer, kind: str
) -> None:
    open_batch(tmp_path, server, kind)
    world = World(tmp_path, server, kind)
    with pytest.raises(OutsideFault, match=r"in a batch that was not fetched yet: 3.*run --batch.*--release"):
        world.ask(3, batch=False)
    assert not server.single and world.budget.spent_usd == pytest.approx(FACTOR * ceiling_of(tmp_path, server, kind))
    server.polls = 0
    assert is_whole(World(tmp_path, server, kind).ask(3), 3)  # fewer than a batch needs, and they are fetched
    world = World(tmp_path, server, kind)
    assert is_whole(world.ask(batch=False)) and world.usd == pytest.approx(server.bill)
    assert set(server.submitted.values()) == {1} and not server.single


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_release_cancels_open_batches_and_keeps_their_answers(tmp_path: Path, server: BatchServer, kind: str) -> None:
    server.ending = "cancelled"
    open_batch(tmp_path, server, kind)
    world = World(tmp_path, server, kind)
    world.release()
    assert server.asked["cancel"] == 1 and len(world.store) == N // 2
    assert world.usd == pytest.approx(server.bill) and not BatchFolder(tmp_path / ".tuneworthy").all()
    world = World(tmp_path, server, kind)
    assert is_whole(world.ask(batch=False)) and sum(server.single.values()) == N // 2


def test_a_release_forgets_a_batch_whose_model_is_gone_and_waits_for_a_provider_that_is_down(
    tmp_path: Path, server: BatchServer
) -> None:
    open_batch(tmp_path, server)
    server.faults["state"] = [500] * 20
    with pytest.raises(OutsideFault):
        World(tmp_path, server).release()
    assert BatchFolder(tmp_path / ".tuneworthy").all()

    class NoModels:
        def __getitem__(self, name: str) -> OpenModel:
            raise UserError("Section [models] has no model 'm'.")

    world = World(tmp_path, server)
    world.models = cast(Models, NoModels())
    with pytest.raises(UserError, match="no model"):
        world.ask()
    world.release()
    assert "could not be cancelled" in world.notes.lines[-1] and world.store.spending().usd == 0.0


def test_a_release_with_a_refused_key_forgets_nothing(tmp_path: Path, server: BatchServer) -> None:
    open_batch(tmp_path, server)
    server.faults |= {"cancel": [401] * 9, "state": [401] * 9}  # a look of the open batch may meet the first one
    with pytest.raises(AuthError):
        World(tmp_path, server).release()
    server.faults.clear()
    server.polls = 0
    assert is_whole(World(tmp_path, server).ask()) and set(server.submitted.values()) == {1} and not server.single


def test_a_release_of_a_batch_that_does_not_end_forgets_nothing(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_batch(tmp_path, server)
    server.faults["cancel"] = [500]  # it goes on
    monkeypatch.setattr(batch_rounds, "CANCEL_S", 0.1)
    with pytest.raises(OutsideFault, match=r"batch_openai_1 of m was cancelled and has not ended"):
        World(tmp_path, server).release()
    assert BatchFolder(tmp_path / ".tuneworthy").all()


def test_a_batch_whose_file_never_appears_can_be_released(tmp_path: Path, server: BatchServer) -> None:
    server.late = 10**6
    with pytest.raises(OutsideFault, match=r"The file of results of batch batch_openai_1 is missing.*--release"):
        World(tmp_path, server).ask()
    World(tmp_path, server).release()
    assert not BatchFolder(tmp_path / ".tuneworthy").all() and set(server.submitted.values()) == {1}


def test_a_batch_is_looked_for_after_any_fault_of_the_server(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, faults = batches.BatchApi.create, [ProviderError("500", code="server", retryable=False)]

    async def created(*arguments: Any) -> str:
        identity = await create(*arguments)
        if faults:
            raise faults.pop()
        return identity

    monkeypatch.setattr(batches.BatchApi, "create", created)
    world = World(tmp_path, server)
    assert is_whole(world.ask()) and set(server.submitted.values()) == {1} and world.usd == pytest.approx(server.bill)


def test_a_key_that_is_refused_ends_the_run_and_keeps_the_batch(tmp_path: Path, server: BatchServer) -> None:
    server.faults["state"] = [401]
    with pytest.raises(TuneworthyError, match="Check the API key"):
        World(tmp_path, server).ask()
    assert is_whole(World(tmp_path, server).ask()) and set(server.submitted.values()) == {1}


# --- vLLM -------------------------------------------------------------------------------------------------------------


def run_vllm(server: BatchServer, path: Path, cut: int | None = None) -> None:
    """Do what `vllm run-batch -i ... -o ...` does."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {(row["method"], row["url"], row["body"]["model"]) for row in rows} == {
        ("POST", "/v1/chat/completions", "m")
    }
    lines = [
        {"id": "vllm-1", "custom_id": row["custom_id"], "error": None,
         "response": {"status_code": 200, "request_id": "r", "body": server.answer(row["body"], "openai")}}
        for row in rows
    ]  # fmt: skip
    path.with_name(path.name.replace(".in.", ".out.")).write_text(
        "".join(json.dumps(line) + "\n" for line in lines)[:cut]
    )


def test_requests_for_vllm_are_written_to_files_and_a_broken_file_costs_only_itself(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches.BatchApi, "max_requests", 11)
    folder, n = tmp_path / ".tuneworthy" / "batches", 33
    with pytest.raises(OutsideFault, match=r"cannot be read: 3\.") as stopped:
        World(tmp_path, server, "vllm").ask(n)
    files = sorted(folder.glob("*.in.jsonl"))
    assert len(files) == 3 and stopped.value.exit_status == 5
    assert all(f"vllm run-batch -i {one} -o " in stopped.value.hint for one in files)
    run_vllm(server, files[0])
    run_vllm(server, files[1])
    results = files[1].with_name(files[1].name.replace(".in.", ".out."))
    text = results.read_text()
    part = text[: text.index("\n") + 100]
    for content, age_s in ((part, 0), (text[:100], 100), (text.replace("\n", ",\n"), 100)):
        results.write_text(content)
        os.utime(results, (time.time() - age_s,) * 2)  # the first may still be copied, the others cannot be read
        with pytest.raises(OutsideFault, match=r"cannot be read: 2\."):
            World(tmp_path, server, "vllm").ask(n)
    results.write_text(part)
    os.utime(results, (0, 0))
    with pytest.raises(OutsideFault, match=r"cannot be read: 1\.") as stopped:
        World(tmp_path, server, "vllm").ask(n)
    assert str(files[2]) in stopped.value.hint and len(World(tmp_path, server, "vllm").store) == 12
    with pytest.raises(OutsideFault, match="in a batch that was not fetched yet: 11"):
        World(tmp_path, server, "vllm").ask(n, batch=False)
    run_vllm(server, files[2])
    with pytest.raises(OutsideFault, match=r"cannot be read: 1\."):  # the requests of the broken file
        World(tmp_path, server, "vllm").ask(n)
    (again,) = folder.glob("*.in.jsonl")
    run_vllm(server, again)
    assert is_whole(World(tmp_path, server, "vllm").ask(n), n) and not server.single and not server.submitted
