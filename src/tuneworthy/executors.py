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
import selectors
import shlex
import sys
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Literal

import orjson

from tuneworthy import processes
from tuneworthy.errors import OutsideFault, TuneworthyError, Undecided, UserError
from tuneworthy.extras import require
from tuneworthy.signals import check_stop
from tuneworthy.store.folder import write_atomic
from tuneworthy.types import JsonObject, Say, content_hash, positional

Engine = Literal["local", "ray", "slurm"]
# How often a task is started whose process dies.
MAX_TRIES = 3
# Indices of an array, the default limit of Slurm (MaxArraySize); each runs several tasks if there are more.
MAX_ARRAY = 1000
# File that gets the next submission, for a command that a job of Slurm repeats.
REPEATED = "TUNEWORTHY_NEXT"
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

    def line(self, **more: Any) -> bytes:
        """Return the task as a line of JSON."""
        task = {"function": self.function, "arguments": self.arguments, "marker": str(self.marker), **more}
        return orjson.dumps(task, option=orjson.OPT_APPEND_NEWLINE)


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
        variables: Environment of the tasks; `processes.environment()` if None. With Slurm, the scheduler decides.
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
        some = dict(variables or {})
        own = processes.environment("RAY_") | {"RAY_USAGE_STATS_ENABLED": "0"} | some
        self._start = partial(
            processes.start,
            processes.main_of(__name__, engine, str(workers or ""), *(some if self.is_ray else ())),
            piped=True,
            own_session=True,
            variables=own if self.is_ray else variables,
        )
        self._children: dict[processes.Child, set[int]] = {}  # with the numbers of their tasks
        self._rests: dict[processes.Child, bytes] = {}  # the beginnings of answers

    def __enter__(self) -> "TaskPool":
        self._stack = ExitStack()
        self._log: IO[bytes] = self._stack.enter_context(self.path.open("ab"))
        self._ready = self._stack.enter_context(selectors.DefaultSelector())
        return self

    def __exit__(self, *_: object) -> None:
        for child in [*self._children]:
            self._remove(child)
        self._stack.close()

    def run(self, tasks: Sequence[PooledTask]) -> None:
        """Run all tasks, then raise the first error.

        Raises:
            TuneworthyError: See `run_tasks`.
        """
        waiting, tries = deque(enumerate(tasks)), Counter[int]()
        errors: dict[int, Exception] = {}
        while waiting or any(self._children.values()):
            check_stop()
            self._hand_out(waiting)
            for key, _ in self._ready.select(_LOOK_S):
                child: processes.Child = key.data
                part = os.read(key.fd, 1 << 16)
                *lines, self._rests[child] = (self._rests.get(child, b"") + part).split(b"\n")
                for answer in map(orjson.loads, lines) if part else self._lost(child):
                    number, task = answer["number"], tasks[answer["number"]]
                    self._children.get(child, set()).discard(number)
                    if "lost" not in answer:
                        if answer["error"]:
                            errors[number] = _error_of(answer["error"], task, self.path)
                        continue
                    tries[number] += 1
                    if tries[number] < MAX_TRIES:
                        waiting.append((number, task))
                    else:
                        errors[number] = OutsideFault(
                            f"The process of the task {task.marker} died {MAX_TRIES} times. {answer['lost']}".strip(),
                            hint=f"{self.path} has its output. Run the same command again to resume.",
                        )
        if errors:
            raise errors[min(errors)]

    def _hand_out(self, waiting: deque[tuple[int, PooledTask]]) -> None:
        while waiting:
            free = next((one for one, own in self._children.items() if self.is_ray or not own), None)
            if free is None and len(self._children) == self.n_children:
                return
            child = free or self._start(self._log)
            if free is None:
                assert child.stdout is not None
                self._children[child] = set()
                self._ready.register(child.stdout, selectors.EVENT_READ, child)
            number, task = waiting.popleft()
            self._children[child].add(number)
            try:
                assert child.stdin is not None
                child.stdin.write(task.line(number=number))
                child.stdin.flush()
            except BrokenPipeError:  # its end is read as well
                return

    def _lost(self, child: processes.Child) -> list[JsonObject]:
        """Return an answer for each task of a child that died."""
        numbers = self._children[child]
        self._remove(child)
        if self.is_ray:
            raise OutsideFault(
                "The Ray cluster was lost, or cannot be reached.",
                hint=f"{self.path} has the reason. Run the same command again to resume.",
            )
        return [{"number": number, "lost": f"It ended with status {child.returncode}."} for number in numbers]

    def _remove(self, child: processes.Child) -> None:
        assert child.stdout is not None
        self._ready.unregister(child.stdout)
        del self._children[child]
        if not self.is_ray:
            child.kill()
        processes.end(child, grace_s=10.0)  # a local cluster ends with its driver


def _error_of(error: JsonObject, task: PooledTask, log: Path) -> Exception:
    """Return the exception that a task raised."""
    module, name = error["kind"].split(":")
    kind = getattr(import_module(module), name) if module.startswith("tuneworthy.") else None
    if kind is not None and issubclass(kind, TuneworthyError):
        raised: Exception = kind.__new__(kind, error["message"])
        raised.__dict__.update(message=error["message"], hint=error["hint"])
        return raised
    if error["errno"]:
        return OSError(error["errno"], os.strerror(error["errno"]), error["filename"] or str(task.marker.parent))
    return TuneworthyError(f"The task {task.marker} failed: {error['message']}", hint=f"{log} has the traceback.")


