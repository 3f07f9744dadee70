"""Every sentence of this folder that a person reads at run time; what a model is sent stands in its module."""

from __future__ import annotations

from typing import Final

# Templates
BAD_TEMPLATE: Final = "The template {template!r} has a Jinja error in line {line}: {error}."
FIX_TEMPLATE: Final = "Fix the template in [prompt]."
MISSING_VARIABLE: Final = "The template {template!r} cannot be filled: {error}. The case has {names}."
FIX_VARIABLE: Final = "Fix [prompt] or the cases."

# Shots
SHOTS_GONE: Final = "{n_gone} of the {n} shots of the variant are no longer among the project's examples."
OTHER_POOL: Final = "The variant's shots are chosen from other examples than the project now has."
RESTORE_SHOTS: Final = "Put the examples back, or run the ladder again with `tuneworthy run`."
NO_ENCODER: Final = "Shots are chosen with the sentence encoder {name}, which cannot be opened here."
