"""Shards: the questions of a round are answered by several workers, on this machine or on others.

The driver runs the ladder and writes a round; a worker answers one share of it into a store of its own; the driver
merges these stores. A share follows from a hash of the case id. Below `.tuneworthy/shards/`:

    next.json    a round that is being written
    round.json   the open round, renamed last: its models, and the parts of the budget
    2.jsonl      the requests of the second shard
    2/           its store and its lock
    2.done.json  the id of the round that it has answered

Invariants: no answer of a worker is lost or requested again, whoever is killed; the parts of the budget never exceed
the remaining budget. A part that runs on another machine counts as spent until its shard is complete.
"""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing, suppress
from hashlib import blake2b
from math import fsum
from pathlib import Path
from secrets import token_hex
from typing import Any

import orjson

from tuneworthy.cases.stratified import rank
from tuneworthy.config import Project, load
from tuneworthy.engine.batch import Job
from tuneworthy.engine.budget import Budget
from tuneworthy.engine.models import Models, OpenModel
from tuneworthy.engine.rounds import Rounds, Wanted
from tuneworthy.engine.runner import Runner
from tuneworthy.errors import BudgetSpent, ModelError, OutsideFault, Undecided, UserError
from tuneworthy.executors import Engine, PooledTask, run_tasks
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers.base import outgoing
from tuneworthy.providers.http_client import blocking
from tuneworthy.store import Folder, ResponseStore, response_key, write_atomic
from tuneworthy.store.database import explained
from tuneworthy.store.lines import read_lines
from tuneworthy.text import count
from tuneworthy.types import MAX_AMOUNT, Case, JsonObject, Paths, Request, Say, Texts, Variant, canonical, frozen

# Requests per shard, at least: for fewer, a process takes longer to start than to answer.
MIN_REQUESTS = 25
# Part of the remaining budget that is divided: the driver has calls of its own.
DIVIDED = 0.9


@frozen
class OpenRound:
    """A round that was written.

    Attributes:
        id: Of this round.
        engine: Where its shards run; those of `slurm` may run where no lock shows it.
        models: Identities by name.
        budgets: Most that each shard may spend, US dollars; None for no limit.
        created: When it was written, seconds since the epoch.
        limit_usd: That of the whole project, in the command that wrote the round.
    """

    id: str
    engine: Engine
    models: dict[str, JsonObject]
    budgets: list[float | None]
    created: float
    limit_usd: float | None = None

    def part_key(self, shard: int) -> bytes:
        """Return the key of the open call that stands for the part of a shard on another machine."""
        return blake2b(f"{self.id}/{shard}".encode(), digest_size=16).digest()


@frozen
class ShardRequest:
    """A request of a shard; see `Job`."""

    key: str
    model: str
    case: str
    repeat: int
    request: Request


def open_round(folder: Folder) -> OpenRound | None:
    """Return the open round of a project."""
    return folder.read("shards/round", OpenRound)


