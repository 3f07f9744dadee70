"""MinHash over word shingles, compiled.

A shingle is `size` words in a row (a shorter text is one shingle). A signature is, for each of `bands * rows` hash
functions, the least hash over the shingles; two texts agree in one place with the probability of their Jaccard
similarity J, and in at least one band with 1 - (1 - J^rows)^bands.

Source: Broder 1997, "On the resemblance and containment of documents"; Leskovec et al., "Mining of Massive
Datasets", chapter 3.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tuneworthy.arrays import Hashes, Ints
from tuneworthy.cases.normalize import folded, spaced
from tuneworthy.types import Texts, positional

# What `cases.normalize.words` makes of a character: nothing, a gap, a word of its own, a part of a word.
DROP, GAP, ALONE, LETTER = 1, 2, 3, 4
# Rows a buffer. No result depends on it.
CHUNK = 4096


@positional
class Packed:
    """Some rows.

    Attributes:
        first: The number of the first one.
        buffer: (n_characters,) uint32, their folded characters.
        starts: (n_rows + 1,) int64, where each row begins, and the end.
        classes: (1_114_112,) uint8, the class of each character that occurs.
    """

    first: int
    buffer: NDArray[np.uint32]
    starts: Ints
    classes: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.starts) - 1


def pack(texts: Texts, rows: int = CHUNK) -> Iterator[Packed]:
    classes = np.zeros(0x110000, np.uint8)
    _classify(map(chr, range(128)), classes)
    for first in range(0, len(texts), rows):
        plain = [folded(text) for text in texts[first : first + rows]]
        _classify(set().union(*(text for text in plain if not text.isascii())), classes)
        starts = np.cumsum([0, *map(len, plain)], dtype=np.int64)
        yield Packed(
            first, np.frombuffer("".join(plain).encode("utf-32-le", "surrogatepass"), np.uint32), starts, classes
        )


def _classify(characters: Iterable[str], classes: NDArray[np.uint8]) -> None:
    for character in characters:
        text = spaced(character)
        classes[ord(character)] = DROP if not text else GAP if text == " " else LETTER if len(text) == 1 else ALONE


_U = np.uint64
_A, _B = _U(0x9E3779B97F4A7C15), _U(0xBF58476D1CE4E5B9)  # splitmix64's constants


def shingles(packed: Packed, size: int) -> tuple[Hashes, Ints]:
    """Return the shingles of all rows as hashes, a row's repeats included, and (n_rows + 1,) where each begins."""
    starts = np.zeros(len(packed) + 1, np.int64)
    room = np.empty(len(packed.buffer) + len(packed), np.uint64)
    _shingles(packed.buffer, packed.starts, packed.classes, size, room, starts)
    return room[: starts[-1]], starts


def coefficients(n: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return factors (odd) and summands of `n` hash functions ``factor * x + summand mod 2^32``."""
    rng = np.random.default_rng(seed)
    factors = rng.integers(0, 2**32, n, dtype=np.uint32) | np.uint32(1)
    return factors, rng.integers(0, 2**32, n, dtype=np.uint32)


def band_keys(hashes: Hashes, starts: Ints, bands: int, rows: int, seed: int) -> Hashes:
    """Return (n_rows, bands) keys: rows whose signatures agree in a band have the same key there."""
    keys = np.empty((len(starts) - 1, bands), np.uint64)
    factors, summands = coefficients(bands * rows, seed)
    _band_keys(hashes, starts, factors, summands, rows, keys)
    return keys


@njit(cache=True, nogil=True)
def _longer(word: np.uint64, code: np.uint64) -> np.uint64:
    """Return the state of a word's hash after one more character."""
    word = (word ^ code) * _A
    return word ^ (word >> _U(29))


@njit(cache=True, nogil=True)
def _join(ring: Hashes, first: int, count: int) -> np.uint64:
    """Return the hash of `count` words of the ring; a shingle that is shorter than the ring differs from all others."""
    total = _U(0) if count == len(ring) else _U(count)
    place = first % len(ring)
    for _ in range(count):
        total = (total ^ ring[place]) * _A
        total ^= total >> _U(31)
        place = place + 1 if place + 1 < len(ring) else 0
    return total


@njit(cache=True, nogil=True)
def _push(ring: Hashes, n_words: int, word: np.uint64, out: Hashes, n: int) -> int:
    """Add word number `n_words` of the row, and the shingle that it ends, if it ends one; return the new `n`."""
    word = (word ^ (word >> _U(32))) * _B
    ring[n_words % len(ring)] = word ^ (word >> _U(29))
    if n_words + 1 < len(ring):
        return n
    out[n] = _join(ring, n_words + 1 - len(ring), len(ring))
    return n + 1


@njit(cache=True, nogil=True)
def _shingles(
    buffer: NDArray[np.uint32],
    starts: Ints,
    classes: NDArray[np.uint8],
    size: int,
    out: Hashes,
    out_starts: Ints,
) -> None:
    ring = np.zeros(size, np.uint64)  # the last words
    n = 0
    for row in range(len(starts) - 1):
        n_words, word, inside = 0, _U(0), False
        for character in buffer[starts[row] : starts[row + 1]]:
            code = _U(character)
            kind = classes[code]
            if kind == LETTER:
                word, inside = _longer(word, code), True
            elif kind != DROP:
                if inside:
                    n = _push(ring, n_words, word, out, n)
                    n_words += 1
                if kind == ALONE:
                    n = _push(ring, n_words, _longer(_U(0), code), out, n)
                    n_words += 1
                word, inside = _U(0), False
        if inside:
            n = _push(ring, n_words, word, out, n)
            n_words += 1
        if 0 < n_words < size:
            out[n] = _join(ring, 0, n_words)
            n += 1
        out_starts[row + 1] = n


@njit(cache=True, nogil=True)
def _band_keys(
    hashes: Hashes,
    starts: Ints,
    factors: NDArray[np.uint32],
    summands: NDArray[np.uint32],
    rows: int,
    keys: Hashes,
) -> None:
    """Write the key of each band; the inner loop runs over the hash functions, so that it is vectorised."""
    n = len(factors)
    least = np.empty(n, np.uint32)
    for row in range(len(starts) - 1):
        least[:] = np.uint32(0xFFFFFFFF)
        for place in range(starts[row], starts[row + 1]):
            low = np.uint32(hashes[place] >> _U(32))
            for k in range(n):
                least[k] = min(least[k], np.uint32(np.uint32(factors[k] * low) + summands[k]))
        for band in range(keys.shape[1]):
            key = _U(band + 1)
            for k in range(band * rows, (band + 1) * rows):
                key = (key ^ _U(least[k])) * _A
                key ^= key >> _U(32)
            keys[row, band] = key
