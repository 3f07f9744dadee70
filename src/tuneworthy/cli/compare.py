"""`tuneworthy compare`."""

from dataclasses import asdict
from pathlib import Path

import click

from tuneworthy.cli import messages
from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import json_option, print_result, project_option, spending_options
from tuneworthy.cli.run import open_variants
from tuneworthy.config import Project, load
from tuneworthy.ladder.commands.compare import ComparisonOutcome, VariantComparison, compare_variants


@click.command("compare")
@click.argument("a")
@click.argument("b")
@project_option
@click.option("--gate", is_flag=True, help="Exit with status 3 if B is worse than A, or 4 if that is inconclusive.")
@click.option(
    "--test", "on_test", is_flag=True, help="Compare on test, which uses up some of alpha, instead of on dev."
)
@spending_options
@json_option
def command(
    a: str, b: str, root: Path, gate: bool, on_test: bool, max_usd: float | None, yes: bool, as_json: bool
) -> int:
    """Compare two variants, paired.

    Compares B with A on the same cases.

    A and B are `current` (prompt and model as the project file has them now), `best`, a rung of the last run, a
    variant name, an ID, or a variant.json written by `export variant`.

    \b
    Example (CI: did the edited prompt get worse?):
      tuneworthy compare baseline current --gate
    """
    result = run_async(_run(load(root), a, b, on_test=on_test, max_usd=max_usd, yes=yes))
    print_result(as_json, asdict(result), _show, result)
    if not gate or result.answer in {ComparisonOutcome.BETTER, ComparisonOutcome.NO_WORSE}:
        return 0
    return 3 if result.answer is ComparisonOutcome.WORSE else 4


async def _run(
    project: Project, a: str, b: str, *, on_test: bool, max_usd: float | None, yes: bool
) -> VariantComparison:
    async with open_variants(project, [a, b], max_usd=max_usd, yes=yes) as (session, variants):
        return await compare_variants(session, *variants, on_test=on_test)


def _show(result: VariantComparison) -> None:
    paired = result.paired
    click.echo(f"A  {result.a}: {paired.a:.1%}\nB  {result.b}: {paired.b:.1%}")
    click.echo(
        messages.say(
            "difference",
            delta=100 * paired.delta,
            low=100 * paired.ci[0],
            high=100 * paired.ci[1],
            alpha=paired.alpha,
            p_value=min(paired.p_value, paired.p_worse),
            n=paired.n,
            split=result.on,
            unscored=result.unscored,
        )
    )
    click.echo(messages.comparison(result.answer, result.margin, result.unvalidated))
