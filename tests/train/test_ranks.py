"""Several processes train to the same losses and adapter as one, and a run resumes on another number of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

for name in ("torch", "transformers", "peft", "trl", "datasets"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from tests.train.test_rows_that_share import rows  # noqa: E402
from tests.train.tiny import END, write_tiny  # noqa: E402
from tuneworthy import processes  # noqa: E402
from tuneworthy.errors import OutsideFault, UserError  # noqa: E402
from tuneworthy.train import checkpoints, phases, ranks, trainer  # noqa: E402
from tuneworthy.train.generation import Answers, Evaluator  # noqa: E402
from tuneworthy.train.settings import TrainingSettings  # noqa: E402
from tuneworthy.train.trainer import Ran  # noqa: E402

ROOT = Path(__file__).parents[2]
# Of the loss of a step, absolute; and of a weight.
LOSS, WEIGHT = 1e-4, 1e-4
STEPS = 8
SETTINGS = TrainingSettings(rank=4, dtype="float32", batch_size=4, micro_batch_size=2, learning_rate=0.01)


class Scores:
    """A metric that rises; keeps the answers, and calls a function at one of its evaluations."""

    def __init__(self, at: int = 0, call: Callable[[], None] = lambda: None) -> None:
        self.answers: list[Answers] = []
        self.at, self.call = at, call

    def __call__(self, answers: Any) -> float:
        self.answers.append([*answers])
        if len(self.answers) == self.at:
            self.call()
        return len(self.answers) / 100


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_tiny(folder, tied=False)
    return folder


def train(base: Path, run: Path, n: int, scores: Any = None, steps: int = STEPS, **settings: Any) -> Ran:
    """Train on 13 rows: an epoch has 3 whole steps, and a step of one row."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    asked = [[*(rows() * 2)[at].ids[:-3], at + 40] for at in range(7)]
    function = ranks.train_on_ranks if n > 1 else trainer.train_rows
    return function(
        base,
        (rows() * 4)[:13],
        replace(SETTINGS, processes=n, **settings),
        run,
        tokenizer=tokenizer,
        evaluate=Evaluator(asked, (END,), 4, (), tokenizer, scores) if scores else None,
        max_steps=steps,
    )


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Scores]:
    scores = Scores()
    return train(base, tmp_path_factory.mktemp("whole"), 1, scores), scores


def losses(ran: Ran) -> list[float]:
    return [step.loss for step in ran.progress.steps]


def same(found: Ran, expected: Ran) -> None:
    from safetensors.torch import load_file

    assert losses(found) == pytest.approx(losses(expected), abs=LOSS)
    assert [one.metric for one in found.progress.evals] == [one.metric for one in expected.progress.evals]
    assert found.adapter.name == expected.adapter.name and found.stopped_early == expected.stopped_early
    (name,) = (path.name for path in expected.adapter.glob("*.safetensors") if path.name != checkpoints.OPTIMISER)
    mine, others = (load_file(ran.adapter / name) for ran in (found, expected))
    assert mine.keys() == others.keys()
    assert max(float((mine[key] - others[key]).abs().max()) for key in mine) < WEIGHT


def test_two_processes_train_to_the_losses_answers_and_adapter_of_one(
    base: Path, whole: tuple[Ran, Scores], tmp_path: Path
) -> None:
    scores = Scores()
    found = train(base, tmp_path / "run", 2, scores)
    same(found, whole[0])
    assert found.shared and len(found.progress.steps) == STEPS
    assert scores.answers == whole[1].answers and len({*scores.answers[0][::2]} ^ {*scores.answers[0][1::2]}) > 1


@pytest.mark.parametrize("writes", [True, False])
def test_only_process_0_writes_weights(writes: bool, tmp_path: Path) -> None:
    model = SimpleNamespace(save_pretrained=lambda folder, **_: (folder / "weights").write_bytes(b""))
    one: Any = SimpleNamespace(
        args=SimpleNamespace(should_save=writes), model=model, accelerator=SimpleNamespace(unwrap_model=lambda it: it)
    )
    checkpoints.PlainTrainer._save(one, str(tmp_path))
    assert (tmp_path / "weights").exists() is writes


def resumed(run: Path) -> Scores:
    """The metric of a run that goes on: it has risen with each evaluation so far."""
    newest = checkpoints.newest(run)
    assert newest is not None and newest[0].name == "checkpoint-6"
    scores = Scores()
    scores.answers = [[] for _ in newest[1]["evals"]]
    return scores


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda children: os.kill(children[1].pid, signal.SIGKILL), OutsideFault, "process 2 of 2 was killed by SIGK"),
        (lambda children: os.kill(children[0].pid, signal.SIGKILL), OutsideFault, "process 1 of 2 was killed by SIGK"),
        (lambda _: os.kill(os.getpid(), signal.SIGINT), KeyboardInterrupt, ""),
    ],
)
def test_a_lost_process_or_a_signal_ends_all_and_the_run_resumes_on_one(  # noqa: PLR0917
    base: Path,
    whole: tuple[Ran, Scores],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[list[processes.Child]], None],
    error: type[BaseException],
    message: str,
) -> None:
    children: list[processes.Child] = []
    start = processes.start

    def noted(*arguments: Any, **named: Any) -> processes.Child:
        children.append(start(*arguments, **named))
        return children[-1]

    monkeypatch.setattr(processes, "start", noted)
    with pytest.raises(error, match=message):
        train(base, tmp_path, 2, Scores(3, lambda: call(children)))
    assert [child.poll() is None for child in children] == [False, False]
    same(train(base, tmp_path, 1, resumed(tmp_path)), whole[0])


