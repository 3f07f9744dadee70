"""Every sentence of this folder that a person reads at run time."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        "no_sessions": "The recording has no conversation with an answer. {n} {n:row was|rows were} left out.",
        "no_sessions_hint": "Pass logs that `tuneworthy data import` reads, with the answers of the model in use.",
        "recording": "Replaying {n:,} of {n_all:,} sessions ({n_turns:,} {n_turns:turn|turns}).",
        "recording_all": "Replaying all {n:,} {n:session|sessions} ({n_turns:,} {n_turns:turn|turns}).",
        "masked": "Personal data is masked in {n} {n:session|sessions}.",
        "dropped": "{n} {n:session|sessions} with personal data {n:is|are} left out, as `data.policy` says.",
        "unread": "{n} {n:row was|rows were} left out: no answer, or not text.",
        "more_strata": "`{key}` has {n} values. The {most} with the most sessions are examined separately.",
        "no_stratum": "No row of the recording has the key `{key}`.",
        "no_stratum_hint": "Use a key of the rows or of their `metadata`.",
        "same_variant": "Candidate and production are the same variant, {name}.",
        "same_variant_hint": "Name another variant with --candidate.",
        "nothing_to_label": "No stored replay waits for labels.",
        "sheet": "question: {question}\nanswer: {answer}",
        "replay_first": "Run `tuneworthy shadow replay FILES` first.",
        # What a replay shows
        "worse": "{metric} is worse by more than {margin:.1f} points{where}: {interval}",
        "dear": "Cost exceeds its limit: ${usd:,.4f} per 1,000 answers (limit: ${limit:,.4f}).",
        "interval": "{estimate:+.1f} points [{low:+.1f}, {high:+.1f}], n = {n} {n:session|sessions}.",
        "level": "{estimate:.1%} [{low:.1%}, {high:.1%}], n = {n} {n:session|sessions}.",
        "where": " in {stratum}",
        "shown": "{metric} is at most {margin:.1f} points worse than production: {interval}",
        "within": "Quality is lower than in production, but by less than the margin.",
        "unscored": "The candidate gave no answer to {n} of {n_all} turns; a pass allows {most:.0%}.",
        "no_truth": (
            "The recording does not say which answers are correct. Without this, a candidate can fail but cannot pass."
        ),
        "labels_missing": "{n} {n:session needs|sessions need} human labels.",
        "more_sessions": "{metric} may be more than {margin:.1f} points worse than production: {interval}",
        "no_answers": "no answer was scored.",
        "label": "Run `tuneworthy shadow label`.",
        "fix_candidate": "Fix the candidate's errors, then run the replay again.",
        "replay_more": "Run `tuneworthy shadow replay` with more traffic.",
        "budget": "The replay stopped early: {why}",
    },
).say

METRICS = {
    "quality": "Quality",
    "format": "Valid format",
    "refusal": "Answer rate",
    "latency": "Answers within the latency limit",
    "cost": "Cost",
    "agreement": "Agreement with production",
}
