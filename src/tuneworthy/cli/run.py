"""`tuneworthy run`."""

import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import click

from tuneworthy.classical.decision import SPEC
from tuneworthy.cli.interruption import Result, run_async
from tuneworthy.cli.options import (
    FOLDER_PATH,
    batch_option,
    json_option,
    note,
    print_result,
    project_option,
    spending_options,
)
from tuneworthy.cli.progress import AtTarget, RunProgress
from tuneworthy.cli.tables import show_run
from tuneworthy.config import Project, load
from tuneworthy.config.graders import Choice, Exact, JsonGrader, Judge
from tuneworthy.config.models import ModelSection
from tuneworthy.config.retrieval import CrossEncoderReranker, LocalEncoder
from tuneworthy.engine.batch_rounds import batches_of
from tuneworthy.engine.rounds import Rounds
from tuneworthy.engine.shards import Shards, open_round, work
from tuneworthy.errors import NotStored, OutsideFault, Undecided, UserError
from tuneworthy.executors import REPEATED, Engine
from tuneworthy.ladder.cascade import large_of
from tuneworthy.ladder.estimate import estimate_run
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.run import check_rungs, run_ladder
from tuneworthy.ladder.session import Session, open_session, shown_run
from tuneworthy.ladder.task_data import read_data
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.providers.models import find, pull
from tuneworthy.providers.prices import price_for
from tuneworthy.retrieval.encoder import SPEC as ENCODER
from tuneworthy.retrieval.library import paid_servers
from tuneworthy.store import Folder
from tuneworthy.trust import key_grant
from tuneworthy.types import Paths, Texts, Variant

# Commands that ask before they spend money, to the end of the code.
ASKING = re.compile(
    r"tuneworthy (?:run|compare|decide --probe|data (?:build|distill)|decode (?:sweep|uncertainty)|"
    r"shadow (?:replay|proxy))\b(?![^`]*--(?:yes|max-usd))[^`&]*?(?=`| &&|$)"
)


def shard_of(_: click.Context, option: click.Parameter, typed: str | None) -> tuple[int | None, int] | None:
    """Return a shard and the number of shards of `I/N`, or None and the number of `N`.

    Raises:
        BadParameter: It has neither form.
    """
    if typed is None:
        return None
    form = re.fullmatch(r"(?:(\d{1,6})/)?(\d{1,6})", typed)
    if not form or not 1 <= int(form[1] or 1) <= int(form[2]):
        raise click.BadParameter("Give the number of shards, such as 4, or one of them, such as 2/4.", param=option)
    return int(form[1]) if form[1] else None, int(form[2])


@click.command("run")
@project_option
@click.option("--rung", "rungs", multiple=True, metavar="NAME", help="Only this rung; repeatable.")
@click.option("--quick", is_flag=True, help="Preview on 40 dev cases, without test; exit status 4.")
@click.option("--until", type=click.Choice(["target"]), help="Stop after the rung that meets the target.")
@click.option("--shard", metavar="N|I/N", callback=shard_of, help="Call models from N workers; I/N: be one of them.")
@click.option("--engine", type=click.Choice(["local", "ray", "slurm"]), help="What runs the workers.  [default: local]")
@click.option(
    "--merge", "copies", type=FOLDER_PATH, multiple=True, metavar="DIR", help="Copy with answers of shards; repeatable."
)
@batch_option
@spending_options
@json_option
def command(
    root: Path,
    rungs: Texts,
    quick: bool,
    until: str | None,
    shard: tuple[int | None, int] | None,
    engine: Engine | None,
    copies: Paths,
    batch: bool,
    max_usd: float | None,
    yes: bool,
) -> int:
    """Run the ladder on one frozen test set.

    Each rung explores candidates on dev, compares the best one on test, and is adopted or not. To resume after an
    interruption, run the command again. Finished calls are never paid for twice. If a run has to
    stop (budget spent, provider down), it prints the rungs so far. With --json, `partial` gives the reason.

    With --batch, calls that are not timed wait for batches of the provider (OpenAI, Anthropic) at its batch price, or
    for files that you run with `vllm run-batch`. Each stage of a rung takes a batch. To stop waiting, interrupt the
    command; the same command fetches the answers later.

    Once the target is met, a line says what the remaining rungs cost and can gain. On a terminal the command then asks
    whether to run them if they cost money. A run that stops there is complete; a later run continues it.

    \b
    Example:
      tuneworthy run --quick
      tuneworthy run --max-usd 2 --yes
    """
    number, n_shards = shard or (None, None)
    if number and n_shards:
        is_done = work(str(root), number, n_shards, note, run_async)
        note(f"Shard {number} of {n_shards} {'is complete' if is_done else 'has nothing to answer'}.")
        return 0
    if engine and not n_shards:
        raise click.UsageError("--engine needs --shard N.")
    if batch and (n_shards or copies):
        raise click.UsageError("--batch cannot be combined with --shard or --merge.")
    project = load(root)
    check_rungs(project, rungs)
    fetch_models(project)
    before = open_round(Folder(project.root))
    if copies and before and not n_shards:
        n_shards, engine = len(before.budgets), before.engine
    if not asks_no_model(project, rungs):
        agree_to_spend(project, max_usd, yes, estimate=lambda: _expected(project, batch))

    def show(record: RunRecord) -> None:
        print_result(record.to_dict(), show_run, record, project)

    at_target: AtTarget = "stop" if until else "run" if yes or not sys.stdin.isatty() else "ask"
    record = walk(
        project,
        rungs,
        quick=quick,
        max_usd=max_usd,
        stopped=show,
        at_target=at_target,
        rounds=partial(_rounds, batch=batch, n_shards=n_shards, engine=engine),
        copies=copies,
    )
    show(record)
    baseline = record.rung("baseline")
    if baseline and baseline.status == "failed":
        raise Undecided(
            f"The baseline cannot be scored: {baseline.reason.rstrip('.')}.",
            hint=(
                "Fix the cause, then run `tuneworthy run` again. Finished calls are cached and never paid for twice."
            ),
        )
    return Undecided.exit_status if quick else 0


