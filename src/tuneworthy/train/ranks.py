"""Training on several processes of this machine: each trains on its part of every step, on a GPU of its own.

The process of the command starts them, scores their answers and shows their progress; process 0 writes checkpoints. A
process reads its job and then a metric per evaluation from its standard input, and writes messages to its standard
output, as lines of JSON. If one is lost, the others are ended too, and any number of processes resumes the run.
"""

import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import SimpleNamespace
from typing import Any

import orjson
from pydantic import TypeAdapter

from tuneworthy import processes
from tuneworthy.errors import OutsideFault
from tuneworthy.providers.llama_child import die_with_parent
from tuneworthy.providers.llama_cpp import cores
from tuneworthy.store.shapes import shaped
from tuneworthy.train import phases
from tuneworthy.train.generation import Answers, Evaluator, quiet
from tuneworthy.train.render import TokenRow
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.types import Say, Texts, TokenLists, Tokens

LOG = "processes.log"
# Arguments of `train_rows`: base, rows, settings, run, rehearsal, start, steps, and `Evaluator`'s without score.
_Job: Any = tuple[
    Path, list[TokenRow], TrainingSettings, Path, list[TokenRow], Path | None, int | None,
    tuple[TokenLists, Tokens, int, Texts] | None,
]  # fmt: skip


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
    from tuneworthy.train.trainer import DivergedError, Ran

    run.mkdir(parents=True, exist_ok=True)
    asked = evaluate and (evaluate.ids, evaluate.ends, evaluate.max_tokens, evaluate.stop)
    job = orjson.dumps((base, rows, settings, run, rehearsal, start, max_steps, asked), default=str)
    n, children, answers = settings.processes, list[processes.Child](), dict[int, Answers]()
    hint = f"To resume from the last checkpoint, run the command again. Output of the processes: {run / LOG}."
    with tempfile.TemporaryDirectory() as folder, (run / LOG).open("wb") as log:
        try:
            for rank, kind, content in _messages(children, n, Path(folder) / "meeting", log, job):
                name = f"Training process {rank + 1} of {n}"
                match kind:
                    case "ran":
                        return shaped(content, Ran, name)
                    case "say":
                        say(content)
                    case "phase":
                        phases.follow(shaped(content, phases.TrainingState, name))
                    case "answers":
                        answers[rank] = [(text, reason) for text, reason in content]
                        if evaluate and len(answers) == n:
                            places = range(len(evaluate.ids))
                            metric = evaluate.score([answers[at % n][at // n] for at in places])
                            answers.clear()
                            processes.send(children, orjson.dumps(metric))
                    case DivergedError.error_code:
                        raise DivergedError(content)
                    case _:
                        raise OutsideFault(f"{name} {content}.", hint=hint)
        except KeyboardInterrupt:
            for child in children[:1]:
                child.terminate()  # it writes the last whole step
                child.wait()
            raise
        finally:
            for child in children:
                processes.end(child, 0.0)


def _messages(
    children: list[processes.Child], n: int, meeting: Path, log: Any, job: bytes
) -> Iterator[tuple[int, str, Any]]:
    """Start `n` processes and yield their messages: the process, the kind, and the content."""
    inbox: SimpleQueue[tuple[int, str, Any]] = SimpleQueue()

    def read(rank: int, child: processes.Child) -> None:
        for line in child.stdout or ():
            inbox.put((rank, *orjson.loads(line)))
        if status := child.wait():
            inbox.put((rank, "end", f"was killed by {signal.Signals(-status).name}" if status < 0 else "ended"))

    variables = processes.environment(OMP_NUM_THREADS=str(max(1, cores() // n)))
    for rank in range(n):
        command = processes.main_of("tuneworthy.train.ranks", *map(str, (rank, n, os.getpid(), meeting)))
        children.append(processes.start(command, log, piped=True, own_session=True, variables=variables))
        Thread(target=read, args=(rank, children[rank]), daemon=True).start()
    processes.send(children, job)
    while True:
        yield inbox.get()


def main(number: str, count: str, parent: str, meeting: str) -> None:
    """Train as process `number` of `count`, which meet at the file `meeting`."""
    die_with_parent(int(parent))
    source, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries is no message
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rank, n = int(number), int(count)
    os.environ |= {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}

    def send(kind: str, content: Any) -> None:
        if rank == 0 or kind not in {"say", "phase", "ran"}:
            out.write(orjson.dumps([kind, content], default=str) + b"\n")
            out.flush()

    def score(answers: Answers) -> float:
        send("answers", answers)
        return float(source.readline())

    try:
        job = TypeAdapter(_Job).validate_json(source.readline())
        base, rows, settings, run, rehearsal, start, max_steps, asked = job
        quiet()
        import torch
        from accelerate import PartialState

        from tuneworthy.train.base_model import load_tokenizer
        from tuneworthy.train.trainer import train_rows

        PartialState(cpu=not torch.cuda.is_available(), init_method=f"file://{meeting}", rank=rank, world_size=n)
        tokenizer = load_tokenizer(base)
        relay: Any = SimpleNamespace(write=lambda _, state: send("phase", asdict(state)))
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
        send(getattr(error, "error_code", "failed"), f"{error}" if hasattr(error, "hint") else f"failed: {error}")
        raise
    send("ran", asdict(ran))
    os._exit(0)  # at once: nothing is left to be written
