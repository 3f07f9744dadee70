"""A fitted baseline as files that answer without this package: a Python file, a server, arrays and JSON, no pickle."""

import ast
import hashlib
import inspect
import io
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from tuneworthy import __version__
from tuneworthy.classical import encoder, runtime, spans, tagger
from tuneworthy.classical.base import ClassicalModel, ProbabilisticModel
from tuneworthy.classical.encoder import LabelChooser
from tuneworthy.classical.runtime import Answerer
from tuneworthy.errors import UserError
from tuneworthy.retrieval import bert
from tuneworthy.retrieval.bert import SentenceEncoder
from tuneworthy.types import JsonObject, Texts

MODULE = "classifier.py"
# Modules that import nothing of the package but one another.
PARTS = (bert, encoder, spans, tagger, runtime)
# Files of every export.
MARK = (MODULE, b"\nMade by tuneworthy ")
# Read, never imported: it imports the module that is exported next to it.
SERVER = Path(__file__).with_name("server.py")
REQUIREMENTS = b"numpy>=1.24\n"
HEAD = '''"""Answers questions: `predict(text)`. It needs NumPy, and model.json and weights.npz beside it.

Made by tuneworthy {version}.
"""

'''
TAIL = '''
STATE = load_state(pathlib.Path(__file__).parent)
MODEL = {model}(**STATE["model"])


def answer(question: str) -> Any:
    """Return the answer to a question that is already written as the prompt has it."""
    text = MODEL.predict([question])[0]
    return json.loads(text) if {is_json} else text


def predict(text: str | Mapping[str, Any]) -> Any:
    """Return the answer to `text`; where the prompt has several variables, `text` holds all of them by name."""
    return answer(fill_template(STATE["template"], text))
'''
PROBABILITIES = '''

def probabilities(text: str | Mapping[str, Any]) -> dict[str, float]:
    """Return label probabilities; they sum to 1."""
    shares = MODEL.probabilities([fill_template(STATE["template"], text)])[0].tolist()
    return dict(zip(MODEL.labels, shares, strict=True))
'''
MAIN = """

if __name__ == "__main__":
    import sys

    print(json.dumps(predict(sys.argv[1]), ensure_ascii=False))
"""


def standalone_files(model: ClassicalModel, template: Texts) -> dict[str, bytes]:
    """Return the files that answer as `model` does, by name.

    Args:
        model: Fitted.
        template: Text, variable, text, ... of the prompt; empty if questions come filled in.

    Raises:
        UserError: It is of a kind that cannot be exported.
    """
    if not isinstance(model, Answerer | LabelChooser):
        raise UserError(
            f"The classical baseline {model.identity['name']!r} cannot be exported.",
            hint="Only built-in classical baselines can be exported.",
        )
    arrays: JsonObject = {}
    state = _without_arrays(model.state, "model", arrays)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    weights = content.getvalue()
    document = {
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "identity": model.identity,
        "template": template,
        "model": state,
    }
    tail = TAIL.format(model=type(model).__name__, is_json=is_json(model))
    shares = PROBABILITIES if isinstance(model, ProbabilisticModel) else ""
    return {
        MODULE: (HEAD.format(version=__version__) + module_source() + tail + shares + MAIN).encode(),
        "server.py": SERVER.read_bytes(),
        "model.json": orjson.dumps(document),
        "weights.npz": weights,
        "requirements.txt": REQUIREMENTS,
    }


def module_source() -> str:
    """Return the source of the `PARTS` as one module, which imports NumPy and the standard library only."""
    imports: dict[str, None] = {}
    bodies = []
    for part in PARTS:
        source = inspect.getsource(part)
        heads = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
        imports |= dict.fromkeys(line for line in map(ast.unparse, heads) if not line.startswith("from tuneworthy"))
        bodies.append("\n".join(source.splitlines()[heads[-1].end_lineno :]).strip("\n"))
    return "\n".join(imports) + "\n\n" + "\n\n\n".join(bodies) + "\n\n"


def is_json(model: object) -> bool:
    return bool(getattr(model, "is_json", False))


def read_answer(model: ClassicalModel, answer: str) -> Any:
    return orjson.loads(answer) if is_json(model) else answer


def _without_arrays(state: Any, place: str, arrays: JsonObject) -> Any:
    """Return `state` as JSON can have it, and put its arrays into `arrays`, by their place."""
    if isinstance(state, np.ndarray):
        arrays[place] = state
        return None
    if isinstance(state, SentenceEncoder):
        return _without_arrays(state.state, place, arrays)
    if isinstance(state, dict):
        return {key: _without_arrays(value, f"{place}/{key}", arrays) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_without_arrays(value, f"{place}/{at}", arrays) for at, value in enumerate(state)]
    return state
