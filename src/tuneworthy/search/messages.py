"""All sentences of the searches on dev."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        # Prompt optimisation
        "gepa_missing": 'GEPA is not installed; run `pip install "tuneworthy[optimise]"`',
        "too_few_sides": (
            "GEPA needs at least {least} cases for rewriting and 1 for selection, but splitting {n} cases by group "
            "gives only {train} and {val}"
        ),
        "no_rewrite": "The model returned no rewrite of the prompt.",
        # Sweeps
        "too_few_cases": "A sweep needs at least {least} dev cases, but the project has {n}.",
        "add_cases": (
            "Run `tuneworthy cases sample --from FILE --n 100` to draw more cases, then run `tuneworthy cases label`."
        ),
        "too_few_calls": "A sweep over {n} dev cases takes at least {least} calls, but the limit is {calls}.",
        "more_calls": "Pass `--calls {least}` or more.",
        "too_few_scores": (
            "Only {n} {n:case has|cases have} a score for both settings, but at least {least} are needed."
        ),
        "no_optuna": "Optuna is not installed.",
        "no_optuna_hint": 'Run `pip install "tuneworthy[sweep]"`.',
        "calls_used": "not enough calls left for another batch and the final comparison",
        "all_tried": "every setting has been tried",
    },
).say
