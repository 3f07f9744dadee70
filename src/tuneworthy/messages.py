"""Sentences of the modules at the top of the package: errors, registry, functions, rules, scaffold."""

from __future__ import annotations

from typing import Final

# names
UNKNOWN_NAME: Final = "There is no {kind} {name!r}."
DID_YOU_MEAN: Final = "Did you mean {name!r}?"
ALLOWED_NAMES: Final = "Choose one of: {names}."
NAME_TAKEN: Final = "Two {kind} are called {name!r}."
RENAME_ONE: Final = "Rename one of them."

# rows of data files
DATA_FAULT: Final = "{where}: expected {expected}, got {got}."
MORE_FAULTS: Final = "{path}: {n} more faults."

# optional packages
NO_NUMBA: Final = "The check near needs numba, which is not installed."
NO_NUMBA_HINT: Final = 'Run `pip install "tuneworthy[data]"`, or set off = ["near"] in [data].'
NO_PYARROW: Final = "Parquet files need pyarrow, which is not installed."
NO_PYARROW_HINT: Final = 'Run `pip install "tuneworthy[data]"`.'
NO_SACREBLEU: Final = "The grader chrf needs sacrebleu, which is not installed."
NO_SACREBLEU_HINT: Final = 'Run `pip install "tuneworthy[chrf]"`.'

# functions of the user's own
FUNCTION_FORM: Final = "Write `file.py:name` (a file in the project folder) or `package.module:name`."
NOT_A_FUNCTION_NAME: Final = "{spec!r} does not name a function."
FUNCTION_OF: Final = "function in {place} called"
NOT_CALLABLE: Final = "{spec!r} is not a function but of type {kind}."
FILE_OUTSIDE: Final = "{place} is not in the project folder."
MOVE_FILE: Final = "Move it into the project folder."
NO_SUCH_FILE: Final = "There is no Python file {place} in {root}."
IMPORT_FAILED: Final = "{place} could not be imported: {error}."
FIX_FILE: Final = "Fix the file and run again."

# constraints: clauses, which stand in brackets or after a colon
HOSTED_FORBIDDEN: Final = "{model} is hosted, and the task must run on the device"
TOO_SLOW: Final = "p95 is {p95:.0f} ms, the limit is {limit:g} ms"
TOO_DEAR: Final = "a thousand answers cost ${usd:.4f}, the limit is ${limit:g}"

# new projects
PROJECT_EXISTS: Final = "{root} already holds a project."
OTHER_FOLDER: Final = "Choose another folder, or remove tuneworthy.toml."
TASK_KIND: Final = "Kind of task: {kind} ({reason})."
FEW_CASES: Final = (
    "The test set has {n} cases, and at least {least} are needed: so few show only very large differences. Add cases "
    "before you run."
)
