"""The proof's runner: resumes where it was killed, with the same record, and counts what it says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PROOF = Path(__file__).parents[2] / "benchmarks" / "proof"
sys.path.insert(0, str(PROOF))

import run  # noqa: E402
from registry import Task, read_tasks  # noqa: E402

from tests.proof.test_registry import write_data  # noqa: E402
from tuneworthy.graders.judging import ScoredAnswers  # noqa: E402

TASK = read_tasks()["basque-intents"]


class Killed(BaseException):
    pass


class Tool:
    """Stands in for the commands: counts them, and is killed during those it is told."""

    def __init__(self, *kill_at: int) -> None:
        self.calls: list[str] = []
        self.kill_at = list(kill_at)

    def __call__(self, folder: Path, step: tuple[str, ...]) -> tuple[int, str]:
        self.calls.append(" ".join(step))
        if self.kill_at and len(self.calls) == self.kill_at[0]:
            self.kill_at.pop(0)
            raise Killed
        options = [
            {"option": "baseline", "rung": "baseline", "score": 0.4},
            {"option": "prompt", "rung": "prompt", "score": 0.3},
            {"option": "few_shot", "rung": "few_shot", "score": None},
            {"option": "fine_tune", "rung": "fine_tune", "kind": "fine_tune", "score": 0.95},
            {"option": "fine_tune/greedy", "rung": "fine_tune", "kind": "tuned", "score": 0.97},
        ]  # of the pilot
        outcomes = ["undecided", "fine_tune", "do_not_ship"]  # of the three times that it decides
        verdict = {"outcome": outcomes[self.calls.count("decide")], "reason_code": "g", "recommendation": "baseline",
                   "training": None, "forecast": {}, "options": options}  # fmt: skip
        return (3, json.dumps(verdict)) if step[0] == "decide" else (0, "{}")


def answers(share: float, unscored: int = 0) -> ScoredAnswers:
    num = (np.arange(200) < 200 * share).astype(float)
    num[:unscored] = np.nan
    return ScoredAnswers(traces=(), num=num, den=np.ones(200))


def finish(
    tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch, unscored: int = 0, **shares: float
) -> dict[str, Any]:
    class Opened:
        def score(self, path: Path, *names: str) -> dict[str, ScoredAnswers]:
            share = {"baseline": 0.4, "prompt": 0.5, "fine_tune": 0.9, **shares}
            return {name: answers(share[name], unscored if name == "fine_tune" else 0) for name in names}

    monkeypatch.setattr(run, "command", tool)
    monkeypatch.setattr(run, "check_data", lambda *_: None)
    monkeypatch.setattr(run.tuneworthy, "open", lambda _: Opened())
    data = tmp_path / "data"
    if not data.exists():
        write_data(TASK, data)
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return run.prove(TASK, data, work, run.MODEL)


def same(record: dict[str, Any]) -> dict[str, Any]:
    assert set(record["seconds"]) == {*record["statuses"], "second test"}
    return {key: value for key, value in record.items() if key != "seconds"}


def test_a_run_killed_three_times_ends_with_the_same_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = finish(tmp_path / "whole", Tool(), monkeypatch)
    tool = Tool(1, 5, 9)
    for _ in range(3):
        with pytest.raises(Killed):
            finish(tmp_path / "killed", tool, monkeypatch)
    assert same(finish(tmp_path / "killed", tool, monkeypatch)) == same(whole)
    steps = [step for step in run.steps_of(TASK) if step[0] != "method"]
    assert len(tool.calls) == len(steps) + 3  # only the steps that were killed were taken twice
    for _ in range(2):
        finish(tmp_path / "killed", tool, monkeypatch)
    lines = (tmp_path / "killed" / "work" / "records.jsonl").read_text().splitlines()
    assert len(lines) == 1 and len(tool.calls) == len(steps) + 3
    log = (tmp_path / "killed" / "work" / TASK.name / "attempts.jsonl").read_text().splitlines()
    assert [json.loads(line).get("how") for line in log[1::2]] == ["interrupted"] * 3 + ["finished"] * 3


@pytest.mark.parametrize("written", ["cases.jsonl", "examples.jsonl", "start.json"])
def test_a_run_killed_while_it_writes_its_project_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    whole = finish(tmp_path / "whole", Tool(), monkeypatch)
    (tmp_path / "killed" / "work" / f"{TASK.name}.part").mkdir(parents=True)
    (tmp_path / "killed" / "work" / f"{TASK.name}.part" / written).write_text('{"input": "torn')
    assert same(finish(tmp_path / "killed", Tool(), monkeypatch)) == same(whole)


def test_a_torn_list_of_records_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = finish(tmp_path, Tool(), monkeypatch)
    (tmp_path / "work" / "records.jsonl").write_text('{"task": "to')
    finish(tmp_path, Tool(), monkeypatch)
    assert json.loads((tmp_path / "work" / "records.jsonl").read_text()) == json.loads(json.dumps(record))


@pytest.mark.parametrize("fact", ["source", "model", "machine"])
def test_a_run_goes_on_only_where_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fact: str) -> None:
    finish(tmp_path, Tool(), monkeypatch)
    path = tmp_path / "work" / TASK.name / "start.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {fact: "another"}))
    with pytest.raises(SystemExit, match=f"another {fact}"):
        finish(tmp_path, Tool(), monkeypatch)


def test_a_folder_of_strangers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work" / TASK.name).mkdir(parents=True)
    with pytest.raises(SystemExit, match="not begun by this runner"):
        finish(tmp_path, Tool(), monkeypatch)


def test_a_second_runner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(tmp_path, Tool(), monkeypatch)
    with run.attempt(tmp_path / "work" / TASK.name), pytest.raises(SystemExit, match="Another run"):
        finish(tmp_path, Tool(), monkeypatch)


def test_data_that_is_not_as_the_registry_states_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="not as stated"):
        run.check_data(TASK, write_data(TASK, tmp_path))


def test_questions_that_only_punctuation_tells_apart_are_left_out_of_the_second_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Copying(Tool):
        def __call__(self, folder: Path, step: tuple[str, ...]) -> tuple[int, str]:
            case = json.loads((folder / "cases.jsonl").read_text().split("\n")[0])
            second = (folder / "second.jsonl").read_text()
            if "twice?" not in second:
                copies = [{**case, "input": f"{case['input']} ?"}, {**case, "input": f"{case['input']} twice?"}]
                (folder / "second.jsonl").write_text("".join(json.dumps(row) + "\n" for row in copies) + second)
            return super().__call__(folder, step)

    record = finish(tmp_path, Copying(), monkeypatch)
    kept = (tmp_path / "work" / TASK.name / "second-kept.jsonl").read_text()
    assert record["second"]["left_out"] == 1 and kept.count(" ?") == 0 and kept.count("twice?") == 1


def test_the_command_line_trusts_the_folder_of_the_task_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(*_: object) -> None:
        raise SystemExit(os.environ["TUNEWORTHY_TRUST"])

    monkeypatch.setattr(run, "prove", seen)
    monkeypatch.setenv("TUNEWORTHY_TRUST", "")  # restored after the test
    monkeypatch.setattr("sys.argv", ["run.py", TASK.name, str(tmp_path), str(tmp_path / "work")])
    with pytest.raises(SystemExit, match=f"{tmp_path / 'work' / TASK.name}$"):
        run.main()


@pytest.mark.parametrize(
    ("step", "status"),
    [("run", 2), ("run", 4), ("data", 3), ("train", 3), ("decide", 1), ("decide", 2)],
)
def test_a_step_that_fails_stops_the_run_and_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, status: int
) -> None:
    class Failing(Tool):
        def __call__(self, folder: Path, taken: tuple[str, ...]) -> tuple[int, str]:
            return (status, "{}") if taken[0] == step else super().__call__(folder, taken)

    with pytest.raises(SystemExit, match=f"ended with status {status}"):
        finish(tmp_path, Failing(), monkeypatch)
    assert finish(tmp_path, Tool(), monkeypatch)["verdict"] == "fine_tune"


def test_the_second_training_has_the_other_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = []

    class Watching(Tool):
        def __call__(self, folder: Path, step: tuple[str, ...]) -> tuple[int, str]:
            if step == ("train",):
                methods.append((folder / "tuneworthy.toml").read_text().count('method = "classifier"'))
            return super().__call__(folder, step)

    finish(tmp_path, Watching(), monkeypatch)
    assert methods == [0, 1]


# The target is 0.82, the margin 0.05; the two sides answer the same cases, so that a small difference is a sure one.
@pytest.mark.parametrize(
    ("baseline", "tuned", "said"),
    [
        (0.4, 0.9, ("yes", True, True)),
        (0.4, 0.6, ("yes", True, False)),
        (0.95, 0.98, ("yes", True, False)),
        (0.81, 0.825, ("yes", False, True)),
        (0.9, 0.905, ("no", False, False)),
        (0.4, 0.4, ("no", False, False)),
        (0.95, 0.9, ("no", False, False)),
    ],
)
def test_what_was_worth_training_is_counted_as_the_protocol_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, baseline: float, tuned: float, said: tuple[str, bool, bool]
) -> None:
    record = finish(tmp_path, Tool(), monkeypatch, baseline=baseline, fine_tune=tuned)
    second = record["second"]
    assert (second["worth_training"], second["better"], second["reached"]) == said
    assert second["difference"] == pytest.approx(tuned - baseline) and second["n"] == 200


def test_a_difference_that_may_reach_the_margin_is_unresolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)

    def drawn(share: float, unscored: int = 0) -> ScoredAnswers:
        num = rng.permutation(np.arange(200) < 200 * share).astype(float)
        return ScoredAnswers(traces=(), num=num, den=np.ones(200))

    monkeypatch.setattr(sys.modules[__name__], "answers", drawn)
    second = finish(tmp_path, Tool(), monkeypatch, baseline=0.5, fine_tune=0.52)["second"]
    assert second["worth_training"] == "unresolved" and second["ci95"][1] > run.MARGIN > second["difference"]


def test_the_best_option_is_chosen_on_the_first_test_and_the_verdict_is_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = finish(tmp_path, Tool(), monkeypatch)
    assert record["second"]["best_untrained"] == "baseline"  # `prompt` is better on the second test
    assert set(record["second"]["scores"]) == {"baseline", "prompt", "fine_tune"}
    assert (record["first_verdict"], record["verdict"], record["after"]) == ("undecided", "fine_tune", "do_not_ship")


@pytest.mark.parametrize(
    ("verdict", "worth", "said"),
    [
        ("fine_tune", "yes", "right"),
        ("fine_tune", "no", "wrong"),
        ("do_not_fine_tune", "no", "right"),
        ("do_not_fine_tune", "yes", "wrong"),
        ("undecided", "yes", "undecided"),
        ("undecided", "unresolved", "unresolved"),
        ("fine_tune", "unresolved", "unresolved"),
    ],
)
def test_a_verdict_is_right_as_the_protocol_counts_it(verdict: str, worth: str, said: str) -> None:
    assert run.judged({"verdict": verdict, "second": {"worth_training": worth}}) == said


def test_a_registry_of_ones_own_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def noted(task: Task, *_: object) -> None:
        begun.append(task.name)
        raise SystemExit

    text = (PROOF / "tasks.toml").read_text().replace("[basque-intents]", "[mine]")
    (tmp_path / "mine.toml").write_text(text)
    monkeypatch.setattr(run, "prove", noted)
    monkeypatch.setenv("TUNEWORTHY_TRUST", "")  # restored after the test
    monkeypatch.setattr(
        "sys.argv", ["run.py", "mine", str(tmp_path), str(tmp_path / "w"), "--tasks", str(tmp_path / "mine.toml")]
    )
    with pytest.raises(SystemExit):
        run.main()
    assert begun == ["mine"]


def test_a_runner_that_is_terminated_ends_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = "import os, signal, sys, time\nsignal.signal(signal.SIGTERM, signal.default_int_handler)\ntry: "
    step += "os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)\n"
    step += "except KeyboardInterrupt: print('stored', file=sys.stderr)"
    (tmp_path / "tool").write_text(f"#!{sys.executable}\n{step}")
    (tmp_path / "tool").chmod(0o755)
    before = signal.signal(signal.SIGTERM, run.terminate)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "tool"))
    try:
        with pytest.raises(run.Terminated):
            run.command(tmp_path, ("check",))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "log.txt").read_text().endswith("stored\n")


def test_a_case_that_one_side_could_not_score_is_left_out_of_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = finish(tmp_path, Tool(), monkeypatch, unscored=50)["second"]
    assert second["n"] == 150 and second["difference"] == pytest.approx((130 - 30) / 150)
    assert second["scores"]["fine_tune"]["n"] == 150 and second["scores"]["baseline"]["n"] == 200


def test_cases_that_could_not_be_scored_are_counted_and_left_out() -> None:
    found = run.level(TASK, answers(0.5, unscored=50))
    assert found["unscored"] == 50 and found["score"] == pytest.approx(50 / 150)


# A run of the tool itself with few rows and the small model.
SMALL = """
import sys
sys.path.insert(0, {proof!r})
import registry, run, task_project
registry.N_TEST, registry.N_SECOND, registry.N_TRAIN = 60, 60, 330
one = 'provider = "llama_cpp"\\nconcurrency = 1'  # requests that are batched may get other answers in another run
for old, new in ('provider = "llama_cpp"', one), ("epochs = 2", "epochs = 1"), ("dev = 60", "dev = 50"):
    task_project.PROJECT = task_project.PROJECT.replace(old, new)
