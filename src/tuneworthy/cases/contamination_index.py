"""N-gram decontamination index: finds the rows that contain a question of a case.

A row is found by text, by n-grams, by one or two changed words, by group, and by a question that its system prompt
quotes. The answers decide whether a match is strong enough to drop the row (`cases.agreement`): where the text
is not equal and the answer is another one, the row asks something else.

Coverage is measured from the case: the share of its words that appear in n-grams it has in common with one row, its
single best one; a long row cannot hide a short case, and many rows do not add up. What many cases share (a template,
instructions) counts for no case: it is cut out of both sides first. An n-gram in many rows is a pattern of
theirs, and counts the less the more do (`ContaminationIndex.weigh`). One changed word in the middle of a short question
breaks every long n-gram, so rows one or two words apart from a case are found as well.

`ContaminationIndex` reads many rows at once: words become numbers, and numpy looks up hashes of all their n-grams. A
hash has 64 bits: among 100 million n-grams and 10,000 of the cases a false match has a probability of 1 in 18 million.

Source: open-instruct's decontamination; Tülu 3 (arXiv 2411.15124) section 3.2: 8-grams, over 50 % of
tokens, prompts only. For questions of fewer words see `gram_size`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain, repeat
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tuneworthy.cases.agreement import Agreement, ExpectedAnswer, answer_of, form_of, padded_words
from tuneworthy.cases.normalize import END, context_of, normalised_bytes, question_of, words, words_of_all
from tuneworthy.cases.task_kind import guess_kind
from tuneworthy.types import Case, Example

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]

_MIN_WORDS: Final = 4
# Maximum length of a case that is also searched without one word (two words); longer cases keep whole n-grams.
_MAX_WORDS: Final = 60
_MAX_OF_TWO: Final = 24
# Minimum length of a case in which two words may differ.
_MIN_OF_TWO: Final = 5
# Words from which a row one word (two words) apart is a copy where no answer says so, and from which what is shared
# is a copy although the answer is worded quite differently.
LONG: Final = {1: 8, 2: 12}
_LONG_SHARED: Final = 20
# Words in a row that are others, where a long text is shared and no answer says that it is a copy, from which on it is
# another question about one passage.
_REPLACED: Final = 2
# Share of a case's words that a system prompt quotes, and how many words at least.
_QUOTED: Final = 0.8
_MIN_QUOTED: Final = 6
# Rows in which words and n-grams are counted, at most: every k-th.
_WEIGHED: Final = 20_000
# Rows without any word of the cases that are counted in addition: in few rows every word is rare.
_PRIOR: Final = 200
# Bits by which the words that a row shares with a case must be rarer than one row among all. Rewordings that people
# write by chance share as much as copies of short questions: on BANKING77, these two margins drop 2.1% of the training
# rows for 400 cases, all of the case's label.
_MARGIN: Final = {"one_word": 1.0, "more": 7.0}
# Bits by which an answer is rarer than one row among all, from which on the margins ask nothing more of the words (that
# of one of 90 labels); how many bits a rarer answer gives them at most, and a more frequent one asks. A third of
# the answers of RESTAURANT-8K are `{}`: with 3 bits 93% of the copies with one changed word are found, and 2.5% of the
# clean rows leave; without that limit 90% and 2.1%.
_ANSWER_BITS, _MOST_GIVEN, _MOST_ASKED = 6.5, 5.0, 3.0
# An n-gram in more cases than this is no part of the question (GPT-3's filter draws that line at 10). One that
# more rows hold counts as much less as they are more.
COMMON = 20
# Characters that are read at once, and rows, whose answers are held as well. No result depends on it.
_PORTION: Final = 1 << 18
_PORTION_ROWS: Final = 1 << 12

Gram = tuple[str, ...]
Reason = Literal["exact", "group", "prompt", "ngram", "edit"]
_ORDER: Final = ("exact", "group", "prompt", "ngram", "edit")


@dataclass(frozen=True, slots=True)
class _Match:
    """One case that a row of a portion overlaps with; attributes as in `OverlapHit`, of one case."""

    reason: Reason
    score: float
    case: int
    certain: bool

    @property
    def rank(self) -> tuple[bool, int, float, int]:
        """Its place among the matches of a row: certain matches first."""
        return not self.certain, _ORDER.index(self.reason), -self.score, self.case


# Reasons of near copies.
NEAR: Final = frozenset({"ngram", "edit"})


@dataclass(frozen=True, slots=True)
class OverlapHit:
    """A row that overlaps with cases.

    Attributes:
        row: Number of the row.
        reason: `exact` (same letters and digits), `group` (same source), `prompt` (its system prompt quotes the
            question), `ngram` (coverage), `edit` (one or two words apart).
        score: Share of the case's words that the row covers, 0..1; 1 for `exact` and `group`.
        cases: Ids of the cases, the one that is covered most first.
        certain: Whether it is evidence enough to drop the row.
        kept: Whether it was, but no row of its answer would be left.
    """

    row: int
    reason: Reason
    score: float
    cases: tuple[str, ...]
    certain: bool
    kept: bool = False

    @property
    def case_id(self) -> str:
        """The case that is covered most."""
        return self.cases[0]


def gram_size(n_words: int, n: int) -> int:
    """Return the length of the n-grams of a case of `n_words` words.

    Short questions share their beginnings ("where is my ..."): one of fewer than 6 words must appear in the
    row as a whole, one of 6 or 7 but for a word at an end. (On BANKING77 one word of slack below 6 words
    reports 2.8% of the training rows against 308 cases, mostly wrongly; this rule reports 1.0%.)
    """
    if n_words >= n:
        return n
    return n_words if n_words < 6 else n_words - 1


def common_grams(texts: Iterable[Sequence[str]], n: int) -> set[Gram]:
    """Return the n-grams in more than `COMMON` of `texts`; equal texts count once.

    Where a template ends, many questions begin alike ("how do I ..."): an n-gram that far more texts hold than
    hold it next to another one, which it overlaps, belongs to the question. "Far more" is twice as many.
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
    """Return the words of `tokens` that appear in no n-gram of `common`."""
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
        self._back = _powers(pow(self._BASE, -1, 1 << 64), n + 2)

    def of(self, first: Numbers, last: Numbers) -> Hashes:
        """Return the hashes of the words from `first` up to `last`."""
        return (self._sums[last] - self._sums[first]) * self._back[first]

    def without(self, first: Numbers, last: Numbers, place: Numbers) -> Hashes:
        """Return the hashes of the words from `first` up to `last` but the one at `place`."""
        after = (self._sums[last] - self._sums[place + 1]) * self._back[first + 1]
        return (self._sums[place] - self._sums[first]) * self._back[first] + after

    def without_two(self, first: Numbers, last: Numbers, one: Numbers, other: Numbers) -> Hashes:
        """Return the hashes of the words from `first` up to `last` but those at `one` and, behind it, at `other`."""
        between = (self._sums[other] - self._sums[one + 1]) * self._back[first + 1]
        after = (self._sums[last] - self._sums[other + 1]) * self._back[first + 2]
        hashes: Hashes = (self._sums[one] - self._sums[first]) * self._back[first] + between + after
        return hashes

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
        values: (n,) the value of each key.
    """

    _SHIFT: Final = np.uint64(44)

    def __init__(self, keys: Hashes, values: Numbers) -> None:
        self._values = values[np.argsort(keys, kind="stable")]
        self._keys, self._counts = np.unique(keys, return_counts=True)
        self._starts = np.cumsum(self._counts) - self._counts
        self._flags = np.zeros(1 << 20, np.bool_)  # by the upper 20 bits: most keys are done with that
        self._flags[self._keys >> self._SHIFT] = True

    def find(self, keys: Hashes) -> tuple[Numbers, Numbers]:
        """Return the places of the keys that are in the table, each once for each of its values, and the values."""
        places = np.flatnonzero(self._flags[keys >> self._SHIFT])
        slots = np.searchsorted(self._keys, keys[places])
        slots[slots == len(self._keys)] = 0
        same = self._keys[slots] == keys[places]
        places, slots = places[same], slots[same]
        counts = self._counts[slots]
        shift = np.repeat(self._starts[slots] - np.cumsum(counts) + counts, counts)
        return np.repeat(places, counts), self._values[shift + np.arange(len(shift))]


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
        kind = guess_kind(case.expected for case in self.cases)
        labels = {padded_words(label) for label in kind.labels}
        self._answers: list[ExpectedAnswer] = []
        self._exact: dict[bytes, int] = {}
        self._groups: dict[str, int] = {}
        for number, (case, question) in enumerate(zip(self.cases, questions, strict=True)):
            self._answers.append(ExpectedAnswer(case.expected, labels, question))
            self._exact.setdefault(normalised_bytes(question), number)
            if case.group is not None:
                self._groups.setdefault(case.group, number)
        texts = [words(question) for question in questions]
        self._numbers = {END: 1}  # 0 is any word that no case has
        for word in chain.from_iterable(texts):
            self._numbers.setdefault(word, len(self._numbers) + 1)
        self._random = np.random.default_rng(0).integers(2**64, size=len(self._numbers) + 1, dtype=np.uint64)
        self._bits = np.full(len(self._random), np.inf)  # rarity of each word in the rows
        self._bits[0] = 0
        self._least = 0.0
        self._wanted = np.zeros(len(self.cases))  # bits that each case's answer adds to the threshold
        self._common: _HashTable | None = None
        if common := common_grams(texts, n):
            firsts = np.arange(len(common)) * n
            hashes = _Stretches(self._random[self._number(list(chain.from_iterable(common)))])
            self._common = _HashTable(hashes.of(firsts, firsts + n), firsts)
        self._index([without(text, common, n) for text in texts])

    def _number(self, text: Sequence[str]) -> Numbers:
        return np.fromiter(map(self._numbers.get, text, repeat(0)), np.int64, len(text))

    def _index(self, texts: list[list[str]]) -> None:
        """Make `texts`, the words of the cases, findable by n-gram and by all words but one or two."""
        self._words = self._number(list(chain.from_iterable(texts)))
        hashes = _Stretches(self._random[self._words])
        self._lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        last = np.cumsum(self._lengths)
        self._firsts = last - self._lengths
        self._case = np.repeat(np.arange(len(texts)), self._lengths)  # for each word
        self._weights = np.ones(len(self._case))  # of the n-gram that begins at each word
        sizes = np.array([gram_size(n, self.n) if n >= _MIN_WORDS else 0 for n in self._lengths.tolist()], np.int64)
        size, n_left = sizes[self._case], last[self._case] - np.arange(len(self._case))
        self._grams: dict[int, _HashTable] = {}
        for each in np.unique(sizes[sizes > 0]).tolist():
            first = np.flatnonzero((size == each) & (n_left >= each))
            self._grams[each] = _HashTable(hashes.of(first, first + each), first)
        short = np.flatnonzero((self._lengths >= _MIN_WORDS) & (self._lengths <= _MAX_WORDS))
        keys, owners = _keys(hashes, self._firsts[short], last[short], _MIN_OF_TWO)
        self._edits = _HashTable(keys, short[owners])
        self._around = {length + more for length in set(self._lengths[short].tolist()) for more in range(-2, 3)}

    def weigh(self, rows: Sequence[Case | Example]) -> None:
        """Count the distinct `rows` with each n-gram and each word of the cases.

        Frequent patterns weigh less, and rare words and answers more.
        """
        counts, holders = np.zeros(len(self._case), np.int64), np.zeros(len(self._random), np.int64)
        texts: set[int] = set()
        forms = {form for case in self._answers for form in case.forms}
        answers: Counter[bytes | None] = Counter()
        step = -(-len(rows) // _WEIGHED) or 1
        for portion in _portions(rows[place] for place in range(0, len(rows), step)) if self.cases else ():
            distinct = []
            for row, question in portion:
                form = form_of(answer_of(row))
                answers[form if form in forms else None] += 1  # the texts of all others are not held
                text = "\n".join([question, *context_of(row)])
                if (key := hash(text)) not in texts:
                    texts.add(key)
                    distinct.append(text)
            numbers, hashes, _, ends = self._read(distinct)
            text_of = np.searchsorted(ends, np.arange(len(numbers)))
            held = np.unique(text_of * len(holders) + numbers)
            holders += np.bincount(held % len(holders), minlength=len(holders))
            for size, table in self._grams.items():
                places, firsts = table.find(hashes.grams(size))
                held = np.unique(text_of[places] * len(self._case) + firsts)
                counts += np.bincount(held % len(self._case), minlength=len(self._case))
        self._weights = np.minimum(1, COMMON / np.maximum(counts, 1))
        self._bits = np.log2((len(texts) + _PRIOR) / (holders + 0.5))
        self._bits[0] = 0
        self._least = float(np.log2(max(1, len(rows))))
        holders = np.array([sum(answers[form] for form in case.forms) for case in self._answers])
        rarity = np.log2((answers.total() + 1) / (holders + 0.5))
        most = np.where(rarity < 1, np.inf, _MOST_ASKED)  # an answer of more than half of the rows says nothing
        self._wanted = np.clip(_ANSWER_BITS - rarity, -_MOST_GIVEN, most)

    def find(self, rows: Iterable[Case | Example]) -> Iterator[OverlapHit]:
        """Yield the rows that overlap with a case, in order.

        Certain matches take precedence, then the reasons in the order of `OverlapHit`.
        """
        first = 0
        for portion in _portions(rows) if self.cases else ():
            for number, matches in sorted(self._matches(portion).items()):
                best, *rest = sorted(matches, key=lambda match: match.rank)
                alike = (other for other in rest if (other.reason, other.certain) == (best.reason, best.certain))
                ids = dict.fromkeys(self.cases[match.case].id for match in (best, *alike))
                yield OverlapHit(first + number, best.reason, best.score, tuple(ids), best.certain)
            first += len(portion)

    def n_alike(self) -> int:
        """Return how many cases are near copies of another case that is not of their group."""
        first, n = 0, 0
        for portion in _portions(self.cases):
            for number, matches in self._matches(portion).items():
                own = self.cases[first + number]
                others = [self.cases[match.case] for match in matches if match.certain and match.reason in NEAR]
                n += any(other.id != own.id and (own.group is None or other.group != own.group) for other in others)
            first += len(portion)
        return n

    def _matches(self, portion: list[tuple[Case | Example, str]]) -> dict[int, list[_Match]]:
        """Return the cases that rows of a portion overlap with, by the number of the row in it."""
        found: dict[int, list[_Match]] = defaultdict(list)
        numbers, hashes, starts, ends = self._read([question for _, question in portion])
        for number, case, score in self._covering(hashes, ends, self._weights, self.threshold):
            agreement = self._answers[case].agreement(portion[number][0])
            own, long = numbers[starts[number] : ends[number]], score * self._lengths[case] >= _LONG_SHARED
            copy = agreement in {"same", "unknown"} or (agreement == "unlike" and long)
            if copy and long and agreement != "same":
                copy = not self._has_replaced_span(own, case)
            found[number].append(_Match("ngram", score, case, bool(copy and self._rare(own, case, "more"))))
        for number, case in self._near(numbers, hashes, starts, ends):
            if edited := self._edited(portion[number][0], numbers[starts[number] : ends[number]], case):
                found[number].append(edited)
        contexts: dict[str, list[int]] = defaultdict(list)
        for number, (row, question) in enumerate(portion):
            if row.group is not None and (place := self._groups.get(row.group)) is not None:
                found[number].append(_Match("group", 1.0, place, True))
            if (place := self._exact.get(normalised_bytes(question))) is not None:
                # "4" is asked again and again, with another answer each time: it reveals nothing
                says = self._lengths[place] >= _MIN_WORDS or self._answers[place].agreement(row) != "other"
                found[number].append(_Match("exact", 1.0, place, bool(says)))
            for text in context_of(row):
                contexts[text].append(number)
        for text, quoted in self._quoting(list(contexts)):
            for number in contexts[text]:
                found[number].append(quoted)
        return found

    def _quoting(self, texts: list[str]) -> Iterator[tuple[str, _Match]]:
        """Yield the texts that quote a case's question; certain if few rows contain it."""
        _, hashes, _, ends = self._read(texts)
        for number, case, score in self._covering(hashes, ends, np.ones(len(self._case)), _QUOTED):
            if self._lengths[case] >= _MIN_QUOTED:
                begins = self._weights[self._firsts[case] :][: max(1, self._lengths[case] - self.n + 1)]
                yield texts[number], _Match("prompt", score, case, bool(begins.max() == 1))

    def _read(self, texts: Sequence[str]) -> tuple[Numbers, _Stretches, Numbers, Numbers]:
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
        return numbers, _Stretches(values), np.concatenate([[0], ends[:-1] + 1]), ends

    def _covering(
        self, hashes: _Stretches, ends: Numbers, weights: NDArray[np.float64], least: float
    ) -> Iterator[tuple[int, int, float]]:
        """Yield row, case and the share, above `least`, of the case's words that the row covers.

        A word counts as much as the heaviest of the n-grams that cover it.
        """
        words, weight = [np.zeros(0, np.int64)], [np.zeros(0)]  # row and word of a case, as one number
        for size, table in self._grams.items():
            places, firsts = table.find(hashes.grams(size))
            row = np.searchsorted(ends, places)
            words += [row * len(self._case) + firsts + k for k in range(size)]
            weight += [weights[firsts]] * size
        covered, each = np.concatenate(words), np.concatenate(weight)
        order = np.lexsort((-each, covered))
        covered, place = np.unique(covered[order], return_index=True)
        row, word = np.divmod(covered, max(1, len(self._case)))
        pairs, number = np.unique(row * len(self.cases) + self._case[word], return_inverse=True)
        row, case = np.divmod(pairs, len(self.cases))
        scores = np.bincount(number, each[order][place], len(pairs)) / self._lengths[case]
        above = scores > least
        yield from zip(row[above].tolist(), case[above].tolist(), scores[above].tolist(), strict=True)

    def _near(self, numbers: Numbers, hashes: _Stretches, starts: Numbers, ends: Numbers) -> Iterator[tuple[int, int]]:
        """Yield rows and cases that have the same words, in order, but for at most two of either side."""
        lengths, strange = ends - starts, np.concatenate([[0], np.cumsum(numbers == 0)])
        # At most two words may be left out, so at most two may be absent from all cases.
        rows = np.flatnonzero(np.isin(lengths, list(self._around)) & (strange[ends] - strange[starts] <= 2))
        keys, owners = _keys(hashes, starts[rows], ends[rows], _MIN_OF_TWO - 1)
        places, cases = self._edits.find(keys)
        pairs = np.unique(rows[owners[places]] * len(self.cases) + cases)
        row, case = np.divmod(pairs, len(self.cases))
        yield from zip(row.tolist(), case.tolist(), strict=True)

    def _words_of(self, case: int) -> Numbers:
        first = self._firsts[case]
        return self._words[first : first + self._lengths[case]]

    def _has_replaced_span(self, text: Numbers, case: int) -> bool:
        """Whether words in a row of a case are others in the row: another question about the same passage."""
        own = self._words_of(case).tolist()
        parts = SequenceMatcher(None, own, text.tolist(), autojunk=False).get_opcodes()
        return any(kind == "replace" and min(b - a, d - c) >= _REPLACED for kind, a, b, c, d in parts)

    def _edited(self, row: Case | Example, text: Numbers, case: int) -> _Match | None:
        """Return the match of a row that is one or two words apart from a case; None if it is farther, or no copy."""
        n = int(self._lengths[case])
        agreement = self._answers[case].agreement(row)
        most = 2 if n >= _MIN_OF_TWO and (agreement == "same" or n >= LONG[2]) else 1
        distance = word_distance(text.tolist(), self._words_of(case).tolist())
        if distance > most:
            return None
        certain: Mapping[Agreement, bool] = {
            "same": True,
            "other": False,
            "unlike": n >= _LONG_SHARED,
            "unknown": n >= LONG[max(1, distance)],
        }
        rare = self._rare(text, case, "more" if distance > 1 else "one_word")
        return _Match("edit", 1 - distance / max(n, len(text)), case, certain[agreement] and rare)

    def _rare(self, text: Numbers, case: int, margin: str) -> bool:
        """Whether the words that a row shares with a case, and the answer, are too rare to be shared by chance."""
        own = self._words_of(case)
        return bool(self._bits[own[np.isin(own, text)]].sum() >= self._least + self._wanted[case] + _MARGIN[margin])


