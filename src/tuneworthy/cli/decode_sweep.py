"""`tuneworthy decode sweep`."""

from pathlib import Path

import click

from tuneworthy.cli.options import POSITIVE, json_option, print_result, project_option, say, spending_options
from tuneworthy.cli.run import fetch_models, with_variants
from tuneworthy.config import load
from tuneworthy.ladder.commands.sweep import DecodingSweep, SweepReport
from tuneworthy.ladder.rungs.decoding import label
from tuneworthy.search.sweep import open_study
from tuneworthy.stats.paired import p_value
from tuneworthy.text import count

CALLS = 1000
# Answers to a case, as disagreement needs two.
REPEATS = 2


@click.command("sweep")
@click.option("--variant", default="", metavar="WORD", help="Variant to tune: best, a rung, a variant ID, or current.")
@click.option("--calls", default=CALLS, show_default=True, type=POSITIVE, help="Maximum number of calls.")
@project_option
@spending_options
@json_option
def command(variant: str, calls: int, root: Path, max_usd: float | None, yes: bool) -> None:
    """Tune the sampling parameters on dev.

    Optuna proposes settings, and racing drops weak settings on one half of dev. The winner is compared once with
    today's setting on the other half. --calls limits the number of calls. An adopted setting is the first candidate
    of the rung `decoding` (of `fine_tune`, for a fine-tuned model), which compares it on test. To resume after an
    interruption, run the command again. Finished calls are never paid for twice. For models that accept only
    temperature 1, the sweep covers their effort levels.

    \b
    Example:
      tuneworthy decode sweep --calls 600
      tuneworthy decode sweep --variant few_shot --max-usd 1 --yes
    """
    project = load(root)
    open_study(0)
    fetch_models(project)
    report = with_variants(
        project,
        [variant],
        lambda session, base: DecodingSweep(session, base, REPEATS).run(calls),
        max_usd=max_usd,
        yes=yes,
    )
    print_result(report.to_dict(), _show, report)


def _show(report: SweepReport) -> None:
    found = report.found
    say(f"{report.base.name} on {report.base.model}: {len(found.tried)} settings tried ({found.stopped}).")
    for one in found.tried[:8]:
        say(f"  {one.objective:.3f} on {one.n:4d} cases  {label(one.setting)}")
    if found.paired is None:
        say("On the search half of dev, no setting was better than today's setting.")
    else:
        say(
            f"{label(found.setting)}: {'adopted' if found.adopted else 'not adopted'}. On {found.n_confirm} "
            f"cases outside the search, the objective changes by {found.paired.delta:+.3f} "
            f"[{found.paired.ci[0]:+.3f}, {found.paired.ci[1]:+.3f}], one-sided "
            f"{p_value(found.paired.p_value)}. Today's objective is {found.paired.a:.3f}."
        )
    for name, parts in (("today", report.before), ("winner", report.after)):
        if parts:
            excluded = f" ({count(parts.failed, 'failed call')} excluded)" if parts.failed else ""
            say(
                f"  {name}: score {parts.score:.3f}, consistency {parts.consistency:.3f}, validity "
                f"{parts.validity:.3f}{excluded}"
            )
    say(f"{found.calls} of {found.budget} calls used, ${report.cost_usd:.4f}.")