run.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("task", ["fomc-stance"])
def test_a_run_of_real_commands_killed_three_times_ends_with_the_same_record(tmp_path: Path, task: str) -> None:
    if not (data := os.environ.get("PROOF_DATA")):
        pytest.skip("PROOF_DATA names no folder with the clones")

    def start(work: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", SMALL.format(proof=str(PROOF)), task, data, str(work)]
        return subprocess.Popen(command, start_new_session=True)

    assert start(tmp_path / "whole").wait() == 0
    for before in ("01 run", "04 train", "06 train"):  # killed in the first, during the pilot, during the training
        child = start(tmp_path / "killed")
        steps = tmp_path / "killed" / task / "steps"
        while child.poll() is None and len(list(steps.glob("*.json"))) < int(before[:2]) - 1:
            time.sleep(0.5)
        time.sleep(12)
        assert child.poll() is None and not (steps / f"{before}.json").exists()
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert start(tmp_path / "killed").wait() == 0
    records = [json.loads((tmp_path / name / task / "record.json").read_text()) for name in ("whole", "killed")]
    whole, killed = map(measured, records)
    assert whole == killed


def measured(record: dict[str, Any]) -> Any:
    """Leave out times and ids of models, which contain times: no two runs share them."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: kept(one) for name, one in value.items() if not re.search("seconds|latency|economics", name)}
        if isinstance(value, list):
            return [kept(one) for one in value]
        return re.sub(":[0-9a-f]{8}$", "", value) if isinstance(value, str) else value

    return kept(record)
