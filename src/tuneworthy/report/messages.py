"""What the report tells people: headings, answers, warnings, how to read its tables and charts."""

from collections.abc import Mapping
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        "verdict_stale": "The last verdict no longer holds",
        "verdict_was": "It was: {answer}.",
        "since_then": "Since then: {changes}.",
        "decide_again": "Run `tuneworthy decide` again.",
        "begin_training": (
            "Build a training set that passes its checks, and run a pilot: a few short trainings that show what training gains "
            "before all of it is paid for."
        ),
        "money": "Money",
        "next": "Next",
        "would_change": "This would change it",
        "valid_until": "Valid until",
        "saved": "Measured on test: {saved}",
        "training_costs": "Training is assumed to cost ${once} once, and serving and upkeep ${month} a month.",
        "verdict_line": "Verdict{valid}: {answer}. {reason}",
        "until": " (valid until {date})",
        "best_step": "The best variant",
        "run_partial": "The run stopped early ({reason}), so there is no answer yet. So far: {answer}",
        "run_stale": "Since this was measured, {changes}. Run `tuneworthy run` again. It was: {answer}",
        "today_is_best": "What is in use today ({name}) {score}. {others}",
        "nothing_else": "Nothing else was compared on test.",
        "one_step": "No step that was compared on test is shown to be better.",
        "no_step": "None of {n} steps that were compared on test is shown to be better.",
        "best": "{step} ({name}) {score}{today}.",
        "today_reaches": "; what is in use today ({name}) reaches {score}{eligible}",
        "may_not_serve": " and may not be used ({reason})",
        "swap_is_enough": " The swap is enough: another model{name} meets the target without training.",
        "nothing_eligible": "Nothing that was compared on test keeps the constraints ({names}).",
        "nothing_measured": "Nothing could be measured on the test cases, so there is no answer yet.",
        "classical_best": (
            "{method} without any language model {score}{margin}; the best {what} ({name}) reaches {other}{eligible}."
        ),
        "no_worse": ", no worse than language models by the margin and cheaper or faster",
        "other_method": "A method ({name})",
        "answers_right": "answers {share} of the test cases correctly",
        "scores": "scores {share} on the test cases ({grader})",
        "quick_nothing": "A quick run on dev found nothing to measure; nothing is decided.",
        "quick": (
            "A quick run on {n_dev} dev cases, so nothing is decided: {name} leads with {score} "
            "(95% interval {bounds}, n = {n})."
        ),
        "target_met": (
            "The target of {target} is met: the score is {score}, and at least {lower} ({bound}), which is above {floor} "
            "(target minus margin)."
        ),
        "target_missed": "The target of {target} is missed: the score is {score}, and at most {upper} ({bound}).",
        "target_open": (
            "Whether the target of {target} is met is unresolved: the score is {score}, and the {n} test cases leave {bounds} "
            "open ({bound}s). More test cases would narrow it."
        ),
        "target_unscored": (
            "Whether the target of {target} is met is unresolved: {unscored} of {n} test cases could not be scored, and the "
            "score of {score} leaves them out."
        ),
        "one_sided": "one-sided 95% bound",
        "interval_end": "end of the 95% interval",
        # The numbers at the head
        "best_number": "Best",
        "today_number": "In use today",
        "classical_number": "Without any language model",
        "model_number": "Best with a language model",
        "step_number": "Best step",
        "behind": "{name}; {where}95% interval {bounds}, n = {n}",
        "behind_dev": "dev only, ",
        "price_month": "Price per month",
        "price_1k": "Price per 1,000 answers",
        "median_time": "Median time of an answer",
        "half_within": "half of the answers come within {time}",
        "no_latency": "its latency was not measured",
        "requests_at": "{requests} requests at {price} per 1,000; {time}",
        "runs_here": "it runs here: no price per call (the machine itself is not counted)",
        "no_price": "its price is not known",
        # Warnings
        "quick_warning": "This was a quick run: dev cases only, the test set was not touched, nothing is decided.",
        "unscored": "{name}: {unscored} of {n} test cases could not be scored.",
        "not_explored": "There were too few dev cases to explore: each step sent one preregistered candidate to test.",
        "switched_off": "The model {name} ({model}) {when} on {date}.",
        "was_switched_off": "was switched off",
        "is_switched_off": "is switched off",
        "old_prices": "The price table is of {date}: check the prices before you decide on money.",
        "file_changed": "The project file was changed after this run; the numbers are those of the run.",
        "injected": (
            '{n} documents hold instructions to a model ({names}{more}), such as "{text}". They were shown as data; check '
            "where they come from."
        ),
        # The paragraph to paste
        "dev_line": "{task} ({grader}, dev only): {answer}",
        "test_line": "{task} ({grader}, n = {n} test cases): {answer}",
        "intervals": "With 95% intervals: {scores}.",
        "one_score": "{label} {name} {score} [{bounds}{unscored}]",
        "n_unscored": ", {n} unscored",
        "gain": "Paired gain over {against}: {delta} points ({level} interval {low} to {high}; p {p}).",
        "costs": "It costs {price}{month}{time}.",
        "per_1k": "{price} per 1,000 answers",
        "a_month": " ({price} a month at {requests} requests)",
        "latency": ", p50 {p50} ms, p95 {p95} ms",
        "tried": (
            "{n} candidates were tried on {n_dev} dev cases, {made} comparisons were made on test{alpha}; all calls cost {usd}."
        ),
        "each_alpha": " (α = {alpha:g} each)",
        "made_by": "tuneworthy {version}, project {project}.",
        # How it was measured
        "method_dev": "Every step tried its candidates on {n_dev} development cases (dev)",
        "method_explored": (
            " and sent only its winner to the frozen test set of {n_test} cases. The answers to test stay hidden; whoever "
            "reveals them is recorded."
        ),
        "method_few": (
            "There were too few development cases (dev) to explore, so every step sent one candidate, fixed beforehand, to the "
            "frozen test set of {n_test} cases. The answers to test stay hidden; whoever reveals them is recorded."
        ),
        "method_quick": (
            "; the frozen test set of {n_test} cases was not touched, so no comparison on it was spent and nothing is decided."
        ),
        "method_comparisons": (
            "{n} comparisons were made on test{alpha}, out of a plan whose chance of any false finding is at most 5% in all: "
            "trying more does not make a lucky winner."
        ),
        "method_alpha": ", each at α = {alpha:g}",
        "method_adopted": (
            "A step is adopted if it is better on the same cases (paired), or no worse by the margin of {margin:g} and at "
            "least 20% cheaper or faster."
        ),
        "made_on": "Made by tuneworthy on {date} from the record of the last {kind}.",
        # How to read tables
        "read_quick": "Scores are of dev cases, as shares of 1. No test case was answered, so nothing is decided.",
        "read_ladder": (
            "Scores are shares of 1 (0.840 is 84%). The gain is the paired difference to the best language-model variant so "
            "far (for the classical baseline: to the best of all); its interval is at {alpha}.{repeats}{latency}"
        ),
        "this_alpha": "this comparison's α of {alpha:g}",
        "own_alpha": "the α of its comparison",
        "read_repeats": " Where answers vary, each case was answered up to {n} times.",
        "read_latency": " Latency is of {n} single calls, one at a time.",
        "read_candidates": "Dev cases only. A candidate that falls behind is dropped, so its n is smaller.",
        "read_savings": (
            "The full grid runs every candidate on all of dev. What the winner needed of dev afterwards (the rest of its "
            "cases, the oracle) is subtracted from what the race saved."
        ),
        "read_models": (
            "Dev cases, as many as each model saw, several at once. On the front: no model that saw at least as many cases "
            "is, on the cases of both, as good in score, cost and time and better in one of them (n tells how far to trust "
            "it)."
        ),
        "read_graders": "Test, n = {n}; the first grader decides.",
        "read_fields": "Test, n = {n}; what was compared there.",
        "read_errors": "Answers on dev, as many as the rung's winner gave; its row sums to that.",
        "read_hashes": "Hashes are of content: the same hash is the same content.",
        "invented": "(invented: fields that no case expects)",
        "read_gepa": (
            "{calls} calls of at most {budget}: {answers} answers, {rewrites} rewrites by {model} ({failed} without an answer, "
            "{cut_off} cut off, {refused} with a placeholder that nothing fills in). Scores are of {n_val} dev cases; rewrites "
            "were made from {n_train} others."
        ),
        "gepa_unscored": (
            " {unscored} answers had no score and count as today's prompt's; {set_aside} cases without a score of today's "
            "prompt were left out."
        ),
        "gepa_file": " The best one is {file}: it was raced and tested as it is there.",
        "read_ablation": (
            "{cut} of {paragraphs} paragraphs earn nothing: about {saved} of {tokens} tokens saved in every call (bytes / 4). "
            "Longest first; what was cut before is left out too."
        ),
        "read_search": (
            "Dev cases that name their documents; no language model. `words` is BM25 alone, `vectors` dense alone, `hybrid` "
            "their fusion; a number behind a comma is the share of the words, or the tokens of a chunk."
        ),
        "unknown_names": " {n} of the names are of no document that was read: these count as not found.",
        "read_causes": "{failed} of {n} answers on dev are not fully right (with retrieved documents).",
        "not_shown": " Not shown: {names}.",
        "not_in_index": " Not in the index: {names}.",
        "read_oracle": "Dev cases that name their documents: a better search could gain this and no more.",
        "oracle_cut": (
            " The documents of {n} cases are longer than {room} tokens: the passages nearest to question and answer were "
            "handed over, {share} of the text on average."
        ),
        "read_stages": "One question at a time, nothing cached; the times of the first table include this and the model.",
        "read_sureness": (
            "Greedy, free answers to dev cases with the prompt of the tuned model; compared with {other}. Entropy is a lower "
            "bound: a server reports only the likeliest tokens. Where nearly all of the probability is on one token, sampling "
            "settings move little."
        ),
        "read_regressions": (
            "A set passes if the one-sided 95% lower bound of the paired difference is above minus its margin; unknown means "
            "that it is too small to show that, not that nothing was lost."
        ),
        # Charts
        "tradeoff_caption": (
            "Score on {where} with its 95% interval (bar), against the {against}. Up and to the left is better. The orange "
            "line is the target ({target})."
        ),
        "classical_band": " The grey band is the score without a language model, with its 95% interval.",
        "no_prices": " Nothing here has a price per call, so the score is drawn against time.",
        "tradeoff_alt": "Chart of score against {against}: {points}.",
        "needs_no_model": "No language model needed: {name} scores {share} at {unit}",
        "scores_highest": "{name} scores highest: {share} at {unit}",
        "is_the_choice": "{name} is the choice: {share} at {unit} ({top} has {top_share}, {but})",
        "breaks_constraint": "but breaks a constraint",
        "not_shown_better": "which is not shown to be better",
        "ladder_quick": "A quick run on dev: nothing is decided",
        "ladder_path": "{n} of {steps} {noun} adopted: from {first} to {last}",
        "ladder_none": "None of {n} steps was adopted",
        "ladder_one": "No step was adopted",
        "ladder_caption": (
            "Score on {where} with its 95% interval, from the cheapest step (top) to the dearest. {line}The orange line is the "
            "target ({target})."
        ),
        "blue_line": "The blue line joins what is in use today with the steps that were adopted. ",
        "ladder_alt": "Chart of score by step: {points}.",
        # The dataset card
        "card_answer": "{n} of {n_read} rows stay, in version {version}",
        "card_unsafe": "Frozen although a gate failed: {gate}.",
        "card_review": "Review: {review}.",
        "card_unreviewed": "Nobody has reviewed these rows yet: run tuneworthy data review start.",
        "card_made": "Made by tuneworthy from version {version}, frozen on {date}.",
        "card_share": "{share} of the rows that were read stay.",
        "card_repeated": "The row stays; the rows that repeat it were dropped.",
        # Uncertainty
        "read_signals": "n = {n}{groups}, {wrong} wrong. 0.5 is chance. {signal} decides.",
        "in_groups": " in {n} groups",
        "samples_differ": "how much {n} sampled answers differ",
        "read_spots": "Tokens whose entropy is among the highest tenth.",
        "no_threshold": "No threshold: {reason}",
        "threshold": (
            "Hold back answers with {signal} above {value:.3f}: {flagged:.1%} of all, {recall:.1%} of the wrong ones, "
            "{false_alarms:.1%} of the right ones (cross-validated)"
        ),
        "tokens_kept": "Tokens kept: {counts}",
        "nothing_set": "nothing set",
        # The file
        "no_run": "There is no run in {path}.",
        "run_first": "Run `tuneworthy run` first.",
        "not_written": "The report could not be written to {path}: {reason}.",
        "other_out": "Choose another `--out`.",
        "unknown_ending": "{name!r} does not end in {endings}.",
    }
).say


