"""`tuneworthy check`."""

import re
from pathlib import Path

import click

from tuneworthy.cli.invocation import Invocation
from tuneworthy.cli.options import json_option, print_result, project_option, say
from tuneworthy.cli.spending import note_elsewhere
from tuneworthy.errors import join_sentences
from tuneworthy.ladder.check import CheckReport, check_project
from tuneworthy.report.text import clean
from tuneworthy.text import count

_SENTENCE = re.compile(r"(?<=[.]) (?=[A-Z`])")


@click.command("check")
@project_option
@click.option("--offline", is_flag=True, help="Do not contact the servers that the project file names.")
@json_option
def command(root: Path, offline: bool) -> int:
    """Check the project before money is spent.

    Shows what a run compares, with calls, dollars and minutes, then the problems, the most expensive first. Examines
    the project file, data, graders, keys, model files, prices, budget and stored answers. Nothing is billed. Once you
    trust the project (`tuneworthy trust`), its functions are imported, each of its servers receives one free GET
    request, and each free model behind a server is asked for one token. The exit status is 2 if there is an error.
    `tuneworthy -v check` also shows notes and details.

    \b
    Example:
      tuneworthy check
    """
    report = check_project(root, contact=not offline)
    note_elsewhere(root)
    invocation = click.get_current_context().ensure_object(Invocation)
    if any(finding.rule == "unlabelled" for finding in report.findings):
        from tuneworthy.cli.label_queues import known_name

        invocation.labeller = known_name(root, unknown="NAME")
    print_result(report.to_dict(), _show, report, invocation.verbose)
    return 2 if report.count("error") else 0


def _show(report: CheckReport, verbose: bool) -> None:
    say(*report.plan, *[""][: len(report.plan)])
    n_errors, warnings = report.count("error"), count(report.count("warning"), "warning")
    next_step = "tuneworthy run"
    for finding in report.findings:
        if finding.rule == "target_missing" and not n_errors:
            next_step = finding.fix
        elif verbose or finding.severity != "note":
            message = (
                finding.message if verbose or finding.severity == "error" else _SENTENCE.split(finding.message, 1)[0]
            )
            say(f"{finding.severity or 'error'} {finding.rule}: {clean(join_sentences(message, finding.fix), 0)}")
    say(
        f"{count(n_errors, 'error')}, {warnings}. Fix the errors before you run."
        if n_errors
        else f"No errors, {warnings}. Next: {next_step}"
    )
