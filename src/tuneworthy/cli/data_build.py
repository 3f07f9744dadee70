"""`tuneworthy data build`."""

from pathlib import Path

import click

from tuneworthy.cli.data_import import say_import
from tuneworthy.cli.options import (
    PATH,
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
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.dataset.records import Recipe
from tuneworthy.people.review_log import FILE_NAME as REVIEWS
from tuneworthy.people.review_state import state_of
from tuneworthy.report.text import clean
from tuneworthy.store import Folder
from tuneworthy.types import Paths


@click.command("build")
@click.argument("files", nargs=-1, type=PATH)
@click.option("--unsafe", is_flag=True, help="Freeze despite failed gates; the version and the verdict show it.")
@spending_options
@project_option
@json_option
def command(files: Paths, unsafe: bool, max_usd: float | None, yes: bool, root: Path) -> int:
    """Check the rows of the latest import (or else of the examples file), and freeze the rows that pass as a version.

    With FILES, these are imported first, as `data import` does.

    The checks run in a fixed order. Depending on [data], they drop, mask or only report rows. The name of a
    version comes from its content, and a version never changes. If a gate fails, nothing is frozen and the exit status
    is 3. A gate fails if the policy keeps overlaps, personal data, bad answers or broken chats, or if the check for
    them is off. An interrupted build resumes. The only billed calls are those of the judge in [data.judge].

    \b
    Example:
      tuneworthy data build
      tuneworthy data build traces.jsonl
    """
    project = load(root)
    store = Folder(project.root)
    progress = None
    if project.data.judge:
        judge = {project.data.judge.model}
        fetch_models(project, judge)
        agree_to_spend(project, max_usd, yes, judge)
        progress = RunProgress()
    with store.lock(note):
        if files and not wants_json():
            say_import(import_files(store, files, say=note))
        elif files:
            import_files(store, files, say=note)
        version, recipe = build_version(project, store, unsafe=unsafe, max_usd=max_usd, progress=progress, say=note)
    frozen = {"version": version.id, "path": str(version.folder)} if version else {"version": None}
    document = {**frozen, "failed_gates": list(recipe.failed), **recipe.to_dict()}
    print_result(document, _say, version, recipe, root / REVIEWS)
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
        say("Next: tuneworthy data review start")
