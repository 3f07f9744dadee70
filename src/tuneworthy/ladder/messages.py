"""Sentences of the ladder that a person reads: findings of `check`, errors, reasons, notes, progress.

Reasons and notes of a rung are clauses: they follow a colon or go in brackets, so no capital and no full stop.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Final

from tuneworthy.catalogue import Catalogue
from tuneworthy.classical.messages import METHODS

say = Catalogue(
    __name__,
    {
        # Records of runs
        "record_unreadable": "{where} cannot be read, because the best variant is missing from the run record.",
        "run_again": "Run `tuneworthy run` again. Finished calls are cached and never paid for twice.",
        "rung_left_out": "The rung {rung!r} is not in ladder.rungs. Rungs of this project: {rungs}.",
        "add_rung": "Add it to ladder.rungs, or choose another one.",
        "stopped": "stopped at the rung {rung}: {why}",
        "bug": "internal error ({kind})",
        "no_amount": "max_usd must be 0 or more, but it is {usd}.",
        # Data of a project
        "cases_unlabelled": "{n} {n:case has|cases have} no expected answer, starting with {first}.",
        "cases_unlabelled_hint": "Run `tuneworthy cases label` to label them.",
        "cases_changed": "{n} {n:case|cases} from the first run {n:has|have} been edited or removed: {names}.",
        "cases_changed_hint": (
            "Restore these cases. To start over with a new test set, delete split.json and comparisons.json in "
            ".tuneworthy."
        ),
        "labels_corrected": (
            "Labels of cases have changed since the first run: {names}. All variants are therefore scored again."
        ),
        "cases_added": (
            "{n} {n:case was|cases were} added to the file after the split was drawn. Run `tuneworthy cases add` to "
            "add {n:it|them} to the test set."
        ),
        "test_revealed": (
            "Answers to {n} test {n:case|cases} have been revealed, the first on {date}. Changes made since then may "
            "score higher on the test set than on new data."
        ),
        "name_labels": "If you know all labels in advance, list them in a `choice` grader.",
        "labels_in_test_only": (
            "{n} {n:label occurs|labels occur} only in the test set ({names}). A model constrained to the known labels "
            "cannot choose {n:it|them}. {hint}"
        ),
        "schema_misfits": (
            "In {n} of {n_test} test cases, the expected answer does not match the schema inferred from dev cases and "
            "examples. A model constrained to this schema cannot produce it."
        ),
        # Comparisons on test
        "plan_missing": "The record of test comparisons is missing.",
        "plan_unreadable": "This file is not a valid record of test comparisons.",
        "plan_set_back": "This file lists only {n} of the {made} test comparisons made so far.",
        "plan_hint": (
            "Restore the file, which records how often the test set has been used. To start over with a new test set, "
            "delete split.json and comparisons.json in .tuneworthy."
        ),
        "test_used_up": "The test set is used up. {why}",
        "test_used_up_hint": "Collect a new test set, or compare on the dev set.",
        "today_measured_again": (
            "A different baseline has already been measured on the test set, so this one counts as a test comparison."
        ),
        "answers_lost": "{n} of {n_all} answers to test cases could not be scored. First reason: {why}.",
        "usage_doubtful": (
            "{n} {n:answer|answers} from {model} came without usable token counts. Each is charged at its maximum cost."
        ),
        # Variants
        "no_run": "There is no run yet, so {name!r} matches no variant.",
        "no_run_hint": "Run `tuneworthy run` first.",
        "run_partial": "The last run is incomplete, so it has no best variant: {why}.",
        "run_partial_hint": "Run `tuneworthy run` again, or name a rung instead of `best`.",
        "no_variant": "The last run has no variant {name!r}.",
        "several_variants": "{name!r} matches {n} variants of the last run.",
        "no_variant_hint": "{nearest} Use one of {names}, or a variant ID.",
        "variant_unreadable": "{where} is not a valid exported variant ({fault}).",
        "variant_unreadable_hint": "Run `tuneworthy export variant` to create the file again.",
        "variant_file_missing": "{path} cannot be read: {fault}.",
        "variant_file_hint": "Check the path to the exported variant.",
        "model_changed": "models.{model} is no longer the model that {variant} was measured with.",
        "model_changed_hint": (
            "Run `tuneworthy run` again, or restore the previous model and add the new one under a different name."
        ),
        # What a rung did, in general
        "nothing_to_build_on": "this rung builds on the baseline, which failed: {why}",
        "nothing_to_try": "no candidates to try",
        "model_unavailable": "{model} is not available: {why}",
        "none_scored": "{variant}: none of the answers to {n} dev cases could be scored",
        "nothing_scored": "no case could be scored",
        "quick": "{score:.1%} on {n} dev cases, not compared on the test set",
        "today": "today's prompt and model",
        "ineligible": "; violates a constraint: {why}",
        "takes_over": "not adopted, but now the best variant because {variant} violates a constraint: {why}",
        "not_accepted": "settings not available with {model}: {what}",
        "score_corrected": "score corrected with human ratings of {n} cases (judge alone: {score:.1%})",
        "search_incomplete": "The search needs every answer, but a call failed: {why}",
        "search_incomplete_hint": (
            "Run the same command again when the provider is available. Finished calls are cached."
        ),
        # Whether a candidate is adopted
        "gain": "{delta:+.1f} points [{lo:+.1f}, {hi:+.1f}], n = {n}",
        "tested": ", one-sided {p} at alpha {alpha:.3g}",
        "not_tested": ", no significance test because it is not ahead on dev",
        "judge_unvalidated": "{why}; judge scores alone: {gain}",
        "unscored": "{share:.1%} of the answers could not be scored (limit {most:.1%}); difference {gain}",
        "unscored_flip": "the unscored answers could reverse the result; difference {gain}",
        "better": "significantly better; difference {gain}",
        "shown_before": "; significant at alpha {alpha:.4f} on the first {n} cases",
        "sources_few": "the test cases count as {n:.1f} independent sources; at least {least} are needed",
        "cheaper": (
            "non-inferior at {saving} (lower bound {lower:+.1f} points, margin {margin:.1f}); difference {gain}"
        ),
        "loses_target": "non-inferior at {saving}, but no longer meets the target; difference {gain}",
        "no_gain": "a gain of {margin:.1f} points or more is ruled out (difference {gain})",
        "unresolved": "a gain of {margin:.1f} points is neither shown nor ruled out (difference {gain})",
        "costs_less": "{share:.1%} lower cost per answer",
        "costs_less_monthly": "${usd:,.2f} instead of ${other:,.2f} a month ({requests:,.0f} requests)",
        "needs_no_server": "no cost, because it needs no server (the best variant so far does)",
        "charges_less": "a lower price per answer (its server is not counted)",
        "takes_less": "{share:.1%} lower latency (lower confidence limit: {least:.1%})",
        # Rung classical
        "no_examples_to_learn": "the project has no examples to train a classical baseline on",
        "classical": "no language model",
        "classical_compared": "no language model; against the best variant of the other rungs: {reason}",
        "classical_takes_over": "; now the best variant because {variant} violates a constraint: {why}",
        # Rung cascade
        "cascade_needs_labels": "a cascade needs a task whose answers are labels",
        "cascade_not_judged": "a judge scores the answers, and a cascade needs a grader that compares labels",
        "cascade_needs_price": "no model that may serve has a price, so a cascade saves nothing",
        "no_dearer_model": "no language model with a price was measured on dev and test",
        "no_confidence": "no variant answered all dev cases with probabilities, so there is no confidence to route by",
        "same_model": "the only variants with probabilities use the model of {name}",
        "no_cheaper_part": "no variant with probabilities costs less than {name}",
        "no_threshold": "no threshold keeps the score of {name} on the {n} dev cases",
        # Rung prompt
        "own_prompt": "{model} is your own pipeline, which has its own prompt",
        "not_optimised": "the prompt is not optimised: {why}",
        "not_ablated": "the system prompt is not shortened: {why}",
        "no_paragraphs": "it has fewer than two paragraphs, or every paragraph contains a placeholder",
        "paragraphs_cut": "{n} of {n_all} paragraphs removed",
        "unsearched": "this needs a full run and at least 50 dev cases",
        "own_system_turns": "{n} of {n_half} dev cases for the search {n:has its|have their} own system message",
        "searched_too_few": (
            "the groups of dev cases are so large that only {n} {n:case remains|cases remain} for the search, but "
            "{least} are needed"
        ),
        "searched_unscored": "{n} of {n_all} cases for the search {n:has|have} no score, and {why}",
        "gepa_found_nothing": "GEPA found no better prompt in {calls} calls",
        # Rung retrieval
        "no_documents": "the project has no documents",
        "empty_documents": "all documents are empty",
        "own_search": "{model} is your own pipeline, which has its own retrieval",
        "words_alone": "retrieval uses keyword search only: {why}",
        "search_not_tuned": (
            "retrieval is not tuned: only {n} dev {n:case lists its|cases list their} documents, but {least} are needed"
        ),
        "passages_too_long": "candidates skipped because their prompts exceed the context length of {model}: {names}",
        "no_passage_fits": "no passage fits within the context length of {model}",
        # Rung model
        "only_judges": (
            "{model} is used only as a judge; to try it as a candidate, add it to [models] under a second name"
        ),
        "no_other_model": "the project file defines no other candidate model",
        "no_other_model_on_device": "no other model in the project file can run on the device",
        "switched_off": "the provider retired {model} on {date}",
        "switched_off_soon": "the provider retires {model} on {date} (in {days} {days:day|days})",
        # Rung few_shot
        "no_examples_to_show": "the project has no examples for few-shot prompts",
        "sets_too_few": (
            "no sets of few-shot examples were sampled: {n} {n:example is|examples are} too few to choose from"
        ),
        "no_bootstrap": "no bootstrapped few-shot examples: the model answers only {n} of {n_asked} examples correctly",
        "shots_without_encoder": (
            "few-shot examples are not chosen by semantic similarity: [retrieval] configures no local encoder"
        ),
        "shots_without_torch": (
            "few-shot examples are not chosen by semantic similarity: torch is not installed; run `pip install "
            '"tuneworthy[semantic]"`'
        ),
        # Rung decoding
        "no_parameters": "{model} accepts no sampling parameters",
        "no_setting_accepted": "{model} accepts none of the sampling settings to try",
        "constrained_and_greedy": (
            "decoding is constrained and greedy, so sampling could only add noise; to try settings anyway, list them "
            "in decoding.grid"
        ),
        "probed_idle": "a probe found that it has no effect",
        # Rung fine_tune
        "no_tuned_model": "no fine-tuned model is available: {why}",
        "served_silent": (
            "models.{model} does not respond, or does not report which of this project's models it serves; start it "
            "with `tuneworthy serve`, or fix [serve]"
        ),
        "not_exported": "the fine-tuned model has not been exported; run `tuneworthy export gguf`",
        "not_merged": "the adapter has not been merged; run `tuneworthy merge`, then `tuneworthy export gguf`",
        "not_trained": "no model has been trained yet",
        "hosted_unnamed": (
            "the project file does not name the model that a vendor trained; run `tuneworthy train --on {vendor}` "
            "again and add the sections that it prints"
        ),
        "base_named": "its base model, models.{model}",
        "base_exported": "its base model, exported as {artifact}",
        "base_is_todays": "today's model, models.{model}",
        "no_artifact": "none of this project's models",
        "served_changed": "models.{model} no longer serves the model compared on the test set. It now serves {now}.",
        "served_changed_hint": "Run `tuneworthy serve` to start the fine-tuned model, then run `tuneworthy run` again.",
        "grader_changed": "the first grader has changed",
        "prompt_changed": "the prompt has changed",
        "model_added": "the model {name} has been added",
        "model_gone": "the model {name} has been removed",
        "model_is_another": "the model {name} has changed",
        "setting_changed": "{name} was {before} and is now {now}",
        "rung_half_run": "the rung {rung} is incomplete ({n} of {n_test} cases)",
        "run_cut_short": "the run is incomplete: {why}",
        # Judges
        "give_verdicts": "to add ratings, run `tuneworthy cases label --judge`",
        "verdict_unreadable": "A rating in {path} must be true or false, not {got}.",
        "verdict_unreadable_hint": "Fix this rating.",
        "judge_barred": "the judge cannot be used: {why}",
        "judge_not_validated": "it has not been validated",
        "too_few_verdicts": "people have rated both variants on only {n} of the first {least} sampled cases ({how})",
        "judges_itself": "they are the same model",
        "judge_family": "models.{judge} judges answers from models.{model}, although {why}.",
        # check: the prompt
        "about_prompt": "prompt.{key}: {error}",
        "prompt_not_utf8": "prompt.{key}: {file} is not valid UTF-8.",
        "save_as_utf8": "Save the file as UTF-8.",
        "prompt_not_jinja": "prompt.{key} is not a valid Jinja template: {error}.",
        "fix_template": "Fix the template.",
        "prompt_lacks_variables": "prompt.{key}: {error} This affects {n} {n:case|cases}, starting with {first}.",
        "fix_variables": "Use only variables that every case has, or add the missing variables to the cases.",
        "prompt_without_input": (
            "prompt.user ({text!r}) uses no variable, so the user message is the same for every case."
        ),
        "add_input": "Put {{ input }} where the question belongs.",
        "answer_too_long": (
            "prompt.max_tokens is {limit}, but {n} of {total} expected answers {n:is|are} longer. The longest has "
            "about {longest} tokens."
        ),
        "raise_max_tokens": "Raise prompt.max_tokens.",
        "context_too_short": (
            "models.{name}.context is {context} tokens, but the longest case needs about {needed}, including few-shot "
            "examples and the answer."
        ),
        "raise_context": "Raise the context length, or lower few_shot.k or prompt.max_tokens.",
        "search_left_out": "Fix the cause, or remove the setting from the project file.",
        # check: the data
        "fix_row": "Fix or remove the row.",
        "unlabelled": "{n} of {total} cases in {path} {n:has|have} no expected answer ({ids}).",
        "label_them": "Run `tuneworthy cases label` to label them, or remove them.",
        "unknown_labels": (
            "In {path}, {n} {n:label|labels} of test cases ({labels}) {n:occurs|occur} in no dev case, example, grader "
            "or prompt. For example, case {case} has the label {first}."
        ),
        "fix_labels": "Correct the spelling, add examples with these labels, or list them in the prompt.",
        "unseen_labels": (
            "{n} {n:label|labels} ({labels}), used in {n_cases} {n_cases:case|cases}, {n:occurs|occur} in no example. "
            "Few-shot prompts cannot show {n:it|them}, and the classical baseline cannot learn {n:it|them}."
        ),
        "add_examples": "Add examples with these labels, or correct the spelling.",
        "label_variants": (
            "{n} {n:label is|labels are} written in several ways ({labels}). Each way counts as an answer of its own: "
            "even a perfect model can lose points."
        ),
        "one_spelling": "Write each label in one way in cases, examples and prompt.",
        "overlapping": (
            "{total} of {n_examples} examples {total:overlaps|overlap} with {side} and {total:is|are} dropped. Same "
            "question: {exact}, quoted in a prompt: {prompt}, most n-grams in common: {ngram}, one or two words "
            "apart: {edit}, same group: {group}."
        ),
        "overlap_price": "The largest shares by answer: {dearest}.",
        "overlap_price_of": "{answer} {n} of {total} ({share:.1%})",
        "overlap_kept": "Every row with the answer {answer} overlaps a case, so {n} of {total} are kept.",
        "no_action": "No action needed: these examples are used neither for few-shot prompts nor for training.",
        "none_remain": (
            "No example remains for few-shot prompts or training. Set [examples] to rows whose questions are not cases."
        ),
        "too_few_remain": (
            "Fewer than {least} scorable examples remain, so the dev set is drawn from the cases, which halves the "
            "test set. Check whether the overlap comes only from a shared template, or add examples."
        ),
        "dev_near_test": (
            "{total} of {n_dev} dev cases {total:is a near-duplicate|are near-duplicates} of test cases. Same "
            "question: {exact}, quoted in a prompt: {prompt}, most n-grams in common: {ngram}, one or two words "
            "apart: {edit}, same group: {group}."
        ),
        "near_duplicates": (
            "{n} {n:case is a near-duplicate|cases are near-duplicates} of other cases and {n:is|are} grouped with "
            "them. The {n_test} test cases count as {effective:.0f} independent sources."
        ),
        "set_groups": "Assign the same group to all cases from the same source.",
        "most_faults": "valid rows only",
        "more_faults": "{n} more {n:error|errors}",
        "reader_note": "{path}: {note}",
        "small_test": "The test set has {n} {n:case|cases}, but at least {least} are needed.",
        "add_cases": (
            "Run `tuneworthy cases sample --from FILE --n 100` to draw more cases, then run `tuneworthy cases label`."
        ),
        "small_dev": (
            "The dev set has {n} {n:case|cases}, but comparing candidates needs at least {least}. Each rung therefore "
            "tries one predefined candidate."
        ),
        "add_dev": "Add cases, or provide at least 200 scorable examples.",
        "few_groups": "The test cases count as {n:.1f} independent sources; at least {least} are needed.",
        "add_groups": "Add cases from other sources.",
        # check: documents and search
        "documents_missing": "The path in [documents] does not exist: {path}.",
        "fix_documents_path": "Fix documents.path.",
        "documents_named": "Cases list {n} {n:document that does|documents that do} not exist: {names}.",
        "add_documents": "Add the documents at documents.path, or fix the `documents` field of the cases.",
        "check_sources": "Check where these documents come from, or remove them.",
        "about": "{name}: {error}",
        "no_search_price": "{name}: The price of {url} is unknown.",
        # check: graders
        "about_grader": "[[graders]] {number} ({type}): {error}",
        "fix_graders": "Fix [[graders]].",
        "grader_cannot_use": (
            "[[graders]] {number} ({type}): {reason}. This affects {n} of {total} cases, starting with {first}."
        ),
        "fix_answers": "Correct the expected answers, or choose a different grader.",
        "about_regressions": "[[regressions]]: {error}",
        "fix_regressions": "Fix [[regressions]].",
        "regression_cannot_use": (
            "[[regressions]] {name}: {reason}. This affects {n} {n:case|cases}, starting with {first}."
        ),
        "other_judge": "Choose a judge from a different model family.",
        # check: models
        "about_model": "models.{name}: {error}",
        "model_not_here": "models.{name}: {model} has not been downloaded yet.",
        "pull_model": "Run `tuneworthy models pull {name}`. Otherwise, `tuneworthy run` downloads it.",
        "no_gguf": "models.{name}: There is no GGUF file at {path}.",
        "fix_model": "Fix [models.{name}].",
        "gguf_is_folder": "models.{name}: {path} is a folder, not a GGUF file.",
        "name_a_file": "Set the path to a file in this folder.",
        "server_down": "models.{name}: {url} is not responding ({reason}).",
        "start_server": "Start the server, or fix base_url.",
        "key_refused": "models.{name}: {url} rejects the API key in {variable} (HTTP {status}).",
        "key_needed": "models.{name}: {url} requires an API key (HTTP {status}).",
        "set_key": "Set the environment variable named in api_key_env to a valid API key.",
        "model_unknown": "models.{name}: {url} does not list the model {model!r}. It lists {listed}.",
        "check_model_name": (
            "If calls fail, fix the model name. Run `tuneworthy models probe MODEL` to see what the server accepts."
        ),
        "model_excluded": "models.{name} is hosted and constraints.data_stays is set, so the run does not call it.",
        "allow_sending": "Remove the constraint if you want to measure this model.",
        "model_hosted": (
            "models.{name} is hosted and constraints.on_device is set. The run measures it as a possible teacher, but "
            "does not recommend it for production."
        ),
        "shares_unused": (
            "models.{name} has no known cached or batch price, so {shares} in [economics] does not lower its bill."
        ),
        "set_share_free_price": "Set the average price per token that you pay, with caching and batches.",
        "model_forwards": (
            "models.{name} has a price and a local address. If its server passes calls on to a hosted model, the "
            "constraints forbid it in production."
        ),
        "set_forwards": "Set models.{name}.forwards to true or false.",
        "not_trusted": "You have not allowed this project to {grant}.",
        "drop_constraint": "Remove the constraint if this model may be used in production.",
        "no_price": (
            "models.{name}: The price table dated {date} has no price for {model}. The estimate leaves it out, no "
            "budget can be enforced, and which option is cheapest stays undecided."
        ),
        "retires": "models.{name}: The provider's retirement date for {model} is {date}.",
        "choose_successor": "Switch to a successor model.",
        "thinking_cut": (
            "prompt.max_tokens is {limit}, but models.{name} is a reasoning model and needs at least {least} tokens."
        ),
        # check: sampling settings
        "lint": "{where}: {message} ({code})",
        # check: the plan
        "target_missing": (
            "task.target is not set, so `decide` shows options and prices, and the verdict stays undecided."
        ),
        "set_target": "Set task.target to the lowest acceptable score on the first grader.",
        "traffic_missing": (
            "economics.requests_per_month is not set, so `decide` shows no monthly cost of answers, and whether "
            "training saves money stays undecided."
        ),
        "set_traffic": "Set economics.requests_per_month to the number of requests that you expect.",
        "budget_missing": "ladder.budget_usd is not set, but these services are billed: {names}.",
        "set_budget": "Set ladder.budget_usd, or pass --max-usd to `tuneworthy run`.",
        "budget_short": (
            "ladder.budget_usd is ${budget:.2f}, but the estimated cost of a run is ${expected:.2f} (${low:.2f} to "
            "${high:.2f})."
        ),
        "raise_budget": "Raise the budget, or run fewer rungs (ladder.rungs).",
        "more_cases": (
            "Detecting such a gain takes {n} test cases. Add cases, or set task.margin to the smallest difference that "
            "matters."
        ),
        "estimate": "{estimate}{stored}.",
        "stored_answers": "; {n:,} cached {n:answer is|answers are} free",
        "never_waived": "The gate {gate!r} in [[waivers]] of tuneworthy.toml cannot be waived.",
        "remove_waiver": "Remove this waiver.",
        "power_enough": "{power} A gain as large as the margin ({margin:.1f} points) can be detected.",
        "power_short": "{power} A gain as small as the margin ({margin:.1f} points) can remain undetected.",
        # compare
        "too_few_cases": "There {n:is|are} {n} {split} {n:case|cases}, but a comparison needs at least {least}.",
        "more_scored_cases": "Add cases, or pass --test to compare on the test set.",
        "too_few_scored": (
            "Only {n} {n:case has|cases have} a score for both variants, but a comparison needs at least {least}."
        ),
        "too_few_scored_hint": "Find out why the other answers could not be scored, or add cases.",
        # cases show, cases label --judge
        "test_hidden": (
            "This is a test case, so its answers are hidden to prevent tuning on the test set. To see them, pass "
            "--reveal-test."
        ),
        "no_test_answers": "There are no stored answers to test cases.",
        "run_without_quick": "Run `tuneworthy run` without --quick.",
        "no_judge": (
            "The first grader is {type!r}, so there is no judge to validate. To validate a judge, make it the first "
            "grader."
        ),
        "no_such_case": "{word!r} must match exactly one case. Matches: {ids}.",
        "rung_of_last_run": "rung in the last run",
        "list_cases": "Run `tuneworthy cases show --failed` to list the IDs of failed dev cases.",
        "empty_run": "The last run has no variants.",
        "run_ladder_again": "Run `tuneworthy run` again.",
        "quick_answers": "There is no full run yet. These answers come from a quick run.",
        "no_run_yet": "There is no run in {root} yet.",
        "run_ladder": "Run `tuneworthy run` first.",
        "partial_answers": "The run is incomplete, so some answers are missing: {reason}.",
        # export
        "not_overwritten": "{path} already exists and is not an earlier export.",
        "empty_folder": "Pass an empty or new folder to --out.",
        # export variant
        "no_prompt": "{name} is a classical baseline or a classifier, which has no prompt to export.",
        "two_parts": "{name} is a cascade: a cheap variant and a large one.",
        "export_cascade": "Run `tuneworthy export router`, or name the rung of one part.",
        "export_classical": "Run `tuneworthy export classifier`.",
        "no_client": (
            "There is no `client.py`, because from a text alone it could not send every case as measured. The template "
            "does more than insert variables, or cases have tools or several turns."
        ),
        "export_ranked": (
            "Nothing is generated. The answer is the label in `variant.json` whose tokens have the highest sum of "
            "log-probabilities after this prompt{way}."
        ),
        "passages_before": (
            "The prompt puts the {k} best {k:passage|passages} before the question, with the best one last. Content "
            "hash of the documents: {documents}. Search settings: {settings}. Each passage has this format:"
        ),
        "no_documents_to_search": "The project in {root} has no documents to search.",
        # export router
        "no_cascade": "The last run measured no cascade: {why}.",
        "not_in_run": "its rung was not run",
        "no_cascade_hint": "Add the rung `cascade` to ladder.rungs unless it is listed, then run `tuneworthy run`.",
        "router_not_adopted": "Nothing was written, because the cascade was not adopted: {why}.",
        "router_hint": "Deploy the large model alone, or add rows to [examples] and run `tuneworthy run`.",
        "first_not_exported": (
            "The cascade's first part, {name}, is a language model, but an exported router can run only a classifier."
        ),
        "router_fails": "The exported router does not run, so nothing was written: {fault}.",
        "router_differs": (
            "Nothing was written, because the router's answers differ from the run on {n} of {of} test cases, the "
            "first of them {case}."
        ),
        # export classifier
        "no_classical_winner": "The last run has no classical baseline that was compared on test.",
        "no_classical_winner_hint": (
            "Add the rung `classical` to ladder.rungs, and rows to [examples] if it is empty. Then run "
            "`tuneworthy run`."
        ),
        "no_tuned_classifier": "The last run has no fine-tuned classifier that was compared on test.",
        "no_tuned_classifier_hint": (
            'Set `method = "classifier"` in [train]. Then run `tuneworthy train` and `tuneworthy run --rung fine_tune`.'
        ),
        "classifier_proven": (
            "The exported classifier gave the measured answers to all {n_test:,} test cases and {n_dev:,} dev cases."
        ),
        "classifier_fails": "The exported classifier does not run, so nothing was written: {fault}.",
        "classifier_differs": (
            "Nothing was written, because the exported classifier's answers differ from the run on {n} of {of} "
            "cases, first on case {case}{answers}."
        ),
        "dev_answers": " (measured {measured}, exported {exported})",
        "report_fault": "This is a bug in tuneworthy. Report it with the versions that `pip list` prints.",
        "classifier_readme": """# {task}: classifier

