"""What traffic asks and the cases hardly cover: questions that have no case among their nearest neighbours.

Questions of traffic and cases are thinned out alike (near-duplicates count once) and pooled. The number of neighbours
follows from the two sizes, so that about `CHANCE` of the questions have no case among them if traffic
and cases come from one distribution. The same is counted for random assignments of cases: a permutation test, whose
false alarms are at most `ALPHA` at a look.

Source: nearest neighbours as a two-sample test: Schilling 1986 (doi 10.1080/01621459.1986.10478337), Henze 1988
(doi 10.1214/aos/1176350835).
"""

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from math import ceil, log
from typing import Any

import numpy as np

from tuneworthy.arrays import Bools, Ints
from tuneworthy.cases import read_cases
from tuneworthy.cases.normalize import question_of, words
from tuneworthy.cases.sampling import NearDuplicateFilter
from tuneworthy.cases.stratified import rank
from tuneworthy.config.project import Project
from tuneworthy.dataset.checks.personal_data import MASK
from tuneworthy.dataset.sources import encoder_of
from tuneworthy.shadow import messages
from tuneworthy.shadow.recording import masker_of
from tuneworthy.shadow.replay import PAIRS
from tuneworthy.stats.intervals import wilson
from tuneworthy.store import Folder
from tuneworthy.store.lines import read_lines
from tuneworthy.types import JsonMapping, JsonObject, NamedFloats, NamedTexts, Texts, frozen, grouped

CHANCE = 0.01
ALPHA = 0.05
# Times that it is drawn by lot who is a case.
DRAWS = 999
# Fewer cases, or questions of traffic, say nothing; of more, a sample is taken.
LEAST = 30
MOST = 5000
# Topics that are named, at most; the questions of one, at least; its words, and its examples.
TOPICS = 5
LEAST_OF_TOPIC = 3
_WORDS, _EXAMPLES = 5, 2
# Uncovered questions among the new cases that are drawn.
WANTED = 10
# Rows of the matrix of similarities that are computed at a time.
_BLOCK = 512


@frozen
class Topic:
    """Questions without a case near them, which are near one another.

    Attributes:
        n_sessions: Sessions that ask them, near-duplicates included.
        n_questions: Questions that differ.
        words: Words that are more frequent in them than in the cases.
        examples: Some questions, without personal data unless `data.policy` only reports it.
    """

    n_sessions: int
    n_questions: int
    words: Texts
    examples: Texts


@frozen
class TrafficDrift:
    """How much of traffic the cases hardly cover.

    Attributes:
        n_sessions: Sessions whose first recorded question was compared.
        n_questions: Questions of traffic that differ.
        n_cases: Cases that differ.
        neighbours: Nearest neighbours that are looked at.
        n_uncovered: Questions without a case among them.
        share: Of all questions, with its 95% interval.
        low: See `share`.
        high: See `share`.
        expected: Mean share where it is drawn by lot who is a case.
        p_value: Of the permutation test.
        shown: Whether it is at most `ALPHA`.
        topics: The largest, if it is shown.
    """

    n_sessions: int
    n_questions: int
    n_cases: int
    neighbours: int
    n_uncovered: int
    share: float
    low: float
    high: float
    expected: float
    p_value: float
    shown: bool
    topics: Sequence[Topic] = ()

    @property
    def sentence(self) -> str:
        return messages.say("drift" if self.shown else "no_drift", **asdict(self))

    def sample_command(self, sources: Texts) -> str:
        """Return the command that draws so many new cases that about `WANTED` are of uncovered topics."""
        n = min(self.n_questions, 10 * ceil(WANTED / self.share / 10))
        return shlex.join(
            ["tuneworthy", "cases", "sample", "--from", sources[0], "--n", str(n), "--out", "new-cases.jsonl"]
        )


def traffic_drift(project: Project, folder: Folder) -> TrafficDrift | None:
    """Compare the questions of the last replay with the cases of the project; None with too few of either.

    Raises:
        DataError: The cases cannot be read.
        ModelError: The encoder of `[data]` cannot be used.
    """
    path, cases = folder.path / PAIRS, project.path(project.cases.path)
    if not path.is_file() or not cases.exists():
        return None
    masker = masker_of(project)
    known = [question_of(case) for case in read_cases(cases).cases]
    found = first_questions(read_lines(path, JsonObject))
    if masker:  # a mask is no topic
        known = [MASK.sub("", masker.mask(text)) for text in known]
        found = {session: MASK.sub("", text) for session, text in found.items()}
    encoder, _ = encoder_of(project, folder)
    return drift(known, found, seed=project.split.seed, encode=encoder.encode if encoder else None)


