"""Regression sets: what a tuned model must not have got worse at, beside its task."""
