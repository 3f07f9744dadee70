"""Faults of decoding settings: a rule a function, with its page, a bad and a good example.

>>> [found.code for found in lint_use(Use(engine="vllm", decoding={"temperature": 0.7}, output="json_schema"))]
['sampled_structure']
"""

from tuneworthy.decoding.lints.base import LINTS, Finding, Lint, Use, all_lints, lint_use

__all__ = ["LINTS", "Finding", "Lint", "Use", "all_lints", "lint_use"]
