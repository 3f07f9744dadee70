"""Every sentence of this folder that a person reads at run time."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        "nothing_detectable": "{n} cases cannot show any difference at alpha {alpha:.3g}.",
        "detectable": (
            "{n} cases show a difference of {difference:.1%} or more with {power:.0%} power at alpha {alpha:.3g}, "
            "if {loss:.0%} of the cases get worse. Smaller differences may go unnoticed."
        ),
        "cases_for_margin": (
            "To show a gain of {margin:.1%} takes {n_gain} cases if {worse:.1%} of them get worse. To show that nothing got "
            "worse by {margin:.1%} takes {n_same:,} if two variants differ on {discordance:.1%} of them ({how}). "
            "Both at alpha {alpha:.3g} with {power:.0%} power."
        ),
        "observed": "as observed",
        "assumed": "assumed, as nothing was observed yet",
        "more_than": "more than {n:,}",
        "used_up": "The test set is used up: {left:.2g} of alpha is left for a comparison, less than {least:g}.",
    }
).say
