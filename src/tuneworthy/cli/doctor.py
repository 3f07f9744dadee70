"""`tuneworthy doctor`."""

from contextlib import closing
from pathlib import Path

import click

from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import json_option, note, print_result, project_option, say
from tuneworthy.cli.spending import note_elsewhere
from tuneworthy.config import Project, load
from tuneworthy.doctor.examine import StoreReport, examine, repair
from tuneworthy.engine.batch_rounds import BatchRounds
from tuneworthy.engine.shards import collect
from tuneworthy.errors import UserError
from tuneworthy.ladder.session import open_runner
from tuneworthy.report.text import clean
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.store.batches import BatchFolder
from tuneworthy.store.signatures import Keyring
from tuneworthy.text import count


@click.command("doctor")
@project_option
@click.option("--repair", "repairs", is_flag=True, help="Repair what can be repaired, and move damaged files aside.")
@click.option("--accept", "signer", metavar="KEY", help="Accept the answers that KEY signed so far.")
@click.option("--remeasure", is_flag=True, help="Remove answers measured elsewhere, so that `run` requests them again.")
@click.option("--release", is_flag=True, help="Return the reserved cost of calls without an answer to the budget.")
@json_option
def command(root: Path, repairs: bool, signer: str | None, remeasure: bool, release: bool) -> int:
    """Check and repair stored answers, records and models.

    Checks every stored answer, every record, the hash of every model and dataset, and the lock, and shows
    the consequences. No model is called. A repair loses no answer: the damaged file stays readable in
    `.tuneworthy/quarantine`. The exit status is 2 if something is damaged.

    Answers without a signature that you accept were measured elsewhere. No command uses them, or pays for them
    again, until you pass --accept or --remeasure. Removed answers still count in the budget.

    An interrupted call counts at its maximum cost until the same request is answered. Pass --release if your provider
    did not bill such calls. It also cancels open batches of `run --batch` and open rounds of `run --shard`, and keeps
    the answers that they gave.

    \b
    Example:
      tuneworthy doctor --repair
      tuneworthy doctor --accept KEY
    """
    folder = Folder(root.resolve(), damaged=True)
    if not folder.path.exists():
        raise UserError(
            f"{folder.path} does not exist, so nothing is stored there.",
            hint="Specify the project folder with --project.",
        )
    if signer or remeasure:
        with folder.lock(note), closing(ResponseStore(folder.responses)) as store:
            n_accepted = store.accept(signer) if signer else 0
            if signer and not n_accepted:
                raise UserError(
                    f"No answer measured elsewhere is signed by {signer}.",
                    hint="Run `tuneworthy doctor` to list the keys, and pass a whole key.",
                )
            n_removed = store.set_aside() if remeasure else 0
            note(f"Accepted {count(n_accepted, 'answer')}, removed {n_removed}. Next: tuneworthy run")
    if release and BatchFolder(folder.path).all():
        run_async(_release_batches(load(root)))
    if release and folder.responses.exists():
        with folder.lock(note), closing(ResponseStore(folder.responses)) as store:
            collect(folder, store, note, ending=True)
            spending = store.spending()
            store.release()
        note(
            f"Returned ${spending.unanswered_usd:.4f} to the budget: it was reserved for calls without an answer "
            f"(n = {spending.n_unanswered})."
        )
    report = repair(folder, note) if repairs else examine(folder)
    note_elsewhere(folder.root)
    print_result(report.to_dict(), _show, report)
    return 2 if report.damages else 0


async def _release_batches(project: Project) -> None:
    async with open_runner(project, waiting=note) as (runner, models):
        await BatchRounds(runner, models).release(note)


def _show(report: StoreReport) -> None:
    for label, damages in (("repaired", report.repaired), ("damaged", report.damages)):
        for damage in damages:
            place = "" if damage.what.startswith(str(damage.file)) else f"{damage.file}: "  # most errors name it
            say(f"{label} {clean(f'{place}{damage.what} {damage.cost}', 0)}")
    n, n_can = len(report.damages), sum(damage.repair is not None for damage in report.damages)
    repaired = f"Repaired {count(len(report.repaired), 'fault')}. " if report.repaired else ""
    next_step = " Next: tuneworthy doctor --repair" if n_can else ""
    state = (
        f"The store has {count(n, 'fault')}. {n_can} can be repaired.{next_step}" if n else "The store has no faults."
    )
    say(f"{repaired}{state}" + (f" Your key: {key}" if (key := Keyring().key) else ""))
