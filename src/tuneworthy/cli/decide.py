"""`tuneworthy decide`."""

from collections.abc import Collection
from functools import partial
from pathlib import Path

import click

from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import json_option, note, print_result, project_option, say, spending_options
from tuneworthy.cli.progress import RunProgress
from tuneworthy.cli.run import agree_to_spend, fetch_models, with_consent
from tuneworthy.cli.tables import show_tables
from tuneworthy.config import Project, load
from tuneworthy.errors import UserError, join_sentences
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.session import required_run, shown_run
from tuneworthy.report.names import for_people, names_of
from tuneworthy.report.render import table_lines
from tuneworthy.report.tables import distillation_table, options_table
from tuneworthy.report.text import NONE, clean
from tuneworthy.store import Folder
from tuneworthy.train.phases import training_lines
from tuneworthy.verdict.answer import Verdict, answer_of, domain_sentence, serving_sentence
from tuneworthy.verdict.base import Outcome
from tuneworthy.verdict.messages import error_share
from tuneworthy.verdict.options import distinct_words, legend, marked, origin_words
from tuneworthy.verdict.run import decide_base, decide_project, with_base

EXIT = {"fine_tune": 0, "ship": 0, "do_not_fine_tune": 3, "do_not_ship": 3, "undecided": 4}


@click.command("decide")
@project_option
@click.option("--probe", is_flag=True, help="Analyse failed dev cases and domain text first; this calls the models.")
@click.option("--base", metavar="MODEL", help="Measure another base: a name in [models] or PROVIDER:NAME.")
@spending_options
@json_option
def command(root: Path, probe: bool, base: str | None, max_usd: float | None, yes: bool) -> int:
    """Decide whether to fine-tune, with the evidence.

    Shows the answer, the options side by side, and the next step, from the last run. Once a fine-tuned model has
    been compared on test (`run --rung fine_tune`), the command decides whether to ship that model. Exit status: 0
    fine-tune or ship, 3 do not, 4 undecided.

    With --base, the best prompt of the last run is measured on another model. Only that model is called. If it leads
    on dev, it is compared on test, which uses up some of alpha. The run and its verdict do not change.

    \b
    Example:
      tuneworthy decide --probe
      tuneworthy decide --base openai:gpt-6-luna --max-usd 2
    """
    project = load(root)
    if base is not None:
        if probe:
            raise UserError("--base and --probe cannot be combined.", hint="Run `tuneworthy decide --probe` first.")
        return _on_base(project, base, max_usd, yes)
    if probe:
        agree_to_spend(project, max_usd, yes)
    verdict = run_async(decide_project(project, probe=probe, max_usd=max_usd, progress=RunProgress(), waiting=note))
    print_result(verdict.to_dict(), partial(show, project=project), verdict)
    return EXIT[verdict.outcome]


def _on_base(project: Project, base: str, max_usd: float | None, yes: bool) -> int:
    wider, name = with_base(project, base)
    if (best := (record := required_run(project)).best) and record.variants[best.variant].model == name:
        raise UserError(f"The best option of the run is already on {name}.", hint="Run `tuneworthy decide`.")
    fetch_models(wider, {name})
    agree_to_spend(wider, max_usd, yes, {name, *project.judging})
    found, before, after = run_async(
        decide_base(project, wider, name, max_usd=max_usd, progress=RunProgress(), waiting=note)
    )
    print_result(
        {"base": name, "run": found.to_dict(), "before": before.to_dict(), "after": after.to_dict()},
        partial(_show_change, is_new=name not in project.models),
        found,
        before,
        after,
        name,
    )
    return EXIT[after.outcome]


def _show_change(record: RunRecord, before: Verdict, after: Verdict, base: str, *, is_new: bool) -> None:
    """Print the comparison, then both answers and all options."""
    record, before, after = for_people((record, before, after), names_of(record))
    row = next(row for row in record.rungs if (one := record.variant_of(row)) and one.name == f"base/{base}")
    say(
        str(row.name)
        + "".join(f", against {one.name}" for one in record.rungs if one.variant == row.compared_to)
        + f": {clean(row.reason, 0)}."
    )
    for word, was, now in (
        ("Answer", answer_of(before), answer_of(after)),
        ("Recommendation", before.recommendation or NONE, after.recommendation or NONE),
    ):
        say(f"{word}: {now}{', as before' if was == now else f'. Before: {was}'}.")
    say("", clean(after.reasons[0], 0), *table_lines(options_table(after, record.target)), "")
    say(
        "The run and its verdict are unchanged. Next: to adopt it, "
        f"{f'add the model to [models] as `{base}`, then ' if is_new else ''}run `tuneworthy run --rung model`."
    )


def show(verdict: Verdict, project: Project) -> None:
    """Print the answer, the options with the target, the error analysis, and the next step."""
    record = shown_run(project)
    if record:
        verdict = for_people(verdict, names_of(record))
    target = project.task.target
    show_answer(verdict, [marked(option) for option in verdict.options])
    say("")
    say(*table_lines(options_table(verdict, target)))
    if verdict.recommendation:
        after = f" after {', '.join(verdict.after_gates)}" if verdict.after_gates else " for now"
        say(f"* recommended{after if verdict.outcome is Outcome.UNDECIDED else ''}")
    distinct, ceiling = distinct_words(verdict.options, verdict.recommendation), str(verdict.label_ceiling or "")
    origin = origin_words(verdict.options, verdict.recommendation)
    for sentence in (distinct, origin, *legend(verdict.options, target), serving_sentence(verdict), ceiling):
        if sentence and sentence not in verdict.reasons[0]:
            say(clean(sentence, 0))
    show_tables(filter(None, [distillation_table(record.distillation if record else ())]))
    _show_errors(verdict)
    if sentence := domain_sentence(verdict):
        say(clean(sentence, 0))
    say(*training_lines(Folder(project.root)), "")
    show_next(verdict, project)


def _show_errors(verdict: Verdict) -> None:
    where = "dev without fine-tuning" if verdict.stage == "to_ship" else "dev"
    for row in verdict.errors:
        if row.n_failed:
            say(f"Failures on {where}: {error_share(row)}.")
        for limit in row.limits:
            say(f"  {clean(limit, 0)}")


def show_answer(verdict: Verdict, in_table: Collection[str] = ()) -> None:
    """Print the answer and the reasons, without the facts in the table of options."""
    say(f"{answer_of(verdict)}. {clean(verdict.reasons[0], 0)}")
    for reason in verdict.reasons[1:]:
        if reason not in in_table:
            say(f"  {clean(reason, 0)}")


def show_next(verdict: Verdict, project: Project) -> None:
    settles, step = verdict.next_action.chance_to_settle, clean(str(verdict.next_action), 0)
    chance = "" if settles is None else f"The chance of settling this question is then about {settles:.0%}."
    say(f"Next: {join_sentences(with_consent(step, project, verdict.next_action.usd), chance)}")
    say(f"Valid until {verdict.valid_until}.\n")
