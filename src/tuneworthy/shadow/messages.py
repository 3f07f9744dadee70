"""Every sentence of this folder that a person reads at run time."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        "recording": "Replaying {n:,} of {n_all:,} sessions ({n_turns:,} {n_turns:turn|turns}).",
        "recording_all": "Replaying all {n:,} {n:session|sessions} ({n_turns:,} {n_turns:turn|turns}).",
        "traffic": (
            "{n_all:,} {n_all:session was|sessions were} recorded. Of these, {n:,} {n:has|have} ended ({n_turns:,} "
            "{n_turns:turn|turns})."
        ),
        "masked": "Personal data is masked in {n} {n:session|sessions}.",
        "dropped": "{n} {n:session|sessions} with personal data {n:is|are} left out, as `data.policy` says.",
        "unread": "{n} {n:row was|rows were} left out: no answer, or not text.",
        # A canary
        "rolled_back": "The canary was rolled back, and {by} answers from now on. {why}",
        "step": "The candidate answers {share:.0%} of the sessions that are not copied.",
        "withdrawn": (
            "Send all traffic to production again. Then record new calls, and make a project of them with "
            "`tuneworthy init --from`."
        ),
        # Events of the proxy, on its terminal
        "verdict_pass": "The candidate passed. Next: tuneworthy shadow report",
        "verdict_fail": "The verdict is to stop, and no more copies are made. Next: tuneworthy shadow report",
        "not_compared": "First copy that was not compared ({outcome}). `/-/metrics` counts all.",
        # The proxy answers these to a user's request
        "headers_too_large": "The headers of the request have more than {headers:,} bytes.",
        "bad_length": "The request gives the length of its body more than once, or not as a number.",
        "target_too_long": "The path and the query of the request have more than {target:,} bytes.",
        "bad_host": "The request needs one Host header.",
        "bad_version": "HTTP {version} is not supported.",
        "bad_path": "The path of the request does not begin with a slash.",
        "path_climbs": "The path of the request could lead out of the folder that the proxy forwards to.",
        "no_such_path": "There is no such path.",
        "loop": "The request came back to this proxy: the URL that it forwards to leads here.",
        "method_refused": "The method {method} is not passed on.",
        "upstream_down": "{host} cannot be reached, or gives no answer that is HTTP ({error}).",
        "upstream_late": "{host} sends no answer.",
        # Output of a replay
        "interval": "{estimate:+.1f} points [{low:+.1f}, {high:+.1f}], n = {n} {n:session|sessions}.",
        "open_interval": (
            "{estimate:+.1f} points, n = {n} {n:session|sessions}. An interval needs {days} finished days, or more."
        ),
        "level": "{estimate:.1%} [{low:.1%}, {high:.1%}], n = {n} {n:session|sessions}.",
        "open_level": (
            "{estimate:.1%}, n = {n} {n:session|sessions}. An interval needs {days} finished days, or more."
        ),
        "unscored": "The candidate gave no answer to {n} of {n_all} turns; a pass allows {most:.0%}.",
        "undated": (
            "{n:,} {n:session has|sessions have} no date. Without days, a candidate can fail but cannot pass "
            "(--one-period)."
        ),
        "forecast": (
            "Forecast at {sessions:,.0f} sessions a day and a standard deviation of {between:.1f} points between days "
            "({known}): an equal candidate passes after {to_pass} in all; a loss of {losses} points beyond the margin "
            "is shown after {to_stop}. {first}"
        ),
        "forecast_before": (
            "Traffic to this candidate is not known yet. Forecast by copied sessions a day: an equal candidate passes "
            "after {rows} if people label {share:.0%} of the sessions (`shadow.label_share`)."
        ),
        "label": "Run `tuneworthy label shadow`.",
        "more_labels": (
            "Labels limit the result: people label {share:.0%} of the sessions. Set a larger `shadow.label_share` "
            "once and run `tuneworthy label shadow`, or collect more traffic."
        ),
        "more_traffic": "Let `tuneworthy shadow proxy` run on, or replay more traffic.",
        "restart": (
            "See its errors in `.tuneworthy/logs/shadow.log`. To try again after a repair, end the proxy and run "
            "`{command} --restart`."
        ),
        # What traffic asks and the cases hardly cover
        "drift": (
            "Traffic asks what the cases hardly cover: {n_uncovered:,} of {n_questions:,} different questions "
            "({share:.1%} [{low:.1%}, {high:.1%}]) have no case among their {neighbours} nearest neighbours; "
            "{expected:.1%} would by chance (n = {n_cases:,} cases, {n_sessions:,} sessions, p = {p_value:.3f})."
        ),
        "no_drift": (
            "Nothing shows that the cases leave out what traffic asks: {n_uncovered:,} of {n_questions:,} different "
            "questions ({share:.1%} [{low:.1%}, {high:.1%}]) have no case among their {neighbours} nearest neighbours; "
            "{expected:.1%} would by chance (n = {n_cases:,} cases, {n_sessions:,} sessions, p = {p_value:.3f})."
        ),
        "sample": "Draw new cases from the traffic: {command}",
        # Confidence
        "rate": "{share:.1%} [{low:.1%}, {high:.1%}]",
        "confidence_alert": (
            "Alert: the share of answers with low confidence was shown to exceed dev's by more than {margin:.1f} "
            "points{since}."
        ),
        "confidence_quiet": (
            "The share of answers with low confidence is not shown to exceed dev's by more than {margin:.1f} points."
        ),
        "confidence_unknown": "Confidence in production is not known: {why}",
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
