"""`tuneworthy train --on VENDOR`: what it costs is shown and agreed to, then the job is brought to its end."""

import json
from dataclasses import asdict

import click

from tuneworthy.cli import messages
from tuneworthy.cli.budget import read_money
from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import note, print_result
from tuneworthy.cli.run import confirm_spending
from tuneworthy.config import Project
from tuneworthy.config.models import OpenAI
from tuneworthy.errors import BudgetSpent, UserError
from tuneworthy.providers.prices import price_for
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact
from tuneworthy.train.hosted.job import (
    JobRequest,
    Record,
    cancel_job,
    open_api,
    open_job,
    paid_usd,
    prepare_job,
    run_job,
    write_hosted,
)
from tuneworthy.train.hosted.vendors import TrainingVendor, vendors


def train_hosted(
    project: Project, request: JobRequest, *, cancel: bool, max_usd: float | None, yes: bool, as_json: bool
) -> None:
    """Train at a vendor, go on with a job that has no end yet, or cancel it.

    Raises:
        UserError: See `prepare_job` and `run_job`; or nobody can be asked about the money.
        BudgetSpent: It could cost more than the limit.
        OutsideFault: The vendor does not answer as it must.
    """
    vendor, store = vendors()[request.vendor], Folder(project.root)
    with store.lock(note):
        record = open_job(store, request.vendor)
        if cancel:
            state = run_async(_cancel(project, store, record, vendor))
            print_result(as_json, asdict(request) | {"state": state}, click.echo, messages.cancelled(state))
            return
        if record is None:
            record = prepare_job(project, store, request, note)
            if record["state"] != "succeeded":
                _agree(project, store, record, vendor, max_usd=max_usd, yes=yes)
        else:
            note(
                f"A job at {vendor.title} that trains {record['base']} has not ended: resuming it. To end it, "
                "pass --cancel."
            )
        made = write_hosted(store, record) if record["state"] == "succeeded" else _run(project, store, record, vendor)
    document = {"hosted": made.id, "path": str(made.folder), **made.manifest}
    print_result(as_json, document, _say, project, made, vendor)


def _agree(
    project: Project, store: Folder, record: Record, vendor: TrainingVendor, *, max_usd: float | None, yes: bool
) -> None:
    """Show what a job costs at most, and ask before it is spent.

    Raises:
        BudgetSpent: It is more than the limit.
        UserError: Nobody can be asked, and nothing limits it.
    """
    limit = max_usd
    if limit is None and project.ladder.budget_usd is not None:
        limit = project.ladder.budget_usd - read_money(project).spent_usd - paid_usd(store)
    note(messages.say("job_offer", **{**record, "vendor": vendor.title, "date": vendor.date}, guess=record["usd"] / 4))
    if vendor.last_start is not None:
        note(f"{vendor.title} has announced that it will start no new jobs from {vendor.last_start}.")
    if project.constraints.on_device:
        note("constraints.on_device is set: the model can be measured and can teach, but not serve.")
    if limit is not None and record["usd"] > limit:
        raise BudgetSpent(
            f"The job costs up to ${record['usd']:.2f}, but ${max(0.0, limit):.2f} of the budget is left.",
            hint="Raise --max-usd or ladder.budget_usd, train fewer epochs, or drop rows.",
        )
    confirm_spending(vendor.title, record["usd"], limited=limit is not None, yes=yes)


def _run(project: Project, store: Folder, record: Record, vendor: TrainingVendor) -> Artifact:
    async def run() -> Artifact:
        async with open_api(project, record) as api:
            return await run_job(store, record, api, note)

    try:
        return run_async(run())
    except KeyboardInterrupt:
        if record["job"] is not None:
            note(
                (
                    "The job {job} is still running at {vendor} and is billed. To resume, run `tuneworthy train --on "
                    "{name}`. To end it, run `tuneworthy train --on {name} --cancel`."
                ).format(vendor=vendor.title, job=record["job"], name=record["vendor"])
            )
        raise


async def _cancel(project: Project, store: Folder, record: Record | None, vendor: TrainingVendor) -> str:
    if record is None:
        raise UserError(f"No job of this project is running at {vendor.title}.")
    async with open_api(project, record) as api:
        return await cancel_job(store, record, api)


def _say(project: Project, made: Artifact, vendor: TrainingVendor) -> None:
    manifest = made.manifest
    click.echo(f"{vendor.title} trained {manifest['model']} for about ${manifest['usd']:.2f}.")
    if not manifest["gated"]:
        click.echo(messages.say("not_gated"))
    if vendor.deploy is not None:
        click.echo(f"{vendor.title} answers with it once you deploy it, which is billed by time: {vendor.deploy}")
    config = OpenAI(provider="openai", model=manifest["model"], base_url=manifest["answers"], api_key_env=vendor.key)
    named = {(getattr(one, "model", ""), getattr(one, "base_url", "")) for one in project.models.values()}
    if (config.model, config.base_url) not in named:
        prices = (
            "# also input_usd_per_mtok and output_usd_per_mtok: the price of its answers\n"
            if price_for(config) is None
            else ""
        )
        fields = {"model": json.dumps(config.model), "address": config.base_url, "key": vendor.key}
        click.echo(messages.say("hosted_sections", prices=prices, **fields))
    click.echo("Next: tuneworthy run --rung fine_tune")
