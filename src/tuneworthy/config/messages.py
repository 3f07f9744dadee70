"""Sentences about the project file."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        # the file
        "no_file": "There is no project file at {path}.",
        "make_project": "Change to the project folder, pass --project DIR, or create a project with `tuneworthy init`.",
        "not_utf8": "{path} is not valid UTF-8 ({reason}). Save the file as UTF-8.",
        "not_toml": "{path} is not valid TOML: {error}.",
        # one key
        "unknown_key": "{where}: Unknown key {key}. {hint}",
        "remove_key": "Remove the key.",
        "missing_key": "{where}: The key {key} is missing.",
        "invalid_value": "{where}: {key} must {rule}, but it is {got}.",
        "steps_not_rising": "The shares of a canary rise from step to step.",
        "not_sendable": "Sampling parameters are texts, finite numbers, booleans, and lists and tables of them.",
        "range_falls": "The low end of a range ({low:g}) is above its high end ({high:g}).",
        "rule_broken": "{where}: {reason}",
        # a model named on the command line
        "model_without_name": "{text!r} names no model.",
        "model_without_provider": "{text!r} names no provider.",
        "model_not_printable": "{text!r} holds a character that cannot be printed.",
        "not_an_address": "{text!r} has no valid address.",
        "model_form": "Write PROVIDER:NAME, for example openai:gpt-6-luna, or openai:NAME@URL for another server.",
        # keys that depend on each other
        "not_a_model": "{key} is {name!r}, but [models] has no such model. Defined models: {models}.{hint}",
        "served_baseline": (
            "serve.model is {name!r}, which is the baseline. Add a separate entry for the fine-tuned model to [models]."
        ),
        "teacher_neither": "[teacher] needs either model or variant.",
        "teacher_both": "[teacher] sets both model and variant. Remove one of them.",
        "teacher_prompt": (
            "teacher.system and teacher.user work only with teacher.model, because a variant has its own prompt."
        ),
        "too_few_samples": "teacher.samples is {n}, but teacher.self_consistency needs at least 3.",
        # templates and servers
        "no_template": "The template file {path} does not exist.",
        "write_template": "Create the file, or fix its path in [prompt].",
        "set_server_price": "Set usd_per_mtok or usd_per_call, to 0 if the server is free.",
        "no_server_price": "The price of {url} in [retrieval] is unknown.",
        "data_stays": (
            "{key} is {name}, a hosted model, but constraints.data_stays forbids sending data to hosted models. Choose "
            "a model that is not hosted."
        ),
    },
).say