def perform(task: JsonObject) -> JsonObject | None:
    """Run a task unless it has its marker, and write the marker; return the error that it raised, as JSON."""
    marker = Path(task["marker"])
    try:
        if not marker.exists():
            module, _, name = task["function"].partition(":")
            with writing_to(marker.parent):
                result = getattr(import_module(module), name)(**task["arguments"])
                write_atomic(marker, orjson.dumps(result))
    except Exception as error:
        if not isinstance(error, TuneworthyError):
            traceback.print_exc()
        return {
            "kind": f"{type(error).__module__}:{type(error).__qualname__}",
            "message": getattr(error, "message", f"{type(error).__name__}: {error}"),
            "hint": getattr(error, "hint", ""),
            "errno": getattr(error, "errno", None),
            "filename": getattr(error, "filename", None),
        }
    return None


def main(kind: str, *arguments: str) -> None:
    """Run the tasks of the input, or of an index of an array: the program of a child.

    Args:
        kind: `local`, `ray` or `slurm`.
        arguments: For Ray, processors and names of the tasks' variables; for Slurm, list, index and step.
    """
    if kind == "slurm":
        lines = Path(arguments[0]).read_bytes().splitlines()[int(arguments[1]) :: int(arguments[2])]
        errors = [error for error in map(perform, map(orjson.loads, lines)) if error]
        sys.exit("\n".join(f"{error['message']} {error['hint']}" for error in errors) or 0)
    tasks, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # the output of a task is no answer

    lock = threading.Lock()

    def answer(number: int, **result: Any) -> None:
        with lock:
            answers.write(orjson.dumps({"number": number, **result}, option=orjson.OPT_APPEND_NEWLINE))

    if kind == "ray":
        _pass_on(tasks, answer, *arguments)
        return
    queue: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read_all, args=(tasks, queue), daemon=True).start()
    while True:
        task = orjson.loads(queue.get())
        error = perform(task)
        sys.stdout.flush()
        answer(task["number"], error=error)


def _read_all(tasks: IO[bytes], queue: SimpleQueue[bytes]) -> None:
    """Read tasks to the end of the input, then end this process: its owner may have been killed."""
    for line in iter(tasks.readline, b""):
        queue.put(line)
    os._exit(0)


def _pass_on(tasks: IO[bytes], answer: Callable[..., None], workers: str, *names: str) -> None:
    """Run tasks on a cluster until the input ends.

    Ray ends the process of a driver that loses the head of its cluster, so this is a process of its own.
    """
    import ray
    from ray.exceptions import RayError

    root, env = str(Path(__file__).parents[1]), {name: os.environ[name] for name in names}
    options: JsonObject = {"log_to_driver": False, "runtime_env": {"env_vars": env} if env else None}
    try:
        ray.init(address=os.environ.get("RAY_ADDRESS") or "auto", **options)
    except ConnectionError:
        if "RAY_ADDRESS" in os.environ:
            raise
        ray.init(num_cpus=int(workers) if workers else None, include_dashboard=False, **options)

    def remote(task: JsonObject) -> Any:  # pickled by value: a node need not have this package in its path
        import sys
        from importlib import import_module

        sys.path.append(root)
        return import_module("tuneworthy.executors").perform(task)

    def done(number: int, future: Any) -> None:
        try:
            answer(number, error=future.result())
        except RayError as error:  # a worker or a node died
            answer(number, lost=str(error))

    start = ray.remote(max_retries=0)(remote).remote
    for line in iter(tasks.readline, b""):
        task = orjson.loads(line)
        start(task).future().add_done_callback(partial(done, task["number"]))
    ray.shutdown()


def _write_array(tasks: Sequence[PooledTask], folder: Path, workers: int | None) -> Undecided:
    """Write the scripts that run `tasks` with Slurm, and return the error that says how to start them."""
    listed, array, again = folder / "tasks.jsonl", folder / "array.sh", folder / "again.sh"
    rows = listed.read_bytes().splitlines() if listed.exists() else []
    before = [Path(orjson.loads(row)["marker"]) for row in rows]
    write_atomic(listed, [task.line() for task in tasks])
    n, name = min(len(tasks), MAX_ARRAY), f"tuneworthy-{content_hash(str(folder))}"
    submit = f"sbatch {shlex.quote(str(array))} && sbatch {shlex.quote(str(again))}"
    head = f"#!/bin/bash\n#SBATCH --job-name={name}\n#SBATCH --output={folder}/slurm-%A-%a.log\n"
    limit = f"%{workers}" if workers else ""
    run = shlex.join(processes.main_of(__name__, "slurm", str(listed)))
    write_atomic(array, f'{head}#SBATCH --array=0-{n - 1}{limit}\nexec {run} "$SLURM_ARRAY_TASK_ID" {n}\n'.encode())
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
        f"Slurm has to run {len(tasks)} tasks first.",
        hint=f"Run `{submit}`. The second job runs this command again when the tasks are done.",
    )
