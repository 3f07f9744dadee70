"""The rung `model`: effort levels are candidates, models stand side by side with a front, retiring ones are marked."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.ladder.worlds import write_world
from tuneworthy.config import load
from tuneworthy.ladder.base import Task, View
from tuneworthy.ladder.climb import Climb
from tuneworthy.ladder.model import Model, _dominates, retirement
from tuneworthy.ladder.record import ClimbRecord
from tuneworthy.ladder.session import open_session
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers.capabilities import capabilities_of
from tuneworthy.report.findings import answer
from tuneworthy.report.tables import models_table
from tuneworthy.types import Variant

HOSTED = """
[models.thinker]
provider = "openai"
model = "{model}"
input_usd_per_mtok = 1.0
output_usd_per_mtok = 1.0
"""


def climb(root: Path) -> ClimbRecord:
    """Walk the project."""

    async def walk() -> ClimbRecord:
        project = load(root)
        async with open_session(project) as session:
            return await Climb(session).walk(project.ladder.rungs)

    return asyncio.run(walk())


def test_each_effort_level_is_a_candidate(tmp_path: Path) -> None:
    project = load(write_world(tmp_path, {"weak": "'x'"}, extra=HOSTED.format(model="gpt-5.2")))
    capabilities = capabilities_of("openai", "gpt-5.2", "api.openai.com")
    thinker = SimpleNamespace(provider=SimpleNamespace(identity={"model": "m"}, capabilities=capabilities))
    best = Variant(name="baseline/weak", model="weak", model_identity={}, system=None, user="{{ input }}")
    view = View(
        project=project,
        task=Task(kind="label"),
        pool=ShotPool([]),
        models={"thinker": thinker},  # type: ignore[arg-type]
        best=best,
        seed=7,
        n_dev=80,
    )
    found = Model().propose(view).candidates
    assert capabilities.efforts, "the planted model takes an effort"
    others = [effort for effort in capabilities.efforts if effort != capabilities.default_effort]
    assert [variant.decoding for variant in found] == [{}, *({"effort": effort} for effort in others)]
    assert len({variant.id for variant in found}) == len(found)


@pytest.mark.slow
def test_a_stronger_model_that_meets_the_target_is_said_to_be_enough(tmp_path: Path) -> None:
    models = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.98)", "middle": "answer(request, 0.6)"}
    record = climb(write_world(tmp_path, models, rungs=["baseline", "model"]))
    assert "The swap is enough" in answer(record)
    table = models_table(record)
    assert table is not None and {row[0] for row in table.rows} == {"baseline/weak", "model/strong", "model/middle"}
    assert next(row for row in table.rows if row[0] == "model/strong")[5] == "yes"


@pytest.mark.slow
def test_a_stronger_model_that_misses_the_target_is_not(tmp_path: Path) -> None:
    models = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.7)"}
    assert "The swap is enough" not in answer(climb(write_world(tmp_path, models, rungs=["baseline", "model"])))


def test_a_dearer_slower_and_worse_model_is_off_the_front() -> None:
    good = {"score": 0.9, "usd_per_1k": 1.0, "p50_ms": 100.0}
    assert _dominates(good, good | {"score": 0.8}) and _dominates(good, good | {"p50_ms": None})
    assert not _dominates(good, good) and not _dominates(good, good | {"score": 0.8, "usd_per_1k": 0.5})


def test_a_model_that_retires_within_ninety_days_is_marked(tmp_path: Path) -> None:
    extra = "\n".join(HOSTED.format(model="gpt-5").splitlines()[:4])
    project = load(write_world(tmp_path, {"weak": "'x'"}, extra=extra))
    assert "is switched off on 2026-12-11 (in 17 days)" in retirement(project, "thinker", date(2026, 11, 24))
    assert "was switched off" in retirement(project, "thinker", date(2026, 12, 24))
    assert retirement(project, "thinker", date(2026, 8, 1)) == "" == retirement(project, "weak", date(2026, 11, 24))
