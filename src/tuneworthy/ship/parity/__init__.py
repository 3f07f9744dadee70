"""Is the model that is served the model that was trained? Every form is measured, and each difference is named.

A parity check is a rule on a `Subject`; its docstring is its page, its codes are all the causes that it can find. The
checks run in order, from causes to what follows from them: the cause of a failed run is that of the first failed check.
"""

from typing import Final

from tuneworthy.rules import Finding, RuleBook
from tuneworthy.types import Texts, frozen


@frozen
class FormFinding(Finding):
    """Finding of a parity check; its code is the cause of a failure.

    Attributes:
        forms: The forms that failed, or that were compared.
    """

    forms: Texts = ()


PARITY_CHECKS: Final[RuleBook[FormFinding]] = RuleBook("parity_checks", ["tuneworthy.ship.parity.checks"])
