"""How unevenly the rows are spread over topics, and which rows are too many.

A topic is a set of questions around one that has the most neighbours (Butina 1999, "Unsupervised data base
clustering based on Daylight's fingerprint and Tanimoto similarity"): no number of topics is set, and a question that is
asked a thousand times in other words stays one topic. They are found in a seeded sample; the other rows join the
largest topic whose centre they are like. The effective number of topics is 1 / sum(p^2) (Simpson's index).
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneworthy.cases.normalize import words
from tuneworthy.cases.task_kind import label_counts, parse_object
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import DATA_CHECKS, WHOLE_SET, CheckContext, RowFinding
from tuneworthy.dataset.checks.label_errors import shared_answers
from tuneworthy.dataset.records import Action
from tuneworthy.retrieval.encoder import Encoder
from tuneworthy.stats.intervals import wilson
from tuneworthy.types import Case, Example, canonical

# Questions among which topics are looked for: seconds, and 100 MB.
SAMPLE = 4_000
# Questions from which the sample alone is looked at first, and standard errors by which its largest topic must be below
# the cap for the others to be let be: minutes.
MANY, _ERRORS = 80_000, 5
# Least likeness of a question to the centre of its topic: of characters, and in meaning.
MIN_COSINE, ENCODER_COSINE = 0.4, 0.65
# Likeness of the members of two topics, as a share of that within them, from which they are one; and members needed.
MERGED, MIN_MERGED = 0.7, 5
# Fewer rows have no distribution worth a word.
MIN_ROWS = 50
_SPREADS = 6
_BLOCK = 2_048
# Rows of a topic, and of others, by which the words of the topic are judged: memory.
_COMPARED = 20_000
_CLIP = 1_000


@dataclass(frozen=True, slots=True)
class TopicSpread:
    """How rows are spread over topics.

    Attributes:
        n_rows: How many there are.
        n_topics: How many topics there are.
        top: Shares of the largest topics, falling.
        effective: The number of equally large topics that would be as uneven.
    """

    n_rows: int
    n_topics: int
    top: tuple[float, ...]
    effective: float

    def top_share(self, k: int) -> float:
        """Return the share of the `k` largest topics (at most as many as `top` holds)."""
        return sum(self.top[:k])


def topic_spread(topics: Sequence[int], k: int = 10) -> TopicSpread:
    """Return how rows, given by their topics, are spread; with the shares of the `k` largest.

    >>> topic_spread([0] * 6 + [1, 2, 3, 4]).effective
    2.5
    """
    n = len(topics)
    counts = sorted(Counter(topics).values(), reverse=True)
    squares = sum(count * count for count in counts)
    top = tuple(count / n for count in counts[:k])
    return TopicSpread(n, len(counts), top, n * n / squares if squares else 0.0)


def over_cap(
    topics: Sequence[int],
    cap: float,
    seed: int = 0,
    limits: Mapping[int, float] | None = None,
    text: Callable[[int], str] | None = None,
) -> list[int]:
    """Return the rows to leave out so that no topic is more than its limit, a share of the rows that are left.

    Which rows of a topic stay is drawn with `seed`; with `text`, rows whose words are rarest in other topics are left
    out first (see `likeness`). No limit is below twice the even share; topics of one row count only if they make up
    `cap` of the rows together.

    Args:
        topics: The topic of each row.
        cap: Limit of topics that `limits` does not name, 0..1.
        seed: Of the draw.
        limits: Shares that topics may have.
        text: The question of a row.
    """
    if not len(topics):
        return []
    most = _sizes_within(Counter(topics), cap, limits or {})
    places: dict[int, list[int]] = {topic: [] for topic in most}
    for row, topic in enumerate(topics):
        if topic in places:
            places[topic].append(row)
    places = {topic: rows for topic, rows in places.items() if most[topic] < len(rows)}
    rng, extra = np.random.default_rng(seed), list[int]()
    sample = rng.permutation(len(topics))[:_COMPARED].tolist()
    terms = count_terms(map(text, sample)) if text and places else None
    for topic, rows in places.items():
        drawn = rng.permutation(rows)
        if text and terms:
            own = count_terms(text(row) for row in sample if topics[row] == topic)
            alike = likeness([text(row) for row in drawn.tolist()], own, terms)
            drawn = drawn[np.argsort(-alike, kind="stable")]
        extra += drawn[most[topic] :].tolist()
    return sorted(extra)


def _sizes_within(sizes: Mapping[int, int], cap: float, limits: Mapping[int, float]) -> dict[int, int]:
    """Return how many rows of each topic of several rows may stay."""
    most, before = {topic: size for topic, size in sizes.items() if size > 1}, dict[int, int]()
    n_rows = sum(sizes.values())
    single = n_rows - sum(most.values())
    n_topics = len(sizes) if single >= cap * n_rows else len(most)
    caps = {topic: max(limits.get(topic, cap), min(1.0, 2 / n_topics)) for topic in most}
    while most != before:
        before, n = most, single + sum(most.values())
        most = {topic: min(size, max(1, int(caps[topic] * n))) for topic, size in most.items()}
    return most


class TermCounts(NamedTuple):
    """How many of some texts have each word, and each pair of neighbours.

    Attributes:
        n_texts: Texts.
        n: The sum of the counts.
        counts: The counts.
    """

    n_texts: int
    n: int
    counts: Counter[str]


def count_terms(texts: Iterable[str]) -> TermCounts:
    """Count the words and pairs of neighbours of `texts`."""
    n_texts, counts = 0, Counter[str]()
    for text in texts:
        n_texts += 1
        counts.update(_terms(text))
    return TermCounts(n_texts, counts.total(), counts)


def _terms(text: str) -> set[str]:
    own = words(text[:_CLIP])
    return {*own, *(f"{one} {other}" for one, other in itertools.pairwise(own))}


def likeness(texts: Sequence[str], own: TermCounts, both: TermCounts) -> NDArray[np.float64]:
    """Return how much likelier each text is among others than among its own and them: log of a ratio.

    The importance weight of a bag of n-grams (Xie et al. 2023, "Data Selection for Language Models via Importance
    Resampling"): what a flood adds to questions is rare elsewhere, while what tells a label is in all its rows. A term
    that no further text has tells nothing: it weighs as much as the terms of its label do on average.

    Args:
        texts: Texts of one label or topic.
        own: Terms of a sample of it.
        both: Terms of a sample of all texts, which holds the other.

    >>> some = ["where is my card", "where is my card, ref 12", "my card, ref 9"]
    >>> likeness(some, count_terms(some), count_terms([*some, "where is it", "my bag is"])).round(1).tolist()
    [-4.2, -9.6, -8.9]
    """
    n_own, n_rest, n_others = max(1, own.n), max(1, both.n - own.n), max(1, both.n_texts - own.n_texts)
    weights = dict[str, float]()
    for term, count in own.counts.items():
        elsewhere = both.counts[term] - count
        if share := ((count - 1) / n_own + elsewhere / n_rest) / 2:
            # when in doubt, a term is as likely among the others
            weights[term] = math.log((elsewhere + share * n_others) / ((n_rest + n_others) * share))
    known = sum(own.counts[term] for term in weights)
    usual = math.fsum(weight * own.counts[term] for term, weight in weights.items()) / max(1, known)
    # the order of a set differs between processes, and must not decide
    return np.array([math.fsum(weights.get(term, usual) for term in _terms(text)) for text in texts])


def find_topics(texts: Sequence[str], encoder: Encoder | None = None, seed: int = 0) -> list[int]:
    """Return the topic of each text, numbered by size in the sample; a text like no centre is a topic of its own.

    Args:
        texts: Questions.
        encoder: Meaning instead of characters.
        seed: Of the sample.
    """
    if not texts:
        return []
    encode = _characters if encoder is None else encoder.encode
    sample = np.sort(np.random.default_rng(seed).permutation(len(texts))[:SAMPLE])
    drawn = encode([texts[number] for number in sample])
    alike = _products(drawn, drawn)
    least = _least(alike, MIN_COSINE if encoder is None else ENCODER_COSINE, seed)
    near = alike >= least
    first = _centres(near)
    merged = _merged(alike, near, first)
    topics = np.arange(len(first), len(first) + len(texts))
    for start in range(0, len(texts), _BLOCK) if first else ():
        joins = _products(encode(texts[start : start + _BLOCK]), drawn[first]) >= least
        some = joins.any(axis=1)
        topics[start : start + _BLOCK][some] = merged[joins.argmax(axis=1)[some]]
    return [int(topic) for topic in topics]


def _may_exceed(texts: Sequence[str], cap: float, encoder: Encoder | None, seed: int) -> bool:
    """Whether a topic can make up more than `cap` of the texts, by a sample of them."""
    drawn = np.random.default_rng(seed).permutation(len(texts))[:SAMPLE]
    share = topic_spread(find_topics([texts[number] for number in drawn], encoder, seed)).top_share(1)
    return share + _ERRORS * float(np.sqrt(share * (1 - share) / len(drawn))) > cap


def _merged(alike: NDArray[np.float32], near: NDArray[np.bool_], centres: Sequence[int]) -> NDArray[np.int64]:
    """Return for each topic the first one that it belongs to: wordings of one question that fell apart.

    Two topics are one if their members are, on average, nearly as like the other's members as their own.
    """
    topic = np.full(len(alike), -1, np.int64)
    for number, centre in reversed(list(enumerate(centres))):
        topic[near[centre]] = number
    members = np.eye(len(centres) + 1, dtype=np.float32)[topic][:, : len(centres)]
    sizes = np.maximum(1, members.sum(axis=0))
    means = members.T @ alike @ members / np.outer(sizes, sizes)
    own = np.maximum(np.diag(means), 1e-12)
    merged = np.arange(len(centres))
    for number in range(1, len(centres)):
        shares = means[number, :number] / np.minimum(own[number], own[:number])
        if shares.max() >= MERGED and min(sizes[number], sizes[int(shares.argmax())]) >= MIN_MERGED:
            merged[number] = merged[int(shares.argmax())]
    return merged


def _characters(texts: Sequence[str]) -> Any:
    """Return unit vectors of character n-grams, CSR; without weights by frequency, which a huge topic would shift."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.preprocessing import normalize

    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), n_features=2**18, alternate_sign=False, norm=None, dtype=np.float32
    )
    matrix = vectorizer.transform([text[:_CLIP] for text in texts])
    matrix.data = 1 + np.log(matrix.data)
    return normalize(matrix, copy=False)


