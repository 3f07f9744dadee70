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
PLAN_HEADINGS: Final = "  --max-bad   rows   "
NO_REVIEW_PLAN: Final = "  No plan: too many rows are known to be bad, or all were reviewed before."
REVIEW_STATE: Final = "{version}: {status}: {words}."
BAD_ROW: Final = "  bad: {row} ({reviewer}): {reason}"
GOOD_BY_REASON: Final = "  {reason}: {n_good} of {n} are good"


def reviewer_agreement(n_agree: int, n: int, share: float, ci95: tuple[float, float], kappa: float | None) -> str:
    """Say how far reviewers agree."""
    shown = "not defined" if kappa is None else f"{kappa:.2f}"
    return f"The reviewers agree on {n_agree} of {n} rows: {share:.1%} [{ci95[0]:.1%}, {ci95[1]:.1%}], kappa {shown}."


# money
NO_BUDGET: Final = "{names} cost money, and there is no budget."
SET_BUDGET: Final = "Set ladder.budget_usd, or give --max-usd or --yes."


def spend(names: str, limit_usd: float | None) -> str:
    """Ask whether models that cost money may be called."""
    limit = f"at most ${limit_usd:.2f}" if limit_usd is not None else "without a limit"
    return f"{names} cost money. Go on, {limit}?"


# run
BASELINE_FAILED: Final = "The baseline cannot be scored: {reason}."
FIX_AND_RUN: Final = "Fix that and run again: no stored answer is paid for twice."
RUNG_DONE: Final = "{rung}: {status}. {reason}"
FETCHING: Final = "Downloading the model {name} ({spec})."
QUICK_RUN: Final = "Preview on dev: nothing is decided. Next: tuneworthy run"
PARTIAL_RUN: Final = "Not the whole ladder: {reason}."
BEST: Final = "Best: {name} with {score:.3f} [{low:.3f}, {high:.3f}]."
WRITE_REPORT: Final = "Next: tuneworthy report"

# init, demo, report
PROJECT_MADE: Final = (
    "Created {folder} with {n_cases} cases and {n_examples} examples. Next:\n"
    "  tuneworthy check --project {folder}\n"
    "  tuneworthy run --project {folder}"
)
DEMO_EXISTS: Final = "{folder} already exists; going on with it."
DEMO_TRAINS: Final = "Training a small adapter now, whatever the verdict, to show every step."
STEP_TOOK: Final = "({seconds:.0f} s)"
REPORT_AT: Final = "Report: {path}"

# decide
WOULD_CHANGE: Final = "This would change it: {changes}"
VALID_UNTIL: Final = "Valid until {date}.\n"

# compare
DIFFERENCE: Final = (
    "B - A: {delta:+.3f} [{low:+.3f}, {high:+.3f}] at alpha {alpha:.4f}, p = {p_value:.4f}, n = {n} on {split}, "
    "{unscored} unscored"
)


def comparison(answer: str, margin: float, unvalidated: str) -> str:
    """Say how a comparison ended."""
    unresolved = unvalidated.rstrip(".") or f"neither a loss nor non-inferiority by the margin ({margin:g}) is shown"
    return {
        "better": "B is better.",
        "no_worse": f"B is no worse by the margin of {margin:g}.",
        "worse": "B is worse.",
        "unresolved": f"Unresolved: {unresolved}.",
    }[answer]


# status, guide
NOTHING_OPEN: Final = "No step is open."
NEXT_STEP: Final = "Next: {title}. {action}"
STEP_COST: Final = "This takes {cost}."
NO_SOURCE: Final = "none; this is practice, not measured"
UNSOURCED_CELLS: Final = "* No source supports this cell. Reasons and sources: tuneworthy guide PROBLEM"

# models
NOT_DOWNLOADED: Final = "not downloaded: tuneworthy models pull {spec}"
NO_MODEL_FILE: Final = "models.{name} has no model file: {provider} answers for it."
PROBE_INSTEAD: Final = "There is nothing to download; see `tuneworthy models probe`."
DOWNLOADED: Final = "{spec}: {done:,.0f}{total} MB"
CONTEXT_ACCEPTED: Final = "{n} tokens were accepted"
REQUESTS_SENT: Final = "{n} requests were sent."
PROBE_COSTS: Final = "models.{name} costs money, and nobody can confirm that without a terminal."
ADD_YES: Final = "Add --yes."
CONFIRM_PROBE: Final = "models.{name} costs money. Send about 40 short requests?"

