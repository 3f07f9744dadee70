"""`tuneworthy shadow label`."""

from pathlib import Path

import click

from tuneworthy.cases.labelling import LabelSession, run_terminal
from tuneworthy.cli.label_terminal import VERDICT_GREETING, answer_parser, ask_line, parse_verdict
from tuneworthy.cli.options import note, person, project_option, say
from tuneworthy.config import load
from tuneworthy.graders.judging import verdicts_path
from tuneworthy.shadow.recording import TRAFFIC
from tuneworthy.shadow.replay import label_queue, labels_path, read_shadow
from tuneworthy.store import Folder
from tuneworthy.text import count


@click.command("label")
@click.option("--labeller", metavar="NAME", help="Name of the labeller (default: your user name).")
@project_option
def command(labeller: str | None, root: Path) -> None:
    """Label sampled sessions without seeing which model answered.

    A hash selects the sessions (`shadow.label_share`). You give the correct answer to each of their turns. If a judge
    grades the task, you rate both answers. Every label is saved immediately. Then run the same `shadow replay` again:
    no call is repeated.

    \b
    Example:
      tuneworthy shadow label --labeller ada
    """
    project = load(root)
    queue, judges = label_queue(Folder(project.root)), project.graders[0].type == "judge"
    path = verdicts_path(project) if judges else labels_path(project)
    session = LabelSession(queue, path, person(labeller, "--labeller"), seed=project.split.seed)
    if judges:
        run_terminal(session, ask_line, note, parse=parse_verdict, greeting=VERDICT_GREETING)
    else:
        run_terminal(session, ask_line, note, parse=answer_parser(project, path, ()))
    if missing := len(session.assigned) - session.n_done:
        say(f"{count(missing, 'answer still needs', 'answers still need')} a label. Next: tuneworthy shadow label")
    else:
        record = read_shadow(Folder(project.root))
        command = record.command if record else "Run `tuneworthy shadow replay FILES`."
        say(f"All {session.n_done} are labelled. Next: {command}")
        if record and any(source.endswith(TRAFFIC) for source in record.sources):
            say(
                "If `shadow proxy` runs, it counts the labels itself: come back after midnight UTC, when today counts "
                "and more sessions may need labels."
            )
