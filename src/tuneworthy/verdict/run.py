"""Decide a project: open it, analyse the failures on request, gather, decide, and store the verdict in its folder."""

from dataclasses import replace
from functools import partial

from tuneworthy.config import Project
from tuneworthy.engine.runner import Progress
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.provenance import run_note, shown_run
from tuneworthy.ladder.session import open_session
from tuneworthy.store.signatures import Keyring
from tuneworthy.types import Say
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.domain_text import measure_domain
from tuneworthy.verdict.error_analysis import best_language_model
from tuneworthy.verdict.evidence import without_tuned
from tuneworthy.verdict.gather import gather
from tuneworthy.verdict.label_audit import with_audit
from tuneworthy.verdict.last_verdict import input_hashes, store_verdict, tried_commands
from tuneworthy.verdict.probes import analyse_errors
from tuneworthy.verdict.project_state import step_costs


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
        evidence = await with_audit(gather(session), session)
        costs = partial(step_costs, Facts(project, contact=False))
        tried = tried_commands(project)
        verdict = decide(evidence, costs, tried)
        if note := run_note(session.folder, otherwise=""):
            verdict = replace(verdict, reasons=[*verdict.reasons, note])
        if session.folder.writable and Keyring().key and (probe or of == input_hashes(project)):
            store_verdict(project, verdict, tried)
        return verdict
