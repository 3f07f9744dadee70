"""`tuneworthy check`."""

from pathlib import Path

import click

from tuneworthy.cli.options import json_option, print_result, project_option, say
from tuneworthy.cli.spending import note_elsewhere
from tuneworthy.errors import join_sentences
from tuneworthy.ladder.check import CheckReport, check_project
from tuneworthy.report.text import clean
from tuneworthy.text import count


@click.command("check")
@project_option
@click.option("--offline", is_flag=True, help="Do not contact the servers that the project file names.")
@json_option
def command(root: Path, offline: bool) -> int:
    """Check the project before money is spent.

    Validates the project file, data, graders, keys, model files, prices and budget, looks for contamination, and
    estimates the cost, time and statistical power of a run. Nothing is billed. Once you trust the project
    (`tuneworthy trust`), its functions are imported, each of its servers receives one free GET request, and each free
    model behind a server is asked for one token. The exit status is 2 if there is an error.

    \b
    Example:
      tuneworthy check
    """
    report = check_project(root, contact=not offline)
    note_elsewhere(root)
    print_result(report.to_dict(), _show, report)
    return 2 if report.count("error") else 0


def _show(report: CheckReport) -> None:
    for finding in report.findings:
        say(f"{finding.severity or 'error'} {finding.rule}: {clean(join_sentences(finding.message, finding.fix), 0)}")
    n_errors, warnings = report.count("error"), count(report.count("warning"), "warning")
    say(
        f"{count(n_errors, 'error')}, {warnings}. Fix the errors before you run."
        if n_errors
        else f"No errors, {warnings}. Next: tuneworthy run"
    )