def first_questions(rows: Iterable[JsonMapping]) -> NamedTexts:
    """Return the question with which each session began: later questions contain it, and all turns between."""
    first: dict[str, str] = {}
    for row in rows:
        session, question = row["session"], row["question"]
        first[session] = min(first.get(session, question), question, key=len)
    return first


def drift(cases: Texts, traffic: NamedTexts, *, seed: int = 0, encode: Any = None) -> TrafficDrift | None:
    """Compare questions of traffic with those of cases; None with fewer than `LEAST` of either.

    Args:
        cases: Questions of the cases.
        traffic: Session to its question.
        seed: Of the draws.
        encode: Returns the unit vectors of texts, `(n, width)`; TF-IDF of words and characters without it.
    """
    known, questions = _thinned(cases, seed), _thinned(traffic.values(), seed)
    if min(len(known), len(questions)) < LEAST:
        return None
    texts = [*known, *questions]
    near = _nearest(texts, min(ceil(log(CHANCE) / log(len(questions) / len(texts))), len(texts) - 1), encode)
    is_case = np.arange(len(texts)) < len(known)
    open_ = _uncovered(near, is_case)
    drawn = np.random.default_rng(seed)
    counts = np.array([_uncovered(near, drawn.permutation(is_case)).sum() for _ in range(DRAWS)])
    n, m = int(open_.sum()), len(questions)
    p_value = (1 + int((counts >= n).sum())) / (1 + DRAWS)
    low, high = wilson(n, m)
    topics = _topics(texts, near, np.flatnonzero(open_), known, traffic) if p_value <= ALPHA else []
    return TrafficDrift(
        n_sessions=len(traffic),
        n_questions=m,
        n_cases=len(known),
        neighbours=near.shape[1],
        n_uncovered=n,
        share=n / m,
        low=low,
        high=high,
        expected=float(counts.mean()) / m,
        p_value=p_value,
        shown=p_value <= ALPHA,
        topics=topics,
    )


def _thinned(texts: Iterable[str], seed: int) -> list[str]:
    """Return texts without near-duplicates, at most `MOST`, whatever their order was."""
    near = NearDuplicateFilter()
    return [text for text in sorted({*texts} - {""}, key=lambda text: rank(seed, text)) if near.add(text)][:MOST]


def _nearest(texts: Texts, k: int, encode: Any) -> Ints:
    from tuneworthy.classical.features import TextFeatures

    vectors = encode(texts) if encode else TextFeatures().fit_transform(texts)
    places = []
    for first in range(0, len(texts), _BLOCK):
        block = vectors[first : first + _BLOCK] @ vectors.T
        similar = np.asarray(block if encode else block.toarray())
        rows = np.arange(len(similar))
        similar[rows, first + rows] = -np.inf
        places.append(np.argpartition(-similar, k - 1, axis=1)[:, :k])
    return np.concatenate(places)


def _uncovered(near: Ints, is_case: Bools) -> Bools:
    """Return which texts are no case and have no case among their neighbours, `(n,)`."""
    return np.asarray(~is_case & ~is_case[near].any(axis=1))


def _topics(texts: Texts, near: Ints, places: Ints, cases: Texts, traffic: NamedTexts) -> list[Topic]:
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    order = {place: n for n, place in enumerate(places.tolist())}
    links = [(n, order[other]) for place, n in order.items() for other in near[place].tolist() if other in order]
    rows, columns = zip(*links, strict=True) if links else ((), ())
    graph = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(places), len(places)))
    mutual = graph.multiply(graph.T)
    _, groups = connected_components(mutual, directed=False)
    degree = np.asarray(mutual.sum(axis=1)).ravel()
    members = grouped((groups[n], n) for n in np.argsort(-degree, kind="stable").tolist())
    usual = _frequencies(cases)
    topics = []
    for group in members.values():
        if len(group) >= LEAST_OF_TOPIC:
            own = [texts[places[n]] for n in group]
            shares = _frequencies(own)
            telling = sorted(shares, key=lambda word: (usual.get(word, 0.0) - shares[word], word))[:_WORDS]
            questions = NearDuplicateFilter()
            for question in own:
                questions.add(question)
            n = sum(questions.holds(text) for text in traffic.values())
            topics.append(Topic(n_sessions=n, n_questions=len(own), words=telling, examples=own[:_EXAMPLES]))
    return sorted(topics, key=lambda topic: -topic.n_sessions)[:TOPICS]


def _frequencies(texts: Texts) -> NamedFloats:
    counts = Counter(word for text in texts for word in {*words(text)} if not word.isdigit())
    return {word: n / len(texts) for word, n in counts.items()}
