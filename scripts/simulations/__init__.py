"""Worlds whose truth is known: how often is a verdict wrong? See `docs/simulations.md`; run with `python -m scripts.simulations`.

`truth` draws simulations and knows nothing of the product; `walk` lets the product walk one; `folder` writes one as a
project whose scripted models give the very same answers; `table` counts.
"""
