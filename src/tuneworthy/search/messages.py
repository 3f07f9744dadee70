"""All sentences of the searches on dev."""

from __future__ import annotations

from typing import Final

# Prompt optimisation
GEPA_MISSING: Final = "GEPA is not installed (pip install 'tuneworthy[optimise]')"
TOO_FEW_SIDES: Final = (
    "rewrites need {least} cases and their choice 1 more, but with groups kept together there are {train} and {val} "
    "of {n}"
)
NO_REWRITE: Final = "no rewrite came"

# Sweeps
TOO_FEW_CASES: Final = "A sweep needs at least {least} dev cases, there are {n}."
ADD_CASES: Final = "Add cases."
TOO_FEW_CALLS: Final = "A sweep of {n} dev cases takes at least {least} calls, {calls} are allowed."
MORE_CALLS: Final = "Use `--calls {least}`."
TOO_FEW_SCORES: Final = "Only {n} cases have a score of both settings, and {least} are needed."
NO_OPTUNA: Final = "Optuna is not installed."
NO_OPTUNA_HINT: Final = "Run `pip install 'tuneworthy[sweep]'`."
CALLS_USED: Final = "the calls that are left are too few for another batch and the comparison after it"
ALL_TRIED: Final = "every setting was tried"
