"""Bills of the rungs of a run, from its record and the price table."""

from contextlib import suppress
from dataclasses import replace

from tuneworthy.config.project import Project
from tuneworthy.config.serving import may_serve
from tuneworthy.errors import UserError
from tuneworthy.ladder.own_models import IN_PROCESS
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.ladder.rung_details import CascadeDetail
from tuneworthy.money.serving import Bill, RunningCost, Training
from tuneworthy.providers.models import size_of
from tuneworthy.providers.prices import FREE, has_own_server, price_for
from tuneworthy.train.base_model import base_spec
from tuneworthy.types import Variant


def bills_of(project: Project, record: RunRecord) -> dict[str, Bill]:
    bills = {
        row.rung: bill_of(project, row, variant)
        for row in record.rungs
        if row.score is not None and (variant := record.variant_of(row))
    }
    measured = next((bill.tokens for bill in bills.values() if bill.tokens), None)
    # once the model to train is chosen, no other comes into question
    rivals = () if project.train.base else ("hosted", "encoder")
    allowed = {"own": True, "hosted": may_serve(project.constraints, hosted=True), "encoder": bool(record.balance)}
    trainings: list[Training] = [name for name in ("own", *rivals) if allowed[name]]
    return {
        rung: replace(
            bill, trainings=trainings, server_tokens=bill.server_tokens or (None if bill.tokens else measured)
        )
        for rung, bill in bills.items()
    }


def bill_of(project: Project, row: RungRecord, variant: Variant) -> Bill:
    first = variant.cascade.first.model if variant.cascade else ""
    prices = {name: price_for(project.models[name]) for name in (variant.model, first) if name in project.models}
    price, charged = prices.get(variant.model), prices.get(first)
    tuned, model = row.rung == "fine_tune", first or variant.model
    section = project.models.get(model)
    own_server = has_own_server(section) if section else tuned and not model.startswith(IN_PROCESS)
    # a tuned model runs where the model of today runs
    serving = section or project.models.get(project.ladder.baseline)
    trained_b = _params_b(project, project.ladder.baseline)
    with suppress(UserError):  # the model that would be trained, if it is on this machine
        trained_b = size_of(base_spec(project), project.root)
    return Bill(
        name=row.name or "",
        usd_per_1k=known_usd(row, variant.model, project),
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cached_tokens=row.cached_tokens or 0.0,
        price=price if charged is None or charged.free else None,  # two prices: as it was measured
        hosted=[price for name, price in prices.items() if project.models[name].hosted],
        own_server=own_server,
        yours=own_server and serving is not None and serving.local_file is None and has_own_server(serving),
        server_tokens=row.detail.first_tokens if isinstance(row.detail, CascadeDetail) else None,
        tuned=tuned,
        params_b=(trained_b if tuned else _params_b(project, model)) if own_server else None,
        trained_b=trained_b,
        p95_ms=project.constraints.p95_ms,
        unreported=row.unreported_share,
    )


def _params_b(project: Project, name: str) -> float | None:
    """Return the size of a model of `[models]` that runs here, as its files say, billions of parameters."""
    spec = project.models[name].local_file if name in project.models else None
    return size_of(spec, project.root) if spec is not None else None


def running_costs(project: Project, record: RunRecord) -> dict[str, RunningCost]:
    return {rung: bill.running(project.economics) for rung, bill in bills_of(project, record).items()}


def known_usd(row: RungRecord, model: str, project: Project) -> float | None:
    """Return the cost of a thousand answers; None where the price of the model, or the tokens, are not known.

    The tokens of the run are billed at today's price. Cascades, removed models and unreported tokens keep their cost
    in the run.

    Args:
        row: Of the rung.
        model: Key of `[models]`, or the name of a model in this process.
        project: Has the prices.
    """
    price = price_for(project.models[model]) if model in project.models else FREE
    if price is None:
        return None
    if model not in project.models or (isinstance(row.detail, CascadeDetail) and row.usd_per_1k):
        return 0.0 if model.startswith(IN_PROCESS) else row.usd_per_1k
    if price.free and row.usd_per_1k is not None:
        return 0.0
    if row.unreported or row.input_tokens is None or row.output_tokens is None:
        return row.usd_per_1k or None
    return 1000 * price.cost(row.input_tokens, row.output_tokens, row.cached_tokens or 0.0)


def smallest_usd(project: Project, record: RunRecord) -> float | None:
    """Return the least cost of a thousand answers among the language models that were called, on test or on dev."""
    costs = [
        known_usd(row, variant.model, project)
        for row in record.rungs
        if (variant := record.variant_of(row))
        if not variant.model.startswith(IN_PROCESS) and variant.cascade is None and row.score is not None
    ]
    costs += [1000 * one.cost_usd / one.n for one in getattr(record.rung("model"), "candidates", ()) if one.n]
    return min((cost for cost in costs if cost is not None), default=None)
