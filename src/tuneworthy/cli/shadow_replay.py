"""`tuneworthy shadow replay`."""

import shlex
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from tuneworthy.cli.invocation import Invocation
from tuneworthy.cli.options import PATH, json_option, note, print_result, project_option, spending_options
from tuneworthy.cli.run import with_variants
from tuneworthy.cli.shadow_report import show
from tuneworthy.cli.train import STATUS
from tuneworthy.config import load
from tuneworthy.ladder.session import Session
from tuneworthy.shadow.canary import RESTARTED, STATE
from tuneworthy.shadow.recording import LiveTraffic, read_recording
from tuneworthy.shadow.replay import ShadowRecord, replay
from tuneworthy.types import Paths, Variant

RECORDED = "recorded"


@click.command("replay")
@click.argument("files", nargs=-1, type=PATH)
@click.option("--candidate", default="fine_tune", show_default=True, help="Variant to run, as in `compare`.")
@click.option("--production", default=RECORDED, show_default=True, help="`recorded`, or a variant to run.")
@click.option("--one-period", is_flag=True, help="Ignore days; judge this log only.")
@click.option("--restart", is_flag=True, help="Judge again after a roll-back (end the proxy first).")
@project_option
@spending_options
@json_option
def command(
    files: Paths,
    candidate: str,
    production: str,
    one_period: bool,
    restart: bool,
    root: Path,
    max_usd: float | None,
    yes: bool,
) -> int:
    """Replay recorded traffic to a candidate and judge its answers.

    FILES are logs of the model in use, in any format of `data build` (default: the recording of `shadow proxy`). A
    hash selects the sessions, stratified by `shadow.by`. The candidate gets every recorded turn and those before.

    It stops (exit status 3) once a metric is more than the margin worse than production, in all or in one stratum, or
    the cost exceeds `constraints.usd_per_1k`. It passes (0) once quality, valid format and answer rate are each shown
    to be no worse and at most 2% of the answers are missing. Otherwise the exit status is 4. Each day counts once, so a
    pass needs dated rows from at least 7 days.

    Quality needs correct answers: rows with the key `truth`, or sessions that people label with `label shadow`. To
    resume, run the command again.

    \b
    Example:
      tuneworthy shadow replay logs.jsonl --max-usd 5
      tuneworthy shadow replay logs-*.jsonl.gz --production current
    """
    if one_period and not files:
        raise click.UsageError("--one-period needs FILES: live traffic is judged by its days.")
    project = load(root)
    words = [candidate, *([] if production == RECORDED else [production])]
    again = _command_line()
    recording = read_recording(project, files, one_period=one_period) if files else LiveTraffic(project).read()
    note(*recording.notes)

    def work(session: Session, *variants: Variant) -> Coroutine[Any, Any, ShadowRecord]:
        path, kept = (session.folder.path / f"{name.format(variants[0].id)}.json" for name in (STATE, RESTARTED))
        if restart and path.exists():
            path.replace(kept)
        return replay(session, recording, *variants, command=again)

    record = with_variants(project, words, work, max_usd=max_usd, yes=yes)
    print_result(record, show, record, project)
    return STATUS[record.verdict.status]


def _command_line() -> str:
    """Return the command line that runs now, to be run again; the project is added where it is printed."""
    typed = click.get_current_context().ensure_object(Invocation).arguments
    words = [word for word in typed if word != "--restart" and not word.startswith("--project=")]
    if "--project" in words:
        place = words.index("--project")
        del words[place : place + 2]
    return shlex.join(["tuneworthy", *words])
