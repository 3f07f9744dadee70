"""Evidence is gathered from a project that was really run; all that changed since is named and never mixed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from tests.ladder.simulations import write_simulation

import tuneworthy
from tuneworthy.cases import dataset
from tuneworthy.cases.splits import example_case
from tuneworthy.cli.tables import show_ladder
from tuneworthy.config import Project, load
from tuneworthy.errors import Undecided, UserError
from tuneworthy.ladder.bills import running_costs
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.session import open_session
from tuneworthy.providers.prices import FREE
from tuneworthy.report.first_screen import options_in, paragraph
from tuneworthy.report.tables import options_table
from tuneworthy.store import Folder
from tuneworthy.store.signatures import signed_document
from tuneworthy.types import Example
from tuneworthy.verdict import gather as gathering
from tuneworthy.verdict.answer import FRESH_DAYS, Verdict
from tuneworthy.verdict.decide import decide, take_home
from tuneworthy.verdict.error_analysis import best_language_model
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.gather import _judge as judge_evidence
from tuneworthy.verdict.gather import gather, overlaps_left
from tuneworthy.verdict.probes import analyse_errors
from tuneworthy.verdict.run import decide_project

MODELS = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.7, 'strong')"}


@pytest.fixture(scope="module")
def run_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scripted project that was run."""
    root = write_simulation(
        tmp_path_factory.mktemp("gather") / "world", MODELS, rungs=["classical", "baseline", "model"]
    )
    tuneworthy.open(root).run()
    return root


@pytest.fixture
def world(run_record: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(run_record, tmp_path / "world"))


def evidence(root: Path) -> Evidence:
    async def read() -> Evidence:
        async with open_session(load(root)) as session:
            return gather(session)

    return asyncio.run(read())


def verdict(root: Path, **options: Any) -> Verdict:
    return asyncio.run(decide_project(load(root), **options))


