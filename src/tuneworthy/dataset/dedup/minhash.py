"""MinHash over word shingles.

A shingle is `size` words in a row (a shorter text is one shingle). A signature is, for each of `bands * rows` hash
functions, the least hash over the shingles; two texts agree in one place with the probability of their Jaccard
similarity J, and in at least one band with 1 - (1 - J^rows)^bands.

Source: Broder 1997, "On the resemblance and containment of documents"; Leskovec et al., "Mining of Massive
Datasets", chapter 3.
"""

import numpy as np
from xxhash import xxh3_64_intdigest

from tuneworthy.arrays import Hashes, Ints
from tuneworthy.cases.normalize import END, words_of_all
from tuneworthy.types import Texts

_A = np.uint64(0x9E3779B97F4A7C15)  # splitmix64's constant


def shingles(texts: Texts, size: int) -> tuple[Hashes, Ints]:
    """Return the shingles of all texts as hashes, a text's repeats included, and (n_texts + 1,) where each begins."""
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
    begins = (left > 0) & (left >= np.minimum(size, lengths[owner]))
    n_begun = np.bincount(owner[begins], minlength=len(texts))
    return total[begins], np.cumsum([0, *n_begun])


def band_keys(hashes: Hashes, starts: Ints, bands: int, rows: int, seed: int) -> Hashes:
    """Return (n_texts, bands) keys: texts whose signatures agree in a band have the same key there."""
    keys = np.tile(np.arange(1, bands + 1, dtype=np.uint64), (len(starts) - 1, 1))
    some, low = np.diff(starts) > 0, (hashes >> np.uint64(32)).astype(np.uint32)
    # Hash functions ``factor * x + summand mod 2^32`` with an odd factor.
    factors, summands = np.random.default_rng(seed).integers(0, 2**32, (2, bands * rows), np.uint32)
    for k in range(bands * rows if some.any() else 0):
        least = np.minimum.reduceat((factors[k] | np.uint32(1)) * low + summands[k], starts[:-1][some])
        key = (keys[some, k // rows] ^ least) * _A
        keys[some, k // rows] = key ^ (key >> np.uint64(32))
    return keys
