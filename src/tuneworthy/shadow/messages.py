"""Every sentence of this folder that a person reads at run time."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        "no_sessions": "The recording has no conversation with an answer. {n} {n:row was|rows were} left out.",
        "no_sessions_hint": "Pass logs that `tuneworthy data import` reads, with the answers of the model in use.",
        "recording": "Replaying {n:,} of {n_all:,} sessions ({n_turns:,} {n_turns:turn|turns}).",
        "recording_all": "Replaying all {n:,} {n:session|sessions} ({n_turns:,} {n_turns:turn|turns}).",
        "traffic": (
            "{n_all:,} {n_all:session was|sessions were} recorded. Of these, {n:,} {n:has|have} ended ({n_turns:,} "
            "{n_turns:turn|turns})."
        ),
        "mirrored": "The gateway asked the candidate in {n:,} of {n_all:,} turns, and the replay in the others.",
        "no_traffic": "The proxy has recorded no session that has ended.",
        "no_traffic_hint": "Pass log files, or send traffic through `tuneworthy shadow proxy` first.",
        "masked": "Personal data is masked in {n} {n:session|sessions}.",
        "dropped": "{n} {n:session|sessions} with personal data {n:is|are} left out, as `data.policy` says.",
        "unread": "{n} {n:row was|rows were} left out: no answer, or not text.",
        "repeated": (
            "{n:,} of {n_all:,} sessions repeat the questions of another word for word. If a log is included twice, or "
            "one client repeats itself, leave the repetitions out: they make the result look more certain than it is."
        ),
        "more_strata": "`{key}` has {n} values. The {most} with the most sessions are examined separately.",
        "no_stratum": "No row of the recording has the key `{key}`.",
        "no_stratum_hint": "Use a key of the rows or of their `metadata`.",
        "same_variant": "Candidate and production are the same variant, {name}.",
        "same_variant_hint": "Name another variant with --candidate.",
        "nothing_to_label": "No stored replay waits for labels.",
        "sheet": "question: {question}\nanswer: {answer}",
        "replay_first": "Run `tuneworthy shadow replay FILES` first.",
        "no_listening": "The proxy cannot listen on {address}: {reason}.",
        "choose_port": "Choose another --host or --port.",
        "more_than_path": "The address of the API at {host} has a query or a fragment.",
        "only_path": "Pass the address without what follows ? or #.",
        # A canary
        "not_passed": "{name} has not passed in shadow.",
        "shadow_first": "Run `tuneworthy shadow proxy URL` or `tuneworthy shadow replay FILES` until it passes.",
        "rolled_back": "The canary of this candidate was rolled back: {why}",
        "try_again": "Use another candidate, or remove {path} to begin again.",
        "candidate_fails": (
            "The candidate gave no whole answer to {n} of the last {n_all} requests that it was sent for users. "
            "Production answers from now on."
        ),
        "canary_at": "Canary: {n} of {n_all} steps have passed; the candidate answers {share:.1%} of the sessions.",
        "canary_stopped": "The canary is stopped by {path}.",
        "remove_stop": "Remove the file to go on.",
        "no_route": "{name} cannot answer users through the proxy.",
        "no_route_hint": (
            "A canary needs a variant of one call, without retrieval or thinking aloud, on a server that speaks the "
            "OpenAI protocol."
        ),
        "no_route_wrapped": "{name} gets its labels as JSON from this server, which users would see.",
        "no_route_shots": "{name} chooses its examples for each case, which the proxy does not.",
        "no_route_personal": (
            "With --canary the candidate gets the text of users unmasked, and `data.policy` drops personal data."
        ),
        "no_route_personal_hint": "Leave out --canary, or change `personal_data` in `data.policy`.",
        "other_candidate": "Use another candidate.",
        # Beside another gateway
        "no_gateway": "{name} is on a model that LiteLLM cannot be pointed at.",
        "no_gateway_hint": "Production must be a model with `provider` openai or anthropic.",
        "no_gateway_template": (
            "The prompt of {name} has more than {{{{ input }}}} to fill, which the callback of LiteLLM cannot do."
        ),
        # The proxy answers these to a user's request
        "body_too_large": "The body of the request has more than {most:,} bytes.",
        "headers_too_large": "The headers of the request have more than {most:,} bytes.",
        "bad_length": "The request gives the length of its body more than once, or not as a number.",
        "target_too_long": "The path and the query of the request have more than {most:,} bytes.",
        "bad_host": "The request needs one Host header.",
        "bad_version": "HTTP {version} is not supported.",
        "bad_path": "The path of the request does not begin with a slash.",
        "method_refused": "The method {method} is not passed on.",
        "upstream_down": "{host} cannot be reached, or gives no answer that is HTTP ({error}).",
        "upstream_late": "{host} sends no answer.",
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
        # What traffic asks and the cases hardly cover
        "drift": (
            "Traffic asks what the cases hardly cover: {n:,} of {n_all:,} different questions "
            "({share:.1%} [{low:.1%}, {high:.1%}]) have no case among their {k} nearest neighbours; {expected:.1%} "
            "would by chance (n = {n_cases:,} cases, {n_sessions:,} sessions, p = {p_value:.3f})."
        ),
        "no_drift": (
            "Nothing shows that the cases leave out what traffic asks: {n:,} of {n_all:,} different questions "
            "({share:.1%} [{low:.1%}, {high:.1%}]) have no case among their {k} nearest neighbours; {expected:.1%} "
            "would by chance (n = {n_cases:,} cases, {n_sessions:,} sessions, p = {p_value:.3f})."
        ),
        "topic": "{n:,} {n:session|sessions}: {words} ({example})",
        "sample": "Draw new cases from the traffic: {command}",
        "budget": "The replay stopped early: {why}",
        # Confidence
        "rate": "{share:.1%} [{low:.1%}, {high:.1%}]",
        "confidence_alert": (
            "Alert: the share of answers with low confidence was shown to exceed dev's by more than {margin:.1f} "
            "points{since}."
        ),
        "confidence_since": ", since about session {n:,}",
        "confidence_quiet": (
            "The share of answers with low confidence is not shown to exceed dev's by more than {margin:.1f} points."
        ),
        "confidence_shares": (
            "It is {production} in production (n = {n:,} {n:session|sessions}) and {dev} on dev (n = {n_dev:,})."
        ),
        "confidence_then": (
            "Up to the alert at session {at:,} it was {then} (n = {n:,} {n:session|sessions}), after the alert {now} "
            "(n = {n_now:,}). On dev it is {dev} (n = {n_dev:,})."
        ),
        "confidence_means": (
            "On dev, {wrong} of the answers with low confidence are wrong, and {others} of the others."
        ),
        "confidence_fix": (
            "Check which model the server runs, then read the answers with low confidence: the key `confidence` in "
            ".tuneworthy/{file}."
        ),
        "confidence_over": "Sampling has ended: {n:,} {n:session|sessions} (`shadow.sessions`) were judged.",
        "confidence_unknown": "Confidence in production is not known: {why}",
        "confidence_missing": "no answer of the candidate has log-probabilities, and none is sampled.",
        "confidence_gap": (
            "of the last {n_all:,} {n_all:session|sessions}, {n:,} have neither log-probabilities nor sampled answers, "
            "and {n_known:,} have. Check that the server still returns them."
        ),
        "confidence_earlier": (
            "Earlier in this canary there was an alert, from sessions whose pairs are no longer stored. {alert} In the "
            "last step: {now}"
        ),
        "confidence_unwatched": (
            "it was not watched in the last replay. Run `{command}`. If the proxy runs, start it again instead."
        ),
        "confidence_unmeasured": (
            "it is not measured on dev{other}. Run `tuneworthy decode uncertainty --variant {options}`."
        ),
        "confidence_other": " (what is stored was measured with {name}, {id})",
        "confidence_margin": (
            "a margin of {margin:.1f} points can never alert, because dev's share may be as high as {high:.1%}. Set "
            "`shadow.confidence_margin` below {most:.3f}, or measure more dev cases."
        ),
        "confidence_refused": "on dev, {why}.",
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
