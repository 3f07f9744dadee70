"""Simulated projects whose truth is known: how often is a verdict wrong? `python -m scripts.simulations` counts.

`truth` draws simulations and knows nothing of the product; `walk` lets the product walk one; `folder` writes one as a
project whose scripted models give the very same answers; `table` counts.
"""
