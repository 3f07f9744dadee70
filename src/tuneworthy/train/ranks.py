"""Training on several processes of this machine: each trains on its part of every step, on a GPU of its own.

The process of the command starts them, scores their answers and shows their progress; process 0 writes checkpoints. A
process reads its job and then a metric per evaluation from its standard input, and writes messages, a kind and its
content, to its standard output. If one is lost, the others are ended too, and any number of processes resumes the run.
"""

import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

from tuneworthy import processes
from tuneworthy.errors import OutsideFault, TuneworthyError
from tuneworthy.providers.llama_cpp import cores
from tuneworthy.train import phases
from tuneworthy.train.generation import Answers, Evaluator, quiet
from tuneworthy.train.render import TokenRow
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.types import Say

LOG = "processes.log"


def train_on_ranks(
    base: Path,
    rows: Sequence[TokenRow],
    settings: TrainingSettings,
    run: Path,
    *,
    rehearsal: Sequence[TokenRow] = (),
    start: Path | None = None,
    evaluate: Evaluator | None = None,
    max_steps: int | None = None,
    say: Say = lambda _: None,
    **_: Any,
) -> Any:
    """Train as `trainer.train_rows` does, on `settings.processes` processes, and return its `Ran`.

    Raises:
        DivergedError: The loss is not finite.
        OutsideFault: A process failed or was killed.
    """
    run.mkdir(parents=True, exist_ok=True)
    asked = evaluate and (evaluate.ids, evaluate.ends, evaluate.max_tokens, evaluate.stop)
    job = (base, rows, settings, run, rehearsal, start, max_steps, asked)
    n, children, answers = settings.processes, list[processes.Child](), dict[int, Answers]()
    hint = f"To resume from the last checkpoint, run the command again. Output of the processes: {run / LOG}."
    with tempfile.TemporaryDirectory() as folder, (run / LOG).open("wb") as log:
        try:
            for rank, kind, content in _messages(children, n, Path(folder) / "meeting", log, job):
                name = f"Training process {rank + 1} of {n}"
                match kind:
                    case "ran":
                        return content
                    case "say":
                        say(content)
                    case "phase":
                        phases.follow(content)
                    case "answers":
                        answers[rank] = content
                        if evaluate and len(answers) == n:
                            metric = evaluate.score([answers[at % n][at // n] for at in range(len(evaluate.ids))])
                            answers.clear()
                            for child in children:
                                processes.send(child.stdin, metric)
                    case _:
                        raise (
                            content if isinstance(content, Exception) else OutsideFault(f"{name} {content}.", hint=hint)
                        )
        except KeyboardInterrupt:
            for child in children[:1]:
                child.terminate()  # it writes the last whole step
                child.wait()
            raise
        finally:
            for child in children:
                processes.end(child, 0.0)


def _messages(
    children: list[processes.Child], n: int, meeting: Path, log: Any, job: Any
) -> Iterator[tuple[int, str, Any]]:
    """Start `n` processes and yield their messages: the process, the kind, and the content."""
    inbox: SimpleQueue[tuple[processes.Child, Any]] = SimpleQueue()
    variables = processes.environment(OMP_NUM_THREADS=str(max(1, cores() // n)))
    for rank in range(n):
        command = processes.main_of("tuneworthy.train.ranks", *map(str, (rank, n, os.getpid(), meeting)))
        children.append(processes.start(command, log, piped=True, own_session=True, variables=variables))
        processes.listen(children[rank], inbox)
    for child in children:
        processes.send(child.stdin, job)
    while True:
        child, message = inbox.get()
        if message:
            yield children.index(child), *message
        elif status := child.wait():
            ended = f"was killed by {signal.Signals(-status).name}" if status < 0 else "ended"
            yield children.index(child), "failed", ended


def main(number: str, count: str, parent: str, meeting: str) -> None:
    """Train as process `number` of `count`, which meet at the file `meeting`."""
    processes.die_with_parent(int(parent))
    incoming, out = processes.messages(os.fdopen(os.dup(0), "rb")), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries is no message
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rank, n = int(number), int(count)
    os.environ |= {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}

    def send(kind: str, content: Any) -> None:
        if rank == 0 or kind not in {"say", "phase", "ran"}:
            processes.send(out, (kind, content))

    def score(answers: Answers) -> float:
        send("answers", answers)
        return float(next(incoming))

    try:
        base, rows, settings, run, rehearsal, start, max_steps, asked = next(incoming)
        quiet()
        import torch
        from accelerate import PartialState

        from tuneworthy.train.base_model import load_tokenizer
        from tuneworthy.train.trainer import train_rows

        PartialState(cpu=not torch.cuda.is_available(), init_method=f"file://{meeting}", rank=rank, world_size=n)
        tokenizer = load_tokenizer(base)
        relay: Any = SimpleNamespace(write=lambda _, state: send("phase", state))
        with phases.recording(relay, lambda _: None):
            ran = train_rows(
                base,
                rows,
                settings,
                run,
                tokenizer=tokenizer,
                rehearsal=rehearsal,
                start=start,
                evaluate=asked and Evaluator(asked[0][rank::n], asked[1], asked[2], asked[3], tokenizer, score),
                max_steps=max_steps,
                say=lambda line: send("say", line),
            )
    except Exception as error:
        time.sleep(5)  # it may come from the loss of another process, which is reported first
        send("failed", error if isinstance(error, TuneworthyError) else f"failed: {error}")
        raise
    send("ran", ran)
    os._exit(0)  # at once: nothing is left to be written
