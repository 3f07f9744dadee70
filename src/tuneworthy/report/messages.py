"""Sentences of the report: headings, answers, warnings, and how to read its tables and charts."""

from collections.abc import Mapping
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        # compare
        "both_possible": "the interval allows both a loss and non-inferiority within {margin:.1f} points",
        "difference": (
            "B - A: {delta:+.1f} points [{low:+.1f}, {high:+.1f}], one-sided {p} at alpha {alpha:.3g}, "
            "n = {n} on {split}, {unscored} unscored"
        ),
        "difference_long": (
            "Difference: {delta:+.1f} points (95% interval [{low:+.1f}, {high:+.1f}]). n = {n} {split} "
            "{n:case|cases}, {unscored} unscored. Cost: {cost}."
        ),
        "losses": "Worse with B ({n}): {ids}",
        "gains": "Better with B ({n}): {ids}",
        "more_ids": "and {n} more",
        "variant": "Variant",
        "score": "Score",
        "gate": "B is not worse than A",
        "verdict_stale": "The last verdict is out of date",
        "verdict_was": "The last verdict was: {answer}.",
        "since_then": "Changes since then: {changes}.",
        "best_step": "The best variant",
        "run_partial": "The run is incomplete ({reason}), so this answer is preliminary. {answer}",
        "run_stale": (
            "These results are out of date: {changes}. Run `tuneworthy run` again. The last answer was: {answer}"
        ),
        "today_is_best": "Today's setup ({name}) {score}. {others}",
        "nothing_else": "No other eligible variant was compared on the test set.",
        "one_step": "The only other eligible rung compared on the test set is not significantly better.",
        "no_step": "None of the {n} other eligible rungs compared on the test set is significantly better.",
        "best": "{step} ({name}) {score}{today}.",
        "today_reaches": "; today's setup ({name}) reaches {score}{eligible}",
        "may_not_serve": " but violates a constraint ({reason})",
        "nothing_eligible": "No variant compared on the test set meets the constraints ({names}).",
        "nothing_measured": "No test case could be scored, so there is no answer yet.",
        "classical_best": (
            "{method} {score} without a language model{margin}; the best {what} ({name}) reaches {other}{eligible}."
        ),
        "no_worse": " and is non-inferior to the best variant of the other rungs at lower cost or latency",
        "other_method": "A classical baseline ({name})",
        "answers_right": "answers {share} of the test cases correctly",
        "scores": "scores {share} on the test set ({grader})",
        "quick_nothing": "The quick run measured no variant on dev, so it gives no answer.",
        "quick": (
            "This quick run on {n_dev} dev cases gives no verdict. The best variant is {name} with {score} (95% "
            "interval {bounds}, n = {n})."
        ),
        "target_met": (
            "The target of {target} is met: the score of {score} reaches it, and the lower limit of {lower} ({bound}) "
            "is above {floor}, the target minus the margin. The limit may be below the target itself."
        ),
        "target_missed": (
            "The target of {target} is missed: the score is {score}, and even its upper limit of {upper} ({bound}) is "
            "below the target."
        ),
        "target_open": (
            "It is unresolved whether the target of {target} is met: the score is {score}, but with {n} test cases the "
            "true score may lie anywhere in {bounds} ({bound}s). More test cases would narrow this range."
        ),
        "target_unscored": (
            "It is unresolved whether the target of {target} is met. {unscored} of {n} test cases could not be scored, "
            "and the score of {score} excludes them."
        ),
        "one_sided": "one-sided 95% bound",
        "interval_end": "95% interval limit",
        # Warnings
        "quick_warning": "This was a quick run on dev cases only. It did not use the test set and gives no verdict.",
        "unscored": "{name}: {unscored} of {n} test cases could not be scored.",
        "not_explored": (
            "Too few dev cases to compare candidates: each rung measured one predefined candidate on the test set."
        ),
        "switched_off": "The provider {when} the model {name} ({model}) on {date}.",
        "was_switched_off": "retired",
        "is_switched_off": "will retire",
        "old_prices": "The price table dates from {date}. Check the prices before you decide on cost.",
        "file_changed": (
            "The project file has changed since this run, so all numbers here are from before the change. Run "
            "`tuneworthy run` to update them."
        ),
        "injected": (
            'Documents that contain instructions to a model: {n} ({names}{more}). Example: "{text}". Prompts mark all'
            " document text as data. Check where these documents come from."
        ),
        # How it was measured
        "method_dev": "Each rung compared its candidates on {n_dev} development (dev) cases",
        "method_explored": (
            " and measured only the winner on the frozen test set of {n_test} cases. Answers to test cases stay "
            "hidden unless someone reveals them, which tuneworthy records."
        ),
        "method_few": (
            "There were too few development (dev) cases to compare candidates. Each rung therefore measured one "
            "predefined candidate on the frozen test set of {n_test} cases. Answers to test cases stay hidden "
            "unless someone reveals them, which tuneworthy records."
        ),
        "method_quick": (
            ". The run did not use the frozen test set of {n_test} cases, so it spent no test comparison and gives no "
            "verdict."
        ),
        "method_comparisons": (
            "The run made {n} test {n:comparison|comparisons}. The plan limits the chance of any false gain to 5% "
            "in total, so trying more candidates does not raise that chance. A comparison that shows a gain, or is "
            "not made because the candidate is not ahead on dev, passes its α on to the next."
        ),
        "method_adopted": (
            "A rung is adopted if its gain over the best variant so far on the same cases is significant (one-sided "
            "paired test at α). It is also adopted if it is non-inferior within {margin:.1f} points (one-sided at 5%, "
            "which is not part of the plan) and its cost, or its latency if the project limits that, is at least 20% "
            "lower. All intervals are two-sided at 95%; the test decides, not the interval."
        ),
        "would_change": "Each of these would change the answer:",
        "made_on": "Generated by tuneworthy on {date} from the last {kind}.",
        # How to read tables
        "read_quick": (
            "Scores range from 0 to 1 and come from dev cases. The test set was not used, so there is no verdict."
        ),
        "read_ladder": (
            "Scores range from 0 to 1 (0.840 is 84%). The gain is the paired difference from the best variant of the "
            "rungs before it. For the classical baseline, it is the difference from the best variant overall. p is "
            "one-sided and compared with α; a gain without p was not tested.{repeats}{latency}"
        ),
        "read_repeats": " Where answers vary, each case was answered up to {n} times.",
        "read_latency": " Latency comes from {n} sequential calls.",
        "read_candidates": (
            "Scores come from dev cases only. Candidates that fall behind are dropped early, so their n is smaller."
        ),
        "read_savings": (
            "The full grid would run every candidate on all dev cases. The winner's additional dev calls "
            "(remaining cases, oracle) are subtracted from the calls saved."
        ),
        "read_models": (
            "Scores come from dev cases with concurrent calls, and n differs between models. A model is on the Pareto "
            "front if no model with at least as many cases dominates it. To dominate, a model must be at least as good "
            "on score, cost and time over the shared cases, and better on one."
        ),
        "read_graders": "Scores come from the test set (n = {n}). The first grader is the primary metric.",
        "read_fields": "F1 comes from the test set (n = {n}), for the variant that each rung compared there.",
        "read_calibration": (
            "Only variants that give a probability for each label. Surest 80%: accuracy on the 80% of the cases with "
            "the highest confidence. ECE: mean distance of confidence and accuracy, in 15 bins. ECE by chance: what a "
            "calibrated variant stays below in 95% of samples of this size. Brier score: 0 is perfect, 2 is the worst. "
            "Intervals are 95%."
        ),
        "read_errors": (
            "Each row counts the dev answers of a rung's winner by cause. The counts add up to all its answers."
        ),
        "read_recall": "Recall comes from the test set (n = {n}), for the variant that each rung compared there.{more}",
        "more_labels": " {n} {n:label|labels} with a higher recall {n:is|are} left out.",
        "read_confusion": "Rows are labels and columns the answers of {name} to {n} dev cases.",
        "read_confused": "The most frequent wrong answers of {name} to {n} dev cases.",
        "read_failures": "Shares are of {n} wrong answers on dev. Each counts in the first class that applies.",
        "no_label": "(no label)",
        "constant_mark": " (constant)",
        "read_hashes": "Hashes identify content: equal hashes mean equal content.",
        "invented": "(invented fields, which no case expects)",
        "read_gepa": (
            "GEPA used {calls} of at most {budget} calls: {answers} to answer cases and {rewrites} to have {model} "
            "rewrite the prompt. Of the rewrites, {failed} came back empty, {cut_off} were truncated and {refused} had "
            "an unknown placeholder. Scores come from {n_val} dev cases. The rewrites are based on {n_train} others."
        ),
        "gepa_unscored": (
            " Answers without a score: {unscored}; each counts with the score of today's prompt. Cases excluded because"
            " today's prompt had no score: {set_aside}."
        ),
        "gepa_file": " The best prompt is in {file}; this exact text was compared on dev and test.",
        "read_ablation": (
            "Paragraphs that do not improve the score: {cut} of {paragraphs}. Without them, a call is about {saved} of "
            "{tokens} tokens shorter (estimated as bytes / 4). "
            "The search removes one paragraph at a time, the longest first. A"
            " paragraph that does not improve the score stays out."
        ),
        "read_search": (
            "These figures are computed without a language model, on dev cases that list their documents. `words` is "
            "BM25, `vectors` is dense retrieval, "
            "and `hybrid` is their fusion. The number after a comma is the weight of BM25 "
            "or the chunk size in tokens."
        ),
        "unknown_names": " Listed document names that match nothing in the index: {n}. They count as not found.",
        "read_causes": "With retrieved documents, {failed} of {n} dev answers are not fully correct.",
        "not_shown": " Documents not retrieved: {names}.",
        "not_in_index": " Documents not in the index: {names}.",
        "read_oracle": (
            "Scores come from dev cases that list their documents. The difference is the most that better retrieval "
            "can gain."
        ),
        "oracle_cut": (
            " Cases whose documents exceed {room} tokens: {n}. Their prompts contain only the passages closest to the "
            "question and answer, on average {share} of the text."
        ),
        "read_stages": (
            "Each question was timed alone and without caching. The latency in the first table includes these stages "
            "and the model."
        ),
        "read_sureness": (
            "The table compares the fine-tuned model with {other}. Both answer dev cases with greedy, unconstrained "
            "decoding and the fine-tuned model's prompt. The entropy shown is a lower bound, because servers report "
            "only the top tokens. Where one token has nearly all the probability mass, sampling settings change little."
        ),
        "read_regressions": (
            "A set passes if the one-sided 95% lower bound of the paired difference is above the negative margin. "
            "`unknown` means that the set is too small to show non-inferiority."
        ),
        # The first screen
        "quick_run": "Quick run: no verdict",
        "not_decided": "Not decided yet",
        "next_run": "The results are incomplete or out of date.",
        "next_full": "A verdict needs the test set.",
        "next_decide": "The run is complete, but no verdict has been computed from it.",
        "basis": "{n} {cases} {n:case|cases}, grader {grader}",
        "ships_below": "It is better than the other options, but still misses the target of {target}.",
        "basis_target": ", target {target}",
        "basis_until": "; valid until {date}",
        "card_today": "Today",
        "card_untrained": "Without training",
        "rule_today": (
            "recommended: it meets the target, and no other option that does is at least 20% cheaper or faster"
        ),
        "rule_cheapest": "recommended: the cheapest that meets the target",
        "rule_highest": "the highest score measured",
        "rule_adopted": "adopted: no other option scores significantly higher",
        "card_trained": "With training",
        "same_as_today": "today's setup",
        "unknown": "unknown",
        "not_measured": "not measured",
        "interval": "95% interval {bounds}",
        "target_is": "target {status}",
        "target_by_rule": "target met: the lower limit is above {floor}",
        "breaks_limit": "violates a constraint",
        "no_pilot": "no pilot yet, so there is no forecast",
        "forecast": "lower bound of the pilot's forecast for {n} examples",
        "at_least": "at least {score}",
        "fine_tuned": "fine-tuned model",
        "with_once": "{price}, {once} once",
        "cascade_label": "large model if unsure",
        "card_sent": "the large model answers {share} of the cases",
        "price_both": "{month} ({per_1k} per 1,000 answers)",
        "a_month": "{usd} a month",
        "at_most_month": "at most {usd} a month",
        "at_most_1k": "at most {usd} per 1,000 answers",
        "per_1k": "{usd} per 1,000 answers",
        "free": "no cost per call",
        "by_server": "server",
        "no_price": "price unknown",
        "about_a_month": "about {usd} a month",
        "month_from": "from {usd} a month",
        "price_by_traffic": "cost depends on traffic",
        "chosen": "Recommended for deployment now: {name}.",
        "interval_heading": "95% interval",
        "run_it": "Run {command}.",
        "options_title": "Score of each option on {where}",
        "where_cases": "{n} {cases} {n:case|cases}",
        # The paragraph to paste
        "line_answer": "{task}: {answer}.",
        "line_partial": "The run is incomplete.",
        "line_stale": "The results are out of date.",
        "line_score": "{label}{name}: {score}{bounds}, {price}.",
        "where": " (n = {n} {cases})",
        "line_target": "Target: {target}.",
        "line_next": "Next: {command}",
        "line_until": "Valid until {date}.",
        "do_next": "Do this next: {why}",
        # Sections
        "kind_run": "run",
        "kind_quick": "quick run",
        "report_of": "report of a {kind}",
        "section_cost": "Monthly cost by traffic",
        "section_ladder": "Gain of each rung",
        "section_errors": "Why answers are wrong, and what fixes it",
        "section_labels": "Which labels are confused",
        "section_fields": "Which fields are wrong",
        "section_answers": "Wrong answers and the winning prompt",
        "section_pilot": "Learning curve of the pilot",
        "section_reasons": "Reasons, options and gates",
        "section_details": "Further measurements",
        "section_tried": "Candidates",
        "section_method": "Method",
        "section_provenance": "Provenance",
        "no_analysis": "The failures have not been analysed. Run `tuneworthy decide --probe`.",
        # Charts
        "target": "target {target}",
        "span": "[{low}, {high}]",
        "gain": "{points} points {bounds}",
        "ladder_path": "{n} of {steps} {steps:rung|rungs} adopted: from {first} to {last}",
        "ladder_none": "No rung was adopted ({n} compared on the test set)",
        "ladder_note": (
            "A bar of a rung starts at the score of the best variant before it. The classical baseline is compared "
            "with the best variant overall."
        ),
        "causes_title": "{share} of the wrong dev answers: {cause}",
        "no_fix": "no known fix",
        "fields_title": "F1 of each field with {name}; the lowest is {field}",
        "cost_title": "Training breaks even from {few} to {many} requests per month",
        "cost_title_from": "In the best case, training breaks even above {few} requests per month",
        "cost_title_never": "Training does not break even at any traffic",
        "cost_x": "requests per month",
        "cost_y": "$ per month",
        "breaks_even": "break-even: {few} to {many}",
        "breaks_even_from": "break-even: {few} or more",
        "your_traffic": "your traffic: {requests}",
        "cost_note": (
            "Fine-tuning includes its one-off costs over {months:g} months. The band spans the range of "
            "assumed costs. Options without a cost per call are not drawn."
        ),
        "pilot_title": "Score on dev by number of training examples",
        "pilot_mean": "pilot (mean)",
        "pilot_least": "at least {low}",
        "pilot_x": "training examples",
        "pilot_y": "score on dev",
        "pilot_note": (
            "Points are single training runs, and the line is their mean. The dotted line ends at the lower bound of "
            "the forecast."
        ),
        "without_level": "without training {score}",
        "wrong_title": "{n} wrong dev {n:answer|answers}, side by side",
        "read_wrong": (
            "The first {n} dev cases that {name} answers wrongly. Long texts are cut, and personal data is masked. "
            "Test answers stay hidden."
        ),
        "diff_title": "Changes from {today} to {name}",
        "diff_note": "{n} more lines are not shown.",
        # The shadow replay
        "kind_shadow": "shadow replay",
        "shadow_pass": "{candidate} is at most {margin:.1f} points worse than production on recorded traffic",
        "shadow_fail": "{candidate} does worse on recorded traffic",
        "shadow_over_limit": "{candidate} misses a limit on recorded traffic",
        "shadow_unknown": "What a replay cannot know",
        "shadow_open": "Undecided: it is not yet known whether {candidate} does worse on recorded traffic",
        "shadow_basis": (
            "Compared with {production} answers on {n:,} of {n_drawn:,} drawn sessions ({n_pairs:,} pairs), {date}."
        ),
        "shadow_quality": "Quality against production",
        "shadow_points": "points",
        "shadow_cost": "Cost of the candidate",
        "shadow_answers": "{n:,} answers",
        "shadow_length": "{ratio:.2f} times as long as production's",
        "shadow_metrics": "All traffic",
        "shadow_strata": "By stratum",
        "shadow_worse": "{n} {n:pair|pairs} that got worse",
        "shadow_confidence": "Confidence in production",
        "shadow_drift": "What traffic asks and the cases hardly cover",
        "shadow_limits": (
            "A replay shows what the candidate would have answered, not how users would have reacted. Later turns "
            "follow production's answers, and user outcomes are unknown. Latency was measured under the replay's own "
            "load."
        ),
        "shadow_made": "Made by `tuneworthy shadow report`; replayed on {date}.",
        "shadow_same": "same as production",
        "shadow_margin": "margin {margin}",
        "shadow_sequence": "{metric}: candidate minus production, in session order",
        "shadow_x": "sessions",
        "shadow_y": "points",
        "shadow_note": "With 95% confidence, the band contains the true difference at all sessions.",
        "shadow_table": "Candidate minus production",
        "shadow_table_note": (
            "A result that was reached once is final. Agreement and latency are shares, not differences."
        ),
        "shadow_stopped": "worse, at session {n}",
        "shadow_missed": "limit missed, at session {n}",
        "shadow_unlabelled": "{n} of {n_due} sessions labelled",
        "shadow_quality_unknown": "unknown",
        "shadow_decide": "Run `tuneworthy decide` to see whether every gate passes.",
        "shadow_reject": "Do not ship this model.",
        "shadow_read_pairs": "See the pairs that got worse.",
        "shadow_passed": "no worse, at session {n}",
        "shadow_pairs": "The worst pairs; personal data is masked",
        "shadow_pairs_raw": "The worst pairs",
        # The dataset card
        "kind_card": "dataset card",
        "card_answer": "{n} of {n_read} rows are in this version",
        "card_passed": "Every gate passed when the version was frozen.",
        "card_failed": "{n} of {total} gates failed when the version was frozen.",
        "card_basis": "version {version}, frozen on {date}",
        "card_kept": "Rows kept",
        "card_masked": "{n} {n:row has|rows have} masked personal data",
        "card_gates": "Gates",
        "card_gates_passed": "{n} of {total} passed",
        "card_review": "Human review",
        "card_reviewed": "reviewed",
        "card_none": "none",
        "card_nobody": "nobody has reviewed these rows",
        "card_funnel": "Rows remaining after each check",
        "card_dropped": "{n} dropped",
        "card_rebuild": "Fix the rows that fail the gates, then run `tuneworthy data build`.",
        "card_to_train": "The rows are reviewed. Train on this version.",
        "card_unreviewed": (
            "Nobody has reviewed these rows. Run `tuneworthy data review` to estimate the share of bad rows."
        ),
        "card_checks": "Data checks",
        "card_findings": "Findings, with examples",
        "card_rows": "Remaining rows",
        "card_provenance": "Provenance and licences",
        "card_unsafe": "This version was frozen although a gate failed: {gate}.",
        "card_made": "Generated by tuneworthy from version {version}, frozen on {date}.",
        "card_share": "{share} of the rows that were read",
        "card_effects": "Differences have 95% intervals. A check whose interval lies below 0 does not drop its rows.",
        "all_checks": "all",
        "card_repeated": "These rows remain. Their duplicates were dropped.",
        # Uncertainty
        "read_signals": (
            "n = {n}{groups}, {wrong} wrong {wrong:answer|answers}. An AUROC of 0.5 is chance. The primary signal is "
            "{signal}."
        ),
        "in_groups": " in {n} groups",
        "samples_differ": "disagreement of {n} sampled answers",
        "read_spots": "The table lists tokens in the top 10% by entropy.",
        "no_threshold": "No threshold: {reason}.",
        "threshold": (
            "Withhold answers with {signal} above {value:.3f}. In cross-validation, this flags {flagged:.1%} of all "
            "answers, {recall:.1%} of the wrong ones and {false_alarms:.1%} of the correct ones. {wrong} of the "
            "flagged answers are wrong, and {wrong_others} of the rest."
        ),
        "kind_decoding": "decoding",
        "section_engines": "Probabilities before and after the samplers",
        "engine_keeps": "{engine}: {n} kept",
        "out": "out: {sampler}",
        "blank": "(blank)",
        "read_samplers": (
            "Thin lines show the probabilities of the model, bars the distribution after all samplers. A removed token "
            "is labelled with the sampler that removed it."
        ),
        "tokens_kept": "Tokens kept: {counts}",
        "nothing_set": "No sampling settings",
        # The file
        "no_run": "{path} contains no run.",
        "run_first": "Run `tuneworthy run` first.",
        "no_verdict": "There is no verdict yet.",
        "decide_first": "Run `tuneworthy decide` first.",
        "not_written": "The report cannot be written to {path}: {reason}.",
        "other_out": "Choose a different file with `--out`.",
        "unknown_ending": "{name!r} must end in one of: {endings}.",
        "majority": (
            "The majority class `{label}` makes up {share} of {n} dev cases. Always predicting it scores {score} on "
            "the test set."
        ),
        "constant": "{name} gives every case the same answer.",
    },
).say


