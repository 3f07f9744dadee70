"""Regular expressions that anyone may have written: compiled only after the limited child could, searched by an engine
that can be stopped."""

import re
from functools import lru_cache
from typing import Any

import regex

from tuneworthy import limited
from tuneworthy.errors import UserError

# Of compiling, seconds of processor time.
COMPILE_S = 2.0


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> Any:
    """Compile a pattern of Python's `re`, for an engine that can be stopped.

    Raises:
        UserError: The pattern is not valid, or takes too long to compile; it is named.
    """
    try:
        fault = limited.call(pattern_fault, pattern, limit_s=COMPILE_S)
    except limited.OverLimit as error:
        fault = error.reason
    if fault:
        raise UserError(
            f"{pattern[:200]!r} is not a usable regular expression: {fault}.", hint="Fix or shorten the pattern."
        )
    return regex.compile(pattern, regex.VERSION0)


def pattern_fault(pattern: str) -> str:
    try:
        re.compile(pattern)
        regex.compile(pattern, regex.VERSION0)
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        return str(error) or type(error).__name__
    return ""
