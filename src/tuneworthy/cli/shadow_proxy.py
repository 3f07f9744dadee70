"""`tuneworthy shadow proxy`."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import click
import orjson

from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import note, project_option, spending_options
from tuneworthy.cli.run import open_variants
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.extras import require
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.providers.address import check_address
from tuneworthy.shadow.canary import STOP, CanaryOver, CandidateRoute, begin
from tuneworthy.shadow.copies import Copies
from tuneworthy.shadow.proxy import CANDIDATE_S, Route, SessionDraw, ShadowProxy, listen, serve
from tuneworthy.shadow.worker import WorkerOrder
from tuneworthy.store import Folder

# Off until the canary rolls back on invalid answers.
CANARY_ENABLED = False


@click.command("proxy")
@click.argument("upstream", metavar="URL")
@click.option("--candidate", default="fine_tune", show_default=True, help="Variant to ask, as in `compare`.")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), help="Share of sessions (default: shadow.share).")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8100, show_default=True, help="Port to listen on.")
@click.option("--judge-minutes", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True,
              help="Minutes between two verdicts.")  # fmt: skip
@click.option("--canary", is_flag=True, hidden=True, help="Shift users to the candidate; switched off for now.")
@project_option
@spending_options
def command(
    upstream: str, candidate: str, share: float | None, host: str, port: int, judge_minutes: float, canary: bool,
    root: Path, max_usd: float | None, yes: bool,
) -> None:  # fmt: skip
    """Copy a share of live traffic to a candidate.

    URL is the API in use. Point your clients at the proxy instead. Requests and answers pass through unchanged,
    streamed or not. A hash of the session selects the sessions. Once a user has the whole answer, the candidate gets a
    copy of the request, marked by the header X-Tuneworthy-Shadow. If too many copies are in flight, a copy is dropped.
    No user waits for a copy.

    The pairs are stored masked, without headers, and judged like those of `shadow replay`. `shadow report` shows the
    result. Copies stop once the verdict is to stop, the money is spent or `shadow.sessions` have ended. Paths:
    /v1/chat/completions, /v1/responses and /v1/messages. All others pass through without copies.
    `/-/health` and `/-/metrics` (Prometheus) show the state.

    \b
    Example:
      tuneworthy shadow proxy https://api.openai.com --max-usd 20
    """
    if canary and not CANARY_ENABLED:
        raise UserError(
            "`--canary` is switched off until it rolls back on invalid answers, which it does not do yet.",
            hint="Run `tuneworthy shadow proxy` without --canary.",
        )
    check_address(upstream)
    require("uvicorn")
    project = load(root)

    store = Folder(project.root)
    candidate_s = CANDIDATE_S

    async def check() -> None:
        nonlocal candidate_s, canary
        opening = open_variants(project, [candidate], max_usd=max_usd, yes=yes, beside=True)
        async with opening as (session, (variant,)):
            if canary:
                CandidateRoute(session, variant)
                candidate_s = project.models[variant.model].timeout_s
                try:
                    begin(store, variant, project.shadow.canary, time.time())
                except CanaryOver as over:  # users are served all the same, above all after a restart
                    canary = False
                    note(f"{over.message} Production answers everything. {over.hint}")

    run_async(check())

    def child(rest: float | None) -> list[str]:
        judge_s = 60 * judge_minutes
        order = WorkerOrder(
            root=str(project.root), candidate=candidate, judge_s=judge_s, canary=canary, max_usd=rest, upstream=upstream
        )
        return [sys.executable, "-m", "tuneworthy.shadow.worker", orjson.dumps(asdict(order)).decode()]

    @asynccontextmanager
    async def route() -> AsyncIterator[Route]:
        async with open_session(project, beside=True) as session:
            yield CandidateRoute(session, resolve(session, candidate)).request

    settings = project.shadow
    copies = Copies(child, most=settings.copies, log=store.logs / "shadow.log", max_usd=max_usd)
    header = settings.session_header.lower().encode()
    sampling = SessionDraw(share=share or settings.share, seed=project.split.seed, header=header)
    opened = route if canary else None
    app = ShadowProxy(upstream, sampling, copies, stop=store.path / STOP, open_route=opened, candidate_s=candidate_s)
    door = listen(host, port)
    note(
        f"{f'http://{host}:{port}'} forwards requests to {app.upstream} and copies {sampling.share:.0%} of the "
        "sessions. Ctrl-C ends it."
    )
    serve(app, door)
