"""Sentences about the project file."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # the file
        "make_project": "Change to the project folder, pass --project DIR, or create a project with `tuneworthy init`.",
        "not_utf8": "{path} is not valid UTF-8 ({reason}). Save the file as UTF-8.",
        # one key
        "missing_key": "{where}: The key {key} is missing.",
        "rule_broken": "{where}: {reason}",
        # a model named on the command line
        "model_form": "Write PROVIDER:NAME, for example openai:gpt-6-luna, or openai:NAME@URL for another server.",
        # keys that depend on each other
        # templates and servers
    },
).say
