"""All sentences of the searches on dev."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # Prompt optimisation
        # Sweeps
        "add_cases": (
            "Run `tuneworthy cases sample --from FILE --n 100` to draw more cases, then run `tuneworthy cases label`."
        ),
        "too_few_scores": (
            "Only {n} {n:case has|cases have} a score for both settings, but at least {least} are needed."
        ),
    },
).say
