"""Statistics of model evaluations: intervals, paired tests, power, judge correction; NumPy and SciPy only.

Those of `public` are public, as `tuneworthy.stats.NAME`. They raise `ValueError` on arguments that do not
fit. In the modules below, a case contributes a numerator and a denominator to a score (`ratios`), and cases that
share a source are one cluster.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    return getattr(import_module("tuneworthy.stats.public"), name)


def __dir__() -> Any:
    return __getattr__("__all__")