# The verdict
ANSWERS: Final[Mapping[str, str]] = {
    "fine_tune": "Fine-tuning is worth a try",
    "do_not_fine_tune": "Do not fine-tune",
    "undecided": "Undecided: evidence is missing",
    "ship": "Ship the fine-tuned model",
    "do_not_ship": "Do not ship the fine-tuned model",
}

# The answer
STEP_NAMES: Final[Mapping[str, str]] = {
    "prompt": "A rewritten prompt",
    "retrieval": "A prompt with retrieved documents",
    "model": "Another model",
    "few_shot": "A prompt with examples",
    "decoding": "Other sampling settings",
    "fine_tune": "A fine-tuned model",
}


FATES: Final[Mapping[str, str]] = {
    "leads": "leads its rung",
    "tested": "compared on test, {status}",
    "lost": "lost on dev",
    "dropped": "dropped after {n} cases",
    "bound": ": shown to be behind",
    "budget": ": behind when fewer could go on",
    "unscored": ": {unscored} answers could not be scored",
}
CAUSES: Final[Mapping[str, str]] = {
    "not_in_index": "a document that holds the answer is not in the index: it was not read, or has another name",
    "not_retrieved": "no document that holds the answer was shown",
    "partly_retrieved": "of several documents that hold the answer, some were shown and some were not",
    "retrieved_and_not_used": "a right document was shown, and the answer does not come from it",
    "used_and_wrong": "the answer comes from a right document, and is wrong",
    "no_document_named": "the case names no document",
}
STAGES: Final[Mapping[str, str]] = {
    "encode": "encode the question",
    "words": "search by words (BM25)",
    "vectors": "search by vectors",
    "fuse": "fuse both lists",
    "rerank": "rerank the head",
}
