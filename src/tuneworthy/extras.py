"""Packages of extras, which only some graders and commands need."""

from importlib.util import find_spec
from typing import Final

from tuneworthy import messages
from tuneworthy.errors import UserError

MISSING: Final = {
    "numba": (messages.say("no_numba"), messages.say("no_numba_hint")),
    "pyarrow": (messages.say("no_pyarrow"), messages.say("no_pyarrow_hint")),
    "sacrebleu": (messages.say("no_sacrebleu"), messages.say("no_sacrebleu_hint")),
}


def require(package: str) -> None:
    """Check that an optional package, a key of `MISSING`, is installed.

    Raises:
        UserError: It is not installed.
    """
    if find_spec(package) is None:
        message, hint = MISSING[package]
        raise UserError(message, hint=hint)
