"""`tuneworthy status`."""

from pathlib import Path

import click

from tuneworthy.cli.options import json_option, print_result, project_option, say
from tuneworthy.cli.run import with_consent
from tuneworthy.cli.spending import note_elsewhere, read_money, words
from tuneworthy.config import Project, load
from tuneworthy.ladder.provenance import shown_run
from tuneworthy.report.names import for_people, names_of
from tuneworthy.report.text import clean
from tuneworthy.store import Folder
from tuneworthy.train.phases import read_training, training_lines
from tuneworthy.types import JsonObject
from tuneworthy.verdict.playbook import Checklist, checklist
from tuneworthy.verdict.project_state import read_state

_WORDS = {"done": "done", "open": "open", "not_applicable": "not needed"}


@click.command("status")
@project_option
@json_option
def command(root: Path) -> None:
    """Show the checklist, spending and the cheapest next step.

    Shows a checklist from cases to real traffic, filled in from measurements. Calls no model. Cost estimates ignore
    stored answers.

    \b
    Example:
      tuneworthy status
    """
    project = load(root)
    note_elsewhere(project.root)
    found, money = checklist(read_state(project)), read_money(project)
    document = {**found.to_dict(), "money": money, "training": read_training(Folder(project.root))}
    record = shown_run(project)
    print_result(document, _show, for_people(found, names_of(record)) if record else found, money, project)


def _show(found: Checklist, money: JsonObject, project: Project) -> None:
    for step in found.steps:
        say(f"day {step.day:<5}  {_WORDS[step.status]:<13}  {step.title}", f"{'':26}{clean(step.evidence)}")
    for note in found.notes:
        say(f"\n{note}")
    say(*training_lines(Folder(project.root)))
    if money["spent_usd"]:
        say("\n" + words(money))
    if holder := Folder(project.root).holder():
        say(f"\nNext: wait until process {holder[0]}, which works on this project, has finished.")
        return
    if found.next is None:
        done = f"Next: {with_consent(clean(found.action, 0), project)}" if found.action else "All steps are done."
        say(f"\n{done}")
        return
    cost, title = found.next.cost, "" if found.next.step == "decision" else f"{found.next.title}: "
    say(f"\nNext: {title}{with_consent(clean(found.next.do), project, cost.usd if cost else None)}")
    if cost is not None:
        say(f"Estimate: {cost}.")
