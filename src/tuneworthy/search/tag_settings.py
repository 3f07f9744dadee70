"""Settings by tag: for each tag of the cases the best of the settings that a race explored, from stored answers.

Invariant: no model is called. The choice is cross-fitted: cases are dealt to two halves, and each half is scored with
the settings that the other half chose. So no case that chose the settings enters the score that decides.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import numpy as np

from tuneworthy.arrays import Bools, Floats, Ints
from tuneworthy.cases.stratified import numbered
from tuneworthy.engine.runner import usage
from tuneworthy.search.racing import DevScores, Race, entry_of, within_one_error
from tuneworthy.stats.ratios import effective_groups
from tuneworthy.types import MOST_UNSCORED, Cases, TagSetting, Texts, Traces, Variant

# Independent cases of a tag that the race has answered, at least.
MIN_CASES = 20
# Standard errors by which settings by tag are better, at least, if they are offered: two-sided 95%.
OFFERED = 1.96
# Takes a variant and cases; returns each case's contribution, its possible value, and its traces, one a case.
Answers = Callable[[Variant, Cases], Awaitable[tuple[Floats, Floats, Traces]]]


async def with_tag_settings(
    raced: Race, further: Sequence[Variant], dev: Cases, answers: Answers, saving: float
) -> tuple[Race, list[str]]:
    """Return the race with settings by tag in front if they are better or cheaper, and notes.

    Args:
        raced: Its candidates differ in their settings.
        further: Variants with other settings that have answered all cases.
        dev: The cases of the race, in its order.
        answers: Reads stored answers.
        saving: The largest ratio of two costs that counts as cheaper.
    """
    n = max(entry.n for entry in raced.entries)
    cases, winner = dev[:n], raced.winner
    tags, sources = np.array([(*case.tags, "")[0] for case in cases]), np.array([case.source for case in cases])
    sizes = {tag: effective_groups(sources[tags == tag]) for tag in np.unique(tags[tags != ""]).tolist()}
    wanted = [tag for tag, size in sizes.items() if size >= MIN_CASES]
    if not wanted:
        return raced, [
            f"Settings by tag were not tried: no tag has {MIN_CASES} independent dev cases in the race."
        ] * bool(sizes)
    arms = [winner, *[one.variant for one in raced.entries if one.n == n and one.variant != winner], *further]
    columns = [
        [num, den, *zip(*(usage([trace]).weight for trace in traces), strict=True)]
        for num, den, traces in [await answers(arm, cases) for arm in arms]
    ]
    own, measured = choose(np.array(columns).swapaxes(0, 1), tags, np.array(numbered(sources.tolist())), wanted, saving)
    if measured is None:
        return raced, [f"No setting by tag is better or cheaper on the {n} dev cases of the race."]
    settings = {tag: TagSetting(decoding=arms[at].decoding, max_tokens=arms[at].max_tokens) for tag, at in own.items()}
    variant = replace(winner, name=f"{winner.name},by_tag", by_tag=settings, notes=(*winner.notes, "by tag"))
    return replace(raced, entries=[entry_of(variant, measured, cases), *raced.entries], winner=variant), [
        f"Settings by tag: {', '.join(own)}. They need the first tag of each request. Other tags, and tags with fewer "
        f"than {MIN_CASES} dev cases in the race, get the default."
    ]


def choose(
    answers: Floats, tags: np.ndarray, groups: Ints, wanted: Texts, saving: float
) -> tuple[dict[str, int], DevScores | None]:
    """Return the arms of the tags that get another than the first, and their cross-fitted result.

    The result is None if they are neither better nor cheaper than the first arm for all.

    Args:
        answers: Contributions, possible values, dollars and tokens, `(4, n_arms, n_cases)`.
        tags: First tag of each case.
        groups: Cases that share a source, and so a half.
        wanted: Tags that may have settings of their own.
        saving: See `with_tag_settings`.
    """

    def table(among: Bools) -> dict[str, int]:
        parts = {tag: _scores(answers[:, :, among & (tags == tag)]) for tag in wanted}
        return {tag: arm for tag, part in parts.items() if (arm := preferred(part, saving))}

    picks = np.zeros(len(tags), np.int64)
    for half in (0, 1):
        for tag, arm in table(groups % 2 != half).items():
            picks[(groups % 2 == half) & (tags == tag)] = arm
    both = _scores(np.stack([answers[:, 0], answers[:, picks, np.arange(len(tags))]], axis=1))
    own = table(tags != "")
    return own, both[1] if own and preferred(both, saving, OFFERED) else None


def _scores(answers: Floats) -> list[DevScores]:
    return [
        DevScores(num=num, den=den, cost_usd=float(usd.sum()) / 1000, weight=(float(usd.mean()), float(tokens.mean())))
        for num, den, usd, tokens in answers.swapaxes(0, 1)
    ]


def preferred(arms: Sequence[DevScores], saving: float, errors: float = 1.0) -> int:
    """Return the first arm, unless another is better by so many standard errors, or as good and much cheaper.

    As good is within one paired standard error of the best.
    """
    scores = [np.nansum(one.num) / max(one.den[~np.isnan(one.num)].sum(), 1e-12) for one in arms]
    fit = [at for at, one in enumerate(arms) if not at or np.isnan(one.num).mean() <= MOST_UNSCORED]
    best = max(fit, key=lambda at: (scores[at], -at))
    close = [at for at in fit if at == best or within_one_error(arms[best], arms[at], len(arms[at].num))]
    cheaper = [at for at in close if arms[at].weight <= tuple(saving * part for part in arms[0].weight)]
    return min(
        (cheaper or [0]) if not best or within_one_error(arms[best], arms[0], len(arms[0].num), errors) else close,
        key=lambda at: (arms[at].weight, at),
    )
