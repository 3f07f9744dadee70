"""`tuneworthy shadow replay`."""

import shlex
from dataclasses import asdict
from pathlib import Path

import click

from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.invocation import Invocation
from tuneworthy.cli.options import json_option, note, print_result, project_option, spending_options
from tuneworthy.cli.parity import STATUS
from tuneworthy.cli.run import open_variants
from tuneworthy.cli.shadow_report import show
from tuneworthy.config import Project, load
from tuneworthy.config.shadow import Shadow
from tuneworthy.shadow.recording import read_recording, read_traffic
from tuneworthy.shadow.replay import ShadowRecord, replay

RECORDED = "recorded"


@click.command("replay")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--candidate", default="fine_tune", show_default=True, help="Variant to run, as in `compare`.")
@click.option(
    "--production", default=RECORDED, show_default=True, help="What to compare with: `recorded`, or a variant to ask."
)
@click.option("--format", "format_name", metavar="NAME", help="Format of the rows (default: detected).")
@click.option("--sessions", type=click.IntRange(min=1), help="Maximum number of sessions (default: shadow.sessions).")
@click.option("--by", metavar="KEY", help="Metadata key to examine value by value (default: shadow.by).")
@click.option(
    "--per-minute",
    type=click.IntRange(min=1),
    metavar="N",
    help="Approximate limit on turns per minute; sessions are not split.",
)
@project_option
@spending_options
@json_option
def command(
    files: tuple[Path, ...],
    candidate: str,
    production: str,
    format_name: str | None,
    sessions: int | None,
    by: str | None,
    per_minute: int | None,
    root: Path,
    max_usd: float | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Replay recorded traffic to a candidate and judge its answers.

    FILES are logs of the model in use, in any format of `data import`; without FILES, it is what `shadow proxy`
    recorded. A hash of the session name selects the sessions of files, stratified by --by. `replay` sends every
    recorded turn to the candidate, with the recorded messages before it, including tool results. Personal data is
    masked unless `data.policy` says otherwise.

    It stops (exit status 3) once a metric is more than the margin worse than production, over all traffic or in one
    stratum, or the candidate costs more than `constraints.usd_per_1k`. It passes (0) once quality, valid format and
    answer rate are each shown to be no worse and at most 2% of the answers are missing. Otherwise the exit status is 4.
    You can check the result at any time; the 5% error rate still applies.

    Quality needs correct answers: rows with the key `truth`, or a share of the sessions that people label with
    `shadow label`. To resume after an interruption, run the command again.

    \b
    Example:
      tuneworthy shadow replay logs.jsonl --by tenant --max-usd 5
      tuneworthy shadow replay logs-*.jsonl.gz --production current
    """
    project = load(root)
    changed = {"by": by or project.shadow.by, "sessions": sessions or project.shadow.sessions}
    section = Shadow(**{**project.shadow.model_dump(), **changed})
    project = project.model_copy(update={"shadow": section})
    words = [candidate, *([] if production == RECORDED else [production])]
    again = _command_line()
    run = _run(project, files, words, format_name, again, per_minute=per_minute, max_usd=max_usd, yes=yes)
    record = run_async(run)
    print_result(as_json, asdict(record), show, record, project)
    return STATUS[record.verdict.status]


def _command_line() -> str:
    """Return the command line that runs now, to be run again; the project is added where it is printed."""
    invocation = click.get_current_context().find_object(Invocation)
    words = [word for word in (invocation.arguments if invocation else []) if not word.startswith("--project=")]
    if "--project" in words:
        place = words.index("--project")
        del words[place : place + 2]
    return shlex.join(["tuneworthy", *words])


async def _run(
    project: Project,
    files: tuple[Path, ...],
    words: list[str],
    format_name: str | None,
    again: str,
    *,
    per_minute: int | None,
    max_usd: float | None,
    yes: bool,
) -> ShadowRecord:
    recording = read_recording(project, files, format_name) if files else read_traffic(project)
    note(*recording.notes)
    async with open_variants(project, words, max_usd=max_usd, yes=yes) as (session, variants):
        return await replay(session, recording, *variants, per_minute=per_minute, command=again)
