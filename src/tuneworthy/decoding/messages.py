"""Every sentence of this folder that a person reads at run time."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # Engines and presets
        # What one set of parameters does on several engines
        # Lints: comparisons and log-probabilities
        # Lints: sampling parameters
        "remove": "Remove {names}.",
        # Lints: structured output
        "format_fix": (
            "Remove response_format: the rung few_shot already constrains answers to a schema. In other rungs, use "
            '{"type": "json_schema", "json_schema": {"name": ..., "schema": ...}}.'
        ),
    },
).say
