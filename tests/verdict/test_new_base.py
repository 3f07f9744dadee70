"""`decide --base`: a new base is measured with every other answer from the store, and the run and its verdict stay."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chat_server import chat_server, completion
from tests.ladder.simulations import LABELS, write_simulation

from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder import measurement
from tuneworthy.ladder.comparison_plan import read_comparisons
from tuneworthy.stats.comparisons import ALPHA
from tuneworthy.store import Folder
from tuneworthy.verdict.run import with_base

COUNTED = "(count('{0}'), {1})[1]"
COUNT = """

def count(name):
    with open(__file__.replace("world.py", "calls.txt"), "a") as calls:
        calls.write(name + "\\n")
"""
ANSWERS = {"weak": "answer(request, 0.4)", "better": "answer(request, 0.95)", "worse": "answer(request, 0.1)"}
STORED = ("run.json", "verdict.json")


def section(name: str) -> str:
    return f'[models.{name}]\nprovider = "scripted"\nfunction = "world.py:{name}"\n'


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one model that was run and decided; the functions of the others are there."""
    root = write_simulation(
        tmp_path_factory.mktemp("base") / "world",
        {name: COUNTED.format(name, code) for name, code in ANSWERS.items()},
        n_cases=160,
        rungs=["baseline", "prompt"],
    )
    script, path = root / "world.py", root / "tuneworthy.toml"
    script.write_text(script.read_text() + COUNT)
    path.write_text(re.sub(r"\[models\.(better|worse)\]\n.*\n.*\n", "", path.read_text()))
    assert list(load(root).models) == ["weak"]
    assert invoke(["run", "--project", str(root)]) == 0
    assert invoke(["decide", "--project", str(root)]) == 4
    return root


