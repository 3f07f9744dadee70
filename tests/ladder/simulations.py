"""Scripted simulations: projects whose models answer by a rule, so that what a rung should find is known."""

from __future__ import annotations

from pathlib import Path

import orjson

LABELS = ("red", "green", "blue")

SCRIPT = '''
import asyncio
import hashlib
import itertools
import re

MARK = re.compile(" n[0-9]+$")
LABELS = ("red", "green", "blue")


def number(*parts):
    """A number in [0, 1) that looks random and is the same every time."""
    return int(hashlib.md5("|".join(map(str, parts)).encode()).hexdigest(), 16) / 2**128


def question(request):
    text = request.messages[-1]["content"]
    text = text.replace("<input>", "").replace("</input>", "").strip()
    return MARK.sub("", text)


def truth(text):
    return LABELS[int(text.split()[1]) % 3]


def answer(request, share, salt=""):
    """The right label for `share` of the questions (the same ones every time), else a wrong one."""
    text = question(request)
    right = truth(text)
    return right if number(text, salt) < share else LABELS[(LABELS.index(right) + 1) % 3]


CALLS = itertools.count()


async def later_faster(text):
    """The text, from a machine that is busy for the first 400 calls."""
    await asyncio.sleep(0.02 if next(CALLS) < 400 else 0.005)
    return text


def has_shots(request):
    return sum(m["role"] == "assistant" for m in request.messages) > 0


def system(request):
    return " ".join(m["content"] for m in request.messages if m["role"] == "system")


'''


def write_simulation(
    root: Path,
    models: dict[str, str],
    *,
    n_cases: int = 200,
    n_examples: int = 420,
    rungs: list[str] | None = None,
    learnable: bool = False,
    apart: bool = True,
    extra: str = "",
) -> Path:
    """Write a scripted project.

    Args:
        root: The folder.
        models: Name to the expression that the function returns, given `request`; the first is the baseline.
        learnable: Whether the questions name their answer, so that a classical baseline can learn it.
        apart: Whether other texts are more than two words apart: near copies are compared one by one, which takes long.
        extra: More sections of the project file.
    """
    root.mkdir(parents=True, exist_ok=True)
    functions = [f"def {name}(request):\n    return {code}\n" for name, code in models.items()]
    (root / "world.py").write_text(SCRIPT + "\n\n".join(functions))

    def text(i: int) -> str:
        hint = {"red": "crimson apple", "green": "leafy meadow", "blue": "deep ocean"}[LABELS[i % 3]]
        return f"item {i} {hint if learnable else 'thing'} {i * 7919 % 104729}" + f" n{i}" * (apart and not learnable)

    cases = [{"input": text(i), "expected": LABELS[i % 3]} for i in range(n_cases)]
    rows = [
        {"messages": [{"role": "user", "content": text(i)}, {"role": "assistant", "content": LABELS[i % 3]}]}
        for i in range(10_000, 10_000 + n_examples)
    ]
    (root / "cases.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in cases))
    if rows:
        (root / "examples.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    baseline = next(iter(models))
    sections = "\n".join(f'[models.{name}]\nprovider = "scripted"\nfunction = "world.py:{name}"\n' for name in models)
    (root / "tuneworthy.toml").write_text(
        f"""
[task]
name = "world"
target = 0.9
{"[examples]" if rows else ""}
[prompt]
system = "Name the colour."
[[graders]]
type = "exact"
{sections}
[ladder]
baseline = "{baseline}"
{f"rungs = {rungs}" if rungs else ""}
{extra}
"""
    )
    return root


# The model whose answers the cases of `write_recorded` have.
TODAY = "openai:gpt-today"


def write_recorded(root: Path, *, noise: int = 0, calls: int = 1) -> Path:
    """A project of recorded calls: today's model names the colour, and differs from the question in `noise` of 100."""
    root = write_simulation(
        root, {"today": "answer(request, 1.0)"}, n_cases=300, rungs=["classical", "baseline"], learnable=True
    )
    rows = [orjson.loads(line) for line in (root / "cases.jsonl").read_bytes().splitlines()]
    for at, row in enumerate(rows):
        answer = "blue" if at % 100 < noise else row["expected"]
        row["today"] = {"answer": answer, "model": TODAY, "calls": calls, "same": calls}
        del row["expected"]
    (root / "cases.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    file = root / "tuneworthy.toml"
    file.write_text(f"{file.read_text()}[economics]\nrequests_per_month = 20000\n")
    return root