async def _rounds(session: Session, *, batch: bool, n_shards: int | None, engine: Engine | None) -> Rounds | None:
    if batch:
        return await batches_of(session.runner, session.models)
    return Shards(session.project, session.runner, n_shards, engine or "local").rounds() if n_shards else None


def _expected(project: Project, batch: bool) -> str:
    found = estimate_run(project, read_data(project), {})
    return "" if found is None else found.in_batches() if batch else str(found)


def asks_no_model(project: Project, rungs: Texts) -> bool:
    """Whether a first run only measures classifiers on today's answers."""
    return (*rungs,) == ("classical",) and shown_run(project) is None and bool(read_data(project).dataset.agreement)


def walk(
    project: Project,
    rungs: Texts = (),
    *,
    quick: bool = False,
    max_usd: float | None = None,
    stopped: Callable[[RunRecord], None] = lambda _: None,
    at_target: AtTarget = "run",
    rounds: Callable[[Session], Awaitable[Rounds | None]] | None = None,
    copies: Paths = (),
) -> RunRecord:
    """Run the ladder and show how it goes; `stopped` gets the record if it has to stop.

    `at_target` is that of `RunProgress`, `rounds` and `copies` are those of `run_ladder`.
    """
    fetch_baselines(project)
    with RunProgress(at_target=at_target) as progress:

        def stop(record: RunRecord) -> None:
            progress.end()
            stopped(record)

        record = run_async(
            run_ladder(
                project,
                rungs,
                quick=quick,
                max_usd=max_usd,
                progress=progress,
                watcher=progress,
                waiting=note,
                stopped=stop,
                rounds=rounds,
                copies=copies,
            )
        )
        progress.end()
        if record.cost_usd and not progress.cost_usd:
            note("All billed answers were stored already: this run cost nothing.")
        return record


@asynccontextmanager
async def open_variants(
    project: Project, words: Texts, *, max_usd: float | None, yes: bool, beside: bool = False, calls: bool = True
) -> AsyncIterator[tuple[Session, list[Variant]]]:
    """Open a session and the variants that `words` name, once the user agreed to what their models cost.

    An empty word is the best variant of the last run, of a cascade its large part; the current one if there is no
    best. `beside` and `calls` are those of `open_session`.
    """
    async with open_session(
        project, progress=RunProgress(), max_usd=max_usd, waiting=note, beside=beside, calls=calls
    ) as session:
        last = shown_run(project)
        usual = "best" if last and last.best else "current"
        variants = [resolve(session, word) if word else large_of(resolve(session, usual)) for word in words]
        judges = {grader.model for grader in project.graders if isinstance(grader, Judge)}
        agree_to_spend(project, max_usd, yes or not calls, judges | {variant.model for variant in variants})
        yield session, variants


def with_variants(
    project: Project,
    words: Texts,
    work: Callable[..., Coroutine[Any, Any, Result]],
    *,
    max_usd: float | None,
    yes: bool,
    stored: bool = False,
    **options: object,
) -> Result:
    """Return the result of `work(session, *variants, **options)` for the variants that `words` name.

    If `stored`, stored answers are tried first, for which no other process is waited for.
    """

    async def run() -> Result:
        with suppress(NotStored):
            if stored:
                opening = open_variants(project, words, max_usd=max_usd, yes=yes, beside=True, calls=False)
                async with opening as (session, variants):
                    return await work(session, *variants, **options)
        async with open_variants(project, words, max_usd=max_usd, yes=yes) as (session, variants):
            return await work(session, *variants, **options)

    return run_async(run())


