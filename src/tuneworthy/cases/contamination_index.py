"""Overlap index: finds the rows that copy, quote or resemble a case.

Words are weighted by their information in bits, log2(rows / rows with the word), so that two texts are as similar as
the bits that they share. A row is a copy if it has the same answer, names and numbers, differs in at most two words,
and shares more bits than chance explains. Neither accents nor HTML entities count. Stretches of words find a case
inside a longer row or a system prompt. Stretches in many cases (a template, instructions) are removed from both first.
Words that take turns in one place of a phrase ("the _ has not arrived") tell questions apart as names do.

Source: open-instruct's decontamination; Tülu 3 (arXiv 2411.15124) section 3.2, for the stretches of 8 words.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from tuneworthy.arrays import Bools, Floats, Hashes, Ints
from tuneworthy.cases.agreement import Agreement, ExpectedAnswer, answer_of, form_of, padded_words
from tuneworthy.cases.normalize import END, context_of, normalised_bytes, plain, question_of, words, words_of_all
from tuneworthy.cases.splits import Reason
from tuneworthy.cases.task_kind import guess_kind
from tuneworthy.types import CaseOrExample, Cases, Texts, grouped

# Words of a stretch, and the minimum words of a case that is compared, and of one that a prompt quotes.
_STRETCH, _MIN_WORDS, _MIN_QUOTED = 8, 4, 6
# Share of a case's words in stretches of a row from which the row quotes the case, or contains enough to be a copy.
_QUOTED, _COVERED = 0.8, 0.5
# Words that may differ in a copy; cases of more words are found by stretches only.
_APART, _MAX_WORDS = 2, 60
# Similarity of near-duplicates, and of copies with up to one changed word or more, to which each bit of evidence adds.
NEAR = 0.65
_COPY_OF_ONE, _COPY, _LEAST, _PER_BIT, _MAX_BITS = 0.94, 1.06, 0.5, 0.018, 40.0
# Bits of evidence for a copy by stretches, and the maximum that an answer adds.
_MIN_EVIDENCE, _MAX_ANSWER_BITS = 13.5, 11.5
# Minimum words of a case, by the agreement of the answers.
_WORDS: dict[Agreement, float] = {"same": 0, "unknown": 8, "unlike": 20, "other": np.inf}
# Rows in which words are counted at most, and rows without any word of the cases that are counted in addition.
_WEIGHED, _PRIOR = 20_000, 200
# More cases with one stretch make it a template (GPT-3's filter draws that line at 10).
COMMON = 20
# Cases that may share a stretch however few there are.
_FEW = 8
# Words that take turns in one place, and the texts with each, from which they tell questions apart.
_TURNS, _EACH = 8, 2
_PORTION_ROWS, _PORTION = 1 << 11, 1 << 17
_BASE = np.uint64(0x9E3779B97F4A7C15)
# Tokens that distinguish questions: numbers, identifiers, and capitalised words inside a sentence.
_SPECIFIC = re.compile(r"\S*(?:\d|\w[._]\w|[a-z][A-Z])\S*|(?<=[\w,] )\W?[A-Z]\w\S*")


class Match(NamedTuple):
    """A row that overlaps with a case; matches of a row sort by precedence.

    Attributes:
        doubtful: Whether it is a near-duplicate, and no copy.
        rank: Place of the reason in `REASONS`.
        minus_score: Share of the case's words, negative.
        case: Number of the case.
    """

    doubtful: bool
    rank: int
    minus_score: float
    case: int


REASONS: tuple[Reason, ...] = ("exact", "group", "prompt", "ngram", "edit")
_EXACT, _GROUP, _PROMPT, _NGRAM, _EDIT = range(5)


class _Texts(NamedTuple):
    """Texts as numbers of words, one after another; 0 is a word of no case, 1 ends a text.

    Attributes:
        words: Number per word.
        owner: Number of the text per word.
        ends: Place of the end per text.
        lengths: Words per text.
    """

    words: Ints
    owner: Ints
    ends: Ints
    lengths: Ints

    @classmethod
    def of(cls, words: Ints) -> "_Texts":
        ends = np.flatnonzero(words == 1)
        sizes = np.diff(ends, prepend=-1)
        return cls(words, np.repeat(np.arange(len(ends)), sizes), ends, sizes - 1)


class ContaminationIndex:
    """Cases, searchable by rows.

    Args:
        cases: Cases that no row may copy.
        rows: All rows: they show how frequent words and answers are.
    """

    def __init__(self, cases: Cases, rows: Sequence[CaseOrExample]) -> None:
        self._questions = [plain(question_of(case)) for case in cases]
        labels = {padded_words(label) for label in guess_kind(case.expected for case in cases).labels}
        self._answers = [ExpectedAnswer(case.expected, labels) for case in cases]
        self._exact = grouped((normalised_bytes(text), number) for number, text in enumerate(self._questions))
        self._groups = grouped((case.group, number) for number, case in enumerate(cases))
        self._numbers = {END: 1}
        for word in words_of_all(self._questions):
            self._numbers.setdefault(word, len(self._numbers) + 1)
        self._random = np.random.default_rng(0).integers(2**64, size=len(self._numbers) + 1, dtype=np.uint64)
        self._template = np.zeros(0, np.uint64)
        texts = self._read([*dict.fromkeys(self._questions)])
        owner, hashes = _stretches(texts, self._random, _STRETCH)
        found = np.unique(np.array([hashes, owner.astype(np.uint64)]), axis=1)[0]
        stretches, counts = np.unique(found, return_counts=True)
        self._template = stretches[counts > min(COMMON, max(_FEW, len(cases) // 2))]
        texts = self._read(self._questions)
        self._n_words = n_words = texts.lengths
        sizes = np.minimum(np.minimum(_STRETCH, n_words), np.maximum(5, n_words - 1)) * (n_words >= _MIN_WORDS)
        self._sizes = sorted({*sizes.tolist()} - {0})
        parts = [(owner, hashes) for size in self._sizes for owner, hashes in [_stretches(texts, self._random, size)]]
        of_size = [sizes[owner] == size for size, (owner, _) in zip(self._sizes, parts, strict=True)]
        owner, hashes = (np.concatenate([part[k][own] for part, own in zip(parts, of_size, strict=True)] or [none])
                         for k, none in enumerate((owner[:0], hashes[:0])))  # fmt: skip
        self._keys, key = np.unique(hashes, return_inverse=True)
        self._stretched = _ones(key, owner, (len(self._keys), len(cases)))
        self._n_stretches = self._stretched.sum(axis=0)
        self._frames, frame = np.unique(self._framed(texts), return_inverse=True)
        n_times = np.full(len(frame), float(rows is not cases))
        self._turns = csr_array((n_times, (frame, texts.words)), shape=(len(self._frames), len(self._random)))
        n_with = self._weigh(rows)
        taking = {
            place: {*some} - {0, 1}
            for place, some in enumerate((self._turns >= _EACH).tolil().rows)
            if len(some) >= _TURNS
        }
        some = zip(texts.owner.tolist(), frame.tolist(), texts.words.tolist(), strict=True)
        self._in_turn = grouped((case, (word, taking[at])) for case, at, word in some if word in taking.get(at, ()))
        self._rare = self._stretched * (n_with <= COMMON)[:, None]
        self._bags = self._bag(texts)
        self._case_bits = self._bags @ self._bits
        self._short = (self._bags * self._bits * ((n_words >= _MIN_WORDS) & (n_words <= _MAX_WORDS))[:, None]).T.tocsr()

    def _read(self, texts: Texts) -> _Texts:
        words = words_of_all(texts)
        read = _Texts.of(np.fromiter(map(self._numbers.get, words, repeat(0)), np.int64, len(words)))
        if not len(self._template):
            return read
        places = _places(read, _STRETCH)[np.isin(_stretches(read, self._random, _STRETCH)[1], self._template)]
        return _Texts.of(np.delete(read.words, np.unique(np.add.outer(places, np.arange(_STRETCH)))))

    def _framed(self, texts: _Texts) -> Hashes:
        """Return a hash of the words before and after each word."""
        words = self._random[texts.words]
        return np.roll(words, 1) * _BASE + np.roll(words, -1)

    def _bag(self, texts: _Texts) -> csr_array:
        """Return the words of each text, `(n_texts, n_words)`: ones, and the number of words that no case has."""
        inner = texts.words != 1
        bags = _ones(texts.owner[inner], texts.words[inner], (len(texts.ends), len(self._random)), distinct=False)
        bags.data[bags.indices > 0] = 1
        return bags

    def _weigh(self, rows: Sequence[CaseOrExample]) -> Floats:
        """Count the rows with each word, and with the answer of each case; return those with each stretch."""
        n_rows, n_with, n_stretched = 0, np.zeros(len(self._random)), np.zeros(len(self._keys))
        counts: Counter[bytes] = Counter()
        forms = {form for answer in self._answers for form in answer.forms}
        for portion in portions(rows[place] for place in range(0, len(rows), -(-len(rows) // _WEIGHED) or 1)):
            n_rows += len(portion)
            texts = self._read([question for _, question in portion])
            n_with += np.bincount(self._bag(texts).indices, minlength=len(n_with))
            n_stretched += self._found(texts).sum(axis=0)
            place, known = _find(self._framed(texts), self._frames)
            self._turns += _ones(place, texts.words[known], self._turns.shape, distinct=False)
            counts.update(form for row, _ in portion if (form := form_of(answer_of(row))) in forms)
        n_with[0] = 0
        self._bits = np.log2((n_rows + _PRIOR) / (n_with + 0.5))
        holders = np.array([sum(counts[form] for form in answer.forms) for answer in self._answers])
        self._answer_bits = np.clip(np.log2((n_rows + 1) / (holders + 0.5)), 0, _MAX_ANSWER_BITS)
        self._chance = np.log2(max(1, len(rows)))
        return n_stretched

    def matches(self, rows: Iterable[CaseOrExample]) -> Iterator[tuple[int, Match]]:
        """Yield the rows that overlap with a case, by number, with the match."""
        first = 0
        for portion in portions(rows):
            contexts = defaultdict(list)
            for number, (row, question) in enumerate(portion, first):
                for case in self._groups.get(row.group, ()) if row.group is not None else ():
                    yield number, Match(False, _GROUP, -1.0, case)
                for case in self._exact.get(normalised_bytes(question), ()):
                    # "4" is asked again and again, with another answer each time: it reveals nothing
                    says = self._n_words[case] >= _MIN_WORDS or self._answers[case].agreement(row) != "other"
                    yield number, Match(not says, _EXACT, -1.0, case)
                for text in context_of(row):
                    contexts[plain(text)].append(number)
            for number, match in self._near(portion):
                yield first + number, match
            covered = self._coverage(self._found(self._read([*contexts])), self._stretched, _QUOTED)
            numbers = [*contexts.values()]
            for (quoting, case), score in covered.items():
                if self._n_words[case] >= _MIN_QUOTED:
                    yield from ((number, Match(False, _PROMPT, -score, case)) for number in numbers[quoting])
            first += len(portion)

    def _found(self, texts: _Texts) -> csr_array:
        """Return the stretches of cases in each text, `(n_texts, n_stretches)`, ones."""
        owners, keys = [texts.owner[:0]], [texts.owner[:0]]
        for size in self._sizes:
            owner, hashes = _stretches(texts, self._random, size)
            place, known = _find(hashes, self._keys)
            owners.append(owner[known])
            keys.append(place)
        return _ones(np.concatenate(owners), np.concatenate(keys), (len(texts.ends), len(self._keys)))

    def _coverage(self, found: csr_array, stretches: csr_array, least: float) -> dict[tuple[int, int], float]:
        """Return the share, above `least`, of a case's words in stretches of a text, by text and case."""
        shared = (found @ stretches).tocoo()
        n_words = self._n_words[shared.col]
        scores = (shared.data + n_words - self._n_stretches[shared.col]) / n_words
        above = scores > least
        pairs = zip(shared.row[above].tolist(), shared.col[above].tolist(), strict=True)
        return dict(zip(pairs, scores[above].tolist(), strict=True))

    def _near(self, portion: Sequence[tuple[CaseOrExample, str]]) -> Iterator[tuple[int, Match]]:
        """Yield the rows that resemble or contain a case, and whether they copy it."""
        texts = self._read([question for _, question in portion])
        bags, found = self._bag(texts), self._found(texts)
        covered = self._coverage(found, self._rare, _COVERED) | self._coverage(found, self._stretched, _QUOTED)
        row_bits = bags @ self._bits
        similar = (bags @ self._short).tocoo()
        close = 2 * similar.data >= _LEAST * (row_bits[similar.row] + self._case_bits[similar.col])
        pairs = {*covered, *zip(similar.row[close].tolist(), similar.col[close].tolist(), strict=True)}
        row, case = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
        shared = bags[row].multiply(self._bags[case]).tocsr()
        shared.data[shared.indices == 0] = 0
        bits, n_shared = shared @ self._bits, shared.sum(axis=1)
        n_case, n_words = self._bags.sum(axis=1)[case], self._n_words[case]
        apart = np.maximum(bags.sum(axis=1)[row], n_case) - n_shared
        alike = 2 * bits / np.maximum(row_bits[row] + self._case_bits[case], 1e-9)
        evidence = np.minimum(bits + self._answer_bits[case] - self._chance, _MAX_BITS)
        score = np.array([covered.get(pair, 0.0) for pair in zip(row.tolist(), case.tolist(), strict=True)])
        least = np.where(apart <= 1, _COPY_OF_ONE, _COPY)
        edited = (apart <= _APART) & (alike + _PER_BIT * evidence >= least) & (n_words >= _MIN_WORDS)
        quoted = (score >= _QUOTED) & (n_case - n_shared <= _APART) & (evidence >= _MIN_EVIDENCE)
        covers = (score > _COVERED) & (bits > _COVERED * self._case_bits[case]) & (evidence >= _MIN_EVIDENCE)
        for k in np.flatnonzero(edited | quoted | covers | (alike >= NEAR)).tolist():
            (own, question), c = portion[row[k]], int(case[k])
            agreement = self._answers[c].agreement(own)
            contains = quoted[k] or (covers[k] and agreement != "unlike")
            long_enough = n_words[k] >= (0 if contains and agreement == "unknown" else _WORDS[agreement])
            copies = (contains or edited[k]) and long_enough and not _differ(question, self._questions[c])
            if copies and c in self._in_turn:
                has, asks = (words_in[[n]].indices.tolist() for words_in, n in ((bags, row[k]), (self._bags, c)))
                copies = not any(word not in has and some & {*has} - {*asks} for word, some in self._in_turn[c])
            rank = _NGRAM if score[k] > _COVERED else _EDIT
            yield int(row[k]), Match(not copies, rank, -float(score[k] or alike[k]), c)


