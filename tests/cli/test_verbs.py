"""Every verb through the real command line with scripted models: exit statuses, and pure JSON with its keys."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import click
import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.cli import VERBS, invoke
from tuneworthy.cli.run import agree_to_spend, with_consent
from tuneworthy.config import load
from tuneworthy.executors import REPEATED
from tuneworthy.store import Folder

KEYS = "task n_dev n_test alpha comparisons cost_usd rungs best"
RUNG_KEYS = (
    "rung status reason reason_code variant compared_to candidates_tried n unscored score ci95 delta delta_ci p_value "
    "cost_usd usd_per_1k latency_p50_ms latency_p95_ms input_tokens output_tokens"
)
VERDICT_KEYS = (
    "outcome stage reason_code reasons options recommendation training gates errors forecast economics next_action "
    "valid_until"
)
PAID = "input_usd_per_mtok = 1000.0\noutput_usd_per_mtok = 1000.0\n"
SERVED = '[models.served]\nprovider = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\nretries = 0\n'
FREE = "input_usd_per_mtok = 0\noutput_usd_per_mtok = 0\n"
MODELS = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.95)"}


def write(root: Path, models: dict[str, str] | None = None, **options: Any) -> Path:
    rungs = options.pop("rungs", ["baseline", "model"])
    return write_simulation(root, models or MODELS, n_cases=60, n_examples=210, rungs=rungs, **options)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write(tmp_path_factory.mktemp("walked") / "world")
    assert invoke(["run", "--project", str(root)]) == 0
    return root


@pytest.fixture
def run_record(walked: Path, tmp_path: Path) -> Path:
    """A project of its own that was run."""
    return Path(shutil.copytree(walked, tmp_path / "world"))


def told(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> Any:
    """Run a verb with --json and return the whole of stdout, read as one document."""
    capsys.readouterr()
    assert invoke([*map(str, words), "--json"]) == status
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *words: object, status: int = 2) -> str:
    """Run a verb that must fail with one line of error on stderr, and return that line."""
    capsys.readouterr()
    assert invoke([*map(str, words)]) == status
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error[E-")]
    assert len(lines) == 1, err
    assert "Traceback" not in out + err
    return lines[0]


# run


def test_run_prints_the_contract_as_json(run_record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = told(capsys, "run", "--project", run_record)
    assert set(KEYS.split()) <= set(record)
    assert all(set(RUNG_KEYS.split()) <= set(rung) for rung in record["rungs"])
    assert [(rung["rung"], rung["status"]) for rung in record["rungs"]] == [
        ("baseline", "reference"),
        ("model", "adopted"),
    ]
    assert record["best"] == {"rung": "model", "variant": record["rungs"][1]["variant"]}


def test_run_again_asks_nothing_and_takes_no_look(run_record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run_record / "world.py").write_text((run_record / "world.py").read_text())
    first, second = (told(capsys, "run", "--project", run_record) for _ in range(2))
    assert first == second


def test_a_quick_run_looks_at_dev_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = told(capsys, "run", "--quick", "--project", write(tmp_path), status=4)
    assert record["quick"] and record["comparisons"]["made"] == 0
    assert {rung["score"] for rung in record["rungs"]} == {None}


def test_run_refuses_an_unknown_rung_and_a_missing_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "run", "--rung", "ladder", "--project", write(tmp_path))
    assert "Unknown rung: 'ladder'. Choose one of: classical, baseline, " in line
    left_out = refused(capsys, "run", "--rung", "prompt", "--project", tmp_path)
    assert "The rung 'prompt' is not in ladder.rungs. Rungs of this project: baseline, model." in left_out
    assert "no project file at" in refused(capsys, "run", "--project", tmp_path / "none")


def test_run_exits_4_if_the_budget_is_spent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write(tmp_path)
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace('"world.py:weak"\n', f'"world.py:weak"\n{PAID}'))
    record = told(capsys, "run", "--max-usd", "0.01", "--project", root, status=4)
    assert record["partial"].startswith("stopped at the rung baseline: The limit of $")
    assert record["cost_usd"] <= 0.01


def test_run_exits_5_if_the_provider_is_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write(tmp_path, extra=SERVED + FREE)
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace('baseline = "weak"', 'baseline = "served"'))
    record = told(capsys, "run", "--project", root, status=5)
    assert "stopped at the rung baseline: " in record["partial"]
    assert invoke(["report", "--project", str(root), "--out", str(tmp_path / "r.md")]) in {0, 2}


def test_run_exits_4_if_nothing_can_be_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write(tmp_path, {"weak": "1 / 0"})
    capsys.readouterr()
    status = invoke(["run", "--json", "--project", str(root)])
    out, err = capsys.readouterr()
    assert status in {2, 4}, err
    assert "ZeroDivisionError" in err and "Traceback" not in err
    assert out == "" or json.loads(out)


# money is asked for before it is spent


@pytest.mark.parametrize("verb", [("run",), ("compare", "current", "strong.json", "--test"), ("decide", "--probe")])
def test_money_is_not_spent_unasked(
    verb: tuple[str, ...], run_record: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = run_record / "tuneworthy.toml"
    file.write_text(file.read_text().replace('"world.py:weak"\n', f'"world.py:weak"\n{PAID}'))
    monkeypatch.chdir(run_record)
    assert invoke(["export", "variant", "model", "--out", "strong"]) == 0
    shutil.copy(run_record / "strong" / "variant.json", run_record / "strong.json")
    line = refused(capsys, *verb)
    assert line.startswith("error[E-INPUT-01]: No budget is set, but these services are billed: weak.")
    monkeypatch.setenv(REPEATED, "next.sh")  # the user agreed before Slurm ran the command again
    assert invoke([*verb]) != 2
    monkeypatch.delenv(REPEATED)
    assert invoke([*verb, "--yes"]) != 2
    assert invoke([*verb, "--max-usd", "100"]) != 2


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_printed_step_carries_the_consent_it_needs_without_a_terminal(
    run_record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = (
        "Do it: `tuneworthy run --rung model`. `tuneworthy decide --probe && tuneworthy decide`, `tuneworthy status`."
    )
    assert with_consent(step, load(run_record), 0.5) == step  # nothing is billed
    file = run_record / "tuneworthy.toml"
    file.write_text(file.read_text().replace('"world.py:weak"\n', f'"world.py:weak"\n{PAID}'))
    found = with_consent(step, load(run_record), 0.501)
    assert "`tuneworthy run --rung model --max-usd 2`" in found and "`tuneworthy status`" in found
    assert "`tuneworthy decide --probe --max-usd 2 && tuneworthy decide`" in found
    assert with_consent(found, load(run_record), 0.5) == found
    assert with_consent("tuneworthy run", load(run_record)) == "tuneworthy run --yes"
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdin.isatty", lambda: True, raising=False)
        assert with_consent(step, load(run_record)) == step
        canary = "tuneworthy shadow proxy URL --candidate best --canary"
        assert with_consent(canary, load(run_record), 0.5, unattended=True) == f"{canary} --max-usd 1"
        patched.setattr("click.confirm", lambda *_, **__: pytest.fail("it asked"))
        agree_to_spend(load(run_record), 1.0, yes=False)
        asked: list[str] = []
        patched.setattr("click.confirm", lambda text, **_: asked.append(text))
        patched.setattr("tuneworthy.cli.run.walk", interrupted)
        assert invoke(["run", "--project", str(run_record)]) == 130
        assert "calls, costs about $" in asked[0]
    file.write_text(file.read_text().replace("[ladder]\n", "[ladder]\nbudget_usd = 5.0\n"))
    assert with_consent(step, load(run_record)) == step


def test_free_models_are_asked_without_a_word_beside_paid_ones(
    run_record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run_record / "tuneworthy.toml"
    file.write_text(file.read_text().replace("[ladder]", f"{SERVED}{PAID}[ladder]"))
    assert told(capsys, "compare", "baseline", "best", "--project", run_record)["answer"] == "better"
    assert invoke(["compare", "baseline", "best", "--project", str(run_record)]) == 0
    assert "Next: tuneworthy decide" in capsys.readouterr().out  # it is on test already


# compare


@pytest.mark.parametrize(
    ("pair", "status", "answer"),
    [(("baseline", "best"), 0, "better"), (("best", "baseline"), 3, "worse"), (("baseline", "current"), 0, "same")],
)
def test_a_gate_says_by_its_status_how_a_comparison_ended(
    pair: tuple[str, str], status: int, answer: str, run_record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("compare", *pair, "--gate", "--project", run_record)
    found = told(capsys, *words, status=status)
    assert found["answer"] == answer
    assert {"a", "b", "on", "margin", "unscored", "cost_usd", "paired"} <= set(found)
    assert told(capsys, "compare", *pair, "--project", run_record)["answer"] == answer  # without --gate: 0


def test_a_gate_exits_4_where_nothing_is_resolved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = {"weak": "answer(request, 0.6)", "other": "answer(request, 0.62, 'x')"}
    root = write(tmp_path, models)
    assert invoke(["run", "--project", str(root)]) == 0
    found = told(capsys, "compare", "baseline", "model", "--gate", "--project", root, status=4)
    assert found["answer"] == "unresolved"


def test_compare_writes_a_file_in_the_format_of_its_ending(
    run_record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tuneworthy.report.comparison import ENDINGS

    outs = [tmp_path / f"result{ending}" for ending in ENDINGS]
    words = ["compare", "best", "baseline", "--project", str(run_record)]
    assert invoke([*words, *(word for out in outs for word in ("--out", str(out)))]) == 0
    capsys.readouterr()
    for out, form in zip(outs, ENDINGS.values(), strict=True):
        assert invoke([*words, "--format", form]) == 0
        shown, read = capsys.readouterr().out.replace(f" --project {run_record}", ""), out.read_text()
        if form == "json":  # the second time every answer is stored and costs nothing
            shown, read = (json.loads(text) | {"cost_usd": 0} for text in (shown, read))
        assert shown == read
    assert "x.html must end in one of: .txt, .json, .md, .xml." in refused(capsys, *words, "--out", "x.html")
    assert "Cannot write" in refused(capsys, *words, "--out", outs[0] / "x.md")


def test_compare_refuses_what_is_not_there(run_record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "compare", "baseline", "nobody", "--project", run_record)
    assert "Use one of current, best, baseline, model, or a variant ID" in line
    (run_record / "variant.json").write_text("[1]")
    assert "is not a valid exported variant" in refused(
        capsys, "compare", "current", run_record / "variant.json", "--project", run_record
    )
    (run_record / ".tuneworthy" / "run.json").unlink()
    assert "There is no run yet." in refused(capsys, "compare", "current", "best", "--project", run_record)


def test_a_comparison_on_test_takes_its_look_from_the_reserve(
    run_record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reserve holds 0.01 and the 0.04 of the one rung, which was adopted and passed it on."""
    same = told(capsys, "compare", "baseline", "best", "--test", "--project", run_record)
    assert same["paired"]["alpha"] == pytest.approx(0.04), "the comparison of the run costs nothing again"
    found = told(capsys, "compare", "best", "baseline", "--test", "--project", run_record)
    assert found["on"] == "test" and found["paired"]["alpha"] == pytest.approx(0.025)
    comparisons = json.loads((run_record / ".tuneworthy" / "comparisons.json").read_text())
    assert comparisons["planned"] == comparisons["passed"] == ["model"]
    assert comparisons["added"] == pytest.approx({"baseline": 0.0, "compare": 0.025})


