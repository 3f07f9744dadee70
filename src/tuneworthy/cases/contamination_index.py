"""N-gram decontamination index: finds the rows that contain a question of a case.

A row is found by text, by n-grams, by one or two changed words, by group, and by a question that its system prompt
quotes. The answers decide whether a match is strong enough to drop the row (`cases.agreement`): where the text
is not equal and the answer is another one, the row asks something else.

Coverage is measured from the case: the share of its words in n-grams that it shares with one row, its single best
one; a long row cannot hide a short case, and many rows do not add up. N-grams of many cases (a template,
instructions) are cut out of both sides first, and n-grams of many rows count only in a row that contains almost the
whole case (`ContaminationIndex.weigh`). One changed word in the middle of a short question breaks every long n-gram, so
rows one or two words apart from a case are found as well: they share one of the three rarest words of the case. A word
in over a quarter of the cases finds no pairs, unless it is the rarest of its case.

Words become numbers, n-grams hashes of 64 bits, and all rows of a portion are compared by products of sparse matrices.

Source: open-instruct's decontamination; Tülu 3 (arXiv 2411.15124) section 3.2: 8-grams, over 50 % of
tokens, prompts only. For questions of fewer words see `gram_size`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import repeat
from math import inf
from typing import Final, NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.sparse import csr_matrix, diags

from tuneworthy.arrays import Hashes, Ints
from tuneworthy.cases.agreement import Agreement, ExpectedAnswer, answer_of, form_of, padded_words
from tuneworthy.cases.normalize import END, context_of, normalised_bytes, question_of, words_of_all
from tuneworthy.cases.splits import OverlapHit, Reason
from tuneworthy.cases.task_kind import guess_kind
from tuneworthy.types import Case, CaseOrExample

# In the order of precedence.
_REASONS: Final[tuple[Reason, ...]] = ("exact", "group", "prompt", "ngram", "edit")

_MIN_WORDS: Final = 4
# Length of a case from which rows with changed words are not searched for: it keeps whole n-grams.
_MAX_WORDS: Final = 60
# Minimum length of a case in which two words may differ, with the same answer.
_MIN_OF_TWO: Final = 5
# Minimum number of words of a copy by the agreement of the answers: those that it covers by n-grams, or those of a case
# from which one or two differ.
_MIN_SHARED: Final[dict[Agreement, tuple[float, float, float]]] = {
    "same": (0, 0, 0),
    "unknown": (0, 8, 12),
    "unlike": (20, 20, 20),
    "other": (inf, inf, inf),
}
# Shared words from which a row may be another question about one passage, and the words that it then replaces.
_PASSAGE, _REPLACED = 20, 2
# Minimum share of a case's words that a system prompt quotes, and their minimum number.
_QUOTED, _MIN_QUOTED = 0.8, 6
# Maximum number of rows in which n-grams are counted: every k-th.
_WEIGHED: Final = 20_000
# Rows without any word of the cases that are counted in addition: in few rows every word is rare.
_PRIOR: Final = 200
# Bits by which the shared words and the answer of a copy must be rarer than one row among all, for n-grams and for one
# and two changed words. Questions that users word alike by chance share as much as copies of short questions.
_MIN_BITS = (13.5, 7.5, 13.5)
_MAX_ANSWER_BITS: Final = 11.5
# An n-gram in more cases is no part of the question (GPT-3's filter draws that line at 10).
COMMON: Final = 20
# Maximum number of rows, and of characters, that are read at once; no result depends on it.
_PORTION_ROWS, _PORTION = 1 << 11, 1 << 17
_BASE: Final = np.uint64(0x9E3779B97F4A7C15)


# Rows with their questions.
_Portion = list[tuple[CaseOrExample, str]]


class _Match(NamedTuple):
    """A case that a row overlaps with, in the order of precedence; `reason` is a place in `_REASONS`."""

    doubtful: bool
    reason: int
    minus_score: float
    case: int


def _match(certain: bool, reason: Reason, score: float, case: int) -> _Match:
    return _Match(not certain, _REASONS.index(reason), -score, case)


class _Texts(NamedTuple):
    """Texts as numbers of words, one after another.

    Attributes:
        words: Ints of all words; 1 ends a text, 0 is a word of no case.
        hashes: Hash per word.
        owner: Number of the text per word.
        ends: Place of the end per text.
        lengths: Number of words per text.
    """

    words: Ints
    hashes: Hashes
    owner: Ints
    ends: Ints
    lengths: Ints

    def of(self, number: int) -> list[int]:
        end = self.ends[number]
        words: list[int] = self.words[end - self.lengths[number] : end].tolist()
        return words

    def grams(self, size: int) -> Hashes:
        """Return the hashes of all stretches of `size` words; those that cross the end of a text mean nothing."""
        n = max(0, len(self.hashes) - size + 1)
        hashes: Hashes = np.zeros(n, np.uint64)
        for k in range(size):
            hashes = hashes * _BASE + self.hashes[k : k + n]
        return hashes

    def signatures(self) -> Hashes:
        """Return 64 bits per text, the union of one bit per word: words that texts share set the same bits."""
        bits = np.left_shift(np.uint64(1), self.hashes % np.uint64(64))
        return np.bitwise_or.reduceat(bits, self.ends - self.lengths) if len(bits) else bits

    def places(self, size: int) -> Ints:
        return np.flatnonzero(self.ends[self.owner] - np.arange(len(self.words)) >= size)


def gram_size(n_words: int, n: int) -> int:
    """Return the length of the n-grams of a case of `n_words` words; 0 for a case that is too short for them.

    Short questions share their beginnings ("where is my ..."): one of fewer than 6 words must appear in the
    row as a whole, one of 6 or 7 but for a word at an end. (On BANKING77 one word of slack below 6 words
    reports 2.8% of the training rows against 308 cases, mostly wrongly; this rule reports 1.0%.)
    """
    if n_words < _MIN_WORDS:
        return 0
    return n if n_words >= n else n_words if n_words < 6 else n_words - 1


def _texts(words: Ints, hashes: Hashes) -> _Texts:
    ends = np.flatnonzero(words == 1)
    lengths = np.diff(ends, prepend=-1) - 1
    return _Texts(words, hashes[words], np.repeat(np.arange(len(ends)), lengths + 1), ends, lengths)


def _common_grams(texts: _Texts, n: int) -> Hashes:
    """Return the n-grams in more than `COMMON` of `texts`.

    Where a template ends, many questions begin alike ("how do i ..."): an n-gram that less than half as many texts
    contain as an n-gram that it overlaps belongs to the question.
    """
    places = texts.places(n)
    grams, number = np.unique(texts.grams(n)[places], return_inverse=True)
    pairs = np.unique(texts.owner[places] * len(grams) + number)
    counts = np.bincount(pairs % len(grams), minlength=len(grams))[number] if len(grams) else places
    all_counts = np.zeros(len(texts.words), np.int64)
    all_counts[places] = counts
    most = maximum_filter1d(all_counts, 2 * n - 1, mode="constant")[places]
    common: Hashes = grams[np.unique(number[(counts > COMMON) & (2 * counts >= most)])]
    return common


class ContaminationIndex:
    """The cases, findable by text, group, n-gram and all words but one or two.

    Args:
        cases: Cases that no row may contain.
        n: Words an n-gram, for cases of at least that many words (see `gram_size` for shorter cases).
        threshold: Coverage of a case, 0..1, above which a row overlaps.
    """

    def __init__(self, cases: Iterable[Case], *, n: int = 8, threshold: float = 0.5) -> None:
        if n < 1 or not 0 <= threshold < 1:
            raise ValueError(
                f"n is {n} and threshold is {threshold}, but n must be at least 1 and threshold in [0, 1)."
            )
        self.cases = list(cases)
        self.n, self.threshold = n, threshold
        questions = [question_of(case) for case in self.cases]
        labels = {padded_words(label) for label in guess_kind(case.expected for case in self.cases).labels}
        self._answers: list[ExpectedAnswer] = []
        self._exact: dict[bytes, int] = {}
        self._groups: dict[str, int] = {}
        for number, (case, question) in enumerate(zip(self.cases, questions, strict=True)):
            self._answers.append(ExpectedAnswer(case.expected, labels, question))
            self._exact.setdefault(normalised_bytes(question), number)
            if case.group is not None:
                self._groups.setdefault(case.group, number)
        self._numbers = {END: 1}
        for word in words_of_all(questions):
            self._numbers.setdefault(word, len(self._numbers) + 1)
        self._random = np.random.default_rng(0).integers(2**64, size=len(self._numbers) + 1, dtype=np.uint64)
        self._common = np.zeros(0, np.uint64)
        self._common = _common_grams(self._read([*dict.fromkeys(questions)]), n)
        self._texts = self._read(questions)
        self._bits, self._answer_bits = np.full(len(self._random), inf), np.zeros(len(self.cases))
        self._least = 0.0
        self._index()

    def _read(self, texts: Sequence[str]) -> _Texts:
        words = words_of_all(texts)
        numbers = np.fromiter(map(self._numbers.get, words, repeat(0)), np.int64, len(words))
        read = _texts(numbers, self._random)
        if not len(self._common):
            return read
        places = np.flatnonzero(np.isin(read.grams(self.n), self._common))
        cut = np.unique(np.add.outer(places, np.arange(self.n)))
        return _texts(np.delete(numbers, cut), self._random)

    def _index(self) -> None:
        texts, n_words = self._texts, len(self._texts.words)
        sizes = np.array([gram_size(length, self.n) for length in texts.lengths.tolist()], np.int64)
        self._sizes = sorted(set(sizes.tolist()) - {0})
        keys, covered = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for size in self._sizes:
            places = texts.places(size)
            places = places[sizes[texts.owner[places]] == size]
            for k in range(size):
                keys.append(texts.grams(size)[places])
                covered.append(places + k)
        self._keys, gram = np.unique(np.concatenate(keys), return_inverse=True)
        ends = (gram, np.concatenate(covered))
        self._all_grams = self._grams = csr_matrix((np.ones(len(gram)), ends), shape=(len(self._keys), n_words))
        ends = (np.arange(n_words), texts.owner)
        self._case_of = csr_matrix((np.ones(n_words), ends), shape=(n_words, len(self.cases)))
        self._bags = self._bag(texts)
        self._n_distinct = np.diff(self._bags.indptr) - 1
        n_cases = np.bincount(self._bags.indices, minlength=len(self._random))
        rare: list[tuple[int, int]] = []
        most = max(COMMON, len(self.cases) // 4)  # cases with a word by which pairs are found
        for case in np.flatnonzero((texts.lengths >= _MIN_WORDS) & (texts.lengths <= _MAX_WORDS)).tolist():
            words = sorted(set(texts.of(case)), key=lambda word: (n_cases[word], word))
            rare += [(word, case) for word in words[:3] if n_cases[word] <= max(most, n_cases[words[0]])]
        word, owner = np.array(rare, np.int64).reshape(-1, 2).T
        self._rarest = csr_matrix((np.ones(len(rare)), (word, owner)), shape=(len(self._random), len(self.cases)))

    def _bag(self, texts: _Texts) -> csr_matrix:
        bag = csr_matrix(
            (np.ones(len(texts.words)), (texts.owner, texts.words)), shape=(len(texts.ends), len(self._random))
        )
        bag.data[:] = 1
        return bag

    def _grams_of(self, texts: _Texts) -> csr_matrix:
        owners, slots = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for size in self._sizes:
            hashes = texts.grams(size)
            slot = np.searchsorted(self._keys, hashes) % len(self._keys)
            places = np.flatnonzero(self._keys[slot] == hashes)
            owners.append(texts.owner[places])
            slots.append(slot[places])
        ends = (np.concatenate(owners), np.concatenate(slots))
        return csr_matrix((np.ones(len(ends[0])), ends), shape=(len(texts.ends), len(self._keys)))

    def weigh(self, rows: Sequence[CaseOrExample]) -> None:
        """Count the n-grams, words and answers of the cases in `rows`, each distinct text once.

        An n-gram in more than `COMMON` rows is a pattern, and rare words and answers are more evidence than frequent.
        """
        grams, words = np.zeros(len(self._keys)), np.zeros(len(self._random))
        answers: Counter[bytes] = Counter()
        forms = {form for answer in self._answers for form in answer.forms}
        texts: set[int] = set()
        step = -(-len(rows) // _WEIGHED) or 1
        for portion in _portions(rows[place] for place in range(0, len(rows), step)) if self.cases else ():
            new: list[str] = []
            for row, question in portion:
                form = form_of(answer_of(row))
                answers[form if form in forms else b""] += 1
                text = "\n".join([question, *context_of(row)])
                if (key := hash(text)) not in texts:
                    texts.add(key)
                    new.append(text)
            read = self._read(new)
            grams += self._grams_of(read).getnnz(axis=0)
            words += self._bag(read).getnnz(axis=0)
        self._grams = diags((grams <= COMMON).astype(float)) @ self._all_grams
        self._bits = np.log2((len(texts) + _PRIOR) / (words + 0.5))
        self._bits[0] = 0
        holders = np.array([sum(answers[form] for form in answer.forms) for answer in self._answers])
        self._answer_bits = np.clip(np.log2((answers.total() + 1) / (holders + 0.5)), 0, _MAX_ANSWER_BITS)
        self._least = float(np.log2(max(1, len(rows))))

    def _is_rare(self, text: list[int], case: int, margin: float) -> bool:
        """Whether the words that a text shares with a case, and the answer, are too rare to be shared by chance."""
        words = {*text}
        shared = [word for word in self._texts.of(case) if word in words]
        return bool(self._bits[shared].sum() + self._answer_bits[case] >= self._least + margin)

    def find(self, rows: Iterable[CaseOrExample]) -> Iterator[OverlapHit]:
        """Yield the rows that overlap with a case, in order.

        Certain matches take precedence, then the reasons in the order of `_REASONS`.
        """
        first = 0
        for portion in _portions(rows) if self.cases else ():
            for number, matches in sorted(self._matches(portion).items()):
                matches.sort()
                doubtful, reason, minus_score, _ = matches[0]
                alike = [match.case for match in matches if match[:2] == (doubtful, reason)]
                ids = tuple(dict.fromkeys(self.cases[case].id for case in alike))
                yield OverlapHit(first + number, _REASONS[reason], -minus_score, ids, not doubtful)
            first += len(portion)

    def _matches(self, portion: _Portion) -> dict[int, list[_Match]]:
        found: dict[int, list[_Match]] = defaultdict(list)
        contexts: dict[str, list[int]] = defaultdict(list)
        for number, (row, question) in enumerate(portion):
            if row.group is not None and (case := self._groups.get(row.group)) is not None:
                found[number].append(_match(True, "group", 1.0, case))
            if (case := self._exact.get(normalised_bytes(question))) is not None:
                # "4" is asked again and again, with another answer each time: it reveals nothing
                says = self._texts.lengths[case] >= _MIN_WORDS or self._answers[case].agreement(row) != "other"
                found[number].append(_match(bool(says), "exact", 1.0, case))
            for text in context_of(row):
                contexts[text].append(number)
        for number, match in self._near_copies(portion):
            found[number].append(match)
        texts, numbers = self._read(list(contexts)), list(contexts.values())
        rare = self._coverage(texts, self._grams, 0.0)
        for (text_number, case), score in self._coverage(texts, self._all_grams, _QUOTED).items():
            if self._texts.lengths[case] >= _MIN_QUOTED:
                match = _match((text_number, case) in rare, "prompt", score, case)
                for number in numbers[text_number]:
                    found[number].append(match)
        return found

    def _near_copies(self, portion: _Portion) -> Iterator[tuple[int, _Match]]:
        """Yield the rows that cover a case, or are one or two words apart from it."""
        texts = self._read([question for _, question in portion])
        # a copy of almost the whole case counts however many rows have it
        copies = self._coverage(texts, self._all_grams, _QUOTED)
        for (number, case), score in (copies | self._coverage(texts, self._grams, self.threshold)).items():
            own, n_shared = texts.of(number), score * self._texts.lengths[case]
            agreement = self._answers[case].agreement(portion[number][0])
            certain = n_shared >= _MIN_SHARED[agreement][0] and self._is_rare(own, case, _MIN_BITS[0])
            if certain and agreement != "same" and n_shared >= _PASSAGE:
                certain = not _has_replaced_span(self._texts.of(case), own)
            yield number, _match(certain, "ngram", score, case)
        for number, case in self._near(texts):
            own, n_words = texts.of(number), int(self._texts.lengths[case])
            if (distance := word_distance(own, self._texts.of(case))) > 2:
                continue
            agreement = self._answers[case].agreement(portion[number][0])
            two = n_words >= _MIN_OF_TWO and (agreement == "same" or n_words >= _MIN_SHARED["unknown"][2])
            if distance <= 1 + two:
                least = max(1, distance)
                certain = n_words >= _MIN_SHARED[agreement][least] and self._is_rare(own, case, _MIN_BITS[least])
                yield number, _match(certain, "edit", 1 - distance / max(n_words, len(own)), case)

    def _coverage(self, texts: _Texts, grams: csr_matrix, least: float) -> dict[tuple[int, int], float]:
        """Return the share, above `least`, of a case's words that a text covers, by text and case."""
        covered = self._grams_of(texts) @ grams
        covered.data = (covered.data > 0).astype(float)
        scores = (covered @ self._case_of).tocoo()
        scores.data /= self._texts.lengths[scores.col]
        above = scores.data > least
        pairs = zip(scores.row[above].tolist(), scores.col[above].tolist(), strict=True)
        return dict(zip(pairs, scores.data[above].tolist(), strict=True))

    def _near(self, texts: _Texts) -> Iterator[tuple[int, int]]:
        bags, lengths = self._bag(texts), self._texts.lengths
        pairs = (bags @ self._rarest).tocoo()
        most = np.where(lengths[pairs.col] >= _MIN_OF_TWO, 2, 1)  # words apart
        close = np.abs(texts.lengths[pairs.row] - lengths[pairs.col]) <= most
        missing = self._texts.signatures()[pairs.col] & ~texts.signatures()[pairs.row]
        close &= np.bitwise_count(missing) <= most
        text, case = pairs.row[close], pairs.col[close]
        shared = np.asarray(bags[text].multiply(self._bags[case]).sum(axis=1)).ravel() - 1  # both have an end
        near = shared + most[close] >= np.maximum(self._n_distinct[case], np.diff(bags.indptr)[text] - 1)
        yield from zip(text[near].tolist(), case[near].tolist(), strict=True)


