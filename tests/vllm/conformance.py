"""vLLM against what was trained: start, adapter, merged model, parity, stop. Run by hand, or by the test beside it:

tests/vllm/make_environment.sh /tmp/vllm
python tests/vllm/conformance.py /tmp/vllm/bin/vllm --write      # docs/evidence/vllm.md
"""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "ship"))

from test_smollm import EXAMPLES, SPEC, base_of, exact, train  # noqa: E402

from tuneworthy.cases import read_examples  # noqa: E402
from tuneworthy.errors import ProviderError  # noqa: E402
from tuneworthy.providers.address import free_port  # noqa: E402
from tuneworthy.providers.http_client import send_once  # noqa: E402
from tuneworthy.providers.models import find  # noqa: E402
from tuneworthy.ship.merge import merge  # noqa: E402
from tuneworthy.ship.parity.request import ParityRequest  # noqa: E402
from tuneworthy.ship.parity.run import check_parity, serving_proof  # noqa: E402
from tuneworthy.ship.parity.server_forms import VllmForm  # noqa: E402
from tuneworthy.ship.served import MAX_LOGPROBS, NAME, choose  # noqa: E402
from tuneworthy.store import Folder  # noqa: E402

N_PROMPTS = 64
PAGE = HERE.parents[1] / "docs" / "evidence" / "vllm.md"
HEAD = """# vLLM

`tuneworthy serve --what merged` shows the command that serves a model with vLLM.
`tuneworthy train --only parity --server NAME@URL` sends that server the prompts of the adapter.
`tests/vllm/make_environment.sh DIR` makes an environment with vLLM for a CPU; there `tests/vllm/conformance.py` found
the results below: SmolLM2-135M in bfloat16, an adapter of rank 8, {n} prompts of training rows.

"""


def conform(executable: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Serve an adapter on its base, and the merged model; return what was found, by kind."""
    path = find(SPEC, folder)
    assert path is not None, f"tuneworthy models pull {SPEC}"
    store = Folder(folder)
    store.create()
    rows = list(read_examples(EXAMPLES).examples)[:96]
    base = base_of(store, path)
    adapter = train(store, base, rows)
    merge(store, adapter.id)
    asked = ParityRequest(base=base, adapter=adapter, rows=rows, n_prompts=N_PROMPTS, scoring_of=exact)
    found = {}
    for what in ("adapter", "merged"):
        port = free_port()
        choice = choose(store, what, port=port)  # type: ignore[arg-type]
        started = time.monotonic()
        with subprocess.Popen([executable, *shlex.split(choice.line)[1:]]) as server:
            try:
                address = f"http://127.0.0.1:{port}"
                wait(address, 1200)
                form = VllmForm(address, NAME, top=MAX_LOGPROBS)
                request = replace(asked, served=form)
                found[what] = serving_proof(request, check_parity(store, request, name=None, say=print))
            finally:
                server.terminate()
        found[what] |= {"line": choice.line, "seconds": time.monotonic() - started}
    return found


def wait(address: str, limit_s: float) -> None:
    """Wait until a server is ready."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        with suppress(ProviderError):
            if send_once("GET", f"{address}/health", timeout_s=5).accepted:
                return
        time.sleep(0.5)
    raise TimeoutError(address)


def page(found: dict[str, dict[str, Any]], version: str) -> str:
    """Return docs/evidence/vllm.md."""
    parts = [
        HEAD.format(n=N_PROMPTS),
        f"vLLM {version}, Python {platform.python_version()}, {platform.machine()}, no GPU.\n",
    ]
    for what, document in found.items():
        command = f"{Path(document['line'].split()[0]).name} {' '.join(plain(document['line']))}"
        parts.append(f"\n{what}: {document['status']}, {document['detail']}.\n`{command}`\n")
    parts.append(f"\n| check | {' | '.join(found)} |\n| --- |{' --- |' * len(found)}\n")
    for same in zip(*(document["checks"] for document in found.values()), strict=True):
        cells = [f"{one['status']}: {one['detail']}" for one in same]
        cells = [cells[0], *("the same" if cell == cells[0] else cell for cell in cells[1:])]
        parts.append(f"| {same[0]['name']} | {' | '.join(cells)} |\n")
    return "".join(parts)


def plain(line: str) -> list[str]:
    """Return the arguments of a command without the folders of this machine."""
    words = line.split()[1:]
    return [
        word.rsplit("=/", 1)[0] + "=FOLDER" if "=/" in word else "FOLDER" if word.startswith("/") else word
        for word in words
    ]


def main(arguments: list[str]) -> int:
    """Run, print, and write the page if asked to."""
    version = subprocess.run([arguments[0], "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    with tempfile.TemporaryDirectory() as folder:
        found = conform(arguments[0], Path(folder))
    text = page(found, version)
    print(text)
    if "--write" in arguments:
        PAGE.write_text(text)
    return 0 if all(one["status"] == "pass" for one in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
