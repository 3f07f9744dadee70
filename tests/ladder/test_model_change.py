"""A server that changes the model behind its address: the run stops, names the calls, and measures the new one."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat_server import chat_server, completion
from tuneworthy.cli import invoke
from tuneworthy.engine.batch import Job
from tuneworthy.engine.served_model import ServedCalls
from tuneworthy.errors import OutsideFault
from tuneworthy.types import Case, Request, Response

LABELS = ("red", "green", "blue")
OLD, NEW = "m-2026-03-01", "m-2026-09-01"
Served = Callable[[int], tuple[str, str]]


class Api:
    """An OpenAI-compatible server; `serves` gives the name and the fingerprint of the nth call, from 0."""

    def __init__(self) -> None:
        self.serves: Served = lambda nth: (OLD, "")
        self.names: Counter[str] = Counter()
        self.url = ""

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        text = str(body["messages"])
        name, fingerprint = self.serves(self.names.total())
        self.names[name] += 1
        right = LABELS[int(re.findall(r"case (\d+)", text)[-1]) % 3]
        return completion(body, right, model=name, system_fingerprint=fingerprint or None)


@pytest.fixture
def api() -> Iterator[Api]:
    played = Api()
    with chat_server(played.answer) as played.url:
        yield played


@pytest.fixture
def root(tmp_path: Path, api: Api) -> Path:
    rows = [{"id": f"c{i}", "input": f"case {i} of {i * i} things", "expected": LABELS[i % 3]} for i in range(100)]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tuneworthy.toml").write_text(
        '[task]\nname = "t"\ntarget = 0.9\n'
        '[prompt]\nsystem = "Answer."\nparameters = {temperature = 0.0}\n[[graders]]\ntype = "choice"\n'
        f'[models.api]\nprovider = "openai"\nmodel = "m"\nbase_url = "{api.url}"\nconcurrency = 4\n'
        "input_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0\n"
        '[ladder]\nbaseline = "api"\nrungs = ["prompt"]\nrepeats = 1\n'
    )
    return tmp_path


Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(root: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        status = invoke([words[0], "--project", str(root), *words[1:]])
        captured = capsys.readouterr()
        return status, " ".join((captured.out + captured.err).split())

    return run


# Calls of the whole run: 50 dev and 50 test cases, each alone for its time as well, and prompts on dev.
@pytest.mark.parametrize("after", [60, 160])  # between dev and test, and between rungs
def test_a_change_stops_the_run_and_only_the_calls_of_the_earlier_model_are_repeated(
    after: int, root: Path, api: Api, call: Call
) -> None:
    api.serves = lambda nth: (OLD if nth < after else NEW, "")
    status, said = call("run", "--yes")
    named = re.search(rf"{OLD} in (\d+) calls \(first cases: c\d+, c\d+, c\d+\), then {NEW} in", said)
    assert status == 5 and named and after - 4 < int(named[1]) <= after, said
    assert api.names[OLD] == after and api.names[NEW] <= 5
    assert "served_model" in call("check", "--offline")[1]
    assert "tuneworthy run" in call("decide")[1]
    assert call("run", "--yes")[0] == 0
    assert "served_model" not in call("check", "--offline")[1]
    n_whole = api.names[NEW]
    assert call("run", "--yes")[0] == 0 and api.names[NEW] == n_whole, "everything is stored"
    for name in ("responses.sqlite", "served.json"):
        (root / ".tuneworthy" / name).unlink()
    assert call("run", "--yes")[0] == 0
    assert api.names[NEW] == 2 * n_whole, "no call of the present model was paid for twice"


def test_an_alias_of_one_dated_model_on_several_backends_is_no_change(api: Api, call: Call) -> None:
    api.serves = lambda nth: (OLD, f"fp_{nth % 3}")
    assert call("run", "--yes")[0] == 0
    assert "served_model" not in call("check", "--offline")[1]


class Dates:
    """A store in which the answers came in the order of their keys."""

    def dates(self, keys: list[bytes]) -> dict[bytes, float]:
        return {key: float(key) for key in keys}

    def put(self, *_: object) -> None:
        """Keep nothing."""


@pytest.mark.parametrize(
    ("serves", "identity", "stops_after"),
    [
        (lambda nth: ("m", ""), {}, None),
        (lambda nth: ("m" if nth % 2 else "", "fp" if nth % 5 else ""), {}, None),
        (lambda nth: (OLD if nth < 7 else NEW, ""), {}, 7),
        (lambda nth: ("m", f"fp_{nth % 2}" if nth < 70 else "fp_2"), {}, 99),  # it is looked at after every 20
        (lambda nth: ("m", f"fp_{nth % 2}" if nth < 70 else "fp_2"), {"served": ["fp_1", "fp_2"]}, None),  # it returns
        (lambda nth: ("m", f"fp_{nth % 5}"), {}, None),
        (lambda nth: ("m", f"fp_{nth}"), {}, None),  # one a call, so that it tells nothing
    ],
)
def test_a_name_changes_at_once_and_a_fingerprint_when_it_has_given_way(
    serves: Served, identity: dict[str, Any], stops_after: int | None
) -> None:
    calls, stopped = ServedCalls("api", identity, None), None
    for nth in range(200):
        name, fingerprint = serves(nth)
        job = Job(Case(id=f"c{nth}", input="q"), 0, Request(messages=()), b"%d" % nth)
        try:
            calls.add({job.key: (Response(text="", model=name, fingerprint=fingerprint), job)}, Dates())  # type: ignore[arg-type]
        except OutsideFault:
            stopped = nth
            break
    assert stopped == stops_after


def test_names_that_alternate_are_a_router_that_has_to_be_pinned(root: Path, api: Api, call: Call) -> None:
    api.serves = lambda nth: ((OLD, NEW)[nth // 30 % 2], "")
    assert call("run", "--yes")[0] == 5
    status, said = call("run", "--yes")
    assert status == 5 and "router" in said and "[models.api]" in said


def test_without_the_comparison_of_names_two_models_are_measured_as_one(
    api: Api, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServedCalls, "add", lambda *_: None)
    api.serves = lambda nth: (OLD if nth < 60 else NEW, "")
    assert call("run", "--yes")[0] == 0
