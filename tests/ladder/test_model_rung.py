"""The rung `model`: effort levels are candidates, models stand side by side with a front, retiring ones are marked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.config import Project, load
from tuneworthy.engine.latency import Latency
from tuneworthy.ladder import measurement
from tuneworthy.ladder.provenance import changed_since
from tuneworthy.ladder.record import RunRecord, write_record
from tuneworthy.ladder.run import LadderRun
from tuneworthy.ladder.rung import TaskInfo, View
from tuneworthy.ladder.rung_details import ModelResult
from tuneworthy.ladder.rungs.decoding import with_setting
from tuneworthy.ladder.rungs.model import ModelRung, _dominates, on_model, retirement
from tuneworthy.ladder.session import open_session
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers.capabilities import THINKING_TOKENS, _table, capabilities_of
from tuneworthy.report.findings import answer
from tuneworthy.report.tables import models_table
from tuneworthy.types import Variant
from tuneworthy.verdict.base import Outcome
from tuneworthy.verdict.decide import Verdict, decide
from tuneworthy.verdict.gather import gather

HOSTED = """
[models.thinker]
provider = "openai"
model = "{model}"
input_usd_per_mtok = 1.0
output_usd_per_mtok = 1.0
"""


def run_ladder(root: Path) -> RunRecord:
    """Walk the project."""

    async def walk() -> RunRecord:
        project = load(root)
        async with open_session(project) as session:
            return await LadderRun(session).run(project.ladder.rungs)

    return asyncio.run(walk())


def test_each_effort_level_is_a_candidate(tmp_path: Path) -> None:
    project = load(write_simulation(tmp_path, {"weak": "'x'"}, extra=HOSTED.format(model="gpt-5.2")))
    capabilities = capabilities_of("openai", "gpt-5.2", "api.openai.com")
    thinker = SimpleNamespace(provider=SimpleNamespace(identity={"model": "m"}, capabilities=capabilities))
    best = Variant(name="baseline/weak", model="weak", model_identity={}, system=None, user="{{ input }}")
    view = View(
        project=project,
        task=TaskInfo(kind="label"),
        pool=ShotPool([]),
        models={"thinker": thinker},  # type: ignore[arg-type]
        library=None,
        best=best,
        n_dev=80,
    )
    found = asyncio.run(ModelRung().propose(view)).candidates
    assert capabilities.efforts, "the planted model takes an effort"
    others = [effort for effort in capabilities.efforts if effort != capabilities.default_effort]
    assert [variant.decoding for variant in found] == [{}, *({"effort": effort} for effort in others)]
    assert len({variant.id for variant in found}) == len(found)
    room = {variant.decoding.get("effort"): variant.max_tokens - best.max_tokens for variant in found}
    assert room[None] == room.get("none", 0) == 0, "this model thinks only when it is told to"
    assert 0 < room["low"] < room["medium"] < room["high"]


def test_an_effort_that_the_rung_decoding_tries_has_room_to_think_and_never_less_than_before() -> None:
    known = capabilities_of("openai", "gpt-5.2", "api.openai.com")
    best = Variant(name="b", model="m", model_identity={}, system=None, user="x", max_tokens=64)
    high = with_setting(best, {"effort": "high"}, known)
    assert (
        high.max_tokens == 64 + known.thinking_tokens("high") > with_setting(best, {"effort": "low"}, known).max_tokens
    )
    assert with_setting(high, {"effort": "low"}, known).max_tokens == high.max_tokens
    assert with_setting(best, {"effort": "none"}, known).max_tokens == 64
    plain = capabilities_of("openai", "gpt-4.1", "api.openai.com")
    assert with_setting(best, {"temperature": 0.0}, plain).max_tokens == 64


def test_another_model_is_asked_with_the_parameters_of_today_that_it_accepts(tmp_path: Path) -> None:
    extra = HOSTED.format(model="gpt-4.1") + HOSTED.format(model="o3").replace("thinker", "always")
    project = load(write_simulation(tmp_path, {"weak": "'x'"}, extra=extra))
    models: Any = {
        name: SimpleNamespace(provider=SimpleNamespace(identity={}, capabilities=capabilities_of("openai", model, "")))
        for name, model in (("thinker", "gpt-4.1"), ("always", "o3"))
    }
    best = Variant(name="b", model="weak", model_identity={}, system=None, user="x", decoding={"temperature": 0.0})
    view = View(
        project=project,
        task=TaskInfo(kind="label"),
        pool=ShotPool([]),
        models=models,
        library=None,
        best=best,
        n_dev=80,
    )
    proposal = asyncio.run(ModelRung().propose(view))
    found = {variant.name: variant.decoding for variant in proposal.candidates}
    assert found["model/thinker"] == {"temperature": 0.0} and found["model/always,effort=high"] == {"effort": "high"}
    assert on_model(best, "thinker", models["thinker"].provider).decoding == {"temperature": 0.0}
    assert [
        note
        for note in proposal.notes
        if "temperature" in note and note.startswith("settings not available with always: ")
    ]


@pytest.mark.parametrize(
    ("provider", "model", "effort", "thinks"),
    [
        ("openai", "o3", None, True),  # always
        ("openai", "gpt-5.2", "none", False),
        ("openai", "gpt-4.1", None, False),
        ("anthropic", "claude-opus-4-5", None, False),  # on request
        ("anthropic", "claude-opus-4-5", "high", True),
    ],
)
def test_hidden_thinking_has_room_where_the_model_thinks(
    provider: str, model: str, effort: str | None, thinks: bool
) -> None:
    host = {"openai": "api.openai.com", "anthropic": "api.anthropic.com"}[provider]
    assert (capabilities_of(provider, model, host).thinking_tokens(effort) > 0) is thinks


def test_every_effort_of_the_table_has_its_room() -> None:
    efforts = {
        effort for row in _table().families if "effort" in row.parameters for effort in row.parameters["effort"].values
    }
    assert efforts and efforts <= THINKING_TOKENS.keys()


GONE = """