{method} that answers without a language model. It needs Python 3.10 or newer and NumPy.

```
pip install -r requirements.txt
```

## Call it

```python
from classifier import predict

predict({call})
```

`predict` returns {returns}.{probabilities}{variables}

## Serve it

```
python server.py 8000
curl -d '{{"text": {call}}}' http://127.0.0.1:8000/predict
```

The server listens on 127.0.0.1 only. Clients of OpenAI's protocol use the base URL http://127.0.0.1:8000/v1.

## What was measured

| | |
| --- | --- |
| Score | {score:.1%} ({grader}, 95% interval [{low:.1%}, {high:.1%}], n = {n}) |{calibration}
| Same answers | {n_test:,} test cases and {n_dev:,} dev cases, checked at export |
| Median time | {p50_ms:.1f} ms per answer, on the machine that exported it |
| Variant | `{variant}` ({name}) |
| Trained on | {training} |
| Made with | tuneworthy {tuneworthy} |

## Update it

New examples need a new classifier. Add them to the project, run `tuneworthy run`, then `tuneworthy export classifier`.
{examples}""",
        "returns_json": "a dictionary, the JSON object that was measured",
        "returns_text": "the answer as text",
        "readme_probabilities": " `probabilities(text)` returns the probability of each label.",
        "readme_variables": (
            " The prompt has several variables, so pass all of them as a dictionary, or pass the filled-in prompt as "
            "text."
        ),
        "readme_training": "{n:,} examples, content hash `{rows}`, with scikit-learn {sklearn}",
        "readme_tuned": "{n_rows:,} examples, content hash `{rows}`, from the encoder {encoder}",
        "readme_zero_shot": "no examples: the weights are those of sparrow-nano-general-v1.1 (sparrow-decider 0.2.0)",
        "readme_filled": " Pass the filled-in prompt: its template does more than insert variables.",
        "readme_calibration": (
            "\n| Calibration | expected calibration error {ece:.3f}, mean confidence {confidence:.1%} (n = {n}) |"
        ),
        "readme_examples": (
            "\n`model.json` contains answers of the training examples. Treat it as you treat the examples.\n"
        ),
        # teacher
        "no_teacher": "The project file has no [teacher] section.",
        "add_teacher": 'Add one with `model = "..."`, or with `variant = "best"` for prompt distillation.',
        "teacher_changed": "models.{model} is no longer the model that {name} was measured with.",
        "classical_teacher": (
            "The classical baseline cannot be the teacher, because it was trained on the project's examples."
        ),
        "name_a_rung": 'Choose a different variant, such as `variant = "few_shot"`.',
        "teacher_gone": "The teacher's model {model!r} is no longer in [models].",
        "put_model_back": "Add the model to [models] again.",
        # decode uncertainty, decode sweep
        "no_logprobs": "{model} returns no log-probabilities.",
        "other_model": "Choose a variant that uses a different model.",
        "draw_samples": "Add --samples 3 to compare sampled answers, or choose a variant that uses a different model.",
        "run_probe": "Run `tuneworthy models probe MODEL` to see what the model supports.",
        "signal_fails": (
            "the signal {signal} does not separate wrong answers from correct ones (AUROC {area:.2f} [{low:.2f}, "
            "{high:.2f}], {n_wrong} of {n} answers wrong)"
        ),
        "threshold_flags": (
            "A log-probability threshold of {bound:g} flags {recall:.1%} of the wrong answers and {false_alarms:.1%} "
            "of the correct ones."
        ),
        "one_repeat": "Measuring consistency needs at least 2 repeats, not {n}.",
        "nothing_to_sweep": (
            "{model} supports neither sampling parameters nor reasoning effort, so there is nothing to sweep."
        ),
        "imbalance": (
            "The majority class `{label}` makes up {share:.1%} of {n} dev cases. Always predicting it scores "
            "{score:.1%} with the first grader, `{grader}`{even}."
        ),
        "balanced_score": ", and {score:.1%} with `balanced_accuracy`, which gives every label the same weight",
        "balance": "Make `balanced_accuracy` the first grader, so that every label has the same weight.",
    },
).say


MOST_NAMED: Final = 5


def listed(names: Sequence[str]) -> str:
    """Return the first few of `names`, with the count of the rest.

    >>> listed(["a", "b"])
    'a, b'
    """
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


LABELS_OPEN: Final = (
    "Labels that occur only once make up {once} of {n} answers in dev cases and examples, so more labels probably "
    f"exist. Answers are therefore not constrained to the known labels. {say('name_labels')}"
)


# What is done with the sum of a label's log-probabilities, by ranking.
RANKINGS: Final = {
    "sum": "",
    "per_byte": ", divided by the bytes of the label",
    "prior": ", minus the label's entry in `prior`",
}


def labels_in_test_only(labels: Sequence[str]) -> str:
    """Return the labels that no model can choose."""
    return say("labels_in_test_only", n=len(labels), names=listed(labels), hint=say("name_labels"))


def classical_wins(name: str, score: float, *, best: str, best_score: float) -> str:
    """Return the sentence for a classical baseline that is better than the best adopted variant."""
    what = METHODS.get(name.removeprefix("classical/"), "A method without a language model")
    return (
        f"{what} is significantly better than the best variant of the other rungs that was adopted: {name} scores "
        f"{score:.1%}, {best} {best_score:.1%}."
    )


NO_ENCODER: Final[Mapping[str, str]] = {
    "local": 'torch is not installed; run `pip install "tuneworthy[semantic]"`',
    "llama_cpp": 'xllamacpp is not installed; run `pip install "tuneworthy[local]"`',
}


SETS_UNSEARCHED: Final = f"no sets of few-shot examples were sampled: {say('unsearched')}"


# What changed since a run
CHANGED: Final[Mapping[str, str]] = {
    "split": "the cases or the dev set have changed",
    "labels": "labels of cases have changed",
    "groups": "the groups of the cases have changed",
    "examples": "the examples have changed",
    "documents": "the documents have changed",
}


def setting_changed(name: str, before: object, now: object) -> str:
    """Say how a value of the project file has changed."""
    return say("setting_changed", name=name, before=_value(before), now=_value(now))


def _value(value: object) -> str:
    return value if isinstance(value, str) else "not set" if value is None else json.dumps(value, default=str)


# What a run needs
def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def run_estimate(
    calls: tuple[float, float, float], usd: tuple[float, float, float], minutes: tuple[float, float, float]
) -> str:
    """Return the calls, cost and time of a run, each expected and from least to most, in one clause."""
    some = _about(f"{round(n, -2 if n > 1000 else -1):,.0f}" for n in calls)
    dollars = f"costs about {_about(f'${n:.2f}' for n in usd)}" if usd[0] else "costs nothing"
    time = f"about {_about(f'{n:.0f}' for n in minutes)} minutes" if minutes[2] >= 1.5 else "about a minute"
    return f"A run makes about {some} calls, {dollars} and takes {time if minutes[2] >= 0.5 else 'less than a minute'}"


def _about(figures: Iterable[str]) -> str:
    expected, low, high = figures
    return expected if low == high else f"{expected} ({low} to {high})"


def estimate_assumptions(observed: Sequence[str], providers: Sequence[str]) -> list[str]:
    """Return the assumptions of an estimate, in sentences."""
    lines = [
        "Token counts are estimated as bytes / 4.",
        "Answers are half as long again as the expected ones, and reasoning adds 300 tokens.",
        "Each rung builds on today's variant or on that of the rung before it, with equal chances.",
    ]
    if observed:
        lines.append(f"Answer lengths and times of {', '.join(observed)} come from the last run.")
    if "llama_cpp" in providers:
        lines.append(
            "The embedded 98 MB model reads 240 tokens per second and generates 130 to 240 on two idle cores; larger "
            "models are slower."
        )
    if {"openai", "anthropic"} & set(providers):
        lines.append(
            "Servers without measurements are assumed to need 0.5 s per call and to generate 60 tokens per second."
        )
    return lines


def search_server(name: str, url: str, calls: tuple[float, float] | None, usd: tuple[float, float] | None) -> str:
    """Say where documents and questions are sent, and what a run costs there."""
    if not calls or not usd:
        return f"{name} sends documents and questions to {url}."
    (few, many), (low, high) = calls, usd
    return (
        f"{name} sends documents and questions to {url}. "
        f"Estimate: {_range(f'{few:,.0f}', f'{many:,.0f}')} calls, {_range(f'${low:.2f}', f'${high:.2f}')}."
    )


def power(  # noqa: PLR0917
    n: int,
    n_groups: int,
    comparisons: int,
    alpha: float,
    difference: float,
    grouped: float,
    loss: float,
    n_no_worse: int,
) -> str:
    """Say what difference the test set can show."""
    least = (
        "no gain can be detected"
        if difference == inf
        else f"the smallest gain that can be detected is {100 * difference:.1f} points"
    )
    text = (
        f"The test set has {n} cases for {comparisons} comparison{'s' * (comparisons > 1)} at a one-sided alpha of "
        f"{alpha:.2g} or more. If {loss:.1%} of the cases get worse, {least} (80% power)."
    )
    if n_groups < n:
        worst = "no gain can be detected" if grouped == inf else f"this rises to {100 * grouped:.1f} points"
        text += f" If all cases of a group change together ({n_groups} groups), {worst}."
    return f"{text} Showing non-inferiority within the margin takes {n_no_worse:,} cases."


def shots_per_case(k: int, encoder: str) -> str:
    """Say which examples precede the question, where they are chosen per case."""
    method = f"by the sentence encoder {encoder}" if encoder else "by BM25 over their questions"
    return (
        f"The prompt puts the {k} nearest example{'s' * (k > 1)} from shots.jsonl ({method}) before the question, with "
        "the nearest one last. Each example is a user message and an assistant message."
    )


def too_few_graded(least: int, n_wrong: int, n: int, by_group: tuple[int, ...] | None) -> str:
    """Say that there are too few wrong or correct answers for a threshold."""
    are = "is" if n_wrong == 1 else "are"
    text = f"a threshold needs at least {least} wrong and {least} correct answers, and {n_wrong} of {n} {are} wrong"
    if by_group:
        text += f" (each group counts once: {by_group[0]} with wrong answers, {by_group[1]} with correct answers)"
    return text
