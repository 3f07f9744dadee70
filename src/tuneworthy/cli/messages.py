"""Sentences that the command line prints."""

import errno
from collections.abc import Mapping
from typing import Any

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        # trust
        "trust_allowed": "You allow the project in {root} to:",
        "trust_missing": "You have not allowed the project in {root} to:",
        "trust_nothing": "The project in {root} does nothing that needs your permission.",
        "trust_variable": (
            "{variable} is set in your environment, so projects in the folders that it lists stay trusted. Unset it to "
            "revoke that too."
        ),
        "trust_asks": "The project in {root} wants to do the following as your user (new items are marked with +):",
        "trust_question": "Trust this project and allow all of this?",
        # how a command ended
        "error": "error{code}: {error}",
        "see_help": "Run `{command} --help` for the options.",
        "argument_not_utf8": "The argument {argument!r} is not valid UTF-8.",
        "rename_argument": "Rename the file or folder that it names.",
        "bad_usage": "{problem}",
        "no_such_option": "Unknown option: {name!r}.",
        "missing_parameter": "{problem}",
        "bad_parameter": "{problem}",
        "stopped": "Stopped. Finished calls are cached. Run the same command again to resume.",
        "bug": "error: This is a bug in tuneworthy. Please report it and attach {path}, which contains the traceback.",
        "system_refused": "{path}: {reason}",
        "system": "The operating system",
        # options that several commands share
        "cannot_write": "Cannot write {path}: {reason}.",
        "choose_path": "Choose a different path.",
        "no_user_name": "The system does not provide your user name.",
        "give_user_name": "Set a name with {option}.",
        "not_dollars": "{value} is not an amount in US dollars.",
        # shadow
        "no_replay": "No traffic has been replayed yet.",
        "replay_first": "Run `tuneworthy shadow replay FILES`.",
        "proxy_at": "{address} forwards requests to {upstream} and copies {share:.0%} of the sessions. Ctrl-C ends it.",
        "no_canary": "{why} Production answers everything. {hint}",
        "see_pairs": "To read the {n} {n:pair|pairs} that {how}: tuneworthy shadow report --out shadow.html",
        "shadow_labels": "{n} {n:answer still needs|answers still need} a label. Next: tuneworthy shadow label",
        "shadow_labelled": "All {n} are labelled. Next: {command}",
        "shadow_next": "Next: tuneworthy shadow label",
        # cases
        "file_exists": "{path} already exists.",
        "choose_out": "Choose a different file with --out, or move the existing file.",
        "sampled": (
            "{path}: {n} {n:case|cases} from {n_read} {n_read:question|questions}, stratified by {key} ({n_strata} "
            "{n_strata:stratum|strata}). Left out: {n_cases} already in the project's cases, {n_exact} "
            "{n_exact:duplicate|duplicates}, {n_near} {n_near:near-duplicate|near-duplicates}. "
            "{action}"
        ),
        "label_next": "Next: tuneworthy cases label",
        "apply_next": "Next: tuneworthy cases label --apply",
        "fill_in_next": (
            "Next: add the expected answers to this file. Then use it with `tuneworthy cases add` or `tuneworthy init "
            "--data`."
        ),
        "add_repeated": "Refused {n} {n:case that repeats|cases that repeat} a question of the project: {ids}.",
        "add_overlapping": (
            "Refused {n} {n:case that rewords a dev case or overlaps|cases that reword a dev case or overlap} an "
            "example: {ids}."
        ),
        "judge_alone": (
            "--judge cannot be combined with --apply or --all, because ratings of answers are not labels of cases."
        ),
        "labels_written": "Wrote labels to {path} (new: {n}, already present: {n_same}).",
        "labellers_differ": (
            "  skipped {case}: its labellers disagree ({labels}). Edit the file to resolve the conflict."
        ),
        "label_conflicts": (
            "  skipped cases that already have a different label: {n} ({cases}). Use --overwrite to replace these "
            "labels."
        ),
        "correct_example": "Correct this example: {question} The answer is {label!r}.",
        "labels_without_case": "  skipped labels whose cases are not in the file: {n}",
        "case_or_failed": "Pass either the ID of a case or --failed.",
        "no_answer_stored": (
            "No answer to this case is stored. The run may drop a variant that falls behind before it reaches this "
            "case."
        ),
        "failed_cases": "{name}: {n_failed} of {n} {split} cases failed according to the grader `{grader}`.",
        "failed_case": "  {case}  {reason}: expected {expected!r}, got {text!r}",
        # labelling on a terminal
        "verdict_greeting": (
            "Type g (good) or b (bad). {undo} takes your last rating back, {skip} skips a case for now, and {quit} "
            "stops. Every rating is saved."
        ),
        "all_labelled": "All {n} cases in {path} are already labelled.",
        "label_again": (
            "Use --all to label them a second time without seeing the first labels. The agreement shows how reliable "
            "the labels are."
        ),
        "label_menu": "Labels (type the number or the label):",
        "many_labels": "There are {n} labels. Type a label. To add a new label, type + before it.",
        "answers_to_judge": (
            "{n} {n:answer|answers} to at most {n_cases} test cases, in random order. The variant of each answer is "
            "hidden."
        ),
        "rubric": "What makes an answer good:\n{rubric}",
        "declining_is_right": "(a refusal is expected)",
        "not_a_verdict": "Type g (good) or b (bad), not {line!r}.",
        "not_a_label": "{label!r} is not one of the {n} known {n:label|labels}.",
        "type_number": "Type the number of a label.",
        "add_label": "To add {label!r} as a new label, type +{label}.",
        "not_json": "{line!r} is not valid JSON ({error}). Type the whole value on one line.",
        # reviewing on a terminal
        "review_greeting": (
            "Type g if the row is good to train on as it is. Otherwise, or if unsure, type b and the reason. {undo} "
            "shows again the row that you last rated good, {skip} skips a row for now, and {quit} stops. Every rating "
            "is saved."
        ),
        "bad_stays": "Only the last row can be shown again, and only if you rated it good: bad ratings stay.",
        "review_plan": (
            "Version {version}, attempt {attempt}: rate {n} of the {n_new} rows that nobody has reviewed. At most "
            "{max_bad} may be bad. The plan dates from {time} and uses seed {seed}."
        ),
        "rejected_sample": "Version {version}: {n} of {n_rows} dropped rows, sampled with seed {seed}.",
        "not_in_sample": "No review sample of version {version} contains the row {row!r}. Check the row ID.",
        "several_rows": "The IDs of several rows begin with {row!r}: {rows}. Type more of the ID.",
        # deciding about findings
        "findings_greeting": (
            "Type k to keep the row as it is, d to drop it, or e and the right answer. {undo} takes the last decision "
            "back, {skip} skips a row for now, and {quit} stops. Every decision is saved."
        ),
        "finding_line": "finding: {text}",
        "rival_line": "another row has the same question with the answer: {answer}",
        "suggestion_line": "suggested label: {label} (type a to accept it)",
        "not_a_decision": "Type a, k, d, or e and the right answer, not {line!r}.",
        "nothing_suggested": "No label is suggested for this row. Type k, d, or e and the right answer.",
        "no_decision_to_undo": "This session has made no decision yet.",
        "no_findings": "No row of version {version} needs a decision.",
        "corrections_saved": (
            "{n} of {n_waiting} rows decided. All decisions are in {path}. Next: tuneworthy data build"
        ),
        "too_fast": (
            "This row cannot be read in {seconds:.1f} seconds, so the rating was not saved. Read the row, then rate it "
            "again."
        ),
        "row_finding": "A check reported on that row: {check}/{reason}: {detail}",
        "bad_needs_reason": "Type b, followed by the reason why the row is bad.",
        "not_a_row_verdict": "Type g, or b and a reason, not {line!r}.",
        "review_plans": (
            "Review plans that demonstrate at least {bound:.4g}% good rows. Each column gives the probability that a "
            "version with this share of bad rows passes:"
        ),
        "plan_headings": "  --max-bad   rows   ",
        "no_review_plan": "  No plan is possible: too many rows are known to be bad, or all rows have been reviewed.",
        "review_state": "Review of version {version}: {status}. {words}.",
        "bad_row": "  bad: {row} ({reviewer}): {reason}",
        "good_by_reason": "  {reason}: {n_good} of {n} are good",
        # train --on
        "needs_vendor": "--base, --usd-per-mtok, --personal-data, --max-usd, --yes and --cancel need --on.",
        "not_at_vendor": "--pilot and --lr-check train on this machine, not with --on.",
        "resumes_job": "A job at {vendor} that trains {base} has not ended: resuming it. To end it, pass --cancel.",
        "job_offer": (
            "{vendor} trains {base} on {n_rows} rows, {epochs} {epochs:epoch|epochs}.\n"
            "Cost: at most ${usd:.2f} (every byte a token, ${usd_per_mtok:g} per million); about ${guess:.2f} if a "
            "token is four bytes, as in English text.\n"
            "Source of the price: {price}. The price table dates from {date}; check the vendor's page."
        ),
        "last_start": "{vendor} has announced that it will start no new jobs from {date}.",
        "hosted_may_not_serve": "constraints.on_device is set: the model can be measured and can teach, but not serve.",
        "job_over_budget": "The job costs up to ${usd:.2f}, but ${left:.2f} of the budget is left.",
        "job_over_budget_hint": "Raise --max-usd or ladder.budget_usd, train fewer epochs, or drop rows.",
        "job_goes_on": (
            "The job {job} is still running at {vendor} and is billed. To resume, run `tuneworthy train --on "
            "{name}`. To end it, "
            "run `tuneworthy train --on {name} --cancel`."
        ),
        "no_open_job": "No job of this project is running at {vendor}.",
        "hosted_done": "{vendor} trained {model} for about ${usd:.2f}.",
        "hosted_deploy": "{vendor} answers with it once you deploy it, which is billed by time: {link}",
        "hosted_sections": (
            "Add these sections to tuneworthy.toml:\n\n"
            '[models.tuned]\nprovider = "openai"\nmodel = {model}\nbase_url = "{address}"\napi_key_env = "{key}"\n'
            '{prices}\n[serve]\nmodel = "tuned"\n'
        ),
        "hosted_prices": "# also input_usd_per_mtok and output_usd_per_mtok: the price of its answers\n",
        "hosted_next": "Next: tuneworthy run --rung fine_tune",
        # money
        "no_budget": "No budget is set, but these services are billed: {names}.",
        "set_budget": "Set ladder.budget_usd, or pass --max-usd or --yes.",
        "released": "Returned ${usd:.4f} to the budget: it was reserved for calls without an answer (n = {n}).",
        "spent": (
            "Spent: ${answered:.4f} for answered calls and ${unanswered:.4f} for calls without an answer (n = {n}). "
            "Reserved for calls in flight: ${reserved:.4f}."
        ),
        "money_left": "${left:.4f} of the budget of ${limit:.2f} is left.",
        "no_limit": "The project file sets no budget.",
        # run
        "baseline_failed": "The baseline cannot be scored: {reason}.",
        "fix_and_run": (
            "Fix the cause, then run `tuneworthy run` again. Finished calls are cached and never paid for twice."
        ),
        "rung_waits": "waiting",
        "rung_runs": "running",
        "rung_done": "{rung} ({status}{score}): {reason}",
        "fetching": "Downloading the model {name} ({spec}).",
        "quick_run": "This was a quick run on dev, without a verdict. Next: tuneworthy run",
        "partial_run": "The run is incomplete: {reason}.",
        "best": "Best: {name} with {score} (95% interval {bounds}).",
        "to_verdict": "Next: tuneworthy decide",
        "to_resume": "Next: tuneworthy run",
        # init, demo, report
        "project_made": (
            "Created {folder} with {n_cases} cases and {n_examples} examples. Next:\n  tuneworthy check --project "
            "{folder}\n  tuneworthy run --project {folder}"
        ),
        "demo_exists": "{folder} already exists, so the demo continues with it.",
        "demo_trains": "To show every step, the demo now trains a small adapter, regardless of the verdict.",
        "step_took": "({seconds:.0f} s)",
        "report_at": "Report: {path}",
        # decide
        "valid_until": "Valid until {date}.\n",
        # compare
        "unknown_ending": "{path} must end in one of: {endings}.",
        # status, guide
        "nothing_open": "All steps are done.",
        "next_step": "Next: {title}: {action}",
        "step_cost": "Estimate: {cost}.",
        "no_source": "none; based on practice, not on a measurement",
        "unsourced_cells": "* This cell has no source. For reasons and sources, run `tuneworthy guide PROBLEM`.",
        # models
        "not_downloaded": "not downloaded; run `tuneworthy models pull {spec}`",
        "no_model_file": "models.{name} has no model file, because it uses the provider {provider}.",
        "probe_instead": "There is nothing to download. Use `tuneworthy models probe {name}` instead.",
        "downloaded": "{spec}: {done:,.0f}{total} MB",
        "context_accepted": "the model accepted {n} tokens",
        "requests_sent": "The probe sent {n} requests.",
        "probe_costs": "models.{name} is billed, and confirming the cost needs a terminal.",
        "add_yes": "Add --yes to skip the confirmation.",
        "confirm_probe": "models.{name} is billed. Send about 40 short requests{longer}?",
        "longer_prompts": ", and up to 20 with increasingly long prompts",
        # data
        "rows_read": "{n} rows read, {n_kept} imported",
        "effect_of_check": "  {check}: accuracy without its rows {effect}",
        "plan_counts": "`data review start` fixes a plan. A plan counts as an attempt, even if no row is rated.",
        "plan_fixed": "The plan is now fixed and counts as an attempt, even if you rate no row.",
        "to_build": "Next: tuneworthy data build",
        "to_review": "Next: tuneworthy data review start",
        "after_rejection": (
            "Next: tuneworthy data build. It drops the rows that were rated bad; correct or drop others like them "
            "first. Then run `tuneworthy data review start` for the new version."
        ),
        "gate_failed": "gate failed: {gate}",
        "not_frozen": (
            "No version was frozen. Fix the rows or [data], or use --unsafe to freeze anyway. The version records that "
            "it was frozen with --unsafe."
        ),
        "frozen": "Version {version}: {n} rows{unsafe}",
        "unsafe": ", frozen although a gate failed",
        "curve_rows": "rows",
        "curve_score": "built, 95% interval",
        "curve_difference": "built − {name}, 95% interval",
        "curve_all": "all",
        "curve_basis": (
            "Score: {metric} of the classical baseline ({baseline}) on {n} dev cases and held-out rows, never on "
            "test. The held-out rows passed the checks, so the recommended size may be too small. At least a third "
            "of the rows is held out and not trained on. Rows: {n_built} of version {version} and {n_dropped} that "
            "were dropped."
        ),
        "curve_dev": (
            "Differences use only the {n} dev cases. The held-out rows passed the checks, so they would favour the "
            "built rows."
        ),
        "curve_unmeasured": (
            "The effect of the checks and of other samples was not measured. It needs at least {least} dev cases "
            "with a known answer, and there are {n}."
        ),
        "curve_size": (
            "Recommended size: {size:,} rows. At this size and above, the score is within {margin:.1f} points of the "
            "score with {largest:,} rows (at 95% confidence)."
        ),
        "curve_size_all": (
            "Recommended size: all rows. No size below {largest:,} is shown to be within {margin:.1f} points of its "
            "score (at 95% confidence)."
        ),
        "curve_open": (
            "This test is too small to rule out that {least:,} rows are enough. Add dev cases for a sharper answer."
        ),
        "curve_undecided": (
            "No size can be recommended: {largest:,} rows do not score measurably better than {least:,}. Either "
            "{least:,} rows are enough, or this baseline cannot learn the task. Check the labels, then add rows and "
            "run `tuneworthy data build`."
        ),
        "curve_more": "More rows like these are likely to help: the last doubling gained {gain} points.",
        "curve_flat": (
            "More rows like these are unlikely to help: the last doubling gained {gain} points, less than the margin "
            "of {margin:.1f}."
        ),
        "curve_unclear": (
            "It is unclear whether more rows like these would help: the last doubling gained {gain} points."
        ),
        "card_ending": "{name!r} must end in .html or .md.",
        "fix_out": "Fix the path in --out.",
        "add_needs_files": "--add needs FILES, because the questions of the latest import already have answers.",
        "teacher": "Teacher: {variant} on {model}, prompt {prompt}",
        "distilled": (
            "{n_asked} questions, {n_answers} answers ({n_calls} new calls), {n_kept} kept, ${cost:.4f} in total"
        ),
        "teacher_score": (
            "Score of the teacher's first answers against known answers: {score:.1%} [{low:.1%}, {high:.1%}], n = {n}, "
            "{unscored} unscored"
        ),
        "distilled_rows": "{path}: {n} rows. Next: tuneworthy data build",
        "rejects": "{path}: {n} dropped {n:row, with its|rows, each with its} reason",
        "not_in_format": "  dropped: {n} {n:row|rows} ({reason})",
        "turn": "    {role}: {text}",
        "calls": "[calls {names}]",
        # plan, train
        "n_findings": "Findings: {n}.",
        "not_a_size": "{value} is not a valid size. Use a form such as 24GiB.",
        "not_emitted": "No file was written, because training does not fit into memory.",
        "emit_to_folder": "Use --out to write this file to a folder, together with {rows}.",
        "emitted": "Wrote these files to {folder}: {files}",
        "run_emitted": "To start training, run this in that folder: {command}",
        "rows_to_train": "{n} rows, {n_tokens} tokens, {n_supervised} of them supervised",
        "rows_dropped": "dropped: {n} {n:row|rows} ({reason})",
        "pilot_or_lr_check": "Use either --pilot or --lr-check.",
        "check_rate_first": "Check the learning rate first, set it, and then run the pilot.",
        "missing_libraries": "Training needs libraries that are not installed: {names}.",
        "install_train": 'Run `pip install "tuneworthy[train]"`.',
        "pilot_done": "Wrote {path}. Run `tuneworthy decide` to forecast the gain from all {n} rows.",
        "pilot_baseline": "baseline: {score:.1%} on {n} dev cases",
        "pilot_point": "  {size} {data} rows, seed {seed}, {steps} steps: {score:.1%}",
        "trained": (
            "{n_steps} steps in {seconds:.0f} s, loss from {first:.3f} to {last:.3f}, peak memory {memory:.0f} MiB"
        ),
        "held_out_score": "score of {score:.1%} on {n} held-out rows at step {step}",
        "stopped_early": ", stopped early",
        "first_rows": "The first rows as the model sees them. {mark} marks the supervised tokens:",
        "rows_rendered": "{n} rows, {n_tokens} tokens, {share:.1f}% supervised; the longest row has {longest} tokens",
        "trained_before": "This training run had already finished, so it was not repeated.",
        "not_gated": "The training rows have not passed the data gates. `tuneworthy decide` takes this into account.",
        # merge, export, parity, serve
        "merged_or_base": "Use either --merged or --base.",
        "export_separately": "Export the two models one after the other.",
        "no_folder": "The folder {folder} does not exist.",
        "merged": "Merged model: {id} ({dtype}, {base} base weights)\n{folder}",
        "parity_passed": "parity: pass ({n} prompts)",
        "parity_failed": "parity: fail (first failed check: {name}; cause: `{cause}`)",
        "parity_unknown": "parity: unknown. {detail}",
        "only_the_base": "There is no merged or exported model to compare with the adapter {adapter}.",
        "merge_and_export": "Run `tuneworthy merge`, then `tuneworthy export gguf`.",
        "not_a_fact": "--fact needs the form QUESTION=ANSWER, not {text!r}.",
        "no_served_model": "--url needs --served-model.",
        "name_served_model": "Set --served-model to the model's name on that server.",
        "check_needs_vllm": "--check needs --engine vllm.",
        "parity_checks_gguf": (
            "For the GGUF file, run `tuneworthy parity`, which uses the llama.cpp that serves the file."
        ),
        "serve_by_hand": "To start the server without tuneworthy, run: {command}",
        "serving": "Serving the {kind} {id} at {address}/v1 as {name}. Press Ctrl-C to stop.",
        "serving_key": "API key, valid until the server stops: {key}",
        "serving_stopped": "Stopped.",
        "engine_ended": "{engine} stopped unexpectedly.",
        "see_log": "See the log in {path}.",
        "classifier_planned": (
            "{base}: BERT encoder, {millions:.1f}M parameters, all of them trained with a head for {labels} labels\n"
            "{n} rows, {n_tokens} word pieces. Weights, gradients and optimiser take {gib:.2f} GiB in float32."
        ),
        "no_classifier_script": "`plan` writes no script for a classifier.",
        "train_here": "Run `tuneworthy train`.",
        "classifier_exported": (
            "{name}, {size_mb:.1f} MB. Its answers match the run on all {n_test:,} test cases and {n_dev:,} dev "
            "cases. Median latency: {p50_ms:.1f} ms."
        ),
        "router_exported": (
            "The router asks {large} where the classifier's probability is below {threshold:.2f}: {sent:.1%} of the "
            "{n:,} test cases. Its answers to them are those of the run: {score:.1%}, at ${usd:,.2f} per 1,000 answers "
            "against ${large_usd:,.2f}."
        ),
        "mirror_exported": (
            "Run `litellm --config litellm_config.yaml` in {folder} and send the chats for {production} to it. LiteLLM "
            "mirrors them to {candidate} and logs both answers.\n"
            "Next: tuneworthy shadow replay {log} --candidate {again}"
        ),
        "serving_classifier": (
            "Serving the classical baseline {name} at {address}/predict and {address}/v1. Press Ctrl-C to stop."
        ),
        # decode
        "one_distribution": "Use exactly one of --probs, --logits, --case and --prompt.",
        "try_probs": "Try --probs 85,5,3.",
        "not_numbers_file": (
            "{path} must contain a JSON list of numbers or an object that maps tokens to numbers: {error}."
        ),
        "not_numbers": "{option} needs numbers such as 85,5,3, not {text!r}.",
        "no_stored_case": "{case!r} matches {n} cases of the last `decode uncertainty` run; it must match exactly one.",
        "run_uncertainty": "Run `tuneworthy decode uncertainty` to see the list of cases.",
        "no_stored_token": "Token {place} has no stored alternatives. --at accepts values from 0 to {last}.",
        "no_answer": "{model} did not answer: {reason}.",
        "no_logprobs": "{model} returns no log-probabilities.",
        "run_probe": "Run `tuneworthy models probe MODEL` to see what the model supports.",
        "picture_ending": "{path} must end in .svg or .html.",
        "page_ending": "{path} must end in .html.",
        "written": "Wrote {path}.",
        "one_sample": "--samples must be 0 or at least 2, because a single sample cannot show disagreement.",
        "positive_threshold": (
            "--threshold is {threshold:g}, but log-probabilities are never above 0. Use a negative number."
        ),
        "answers_graded": "{variant}: {n} answers, {unscored} unscored.",
        "swept": "{name} on {model}: {n} settings tried ({stopped}).",
        "nothing_better": "On the search half of dev, no setting was better than today's setting.",
        "sweep_winner": (
            "{setting}: {outcome}. On {n} cases outside the search, the objective changes by {delta:+.3f} [{low:+.3f}, "
            "{high:+.3f}], one-sided {p}. Today's objective is {objective:.3f}."
        ),
        "sweep_parts": "  {name}: score {score:.3f}, consistency {consistency:.3f}, validity {validity:.3f}",
        "flips": (
            "At temperature 0, the answer to {rate:.1%} of {n} cases changes over {repeats} repeats. This variation "
            "accounts for {share:.1%} of the score variance"
        ),
        "flips_unknown": (
            "The model does not accept temperature 0, so the variation of answers at temperature 0 is unknown."
        ),
        "sweep_cost": "{n} of {budget} calls used, ${cost:.4f}.",
        "no_suspects": "No stored error analysis marks an expected answer as probably wrong.",
        "suspects_settled": "These {n} labels settle the question. Run `tuneworthy decide` to use them.",
        "probe_first": "Run `tuneworthy decide --probe` to look for such answers.",
        "sends_on": "asks the large model for {share:.1%} of the test cases",
        "failures": "Failures on dev: {share}.",
        "failures_before": "Failures on dev without fine-tuning: {share}.",
        "next": "Next: {action}",
        "chance": "The chance of settling this question is then about {chance:.0%}.",
        "needs": "needs {what}",
        "by_server": "server",
        "recommended": "* recommended",
        "for_now": "* recommended for now",
        "target_rule": (
            "met: the score reaches {target:.1%}, and its one-sided lower limit is above {floor:.1%}, the target minus "
            "the margin. The 95% interval may begin below the target."
        ),
    },
).say

