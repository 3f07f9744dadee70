"""All sentences of the searches on dev."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # Prompt optimisation
        "gepa_missing": "GEPA is not installed (pip install 'tuneworthy[optimise]')",
        "too_few_sides": (
            "rewrites need {least} cases and their choice 1 more, but with groups kept together there are {train} and {val} "
            "of {n}"
        ),
        "no_rewrite": "no rewrite came",
        # Sweeps
        "too_few_cases": "A sweep needs at least {least} dev cases, there are {n}.",
        "add_cases": "Add cases.",
        "too_few_calls": "A sweep of {n} dev cases takes at least {least} calls, {calls} are allowed.",
        "more_calls": "Use `--calls {least}`.",
        "too_few_scores": "Only {n} cases have a score of both settings, and {least} are needed.",
        "no_optuna": "Optuna is not installed.",
        "no_optuna_hint": "Run `pip install 'tuneworthy[sweep]'`.",
        "calls_used": "the calls that are left are too few for another batch and the comparison after it",
        "all_tried": "every setting was tried",
    }
).say