@pytest.fixture
def world(decided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = Path(shutil.copytree(decided, tmp_path / "world"))
    monkeypatch.chdir(root)
    Path("calls.txt").unlink(missing_ok=True)
    return root


def add(*names: str) -> None:
    path = Path("tuneworthy.toml")
    path.write_text(path.read_text() + "".join(section(name) for name in names))


def calls() -> Counter[str]:
    path = Path("calls.txt")
    return Counter(path.read_text().split() if path.exists() else [])


def contents() -> list[bytes]:
    return [Path(".tuneworthy", name).read_bytes() for name in STORED]


def change(capsys: pytest.CaptureFixture[str], base: str, status: int, *options: str) -> dict[str, Any]:
    capsys.readouterr()
    assert invoke(["decide", "--base", base, "--json", *options]) == status
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def moved(document: dict[str, Any]) -> dict[str, Any]:
    name = f"base/{document['base']}"
    return next(row for row in document["run"]["rungs"] if row["name"] == name)


def test_only_the_new_base_is_called_and_a_second_time_nothing_is(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents()
    stored = json.loads(before[1])
    add("better")
    found = change(capsys, "better", 3)
    n_dev, n_test = found["run"]["n_dev"], found["run"]["n_test"]
    assert calls() == {"better": n_dev + n_test + 33}  # dev, test, and the timed calls
    assert contents() == before
    assert found["before"]["outcome"] == stored["outcome"] == "undecided"
    assert found["before"]["recommendation"] == stored["recommendation"] == "baseline/weak"
    assert (found["after"]["outcome"], found["after"]["recommendation"]) == ("do_not_fine_tune", "base/better")
    row = moved(found)
    assert row["status"] == "adopted" and row["delta"] > 0.4 and row["delta_ci"][0] > 0.3 and row["alpha"] > 0
    again = change(capsys, "better", 3)
    assert sum(calls().values()) == n_dev + n_test + 33, "a call was repeated"
    assert moved(again) == row and again["after"] == found["after"]


def test_other_models_are_not_called_for_answers_that_are_gone(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in Path(".tuneworthy").glob("responses*"):
        path.unlink()
    add("better")
    assert invoke(["decide", "--base", "better"]) == 2
    assert "`tuneworthy run`" in capsys.readouterr().err and not calls()
    assert invoke(["run"]) == 0 and calls()["weak"] > 100


def test_a_case_that_failed_in_the_run_is_not_asked_again_for_a_new_base(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stored failure is the answer of the run."""
    script = Path("world.py")
    script.write_text(
        script.read_text()
        + """

def raises(request):
    from tuneworthy.errors import ProviderError

    if number(question(request), "failing") < 0.02:
        raise ProviderError("no JSON", code="malformed", retryable=False)
    return weak(request)
"""
    )
    path = Path("tuneworthy.toml")
    path.write_text(path.read_text().replace("world.py:weak", "world.py:raises"))
    assert invoke(["run"]) == 0
    add("better")
    n = calls()["weak"]
    assert moved(change(capsys, "better", 3))["n"] > 100
    assert calls()["weak"] == n


def test_after_cases_were_added_the_run_comes_first(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n_test = json.loads(contents()[0])["n_test"]
    rows = [{"input": f"item {i} matter {i * 7919 % 104729} n{i}", "expected": LABELS[i % 3]} for i in range(900, 960)]
    Path("more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert invoke(["cases", "add", "more.jsonl"]) == 0
    add("better")
    assert invoke(["decide", "--base", "better"]) == 2
    assert "`tuneworthy run`" in capsys.readouterr().err and not calls()
    assert invoke(["run"]) == 0
    n = calls()["weak"]
    assert n > 0 and moved(change(capsys, "better", 3))["n"] == n_test + 60
    assert calls()["weak"] == n


def test_one_comparison_is_charged_and_the_later_run_makes_the_same(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(world)
    planned = read_comparisons(folder)
    add("better")
    for _ in range(2):
        change(capsys, "better", 3)
    plan = read_comparisons(folder)
    assert len(plan.spent) == len(planned.spent) + 1 and plan.total_alpha <= ALPHA
    path = Path("tuneworthy.toml")
    path.write_text(path.read_text().replace('"prompt"', '"prompt", "model"').replace("'prompt'", "'prompt', 'model'"))
    Path("calls.txt").unlink()
    assert invoke(["run"]) == 0
    assert not calls(), "the run asks for the answers of the base again"
    assert read_comparisons(folder).spent == plan.spent


def test_a_base_that_does_not_lead_on_dev_takes_no_alpha_and_changes_nothing(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = read_comparisons(Folder(world))
    add("worse")
    found = change(capsys, "worse", 4)
    row = moved(found)
    assert row["alpha"] is None and row["delta"] < -0.1 and row["status"] != "adopted"
    assert read_comparisons(Folder(world)).spent == planned.spent
    assert found["after"]["recommendation"] == found["before"]["recommendation"]
    names = [one["option"] for one in found["after"]["options"]]
    assert "base/worse" in names and "base/worse" not in [one["option"] for one in found["before"]["options"]]


def test_after_the_rung_model_a_base_is_a_rung_of_its_own(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("tuneworthy.toml")
    path.write_text(path.read_text().replace("'prompt'", "'prompt', 'model'"))
    add("worse")
    assert invoke(["run"]) == 0
    add("better")
    found = change(capsys, "better", 3)
    assert moved(found)["rung"] == "base"
    assert [row["rung"] for row in found["run"]["rungs"]].count("model") == 1
    plan = read_comparisons(Folder(world))
    assert "base" in plan.slots and plan.total_alpha <= ALPHA
    assert invoke(["decide", "--base", "worse"]) == 2  # it was measured with the best prompt
    assert invoke(["run"]) == 0
    record = json.loads(Path(".tuneworthy/run.json").read_bytes())
    row = next(row for row in record["rungs"] if row["rung"] == "model")
    assert (row["name"], row["status"], row["alpha"]) == ("model/better", "adopted", moved(found)["alpha"])
    assert read_comparisons(Folder(world)).spent == plan.spent, "the same comparison is charged again"


def test_a_comparison_that_is_switched_off_adopts_nothing(
    world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add("better")
    decide = measurement.decide

    async def described(session: Any, best: Any, highest: Any, trial: Any, alpha: Any) -> Any:
        return await decide(session, best, highest, trial, None)

    monkeypatch.setattr("tuneworthy.ladder.run.decide", described)
    assert moved(change(capsys, "better", 3))["alpha"] is None


def test_the_base_is_asked_with_the_shots_that_won(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    share = "answer(request, 0.{0} if has_shots(request) else 0.2)"
    models = {"weak": share.format("6"), "better": share.format("95")}
    root = write_simulation(tmp_path / "world", models, n_cases=160, rungs=["baseline", "few_shot"])
    monkeypatch.chdir(root)
    path = Path("tuneworthy.toml")
    path.write_text(path.read_text().replace(section("better"), ""))
    assert invoke(["run"]) == 0
    add("better")
    found = change(capsys, "better", 3)
    row = moved(found)
    assert found["run"]["variants"][row["variant"]]["shots"]
    few_shot = next(one for one in found["run"]["rungs"] if one["rung"] == "few_shot")
    assert row["compared_to"] == few_shot["variant"] and row["score"] > 0.9


def test_what_cannot_be_measured_is_refused(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--base", "weak"], ["--base", "nobody"], ["--base", "weak", "--probe"], ["--base", "mars:x"]):
        assert invoke(["decide", *options]) == 2
    assert invoke(["decide", "--base", "openai:gpt-6-luna"]) == 2  # it costs money, and nothing limits that
    assert "--max-usd" in capsys.readouterr().err
    assert invoke(["decide", "--base", "openai:gpt-none", "--max-usd", "1"]) == 2
    shown = capsys.readouterr().err
    assert "price" in shown and "[models]" in shown and "models.gpt-none" not in shown
    shutil.rmtree(".tuneworthy")
    add("better")
    assert invoke(["decide", "--base", "better"]) == 2  # there is no run
    assert not calls()


def test_no_data_is_sent_where_the_constraints_keep_it(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("tuneworthy.toml")
    path.write_text(f"{path.read_text()}[constraints]\ndata_stays = true\n")
    assert invoke(["decide", "--base", "openai:gpt-6-luna", "--max-usd", "1"]) == 2
    assert "data_stays" in capsys.readouterr().err
    assert with_base(load(world), "ollama:m")[1] == "m"  # a server of one's own


def test_an_address_becomes_a_model_of_this_command_only(world: Path) -> None:
    project = load(world)
    wider, name = with_base(project, "openai:gpt-6-luna")
    assert name in wider.models and name not in project.models and wider.models[name].provider == "openai"
    assert with_base(project, "weak") == (project, "weak")
    assert with_base(wider, "ollama:gpt-6-luna")[1] == "ollama:gpt-6-luna"  # the short name is another model's
    with pytest.raises(UserError):
        with_base(project, "gpt-6-luna")


@pytest.fixture
def server() -> Iterator[tuple[str, list[int]]]:
    """Serve a model that gives the right label of a simulation; yields its address and the cases that it was asked."""
    asked: list[int] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        asked.append(int(re.findall(r"item (\d+)", body["messages"][-1]["content"])[-1]))
        return completion(body, ("red", "green", "blue")[asked[-1] % 3])

    with chat_server(answer) as address:
        yield address, asked


def test_a_model_that_no_section_names_is_measured_at_its_address(
    world: Path, server: tuple[str, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    before, toml = contents(), Path("tuneworthy.toml").read_bytes()
    address, asked = server
    base = f"openai:m@{address}"
    found = change(capsys, base, 3)
    n = len(asked)
    assert found["after"]["recommendation"] == "base/m" and moved(found)["score"] == 1.0 and n > 100
    assert not calls() and contents() == before and Path("tuneworthy.toml").read_bytes() == toml
    assert invoke(["decide", "--base", base]) == 3
    assert len(asked) == n
    said = capsys.readouterr().out
    assert "[models] as `m`" in said and "Before: Undecided" in said


def test_a_base_that_is_best_already_is_refused_before_anyone_is_asked_for_money(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["decide", "--base", "weak"]) == 2
    told = capsys.readouterr()
    assert "already on weak" in told.err and "Continue" not in told.err + told.out and not calls()
