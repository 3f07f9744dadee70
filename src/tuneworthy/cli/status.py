"""`tuneworthy status`."""

from dataclasses import asdict
from pathlib import Path

import click

from tuneworthy.cli.options import json_option, print_result, project_option, say
from tuneworthy.cli.run import with_consent
from tuneworthy.cli.spending import note_elsewhere, read_money, words
from tuneworthy.config import Project, load
from tuneworthy.ladder.session import shown_run
from tuneworthy.report.names import for_people, names_of
from tuneworthy.report.text import NONE, amount, clean
from tuneworthy.shadow.releases import all_releases, release_lines
from tuneworthy.store import Folder
from tuneworthy.text import readable_minutes
from tuneworthy.train.phases import read_training, training_lines
from tuneworthy.types import JsonObject
from tuneworthy.verdict.base import Cost
from tuneworthy.verdict.gather import read_state
from tuneworthy.verdict.playbook import Checklist, checklist

_NOTE = """\
Done steps show measured costs. Open steps show the most they may cost; from day
8, by [economics]. Stored answers are free. --json has the full evidence."""
_WORDS = {"done": "done", "open": "open", "not_applicable": "not needed"}


@click.command("status")
@project_option
@json_option
def command(root: Path) -> None:
    """Show the two-week plan, spending and the next step.

    Shows each step from cases to real traffic: done or open by the measurements, with the time of people, and the time
    and US dollars of machines. Labelling counts at the measured seconds per row. Calls no model.

    \b
    Example:
      tuneworthy status
    """
    project = load(root)
    note_elsewhere(project.root)
    state, money, store = read_state(project), read_money(project), Folder(project.root)
    found, times = checklist(state), {queue: seconds for queue, (_, seconds) in state.labelling.items()}
    document = {
        **found.to_dict(), "money": money, "training": read_training(store), "seconds_per_row": times,
        "releases": [asdict(one) for one in all_releases(store)],
    }  # fmt: skip
    record = shown_run(project)
    print_result(document, _show, for_people(found, names_of(record)) if record else found, money, project)


def _line(title: str, state: str, cost: Cost | None, day: str = "") -> str:
    cells = [NONE] * 3
    if cost:
        people = readable_minutes(cost.person_minutes) if cost.person_minutes else NONE
        cells = [people, readable_minutes(cost.minutes) if cost.minutes or cost.calls else NONE, amount(cost.usd)]
    return f"{day:<7}{title:<34}{state:<11}{cells[0]:>8}{cells[1]:>10}{cells[2]:>8}"


def _show(found: Checklist, money: JsonObject, project: Project) -> None:
    say(f"{'day':<7}{'step':<34}{'state':<11}{'people':>8}{'machines':>10}{'$':>8}")
    for step in found.steps:
        needed = step.status != "not_applicable"
        cost = step.cost if step.status == "open" else step.spent
        say(_line(step.title, _WORDS[step.status], cost, step.day), *[f"{'':7}{clean(step.evidence, 72)}"] * needed)
    say(_line("Sum until the decision", "", found.remaining["to_decide"]))
    say(_line("Sum after it, if it is to train", "", found.remaining["to_ship"]))
    say(_NOTE)
    for note in found.notes:
        say(f"\n{note}")
    say(*training_lines(Folder(project.root)), *release_lines(Folder(project.root)))
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
