"""A comparison of two variants as text, Markdown for a pull request, JUnit XML or JSON; no case and no answer is in it.

The JUnit file has one test, which passes where B is no worse, fails where it is worse, and is an error where neither is
shown. Source: the schema that Jenkins reads (jenkinsci/xunit-plugin, junit-10.xsd), which other servers follow.
"""

from collections.abc import Callable, Mapping
from typing import Final

import orjson

from tuneworthy.ladder.commands.compare import VariantComparison
from tuneworthy.report.render import markdown_of, render_xml
from tuneworthy.report.text import clean, escaped
from tuneworthy.stats.paired import PairedResult, p_value
from tuneworthy.stats.power import LOSS, n_for_non_inferiority

# Ids of cases in a comment, at most.
MOST_IDS = 20
# Characters of an id of a variant.
ID_LENGTH = 8


def comparison_text(result: VariantComparison) -> str:
    lines = [answer(result), _next(result)]
    if paired := result.paired:
        scores = [f"A  {clean(result.a)}: {paired.a:.1%}", f"B  {clean(result.b)}: {paired.b:.1%}"]
        p = p_value(min(paired.p_value, paired.p_worse))
        difference = (
            f"B - A: {100 * paired.delta:+.1f} points {_bounds(paired)}, one-sided {p} at alpha {paired.alpha:.3g}, "
            f"n = {paired.n} on {result.on}, {result.unscored} unscored"
        )
        lines = [*scores, difference, *lines]
    return "\n".join(filter(None, lines)) + "\n"


def comparison_markdown(result: VariantComparison) -> str:
    """Return the comparison as a comment of a pull request: the answer, the scores, the cases that changed."""
    return markdown_of("comparison.md.j2", **_parts(result), most=MOST_IDS, id_length=ID_LENGTH)


def comparison_junit(result: VariantComparison) -> str:
    return render_xml("junit.xml.j2", **_parts(result), text=comparison_text(result))


def _parts(result: VariantComparison) -> dict[str, object]:
    return {
        "result": result,
        "answer": answer(result),
        "next": _next(result),
        "bounds": _bounds(result.paired) if result.paired else "",
    }


def comparison_json(result: VariantComparison) -> str:
    return escaped(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode()) + "\n"


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
    if result.answer == "worse":
        return (
            "Next: fix the change. To see why a case fails, run `tuneworthy cases show ID --variant B` where you ran "
            "`compare`, with the same B."
        )
    if result.answer == "unresolved" and not result.unvalidated:
        return (
            f"Next: showing non-inferiority takes about {n_for_non_inferiority(result.margin, 2 * LOSS):,} cases. "
            "Add cases with `tuneworthy cases add`, and compare on the test set with --test."
        )
    return ""


def _bounds(paired: PairedResult) -> str:
    return f"[{100 * paired.ci[0]:+.1f}, {100 * paired.ci[1]:+.1f}]"