def slots(project: Project, model: OpenModel, n: int) -> list[int]:
    """Return the calls in flight, at most, of each shard that calls a model, of `n` at most.

    Each opens a model file of its own; together, they keep to the limit of a server.
    """
    wide = n if project.models[model.name].local_file else min(n, model.concurrency)
    return [max(1, (model.concurrency + place) // wide) for place in range(wide)]


class Shards:
    """Sends rounds to workers.

    Args:
        project: The project.
        runner: The driver's.
        n: Shards in a round.
        engine: Where they run.
    """

    def __init__(self, project: Project, runner: Runner, n: int, engine: Engine = "local") -> None:
        self.project, self.runner, self.n, self.engine = project, runner, n, engine
        self.folder = Folder(project.root)

    def rounds(self) -> Rounds:
        """Return the rounds of a run.

        Raises:
            Undecided: Workers on other machines have not completed the open round.
        """
        before = open_round(self.folder)
        if before and before.engine == "slurm" != self.engine:
            raise Undecided(
                "Shards on other machines have not ended yet.",
                hint="Go on with `--engine slurm` or `--merge`, or give up on them with `tuneworthy doctor --release`.",
            )
        if before and self.engine == "slurm":
            self._run(before)
        return Rounds(
            self.send,
            # a worker reads the project file, and knows no model that was trained
            accepts=lambda model: model.name in self.project.models.keys() - {self.project.serve.model},
            least=MIN_REQUESTS * self.n,
        )

    async def send(self, wanted: Wanted) -> None:
        """Let workers answer all jobs, and merge their answers.

        Raises:
            Undecided: The round waits for workers on other machines.
            BudgetSpent: More than the budget is spent.
            UserError: The folder cannot be written, or a worker has another model.
        """
        store, budget = self.runner.store, self.runner.budget
        for model, jobs in wanted.values():
            self.runner.refuse_open(model, {job.key for job in jobs})
        shares, ceilings = self._divide(wanted)
        total, rest = fsum(ceilings), 0.0
        if is_limited := budget.limit_usd is not None and total > 0:
            rest = max(0.0, budget.room_usd) * DIVIDED
            least = min(model.ceiling_usd(job.request) for model, jobs in wanted.values() for job in jobs)
            if rest * max(ceilings) / total < least:
                return  # no worker could ask anything: the rest is asked here, as far as it goes
            budget.take(rest)
        this = OpenRound(
            id=token_hex(8),
            engine=self.engine,
            models={name: dict(model.provider.identity) for name, (model, _) in wanted.items()},
            budgets=[rest * one / total if is_limited else None for one in ceilings],
            created=time.time(),
            limit_usd=budget.limit_usd,
        )
        before = spent = store.spending()
        try:
            collect(self.folder, store, self.runner.progress.note, ending=True)
            self._write(this, shares)
            await asyncio.to_thread(self._run, this)
            self.runner.gave_up(collect(self.folder, store, self.runner.progress.note, ending=True))
            spent = store.spending()
            self.runner.progress.spend(spent.usd - before.usd)
        finally:
            if is_limited:
                budget.settle(rest, spent.usd - before.usd)
                budget.unanswered_usd += spent.unanswered_usd - before.unanswered_usd

    def _divide(self, wanted: Wanted) -> tuple[list[list[bytes]], list[float]]:
        """Return the requests of each shard, one a line, and the most that they can cost."""
        shares: list[list[bytes]] = [[] for _ in range(self.n)]
        ceilings = [0.0] * self.n
        for model, jobs in wanted.values():
            wide = len(slots(self.project, model, self.n))
            for job in jobs:
                place = int(rank(0, job.case.id)[:13], 16) % wide
                row = ShardRequest(
                    key=job.key.hex(), model=model.name, case=job.case.id, repeat=job.repeat, request=job.request
                )
                shares[place].append(orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE))
                ceilings[place] += model.ceiling_usd(job.request)
        return shares, ceilings

    def _write(self, this: OpenRound, shares: Sequence[Sequence[bytes]]) -> None:
        """Write a round; parts of the budget that are spent elsewhere count as open calls from here on."""
        folder = self.folder.path / "shards"
        with explained(folder):
            write_atomic(folder / "next.json", orjson.dumps(this))
            for number, (lines, part) in enumerate(zip(shares, this.budgets, strict=True), 1):
                if lines:
                    write_atomic(folder / f"{number}.jsonl", lines)
                if part and this.engine == "slurm":
                    self.runner.store.open_call(this.part_key(number), part)
            (folder / "next.json").replace(folder / "round.json")
        requests = count(sum(map(len, shares)), "request")
        self.runner.progress.note(f"A round of {requests} in {count(sum(map(bool, shares)), 'shard')}.")

    def _run(self, this: OpenRound) -> None:
        """Run the shards that are not complete yet, until all are."""
        n, folder = len(this.budgets), self.folder.path / "shards"
        here = {"folder": str(Path.cwd()), "import_path": [*sys.path]} if this.engine == "local" else {}
        tasks = [
            PooledTask(
                "tuneworthy.engine.shards:work_as_task",
                {"root": str(self.project.root), "number": number, "n": n, **here},
                folder / f"{number}.done.json",
            )
            for number in _shares(self.folder)
        ]
        try:
            run_tasks(tasks, this.engine, folder, workers=n, variables=os.environ)  # with the keys of providers
        except Undecided as error:
            raise Undecided(
                error.message,
                hint=f"{error.hint} Machines without this disk need a copy of the project: run it there with `--shard "
                f"I/{n}` for each shard I, then here with `--merge COPY`.",
            ) from None


def collect(
    folder: Folder, store: ResponseStore, waiting: Say, copies: Paths = (), *, ending: bool = False
) -> list[bytes]:
    """Merge the answers of shards into the store of the project, and remove a round that is complete.

    Args:
        folder: Of the project.
        store: Its store.
        waiting: Called if a worker is still running; its end is waited for.
        copies: Project folders of other machines.
        ending: Whether the round is removed even if it is not complete.

    Returns:
        The keys of the calls that workers gave up.
    """
    this, failed = open_round(folder), list[bytes]()
    for place in (folder, *map(Folder, copies)):
        stores = sorted(place.path.glob("shards/*/.tuneworthy/responses.sqlite"))
        if not stores and place is not folder:
            raise UserError(
                f"{place.path / 'shards'} has no answers.", hint="Run `tuneworthy run --shard I/N` in that copy first."
            )
        for path in stores:
            number = int(path.parts[-3]) if path.parts[-3].isdecimal() else 0
            is_done = this is not None and _is_done(place, this, number)
            if this and this.engine == "slurm" and place is folder and not is_done and not ending:
                continue  # its worker goes on
            with Folder(path.parents[1]).lock(waiting):
                failed += store.merge(path, since=this.created if this else MAX_AMOUNT)
            if this and is_done:
                store.forget(this.part_key(number))
                write_atomic(folder.path / f"shards/{number}.done.json", orjson.dumps(this.id))
    if begun := folder.read("shards/next", OpenRound):  # its driver was killed: no worker has seen it
        for number in range(1, 1 + len(begun.budgets)):
            store.forget(begun.part_key(number))
    if ending or this is None or this.engine != "slurm" or all(_is_done(folder, this, n) for n in _shares(folder)):
        with explained(folder.path / "shards"), suppress(FileNotFoundError):
            # first, as a worker must find a whole round or no round
            (folder.path / "shards/round.json").unlink(missing_ok=True)
            shutil.rmtree(folder.path / "shards")
    return failed


def keys_elsewhere(folder: Folder) -> frozenset[bytes]:
    """Return the keys of the requests of an open round that runs on other machines."""
    this, shards = open_round(folder), folder.path / "shards"
    if this is None or this.engine != "slurm":
        return frozenset()
    rows = (row for n in _shares(folder) for row in read_lines(shards / f"{n}.jsonl", ShardRequest))
    return frozenset(bytes.fromhex(row.key) for row in rows)


def _shares(folder: Folder) -> list[int]:
    """Return the numbers of the shards that have requests."""
    return sorted(int(path.stem) for path in (folder.path / "shards").glob("*.jsonl") if path.stem.isdecimal())


def _is_done(folder: Folder, this: OpenRound, number: int) -> bool:
    return folder.read(f"shards/{number}.done", str) == this.id


def work(
    root: str,
    number: int,
    n: int,
    say: Say = lambda _: None,
    play: Callable[[Coroutine[Any, Any, None]], None] = blocking,
) -> str:
    """Answer one share of the open round; answers that it has already are not requested again.

    Args:
        root: The project folder.
        number: The shard, from 1.
        n: Shards in the round.
        say: Called if another worker answers this share; its end is waited for.
        play: Runs a coroutine to its end.

    Returns:
        The id of the round, also if its share is complete already; "" if there is nothing to answer.

    Raises:
        UserError: The round has another number of shards, a model differs from the driver's, or a request was changed.
        OutsideFault: On another machine than the driver, the provider gave no answer.
    """
    folder = Folder(Path(root))
    this = open_round(folder)
    path = folder.path / f"shards/{number}.jsonl"
    if this and len(this.budgets) != n:
        raise UserError(
            f"The open round has {len(this.budgets)} shards, not {n}.",
            hint=f"Run `tuneworthy run --shard {min(number, len(this.budgets))}/{len(this.budgets)}`.",
        )
    if this is None or not path.exists():
        return ""
    if _is_done(folder, this, number):
        return this.id
    own = Folder(folder.path / f"shards/{number}")
    with own.lock(say), closing(ResponseStore(own.responses)) as store:
        play(_answer(load(Path(root)), this, store, number, path))
        write_atomic(folder.path / f"shards/{number}.done.json", orjson.dumps(this.id))
    return this.id


def work_as_task(root: str, number: int, n: int, folder: str = "", import_path: Texts = ()) -> str:
    """Answer one share of the open round, as a task of `run_tasks`; see `work`.

    Args:
        root: As in `work`.
        number: As in `work`.
        n: As in `work`.
        folder: The working folder of the driver, if it runs on this machine: functions of the user's open files there.
        import_path: Where the driver finds modules, and so this process from here on.

    Raises:
        OutsideFault: This machine does not have the round: its result would count as that of a complete share.
    """
    if folder:
        os.chdir(folder)
        sys.path[:] = import_path
    if not (done := work(root, number, n)):
        raise OutsideFault(
            f"{root} has no open round with a shard {number} on this machine.",
            hint="If the round has ended, nothing is left to do. Otherwise let all machines share the disk of the "
            "project.",
        )
    return done


async def _answer(project: Project, this: OpenRound, store: ResponseStore, number: int, path: Path) -> None:
    """Answer the requests of a file, as far as budget and provider allow; errors as in `work`."""
    models, spending = Models(project), store.spending()
    budget = Budget(this.budgets[number - 1], spending.usd, spending.unanswered_usd)
    runner = Runner(store, budget, ShotPool(()), seed=project.split.seed + number, compares=False)
    try:
        results = await asyncio.gather(
            *(
                runner.answer(
                    Variant(name=f"shard {number}", model=name, model_identity={}, system=None, user=""),
                    models[name],
                    jobs,
                    slots(project, models[name], len(this.budgets))[number - 1],  # its part of the concurrency
                )
                for name, jobs in _jobs(path, this, models).items()
            ),
            return_exceptions=True,
        )
    finally:
        await models.close()
    for error in results:
        # the driver sees all shards: it repeats these calls, and blames the provider or not
        is_down = this.engine == "slurm" and not len(store)
        left = BudgetSpent if is_down else BudgetSpent | OutsideFault | ModelError
        if isinstance(error, BaseException) and not isinstance(error, left):
            raise error


def _jobs(path: Path, this: OpenRound, models: Models) -> dict[str, list[Job]]:
    """Return the requests of a file by model, compared with the round."""
    for name, identity in this.models.items():
        if (mine := models[name].identity) != canonical(identity):
            raise UserError(
                f"models.{name} is {mine.decode()} here, but {canonical(identity).decode()} where the run is.",
                hint="Give the worker the same project file, model files and packages.",
            )
    jobs: dict[str, list[Job]] = {}
    for row in read_lines(path, ShardRequest):
        key = response_key(models[row.model].identity, outgoing(row.request), row.repeat)
        if key.hex() != row.key:
            raise UserError(f"{path}: the request for case {row.case} was changed.", hint="Run `tuneworthy run` again.")
        jobs.setdefault(row.model, []).append(Job(Case(id=row.case, input=None), row.repeat, row.request, key))
    return jobs
