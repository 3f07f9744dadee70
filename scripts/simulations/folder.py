"""Write a world as a project folder whose scripted models give exactly the answers that were drawn."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from scripts.simulations.truth import INPUT_TOKENS, OUTPUT_TOKENS
from scripts.simulations.walk import SimulationSession, cases_of, examples_of, project_file, verdicts

from tuneworthy.ladder.classical_models import PREFIX
from tuneworthy.ladder.judging import verdicts_path
from tuneworthy.prompts.transforms import COT_MARKER
from tuneworthy.types import Request, content_hash

SCRIPT = '''"""The models of a world: each request was foreseen, with its answer and its seconds."""

import json
from pathlib import Path

from scripts.simulations.folder import key
from scripts.simulations.truth import judged
from tuneworthy.types import Response

WORLD = json.loads((Path(__file__).parent / "world.json").read_text())


def answer(model, request):
    text, seconds = WORLD["answers"][model][key(request)]
    return Response(text=text, seconds=seconds, input_tokens=WORLD["tokens"][0], output_tokens=WORLD["tokens"][1])


def small(request):
    return answer("small", request)


def large(request):
    return answer("large", request)


def other(request):
    return answer("other", request)


def judge(request):
    seen = json.loads(request.messages[-1]["content"].split("\\n")[1])
    right = seen["answer"] == seen["reference"]
    if seen["question"] in WORLD["test"]:
        right = judged(WORLD["seed"], seen["question"], seen["answer"], seen["reference"], WORLD["rates"])
    return "good" if right else "bad"
'''


def key(request: Request) -> str:
    """Return what an answer depends on; repeats of a request get the same."""
    return content_hash([list(request.messages), dict(request.decoding), asdict(request.output)])


def write_simulation(session: SimulationSession, root: Path) -> Path:
    """Write the project of a world that was walked: its files, and an answer to every request that the walk made."""
    root.mkdir(parents=True)
    shape = session.world.shape
    _write_rows(root / "cases.jsonl", [_plain(case) for case in cases_of(shape)])
    if shape.n_examples:
        _write_rows(root / "examples.jsonl", [{"messages": list(one.messages)} for one in examples_of(shape)])
    (root / "tuneworthy.toml").write_text(project_file(session.world))
    (root / "world.py").write_text(SCRIPT)
    content = {
        "seed": session.world.seed,
        "rates": session.world.rates,
        "test": [case.text for case in session.split.test],
        "tokens": [INPUT_TOKENS, OUTPUT_TOKENS],
        "answers": _answers(session),
    }
    (root / "world.json").write_bytes(orjson.dumps(content))
    if session.world.sensitivity:
        _write_rows(root / verdicts_path(session.project).name, list(verdicts(session)))
    return root


def _answers(session: SimulationSession) -> dict[str, dict[str, tuple[str, float]]]:
    """Return model to request to answer and seconds."""
    found: dict[str, dict[str, tuple[str, float]]] = {name: {} for name in session.world.models}
    for variant, asked in session.runner.log.values():
        if variant.model.startswith(PREFIX):
            continue
        cases = list(asked.values())
        jobs = session.runner._jobs(variant, cases, (0,))
        for job, text in zip(jobs, session.answers.texts(variant, cases), strict=True):
            said = f"So it is.\n{COT_MARKER} {text}" if variant.answer_after else text
            found[variant.model][key(job.request)] = said, session.answers.seconds(variant.model, job.case)
    return found


def _plain(case: Any) -> dict[str, Any]:
    row = {"id": case.id, "input": case.input, "expected": case.expected}
    return row | ({"group": case.group} if case.group else {})


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
