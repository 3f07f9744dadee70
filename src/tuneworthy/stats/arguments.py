"""Checks of the arguments of the public functions, by their names: any that does not fit is a `ValueError`."""

from collections.abc import Callable
from functools import partial, wraps
from inspect import signature
from numbers import Integral, Real
from reprlib import repr as shortened
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
_ROUNDING = 1e-9
_MAX, _TINY = float(np.finfo(np.float64).max), float(np.finfo(np.float64).tiny)


def _array(low: float, high: float, value: Any, *, missing: bool = False) -> bool:
    array = np.asarray(value, dtype=np.float64)
    inside = (array >= low - _ROUNDING) & (array <= high + _ROUNDING)
    return array.ndim == 1 and array.size > 0 and bool((inside | (missing & np.isnan(array))).all())


def _labels(value: Any) -> bool:
    """Whether these are labels that NumPy can sort, without missing values (NaN, NaT and NA differ from themselves)."""
    labels = np.array(value, dtype=object)
    kinds = np.unique(np.asarray(value))
    return labels.ndim == 1 and kinds.size > 0 and None not in labels and bool(np.equal(labels, labels).all())


def _number(kind: Any, low: float, high: float, value: Any) -> bool:
    return isinstance(value, kind) and low <= float(value) <= high


_SCORES = ("numbers from 0 to 1, not empty and without missing values", partial(_array, 0, 1))
_RATED = ("numbers from 0 to 1, NaN where people gave no score", partial(_array, 0, 1, missing=True))
_LABELS = ("labels of one type, not empty and without missing values", _labels)
_INSIDE = ("a number between 0 and 1", partial(_number, Real, _TINY, 1 - 2**-53))
_SHARE = ("a number from 0 to 1", partial(_number, Real, 0, 1))
_COUNT = ("a whole number from 1", partial(_number, Integral, 1, _MAX))
_COUNT_OR_0 = ("a whole number from 0", partial(_number, Integral, 0, _MAX))
_RULES: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    **dict.fromkeys(("a", "b", "scores", "judge_a", "judge_b"), _SCORES),
    **dict.fromkeys(("human_a", "human_b"), _RATED),
    **dict.fromkeys(("labels_a", "labels_b"), _LABELS),
    **dict.fromkeys(("alpha", "margin", "q", "max_bad_share"), _INSIDE),
    **dict.fromkeys(("loss", "gain"), _SHARE),
    **dict.fromkeys(("n", "rows"), _COUNT),
    **dict.fromkeys(("bad", "seed"), _COUNT_OR_0),
    "groups": (f"{_LABELS[0]}, or None", lambda value: value is None or _labels(value)),
    "differences": ("numbers from -1 to 1, not empty and without missing values", partial(_array, -1, 1)),
    "values": ("finite numbers, not empty and without missing values", partial(_array, -_MAX, _MAX)),
    "yes": ("True or False for each value", lambda value: _array(0, 1, value) and set(value) <= {0, 1}),
    "design_effect": ("a finite number above 0", partial(_number, Real, _TINY, _MAX)),
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check each argument by its name, and that the arrays have the same length."""
    form = signature(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = form.bind(*args, **kwargs).arguments
        for name, value in given.items():
            noun, fits = _RULES[name]
            try:
                good = fits(value)
            except (TypeError, ValueError):  # texts, ragged lists, types that cannot be sorted
                good = False
            if not good:
                raise ValueError(f"{name} must be {noun}, got {shortened(value)}")
        sizes = {name: len(value) for name, value in given.items() if hasattr(value, "__len__")}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"{', '.join(sizes)} must have the same length, got {', '.join(map(str, sizes.values()))}")
        return function(*args, **kwargs)

    return call
