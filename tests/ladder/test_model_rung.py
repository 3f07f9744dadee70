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
from tuneworthy.errors import UserError
from tuneworthy.ladder import measurement
from tuneworthy.ladder.estimate import estimate_run
from tuneworthy.ladder.record import RunRecord, write_record
from tuneworthy.ladder.run import LadderRun
from tuneworthy.ladder.rung import TaskInfo, View
from tuneworthy.ladder.rung_details import ModelResult
from tuneworthy.ladder.rungs import model
from tuneworthy.ladder.rungs.decoding import with_setting
from tuneworthy.ladder.rungs.model import ModelRung, _dominates, on_model, retirement
from tuneworthy.ladder.session import changed_since, open_session
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
    root: Path,
    patch: pytest.MonkeyPatch,
    ms: dict[str, float],
    rungs: list[str],
    *,
    small: float = 0.97,
    strong: float | None = None,
    extra: str = FORMS,
    n_cases: int = 300,
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
    models = {"small": f"answer(request, {small})"} | ({"strong": f"answer(request, {strong})"} if strong else {})
    write_simulation(root, models, n_cases=n_cases, n_examples=0, rungs=["baseline", "model"], extra=extra)
    shares = {"q8_0": small, "q4_0": small - 0.47}
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


@pytest.mark.parametrize("is_waived", [True, False])
def test_forms_that_cannot_be_written_here_can_be_waived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_waived: bool
) -> None:
    def fail(*_: Any) -> None:
        raise UserError("The package gguf is missing.", hint="Run `pip install gguf`.")

    monkeypatch.setattr(model, "pull", fail)
    extra = FORMS if is_waived else FORMS.rpartition("[[waivers]]")[0]
    record, verdict = walk_forms(tmp_path, monkeypatch, {"small": 900.0}, ["baseline", "model"], extra=extra)
    found, gate = record.rung("model"), next(one for one in verdict.gates if one.gate == "other_models")
    assert found is not None and "`pip install gguf`" in found.reason
    assert gate.status == ("waived" if is_waived else "unknown")
    assert is_waived or "`pip install gguf`" in gate.message


@pytest.mark.parametrize(
    ("small", "strong_ms", "name"),
    [
        (0.5, 900.0, "model/strong"),  # no form is good enough: the slow model may teach
        (0.9, 900.0, "model/small:q8_0"),  # a form may meet the target, and the slow model never serves
        (0.9, 100.0, "model/strong"),
    ],
)
def test_a_form_takes_the_place_of_a_slow_model_only_if_it_may_meet_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: float, strong_ms: float, name: str
) -> None:
    ms = {"small": 900.0, "strong": strong_ms, "small:q8_0": 300.0, "small:q4_0": 200.0}
    record, _ = walk_forms(tmp_path, monkeypatch, ms, ["baseline", "model"], small=small, strong=1.0)
    found = record.rung("model")
    assert found is not None and found.name == name
    assert any(row.name == "model/strong" for row in found.candidates), "a strong model was dropped unscored"
    assert bool(found.violated) == (name == "model/strong" and strong_ms > 500)
    assert any(note.startswith("model/strong: ") for note in found.notes) == (name != "model/strong")


def test_where_each_form_is_too_slow_as_well_the_better_model_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ms = {"small": 900.0, "strong": 900.0, "small:q8_0": 900.0, "small:q4_0": 900.0}
    record, _ = walk_forms(tmp_path, monkeypatch, ms, ["baseline", "model"], small=0.84, strong=1.0)
    found = record.rung("model")
    assert found is not None and found.name == "model/strong"


@pytest.mark.parametrize(("strong_ms", "name"), [(900.0, "model/small:q8_0"), (100.0, "model/strong")])
def test_where_nothing_races_a_slow_model_is_not_compared_instead_of_a_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strong_ms: float, name: str
) -> None:
    ms = {"small": 900.0, "strong": strong_ms, "small:q8_0": 300.0, "small:q4_0": 200.0}
    record, _ = walk_forms(tmp_path, monkeypatch, ms, ["baseline", "model"], strong=1.0, n_cases=70)
    found = record.rung("model")
    assert not record.explored and found is not None and found.name == name


def test_the_estimate_counts_the_timed_calls_of_each_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk_forms(tmp_path, monkeypatch, {"small": 900.0}, ["baseline"])

    async def calls() -> float:
        project = load(tmp_path)
        async with open_session(project) as session:
            found = estimate_run(project, session.data, {})
            assert found is not None
            return found.rungs["model"].calls

    timed = asyncio.run(calls())
    monkeypatch.setattr(Project, "forms", property(lambda _: []))
    assert timed - asyncio.run(calls()) == 33  # of the second form; the winner is timed in any case


@pytest.mark.parametrize(
    "error", [UserError("No package.", hint="Run `pip install gguf`."), OSError(28, "Run `pip install gguf`.")]
)
def test_a_form_that_cannot_be_written_is_a_note_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(model, "pull", fail)
    config = SimpleNamespace(local_file="q8_0:small.gguf")
    project = SimpleNamespace(forms=["small:q8_0"], models={"small:q8_0": config}, root=tmp_path)
    view: Any = SimpleNamespace(project=project, opened=True)
    assert "`pip install gguf`" in model._unopened(view, "small:q8_0")
    assert model._unopened(view, "small") == ""


def test_a_winner_of_a_short_race_is_shown_on_all_of_dev_and_a_repeated_run_shows_the_same(tmp_path: Path) -> None:
    models = {name: f"answer(request, {share})" for name, share in (("weak", 0.4), ("bad", 0.05), ("strong", 0.98))}
    write_simulation(tmp_path, models, n_cases=300, n_examples=0, rungs=["baseline", "model"])
    records = [run_ladder(tmp_path) for _ in range(2)]
    rungs = [record.rung("model") for record in records]
    assert rungs[0] and rungs[1] and rungs[0].candidates[0].n < records[0].n_dev, "the race was short"
    assert rungs[0].detail == rungs[1].detail
    rows = {row.name: row for row in rungs[0].detail.models}
    assert rows["model/strong"].n == records[0].n_dev and rows["model/strong"].pareto


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
