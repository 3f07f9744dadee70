"""The walk up the ladder: constraints, baselines that fail, walks that stop, what a rung costs, quick looks."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.pseudo_terminal import on_terminal
from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.commands.case_answers import open_answers
from tuneworthy.ladder.comparison_plan import read_comparisons
from tuneworthy.ladder.record import BestVariant, RungRecord, RunRecord, read_record, shown_better
from tuneworthy.ladder.run import run_ladder
from tuneworthy.ladder.rung import view_of
from tuneworthy.ladder.rungs.model import ModelRung
from tuneworthy.ladder.session import open_session, required_run
from tuneworthy.ladder.variant_lookup import current, resolve
from tuneworthy.report.findings import answer, target_sentence
from tuneworthy.stats.comparisons import SHARED
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.types import RungStatus

GOOD, FAIR, POOR = 'answer(request, 0.9, "a")', 'answer(request, 0.6, "b")', 'answer(request, 0.3, "c")'
DOWN = """
from tuneworthy.errors import ProviderError


def down():
    raise ProviderError("gone", code="connection", retryable=True)


"""
NEVER_SCORED = """


def refuse(answer, expected, case):
    if answer.endswith("?"):
        raise ValueError("no grade")
    return 1.0
"""


def world(root: Path, models: dict[str, str], prices: dict[str, float] | None = None, **options: Any) -> Path:
    """Write a world whose models cost so many dollars a million tokens."""
    write_simulation(root, models, **options)
    for name, price in (prices or {}).items():
        edit(
            root,
            f'"world.py:{name}"',
            f'"world.py:{name}"\ninput_usd_per_mtok = {price}\noutput_usd_per_mtok = {price}',
        )
    return root


def edit(root: Path, old: str, new: str) -> None:
    file = root / "tuneworthy.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def walk(root: Path, **options: Any) -> RunRecord:
    return asyncio.run(run_ladder(load(root), **options))


def rung(record: RunRecord, name: str) -> RungRecord:
    found = record.rung(name)
    assert found is not None
    return found


def dear_baseline(root: Path, cheap: str, **options: Any) -> Path:
    """A baseline that is too dear, and a cheap model."""
    limit = "[constraints]\nusd_per_1k = 0.01\n"
    return world(root, {"dear": GOOD, "cheap": cheap}, {"dear": 100.0, "cheap": 0.01}, extra=limit, **options)


def test_a_baseline_that_breaks_a_constraint_is_measured_and_is_never_the_best(tmp_path: Path) -> None:
    record = walk(dear_baseline(tmp_path, POOR, rungs=["baseline"]))
    baseline = rung(record, "baseline")
    assert (baseline.status, baseline.reason_code) == (RungStatus.REFERENCE, "reference")
    assert baseline.score is not None and baseline.violated.startswith("1,000 answers cost $")
    assert baseline.violated in baseline.reason
    assert record.best is None
    assert "meets the constraints" in answer(record)
    assert not target_sentence(record)


def test_the_first_eligible_variant_is_the_best_without_being_better_and_is_not_called_adopted(tmp_path: Path) -> None:
    record = walk(dear_baseline(tmp_path, POOR, rungs=["baseline", "model", "decoding"]))
    model, decoding = rung(record, "model"), rung(record, "decoding")
    assert model.status is RungStatus.NO_GAIN and model.compared_to == rung(record, "baseline").variant
    assert "now the best variant because baseline/dear violates a constraint" in model.reason
    assert record.best == BestVariant("model", model.variant or "")
    assert record.variants[decoding.variant or ""].model == "cheap"  # later rungs build on it
    assert decoding.compared_to == model.variant
    assert "violates a constraint" in answer(record)


def test_without_a_constraint_the_same_variant_is_not_the_best(tmp_path: Path) -> None:
    root = dear_baseline(tmp_path, POOR, rungs=["baseline", "model"])
    edit(root, "[constraints]\nusd_per_1k = 0.01\n", "")
    record = walk(root)
    assert record.best is not None and record.best.rung == "baseline"
    assert rung(record, "baseline").violated == ""


def test_a_second_eligible_variant_must_be_better_than_the_first(tmp_path: Path) -> None:
    root = dear_baseline(tmp_path, FAIR, rungs=["baseline", "model", "decoding"])
    record = walk(root)
    assert record.best is not None and record.best.rung == "model"
    assert "now the best" not in rung(record, "decoding").reason


def test_a_candidate_that_breaks_a_constraint_is_not_the_best_even_if_it_is_better(tmp_path: Path) -> None:
    limit = "[constraints]\nusd_per_1k = 0.01\n"
    models, prices = {"cheap": POOR, "dear": GOOD}, {"cheap": 0.01, "dear": 100.0}
    record = walk(world(tmp_path, models, prices, rungs=["baseline", "model"], extra=limit))
    model = rung(record, "model")
    assert model.status is RungStatus.VIOLATES_CONSTRAINT and model.violated
    assert record.best is not None and record.best.rung == "baseline"


def test_where_no_language_model_is_eligible_the_classical_baseline_is_the_best(tmp_path: Path) -> None:
    record = walk(dear_baseline(tmp_path, GOOD, rungs=["classical", "baseline"]))
    classical = rung(record, "classical")
    assert record.best == BestVariant("classical", classical.variant or "")
    assert "because baseline/dear violates a constraint" in classical.reason
    assert "violates a constraint" in answer(record)


def test_a_hosted_baseline_breaks_the_constraint_that_the_task_runs_on_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneworthy.config.models.Scripted.hosted", True)
    root = world(
        tmp_path, {"cloud": GOOD}, {"cloud": 0.01}, rungs=["baseline"], extra="[constraints]\non_device = true\n"
    )
    record = walk(root)
    assert rung(record, "baseline").violated == "cloud is a hosted model, but the task must run on the device"
    assert record.best is None


RUNGS = ["classical", "baseline", "prompt", "model", "few_shot", "decoding"]


@pytest.mark.parametrize("quick", [False, True])
def test_after_a_baseline_that_cannot_be_scored_the_other_rungs_are_skipped(
    quick: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"weak": f"{POOR} + '?'", "strong": GOOD}
    root = write_simulation(tmp_path, models, n_cases=60, n_examples=220, rungs=RUNGS)
    script = root / "world.py"
    script.write_text(script.read_text() + NEVER_SCORED)
    edit(root, 'type = "exact"', 'type = "python"\nfunction = "world.py:refuse"')
    status = invoke(["run", "--project", str(root), "--json", *(["--quick"] if quick else [])])
    out, err = capsys.readouterr()
    assert status == 4
    assert "The baseline can" in err and "Traceback" not in err
    record = json.loads(out)
    stored = read_record(Folder(root), "quick" if quick else "run")
    assert stored is not None and stored.to_dict() == record
    rungs = {row["rung"]: row for row in record["rungs"]}
    assert (rungs["baseline"]["status"], rungs["baseline"]["reason_code"]) == ("failed", "unscored")
    for name in ("prompt", "model", "few_shot", "decoding"):
        assert (rungs[name]["status"], rungs[name]["reason_code"]) == ("skipped", "baseline_failed")
    assert record["best"] is None and not record["partial"]


def test_the_baseline_is_walked_before_what_builds_on_it_wherever_it_is_named(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR}, n_cases=60, rungs=["decoding", "baseline", "classical"])
    assert [one.rung for one in walk(root).rungs] == ["classical", "baseline", "decoding"]


def paid(root: Path, **options: Any) -> Path:
    """A world in which every answer costs money."""
    return world(
        root, {"weak": FAIR, "strong": GOOD}, {"weak": 1.0, "strong": 5.0}, n_cases=60, n_examples=220, **options
    )


def test_a_budget_that_runs_out_leaves_what_was_walked_and_says_that_it_is_not_the_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = paid(tmp_path, rungs=["baseline", "prompt", "model"])
    spent = rung(walk(paid(tmp_path / "whole", rungs=["baseline"])), "baseline").cost_usd
    assert invoke(["run", "--project", str(root), "--max-usd", f"{spent * 1.1}", "--yes", "--json"]) == 4
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert [row["rung"] for row in record["rungs"]] == ["baseline"]
    assert record["partial"].startswith("stopped at the rung prompt: The limit of $")
    assert record["rungs"][0]["cost_usd"] == pytest.approx(spent)
    assert spent < record["cost_usd"] <= spent * 1.1  # what the rung that was not ended took is counted
    stored = json.loads((root / ".tuneworthy" / "run-unfinished.json").read_text())
    assert len(stored.pop("mark")) == 256 and stored == record
    assert "Raise budget_usd" in err
    stored = required_run(load(root), quick=True)
    assert answer(stored).startswith("The run is incomplete") and not target_sentence(stored)
    with open_answers(load(root), say=lambda words: capsys.readouterr() and print(words)) as answers:
        assert "The run is incomplete" in capsys.readouterr().out
        assert answers.record.partial
    assert asyncio.run(best(root)).name == "baseline/weak"  # the best so far
    whole = walk(root)
    assert not whole.partial and len(whole.rungs) == 3
    assert not required_run(load(root), quick=True).partial


async def best(root: Path) -> Any:
    async with open_session(load(root)) as session:
        return resolve(session, "best")


def test_a_walk_that_stops_never_takes_the_place_of_a_whole_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = paid(tmp_path, rungs=["baseline", "decoding"])
    whole = walk(root)
    edit(root, "rungs = ['baseline', 'decoding']", 'rungs = ["baseline", "prompt", "decoding"]')
    assert invoke(["run", "--project", str(root), "--max-usd", "0", "--yes", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["partial"]
    assert [one.rung for one in required_run(load(root), quick=True).rungs] == [one.rung for one in whole.rungs]


def test_a_provider_that_is_down_leaves_what_was_walked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR, "strong": "down()"}, n_cases=60, rungs=["baseline", "model"])
    script = root / "world.py"
    script.write_text(DOWN + script.read_text())
    edit(root, '"world.py:strong"', '"world.py:strong"\nretries = 0')
    assert invoke(["run", "--project", str(root)]) == 5
    out, err = capsys.readouterr()
    assert "The run is incomplete: stopped at the rung model" in out and "Run this again" in err
    assert required_run(load(root), quick=True).partial.startswith("stopped at the rung model")


def test_a_model_that_cannot_be_opened_half_way_leaves_what_was_walked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    cloud = '[models.cloud]\nprovider = "openai"\nmodel = "gpt-4o"\napi_key_env = "NO_SUCH_KEY"\n'
    root = write_simulation(tmp_path, {"weak": FAIR}, n_cases=60, rungs=["baseline", "model"], extra=cloud)
    assert invoke(["run", "--project", str(root), "--yes", "--json"]) == 2
    record = json.loads(capsys.readouterr().out)
    assert [row["rung"] for row in record["rungs"]] == ["baseline"] and "NO_SUCH_KEY" in record["partial"]


def test_a_budget_of_nothing_leaves_a_record_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = paid(tmp_path, rungs=["baseline"])
    assert invoke(["run", "--project", str(root), "--max-usd", "0", "--yes", "--json"]) == 4
    record = json.loads(capsys.readouterr().out)
    assert record["rungs"] == [] and record["best"] is None and record["cost_usd"] == 0
    for command, status in {"report": 2, "decide": 4}.items():
        assert invoke([command, "--project", str(root)]) == status
        assert "The run is incomplete: stopped at the rung baseline: The limit of $" in capsys.readouterr().err
    assert invoke(["status", "--project", str(root)]) == 0
    assert invoke(["cases", "show", "--project", str(root)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_the_rungs_cost_is_what_all_their_calls_cost(tmp_path: Path) -> None:
    root = paid(tmp_path, rungs=["classical", "baseline", "prompt", "model"])
    record = walk(root)
    store = ResponseStore(Folder(root).responses)
    spent = store.spending().usd
    store.close()
    assert spent > 0
    assert record.cost_usd == pytest.approx(spent)
    assert sum(one.cost_usd for one in record.rungs) == pytest.approx(spent)
    assert rung(record, "classical").cost_usd == 0
    again = walk(root)
    assert [one.cost_usd for one in again.rungs] == [one.cost_usd for one in record.rungs]


def test_what_a_quick_look_costs_is_what_its_calls_cost(tmp_path: Path) -> None:
    root = paid(tmp_path, rungs=["baseline", "prompt"])
    record = walk(root, quick=True)
    store = ResponseStore(Folder(root).responses)
    assert record.cost_usd == pytest.approx(store.spending().usd) and rung(record, "prompt").cost_usd > 0
    store.close()


def test_a_quick_look_with_a_small_dev_gives_the_score_that_was_measured(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR}, n_cases=80, n_examples=0, rungs=["baseline", "prompt"])
    record = walk(root, quick=True)
    assert record.n_dev == 30 and not record.explored
    for name in ("baseline", "prompt"):
        found = rung(record, name)
        (row,) = found.candidates
        assert row.n == 30 and found.candidates_tried == 1
        assert found.reason == f"{row.score:.1%} on 30 dev cases, not compared on the test set"
        assert row.score > 0.3
    assert not (root / ".tuneworthy" / "comparisons.json").exists()


def test_a_quick_look_tells_scores_of_all_its_dev_cases(tmp_path: Path) -> None:
    record = walk(write_simulation(tmp_path, {"weak": FAIR, "strong": GOOD}, rungs=["baseline", "model"]), quick=True)
    assert [one.candidates[0].n for one in record.rungs] == [40, 40]


def test_the_alpha_of_a_look_is_that_of_a_planned_one_whatever_was_added(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR, "strong": GOOD}, n_cases=60, rungs=["baseline", "decoding"])
    assert walk(root).alpha == SHARED
    edit(root, "rungs = ['baseline', 'decoding']", "rungs = ['baseline', 'model', 'decoding']")
    record = walk(root)
    assert rung(record, "model").alpha != SHARED
    assert record.alpha == SHARED


@pytest.mark.parametrize(
    ("gone", "got"),
    [
        (["comparisons.json"], "The record of test comparisons is missing."),
        (["comparisons.json", "run.json"], "The record of test comparisons is missing."),
        ([], "This file lists only 0 of the 1 test comparisons made so far."),
    ],
)
def test_looks_that_are_gone_are_told_and_never_planned_anew(
    gone: list[str], got: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR}, n_cases=60, rungs=["baseline", "decoding"])
    walk(root)
    for name in gone:
        (root / ".tuneworthy" / name).unlink()
    if not gone:
        Folder(root).write("comparisons", {"planned": ["decoding"], "added": {}, "spent": {}, "passed": []})
    for command in ("run", "compare baseline current --test"):
        assert invoke([*command.split(), "--project", str(root)]) == 2
        err = capsys.readouterr().err
        assert f"{root / '.tuneworthy' / 'comparisons'}.json: {got}" in err
        assert "Restore the file, which records how often the test set has been used" in err
    assert invoke(["check", "--project", str(root), "--json"]) == 2


def test_an_empty_look_plan_is_no_plan(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR}, n_cases=60, rungs=["baseline", "decoding"])
    walk(root)
    Folder(root).write("comparisons", {})
    with pytest.raises(UserError, match=r"comparisons\.json.* 0 of the 1 ") as error:
        walk(root)
    assert error.value.error_code == "E-INPUT-01"


@pytest.mark.slow
def test_an_edited_baseline_that_is_measured_on_test_again_is_a_look_until_the_test_set_is_used_up(
    tmp_path: Path,
) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR}, n_cases=60, rungs=["baseline", "decoding"])
    first = (root / "tuneworthy.toml").read_text()
    assert walk(root, rungs=["baseline"]).comparisons.made == 0
    for number in range(1, 3):
        (root / "tuneworthy.toml").write_text(first.replace("[prompt]", f"[prompt]\nmax_tokens = {50 + number}"))
        record = walk(root, rungs=["baseline"])
        assert record.comparisons.made == number and "counts as a test comparison" in rung(record, "baseline").notes[-1]
    (root / "tuneworthy.toml").write_text(first)
    assert walk(root, rungs=["baseline"]).comparisons.made == 2  # what was seen before is not seen anew

    def measure_many() -> None:
        for number in range(20):
            (root / "tuneworthy.toml").write_text(first.replace("[prompt]", f"[prompt]\nmax_tokens = {90 + number}"))
            walk(root, rungs=["baseline"])

    with pytest.raises(UserError, match="The test set is used up"):
        measure_many()


def test_after_a_quick_look_the_first_run_plans_its_looks(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR, "strong": GOOD}, n_cases=60, rungs=["baseline", "model"])
    walk(root, quick=True)
    assert walk(root).comparisons.made == 1


@pytest.mark.parametrize("document", [[1], {"rungs": 3}, {"rungs": [{"rung": "x"}]}, "run"])
@pytest.mark.parametrize(
    "command", ["report", "cases show", "compare best current", "run --rung decoding", "status", "decide"]
)
def test_a_record_of_a_wrong_shape_is_the_users_to_mend(
    command: str, document: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR}, n_cases=60, rungs=["baseline", "decoding"])
    Folder(root).write("comparisons", {"planned": ["decoding"], "added": {}, "spent": {}, "passed": []})
    Folder(root).write("run", document)
    assert invoke([*command.split(), "--project", str(root)]) == 2
    err = capsys.readouterr().err
    assert (
        "run.json is damaged (" in err and f"Run `tuneworthy doctor --project {root}`" in err and "Traceback" not in err
    )


def test_a_record_that_lost_its_parts_is_no_record(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR}, n_cases=60, rungs=["baseline"])
    whole = walk(root).to_dict()
    damaged, unread = (
        r"run\.json is damaged \(.*tuneworthy doctor",
        "cannot be read, because the best variant .*Run `tuneworthy run`",
    )
    for broken, fault in (
        ({"variants": []}, damaged),
        ({"best": {"rung": "baseline"}}, damaged),
        ({"provenance": 1}, damaged),
        ({"variants": {}}, unread),  # the right shape, but what is best is not among them
    ):
        Folder(root).write("run", whole | broken)
        with pytest.raises(UserError, match=fault):
            read_record(Folder(root))


def test_an_older_record_has_the_defaults_of_what_it_does_not_tell(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR}, n_cases=60, rungs=["baseline"])
    whole = walk(root).to_dict()
    Folder(root).write("run", {key: value for key, value in whole.items() if key not in {"partial", "judges"}})
    found = read_record(Folder(root))
    assert found is not None and found.partial == "" and found.judges == {}


def test_two_graders_of_one_type_are_both_told(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR}, n_cases=60, rungs=["baseline"])
    other = '[[graders]]\ntype = "includes"\n[[graders]]\ntype = "exact"\nlowercase = true\n'
    edit(
        root, '[[graders]]\ntype = "exact"\n', '[[graders]]\ntype = "exact"\n' + other.replace("lowercase = true\n", "")
    )
    found = rung(walk(root), "baseline")
    assert list(found.graders) == ["exact", "includes", "exact#2"]
    assert found.graders["exact"] == found.graders["exact#2"] == found.score


def test_the_notes_of_a_record_stand_there_once(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": FAIR}, n_cases=60, rungs=["baseline"])
    Folder(root).write("revealed", [{"case": "x", "time": "2026-11-01T00:00:00+00:00", "command": "cases show"}])
    notes = Counter(walk(root).notes)
    assert sum("have been revealed" in note for note in notes) == 1 and set(notes.values()) == {1}


def test_a_model_that_only_judges_is_no_candidate(tmp_path: Path) -> None:
    judge = '[[graders]]\ntype = "judge"\nmodel = "judge"\nrubric = "It names the colour."\n'
    root = write_simulation(tmp_path, {"weak": FAIR, "strong": GOOD, "judge": "'good'"}, rungs=["baseline", "model"])
    proposed = asyncio.run(propose(root))
    assert proposed == (["model/strong", "model/judge"], [])
    edit(root, '[[graders]]\ntype = "exact"\n', judge)
    names, notes = asyncio.run(propose(root))
    assert names == ["model/strong"] and notes[0].startswith("judge is used only as a judge")
    edit(root, 'baseline = "weak"', 'baseline = "judge"')
    assert asyncio.run(propose(root)) == (["model/weak", "model/strong"], [])


async def propose(root: Path) -> tuple[list[str], list[str]]:
    async with open_session(load(root)) as session:
        proposal = await ModelRung().propose(view_of(session, best=current(session), n_dev=80))
        return [one.name for one in proposal.candidates], list(proposal.notes)


def good_enough(root: Path, models: dict[str, str] | None = None, target: float = 0.5, **options: Any) -> Path:
    """A project whose baseline meets the target, and whose other answers cost money."""
    models = models or {"weak": FAIR, "strong": GOOD}
    options = {"rungs": ["classical", "baseline", "prompt", "model", "decoding"]} | options
    root = world(root, models, dict.fromkeys(models, 5.0), n_cases=200, n_examples=220, **options)
    edit(root, "target = 0.9", f"target = {target}")
    return root


def test_a_gain_over_a_cheaper_option_is_compared_with_today_once_more(tmp_path: Path) -> None:
    shots = 'answer(request, 0.95 if has_shots(request) else 0.6, "b")'
    models, prices = {"dear": FAIR, "cheap": shots}, {"dear": 100.0, "cheap": 1.0}
    record = walk(world(tmp_path, models, prices, rungs=["baseline", "model", "few_shot"]))
    assert [rung(record, name).reason_code for name in ("model", "few_shot")] == ["cheaper", "better"]
    assert shown_better(record.rungs) == {("few_shot", "model"), ("few_shot", "baseline")}
    assert record.comparisons.made == 2 and rung(record, "few_shot").beats_today  # the model does not lead on dev
    direct = walk(world(tmp_path / "direct", {"weak": POOR, "strong": GOOD}, rungs=["baseline", "model"]))
    assert shown_better(direct.rungs) == {("model", "baseline")} and direct.comparisons.made == 1


def rows(record: RunRecord) -> list[tuple[Any, ...]]:
    """The numbers of a run that times do not change."""
    return [
        (one.rung, one.status, one.reason_code, one.score, one.delta, one.alpha, one.cost_usd) for one in record.rungs
    ]


def spent_on(root: Path) -> float:
    store = ResponseStore(Folder(root).responses)
    usd = store.spending().usd
    store.close()
    return usd


def test_a_run_until_the_target_is_whole_and_a_later_run_continues_it_as_if_it_had_never_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traffic = "[economics]\nrequests_per_month = 20000\n"
    root, twin = [good_enough(tmp_path / name, extra=traffic) for name in "ab"]
    command = ["run", "--project", str(root), "--yes"]
    assert invoke([*command, "--until", "target", "--json"]) == 0
    out, err = capsys.readouterr()
    stopped = read_record(Folder(root))
    assert stopped is not None and json.loads(out) == stopped.to_dict() and not stopped.partial
    assert {one.rung: one.reason_code for one in stopped.rungs if one.variant is None} == dict.fromkeys(
        ["prompt", "model", "decoding"], "target_met"
    )
    today = rung(stopped, "baseline")
    assert stopped.best == BestVariant("baseline", today.variant or "") and stopped.comparisons.made == 0
    gain = f"{100 * (1 - (today.score or 0.0)):.1f} points"
    assert stopped.comparisons.options == stopped.options == stopped.comparisons.planned + 1  # without `fine_tune`
    assert err.count("Target met for $") == 1 and f"${today.cost_usd:.2f}" in err and gain in err
    assert "a month" in err  # today's bill, which another model may lower
    assert "stored" not in err
    assert invoke([*command, "--until", "target"]) == 0
    err = capsys.readouterr().err
    assert "by stored answers, for $0.00" in err and "this run cost nothing" in err
    plan = read_comparisons(Folder(root))
    assert not plan.passed or plan.passed == ("classical",)  # no slot of a rung that was not reached
    assert invoke(["decide", "--project", str(root), "--json"]) == 3
    verdict = json.loads(capsys.readouterr().out)  # it does not hang on the rungs that were not run
    gates = {row["gate"]: row["status"] for row in verdict["gates"]}
    assert gates["few_shot"] == gates["decoding"] == "unknown" and gates["baseline"] == "pass"
    assert (verdict["outcome"], verdict["recommendation"]) == ("do_not_fine_tune", "baseline/weak")
    assert "prompt, model, decoding" in verdict["reasons"][0] and "`tuneworthy run`" in verdict["reasons"][0]

    before = spent_on(root)
    assert before == pytest.approx(stopped.cost_usd)
    assert invoke([*command, "--max-usd", f"{before * 1.5}", "--json"]) == 4  # ends within a rung
    assert read_record(Folder(root)) == stopped  # the whole record stays
    assert spent_on(root) > before
    straight, resumed = walk(twin), walk(root)
    assert rows(resumed) == rows(straight) and spent_on(root) == pytest.approx(spent_on(twin))
    assert read_comparisons(Folder(root)) == read_comparisons(Folder(twin))
    assert resumed.comparisons.made > 0 and not any(one.reason_code == "target_met" for one in resumed.rungs)


def test_a_run_of_one_rung_after_a_stop_leaves_the_others_unrun(tmp_path: Path) -> None:
    root = good_enough(tmp_path)
    assert invoke(["run", "--project", str(root), "--yes", "--until", "target"]) == 0
    assert [one.rung for one in walk(root, rungs=["model"]).rungs] == ["classical", "baseline", "model"]


def test_only_today_is_said_to_have_a_bill_to_lower_and_only_if_it_costs_money_and_options_are_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    projects = {
        "other": good_enough(tmp_path / "other"),
        "tried": good_enough(tmp_path / "tried", rungs=["classical", "baseline", "prompt"]),
        "classical": good_enough(tmp_path / "classical", rungs=["baseline", "prompt"]),
    }
    told = {}
    for name, root in projects.items():
        assert invoke(["run", "--project", str(root), "--yes", "--until", "target"]) == 0
        told[name] = capsys.readouterr().err
    assert all("Target met" in one for one in told.values())
    assert {name for name, one in told.items() if "per 1,000 answers" in one} == {"other", "classical"}


def test_a_target_that_is_not_met_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = good_enough(tmp_path, target=0.65, rungs=["baseline", "prompt"])  # 60% is within the interval
    assert invoke(["run", "--project", str(root), "--yes", "--until", "target", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "Target met" not in err and {row["reason_code"] for row in json.loads(out)["rungs"]} != {"target_met"}


def test_a_critical_label_that_is_missed_stops_nothing(tmp_path: Path) -> None:
    root = good_enough(tmp_path, rungs=["baseline", "prompt"])
    for needed, stopped in ((0.9, False), (0.3, True)):
        text = (root / "tuneworthy.toml").read_text().replace("critical = {red = 0.9}\n", "")
        (root / "tuneworthy.toml").write_text(text.replace("[task]\n", f"[task]\ncritical = {{red = {needed}}}\n"))
        assert invoke(["run", "--project", str(root), "--yes", "--until", "target"]) == 0
        assert (rung(required_run(load(root), quick=True), "prompt").reason_code == "target_met") is stopped


def test_a_target_that_only_the_classical_baseline_meets_stops_with_it_as_the_best(tmp_path: Path) -> None:
    root = good_enough(tmp_path, {"weak": POOR}, learnable=True, target=0.8)
    assert invoke(["run", "--project", str(root), "--yes", "--until", "target"]) == 0
    record = required_run(load(root), quick=True)
    assert record.best is not None and record.best.rung == "classical" and record.comparisons.made == 0
    assert "non-inferior" not in answer(record)  # that was not compared
    assert rung(walk(root), "classical").alpha == pytest.approx(SHARED / 3)  # as planned, before the stop


@pytest.mark.parametrize(("typed", "n_skipped"), [("y\nn\n", 3), ("y\n\n", 0)])
def test_on_a_terminal_the_rest_is_run_unless_the_user_says_no(typed: str, n_skipped: int, tmp_path: Path) -> None:
    root = good_enough(tmp_path)
    status, text = on_terminal("run", "--project", str(root), columns=200, typed=typed)
    assert status == 0 and text.count("Run the rest?") == 1
    assert sum(one.reason_code == "target_met" for one in required_run(load(root), quick=True).rungs) == n_skipped


COUNTED = """
DRAWS = itertools.count()


