"""Sentences of the verdict: gates, reasons, next steps, costs, the pilot, the checklist, errors in documents."""

from collections.abc import Mapping, Sequence
from typing import Final

from tuneworthy.catalogue import Catalogue
from tuneworthy.errors import join_sentences
from tuneworthy.verdict.base import ErrorClass, ErrorShare, GateResult, Option, Outcome, Verdict

say = Catalogue(
    __name__,
    {
        "score": "{score:.1%} ({bounds}{n} test cases)",
        "bounds": "95% interval [{lower:.1%}, {upper:.1%}], ",
        "no_score": "no score",
        "planned_method": "Method: {method}. {why} {step} [{source}]",
        "no_verdict": "No verdict names a method of training yet.",
        "run_decide": "Run `tuneworthy decide`.",
        "no_method": "The last verdict does not advise training, so it names no method.",
        "old_verdict": "The verdict is out of date ({changed}). Run `tuneworthy decide`.",
        "full_offer": (
            "Full fine-tuning is an option, because {method} scores {score:.1%} [{low:.1%}, {high:.1%}] on test "
            "(n = {n}), below the target of {target:.1%}. It needs up to {gib:.1f} GiB and fits. Set [train] method to "
            '"full" and run `tuneworthy train`.'
        ),
        # Fixes that several gates share
        "run": "Run `tuneworthy run`.",
        "run_rung": "Run `tuneworthy run --rung {rung}`.",
        "build": "Run `tuneworthy data build`.",
        "build_first": "Run `tuneworthy data build` to build the dataset that the pilot and the training need.",
        "pilot": "Run `tuneworthy train --pilot`.",
        "run_command": "Run `tuneworthy {command}`.",
        # Gates before a decision
        "waived": "Waived: {reason} Result of the gate: {message}",
        "too_few_cases": "The test set has {n} {n:case|cases}; at least {needed} are needed.",
        "too_few_groups": "The test cases count as {n:.1f} independent sources; at least {needed} are needed.",
        "add_cases": (
            "Add cases: draw them with `tuneworthy cases sample --from FILE --n 100`, then run `tuneworthy cases "
            "label`."
        ),
        "n_test": "The test set has {n} cases.",
        "run_stale": "The last run cannot be used as it is: {changes}.",
        "baseline_missing": "Today's setup has not been measured on the test set.",
        "baseline_score": "Today's setup scores {score:.1%}.",
        "overlaps": "Examples, dev cases and test cases overlap ({counts}).",
        "remove_overlaps": "Remove the overlapping examples or cases, then run `tuneworthy run`.",
        "no_overlaps": "No example overlaps a test case.",
        "no_examples": "The project has no examples.",
        "classical_missing": "No classical baseline has been measured on the test set.",
        "copies_score": (
            "Copying the answer of the most similar example scores {score:.1%}. The grader therefore does not check "
            "whether an answer fits its question."
        ),
        "form_score": (
            "{name} scores {score:.1%} without a language model. The grader judges style and does not check whether an "
            "answer fits its question."
        ),
        "fix_grader": (
            "In [[graders]], put a grader first that checks whether an answer fits its question, or list "
            "`classical` in [[waivers]] of tuneworthy.toml with a reason."
        ),
        "classical_score": "The classical baseline scores {score:.1%}.",
        "prompt_untried": "These prompt changes have not been tried: {missing}.",
        "structure": "a structured prompt",
        "at_least_shots": "at least {n} few-shot examples",
        "half_prompt": "a prompt of half the length",
        "more_shots": "Set `k` in [few_shot] to {n} or more examples.",
        "prompt_tried": (
            "A structured prompt has been tried. The largest number of few-shot examples tried is {shots}."
        ),
        "only_device_model": "The constraints rule out every other model in the project.",
        "no_other_model": "The project file defines no other model.",
        "add_model": (
            "Add a model to [models], or list `other_models` in [[waivers]] of tuneworthy.toml with a reason."
        ),
        "no_documents": "Nothing measured suggests that the answers depend on documents.",
        "search_fails": (
            "Retrieval fails: for {lost} of {failed} wrong answers on dev, the search returned no document that "
            "contains the answer."
        ),
        "fix_search": (
            "Change [retrieval] (chunks, encoder, language) or correct the `documents` field of the cases. Then run "
            "`tuneworthy run`."
        ),
        "oracle_score": "With the correct documents in the prompt, the score on dev is {score:.1%}.",
        "rung_failed": "The rung {rung} failed: {reason}.",
        "rung_missing": "The rung {rung} has not been compared on the test set{reason}.",
        "rung_score": "{name} scores {score:.1%}{difference}.",
        "no_judge": "The project uses no LLM judge.",
        "judge_missing": "The judge has not been validated.",
        "judge_changed": "The run used a judge other than the validated one.",
        "judge_bare": ("The judge's scores could not be corrected with human ratings for these rungs: {rungs}."),
        "label_judge": "Run `tuneworthy cases label --judge`, then `tuneworthy run`.",
        "nothing_eligible": "No variant that the constraints allow has been measured on the test set.",
        "unscored": "{unscored} of {n} test cases could not be scored, so the score excludes them.",
        "fix_unscored": "Run `tuneworthy report` to find the cause. Fix it, then run `tuneworthy run`.",
        "target_open": "{n} test cases are too few for a conclusion about {names}.",
        "no_reason": "None of the measurements gives a reason to train.",
        "no_limit": "No latency limit is set in `constraints.p95_ms`.",
        "errors_unknown": "The causes of wrong answers have not been analysed.",
        "errors_stale": "The error analysis is out of date. Changed since: {changes}.",
        "domain_unknown": (
            "The bits per byte of the domain's text have not been measured. Run `tuneworthy decide --probe`."
        ),
        "domain_stale": ("The bits per byte of the domain's text are out of date. Run `tuneworthy decide --probe`."),
        "domain_needs_base": (
            "The model {name} gives no log-probability of a text. Set `base` in [train] to the model that would be "
            "trained, then run `tuneworthy decide --probe`."
        ),
        "domain_no_torch": (
            "Scoring text with the base model needs torch and transformers: `pip install 'tuneworthy[train]'`."
        ),
        "domain_no_weights": (
            "The base model is not on this machine. Run `tuneworthy models pull {base}`, then "
            "`tuneworthy decide --probe`."
        ),
        "domain_too_few": (
            "The domain's text counts as {n:.0f} independent sources; at least {least} are needed. Add cases or "
            "documents, then run `tuneworthy decide --probe`."
        ),
        "domain_not_english": (
            "Most of the domain's text is not English. It cannot be compared with general sentences, which are."
        ),
        "domain_failed": "The domain's text could not be scored.",
        "domain_unscored": "{left} of {n} texts of the domain could not be scored.",
        "domain_left_out": "{n} {n:text|texts} could not be scored.",
        "domain_progress": "domain text",
        "domain_bits": (
            "The base model needs {domain:.2f} bits per byte for the domain's text and {general:.2f} for general "
            "English of the same length. Difference: {delta:+.2f} (95% interval {low:+.2f} to {high:+.2f}, {n} texts)."
        ),
        "domain_gap": "This is a gap: at least {share:.0%} more bits, the threshold that is assumed.",
        "domain_no_gap": "This is no gap: less than {share:.0%} more bits, the threshold that is assumed.",
        "domain_open": "It is unresolved whether the difference reaches the assumed threshold of {share:.0%}.",
        # Gates before training
        "not_frozen": "No version of the training data is frozen.",
        "version_changed": "Files of version {version} have been modified: {change}.",
        "frozen_unsafe": "Version {version} was frozen although it failed these gates: {gates}.",
        "fix_rows": "Fix the rows, then run `tuneworthy data build`.",
        "frozen": "Version {version} has {n:,} rows.",
        "newer_version": "Version {version} is newer; the fine-tuned model was not trained on it.",
        "not_reviewed": "Nobody has reviewed the training data.",
        "review": "Run `tuneworthy data review start`.",
        "version_overlaps": "Rows of version {version} may overlap cases ({detail}).",
        "version_unchecked": "{changes} since version {version} was checked.",
        "version_clean": "No row of version {version} overlaps a case.",
        "effect_fine": "The build of version {version} is not shown to cost accuracy: {effect}.",
        "effect_costs": "The build of version {version} costs accuracy: {effect}.",
        "labels_lost": "The build of version {version} dropped every row with these labels: {labels}.",
        "effect_unknown": "What the build does to accuracy has not been measured.",
        "drop_less": "Set policy in [data] to report for checks that drop good rows. Then run `tuneworthy data build`.",
        "label_dev": "Add rows or labelled cases, then run `tuneworthy data build`.",
        "near_rows": "Rows that resemble a case but answer it differently or are short: {n:,}. Review these rows.",
        "cases_changed": "The dev or test cases have changed",
        "pilot_missing": "The gain from training has not been measured.",
        "pilot_changed": "The pilot does not match the current data and base model: {changes}.",
        "forecast": (
            "With {size:,} training examples, the forecast gain is at least {low:+.1f} points (training runs: {n}); "
            "{above}."
        ),
        "open_above": "there is no upper bound, because the curve has not flattened",
        "at_most": "it is at most {high:+.1f} points, because the curve has flattened",
        "below_margin": "Even the upper bound is below the margin of {margin:.1f} points.",
        "cheaper_not_run": "Not run, and may do as well: {names}. Run `tuneworthy run`.",
        "gain_open": "The lower bound is not above zero, so the result is inconclusive.",
        "more_pilot": "Add training examples, then run `tuneworthy train --pilot`.",
        # Gates before shipping
        "no_tuned": "No fine-tuned model has been compared on the test set.",
        "parity_missing": "The adapter, merged model and exported model have not been compared with each other.",
        "tuned_score": "On the test set, {name} scores {score:.1%}; {difference}.",
        "difference": "the difference from {name} is {delta:+.1f} points (95% interval [{low:+.1f}, {high:+.1f}])",
        "no_difference": "it has not been compared with another variant",
        "may_not_serve": "A constraint rules it out: {reason}.",
        "trained_on_cases": "The training data may overlap the test set. {detail}",
        "other_base": "The regression sets compare the fine-tuned model with {other}, not with its base model.",
        "another_model": "a different model",
        "compare_base": "Run `tuneworthy export gguf --base`, then `tuneworthy run --rung fine_tune`.",
        "more_rehearsal": "Increase `rehearsal` in [train] to keep the fine-tuned model closer to its base model.",
        "more_regressions": (
            "Increase `rehearsal` in [train] and train again, or add a larger set in [[regressions]] and run "
            "`tuneworthy run --rung fine_tune`."
        ),
        "sets_missing": "The run has no usable answers for the regression sets{names}.",
        "nothing_merged": "A classifier is neither merged nor converted. Its export is compared with it on every case.",
        "only_labels": "The fine-tuned model is a classifier: it can only answer with the labels of this task.",
        "classifier_unproven": "The fine-tuned classifier has not been exported and checked.",
        "serving_missing": "The fine-tuned model has not been served and checked.",
        "hosted_form": "The vendor keeps the model in one form, so there is nothing to compare.",
        "hosted_engine": "The vendor's server, which will answer users, answered the test set.",
        "embedded_engine": (
            "The embedded llama.cpp answered the test set with the file {file}, and `tuneworthy parity` checked the "
            "same file."
        ),
        "no_shadow": "No real traffic has been sent to the fine-tuned model.",
        "do_shadow": "Run `tuneworthy shadow replay FILES` with logs of real traffic.",
        "shadow_of_another": (
            "The shadow replay tested {found} ({variant}) at a margin of {margin:.1f} points. The model, production, "
            "the grader or the margin has changed since."
        ),
        "below_for_nothing": (
            "No measured saving in cost or latency, and no need to run locally, justifies the lower quality."
        ),
        "proof_of_another": (
            "The parity check does not cover the current model (form `{form}`): it covers {found}, but "
            "{subject} {known}"
        ),
        "served_another": "The server ran {found}, but {subject} {known}",
        "tested_is": "the test set was answered by",
        "made_is": "the latest export is",
        "another_file": "an unrecorded file",
        "no_file": "no such file",
        "cause": " (cause: `{cause}`)",
        "checks_passed": "checks passed: {n}",
        "adapter_since": "The fine-tuned model {adapter} is newer than the one compared on the test set ({tested})",
        "set_changed": "The regression set {name} has changed",
        "pilot_other_data": "the pilot runs used version {found} of the training data, not {version}",
        "pilot_other_base": "the base model of the pilot runs is {found}, not {base}",
        "current_version": "the current version",
        # Reasons
        "target_met": "{name} meets the target of {target:.1%} without fine-tuning{other}.",
        "cheaper_lever": "A cheaper fix exists for most failures. Their cause: {share}. {lever}.",
        "labels_are_wrong": (
            "People relabelled {n} wrong answers and found most of the expected answers to be wrong. {lever}."
        ),
        "labels_unsettled": (
            "People relabelled {n} wrong answers. Whether most of the expected answers are wrong is still open."
        ),
        "lever_unknown": (
            "The causes of wrong answers have not been analysed. A cheaper fix may exist for most of them."
        ),
        "lever_open": (
            "A cheaper fix may exist for most failures, but the evidence is inconclusive. Possible cause: {share}."
        ),
        "worth_a_pilot": (
            "No measured option that the constraints allow meets the target of {target:.1%}, and whether training "
            "would meet it is untested."
        ),
        "gain_forecast": (
            "No measured option that the constraints allow meets the target of {target:.1%}. {forecast} Whether the "
            "fine-tuned model meets the target is known only after training."
        ),
        "today_forbidden": "A constraint rules out today's setup: {reason}.",
        "ship": "All required checks before shipping pass.",
        "ship_waived": "All required checks before shipping pass or are waived. Waived by the project file: {gates}.",
        "target_missed": "The target of {target:.1%} is still missed.",
        "target_unresolved": "Whether the target of {target:.1%} is met is still open.",
        "gate_closed": "The required check `{gate}` has not passed. {message}",
        "tuned_reaches": "The score of {name} is {score}{against}.",
        "against": "; {name}, the choice without training, reaches {score}",
        "also_closed": "Other gates that have not passed: {gates}.",
        # Next steps
        "test_tuned": (
            "Measure the fine-tuned model on the test set: run `tuneworthy merge`, `tuneworthy export gguf`, "
            "`tuneworthy parity` and `tuneworthy run --rung fine_tune`. A classifier needs only the last."
        ),
        "train": "All required checks before training pass. Run `tuneworthy train`.",
        "train_waived": "All required checks before training pass or are waived ({gates}). Run `tuneworthy train`.",
        "serve_classifier": "Serve the fine-tuned classifier: run `tuneworthy serve --what classifier`.",
        "serve": "Serve the fine-tuned model: run `tuneworthy serve`.",
        "or_waive": "Or list `{gate}` in [[waivers]] of tuneworthy.toml with a reason.",
        # What would change it
        "on_date": "On {date}: {what}.",
        "higher_target": "A target above {score:.1%}, or a constraint that rules out the recommended option.",
        "more_traffic": (
            "Traffic above {volume:,.0f} requests per month, or lower costs of training, serving and upkeep: training "
            "may then save the required {share:.0%} of {bill}."
        ),
        "lower_costs": "Lower costs of training, serving and upkeep.",
        "new_model": "A new or cheaper model that meets the target, or a pilot whose forecast gain is too small.",
        "other_adapter": "A new adapter, a new export, or a cheaper model that is as good.",
        "gates_pass": "Passing these gates: {gates}.",
        "look_again": "prices and models are due for a check",
        "retires": "the provider retires the model {name}",
        # Money
        "no_bill": ("The recommended option has no cost per call, so training cannot reduce the bill."),
        "server_bill": (
            "The recommended option runs on a server of your own. A fine-tuned model would need one as well, so "
            "training cannot reduce the bill."
        ),
        "bill_unknown": ("The saving on the bill is unknown, because no recommended option has a known price."),
        "count_worth": "To count the value of better answers, set `economics.usd_per_wrong_answer`.",
        "no_volume": (
            "No traffic volume makes training pay off: an answer of the fine-tuned model saves nothing, or less than "
            "serving it costs."
        ),
        "no_volume_saves": "At no traffic volume would training save the required {share:.0%} of {bill}.",
        "only_beyond": "Only what is saved beyond the required {share:.0%} of {bill} counts.",
        "pays_from": (
            "Training pays off within {horizon:g} months if there are at least {volume:,.0f} requests per month."
        ),
        "pays_from_band": (
            "Training pays off within {horizon:g} months above about {volume:,.0f} requests per month ({low:,.0f} in "
            "the best case, {high:,.0f} in the worst)."
        ),
        "pays_from_open": (
            "Training pays off within {horizon:g} months above about {volume:,.0f} requests per month ({low:,.0f} in "
            "the best case). In the worst case, it never pays off."
        ),
        "pays_at_best": (
            "In the best case, training pays off within {horizon:g} months above {low:,.0f} requests per month. With "
            "the estimated values, it never pays off."
        ),
        "set_traffic": "Set `economics.requests_per_month`.",
        "traffic_chooses": (
            "Set `economics.requests_per_month` and run `tuneworthy decide` again. At {how} traffic, {other} would be "
            "recommended, because it costs less than {name}."
        ),
        "no_traffic_to_multiply": "The project sets no traffic, so `traffic_x10` has nothing to multiply.",
        "no_api": "No measured option is a hosted or pay-per-call API, so there is no API to match.",
        "choose_assumption": "Choose another assumption.",
        "needs_large": "dataset, training of a 70B model, and H100 cards to serve it",
        "open_model_loses": (
            "Leave the open model out: even with the score of the best API, it would not be recommended."
        ),
        "verdict_now": "Without this assumption: {answer} (recommended: {name}). The stored verdict is unchanged.",
        "server_or_answers": (
            "One option is billed per answer and the other needs a server. Which costs less depends on the traffic, "
            "which is not set."
        ),
        "range": "[{low:g}, {high:g}]",
        "server_price": "{n} x {title}",
        "tokens_measured": "{read:,.0f} prompt and {written:,.0f} answer tokens, as measured",
        "tokens_assumed": "{read:,.0f} prompt and {written:,.0f} answer tokens, which are assumed",
        "capacity_source": "{tokens}, on {title}: {source}",
        "serving": "Server cost assumes {size:g}B parameters on {machine} ({price}){servers}.",
        "serving_sized": (
            "The model to serve has {size:.3g}B parameters, as its files say. Its server cost assumes {machine} "
            "({price}){servers}."
        ),
        "serving_unsized": (
            "The size of the model to serve is unknown. Its server cost assumes {size:g}B parameters on {machine} "
            "({price}){servers}."
        ),
        "tokens_unreported": "The number of servers is an estimate, because the model reported no token counts.",
        "size_read": "number of weights in the files of the model that would be trained",
        "cost_upper": "cost is an upper limit: no token counts from the provider for {share:.1%} of the answers",
        "price_ceiling": ("{source}; the maximum price for the {share:.1%} of answers without token counts"),
        "server_usd": "${usd:,.0f} a month",
        "server_usd_set": "${usd:,.0f} a month, as the project file says",
        "machine": "{n} {name}",
        "one_server": ", one server at this traffic",
        "servers": ", {n} servers for {name} at this traffic (counted in parts)",
        "set_serving": "To change this, set {keys}.",
        "pays": "Training breaks even in month {month}{traffic}.",
        "at_traffic": " at {requests:,.0f} requests per month",
        "pays_never": "Training does not break even{horizon}{traffic}.",
        "within": " within {months:g} months",
        "constraint_decides": "Only an option that violates a constraint meets the target.",
        "money_unknown": "Whether training pays off is unknown.",
        "no_traffic": "economics.requests_per_month is not set",
        "no_worth": "economics.usd_per_wrong_answer is not set",
        "gain_source": "lower bound of the gain over the option that it is compared with",
        "no_pilot": "no pilot yet",
        "nothing_run": "no run yet",
        "price_given": "token counts on the test set at the prices in the project file",
        "price_source": "token counts on the test set at the prices of {date}",
        "after_horizon": "later than the horizon, at the project's traffic",
        "saved_input": (
            "With the fine-tuned model, the prompt has {tuned:,.0f} tokens per answer, against {before:,.0f} for "
            "{against}."
        ),
        "saved_output": "An answer has {tuned:,.0f} tokens, against {before:,.0f}.",
        "saved_usd": "At the same price per token, 1,000 answers cost ${usd:,.4f} instead of ${before:,.4f}.",
        # The pilot
        "pilot_plan": (
            "A pilot takes up to {n} short training runs: {sizes} examples with {seeds} seeds each, and the largest "
            "size again on the raw rows if the checks dropped any. Estimate: {estimate}."
        ),
        "pilot_hours": (
            "at most {hours:.1f} GPU hours (${usd:.2f}) for an 8B model; the speed of this base model is unknown"
        ),
        "pilot_duration": "{duration}{usd} for {base}",
        "pilot_usd": ", at most ${usd:.2f},",
        "pilot_so_far": "Sizes measured with {seeds} seeds so far: {n} of {sizes}.",
        "switched_off": "This check is switched off.",
        "free_text": "Free-text answers cannot be compared word for word.",
        "no_voters": "The project has no other model and too few examples to train a classifier.",
        "documents_absent": "The project has none of the documents that the failed cases list.",
        "no_named_documents": "No failed case lists the documents that contain its answer.",
        "documents_missing": "Most failures may need facts from documents, but the project has no documents.",
        "none_stronger": "No other eligible model is significantly better on dev.",
        "no_eligible_model": "The project has no other eligible model.",
        "order_note": (
            "The next step is the cheapest open one. Without --rung, `tuneworthy run` runs all rungs in ladder order, "
            "with retrieval before other models."
        ),
        "person_time": "about {minutes:.0f} min of manual work",
        "no_cost": "no calls, no cost, a few seconds",
        "cost": "{calls} calls, {usd}, {minutes}",
        "no_money": "no cost",
        "under_a_minute": "less than a minute",
        "minutes": "about {span} min",
        "n_cases": "{n} {n:case|cases} with an expected answer, {n_test} of them in the test set",
        "n_unlabelled": "; {n} without an expected answer",
        "check": "tuneworthy check",
        "label": "tuneworthy cases label",
        "sample": "tuneworthy cases sample, then tuneworthy cases label",
        "decide": "tuneworthy decide",
        "then_decide": "Then run `tuneworthy decide`.",
        "n_tested": " Test cases: {n}.",
        "quick_score": " {rung}: {score:.1%} on {n} dev cases in a quick run.",
        "not_decided": "There is no verdict yet.",
        "verdict_stale": "The last verdict ({answer}) is out of date: {changes}.",
        "not_needed": "The verdict is not to fine-tune, so this step is not needed.",
        "tuned_status": "{name}: {score:.1%} (n = {n}){difference}; pilot: {pilot}",
        "adapter_untested": "The fine-tuned model {adapter} has not been compared on the test set; pilot: {pilot}",
        "not_trained": "No model has been trained yet; pilot: {pilot}",
        "do_dataset": "tuneworthy data build, then tuneworthy data review start",
        "do_train": "tuneworthy train",
        "do_test": "tuneworthy merge, tuneworthy export gguf, then tuneworthy run --rung fine_tune",
        "do_ship": "tuneworthy merge, tuneworthy export gguf, tuneworthy parity, then tuneworthy serve",
        # Stored documents, and what changed since
        "no_run": "There is no run yet, so there is nothing to decide.",
        "valid_until": "the verdict expired on {date}",
        "clock_was_ahead": "the system clock was ahead when the verdict was computed (valid until {date})",
        "needs_export": "deployment as Python code (`tuneworthy export classifier`)",
        "needs_router": "deployment as a router (`tuneworthy export router`)",
        "needs_training": "dataset, training, parity",
        "needs_pilot": "dataset and pilot",
        "constant": "gives every case the same answer",
        "recall_of": "recall of `{label}`: {recall:.1%}",
        "recall_of_more": "and {n} more {n:label|labels} with a recall of at most {most:.1%}",
        "unresolved": "unresolved: the test cases do not settle whether the target is met.",
        "server_cost": (
            "server: the cost per answer depends on the traffic. Set `economics.requests_per_month` to see it."
        ),
        "month_costs": "A month costs {parts}.",
        "no_better_than_majority": "not significantly better than the majority class",
        "set_target": (
            "The project sets no target, so the verdict is undecided. The options and their prices are listed below."
        ),
        "set_target_action": "Set `task.target` in tuneworthy.toml to the score that is good enough.",
        "met_or_cheaper": (
            "Training is not needed: an option meets the target of {target:.1%}, or a cheaper fix remains."
        ),
        "passed_over": (
            "{name} meets the target too, at {usd} instead of {more}, but {how} more than {margin:.1f} points below "
            "{best} (difference {delta:+.1f} points, 95% interval [{low:+.1f}, {high:+.1f}]). {settle}."
        ),
        "may_be_below": "may score",
        "is_below": "scores",
        "cases_settle": "More test cases would settle it (`tuneworthy cases add`)",
        "margin_settles": "A larger `task.margin` would allow it",
        "usd_per_month": "${usd:,.2f} a month",
        "usd_per_1k": "${usd:,.4f} per 1,000 answers",
        "unknown_price": "an unknown price",
        "server_price_open": "the price of a server",
        "other_is_better": "; {name} scores {points:.1f} points higher {price}",
        "at_price": "and costs {usd} {more} {unit}",
        "at_no_price": "at the same price",
        "worth_of_points": " (worth ${usd:,.0f} a month at ${value:,.10g} per wrong answer)",
        "at_unknown_price": "at an unknown price",
        "at_traffic_price": "and costs more or less, depending on the traffic",
        "cost_decides": "The target is met, but a smaller model may be worth training. {evidence}",
        "constraint_or_cost": (
            "It is unknown whether the option that meets the target also meets the constraints. Either way, a smaller "
            "model may be worth training."
        ),
        "facts_are_slow": (
            "The project has no documents. Fine-tuning teaches new facts slowly and makes models hallucinate more "
            "(https://arxiv.org/abs/2405.05904)."
        ),
        "named_reason": "Your reason to train ({reason}) is {status}: {evidence}",
        "today_score": "Today's setup scores {score}.",
        "today_and_chosen": "Today's setup scores {today}; {name} scores {score}.",
        "marked": "{name}: {notes}.",
        "price_open": "{name} may be good enough at a lower price, but its price is unknown.",
        "option_open": "{name} scores {score}, so it may or may not meet the target of {target:.1%}.",
        "model_open": "A stronger one may meet the target.",
        "rung_open": "The rung {rungs} has not been compared on the test set. It may meet the target.",
        "rungs_open": "The rungs {rungs} have not been compared on the test set. Each may meet the target.",
        "labels_suspected": (
            "Most failures may be label errors, but people have not confirmed enough of them. Cause: {share}."
        ),
        "settled": "The test set is large enough to decide the outcome.",
        "no_target": "The project sets no target.",
        "met_by": "{name} meets the target of {target:.1%}.",
        "unresolved_options": "These options may or may not meet the target: {names}.",
        "none_meets": "No eligible option meets the target of {target:.1%}.",
        "nothing_to_replace": "No eligible option meets the target, so there is no bill to reduce.",
        "costs_nothing": "{name} costs nothing per call.",
        "costs_server": "{name} runs on a server of your own, which another model would need as well.",
        "price_missing": "The price of {name} is unknown.",
        "not_below": (
            "Traffic is not set. Do not fine-tune below {volume:,.0f} requests per month, where training saves "
            "nothing. The required {share:.0%} of the bill is saved above {enough:,.0f} at the earliest."
        ),
        "saves_too_little": (
            "Training would save at most ${high:,.0f} a month, less than the required {share:.0%} of {bill} "
            "(${usd:,.0f})."
        ),
        "the_bill": "the bill",
        "todays_bill": "today's bill",
        "no_smaller_model": "{name} costs ${usd:,.0f} a month, and no smaller model has been measured.",
        "would_save": (
            "{name} is good enough at ${usd:,.0f} a month. A smaller model within the margin would save {low} to "
            "{high} a month."
        ),
        "saving_required": "At least {share:.0%} of {bill} is required.",
        "kept": "The p95 latency is {p95:,.0f} ms, within the limit of {limit:,.0f} ms.",
        "none_in_question": "No option that meets the target exceeds the latency limit of {limit:,.0f} ms.",
        "too_slow_option": (
            "{name} meets the target, but its p95 latency is {p95:,.0f} ms; the limit is {limit:,.0f} ms."
        ),
        "may_be_hosted": "The constraints allow hosted models in production.",
        "local_meets": "An option that the constraints allow meets the target.",
        "hosted_meets": (
            "{name} meets the target but is hosted. The constraints allow it as a teacher, not in production."
        ),
        "no_hosted_meets": "No hosted option is shown to meet the target.",
        "style_unmeasured": "Style has not been measured: the project has no style grader and no validated judge.",
        "style_met": "According to a style grader or a validated judge, the best option meets the target.",
        "style_missed": "According to a style grader or a validated judge, the best option misses the target.",
        "style_open": "It is still open whether the best option meets the target of the style grader or judge.",
        "reasons_measured": "Measured reasons to train: {names}.",
        "reasons_unknown": "No reason to train has been measured yet. Still unknown: {names}.",
        "run_again": "Run the ladder again.",
        "compare_rungs": "Compare these rungs on the test set: {rungs}.",
        "give_documents": (
            "Add the documents that contain the answers to [documents], or list `retrieval` in [[waivers]] of "
            "tuneworthy.toml with a reason."
        ),
        "measure_smaller": (
            "Add a smaller or faster model to [models] and run the ladder to see whether it meets the constraints."
        ),
        "limit_open": "Whether {name} meets the latency limit is open: {why}.",
        "limit_inside": "the 95% interval of its p95 latency ({span}) contains the limit of {limit:,.0f} ms",
        "limit_above": (
            "fewer than {n} timed calls cannot show that its p95 latency ({p95:,.0f} ms) is within the limit of "
            "{limit:,.0f} ms"
        ),
        "move_limit": "Set `constraints.p95_ms` to a limit outside this interval.",
        "more_timed": "Add test cases: up to 200 calls are timed.",
        "span": "[{lower:,.0f}, {upper:,.0f}] ms",
        "set_forwards": (
            "Set `models.{model}.forwards` to true if the server at this local address passes calls on to a hosted "
            "model, and to false if it runs the model."
        ),
        "forwards_open": (
            "models.{model} has a price and a local address. If its server passes calls on to a hosted model, the "
            "constraints forbid it in production."
        ),
        "cost_limit_open": (
            "Whether {name} meets the limit of ${limit:,.4g} per 1,000 answers depends on the traffic, which is not "
            "set."
        ),
        "set_prices": "Set `input_usd_per_mtok` and `output_usd_per_mtok` in {sections}.",
        "pays_price_open": "Whether training pays off depends on the price of {name}, which is unknown.",
        "set_price": "Set the price of the model behind {name} in [models].",
        "set_costs": (
            "Set your own costs of data, training, serving and upkeep in [economics]; assumed costs count as a range."
        ),
        "narrow_ranges": (
            "Narrow [economics.ranges]: within these ranges, training may or may not break even: {ranges}."
        ),
        "key_range": "{name} = [{low:g}, {high:g}]",
        "name_smaller_model": "Add a smaller model to [models] as a candidate for training.",
        "analyse": "Analyse the causes of wrong answers on dev.",
        "relabel": (
            "Relabel up to {n} failed cases without seeing the expected answers ({minutes:.0f} min at most: it ends as "
            "soon as they settle the question)."
        ),
        "apply_labels": "Apply the corrected labels, then run the ladder and the error analysis again.",
        "try_lever": "Try `{rung}`, which may fix most failures.",
        "add_n_cases": "Add {n} test cases (about {minutes:.0f} min of labelling).",
        "add_n_rated": (
            "Add {n} test cases (about {minutes:.0f} min of labelling, including ratings of the answers with "
            "`tuneworthy cases label --judge`)."
        ),
        "move_target": "Decide whether another target would do, and set task.target.",
        "other_targets": (
            "The score of {name} is close to the target of {target:.1%}. With a margin of {margin:.1f} points and "
            "without further cases, a target of {met:.0%} is met and one of {missed:.0%} is missed."
        ),
        "other_target": (
            "The score of {name} is close to the target of {target:.1%}. With a margin of {margin:.1f} points and "
            "without further cases, a target of {met:.0%} is met."
        ),
        "pull_lever": "{lever}, then run the ladder and decide again.",
        "keep": "Keep {name}. Decide again when the target, the prices or the models change.",
        "take_home": "Deploy {name}{runs_on}.",
        "runs_on": " with the model `{model}`",
        "worth": ("Training that reaches a score of {most:.1%} pays off if a wrong answer costs at least ${usd:,.2f}."),
        "worth_apart": "The target is met, so the value of better answers does not count.",
        "best_score": "The best case assumes a score of {most:.1%}.",
        "nothing_else_may": "No other measured option meets the constraints.",
        "shown_better": "The improvement is significant.",
        "no_worse_and_saving": (
            "It is non-inferior at a margin of {margin:.1f} points and at least 20% cheaper or faster."
        ),
        "no_worse_and_met": (
            "It is non-inferior at a margin of {margin:.1f} points and the only option that meets the target."
        ),
        "gain_excluded": "The interval excludes a gain of {margin:.1f} points.",
        "rival_saves": "Without training, {name} is non-inferior and at least 20% cheaper or faster.",
        "not_measured": "{what} were not measured.",
        "labels_doubtful": (
            "The models contradict the labels of {n} more {n:case|cases}, but the models may share the same error."
        ),
        "repeats_alike": "Unstable answers were not measured: every repeated answer was the same.",
        "dev_alike": "Today's setup scores {dev:.1%} on dev (n = {n_dev}) and {test:.1%} on test (n = {n_test}).",
        "dev_differs": (
            "Today's setup scores {dev:.1%} on dev (n = {n_dev}) but {test:.1%} on test (n = {n_test}), a "
            "statistically significant difference. The causes of errors on dev may therefore not apply to test."
        ),
        "dev_differs_fix": (
            "Find out why dev and test differ: have a second person label some cases of both, draw the examples and "
            "the cases from one source, and run `tuneworthy run`. Or list `dev` in [[waivers]] of "
            "tuneworthy.toml with a reason."
        ),
        "dev_unmeasured": "Today's setup was not measured on both dev and test.",
        "judge_overruled": (
            "People overrule the judge too often (n = {n} rated answers), so it cannot tell what fixes an answer."
        ),
        "answers_unrated": (
            "People have rated fewer than {n} answers of this variant, so the judge's errors cannot be corrected."
        ),
        "one_family": "All models are from one family, and there are too few examples to train a classifier.",
    },
).say


