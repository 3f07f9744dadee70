"""A comparison of two variants as text, Markdown for a pull request, JUnit XML or JSON.

Only the text shows questions and answers, of dev cases; personal data in them is masked.

The JUnit file has one test, which passes where B is no worse, fails where it is worse, and is an error where neither is
shown. Source: the schema that Jenkins reads (jenkinsci/xunit-plugin, junit-10.xsd), which other servers follow.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import orjson

from tuneworthy.ladder.commands.compare import VariantComparison
from tuneworthy.report.answers import prompt_diff
from tuneworthy.report.names import differences
from tuneworthy.report.render import markdown_of, render_xml
from tuneworthy.report.text import clean, dollars, escaped
from tuneworthy.stats.paired import PairedResult, p_value
from tuneworthy.stats.power import LOSS, n_for_non_inferiority
from tuneworthy.types import TextPair

# Ids of cases in a comment, at most.
MOST_IDS = 20
# Changed cases of a kind in the text, at most.
MAX_SHOWN = 5
STEPS = {
    "run": "run `tuneworthy run` to measure B on the test set",
    "write": "put B into the project file ([prompt], and its model as ladder.baseline), then run `tuneworthy run` to "
    "measure B on the test set",
    "test": "run this command with --test to compare on the test set",
}
SIGNS = {"add": "+", "remove": "-", "same": " "}
# Characters of an id of a variant.
ID_LENGTH = 8


def comparison_text(result: VariantComparison) -> str:
    """Return the comparison for a terminal: scores, costs, changed dev cases, the change of the prompt, the answer."""
    return "\n".join(filter(None, [*_numbers(result), *_changes(result), answer(result), _next(result)])) + "\n"


def _numbers(result: VariantComparison) -> Iterator[str]:
    if not (paired := result.paired):
        return
    for side, words, score in zip("AB", names(result), (paired.a, paired.b), strict=True):
        yield f"{side}  {words}: {score:.1%}"
    p = p_value(min(paired.p_value, paired.p_worse))
    yield (
        f"B - A: {100 * paired.delta:+.1f} points {_bounds(paired)}, one-sided {p} at alpha {paired.alpha:.3g}, "
        f"n = {paired.n} on {result.on}, {result.unscored} unscored"
    )
    yield costs(result)


def names(result: VariantComparison) -> TextPair:
    first, second = differences(*result.variants) if result.variants else (result.a, result.b)
    return clean(first), clean(second)


def costs(result: VariantComparison) -> str:
    a, b = result.usd_per_1k
    if a is None or b is None:
        return ""
    more = f"{'+' if b >= a else ''}{dollars(b - a)}"
    return f"Cost per 1,000 answers: {dollars(a)} with A, {dollars(b)} with B ({more})."


def _changes(result: VariantComparison) -> Iterator[str]:
    """Yield the changed dev cases with both answers, and the changes of model, settings and prompt."""
    for title, ids in (("Broken", result.losses), ("Fixed", result.gains)):
        rows = [row for row in result.changed if row.case.case in ids]
        if rows:
            yield f"{title} by B ({len(ids)}):"
        for row in rows[:MAX_SHOWN]:
            yield f"  {clean(row.case.case)[:12]}  {clean(row.case.question, 100)}"
            yield f"    expected {clean(row.case.expected, 60)} | A: {clean(row.a, 60)} | B: {clean(row.b, 60)}"
        if len(rows) > MAX_SHOWN:
            yield f"  and {len(rows) - MAX_SHOWN} more"
    diff = prompt_diff(*result.variants, "Changes from A to B:") if result.variants else None
    if diff:
        yield diff.title
        yield from (f"  {SIGNS[change]} {line}" for change, line in diff.lines if change != "same")


def comparison_markdown(result: VariantComparison) -> str:
    """Return the comparison as a comment of a pull request: the answer, the scores, the cases that changed."""
    return markdown_of("comparison.md.j2", **_parts(result), most=MOST_IDS, id_length=ID_LENGTH)


def comparison_junit(result: VariantComparison) -> str:
    return render_xml(
        "junit.xml.j2", **_parts(result), text=comparison_text(replace(result, changed=(), variants=None))
    )


def _parts(result: VariantComparison) -> dict[str, object]:
    return {
        "result": result,
        "answer": answer(result),
        "next": _next(result),
        "names": names(result),
        "costs": costs(result),
        "bounds": _bounds(result.paired) if result.paired else "",
    }


def comparison_json(result: VariantComparison) -> str:
    content = orjson.loads(orjson.dumps(result))
    del content["variants"], content["changed"], content["step"]
    return escaped(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()) + "\n"


FORMATS: Final[Mapping[str, Callable[[VariantComparison], str]]] = {
    "text": comparison_text,
    "json": comparison_json,
    "markdown": comparison_markdown,
    "junit": comparison_junit,
}
ENDINGS = {".txt": "text", ".json": "json", ".md": "markdown", ".xml": "junit"}


def answer(result: VariantComparison) -> str:
    margin = f"{100 * result.margin:.1f} points"
    why = result.unvalidated.rstrip(".") or f"the interval allows both a loss and non-inferiority within {margin}"
    return {
        "same": "A and B are the same variant, so there is nothing to compare.",
        "better": "B is better than A.",
        "no_worse": f"B is non-inferior to A within the margin of {margin}.",
        "worse": "B is worse than A.",
        "unresolved": f"Inconclusive: {why}.",
    }[result.answer]


def _next(result: VariantComparison) -> str:
    if result.answer == "unresolved":
        if result.unvalidated:
            return ""
        n = n_for_non_inferiority(result.margin, 2 * LOSS)
        return (
            f"Next: showing non-inferiority takes about {n:,} cases. Add cases with `tuneworthy cases add`, and "
            "compare on the test set with --test."
        )
    if result.answer == "same":
        return "Next: change the prompt, the model or a setting, then compare again."
    if result.step == "decide":
        return "Next: tuneworthy decide"
    if result.answer == "worse":
        return (
            "Next: fix the change. To see why a case fails, run `tuneworthy cases show ID --variant B` where you ran "
            "`compare`, with the same B."
        )
    return f"Next: {STEPS[result.step]}."


def _bounds(paired: PairedResult) -> str:
    return f"[{100 * paired.ci[0]:+.1f}, {100 * paired.ci[1]:+.1f}]"