def _differ(one: str, other: str) -> bool:
    """Whether each of two questions has a number, name or identifier that the other has not.

    >>> _differ("how do I use Series.rmod", "how do I use Series.rdiv"), _differ("for 4", "for 4 in May")
    (True, False)
    """
    texts = one, other
    has = [set(words(text)) for text in texts]
    names = [{word for token in _SPECIFIC.findall(text) for word in words(token)} for text in texts]
    return all(names[k] - has[1 - k] for k in (0, 1))


def _find(hashes: Hashes, keys: Hashes) -> tuple[Ints, Bools]:
    """Return the places among sorted `keys` of the hashes that are keys, and whether each hash is."""
    place = np.minimum(np.searchsorted(keys, hashes), len(keys) - 1)
    known = keys[place] == hashes
    return place[known], known


def _places(texts: _Texts, size: int) -> Ints:
    return np.flatnonzero(texts.ends[texts.owner] - np.arange(len(texts.words)) >= size)


def _stretches(texts: _Texts, random: Hashes, size: int) -> tuple[Ints, Hashes]:
    """Return text and hash of every stretch of `size` words."""
    places = _places(texts, size)
    hashes = np.zeros(len(places), np.uint64)
    for k in range(size):
        hashes = hashes * _BASE + random[texts.words[places + k]]
    return texts.owner[places], hashes


def _ones(rows: Ints, columns: Ints, shape: tuple[int, int], *, distinct: bool = True) -> csr_array:
    matrix = csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    if distinct:
        matrix.data[:] = 1
    return matrix


def portions(rows: Iterable[CaseOrExample]) -> Iterator[list[tuple[CaseOrExample, str]]]:
    """Yield rows with their questions, in portions of bounded memory."""
    portion = []
    size = 0
    for row in rows:
        question = plain(question_of(row))
        portion.append((row, question))
        size += len(question) + sum(map(len, context_of(row))) + 1
        if size >= _PORTION or len(portion) == _PORTION_ROWS:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
