"""Every sentence of this folder that a person reads at run time; the texts sent to models are in their own modules."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # Templates
        # Shots
    },
).say
