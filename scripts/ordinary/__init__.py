"""Ordinary files and hand-made tasks on public texts, with a truth that is written down before they are run."""