def word_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the number of words of the longer list that are changed, added, or moved.

    >>> word_distance([1, 2, 3, 4], [1, 5, 3, 4]), word_distance([1, 2, 3, 4], [2, 3, 4, 1, 5])
    (1, 2)
    """
    lengths = [0] * (len(other) + 1)  # of the longest common subsequence, up to each word of the other
    for word in one:
        before = 0
        for place, own in enumerate(other, 1):
            before, lengths[place] = (
                lengths[place],
                before + 1 if word == own else max(lengths[place], lengths[place - 1]),
            )
    return max(len(one), len(other)) - lengths[-1]


def _portions(rows: Iterable[Case | Example]) -> Iterator[list[tuple[Case | Example, str]]]:
    portion: list[tuple[Case | Example, str]] = []
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


def _keys(hashes: _Stretches, first: Numbers, last: Numbers, least: int) -> tuple[Hashes, Numbers]:
    """Return the hashes of texts, of their words but one, and but two; and the number of the text for each hash.

    Args:
        hashes: Hashes of the words of all texts.
        first: Where each text begins, `(n_texts,)`.
        last: Where each text ends, `(n_texts,)`.
        least: Minimum length of a text that is also hashed without two words.
    """
    lengths, all_texts = last - first, np.arange(len(first))
    owners = np.repeat(all_texts, lengths)
    at = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    keys = [hashes.of(first, last), hashes.without(first[owners], last[owners], first[owners] + at)]
    texts = [all_texts, owners]
    for length in np.unique(lengths[(lengths >= least) & (lengths <= _MAX_OF_TWO + 1)]).tolist():
        one, other = np.triu_indices(length, 1)
        some = np.flatnonzero(lengths == length)
        begin = np.repeat(first[some], len(one))
        keys.append(
            hashes.without_two(
                begin, begin + length, begin + np.tile(one, len(some)), begin + np.tile(other, len(some))
            )
        )
        texts.append(np.repeat(some, len(one)))
    return np.concatenate(keys), np.concatenate(texts)