@pytest.mark.slow
def test_a_run_that_was_stopped_on_one_process_resumes_on_two(
    base: Path, whole: tuple[Ran, Scores], tmp_path: Path
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(base, tmp_path, 1, Scores(3, stop))
    same(train(base, tmp_path, 2, resumed(tmp_path)), whole[0])


@pytest.mark.slow
def test_dropout_is_drawn_again_where_a_run_resumes_on_as_many_processes(
    base: Path, whole: tuple[Ran, Scores], tmp_path: Path
) -> None:
    expected = train(base, tmp_path / "whole", 2, Scores(), dropout=0.2)
    with pytest.raises(KeyboardInterrupt):
        train(base, tmp_path / "run", 2, Scores(3, lambda: os.kill(os.getpid(), signal.SIGINT)), dropout=0.2)
    same(train(base, tmp_path / "run", 2, resumed(tmp_path / "run"), dropout=0.2), expected)
    assert losses(expected) != pytest.approx(losses(whole[0]), abs=LOSS)


@pytest.mark.slow
def test_no_process_survives_a_command_that_was_killed(base: Path, whole: tuple[Ran, Scores], tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from tests.train.test_ranks import Scores, processes, train;"
        "start = processes.start\n"
        "def noted(*a, **n):\n child = start(*a, **n)\n print(child.pid, flush=True)\n return child\n"
        "processes.start = noted\n"
        "train(Path(sys.argv[1]), Path(sys.argv[2]), 2, Scores(3, lambda: os.kill(os.getpid(), signal.SIGKILL)))"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-c", code, str(base), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    pids = [int(line) for line in done.stdout.split()]
    assert len(pids) == 2  # `run` returns when all who have its output are gone, but the children never have it
    for pid in pids:
        ended(pid)
    same(train(base, tmp_path, 1, resumed(tmp_path)), whole[0])


def ended(pid: int) -> None:
    """Wait for the end of a process that is no child of this one."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    assert select.select([handle], [], [], 20)[0], "it survived"
    os.close(handle)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "first"),
    [("scaling", 0), ("filler", 3), ("epoch", 7)],  # the first step with another loss
)
def test_a_planted_fault_gives_other_losses(  # noqa: PLR0917
    base: Path, whole: tuple[Ran, Scores], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, first: int
) -> None:
    planted(monkeypatch, fault)
    if fault == "epoch":  # only a resumed run has other samplers than `set_epoch` of accelerate reaches
        with pytest.raises(KeyboardInterrupt):
            train(base, tmp_path, 1, Scores(3, lambda: os.kill(os.getpid(), signal.SIGINT)))
    found = losses(train(base, tmp_path, 2, None))
    differ = [abs(a - b) > LOSS for a, b in zip(found, losses(whole[0]), strict=True)]
    assert differ.index(True) == first


def planted(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    script, root = str(Path(__file__).parent / "rank_faults.py"), str(ROOT / "src")
    monkeypatch.setattr(processes, "main_of", lambda _, *more: [sys.executable, script, root, fault, *more])


def test_an_error_of_a_process_is_the_error_of_the_command(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, "error")
    with pytest.raises(OutsideFault, match=r"process 2 of 2 failed: planted\. To resume .*processes\.log"):
        train(base, tmp_path, 2)
    assert "ValueError: planted" in (tmp_path / ranks.LOG).read_text()


@pytest.mark.slow
def test_a_run_that_diverges_on_two_processes_says_so(base: Path, tmp_path: Path) -> None:
    with pytest.raises(trainer.DivergedError, match=r"^Training diverged at step \d: .* Lower \[train\] learning_rate"):
        train(base, tmp_path, 2, learning_rate=1e30)


def test_processes_that_cannot_share_a_batch_are_refused() -> None:
    with pytest.raises(UserError, match=r"3 processes cannot share a batch of 16 rows.* one of 1, 2, 4, 8, 16 proc"):
        TrainingSettings(batch_size=16, micro_batch_size=1, processes=3)
    with pytest.raises(UserError, match="not a multiple"):
        TrainingSettings(batch_size=16, micro_batch_size=8, processes=4)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [
    {"method": "full"}, {"method": "qlora"}, {"gradient_checkpointing": True},
    {"micro_batch_size": 1},
])  # fmt: skip
def test_every_method_trains_on_two_processes_as_on_one(base: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    if settings.get("method") == "qlora":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    same(*(train(base, tmp_path / str(n), n, **settings) for n in (2, 1)))


def test_the_phases_of_a_process_are_shown_by_the_command(tmp_path: Path) -> None:
    from tuneworthy.store import Folder

    store = Folder(tmp_path)
    with store.lock(lambda _: None), phases.recording(store, print), phases.phase("train"):
        for done in (1, 3):
            phases.follow(phases.TrainingState(phase="training steps", total=4, done=done, detail=f", loss {done}"))
        phases.follow(phases.TrainingState(phase=""))
        live = phases._LIVE.get()
        assert live is not None and live.line().startswith("training steps: 3 of 4, loss 3, ")
        found = phases.read_training(store)
        assert found is not None and (found.phase, found.total) == ("training steps", 4)
