"""`tuneworthy decide`."""

from collections.abc import Collection
from functools import partial
from pathlib import Path

import click

from tuneworthy.cli import messages
from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import json_option, note, print_result, project_option, spending_options
from tuneworthy.cli.progress import AnswerProgress
from tuneworthy.cli.run import agree_to_spend
from tuneworthy.config import load
from tuneworthy.errors import join_sentences
from tuneworthy.report.text import clean
from tuneworthy.verdict.base import Option, Verdict
from tuneworthy.verdict.messages import answer_of, domain_sentence, error_share, marked
from tuneworthy.verdict.run import decide_project
from tuneworthy.verdict.what_if import ASSUMPTIONS

EXIT = {"fine_tune": 0, "ship": 0, "do_not_fine_tune": 3, "do_not_ship": 3, "undecided": 4}
# Columns of a terminal that the table fits.
WIDTH = 80
NAME = 22
SCORE = 21


@click.command("decide")
@project_option
@click.option("--probe", is_flag=True, help="Analyse failed dev cases and domain text first; this calls the models.")
@click.option(
    "--what-if", type=click.Choice(list(ASSUMPTIONS)), metavar="NAME", help="Verdict under an assumption; not stored."
)
@spending_options
@json_option
def command(root: Path, probe: bool, what_if: str | None, max_usd: float | None, yes: bool, as_json: bool) -> int:
    """Decide whether to fine-tune, with the evidence.

    Shows the answer, the options side by side, and the next step, from the last run. Once a fine-tuned model has
    been compared on test (`run --rung fine_tune`), the command decides whether to ship that model. Exit status: 0
    fine-tune or ship, 3 do not, 4 undecided.

    With `--what-if`, the command shows the verdict under an assumption beside the current one, and exits with 0.
    `train_big_serve_small`: a 70B model is trained first and teaches the small model that serves.
    `open_7b_matches_api`: an open 7B model on your own server scores the same as the best API. `traffic_x10` and
    `api_half_price`: ten times the traffic, half the API prices. The stored verdict stays as it is.

    \b
    Example:
      tuneworthy decide --probe
    """
    project = load(root)
    if probe:
        agree_to_spend(project, max_usd, yes)
    verdict = run_async(
        decide_project(project, probe=probe, max_usd=max_usd, what_if=what_if, progress=AnswerProgress(), waiting=note)
    )
    print_result(as_json, verdict.to_dict(), partial(show, target=project.task.target), verdict)
    return 0 if what_if else EXIT[verdict.outcome]


def show(verdict: Verdict, target: float | None) -> None:
    """Print the answer, the options beside the target, the error analysis, and the next step."""
    show_answer(verdict, [marked(option) for option in verdict.options])
    monthly = any(option.usd_per_month is not None for option in verdict.options)
    click.echo(
        f"\n  {'option':<{NAME}} {'score':<{SCORE - 2}}{'vs today':>8} {_target_name(target):<12}"
        f"{_price_name(monthly):>7}{'p95 ms':>7}"
    )
    for option in verdict.options:
        _row(option, monthly, recommended=option.option == verdict.recommendation)
    for row in verdict.errors:
        if row.n_failed:
            click.echo(messages.say("failures", share=error_share(row)))
        for limit in row.limits:
            click.echo(f"  {clean(limit, 0)}")
    if sentence := domain_sentence(verdict):
        click.echo(clean(sentence, 0))
    click.echo()
    show_next(verdict)


def show_answer(verdict: Verdict, in_table: Collection[str] = ()) -> None:
    """Print the answer and why, without what the table of options says."""
    click.echo(f"{answer_of(verdict)}. {clean(verdict.reasons[0], 0)}")
    for reason in verdict.reasons[1:]:
        if reason not in in_table:
            click.echo(f"  {clean(reason, 0)}")


def show_next(verdict: Verdict) -> None:
    """Print the next step, and how long the answer is valid."""
    action = verdict.next_action
    chance = "" if action.chance_to_settle is None else messages.say("chance", chance=action.chance_to_settle)
    click.echo(messages.say("next", action=join_sentences(clean(str(action), 0), chance)))
    click.echo(messages.say("valid_until", date=verdict.valid_until))


def _target_name(target: float | None) -> str:
    return "target" if target is None else f"target {100 * target:.3g}%"


def _price_name(monthly: bool) -> str:
    return "$/month" if monthly else "$/1,000"


def _row(option: Option, monthly: bool, *, recommended: bool) -> None:
    mark, name = "*" if recommended else " ", clean(option.option, 0)
    if len(name) > NAME:
        click.echo(f"{mark} {name}")
        mark, name = " ", ""
    score = "-" if option.score is None else f"{option.score:.1%}"
    if option.ci95 is not None:
        score += f" [{100 * option.ci95[0]:.1f}, {100 * option.ci95[1]:.1f}]"
    delta = "" if option.delta_vs_today is None else f"{round(100 * option.delta_vs_today, 1) + 0.0:+.1f}"
    usd = option.usd_per_month if monthly else option.usd_per_1k
    price = "-" if usd is None else f"{usd:,.0f}" if usd >= 100 else f"{usd:.3g}"
    p95 = "-" if option.latency_p95_ms is None else f"{option.latency_p95_ms:,.0f}"
    click.echo(f"{mark} {name:<{NAME}} {score:<{SCORE}}{delta:>6} {option.target or '-':<11}{price:>8}{p95:>7}")
    for line in [option.violates, option.needs and messages.say("needs", what=option.needs), *option.notes]:
        if line:
            click.echo(f"    {clean(line, 0)}")