# The answer, without a full stop. What training reaches is known only once the fine-tuned model was compared on test.
ANSWERS: Final[Mapping[Outcome, str]] = {
    Outcome.FINE_TUNE: "A fine-tuning pilot is worthwhile",
    Outcome.DO_NOT_FINE_TUNE: "Do not fine-tune",
    Outcome.UNDECIDED: "Undecided",
    Outcome.SHIP: "Ship the fine-tuned model",
    Outcome.DO_NOT_SHIP: "Do not ship the fine-tuned model",
}
AFTER_PILOT: Final = "Fine-tune"
# What leaves the answer open, by kind of fact.
OPEN: Final[Mapping[str, str]] = {
    "distil": "It has not been measured whether a smaller model meets the latency limit.",
    "could_teach": (
        "The project defines no other model. A model that the constraints rule out in production could still teach a "
        "smaller one."
    ),
    "eligible": "The price of an option, or its latency, has not been measured, so the constraints are open.",
    "pays": "Whether training pays off depends on the traffic, which is not set.",
}
STATUS_WORDS: Final[Mapping[str, str]] = {
    "measured": "confirmed",
    "refuted": "not confirmed",
    "unknown": "not measured yet",
}


# Names of the rungs, as nouns without an article.
RUNG_LABELS: Final[Mapping[str, str]] = {
    "classical": "classical baseline",
    "baseline": "today's setup",
    "prompt": "rewritten prompt",
    "retrieval": "prompt with retrieved documents",
    "model": "alternative model",
    "few_shot": "few-shot prompt",
    "decoding": "sampling settings",
    "cascade": "cascade",
    "fine_tune": "fine-tuned model",
    "teacher": "hosted teacher model",
    "open_7b": "open 7B model",
}
# What a model of one's own runs on (`hardware.json`), without a number.
MACHINES: Final[Mapping[str, str]] = {
    "cpu": "machine with 8 vCPU",
    "consumer": "RTX 4090",
    "l4": "L4",
    "h100": "H100",
}
# The assumptions of `decide --what-if`, and what would make each true.
ASSUMED: Final[Mapping[str, str]] = {
    "train_big_serve_small": "Assumption: a 70B model is trained first and teaches the small model that serves.",
    "open_7b_matches_api": "Assumption: an open 7B model on your own server scores the same as the best API.",
    "traffic_x10": "Assumption: the traffic is ten times as high.",
    "api_half_price": "Assumption: every API costs half as much.",
}
TO_MAKE_TRUE: Final[Mapping[str, str]] = {
    "train_big_serve_small": (
        "Train the large model, name it in [models] and [teacher], and run `tuneworthy data distill`."
    ),
    "open_7b_matches_api": "Add the open model to [models] and measure it: run `tuneworthy run --rung model`.",
    "traffic_x10": "If the traffic grows, set `economics.requests_per_month` and run `tuneworthy decide`.",
    "api_half_price": "If prices fall, set the new prices in [models] and run `tuneworthy decide`.",
}
# What the two numbers of a range are, by its key in [economics.ranges].
RANGES: Final[Mapping[str, str]] = {
    "traffic": "lowest and highest traffic, as factors of requests_per_month",
    "price": "lowest and highest future price of the provider, as factors of today's price",
    "costs": "lowest and highest cost of training and upkeep, as factors of the values that the project does not set",
    "capacity": "lowest and highest capacity of a server, as factors of the computed one",
    "success": "lowest and highest chance that a training run reaches its goal; at 0.5, the one-off costs count twice",
    "wrong_answer": "lowest and highest cost of a wrong answer, as factors of usd_per_wrong_answer",
}
CAUSES: Final[Mapping[ErrorClass, str]] = {
    "refusal": "the model refuses, or answers where it should refuse",
    "format": "the answer has the wrong format",
    "label_or_grader": "the expected answer is probably wrong",
    "knowledge": "the prompt lacks a document that contains the answer",
    "instability": "the model is correct on another attempt",
    "reasoning": "only a stronger model is correct",
    "unexplained": "no automatic check finds a cause",
}
# What a probe measures, as the subject of a sentence.
WHAT: Final[Mapping[str, str]] = {
    "refusal": "Wrong refusals",
    "format": "Wrong formats",
    "label_or_grader": "Wrong labels",
    "knowledge": "Missing documents",
    "instability": "Unstable answers",
    "reasoning": "Failures that a stronger model avoids",
}
# What fixes a class of failures, without a full stop.
LEVERS: Final[Mapping[str, str]] = {
    "prompt": "Rewrite the prompt",
    "retrieval": "Add the documents to the prompt",
    "model": "Use a stronger model",
    "few_shot": "Add few-shot examples, or constrain the output format",
    "decoding": "Change the sampling settings",
    "cases label": "Correct the expected answers",
}


