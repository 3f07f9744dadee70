"""`tuneworthy check`."""

from __future__ import annotations

from pathlib import Path

import click

from tuneworthy.cli.options import json_option, print_json, project_option

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
    from tuneworthy.ladder.check import check_project
    from tuneworthy.report.text import clean

    report = check_project(root, contact=not offline)
    if as_json:
        print_json(report.to_dict())
        return 2 if report.errors else 0
    for finding in report.findings:
        level = click.style(finding.level, fg=_COLOURS[finding.level])
        hint = f". {finding.hint}" if finding.hint else ""
        click.echo(f"{level} {finding.code}: {clean(finding.message + hint, 0)}")
    if report.errors:
        click.echo(f"{report.errors} errors, {report.count('warning')} warnings: mend the errors before you run.")
        return 2
    click.echo(f"No errors, {report.count('warning')} warnings. Next: tuneworthy run")
    return 0
