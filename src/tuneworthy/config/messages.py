"""Sentences about the project file."""

from __future__ import annotations

from typing import Final

# the file
NO_FILE: Final = "There is no project file at {path}."
MAKE_PROJECT: Final = "Go to the project folder, use --project DIR, or create a project with `tuneworthy init`."
NOT_UTF8: Final = "{path} is not UTF-8 ({reason})."
NOT_TOML: Final = "{path} is not valid TOML: {error}."

# one key
UNKNOWN_KEY: Final = "{where}: unknown key {key}. {hint}"
REMOVE_KEY: Final = "Remove it."
MISSING_KEY: Final = "{where}: the key {key} is missing."
INVALID_VALUE: Final = "{where}: {key}: expected {expected}, got {got}."
RULE_BROKEN: Final = "{where}: {reason}"

# keys that depend on each other
NOT_A_MODEL: Final = "{key} is {name!r}, which is not a key of [models] ({models}).{hint}"
SERVED_BASELINE: Final = "serve.model is {name!r}, the baseline. The tuned model needs an entry of its own in [models]."
TEACHER_NEITHER: Final = "teacher needs model or variant."
TEACHER_BOTH: Final = "teacher has both model and variant; keep one."
TEACHER_PROMPT: Final = "teacher.system and teacher.user go with teacher.model only: a variant has its own prompt."
TOO_FEW_SAMPLES: Final = "teacher.samples is {n}; self_consistency needs at least 3."

# templates and servers
NO_TEMPLATE: Final = "There is no template file {path}."
WRITE_TEMPLATE: Final = "Write it, or fix [prompt]."
NO_SERVER_PRICE: Final = "The price of {url} in [retrieval] is unknown."
