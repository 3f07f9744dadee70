"""The index of the cases that finds the rows which hold one of their questions.

A row is found by text, by n-grams, by one changed word and by group.

Coverage is measured from the case: the share of its words that stand in n-grams it has in common with one row, its
single best one; a long row cannot hide a short case, and many rows do not add up. What many cases share (a template,
instructions) counts for no case: it is cut out of both sides first. One changed word in the middle of a short question
breaks every long n-gram, so rows one word apart from a case are found as well.

`ContaminationIndex` reads many rows at once: words become numbers, and numpy looks up hashes of all their n-grams. A
hash has 64 bits: among 100 million n-grams and 10,000 of the cases a false match has a probability of 1 in 18 million.

Source: open-instruct's decontamination; Tülu 3 (arXiv 2411.15124) section 3.2: 8-grams, over 50 % of
tokens, prompts only. For questions of fewer words see `gram_size`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import groupby, repeat
from operator import itemgetter
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tuneworthy.cases import messages
from tuneworthy.cases.normalize import END, normalised_bytes, question_of, words, words_of_all
from tuneworthy.types import Case, Example

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]

_MIN_WORDS: Final = 4
# Words of a case that one changed word does not hide; it leaves n-grams of a longer one whole.
_MAX_WORDS: Final = 60
# An n-gram that more cases than this hold is no part of the question (GPT-3's filter draws that line at 10).
COMMON = 20
# Characters that are read at once. No result depends on it.
_PORTION: Final = 1 << 18

_PLACE: Final = np.uint64(0xBF58476D1CE4E5B9)
_SALTS: Final = np.array([0x94D049BB133111EB, 0xD6E8FEB86659FD93], np.uint64)

Gram = tuple[str, ...]
Reason = Literal["exact", "group", "ngram", "edit"]
# Reason, score and cases of an `OverlapHit`.
Match = tuple[Reason, float, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class OverlapHit:
    """A row that overlaps with cases.

    Attributes:
        row: Number of the row.
        reason: `exact` (same letters and digits), `group` (same source), `ngram` (coverage), `edit` (one word apart).
        score: Share of the case's words that the row covers, 0..1; 1 for `exact` and `group`.
        cases: Ids of the cases, the one that is covered most first.
    """

    row: int
    reason: Reason
    score: float
    cases: tuple[str, ...]

    @property
    def case_id(self) -> str:
        """The case that is covered most."""
        return self.cases[0]


def gram_size(n_words: int, n: int) -> int:
    """Return the length of the n-grams of a case of `n_words` words.

    Short questions share their beginnings ("where is my ..."): one of fewer than 6 words must stand in the
    row as a whole, one of 6 or 7 but for a word at an end. (On BANKING77 one word of slack below 6 words
    reports 2.8% of the training rows against 308 cases, most of them wrongly; this rule reports 1.0%.)
    """
    if n_words >= n:
        return n
    return n_words if n_words < 6 else n_words - 1


def common_grams(texts: Iterable[Sequence[str]], n: int) -> set[Gram]:
    """Return the n-grams that more than `COMMON` of `texts` hold; texts that are equal count once.

    Where a template ends, many questions begin alike ("how do I ..."): an n-gram that far more texts hold than
    hold it beside another one, which it overlaps, belongs to the question. "Far more" is twice as many.
    """
    distinct = dict.fromkeys(map(tuple, texts))
    counts: Counter[Gram] = Counter()
    for text in distinct:
        counts.update(set(_grams(text, n)))
    undecided = {gram for gram, count in counts.items() if count > COMMON}
    common: set[Gram] = set()
    for text in distinct if undecided else ():
        grams = list(_grams(text, n))
        for position, gram in enumerate(grams):
            if gram in undecided:
                undecided.remove(gram)
                beside = grams[max(0, position - n + 1) : position + n]
                if 2 * counts[gram] >= max(counts[other] for other in beside):
                    common.add(gram)
    return common


def without(tokens: list[str], common: Set[Gram], n: int) -> list[str]:
    """Return the words of `tokens` that stand in no n-gram of `common`."""
    if not common:
        return tokens
    cut: set[int] = set()
    for position, gram in enumerate(_grams(tokens, n)):
        if gram in common:
            cut.update(range(position, position + n))
    return [word for position, word in enumerate(tokens) if position not in cut] if cut else tokens


def _grams(tokens: Sequence[str], size: int) -> Iterator[Gram]:
    return zip(*(tokens[start:] for start in range(size)), strict=False)


class _Stretches:
    """The hash of any stretch of a sequence: a polynomial modulo 2^64.

    Args:
        values: (n,) uint64, a random number for each word.
    """

    _BASE: Final = 0x9E3779B97F4A7C15

    def __init__(self, values: Hashes) -> None:
        n = len(values) + 1
        self._sums = np.zeros(n, np.uint64)
        np.cumsum(values * _powers(self._BASE, n)[:-1], out=self._sums[1:])
        self._back = _powers(pow(self._BASE, -1, 1 << 64), n)

    def of(self, first: Numbers, last: Numbers) -> Hashes:
        """Return the hashes of the words from `first` up to `last`."""
        return (self._sums[last] - self._sums[first]) * self._back[first]

    def without(self, first: Numbers, last: Numbers, place: Numbers) -> Hashes:
        """Return the hashes of the words from `first` up to `last` but the one at `place`."""
        after = (self._sums[last] - self._sums[place + 1]) * self._back[first + 1]
        return (self._sums[place] - self._sums[first]) * self._back[first] + after

    def grams(self, size: int) -> Hashes:
        """Return the hashes of all stretches of `size` words, in order."""
        n = max(0, len(self._sums) - size)
        return (self._sums[size:] - self._sums[:n]) * self._back[:n]


def _powers(base: int, n: int) -> Hashes:
    powers = np.full(n, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers)


class _HashTable:
    """Hashes to look up many at a time.

    Args:
        keys: (n,) uint64, with repeats.
        values: (n,) what each stands for.
    """

    _SHIFT: Final = np.uint64(44)

    def __init__(self, keys: Hashes, values: Numbers) -> None:
        self._values = values[np.argsort(keys, kind="stable")]
        self._keys, self.counts = np.unique(keys, return_counts=True)
        self._starts = np.cumsum(self.counts) - self.counts
        self._flags = np.zeros(1 << 20, np.bool_)  # by the upper 20 bits: most keys are done with that
        self._flags[self._keys >> self._SHIFT] = True

    def find(self, keys: Hashes) -> tuple[Numbers, Numbers]:
        """Return the places of the keys that are in the table, each once for each of its values, and the values."""
        places = np.flatnonzero(self._flags[keys >> self._SHIFT])
        slots = np.searchsorted(self._keys, keys[places])
        slots[slots == len(self._keys)] = 0
        same = self._keys[slots] == keys[places]
        places, slots = places[same], slots[same]
        counts = self.counts[slots]
        shift = np.repeat(self._starts[slots] - np.cumsum(counts) + counts, counts)
        return np.repeat(places, counts), self._values[shift + np.arange(len(shift))]


class ContaminationIndex:
    """The cases, findable by text, group, n-gram and all but one word.

    Args:
        cases: What no row may hold.
        n: Words an n-gram, for cases of at least that many words (see `gram_size` for shorter ones).
        threshold: Coverage of a case, 0..1, above which a row overlaps.
    """

    def __init__(self, cases: Iterable[Case], *, n: int = 8, threshold: float = 0.5) -> None:
        if n < 1 or not 0 <= threshold < 1:
            raise ValueError(messages.say("index_settings", n=n, threshold=threshold))
        self.cases = list(cases)
        self.n, self.threshold = n, threshold
        questions = [question_of(case) for case in self.cases]
        self._exact: dict[bytes, str] = {}
        self._groups: dict[str, str] = {}
        for case, question in zip(self.cases, questions, strict=True):
            self._exact.setdefault(normalised_bytes(question), case.id)
            if case.group is not None:
                self._groups.setdefault(case.group, case.id)
        texts = [words(question) for question in questions]
        self._numbers = {END: 1}  # 0 is any word that no case has
        for word in {word: None for text in texts for word in text}:
            self._numbers[word] = len(self._numbers) + 1
        self._random = np.random.default_rng(0).integers(2**64, size=len(self._numbers) + 1, dtype=np.uint64)
        self._common: _HashTable | None = None
        self._index(texts)
        if n in self._grams and self._grams[n].counts.max() > COMMON:
            common = common_grams(texts, n)
            firsts = np.arange(len(common)) * n
            hashes = _Stretches(self._random[self._number([word for gram in common for word in gram])])
            self._common = _HashTable(hashes.of(firsts, firsts + n), firsts)
            self._index([without(text, common, n) for text in texts])

    def _number(self, text: Sequence[str]) -> Numbers:
        return np.fromiter(map(self._numbers.get, text, repeat(0)), np.int64, len(text))

    def _index(self, texts: list[list[str]]) -> None:
        """Make `texts`, the words of the cases, findable by n-gram and by all words but one."""
        hashes = _Stretches(self._random[self._number([word for text in texts for word in text])])
        self._lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        last = np.cumsum(self._lengths)
        self._case = np.repeat(np.arange(len(texts)), self._lengths)  # of each word
        sizes = np.array([gram_size(n, self.n) if n >= _MIN_WORDS else 0 for n in self._lengths.tolist()], np.int64)
        size, n_left = sizes[self._case], last[self._case] - np.arange(len(self._case))
        self._grams: dict[int, _HashTable] = {}
        for each in np.unique(sizes[sizes > 0]).tolist():
            first = np.flatnonzero((size == each) & (n_left >= each))
            self._grams[each] = _HashTable(hashes.of(first, first + each), first)
        short = np.flatnonzero((self._lengths >= _MIN_WORDS) & (self._lengths <= _MAX_WORDS))
        keys, owners = _edit_keys(hashes, (last - self._lengths)[short], last[short], of_cases=True)
        self._edits = _HashTable(keys, short[owners])

    def find(self, rows: Iterable[Case | Example]) -> Iterator[OverlapHit]:
        """Yield the rows that overlap with a case, in order; of several reasons the first one named in `OverlapHit`."""
        first = 0
        for portion in _portions(rows) if self.cases else ():
            hashes, starts, ends = self._read([question for _, question in portion])
            found = self._one_word_apart(hashes, starts, ends) | self._covering(hashes, ends)
            for number, (row, question) in enumerate(portion):
                if row.group is not None and (case_id := self._groups.get(row.group)) is not None:
                    found[number] = "group", 1.0, (case_id,)
                if (case_id := self._exact.get(normalised_bytes(question))) is not None:
                    found[number] = "exact", 1.0, (case_id,)
            yield from (OverlapHit(first + number, *found[number]) for number in sorted(found))
            first += len(portion)

    def _read(self, texts: Sequence[str]) -> tuple[_Stretches, Numbers, Numbers]:
        """Return the words of `texts`, without what many cases share, and where those of each begin and end."""
        numbers = self._number(words_of_all(texts))
        values = self._random[numbers]
        if self._common:
            places, _ = self._common.find(_Stretches(values).grams(self.n))
            depth = np.zeros(len(values) + 1, np.int64)
            depth[places] += 1
            depth[places + self.n] -= 1
            outside = np.cumsum(depth[:-1]) == 0
            numbers, values = numbers[outside], values[outside]
        ends = np.flatnonzero(numbers == self._numbers[END])
        return _Stretches(values), np.concatenate([[0], ends[:-1] + 1]), ends

    def _covering(self, hashes: _Stretches, ends: Numbers) -> dict[int, Match]:
        covered = [np.zeros(0, np.int64)]  # row and word of a case, as one number
        for size, table in self._grams.items():
            places, firsts = table.find(hashes.grams(size))
            row = np.searchsorted(ends, places)
            covered += [row * len(self._case) + firsts + k for k in range(size)]
        row, word = np.divmod(np.unique(np.concatenate(covered)), max(1, len(self._case)))
        pairs, counts = np.unique(row * len(self.cases) + self._case[word], return_counts=True)
        row, case = np.divmod(pairs, len(self.cases))
        scores = counts / self._lengths[case]
        row, case, scores = (values[scores > self.threshold] for values in (row, case, scores))
        order = np.lexsort((case, -scores, row))
        found: dict[int, Match] = {}
        hits = zip(row[order].tolist(), case[order].tolist(), scores[order].tolist(), strict=True)
        for number, some in groupby(hits, key=itemgetter(0)):
            (_, _, score), *_ = several = list(some)
            found[number] = "ngram", score, tuple(self.cases[case].id for _, case, _ in several)
        return found

    def _one_word_apart(self, hashes: _Stretches, starts: Numbers, ends: Numbers) -> dict[int, Match]:
        """Return the rows that differ from a case in one word: another one, one more or one less."""
        lengths = ends - starts
        rows = np.flatnonzero((lengths >= _MIN_WORDS - 1) & (lengths <= _MAX_WORDS + 1))
        keys, owners = _edit_keys(hashes, starts[rows], ends[rows], of_cases=False)
        places, cases = self._edits.find(keys)
        hits = sorted(set(zip(rows[owners[places]].tolist(), cases.tolist(), strict=True)), reverse=True)
        return {
            row: ("edit", 1 - 1 / int(max(lengths[row], self._lengths[case])), (self.cases[case].id,))
            for row, case in hits  # of several cases the first remains
        }


def _portions(rows: Iterable[Case | Example]) -> Iterator[list[tuple[Case | Example, str]]]:
    portion: list[tuple[Case | Example, str]] = []
    size = 0
    for row in rows:
        question = question_of(row)
        portion.append((row, question))
        size += len(question) + 1
        if size >= _PORTION:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _edit_keys(hashes: _Stretches, first: Numbers, last: Numbers, *, of_cases: bool) -> tuple[Hashes, Numbers]:
    """Return keys that a text shares with the texts one word apart from it, and the number of the text of each.

    One with another word has the same words but for one, at the same place; one that lacks a word has all words of a
    text but for one.

    Args:
        hashes: Hashes of the words of all texts.
        first: Where each text begins, `(n_texts,)`.
        last: Where each text ends, `(n_texts,)`.
        of_cases: Whether these are cases: what a case lacks, a row has.
    """
    lengths = last - first
    owners = np.repeat(np.arange(len(first)), lengths)
    at = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    fewer = hashes.without(first[owners], last[owners], first[owners] + at)
    salts = _SALTS if of_cases else _SALTS[::-1]
    changed = fewer + (at + 1).astype(np.uint64) * _PLACE
    keys = np.concatenate([changed, fewer ^ salts[0], hashes.of(first, last) ^ salts[1]])
    return keys, np.concatenate([owners, owners, np.arange(len(first))])