_FREE_SPACE = "Free some space, then run the same command again. Finished calls are never paid for twice."
_RAISE_LIMIT = "Allow more open files, for example with `ulimit -n 1024`, then run the same command again."
_GET_RIGHTS = "Get read and write permission for this path, or copy the project to a folder of your own."
_CHECK_PATH = "Check this path, then run the same command again."
# What to do about an error of the operating system; any other one is a bug.
SYSTEM_HINTS = {
    errno.EPIPE: "",
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EFBIG: _FREE_SPACE,
    errno.EIO: _CHECK_PATH,
    errno.EMFILE: _RAISE_LIMIT,
    errno.ENFILE: _RAISE_LIMIT,
    errno.EROFS: _GET_RIGHTS,
    errno.EACCES: _GET_RIGHTS,
    errno.EPERM: _GET_RIGHTS,
    errno.ENOENT: _CHECK_PATH,
    errno.EEXIST: _CHECK_PATH,
    errno.ENOTDIR: _CHECK_PATH,
    errno.EISDIR: _CHECK_PATH,
    errno.ELOOP: _CHECK_PATH,
    errno.ENAMETOOLONG: _CHECK_PATH,
}


# check
def check_summary(n_errors: int, n_warnings: int) -> str:
    """Say how many errors and warnings there are, and what comes next."""
    warnings = f"{n_warnings} warning" + "s" * (n_warnings != 1)
    if n_errors:
        return f"{n_errors} error{'s' * (n_errors != 1)}, {warnings}. Fix the errors before you run."
    return f"No errors, {warnings}. Next: tuneworthy run"


