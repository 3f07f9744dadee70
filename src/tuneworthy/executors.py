"""Runs many independent tasks: in child processes, as tasks of a Ray cluster, or as a Slurm array.

A task names a function of this package, and a marker: a file that appears, with the result, once the task is done. So
all engines run the same functions, and a command that was killed resumes with the markers only. A function may be
called again after it was killed, and twice at a time. It writes its files under temporary names and renames them.

    <folder>/tasks.log      output of the tasks
    <folder>/tasks.jsonl    for Slurm: the tasks that are left, a line each
    <folder>/array.sh       for Slurm: runs them; `again.sh` then runs the command again, and submits what it writes
"""

import errno
import os
import shlex
import signal
import sys
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal

import orjson

from tuneworthy import processes
from tuneworthy.errors import OutsideFault, TuneworthyError, Undecided, UserError
from tuneworthy.extras import require
from tuneworthy.signals import check_stop
from tuneworthy.store.folder import write_atomic
from tuneworthy.store.lines import read_lines
from tuneworthy.text import count
from tuneworthy.types import JsonObject, Say, content_hash, positional

Engine = Literal["local", "ray", "slurm"]
# How often a task is started whose process dies.
MAX_TRIES = 3
# Indices of an array, the default limit of Slurm (MaxArraySize); each runs several tasks if there are more.
MAX_ARRAY = 1000
# File that gets the next submission, for a command that a job of Slurm repeats.
REPEATED = "TUNEWORTHY_NEXT"
# Seconds in which a Ray cluster has to answer.
CONNECT_S = 60
# Seconds between two looks at whether the command was stopped.
_LOOK_S = 0.5
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@positional
class PooledTask:
    """A task.

    Attributes:
        function: Of this package, as "module:name"; it returns what JSON can represent.
        arguments: By name, as JSON.
        marker: File that gets the result when the task is done.
    """

    function: str
    arguments: JsonObject
    marker: Path


def run_tasks(
    tasks: Sequence[PooledTask],
    engine: Engine,
    folder: Path,
    *,
    workers: int | None = None,
    variables: Mapping[str, str] | None = None,
    pool: "TaskPool | None" = None,
    say: Say = lambda _: None,
) -> list[Any]:
    """Run the tasks that have no marker yet, and return the results of all, in their order.

    Args:
        tasks: In any order of execution; none needs another.
        engine: `local`, `ray` (of RAY_ADDRESS, else one that runs on this machine, else a new local one) or `slurm`.
        folder: Gets logs and scripts. With Ray on several machines and with Slurm, all machines share it.
        workers: Tasks at a time; the number of processors of the machine or cluster if None.
        variables: Environment of the tasks; `processes.environment()` if None. A running Ray cluster and Slurm have
            their own.
        pool: Runs the tasks instead of new processes, if it is open and the engine is not `slurm`.
        say: Gets a sentence when tasks start.

    Raises:
        TuneworthyError: The first one that a task raised, after the other tasks are done.
        UserError: A disk is full.
        OutsideFault: The processes of a task died `MAX_TRIES` times, or the cluster was lost; run again to resume.
        Undecided: Slurm has to run the tasks first.
    """
    left = [task for task in tasks if not task.marker.exists()]
    if left:
        folder.mkdir(parents=True, exist_ok=True)
        say(f"Running {len(left)} of {len(tasks)} tasks ({engine})")
        if engine == "slurm":
            raise _write_array(left, folder.resolve(), workers)
        with nullcontext(pool) if pool else TaskPool(engine, folder.resolve() / "tasks.log", workers, variables) as own:
            own.run(left)
    return [orjson.loads(task.marker.read_bytes()) for task in tasks]


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Let a full disk be an error that names the folder.

    Raises:
        UserError: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise UserError(
            f"{folder}: {os.strerror(error.errno)}.",
            hint="Free some space, then run the same command again. Finished tasks are not repeated.",
        ) from None


