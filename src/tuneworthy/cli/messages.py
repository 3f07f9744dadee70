"""Sentences that the command line prints."""

import errno

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # trust
        # how a command ended
        "error": "error{code}: {error}",
        "bad_parameter": "{problem}",
        "stopped": "Stopped. Finished calls are cached. Run the same command again to resume.",
        "system": "The operating system",
        # options that several commands share
        # shadow
        "replay_first": "Run `tuneworthy shadow replay FILES`.",
        # cases
        # labelling on a terminal
        "not_json": "{line!r} is not valid JSON ({error}). Type the whole value on one line.",
        # reviewing on a terminal
        # deciding about findings
        # money
        "spent": (
            "Spent: ${answered:.4f} for answered calls and ${unanswered:.4f} for calls without an answer (n = {n}). "
            "Reserved for calls in flight: ${reserved:.4f}."
        ),
        # run
        "baseline_failed": "The baseline cannot be scored: {reason}.",
        "rung_waits": "waiting",
        "rung_runs": "running",
        "fetching": "Downloading the model {name} ({spec}).",
        "best": "Best: {name} with {score} (95% interval {bounds}).",
        # init, demo, report
        "report_at": "Report: {path}",
        # decide
        # compare
        "unknown_ending": "{path} must end in one of: {endings}.",
        # status, guide
        "no_source": "none; based on practice, not on a measurement",
        # models
        # data
        "unsafe": ", frozen although a gate failed",
        "curve_basis": (
            "Score: {metric} of the classical baseline ({baseline}) on {n} dev cases and held-out rows, never on "
            "test. The held-out rows passed the checks, so the recommended size may be too small. At least a third "
            "of the rows is held out and not trained on. Rows: {n_built} of version {version} and {n_dropped} that "
            "were dropped."
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
        "fix_out": "Fix the path in --out.",
        "rejects": "{path}: {n} dropped {n:row, with its|rows, each with its} reason",
        # plan, train
        "emitted": "Wrote these files to {folder}: {files}",
        "rows_dropped": "dropped: {n} {n:row|rows} ({reason})",
        "pilot_point": "  {size} {data} rows, seed {seed}, {steps} steps: {score:.1%}",
        "trained": (
            "{n_steps} steps in {seconds:.0f} s, loss from {first:.3f} to {last:.3f}, peak memory {memory:.0f} MiB"
        ),
        "stopped_early": ", stopped early",
        "not_gated": "The training rows have not passed the data gates. `tuneworthy decide` takes this into account.",
        # merge, export, parity, serve
        "merged": "Merged model: {id} ({dtype}, {base} base weights)\n{folder}",
        "serve_by_hand": "To start the server without tuneworthy, run: {command}",
        "serving": "Serving the {kind} {id} at {address}/v1 as {name}. Press Ctrl-C to stop.",
        "serving_stopped": "Stopped.",
        "classifier_exported": (
            "{name}, {size_mb:.1f} MB. Its answers match the run on all {n_test:,} test cases and {n_dev:,} dev "
            "cases. Median latency: {p50_ms:.1f} ms."
        ),
        # decode
        "no_answer": "{model} did not answer: {reason}.",
        "run_probe": "Use a model that returns log-probabilities, such as one in llama_cpp.",
        "written": "Wrote {path}.",
        "next": "Next: {action}",
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
    """Say how many errors and warnings there are, and the next step."""
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


def dropped_rows(n: int, explanation: str, first: str) -> str:
    """Say how many rows were dropped and why, and where the first is."""
    return f"  dropped: {n} row{'s' * (n != 1)} ({explanation}; first in {first})"


def failed_answers(n: int) -> str:
    """Say how many answers failed, in brackets; "" for 0."""
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
    """Report the current step, the calls of the run so far, their cost and the remaining time."""
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
