"""No usage that a server invents passes the budget or blocks it; a call that was cut off costs what it did cost."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from tests.e2e.resume_project import write_project
from tests.hostile.fault_project import PRICE, ask, make_project
from tests.hostile.fault_server import INPUT_TOKENS, OUTPUT_TOKENS, USAGE, Running
from tests.hostile.table import tried
from tuneworthy.cli import invoke
from tuneworthy.cli import run as run_verb
from tuneworthy.config import grants, load
from tuneworthy.config.grants import missing_grants
from tuneworthy.config.models import OpenAI
from tuneworthy.engine import models
from tuneworthy.errors import UserError
from tuneworthy.providers.prices import price_for, price_of
from tuneworthy.store import Expenses, Folder, ResponseStore, responses
from tuneworthy.store.shapes import DamagedRecord
from tuneworthy.trust import VARIABLE
from tuneworthy.types import Failure, Response

TRUE_COST = (INPUT_TOKENS + OUTPUT_TOKENS) * PRICE / 1e6


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with Running() as running:
        yield running


@pytest.mark.parametrize("name", sorted(USAGE))
def test_no_usage_passes_the_budget_or_blocks_it(tmp_path: Path, server: Running, name: str) -> None:
    root = make_project(tmp_path / "p", server.base_url, name, bad=60, n=60, timeout_s=60.0)
    outcome = ask(root)
    costs = [trace.cost_usd for trace in outcome.bad]
    ceiling = max(_ceiling(root, trace) for trace in outcome.bad)
    survived = (
        all(trace.response for trace in outcome.bad)  # the answer is good, whatever is said of it
        # below the ceiling, and never less than a token of each
        and all(2 * PRICE / 1e6 <= cost <= ceiling for cost in costs)
        and outcome.expenses.usd == pytest.approx(sum(costs))
        and outcome.runner.budget.spent_usd == pytest.approx(sum(costs))
        and sum(outcome.runner.doubtful.values()) == sum(cost == pytest.approx(ceiling, rel=0.1) for cost in costs)
    )
    tried("usage that is not true", name, survived, (costs[:3], ceiling, outcome.runner.doubtful))


def _ceiling(root: Path, trace: object) -> float:
    from tuneworthy.providers.prices import Price, TokenRates

    size = len(orjson.dumps([trace.messages, [], None, []]))  # type: ignore[attr-defined]
    return Price(rates=TokenRates(input=PRICE, output=PRICE)).ceiling(size, 8)


def test_without_the_guard_a_lie_gives_money_back(
    tmp_path: Path, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "believed", lambda request, response, most_input: response)
    root = make_project(tmp_path / "p", server.base_url, "usage-zero", bad=60, n=60)
    assert ask(root).expenses.usd == 0.0  # all was answered, and nothing counts


def test_a_small_budget_holds_where_no_usage_is_reported(tmp_path: Path, server: Running) -> None:
    root = make_project(tmp_path / "p", server.base_url, "usage-missing", bad=60, n=60, budget=0.5)
    assert invoke(["run", "--project", str(root), "--yes"]) == 4
    with closing(ResponseStore(root / ".tuneworthy" / "responses.sqlite")) as store:
        assert 0 < store.spending().usd <= 0.5


def test_doubtful_usage_is_reported_in_the_record(
    tmp_path: Path, server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_project(tmp_path / "p", server.base_url, "usage-negative", bad=100, n=100, budget=20.0)
    for _ in range(2):  # a second run, from the store, says the same
        assert invoke(["run", "--project", str(root), "--json"]) == 0
        record = orjson.loads(capsys.readouterr().out)
        assert any("without usable token counts" in note for note in record["notes"]), record["notes"]
        assert 0 < record["cost_usd"] <= 20.0


@pytest.mark.parametrize("cost", [-79_999.96, "abc", float("inf"), b"xx", 1e301])
def test_damaged_costs_in_the_store_break_no_verb(
    tmp_path: Path, server: Running, cost: object, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_project(tmp_path / "p", server.base_url, "good", n=100)
    assert invoke(["run", "--project", str(root)]) == 0
    with closing(sqlite3.connect(root / ".tuneworthy" / "responses.sqlite")) as db, db:
        db.execute("UPDATE responses SET cost_usd = ? WHERE rowid % 3 = 0", (cost,))
        db.execute("INSERT INTO open_calls VALUES (x'00', ?, 'abc')", (cost,))
    for verb in (["status"], ["check", "--offline"], ["run"], ["decide"], ["report"],
                 ["cases", "show"], ["doctor", "--release"]):  # fmt: skip
        status = invoke([*verb, "--project", str(root)])
        tried("damaged cost in the store", f"{cost!r}: {verb[0]}", status in {0, 2, 3, 4}, capsys.readouterr().err)


def test_what_was_cut_off_is_shown_and_can_be_released(
    tmp_path: Path, server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_project(tmp_path / "p", server.base_url, "good", n=100, budget=5.0)
    assert invoke(["run", "--project", str(root)]) == 0
    with closing(ResponseStore(root / ".tuneworthy" / "responses.sqlite")) as store:
        answered = store.spending().usd
        for n in range(3):
            store.open_call(b"%d" % n, 1.0)
    assert invoke(["status", "--project", str(root)]) == 0
    spent = f"${answered:.4f} for answered calls and $3.0000 for calls without an answer (n = 3). Reserved for calls"
    assert f"{spent} in flight: $0.0000" in capsys.readouterr().out
    assert invoke(["status", "--json", "--project", str(root)]) == 0
    money = orjson.loads(capsys.readouterr().out)["money"]
    assert (money["never_answered_usd"], money["never_answered_calls"]) == (3.0, 3)
    assert invoke(["doctor", "--release", "--project", str(root)]) == 0
    assert "Returned $3.0000" in capsys.readouterr().err
    assert invoke(["status", "--json", "--project", str(root)]) == 0
    money = orjson.loads(capsys.readouterr().out)["money"]
    assert money["spent_usd"] == pytest.approx(answered) and money["left_usd"] == pytest.approx(5.0 - answered)


def test_a_record_with_negative_costs_breaks_no_verb(
    tmp_path: Path, server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_project(tmp_path / "p", server.base_url, "good", n=100)
    assert invoke(["run", "--project", str(root)]) == 0
    path = root / ".tuneworthy" / "run.json"
    record = orjson.loads(path.read_bytes())
    record["cost_usd"] = -79_999.96
    for rung in record["rungs"]:
        rung["cost_usd"] = rung["usd_per_1k"] = -79_999.96
    path.write_bytes(orjson.dumps(record))
    for verb in ("status", "report", "decide", "check"):
        status = invoke([verb, "--project", str(root)])
        tried("damaged cost in the record", verb, status in {0, 2, 3, 4}, capsys.readouterr().err)


def test_without_the_guard_a_damaged_cost_gives_money_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(ResponseStore(tmp_path / "responses.sqlite")) as store:
        store.put(b"a", Response(text="x"), 1.0)
        store.put(b"b", Response(text="x"), -5.0)
        with pytest.raises(DamagedRecord, match="row 2: cost_usd is not an amount of money"):
            store.spending()
        monkeypatch.setattr(responses, "MONEY", "({0} = {0})")
        assert store.spending().usd == -4.0


def test_a_call_that_was_cut_off_costs_what_the_same_request_cost(tmp_path: Path) -> None:
    with closing(ResponseStore(tmp_path / "responses.sqlite")) as store:
        for _ in range(3):
            store.open_call(b"a", 1.0)
        assert store.spending() == Expenses(unanswered_usd=3.0, n_unanswered=3)
        store.put(b"a", Failure(code="server", message="no"), 0.0)  # no answer
        assert store.spending().usd == 3.0
        store.put(b"a", Response(text="x"), 0.25)
        assert store.spending() == Expenses(answered_usd=0.25, unanswered_usd=0.75, n_unanswered=3)
        store.release()
        assert store.spending() == Expenses(answered_usd=0.25)


def test_calls_in_flight_of_another_process_are_reserved(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with closing(ResponseStore(folder.responses)) as store:
        store.open_call(b"a", 1.0)
        assert folder.holder() is None
        time.sleep(0.02)
        with folder.lock(print):
            store.open_call(b"b", 2.0)
            assert store.spending(folder.holder()) == Expenses(unanswered_usd=1.0, n_unanswered=1, reserved_usd=2.0)


@pytest.mark.parametrize("rates", [(0.0, 0.0), (1e-300, 1e-300), (0.0, None), (None, 0.0), (1000.0, 0.0)])
def test_a_project_cannot_lower_the_price_of_a_vendor(rates: tuple[float | None, float | None]) -> None:
    listed = price_of("openai", "gpt-6-sol")
    named = {"input_usd_per_mtok": rates[0], "output_usd_per_mtok": rates[1]}
    price = price_for(OpenAI(provider="openai", model="gpt-6-sol", **named))
    assert listed is not None and price is not None
    held = price.rates.input >= listed.rates.input and price.rates.output >= listed.rates.output
    tried("price that is not true", f"{rates}", held, price)
    lower = price_of("openai", "gpt-6-sol", *rates)  # the guard is off: as the project file says
    assert lower is not None and min(lower.rates.output, lower.rates.input) < listed.rates.output


OWN = {
    "groq": '''provider = "openai"
model = "model-of-no-table"
base_url = "https://api.groq.com/openai/v1"
api_key_env = "GROQ_API_KEY"''',
    "openai": 'provider = "openai"\nmodel = "model-of-no-table"',
    "http": 'provider = "http"\nurl = "https://api.openai.com/v1/responses"\napi_key_env = "OPENAI_API_KEY"',
}


@pytest.mark.parametrize("name", OWN)
def test_a_price_in_the_project_file_takes_consent_where_the_key_takes_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's file that says that calls cost nothing would lift every limit, `--max-usd` too."""
    monkeypatch.delenv(VARIABLE)
    for variable in ("GROQ_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(variable, "key-0123456789-of-the-user")
    free = "\ninput_usd_per_mtok = 0.0\noutput_usd_per_mtok = 0.0"
    for priced in (False, True):
        write_project(tmp_path, OWN[name] + free * priced, n_cases=60, n_examples=0, rungs="baseline", ladder="")
        project = load(tmp_path)
        wanted = [grant for grant in missing_grants(project) if grant.kind == "key"]
        tried("price that is not true", f"{name}, priced: {priced}", bool(wanted) is priced, wanted)
    assert price_for(project.models["m"]) is not None and price_for(project.models["m"]).free  # type: ignore[union-attr]
    monkeypatch.setattr(grants, "_PRICES", ())  # the guard is off
    assert not [grant for grant in missing_grants(project) if grant.kind == "key"]


@pytest.mark.parametrize("url", ["https://api.groq.com/openai/v1", "https://api.openai.com/v1"])
def test_a_key_for_which_nobody_is_asked_spends_nothing_unasked(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "GROQ_API_KEY" if "groq" in url else "OPENAI_API_KEY"
    monkeypatch.setenv(variable, "key-0123456789-of-the-user")
    root = make_project(tmp_path / "p", url, "model-of-no-table", n=60, budget=None, api_key_env=variable,
                        input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)  # fmt: skip
    with pytest.raises(UserError, match="budget"):
        run_verb.agree_to_spend(load(root), None, yes=False)
    monkeypatch.setattr(run_verb, "_own_key", lambda _: False)
    run_verb.agree_to_spend(load(root), None, yes=False)
