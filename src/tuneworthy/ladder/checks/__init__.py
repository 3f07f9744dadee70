"""The book of checks of a project, and the built-in checks by area; see `tuneworthy.ladder.check`."""

from tuneworthy.rules import Finding, RuleBook

# Modules of the built-in checks, in the order in which they run.
AREAS = ("prompt", "data", "documents", "graders", "models", "decoding", "plan")
# Checks whose findings cost most, in the order in which they are shown: no outcome, then wrong scores, then money.
DEAREST = (
    "store", "cases_file", "examples_file", "unlabelled", "empty_split", "edited_cases", "target_missing", "small_test",
    "few_groups", "label_variants", "unknown_labels", "answer_limit", "thinking_cut", "no_input", "grader_labels",
    "budget_short", "budget_missing", "traffic_missing", "power",
)  # fmt: skip

CHECKS = RuleBook[Finding]("checks", [*(f"{__name__}.{area}" for area in AREAS), "tuneworthy.doctor.check"])
check = CHECKS.rule
