"""Packages of extras, which only some graders and commands need."""

from importlib.util import find_spec
from typing import Final

from tuneworthy import messages
from tuneworthy.errors import UserError

MISSING: Final = {
    "numba": UserError(messages.say("no_numba"), hint=messages.say("no_numba_hint")),
    "pandas": UserError(messages.say("no_pandas"), hint=messages.say("no_data_extra")),
    "pyarrow": UserError(messages.say("no_pyarrow"), hint=messages.say("no_data_extra")),
    "python_calamine": UserError(messages.say("no_calamine"), hint=messages.say("no_data_extra")),
    "uvicorn": UserError(messages.say("no_uvicorn"), hint=messages.say("no_uvicorn_hint")),
    "sacrebleu": UserError(messages.say("no_sacrebleu"), hint=messages.say("no_sacrebleu_hint")),
}


def require(package: str) -> None:
    """Check that an optional package, a key of `MISSING`, is installed.

    Raises:
        UserError: It is not installed.
    """
    if find_spec(package) is None:
        raise UserError(MISSING[package].message, hint=MISSING[package].hint)
