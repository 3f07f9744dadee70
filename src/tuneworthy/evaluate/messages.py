"""All sentences that the runner shows to people."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # Models
        # Budget
        # Calls that failed
    },
).say
