"""MinHash over word shingles.

A shingle is `size` words in a row (a shorter text is one shingle). A signature is, for each of `bands * rows` hash
functions, the least hash over the shingles; two texts agree in one place with the probability of their Jaccard
similarity J, and in at least one band with 1 - (1 - J^rows)^bands.

Source: Broder 1997, "On the resemblance and containment of documents"; Leskovec et al., "Mining of Massive
Datasets", chapter 3.
"""

from collections.abc import Iterator

import numpy as np
from xxhash import xxh3_64_intdigest

from tuneworthy.arrays import Hashes, Ints
from tuneworthy.cases.normalize import END, words_of_all
from tuneworthy.types import Texts

_A = np.uint64(0x9E3779B97F4A7C15)  # splitmix64's constant


def shingles(texts: Texts, size: int, keys: Hashes | None = None) -> tuple[Hashes, Ints]:
    """Return the sets of the texts' shingles as hashes, each set sorted, and (n_texts + 1,) where each begins.

    Args:
        texts: The texts, (n_texts,).
        size: Words of a shingle.
        keys: (n_texts,) hashes; only texts with one key have shingles in common.
    """
    words = words_of_all(texts)
    hash_of = {word: xxh3_64_intdigest(word.encode("utf-8", "surrogatepass")) for word in {*words, END}}
    hashed = np.fromiter(map(hash_of.__getitem__, words), np.uint64, len(words))
    ends = np.flatnonzero(hashed == hash_of[END])
    lengths = np.diff(ends, prepend=-1) - 1
    owner = np.repeat(np.arange(len(texts)), lengths + 1)
    left = ends[owner] - np.arange(len(words))
    total = np.zeros(len(words), np.uint64)
    for k in range(size):  # a shingle that is shorter than `size` ends in zeros
        total = (total ^ np.where(left > k, np.roll(hashed, -k), np.uint64(0))) * _A
        total ^= total >> np.uint64(31)
    if keys is not None:
        total ^= keys[owner]
    begins = np.flatnonzero((left > 0) & (left >= np.minimum(size, lengths[owner])))
    begins = begins[np.lexsort((total[begins], owner[begins]))]
    total, owner = total[begins], owner[begins]
    is_new = np.ones(len(total), bool)
    is_new[1:] = (np.diff(total) != 0) | (np.diff(owner) != 0)
    return total[is_new], np.cumsum([0, *np.bincount(owner[is_new], minlength=len(texts))])


def band_keys(hashes: Hashes, starts: Ints, bands: int, rows: int, seed: int) -> Iterator[Hashes]:
    """Yield the (n_texts,) keys of each band: texts whose signatures agree in it have the same key."""
    some, low = np.diff(starts) > 0, (hashes >> np.uint64(32)).astype(np.uint32)
    # Hash functions ``factor * x + summand mod 2^32`` with an odd factor.
    factors, summands = np.random.default_rng(seed).integers(0, 2**32, (2, bands, rows), np.uint32)
    for of_band in zip(factors | np.uint32(1), summands, strict=True):
        keys = np.zeros(len(some), np.uint64)
        for factor, summand in zip(*of_band, strict=True) if some.any() else ():
            key = (keys[some] ^ np.minimum.reduceat(factor * low + summand, starts[:-1][some])) * _A
            keys[some] = key ^ (key >> np.uint64(32))
        yield keys