class TaskPool:
    """Child processes that run tasks: one at a time each, or (Ray) one that passes on all of them.

    They start with the first tasks, and end with the ``with`` statement.

    Args:
        engine: `local` or `ray`; of `slurm`, no process starts.
        log: Gets the output of the tasks.
        workers: See `run_tasks`.
        variables: See `run_tasks`.
    """

    def __init__(
        self, engine: Engine, log: Path, workers: int | None = None, variables: Mapping[str, str] | None = None
    ) -> None:
        self.is_ray = engine == "ray"
        if self.is_ray:
            require("ray")
        self.n_children = 1 if self.is_ray else workers or len(os.sched_getaffinity(0))
        self.path = log
        self._start = partial(
            processes.start,
            processes.main_of(__name__, engine, str(os.getpid()), str(workers or ""), str(CONNECT_S)),
            piped=True,
            own_session=True,
            variables={**(variables or processes.environment("RAY_")), "RAY_USAGE_STATS_ENABLED": "0"},
        )
        self._children: dict[processes.Child, set[int]] = {}  # with the numbers of their tasks
        self._inbox: SimpleQueue[tuple[processes.Child, Any]] = SimpleQueue()

    def __enter__(self) -> "TaskPool":
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            if not self.is_ray:
                child.kill()
            processes.end(child, grace_s=10.0)  # a local cluster ends with its driver

    def run(self, tasks: Sequence[PooledTask]) -> None:
        """Run all tasks, then raise the first error.

        Raises:
            TuneworthyError: See `run_tasks`.
        """
        waiting, tries, errors = deque(range(len(tasks))), Counter[int](), dict[int, Exception]()
        while waiting or any(self._children.values()):
            check_stop()
            while len(self._children) < min(self.n_children, len(waiting) + sum(map(bool, self._children.values()))):
                with self.path.open("ab") as log:
                    child = self._start(log)
                self._children[child] = set()
                processes.listen(child, self._inbox)
            for child, numbers in self._children.items():
                while waiting and (self.is_ray or not numbers):
                    numbers.add(waiting[0])
                    processes.send(child.stdin, (waiting[0], tasks[waiting.popleft()]))
            for number, error in self._answers():
                tries[number] += 1
                if isinstance(error, str) and tries[number] < MAX_TRIES:
                    waiting.append(number)
                elif isinstance(error, str):
                    errors[number] = OutsideFault(
                        f"The process of the task {tasks[number].marker} died {MAX_TRIES} times. {error}".strip(),
                        hint=f"{self.path} has its output. Run the same command again to resume.",
                    )
                elif error:
                    errors[number] = error
        if errors:
            raise errors[min(errors)]

    def _answers(self) -> list[tuple[int, Exception | str | None]]:
        """Return tasks that have ended, each with its error; a text says how its process died."""
        try:
            child, answer = self._inbox.get(timeout=_LOOK_S)
        except Empty:
            return []
        if answer:
            self._children[child].discard(answer[0])
            return [answer]
        if self.is_ray:
            raise OutsideFault(
                "The Ray cluster was lost, or cannot be reached.",
                hint=f"{self.path} has the reason. Start the cluster again, or unset RAY_ADDRESS to use one on this "
                "machine. Then run the same command again to resume.",
            )
        processes.end(child, grace_s=10.0)
        return [(number, f"It ended with status {child.returncode}.") for number in self._children.pop(child)]


def perform(function: str, arguments: JsonObject, marker: Path) -> Exception | None:
    """Run a task unless it has its marker, and write the marker; return the error that it raised."""
    try:
        if not marker.exists():
            module, _, name = function.partition(":")
            with writing_to(marker.parent):
                result = orjson.dumps(getattr(import_module(module), name)(**arguments))
                if not marker.exists():  # another process may have done the task meanwhile
                    write_atomic(marker, result)
    except TuneworthyError as error:
        return error
    except Exception as error:
        traceback.print_exc()
        if isinstance(error, OSError) and error.errno:
            return OSError(error.errno, os.strerror(error.errno), error.filename or str(marker.parent))
        return TuneworthyError(
            f"The task {marker} failed: {type(error).__name__}: {error}.", hint="The file tasks.log has the traceback."
        )
    return None


