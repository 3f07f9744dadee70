"""The formats of cases and examples: how a row is recognised, and how it becomes a `Case` or an `Example`."""
