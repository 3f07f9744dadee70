"""Every sentence of this folder that a person reads at run time; the texts sent to models are in their own modules."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        # Templates
        "bad_template": "The template {template!r} has a Jinja syntax error on line {line}: {error}.",
        "fix_template": "Fix the template in [prompt].",
        "missing_variable": (
            "The template {template!r} cannot be rendered: {error}. The case has these variables: {names}."
        ),
        "fix_variable": "Fix the template in [prompt], or add the variable to the cases.",
        # Shots
        "shots_gone": (
            "{n_gone} of the {n} few-shot examples of this variant {n_gone:is|are} no longer in the project's examples."
        ),
        "other_pool": "The project's examples, from which this variant selects few-shot examples, have changed.",
        "restore_shots": "Restore the examples, or run `tuneworthy run` again.",
        "no_encoder": (
            "The few-shot examples are selected with the sentence encoder {name}, which cannot be loaded here."
        ),
    },
).say
