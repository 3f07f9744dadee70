"""Decide a project: open it, analyse the failures on request, gather, decide, and store the verdict in its folder."""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import cache, lru_cache, partial

from tuneworthy.config import Project
from tuneworthy.config.models import MODEL_SECTIONS
from tuneworthy.config.project import load
from tuneworthy.engine.models import open_model
from tuneworthy.engine.runner import Progress
from tuneworthy.errors import UserError
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.run import LadderRun
from tuneworthy.ladder.session import Session, open_session, required_run, run_note, shown_run
from tuneworthy.providers.model_names import read_model_name
from tuneworthy.providers.prices import price_for
from tuneworthy.store.signatures import Keyring
from tuneworthy.train.plan import expect
from tuneworthy.types import Say, Texts, content_hash
from tuneworthy.verdict.answer import Verdict, input_hashes, store_verdict, tried_commands
from tuneworthy.verdict.base import Cost
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.domain_text import measure_domain
from tuneworthy.verdict.error_analysis import best_language_model
from tuneworthy.verdict.evidence import without_tuned
from tuneworthy.verdict.gather import gather, opened, step_costs
from tuneworthy.verdict.label_audit import with_audit
from tuneworthy.verdict.probes import analyse_errors

# Path of a key in the project file to its new value; None removes the key.
Changes = Mapping[tuple[str, ...], float | None]


async def decide_project(
    project: Project,
    *,
    probe: bool = False,
    max_usd: float | None = None,
    progress: Progress | None = None,
    waiting: Say = lambda _: None,
) -> Verdict:
    """Return the verdict of `project`, and leave it in its folder if that can be written.

    Args:
        project: From `config.load`.
        probe: First analyse why the best variant fails on dev, and how strange the domain's text is to the base.
        max_usd: Most that the probes may spend.
        progress: Called with what was answered.
        waiting: Called if another process works on the project.

    Raises:
        Undecided: No rung is finished yet.
        UserError: The data or a model cannot be used.
        BudgetSpent: The next call could exceed the budget; run it again to resume.
        OutsideFault: A provider is down; run it again to resume.
    """
    of = input_hashes(project)  # a run that goes on may change them below
    async with open_session(project, progress=progress, max_usd=max_usd, waiting=waiting, beside=not probe) as session:
        record = shown_run(project)
        variant = best_language_model(without_tuned(record, project)) if record else None
        if probe and variant is not None:
            await analyse_errors(session, variant)
            await measure_domain(session)
        tried = tried_commands(project)
        verdict = _with_note(await _decided(session, tried=tried), session)
        if session.folder.writable and Keyring().key and (probe or of == input_hashes(project)):
            store_verdict(project, verdict, tried)
        return verdict


async def what_if(session: Session, changes: Changes) -> Verdict:
    """Return the verdict with other values in the project file: no model is called, and nothing is stored.

    It is the verdict of `decide` once the file has these values. With another target, `decide` first asks for a run,
    which has stored answers: this is the verdict after it. Where prices change too, that run may pick other candidates.

    Args:
        session: The project as it is; no other project is opened, so that this takes a fraction of a second.
        changes: The target, the traffic, and prices of models, by the path of the key.

    Raises:
        Undecided: No rung is finished yet.
        ConfigError: A value is not allowed.
    """
    project, record = load(session.project.root, changes), shown_run(session.project)
    if record and (key := "task.target") in record.provenance.settings and ("task", "target") in changes:
        settings = {**record.provenance.settings, key: project.task.target}
        record = replace(record, target=project.task.target, provenance=replace(record.provenance, settings=settings))
    session.graders, opened(session)  # once, for all changes
    other = copy(session)
    other.project, other.models = project, session.models.with_project(project)
    return _with_note(await _decided(other, record, tried_commands(project), _slow_parts(session)), session)


def with_base(project: Project, base: str) -> tuple[Project, str]:
    """Return the project with the model `base`, and its key: one of `[models]`, or `PROVIDER:NAME`.

    Raises:
        UserError: It is no model and names no provider, or it may not answer cases.
    """
    wider, name = project, base
    if base not in project.models:
        named = read_model_name(base)
        name = base if named.name in project.models else named.name
        wider = project.model_copy(
            update={"models": {**project.models, name: MODEL_SECTIONS[named.section["provider"]](**named.section)}}
        )
        if price_for(wider.models[name]) is None:
            raise UserError(
                f"The price of {base} is unknown.", hint="Add it to [models] with its price, and pass its key."
            )
    if name not in wider.answering:
        raise UserError(
            f"The model {base} may not answer cases.",
            hint="It only judges, is the server of a trained model, or constraints.data_stays keeps data from it.",
        )
    return wider, name


async def decide_base(
    project: Project,
    wider: Project,
    base: str,
    *,
    max_usd: float | None = None,
    progress: Progress | None = None,
    waiting: Say = lambda _: None,
) -> tuple[RunRecord, Verdict, Verdict]:
    """Measure the leading variant of the last run on another base, and decide with it; the run and its verdict stay.

    Args:
        project: From `config.load`.
        wider: The same with the base (see `with_base`).
        base: Its key.
        max_usd: Most that may be spent.
        progress: Called with what was answered.
        waiting: Called if another process works on the project.

    Returns:
        The run with the base, and the verdict without and with it.

    Raises:
        UserError: As `LadderRun.try_base`; or the base cannot be used.
        BudgetSpent, OutsideFault: As `decide_project`.
    """
    record = required_run(project)
    known = replace(record, provenance=replace(record.provenance, models=[*record.provenance.models, base]))
    async with open_session(project, progress=progress, max_usd=max_usd, waiting=waiting) as session:
        before = await _decided(session, known)
        session.models.add(open_model(base, wider.models[base], project.root))
        session.project = wider
        found = await LadderRun(session).try_base(known, base)
        return found, before, await _decided(session, found)


class _SlowParts:
    """Slow parts of the verdicts on a session: times of trainings, and costs of rungs, by the models and their prices.

    Neither depends on the target or on the traffic.
    """

    def __init__(self, session: Session) -> None:
        self.expect = cache(partial(expect, session.project))
        self._costs: dict[str, Mapping[str, Cost]] = {}

    def costs(self, session: Session) -> Mapping[str, Cost]:
        key = content_hash({name: model.model_dump(mode="json") for name, model in session.project.models.items()})
        if key not in self._costs:
            self._costs[key] = step_costs(session.project, session.data, opened(session))
        return self._costs[key]


_slow_parts = lru_cache(maxsize=1)(_SlowParts)


async def _decided(
    session: Session, record: RunRecord | None = None, tried: Texts = (), slow: _SlowParts | None = None
) -> Verdict:
    slow = slow or _SlowParts(session)
    evidence = await with_audit(gather(session, record, slow.expect), session)
    return decide(evidence, partial(slow.costs, session), tried)


def _with_note(verdict: Verdict, session: Session) -> Verdict:
    note = run_note(session.folder, otherwise="")
    return replace(verdict, reasons=[*verdict.reasons, note]) if note else verdict