def cases_added(n: int, n_test: int | None, grouped: int) -> str:
    """Say how many cases were added, and what to do."""
    added = f"{n} case" + "s" * (n != 1)
    if n_test is None:
        return f"{added} added. The first run draws the test set. Next: tuneworthy check"
    if not n:
        return f"No case was added. The test set has {n_test} cases."
    reword = "rewords a test case and is" if grouped == 1 else "reword a test case and are"
    near = f" {grouped} of them {reword} grouped with it." if grouped else ""
    return f"{added} added. The test set has {n_test} cases.{near} Next: tuneworthy run"


def reviewer_agreement(
    n_agree: int, n: int, share: float, ci95: tuple[float, float], kappa: float | None, pabak: float | None
) -> str:
    """Say how far reviewers agree."""
    shown, adjusted = ("not defined" if figure is None else f"{figure:.2f}" for figure in (kappa, pabak))
    return (
        f"The reviewers agree on {n_agree} of {n} rows: {share:.1%} [{ci95[0]:.1%}, {ci95[1]:.1%}], kappa {shown}, "
        f"prevalence-adjusted kappa {adjusted}."
    )


def spend(names: str, limit_usd: float | None) -> str:
    """Ask whether billed models may be called."""
    limit = f"and spend at most ${limit_usd:.2f}" if limit_usd is not None else "without a limit"
    return f"These services are billed: {names}. Continue {limit}?"


