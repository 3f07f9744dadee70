"""Simulated projects whose truth is known: how often is a verdict wrong? `python -m scripts.simulations` counts.

`truth` draws worlds, and `rules` says what must be answered in them; neither uses code of the package. `answers` has
what every variant answers, `measure` lets the package measure and decide, `follow` takes the next step, `table` counts.
"""
