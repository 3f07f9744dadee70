"""Every sentence of this folder that a person reads at run time."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        "nothing_detectable": "With {n} cases, no difference can be significant at alpha {alpha:.3g}.",
        "detectable": (
            "With {n} cases, a difference of {difference:.1%} is detected with {power:.0%} power at alpha "
            "{alpha:.3g}, if {loss:.0%} of the cases get worse. Smaller differences may go unnoticed."
        ),
        "cases_for_margin": (
            "Detecting a gain of {margin:.1%} takes {n_gain} cases if {worse:.1%} of them get worse. Showing "
            "non-inferiority within {margin:.1%} takes {n_same:,} cases if the two variants disagree on "
            "{discordance:.1%} of them ({how}). Both figures assume alpha {alpha:.3g} and {power:.0%} power."
        ),
        "observed": "as observed",
        "assumed": "an assumption, because nothing has been observed yet",
        "more_than": "more than {n:,}",
        "used_up": "Only {left:.2g} of alpha remains for another comparison, and at least {least:g} is needed.",
    }
).say
