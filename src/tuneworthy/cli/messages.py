"""Sentences that the command line prints."""

from __future__ import annotations

from typing import Final

# how a command ended
ERROR: Final = "Error: {error}"
STOPPED: Final = "Stopped. Stored answers are safe: run the same command again to go on."
BUG: Final = "Error: This is a bug in tuneworthy. The traceback is in {path}; please report it with that file."

# options that several commands share
CANNOT_WRITE: Final = "Cannot write {path}: {reason}."
CHOOSE_PATH: Final = "Choose another path."
NO_USER_NAME: Final = "The system does not know your user name."
GIVE_USER_NAME: Final = "Give a name with {option}."
NOT_DOLLARS: Final = "{value} is not an amount in US dollars."


# check
def check_summary(n_errors: int, n_warnings: int) -> str:
    """Say how many errors and warnings there are, and what comes next."""
    warnings = f"{n_warnings} warning" + "s" * (n_warnings != 1)
    if n_errors:
        return f"{n_errors} error{'s' * (n_errors != 1)}, {warnings}. Fix the errors before you run."
    return f"No errors, {warnings}. Next: tuneworthy run"


# cases
FILE_EXISTS: Final = "{path} already exists."
CHOOSE_OUT: Final = "Choose another file with --out, or move it away."
SAMPLED: Final = (
    "{path}: {n} cases from {n_read} questions ({n_exact} repeated, {n_near} nearly repeated), stratified by {key} "
    "({n_strata} strata). Next: tuneworthy cases label"
)
JUDGE_ALONE: Final = "--judge cannot be used with --apply or --all: verdicts on answers are not labels of cases."
LABELS_WRITTEN: Final = "{path}: {n} labels written, {n_same} already there."
LABELLERS_DIFFER: Final = "  skipped {case}: {labels}. Settle it in the file by hand."
LABEL_CONFLICTS: Final = "  skipped {n} cases with another answer ({cases}). Use --overwrite to replace it."
LABELS_WITHOUT_CASE: Final = "  skipped {n} labels of cases that are not in the file."
CASE_OR_FAILED: Final = "Give either the ID of a case or --failed."
NO_ANSWER_STORED: Final = "No answer is stored: no variant has answered this case (a race may drop a variant early)."
FAILED_CASES: Final = "{name}: {n_failed} of {n} {split} cases failed by {grader}"
FAILED_CASE: Final = "  {case}  {reason}: expected {expected!r}, got {text!r}"

# labelling on a terminal
VERDICT_GREETING: Final = "Type g (good) or b (bad). {skip} puts a case off, {quit} stops; every verdict is saved."
ALL_LABELLED: Final = "All {n} cases of {path} already have an answer."
LABEL_AGAIN: Final = "Use --all to label them again, blind: the agreement shows how far the answers can be trusted."
LABEL_MENU: Final = "Labels (type the number or the label):"
ANSWERS_TO_JUDGE: Final = "{n} answers to the first {n_cases} test cases in a seeded order; the variant is not shown."
RUBRIC: Final = "What makes an answer good:\n{rubric}"
DECLINING_IS_RIGHT: Final = "(declining is right)"
NOT_A_VERDICT: Final = "Type g (good) or b (bad), not {line!r}."
NOT_A_LABEL: Final = "{label!r} is not one of the {n} labels."
TYPE_NUMBER: Final = "Type its number."
ADD_LABEL: Final = "To add a label, type +{label}."
NOT_JSON: Final = "{line!r} is not JSON on one line ({error})."

# reviewing on a terminal
REVIEW_GREETING: Final = (
    "Type g (good to train on as it is), or b and why it is bad (if you cannot tell, it is bad). {skip} puts a row off, "
    "{quit} stops; every verdict is saved."
)
REVIEW_PLAN: Final = (
    "Version {version}, attempt {attempt}: {n} of {n_new} rows that nobody reviewed before, of which at most {max_bad} "
    "may be bad; seed {seed}. Fixed {time}."
)
REJECTED_SAMPLE: Final = "Version {version}: {n} of {n_rows} dropped rows; seed {seed}."
NOT_IN_SAMPLE: Final = "No sample of version {version} has a row {row!r}."
BAD_NEEDS_REASON: Final = "Type b and why the row is bad."
NOT_A_ROW_VERDICT: Final = "Type g, or b and a reason, not {line!r}."
REVIEW_PLANS: Final = (
    "Plans that show at least {bound:.4g}% good rows, and how often a version with this share of bad rows passes:"
)
NO_REVIEW_PLAN: Final = "  No plan: too many rows are known to be bad, or all were reviewed before."
REVIEW_STATE: Final = "{version}: {status}: {words}."
BAD_ROW: Final = "  bad: {row} ({reviewer}): {reason}"
GOOD_BY_REASON: Final = "  {reason}: {n_good} of {n} are good"


def reviewer_agreement(n_agree: int, n: int, share: float, ci95: tuple[float, float], kappa: float | None) -> str:
    """Say how far reviewers agree."""
    shown = "not defined" if kappa is None else f"{kappa:.2f}"
    return f"The reviewers agree on {n_agree} of {n} rows: {share:.1%} [{ci95[0]:.1%}, {ci95[1]:.1%}], kappa {shown}."