SOON, LATE, PAST = (date.today() + timedelta(days=days) for days in (30, 300, -30))


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ({}, []),
        ({"retires": SOON}, [(SOON, "retires the model small")]),
        ({"retires": PAST}, [(PAST, "retires the model small")]),  # a model that is gone: nothing is valid
        ({"retires_from": LATE}, [(LATE, "may retire the model small")]),
        ({"retires_from": PAST}, []),  # it may retire any day, which is no date
    ],
)
def test_the_answer_expires_with_the_prices_and_the_models(
    planted: dict[str, date], found: list[tuple[date, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(table: date, source: str) -> tuple[date, list[tuple[str, str]]]:
        price = replace(FREE, source=source, **planted)  # type: ignore[arg-type]
        monkeypatch.setattr(gathering, "price_for", lambda _: price)
        monkeypatch.setattr(gathering, "table_date", lambda: table)
        (due, _), *others = gathering._expiries(SimpleNamespace(models={"small": None}))  # type: ignore[arg-type]
        return date.fromisoformat(due), others

    fresh, today = timedelta(days=FRESH_DAYS), date.today()
    due, others = first(today - timedelta(days=20), "local")
    assert due == today + fresh and [(date.fromisoformat(day), what) for day, what in others] == [
        (day, f"the provider {what}") for day, what in found
    ]
    assert first(today - timedelta(days=20), "table")[0] == today - timedelta(days=20) + fresh
    assert first(today - fresh, "table")[0] == today
    assert first(today - timedelta(days=200), "table")[0] == today, "an old table is due each day, not 90 days later"
    assert first(today - timedelta(days=200), "project file")[0] == today + fresh


def edit(root: Path, old: str, new: str, name: str = "tuneworthy.toml") -> None:
    path = root / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def rewrite(root: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the stored record of the run."""
    folder = Folder(root)
    record = folder.read("run", dict)
    assert record is not None and record.pop("mark")
    change(record)
    folder.write("run", signed_document(record))


def of(record: dict[str, Any], rung: str) -> dict[str, Any]:
    return next(row for row in record["rungs"] if row["rung"] == rung)


def test_what_was_measured_is_what_the_gates_see(world: Path) -> None:
    found = evidence(world)
    record = Folder(world).read("run", dict)
    assert found.stale == [] and found.overlaps == {} and found.errors is None and found.errors_stale == []
    assert set(found.rungs) == {"classical", "baseline", "model"}
    base = of(record, "baseline")
    seen = found.rungs["baseline"]
    assert (seen.score, list(seen.ci95 or ())) == (base["score"], base["ci95"])
    assert seen.n_effective == 200 and found.balance is not None and found.differences
    assert found.n_test == 200 and found.other_models == 1 and found.has_examples
    assert found.top is not None and found.top.rung == record["best"]["rung"]


def test_nothing_is_decided_before_a_run(tmp_path: Path) -> None:
    root = write_simulation(tmp_path / "world", MODELS)
    with pytest.raises(Undecided, match="no run"):
        verdict(root)


def _labels(root: Path) -> None:
    edit(root, '"red"', '"green"', "cases.jsonl")


def _groups(root: Path) -> None:
    edit(root, '{"', '{"group": "one source", "', "cases.jsonl")


def _examples(root: Path) -> None:
    path = root / "examples.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[0].replace("item 10000", "item 77777") + "\n")


def _new_model(root: Path) -> None:
    edit(root, "[ladder]", '[models.new]\nprovider = "scripted"\nfunction = "world.py:weak"\n[ladder]')


def _judge(root: Path) -> None:
    rewrite(root, lambda record: record["provenance"]["graders"].update({"judge": "of another"}))
    edit(root, "[[graders]]", '[[graders]]\ntype = "judge"\nmodel = "strong"\nrubric = "It is right."\n[[graders]]')


def _tools(root: Path) -> None:
    rewrite(root, lambda record: record["provenance"]["settings"].update(tools="of others"))
    edit(root, "[ladder]", '[[tools]]\nfunction = "world.py:weak"\n[ladder]')


CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "labels": (_labels, "labels of cases have changed"),
    "groups": (_groups, "the groups of the cases have changed"),
    "examples": (_examples, "the examples have changed"),
    "prompt": (lambda root: edit(root, "Name the colour.", "Say the colour."), "the prompt has changed"),
    "sampling": (lambda root: edit(root, "[prompt]", "[prompt]\nparameters = {top_p = 0.9}"), "the prompt has changed"),
    "answer_limit": (lambda root: edit(root, "[prompt]", "[prompt]\nmax_tokens = 9"), "the prompt has changed"),
    "grader": (lambda root: edit(root, 'type = "exact"', 'type = "includes"'), "the first grader has changed"),
    "grader_settings": (
        lambda root: rewrite(root, lambda record: record["provenance"]["graders"].update({"exact": "another"})),
        "the grader exact has changed",
    ),
    "model_of_the_baseline": (lambda root: edit(root, "0.4", "0.5", "world.py"), "the model weak has changed"),
    "model_of_another_rung": (
        lambda root: edit(root, "world.py:strong", "world.py:weak"),
        "the model strong has changed",
    ),
    "model_gone": (
        lambda root: edit(root, "[models.strong]", "[models.other]"),
        "the model strong has been removed",
    ),
    "model_added": (_new_model, "the model new has been added"),
    "tools": (_tools, "the tools have changed"),
    "target": (lambda root: edit(root, "target = 0.9", "target = 0.8"), "task.target was 0.9 and is now 0.8"),
    "margin": (
        lambda root: edit(root, "target = 0.9", "target = 0.9\nmargin = 0.1"),
        "task.margin was 0.05 and is now 0.1",
    ),
    "constraint": (
        lambda root: edit(root, "[ladder]", "[constraints]\np95_ms = 500\n[ladder]"),
        "constraints.p95_ms was not set and is now 500.0",
    ),
    "reflection": (
        lambda root: edit(root, "[ladder]", '[reflection]\nmodel = "strong"\ncalls = 99\n[ladder]'),
        "reflection.calls was not set and is now 99",
    ),
    "half_run_rung": (
        lambda root: rewrite(root, lambda record: of(record, "model").update(n=120)),
        "the rung model is incomplete (120 of 200 cases)",
    ),
    "split": (
        lambda root: rewrite(
            root,
            lambda record: record["provenance"].update(split="other cases", labels="other labels", groups="other"),
        ),
        "the cases or the dev set have changed",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_since_the_run_is_named_and_never_mixed(name: str, world: Path) -> None:
    change, words = CHANGES[name]
    change(world)
    found = evidence(world)
    assert words in found.stale and (name != "split" or found.stale == [words])
    told = decide(found)
    assert (told.outcome, told.reason_code) == ("undecided", "gate_baseline")
    assert words in told.reasons[0] and words in told.stale


def test_a_judge_that_changed_is_named(world: Path) -> None:
    _judge(world)
    assert "the judge has changed" in evidence(world).stale


def test_only_a_rung_with_scores_needs_ratings_of_its_answers() -> None:
    stored = {"status": "pass", "judge": "j", "detail": "", "reasons": []}
    project = SimpleNamespace(graders=[SimpleNamespace(type="judge")])
    session: Any = SimpleNamespace(project=project, folder=SimpleNamespace(read=lambda *_: stored))

    def valid(status: str) -> bool:
        row = SimpleNamespace(rung="cascade", reason_code="judge", status=status)
        record: Any = SimpleNamespace(rungs=[row], provenance=SimpleNamespace(graders={"judge": "j"}))
        found = judge_evidence(session, record)
        return found is not None and found.valid

    assert valid("skipped") and not valid("inconclusive")


def test_cases_that_were_edited_since_are_another_test_set(world: Path) -> None:
    edit(world, "item 7 ", "item 7777 ", "cases.jsonl")
    with pytest.raises(UserError, match="edited or removed"):
        verdict(world)


def test_what_does_not_bear_on_the_measurements_leaves_them_fresh(world: Path) -> None:
    edit(world, "[ladder]", "[economics]\nrequests_per_month = 10\n[ladder]\nbudget_usd = 3\n")
    edit(world, 'name = "world"', 'name = "world"\nmotivation = "cost"')
    assert evidence(world).stale == []


def test_running_again_makes_it_fresh_from_the_store(world: Path) -> None:
    _labels(world)
    assert evidence(world).stale
    tuneworthy.open(world).run()
    assert evidence(world).stale == []


def test_a_slow_or_hosted_baseline_never_meets_the_target(world: Path) -> None:
    def met(record: dict[str, Any]) -> None:
        base = of(record, "baseline")
        base.update(score=0.97, latency_p95_ms=900.0, latency_p95_ci=None)
        record["best"] = {"rung": "baseline", "variant": base["variant"]}

    rewrite(world, met)
    assert evidence(world).target_of(evidence(world).rungs["baseline"]) == "met"
    edit(world, "[ladder]", "[constraints]\np95_ms = 500\n[ladder]")
    rewrite(world, lambda record: record["provenance"].update(settings={}))  # as if it had been run so
    found = evidence(world)
    assert found.rungs["baseline"].violated == "the p95 latency is 900 ms, above the limit of 500 ms"
    assert found.top is not None and found.top.rung == "model"
    assert decide(found).recommendation != found.rungs["baseline"].name


def test_a_hosted_baseline_is_not_eligible_on_the_device(world: Path) -> None:
    edit(world, "[ladder]", "[constraints]\non_device = true\n[ladder]")
    hosted = '[models.weak]\nprovider = "openai"\nmodel = "m"\nbase_url = "https://x.invalid/v1"\n'
    hosted += "input_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0\n"
    edit(world, '[models.weak]\nprovider = "scripted"\nfunction = "world.py:weak"\n', hosted)
    found = evidence(world)
    assert "hosted" in found.rungs["baseline"].violated
    assert found.top is not None and found.top.rung == "model"


def test_stale_error_analysis_is_named_and_dropped(world: Path) -> None:
    async def probe() -> None:
        async with open_session(load(world)) as session:
            record = read_record(session.folder)
            assert record is not None
            variant = best_language_model(record)
            assert variant is not None
            await analyse_errors(session, variant)

    asyncio.run(probe())
    fresh = evidence(world)
    assert fresh.errors and fresh.errors_stale == []
    folder = Folder(world)
    content = folder.read("errors", dict)
    content["of"]["documents"] = "of others"
    folder.write("errors", content)
    found = evidence(world)
    assert found.errors is None and found.errors_stale == ["the documents"]
    assert "the documents" in verdict(world).stale


def test_overlaps_that_are_left_are_counted_and_those_that_left_are_not(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (world / "cases.jsonl").read_bytes().splitlines()
    overlapping_rows = orjson.loads(rows[0])
    row = {
        "messages": [{"role": "user", "content": overlapping_rows["input"]}, {"role": "assistant", "content": "red"}]
    }
    with (world / "examples.jsonl").open("ab") as file:
        file.write(orjson.dumps(row) + b"\n")
    assert evidence(world).overlaps == {}  # it leaves the examples when they are read
    assert evidence(world).learned is None
    monkeypatch.setattr(dataset, "MANY_DROPPED", 0.0)
    found = evidence(world)
    assert found.learned and 0 < found.learned[0] < found.learned[1]

    async def planted() -> tuple[dict[str, int], dict[str, int]]:
        async with open_session(load(world)) as session:
            data = session.data
            messages = tuple(row["messages"])
            shot = Example(id="contamination", messages=messages)  # type: ignore[arg-type]
            into_shots = replace(data.split, shots=(*data.split.shots, shot))
            case = example_case(shot)
            assert case is not None
            into_dev = replace(data.split, dev=(*data.split.dev, case))
            return overlaps_left(replace(data, split=into_shots)), overlaps_left(replace(data, split=into_dev))

    shots, dev = asyncio.run(planted())
    assert shots == {"examples near test cases": 1}
    assert dev == {"development cases in test": 1}


def test_a_source_that_dev_and_test_come_to_share_is_a_overlap(world: Path) -> None:
    stored = Folder(world).read("split", dict)
    dev, test = stored["dev"][0]["id"], stored["test"][0]["id"]

    async def grouped() -> dict[str, int]:
        async with open_session(load(world)) as session:
            split = session.split

            def group(cases: Any) -> tuple[Any, ...]:
                return tuple(replace(case, group="same") if case.id in {dev, test} else case for case in cases)

            return overlaps_left(
                replace(session.data, split=replace(split, dev=group(split.dev), test=group(split.test)))
            )

    assert asyncio.run(grouped()) == {"development cases in test": 1}


def test_the_public_function_takes_a_project_or_a_path_and_keeps_the_verdict(world: Path) -> None:
    by_path = tuneworthy.open(world).decide()
    project = load(world)
    assert isinstance(project, Project)
    assert tuneworthy.open(project).decide() == by_path
    kept = Folder(world).read("verdict", dict)
    assert kept["outcome"] == by_path.outcome and set(kept["of"]) >= {"run", "errors", "judge", "project"}


def test_the_probes_look_at_the_best_that_may_be_used(world: Path) -> None:
    rewrite(world, lambda record: of(record, record["best"]["rung"]).update(violated="it is too slow"))
    record = Folder(world).read("run", dict)
    verdict(world, probe=True)
    looked_at = Folder(world).read("errors", dict)["of"]["variant"]
    assert looked_at != record["best"]["variant"]


LOCAL = '[models.weak]\nprovider = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\n'


@pytest.mark.parametrize(("traffic", "eligible"), [("20_000", False), ("5_000_000", True), (None, None)])
def test_a_cost_limit_counts_the_server_of_an_option(world: Path, traffic: str | None, eligible: bool | None) -> None:
    """A server at $584: $29.20 per 1,000 answers at 20,000 a month, and below a dollar at 5,000,000."""
    numbers = "[economics]\nserve_usd_per_month = 584\n" + (f"requests_per_month = {traffic}\n" if traffic else "")
    edit(world, "[ladder]", f"[constraints]\nusd_per_1k = 1.0\n{numbers}[ladder]")
    edit(world, '[models.weak]\nprovider = "scripted"\nfunction = "world.py:weak"\n', LOCAL)
    found = decide(evidence(world))
    option = next(one for one in found.options if one.option == "baseline/weak")
    assert option.eligible is eligible
    if traffic == "20_000":
        assert option.violates == "1,000 answers cost $29.2000, above the limit of $1"
        assert option.usd_per_1k == pytest.approx(29.2)
    if traffic is None:
        assert option.usd_per_1k is None and option.usd_by_answer == 0.0
        facts = replace(evidence(world), stale=())
        only = replace(facts, rungs={name: rung for name, rung in facts.rungs.items() if name != "model"})
        assert "economics.requests_per_month" in decide(replace(only, target=0.1)).next_action.why


def test_tables_show_the_server_and_never_a_price_of_zero(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(world, '[models.weak]\nprovider = "scripted"\nfunction = "world.py:weak"\n', LOCAL)
    edit(world, "[ladder]", "[economics]\nserve_usd_per_month = 584\n[ladder]")

    def cells() -> tuple[str, str, str]:
        project = load(world)
        record = read_record(Folder(project.root))
        assert record is not None
        show_ladder(record, project)
        lines = capsys.readouterr().out.splitlines()
        costs = running_costs(project, record)
        traffic = project.economics.requests_per_month
        words = paragraph(record, traffic, costs=costs)
        options = options_table(replace(decide(evidence(world)), options=options_in(record, None, traffic, costs)))
        row = next(row for row in options.rows if row[0] == "baseline/weak")
        place = [column.key for column in options.columns].index("usd_per_1k")
        return next(line for line in lines if "baseline/weak" in line), words, row[place]

    line, words, cell = cells()
    assert " server " in line and "from $584 a month" in words and cell == "server"
    edit(world, "[economics]\n", "[economics]\nrequests_per_month = 20_000\n")
    line, words, cell = cells()
    assert "29.2" in line and "$584 a month" in words and cell == "29.20"


def test_training_is_taken_to_read_what_any_option_was_measured_to_read(world: Path) -> None:
    def tokens(record: dict[str, Any]) -> None:
        for name, read in (("classical", 0.0), ("baseline", 500.0), ("model", 500.0)):
            of(record, name).update(input_tokens=read, output_tokens=read and 4.0)

    rewrite(world, tokens)
    found = evidence(world)
    assert found.bill(found.rungs["classical"]).tokens_to_serve == (500.0, 4.0)
    barred = {name: replace(rung, violated="too slow") for name, rung in found.rungs.items()}
    none = decide(replace(found, rungs=barred, best=None)).economics
    assert none.reference is None
    assert "500 prompt and 4 answer tokens, as measured" in none.assumptions["serve_capacity_per_month"].source


def test_a_priced_model_at_a_local_address_is_a_question_where_hosted_models_may_not_serve(world: Path) -> None:
    edit(world, "[ladder]", "[constraints]\non_device = true\n[ladder]")
    priced = "input_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0\n"
    edit(world, '[models.weak]\nprovider = "scripted"\nfunction = "world.py:weak"\n', LOCAL + priced)

    def eligible() -> bool | None:
        return next(one for one in decide(evidence(world)).options if one.option == "baseline/weak").eligible

    assert eligible() is None
    met = replace(evidence(world), target=0.2, stale=())
    only = replace(met, rungs={name: rung for name, rung in met.rungs.items() if name != "model"})
    open_verdict = decide(only)
    assert (open_verdict.outcome, open_verdict.reason_code) == ("undecided", "eligible_unknown")
    assert "price and a local address" in open_verdict.reasons[0]
    assert "models.weak.forwards" in open_verdict.next_action.why
    for answer, allowed in (("true", False), ("false", True)):
        edit(world, LOCAL, f"{LOCAL}forwards = {answer}\n")
        assert eligible() is allowed
        edit(world, f"forwards = {answer}\n", "")
    # Without a price it is a server of one's own.
    edit(world, priced, "")
    assert eligible() is True


def test_an_option_that_names_its_model_does_not_name_it_twice_where_it_is_deployed(world: Path) -> None:
    option = next(one for one in decide(evidence(world)).options if one.rung == "model")
    assert option.model in {"weak", "strong"}
    named = replace(option, option="few_shot/per_case-8", model="strong")
    assert take_home(named).why == "Deploy few_shot/per_case-8."


def test_a_step_that_calls_a_model_names_the_price_that_is_missing_first(world: Path) -> None:
    hosted = '[models.strong]\nprovider = "openai"\nmodel = "m"\nbase_url = "https://x.invalid/v1"\n'
    edit(world, '[models.strong]\nprovider = "scripted"\nfunction = "world.py:strong"\n', hosted)
    rewrite(world, lambda record: record.update(at=["model", 0.0, "1"], partial="stopped at the rung model"))
    (world / ".tuneworthy" / "run.json").rename(world / ".tuneworthy" / "run-unfinished.json")
    found = evidence(world)
    assert found.unpriced == ["strong"] and found.incomplete
    action = decide(found).next_action
    assert action.command.startswith("tuneworthy run")
    assert action.why.startswith("Set `input_usd_per_mtok` and `output_usd_per_mtok` in [models.strong].")
    assert action.why.count("input_usd_per_mtok") == 1
    edit(world, hosted, hosted + "input_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n")
    assert "input_usd_per_mtok" not in decide(evidence(world)).next_action.why
