"""TF-IDF features of texts: word and character n-grams, in any script, for training sets of any size.

No text is too empty or too long: a vocabulary may be empty, and long texts keep their head and tail,
so that the time to fit is bounded.
"""

import warnings
from collections import defaultdict
from itertools import count
from typing import Any

import numpy as np

from tuneworthy.classical.runtime import CHAR_NGRAMS, NgramColumns, TfidfRows, clip
from tuneworthy.signals import check_stop
from tuneworthy.types import JsonObject, Texts

MAX_FEATURES = 200_000
CHAR_BUDGET = 3_000_000  # characters of all texts together: about 10 s of n-grams on one core
RARE_CHARS_FROM = 1_000  # rows from which a character n-gram must occur in two rows


class TextFeatures:
    """Words, pairs of words and character n-grams (2 to 5, inside words) side by side, float32.

    Attributes:
        state: The arguments of `TfidfRows`.
    """

    def __init__(self) -> None:
        self.state: JsonObject = {"max_chars": 0, "blocks": []}
        self._rows = TfidfRows(**self.state)

    @property
    def parameters(self) -> JsonObject:
        return {"words": (1, 2), "chars": CHAR_NGRAMS, "max_chars": self.state["max_chars"]}

    def fit_transform(self, texts: Texts) -> Any:
        """Learn the vocabulary of `texts`; return a CSR matrix ``(n_texts, n_features)``."""
        from scipy.sparse import csr_matrix, hstack
        from sklearn.preprocessing import normalize

        n, max_chars = len(texts), min(20_000, max(400, CHAR_BUDGET // len(texts)))
        blocks, matrices = [], []
        for characters, least in ((False, 1), (True, 2 if n >= RARE_CHARS_FROM else 1)):
            numbers: defaultdict[str, int] = defaultdict(count().__next__)
            ngrams = NgramColumns(characters, numbers.__getitem__)
            pairs = [np.unique(ngrams.find(clip(text, max_chars).lower()), return_counts=True) for text in texts]
            columns, counts = (np.concatenate(part) for part in zip(*pairs, strict=True))
            n_texts, n_times = np.bincount(columns), np.bincount(columns, counts)
            usual = np.flatnonzero(n_texts >= least)
            usual = usual[np.argsort(-n_times[usual], kind="stable")[:MAX_FEATURES]]
            terms = list(numbers)
            order = sorted(usual.tolist(), key=terms.__getitem__)
            idf = np.log((n + 1) / (n_texts[order].astype(np.float32) + 1)).astype(np.float32) + 1
            blocks.append((characters, [terms[number] for number in order], idf))
            if order:
                starts = np.cumsum([0, *(len(own) for own, _ in pairs)])
                values = np.log(counts.astype(np.float32)) + 1
                matrix = csr_matrix((values, columns, starts), shape=(n, len(terms)))[:, order]
                matrix.data *= idf[matrix.indices]
                matrices.append(normalize(matrix, copy=False))
        self.state = {"max_chars": max_chars, "blocks": blocks}
        self._rows = TfidfRows(**self.state)
        return hstack(matrices or [csr_matrix((n, 1))], format="csr", dtype=np.float32)

    def transform(self, texts: Texts) -> Any:
        from scipy.sparse import csr_matrix

        rows = [self._rows.row(text) for text in texts]
        starts = np.cumsum([0, *(len(columns) for columns, _ in rows)])
        columns = np.concatenate([np.empty(0, np.int64), *(columns for columns, _ in rows)])
        values = np.concatenate([np.empty(0, np.float32), *(values for _, values in rows)])
        matrix = csr_matrix((values, columns, starts), shape=(len(texts), max(1, self._rows.size)), dtype=np.float32)
        matrix.sort_indices()
        return matrix


def fit_quietly(model: Any, matrix: Any, targets: np.ndarray) -> Any:
    """Fit a model of scikit-learn; no warning of few rows for many labels, or that contradictory rows never settle."""
    from sklearn.exceptions import ConvergenceWarning

    check_stop()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(matrix, targets)