def cancelled(state: str) -> str:
    """Say how a job at a vendor ended."""
    return f"The vendor reports the job as: {state}." if state else "The vendor has no such job: none was started."


def dropped_rows(n: int, explanation: str, first: str) -> str:
    """Say how many rows were dropped and why, and where the first is."""
    return f"  dropped: {n} row{'s' * (n != 1)} ({explanation}; first in {first})"


def source_read(name: str, source: Mapping[str, Any]) -> str:
    """Say what a file is, how much it holds, and how much of it is imported."""
    what = source.get("title") or source["format"]
    if source.get("companion"):
        return f"{name}: {what}, used for the rows of the other files"
    n, unit = source["n_kept"] + source["n_rejected"], source.get("unit", "row")
    rated = source.get("n_rated", 0)
    return f"{name}: {what}, {n:,} {unit}{'s' * (n != 1)}, {rated:,} with feedback, {source['n_kept']:,} imported"


def imported(path: object, n: int, n_repaired: int) -> str:
    """Say how many examples an import has."""
    repaired = f", {n_repaired} of them with a corrected answer" if n_repaired else ""
    return f"{path}: {n} example{'s' * (n != 1)}{repaired}"


def failed_answers(n: int) -> str:
    """Say how many answers failed, in brackets; "" if none did."""
    return f" ({n} failed call{'s' * (n != 1)} excluded)" if n else ""


