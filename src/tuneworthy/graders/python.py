"""Grader `python`: a function of the project's own, `(answer, expected, case) -> float | bool | Score`.

Its code is the user's and runs with the user's rights; an exception or a wrong result leaves the trace
unscored, and never ends a run.
"""

import inspect
import math
import traceback
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import Any

from tuneworthy.config.graders import PythonFunction
from tuneworthy.errors import UserError
from tuneworthy.functions import load_function, source_hash
from tuneworthy.graders.base import GRADERS, RIGHT, WRONG, AnswerGrader, Grader, GradingContext, partial
from tuneworthy.types import Case, Score, Trace


@GRADERS.register("python")
class PythonGrader(AnswerGrader[PythonFunction]):
    """Calls the function and checks its result."""

    def __init__(self, config: PythonFunction, context: GradingContext) -> None:
        self._function = load_function(config.function, context.root)
        if inspect.iscoroutinefunction(self._function):
            raise UserError(
                f"The grading function {config.function!r} is async, but it must be a regular function.",
                hint="Specify a regular function in [[graders]].",
            )
        super().__init__(config, source_hash=source_hash(self._function))
        self.needs_expected = config.needs_expected

    def __call__(self, trace: Trace, case: Case) -> Score:
        return _graded(self._function, trace.text, case.expected, case)


class FunctionGrader(Grader):
    """Calls `function(answer, expected)`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self.identity = function, {"type": "function", "source_hash": source_hash(function)}

    def __call__(self, trace: Trace, case: Case) -> Score:
        return _graded(self._function, trace.text, case.expected)


def _graded(function: Callable[..., Any], *arguments: Any) -> Score:
    """Return the result of `function` as a score: 0 if an `assert` fails, unscored if it raises another exception."""
    try:
        return as_score(function(*arguments))
    except AssertionError:
        return WRONG
    except (Exception, SystemExit) as error:
        frames = [(one.filename, one.lineno) for one in traceback.extract_tb(error.__traceback__)[1:]]
        code = getattr(function, "__code__", None)
        own = [(code.co_filename, code.co_firstlineno)] if code else []  # where its arguments do not fit
        file, line = [*own, *(frame for frame in frames if frame[0] == own[0][0])][-1] if own else ("", 0)
        place = f" ({Path(file).name}:{line})" if own else ""
        return Score.failed(f"the grading function raised {f'{type(error).__name__}: {error}'[:400]}{place}")


def as_score(result: Any) -> Score:
    """Turn the result of a grading function into a score; anything but a bool, 0..1 or a Score is unscored."""
    if isinstance(result, Score):
        sound = result.unscored or (0 <= result.num <= result.den and math.isfinite(result.den))
        return (
            result
            if sound
            else Score.failed(
                f"the returned Score must satisfy 0 <= num <= den, but num is {result.num!r} and den is {result.den!r}"
            )
        )
    if isinstance(result, bool) or type(result).__name__ == "bool":  # numpy's is no subclass
        return RIGHT if result else WRONG
    if isinstance(result, Real) and 0 <= float(result) <= 1:
        return partial(float(result))
    return Score.failed(f"the grading function must return a number from 0 to 1, a bool or a Score, not {result!r:.80}")
