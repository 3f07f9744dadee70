"""Faults of decoding settings: a rule a function, with its page, a bad and a good example.

>>> [finding.rule for finding in LINTS.run(Use(engine="vllm", decoding={"temperature": 0.7}, output="json_schema"))]
['sampled_structure']
"""

from tuneworthy.decoding.lints.base import LINTS, Use

__all__ = ["LINTS", "Use"]
