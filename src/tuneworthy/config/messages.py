"""Sentences about the project file."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # the file
        "no_file": "There is no project file at {path}.",
        "make_project": "Go to the project folder, use --project DIR, or create a project with `tuneworthy init`.",
        "not_utf8": "{path} is not UTF-8 ({reason}).",
        "not_toml": "{path} is not valid TOML: {error}.",
        # one key
        "unknown_key": "{where}: unknown key {key}. {hint}",
        "remove_key": "Remove it.",
        "missing_key": "{where}: the key {key} is missing.",
        "invalid_value": "{where}: {key}: expected {expected}, got {got}.",
        "rule_broken": "{where}: {reason}",
        # keys that depend on each other
        "not_a_model": "{key} is {name!r}, which is not a key of [models] ({models}).{hint}",
        "served_baseline": "serve.model is {name!r}, the baseline. The tuned model needs an entry of its own in [models].",
        "teacher_neither": "teacher needs model or variant.",
        "teacher_both": "teacher has both model and variant; keep one.",
        "teacher_prompt": "teacher.system and teacher.user go with teacher.model only: a variant has its own prompt.",
        "too_few_samples": "teacher.samples is {n}; self_consistency needs at least 3.",
        # templates and servers
        "no_template": "There is no template file {path}.",
        "write_template": "Write it, or fix [prompt].",
        "no_server_price": "The price of {url} in [retrieval] is unknown.",
    }
).say
