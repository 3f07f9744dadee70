"""Sentences of the modules at the top of the package: errors, registry, functions, rules, scaffold."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        # names
        "unknown_name": "Unknown {kind}: {name!r}.",
        "did_you_mean": "Did you mean {name!r}?",
        "allowed_names": "Choose one of: {names}.",
        "name_taken": "Two {kind} have the same name, {name!r}.",
        "rename_one": "Rename one of them.",
        # rows of data files
        "data_fault": "{where}: expected {expected}, got {got}.",
        "more_faults": "{path}: further errors: {n}.",
        # optional packages
        "no_numba": "The check `near` needs numba, which is not installed.",
        "no_numba_hint": 'Run `pip install "tuneworthy[data]"`, or set `off = ["near"]` in [data].',
        "no_pyarrow": "Reading Parquet files needs pyarrow, which is not installed.",
        "no_calamine": "Reading Excel files needs python-calamine, which is not installed.",
        "no_data_extra": 'Run `pip install "tuneworthy[data]"`.',
        "no_pandas": "A DataFrame needs pandas, which is not installed.",
        "no_sacrebleu": "The grader `chrf` needs sacrebleu, which is not installed.",
        "no_sacrebleu_hint": 'Run `pip install "tuneworthy[chrf]"`.',
        "no_uvicorn": "`shadow proxy` needs uvicorn, which is not installed.",
        "no_uvicorn_hint": 'Run `pip install "tuneworthy[proxy]"`.',
        # functions that the user wrote
        "function_form": (
            "Write `file.py:name` for a file in the project folder, or `package.module:name` for an installed package."
        ),
        "not_a_function_name": "{spec!r} is not a valid reference to a function.",
        "function_of": "function in {place}",
        "not_callable": "{spec!r} is not a function; its type is {kind}. Specify a function.",
        "file_outside": "{place} is outside the project folder.",
        "move_file": "Move it into the project folder.",
        "no_such_file": "There is no Python file {place} in {root}.",
        "import_failed": "Importing {place} failed: {error}.",
        "fix_file": "Fix the file, then run the command again.",
        "part_of_python": "{place} is part of Python. It cannot be a grader or a model.",
        # trust
        "grant_code": "run the Python function {what} ({where}) on this machine",
        "grant_key": "send the API key in {what} to {where}",
        "grant_file": "use {what} outside the project folder ({where})",
        "grant_program": "start the program `{what}` ({where})",
        "not_trusted": "You have not allowed the project in {root} to do the following:",
        "trust_hint": "If you trust the project, run `{command}`. In CI, set {variable} to the project folder.",
        "bad_trust_file": "{path} cannot be read: {error}.",
        "move_trust": "Fix or remove the file, then run the command again.",
        "leads_out": "{path} is a link to {target}, which is outside the project folder.",
        "remove_link": "Remove the link, then run the command again.",
        # limits on text from other people; a reason is a clause
        "over_limit": "A template, pattern or schema cannot be evaluated: {reason}.",
        "still_running": "it takes longer than {limit_s:g} s",
        "fills_memory": "it needs too much memory",
        "child_ended": "its process exited without a result (status {status})",
        "tried_often": "it has already exceeded a limit {n} times",
        "raises": "it raises {error}",
        "too_many_chars": "its result has more than {most} characters",
        "too_many_bytes": "its results have more than {most} bytes",
        # files that a person or a project names
        "not_a_regular_file": "{path} is a pipe, a device or a socket, not a regular file.",
        "name_a_file": "Specify a regular file.",
        "too_large": "{path} is larger than {most:.0f} MiB.",
        "smaller_file": "Specify a smaller file.",
        # YAML
        "too_many_values": "The YAML has more than {most:,} values. An alias counts as all the values that it repeats.",
        "too_deep": "The YAML has more than {most} levels of nesting.",
        # regular expressions
        "bad_pattern": "{pattern!r} is not a usable regular expression: {error}.",
        "fix_pattern": "Fix or shorten the pattern.",
        # constraints: clauses that follow a colon or go in brackets, so no capital and no full stop
        "hosted_forbidden": "{model} is a hosted model, but the task must run on the device",
        "too_slow": "the p95 latency is {p95:.0f} ms, above the limit of {limit:g} ms",
        "too_dear": "1,000 answers cost ${usd:.4f}, above the limit of ${limit:g}",
        # new projects
        "project_exists": "{root} already contains a project.",
        "other_folder": "Choose another folder, or remove tuneworthy.toml.",
        "log_as_cases": "{path} is a log ({title}): it contains a model's answers, but no expected ones.",
        "log_as_cases_hint": "Run `tuneworthy cases sample --from {path} --n 300`, then `tuneworthy cases label`, and "
        "pass the labelled file to --data. `tuneworthy data import {path}` takes the log as training rows.",
        "request_log": "requests and responses",
        "chat_as_variable": "Case {case}: `{name}` holds messages as JSON, which would become the question's text.",
        "chat_as_variable_hint": "Write a chat as `messages` beside `expected`, or name the column of the question "
        "with --input.",
        "two_answers": "{path} has several columns of --expected: {names}.",
        "name_one": "Name one column of the expected answer for each file.",
        "file_exists": "{path} already exists, and a new project would overwrite it.",
        "keep_own_file": "Choose another folder, or move the file.",
        "task_kind": "Detected task type: {kind} ({reason}).",
        "labels_applied": "Wrote {n} {n:label|labels} from {path} into the cases.",
        "labellers_differ": (
            "The labellers disagree on {n} {n:case|cases}, which get no label: resolve this in cases.jsonl."
        ),
        "drawn": (
            "Drew {n} of {n_rows} rows as cases, stratified and seeded. {n_rest} others are the examples. Change this "
            "with --n-cases."
        ),
        "not_drawn": "{n} {n:row|rows} without an expected answer {n:is|are} neither a case nor an example.",
        "all_cases": (
            "All {n} rows are cases: with half of them, too few rows would remain as examples. Dev cases double as "
            "examples."
        ),
        "allowed": "Because you named it on the command line, the project may {grant}.",
        "unknown_price": (
            "The price of {name} is unknown. Set input_usd_per_mtok and output_usd_per_mtok in [models.{name}]. "
            "Until then, no budget can be enforced, and which option is cheapest stays undecided."
        ),
        "few_cases": (
            "The project has {n} {n:case|cases}, but the test set needs at least {least}. A smaller test set detects "
            "only very large differences. Add cases before you run the ladder."
        ),
    },
).say