def main(kind: str, *arguments: str) -> None:
    """Run the tasks of the input, or of an index of an array: the program of a child.

    Args:
        kind: `local`, `ray` or `slurm`.
        arguments: Of this process, the parent, and for Ray processors and `CONNECT_S`; for Slurm, list, index and step.
    """
    if kind == "slurm":
        listed = [*read_lines(Path(arguments[0]), PooledTask)][int(arguments[1]) :: int(arguments[2])]
        errors = [error for task in listed if (error := perform(task.function, task.arguments, task.marker))]
        sys.exit("\n".join(map(str, errors)) or 0)
    tasks, answers, lock = processes.messages(sys.stdin.buffer), os.fdopen(os.dup(1), "wb"), threading.Lock()
    os.dup2(2, 1)  # the output of a task is no answer

    def answer(number: int, error: Exception | str | None) -> None:
        with lock:
            processes.send(answers, (number, error))

    if kind == "ray":
        _pass_on(tasks, answer, *arguments[1:])
        return
    processes.die_with_parent(int(arguments[0]))
    for number, task in tasks:
        error = perform(task.function, task.arguments, task.marker)
        sys.stdout.flush()
        answer(number, error)


def _pass_on(tasks: Iterator[Any], answer: Callable[..., None], workers: str, limit_s: str) -> None:
    """Run tasks on a cluster until the input ends.

    Ray ends the process of a driver that loses the head of its cluster, so this is a process of its own.
    """
    import ray
    from ray.exceptions import RayError

    root, address = str(Path(__file__).parents[1]), os.environ.get("RAY_ADDRESS")
    print(f"Waiting {limit_s} s at most for Ray ({address or 'a cluster on this machine'})", flush=True)
    signal.alarm(int(limit_s))  # ends this process: Ray itself tries again for minutes
    try:
        ray.init(address=address or "auto", log_to_driver=False)
    except ConnectionError:
        if address:
            raise
        ray.init(num_cpus=int(workers) if workers else None, include_dashboard=False, log_to_driver=False)
    signal.alarm(0)

    def remote(*task: Any) -> Any:  # pickled by value: a node need not have this package in its path
        import sys
        from importlib import import_module
        from pathlib import Path

        sys.path.append(root)
        return import_module("tuneworthy.executors").perform(*task[:2], Path(task[2]))

    def done(number: int, future: Any) -> None:
        try:
            answer(number, future.result())
        except RayError as error:  # a worker or a node died
            answer(number, str(error))

    start = ray.remote(max_retries=0)(remote).remote
    for number, task in tasks:
        start(task.function, task.arguments, str(task.marker)).future().add_done_callback(partial(done, number))
    ray.shutdown()


def _write_array(tasks: Sequence[PooledTask], folder: Path, workers: int | None) -> Undecided:
    """Write the scripts that run `tasks` with Slurm, and return the error that says how to start them."""
    listed, array, again = folder / "tasks.jsonl", folder / "array.sh", folder / "again.sh"
    before = [task.marker for task in read_lines(listed, PooledTask)] if listed.exists() else []
    write_atomic(listed, [orjson.dumps(task, default=str, option=orjson.OPT_APPEND_NEWLINE) for task in tasks])
    n, name = min(len(tasks), MAX_ARRAY), f"tuneworthy-{content_hash(str(folder))}"
    submit = f"sbatch {shlex.quote(str(array))} && sbatch {shlex.quote(str(again))}"
    head = f"#!/bin/bash\n#SBATCH --job-name={name}\n"
    indices = f"0-{n - 1}%{workers}" if workers else f"0-{n - 1}"
    run = shlex.join(processes.main_of(__name__, "slurm", str(listed)))
    write_atomic(array, f'{head}#SBATCH --array={indices}\nexec {run} "$SLURM_ARRAY_TASK_ID" {n}\n'.encode())
    command = shlex.join(processes.python("-m", "tuneworthy", *sys.argv[1:]))
    write_atomic(
        again,
        (
            f"{head}#SBATCH --dependency=singleton\n"  # after all jobs of this name
            f"cd {shlex.quote(str(Path.cwd()))} || exit 1\n"
            f'export {REPEATED}={shlex.quote(str(folder / "next.sh"))}\nrm -f "${REPEATED}"\n{command}\nstatus=$?\n'
            f'if [ -e "${REPEATED}" ]; then bash "${REPEATED}"; fi\nexit $status\n'
        ).encode(),
    )
    if (following := os.environ.get(REPEATED)) and (not before or any(marker.exists() for marker in before)):
        write_atomic(Path(following), f"{submit}\n".encode())  # unless no task was done since
    return Undecided(
        f"Slurm has to run {count(len(tasks), 'task')} first.",
        hint=f"Run `{submit}`. The second job runs this command again when the tasks are done. "
        "Errors are in slurm-*.out, in the folder where you submit the jobs.",
    )
