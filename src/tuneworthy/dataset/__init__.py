"""From raw examples to training data: what is found in them, and which rows are kept, changed or left out.

Every step is a pure function of batches of rows: no files, no project, no globals, so that any engine can run it.
Importing this loads neither scikit-learn nor a model; what needs them imports them when called.
"""

from tuneworthy.dataset.base import CHECKS, WHOLE_SET, Action, Check, Context, Encoder, Finding, all_checks, check

__all__ = ["CHECKS", "WHOLE_SET", "Action", "Check", "Context", "Encoder", "Finding", "all_checks", "check"]
