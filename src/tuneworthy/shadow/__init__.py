"""A candidate is asked what traffic asks: recorded (`replay`) or as it comes (`proxy`) -> pairs -> verdict."""
