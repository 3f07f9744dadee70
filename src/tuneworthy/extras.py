"""Packages of extras, which only some graders and commands need."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from tuneworthy import messages
from tuneworthy.errors import UserError

MISSING: Final = {
    "numba": (messages.NO_NUMBA, messages.NO_NUMBA_HINT),
    "pyarrow": (messages.NO_PYARROW, messages.NO_PYARROW_HINT),
    "sacrebleu": (messages.NO_SACREBLEU, messages.NO_SACREBLEU_HINT),
}


def require(package: str) -> None:
    """Check that an optional package, a key of `MISSING`, is installed.

    Raises:
        UserError: It is not installed.
    """
    if find_spec(package) is None:
        message, hint = MISSING[package]
        raise UserError(message, hint=hint)
