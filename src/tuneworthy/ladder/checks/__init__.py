"""The book of checks of a project, and the built-in checks by area; see `tuneworthy.ladder.check`."""

from tuneworthy.rules import Finding, RuleBook

# Modules of the built-in checks, in the order in which their findings are shown.
AREAS = ("prompt", "data", "documents", "graders", "models", "decoding", "plan")

CHECKS = RuleBook[Finding]("checks", [f"{__name__}.{area}" for area in AREAS])
check = CHECKS.rule