# data
ROWS_READ: Final = "{n} rows read, {n_kept} imported"
GATE_FAILED: Final = "gate failed: {gate}"
NOT_FROZEN: Final = "No version is frozen. Fix the rows or [data], or freeze with --unsafe, which the version records."
FROZEN: Final = "Version {version}: {n} rows{unsafe}"
UNSAFE: Final = ", unsafe"
CARD_ENDING: Final = "The card ends in .html or .md, not {name!r}."
FIX_OUT: Final = "Fix --out."
ADD_NEEDS_FILES: Final = "--add needs FILES: the questions of the latest import have been answered."
TEACHER: Final = "Teacher: {variant} on {model}, prompt {prompt}"
DISTILLED: Final = "{n_asked} questions, {n_answers} answers ({n_calls} calls now), {n_kept} kept, ${cost:.4f} in all"
TEACHER_SCORE: Final = (
    "First answers against known ones: {score:.3f} [{low:.3f}, {high:.3f}], n = {n}, {unscored} unscored"
)
DISTILLED_ROWS: Final = "{path}: {n} rows. Next: tuneworthy data build"
REJECTS: Final = "{path}: {n} dropped rows, with reasons"
NOT_IN_FORMAT: Final = "  dropped: {n} rows with {reason}"
SOURCE_READ: Final = "{name} ({format}): {n} rows read, {n_kept} kept"


def dropped_rows(reason: str, n: int, explanation: str, first: str) -> str:
    """Say how many rows were dropped for a reason, and where the first is."""
    return f"  dropped: {n} {reason} ({explanation}; first at {first})"


def imported(path: object, n: int, n_repaired: int) -> str:
    """Say how many examples an import has."""
    repaired = f", {n_repaired} of them with a correction as the answer" if n_repaired else ""
    return f"{path}: {n} examples{repaired}"


# plan, train
NOT_A_SIZE: Final = "{value} is not a size such as 24GiB."
NOT_EMITTED: Final = "No file is written: the run does not fit into memory."
EMIT_TO_FOLDER: Final = "With --out it is written to a folder, with {rows} beside it."
EMITTED: Final = "Written to {folder}: {files}"
RUN_EMITTED: Final = "Run it there with: {command}"
ROWS_TO_TRAIN: Final = "{n} rows, {n_tokens} tokens, {n_supervised} of them supervised"
ROWS_DROPPED: Final = "dropped: {n} rows ({reason})"
PILOT_OR_LR_CHECK: Final = "Give either --pilot or --lr-check."
CHECK_RATE_FIRST: Final = "Check the rate first, then set it."
MISSING_LIBRARIES: Final = "Training needs libraries that are not installed: {names}."
INSTALL_TRAIN: Final = "Run `pip install 'tuneworthy[train]'`."
PILOT_DONE: Final = "{path}: `tuneworthy decide` forecasts the gain of all {n} rows"
PILOT_BASELINE: Final = "baseline {score:.3f} on {n} dev cases"
PILOT_POINT: Final = "  {size} {data} rows, seed {seed}, {steps} steps: {score:.3f}"
TRAINED: Final = "{n_steps} steps in {seconds:.0f} s, loss {first:.3f} to {last:.3f}, peak memory {memory:.0f} MiB"
HELD_OUT_SCORE: Final = "task metric {score:.3f} on {n} held-out rows at step {step}"
STOPPED_EARLY: Final = ", stopped early"
FIRST_ROWS: Final = "The first rows as the model sees them. {mark} marks what it learns to write:"
ROWS_RENDERED: Final = "{n} rows, {n_tokens} tokens, {share:.1f}% supervised; the longest has {longest}"
TRAINED_BEFORE: Final = "This run had finished before; nothing was trained again."
NOT_GATED: Final = "The data did not pass its gates; `tuneworthy decide` will show that."

