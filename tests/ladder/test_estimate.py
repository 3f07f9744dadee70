"""The estimate of a run against the run itself, and its parts by hand."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.ladder.check_projects import FREE, HOSTED, KEY, PRICE, clean
from tests.ladder.simulations import write_simulation
from tests.ladder.test_retrieval_rung import READS, needs_lancedb, run_ladder, write_facts
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.estimate import Estimate, observed
from tuneworthy.ladder.session import open_session


def estimate(root: Path) -> Estimate:
    found = Facts(load(root), contact=False).estimate
    assert found is not None
    return found


@pytest.mark.parametrize("on_device", [False, True])
def test_a_run_calls_at_most_as_often_as_was_estimated(on_device: bool, tmp_path: Path) -> None:
    """Baseline and two rungs of a world in which both are adopted, or the model may only teach."""
    models = {"weak": "answer(request, 0.8 if 'labels' in system(request) else 0.4)", "strong": "answer(request, 0.95)"}
    root = write_simulation(tmp_path, models, n_cases=60, n_examples=210, rungs=["baseline", "prompt", "model"])
    if on_device:
        path = root / "tuneworthy.toml"
        hosted = path.read_text().replace('py:strong"', 'py:strong"\nplays_hosted = true\n' + FREE)
        path.write_text(f"{hosted}\n[constraints]\non_device = true\n")
    found = estimate(root)
    (low, high), of_strong = found.calls.span, found.models["strong"].calls
    assert invoke(["run", "--project", str(root)]) == 0

    async def count() -> int:
        async with open_session(load(root)) as session:
            return len(session.runner.store)

    assert low <= asyncio.run(count()) <= high
    assert of_strong.low > 0


def test_the_dearest_way_costs_more_and_no_more_than_every_call_at_its_ceiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "sk-test-secret-0000")
    folder = clean(tmp_path / "project")
    folder.toml += HOSTED + PRICE
    found = estimate(folder.write())
    assert 0 < found.usd.low < found.usd.expected < found.usd.high < 4 * found.usd.low
    assert found.models["one"].usd.span == (0.0, 0.0)
    assert found.usd.high == pytest.approx(found.models["two"].usd.high)
    assert f"${found.usd.expected:.2f} (${found.usd.low:.2f} to ${found.usd.high:.2f})" in str(found)
    assert sum(row.calls.high for row in found.rungs.values()) == pytest.approx(found.calls.high)


@needs_lancedb
def test_the_closer_look_at_documents_is_estimated_and_told(tmp_path: Path) -> None:
    """The oracle takes one call for each case of dev that names its document, the winner answers the rest of dev."""
    root = write_facts(tmp_path, f"{READS} else 'none'")
    low, high = estimate(root).calls.span
    record, found = run_ladder(root)

    async def count() -> int:
        async with open_session(load(root)) as session:
            return len(session.runner.store)

    calls = asyncio.run(count())
    assert low <= calls <= high
    assert found.examined >= record.n_dev  # all of dev by the oracle


def test_the_range_of_each_figure_is_below_a_factor_of_4(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    folder.toml += HOSTED + PRICE
    folder.replace("[prompt]", "[prompt]\nmax_tokens = 4000")
    found = estimate(folder.write())
    rungs = [row.calls for row in found.rungs.values()]
    for figure in (found.calls, found.minutes, found.usd, *rungs):
        assert 0 < figure.low <= figure.expected <= figure.high < 4 * figure.low


def test_a_model_without_its_key_is_estimated_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = clean(tmp_path / "project")
    folder.toml += HOSTED + PRICE
    root = folder.write()
    monkeypatch.delenv(KEY, raising=False)
    without = estimate(root)
    monkeypatch.setenv(KEY, "sk-test-secret-0000")
    assert without.usd == estimate(root).usd


def test_a_small_dev_takes_one_candidate_a_rung(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    folder.replace("[examples]", "")
    folder.cases = folder.cases[:80]
    found = estimate(folder.write())
    assert found.rungs["prompt"].candidates == 1 and found.rungs["prompt"].calls.low == 50 + 33  # test and single calls


def test_the_last_run_replaces_what_was_assumed(tmp_path: Path) -> None:
    models = {"weak": "Response(text='red', output_tokens=7, input_tokens=20)"}
    root = write_simulation(tmp_path, models, n_cases=60, n_examples=210, rungs=["baseline"])
    world = root / "world.py"
    world.write_text("from tuneworthy.types import Response\n" + world.read_text())
    assert observed(load(root)) == {}
    assert invoke(["run", "--project", str(root)]) == 0
    assert observed(load(root))["weak"].output_tokens == 7.0
    assert any("of weak come from the last run" in line for line in estimate(root).assumptions)
