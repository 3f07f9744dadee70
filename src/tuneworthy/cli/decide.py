"""`tuneworthy decide`."""

from pathlib import Path

import click

from tuneworthy.cli import messages
from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import json_option, note, print_result, project_option, spending_options
from tuneworthy.cli.progress import AnswerProgress
from tuneworthy.cli.run import agree_to_spend
from tuneworthy.config import load
from tuneworthy.verdict.base import Verdict
from tuneworthy.verdict.run import decide_project
from tuneworthy.verdict.savings import savings_sentence

EXIT = {"fine_tune": 0, "ship": 0, "do_not_fine_tune": 3, "do_not_ship": 3, "undecided": 4}
_TITLES = {
    "fine_tune": "Fine-tune",
    "do_not_fine_tune": "Do not fine-tune",
    "undecided": "Undecided",
    "ship": "Ship the fine-tuned model",
    "do_not_ship": "Do not ship the fine-tuned model",
}


@click.command("decide")
@project_option
@click.option("--probe", is_flag=True, help="Error analysis of failed dev cases first; it calls the models.")
@spending_options
@json_option
def command(root: Path, probe: bool, max_usd: float | None, yes: bool, as_json: bool) -> int:
    """Decide whether to fine-tune, with the evidence.

    Shows the reasons, the gates and what would change the answer, from the last run. Once a tuned model was compared on
    test (`run --rung fine_tune`), it decides whether to ship it. Exit status: 0 fine-tune or ship, 3 do not, 4
    undecided.

    \b
    Example:
      tuneworthy decide --probe
    """
    project = load(root)
    if probe:
        agree_to_spend(project, max_usd, yes)
    verdict = run_async(decide_project(project, probe=probe, max_usd=max_usd, progress=AnswerProgress(), waiting=note))
    print_result(as_json, verdict.to_dict(), _show, verdict)
    return EXIT[verdict.outcome]


def _show(verdict: Verdict) -> None:
    click.echo(f"{_TITLES.get(verdict.outcome, verdict.outcome)}.")
    for reason in verdict.reasons:
        click.echo(f"  {reason}")
    click.echo(f"\nNext: {verdict.next_action}")
    if verdict.would_change:
        click.echo(messages.say("would_change", changes=" ".join(verdict.would_change)))
    click.echo(messages.say("valid_until", date=verdict.valid_until))
    forecast = verdict.forecast
    if forecast.gain is not None and forecast.ci95 is not None:
        low, high = forecast.ci95
        click.echo(
            messages.say(
                "forecast", gain=100 * forecast.gain, low=100 * low, high=100 * high, n_examples=forecast.n_examples
            )
        )
    if savings := savings_sentence(verdict.economics.saved):
        click.echo(f"Saved: {savings}")
    width = max(len(result.gate) for result in verdict.gates)
    for result in verdict.gates:
        click.echo(f"  {result.gate:<{width}}  {result.status:<14}  {result.detail}")
    for row in verdict.errors:
        if row.n_failed:
            lo, hi = row.ci95
            click.echo(f"  {row.share:.1%} [{lo:.1%}, {hi:.1%}] of {row.n} failures: {row.name}. {row.probe}")
