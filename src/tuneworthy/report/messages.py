"""What the report tells people: headings, answers, warnings, how to read its tables and charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# The verdict
ANSWERS: Final[Mapping[str, str]] = {
    "fine_tune": "Fine-tuning is worth a try",
    "do_not_fine_tune": "Do not fine-tune",
    "undecided": "Undecided: evidence is missing",
    "ship": "Ship the fine-tuned model",
    "do_not_ship": "Do not ship the fine-tuned model",
}
VERDICT_STALE: Final = "The last verdict no longer holds"
VERDICT_WAS: Final = "It was: {answer}."
SINCE_THEN: Final = "Since then: {changes}."
DECIDE_AGAIN: Final = "Run `tuneworthy decide` again."
BEGIN_TRAINING: Final = (
    "Build a training set that passes its checks, and run a pilot: a few short trainings that show what training gains "
    "before all of it is paid for."
)
MONEY: Final = "Money"
NEXT: Final = "Next"
WOULD_CHANGE: Final = "This would change it"
VALID_UNTIL: Final = "Valid until"
SAVED: Final = "Measured on test: {saved}"
TRAINING_COSTS: Final = "Training is assumed to cost ${once} once, and serving and upkeep ${month} a month."
VERDICT_LINE: Final = "Verdict{valid}: {answer}. {reason}"
UNTIL: Final = " (valid until {date})"

# The answer
STEP_NAMES: Final[Mapping[str, str]] = {
    "prompt": "A rewritten prompt",
    "retrieval": "A prompt with retrieved documents",
    "model": "Another model",
    "few_shot": "A prompt with examples",
    "decoding": "Other sampling settings",
    "fine_tune": "A fine-tuned model",
}
BEST_STEP: Final = "The best variant"
RUN_PARTIAL: Final = "The run stopped early ({reason}), so there is no answer yet. So far: {answer}"
RUN_STALE: Final = "Since this was measured, {changes}. Run `tuneworthy run` again. It was: {answer}"
TODAY_IS_BEST: Final = "What is in use today ({name}) {score}. {others}"
NOTHING_ELSE: Final = "Nothing else was compared on test."
ONE_STEP: Final = "No step that was compared on test is shown to be better."
NO_STEP: Final = "None of {n} steps that were compared on test is shown to be better."
BEST: Final = "{step} ({name}) {score}{today}."
TODAY_REACHES: Final = "; what is in use today ({name}) reaches {score}{eligible}"
MAY_NOT_SERVE: Final = " and may not be used ({reason})"
SWAP_IS_ENOUGH: Final = " The swap is enough: another model{name} meets the target without training."
NOTHING_ELIGIBLE: Final = "Nothing that was compared on test keeps the constraints ({names})."
NOTHING_MEASURED: Final = "Nothing could be measured on the test cases, so there is no answer yet."
CLASSICAL_BEST: Final = (
    "{method} without any language model {score}{margin}; the best {what} ({name}) reaches {other}{eligible}."
)
NO_WORSE: Final = ", no worse than language models by the margin and cheaper or faster"
OTHER_METHOD: Final = "A method ({name})"
ANSWERS_RIGHT: Final = "answers {share} of the test cases correctly"
SCORES: Final = "scores {share} on the test cases ({grader})"
QUICK_NOTHING: Final = "A quick run on dev found nothing to measure; nothing is decided."
QUICK: Final = (
    "A quick run on {n_dev} dev cases, so nothing is decided: {name} leads with {score} "
    "(95% interval {bounds}, n = {n})."
)
TARGET_MET: Final = (
    "The target of {target} is met: the score is {score}, and at least {lower} ({bound}), which is above {floor} "
    "(target minus margin)."
)
TARGET_MISSED: Final = "The target of {target} is missed: the score is {score}, and at most {upper} ({bound})."
TARGET_OPEN: Final = (
    "Whether the target of {target} is met is unresolved: the score is {score}, and the {n} test cases leave {bounds} "
    "open ({bound}s). More test cases would narrow it."
)
TARGET_UNSCORED: Final = (
    "Whether the target of {target} is met is unresolved: {unscored} of {n} test cases could not be scored, and the "
    "score of {score} leaves them out."
)
ONE_SIDED: Final = "one-sided 95% bound"
INTERVAL_END: Final = "end of the 95% interval"

# The numbers at the head
BEST_NUMBER: Final = "Best"
TODAY_NUMBER: Final = "In use today"
CLASSICAL_NUMBER: Final = "Without any language model"
MODEL_NUMBER: Final = "Best with a language model"
STEP_NUMBER: Final = "Best step"
BEHIND: Final = "{name}; {where}95% interval {bounds}, n = {n}"
BEHIND_DEV: Final = "dev only, "
PRICE_MONTH: Final = "Price per month"
PRICE_1K: Final = "Price per 1,000 answers"
MEDIAN_TIME: Final = "Median time of an answer"
HALF_WITHIN: Final = "half of the answers come within {time}"
NO_LATENCY: Final = "its latency was not measured"
REQUESTS_AT: Final = "{requests} requests at {price} per 1,000; {time}"
RUNS_HERE: Final = "it runs here: no price per call (the machine itself is not counted)"
NO_PRICE: Final = "its price is not known"

# Warnings
QUICK_WARNING: Final = "This was a quick run: dev cases only, the test set was not touched, nothing is decided."
UNSCORED: Final = "{name}: {unscored} of {n} test cases could not be scored."
NOT_EXPLORED: Final = "There were too few dev cases to explore: each step sent one preregistered candidate to test."
SWITCHED_OFF: Final = "The model {name} ({model}) {when} on {date}."
WAS_SWITCHED_OFF: Final = "was switched off"
IS_SWITCHED_OFF: Final = "is switched off"
OLD_PRICES: Final = "The price table is of {date}: check the prices before you decide on money."
FILE_CHANGED: Final = "The project file was changed after this run; the numbers are those of the run."
INJECTED: Final = (
    '{n} documents hold instructions to a model ({names}{more}), such as "{text}". They were shown as data; check '
    "where they come from."
)

# The paragraph to paste
DEV_LINE: Final = "{task} ({grader}, dev only): {answer}"
TEST_LINE: Final = "{task} ({grader}, n = {n} test cases): {answer}"
INTERVALS: Final = "With 95% intervals: {scores}."
ONE_SCORE: Final = "{label} {name} {score} [{bounds}{unscored}]"
N_UNSCORED: Final = ", {n} unscored"
GAIN: Final = "Paired gain over {against}: {delta} points ({level} interval {low} to {high}; p {p})."
COSTS: Final = "It costs {price}{month}{time}."
PER_1K: Final = "{price} per 1,000 answers"
A_MONTH: Final = " ({price} a month at {requests} requests)"
LATENCY: Final = ", p50 {p50} ms, p95 {p95} ms"
TRIED: Final = (
    "{n} candidates were tried on {n_dev} dev cases, {made} comparisons were made on test{alpha}; all calls cost {usd}."
)
EACH_ALPHA: Final = " (α = {alpha:g} each)"
MADE_BY: Final = "tuneworthy {version}, project {project}."

# How it was measured
METHOD_DEV: Final = "Every step tried its candidates on {n_dev} development cases (dev)"
METHOD_EXPLORED: Final = (
    " and sent only its winner to the frozen test set of {n_test} cases. The answers to test stay hidden; whoever "
    "reveals them is recorded."
)
METHOD_FEW: Final = (
    "There were too few development cases (dev) to explore, so every step sent one candidate, fixed beforehand, to the "
    "frozen test set of {n_test} cases. The answers to test stay hidden; whoever reveals them is recorded."
)
METHOD_QUICK: Final = (
    "; the frozen test set of {n_test} cases was not touched, so no comparison on it was spent and nothing is decided."
)
METHOD_COMPARISONS: Final = (
    "{n} comparisons were made on test{alpha}, out of a plan whose chance of any false finding is at most 5% in all: "
    "trying more does not make a lucky winner."
)
METHOD_ALPHA: Final = ", each at α = {alpha:g}"
METHOD_ADOPTED: Final = (
    "A step is adopted if it is better on the same cases (paired), or no worse by the margin of {margin:g} and at "
    "least 20% cheaper or faster."
)
MADE_ON: Final = "Made by tuneworthy on {date} from the record of the last {kind}."

# How to read tables
READ_QUICK: Final = "Scores are of dev cases, as shares of 1. No test case was answered, so nothing is decided."
READ_LADDER: Final = (
    "Scores are shares of 1 (0.840 is 84%). The gain is the paired difference to the best language-model variant so "
    "far (for the classical baseline: to the best of all); its interval is at {alpha}.{repeats}{latency}"
)
THIS_ALPHA: Final = "this comparison's α of {alpha:g}"
OWN_ALPHA: Final = "the α of its comparison"
READ_REPEATS: Final = " Where answers vary, each case was answered up to {n} times."
READ_LATENCY: Final = " Latency is of {n} single calls, one at a time."
READ_CANDIDATES: Final = "Dev cases only. A candidate that falls behind is dropped, so its n is smaller."
READ_SAVINGS: Final = (
    "The full grid runs every candidate on all of dev. What the winner needed of dev afterwards (the rest of its "
    "cases, the oracle) is subtracted from what the race saved."
)
READ_MODELS: Final = (
    "Dev cases, as many as each model saw, several at once. On the front: no model that saw at least as many cases "
    "is, on the cases of both, as good in score, cost and time and better in one of them (n tells how far to trust "
    "it)."
)
READ_GRADERS: Final = "Test, n = {n}; the first grader decides."
READ_FIELDS: Final = "Test, n = {n}; what was compared there."
READ_ERRORS: Final = "Answers on dev, as many as the rung's winner gave; its row sums to that."
READ_HASHES: Final = "Hashes are of content: the same hash is the same content."
INVENTED: Final = "(invented: fields that no case expects)"
FATES: Final[Mapping[str, str]] = {
    "leads": "leads its rung",
    "tested": "compared on test, {status}",
    "lost": "lost on dev",
    "dropped": "dropped after {n} cases",
    "bound": ": shown to be behind",
    "budget": ": behind when fewer could go on",
    "unscored": ": {unscored} answers could not be scored",
}
READ_GEPA: Final = (
    "{calls} calls of at most {budget}: {answers} answers, {rewrites} rewrites by {model} ({failed} without an answer, "
    "{cut_off} cut off, {refused} with a placeholder that nothing fills in). Scores are of {n_val} dev cases; rewrites "
    "were made from {n_train} others."
)
GEPA_UNSCORED: Final = (
    " {unscored} answers had no score and count as today's prompt's; {set_aside} cases without a score of today's "
    "prompt were left out."
)
GEPA_FILE: Final = " The best one is {file}: it was raced and tested as it is there."
READ_ABLATION: Final = (
    "{cut} of {paragraphs} paragraphs earn nothing: about {saved} of {tokens} tokens saved in every call (bytes / 4). "
    "Longest first; what was cut before is left out too."
)
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
READ_SEARCH: Final = (
    "Dev cases that name their documents; no language model. `words` is BM25 alone, `vectors` dense alone, `hybrid` "
    "their fusion; a number behind a comma is the share of the words, or the tokens of a chunk."
)
UNKNOWN_NAMES: Final = " {n} of the names are of no document that was read: these count as not found."
READ_CAUSES: Final = "{failed} of {n} answers on dev are not fully right (with retrieved documents)."
NOT_SHOWN: Final = " Not shown: {names}."
NOT_IN_INDEX: Final = " Not in the index: {names}."
READ_ORACLE: Final = "Dev cases that name their documents: a better search could gain this and no more."
ORACLE_CUT: Final = (
    " The documents of {n} cases are longer than {room} tokens: the passages nearest to question and answer were "
    "handed over, {share} of the text on average."
)
READ_STAGES: Final = "One question at a time, nothing cached; the times of the first table include this and the model."
READ_SURENESS: Final = (
    "Greedy, free answers to dev cases with the prompt of the tuned model; compared with {other}. Entropy is a lower "
    "bound: a server reports only the likeliest tokens. Where nearly all of the probability is on one token, sampling "
    "settings move little."
)
READ_REGRESSIONS: Final = (
    "A set passes if the one-sided 95% lower bound of the paired difference is above minus its margin; unknown means "
    "that it is too small to show that, not that nothing was lost."
)

# Charts
TRADEOFF_CAPTION: Final = (
    "Score on {where} with its 95% interval (bar), against the {against}. Up and to the left is better. The orange "
    "line is the target ({target})."
)
CLASSICAL_BAND: Final = " The grey band is the score without a language model, with its 95% interval."
NO_PRICES: Final = " Nothing here has a price per call, so the score is drawn against time."
TRADEOFF_ALT: Final = "Chart of score against {against}: {points}."
NEEDS_NO_MODEL: Final = "No language model needed: {name} scores {share} at {unit}"
SCORES_HIGHEST: Final = "{name} scores highest: {share} at {unit}"
IS_THE_CHOICE: Final = "{name} is the choice: {share} at {unit} ({top} has {top_share}, {but})"
BREAKS_CONSTRAINT: Final = "but breaks a constraint"
NOT_SHOWN_BETTER: Final = "which is not shown to be better"
LADDER_QUICK: Final = "A quick run on dev: nothing is decided"
LADDER_PATH: Final = "{n} of {steps} {noun} adopted: from {first} to {last}"
LADDER_NONE: Final = "None of {n} steps was adopted"
LADDER_ONE: Final = "No step was adopted"
LADDER_CAPTION: Final = (
    "Score on {where} with its 95% interval, from the cheapest step (top) to the dearest. {line}The orange line is the "
    "target ({target})."
)
BLUE_LINE: Final = "The blue line joins what is in use today with the steps that were adopted. "
LADDER_ALT: Final = "Chart of score by step: {points}."

# The dataset card
CARD_ANSWER: Final = "{n} of {n_read} rows stay, in version {version}"
CARD_UNSAFE: Final = "Frozen although a gate failed: {gate}."
CARD_REVIEW: Final = "Review: {review}."
CARD_UNREVIEWED: Final = "Nobody has reviewed these rows yet: run tuneworthy data review start."
CARD_MADE: Final = "Made by tuneworthy from version {version}, frozen on {date}."
CARD_SHARE: Final = "{share} of the rows that were read stay."
CARD_REPEATED: Final = "The row stays; the rows that repeat it were dropped."

# Uncertainty
READ_SIGNALS: Final = "n = {n}{groups}, {wrong} wrong. 0.5 is chance. {signal} decides."
IN_GROUPS: Final = " in {n} groups"
SAMPLES_DIFFER: Final = "how much {n} sampled answers differ"
READ_SPOTS: Final = "Tokens whose entropy is among the highest tenth."
NO_THRESHOLD: Final = "No threshold: {reason}"
THRESHOLD: Final = (
    "Hold back answers with {signal} above {value:.3f}: {flagged:.1%} of all, {recall:.1%} of the wrong ones, "
    "{false_alarms:.1%} of the right ones (cross-validated)"
)
TOKENS_KEPT: Final = "Tokens kept: {counts}"
NOTHING_SET: Final = "nothing set"

# The file
NO_RUN: Final = "There is no run in {path}."
RUN_FIRST: Final = "Run `tuneworthy run` first."
NOT_WRITTEN: Final = "The report could not be written to {path}: {reason}."
OTHER_OUT: Final = "Choose another `--out`."
UNKNOWN_ENDING: Final = "{name!r} does not end in {endings}."
