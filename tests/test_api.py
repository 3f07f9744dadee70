"""A project from Python: typed results, in a script and in a notebook."""

from __future__ import annotations

import asyncio
import doctest
import re
import signal
import threading
from pathlib import Path
from types import ModuleType

import pytest

import tuneworthy
from tests.ladder.simulations import write_simulation
from tuneworthy import api, extras
from tuneworthy.api import OpenProject
from tuneworthy.errors import Undecided, UserError
from tuneworthy.ladder.record import RunRecord
from tuneworthy.providers.http_client import blocking
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.base import Outcome

MODELS = {"small": "answer(request, 0.9 if 'colour' in system(request) else 0.3)"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> OpenProject:
    root = write_simulation(
        tmp_path_factory.mktemp("api") / "my-task", MODELS, n_cases=120, rungs=["baseline", "prompt"]
    )
    opened = tuneworthy.open(root)
    opened.run()
    opened.decide()
    return opened


def test_the_methods_return_what_the_commands_store(project: OpenProject) -> None:
    record, verdict = project.run(), project.decide()
    assert isinstance(record, RunRecord) and isinstance(verdict, Verdict) and isinstance(verdict.outcome, Outcome)
    assert record.best is not None and record.best.variant in record.variants
    result = project.compare("baseline", "best")
    assert (result.on, result.a) == ("dev", "baseline/small")
    assert tuneworthy.open(project.project).decide() == verdict
    assert repr(project) == f"OpenProject({str(project.project.root)!r})"


def test_fresh_cases_are_scored_and_known_questions_refused(project: OpenProject, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.csv"
    rows = [f"item {i} thing {i * 31 % 997} n{i},{('red', 'green', 'blue')[i % 3]}" for i in range(500, 560)]
    fresh.write_text("\n".join(["input,expected", *rows]))
    found = project.score(fresh, "baseline", "best")
    assert list(found) == ["baseline", "best"] and all(len(one.num) == 60 for one in found.values())
    assert all(0.8 < one.scores.mean() < 1 for one in found.values())
    fresh.write_text("\n".join(["input,expected", *(row.replace("red", "blue") for row in rows)]))
    assert project.score(fresh, "best")["best"].scores.mean() < 0.7
    own = project.project.root / "cases.jsonl"
    with pytest.raises(UserError, match="cases ask a question of the project's own"):
        project.score(own, "best")


def test_the_options_are_a_data_frame(project: OpenProject) -> None:
    pytest.importorskip("pandas")
    frame, verdict = project.options(), project.decide()
    assert list(frame.index) == [option.option for option in verdict.options]
    assert frame["score"].dropna().tolist() == [one.score for one in verdict.options if one.score is not None]
    assert frame.attrs["changed"] == []
    changed = project.project.model_copy(update={"split": project.project.split.model_copy(update={"seed": 99})})
    assert len(OpenProject(changed).options().attrs["changed"]) == 1


def test_a_notebook_shows_the_report_and_runs_inside_its_event_loop(project: OpenProject) -> None:
    async def cell() -> str:
        assert project.decide().outcome
        return project.report()._repr_html_()

    shown = asyncio.run(cell())
    assert shown.startswith("<iframe srcdoc=") and 'sandbox=""' in shown and "<script" not in shown
    report = project.report()
    assert report.html.lower().startswith("<!doctype html>") and report.paragraph in project.write_report(
        _beside(project)
    )


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError):
        tuneworthy.open(tmp_path)
    (tmp_path / "cases.jsonl").write_text("")
    with pytest.raises(UserError, match="no project file"):
        tuneworthy.open(tmp_path / "cases.jsonl")
    empty = tuneworthy.open(write_simulation(tmp_path / "task", MODELS, n_cases=60, rungs=["baseline"]))
    with pytest.raises(Undecided) as caught:
        empty.decide()
    assert caught.value.__context__ is None  # its traceback shows no other error
    with pytest.raises(UserError, match="There is no run yet"):
        empty.report()
    monkeypatch.setattr(extras, "find_spec", lambda _: object())
    with pytest.raises(Undecided, match="no verdict yet"):
        empty.options()
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="needs pandas"):
        empty.options()


def test_commands_return_their_json_and_raise_their_errors(project: OpenProject, tmp_path: Path) -> None:
    made = project.export("variant", "best", out=tmp_path / "winner")
    assert all(Path(path).is_file() for path in made) and str(tmp_path) in repr(made)
    with pytest.raises(UserError, match="--outt"):
        project.export("variant", outt="x")
    with pytest.raises(UserError, match="train"):
        project.train(unsafe=True)

    async def cell() -> object:
        return project.export("variant", "best", out=tmp_path / "other")

    assert asyncio.run(cell())


def test_results_are_shown_in_ten_lines_and_as_html(project: OpenProject, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.csv"
    fresh.write_text("input,expected\nitem 900 thing,red\nitem 901 thing,blue\n")
    verdict = project.decide()
    results = [project.run(), verdict, project.compare("baseline", "best"), project.compare("best", "best"),
               project.report(), project.score(fresh, "best")["best"]]  # fmt: skip
    for result in results:
        lines = repr(result).splitlines()
        assert 1 <= len(lines) <= 10 and max(map(len, lines)) < 1000 and result._repr_html_().startswith("<")
    assert verdict.options[0].option in repr(verdict) and verdict.options[0].option in verdict._repr_html_()


def test_a_stopped_cell_stops_the_work() -> None:
    stopped = []

    async def work() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            stopped.append(True)
            raise

    async def cell() -> None:
        threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            blocking(work())

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    loop = asyncio.new_event_loop()  # as in a notebook, whose loop handles no signal
    try:
        loop.run_until_complete(cell())
    finally:
        loop.close()
        signal.signal(signal.SIGINT, before)
    assert stopped == [True]


@pytest.mark.parametrize("limit", [float("nan"), -1.0])
def test_a_limit_that_is_no_amount_is_refused_before_a_call(project: OpenProject, limit: float) -> None:
    for call in (project.run, project.decide):
        with pytest.raises(UserError) as caught:
            call(max_usd=limit)
        assert caught.value.error_code == "E-INPUT-01"
        assert "max_usd" in caught.value.message


class AnyValue(doctest.OutputChecker):
    """What another project gives is of the same kind: its beginning agrees."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return re.split("[.(]", want)[0] == re.split("[.(]", got)[0]


@pytest.mark.parametrize("module", [tuneworthy, api])
def test_the_examples_in_docstrings_run(
    module: ModuleType, project: OpenProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.project.root.parent)
    examples = [one for one in doctest.DocTestFinder().find(module, globs={"tuneworthy": tuneworthy}) if one.examples]
    for test in examples:
        for example in test.examples:
            example.options.clear()  # without such a folder they are skipped
        assert doctest.DocTestRunner(AnyValue()).run(test).failed == 0
    assert examples


def test_an_example_that_no_longer_runs_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    test = doctest.DocTestParser().get_doctest(">>> tuneworthy.opened('a')\n", {"tuneworthy": tuneworthy}, "", None, 0)
    assert doctest.DocTestRunner(AnyValue()).run(test).failed == 1


def _beside(project: OpenProject) -> Path:
    return project.project.root / "report.md"