# merge, export, parity, serve
MERGED_OR_BASE: Final = "Give either --merged or --base."
EXPORT_SEPARATELY: Final = "Export one, then the other."
NO_FOLDER: Final = "There is no folder {folder}."
MERGED: Final = "merged {id} ({dtype}, into the {base} base)\n{folder}"
PARITY_PASSED: Final = "parity: pass ({n} prompts)"
ONLY_THE_BASE: Final = "There is only the base to compare the adapter {adapter} with."
MERGE_AND_EXPORT: Final = "Run `tuneworthy merge`, then `tuneworthy export gguf`."
NOT_A_FACT: Final = "--fact takes QUESTION=ANSWER, not {text!r}."
NO_SERVED_MODEL: Final = "--url needs --served-model."
NAME_SERVED_MODEL: Final = "Give the model's name on that server."
CHECK_NEEDS_VLLM: Final = "--check needs --engine vllm."
PARITY_CHECKS_GGUF: Final = "`tuneworthy parity` checks the GGUF file in the same llama.cpp."
SERVE_BY_HAND: Final = "By hand: {command}"
SERVING: Final = "Serving {kind} {id} at {address}/v1 as {name}; Ctrl-C stops it."
SERVING_KEY: Final = "Key (for this run only): {key}"
SERVING_STOPPED: Final = "Stopped."
ENGINE_ENDED: Final = "{engine} has ended."
SEE_LOG: Final = "See {path}."

# decode
ONE_DISTRIBUTION: Final = "Give exactly one of --probs, --logits, --case and --prompt."
TRY_PROBS: Final = "Try --probs 85,5,3."
NOT_NUMBERS_FILE: Final = "{path} is not a JSON list of numbers, or an object of token to number: {error}."
NOT_NUMBERS: Final = "{option} takes numbers such as 85,5,3, not {text!r}."
NO_STORED_CASE: Final = "{n} cases of the last `decode uncertainty` match {case!r}."
RUN_UNCERTAINTY: Final = "Run `tuneworthy decode uncertainty`, which lists them."
NO_STORED_TOKEN: Final = "Token {place} has no stored alternatives; --at goes from 0 to {last}."
NO_ANSWER: Final = "{model} did not answer: {reason}."
NO_LOGPROBS: Final = "{model} gives no log-probabilities."
RUN_PROBE: Final = "`tuneworthy models probe` shows what it supports."
PICTURE_ENDING: Final = "A picture ends in .svg or .html, not {path}."
PAGE_ENDING: Final = "A page ends in .html, not {path}."
WRITTEN: Final = "{path}: written"
ONE_SAMPLE: Final = "--samples is 0, or at least 2, which can disagree."
POSITIVE_THRESHOLD: Final = "--threshold is {threshold:g}, and log-probabilities are 0 or less."
ANSWERS_GRADED: Final = "{variant}: {n} answers, {unscored} not graded."
SWEPT: Final = "{name} on {model}: {n} settings tried ({stopped})."
NOTHING_BETTER: Final = "No setting was better than today's on the half of dev that was searched."
SWEEP_WINNER: Final = (
    "{setting}: {outcome}. On {n} cases outside the search: {delta:+.3f} [{low:+.3f}, {high:+.3f}], "
    "p = {p_value:.4f}, against an objective of {objective:.3f}."
)
SWEEP_PARTS: Final = "  {name}: score {score:.3f}, repeats agree {consistency:.3f}, valid {validity:.3f}"
FLIPS: Final = (
    "At temperature 0, {rate:.1%} of {n} cases change over {repeats} answers: {share:.1%} of the variance of a score"
)
FLIPS_UNKNOWN: Final = "How often answers change at temperature 0 is unknown: the model takes no such temperature."
SWEEP_COST: Final = "{n} of {budget} calls, ${cost:.4f}."


def failed_answers(n: int) -> str:
    """Say how many answers failed, in brackets; "" if none did."""
    return f" ({n} failed answers ignored)" if n else ""


def engines_differ(a: str, b: str, share: float) -> str:
    """Say how far the draws of two engines differ."""
    return f"{a} and {b}: {share:.1%} of the draws differ" if share > 1e-9 else f"{a} and {b}: the same"


# progress
def progress(label: str, n: int, total: int, rate: float | None, cost: str, left_s: float | None) -> str:
    """Say how many answers there are, how fast they come and how long the rest takes."""
    parts = [f"{label}: {n} of {total}"]
    parts += [f"{rate:.1f}/s"] if rate else []
    parts += [cost] if cost else []
    parts += [f"{left_s:.0f} s left"] if left_s is not None else []
    return ", ".join(parts)
