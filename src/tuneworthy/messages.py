"""Sentences of the modules at the top of the package: errors, registry, functions, rules, scaffold."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # names
        "unknown_name": "There is no {kind} {name!r}.",
        "did_you_mean": "Did you mean {name!r}?",
        "allowed_names": "Choose one of: {names}.",
        "name_taken": "Two {kind} are called {name!r}.",
        "rename_one": "Rename one of them.",
        # rows of data files
        "data_fault": "{where}: expected {expected}, got {got}.",
        "more_faults": "{path}: {n} more faults.",
        # optional packages
        "no_numba": "The check near needs numba, which is not installed.",
        "no_numba_hint": 'Run `pip install "tuneworthy[data]"`, or set off = ["near"] in [data].',
        "no_pyarrow": "Parquet files need pyarrow, which is not installed.",
        "no_pyarrow_hint": 'Run `pip install "tuneworthy[data]"`.',
        "no_sacrebleu": "The grader chrf needs sacrebleu, which is not installed.",
        "no_sacrebleu_hint": 'Run `pip install "tuneworthy[chrf]"`.',
        # functions of the user's own
        "function_form": "Write `file.py:name` (a file in the project folder) or `package.module:name`.",
        "not_a_function_name": "{spec!r} does not name a function.",
        "function_of": "function in {place} called",
        "not_callable": "{spec!r} is not a function but of type {kind}.",
        "file_outside": "{place} is not in the project folder.",
        "move_file": "Move it into the project folder.",
        "no_such_file": "There is no Python file {place} in {root}.",
        "import_failed": "{place} could not be imported: {error}.",
        "fix_file": "Fix the file and run again.",
        # constraints: clauses, which stand in brackets or after a colon
        "hosted_forbidden": "{model} is hosted, and the task must run on the device",
        "too_slow": "p95 is {p95:.0f} ms, the limit is {limit:g} ms",
        "too_dear": "a thousand answers cost ${usd:.4f}, the limit is ${limit:g}",
        # new projects
        "project_exists": "{root} already holds a project.",
        "other_folder": "Choose another folder, or remove tuneworthy.toml.",
        "task_kind": "Kind of task: {kind} ({reason}).",
        "few_cases": (
            "The test set has {n} cases, and at least {least} are needed: so few show only very large differences. Add cases "
            "before you run."
        ),
    }
).say
