"""`tuneworthy demo`."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from importlib.resources import files
from pathlib import Path

import click

from tuneworthy.cli import root
from tuneworthy.cli.decide import show_answer, show_next
from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import PATH, json_option, note, print_result, remember_project, say, wants_json
from tuneworthy.cli.run import fetch_models, walk
from tuneworthy.cli.tables import show_ladder
from tuneworthy.config import Project, load
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.session import required_run
from tuneworthy.report.run_report import write_last
from tuneworthy.scaffold import keep_files
from tuneworthy.store import write_atomic
from tuneworthy.trust import own_path
from tuneworthy.types import TextTuple
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.run import decide_project

# The project file last: where it exists, all others do.
FILES = ("cases.jsonl", "examples.jsonl", "prompts/system.md", "labels.md", "tuneworthy.toml")
# The further steps of `--train`: the same verbs that a user would run, in this order.
STEPS: Sequence[TextTuple] = (("data", "build"), ("train",))


@click.command("demo")
@click.argument("folder", type=PATH, default="tuneworthy-demo", callback=remember_project)
@click.option("--train", is_flag=True, help="Further steps: dataset, adapter, merge, export, parity, verdict.")
@json_option
def command(folder: Path, train: bool) -> int:
    """Create a small project and run its ladder.

    Writes the project into FOLDER, runs the ladder with the embedded model, and ends with the verdict and the report.
    This needs no key and no GPU, and downloads two models (189 MB) once. To resume after an interruption, run the
    command again.

    With --train, the demo also trains a small adapter, whatever the verdict, to show every step. This needs `pip
    install 'tuneworthy[train]'`. The demo's project file waives the review of the data and the pilot.

    \b
    Example:
      tuneworthy demo my-demo
      tuneworthy demo my-demo --train
    """
    write_demo(folder)
    project = load(folder)
    fetch_models(project)
    record = walk(project)
    verdict = run_async(decide_project(project))
    if train:
        with redirect_stdout(sys.stderr) if wants_json() else nullcontext():
            if status := go_on(folder):
                return status
        record = required_run(project := load(folder), quick=True)
        verdict = run_async(decide_project(project))
    page = folder / "report.html"
    write_last(project, page)
    print_result(record.to_dict(), _show, project, record, verdict)
    click.echo(f"Report: {page}", err=wants_json())
    return 0


def _show(project: Project, record: RunRecord, verdict: Verdict) -> None:
    show_ladder(record, project)
    show_answer(verdict)
    say("")
    show_next(verdict, project)


def go_on(folder: Path) -> int:
    note("To show every step, the demo now trains a small adapter, regardless of the verdict.")
    for words in STEPS:
        note(f"\n$ tuneworthy {' '.join(words)}")
        result = root.main([*words, "--project", str(folder)], prog_name="tuneworthy", standalone_mode=False)
        status = result if isinstance(result, int) else 0
        if status and words[0] != "train":  # parity that failed or is unknown is an answer
            return status
    return 0


def write_demo(folder: Path) -> None:
    """Write the demo project, or leave the one that is there.

    Raises:
        UserError: There is a file of the user's own that it would write over.
    """
    if (folder / "tuneworthy.toml").exists():
        note(f"{folder} already exists, so the demo continues with it.")
        return
    contents = {name: files("tuneworthy.demo").joinpath(name).read_bytes() for name in FILES}
    keep_files(folder, contents)
    for name, content in contents.items():
        write_atomic(own_path(folder, name), content)