def switched_off(request):
    from tuneworthy.errors import ProviderError

    raise ProviderError("the model `gone-1` does not exist (404)", code="refused", retryable=False)
"""


def write_gone(root: Path, models: dict[str, str]) -> Path:
    """Write a world in which the model `gone` is switched off."""
    write_simulation(root, {"weak": "answer(request, 0.4)", "gone": "switched_off(request)", **models},
                n_cases=120, n_examples=0, rungs=["baseline", "model"])  # fmt: skip
    (root / "world.py").write_text((root / "world.py").read_text() + GONE)
    return root


def test_a_model_that_is_switched_off_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    record = run_ladder(write_gone(tmp_path, {"strong": "answer(request, 0.98)"}))
    found = record.rung("model")
    assert found is not None and found.name == "model/strong" and found.status == "adopted"
    assert any(note.startswith("gone is not available: ") and "404" in note for note in found.notes)
    assert [row.name for row in found.detail.models] == ["baseline/weak", "model/strong"]


def test_a_rung_whose_only_model_is_switched_off_has_failed_and_the_run_ends_as_others_do(tmp_path: Path) -> None:
    record = run_ladder(write_gone(tmp_path, {}))
    found = record.rung("model")
    assert found is not None and (found.status, found.reason_code) == ("failed", "unavailable")
    assert record.best is not None and record.best.rung == "baseline" and not record.partial


@pytest.mark.slow
def test_a_stronger_model_that_is_adopted_is_the_answer(tmp_path: Path) -> None:
    models = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.98)", "middle": "answer(request, 0.6)"}
    record = run_ladder(write_simulation(tmp_path, models, rungs=["baseline", "model"]))
    assert answer(record).startswith("A different model (model/strong)")
    table = models_table(record)
    assert table is not None and {row[0] for row in table.rows} == {"baseline/weak", "model/strong", "model/middle"}
    assert next(row for row in table.rows if row[0] == "model/strong")[5] == "yes"


def seen(score: float | None, usd: float | None = 1.0, p50_ms: float | None = 100.0) -> ModelResult:
    return ModelResult(name="m", variant="v", n=4, score=score, usd_per_1k=usd, p50_ms=p50_ms, retires="", pareto=False)


def test_a_dearer_slower_and_worse_model_is_off_the_front() -> None:
    good = seen(0.75)
    assert _dominates(good, seen(0.5)) and _dominates(good, seen(0.75, p50_ms=None)) and _dominates(good, seen(None))
    assert not _dominates(good, good) and not _dominates(good, seen(0.5, usd=0.5))


def test_a_model_that_retires_within_ninety_days_is_marked(tmp_path: Path) -> None:
    extra = "\n".join(HOSTED.format(model="gpt-5").splitlines()[:4])
    project = load(write_simulation(tmp_path, {"weak": "'x'"}, extra=extra))
    assert "the provider retires thinker on 2026-12-11 (in 17 days)" in retirement(
        project, "thinker", date(2026, 11, 24)
    )
    assert "the provider retired thinker" in retirement(project, "thinker", date(2026, 12, 24))
    assert retirement(project, "thinker", date(2026, 8, 1)) == "" == retirement(project, "weak", date(2026, 11, 24))


FORMS = """
[models."small:q8_0"]
provider = "scripted"
function = "world.py:q8_0"
[models."small:q4_0"]
provider = "scripted"
function = "world.py:q4_0"
[constraints]
p95_ms = 500
""" + "".join(
    f'[[waivers]]\ngate = "{gate}"\nreason = "planted in a test"\n'
    for gate in ("classical", "prompt", "few_shot", "decoding", "other_models")
)


def walk_forms(
    root: Path, patch: pytest.MonkeyPatch, ms: dict[str, float], rungs: list[str]
) -> tuple[RunRecord, Verdict]:
    """Run a project whose model has two forms: `q8_0` is as good, `q4_0` loses half of the answers."""

    async def planted(time: Any, cases: Any, **_: Any) -> Latency:
        model = time.args[1].model
        return Latency({str(i): ms[model] / 1000 * (1 + i / 10_000) for i in range(200)})

    async def walk() -> tuple[RunRecord, Verdict]:
        project = load(root)
        async with open_session(project) as session:
            record = await LadderRun(session).run(rungs)
            write_record(session.folder, record)
            return record, decide(gather(session))

    patch.setattr(Project, "forms", property(lambda project: [name for name in project.untuned if ":" in name]))
    patch.setattr(measurement, "measure_latency", planted)
    write_simulation(root, {"small": "answer(request, 0.97)"}, n_cases=300, n_examples=0,
                     rungs=["baseline", "model"], extra=FORMS)  # fmt: skip
    shares = {"q8_0": 0.97, "q4_0": 0.5}
    more = [f"\n\ndef {name}(request):\n    return answer(request, {share})\n" for name, share in shares.items()]
    (root / "world.py").write_text((root / "world.py").read_text() + "".join(more))
    return asyncio.run(walk())


def test_a_quantised_form_that_keeps_score_and_limit_is_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, verdict = walk_forms(
        tmp_path, monkeypatch, {"small": 900.0, "small:q8_0": 300.0, "small:q4_0": 200.0}, ["baseline", "model"]
    )
    found = record.rung("model")
    assert found is not None and found.name == "model/small:q8_0" and not found.violated
    rows = {row.name: row for row in found.detail.models}
    low, high = rows["model/small:q4_0"].delta_ci
    assert low < high < 0 == rows["model/small:q8_0"].delta and rows["baseline/small"].delta is None
    assert (verdict.outcome, verdict.recommendation) == (Outcome.DO_NOT_FINE_TUNE, "model/small:q8_0")


def test_where_each_form_loses_the_score_or_the_limit_latency_may_be_a_reason_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, verdict = walk_forms(
        tmp_path, monkeypatch, {"small": 900.0, "small:q8_0": 800.0, "small:q4_0": 200.0}, ["baseline", "model"]
    )
    found = record.rung("model")
    assert found is not None and found.name == "model/small:q4_0", "a form over the limit is no candidate"
    assert any(note.startswith("model/small:q8_0: ") for note in found.notes)
    assert verdict.outcome is Outcome.FINE_TUNE


def test_before_a_form_was_compared_latency_is_no_reason_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, verdict = walk_forms(
        tmp_path, monkeypatch, {"small": 900.0, "small:q8_0": 300.0, "small:q4_0": 200.0}, ["baseline"]
    )
    assert verdict.outcome is Outcome.UNDECIDED
    assert verdict.next_action.command.startswith("tuneworthy run --rung model")


def test_forms_that_a_setting_adds_do_not_make_a_finished_run_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ms = {"small": 900.0, "small:q8_0": 300.0, "small:q4_0": 200.0}
    record, _ = walk_forms(tmp_path, monkeypatch, ms, ["baseline"])
    before = replace(record.provenance, models=["small"])  # before traffic or a limit was set
    earlier, project = replace(record, provenance=before), load(tmp_path)
    assert not any("added" in one for one in changed_since(earlier, project, before, {}))
    monkeypatch.setattr(Project, "forms", property(lambda project: []))
    assert any("small:q8_0 has been added" in one for one in changed_since(earlier, project, before, {}))
