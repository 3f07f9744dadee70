"""`tuneworthy check`."""

from __future__ import annotations

from pathlib import Path

import click

from tuneworthy.cli import messages
from tuneworthy.cli.options import json_option, print_json, project_option
from tuneworthy.errors import join_sentences
from tuneworthy.ladder.check import check_project
from tuneworthy.report.text import clean

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command("check", short_help="Say all that is wrong, and what a run will cost, before money is spent.")
@project_option
@click.option("--offline", is_flag=True, help="Do not contact the servers that the project file names.")
@json_option
def command(root: Path, offline: bool, as_json: bool) -> int:
    """Say all that is wrong, at once, before money is spent; and what a run will take and can show.

    Looks at the project file, data, overlaps, graders, keys, model files, prices and the budget. Nothing is asked of a
    model; servers that the project file names get one GET that costs nothing. Exit 2 if anything is an error.

    \b
    Example:
      tuneworthy check
    """
    report = check_project(root, contact=not offline)
    if as_json:
        print_json(report.to_dict())
        return 2 if report.count("error") else 0
    for finding in report.findings:
        severity = finding.severity or "error"
        label = click.style(severity, fg=_COLOURS[severity])
        click.echo(f"{label} {finding.rule}: {clean(join_sentences(finding.message, finding.fix), 0)}")
    n_errors, n_warnings = report.count("error"), report.count("warning")
    click.echo(messages.check_summary(n_errors, n_warnings))
    return 2 if n_errors else 0