def drawn(request, share):
    \"\"\"The right label, but for a share of the sampled answers, drawn anew each time.\"\"\"
    lost = request.decoding.get("temperature") != 0 and number(next(DRAWS), "draw") < share
    return answer(request, 0.0 if lost else 0.8)


"""


@pytest.mark.parametrize(("share", "code"), [(0.0, "stable"), (0.5, "")])
def test_decoding_is_skipped_where_a_second_answer_hardly_scores_differently(
    share: float, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneworthy.config.models.Scripted.repeatable", False)
    models = {"weak": f"drawn(request, {share})"}
    root = write_simulation(tmp_path, models, n_cases=60, n_examples=220, rungs=["baseline", "decoding"])
    script = root / "world.py"
    script.write_text(script.read_text().replace("CALLS = ", COUNTED + "CALLS = "))
    found = rung(walk(root), "decoding")
    assert (found.status is RungStatus.SKIPPED, found.reason_code == code) == (bool(code), bool(code))
    if code:  # no candidate is called, and a grid is tried all the same
        assert "0 of 40 dev cases" in found.reason and found.candidates_tried == 0
        edit(root, "[ladder]", "[decoding]\ngrid = [{temperature = 0.3}]\n[ladder]")
        assert rung(walk(root), "decoding").score is not None
    else:
        assert found.score is not None and found.candidates_tried > 1


def test_a_quick_run_compares_each_rung_with_today_on_the_same_cases(tmp_path: Path) -> None:
    models = {"weak": POOR, "strong": GOOD, "fair": FAIR}
    record = walk(good_enough(tmp_path, models, rungs=["classical", "baseline", "model"]), quick=True)
    today = rung(record, "baseline")
    for name in ("classical", "model"):
        row = rung(record, name)
        first, *rest = row.candidates
        assert first.variant == row.variant and first.n == 40 and all(other.n <= 40 for other in rest)
        assert row.delta == pytest.approx(first.score - today.candidates[0].score)
        assert row.delta_ci is not None and row.alpha is None and row.p_value is None
    assert today.delta is None and today.candidates[0].n == 40
