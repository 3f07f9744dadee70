"""Grader `python`: a function of the project's own, `(answer, expected, case) -> float | bool | Score`.

Its code is the user's and runs with the user's rights; what it raises or returns wrongly leaves the trace
unscored, and never ends a run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any

from tuneworthy.config.graders import PythonFunction
from tuneworthy.errors import UserError
from tuneworthy.grade.base import GRADERS, RIGHT, WRONG, AnswerGrader, GradingContext, partial
from tuneworthy.types import Case, Score, Trace


def load_function(spec: str, context: GradingContext) -> tuple[Callable[..., Any], str]:
    """Import the function `spec` names.

    Args:
        spec: `file.py:name` below the project, or `package.module:name`.
        context: Where the project is.

    Returns:
        The function, and the content hash of the file that defines it.

    Raises:
        UserError: The file, module or function is not there, or cannot be imported.
    """
    where, _, name = spec.rpartition(":")
    try:
        if where.endswith(".py"):
            module, source = _import_file(context.file(where, "a Python file"))
        else:
            module = importlib.import_module(where)
            source = Path(module.__file__).read_bytes() if module.__file__ else b""
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"expected to import {where!r}, got {type(error).__name__}: {error}", hint="mend it") from error
    function = getattr(module, name, None)
    if not callable(function) or inspect.iscoroutinefunction(function):
        got = "an async one" if callable(function) else "none"
        raise UserError(f"expected a plain function {name!r} in {where!r}, got {got}", hint="mend [[graders]]")
    return function, hashlib.sha256(source).hexdigest()[:16]


def _import_file(path: Path) -> tuple[ModuleType, bytes]:
    """Import a file under a name of its own, made of its path and content."""
    source = path.read_bytes()
    name = f"tuneworthy_project_{hashlib.sha256(str(path).encode() + source).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name], source
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pickling look their module up here
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module, source


@GRADERS.register("python")
class PythonGrader(AnswerGrader):
    """Calls the function and checks what it returns."""

    def __init__(self, config: PythonFunction, context: GradingContext) -> None:
        self._function, source_hash = load_function(config.function, context)
        super().__init__(config, source_hash=source_hash)
        self.needs_expected = config.needs_expected

    def __call__(self, trace: Trace, case: Case) -> Score:
        """Judge by the user's function."""
        try:
            return as_score(self._function(trace.text, case.expected, case))
        except (Exception, SystemExit) as error:
            return Score.failed(f"the grading function raised {type(error).__name__}: {error}"[:500])


def as_score(result: Any) -> Score:
    """Turn what a grading function returned into a score; anything but a bool, 0..1 or a Score is unscored."""
    if isinstance(result, Score):
        sound = result.unscored or (0 <= result.num <= result.den and math.isfinite(result.den))
        return result if sound else Score.failed(f"expected 0 <= num <= den, got {result.num!r} and {result.den!r}")
    if isinstance(result, bool) or type(result).__name__ == "bool":  # numpy's is no subclass
        return RIGHT if result else WRONG
    if isinstance(result, Real) and 0 <= float(result) <= 1:
        return partial(float(result))
    return Score.failed(
        f"expected a number from 0 to 1, a bool or a Score from the grading function, got {result!r:.80}"
    )
