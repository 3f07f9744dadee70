"""The path of docs/quickstart.md, its commands as they stand there: from one CSV and a key to a verdict.

The vendor is a local server that speaks the protocol; its address comes from `OPENAI_BASE_URL`, as with the vendor's
SDK.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.protocol_server import Server, serving, write_csv
from tests.moving import elsewhere

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "quickstart.md").read_text()
START = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); from tuneworthy.start import main; main()"
PROGRAM = [sys.executable, "-c", START]
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
FACTS = tomllib.loads("".join(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)))
PRICES = {"gpt-6-luna": (0.1, 0.5), "gpt-6-sol": (2.0, 10.0)}
# What has nothing to try in this project, and why.
NOTHING_TO_TRY = {"retrieval": "no_documents", "fine_tune": "no_tuned_model"}
OUTCOMES = {0, 3}


def set_facts(file: Path) -> None:
    """Set what the page says that the user sets, and prices: those of the table hold at the vendor's address only."""
    text = file.read_text()
    for section in FACTS.values():
        for key, value in section.items():
            text, n = re.subn(rf"^# {key} = +(?=#)", f"{key} = {value}  ", text, flags=re.MULTILINE)
            assert n == 1, key
    for model, (read, written) in PRICES.items():
        price = f"input_usd_per_mtok = {read}\noutput_usd_per_mtok = {written}\n"
        text = text.replace(f'model = "{model}"\n', f'model = "{model}"\n{price}')
    file.write_text(text)


def walk(program: list[str], folder: Path, url: str, n_rows: int) -> dict[str, Any]:
    """Run the lines of the page in `folder`; return the project folder, and the status of each command."""
    write_csv(folder / "tickets.csv", n_rows)
    environment = {
        **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
        "XDG_CONFIG_HOME": str(folder / "configuration"),
        "OPENAI_BASE_URL": url,
    }
    statuses = {}
    for line in LINES:
        words = shlex.split(line)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            environment[name] = value
        elif words[0] == "cd":
            folder /= words[1]
            set_facts(folder / "tuneworthy.toml")
        else:
            assert words[0] == "tuneworthy"
            with elsewhere(folder) as place:
                done = subprocess.run(
                    [*program, *words[1:]], check=False, cwd=place, env=environment, stdin=subprocess.DEVNULL,
                    capture_output=True, text=True, timeout=600,
                )  # fmt: skip
            statuses[words[1]] = done.returncode
            assert done.returncode in ({0} if words[1] != "decide" else OUTCOMES), done.stdout + done.stderr
    return {"root": folder, "statuses": statuses}


def ran(root: Path, server: Server) -> dict[str, Any]:
    """Check that every rung that could run did run, within the budget; return the record."""
    record: dict[str, Any] = json.loads((root / ".tuneworthy" / "run.json").read_bytes())
    rungs = {row["rung"]: row for row in record["rungs"]}
    assert set(rungs) == {
        "classical", "baseline", "prompt", "retrieval", "model", "few_shot", "decoding", "cascade", "fine_tune"
    }  # fmt: skip
    skipped = {name: row["reason_code"] for name, row in rungs.items() if row["status"] in {"skipped", "failed"}}
    assert skipped == NOTHING_TO_TRY
    assert record["partial"] == "" and record["explored"]
    assert all(row["n"] == record["n_test"] for name, row in rungs.items() if name not in skipped)
    assert 0 < record["cost_usd"] < 5 and sum(server.calls.values()) > record["n_test"]
    return record


@pytest.mark.slow
@pytest.mark.moved
def test_the_path_of_the_page_ends_in_a_verdict(tmp_path: Path) -> None:
    with serving() as server:
        walked = walk(PROGRAM, tmp_path, server.url, 600)
        record = ran(walked["root"], server)
    assert record["best"]["rung"] in {"model", "classical"}  # the larger model is better, and that is found
    assert record["n_test"] == 300 and record["split"]["origin"] == "examples"
    assert set(walked["statuses"]) == {"init", "check", "run", "decide", "report"}


@pytest.mark.slow
def test_a_file_of_fewer_rows_ends_in_a_verdict_as_well(tmp_path: Path) -> None:
    """Its dev cases are examples too, so that shots and classifiers are tried."""
    with serving() as server:
        walked = walk(PROGRAM, tmp_path, server.url, 160)
        record = ran(walked["root"], server)
    assert record["n_test"] == 80 and record["split"]["origin"] == "cases"


@pytest.mark.slow
def test_the_path_runs_from_the_wheel_in_an_environment_of_its_own(tmp_path: Path) -> None:
    began = time.monotonic()
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(pip, check=True, timeout=600)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True, timeout=600)
    bin_folder = tmp_path / "env" / "bin"
    wheel = next((tmp_path / "dist").glob("*.whl"))
    subprocess.run([bin_folder / "pip", "install", "-q", str(wheel)], check=True, timeout=1200)
    installed = time.monotonic()
    (tmp_path / "work").mkdir()
    with serving() as server:
        walked = walk([str(bin_folder / "tuneworthy")], tmp_path / "work", server.url, 600)
        ran(walked["root"], server)
        calls = sum(server.calls.values())
    minutes = (installed - began) / 60, (time.monotonic() - installed) / 60
    print(f"built and installed in {minutes[0]:.1f} min; five commands in {minutes[1]:.1f} min, {calls:,} calls")


def test_a_fact_that_the_project_file_does_not_ask_for_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "tuneworthy.toml").write_text("[task]\n")
    with pytest.raises(AssertionError, match="target"):
        set_facts(tmp_path / "tuneworthy.toml")