def _products(a: Any, b: Any) -> NDArray[np.float32]:
    product = a @ b.T
    return np.asarray(product.toarray() if hasattr(product, "toarray") else product, np.float32)


def _least(alike: NDArray[np.float32], classical: float, seed: int) -> float:
    """Return the likeness from which two questions are of one topic: far above that of two drawn at random."""
    pairs = np.random.default_rng(seed).integers(0, len(alike), (20_000, 2))
    drawn = alike[pairs[:, 0], pairs[:, 1]]
    median = float(np.median(drawn))
    return min(0.95, max(classical, median + _SPREADS * float(np.median(np.abs(drawn - median)))))


def _centres(near: NDArray[np.bool_]) -> list[int]:
    """Return the centres of topics, largest first: each time, the text with the most neighbours without a topic."""
    free = np.ones(len(near), np.bool_)
    counts = near.sum(axis=1)
    centres: list[int] = []
    while free.any():
        centre = int(np.where(free, counts, -1).argmax())
        if counts[centre] < 2:
            break
        members = near[centre] & free
        centres.append(centre)
        free &= ~members
        free[centre] = False
        counts = counts - near[:, members].sum(axis=1)
    return centres


def label_topics(
    answers: Sequence[str], names: Sequence[str], cases: Iterable[Case], cap: float
) -> tuple[dict[int, int], dict[int, float]]:
    """Return the number of each answer among `names`, by row; and the share that each of them may have.

    That is the upper end of its share of the cases; of one that no case has, at most `cap`; `cap` itself where fewer
    than half of the cases have one of these answers.
    """
    numbers = {name: number for number, name in enumerate(names)}
    counts = label_counts(cases)
    n = sum(counts.values())
    of_case: Counter[int] = Counter()
    for answer, count in counts.items():
        if (number := numbers.get(_same(answer))) is not None:
            of_case[number] += count
    comparable = 2 * of_case.total() >= n > 0  # or the cases are answered in other words than the rows
    limits = {number: min(cap, wilson(0, n)[1]) for number in numbers.values()} if comparable else {}
    limits |= {number: most if comparable else max(cap, most) for number, most in _upper(of_case, n).items()}
    return {row: numbers[answer] for row, answer in enumerate(answers) if answer in numbers}, limits


