"""The runner: (cases, variant) -> traces."""
