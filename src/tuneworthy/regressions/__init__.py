"""Regression sets: skills that a tuned model must keep besides its task."""
