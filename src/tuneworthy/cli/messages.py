"""Sentences that the command line prints."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # how a command ended
        "error": "Error: {error}",
        "stopped": "Stopped. Stored answers are safe: run the same command again to go on.",
        "bug": "Error: This is a bug in tuneworthy. The traceback is in {path}; please report it with that file.",
        # options that several commands share
        "cannot_write": "Cannot write {path}: {reason}.",
        "choose_path": "Choose another path.",
        "no_user_name": "The system does not know your user name.",
        "give_user_name": "Give a name with {option}.",
        "not_dollars": "{value} is not an amount in US dollars.",
        # cases
        "file_exists": "{path} already exists.",
        "choose_out": "Choose another file with --out, or move it away.",
        "sampled": (
            "{path}: {n} cases from {n_read} questions ({n_exact} repeated, {n_near} nearly repeated), stratified by {key} "
            "({n_strata} strata). Next: tuneworthy cases label"
        ),
        "judge_alone": "--judge cannot be used with --apply or --all: verdicts on answers are not labels of cases.",
        "labels_written": "{path}: {n} labels written, {n_same} already there.",
        "labellers_differ": "  skipped {case}: {labels}. Settle it in the file by hand.",
        "label_conflicts": "  skipped {n} cases with another answer ({cases}). Use --overwrite to replace it.",
        "labels_without_case": "  skipped {n} labels of cases that are not in the file.",
        "case_or_failed": "Give either the ID of a case or --failed.",
        "no_answer_stored": "No answer is stored: no variant has answered this case (a race may drop a variant early).",
        "failed_cases": "{name}: {n_failed} of {n} {split} cases failed by {grader}",
        "failed_case": "  {case}  {reason}: expected {expected!r}, got {text!r}",
        # labelling on a terminal
        "verdict_greeting": "Type g (good) or b (bad). {skip} puts a case off, {quit} stops; every verdict is saved.",
        "all_labelled": "All {n} cases of {path} already have an answer.",
        "label_again": "Use --all to label them again, blind: the agreement shows how far the answers can be trusted.",
        "label_menu": "Labels (type the number or the label):",
        "answers_to_judge": "{n} answers to the first {n_cases} test cases in a seeded order; the variant is not shown.",
        "rubric": "What makes an answer good:\n{rubric}",
        "declining_is_right": "(declining is right)",
        "not_a_verdict": "Type g (good) or b (bad), not {line!r}.",
        "not_a_label": "{label!r} is not one of the {n} labels.",
        "type_number": "Type its number.",
        "add_label": "To add a label, type +{label}.",
        "not_json": "{line!r} is not JSON on one line ({error}).",
        # reviewing on a terminal
        "review_greeting": (
            "Type g (good to train on as it is), or b and why it is bad (if you cannot tell, it is bad). {skip} puts a row off, "
            "{quit} stops; every verdict is saved."
        ),
        "review_plan": (
            "Version {version}, attempt {attempt}: {n} of {n_new} rows that nobody reviewed before, of which at most {max_bad} "
            "may be bad; seed {seed}. Fixed {time}."
        ),
        "rejected_sample": "Version {version}: {n} of {n_rows} dropped rows; seed {seed}.",
        "not_in_sample": "No sample of version {version} has a row {row!r}.",
        "bad_needs_reason": "Type b and why the row is bad.",
        "not_a_row_verdict": "Type g, or b and a reason, not {line!r}.",
        "review_plans": (
            "Plans that show at least {bound:.4g}% good rows, and how often a version with this share of bad rows passes:"
        ),
        "plan_headings": "  --max-bad   rows   ",
        "no_review_plan": "  No plan: too many rows are known to be bad, or all were reviewed before.",
        "review_state": "{version}: {status}: {words}.",
        "bad_row": "  bad: {row} ({reviewer}): {reason}",
        "good_by_reason": "  {reason}: {n_good} of {n} are good",
        # money
        "no_budget": "{names} cost money, and there is no budget.",
        "set_budget": "Set ladder.budget_usd, or give --max-usd or --yes.",
        "released": "{n} calls without an answer released: ${usd:.4f}.",
        "spent": "Spent: ${answered:.4f} answered, ${unanswered:.4f} never answered ({n} calls), ${reserved:.4f} reserved.",
        "money_left": "Left of the budget of ${limit:.2f}: ${left:.4f}.",
        "no_limit": "There is no budget in the project file.",
        # run
        "baseline_failed": "The baseline cannot be scored: {reason}.",
        "fix_and_run": "Fix that and run again: no stored answer is paid for twice.",
        "rung_done": "{rung}: {status}. {reason}",
        "fetching": "Downloading the model {name} ({spec}).",
        "quick_run": "Preview on dev: nothing is decided. Next: tuneworthy run",
        "partial_run": "Not the whole ladder: {reason}.",
        "best": "Best: {name} with {score:.3f} [{low:.3f}, {high:.3f}].",
        "write_report": "Next: tuneworthy report",
        # init, demo, report
        "project_made": (
            "Created {folder} with {n_cases} cases and {n_examples} examples. Next:\n"
            "  tuneworthy check --project {folder}\n"
            "  tuneworthy run --project {folder}"
        ),
        "demo_exists": "{folder} already exists; going on with it.",
        "demo_trains": "Training a small adapter now, whatever the verdict, to show every step.",
        "step_took": "({seconds:.0f} s)",
        "report_at": "Report: {path}",
        # decide
        "would_change": "This would change it: {changes}",
        "forecast": "Forecast: {gain:+.1f} points [{low:+.1f}, {high:+.1f}] at {n_examples:,} examples.",
        "valid_until": "Valid until {date}.\n",
        # compare
        "difference": (
            "B - A: {delta:+.3f} [{low:+.3f}, {high:+.3f}] at alpha {alpha:.4f}, p = {p_value:.4f}, n = {n} on {split}, "
            "{unscored} unscored"
        ),
        # status, guide
        "nothing_open": "No step is open.",
        "next_step": "Next: {title}. {action}",
        "step_cost": "This takes {cost}.",
        "no_source": "none; this is practice, not measured",
        "unsourced_cells": "* No source supports this cell. Reasons and sources: tuneworthy guide PROBLEM",
        # models
        "not_downloaded": "not downloaded: tuneworthy models pull {spec}",
        "no_model_file": "models.{name} has no model file: {provider} answers for it.",
        "probe_instead": "There is nothing to download; see `tuneworthy models probe`.",
        "downloaded": "{spec}: {done:,.0f}{total} MB",
        "context_accepted": "{n} tokens were accepted",
        "requests_sent": "{n} requests were sent.",
        "probe_costs": "models.{name} costs money, and nobody can confirm that without a terminal.",
        "add_yes": "Add --yes.",
        "confirm_probe": "models.{name} costs money. Send about 40 short requests?",
        # data
        "rows_read": "{n} rows read, {n_kept} imported",
        "gate_failed": "gate failed: {gate}",
        "not_frozen": "No version is frozen. Fix the rows or [data], or freeze with --unsafe, which the version records.",
        "frozen": "Version {version}: {n} rows{unsafe}",
        "unsafe": ", unsafe",
        "card_ending": "The card ends in .html or .md, not {name!r}.",
        "fix_out": "Fix --out.",
        "add_needs_files": "--add needs FILES: the questions of the latest import have been answered.",
        "teacher": "Teacher: {variant} on {model}, prompt {prompt}",
        "distilled": "{n_asked} questions, {n_answers} answers ({n_calls} calls now), {n_kept} kept, ${cost:.4f} in all",
        "teacher_score": (
            "First answers against known ones: {score:.3f} [{low:.3f}, {high:.3f}], n = {n}, {unscored} unscored"
        ),
        "distilled_rows": "{path}: {n} rows. Next: tuneworthy data build",
        "rejects": "{path}: {n} dropped rows, with reasons",
        "not_in_format": "  dropped: {n} rows with {reason}",
        "source_read": "{name} ({format}): {n} rows read, {n_kept} kept",
        # plan, train
        "not_a_size": "{value} is not a size such as 24GiB.",
        "not_emitted": "No file is written: the run does not fit into memory.",
        "emit_to_folder": "With --out it is written to a folder, with {rows} beside it.",
        "emitted": "Written to {folder}: {files}",
        "run_emitted": "Run it there with: {command}",
        "rows_to_train": "{n} rows, {n_tokens} tokens, {n_supervised} of them supervised",
        "rows_dropped": "dropped: {n} rows ({reason})",
        "pilot_or_lr_check": "Give either --pilot or --lr-check.",
        "check_rate_first": "Check the rate first, then set it.",
        "missing_libraries": "Training needs libraries that are not installed: {names}.",
        "install_train": "Run `pip install 'tuneworthy[train]'`.",
        "pilot_done": "{path}: `tuneworthy decide` forecasts the gain of all {n} rows",
        "pilot_baseline": "baseline {score:.3f} on {n} dev cases",
        "pilot_point": "  {size} {data} rows, seed {seed}, {steps} steps: {score:.3f}",
        "trained": "{n_steps} steps in {seconds:.0f} s, loss {first:.3f} to {last:.3f}, peak memory {memory:.0f} MiB",
        "held_out_score": "task metric {score:.3f} on {n} held-out rows at step {step}",
        "stopped_early": ", stopped early",
        "first_rows": "The first rows as the model sees them. {mark} marks what it learns to write:",
        "rows_rendered": "{n} rows, {n_tokens} tokens, {share:.1f}% supervised; the longest has {longest}",
        "trained_before": "This run had finished before; nothing was trained again.",
        "not_gated": "The data did not pass its gates; `tuneworthy decide` will show that.",
        # merge, export, parity, serve
        "merged_or_base": "Give either --merged or --base.",
        "export_separately": "Export one, then the other.",
        "no_folder": "There is no folder {folder}.",
        "merged": "merged {id} ({dtype}, into the {base} base)\n{folder}",
        "parity_passed": "parity: pass ({n} prompts)",
        "only_the_base": "There is only the base to compare the adapter {adapter} with.",
        "merge_and_export": "Run `tuneworthy merge`, then `tuneworthy export gguf`.",
        "not_a_fact": "--fact takes QUESTION=ANSWER, not {text!r}.",
        "no_served_model": "--url needs --served-model.",
        "name_served_model": "Give the model's name on that server.",
        "check_needs_vllm": "--check needs --engine vllm.",
        "parity_checks_gguf": "`tuneworthy parity` checks the GGUF file in the same llama.cpp.",
        "serve_by_hand": "By hand: {command}",
        "serving": "Serving {kind} {id} at {address}/v1 as {name}; Ctrl-C stops it.",
        "serving_key": "Key (for this run only): {key}",
        "serving_stopped": "Stopped.",
        "engine_ended": "{engine} has ended.",
        "see_log": "See {path}.",
        # decode
        "one_distribution": "Give exactly one of --probs, --logits, --case and --prompt.",
        "try_probs": "Try --probs 85,5,3.",
        "not_numbers_file": "{path} is not a JSON list of numbers, or an object of token to number: {error}.",
        "not_numbers": "{option} takes numbers such as 85,5,3, not {text!r}.",
        "no_stored_case": "{n} cases of the last `decode uncertainty` match {case!r}.",
        "run_uncertainty": "Run `tuneworthy decode uncertainty`, which lists them.",
        "no_stored_token": "Token {place} has no stored alternatives; --at goes from 0 to {last}.",
        "no_answer": "{model} did not answer: {reason}.",
        "no_logprobs": "{model} gives no log-probabilities.",
        "run_probe": "`tuneworthy models probe` shows what it supports.",
        "picture_ending": "A picture ends in .svg or .html, not {path}.",
        "page_ending": "A page ends in .html, not {path}.",
        "written": "{path}: written",
        "one_sample": "--samples is 0, or at least 2, which can disagree.",
        "positive_threshold": "--threshold is {threshold:g}, and log-probabilities are 0 or less.",
        "answers_graded": "{variant}: {n} answers, {unscored} not graded.",
        "swept": "{name} on {model}: {n} settings tried ({stopped}).",
        "nothing_better": "No setting was better than today's on the half of dev that was searched.",
        "sweep_winner": (
            "{setting}: {outcome}. On {n} cases outside the search: {delta:+.3f} [{low:+.3f}, {high:+.3f}], "
            "p = {p_value:.4f}, against an objective of {objective:.3f}."
        ),
        "sweep_parts": "  {name}: score {score:.3f}, repeats agree {consistency:.3f}, valid {validity:.3f}",
        "flips": (
            "At temperature 0, {rate:.1%} of {n} cases change over {repeats} answers: {share:.1%} of the variance of a score"
        ),
        "flips_unknown": "How often answers change at temperature 0 is unknown: the model takes no such temperature.",
        "sweep_cost": "{n} of {budget} calls, ${cost:.4f}.",
    }
).say


# check
def check_summary(n_errors: int, n_warnings: int) -> str:
    """Say how many errors and warnings there are, and what comes next."""
    warnings = f"{n_warnings} warning" + "s" * (n_warnings != 1)
    if n_errors:
        return f"{n_errors} error{'s' * (n_errors != 1)}, {warnings}. Fix the errors before you run."
    return f"No errors, {warnings}. Next: tuneworthy run"


def reviewer_agreement(n_agree: int, n: int, share: float, ci95: tuple[float, float], kappa: float | None) -> str:
    """Say how far reviewers agree."""
    shown = "not defined" if kappa is None else f"{kappa:.2f}"
    return f"The reviewers agree on {n_agree} of {n} rows: {share:.1%} [{ci95[0]:.1%}, {ci95[1]:.1%}], kappa {shown}."


def spend(names: str, limit_usd: float | None) -> str:
    """Ask whether models that cost money may be called."""
    limit = f"at most ${limit_usd:.2f}" if limit_usd is not None else "without a limit"
    return f"{names} cost money. Go on, {limit}?"


def comparison(answer: str, margin: float, unvalidated: str) -> str:
    """Say how a comparison ended."""
    unresolved = unvalidated.rstrip(".") or f"neither a loss nor non-inferiority by the margin ({margin:g}) is shown"
    return {
        "better": "B is better.",
        "no_worse": f"B is no worse by the margin of {margin:g}.",
        "worse": "B is worse.",
        "unresolved": f"Unresolved: {unresolved}.",
    }[answer]


def dropped_rows(reason: str, n: int, explanation: str, first: str) -> str:
    """Say how many rows were dropped for a reason, and where the first is."""
    return f"  dropped: {n} {reason} ({explanation}; first at {first})"


def imported(path: object, n: int, n_repaired: int) -> str:
    """Say how many examples an import has."""
    repaired = f", {n_repaired} of them with a correction as the answer" if n_repaired else ""
    return f"{path}: {n} examples{repaired}"


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
