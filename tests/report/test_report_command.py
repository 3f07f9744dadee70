"""`tuneworthy report`, from the command line, on a run of a scripted world."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
import report_records as records

from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.report import run_report
from tuneworthy.report.run_report import run_and_verdict
from tuneworthy.store import Folder
from tuneworthy.types import Case

PROJECT = """
[task]
name = "s"
target = 0.6
[[graders]]
type = "exact"
[models.m]
provider = "scripted"
function = "world.py:answer"
[ladder]
baseline = "m"
rungs = ["baseline", "prompt"]
"""
SIMULATION = """
def answer(request):
    number = int(request.messages[-1]["content"].split()[1])
    told = any("exactly one" in str(m["content"]) for m in request.messages)
    return "ab"[number % 2] if told or number % 3 else "x"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tuneworthy.toml").write_text(PROJECT)
    (tmp_path / "world.py").write_text(SIMULATION)
    rows = [{"input": f"question {i} secret-{i}", "expected": "ab"[i % 2]} for i in range(120)]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_run_is_reported_in_all_formats_without_a_case(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", "--project", str(project)]) == 0
    capsys.readouterr()
    assert invoke(["report", "--project", str(project)]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("Not decided yet. ") and "Without training: " in told.out
    assert "report.html" in told.err
    for name in ("r.md", "r.json"):
        assert invoke(["report", "--project", str(project), "--out", str(project / name)]) == 0
    cases = [json.loads(line)["input"] for line in (project / "cases.jsonl").read_text().splitlines()]
    split = str(Folder(project).read("split", dict)["test"])
    test = [text for text in cases if Case.make_id(text) in split]
    assert 0 < len(test) < len(cases)
    for name in ("report.html", "r.md", "r.json"):
        text = (project / name).read_text()
        assert "m model, " in text and ("baseline/m" in text or name != "r.json")
        assert not [case for case in test if re.search(rf"{case}\b", text)]  # of test: nothing
    assert "secret-" in (project / "r.json").read_text()  # of dev: wrong answers
    document = json.loads((project / "r.json").read_text())
    assert document["paragraph"] == told.out.splitlines()[-1].replace(f" --project {project}", "")
    del document["paragraph"]
    assert document | {"mark": ""} == (Folder(project).read("run", dict) or {}) | {"mark": ""}


def test_no_run_yet_is_the_users_to_mend(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["report", "--project", str(project)]) == 2
    assert f"Run `tuneworthy run --project {project}` first" in capsys.readouterr().err


def test_a_quick_run_is_reported_as_such(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", "--quick", "--project", str(project)]) == 4
    assert invoke(["report", "--project", str(project)]) == 0
    assert "Quick run: no verdict" in capsys.readouterr().out


def test_a_quick_run_is_out_of_date_by_a_setting_or_other_cases_and_not_by_a_price(project: Path) -> None:
    def stale() -> int:
        return len(run_and_verdict(load(project))[0].stale)

    assert invoke(["run", "--quick", "--project", str(project)]) == 4
    file, cases = project / "tuneworthy.toml", project / "cases.jsonl"
    text = file.read_text()
    file.write_text(f"{text}\n[economics]\nrequests_per_month = 20000\n")
    assert stale() == 0
    file.write_text(text.replace("[task]", "[task]\nmargin = 0.2", 1))
    assert stale() == 1
    file.write_text(text)
    cases.write_text(cases.read_text().replace("question", "query"))
    assert stale() == 1  # they cannot be used
    (Folder(project).path / "split.json").unlink()
    assert stale() > 0  # they are others


@pytest.mark.parametrize("name", ["report.pdf", "report", "report.HTML.exe"])
def test_an_unknown_ending_is_refused(project: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Folder(project).write("run", records.plain().to_dict())
    assert invoke(["report", "--project", str(project), "--out", str(project / name)]) == 2
    assert ".html, .md, .json" in capsys.readouterr().err
    assert not (project / name).exists()


def test_a_record_of_another_version_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Folder(project).write("run", {"rungs": [{"rung": "classical"}]})
    assert invoke(["report", "--project", str(project)]) == 2
    line = capsys.readouterr().err
    assert (
        "run.json is damaged (task" in line
        and f"Run `tuneworthy doctor --project {project}`" in line
        and "Traceback" not in line
    )


def test_a_file_that_can_not_be_written_is_told_and_the_old_one_stays(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Folder(project).write("run", records.plain().to_dict())
    path = project / "report.md"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", _full)
    assert invoke(["report", "--project", str(project), "--out", str(path)]) == 2
    assert "No space left" in capsys.readouterr().err
    assert path.read_text() == "old"
    assert not list(project.glob(".report.md.*"))


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_the_file_is_written_whole_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.md"
    run_report.write(records.plain(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.read_text().endswith("\n")


def test_a_report_of_what_was_measured_before_a_change_says_so(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["run", "--project", str(project)]) == 0
    invoke(["decide", "--project", str(project)])
    capsys.readouterr()
    assert invoke(["report", "--project", str(project)]) == 0
    assert "out of date" not in capsys.readouterr().out
    cases = project / "cases.jsonl"
    cases.write_text(cases.read_text().replace('"expected": "a"', '"expected": "b"', 3))
    assert invoke(["report", "--project", str(project)]) == 0
    told = (
        "These results are out of date: labels of cases have changed; the examples have changed. "
        "Run `tuneworthy run` again. The last"
    )
    assert "The last verdict is out of date" in capsys.readouterr().out
    page = (project / "report.html").read_text()
    assert told.replace("`", "") in page and "The last verdict is out of date" in page
