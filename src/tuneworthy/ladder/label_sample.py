"""The test cases that people label first where only today's answers are known: a weighted random sample.

Cases on which the measured options differ show which option is right, the others how often all are wrong together. Half
of the labels go to each kind, at random within it; the weights, by which all scores are then taken, undo that.

Source: Cochran, Sampling Techniques (1977), chapter 5 (stratified sampling).
"""

import random
from collections.abc import Sequence
from itertools import chain

from tuneworthy.cases.dataset import SAMPLE
from tuneworthy.cases.normalize import words
from tuneworthy.ladder.session import Session
from tuneworthy.types import NamedFloats, Variant

# Cases to label.
N_LABELS = 100


def drawn_sample(differ: Sequence[bool], n: int, seed: int) -> dict[int, float]:
    """Return places of cases to their weights: about half of `n` places where options differ, half where all agree.

    >>> sorted(drawn_sample([True, False, False, False], 2, seed=1).values())
    [1.0, 3.0]
    """
    kinds = [[at for at, one in enumerate(differ) if one is kind] for kind in (True, False)]
    n_differ = min(len(kinds[0]), max(n // 2, n - len(kinds[1])))
    sample: dict[int, float] = {}
    for places, size in zip(kinds, (n_differ, n - n_differ), strict=True):
        drawn = random.Random(seed).sample(places, min(size, len(places)))
        sample |= dict.fromkeys(drawn, len(places) / max(1, len(drawn)))
    return sample


def draw_sample(session: Session, variants: Sequence[Variant]) -> NamedFloats:
    """Draw the sample once and keep it; a later run, with other options, changes no weight. Empty with right answers.

    Args:
        session: The project.
        variants: Those with stored answers to the test cases.
    """
    if not session.agreement:
        return {}
    test = session.split.test
    kept = session.folder.read(SAMPLE, dict[str, float])
    if kept and kept.keys() <= {case.id for case in test}:
        return kept
    said: dict[str, set[str]] = {case.id: set() for case in test}
    for trace in chain.from_iterable(session.stored(variant, test) for variant in variants):
        said[trace.case_id].add(" ".join(words(trace.text)))
    found = drawn_sample([len(said[case.id]) > 1 for case in test], N_LABELS, session.project.split.seed)
    sample = {test[at].id: weight for at, weight in found.items()}
    if session.folder.writable:
        session.folder.write(SAMPLE, sample)
    return sample