def _same(answer: str) -> str:
    """Return an answer without spaces around it; a JSON object in the form that equal ones share."""
    value = parse_object(answer)
    return canonical(value).decode() if isinstance(value, dict) else answer.strip()


def _upper(counts: Mapping[int, int], n: int) -> dict[int, float]:
    """Return the upper end of the share of the `n` cases that each label or topic has."""
    return {topic: wilson(count, n)[1] for topic, count in counts.items()}


@DATA_CHECKS.rule("concentration", codes=messages.REASONS["concentration"], whole=True, version=6)
@dataclass(frozen=True, slots=True)
class Concentration:
    """One label, or one question asked in many ways, that makes up much of the rows.

    Logs repeat the most frequent questions; a model trained on them learns few questions over and over. Where the
    task has labels, a label is cut to the upper end of the 95% interval of its share of the cases, but never below
    twice the even share of a label; to `cap` where there are no cases, or most are answered in other words than the
    rows. A topic is cut to `cap` of the rows, or to its share of the cases if that is more. Where answers are JSON, or
    most are given several times, each answer counts as a label: questions with different extracted values are not
    one frequent question. Rows whose words the other labels or topics share least are dropped first: text that a
    form letter adds appears in no other label. The cases are not touched: they keep the mix of real traffic, on which
    the model is measured.

    Bad: 30 % of the rows ask how to reset a password.
    """

    cap: float = 0.1
    action: Action = "drop"

    def __call__(self, rows: Sequence[Example], context: CheckContext) -> Iterator[RowFinding]:
        if len(rows) < MIN_ROWS:
            return
        answers = [_same(row.answer) for row in rows]
        objects = [answer for answer in answers if answer.startswith("{")]
        names = [*context.labels] or sorted(set(objects) if 2 * len(objects) > len(rows) else shared_answers(answers))
        if names:
            of_row, limits = label_topics(answers, names, context.cases, self.cap)
        else:
            asked = [*(row.question for row in rows), *(case.text for case in context.cases)]
            if len(asked) > MANY and not _may_exceed(asked, self.cap, context.encoder, context.seed):
                return
            found = find_topics(asked, context.encoder, context.seed)
            of_row, asked_for = dict(enumerate(found[: len(rows)])), Counter(found[len(rows) :])
            limits = {topic: max(self.cap, most) for topic, most in _upper(asked_for, len(context.cases)).items()}
        places, topics = [*of_row], [*of_row.values()]
        extra = over_cap(topics, self.cap, context.seed, limits, lambda number: rows[places[number]].question)
        if not extra:
            return
        spread, left = topic_spread(topics), topic_spread(np.delete(np.array(topics), extra).tolist())
        message = messages.say(
            "labels" if context.labels else "topics",
            after=left.top[0],
            top=spread.top[0],
            top10=spread.top_share(10),
            n=spread.n_rows,
            topics=spread.n_topics,
            effective=spread.effective,
        )
        yield RowFinding(row=WHOLE_SET, code="concentrated", message=message, score=spread.effective, action="report")
        for number in extra:
            name = names[topics[number]] if context.labels else f"topic {topics[number]}"
            yield RowFinding(row=places[number], code="over_cap", message=name, action=self.action)
