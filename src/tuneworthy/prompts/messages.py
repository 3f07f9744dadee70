"""Every sentence of this folder that a person reads at run time; what a model is sent stands in its module."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # Templates
        "bad_template": "The template {template!r} has a Jinja error in line {line}: {error}.",
        "fix_template": "Fix the template in [prompt].",
        "missing_variable": "The template {template!r} cannot be filled: {error}. The case has {names}.",
        "fix_variable": "Fix [prompt] or the cases.",
        # Shots
        "shots_gone": "{n_gone} of the {n} shots of the variant are no longer among the project's examples.",
        "other_pool": "The variant's shots are chosen from other examples than the project now has.",
        "restore_shots": "Put the examples back, or run the ladder again with `tuneworthy run`.",
        "no_encoder": "Shots are chosen with the sentence encoder {name}, which cannot be opened here.",
    }
).say
