"""Every sentence of this folder that a person reads at run time."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        "no_sessions": "The recording holds no conversation with an answer: {n} {n:row was|rows were} left out.",
        "no_sessions_hint": "Pass logs that `tuneworthy data import` reads, with the answers of the model in use.",
        "recording": (
            "{n_sessions:,} of {n_all:,} recorded sessions are drawn, with {n_turns:,} {n_turns:turn|turns}. "
            "{n_masked} {n_masked:session has|sessions have} masked personal data."
        ),
        "dropped": "{n} {n:session|sessions} with personal data {n:is|are} left out, as `data.policy` says.",
        "unread": "{n} {n:row was|rows were} left out: no answer, or not text.",
        "more_strata": "`{key}` has {n} values. The {most} with most sessions are examined one by one.",
        "no_stratum": "No row of the recording has the key {key!r}.",
        "no_stratum_hint": "Use a key of the rows or of their `metadata`.",
        "same_variant": "Candidate and production are the same variant, {name}.",
        "same_variant_hint": "Name another variant with --candidate.",
        "nothing_to_label": "No stored replay waits for labels.",
        "sheet": "question: {question}\nanswer: {answer}",
        "replay_first": "Run `tuneworthy shadow replay FILES` first.",
        # What a replay shows
        "worse": "{metric} is worse by more than {margin:.1f} points{where}: {interval}",
        "over_limit": "{metric} misses its limit{where}: {interval}",
        "interval": "{estimate:+.1f} points [{low:+.1f}, {high:+.1f}], n = {n} {n:session|sessions}.",
        "where": " in {stratum}",
        "shown": "Quality is no worse than production by {margin:.1f} points: {interval}",
        "within": "It is shown to be below production, within the margin.",
        "unscored": "{n} of {n_all} answers of the candidate are missing, which is too many to pass.",
        "no_truth": (
            "Nothing shows whether the answers are right. Recorded traffic without right answers can fail a candidate "
            "and never pass it."
        ),
        "labels_missing": "{n} {n:session waits|sessions wait} for labels by people.",
        "more_sessions": "{metric} is not shown to be no worse by {margin:.1f} points: {interval}",
        "no_answers": "no answer was scored.",
        "label": "Run `tuneworthy shadow label`, then the same `tuneworthy shadow replay` again.",
        "replay_more": "Run `tuneworthy shadow replay` with more traffic.",
        "budget": "The replay stopped early: {why}",
    },
).say

METRICS = {
    "quality": "Quality",
    "format": "Valid format",
    "refusal": "Answering at all",
    "latency": "Latency",
    "cost": "Cost",
    "agreement": "Agreement with production",
}
