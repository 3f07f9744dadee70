"""A fitted baseline as files that answer without this package: a Python file, a server, arrays and JSON, no pickle."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from tuneworthy import __version__
from tuneworthy.classical.base import CLASSICAL_MODELS, ClassicalModel, ProbabilisticModel
from tuneworthy.classical.bundle import bundle
from tuneworthy.classical.runtime import PREDICTORS, fill_template, load_state
from tuneworthy.errors import UserError

MODULE: Final = "classifier.py"
# Files of every export.
MARK: Final = (MODULE, b"\nMade by tuneworthy ")
# Read, never imported: it imports the module that is exported next to it.
SERVER: Final = Path(__file__).with_name("server.py")
REQUIREMENTS: Final = b"numpy>=1.24\n"
HEAD: Final = '''"""Answers questions: `predict(text)`. It needs NumPy, and model.json and weights.npz beside it.

Made by tuneworthy {version}.
"""

'''
TAIL: Final = '''

STATE = load_state(pathlib.Path(__file__).parent)
MODEL = {predictor}(**STATE["model"])


def answer(question: str) -> {answer}:
    """Return the answer to a question that is already written as the prompt has it."""
    return MODEL.predict(question)


def predict(text: str | Mapping[str, Any]) -> {answer}:
    """Return the answer to `text`; where the prompt has several variables, `text` holds all of them by name."""
    return answer(fill_template(STATE["template"], text))
'''
PROBABILITIES: Final = '''

def probabilities(text: str | Mapping[str, Any]) -> dict[str, float]:
    """Return label probabilities; they sum to 1."""
    return MODEL.probabilities(fill_template(STATE["template"], text))
'''
MAIN: Final = """

if __name__ == "__main__":
    import sys

    print(json.dumps(predict(sys.argv[1]), ensure_ascii=False))
"""


def standalone_files(model: ClassicalModel, template: Sequence[str]) -> dict[str, bytes]:
    """Return the files that answer as `model` does, by name.

    Args:
        model: Fitted.
        template: Text, variable, text, ... of the prompt; empty if questions come filled in.

    Raises:
        UserError: It is of a kind that cannot be exported.
    """
    name = str(model.identity["name"])
    predictor = PREDICTORS.get(name)
    if predictor is None:
        raise UserError(
            f"The classical baseline {name!r} cannot be exported.",
            hint="Only built-in classical baselines can be exported.",
        )
    arrays: dict[str, Any] = {}
    state = _without_arrays(model.state(), "model", arrays)  # type: ignore[attr-defined]
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    weights = content.getvalue()
    document = {
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "identity": model.identity,
        "template": template,
        "model": state,
    }
    answer = "dict[str, Any]" if _answers_json(model) else "str"
    tail = TAIL.format(predictor=predictor.__name__, answer=answer)
    shares = PROBABILITIES if isinstance(model, ProbabilisticModel) else ""
    source = HEAD.format(version=__version__) + bundle(load_state, fill_template, predictor) + tail + shares + MAIN
    return {
        MODULE: source.encode(),
        "server.py": SERVER.read_bytes(),
        "model.json": orjson.dumps(document),
        "weights.npz": weights,
        "requirements.txt": REQUIREMENTS,
    }


def read_answer(model: ClassicalModel, answer: str) -> Any:
    """Return an answer of `model` as the exported classifier gives it."""
    return orjson.loads(answer) if _answers_json(model) else answer


def _answers_json(model: ClassicalModel) -> bool:
    name = str(model.identity["name"])
    return name in CLASSICAL_MODELS and "json" in CLASSICAL_MODELS.get(name).kinds


def _without_arrays(state: Any, place: str, arrays: dict[str, Any]) -> Any:
    """Return `state` as JSON can have it, and put its arrays into `arrays`, by their place."""
    if isinstance(state, np.ndarray):
        arrays[place] = state
        return None
    if isinstance(state, dict):
        return {key: _without_arrays(value, f"{place}/{key}", arrays) for key, value in state.items()}
    if isinstance(state, list):
        return [_without_arrays(value, f"{place}/{at}", arrays) for at, value in enumerate(state)]
    return state
