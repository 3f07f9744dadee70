"""Sentences of the modules at the top of the package: errors, registry, functions, rules, scaffold."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # names
        # rows of data files
        "more_faults": "{path}: further errors: {n}.",
        # optional packages
        "no_data_extra": 'Run `pip install "tuneworthy[data]"`.',
        # functions that the user wrote
        "function_form": (
            "Write `file.py:name` for a file in the project folder, or `package.module:name` for an installed package."
        ),
        "import_failed": "Importing {place} failed: {error}.",
        # trust
        # limits on text from other people; a reason is a clause
        "still_running": "it takes longer than {limit_s:g} s",
        "too_many_chars": "its result has more than {most} characters",
        # files that a person or a project names
        # YAML
        # regular expressions
        # constraints: clauses that follow a colon or go in brackets, so no capital and no full stop
        "hosted_forbidden": "{model} is a hosted model, but the task must run on the device",
        # new projects
    },
).say
