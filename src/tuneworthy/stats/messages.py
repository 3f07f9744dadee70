"""Every sentence of this folder that a person reads at run time."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        "nothing_detectable": "With {n} cases, no difference can be significant at alpha {alpha:.3g}.",
        "detectable": (
            "With {n} cases at alpha {alpha:.3g}, the smallest detectable difference is {difference:.1f} points. This "
            "assumes {power:.0%} power and that {loss:.1%} of the cases get worse."
        ),
        "cases_for_margin": (
            "Detecting a gain of {margin:.1f} points takes {n_gain} cases if {worse:.1%} of them get worse. Showing "
            "non-inferiority within {margin:.1f} points takes {n_same:,} cases if the two variants disagree on "
            "{discordance:.1%} of them ({how}). Both figures assume {power:.0%} power and one-sided tests, at alpha "
            "{alpha:.3g} for the gain and 0.05 for non-inferiority."
        ),
        "observed": "as observed",
        "assumed": "an assumption, because nothing has been observed yet",
        "more_than": "more than {n:,}",
        "used_up": "Another comparison would have an alpha of only {left:.2g}, but at least {least:g} is needed.",
    },
).say


def p_value(value: float) -> str:
    """Return a p-value as in a formula.

    >>> p_value(1e-9), p_value(0.0312)
    ('p < 0.0001', 'p = 0.0312')
    """
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.4f}"
