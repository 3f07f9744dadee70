"""`run --batch` and `data distill --batch` through the command line: prices, rounds, and files for vLLM."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest

from tests.batch_server import FACTOR, INPUT, OUTPUT, BatchServer, Line, batch_server
from tuneworthy import config
from tuneworthy.cli import invoke
from tuneworthy.dataset.importing.folder import latest_import
from tuneworthy.engine import batch_rounds
from tuneworthy.engine.models import OpenModel
from tuneworthy.ladder.estimate import estimate_run
from tuneworthy.ladder.task_data import read_data
from tuneworthy.store import Folder, ResponseStore

from .resume_project import openai, record, write_lines, write_project
from .resume_server import say


class Colours(BatchServer):
    """Names colours.

    Attributes:
        systems: System prompts by question.
    """

    def __init__(self) -> None:
        super().__init__()
        self.systems: dict[str, str] = {}

    def answer(self, body: Line, kind: str) -> Line:
        self.systems[str(body["messages"][-1]["content"])] = str(body["messages"][0]["content"])
        found = super().answer(body, kind)
        found["choices"][0]["message"]["content"] = say(body)
        found["usage"]["prompt_tokens"] = len(json.dumps(body["messages"])) // 4
        return found


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("tests.batch_server.BatchServer", Colours)
    monkeypatch.setattr(OpenModel, "batch_factor", FACTOR)  # a server on this machine is not in the table of prices
    monkeypatch.setattr(batch_rounds, "POLL_S", 0.02)
    with batch_server() as server:
        prices = {"input_usd_per_mtok": INPUT, "output_usd_per_mtok": OUTPUT}
        model = openai(server.url, **prices)
        root = write_project(tmp_path / "p", model, n_cases=150, n_examples=20, rungs="baseline few_shot")
        yield root, server


def spent(root: Path) -> float:
    store = ResponseStore(Folder(root).responses)
    try:
        return store.spending().usd
    finally:
        store.close()


def test_a_run_in_batches_costs_the_batch_price_and_ends_like_one_with_single_calls(project: Any) -> None:
    root, server = project
    assert invoke(["run", "--batch", "--yes", "--project", str(root)]) == 0
    timed = sum(server.single.values())  # latency is measured one call at a time
    assert server.asked["create"] >= 4 and 0 < timed < sum(server.submitted.values())
    assert spent(root) == pytest.approx(server.bill)
    batched = record(root)
    assert sum(row["cost_usd"] for row in batched["rungs"]) == pytest.approx(server.bill)
    bill = server.bill
    assert invoke(["run", "--yes", "--project", str(root)]) == 0  # all answers are stored
    assert server.bill == bill and record(root)["rungs"] == batched["rungs"]
    single = write_project(
        root.parent / "single", (root / "tuneworthy.toml").read_text().split("[models.m]\n")[1].split("[ladder]")[0],
        n_cases=150, n_examples=20, rungs="baseline few_shot",
    )  # fmt: skip
    assert invoke(["run", "--yes", "--project", str(single)]) == 0
    for row, other in zip(batched["rungs"], record(single)["rungs"], strict=True):
        same = ("status", "score", "usd_per_1k")  # the cost of an answer is that of serving
        assert [row[name] for name in same] == [other[name] for name in same]
    found = estimate_run(config.load(root), read_data(config.load(root)), {})
    assert found and found.batches >= server.asked["create"] and found.usd > found.batch_usd > FACTOR * found.usd
    assert re.search(r"\$\d+\.\d\d and takes about .* with single calls, or about \$\d+\.\d\d in up to \d+ batches",
                     found.in_batches())  # fmt: skip


def test_the_judge_is_asked_in_batches_as_well(project: Any) -> None:
    root, server = project
    text = (root / "tuneworthy.toml").read_text()
    judge = 'type = "judge"\nmodel = "m"\nrubric = "The colour is right."'
    (root / "tuneworthy.toml").write_text(text.replace('type = "exact"', judge).replace(' "few_shot"', ""))
    assert invoke(["run", "--batch", "--yes", "--project", str(root)]) in {0, 4}
    judged = [question for question in server.submitted if "What makes an answer good" in server.systems[question]]
    assert len(judged) >= 100 and not set(judged) & server.single.keys()
    assert {*map(server.submitted.get, judged)} == {1} and spent(root) == pytest.approx(server.bill)


def test_a_teacher_on_vllm_answers_in_files(project: Any, capsys: pytest.CaptureFixture[str]) -> None:
    root, server = project
    with (root / "tuneworthy.toml").open("a") as file:
        file.write('[data]\nencoder = "off"\n[teacher]\nmodel = "t"\n[models.t]\nprovider = "vllm"\n')
        file.write(f'model = "big"\nbase_url = "{server.url}"\n')
    write_lines(root / "q.jsonl", [{"input": f"Which shade has thing {i * 7919}, the red one?"} for i in range(30)])
    command = ["data", "distill", str(root / "q.jsonl"), "--batch", "--yes", "--project", str(root)]
    assert invoke(command) == 5
    said = capsys.readouterr().err
    (path,) = (root / ".tuneworthy" / "batches").glob("*.in.jsonl")
    assert f"vllm run-batch -i {path}" in said and "--model big" in said
    assert invoke([*command[:3], *command[4:]]) == 5 and "not fetched yet: 30" in capsys.readouterr().err
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    done = [
        {"custom_id": line["custom_id"], "error": None,
         "response": {"status_code": 200, "body": {**server.answer(line["body"], "openai"), "model": f"v{n % 2}"}}}
        for n, line in enumerate(lines)
    ]  # fmt: skip
    write_lines(path.with_name(path.name.replace(".in.", ".out.")), done)
    assert invoke(command) == 0
    made = latest_import(Folder(root))
    assert (
        made
        and made.record.n_kept == 30
        and not server.single
        and "30 answers (0 new calls)" in capsys.readouterr().out
    )
    assert any("v0" in note and "v1" in note for note in made.record.notes)  # the weights changed on the way
    assert invoke(["doctor", "--release", "--project", str(root)]) == 0


@pytest.mark.parametrize("batch", [True, False])
def test_a_distillation_says_what_it_costs_both_ways_before_it_asks_anything(
    project: Any, batch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, server = project
    with (root / "tuneworthy.toml").open("a") as file:
        file.write('[data]\nencoder = "off"\n[teacher]\nmodel = "m"\nsamples = 3\nself_consistency = 0.5\n')
    write_lines(root / "q.jsonl", [{"input": f"Which shade has thing {i}?"} for i in range(30)])
    asked: list[str] = []

    def confirm(text: str, **_: Any) -> None:
        asked.append(text)
        raise click.Abort

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", confirm)
    command = ["data", "distill", str(root / "q.jsonl"), *["--batch"] * batch, "--limit", "20", "--project", str(root)]
    assert invoke(command) != 0 and not server.single and not server.submitted
    (said,) = asked
    found = re.search(r"\$(.*) and takes about .* with single calls, or about \$(.*) in up to 1 batch", said)
    assert ("makes about 60 calls" in said) is not batch and bool(found) is batch
    assert not found or float(found[1]) * FACTOR == pytest.approx(float(found[2]), abs=0.01)


def test_batches_and_shards_exclude_each_other(project: Any, capsys: pytest.CaptureFixture[str]) -> None:
    root, _ = project
    assert invoke(["run", "--batch", "--shard", "2", "--yes", "--project", str(root)]) == 2
    assert "--batch cannot be combined" in capsys.readouterr().err