def engines_differ(a: str, b: str, share: float) -> str:
    """Say how far the distributions of two engines differ."""
    return f"{a} and {b}: total variation distance {share:.1%}" if share > 1e-9 else f"{a} and {b}: identical"


# progress
def duration(seconds: float) -> str:
    """Return a rough time."""
    if seconds < 90:
        return f"{max(1, round(seconds, -1 if seconds > 20 else 0)):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def dollars(usd: float) -> str:
    """Return an amount of money, a small one to a hundredth of a cent."""
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}"


def run_progress(label: str, rate: float | None, n: int, total: int, usd: float, left_s: float) -> str:
    """Say what runs now, and how many calls the whole run has made, what they cost and how long the rest takes."""
    parts = [f"Calls: {n:,} of about {total:,}"]
    parts += [dollars(usd)] if usd else []
    parts += [f"about {duration(left_s)} left"] if left_s else []
    now = f" Now: {label}{f', {rate:.1f} calls/s' if rate else ''}." if label else ""
    return f"{', '.join(parts)}.{now}"


def progress(label: str, n: int, total: int, rate: float | None, cost: str, left_s: float | None) -> str:
    """Say how many answers there are, how fast they come and how long the rest takes."""
    parts = [f"{label}: {n} of {total}"]
    parts += [f"{rate:.1f}/s"] if rate else []
    parts += [cost] if cost else []
    parts += [f"{left_s:.0f} s left"] if left_s is not None else []
    return ", ".join(parts)
