"""Recorded conversations with tools, replayed against two models: does the tool see that one is 10 points worse?

    python benchmarks/conversations.py FOLDER [TRAJECTORIES]

1. Replay. 200 dialogues of a shop's agent, each with 2 to 5 orders that it looks up, are read as cases of their turns,
   and `run` asks two models of a local server: today's gets 5% of the turns wrong, the other one 15%. Each wrong turn
   is a wrong argument or a wrong sentence. The project has a tool that writes a file when it runs.
2. Power. With the test turns and conversations of that project, 100 seeds draw whether each turn is right: 85% of them
   for one model and 75% for the other, or 85% for both, with an effect that all turns of a conversation share
   (intraclass correlation 0.1 or 0.3 on the logistic scale), either the same for both models or one for each. Counted
   is how often `stats.paired_test` finds the model worse, its 95% interval below 0, which is what `compare` shows.

TRAJECTORIES is a file of tau-bench's `historical_trajectories`: part 2 is then repeated on its turns, a group being a
task, since a task was tried several times.
"""

import asyncio
import json
import random
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from tuneworthy import stats
from tuneworthy.cases import read_dataset
from tuneworthy.config import load
from tuneworthy.ladder.run import run_ladder
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.types import Case

N, SEED, SEEDS = 200, 7, 100
TOOLS = """
from pathlib import Path


def lookup(order: str, days: int = 7) -> str:
    \"\"\"Return the state of an order.\"\"\"
    Path(__file__).with_name("ran").touch()
    return "sent"
"""
PROJECT = """
[task]
name = "orders"
target = 0.9
[cases]
path = "cases.jsonl"
[prompt]
user = "{{{{ input }}}}"
[[graders]]
type = "normalised_exact"
[[graders]]
type = "tool_call"
[[tools]]
function = "tools.py:lookup"
[models.large]
provider = "openai"
model = "large"
base_url = "{address}"
[models.small]
provider = "openai"
model = "small"
base_url = "{address}"
[ladder]
baseline = "large"
rungs = ["baseline", "tools", "model"]
"""
PARAMETERS = {"type": "object", "properties": {"order": {"type": "string"}, "days": {"type": "integer", "default": 7}}}
LOOKUP = {"type": "function", "function": {"name": "lookup", "description": "State.", "parameters": PARAMETERS}}
WRONG = {"large": 0.05, "small": 0.15}


def sentence(order: str, state: str) -> str:
    return f"Your order {order} is {state}."


def dialogue(rng: random.Random) -> dict:
    turns = [{"role": "system", "content": "You are a shop's agent. Look each order up before you answer."}]
    for _ in range(rng.randint(2, 5)):
        order, state = f"W{rng.randrange(10_000, 100_000)}", rng.choice(["sent", "packed", "lost", "returned"])
        function = {"name": "lookup", "arguments": json.dumps({"order": order})}
        turns += [
            {"role": "user", "content": f"{rng.choice(['Where is', 'What about', 'Can you check'])} order {order}?"},
            {"role": "assistant", "content": None,
             "tool_calls": [{"id": order, "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": order, "content": state},
            {"role": "assistant", "content": sentence(order, state)},
        ]  # fmt: skip
    return {"messages": turns, "tools": [LOOKUP]}


class Agent(BaseHTTPRequestHandler):
    """Plays both models: a turn is wrong by a draw that depends on the model and on the whole conversation before."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model, turns = body["model"], body["messages"]
        wrong = random.Random(f"{model}{json.dumps(turns)}").random() < WRONG[model]
        order = re.findall(r"W\d+", next(one["content"] for one in turns[::-1] if one["role"] == "user"))[0]
        order = order[:-1] if wrong else order
        function = {"name": "lookup", "arguments": json.dumps({"order": order, "days": 7})}
        message = {"role": "assistant", "content": sentence(order, turns[-1]["content"] or "")}
        if turns[-1]["role"] == "user":
            message |= {"content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": model,
                  "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                  "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}}  # fmt: skip
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


def make_project(root: Path, rows: list[dict], address: str) -> None:
    root.mkdir(parents=True)
    (root / "tools.py").write_text(TOOLS)
    (root / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "tuneworthy.toml").write_text(PROJECT.format(address=address))


def replay(root: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Agent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rng = random.Random(SEED)
    make_project(root, [dialogue(rng) for _ in range(N)], f"http://127.0.0.1:{server.server_port}/v1")
    record = asyncio.run(run_ladder(load(root)))
    server.shutdown()
    for row in record.rungs:
        score = "" if row.score is None else f"{row.score:.1%} {row.ci95}, n {row.n}, effective {row.n_effective:.0f}"
        print(f"{row.rung:9} {row.status} {row.name} {score} {row.reason}")
    found = next(row for row in record.rungs if row.rung == "model")
    print("difference to today:", found.delta_today, found.delta_today_ci)
    print("files that a tool wrote:", len([*root.rglob("ran")]), "(0: no tool ran)")


def chance(mean: float, effects: np.ndarray) -> float:
    """Return the intercept at which the mean chance over conversations is `mean`."""
    return float(brentq(lambda start: np.mean(1 / (1 + np.exp(-start - effects))) - mean, -10, 10))


def power(cases: list[Case], name: str) -> None:
    groups = [case.group for case in cases]
    names = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    place = np.array([names[group] for group in groups])
    print(f"{name}: {len(cases)} test turns of {len(names)} groups")
    for correlation, shared in ((0.1, True), (0.3, True), (0.1, False), (0.3, False)):
        spread = (correlation / (1 - correlation) * np.pi**2 / 3) ** 0.5
        many = np.random.default_rng(0).normal(0, spread, 100_000)
        start = {mean: chance(mean, many) for mean in (0.75, 0.85)}
        for other in (0.75, 0.85):
            worse = better = 0
            for seed in range(SEEDS):
                rng = np.random.default_rng([seed, round(100 * other), round(10 * correlation)])
                one, another = rng.normal(0, spread, (2, len(names)))
                a, b = (
                    (rng.random(len(place)) < 1 / (1 + np.exp(-start[mean] - effect[place]))).astype(float)
                    for mean, effect in ((0.85, one), (other, one if shared else another))
                )
                low, high = stats.paired_test(a, b, groups).ci
                worse, better = worse + (high < 0), better + (low > 0)
            bounds = ", ".join(f"{100 * bound:.1f}" for bound in clopper_pearson(worse, SEEDS))
            whose = "one effect" if shared else "an effect each"
            print(
                f"  correlation {correlation}, {whose}, 85% and {other:.0%}: worse in {worse} of {SEEDS} seeds "
                f"[{bounds}], better in {better}"
            )


def of_tau(path: Path) -> Iterator[dict]:
    """Yield the trajectories as conversations; the group is the task."""
    for one in json.loads(path.read_text()):
        kept = ("role", "content", "tool_calls", "tool_call_id")
        turns = [{key: turn[key] for key in kept if turn.get(key) is not None} for turn in one["traj"]]
        while turns[-1]["role"] != "assistant":
            turns.pop()
        names = {call["function"]["name"] for turn in turns for call in turn.get("tool_calls", ())}
        tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in sorted(names)]
        yield {"messages": turns, "tools": tools, "group": f"task {one['task_id']}"}


def main(folder: Path, trajectories: Path | None) -> None:
    replay(folder / "orders")
    power([*read_dataset(load(folder / "orders")).split.test], "dialogues of the shop")
    if trajectories:
        make_project(folder / "tau", [*of_tau(trajectories)], "http://127.0.0.1:9/v1")
        power([*read_dataset(load(folder / "tau")).split.test], "tau-bench, airline")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