# What each probe looks for
PROBES: Final[Mapping[ErrorClass, str]] = {
    "refusal": "The model refuses although there is an answer, or answers where it should refuse.",
    "format": "The format is wrong, but the answer is correct with constrained output or lenient parsing.",
    "label_or_grader": "An accuracy-weighted vote of models and the classical baseline contradicts the label.",
    "knowledge": "The answer is correct once the prompt includes the document that the case lists.",
    "instability": "Repeated answers are correct more often than chance explains.",
    "reasoning": "A model that is significantly better on dev answers correctly with the same prompt.",
    "unexplained": "No automatic check finds a cause.",
}
ANALYSIS_PARTS: Final[Mapping[str, str]] = {
    "version": "the version of the error analysis",
    "variant": "the best variant",
    "graders": "the primary grader",
    "dev": "the dev cases or their labels",
    "models": "the section [models]",
    "documents": "the documents",
}

# The checklist
STEP_TITLES: Final[Mapping[str, str]] = {
    "cases": "Build the test set",
    "baseline": "Measure the baseline",
    "prompt": "Improve the prompt",
    "model": "Try a different model",
    "retrieval": "Add retrieval if the answers are in documents",
    "decoding": "Tune sampling",
    "decision": "Decide",
    "dataset": "Build the dataset",
    "training": "Train",
    "parity": "Merge, deploy and measure again",
    "shadow": "Shadow real traffic",
}

