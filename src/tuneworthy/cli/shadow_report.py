"""`tuneworthy shadow report`."""

from dataclasses import asdict, replace
from pathlib import Path

import click

from tuneworthy.cli.options import PATH, json_option, note, print_result, project_option, say
from tuneworthy.cli.run import with_consent
from tuneworthy.cli.train import STATUS
from tuneworthy.config import Project, load
from tuneworthy.errors import Undecided
from tuneworthy.report.render import Document, screen_text
from tuneworthy.report.run_report import write_page
from tuneworthy.report.shadow import change_words, document, drift_lines
from tuneworthy.shadow import messages as shadow_messages
from tuneworthy.shadow.confidence import ConfidenceVerdict
from tuneworthy.shadow.drift import TrafficDrift, traffic_drift
from tuneworthy.shadow.messages import METRICS
from tuneworthy.shadow.replay import ShadowRecord, read_shadow, worst_pairs
from tuneworthy.shadow.verdict import interval
from tuneworthy.store import Folder
from tuneworthy.text import count

# Exit status by what confidence in production shows; without a margin it is not watched.
ALERTS = {"alert": 3, "quiet": 0, "unknown": 4}


@click.command("report")
@click.option("--out", type=PATH, help="Page to write: .html or .md (default: print it).")
@project_option
@json_option
def command(out: Path | None, root: Path) -> int:
    """Show the last replay, or write it as a page.

    The exit status is 0 if the candidate passed, 3 if it failed, and 4 if that is not decided yet. The page has the
    verdict, the confidence sequence over the sessions, each metric and stratum, what traffic asks but the cases hardly
    cover, and the pairs that got worse or, without a label, differ. Personal data is masked unless `data.policy` only
    reports it. All pairs are in .tuneworthy/shadow/pairs.jsonl.

    If `shadow.confidence_margin` is set, the page also shows how many answers have low confidence. Unless the candidate
    failed, the exit status is then about them: 3 once they are shown to be more frequent than on dev by more than this
    margin, 4 if that is not measured, otherwise 0. You can check at any time; the 5% error rate still applies.

    \b
    Example:
      tuneworthy shadow report
      tuneworthy shadow report --out shadow.html
    """
    project = load(root)
    record = read_shadow(Folder(project.root))
    if record is None:
        raise Undecided("No traffic has been replayed yet.", hint="Run `tuneworthy shadow replay FILES`.")
    if project.shadow.confidence_margin is None:
        record = replace(record, confidence=None)
    elif record.confidence is None:
        run = (
            f"it was not watched in the last replay. Run `{record.command or 'tuneworthy shadow replay FILES'}`. "
            "If the proxy runs, start it again instead."
        )
        detail = shadow_messages.say("confidence_unknown", why=run)
        record = replace(record, confidence=ConfidenceVerdict(status="unknown", detail=detail))
    found = traffic_drift(project, Folder(project.root))
    if out is None:
        print_result({**asdict(record), "drift": found}, show, record, project, found)
    else:
        page = document(record, project.task.name, worst_pairs(Folder(project.root), record.n_pairs), found)
        write_page(out, _affordable(page, record, project))
        note(f"Report: {out}")
    watched = record.confidence if record.verdict.status != "fail" else None
    return ALERTS[watched.status] if watched else STATUS[record.verdict.status]


def _affordable(page: Document, record: ShadowRecord, project: Project) -> Document:
    """Add to the next step the limit of spending without which it would be refused: the cost of the replay at least."""
    step = page.next_step
    return replace(
        page,
        next_step=step
        and replace(step, why=with_consent(step.why, project, max(record.cost_usd, 0.5), unattended=True)),
    )


def show(record: ShadowRecord, project: Project, found: TrafficDrift | None = None) -> None:
    """Print the first screen of a replay with its metrics in words, the place of the pairs, and the next step."""
    worse = worst_pairs(Folder(project.root), record.n_pairs)
    page = _affordable(document(record, project.task.name, worse), record, project)
    labels_first = record.verdict.fix == shadow_messages.say("label")
    say(screen_text(replace(page, chart=None, next_step=None if labels_first else page.next_step)))
    for result in record.verdict.results:
        if result.n and not result.stratum:
            say(f"  {METRICS[result.metric]}: {interval(result)}")
    if worse:
        say(
            f"To read the {count(len(worse), 'pair')} that {change_words(worse)}: "
            "tuneworthy shadow report --out shadow.html"
        )
    if record.confidence:
        say(record.confidence.detail)
    if found:
        say("\n".join(drift_lines(found, record.sources)))
    if labels_first:
        say("Next: tuneworthy label shadow")
