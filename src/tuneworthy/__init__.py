"""tuneworthy: find out, with evidence, whether to fine-tune; and if so, do it, safely."""

__version__ = "0.1.0"