# export, report, decide, status, matrix, models


@pytest.mark.parametrize("words", [("export", "gguf"), ("export", "ollama")])
def test_what_exports_a_trained_model_refuses_where_there_is_none(
    words: tuple[str, ...], run_record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Run `tuneworthy" in refused(capsys, *words, "--project", run_record)


def test_export_writes_the_winner_and_lists_the_files(
    run_record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = told(capsys, "export", "variant", "best", "--out", tmp_path / "out", "--project", run_record)
    assert [Path(path).name for path in paths] == ["variant.json", "prompt.md"]
    variant = json.loads((tmp_path / "out" / "variant.json").read_text())
    assert variant["model"] == "strong"
    assert "Use one of current" in refused(capsys, "export", "variant", "nobody", "--project", run_record)


def test_report_writes_each_format_and_refuses_others(run_record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for ending in ("html", "md", "json"):
        assert invoke(["report", "--project", str(run_record), "--out", str(run_record / f"r.{ending}")]) == 0
    assert json.loads((run_record / "r.json").read_text())
    assert "must end in" in refused(capsys, "report", "--project", run_record, "--out", run_record / "r.docx")
    shutil.rmtree(run_record / ".tuneworthy")
    assert "There is no run yet." in refused(capsys, "report", "--project", run_record)


def test_decide_prints_the_contract_as_json(run_record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = told(capsys, "decide", "--project", run_record, status=3)
    assert set(VERDICT_KEYS.split()) <= set(verdict)
    assert (verdict["outcome"], verdict["recommendation"]) == ("do_not_fine_tune", "model/strong")
    targets = {option["option"]: option["target"] for option in verdict["options"]}
    assert targets == {"baseline/weak": "missed", "model/strong": "met", "fine_tune": None}
    assert all({"gate", "stage", "status", "evidence", "detail"} <= set(gate) for gate in verdict["gates"])
    assert {"status", "gain", "ci95", "n_examples"} <= set(verdict["forecast"])
    assert {"status", "break_even_requests_per_month", "assumptions"} <= set(verdict["economics"])


def test_decide_exits_4_where_the_ladder_was_not_walked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write(tmp_path, rungs=["baseline"])
    assert invoke(["decide", "--project", str(root)]) == 4
    assert "run" in "".join(capsys.readouterr())
    assert invoke(["run", "--project", str(root)]) == 0
    verdict = told(capsys, "decide", "--probe", "--project", root, status=4)
    assert verdict["outcome"] == "undecided" and verdict["errors"]
    assert all({"class", "share", "ci95", "fixed_by"} <= set(row) for row in verdict["errors"])


def test_each_outcome_has_its_exit_status(
    run_record: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Decided:
        outcome = ""

        def to_dict(self) -> dict[str, Any]:
            return {"outcome": self.outcome}

    async def decided(*_: Any, **__: Any) -> Decided:
        return Decided()

    monkeypatch.setattr("tuneworthy.cli.decide.decide_project", decided)
    statuses = {"fine_tune": 0, "ship": 0, "do_not_fine_tune": 3, "do_not_ship": 3, "undecided": 4}
    for outcome, status in statuses.items():
        monkeypatch.setattr(Decided, "outcome", outcome)
        assert told(capsys, "decide", "--project", run_record, status=status) == {"outcome": outcome}


def test_status_and_models_print_json(run_record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {"steps", "next"} <= set(told(capsys, "status", "--project", run_record))
    assert {"store", "models"} <= set(told(capsys, "models", "list"))
    assert "Choose one of: list, pull" in refused(capsys, "models", "probe", "nobody", "--project", run_record)
    assert invoke(["status", "--project", str(run_record)]) == 0


def test_status_says_to_wait_while_another_process_works(run_record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Folder(run_record).lock(print):
        assert invoke(["status", "--project", str(run_record)]) == 0
    assert f"Next: wait until process {os.getpid()}" in capsys.readouterr().out


def test_check_and_cases_print_json(run_record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {"findings", "errors"} <= set(told(capsys, "check", "--project", run_record))
    assert told(capsys, "cases", "show", "--project", run_record)["on"] == "dev"
    assert "no-such-case" in refused(capsys, "cases", "show", "no-such-case", "--project", run_record)


# init


def data(path: Path, n: int) -> Path:
    path.write_text("text,colour\n" + "".join(f"thing {i},{('red', 'green')[i % 2]}\n" for i in range(n)))
    return path


def test_init_makes_a_project_that_is_checked_without_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEWORTHY_HOME", str(tmp_path / "home"))
    columns = ("--input", "text", "--expected", "colour")
    made = told(capsys, "init", tmp_path / "p", "--data", data(tmp_path / "d.csv", 400), *columns, "--n-cases", "100")
    assert {"project", "kind", "n_cases", "n_examples", "n_answered", "notes", "untrusted"} == set(made)
    assert (made["kind"], made["n_cases"], made["n_examples"]) == ("label", 100, 300)
    assert not any("A smaller test set" in line for line in made["notes"])
    assert "already contains a project" in refused(
        capsys, "init", tmp_path / "p", "--data", tmp_path / "d.csv", *columns
    )
    assert "expected" in refused(capsys, "init", tmp_path / "q", "--data", tmp_path / "none.csv")


def test_init_warns_of_a_tiny_file_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["init", str(tmp_path / "p"), "--data", str(data(tmp_path / "d.csv", 12)), "--input", "text",
                "--expected", "colour"]) == 0  # fmt: skip
    lines = [line for line in capsys.readouterr().err.splitlines() if "the test set needs" in line]
    assert lines == [
        "The project has 12 cases, but the test set needs at least 50. A smaller test set detects only very large "
        "differences. Add cases before you run the ladder."
    ]


# all


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out and f"tuneworthy {verb}" in out


def test_a_wrong_option_exits_2_and_an_interruption_130(
    run_record: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke(["run", "--no-such-option"]) == 2
    monkeypatch.setattr("tuneworthy.cli.run.walk", interrupted)
    capsys.readouterr()
    assert invoke(["run", "--project", str(run_record)]) == 130
    assert capsys.readouterr().err.strip().startswith("Stopped. Finished calls are cached.")

    def ended(*_: Any, **__: Any) -> None:
        raise click.Abort

    monkeypatch.setattr("tuneworthy.cli.run.agree_to_spend", ended)
    assert invoke(["run", "--project", str(run_record)]) == 130
    assert "cached" not in capsys.readouterr().err


def test_a_limit_that_is_no_number_is_no_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", "--max-usd", "nan"]) == 2
    assert "[E-USAGE-01]: Invalid value for '--max-usd'" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told_in_a_line(
    run_record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "page.html"
    assert f"Cannot write {place}: " in refused(capsys, "report", "--project", run_record, "--out", place)