def _has_replaced_span(case: list[int], row: list[int]) -> bool:
    """Whether words in a row of a case are others in the row: another question about the same passage."""
    parts = SequenceMatcher(None, case, row, autojunk=False).get_opcodes()
    return any(kind == "replace" and min(b - a, d - c) >= _REPLACED for kind, a, b, c, d in parts)


def word_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the number of words of the longer list that are changed, added, or moved.

    >>> word_distance([1, 2, 3, 4], [1, 5, 3, 4]), word_distance([1, 2, 3, 4], [2, 3, 4, 1, 5])
    (1, 2)
    """
    lengths = [0] * (len(other) + 1)  # of the longest common subsequence, up to each word of the other
    for word in one:
        before = 0
        for place, own in enumerate(other, 1):
            longer = before + 1 if word == own else max(lengths[place], lengths[place - 1])
            before, lengths[place] = lengths[place], longer
    return max(len(one), len(other)) - lengths[-1]


def _portions(rows: Iterable[CaseOrExample]) -> Iterator[_Portion]:
    portion: _Portion = []
    size = 0
    for row in rows:
        question = question_of(row)
        portion.append((row, question))
        size += len(question) + sum(map(len, context_of(row))) + 1
        if size >= _PORTION or len(portion) == _PORTION_ROWS:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