CHANGED_SINCE: Final[Mapping[str, str]] = {
    "run": "the ladder was run again",
    "errors": "the error analysis was run again",
    "judge": "the judge was validated again",
    "project": "the project file has changed",
    "suspects": "failed cases were relabelled",
    "pilot": "a new pilot was run",
    "parity": "`tuneworthy parity` was run again",
    "serving": "the fine-tuned model was served again",
    "shadow": "traffic was replayed again, or the canary was rolled back",
    "datasets/latest": "a new version of the training data was frozen",
    "models/latest-adapter": "a new adapter was trained",
    "reviews": "the training data was reviewed again",
}


def listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence.

    >>> listed(["prompt", "model"])
    'prompt, model'
    """
    return ", ".join(names)


def sentence(text: str) -> str:
    """Return a text as a sentence: a capital and a full stop.

    >>> sentence("no teacher was measured")
    'No teacher was measured.'
    """
    return join_sentences(text[:1].upper() + text[1:]) if text else ""


def domain_gap(value: bool | None, share: float) -> str:
    """Say whether the text of the domain is strange to the base."""
    return say("domain_open" if value is None else "domain_gap" if value else "domain_no_gap", share=share)


def domain_sentence(verdict: Verdict) -> str:
    """Return what was found of the text of the domain; "" if it was not scored, or a reason says it already."""
    row = next((row for row in verdict.training.reasons if row.reason == "domain"), None)
    scored = verdict.domain_text is not None and verdict.domain_text.n > 0
    said = row is None or any(row.evidence in reason for reason in verdict.reasons)
    return row.evidence if row is not None and scored and not said else ""


def marked(option: Option) -> str:
    """Say what marks an option."""
    return say("marked", name=option.option, notes="; ".join(option.notes))


def legend(options: Sequence[Option]) -> list[str]:
    """Explain the words that stand for a number in a table of options, as far as they are there."""
    served = any(one.server and one.usd_per_month is None and one.usd_per_1k is None for one in options)
    lines = [say("unresolved")] if any(one.target == "unresolved" for one in options) else []
    return [*lines, *([say("server_cost")] if served else [])]


def cost_note(option: Option) -> str:
    """Say what the cost of a month is made of, and whether it is an upper limit; "" where one price is all of it."""
    upper = say("cost_upper", share=option.unreported) if option.unreported else ""
    month, running = option.usd_per_month, option.running
    if not month or not option.usd_per_1k or running is None or running.usd_per_1k is None:
        return upper
    answers = month * running.usd_per_1k / option.usd_per_1k
    servers = month - answers - running.upkeep_usd
    named = {"answers": answers, "servers": servers, "upkeep and retraining": running.upkeep_usd}
    parts = [f"${usd:,.0f} for {what}" for what, usd in named.items() if usd >= 1]
    made_of = say("month_costs", parts=", ".join(parts)) if len(parts) > 1 or running.upkeep_usd >= 1 else ""
    return join_sentences(made_of, upper)


def whole_dollars(usd: float) -> str:
    """Return an amount without cents, its sign first.

    >>> whole_dollars(1234.5), whole_dollars(-687.6)
    ('$1,234', '-$688')
    """
    return f"{'-' if usd <= -0.5 else ''}${abs(usd):,.0f}"


def error_share(row: ErrorShare) -> str:
    """Say how many failures have a cause: `... (66.7% of 60 wrong answers, 95% interval [53.3%, 78.3%])`."""
    low, high = row.ci95
    answers = "wrong answer" if row.n == 1 else "wrong answers"
    return f"{CAUSES[row.name]} ({row.share:.1%} of {row.n} {answers}, 95% interval [{low:.1%}, {high:.1%}])"


def answer_of(verdict: Verdict) -> str:
    """Return the answer without a full stop; training is advised outright only once a pilot forecasts a gain."""
    if verdict.outcome is Outcome.FINE_TUNE and passed_pilot(verdict.gates):
        return AFTER_PILOT
    return ANSWERS[verdict.outcome]


def passed_pilot(gates: Sequence[GateResult]) -> GateResult | None:
    """Return the gate of the pilot, if it passed."""
    return next((result for result in gates if result.gate == "pilot" and result.status == "pass"), None)


def waived_gates(gates: Sequence[GateResult]) -> str:
    """Return the names of the gates that the project file waives, and that would be open without."""
    return ", ".join(f"`{result.gate}`" for result in gates if result.status == "waived")


# Methods of training: why one fits, the document that this rests on, and what to do for it.
METHOD_REASONS: Final[Mapping[str, str]] = {
    "sft": "Training on labelled examples is the default, and nothing measured speaks for another method.",
    "preference": (
        "At least {n} rows have a worse answer beside their own, or ratings that differ, so the model can learn which "
        "answer is better."
    ),
    "rl": (
        "There are few labelled examples, {share:.1%} of the answers sampled on dev pass, and a grader says right or "
        "wrong. So the grader can reward answers that the model draws. Import questions that it can grade."
    ),
    "distil": "An option meets the target, so a smaller model is trained on its answers.",
    "classifier": "The answers are labels, and the classical baseline is as good as any language model measured.",
}
METHOD_SOURCES: Final[Mapping[str, str]] = {
    "sft": "https://arxiv.org/abs/2405.00732",
    "preference": "https://arxiv.org/abs/2305.18290",
    "rl": "https://arxiv.org/abs/2503.14476",
    "distil": "https://arxiv.org/abs/2305.02301",
    "classifier": "https://arxiv.org/abs/2406.08660",
}
METHOD_STEPS: Final[Mapping[str, str]] = {
    "sft": "Run `tuneworthy train`.",
    "preference": 'Set [train] method to "preference" and run `tuneworthy train`.',
    "rl": "Run `tuneworthy plan --emit grpo --out run`.",
    "distil": "Run `tuneworthy data distill`, then `tuneworthy data build` and `tuneworthy train`.",
    "classifier": 'Set [train] method to "classifier" and run `tuneworthy train`.',
}
