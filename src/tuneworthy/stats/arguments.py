"""Checks of the arguments of the public functions, by their names: any that does not fit is a `ValueError`."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from inspect import signature
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
_TINY, _MAX, _ROUNDING = 1e-300, 1e300, 1e-9


def _array(low: float, high: float, value: Any, *, missing: bool = False) -> bool:
    array = np.asarray(value, dtype=np.float64)
    inside = (array >= low - _ROUNDING) & (array <= high + _ROUNDING) | (missing & np.isnan(array))
    return array.ndim == 1 and array.size > 0 and bool(inside.all())


def _labels(value: Any) -> bool:
    """Whether NumPy can sort these labels, and each equals itself (unlike NaN, NaT and NA)."""
    labels, kinds = np.array(value, dtype=object), np.unique(np.asarray(value))
    return labels.ndim == 1 and kinds.size > 0 and None not in labels and bool(np.equal(labels, labels).all())


def _number(kind: Any, low: float, high: float, value: Any) -> bool:
    return isinstance(value, kind) and low <= float(value) <= high


# Arguments, their valid values in words, and the check of a value.
_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    name: (form, fits)
    for names, form, fits in (
        ("a b scores judge_a judge_b", "finite numbers from 0 to 1, not empty", partial(_array, 0, 1)),
        ("human_a human_b", "numbers from 0 to 1 or NaN, not empty", partial(_array, 0, 1, missing=True)),
        ("differences", "finite numbers from -1 to 1, not empty", partial(_array, -1, 1)),
        ("values", "finite numbers, not empty", partial(_array, -_MAX, _MAX)),
        ("yes", "True or False for each value", lambda value: _array(0, 1, value) and set(value) <= {0, 1}),
        ("labels_a labels_b", "labels of one type without missing values, not empty", _labels),
        ("groups", "None or labels of one type without missing values", lambda value: value is None or _labels(value)),
        ("alpha margin q max_bad_share", "a number between 0 and 1", partial(_number, Real, _TINY, 1 - 1e-15)),
        ("loss gain", "a number from 0 to 1", partial(_number, Real, 0, 1)),
        ("n rows", "a whole number from 1", partial(_number, Integral, 1, _MAX)),
        ("bad seed", "a whole number from 0", partial(_number, Integral, 0, _MAX)),
        ("design_effect", "a finite number above 0", partial(_number, Real, _TINY, _MAX)),
    )
    for name in names.split()
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check each argument by its name, and that the arrays have the same length."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature(function).bind(*args, **kwargs).arguments
        for name, value in given.items():
            form, fits = _RULES[name]
            with suppress(TypeError, ValueError):  # texts, ragged lists, types that cannot be sorted
                if fits(value):
                    continue
            raise ValueError(f"{name} must be {form}, got {' '.join(repr(value).split()):.60}")
        sizes = {name: len(value) for name, value in given.items() if hasattr(value, "__len__")}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"{', '.join(sizes)} must have the same length, got {', '.join(map(str, sizes.values()))}")
        return function(*args, **kwargs)

    return call
