"""Exact duplicates: rows with the same letters and digits, after Unicode normalisation and case folding."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from tuneworthy.cases.normalize import normalised_bytes


def exact_duplicates(texts: Iterable[str]) -> NDArray[np.int64]:
    """Return for each row the number of the first row with the same normalised text, or -1 if it is the first.

    Args:
        texts: The rows, (n,); read once, and not kept: 128 bits of hash a row are.

    >>> exact_duplicates(["Hello!", "bye", "  hello"]).tolist()
    [-1, -1, 0]
    """
    first: dict[bytes, int] = {}
    hashes = (xxh3_128_digest(normalised_bytes(text)) for text in texts)
    same = np.fromiter((first.setdefault(key, row) for row, key in enumerate(hashes)), np.int64)
    same[same == np.arange(len(same))] = -1
    return same
