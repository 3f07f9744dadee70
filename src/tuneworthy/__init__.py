"""tuneworthy: find out, with evidence, whether to fine-tune; and if so, do it safely.

>>> import tuneworthy
>>> rows = [{"input": "2 + 2", "expected": "4"}, {"input": "2 * 3", "expected": "6"}]
>>> tuneworthy.evaluate(rows, lambda text: "4", "exact").score                   # doctest: +SKIP
0.5
>>> project = tuneworthy.open("my-task")        # doctest: +SKIP
>>> project.run(max_usd=2).best                   # doctest: +SKIP
BestVariant(rung='few_shot', variant='248f9fc708ee81ec')
>>> project.decide().outcome                      # doctest: +SKIP
<Outcome.DO_NOT_FINE_TUNE: 'do_not_fine_tune'>
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # that of `typing`, whose import would delay the start
if TYPE_CHECKING:
    from typing import Any

    from tuneworthy import stats
    from tuneworthy.api import create, open
    from tuneworthy.calls.functions import record
    from tuneworthy.errors import BudgetSpent, GateFailed, OutsideFault, TuneworthyError, Undecided, UserError
    from tuneworthy.evaluation import compare, evaluate

# numba unpickles its cache, and a file of the working folder could say where that is; the environment goes first
os.environ.setdefault("NUMBA_CACHE_DIR", "")
__version__ = "0.1.0"
__all__ = [
    "BudgetSpent",
    "GateFailed",
    "OutsideFault",
    "TuneworthyError",
    "Undecided",
    "UserError",
    "__version__",
    "compare",
    "create",
    "evaluate",
    "open",
    "record",
    "stats",
]
_MODULES = {
    "compare": "evaluation",
    "create": "api",
    "evaluate": "evaluation",
    "open": "api",
    "record": "calls.functions",
    "stats": "stats",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    return globals().setdefault(name, module if name == "stats" else getattr(module, name))


def __dir__() -> list[str]:
    return __all__
