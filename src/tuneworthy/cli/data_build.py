"""`tuneworthy data build`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click

from tuneworthy.cli.options import (
    PATH,
    expected_option,
    input_option,
    json_option,
    note,
    print_result,
    project_option,
    say,
    spending_options,
    wants_json,
)
from tuneworthy.cli.progress import RunProgress
from tuneworthy.cli.run import agree_to_spend, fetch_models
from tuneworthy.config import load
from tuneworthy.dataset.build import build_version
from tuneworthy.dataset.card import summary_of
from tuneworthy.dataset.effect import effect_words
from tuneworthy.dataset.freeze import Version
from tuneworthy.dataset.importing.folder import Import
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.dataset.records import ImportRequest, Recipe
from tuneworthy.dataset.stages import StagedBatches
from tuneworthy.errors import UserError
from tuneworthy.executors import Engine
from tuneworthy.people.review_log import FILE_NAME as REVIEWS
from tuneworthy.people.review_log import state_of
from tuneworthy.report.text import clean
from tuneworthy.store import Folder
from tuneworthy.text import count, plural
from tuneworthy.types import Paths, content_hash


@click.command("build")
@click.argument("files", nargs=-1, type=PATH)
@input_option
@expected_option
@click.option("--replace", is_flag=True, help="Forget files imported before.")
@click.option("--unsafe", is_flag=True, help="Freeze despite failed gates; the version and the verdict show it.")
@click.option("--stages", type=PATH, metavar="DIR", help="Folder for a build in stages, shared by all machines.")
@click.option(
    "--engine", type=click.Choice(get_args(Engine)), default="local", show_default=True, help="Engine of the stages."
)
@spending_options
@project_option
@json_option
def command(
    files: Paths,
    replace: bool,
    unsafe: bool,
    stages: Path | None,
    engine: Engine,
    max_usd: float | None,
    yes: bool,
    root: Path,
    **request: Any,
) -> int:
    """Import data files, check their rows, and freeze those that pass as a version.

    FILES are logs and exports of OpenTelemetry, Phoenix, Langfuse, LangSmith, MLflow, Weave, Braintrust, Opik, LiteLLM,
    Helicone, OpenAI, Anthropic or Gemini, logs of Inspect, promptfoo and lm-eval, preference pairs,
    chats, or tables, as JSONL, JSON, CSV, Excel, Parquet or Arrow, with or without gzip. They are added to the files
    imported before. Without any, the rows are those of the examples file.

    The checks drop, mask or report rows, depending on [data]; rejects.jsonl has each dropped row with its reason. If a
    gate fails, nothing is frozen and the exit status is 3. Only the judge in [data.judge] is billed.

    With --stages, checks run as tasks on all processors, on a Ray cluster, or as Slurm arrays (exit status 4 until they
    ran). The version is the same.

    \b
    Example:
      tuneworthy data build logs-*.jsonl.gz
      tuneworthy data build faq.csv --input question --expected answer
      tuneworthy data build --stages /shared/stages --engine ray
    """
    asked = ImportRequest(**request)
    if not files and (replace or asked != ImportRequest()):
        raise UserError(
            "--input, --expected and --replace need FILES.",
            hint="Name the files to import.",
        )
    if engine != "local" and stages is None:
        raise UserError(
            f"--engine {engine} needs --stages.",
            hint="Name a folder that all machines share. They need the project folder too, under the same path.",
        )
    project = load(root)
    store = Folder(project.root)
    progress = None
    if project.data.judge:
        judge = {project.data.judge.model}
        fetch_models(project, judge)
        agree_to_spend(project, max_usd, yes, judge)
        progress = RunProgress()
    with store.lock(note):
        done = import_files(store, files, asked, note, fresh=replace) if files else None
        if done and not wants_json():
            say_import(done)
        version, recipe = build_version(
            project,
            store,
            unsafe=unsafe,
            max_usd=max_usd,
            staged=StagedBatches(stages / content_hash(str(project.root.resolve())), engine, say=note)
            if stages
            else None,
            progress=progress,
            say=note,
        )
    frozen = {"version": version.id, "path": str(version.folder)} if version else {"version": None}
    imported = {"import": {"path": str(done.folder), **asdict(done.record)}} if done else {}
    print_result(
        {**frozen, **imported, "failed_gates": list(recipe.failed), **recipe.to_dict()},
        _say,
        version,
        recipe,
        root / REVIEWS,
    )
    return 0 if version else 3


def _say(version: Version | None, recipe: Recipe, reviews: Path) -> None:
    say(f"{recipe.input.n_read} rows read, {recipe.input.n_kept} imported")
    for stage in recipe.checks:
        for code, counts in stage.reasons.items():
            actions = (("dropped", counts.drop), ("masked", counts.mask), ("reported", counts.report))
            listed = ", ".join(f"{n} {action}" for action, n in actions if n)
            say(f"  {stage.check}: {listed} ({code}: {counts.words})")
        if stage.effect and (stage.effect.dev or stage.effect.rows):
            say(f"  {stage.check}: accuracy without its rows {effect_words(stage.effect)}")
        for finding in stage.whole_set:
            say(f"  {stage.check}: {clean(finding.detail or finding.words, 0)}")
    say(summary_of(recipe))
    note(*(clean(line, 0) for line in recipe.notes))
    note(*(f"gate failed: {clean(line, 0)}" for line in recipe.failed))
    if version is None:
        note(
            "No version was frozen. Fix the rows or [data], or use --unsafe to freeze anyway. The version "
            "records that it was frozen with --unsafe."
        )
        return
    unsafe = ", frozen although a gate failed" if recipe.unsafe else ""
    say(f"Version {version.id}: {recipe.n_rows} rows{unsafe}", str(version.folder))
    if state_of(reviews, version.id).status in {"no_plan", "open"}:
        say("Next: tuneworthy label review")


def dropped_rows(n: int, explanation: str, first: str) -> str:
    return f"  dropped: {n} row{'s' * (n != 1)} ({explanation}; first in {first})"


def say_import(done: Import) -> None:
    """Print an import: its files, how their rows were read, and why rows were left out."""
    record = done.record
    for source in record.sources:
        name, title, n = clean(source.name, 0), source.title or source.format, source.n_kept + source.n_rejected
        if source.companion:
            say(f"{name}: {title}, used for the rows of the other files")
        else:
            read = f"{n:,} {plural(n, source.unit, f'{source.unit}s')}, {source.n_rated:,} with feedback"
            say(f"{name}: {title}, {read}, {source.n_kept:,} imported")
        for turn in source.example:
            calls = f" [calls {clean(', '.join(turn.calls))}]" if turn.calls else ""
            say(f"    {turn.role}: {clean(turn.content, 0)[:160]}{calls}")
    note(*(clean(line, 0) for line in record.notes))
    for reason in record.reasons.values():
        say(dropped_rows(reason.n, clean(reason.words, 0), clean(reason.first, 0)))
    repaired = f", {record.n_repaired} of them with a corrected answer" if record.n_repaired else ""
    say(f"{done.folder / 'rows.jsonl'}: {count(record.n_kept, 'example')}{repaired}")
    if record.n_rejected:
        say(f"{done.folder / 'rejects.jsonl'}: the dropped rows with their reasons (n = {record.n_rejected})")
