"""`tuneworthy shadow proxy`."""

from dataclasses import replace
from pathlib import Path

import click
import orjson

from tuneworthy import processes
from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import SHARE, address_of, note, project_option, spending_options
from tuneworthy.cli.run import open_variants
from tuneworthy.config import Project, load
from tuneworthy.errors import UserError
from tuneworthy.extras import require
from tuneworthy.ladder.own_models import tuned_models
from tuneworthy.providers.address import check_address
from tuneworthy.shadow import messages
from tuneworthy.shadow.canary import CanaryState, LiveCanary, canary_state
from tuneworthy.shadow.copies import Copies
from tuneworthy.shadow.days import forecast_before
from tuneworthy.shadow.proxy import ShadowProxy
from tuneworthy.shadow.releases import find_release
from tuneworthy.shadow.replay import check_candidate, read_shadow
from tuneworthy.shadow.verdict import ALPHA, ShadowVerdict
from tuneworthy.shadow.worker import WorkerOrder
from tuneworthy.ship.served import served_at
from tuneworthy.store import Folder
from tuneworthy.types import Variant

# Time between two verdicts, seconds.
JUDGE_S = 60.0


@click.command("proxy")
@click.argument("upstream", metavar="URL")
@click.option("--candidate", default="fine_tune", show_default=True, help="Variant to ask, as in `compare`.")
@click.option("--share", type=SHARE, default=0.1, show_default=True, help="Share of sessions to copy.")
@click.option("--bind", metavar="HOST:PORT", default="127.0.0.1:8100", show_default=True, help="Address to listen on.")
@click.option("--canary", is_flag=True, help="Let the candidate answer users, step by step.")
@project_option
@spending_options
def command(
    upstream: str, candidate: str, share: float, bind: str, canary: bool, root: Path, max_usd: float | None, yes: bool,
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

    With --canary, a candidate that passed answers users step by step. Faults and harm roll it back, until it passes
    again after `shadow replay --restart`.

    \b
    Example:
      tuneworthy shadow proxy https://api.openai.com --max-usd 20
    """
    check_address(upstream)
    host, port = address_of(bind)
    require("uvicorn")
    from tuneworthy.shadow.http_server import exposed, listen, serve

    if canary and share == 1:
        raise UserError(
            "With --share 1 the candidate gets copies only, and answers no user.",
            hint="Choose a smaller --share, such as the default of 0.1.",
        )
    project = load(root)
    folder = Folder(project.root)

    async def check() -> tuple[Variant, int]:
        async with open_variants(project, [candidate], max_usd=max_usd, yes=yes, beside=True) as (session, (variant,)):
            check_candidate(variant)
            return variant, session.models[variant.model].concurrency

    (asked, most), record = run_async(check()), read_shadow(folder)
    variant = asked.id
    known = record.verdict if record and record.variant == variant else None
    state = canary_state(folder, variant)
    if canary:
        state = replace(
            state or _new_state(known, variant, candidate), production=_production(project, upstream, asked)
        )

    def child(rest: float | None) -> list[str]:
        order = WorkerOrder(
            root=str(project.root.resolve()), candidate=candidate, judge_s=JUDGE_S, max_usd=rest,
            canary=canary,
        )  # fmt: skip
        return processes.main_of("tuneworthy.shadow.worker", orjson.dumps(order).decode())

    settings = project.shadow
    copies = Copies(child, most=most, log=folder.logs / "shadow.log", max_usd=max_usd)
    header = settings.session_header.lower().encode()
    shift = LiveCanary(folder, state, copies, session_header=header) if state and canary else None
    app = ShadowProxy(upstream, copies, share=share, seed=project.split.seed, header=header, canary=shift)
    door = listen(host, port)
    port = door.getsockname()[1]
    note(
        f"http://{bind.rpartition(':')[0]}:{port} forwards requests to {app.upstream} and copies {share:.0%} of the "
        "sessions. Ctrl-C ends it."
    )
    if state and state.rolled_back:
        note(
            messages.say("rolled_back", why=state.rolled_back, by=state.production),
            messages.say("restart", command=f"tuneworthy shadow replay --candidate {candidate}"),
        )
    else:
        if known is None or known.status == "unknown":
            forecast = next((one.forecast for one in known.results[:1]), "") if known else ""
            note(forecast or forecast_before(project.task.margin, ALPHA, settings.label_share))
        if shift:
            note(messages.say("step", share=shift.state.share), f"A roll-back leads to {shift.state.production}.")
    if warning := exposed(door):
        note(*warning, "`/-/health` and `/-/metrics` answer to this machine only.")
    try:
        serve(app, door)
    finally:
        note(f"The proxy ended. Copies: {', '.join(f'{n:,} {name}' for name, n in (+copies.counts).items()) or 0}.")


def _production(project: Project, upstream: str, candidate: Variant) -> str:
    """Name the side that answers after a roll-back: a release, if `serve` runs one of this project at `upstream`.

    Raises:
        UserError: It is the model of the candidate.
    """
    store = Folder(project.root)
    served = served_at(store, upstream)
    if served and served.id == next((one.artifact for one in tuned_models(project) if one.name == candidate.model), ""):
        raise UserError(
            f"{upstream} serves the model of the candidate, so a roll-back would change nothing.",
            hint="Serve the release in use for production, for example with `tuneworthy serve --release 1`.",
        )
    release = find_release(store, served.id) if served else None
    return f"release {release.number}" if release else "production"


def _new_state(verdict: ShadowVerdict | None, variant: str, candidate: str) -> CanaryState:
    """Return the state of a canary that begins.

    Raises:
        UserError: The candidate has not passed.
    """
    if verdict is None or verdict.status != "pass":
        raise UserError(
            f"{candidate} has not passed in shadow.",
            hint="Run `tuneworthy shadow proxy URL` or `tuneworthy shadow replay FILES` until it passes.",
        )
    return CanaryState(variant=variant)
