"""`tuneworthy record`."""

import secrets
from pathlib import Path

import click

from tuneworthy.cli.options import SHARE, address_of, note
from tuneworthy.extras import require
from tuneworthy.providers.address import check_address


@click.command("record")
@click.option("--upstream", metavar="URL", required=True, help="API in use.")
@click.option("--bind", metavar="HOST:PORT", default="127.0.0.1:8100", show_default=True, help="Address to listen on.")
@click.option("--out", type=click.Path(path_type=Path), help="File to append to (default: calls.jsonl).")
@click.option("--share", type=SHARE, default=1.0, show_default=True, help="Share of conversations to record.")
def command(upstream: str, bind: str, out: Path | None, share: float) -> None:
    """Record the calls of a running program in a file.

    The command is a proxy: point your clients at it instead of the API. Requests and answers pass through unchanged,
    streamed or not. Calls of /v1/chat/completions, /v1/responses and /v1/messages are recorded without headers. Keys
    and personal data are masked before they reach the disk. Names of people are not found. Ctrl-C ends the proxy.

    Within Python no proxy is needed: tuneworthy.record(client) records an OpenAI or Anthropic client, and
    @tuneworthy.record("tickets") a function.

    \b
    Example:
      tuneworthy record --upstream https://api.openai.com
    """
    check_address(upstream)
    host, port = address_of(bind)
    require("uvicorn")
    from tuneworthy.calls.proxy import ProxyCalls
    from tuneworthy.calls.recorder import RECORDED, CallSource, recorder_of
    from tuneworthy.shadow.http_server import exposed, listen, serve
    from tuneworthy.shadow.proxy import ShadowProxy

    recorder = recorder_of(out)
    calls = ProxyCalls(CallSource(recorder=recorder, share=share))
    # a seed of its own: which prompts are drawn must not be the same for ever
    app = ShadowProxy(upstream, calls, share=share, seed=secrets.randbits(32), header=b"x-session-id")
    calls.upstream = app.upstream
    calls.start()
    door = listen(host, port)
    port = door.getsockname()[1]
    note(
        f"http://{bind.rpartition(':')[0]}:{port} forwards requests to {app.upstream} and records "
        f"{'calls' if share == 1 else f'{share:.0%} of the conversations'} in {recorder.path}. Ctrl-C ends it."
    )
    note(*exposed(door))
    try:
        serve(app, door)
    except KeyboardInterrupt:
        pass
    finally:
        skipped = {reason: n for reason, n in sorted(recorder.counts.items()) if n and reason != RECORDED}
        note(
            f"The proxy ended. Calls recorded: {recorder.counts[RECORDED]:,}. "
            f"Skipped: {', '.join(f'{n:,} {reason}' for reason, n in skipped.items()) or 0}.",
            *([f"Next: tuneworthy init my-task --from {recorder.path}"] if recorder.counts[RECORDED] else []),
        )
