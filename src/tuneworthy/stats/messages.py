"""Every sentence of this folder that a person reads at run time."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {},
).say


def p_value(value: float) -> str:
    """Return a p-value as in a formula.

    >>> p_value(1e-9), p_value(0.0312)
    ('p < 0.0001', 'p = 0.0312')
    """
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.4f}"
