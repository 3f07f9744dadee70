"""The estimate of a run against the run itself, and its parts by hand."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ladder.check_projects import FREE, HOSTED, KEY, PRICE, clean
from tests.ladder.simulations import write_simulation
from tests.ladder.test_retrieval_rung import READS, needs_lancedb, run_ladder, write_facts
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.engine.models import Models, OpenModel
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.estimate import A_CALL, SPREAD, Estimate, _described, _Estimating, most_for, observed
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.providers.capabilities import capabilities_for
from tuneworthy.types import OutputFormat, Retrieval, Variant


def estimate(root: Path) -> Estimate:
    found = Facts(load(root), contact=False).estimate
    assert found is not None
    return found


@pytest.mark.parametrize("on_device", [False, True])
def test_a_run_calls_about_as_often_as_was_estimated(on_device: bool, tmp_path: Path) -> None:
    """Baseline and two rungs of a world in which both are adopted, or the model may only teach."""
    models = {"weak": "answer(request, 0.8 if 'labels' in system(request) else 0.4)", "strong": "answer(request, 0.95)"}
    root = write_simulation(tmp_path, models, n_cases=60, n_examples=210, rungs=["baseline", "prompt", "model"])
    if on_device:
        path = root / "tuneworthy.toml"
        hosted = path.read_text().replace('py:strong"', 'py:strong"\nplays_hosted = true\n' + FREE)
        path.write_text(f"{hosted}\n[constraints]\non_device = true\n")
    found = estimate(root)
    assert invoke(["run", "--project", str(root)]) == 0

    async def count() -> int:
        async with open_session(load(root)) as session:
            return len(session.runner.store)

    assert found.calls / SPREAD <= asyncio.run(count()) <= found.calls * SPREAD
    assert found.models["strong"].calls > 0


def test_only_calls_with_a_price_cost_money(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-test-secret-0000")
    folder = clean(tmp_path / "project")
    folder.toml += HOSTED + PRICE
    found = estimate(folder.write())
    assert found.usd > 0 == found.models["one"].usd
    assert found.usd == pytest.approx(found.models["two"].usd)
    assert f"${found.usd:.2f}" in str(found)
    assert sum(row.calls for row in found.rungs.values()) == pytest.approx(found.calls)


@needs_lancedb
def test_the_closer_look_at_documents_is_estimated_and_told(tmp_path: Path) -> None:
    """The oracle takes one call for each case of dev that names its document, the winner answers the rest of dev."""
    root = write_facts(tmp_path, f"{READS} else 'none'")
    expected = estimate(root).calls
    record, found = run_ladder(root)

    async def count() -> int:
        async with open_session(load(root)) as session:
            return len(session.runner.store)

    calls = asyncio.run(count())
    assert expected / SPREAD <= calls <= expected * SPREAD
    assert found.examined >= record.n_dev  # all of dev by the oracle


@pytest.mark.parametrize(
    ("model", "least", "is_cached"),
    [
        ("openai:gpt-6-luna", 1024, True),
        ("openai:gpt-6-luna", 100_000, False),  # the prefix is too short
        ("openai:gpt-6-luna", None, False),
        ("openai:ft:gpt-4o-2024-11-20", 1024, False),  # its cached tokens cost as much as any
        ("anthropic:claude-haiku-5-5", 512, True),
    ],
)
def test_documents_in_the_prompt_are_estimated_at_the_cached_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, least: int | None, is_cached: bool
) -> None:
    root = write_facts(tmp_path, "'x'")
    provider, _, name = model.partition(":")
    file = root / "tuneworthy.toml"
    file.write_text(
        re.sub(r'provider = "scripted"\n.*\n', f'provider = "{provider}"\nmodel = "{name}"\n', file.read_text())
    )
    facts = Facts(load(root), contact=False)
    assert facts.data is not None
    models = Models(facts.project)
    config = facts.project.models["weak"]
    models.add(OpenModel.of("weak", config, _described(config)))
    capabilities = replace(capabilities_for(config), cache_min_tokens=least)
    monkeypatch.setattr(OpenModel, "capabilities", capabilities)
    found = _Estimating(facts.project, facts.data, models, (), None)
    assert found.library is not None
    search = Variant(name="v", model="weak", model_identity={}, system=None, user="{{ input }}")
    whole = replace(search, retrieval=found.library.everything())
    tokens = found._read(whole) - found._read(search)
    price = models["weak"].price
    assert price is not None and tokens > 1024
    full, cached = (price.cost(found._read(whole), found._written(whole), n) for n in (0, tokens))
    assert found._usd(whole) == pytest.approx(cached if is_cached else full) and (cached < full or not is_cached)
    assert found._cached(search) == found._cached(replace(search, retrieval=Retrieval(documents="d", k=99))) == 0


def test_a_model_without_its_key_is_estimated_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = clean(tmp_path / "project")
    folder.toml += HOSTED + PRICE
    root = folder.write()
    monkeypatch.delenv(KEY, raising=False)
    without = estimate(root)
    monkeypatch.setenv(KEY, "sk-test-secret-0000")
    assert without.usd == estimate(root).usd


def test_answers_without_token_counts_are_estimated_at_their_maximum(tmp_path: Path) -> None:
    models = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.95)"}
    root = write_simulation(tmp_path, models, n_cases=60, n_examples=210, rungs=["baseline", "model"])
    path = root / "tuneworthy.toml"
    path.write_text(path.read_text().replace('py:strong"\n', f'py:strong"\n{PRICE}'))
    facts = Facts(load(root), contact=False)
    assert facts.data is not None
    counted, silent, other = (
        most_for(facts.project, facts.data, {}, ["model"], uncounted=names, spread=1.0)
        for names in ((), ("weak",), ("elsewhere",))
    )
    assert silent.usd > 2 * counted.usd > 0 and silent.calls == counted.calls
    assert other == counted == replace(counted, usd=other.usd)
    most = most_for(facts.project, facts.data, {}, ["model"])
    assert most.usd == pytest.approx(SPREAD * counted.usd)


def test_the_rest_of_a_run_is_priced_on_the_model_that_was_adopted(tmp_path: Path) -> None:
    models = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.95)"}
    root = write_simulation(tmp_path, models, n_cases=60, n_examples=210, rungs=["baseline", "model", "few_shot"])
    path = root / "tuneworthy.toml"
    path.write_text(path.read_text().replace('py:strong"\n', f'py:strong"\n{PRICE}'))
    facts = Facts(load(root), contact=False)
    assert facts.data is not None

    async def adopted() -> Variant:
        async with open_session(facts.project, calls=False) as session:
            return replace(current(session), model="strong")

    unknown, known = (
        most_for(facts.project, facts.data, {}, ["few_shot"], spread=1.0, best=best)
        for best in (None, asyncio.run(adopted()))
    )
    assert unknown.usd == 0.0 < known.usd  # today's model is free, and the adopted one is not


def test_a_small_dev_takes_one_candidate_a_rung(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    folder.replace("[examples]", "")
    folder.cases = folder.cases[:80]
    found = estimate(folder.write())
    assert found.rungs["prompt"].calls == 50 + 33  # test and single calls of one candidate


def test_the_last_run_replaces_what_was_assumed(tmp_path: Path) -> None:
    models = {"weak": "Response(text='red', output_tokens=7, input_tokens=20)"}
    root = write_simulation(tmp_path, models, n_cases=60, n_examples=210, rungs=["baseline"])
    world = root / "world.py"
    world.write_text("from tuneworthy.types import Response\n" + world.read_text())
    assert observed(load(root)) == {}
    assert invoke(["run", "--project", str(root)]) == 0
    assert observed(load(root))["weak"][1] == 7.0
    assert any("of weak come from the last run" in line for line in estimate(root).assumptions)


def test_schemas_calls_and_results_of_tools_are_estimated(tmp_path: Path) -> None:
    """Two requests per case, three with a constrained answer: each has the schemas, all but the first a result."""
    root = write_simulation(
        tmp_path, {"weak": "answer(request, 0.4)"}, n_cases=60, n_examples=0, rungs=["baseline", "tools"]
    )
    (root / "mine.py").write_text('def tool(x: int) -> int:\n    """Do."""\n    return x\n')
    path = root / "tuneworthy.toml"
    toml = path.read_text().replace('py:weak"\n', f'py:weak"\n{PRICE}')
    path.write_text(toml)
    without = estimate(root)
    path.write_text(f'{toml}\n[[tools]]\nfunction = "mine.py:tool"\n')
    small = estimate(root)
    assert small.usd > without.usd == small.rungs["baseline"].usd
    assert any("tool" in line for line in small.assumptions) and not any("tool" in line for line in without.assumptions)
    (root / "mine.py").write_text(
        f"{(root / 'mine.py').read_text()}tool.schema = {{'type': 'object', 'description': 'd ' * 20_000}}\n"
    )
    large = estimate(root)
    added = (large.usd - small.usd) / large.rungs["tools"].calls
    assert added == pytest.approx(10_000 * 10.0 / 1e6, rel=0.02)

    facts = Facts(load(root), contact=False)
    assert facts.data is not None
    found = _Estimating(facts.project, facts.data, Models(facts.project), (), None)
    use = found.toolbox.read[0]
    plain = Variant(name="v", model="weak", model_identity={}, system=None, user="{{ input }}")
    tooled = replace(plain, tools=use)
    closed = replace(tooled, output=OutputFormat(kind="choice", choices=("a", "b")))
    for one, n, results in ((tooled, 2, 2_000), (closed, 3, 4_000)):  # of all requests of a case
        assert n * found._read(one) - n * found._read(plain) == pytest.approx(n * 10_000 + results, rel=0.02)
        assert n * found._written(one) == pytest.approx(A_CALL + (n - 1) * found._written(plain))
    found.observed = {"weak": (plain, 7.0, 1.0)}
    assert [found._written(one) for one in (plain, tooled, closed)] == [7, (A_CALL + 7) / 2, (A_CALL + 14) / 3]
    assert [found._work(one, 10.0).calls for one in (plain, tooled, closed)] == [10, 20, 30]
