"""Tables on the terminal, and the lines below the ladder."""

from collections.abc import Iterable

from rich.text import Text

from tuneworthy.cli.options import say
from tuneworthy.cli.terminal import console
from tuneworthy.config import Project
from tuneworthy.ladder.bills import running_costs
from tuneworthy.ladder.record import RunRecord
from tuneworthy.report.findings import best_of, constant_sentence, majority_sentence, target_sentence
from tuneworthy.report.render import table_lines
from tuneworthy.report.tables import ladder_table
from tuneworthy.report.text import Table, clean, dollars, percent, percent_range

LADDER = ("rung", "status", "variant", "score", "ci95", "today", "spent", "gain", "cost", "p50")
QUICK = ("rung", "variant", "score", "n", "ci95", "today", "spent", "gain")
STYLES = {"adopted": "green", "no gain": "red", "reference": "cyan", "failed": "red"}


def show_tables(tables: Iterable[Table]) -> None:
    for table in tables:
        say(table.title, *table_lines(table), *filter(None, [table.note]), "")


def show_run(record: RunRecord, project: Project) -> None:
    show_ladder(record, project)
    say(*closing_lines(record))


def show_ladder(record: RunRecord, project: Project) -> None:
    """Print the ladder as a table, with the user's own servers that `project` needs."""
    out, traffic = console(), project.economics.requests_per_month
    ladder = ladder_table(record, traffic, running_costs(project, record)).only(*(QUICK if record.quick else LADDER))
    for line in (ladder.title, "", *table_lines(ladder, out.width), ""):
        text = Text(line)
        for status, style in STYLES.items():
            text.highlight_words([status], style)
        out.print(text)


def closing_lines(record: RunRecord) -> list[str]:
    """Return the lines below the table: rungs without a result, its meaning and the next step."""
    skipped = [rung for rung in record.rungs if rung.variant is None]
    lines = [
        f"{', '.join(rung.rung for rung in skipped if rung.reason == reason)}: {clean(reason)}."
        for reason in dict.fromkeys(rung.reason for rung in skipped)
    ]
    if record.cost_usd:
        lines.append(f"The answers of this run cost {dollars(record.cost_usd)}; stored answers are paid for once.")
    if record.quick:
        return [*lines, "This was a quick run on dev, without a verdict. Next: tuneworthy run"]
    if record.partial:
        lines.append(f"The run is incomplete: {clean(record.partial.partition(':')[0])}.")  # the error says why
    best = best_of(record)
    if best and best.score is not None and best.ci95:
        score, bounds = percent(best.score) + " agreement" * bool(record.agreement), percent_range(best.ci95)
        lines.append(f"Best: {clean(best.name)} with {score} (95% interval {bounds}).")
    lines += [constant_sentence(rung) for rung in record.rungs if rung.constant and rung.score is not None]
    lines += filter(None, [majority_sentence(record), target_sentence(record)])
    return lines if record.partial else [*lines, "Next: tuneworthy decide"]