def fetch_models(project: Project, names: Container[str] | None = None) -> None:
    """Fetch the embedded models that are not here yet: those of `names`, or all of the project."""
    specs = {
        name: model.local_file
        for name, model in project.models.items()
        if (names is None and name not in project.forms) or (names is not None and name in names)
    }
    if isinstance(project.retrieval.reranker, CrossEncoderReranker):
        specs["retrieval.reranker"] = project.retrieval.reranker.model
    if names is None and project.documents and isinstance(project.retrieval.encoder, LocalEncoder):
        specs["retrieval.encoder"] = project.retrieval.encoder.model
    fetch(project.root, specs)


def fetch_baselines(project: Project) -> None:
    """Fetch the models of classical baselines that are not here yet, for cases that can be run.

    Without a network the ladder goes on.

    Raises:
        UserError: The cases cannot be run.
    """
    specs: dict[str, str | None] = {}
    if "classical" in project.ladder.rungs:
        if any(isinstance(grader, Choice) for grader in project.graders):
            specs["classical/decision"] = SPEC
        if project.examples and any(isinstance(grader, Choice | Exact | JsonGrader) for grader in project.graders):
            specs["classical/embedding"] = ENCODER
    if any(spec and find(spec, project.root) is None for spec in specs.values()):
        read_data(project)
    fetch(project.root, specs)


def fetch(root: Path, specs: Mapping[str, str | None]) -> None:
    """Fetch the model files of `specs`, by name of the model, that are not here yet."""
    for name, spec in specs.items():
        if spec is not None and find(spec, root) is None:
            note(f"Downloading the model {name} ({spec}).")
            try:
                pull(spec, root)
            except OutsideFault as error:
                if spec not in {SPEC, ENCODER}:
                    raise
                note(error.message)  # the ladder goes on without it


def _own_key(model: ModelSection) -> bool:
    """Whether a key goes to its vendor, for which no trust is asked: what that costs is not for the project to say."""
    variable = model.key_variable
    return bool(variable and os.environ.get(variable)) and None in [key_grant(variable, url) for url in model.addresses]


def with_consent(text: str, project: Project, usd: float | None = None, *, unattended: bool = False) -> str:
    """Add `--max-usd` or `--yes` to commands in `text` that would be refused without a terminal to ask.

    The limit is twice the cost, in whole dollars, so that a run that costs somewhat more than expected ends.

    Args:
        text: The next step, in words.
        project: Its configuration.
        usd: Cost of the step; None if it is not known.
        unattended: Whether the step runs without a terminal, even if this command has one.
    """
    if (sys.stdin.isatty() and not unattended) or project.ladder.budget_usd is not None or not billed(project):
        return text
    return ASKING.sub(rf"\g<0> --max-usd {ceil(2 * usd)}" if usd else r"\g<0> --yes", text)


def billed(project: Project, names: Container[str] | None = None) -> list[str]:
    """Return the models, of `names` if given, and the servers that cost money."""
    paid = (
        name
        for name, model in project.models.items()
        if names is None or name in names
        if not ((price := price_for(model)) and price.free) or _own_key(model)
    )
    return [*paid, *paid_servers(project)]


def agree_to_spend(
    project: Project,
    max_usd: float | None,
    yes: bool,
    names: Container[str] | None = None,
    *,
    estimate: Callable[[], str] = str,
) -> None:
    """Ask before money is spent; without a terminal a budget or `--yes` is needed.

    Args:
        project: Its configuration.
        max_usd: Most that this run may spend.
        yes: Whether the user agreed already.
        names: The models that are called; all of the project if not given.
        estimate: Returns the expected calls and their cost, for the question.

    Raises:
        UserError: A model costs money, there is no terminal to ask, and nothing limits it.
    """
    limit = max_usd if max_usd is not None else project.ladder.budget_usd
    has_agreed = yes or REPEATED in os.environ  # before the jobs of Slurm
    is_agreed = has_agreed or max_usd is not None or (limit is not None and not sys.stdin.isatty())
    if is_agreed or not (paid := ", ".join(billed(project, names))):
        return
    if not sys.stdin.isatty():
        raise UserError(
            f"No budget is set, but these services are billed: {paid}.",
            hint="Set ladder.budget_usd, or pass --max-usd or --yes.",
        )
    most = "without a limit" if limit is None else f"and spend at most ${limit:.2f}"
    expected = f"{found}, if nothing is stored. " if (found := estimate()) else ""
    click.confirm(
        f"{expected}Answers that are not stored yet are billed by these services: {paid}. Continue {most}?",
        abort=True,
        err=True,
    )