# The answer
STEP_NAMES: Final[Mapping[str, str]] = {
    "prompt": "A rewritten prompt",
    "retrieval": "A prompt with retrieved documents",
    "model": "A different model",
    "few_shot": "A few-shot prompt",
    "decoding": "A variant with different sampling settings",
    "cascade": "A cascade",
    "fine_tune": "A fine-tuned model",
}


FATES: Final[Mapping[str, str]] = {
    "leads": "best of its rung",
    "tested": "compared on the test set: {status}",
    "lost": "lost on dev",
    "dropped": "dropped after {n} cases",
    "bound": ": significantly worse",
    "budget": ": eliminated by successive halving",
    "unscored": ": {unscored} answers could not be scored",
}
CAUSES: Final[Mapping[str, str]] = {
    "not_in_index": "a document with the answer is not in the index: it was not read or has a different name",
    "not_retrieved": "no document with the answer was retrieved",
    "partly_retrieved": "only some of the documents with the answer were retrieved",
    "retrieved_and_not_used": "a relevant document was retrieved, but the answer does not use it",
    "used_and_wrong": "the answer uses a relevant document but is wrong",
    "no_document_named": "the case lists no document",
}
STAGES: Final[Mapping[str, str]] = {
    "encode": "question embedding",
    "words": "keyword search (BM25)",
    "vectors": "vector search",
    "fuse": "rank fusion",
    "rerank": "reranking of the top results",
}


def comparison(answer: str, margin: float, why: str) -> str:
    """Say how a comparison ended."""
    return {
        "same": "A and B are the same variant, so there is nothing to compare.",
        "better": "B is better than A.",
        "no_worse": f"B is non-inferior to A within the margin of {margin:.1f} points.",
        "worse": "B is worse than A.",
        "unresolved": f"Inconclusive: {why}.",
    }[answer]


def after_comparison(answer: str, unvalidated: str) -> str:
    """Say what to do after a comparison; "" if nothing is, or if `unvalidated` says so of a judge."""
    return {
        "worse": "Next: fix the change, or see why a case fails with `tuneworthy cases show ID`.",
        "unresolved": (
            ""
            if unvalidated
            else "Next: add cases with `tuneworthy cases add`, or compare on the test set with --test."
        ),
    }.get(answer, "")
